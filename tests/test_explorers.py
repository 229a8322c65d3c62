"""A move of a control changes the picture, and the picture is what the model says there."""

import base64
import io
import json
import re
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _remove_buffers
from matplotlib.text import Text
from PIL import Image

from explored import assert_moves, picture
from vaebook.explorers import Explorer, code_plane, code_size_and_noise, latent_plane
from vaebook.explorers.arrays import LARGE, normals, pack, rounded
from vaebook.explorers.controls import Choice, Slider
from vaebook.explorers.page import is_explorer, static_html
from vaebook.models import VAE, Autoencoder, mlp

NOISE_OF_SEED_7 = [1.7232685493087907, 0.7839886784992235, 0.5559648740931991, -0.22012249527510008]
BYTE = 0.5 / 255 + 1e-6  # as far as a pixel moves when it is kept in 8 bits


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


def saved(explorer: Explorer) -> dict:
    """The explorer's model as a notebook keeps it."""
    state, paths, buffers = _remove_buffers(explorer.get_state())
    packed = [
        {"path": path, "data": base64.b64encode(buffer).decode(), "encoding": "base64"}
        for path, buffer in zip(paths, buffers, strict=True)
    ]
    state["layout"] = "IPY_MODEL_" + explorer.layout.model_id
    return json.loads(json.dumps({"model_name": "AnyModel", "state": state, "buffers": packed}))


def shown(explorer: Explorer, index: int = 0) -> torch.Tensor:
    """The pixels (784,) of one of the images in the figure."""
    images = [image for ax in explorer.figure.axes for image in ax.images]
    return torch.tensor(images[index].get_array().data).flatten()


def point(explorer: Explorer) -> torch.Tensor:
    """Where the dot stands on the plane."""
    (dot,) = (line for line in explorer.figure.axes[0].lines if line.get_marker() == "o")
    return torch.tensor([float(dot.get_xdata()[0]), float(dot.get_ydata()[0])])


# --- every explorer -----------------------------------------------------------------------------------------


@each_explorer
def test_a_move_of_any_control_changes_the_picture_and_moving_back_restores_it(world, name):
    assert_moves(world.explorers[name], MOVES[name])


@each_explorer
def test_the_picture_depends_on_the_values_and_not_on_the_way_there(world, name):
    explorer, moves = world.explorers[name], MOVES[name]
    there = picture(explorer, **moves)
    ends = {n: c.options[-1] if isinstance(c, Choice) else c.max for n, c in explorer.controls.items()}
    assert (picture(explorer, **ends) != there).any()
    for control in reversed(moves):
        explorer.still(**{control: moves[control]})
    np.testing.assert_array_equal(picture(explorer), there)
    assert explorer.values == {**explorer.values, **moves}


@each_explorer
def test_an_unknown_control_is_refused_with_the_known_ones(world, name):
    explorer = world.explorers[name]
    with pytest.raises(ValueError, match="no control is called 'speed'. There are " + ", ".join(MOVES[name])):
        explorer.still(speed=1)


@each_explorer
def test_controls_say_what_they_are_and_where_they_go(world, name):
    explorer = world.explorers[name]
    names = [control["name"] for control in explorer.scene["controls"]]
    assert list(explorer.controls) == list(MOVES[name]) == names
    for control, described in zip(explorer.controls.values(), explorer.scene["controls"], strict=True):
        assert described["label"] == control.label != ""
        if isinstance(control, Slider):
            assert (described["min"], described["max"]) == (control.min, control.max)
            assert f"{control.step:.{described['digits']}f}" == str(control.step)
        else:
            assert described["options"] == list(control.options)


@each_explorer
def test_the_background_is_the_figure_without_what_moves(world, name):
    explorer = world.explorers[name]
    explorer.still(**MOVES[name])
    for artist in explorer._moving.values():
        artist.set_visible(False)
    file = io.BytesIO()
    explorer.figure.savefig(file, format="png", dpi=2 * explorer.figure.dpi)
    for artist in explorer._moving.values():
        artist.set_visible(True)
    bare = np.asarray(Image.open(file).convert("L")).astype(float)
    background = np.asarray(Image.open(io.BytesIO(explorer.scene["background"])).convert("L")).astype(float)
    assert background.shape == bare.shape
    assert explorer.scene["size"] == [bare.shape[1] / 2, bare.shape[0] / 2]
    # Compression, and a layout that is drawn anew, move edges a little.
    assert np.abs(background - bare).mean() < 3


@each_explorer
def test_the_scene_maps_data_to_where_matplotlib_draws_them(world, name):
    explorer = world.explorers[name]
    explorer.figure.canvas.draw()
    height = explorer.figure.bbox.height
    for ax, described in zip(explorer.figure.axes, explorer.scene["axes"], strict=True):
        place = np.array([np.mean(ax.get_xlim()), 0.3 * ax.get_ylim()[0] + 0.7 * ax.get_ylim()[1]])
        x, y = ax.transData.transform(place)
        found = [
            described[axis]["a"] * value + described[axis]["b"]
            for axis, value in zip("xy", place, strict=True)
        ]
        np.testing.assert_allclose(found, [x, height - y], atol=1.5)


@each_explorer
def test_every_moving_artist_is_described_and_gets_data(world, name):
    explorer = world.explorers[name]
    state = explorer.state()
    described = {artist["name"]: artist for artist in explorer.scene["artists"]}
    assert state.keys() == described.keys() == explorer._moving.keys()
    assert json.loads(json.dumps(state)) == state
    for artist, data in state.items():
        if described[artist]["kind"] == "image":
            assert len(data) == np.prod(described[artist]["shape"])
        elif described[artist]["kind"] == "line":
            assert len(data[0]) == len(data[1]) > 0
    assert all(artist.get_animated() for artist in explorer._moving.values())


@each_explorer
def test_the_page_gets_script_style_and_numbers_and_nothing_from_elsewhere(world, name):
    explorer = world.explorers[name]
    model = saved(explorer)
    assert is_explorer(model)
    html = static_html(model)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bimport\b(?!s nothing)|\bexport\b", html)
    assert html.count("</script>") == 1
    assert json.dumps(explorer.values).replace("<", "\\u003c") in html
    assert explorer._esm.endswith("export default { render };\n")
    with pytest.raises(ValueError, match="no explorer"):
        static_html({"model_name": "IntSliderModel", "state": {}})


@each_explorer
def test_what_the_page_cannot_show_is_said_in_words(world, name):
    explorer = world.explorers[name]
    bundle, _ = explorer._repr_mimebundle_()
    assert explorer.alt in bundle["text/plain"]
    assert all(control.label in bundle["text/plain"] for control in explorer.controls.values())
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id


@each_explorer
def test_a_front_end_moves_the_explorer(world, name):
    explorer = world.explorers[name]
    explorer.set_state({"values": {**explorer.values, **MOVES[name]}})
    assert explorer.values == MOVES[name]
    moved = explorer.state()
    explorer.still()
    shown_now = {text.get_text() for text in explorer.figure.findobj(Text)}
    assert {text for text in moved.values() if isinstance(text, str)} <= shown_now


def test_no_figure_is_left_for_the_notebook_to_show_again(world):
    assert plt.get_fignums() == []


# --- numbers for the page ---


def unpacked(part: dict) -> np.ndarray:
    return np.frombuffer(zlib.decompress(part["bytes"]), part["dtype"]).reshape(part["shape"])


def test_arrays_are_packed_with_their_kind_and_shape():
    numbers = {"a": torch.arange(6, dtype=torch.uint8).view(2, 3), "b": [np.float32([0.1]), 3, "x"]}
    packed = pack(numbers)
    np.testing.assert_array_equal(unpacked(packed["a"]), numbers["a"])
    np.testing.assert_array_equal(unpacked(packed["b"][0]), numbers["b"][0])
    assert packed["b"][1:] == [3, "x"]


def test_a_rounded_network_computes_nearly_the_same_and_is_what_the_page_gets():
    torch.manual_seed(2)
    network = mlp(2, 128, 256, 784)
    before = [p.clone() for p in network.parameters()]
    copy, layers = rounded(network)
    z = 2 * torch.randn(50, 2)
    difference = (copy(z).sigmoid() - network(z).sigmoid()).abs()
    assert 0 < difference.max() < 0.05
    assert difference.mean() < 0.005
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    linear = [layer for layer in copy if isinstance(layer, torch.nn.Linear)]
    for layer, sent in zip(linear, layers, strict=True):
        torch.testing.assert_close(sent["weight"] * sent["scale"][:, None], layer.weight, rtol=0, atol=0)
        assert torch.equal(sent["bias"], layer.bias)
        assert (sent["weight"].dtype == torch.int8) == (layer.weight.numel() > LARGE)


def test_only_linear_layers_and_relus_are_rounded():
    with pytest.raises(TypeError, match="Tanh"):
        rounded(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()))


def test_the_noise_of_the_page_is_standard_normal_and_depends_on_the_seed():
    n = 200_000
    noise, other = normals(0, n), normals(1, n)
    # Means of n numbers, as z-scores: by chance one of these is above 5 once in 200,000 runs.
    for sample in (noise, other):
        for values, expected, std in (
            (sample, 0, 1),
            (sample**2, 1, 2**0.5),
            (sample**3, 0, 15**0.5),
            (sample**4, 3, 96**0.5),
            (sample[1:] * sample[:-1], 0, 1),
            (sample[2:] * sample[:-2], 0, 1),
            (sample[4096:] * sample[:-4096], 0, 1),
            ((sample[::2] ** 2 - 1) * (sample[1::2] ** 2 - 1), 0, 2),
        ):
            assert abs(values.mean().item() - expected) < 5 * std / len(values) ** 0.5
    assert abs((noise * other).mean().item()) < 5 / n**0.5
    assert abs((noise > 1.959964).double().mean().item() - 0.025) < 5 * (0.025 * 0.975 / n) ** 0.5
    assert torch.equal(normals(0, 3, 5).flatten(), noise[:15])


def test_the_noise_is_the_one_that_the_browser_draws():
    # Found by live.js in a browser; the browser tests compare whole explorers.
    expected = torch.tensor(NOISE_OF_SEED_7, dtype=torch.float64)
    torch.testing.assert_close(normals(7, 4), expected, rtol=0, atol=1e-12)


# --- each explorer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code_size", [2, 8])
@torch.no_grad()
def test_the_reconstruction_comes_from_the_model_of_the_code_size(world, code_size):
    explorer = world.explorers["code_size_and_noise"]
    explorer.still(image=1, code_size=code_size, noise=0.0)
    clean, given, rebuilt = (shown(explorer, i) for i in range(3))
    assert torch.equal(clean, world.x[1])
    assert torch.equal(given, clean)
    torch.testing.assert_close(rebuilt, world.autoencoders[code_size](world.x[1:2])[0], rtol=0, atol=BYTE)
    error = (rebuilt - clean).square().sum().item()
    assert explorer.figure.axes[2].get_title() == f"{code_size} numbers, error {error:.1f}"


@torch.no_grad()
def test_noise_goes_to_the_encoder_and_not_into_the_error(world):
    explorer = world.explorers["code_size_and_noise"]
    explorer.still(image=2, code_size=2, noise=0.3)
    clean, given, rebuilt = (shown(explorer, i) for i in range(3))
    assert torch.equal(clean, world.x[2])
    torch.testing.assert_close(rebuilt, world.autoencoders[2](given[None])[0], rtol=0, atol=BYTE)
    # Half of the pixels stay at 0 or 1, where clamping keeps them; the others have moved by a half normal.
    moved = (given - clean).abs()
    assert (given >= 0).all()
    assert (given <= 1).all()
    assert (moved == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert moved[moved > 0].mean().item() == pytest.approx(0.3 * (2 / torch.pi) ** 0.5, rel=0.15)
    error = (rebuilt - clean).square().sum().item()
    assert f"error {error:.1f}" in explorer.figure.axes[2].get_title()
    assert explorer.controls["code_size"].options == [2, 8]


@torch.no_grad()
def test_the_code_plane_decodes_the_point_and_measures_to_the_nearest_code(world):
    explorer = world.explorers["code_plane"]
    for first, second in ((1.5, -1.0), (-2.0, 0.5)):
        explorer.still(first=first, second=second)
        at = torch.tensor([first, second])
        torch.testing.assert_close(point(explorer), at)
        decoded = rounded(world.autoencoders[2].decoder)[0](at[None]).sigmoid()[0]
        torch.testing.assert_close(shown(explorer), decoded)
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
        assert control.min <= control.start <= control.max
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
            decoded = rounded(world.vae.decoder)[0](point(explorer)[None]).sigmoid()[0]
            torch.testing.assert_close(shown(explorer), decoded)
    torch.testing.assert_close(torch.stack(eps), eps[0].expand(6, 2), rtol=1e-3, atol=1e-4)
    explorer.still(draw=4)
    assert not torch.allclose((point(explorer) - between) / (2 * std), eps[0], rtol=1e-2)


def test_titles_change_with_the_controls_and_nothing_is_drawn_twice(world):
    # A title that stayed in the background would lie under the new one.
    explorer = world.explorers["code_plane"]
    (title,) = (t for t in explorer.figure.findobj(Text) if re.match("distance", t.get_text()))
    assert title.get_animated()
    assert all(line.get_animated() for line in explorer.figure.axes[0].lines)
