"""The noise never moves, every z is mu + sigma * eps, and the image is the decoder mean at the amber z."""

import pytest
import torch

from explored import assert_moves
from vaebook.explorers.arrays import rounded
from vaebook.explorers.reparameterization import reparameterization_explorer
from vaebook.models import VAE


@pytest.fixture(scope="module")
def world():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        vae = VAE(784, 2, (16,))
        vae.decoder[-1].weight.data *= 5
        codes = 2 * torch.randn(30, 2)
    return vae, codes, reparameterization_explorer(vae.decoder, codes, torch.arange(30) % 10, draws=12)


def points(line) -> torch.Tensor:
    return torch.tensor([list(axis) for axis in line.get_data()], dtype=torch.float32).T  # (n, 2)


def parts(explorer):
    left, plane, screen = explorer.figure.axes
    noise, marked = left.lines
    line, cloud, centre, chosen = plane.lines
    return noise, marked, line, cloud, centre, chosen, screen.images[0]


PLACES = ((0.0, 0.0, 1.0, 0), (1.3, -0.7, 0.5, 4), (-2.0, 1.0, 0.0, 11))


@pytest.mark.parametrize(("mu1", "mu2", "sigma", "draw"), PLACES)
@torch.no_grad()
def test_the_cloud_is_the_noise_scaled_and_shifted(world, mu1, mu2, sigma, draw):
    vae, _, explorer = world
    before = points(parts(explorer)[0])
    explorer.still(mu1=mu1, mu2=mu2, sigma=sigma, draw=draw)
    noise, marked, line, cloud, centre, chosen, picture = parts(explorer)
    mu = torch.tensor([mu1, mu2])
    assert torch.equal(points(noise), before)
    z = mu + sigma * points(noise)
    torch.testing.assert_close(points(cloud), z)
    torch.testing.assert_close(points(centre)[0], mu)
    torch.testing.assert_close(points(marked)[0], points(noise)[draw])
    torch.testing.assert_close(points(chosen)[0], z[draw])
    torch.testing.assert_close(points(line), torch.stack([mu, z[draw]]))
    shown = torch.tensor(picture.get_array().data).flatten()
    torch.testing.assert_close(shown, rounded(vae.decoder)[0](z[draw : draw + 1]).sigmoid()[0])


def test_the_noise_is_standard_normal_and_not_standardised(world):
    vae, codes, _ = world
    explorer = reparameterization_explorer(vae.decoder, codes, torch.zeros(30, dtype=torch.long), draws=4000)
    noise = points(parts(explorer)[0])
    assert (noise.mean(0) * 4000**0.5).abs().max() < 4.5
    assert ((noise.var(0) - 1) * 2000**0.5).abs().max() < 4.5


def test_every_control_changes_the_picture_and_moving_back_restores_it(world):
    explorer = world[2]
    explorer.still(mu1=0.0, mu2=0.0, sigma=0.5, draw=0)
    assert_moves(explorer, {"mu1": 1.0, "mu2": -1.0, "sigma": 1.0, "draw": 5})


def test_mu_reaches_every_code(world):
    _, codes, explorer = world
    for name, column in zip(("mu1", "mu2"), codes.T, strict=True):
        control = explorer.controls[name]
        assert control.min <= column.min()
        assert column.max() <= control.max
