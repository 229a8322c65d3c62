"""Explorers of gradient estimates."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch

from vaebook.device import seeded
from vaebook.estimators import leave_one_out
from vaebook.explorers.base import LABEL, WIDE, Explorer
from vaebook.figures import BLUE, INK, RED

ESTIMATES = 400
DRAWS, DIMENSIONS = (2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16, 32)
LOW, HIGH, BARS = -30.0, 34.0, 64


def estimator_explorer(seed: int = 0) -> Explorer:
    """Choose draws, dimension and baseline, see 400 score-function estimates around the exact gradient.

    q is N(mu, I) with every entry of mu equal to 1, and f(z) is the sum of the squares of z. The gradient of
    E_q[f] in the first entry of mu, which is what the estimates estimate, is 2.
    """
    eps = torch.randn(ESTIMATES * max(DRAWS), max(DIMENSIONS), generator=seeded(seed, "cpu"))
    values_in = (1 + eps).square().cumsum(1)  # column d - 1: f of the first d coordinates
    edges = torch.linspace(LOW, HIGH, BARS + 1)

    def estimates(draws: int, dimension: int, baseline: str) -> torch.Tensor:
        values = values_in[: ESTIMATES * draws, dimension - 1].view(draws, ESTIMATES)
        score = eps[: ESTIMATES * draws, 0].view(draws, ESTIMATES)  # of the first coordinate: z_1 - mu_1
        subtracted = leave_one_out(values) if baseline == "leave-one-out" else 0.0
        return ((values - subtracted) * score).mean(0)

    fig, ax = plt.subplots(figsize=(6.6, 3))
    ax.set(xlim=(LOW, HIGH), ylim=(0, 1.3), yticks=[])
    ax.set(xlabel="estimate of the gradient in $\\mu_1$", ylabel="how often")
    ax.axvline(2, color=INK, ls="--", lw=1.2)
    ax.annotate("exact: 2", (2, 1.24), xytext=(4, 0), textcoords="offset points", fontsize=8)
    bars = ax.stairs(torch.zeros(BARS).numpy(), edges.numpy(), color=BLUE, fill=True, animated=True)
    (mean,) = ax.plot([], [], "o", color=RED, ms=6, animated=True)
    (spread,) = ax.plot([], [], "-", color=RED, lw=2, animated=True)
    title = ax.set_title(" ", animated=True)

    def update(draws: int, dimension: int, baseline: str) -> None:
        found = estimates(draws, dimension, baseline)
        counts = torch.histogram(found.clamp(LOW, HIGH), edges).hist
        bars.set_data((counts / counts.max()).numpy())
        centre, std = found.mean().item(), found.std().item()
        mean.set_data([centre], [1.1])
        spread.set_data([centre - std, centre + std], [1.1, 1.1])
        error = std / ESTIMATES**0.5
        title.set_text(
            f"noise of one estimate {std:.1f}; mean of all {centre:.2f}, standard error {error:.2f}"
        )

    def choice(name: str, options: tuple) -> widgets.SelectionSlider:
        return widgets.SelectionSlider(options=options, description=name, layout=WIDE, style=LABEL)

    return Explorer(
        fig,
        update,
        {
            "draws": choice("draws", DRAWS),
            "dimension": choice("dimension", DIMENSIONS),
            "baseline": choice("baseline", ("none", "leave-one-out")),
        },
    )
