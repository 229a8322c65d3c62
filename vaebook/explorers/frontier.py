"""The explorer of chapter 4.3: what each price of a nat of KL buys."""

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from vaebook import figures
from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal, reparameterize
from vaebook.device import seeded
from vaebook.explorers.arrays import bytes_of
from vaebook.explorers.base import Explorer
from vaebook.explorers.controls import Choice
from vaebook.figures import BLUE, INK, QUIET, RED
from vaebook.models import VAE


@torch.no_grad()
def beta_explorer(models: dict[float, VAE], x: Tensor, draws: int = 6) -> Explorer:
    """Choose beta, see the model's place on the frontier, its KL by latent dimension, and its images.

    Left: every model's reconstruction over its KL, means over x with one draw of z for each image; the
    chosen one is ringed, and through it goes the line of slope beta, along which reconstruction - beta * KL
    stays the same. Middle: the mean KL of each latent dimension, largest first. Right: the first images of
    x, what the model makes of them (decoder means at the encoder's mean), and decoder means at draws from
    the prior, the same z for every model.

    models: one for each beta, all with the same number of latent dimensions; x: (n, 784) binary images.
    """
    fig, (frontier, bars, screen) = plt.subplots(1, 3, figsize=(10.4, 3.7), width_ratios=(1.25, 0.95, 1.3))
    places, heights, screens = {}, {}, {}
    for beta, model in models.items():
        mu, log_var = model.encode(x)
        z = reparameterize(mu, log_var, seeded(0, x.device))
        kl = kl_to_standard_normal(mu[..., None], log_var[..., None]).mean(0)  # (d,)
        reconstruction = bernoulli_log_likelihood(model.decode(z), x).mean().item()
        prior = torch.randn(draws, mu.shape[1], generator=seeded(1, x.device), device=x.device)
        shown = torch.cat([x[:draws], model.decoder_mean(mu[:draws]), model.decoder_mean(prior)])
        places[beta] = kl.sum().item(), reconstruction
        heights[beta] = kl.sort(descending=True).values.tolist()
        screens[beta] = bytes_of(figures.tile(shown, draws))

    frontier.plot(*zip(*places.values(), strict=True), "o", color=BLUE)
    frontier.set(xlabel="KL (nats per image)", ylabel="reconstruction (nats per image)")
    (line,) = frontier.plot([], [], "--", color=RED, lw=1.4)
    (ring,) = frontier.plot([], [], "o", color=INK, ms=12, mfc="none")
    frontier.set(xlim=frontier.get_xlim(), ylim=frontier.get_ylim())  # the line would change them
    title = frontier.set_title(" ")
    columns = bars.bar(range(1, len(next(iter(heights.values()))) + 1), 0, color=BLUE)
    bars.set(ylim=(0, 1.05 * max(max(h) for h in heights.values())), xticks=[])
    bars.set(xlabel="latent dimension, largest first", ylabel="KL (nats per image)")
    dimensions = bars.set_title(" ")
    picture = screen.imshow(next(iter(screens.values())).numpy() / 255, vmin=0, vmax=1)
    screen.set(xticks=[], yticks=[14, 44, 74], yticklabels=["image", "rebuilt", "prior\ndraw"])
    screen.tick_params(length=0)
    screen.spines[:].set_visible(False)
    screen.set_title("images and decoder means", color=QUIET)

    ends = frontier.get_xlim()

    def compute(beta: float) -> dict:
        kl, reconstruction = places[beta]
        used = sum(height > 0.1 for height in heights[beta])
        return {
            "ring": ([kl], [reconstruction]),
            "line": (ends, [reconstruction + beta * (end - kl) for end in ends]),
            "title": f"beta {beta:g}: {reconstruction:.1f} - {kl:.1f} = {reconstruction - kl:.1f} nats",
            "bars": heights[beta],
            "dimensions": f"{used} dimensions above 0.1 nats",
            "picture": screens[beta] / 255,
        }

    return Explorer(
        fig,
        compute,
        {"beta": Choice("beta", list(models), first=1.0 if 1.0 in models else None)},
        {
            "ring": ring,
            "line": line,
            "title": title,
            "bars": columns,
            "dimensions": dimensions,
            "picture": picture,
        },
        script="frontier",
        data={
            "betas": list(models),
            "places": list(places.values()),
            "heights": list(heights.values()),
            "screens": torch.stack(list(screens.values())),
            "ends": ends,
        },
        alt="Reconstruction over KL of a model for each beta, the KL of each dimension, and its images",
    )
