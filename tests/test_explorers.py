"""A move of a control changes the picture at once, and the picture is what the model says there."""

import io
import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from vaebook.explorers import Explorer, code_plane, code_size_and_noise, latent_plane
from vaebook.models import VAE, Autoencoder


class World:
    """Models whose pictures vary strongly, images, and an explorer of each kind."""

    def __init__(self):
        self.x = torch.bernoulli(torch.full((3, 784), 0.5))
        self.autoencoders = {size: Autoencoder(784, size, (16,)) for size in (8, 2)}
        self.vae = VAE(784, 2, (16,))
        for model in (*self.autoencoders.values(), self.vae):
            model.decoder[-1].weight.data *= 5
        self.codes = 2 * torch.randn(30, 2)
        labels = torch.arange(30) % 10
        self.explorers = {
            "code_size_and_noise": code_size_and_noise(self.autoencoders, self.x),
            "code_plane": code_plane(self.autoencoders[2], self.codes, labels),
            "latent_plane": latent_plane(self.vae, self.codes, labels, self.x[:2]),
        }


@pytest.fixture(scope="module")
def built() -> tuple[World, dict]:
    plt.close("all")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        world = World()
    return world, {name: explorer.values for name, explorer in world.explorers.items()}


@pytest.fixture
def world(built) -> World:
    """The world as it was built: every control back where it started."""
    world, starts = built
    for name, explorer in world.explorers.items():
        explorer.still(**starts[name])
    return world


MOVES = {
    "code_size_and_noise": {"image": 2, "code_size": 8, "noise": 0.4},
    "code_plane": {"first": 1.5, "second": -1.0},
    "latent_plane": {"way": 0.6, "draw": 7, "spread": 2.0},
}
each_explorer = pytest.mark.parametrize("name", MOVES)
each_move = pytest.mark.parametrize(
    ("name", "control", "value"), [(n, c, v) for n, moves in MOVES.items() for c, v in moves.items()]
)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)


def shown(explorer: Explorer, index: int = 0) -> torch.Tensor:
    """The pixels (784,) of one of the images in the figure."""
    images = [image for ax in explorer.figure.axes for image in ax.images]
    return torch.tensor(images[index].get_array().data).flatten()


def point(explorer: Explorer) -> torch.Tensor:
    """Where the dot stands on the plane."""
    (dot,) = (line for line in explorer.figure.axes[0].lines if line.get_marker() == "o")
    return torch.tensor([float(dot.get_xdata()[0]), float(dot.get_ydata()[0])])


# --- every explorer -----------------------------------------------------------------------------------------


@each_move
def test_a_move_of_any_control_changes_the_picture_and_moving_back_restores_it(world, name, control, value):
    explorer = world.explorers[name]
    at_start, before = explorer.values[control], explorer.picture.value
    explorer.controls[control].value = value
    moved = explorer.picture.value
    assert np.abs(pixels(moved) - pixels(before)).max() > 50
    explorer.controls[control].value = at_start
    assert explorer.picture.value == before
    explorer.controls[control].value = value
    assert explorer.picture.value == moved


@each_explorer
def test_the_picture_depends_on_the_values_and_not_on_the_way_there(world, name):
    explorer, moves = world.explorers[name], MOVES[name]
    explorer.still(**moves)
    picture = explorer.picture.value
    for control in explorer.controls.values():
        control.value = control.max if hasattr(control, "max") else control.options[-1]
    assert explorer.picture.value != picture
    for control in reversed(moves):
        explorer.controls[control].value = moves[control]
    assert explorer.picture.value == picture


@each_explorer
def test_the_still_figure_is_the_picture_at_the_values_asked_for(world, name):
    explorer = world.explorers[name]
    start = pixels(explorer.picture.value)
    figure = explorer.still(**MOVES[name])
    assert explorer.values == {**explorer.values, **MOVES[name]}
    file = io.BytesIO()
    figure.savefig(file, format="png")
    still, picture = pixels(file.getvalue()), pixels(explorer.picture.value)
    # Saving may lay the figure out anew, by less than a pixel.
    assert np.abs(still - picture).mean() < 0.3 * np.abs(still - start).mean()


@each_explorer
def test_an_unknown_control_is_refused_with_the_known_ones(world, name):
    explorer = world.explorers[name]
    with pytest.raises(ValueError, match="no control is called 'speed'. There are " + ", ".join(MOVES[name])):
        explorer.still(speed=1)


@each_explorer
def test_controls_work_by_keyboard_and_say_what_they_are(world, name):
    sliders = (widgets.IntSlider, widgets.FloatSlider, widgets.SelectionSlider)
    controls = world.explorers[name].controls
    assert list(controls) == list(MOVES[name])
    for control in controls.values():
        assert isinstance(control, sliders)
        assert not control.disabled
        assert control.description
        assert control.continuous_update
    assert world.explorers[name].widget.children == (*controls.values(), world.explorers[name].picture)


@each_explorer
def test_the_picture_is_a_whole_png_of_the_figure(world, name):
    explorer = world.explorers[name]
    width, height = explorer.figure.canvas.get_width_height()
    assert pixels(explorer.picture.value).shape == (height, width, 3)
    assert explorer.picture.format == "png"


def test_no_figure_is_left_for_the_notebook_to_show_again(world):
    assert plt.get_fignums() == []


# --- each explorer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code_size", [2, 8])
@torch.no_grad()
def test_the_reconstruction_comes_from_the_model_of_the_code_size(world, code_size):
    explorer = world.explorers["code_size_and_noise"]
    explorer.still(image=1, code_size=code_size, noise=0.0)
    clean, given, rebuilt = (shown(explorer, i) for i in range(3))
    assert torch.equal(clean, world.x[1])
    assert torch.equal(given, clean)
    torch.testing.assert_close(rebuilt, world.autoencoders[code_size](world.x[1:2])[0])
    error = (rebuilt - clean).square().sum().item()
    assert explorer.figure.axes[2].get_title() == f"{code_size} numbers, error {error:.1f}"


@torch.no_grad()
def test_noise_goes_to_the_encoder_and_not_into_the_error(world):
    explorer = world.explorers["code_size_and_noise"]
    explorer.still(image=2, code_size=2, noise=0.3)
    clean, given, rebuilt = (shown(explorer, i) for i in range(3))
    assert torch.equal(clean, world.x[2])
    torch.testing.assert_close(rebuilt, world.autoencoders[2](given[None])[0])
    # Half of the pixels stay at 0 or 1, where clamping keeps them; the others have moved by a half normal.
    moved = (given - clean).abs()
    assert (given >= 0).all()
    assert (given <= 1).all()
    assert (moved == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert moved[moved > 0].mean().item() == pytest.approx(0.3 * (2 / torch.pi) ** 0.5, rel=0.15)
    error = (rebuilt - clean).square().sum().item()
    assert f"error {error:.1f}" in explorer.figure.axes[2].get_title()
    assert explorer.controls["code_size"].options == (2, 8)


@torch.no_grad()
def test_the_code_plane_decodes_the_point_and_measures_to_the_nearest_code(world):
    explorer = world.explorers["code_plane"]
    for first, second in ((1.5, -1.0), (-2.0, 0.5)):
        explorer.still(first=first, second=second)
        at = torch.tensor([first, second])
        torch.testing.assert_close(point(explorer), at)
        torch.testing.assert_close(shown(explorer), world.autoencoders[2].decode(at[None])[0])
        distances = (world.codes - at).norm(dim=1)
        assert explorer.figure.axes[1].get_title().endswith(f" {distances.min().item():.2f}")
        (line,) = (line for line in explorer.figure.axes[0].lines if line.get_marker() != "o")
        ends = torch.tensor(np.array(line.get_data()).T, dtype=torch.float32)
        torch.testing.assert_close(ends, torch.stack([at, world.codes[distances.argmin()]]))


def test_the_code_plane_reaches_every_code_wherever_they_lie(world):
    codes = torch.rand(30, 2) * torch.tensor([3.0, 40.0]) + torch.tensor([20.0, -60.0])
    explorer = code_plane(world.autoencoders[2], codes, torch.zeros(30, dtype=torch.long))
    for name, column in zip(("first", "second"), codes.T, strict=True):
        control = explorer.controls[name]
        assert control.min <= column.min()
        assert column.max() <= control.max
        assert control.min <= control.value <= control.max
    x_low, x_high = explorer.figure.axes[0].get_xlim()
    assert (x_low, x_high) == (explorer.controls["first"].min, explorer.controls["first"].max)


@torch.no_grad()
def test_the_latent_walk_goes_from_mean_to_mean_and_draws_around_it(world):
    explorer = world.explorers["latent_plane"]
    mu, log_var = world.vae.encode(world.x[:2])
    eps = []  # the noise behind draw 3, which is the same at every place and spread
    for way in (0.0, 0.25, 1.0):
        between = (1 - way) * mu[0] + way * mu[1]
        std = (((1 - way) * log_var[0] + way * log_var[1]) / 2).exp()
        explorer.still(way=way, spread=0.0, draw=3)
        torch.testing.assert_close(point(explorer), between)
        for spread in (1.0, 2.0):
            explorer.still(spread=spread)
            eps.append((point(explorer) - between) / (spread * std))
            torch.testing.assert_close(shown(explorer), world.vae.decoder_mean(point(explorer)[None])[0])
    torch.testing.assert_close(torch.stack(eps), eps[0].expand(6, 2), rtol=1e-3, atol=1e-4)
    explorer.still(draw=4)
    assert not torch.allclose((point(explorer) - between) / (2 * std), eps[0], rtol=1e-2)


def test_titles_change_with_the_controls_and_nothing_is_drawn_twice(world):
    # A title that stayed in the background would lie under the new one.
    explorer = world.explorers["code_plane"]
    (title,) = (t for t in explorer.figure.findobj(Text) if re.match("distance", t.get_text()))
    assert title.get_animated()
    assert all(line.get_animated() for line in explorer.figure.axes[0].lines)
