"""The explorer of chapter 4.3: what each price of a nat of KL buys."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from vaebook import figures
from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal, reparameterize
from vaebook.device import seeded
from vaebook.explorers.base import LABEL, WIDE, Explorer
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
        screens[beta] = figures.tile(shown, draws).numpy()

    frontier.plot(*zip(*places.values(), strict=True), "o", color=BLUE)
    frontier.set(xlabel="KL (nats per image)", ylabel="reconstruction (nats per image)")
    (line,) = frontier.plot([], [], "--", color=RED, lw=1.4, animated=True)
    (ring,) = frontier.plot([], [], "o", color=INK, ms=12, mfc="none", animated=True)
    frontier.set(xlim=frontier.get_xlim(), ylim=frontier.get_ylim())  # the line would change them
    title = frontier.set_title(" ", animated=True)
    columns = bars.bar(range(1, len(next(iter(heights.values()))) + 1), 0, color=BLUE, animated=True)
    bars.set(ylim=(0, 1.05 * max(max(h) for h in heights.values())), xticks=[])
    bars.set(xlabel="latent dimension, largest first", ylabel="KL (nats per image)")
    dimensions = bars.set_title(" ", animated=True)
    picture = screen.imshow(next(iter(screens.values())), vmin=0, vmax=1)
    screen.set(xticks=[], yticks=[14, 44, 74], yticklabels=["image", "rebuilt", "prior\ndraw"])
    screen.tick_params(length=0)
    screen.spines[:].set_visible(False)
    screen.set_title("images and decoder means", color=QUIET)

    def update(beta: float) -> None:
        kl, reconstruction = places[beta]
        ring.set_data([kl], [reconstruction])
        ends = frontier.get_xlim()
        line.set_data(ends, [reconstruction + beta * (end - kl) for end in ends])
        title.set_text(f"beta {beta:g}: {reconstruction:.1f} - {kl:.1f} = {reconstruction - kl:.1f} nats")
        for column, height in zip(columns, heights[beta], strict=True):
            column.set_height(height)
        used = sum(height > 0.1 for height in heights[beta])
        dimensions.set_text(f"{used} dimensions above 0.1 nats")
        picture.set_data(screens[beta])

    choice = widgets.SelectionSlider(
        options=[(f"{beta:g}", beta) for beta in models],
        value=1.0 if 1.0 in models else next(iter(models)),
        description="beta",
        layout=WIDE,
        style=LABEL,
    )
    return Explorer(fig, update, {"beta": choice})
