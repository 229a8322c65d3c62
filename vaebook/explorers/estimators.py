"""Explorers of gradient estimates."""

import matplotlib.pyplot as plt
import torch

from vaebook.estimators import leave_one_out
from vaebook.explorers.arrays import normals
from vaebook.explorers.base import Explorer
from vaebook.explorers.controls import Choice
from vaebook.figures import BLUE, INK, RED

ESTIMATES = 400
DRAWS, DIMENSIONS = (2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16, 32)
LOW, HIGH, BARS = -30.0, 34.0, 64


def estimator_explorer(seed: int = 0) -> Explorer:
    """Choose draws, dimension and baseline, see 400 score-function estimates around the exact gradient.

    q is N(mu, I) with every entry of mu equal to 1, and f(z) is the sum of the squares of z. The gradient of
    E_q[f] in the first entry of mu, which is what the estimates estimate, is 2.
    """
    eps = normals(seed, ESTIMATES * max(DRAWS), max(DIMENSIONS))
    values_in = (1 + eps).square().cumsum(1)  # column d - 1: f of the first d coordinates
    edges = torch.linspace(LOW, HIGH, BARS + 1, dtype=eps.dtype)

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
    bars = ax.stairs(torch.zeros(BARS).numpy(), edges.numpy(), color=BLUE, fill=True)
    (mean,) = ax.plot([], [], "o", color=RED, ms=6)
    (spread,) = ax.plot([], [], "-", color=RED, lw=2)
    title = ax.set_title(" ")

    def compute(draws: int, dimension: int, baseline: str) -> dict:
        found = estimates(draws, dimension, baseline)
        counts = torch.histogram(found.clamp(LOW, HIGH), edges).hist
        centre, std = found.mean().item(), found.std().item()
        error = std / ESTIMATES**0.5
        return {
            "bars": counts / counts.max(),
            "mean": ([centre], [1.1]),
            "spread": ([centre - std, centre + std], [1.1, 1.1]),
            "title": f"noise of one estimate {std:.1f}; mean of all {centre:.2f}, standard error {error:.2f}",
        }

    return Explorer(
        fig,
        compute,
        {
            "draws": Choice("draws", DRAWS),
            "dimension": Choice("dimension", DIMENSIONS),
            "baseline": Choice("baseline", ("none", "leave-one-out")),
        },
        {"bars": bars, "mean": mean, "spread": spread, "title": title},
        script="estimators",
        data={
            "seed": seed,
            "estimates": ESTIMATES,
            "draws": max(DRAWS),
            "dimensions": list(DIMENSIONS),
            "range": [LOW, HIGH, BARS],
        },
        alt="A histogram of 400 estimates of a gradient, their mean and their spread, and the exact value 2",
    )
