"""Explorers of autoencoders and VAEs whose pictures are images."""

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from vaebook import figures
from vaebook.device import seeded
from vaebook.explorers.arrays import bytes_of, rounded
from vaebook.explorers.base import Explorer, pictures
from vaebook.explorers.controls import Choice, Slider
from vaebook.figures import INK
from vaebook.models import VAE, Autoencoder, squared_error

NOISES = tuple(i / 10 for i in range(9))
NOISE_STEPS = 32  # in one standard deviation: the page gets the noise in 8 bits


@torch.no_grad()
def code_size_and_noise(models: dict[int, Autoencoder], x: Tensor) -> Explorer:
    """Choose the code size and the noise on the image, see what comes back.

    What each network makes of each image at each noise is computed here, and kept in 8 bits a pixel: all the
    networks would be too large for a page.

    models: one autoencoder for each code size; x: (n, 784) images to choose from, grey in 255 steps.
    """
    fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.5))
    screens, titles = pictures(axes, ["image", "given to the encoder", ""])
    sizes, clean = sorted(models), bytes_of(x) / 255
    noise_of = torch.randn(x.shape, generator=seeded(0, x.device), device=x.device).cpu()
    steps = (NOISE_STEPS * noise_of).round().clamp(-127, 127).to(torch.int8)
    noises = torch.tensor(NOISES)[:, None, None]
    given = (clean + noises * steps / NOISE_STEPS).clamp(0, 1)  # (noises, n, 784)
    answers = [bytes_of(models[size](given.to(x.device))) for size in sizes]
    rebuilt = torch.stack(answers)  # (sizes, noises, n, 784)
    errors = squared_error(rebuilt / 255, clean)

    def compute(image: int, code_size: int, noise: float) -> dict:
        at = sizes.index(code_size), NOISES.index(noise), image
        return {
            "clean": clean[image],
            "given": given[at[1:]],
            "rebuilt": rebuilt[at] / 255,
            "title": f"{code_size} numbers, error {errors[at].item():.1f}",
        }

    return Explorer(
        fig,
        compute,
        {
            "image": Slider("image", 0, 0, len(x) - 1, 1),
            "code_size": Choice("code size", sizes),
            "noise": Choice("noise", NOISES),
        },
        dict(zip(("clean", "given", "rebuilt"), screens, strict=True)) | {"title": titles[2]},
        script="code_size_and_noise",
        data={
            "clean": bytes_of(x),
            "steps": steps,
            "steps_in_one": NOISE_STEPS,
            "rebuilt": rebuilt,
            "errors": errors,
            "sizes": sizes,
            "noises": list(NOISES),
        },
        alt="An image, the same image with noise, and what an autoencoder rebuilds from it",
    )


def code_plane(model: Autoencoder, codes: Tensor, labels: Tensor) -> Explorer:
    """Move a point over the code plane of a 2-D autoencoder, see the decoded image and the nearest code.

    codes: (n, 2) of real images; labels: (n,).
    """
    fig, (plane, screen) = plt.subplots(1, 2, figsize=(7.4, 3.9), width_ratios=(1.6, 1))
    figures.draw_codes(plane, codes, labels, size=14, alpha=0.7)
    (line,) = plane.plot([], [], color=INK, lw=1)
    (point,) = plane.plot([], [], "o", color=INK, ms=8)
    (picture,), (title,) = pictures([screen], [""])
    decoder, layers = rounded(model.decoder)

    def compute(first: float, second: float) -> dict:
        at = torch.tensor([[first, second]], device=codes.device)
        distance, nearest = (codes - at).norm(dim=1).min(0)
        there = codes[nearest].tolist()
        return {
            "line": ([first, there[0]], [second, there[1]]),
            "point": ([first], [second]),
            "picture": figures.square(decoder(at).sigmoid()),
            "title": f"distance to the nearest code {distance.item():.2f}",
        }

    low, high = (codes.amin(0) - 1).round().tolist(), (codes.amax(0) + 1).round().tolist()
    plane.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return Explorer(
        fig,
        compute,
        {
            "first": Slider("first number", start(low[0], high[0]), low[0], high[0], 0.1),
            "second": Slider("second number", start(low[1], high[1]), low[1], high[1], 0.1),
        },
        {"line": line, "point": point, "picture": picture, "title": title},
        script="code_plane",
        data={"codes": codes, "decoder": layers},
        alt="The codes of many digits in the plane, a point among them, and the image that is decoded there",
        drag=("point", "first", "second"),
    )


def start(low: float, high: float) -> float:
    """Zero, or the number from low to high that is nearest to it."""
    return min(max(0.0, low), high)


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
    (point,) = plane.plot([], [], "o", color=INK, ms=8)
    (picture,), _ = pictures([screen], ["decoder mean at z"])
    eps = torch.randn(21, 2, generator=seeded(1, mu.device), device=mu.device)
    decoder, layers = rounded(model.decoder)

    def compute(way: float, draw: int, spread: float) -> dict:
        between = torch.lerp(mu[0], mu[1], way)
        std = (0.5 * torch.lerp(log_var[0], log_var[1], way)).exp()
        z = between + spread * std * eps[draw]
        return {
            "point": z[:, None].tolist(),
            "picture": figures.square(decoder(z[None]).sigmoid()),
        }

    return Explorer(
        fig,
        compute,
        {
            "way": Slider("from A to B", 0.0, 0.0, 1.0, 0.05),
            "draw": Slider("draw number", 0, 0, len(eps) - 1, 1),
            "spread": Slider("spread", 1.0, 0.0, 3.0, 0.25),
        },
        {"point": point, "picture": picture},
        script="latent_plane",
        data={"mu": mu, "log_var": log_var, "eps": eps, "decoder": layers},
        alt="The latent plane with the regions of two images A and B, a point z, and the decoder mean at z",
    )
