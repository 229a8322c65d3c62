"""The explorer of draws from the prior shows what the linear-Gaussian model says, and its own estimates."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from explored import assert_moves
from vaebook.exact import LinearGaussian
from vaebook.explorers.arrays import normals
from vaebook.explorers.dimension import MOST, PIXELS, RUNS, draws_explorer, rounded, share_worth

SEED = 3
START = {"d": 2, "draws": MOST, "noise": 1.0}
MOVES = {"d": 9, "draws": 5, "noise": 0.3}
each_place = pytest.mark.parametrize(
    ("d", "draws", "noise"), [(1, MOST, 2.0), (4, 5, 0.5), (20, MOST, 0.3), (20, 0, 1.0)]
)


@pytest.fixture(scope="module")
def built():
    plt.close("all")
    return draws_explorer(seed=SEED)


@pytest.fixture
def explorer(built):
    built.still(**START)
    return built


def expected(d: int, noise: float) -> tuple[torch.Tensor, float, float]:
    """log p(x|z) - log p(x), (draws, runs), log p(x) and the KL, by PyTorch's full normal distributions."""
    generator = torch.Generator().manual_seed(SEED)
    W = torch.linalg.qr(torch.randn(PIXELS, PIXELS, generator=generator, dtype=torch.float64))[0][:, :d]
    truth, eps = torch.randn(2, PIXELS, generator=generator, dtype=torch.float64)
    z = normals(SEED, 2**MOST, RUNS, PIXELS)[..., :d]
    x = W @ truth[:d] + noise * eps
    eye, zero = torch.eye(PIXELS, dtype=torch.float64), torch.zeros(PIXELS, dtype=torch.float64)
    log_evidence = MultivariateNormal(zero, W @ W.T + noise**2 * eye).log_prob(x)
    share = 1 / (1 + noise**2)  # W has orthonormal columns: so much of x the posterior takes over
    posterior = Normal(share * (x @ W), math.sqrt(1 - share))
    kl = kl_divergence(posterior, Normal(torch.zeros(d).double(), 1.0)).sum()
    return Normal(z @ W.T, noise).log_prob(x).sum(-1) - log_evidence, log_evidence.item(), kl.item()


def curves(explorer) -> tuple[list[np.ndarray], np.ndarray]:
    left, right = explorer.figure.axes
    moving = [np.array(line.get_data()) for line in left.lines if line.get_animated()]
    (shares,) = (np.array(line.get_data()) for line in right.lines)
    return moving, shares


@each_place
def test_the_lines_are_the_running_estimates_minus_the_truth(explorer, d, draws, noise):
    explorer.still(d=d, draws=draws, noise=noise)
    log_weights, _, kl = expected(d, noise)
    lines, _ = curves(explorer)
    assert len(lines) == RUNS
    for run, (counts, estimates) in enumerate(lines):
        assert counts[0] == 1
        assert counts[-1] == 2**draws
        wanted = [log_weights[: int(k), run].logsumexp(0).item() - math.log(k) for k in counts]
        np.testing.assert_allclose(estimates, wanted, rtol=1e-9, atol=1e-9)
    title = explorer.figure.axes[0].get_title()
    assert title.startswith(f"{2**draws} draws")
    assert title.endswith(f"{kl:.1f} nats")


@each_place
def test_the_weights_and_what_they_are_worth(explorer, d, draws, noise):
    explorer.still(d=d, draws=draws, noise=noise)
    weights = expected(d, noise)[0][: 2**draws, 0].softmax(0)
    _, (counts, held) = curves(explorer)
    heaviest = weights.sort(descending=True).values.cumsum(0)
    np.testing.assert_allclose(held, heaviest[torch.tensor(counts).long() - 1], rtol=1e-9)
    assert held[-1] == pytest.approx(1)
    worth = 1 / weights.square().sum().item()
    assert explorer.figure.axes[1].get_title().startswith(f"worth {worth:.1f} draws; in truth ")


def test_the_true_worth_is_where_the_estimated_one_ends(explorer):
    explorer.still(d=2, draws=MOST, noise=2.0)  # so easy that 4,096 draws show it
    found = explorer.figure.axes[1].get_title()
    seen, true = float(found.split()[1]), float(found.split()[-1])
    assert seen == pytest.approx(true, rel=0.1)


def test_the_share_is_the_squared_mean_over_the_mean_square():
    W = torch.tensor([[0.8], [-0.4]], dtype=torch.float64)
    model = LinearGaussian(W, torch.tensor([0.3, 0.0], dtype=torch.float64), 0.5)
    x = torch.tensor([[0.0, 0.0], [1.5, -2.0]], dtype=torch.float64)
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)[:, None, None]
    prior = Normal(0.0, 1.0).log_prob(z[..., 0]).exp() * (z[1] - z[0]).item()
    likelihood = model.log_likelihood(z, x).exp()
    wanted = (prior * likelihood).sum(0).square() / (prior * likelihood.square()).sum(0)
    torch.testing.assert_close(share_worth(model, x), wanted)


def test_a_move_changes_the_picture_and_moving_back_restores_it(explorer):
    assert_moves(explorer, MOVES)


def test_every_noise_can_be_chosen_and_the_same_seed_gives_the_same_picture():
    one, two, other = (draws_explorer(noises=(0.7, 3.0), seed=seed) for seed in (1, 1, 2))
    assert one.controls["noise"].options == (0.7, 3.0)
    assert one.state() == two.state() != other.state()


@pytest.mark.parametrize(
    ("number", "text"),
    [(2066.3, "2100"), (340.0, "340"), (12.34, "12"), (0.314, "0.31"), (0.0021, "0.0021"), (2.2e-7, "2e-07")],
)
def test_numbers_are_shown_to_two_digits(number, text):
    assert rounded(number) == text
