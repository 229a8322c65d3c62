"""Explorer of the `Curve`: prior, likelihood, posterior and q over z, for an image x that is moved."""

from collections.abc import Callable

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.distributions import Normal

from vaebook.exact import Curve
from vaebook.explorers.base import Explorer, slider
from vaebook.figures import AMBER, BLUE, INK, QUIET, RED

HEIGHT = 2.0  # of the likelihood's highest point: it is no density of z, and has no height of its own


def posterior_explorer(model: Curve, q: Callable[[Tensor], Normal], samples: Tensor) -> Explorer:
    """Move x over the plane of a `Curve`, see what follows for z, and what q makes of it.

    q: images (batch, 2) -> a normal distribution of z for each, batch shape (batch,); samples: (n, 2) images.
    """
    fig, (plane, line) = plt.subplots(1, 2, figsize=(9.6, 3.7), width_ratios=(1, 1.3))
    z = model.grid[:, 0]  # (points,)
    spacing, across = z[1] - z[0], z.numpy()  # matplotlib takes a tensor apart, number by number
    plane.scatter(*samples.T, s=4, color=QUIET, alpha=0.5, linewidths=0)
    plane.plot(*model.mean(torch.linspace(-torch.pi, torch.pi, 200, dtype=z.dtype)).T, color=BLUE, lw=1)
    (point,) = plane.plot([], [], "o", color=INK, ms=8, animated=True)
    plane.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-3, 3), ylim=(-2, 2), aspect="equal")
    line.plot(across, model.prior.log_prob(z).exp().numpy(), color=QUIET, ls="--", lw=1.2, label="prior")
    (likelihood,) = line.plot([], [], color=AMBER, ls=":", animated=True, label="likelihood (scaled)")
    (posterior,) = line.plot([], [], color=BLUE, animated=True, label="posterior")
    (guess,) = line.plot([], [], color=RED, ls="-.", animated=True, label="q")
    line.set(xlabel="z", ylabel="density", xlim=(-6, 6), ylim=(0, 5))
    line.legend(loc="upper left", fontsize=8)
    title = line.set_title(" ", animated=True)

    def update(first: float, second: float) -> None:
        x = torch.tensor([[first, second]], dtype=z.dtype)
        log_likelihood = model.log_likelihood(model.grid, x)[:, 0]
        log_posterior = model.log_posterior(model.grid, x)[:, 0]
        log_q = q(x).log_prob(z).detach()
        kl = (log_q.exp() * (log_q - log_posterior)).sum() * spacing
        point.set_data([first], [second])
        likelihood.set_data(across, HEIGHT * (log_likelihood - log_likelihood.max()).exp().numpy())
        posterior.set_data(across, log_posterior.exp().numpy())
        guess.set_data(across, log_q.exp().numpy())
        evidence = model.log_evidence(x).item()
        title.set_text(f"log p(x) = {evidence:.2f}, KL of q from the posterior {kl.item():.2f} nats")

    controls = {
        "first": slider(widgets.FloatSlider, "first coordinate", 0.0, -2.5, 2.5, 0.1),
        "second": slider(widgets.FloatSlider, "second coordinate", 0.0, -1.5, 1.5, 0.1),
    }
    return Explorer(fig, update, controls)
