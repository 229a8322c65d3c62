"""The explorer of chapter 4.5: fixed noise, carried through the latent plane by mu and sigma."""

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from vaebook import figures
from vaebook.device import seeded
from vaebook.explorers.arrays import rounded
from vaebook.explorers.base import Explorer, pictures
from vaebook.explorers.controls import Slider
from vaebook.explorers.images import start
from vaebook.figures import AMBER, INK


def reparameterization_explorer(
    decoder: nn.Sequential, codes: Tensor, labels: Tensor, draws: int = 40
) -> Explorer:
    """Move mu and sigma under fixed noise: every z = mu + sigma * eps moves smoothly, and so does its image.

    Left the noise, which no slider touches; in the middle the latent plane with the points z; at the right
    the decoder mean at one of them, the amber one.

    decoder: linear layers and ReLUs, z (1, 2) -> the logits of an image (1, 784); codes: (n, 2) means of real
    images; labels: (n,).
    """
    fig, (left, plane, screen) = plt.subplots(1, 3, figsize=(9.6, 3.6), width_ratios=(1, 1.5, 0.8))
    eps = torch.randn(draws, 2, generator=seeded(4, codes.device), device=codes.device)
    low, high = (codes.amin(0) - 1).round().tolist(), (codes.amax(0) + 1).round().tolist()

    left.plot(*eps.T.cpu(), "o", color=INK, ms=3.5)
    left.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
    left.set(xlabel=r"$\varepsilon_1$", ylabel=r"$\varepsilon_2$", title="noise: held fixed")
    (marked,) = left.plot([], [], "o", color=AMBER, mec=INK, ms=9)

    figures.draw_codes(plane, codes, labels, size=18, alpha=0.6)
    plane.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    plane.set(xlabel="$z_1$", ylabel="$z_2$", title=r"$z = \mu + \sigma \odot \varepsilon$")
    (line,) = plane.plot([], [], color=INK, lw=1)
    (cloud,) = plane.plot([], [], "o", color=INK, ms=3.5)
    (centre,) = plane.plot([], [], "P", color="white", mec=INK, ms=10, mew=1.2)
    (chosen,) = plane.plot([], [], "o", color=AMBER, mec=INK, ms=9)
    (picture,), _ = pictures([screen], ["decoder mean at the amber z"])

    decoder, layers = rounded(decoder)

    def compute(mu1: float, mu2: float, sigma: float, draw: int) -> dict:
        mu = torch.tensor([mu1, mu2], device=codes.device)
        z = mu + sigma * eps
        return {
            "marked": eps[draw, :, None].tolist(),
            "cloud": z.T.tolist(),
            "centre": ([mu1], [mu2]),
            "chosen": z[draw, :, None].tolist(),
            "line": torch.stack([mu, z[draw]]).T.tolist(),
            "picture": figures.square(decoder(z[draw : draw + 1]).sigmoid()),
        }

    return Explorer(
        fig,
        compute,
        {
            "mu1": Slider("μ, first", start(low[0], high[0]), low[0], high[0], 0.1),
            "mu2": Slider("μ, second", start(low[1], high[1]), low[1], high[1], 0.1),
            "sigma": Slider("σ", 0.5, 0.0, 1.5, 0.05),
            "draw": Slider("which ε", 0, 0, draws - 1, 1),
        },
        {
            "marked": marked,
            "line": line,
            "cloud": cloud,
            "centre": centre,
            "chosen": chosen,
            "picture": picture,
        },
        script="reparameterization",
        data={"eps": eps, "decoder": layers},
        alt="Fixed noise, the same points scaled and shifted in the latent plane, the image at one of them",
        drag=("centre", "mu1", "mu2"),
    )
