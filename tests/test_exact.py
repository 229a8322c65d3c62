"""The models whose evidence is known know it: against other code, quadrature, enumeration and simulation.

Tests by z-score fail by chance, over all seeds, less than once in a million, as do those by a p-value; the
seeds are fixed.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from torch import distributions
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from vaebook.device import seeded
from vaebook.exact import BernoulliMixture, Curve, LatentVariableModel, LinearGaussian, expectation

DOUBLE = torch.float64
SIZES = [(1, 1), (4, 1), (5, 2), (3, 3), (1, 3), (2, 4)]  # D, d
each_size = pytest.mark.parametrize(("D", "d"), SIZES)
each_std = pytest.mark.parametrize("std", [1e-3, 0.03, 1.0, 30.0, 1e3])
IMAGES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=DOUBLE)


def z_score(draws: torch.Tensor, expected: torch.Tensor | float) -> torch.Tensor:
    """How many standard errors the means of independent draws (n, ...) are from what was expected."""
    return (draws.mean(0) - expected) / (draws.std(0) / len(draws) ** 0.5)


def normals(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed, "cpu"), dtype=DOUBLE)


def linear(D: int, d: int, std: float = 0.7) -> LinearGaussian:
    return LinearGaussian(normals(10 * D + d, D, d), 1 + normals(1, D), std)


def mixture(zero: bool = False) -> BernoulliMixture:
    """Three states and four pixels; the middle state never happens if `zero`."""
    prior = torch.tensor([0.4, -math.inf if zero else -0.3, 1.1], dtype=DOUBLE)
    return BernoulliMixture(prior, 1.5 * normals(2, 3, 4))


def some_normal(seed: int, batch: int, d: int) -> MultivariateNormal:
    """For each image another mean and another correlated covariance."""
    factor = normals(seed, batch, d, d).tril(-1) + torch.diag_embed(0.2 + normals(seed + 1, batch, d).abs())
    return MultivariateNormal(normals(seed + 2, batch, d), scale_tril=factor)


MODELS = {
    "curve": Curve,
    "linear": lambda: linear(4, 2),
    "linear, more latents than pixels": lambda: linear(2, 3),
    "mixture": mixture,
    "mixture with an impossible state": lambda: mixture(zero=True),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


# --- every model --------------------------------------------------------------------------------------------


@each_model
def test_bayes_rule_holds_at_every_latent(make):
    model = make()
    z, x = model.sample(20, seeded(0, "cpu"))
    points = z[:, None]  # 20 points, each scored for all 20 images
    evidence = model.log_joint(points, x) - model.log_posterior(points, x)
    assert evidence.shape == (20, 20)
    torch.testing.assert_close(evidence, model.log_evidence(x).expand(20, 20), rtol=1e-11, atol=1e-11)
    joint = model.prior.log_prob(points) + model.log_likelihood(points, x)
    assert torch.equal(model.log_joint(points, x), joint)


@each_model
def test_many_latents_of_an_image_are_scored_as_one_by_one(make):
    model = make()
    z, x = model.sample(6, seeded(1, "cpu"))
    latents = torch.stack(
        [z, z.flip(0), z.roll(1, 0)]
    )  # (points, batch) or (points, batch, d): all different
    for score in (model.log_likelihood, model.log_joint, model.log_posterior):
        together = score(latents, x)
        assert together.shape == (3, 6)
        for i in range(6):
            alone = score(latents[:, i : i + 1], x[i : i + 1])
            torch.testing.assert_close(alone[:, 0], together[:, i], rtol=1e-12, atol=1e-12)


@each_model
def test_the_evidence_of_an_image_does_not_depend_on_the_batch(make):
    model = make()
    x = model.sample(5, seeded(2, "cpu"))[1]
    log_p = model.log_evidence(x)
    assert log_p.shape == (5,)
    assert log_p.dtype == DOUBLE
    for i in range(5):
        torch.testing.assert_close(model.log_evidence(x[i : i + 1]), log_p[i : i + 1], rtol=1e-12, atol=1e-12)
    twice = model.log_evidence(torch.cat([x, x]))
    torch.testing.assert_close(twice, torch.cat([log_p, log_p]), rtol=1e-12, atol=1e-12)


@each_model
def test_the_generator_decides_the_sample_and_spares_the_global_one(make):
    model, before = make(), torch.get_rng_state()
    one, same, other = (model.sample(50, seeded(seed, "cpu")) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b, c in zip(one, same, other, strict=True):
        assert len(a) == 50
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@pytest.mark.parametrize("name", MODELS)
def test_noise_is_independent_across_rows(name):
    # Row 2i against row 2i + 1: correlations of 20,000 independent pairs, each about N(0, 1 / 20000).
    z, x = MODELS[name]().sample(40_000, seeded(9, "cpu"))
    rows = torch.cat([z.reshape(40_000, -1).to(DOUBLE), x], 1).view(20_000, -1)
    half = rows.shape[1] // 2
    correlations = torch.corrcoef(rows.T)[:half, half:]
    assert correlations.abs().max() * 20_000**0.5 < 6


# --- the linear Gaussian model ------------------------------------------------------------------------------


@each_size
@each_std
def test_the_linear_evidence_is_that_of_a_dense_normal(D, d, std):
    model = linear(D, d, std)
    x = model.sample(30, seeded(3, "cpu"))[1]
    dense = MultivariateNormal(model.b, model.W @ model.W.T + std**2 * torch.eye(D, dtype=DOUBLE))
    # Both subtract numbers of the size |x - b|² / std², and so lose digits where std is small.
    lost = 1e-14 * ((x - model.b) / std).square().sum(1).max().item()
    torch.testing.assert_close(model.log_evidence(x), dense.log_prob(x), rtol=1e-12, atol=1e-12 + lost)


@pytest.mark.parametrize("d", [1, 3])
def test_the_linear_evidence_is_that_of_scikit_learns_probabilistic_pca(d):
    x = normals(4, 300, 6) @ normals(5, 6, 6) + 3
    pca = PCA(d).fit(x.numpy())
    scale = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    W, b = torch.tensor(pca.components_.T * scale), torch.tensor(pca.mean_)
    model = LinearGaussian(W, b, float(pca.noise_variance_**0.5))
    expected = torch.tensor(pca.score_samples(x.numpy()))
    torch.testing.assert_close(model.log_evidence(x), expected, rtol=1e-11, atol=1e-11)
    rotation = torch.linalg.qr(normals(6, d, d))[0]  # turns the latents, and leaves p(x)
    rotated = LinearGaussian(W @ rotation, b, model.std)
    torch.testing.assert_close(rotated.log_evidence(x), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("D", [1, 2, 4])
def test_the_linear_evidence_and_posterior_are_integrals_over_the_plane_of_latents(D):
    model = linear(D, 2)
    x = model.sample(5, seeded(5, "cpu"))[1]
    line = torch.linspace(-9, 9, 181, dtype=DOUBLE)
    z = torch.cartesian_prod(line, line)[:, None]
    joint = model.log_joint(z, x)
    log_p = joint.logsumexp(0) + 2 * (line[1] - line[0]).log()
    torch.testing.assert_close(model.log_evidence(x), log_p, rtol=1e-11, atol=1e-11)

    weights = joint.softmax(0)[..., None]
    mean = (weights * z).sum(0)
    covariance = ((weights * (z - mean))[..., None] * (z - mean)[..., None, :]).sum(0)
    posterior = model.posterior(x)
    assert posterior.batch_shape == (5,)
    torch.testing.assert_close(posterior.mean, mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(posterior.covariance_matrix, covariance, rtol=1e-10, atol=1e-10)
    density = model.log_posterior(z, x).exp().sum(0) * (line[1] - line[0]) ** 2
    torch.testing.assert_close(density, torch.ones(5, dtype=DOUBLE), rtol=1e-10, atol=0)


@pytest.mark.parametrize(("D", "d"), [(1, 1), (4, 1), (5, 2), (3, 3)])
@each_std
def test_joint_minus_posterior_is_the_linear_evidence_wherever_the_latent_is(D, d, std):
    model = linear(D, d, std)
    x = model.sample(10, seeded(6, "cpu"))[1]
    posterior = model.posterior(x)
    z = posterior.mean + torch.linspace(-4, 4, 9, dtype=DOUBLE)[:, None, None] * posterior.stddev
    evidence = model.log_joint(z, x) - model.log_posterior(z, x)
    lost = 1e-13 * ((x - model.b) / std).square().sum(1).max().item()
    expected = model.log_evidence(x).expand(9, 10)
    torch.testing.assert_close(evidence, expected, rtol=1e-11, atol=1e-11 + lost)
    # The class that all models share computes the same, the other way round.
    general = LatentVariableModel.log_posterior(model, z, x)
    torch.testing.assert_close(general, model.log_posterior(z, x), rtol=1e-11, atol=1e-11 + lost)


@each_size
def test_a_linear_sample_has_the_moments_of_the_joint(D, d):
    # At most 35 z-scores for each size, each beyond 6 once in 500 million.
    model, n = linear(D, d), 40_000
    z, x = model.sample(n, seeded(7, "cpu"))
    assert z.shape == (n, d)
    assert x.shape == (n, D)
    centred = torch.cat([z, x - model.b], 1)
    assert z_score(centred, 0.0).abs().max() < 6
    W, eye = model.W, torch.eye(d, dtype=DOUBLE)
    of_x = W @ W.T + model.std**2 * torch.eye(D, dtype=DOUBLE)
    expected = torch.cat([torch.cat([eye, W.T], 1), torch.cat([W, of_x], 1)])
    i, j = torch.triu_indices(d + D, d + D)
    assert z_score(centred[:, i] * centred[:, j], expected[i, j]).abs().max() < 6
    residual = ((x - z @ W.T - model.b) / model.std)[:, 0]
    for standard in (z[:, 0], residual):
        assert stats.kstest(standard.numpy(), stats.norm.cdf).pvalue > 1e-7


@each_size
@pytest.mark.parametrize("std", [0.1, 1.0, 10.0])
def test_the_linear_elbo_is_the_expectation_of_the_log_ratio(D, d, std):
    model = linear(D, d, std)
    x, q = model.sample(40, seeded(8, "cpu"))[1], some_normal(9, 40, d)
    expected = expectation(q, lambda z: model.log_joint(z, x)) + q.entropy()
    elbo = model.elbo(q, x)
    assert elbo.shape == (40,)
    torch.testing.assert_close(elbo, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("D", "d"), [(4, 1), (5, 2), (2, 4)])
def test_the_linear_elbo_is_the_mean_over_draws(D, d):
    model, n = linear(D, d), 40_000
    x, q = model.sample(3, seeded(10, "cpu"))[1], some_normal(11, 3, d)
    z = q.mean + (normals(12, n, 3, 1, d) * q.scale_tril).sum(-1)
    log_ratio = model.log_joint(z, x) - q.log_prob(z)
    assert z_score(log_ratio, model.elbo(q, x)).abs().max() < 5.5


@each_size
@pytest.mark.parametrize("std", [0.03, 1.0, 1e3])
def test_the_linear_elbo_is_the_evidence_at_the_posterior_and_less_elsewhere(D, d, std):
    model = linear(D, d, std)
    x = model.sample(20, seeded(13, "cpu"))[1]
    posterior, log_p = model.posterior(x), model.log_evidence(x)
    torch.testing.assert_close(model.elbo(posterior, x), log_p, rtol=1e-9, atol=1e-9)
    factor = posterior.scale_tril
    moved = MultivariateNormal(posterior.mean + 0.3 * factor[..., -1], scale_tril=factor)
    wider = MultivariateNormal(posterior.mean, scale_tril=1.1 * factor)
    narrower = MultivariateNormal(posterior.mean, scale_tril=0.9 * factor)
    for q, gap in ((moved, 0.045), (wider, None), (narrower, None), (some_normal(14, 20, d), None)):
        short = log_p - model.elbo(q, x)
        assert (short > 1e-3).all()
        torch.testing.assert_close(short, kl_divergence(q, posterior), rtol=1e-7, atol=1e-7)
        if gap is not None:
            torch.testing.assert_close(short, torch.full_like(short, gap), rtol=1e-7, atol=1e-7)


# --- the Bernoulli mixture ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [False, True])
def test_the_mixtures_evidence_is_the_sum_over_states_and_sums_to_one_over_all_images(zero):
    model = mixture(zero)
    log_p = model.log_evidence(IMAGES)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    weights, pixels = model.prior.probs.tolist(), model.logits.sigmoid().tolist()
    by_hand = [
        sum(
            w * math.prod(p if bit else 1 - p for p, bit in zip(state, image, strict=True))
            for w, state in zip(weights, pixels, strict=True)
        )
        for image in IMAGES.tolist()
    ]
    assert log_p.exp().tolist() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("zero", [False, True])
def test_the_mixtures_posterior_is_the_share_of_each_state(zero):
    model, states = mixture(zero), torch.arange(3)[:, None]
    posterior = model.posterior(IMAGES)
    assert posterior.probs.shape == (16, 3)
    torch.testing.assert_close(posterior.probs.sum(1), torch.ones(16, dtype=DOUBLE))
    share = (model.log_joint(states, IMAGES) - model.log_evidence(IMAGES)).exp().T
    torch.testing.assert_close(posterior.probs, share, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.log_posterior(states, IMAGES).exp().T, share, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("zero", [False, True])
def test_the_mixtures_sample_falls_into_each_cell_as_often_as_the_joint_says(zero):
    # A chi-square test over all states and images fails by chance once in a million.
    model, n = mixture(zero), 100_000
    z, x = model.sample(n, seeded(15, "cpu"))
    assert z.shape == (n,)
    assert x.shape == (n, 4)
    image = (x @ torch.tensor([8.0, 4, 2, 1], dtype=DOUBLE)).long()
    counts = torch.bincount(3 * image + z, minlength=48).view(16, 3)
    expected = n * model.posterior(IMAGES).probs * model.log_evidence(IMAGES).exp()[:, None]
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert possible.sum() == (32 if zero else 48)
    assert expected[possible].min() > 5
    assert stats.chisquare(counts[possible], expected[possible]).pvalue > 1e-6


def test_a_state_that_cannot_be_makes_no_difference():
    model, without = mixture(zero=True), mixture()
    without = BernoulliMixture(without.prior.logits[[0, 2]], without.logits[[0, 2]])
    torch.testing.assert_close(model.log_evidence(IMAGES), without.log_evidence(IMAGES))
    posterior = model.posterior(IMAGES)
    assert (posterior.probs[:, 1] == 0).all()
    torch.testing.assert_close(posterior.probs[:, [0, 2]], without.posterior(IMAGES).probs)
    assert (model.log_posterior(torch.tensor([[1]]), IMAGES) == -math.inf).all()


def test_a_mixture_refuses_grey_pixels():
    with pytest.raises(ValueError, match="Binarise it first"):
        mixture().log_evidence(0.5 * IMAGES)


# --- the curve ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.3, 0.8])
def test_the_curves_evidence_integrates_to_one_over_the_plane(std):
    # A normal around the curve is smooth on the scale of std, and so is its sum on a grid of half of that.
    model, step = Curve(std), std / 2
    reach = 8 * std
    x = torch.cartesian_prod(
        torch.arange(-2 - reach, 2 + reach, step, dtype=DOUBLE),
        torch.arange(-1 - reach, 1 + reach, step, dtype=DOUBLE),
    )
    total = sum(model.log_evidence(rows, every=2).exp().sum().item() for rows in x.split(200))
    assert total * step**2 == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("std", [0.1, 0.3, 2.0])
def test_a_grid_half_as_fine_gives_the_curve_the_same_evidence(std):
    model = Curve(std)
    x = torch.cat([model.sample(30, seeded(16, "cpu"))[1], torch.tensor([[0.0, 0.0], [9.0, -7.0]])])
    fine, coarse = model.log_evidence(x), model.log_evidence(x, every=2)
    torch.testing.assert_close(fine, coarse, rtol=1e-11, atol=1e-11)
    assert (model.log_evidence(x, every=900) - fine).abs().max() > 0.01  # `every` does something


def test_the_curves_posterior_integrates_to_one():
    model = Curve()
    x = torch.cat([model.sample(10, seeded(17, "cpu"))[1], torch.tensor([[0.0, 0.0], [5.0, 5.0]])])
    z = torch.linspace(-8, 8, 5001, dtype=DOUBLE)[:, None]
    density = model.log_posterior(z, x).exp()
    total = density.sum(0) * (z[1] - z[0])
    torch.testing.assert_close(total, torch.ones(12, dtype=DOUBLE), rtol=1e-10, atol=0)


def test_the_curve_goes_through_its_four_ends_and_corners():
    z = torch.tensor([[0.0, math.pi], [math.pi / 4, -math.pi / 4]], dtype=DOUBLE)
    expected = torch.tensor([[[2.0, 0.0], [-2.0, 0.0]], [[2**0.5, 1.0], [2**0.5, -1.0]]], dtype=DOUBLE)
    torch.testing.assert_close(Curve().mean(z), expected, rtol=0, atol=1e-15)


def test_the_curve_crosses_itself_at_the_origin_where_the_posterior_has_two_equal_modes():
    model, origin = Curve(), torch.zeros(1, 2, dtype=DOUBLE)
    crossing = torch.tensor([-math.pi / 2, math.pi / 2], dtype=DOUBLE)
    torch.testing.assert_close(model.mean(crossing), torch.zeros(2, 2, dtype=DOUBLE), rtol=0, atol=1e-15)
    at = model.log_posterior(crossing[:, None], origin)[:, 0]
    torch.testing.assert_close(at[0], at[1], rtol=0, atol=1e-12)
    z = torch.linspace(-3, 3, 6001, dtype=DOUBLE)
    density = model.log_posterior(z[:, None], origin)[:, 0]
    inside = density[1:-1]
    peaks = (inside > density[:-2]) & (inside > density[2:])
    modes = z[1:-1][peaks & (inside > density.max() - 10)]  # there is a bump of exp(-20) of their height at 0
    # Not quite at the crossing: the prior pulls each towards 0.
    torch.testing.assert_close(modes, crossing, rtol=0, atol=0.02)
    assert modes.abs().max() < math.pi / 2
    assert model.log_posterior(torch.zeros(1, 1, dtype=DOUBLE), origin).item() < density.max().item() - 10


def test_a_curves_sample_has_the_latents_the_noise_and_the_density_that_the_model_says():
    model, n = Curve(), 40_000
    z, x = model.sample(n, seeded(18, "cpu"))
    assert z.shape == (n,)
    assert x.shape == (n, 2)
    noise = (x - model.mean(z)) / model.std
    for standard in (z, noise[:, 0], noise[:, 1]):
        assert stats.kstest(standard.numpy(), stats.norm.cdf).pvalue > 1e-7
    assert (
        z_score(torch.stack([noise[:, 0] * noise[:, 1], noise[:, 0] * z, noise[:, 1] * z], 1), 0).abs().max()
        < 6
    )
    # How many points fall into a small square, against the evidence integrated over it.
    for centre in ([0.0, 0.0], [1.9, 0.3], [1.0, -0.9]):
        low = torch.tensor(centre, dtype=DOUBLE) - 0.2
        cells = (torch.arange(20, dtype=DOUBLE) + 0.5) * 0.02
        share = (
            model.log_evidence(low + torch.cartesian_prod(cells, cells), every=4).exp().sum().item() * 0.02**2
        )
        inside = ((x >= low) & (x < low + 0.4)).all(1).double().mean().item()
        assert abs(inside - share) / (share * (1 - share) / n) ** 0.5 < 5.5


# --- expectations -------------------------------------------------------------------------------------------


def test_the_expectation_under_a_categorical_is_the_sum_over_states():
    q, values = Categorical(logits=normals(19, 5, 3)), normals(20, 3, 5)
    seen = []

    def f(z):
        seen.append(z)
        return values.gather(0, z.expand(3, 5))

    torch.testing.assert_close(expectation(q, f), (q.probs * values.T).sum(1))
    assert [z.shape for z in seen] == [(3, 5)]
    assert (seen[0] == torch.arange(3)[:, None]).all()


@pytest.mark.parametrize("value", [-math.inf, math.inf, math.nan])
def test_a_state_that_q_rules_out_counts_nothing_whatever_its_value(value):
    values = torch.tensor([[1.0, 1.0], [2.0, value], [value, 3.0]], dtype=DOUBLE)
    probs = torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]], dtype=DOUBLE)
    for q in (Categorical(probs=probs), Categorical(logits=probs.log())):
        torch.testing.assert_close(expectation(q, lambda z: values), torch.tensor([1.75, 2.0], dtype=DOUBLE))
    possible = Categorical(probs=torch.full((2, 3), 1 / 3, dtype=DOUBLE))
    assert not expectation(possible, lambda z: values).isfinite().any()


@pytest.mark.parametrize("std", [1e-6, 0.5, 2.0, 1e6])
def test_the_expectation_under_a_normal_has_the_known_moments(std):
    mean = torch.tensor([-1.5, 0.0, 3.0], dtype=DOUBLE)
    q = Normal(mean, torch.full_like(mean, std))
    moments = [
        1,
        mean,
        mean**2 + std**2,
        mean**3 + 3 * mean * std**2,
        mean**4 + 6 * (mean * std) ** 2 + 3 * std**4,
    ]
    for power, moment in enumerate(moments):
        got = expectation(q, lambda z, power=power: z**power)
        torch.testing.assert_close(got, moment + 0 * mean, rtol=1e-11, atol=1e-11 * std**power)


def test_the_expectation_under_a_normal_of_what_is_no_polynomial():
    q = Normal(normals(21, 4), 0.1 + normals(22, 4).abs())
    exponential = (q.mean + q.stddev**2 / 2).exp()
    torch.testing.assert_close(expectation(q, torch.exp), exponential, rtol=1e-11, atol=0)
    wave = (3 * q.mean).cos() * (-(9 * q.stddev**2) / 2).exp()
    torch.testing.assert_close(expectation(q, lambda z: (3 * z).cos()), wave, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(expectation(q, lambda z: -q.log_prob(z)), q.entropy(), rtol=1e-11, atol=0)


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_the_expectation_under_a_correlated_normal_is_exact_up_to_degree_three_and_no_further(d):
    # Every polynomial of degree k is a sum of powers up to k of lines a·z + c, which are normal under q.
    q, a, c = some_normal(23, 6, d), normals(24, 50, 1, 1, d), normals(25, 50, 1, 1)
    mean = (q.mean @ a[:, 0, 0].T + c[:, 0, 0]).T  # (lines, batch)
    variance = torch.einsum("li,bij,lj->lb", a[:, 0, 0], q.covariance_matrix, a[:, 0, 0])
    moments = [torch.ones_like(mean), mean, mean**2 + variance, mean**3 + 3 * mean * variance]
    for power, moment in enumerate(moments):
        for line in range(50):
            got = expectation(q, lambda z, i=line, power=power: ((z * a[i, 0]).sum(-1) + c[i, 0]) ** power)
            torch.testing.assert_close(got, moment[line], rtol=1e-10, atol=1e-10)
    fourth = expectation(q, lambda z: z.sum(-1) ** 4)
    mean, variance = q.mean.sum(-1), q.covariance_matrix.sum((-2, -1))
    exact = mean**4 + 6 * mean**2 * variance + 3 * variance**2
    assert ((fourth - exact).abs() > 1e-4 * exact).all()


def test_the_expectation_under_a_normal_of_one_dimension_is_that_of_a_number():
    one = some_normal(26, 4, 1)
    number = Normal(one.mean[:, 0], one.stddev[:, 0])
    got = expectation(one, lambda z: (z**3 - z)[..., 0])
    torch.testing.assert_close(got, expectation(number, lambda z: z**3 - z), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("make", [Curve, mixture, lambda: linear(4, 2)], ids=["curve", "mixture", "linear"])
def test_the_expectation_is_the_mean_over_draws(make):
    # With f the log-likelihood of an image, and draws that do not come from `expectation`'s points.
    model, n = make(), 50_000
    x = model.sample(4, seeded(27, "cpu"))[1]
    if isinstance(model, Curve):
        q = Normal(normals(28, 4), 0.2 + normals(29, 4).abs())
        z = q.mean + q.stddev * normals(30, n, 4)
    elif isinstance(model, LinearGaussian):
        q = some_normal(31, 4, 2)
        z = q.mean + (normals(32, n, 4, 1, 2) * q.scale_tril).sum(-1)
    else:
        q = Categorical(logits=normals(33, 4, 3))
        z = torch.multinomial(q.probs, n, replacement=True, generator=seeded(34, "cpu")).T
    mean = expectation(q, lambda z: model.log_likelihood(z, x))
    assert z_score(model.log_likelihood(z, x), mean).abs().max() < 5.5


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
def test_an_expectation_has_one_number_an_image_in_the_precision_of_q(batch, dtype):
    q = some_normal(35, batch, 2)
    normal = MultivariateNormal(q.mean.to(dtype), scale_tril=q.scale_tril.to(dtype))
    number = Normal(q.mean[:, 0].to(dtype), q.stddev[:, 0].to(dtype))
    categorical = Categorical(logits=normals(36, batch, 3).to(dtype))
    for q, f in (
        (normal, lambda z: z.sum(-1)),
        (number, lambda z: z),
        (categorical, lambda z: z.to(dtype)),
    ):
        whole = expectation(q, f)
        assert whole.shape == (batch,)
        assert whole.dtype == dtype


def test_gradients_reach_q_through_an_expectation():
    mean, std = normals(37, 3).requires_grad_(), (0.5 + normals(38, 3).abs()).requires_grad_()
    expectation(Normal(mean, std), lambda z: z**2).sum().backward()
    torch.testing.assert_close(mean.grad, 2 * mean.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(std.grad, 2 * std.detach(), rtol=1e-10, atol=1e-10)
    logits = normals(39, 3, 4).requires_grad_()
    expectation(Categorical(logits=logits), lambda z: z.to(DOUBLE)).sum().backward()
    p, states = logits.detach().softmax(1), torch.arange(4, dtype=DOUBLE)
    expected = p * (states - (p @ states)[:, None])
    torch.testing.assert_close(logits.grad, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "q",
    [
        distributions.Laplace(torch.zeros(2), 1.0),
        distributions.Bernoulli(logits=torch.zeros(2)),
        distributions.LogNormal(torch.zeros(2), 1.0),
        distributions.Independent(Normal(torch.zeros(2, 3), 1.0), 1),
    ],
    ids=lambda q: type(q).__name__,
)
def test_other_distributions_are_refused_by_name(q):
    expected = f"q is a {type(q).__name__}; expected Categorical, Normal or MultivariateNormal"
    with pytest.raises(TypeError, match=expected):
        expectation(q, lambda z: z)
