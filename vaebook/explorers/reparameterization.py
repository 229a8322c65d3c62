"""The explorer of chapter 4.5: fixed noise, carried through the latent plane by mu and sigma."""

from collections.abc import Callable

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from vaebook import figures
from vaebook.device import seeded
from vaebook.explorers.base import Explorer, pictures, slider
from vaebook.figures import AMBER, INK


def reparameterization_explorer(
    decoder_mean: Callable[[Tensor], Tensor], codes: Tensor, labels: Tensor, draws: int = 40
) -> Explorer:
    """Move mu and sigma under fixed noise: every z = mu + sigma * eps moves smoothly, and so does its image.

    Left the noise, which no slider touches; in the middle the latent plane with the points z; at the right
    the decoder mean at one of them, the amber one.

    decoder_mean: z (1, 2) -> image (1, 784); codes: (n, 2) means of real images; labels: (n,).
    """
    fig, (left, plane, screen) = plt.subplots(1, 3, figsize=(9.6, 3.6), width_ratios=(1, 1.5, 0.8))
    eps = torch.randn(draws, 2, generator=seeded(4, codes.device), device=codes.device)
    low, high = (codes.amin(0) - 1).round().tolist(), (codes.amax(0) + 1).round().tolist()

    left.plot(*eps.T.cpu(), "o", color=INK, ms=3.5)
    left.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
    left.set(xlabel=r"$\varepsilon_1$", ylabel=r"$\varepsilon_2$", title="noise: held fixed")
    (marked,) = left.plot([], [], "o", color=AMBER, mec=INK, ms=9, animated=True)

    figures.draw_codes(plane, codes, labels, size=18, alpha=0.6)
    plane.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    plane.set(xlabel="$z_1$", ylabel="$z_2$", title=r"$z = \mu + \sigma \odot \varepsilon$")
    (line,) = plane.plot([], [], color=INK, lw=1, animated=True)
    (cloud,) = plane.plot([], [], "o", color=INK, ms=3.5, animated=True)
    (centre,) = plane.plot([], [], "P", color="white", mec=INK, ms=10, mew=1.2, animated=True)
    (chosen,) = plane.plot([], [], "o", color=AMBER, mec=INK, ms=9, animated=True)
    (picture,), _ = pictures([screen], ["decoder mean at the amber z"])

    def update(mu1: float, mu2: float, sigma: float, draw: int) -> None:
        mu = torch.tensor([mu1, mu2], device=codes.device)
        z = mu + sigma * eps
        marked.set_data(*eps[draw, :, None].tolist())
        cloud.set_data(*z.T.tolist())
        centre.set_data([mu1], [mu2])
        chosen.set_data(*z[draw, :, None].tolist())
        line.set_data(*torch.stack([mu, z[draw]]).T.tolist())
        picture.set_data(figures.square(decoder_mean(z[draw : draw + 1])))

    return Explorer(
        fig,
        update,
        {
            "mu1": slider(widgets.FloatSlider, "μ, first", 0.0, low[0], high[0], 0.1),
            "mu2": slider(widgets.FloatSlider, "μ, second", 0.0, low[1], high[1], 0.1),
            "sigma": slider(widgets.FloatSlider, "σ", 0.5, 0.0, 1.5, 0.05),
            "draw": slider(widgets.IntSlider, "which ε", 0, 0, draws - 1, 1),
        },
    )
