"""What the explorer of the curve draws is what Bayes' rule gives for the x that is shown."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.distributions import Normal

from explored import assert_moves
from vaebook.exact import Curve
from vaebook.explorers.posterior import HEIGHT, posterior_explorer

START = {"first": 0.0, "second": 0.0}
MOVED = {"first": 1.2, "second": -0.7}


SLOPE = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)  # as the weights of an encoder do


def q(x: torch.Tensor) -> Normal:
    """A guess that differs from image to image, in its mean and in its width."""
    return Normal(SLOPE * (x[:, 0] - x[:, 1]), 0.2 + 0.1 * x[:, 0].abs())


@pytest.fixture(scope="module")
def built():
    plt.close("all")
    curve = Curve()
    samples = curve.sample(50, torch.Generator().manual_seed(0))[1]
    return posterior_explorer(curve, q, samples)


@pytest.fixture
def explorer(built):
    built.still(**START)
    return built


def drawn(explorer, label: str) -> tuple[np.ndarray, np.ndarray]:
    (line,) = (line for line in explorer.figure.axes[1].lines if line.get_label().startswith(label))
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def area(z: np.ndarray, density: np.ndarray) -> float:
    return float(np.trapezoid(density, z))


@pytest.mark.parametrize("at", [START, MOVED, {"first": -2.5, "second": 1.5}])
def test_the_curves_are_prior_likelihood_posterior_and_q_at_the_x_that_is_shown(explorer, at):
    explorer.still(**at)
    x = np.array([at["first"], at["second"]])
    z, prior = drawn(explorer, "prior")
    np.testing.assert_allclose(prior, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), atol=1e-12)
    mean = np.stack([2 * np.cos(z), np.sin(2 * z)], -1)
    likelihood = np.exp(-((mean - x) ** 2).sum(-1) / (2 * 0.3**2))  # up to a factor
    _, scaled = drawn(explorer, "likelihood")
    np.testing.assert_allclose(scaled, HEIGHT * likelihood / likelihood.max(), atol=1e-9)
    joint = prior * likelihood
    _, posterior = drawn(explorer, "posterior")
    np.testing.assert_allclose(posterior, joint / area(z, joint), atol=1e-9)
    _, guess = drawn(explorer, "q")
    width = 0.2 + 0.1 * abs(x[0])
    expected = np.exp(-(((z - x[0] + x[1]) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(guess, expected, atol=1e-9)


def test_the_dot_stands_at_x(explorer):
    explorer.still(**MOVED)
    (dot,) = (line for line in explorer.figure.axes[0].lines if line.get_marker() == "o")
    assert (float(dot.get_xdata()[0]), float(dot.get_ydata()[0])) == tuple(MOVED.values())


@pytest.mark.parametrize("at", [START, MOVED])
def test_the_title_holds_the_evidence_and_the_distance_of_q(explorer, at):
    explorer.still(**at)
    evidence, kl = map(float, re.findall(r"-?\d+\.\d+", explorer.figure.axes[1].get_title()))
    x = torch.tensor([list(at.values())], dtype=torch.float64)
    curve = Curve()
    assert evidence == pytest.approx(curve.log_evidence(x).item(), abs=0.006)
    draws = q(x).sample((400_000,))  # (draws, 1)
    values = (q(x).log_prob(draws) - curve.log_posterior(draws, x)).detach()
    error = values.std().item() / len(values) ** 0.5
    assert abs(kl - values.mean().item()) < 0.006 + 4 * error


def test_a_move_changes_the_picture_and_moving_back_restores_it(explorer):
    assert_moves(explorer, MOVED)


def test_what_moves_is_animated_and_what_does_not_is_not(explorer):
    plane, line = explorer.figure.axes
    moving = [artist.get_label() for artist in line.lines if artist.get_animated()]
    assert moving == ["likelihood (scaled)", "posterior", "q"]
    assert line.title.get_animated()
    assert [artist.get_animated() for artist in plane.lines] == [False, True]
    assert plt.get_fignums() == []


def test_controls_say_what_they_are_and_refuse_what_they_cannot(explorer):
    assert [control.label for control in explorer.controls.values()] == [
        "first coordinate",
        "second coordinate",
    ]
    with pytest.raises(ValueError, match="first goes from -2.5 to 2.5 in steps of 0.1; got 3"):
        explorer.still(first=3)
