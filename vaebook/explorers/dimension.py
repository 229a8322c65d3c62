"""An explorer of how many draws from the prior an estimate of log p(x) needs."""

import math

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from vaebook import figures
from vaebook.evaluation import effective_sample_size
from vaebook.exact import LinearGaussian
from vaebook.explorers.arrays import normals
from vaebook.explorers.base import Explorer
from vaebook.explorers.controls import Choice, Slider

PIXELS = 20
RUNS = 3
MOST = 12  # draws go to 2 to this power


def draws_explorer(noises: tuple[float, ...] = (0.3, 0.5, 1.0, 2.0), seed: int = 0) -> Explorer:
    """Estimate log p(x) of a `LinearGaussian` by draws from the prior, see how far below the truth it is.

    Left, three runs: the estimate minus the exact log p(x) in nats, against the number of draws. Right: which
    share of the first run's total weight its heaviest draws hold. The title says how many equally weighted
    draws its draws are worth, by their own weights and in truth.

    noises: the standard deviations of a pixel to choose from: small ones make x tell much about z.
    """
    generator = torch.Generator().manual_seed(seed)
    W = torch.linalg.qr(torch.randn(PIXELS, PIXELS, generator=generator, dtype=torch.float64))[0]
    truth, eps = torch.randn(2, PIXELS, generator=generator, dtype=torch.float64)
    z = normals(seed, 2**MOST, RUNS, PIXELS)
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.1), width_ratios=(1.4, 1))
    left.axhline(0, color=figures.INK, ls="--", lw=1)
    left.set(xscale="log", xlim=(1, 2**MOST), ylim=(-30, 4))
    left.set(xlabel="draws from the prior", ylabel="estimate minus log p(x) (nats)")
    right.set(xscale="log", xlim=(0.9, 1.1 * 2**MOST), ylim=(0, 1.03))
    right.set(xlabel="heaviest draws of the first run", ylabel="share of the weight")
    styles = ("-", "--", ":")
    lines = [left.plot([], [], styles[i], color=figures.PALETTE[i])[0] for i in range(RUNS)]
    (shares,) = right.plot([], [], ".-", color=figures.BLUE)
    titles = [ax.set_title(" ") for ax in (left, right)]
    known: dict[tuple[int, float], tuple[Tensor, float, float]] = {}

    def scored(d: int, noise: float) -> tuple[Tensor, float, float]:
        """log p(x|z) - log p(x) of all draws, (draws, runs); what share they are worth; the KL."""
        if (d, noise) not in known:
            model = LinearGaussian(W[:, :d], torch.zeros(PIXELS, dtype=torch.float64), noise)
            x = (W[:, :d] @ truth[:d] + noise * eps)[None]
            weights = model.log_likelihood(z[..., :d], x) - model.log_evidence(x)
            kl = kl_divergence(model.posterior(x), model.prior)
            known[d, noise] = weights, share_worth(model, x).item(), kl.item()
        return known[d, noise]

    def compute(d: int, draws: int, noise: float) -> dict:
        weights, share, kl = scored(d, noise)
        k = 2**draws
        counts = torch.arange(1, k + 1, dtype=torch.float64)
        estimates = weights[:k].logcumsumexp(0) - counts.log()[:, None]
        steps = 2 ** torch.linspace(0, draws, 200, dtype=torch.float64)
        shown = torch.unique(steps.round().long().clamp(max=k)) - 1
        held = weights[:k, 0].softmax(0).sort(descending=True).values.cumsum(0)
        seen = effective_sample_size(weights[:k, :1]).item()
        return {
            **{f"run{i}": (counts[shown], estimates[shown, i]) for i in range(RUNS)},
            "shares": (counts[shown], held[shown]),
            "title": f"{k} draws; KL(posterior ‖ prior) = {kl:.1f} nats",
            "worth": f"worth {seen:.1f} draws; in truth {rounded(k * share)}",
        }

    return Explorer(
        fig,
        compute,
        {
            "d": Slider("latent dimensions", 2, 1, PIXELS, 1),
            "draws": Slider("draws, 2 to the", MOST, 0, MOST, 1),
            "noise": Choice("noise", noises, first=noises[len(noises) // 2]),
        },
        {f"run{i}": run for i, run in enumerate(lines)}
        | {"shares": shares, "title": titles[0], "worth": titles[1]},
        script="dimension",
        # The columns of W are orthonormal: seen along them, every coordinate of x and z stands for itself.
        data={"seed": seed, "most": MOST, "runs": RUNS, "truth": truth, "eps": W.T @ eps},
        alt="Three running estimates of log p(x) below the truth, and the share of the heaviest draws",
    )


def share_worth(model: LinearGaussian, x: Tensor) -> Tensor:
    """(batch,) p(x)² / E[p(x|z)²] over the prior: the share of K draws that they are worth, as K grows."""
    narrow = LinearGaussian(model.W, model.b, model.std / math.sqrt(2))  # p(x|z)² is its likelihood, scaled
    log_scale = -0.5 * len(model.b) * math.log(4 * math.pi * model.std**2)
    return (2 * model.log_evidence(x) - narrow.log_evidence(x) - log_scale).exp()


def rounded(number: float) -> str:
    """A number to two digits: 340, 12, 0.31, or 2e-07."""
    return f"{number:.0e}" if number < 1e-3 else f"{float(f'{number:.1e}'):g}"
