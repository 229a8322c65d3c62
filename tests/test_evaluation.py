"""The measures measure: right on what is known, silent where there is nothing to find, loud where there is.

Tests by z-score fail by chance, over all seeds, as often as each says; the seeds are fixed.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from vaebook.device import seeded
from vaebook.evaluation import (
    Judge,
    Verdict,
    active_units,
    effective_sample_size,
    knn_accuracy,
    mmd,
    nearest_distance,
    psnr,
    train_judge,
    trustworthiness,
)


@pytest.fixture(scope="session")
def judge(digits) -> Judge:
    return train_judge(digits, epochs=6)


def few(digits, n: int = 200):
    """The first n training images, on the CPU because sums on a GPU vary, and no test images to be used."""
    return replace(
        digits,
        train=digits.train[:n].cpu(),
        train_labels=digits.train_labels[:n].cpu(),
        test=digits.test * math.nan,
        test_labels=digits.test_labels - 100,
    )


# --- the judge ----------------------------------------------------------------------------------------------


def test_the_judge_knows_digits_it_has_not_seen(judge, digits):
    assert judge.accuracy(digits.test, digits.test_labels) > 0.9
    wrong = judge.accuracy(digits.test, (digits.test_labels + 1) % 10)
    assert wrong < 0.1


def test_the_judge_is_sure_of_digits_and_less_sure_of_noise(judge, digits):
    noise = torch.rand(1000, 784, generator=seeded(0, "cpu")).to(digits.test.device)
    of_digits, of_noise = judge.verdict(digits.test), judge.verdict(noise)
    assert of_digits.confidence > 0.9 > of_noise.confidence
    assert of_digits.recognised > 0.7 > of_noise.recognised
    # Each class is a tenth of the test images.
    assert of_digits.shares == pytest.approx([0.1] * 10, abs=0.03)
    assert of_digits.class_entropy > 0.99 * math.log(10) > of_noise.class_entropy


def test_probabilities_are_probabilities_and_carry_no_graph(judge, digits):
    probabilities = judge.probabilities(digits.test[:50])
    assert probabilities.shape == (50, 10)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones_like(probabilities[:, 0]))
    assert not probabilities.requires_grad


def test_a_trained_judge_says_the_same_twice(judge, digits):
    assert not any(module.training for module in judge.modules())
    assert torch.equal(judge.probabilities(digits.test), judge.probabilities(digits.test))


def test_training_a_judge_depends_on_its_seed_alone_and_never_on_test_images(digits):
    images = few(digits)
    judges = []
    for outside, seed in ((1, 5), (2, 5), (3, 6)):
        with torch.random.fork_rng():
            torch.manual_seed(outside)
            before = torch.get_rng_state()
            judge = train_judge(images, epochs=1, seed=seed)
            assert torch.equal(torch.get_rng_state(), before)
        judges.append(nn.utils.parameters_to_vector(judge.parameters()))
    assert torch.equal(judges[0], judges[1])
    assert not torch.equal(judges[0], judges[2])


class Told(nn.Module):
    """A network that is given the probabilities as its images."""

    def forward(self, x):
        return x.log()


def verdict_of(probabilities: torch.Tensor) -> Verdict:
    judge = Judge()
    judge.network = Told()
    return judge.verdict(probabilities)


def rows(classes: list[int], confidence: float) -> torch.Tensor:
    """For each class a row that gives it `confidence` and the others the rest."""
    rest = (1 - confidence) / 9
    return torch.full((len(classes), 10), rest).scatter_(1, torch.tensor(classes)[:, None], confidence)


def test_the_verdict_of_known_probabilities():
    spread = verdict_of(rows([*range(10)] * 3, 0.8))
    assert spread.confidence == pytest.approx(0.8)
    assert spread.recognised == 0
    assert spread.shares == pytest.approx([0.1] * 10)
    assert spread.class_entropy == pytest.approx(math.log(10))

    one = verdict_of(rows([7] * 4, 0.95))
    assert one.confidence == pytest.approx(0.95)
    assert one.recognised == 1
    assert one.shares == pytest.approx([0] * 7 + [1] + [0] * 2)
    assert one.class_entropy == 0

    mixed = verdict_of(torch.cat([rows([0, 0, 0], 0.99), rows([1], 0.5)]))
    assert mixed.confidence == pytest.approx(0.8675)
    assert mixed.recognised == pytest.approx(0.75)
    assert mixed.class_entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


# --- codes --------------------------------------------------------------------------------------------------


def test_neighbours_of_separate_classes_vote_right():
    labels = torch.arange(100) % 10
    codes = labels[:, None] + 0.01 * torch.randn(100, 2, generator=seeded(0, "cpu"))
    assert knn_accuracy(codes[:80], labels[:80], codes[80:], labels[80:], k=5) == 1
    assert knn_accuracy(codes[:80], labels[:80], codes[80:], (labels[80:] + 1) % 10, k=5) == 0


def test_neighbours_say_nothing_about_shuffled_labels():
    # Independent labels are hit Binomial(2000, 0.1) times: 5 standard errors off less than once in a million.
    generator = seeded(0, "cpu")
    codes = torch.randn(3000, 2, generator=generator)
    labels = torch.randint(10, (3000,), generator=generator)
    accuracy = knn_accuracy(codes[:1000], labels[:1000], codes[1000:], labels[1000:])
    assert abs(accuracy - 0.1) / (0.1 * 0.9 / 2000) ** 0.5 < 5


def test_k_neighbours_vote():
    codes, labels = torch.tensor([[0.0], [1.0], [1.1]]), torch.tensor([4, 7, 7])
    at = torch.tensor([[0.1]])
    assert knn_accuracy(codes, labels, at, torch.tensor([4]), k=1) == 1
    assert knn_accuracy(codes, labels, at, torch.tensor([7]), k=3) == 1


def test_trustworthiness_is_one_for_the_images_and_a_half_for_noise(digits):
    x = digits.train[:300]
    assert trustworthiness(x, 3 * x + 1) == pytest.approx(1)
    noise = torch.randn(300, 2, generator=seeded(0, "cpu"))
    assert trustworthiness(x, noise) == pytest.approx(0.5, abs=0.03)
    principal = torch.pca_lowrank(x.cpu(), 2, niter=4)[0]
    assert 0.6 < trustworthiness(x, principal) < 0.95


def test_measures_take_tensors_with_a_graph(digits):
    x, labels = digits.train[:40].clone().requires_grad_(), digits.train_labels[:40]
    assert trustworthiness(x, x) == pytest.approx(1)
    assert knn_accuracy(x, labels, x, labels, k=1) == 1


# --- distances ----------------------------------------------------------------------------------------------


def test_an_image_is_at_no_distance_from_its_copy(digits):
    # Exactly: rounding must not hide that an image was copied.
    assert nearest_distance(digits.train[:100], digits.train).max() == 0
    assert nearest_distance(digits.test[:100], digits.train).min() > 0


def test_the_nearest_distance_is_the_smallest():
    generator = seeded(0, "cpu")
    x, reference = torch.rand(30, 784, generator=generator), torch.rand(60, 784, generator=generator)
    expected = [min((image - other).norm().item() for other in reference) for image in x]
    distances = nearest_distance(x, reference)
    assert distances.shape == (30,)
    assert distances.tolist() == pytest.approx(expected)


def test_psnr_of_known_errors():
    x = torch.full((3, 784), 0.5)
    x_hat = x + torch.tensor([[0.1], [-0.01], [0.0]])
    assert psnr(x_hat, x).tolist() == pytest.approx([20, 40, math.inf], rel=1e-4)
    one_pixel = x.clone()
    one_pixel[:, 0] += 0.28  # a mean squared error of 0.28**2 / 784 = 1e-4
    assert psnr(one_pixel, x).tolist() == pytest.approx([40] * 3, rel=1e-4)


# --- maximum mean discrepancy -------------------------------------------------------------------------------


def test_two_samples_of_one_law_have_no_discrepancy_on_average():
    # By z-score over 150 repetitions, which fails by chance less than once in a million.
    generator = seeded(0, "cpu")
    samples = torch.randn(150, 2, 40, 3, generator=generator)
    values, scores = torch.tensor([mmd(a, b, draws=50) for a, b in samples]).T
    for estimates in (values, scores):
        assert abs(estimates.mean() / (estimates.std() / 150**0.5)) < 5
    assert scores.std() == pytest.approx(1, abs=0.3)


def test_the_discrepancy_is_the_average_over_pairs_that_gretton_wrote_down():
    generator = seeded(0, "cpu")
    a, b = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)
    pooled = torch.cat([a, b])
    between_all = [(u - v).square().sum().item() for i, u in enumerate(pooled) for v in pooled[:i]]
    width = torch.tensor(2 * between_all, dtype=torch.float64).median().item()

    def mean_kernel(one, other, same):
        pairs = [(u, v) for i, u in enumerate(one) for j, v in enumerate(other) if not (same and i == j)]
        return sum(math.exp(-(u - v).square().sum().item() / width) for u, v in pairs) / len(pairs)

    expected = mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b, False)
    assert mmd(a, b)[0] == pytest.approx(expected)


@pytest.mark.parametrize("change", [lambda b: b + 0.7, lambda b: 2 * b, lambda b: b.sign()])
def test_another_mean_spread_or_law_is_seen(change):
    # The scores of two samples of one law are skewed: of 4,000, the largest was 7.4.
    a, b = torch.randn(2, 400, 2, generator=seeded(0, "cpu"))
    value, score = mmd(a, change(b))
    assert value > 0.01
    assert score > 10


def test_the_discrepancy_is_symmetric_and_follows_its_seed():
    a, b = torch.randn(2, 30, 2, generator=seeded(0, "cpu"))
    assert mmd(a, b)[0] == pytest.approx(mmd(b, a)[0])
    assert mmd(a, b, seed=1) == mmd(a, b, seed=1) != mmd(a, b, seed=2)
    before = torch.get_rng_state()
    mmd(a, b)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(5, 2), (6, 3), (12,)])
def test_samples_of_different_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"must have the same shape; got \(6, 2\) and"):
        mmd(torch.zeros(6, 2), torch.zeros(shape))


# --- weights and latent dimensions --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_equal_weights_are_worth_as_many_draws_as_there_are(n):
    size = effective_sample_size(torch.full((n, 3), -2.5, dtype=torch.float64))
    assert size.shape == (3,)
    assert size.tolist() == pytest.approx([n] * 3, rel=1e-10)


def test_one_weight_that_dominates_is_worth_one_draw():
    log_weights = torch.zeros(1000, 2, dtype=torch.float64)
    log_weights[4, 0] = 60.0
    log_weights[:, 1] = -math.inf
    log_weights[6, 1] = -3.0
    assert effective_sample_size(log_weights).tolist() == pytest.approx([1, 1], rel=1e-10)


def test_the_effective_sample_size_is_the_ratio_that_kish_wrote_down():
    weights = torch.rand(50, 6, generator=seeded(0, "cpu"), dtype=torch.float64) ** 4
    sizes = effective_sample_size(weights.log())
    expected = weights.sum(0).square() / weights.square().sum(0)
    assert sizes.tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    assert (sizes > 1).all()
    assert (sizes < 40).all()
    each = [effective_sample_size(weights.log()[:, i : i + 1]).item() for i in range(6)]
    assert each == pytest.approx(sizes.tolist(), rel=1e-12)
    halves = torch.tensor([[1.0], [1.0], [2.0]], dtype=torch.float64)
    assert effective_sample_size(halves.log()).item() == pytest.approx(16 / 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("constant", [-1e4, -300.0, 800.0])
def test_a_factor_common_to_all_weights_changes_no_effective_sample_size(constant, dtype):
    # exp of each of them is 0 or inf. In float32, numbers near 2e4 are 0.002 apart.
    log_weights = torch.randn(200, 5, generator=seeded(1, "cpu"), dtype=torch.float64)
    sizes = effective_sample_size(log_weights)
    assert (sizes > 10).all()
    moved = effective_sample_size((log_weights + constant).to(dtype))
    assert moved.dtype == dtype
    tolerance = 4 * torch.finfo(dtype).eps * abs(2 * constant)
    assert moved.tolist() == pytest.approx(sizes.tolist(), rel=tolerance)


def test_units_are_active_where_the_encoders_mean_varies_over_images():
    noise = torch.randn(5000, 4, generator=seeded(2, "cpu"), dtype=torch.float64)
    noise = (noise - noise.mean(0)) / noise.std(0)
    mu = torch.tensor([0.0, 5.0, -3.0, 0.0]) + noise * torch.tensor([0.0, 0.09, 0.11, 2.0])
    assert active_units(mu).tolist() == [False, False, True, True]  # the threshold is a variance of 0.01
    assert active_units(mu, threshold=1.0).tolist() == [False, False, False, True]
    assert active_units(mu, threshold=0.008).tolist() == [False, True, True, True]
    assert active_units(mu).dtype == torch.bool
    assert active_units(-7 - mu).tolist() == active_units(mu.flip(0)).tolist()
