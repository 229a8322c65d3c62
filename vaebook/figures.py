"""One style for all figures, set by importing this module, and the pictures that several chapters need."""

import io
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image
from torch import Tensor

INK = "#222222"
QUIET = "#8a8f98"
# Petroff (2021): told apart by colour-blind readers, and ordered so that the first few differ in grey too.
PALETTE = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
BLUE, AMBER, RED = PALETTE[0], PALETTE[1], PALETTE[2]

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "savefig.dpi": 110,
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.labelsize": 10,
        "axes.edgecolor": QUIET,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=PALETTE),
        "xtick.color": INK,
        "ytick.color": INK,
        "text.color": INK,
        "axes.labelcolor": INK,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "legend.frameon": False,
        "image.cmap": "gray",
        "image.interpolation": "nearest",
    }
)


def show(fig: Figure, alt: str) -> None:
    """Display a figure in the notebook with a description for readers who do not see it, and close it.

    The description is the picture's alt text where the page supports that, and its text form elsewhere.

    Raises:
        ValueError: the description is empty.
    """
    if not alt.strip():
        raise ValueError("alt is empty. Say in words what the figure shows.")
    png = io.BytesIO()
    fig.savefig(png, format="png", bbox_inches="tight")
    plt.close(fig)
    display({"image/png": png.getvalue(), "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})


def square(x: Tensor) -> np.ndarray:
    """One image, (784,) or (1, 784), as the array (28, 28) that matplotlib and PIL take."""
    side = math.isqrt(x.numel())
    return x.detach().cpu().reshape(side, side).numpy()


def draw_image(ax: Axes, x: Tensor, title: str = "") -> None:
    """One image, (784,) with pixels in [0, 1], without ticks."""
    ax.imshow(square(x), vmin=0, vmax=1, aspect="equal")
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)


def png_bytes(x: Tensor) -> bytes:
    """One image, (784,) with pixels in [0, 1], as a PNG file of 8-bit grey."""
    file = io.BytesIO()
    Image.fromarray(square((x * 255).round().byte())).save(file, "png", optimize=True)
    return file.getvalue()


def tile(images: Tensor, columns: int, gap: int = 2) -> Tensor:
    """Images (n, 784) laid out row by row on white: one picture (height, width)."""
    side = math.isqrt(images.shape[1])
    rows = -(-len(images) // columns)
    step = side + gap
    canvas = torch.ones(rows * step - gap, columns * step - gap)
    for i, image in enumerate(images.detach().cpu()):
        top, left = i // columns * step, i % columns * step
        canvas[top : top + side, left : left + side] = image.reshape(side, side)
    return canvas


def image_rows(rows: dict[str, Tensor], scale: float = 0.62) -> Figure:
    """Rows of images, each (n, 784), with their names at the left."""
    columns = max(len(images) for images in rows.values())
    fig, axes = plt.subplots(
        len(rows), 1, figsize=(1.5 + scale * columns, 1.08 * scale * len(rows)), squeeze=False
    )
    for ax, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        ax.imshow(tile(images, columns).numpy(), vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
        ax.spines[:].set_visible(False)
    return fig


def image_grids(grids: dict[str, Tensor], columns: int, scale: float = 0.42) -> Figure:
    """Grids of images, each (n, 784), side by side under their names."""
    rows = max(-(-len(images) // columns) for images in grids.values())
    fig, axes = plt.subplots(
        1, len(grids), figsize=(len(grids) * (columns * scale + 0.25), rows * scale + 0.35), squeeze=False
    )
    for ax, (name, images) in zip(axes[0], grids.items(), strict=True):
        ax.imshow(tile(images, columns).numpy(), vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=name)
        ax.spines[:].set_visible(False)
    return fig


def draw_codes(
    ax: Axes, codes: Tensor, labels: Tensor | None = None, size: float = 20, alpha: float = 0.9
) -> None:
    """Codes (n, 2) on a plane: each drawn as the digit that its label says, or as a dot without labels."""
    codes = codes.detach().cpu()
    if labels is None:
        ax.scatter(*codes.T, s=4, color=QUIET, alpha=alpha, linewidths=0)
    else:
        for digit in labels.unique().tolist():
            chosen = codes[(labels == digit).cpu()]
            ax.scatter(
                *chosen.T,
                s=size,
                marker=rf"$\mathbf{{{digit}}}$",
                color=PALETTE[digit % 10],
                alpha=alpha,
                linewidths=0,
            )
    ax.set(xlabel="first number", ylabel="second number", aspect="equal")


def draw_ellipses(ax: Axes, mu: Tensor, log_var: Tensor, mass: float = 0.9, **style) -> None:
    """For each row of mu and log_var (n, 2) the ellipse that holds `mass` of N(mu, diag exp(log_var))."""
    radius = (-2 * torch.log(torch.tensor(1 - mass))).sqrt().item()  # of a standard normal in the plane
    std = (0.5 * log_var).exp().detach().cpu()
    for centre, (width, height) in zip(mu.detach().cpu().tolist(), (2 * radius * std).tolist(), strict=True):
        ax.add_patch(Ellipse(centre, width, height, **{"fill": False, "linewidth": 1.0, **style}))


def decoded_plane(
    decode, x_range: tuple[float, float], y_range: tuple[float, float], steps: int, device
) -> Tensor:
    """What `decode` makes of a grid of steps by steps points: images (steps * steps, 784), top row first."""
    ys, xs = torch.linspace(*reversed(y_range), steps), torch.linspace(*x_range, steps)
    grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], -1).reshape(-1, 2)
    with torch.no_grad():
        return decode(grid.to(device))
