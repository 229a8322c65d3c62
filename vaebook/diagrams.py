"""Drawn models: the images, the numbers and the sizes in them are read from the model that is drawn."""

from typing import NamedTuple

import daft
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Polygon, Rectangle
from torch import Tensor, nn

from vaebook.densities import reparameterize
from vaebook.figures import AMBER, BLUE, INK, PALETTE, QUIET, RED, draw_ellipses, square
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


@torch.no_grad()
def data_flow(model: VAE, x: Tensor, generator: torch.Generator) -> Figure:
    """Images x (n, pixels), eight at most, through a 2-D VAE and back, and the ELBO's terms where they act.

    Left the images; in the middle the latent plane, with the region of each (nine tenths of q(z|x)), one draw
    from it, and the same share of the prior around the origin; right the decoder means at the draws.
    """
    mu, log_var = model.encode(x)
    z = reparameterize(mu, log_var, generator)
    fig = plt.figure(figsize=(8.8, 4.4))
    heights = [1] * len(x) + [0.7]
    grid = fig.add_gridspec(len(x) + 1, 5, width_ratios=(1.3, 1, 3.6, 1, 1.3), height_ratios=heights)
    plane = fig.add_subplot(grid[:-1, 2])
    draw_ellipses(plane, torch.zeros(1, 2), torch.zeros(1, 2), edgecolor=QUIET, linestyle="--")
    plane.annotate("prior $p(z)$", (0, 2.15), (0, 3), textcoords="offset points", ha="center")
    rows = zip("ABCDEFGH", PALETTE, x, mu, log_var, z, model.decoder_mean(z), strict=False)
    for row, (name, color, image, centre, spread, draw, mean) in enumerate(rows):
        draw_ellipses(plane, centre[None], spread[None], edgecolor=color, linewidth=1.8)
        plane.plot(*draw[:, None].cpu(), "o", color=color)
        plane.annotate(name, draw.tolist(), (5, 3), textcoords="offset points", weight="bold")
        for column, shown, side in ((0, image, "left"), (4, mean, "right")):
            ax = fig.add_subplot(grid[row, column])
            ax.imshow(square(shown), vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color=color, linewidth=1.8)
            at = -0.22 if side == "left" else 1.22
            ax.text(at, 0.5, name, ha="center", va="center", weight="bold", transform=ax.transAxes)
            if row == 0:
                ax.set_title("data space\n" + ("image" if column == 0 else "decoder mean"))
    reach = 1.1 * max(2.4, (mu.abs() + 2.15 * (0.5 * log_var).exp()).max().item())
    plane.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title="latent space")
    plane.set(xlabel="$z_1$", ylabel="$z_2$")
    for column, name, law in ((1, "encoder", r"$q_\phi(z|x)$"), (3, "decoder", r"$p_\theta(x|z)$")):
        ax = fig.add_subplot(grid[:-1, column])
        ax.axis("off")
        ax.text(0.5, 0.56, law, ha="center", va="bottom")
        ax.annotate("", (1, 0.5), (0, 0.5), arrowprops={"arrowstyle": "-|>", "color": INK})
        ax.text(0.5, 0.44, name, ha="center", va="top")
    terms = fig.add_subplot(grid[-1, :])
    terms.axis("off")
    cost = r"cost: KL$(q_\phi(z|x)\,\|\,p(z))$" + "\neach region against the prior"
    revenue = r"revenue: $\log p_\theta(x|z)$" + "\neach decoder mean against its image"
    for at, text in ((0.5, cost), (0.88, revenue)):
        terms.text(at, 0.5, text, ha="center", va="center", transform=terms.transAxes)
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


class Program(NamedTuple):
    """The values that a small program has computed, for `computation_graph` and `backward_edges`.

    values: every value by name, in the order of computation; the last one is the output.
    inputs: for a name, the names that it was computed or drawn from; none for data, parameters and noise.
    drawn: the names of the values that a random draw gave.
    """

    values: dict[str, Tensor]
    inputs: dict[str, tuple[str, ...]]
    drawn: set[str]


def backward_edges(program: Program) -> set[tuple[str, str]]:
    """Along which pairs (name, input) a gradient of the output passes: as autograd reports it.

    It walks from the output through `grad_fn.next_functions`, and passes over operations without a name.
    """
    *_, output = program.values
    named = {_key(value): name for name, value in program.values.items() if value.requires_grad}
    edges, waiting, done = set(), [output], set()
    while waiting:
        name = waiting.pop()
        done.add(name)
        function = program.values[name].grad_fn
        inner, seen = list(function.next_functions) if function else [], {(None, 0)}  # None is a constant
        while inner:
            if (place := inner.pop()) in seen:
                continue
            seen.add(place)
            node, _ = place
            source = getattr(node, "variable", None)  # only a leaf's node has one
            found = named.get(place if source is None else id(source))
            if found is None:
                inner += node.next_functions
                continue
            edges.add((name, found))
            if found not in done:
                waiting.append(found)
    return edges


def computation_graph(programs: dict[str, Program]) -> Figure:
    """Programs side by side, each from its inputs at the bottom to its output at the top.

    A grey square was computed or given, a blue circle was drawn at random. Black arrows lead forward, from
    the inputs that a program states; red dashed ones back, along `backward_edges`. Beside each parameter
    stands whether the output's gradient reaches it.
    """
    fig, axes = plt.subplots(1, len(programs), figsize=(3.8 * len(programs), 3.9), squeeze=False)
    for ax, (title, program) in zip(axes[0], programs.items(), strict=True):
        places, edges = _places(program), backward_edges(program)
        for name, inputs in program.inputs.items():
            for source in inputs:
                _edge(ax, places[source], places[name], INK, "-", -0.09)
        for name, source in edges:
            _edge(ax, places[name], places[source], RED, (0, (4, 2)), -0.09)
        for name, (x, y) in places.items():
            drawn, value = name in program.drawn, program.values[name]
            style = {"edgecolor": INK, "linewidth": 1, "zorder": 3}
            if drawn:
                ax.add_patch(Circle((x, y), 0.27, facecolor=BLUE, **style))
            else:
                ax.add_patch(Rectangle((x - 0.24, y - 0.24), 0.48, 0.48, facecolor="#e3e5e8", **style))
            ax.text(x, y, f"${name}$", ha="center", va="center", fontsize=13, zorder=4)
            if value.is_leaf and value.requires_grad:
                reached = any(source == name for _, source in edges)
                text, color = ("gradient\narrives", RED) if reached else ("no\ngradient", INK)
                ax.text(x + 0.34, y, text, va="center", fontsize=9, color=color)
        xs, ys = zip(*places.values(), strict=True)
        ax.set(xlim=(min(xs) - 0.6, max(xs) + 0.9), ylim=(-0.4, max(ys) + 0.4), aspect="equal", title=title)
        ax.axis("off")
    return fig


def _key(value: Tensor):
    """What identifies a tensor in autograd's graph; a leaf by the tensor itself."""
    return id(value) if value.grad_fn is None else (value.grad_fn, value.output_nr)


def _places(program: Program) -> dict[str, tuple[float, float]]:
    """Where each value is drawn: above all its inputs; one without inputs next below its first use."""
    height = {}
    for name in program.values:
        height[name] = 1 + max((height[source] for source in program.inputs.get(name, ())), default=-1)
    for name in program.values:
        uses = [height[user] for user, inputs in program.inputs.items() if name in inputs]
        if not program.inputs.get(name) and uses:
            height[name] = min(uses) - 1
    places = {}
    for level in set(height.values()):
        row = [name for name in program.values if height[name] == level]
        for i, name in enumerate(row):
            places[name] = (1.15 * (i - (len(row) - 1) / 2), 1.15 * level)
    return places


def _edge(ax: Axes, start: tuple, end: tuple, color: str, style, bend: float) -> None:
    """An arrow between two nodes, bent a little to one side, so that one each way can lie side by side."""
    ax.add_patch(
        FancyArrowPatch(
            *(start, end),
            **{"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 19, "shrinkB": 19, "linewidth": 1.4},
            **{"color": color, "linestyle": style, "connectionstyle": f"arc3,rad={bend}"},
        )
    )


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
