"""Explorers of autoencoders and VAEs whose pictures are images."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from vaebook import figures
from vaebook.device import seeded
from vaebook.explorers.base import LABEL, WIDE, Explorer, pictures, slider
from vaebook.figures import INK
from vaebook.models import VAE, Autoencoder, squared_error


def code_size_and_noise(models: dict[int, Autoencoder], x: Tensor) -> Explorer:
    """Choose the code size and the noise on the image, see what comes back.

    models: one autoencoder for each code size; x: (n, 784) images to choose from.
    """
    fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.5))
    screens, titles = pictures(axes, ["image", "given to the encoder", ""])
    noise_of = torch.randn(x.shape, generator=seeded(0, x.device), device=x.device)

    def update(image: int, code_size: int, noise: float) -> None:
        clean = x[image : image + 1]
        given = (clean + noise * noise_of[image]).clamp(0, 1)
        rebuilt = models[code_size](given)
        for picture, shown in zip(screens, (clean, given, rebuilt), strict=True):
            picture.set_data(figures.square(shown))
        titles[2].set_text(f"{code_size} numbers, error {squared_error(rebuilt, clean).item():.1f}")

    return Explorer(
        fig,
        update,
        {
            "image": slider(widgets.IntSlider, "image", 0, 0, len(x) - 1, 1),
            "code_size": widgets.SelectionSlider(
                options=sorted(models), description="code size", layout=WIDE, style=LABEL
            ),
            "noise": slider(widgets.FloatSlider, "noise", 0.0, 0.0, 0.8, 0.1),
        },
    )


def code_plane(model: Autoencoder, codes: Tensor, labels: Tensor) -> Explorer:
    """Move a point over the code plane of a 2-D autoencoder, see the decoded image and the nearest code.

    codes: (n, 2) of real images; labels: (n,).
    """
    fig, (plane, screen) = plt.subplots(1, 2, figsize=(7.4, 3.9), width_ratios=(1.6, 1))
    figures.draw_codes(plane, codes, labels, size=14, alpha=0.7)
    (line,) = plane.plot([], [], color=INK, lw=1, animated=True)
    (point,) = plane.plot([], [], "o", color=INK, ms=8, animated=True)
    (picture,), (title,) = pictures([screen], [""])

    def update(first: float, second: float) -> None:
        at = torch.tensor([[first, second]], device=codes.device)
        distance, nearest = torch.cdist(at, codes)[0].min(0)
        there = codes[nearest].tolist()
        line.set_data([first, there[0]], [second, there[1]])
        point.set_data([first], [second])
        picture.set_data(figures.square(model.decode(at)))
        title.set_text(f"distance to the nearest code {distance.item():.2f}")

    low, high = (codes.amin(0) - 1).round().tolist(), (codes.amax(0) + 1).round().tolist()
    plane.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    controls = {
        "first": slider(widgets.FloatSlider, "first number", 0.0, low[0], high[0], 0.1),
        "second": slider(widgets.FloatSlider, "second number", 0.0, low[1], high[1], 0.1),
    }
    return Explorer(fig, update, controls)


def latent_plane(model: VAE, codes: Tensor, labels: Tensor, ends: Tensor) -> Explorer:
    """Walk between two images in the latent plane of a 2-D VAE, drawing z around each point of the way.

    codes: (n, 2) means of real images; labels: (n,); ends: (2, 784) the two binary images.
    """
    fig, (plane, screen) = plt.subplots(1, 2, figsize=(7.4, 3.9), width_ratios=(1.6, 1))
    figures.draw_codes(plane, codes, labels, size=14, alpha=0.6)
    with torch.no_grad():
        mu, log_var = model.encode(ends)
    figures.draw_ellipses(plane, mu, log_var, edgecolor=INK)
    plane.plot(*mu.T.cpu(), color=INK, lw=1, ls="--")
    for name, end in zip("AB", mu.tolist(), strict=True):
        plane.annotate(name, end, xytext=(6, 6), textcoords="offset points", weight="bold")
    plane.set(xlabel="$z_1$", ylabel="$z_2$")
    (point,) = plane.plot([], [], "o", color=INK, ms=8, animated=True)
    (picture,), _ = pictures([screen], ["decoder mean at z"])
    eps = torch.randn(21, 2, generator=seeded(1, mu.device), device=mu.device)

    def update(way: float, draw: int, spread: float) -> None:
        between = torch.lerp(mu[0], mu[1], way)
        std = (0.5 * torch.lerp(log_var[0], log_var[1], way)).exp()
        z = between + spread * std * eps[draw]
        point.set_data(*z[:, None].tolist())
        picture.set_data(figures.square(model.decoder_mean(z[None])))

    return Explorer(
        fig,
        update,
        {
            "way": slider(widgets.FloatSlider, "from A to B", 0.0, 0.0, 1.0, 0.05),
            "draw": slider(widgets.IntSlider, "draw number", 0, 0, len(eps) - 1, 1),
            "spread": slider(widgets.FloatSlider, "spread", 1.0, 0.0, 3.0, 0.25),
        },
    )
