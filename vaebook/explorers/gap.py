"""Explorer of the gap between the ELBO and log p(x), for one normal q and a model with one latent number."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.distributions import Normal

from vaebook.exact import Curve, expectation
from vaebook.explorers.base import LABEL, WIDE, Explorer, slider
from vaebook.figures import AMBER, BLUE, INK


def gap_explorer(model: Curve, points: dict[str, Tensor], floor: float = -12.0) -> Explorer:
    """Move and widen q, see the ELBO and the KL divergence share log p(x) between them.

    points: observed x (2,) by name; floor: where the bar begins, since log p(x) may be negative. An ELBO
    below it is not drawn, only printed.
    """
    fig, (bar, plane) = plt.subplots(1, 2, figsize=(7.6, 3.7), width_ratios=(1, 1.7))
    base = bar.add_patch(Rectangle((0, floor), 1, 0, facecolor=BLUE, animated=True))
    gap = bar.add_patch(
        Rectangle((0, floor), 1, 0, facecolor=AMBER, edgecolor=INK, hatch="//", animated=True)
    )
    (top,) = bar.plot([], [], color=INK, animated=True)
    words = [bar.text(1.14, 0, "", va="center", animated=True) for _ in range(3)]
    bar.set(xlim=(-0.1, 2.4), ylim=(floor, 0), xticks=[], ylabel="nats")

    grid = model.grid[model.grid[:, 0].abs() <= 4]  # (grid, 1)
    z = grid[:, 0].numpy()
    (posterior,) = plane.plot(z, 0 * z, "--", color=INK, animated=True, label="p(z|x)")
    (density,) = plane.plot(z, 0 * z, color=BLUE, animated=True, label="q(z|x)")
    plane.set(xlabel="z", ylabel="density", xlim=(-4, 4), ylim=(0, 4.2))
    plane.legend(loc="upper left")

    def update(point: str, mu: float, sigma: float) -> None:
        x = points[point][None]  # (1, 2)
        q = Normal(torch.tensor([mu], dtype=x.dtype), sigma)
        elbo = expectation(q, lambda z: model.log_joint(z, x) - q.log_prob(z)).item()
        kl = expectation(q, lambda z: q.log_prob(z) - model.log_posterior(z, x)).item()
        log_evidence = model.log_evidence(x).item()
        drawn = max(elbo, floor)
        base.set_height(drawn - floor)
        gap.set_y(drawn)
        gap.set_height(log_evidence - drawn)
        top.set_data([-0.1, 1.04], [log_evidence, log_evidence])
        named = (("log p(x)", log_evidence), ("KL", kl), ("ELBO", elbo))
        middle = min((log_evidence + drawn) / 2, log_evidence - 0.8)  # a line of text is 0.8 nats high
        heights = (log_evidence, middle, max(min(drawn, middle - 0.8), floor + 0.4))
        for text, (name, value), height in zip(words, named, heights, strict=True):
            text.set_text(f"{name} {value:.2f}")
            text.set_y(height)
        posterior.set_ydata(model.log_posterior(grid, x)[:, 0].exp().numpy())
        density.set_ydata(q.log_prob(grid)[:, 0].exp().numpy())

    return Explorer(
        fig,
        update,
        {
            "point": widgets.SelectionSlider(options=list(points), description="x", layout=WIDE, style=LABEL),
            "mu": slider(widgets.FloatSlider, "mu of q", 0.5, -3.0, 3.0, 0.05),
            "sigma": slider(widgets.FloatSlider, "sigma of q", 0.5, 0.1, 1.5, 0.01),
        },
    )
