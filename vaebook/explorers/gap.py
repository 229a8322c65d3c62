"""Explorer of the gap between the ELBO and log p(x), for one normal q and a model with one latent number."""

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.distributions import Normal

from vaebook.exact import Curve, expectation
from vaebook.explorers.base import Explorer
from vaebook.explorers.controls import Choice, Slider
from vaebook.figures import AMBER, BLUE, INK

WORDS = 1.14  # where the words beside the bar begin


def gap_explorer(model: Curve, points: dict[str, Tensor], floor: float = -12.0) -> Explorer:
    """Move and widen q, see the ELBO and the KL divergence share log p(x) between them.

    points: observed x (2,) by name; floor: where the bar begins, since log p(x) may be negative. An ELBO
    below it is not drawn, only printed.
    """
    fig, (bar, plane) = plt.subplots(1, 2, figsize=(7.6, 3.7), width_ratios=(1, 1.7))
    base = bar.add_patch(Rectangle((0, floor), 1, 0, facecolor=BLUE))
    gap = bar.add_patch(Rectangle((0, floor), 1, 0, facecolor=AMBER, edgecolor=INK, hatch="//"))
    (top,) = bar.plot([], [], color=INK)
    words = {name: bar.text(WORDS, 0, "", va="center") for name in ("evidence", "kl", "elbo")}
    bar.set(xlim=(-0.1, 2.4), ylim=(floor, 0), xticks=[], ylabel="nats")

    grid = model.grid[model.grid[:, 0].abs() <= 4][::2]  # (grid, 1)
    z = grid[:, 0].numpy()
    (posterior,) = plane.plot(z, 0 * z, "--", color=INK, label="p(z|x)")
    (density,) = plane.plot(z, 0 * z, color=BLUE, label="q(z|x)")
    plane.set(xlabel="z", ylabel="density", xlim=(-4, 4), ylim=(0, 4.2))
    plane.legend(loc="upper left")

    def compute(point: str, mu: float, sigma: float) -> dict:
        x = points[point][None]  # (1, 2)
        q = Normal(torch.tensor([mu], dtype=x.dtype), sigma)
        elbo = expectation(q, lambda z: model.log_joint(z, x) - q.log_prob(z)).item()
        kl = expectation(q, lambda z: q.log_prob(z) - model.log_posterior(z, x)).item()
        log_evidence = model.log_evidence(x).item()
        drawn = max(elbo, floor)
        middle = min((log_evidence + drawn) / 2, log_evidence - 0.8)  # a line of text is 0.8 nats high
        return {
            "base": (0, floor, 1, drawn - floor),
            "gap": (0, drawn, 1, log_evidence - drawn),
            "top": ([-0.1, 1.04], [log_evidence, log_evidence]),
            "evidence": (f"log p(x) {log_evidence:.2f}", WORDS, log_evidence),
            "kl": (f"KL {kl:.2f}", WORDS, middle),
            "elbo": (f"ELBO {elbo:.2f}", WORDS, max(min(drawn, middle - 0.8), floor + 0.4)),
            "posterior": (z, model.log_posterior(grid, x)[:, 0].exp()),
            "density": (z, q.log_prob(grid)[:, 0].exp()),
        }

    return Explorer(
        fig,
        compute,
        {
            "point": Choice("x", list(points)),
            "mu": Slider("mu of q", 0.5, -3.0, 3.0, 0.05),
            "sigma": Slider("sigma of q", 0.5, 0.1, 1.5, 0.01),
        },
        {"base": base, "gap": gap, "top": top, **words, "posterior": posterior, "density": density},
        script="gap",
        data={
            "std": model.std,
            "grid": [model.grid[0].item(), (model.grid[1] - model.grid[0]).item(), len(model.grid)],
            "z": grid[:, 0],
            "points": {name: point.tolist() for name, point in points.items()},
            "floor": floor,
            "words": WORDS,
        },
        alt="A bar of log p(x), divided into the ELBO and the KL divergence; the densities of q and p(z|x)",
        drag=("density", "mu", None),
    )
