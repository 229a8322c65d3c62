"""The explorer of chapter 4.3 shows the model of the chosen beta: its place, its dimensions, its images."""

import copy

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from explored import assert_moves
from vaebook import figures
from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal
from vaebook.device import seeded
from vaebook.explorers.frontier import beta_explorer
from vaebook.models import BetaVAE

BETAS = (0.0, 1.0, 8.0)
DIMS, SHOWN = 3, 4


@pytest.fixture(scope="module")
def world():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        x = torch.bernoulli(torch.full((20, 784), 0.5))
        models = {beta: BetaVAE(784, DIMS, (16,), beta=beta) for beta in BETAS}
    for beta, model in models.items():
        model.decoder[-1].weight.data *= 3
        model.encoder[-1].weight.data *= 1 / (1 + beta)
        model.encoder[-1].bias.data[0] = 3.0  # one dimension is dear at every beta
    return models, x, beta_explorer(models, x, draws=SHOWN)


def animated_lines(explorer):
    line, ring = (line for line in explorer.figure.axes[0].lines if line.get_animated())
    return line, ring


@pytest.mark.parametrize("beta", BETAS)
@torch.no_grad()
def test_the_ring_is_where_the_chosen_model_is(world, beta):
    models, x, explorer = world
    explorer.still(beta=beta)
    _, ring = animated_lines(explorer)
    mu, log_var = models[beta].encode(x)
    noise = torch.randn(mu.shape, generator=seeded(0, x.device))
    logits = models[beta].decode(mu + (0.5 * log_var).exp() * noise)
    kl = kl_to_standard_normal(mu, log_var).mean().item()
    reconstruction = bernoulli_log_likelihood(logits, x).mean().item()
    assert ring.get_xdata()[0] == pytest.approx(kl, rel=1e-5)
    assert ring.get_ydata()[0] == pytest.approx(reconstruction, rel=1e-5)
    titles = [text.get_text() for text in explorer.figure.axes[0].findobj(Text)]
    assert f"beta {beta:g}: {reconstruction:.1f} - {kl:.1f} = {reconstruction - kl:.1f} nats" in titles


@pytest.mark.parametrize("beta", BETAS)
def test_the_line_has_slope_beta_and_goes_through_the_ring(world, beta):
    _, _, explorer = world
    explorer.still(beta=beta)
    line, ring = animated_lines(explorer)
    (left, right), (low, high) = line.get_data()
    assert (high - low) / (right - left) == pytest.approx(beta)
    at_ring = low + beta * (ring.get_xdata()[0] - left)
    assert at_ring == pytest.approx(ring.get_ydata()[0])


def test_every_model_is_on_the_page_and_inside_it(world):
    models, _, explorer = world
    frontier = explorer.figure.axes[0]
    (dots,) = (line for line in frontier.lines if not line.get_animated())
    assert len(dots.get_xdata()) == len(models)
    for values, limits in ((dots.get_xdata(), frontier.get_xlim()), (dots.get_ydata(), frontier.get_ylim())):
        assert limits[0] < min(values)
        assert max(values) < limits[1]


@pytest.mark.parametrize("beta", BETAS)
@torch.no_grad()
def test_the_bars_add_up_to_the_kl_and_fall(world, beta):
    models, x, explorer = world
    explorer.still(beta=beta)
    heights = [bar.get_height() for bar in explorer.figure.axes[1].patches]
    assert len(heights) == DIMS
    assert heights == sorted(heights, reverse=True)
    assert sum(heights) == pytest.approx(
        kl_to_standard_normal(*models[beta].encode(x)).mean().item(), rel=1e-5
    )
    assert max(heights) < explorer.figure.axes[1].get_ylim()[1]
    used = sum(height > 0.1 for height in heights)
    assert explorer.figure.axes[1].get_title() == f"{used} dimensions above 0.1 nats"


@pytest.mark.parametrize("beta", BETAS)
@torch.no_grad()
def test_the_images_come_from_the_chosen_model(world, beta):
    models, x, explorer = world
    explorer.still(beta=beta)
    model = models[beta]
    prior = torch.randn(SHOWN, DIMS, generator=seeded(1, x.device))
    expected = torch.cat(
        [x[:SHOWN], model.decoder_mean(model.encode(x[:SHOWN])[0]), model.decoder_mean(prior)]
    )
    shown = np.asarray(explorer.figure.axes[2].images[0].get_array())
    np.testing.assert_allclose(shown, figures.tile(expected, SHOWN).numpy(), atol=0.5 / 255 + 1e-6)


def test_a_move_changes_the_picture_and_moving_back_restores_it(world):
    _, _, explorer = world
    explorer.still(beta=1.0)
    assert_moves(explorer, {"beta": 8.0})


def test_it_starts_at_the_elbo_or_at_the_first_model(world):
    models, x, _ = world
    assert beta_explorer(models, x, draws=SHOWN).values == {"beta": 1.0}
    others = {2.0: copy.deepcopy(models[1.0]), 0.5: models[0.0]}
    assert beta_explorer(others, x, draws=SHOWN).values == {"beta": 2.0}
