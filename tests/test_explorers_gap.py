"""The bars of the gap explorer are the ELBO and the KL divergence of the q that its sliders describe."""

import math

import pytest
import torch
from matplotlib.patches import Rectangle
from torch.distributions import Normal

from explored import assert_moves
from vaebook.exact import Curve
from vaebook.explorers.gap import gap_explorer

POINTS = {
    "end": torch.tensor([2.0, 0.0], dtype=torch.float64),
    "crossing": torch.tensor([0.0, 0.0], dtype=torch.float64),
}
MODEL = Curve()
FLOOR = -12.0


@pytest.fixture(scope="module")
def explorer():
    return gap_explorer(MODEL, POINTS, FLOOR)


def by_riemann_sum(x: torch.Tensor, mu: float, sigma: float) -> tuple[float, float, float]:
    """log p(x), ELBO and KL from sums over a fine grid, with densities written out."""
    z = torch.linspace(-14, 14, 56001, dtype=torch.float64)
    dz = 28 / 56000
    mean = torch.stack([2 * z.cos(), (2 * z).sin()], 1)
    log_joint = (
        -(z**2) / 2
        - 0.5 * math.log(2 * math.pi)
        - ((x - mean) ** 2).sum(1) / (2 * MODEL.std**2)
        - math.log(2 * math.pi * MODEL.std**2)
    )
    log_q = -(((z - mu) / sigma) ** 2) / 2 - math.log(sigma) - 0.5 * math.log(2 * math.pi)
    log_evidence = math.log(log_joint.exp().sum().item() * dz)
    elbo = (log_q.exp() * (log_joint - log_q)).sum().item() * dz
    kl = (log_q.exp() * (log_q - (log_joint - log_evidence))).sum().item() * dz
    return log_evidence, elbo, kl


def bars(explorer) -> tuple[Rectangle, Rectangle]:
    base, gap = (patch for patch in explorer.figure.axes[0].patches if isinstance(patch, Rectangle))
    return base, gap


@pytest.mark.parametrize(
    ("point", "mu", "sigma"),
    [("end", 0.0, 0.16), ("end", 0.5, 0.2), ("crossing", 1.55, 0.11), ("crossing", 1.4, 0.15)],
)
def test_the_bars_are_the_elbo_and_the_gap(explorer, point, mu, sigma):
    explorer.still(point=point, mu=mu, sigma=sigma)
    log_evidence, elbo, kl = by_riemann_sum(POINTS[point], mu, sigma)
    base, gap = bars(explorer)
    assert base.get_y() == FLOOR
    assert base.get_y() + base.get_height() == pytest.approx(elbo, abs=1e-6)
    assert gap.get_y() == pytest.approx(elbo, abs=1e-6)
    assert gap.get_height() == pytest.approx(kl, abs=1e-6)
    assert gap.get_y() + gap.get_height() == pytest.approx(log_evidence, abs=1e-6)
    texts = [text.get_text() for text in explorer.figure.axes[0].texts]
    assert texts == [f"log p(x) {log_evidence:.2f}", f"KL {kl:.2f}", f"ELBO {elbo:.2f}"]


def test_moving_q_moves_the_border_and_not_the_top(explorer):
    tops, borders = [], []
    for mu in (-0.4, 0.0, 0.4):
        explorer.still(point="end", mu=mu, sigma=0.2)
        base, gap = bars(explorer)
        tops.append(gap.get_y() + gap.get_height())
        borders.append(base.get_height())
    assert max(tops) - min(tops) < 1e-12
    assert max(borders) - min(borders) > 1


def test_an_elbo_below_the_floor_is_printed_and_not_drawn(explorer):
    explorer.still(point="end", mu=3.0, sigma=1.5)
    log_evidence, elbo, kl = by_riemann_sum(POINTS["end"], 3.0, 1.5)
    base, gap = bars(explorer)
    assert elbo < FLOOR
    assert base.get_height() == 0
    assert gap.get_y() == FLOOR
    assert gap.get_y() + gap.get_height() == pytest.approx(log_evidence, abs=1e-6)
    assert explorer.figure.axes[0].texts[2].get_text() == f"ELBO {elbo:.2f}"
    assert explorer.figure.axes[0].texts[1].get_text() == f"KL {kl:.2f}"


def test_both_densities_are_those_of_q_and_of_the_posterior(explorer):
    explorer.still(point="crossing", mu=1.0, sigma=0.3)
    posterior, q = explorer.figure.axes[1].lines
    z = torch.tensor(q.get_xdata())
    torch.testing.assert_close(
        torch.tensor(q.get_ydata()), Normal(1.0, 0.3).log_prob(z).exp(), atol=1e-6, rtol=0
    )
    height = torch.tensor(posterior.get_ydata())
    assert (height.sum() * (z[1] - z[0])).item() == pytest.approx(1, abs=1e-4)
    # Symmetric, with two modes near -pi/2 and pi/2 and a valley between.
    torch.testing.assert_close(height, height.flip(0), atol=1e-9, rtol=0)
    assert abs(z[height.argmax()].abs().item() - math.pi / 2) < 0.1
    assert height[z.abs() < 0.3].max() < 1e-3 * height.max()


def test_whatever_moves_is_animated(explorer):
    bar, plane = explorer.figure.axes
    assert all(artist.get_animated() for artist in (*bar.patches, *bar.lines, *bar.texts, *plane.lines))


def test_a_move_and_the_way_back_give_the_same_picture(explorer):
    explorer.still(point="end", mu=0.0, sigma=0.2)
    assert_moves(explorer, {"point": "crossing", "mu": 1.0, "sigma": 0.6})
