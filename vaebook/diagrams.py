"""Drawn models: the images, the numbers and the sizes in them are read from the model that is drawn."""

import daft
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle
from torch import Tensor, nn

from vaebook.densities import reparameterize
from vaebook.figures import AMBER, BLUE, INK, QUIET, square
from vaebook.models import VAE, Autoencoder


def layer_widths(network: nn.Module) -> list[int]:
    """The widths of a chain of linear layers, input first: [784, 400, 2]."""
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [linear[0].in_features] + [layer.out_features for layer in linear]


@torch.no_grad()
def autoencoder_diagram(model: Autoencoder, x: Tensor) -> Figure:
    """Each image of x (n, pixels) on its way: image, encoder, its code, decoder, its reconstruction."""
    codes = model.encode(x)
    fig, axes = _rows(len(x))
    for ax, image, code, rebuilt in zip(axes, x, codes, model.decode(codes), strict=True):
        _image(ax, 0.0, image)
        _network(ax, 1.35, layer_widths(model.encoder), "encoder", narrow="right")
        _numbers(ax, 3.75, code, "code")
        _network(ax, 4.95, layer_widths(model.decoder), "decoder", narrow="left")
        _image(ax, 7.35, rebuilt)
        for left, right in ((1.05, 1.35), (3.35, 3.65), (4.65, 4.95), (6.95, 7.3)):
            _arrow(ax, left, right)
    axes[0].text(0.5, 1.12, "image", ha="center", va="bottom")
    axes[0].text(7.85, 1.12, "reconstruction", ha="center", va="bottom")
    return fig


@torch.no_grad()
def vae_diagram(model: VAE, x: Tensor, generator: torch.Generator) -> Figure:
    """Each image of x (n, pixels) on its way: image, encoder, mu and sigma, a draw z, decoder, its mean."""
    mu, log_var = model.encode(x)
    std, z = (0.5 * log_var).exp(), reparameterize(mu, log_var, generator)
    fig, axes = _rows(len(x), width=10.4)
    for ax, image, m, s, draw, mean in zip(axes, x, mu, std, z, model.decoder_mean(z), strict=True):
        _image(ax, 0.0, image)
        _network(ax, 1.35, layer_widths(model.encoder), "encoder", narrow="right")
        _numbers(ax, 3.75, m, "$\\mu$")
        _numbers(ax, 4.65, s, "$\\sigma$")
        _numbers(ax, 6.15, draw, "$z$", color=AMBER)
        _network(ax, 7.35, layer_widths(model.decoder), "decoder", narrow="left")
        _image(ax, 9.75, mean)
        _arrow(ax, 5.55, 6.05, color=AMBER, style="--")
        for left, right in ((1.05, 1.35), (3.35, 3.65), (7.05, 7.35), (9.35, 9.7)):
            _arrow(ax, left, right)
    axes[0].text(0.5, 1.12, "image", ha="center", va="bottom")
    axes[0].text(5.8, 1.12, "draw", ha="center", va="bottom", color=INK)
    axes[0].text(10.25, 1.12, "decoder mean", ha="center", va="bottom")
    return fig


def graphical_model() -> Figure:
    """The VAE as two graphical models: how an image comes about (left), how the encoder reads it (right).

    Hidden variables are white, observed ones shaded, parameters are dots outside the plate of N images.
    """
    pgm = daft.PGM([7.2, 3.2], dpi=110, node_unit=1.0, observed_style="shaded", line_width=1.0)
    for left, top, name, dashed in ((0.0, "z", "theta", False), (4.2, "x", "phi", True)):
        bottom = "x" if top == "z" else "z"
        for node, y in ((top, 2.1), (bottom, 0.95)):
            pgm.add_node(f"{node}{left}", f"${node}$", left + 2.0, y, observed=node == "x")
        pgm.add_node(name, rf"$\{name}$", left + 0.5, 0.95, fixed=True, offset=(0, 4))
        line = {"linestyle": "--" if dashed else "-"}
        pgm.add_edge(f"{top}{left}", f"{bottom}{left}", plot_params=line)
        pgm.add_edge(name, f"{bottom}{left}", plot_params=line)
        pgm.add_plate([left + 1.3, 0.3, 1.4, 2.35], label="$N$", shift=0)
    pgm.add_text(1.1, 2.85, r"decoder $p_\theta(x|z)$, prior $p(z)$")
    pgm.add_text(5.75, 2.85, r"encoder $q_\phi(z|x)$")
    with plt.rc_context({"figure.constrained_layout.use": False}):
        pgm.render()
    return pgm.figure


def _rows(count: int, width: float = 8.35) -> tuple[Figure, list[Axes]]:
    fig, axes = plt.subplots(count, 1, figsize=(0.86 * width, 1.05 * count + 0.2), squeeze=False)
    for ax in axes[:, 0]:
        ax.set(xlim=(-0.05, width + 0.05 if width < 9 else 10.8), ylim=(-0.05, 1.25), aspect="equal")
        ax.axis("off")
    return fig, list(axes[:, 0])


def _image(ax: Axes, left: float, image: Tensor) -> None:
    ax.imshow(square(image), vmin=0, vmax=1, extent=(left, left + 1, 0, 1), aspect="equal")


def _network(ax: Axes, left: float, widths: list[int], name: str, narrow: str) -> None:
    tall, short = (0.0, 1.0), (0.28, 0.72)
    (a, b), (c, d) = (tall, short) if narrow == "right" else (short, tall)
    corners = [(left, a), (left, b), (left + 2, d), (left + 2, c)]
    ax.add_patch(Polygon(corners, facecolor=BLUE, alpha=0.16, edgecolor="none"))
    ax.add_patch(Polygon(corners, fill=False, edgecolor=BLUE, linewidth=1))
    ax.text(left + 1, 0.58, name, ha="center", va="center")
    ax.text(left + 1, 0.38, " → ".join(map(str, widths)), ha="center", va="center", fontsize=8)


def _numbers(ax: Axes, left: float, values: Tensor, name: str, color: str = QUIET, most: int = 4) -> None:
    shown = [f"{value:.2f}" for value in values.tolist()[:most]]
    if len(values) > most:
        shown[-1] = "…"
    ax.add_patch(Rectangle((left, 0), 0.8, 1, fill=False, edgecolor=color, linewidth=1.2))
    for i, text in enumerate(shown):
        ax.text(left + 0.4, 1 - (i + 0.5) / len(shown), text, ha="center", va="center", fontsize=8)
    ax.text(left + 0.4, 1.04, name, ha="center", va="bottom", fontsize=9)


def _arrow(ax: Axes, left: float, right: float, color: str = INK, style: str = "-") -> None:
    ax.add_patch(
        FancyArrowPatch(
            (left, 0.5), (right, 0.5), arrowstyle="->", mutation_scale=9, color=color, linestyle=style
        )
    )
