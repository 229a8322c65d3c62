"""Explorer of the `Curve`: prior, likelihood, posterior and q over z, for an image x that is moved."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.distributions import Normal

from vaebook.exact import Curve
from vaebook.explorers.base import Explorer
from vaebook.explorers.controls import Slider
from vaebook.figures import AMBER, BLUE, INK, QUIET, RED

HEIGHT = 2.0  # of the likelihood's highest point: it is no density of z, and has no height of its own
STEP = 0.1
EVERY = 4  # one point in so many of the model's grid is drawn


def posterior_explorer(model: Curve, q: Callable[[Tensor], Normal], samples: Tensor) -> Explorer:
    """Move x over the plane of a `Curve`, see what follows for z, and what q makes of it.

    q: images (batch, 2) -> a normal distribution of z for each, batch shape (batch,); samples: (n, 2) images.
    """
    fig, (plane, line) = plt.subplots(1, 2, figsize=(9.6, 3.7), width_ratios=(1, 1.3))
    z = model.grid[:, 0]  # (points,)
    spacing = z[1] - z[0]
    drawn = (z.abs() < 6 + spacing).nonzero()[::EVERY, 0]
    across = z[drawn].numpy()  # matplotlib takes a tensor apart, number by number
    plane.scatter(*samples.T, s=4, color=QUIET, alpha=0.5, linewidths=0)
    plane.plot(*model.mean(torch.linspace(-torch.pi, torch.pi, 200, dtype=z.dtype)).T, color=BLUE, lw=1)
    (point,) = plane.plot([], [], "o", color=INK, ms=8)
    plane.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-3, 3), ylim=(-2, 2), aspect="equal")
    line.plot(across, model.prior.log_prob(z[drawn]).exp(), color=QUIET, ls="--", lw=1.2, label="prior")
    (likelihood,) = line.plot([], [], color=AMBER, ls=":", label="likelihood (scaled)")
    (posterior,) = line.plot([], [], color=BLUE, label="posterior")
    (guess,) = line.plot([], [], color=RED, ls="-.", label="q")
    line.set(xlabel="z", ylabel="density", xlim=(-6, 6), ylim=(0, 5))
    line.legend(loc="upper left", fontsize=8)
    title = line.set_title(" ")

    def compute(first: float, second: float) -> dict:
        x = torch.tensor([[first, second]], dtype=z.dtype)
        log_likelihood = model.log_likelihood(model.grid[drawn], x)[:, 0]
        log_posterior = model.log_posterior(model.grid, x)[:, 0]
        log_q = q(x).log_prob(z).detach()
        kl = (log_q.exp() * (log_q - log_posterior)).sum() * spacing
        scaled = HEIGHT * (log_likelihood - log_likelihood.max()).exp()
        evidence = model.log_evidence(x).item()
        return {
            "point": ([first], [second]),
            "likelihood": (across, scaled),
            "posterior": (across, log_posterior.exp()[drawn]),
            "guess": (across, log_q.exp()[drawn]),
            "title": f"log p(x) = {evidence:.2f}, KL of q from the posterior {kl.item():.2f} nats",
        }

    controls = {
        "first": Slider("first coordinate", 0.0, -2.5, 2.5, STEP),
        "second": Slider("second coordinate", 0.0, -1.5, 1.5, STEP),
    }
    # q may be any function. So the page gets its answers for all x that the sliders reach.
    firsts, seconds = (torch.tensor(control.values, dtype=z.dtype) for control in controls.values())
    with torch.no_grad():
        answers = q(torch.cartesian_prod(firsts, seconds))
        table = torch.stack([answers.mean, answers.stddev], 1)
    return Explorer(
        fig,
        compute,
        controls,
        {"point": point, "likelihood": likelihood, "posterior": posterior, "guess": guess, "title": title},
        script="posterior",
        data={
            "std": model.std,
            "grid": [z[0].item(), spacing.item(), len(z)],
            "drawn": drawn.tolist(),
            "height": HEIGHT,
            "starts": [control.min for control in controls.values()],
            "step": STEP,
            "q": table.view(len(firsts), len(seconds), 2).float(),
        },
        alt="A point x near a figure of eight, and over z the prior, the likelihood, the posterior and q",
        drag=("point", "first", "second"),
    )
