"""Checks of functions that draw, or train: verdicts by z-scores, with a stated rate of false alarms.

A z-score is too large beyond 6 standard errors (one normal variable in 500 million), and a law is wrong
when a Kolmogorov-Smirnov test says so with p < 1e-7.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from vaebook.checks.base import UNKNOWN, Exam, Mark, Report, check, close, numbers, p_normal, p_uniform
from vaebook.checks.places import BASELINE, EASY, LATENT, LOOP, NEW, REGION, SAME, SCORE, TWO_TERMS
from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal
from vaebook.models import VAE

FAR = 6.0  # standard errors
SEED = "a seed is set inside the function: every call makes the same draw"


def z_scores(values: Tensor, expected: Tensor | float) -> Tensor:
    """For each column of independent rows: how many standard errors its mean is from what was expected."""
    return (values.mean(0) - expected) / (values.std(0) / len(values) ** 0.5)


def dependence(noise: Tensor) -> float:
    """The largest z-score of a correlation between two columns, or of a column with its own next row."""
    n, d = noise.shape
    unit = (noise - noise.mean(0)) / noise.std(0)
    between = (unit.T @ unit).fill_diagonal_(0) / n**0.5
    along = (unit[1:] * unit[:-1]).sum(0) / n**0.5
    return max(between.abs().max().item(), along.abs().max().item())


# --- the draw -----------------------------------------------------------------------------------------------


@check("mu log_var", REGION)
def reparameterize(exam: Exam) -> Report:
    """A function (mu, log_var), both (batch, d) -> (batch, d), draws of N(mu, diag exp(log_var)).

    Gradients must reach mu and log_var. A parameter named `generator`, if there is one, decides the draw.
    False alarms: fewer than one call in 100,000.
    Checks: chapter 3.
    """
    batch, d = exam.integer(6, 9), exam.integer(3, 5)
    mu, log_var = 2 * exam.randn(batch, d), exam.randn(batch, d)

    def draw(mu: Tensor, log_var: Tensor, **options: torch.Generator) -> Tensor:
        shapes = {(len(mu),): "one number is drawn for each image, and not one for each latent dimension"}
        out = exam.tensor(exam.call(mu, log_var, **options)[0], tuple(mu.shape), shapes).detach()
        if not out.isfinite().all():
            exam.fail(
                f"draws of {numbers(out[~out.isfinite()])} for log_var from {log_var.min():.3g} up",
                "a root or logarithm of log_var, which is negative where the standard deviation is below 1",
            )
        return out

    one, two = draw(mu, log_var), draw(mu, log_var)
    if torch.equal(one, two):
        _no_noise(exam, one, mu, log_var)
        exam.fail(f"two calls made the same draw: {numbers(one)}", SEED)
    for size in ((1, d), (batch, 1)):
        draw(exam.randn(*size), exam.randn(*size))
    law(exam, draw, read=REGION)
    _pathwise(exam, mu, log_var)
    if exam.takes_generator:
        seeds = (torch.Generator(exam.device).manual_seed(seed) for seed in (1, 1, 2))
        a, b, c = (draw(mu, log_var, generator=generator) for generator in seeds)
        if not torch.equal(a, b) or torch.equal(a, c):
            exam.fail(
                "two generators with the same seed gave different draws, or two seeds the same",
                "the function has a parameter `generator`, but its noise does not come from there",
            )
        exam.hold("generator")


def law(exam: Exam, draw: Callable[[Tensor, Tensor], Tensor], n: int = 4000, read: str = SAME) -> None:
    """draw(mu, log_var), both (rows, 4), has the law of N(mu, diag exp(log_var)): mean, noise and spread."""
    _narrow(exam, draw, 2 * exam.randn(400, 4))
    zero = torch.zeros_like(exam.randn(n, 4))
    _noise(exam, draw(zero, zero), "for mu = 0 and log_var = 0 your draws have", read)
    exam.hold("noise")
    _spread(exam, draw, n)


def _no_noise(exam: Exam, z: Tensor, mu: Tensor, log_var: Tensor) -> None:
    """z is no draw, but a number that mu and log_var decide."""
    for text, fixed in (("mu itself", mu), ("mu + σ", mu + (0.5 * log_var).exp())):
        if close(z, fixed):
            exam.fail(f"every z is {text}", "there is no noise: a point, and not a region", REGION)


def _narrow(exam: Exam, draw, mu: Tensor) -> None:
    """With a standard deviation of 1e-13 a draw is mu."""
    z = draw(mu, torch.full_like(mu, -60.0))
    if close(z, mu):
        return exam.hold("mean")
    off = (z - mu).square().mean().sqrt().item()
    seen = f"for log_var = -60, where the standard deviation is 1e-13, draws are {off:.3g} away from mu"
    if close(z, 0 * mu):
        wide = draw(torch.full_like(mu, 1000.0), 0 * mu)
        text = (
            "mu has no influence on the draw"
            if wide.abs().max() < 100
            else "the standard deviation multiplies mu too"
        )
        exam.fail(seen, text + ": draws should lie around mu")
    if close(z, draw(mu, torch.full_like(mu, -60.0))):
        which = ": it is averaged over the images" if close(z, z[:1].expand_as(z)) else ""
        exam.fail(seen, f"there is no noise in it, and its centre is not mu{which}")
    if close(draw(0 * mu, 0 * mu), torch.ones_like(mu)):
        exam.fail(seen, "mu and the standard deviation are swapped: mu multiplies the noise")
    if 50 < off < 70:
        exam.fail(
            seen, "log_var itself multiplies the noise, or is added, as if it were the standard deviation"
        )
    if 6 < off < 10:
        exam.fail(seen, "the root of |log_var| multiplies the noise, as if it were the variance")
    if off < 6:  # at log_var = 6 the standard deviation is 20
        if draw(0 * mu, torch.full_like(mu, 6.0)).std() < 2 * off:
            exam.fail(seen, "the noise is added as it is: the standard deviation does not scale it")
        exam.fail(
            seen,
            "something is added to the standard deviation or variance, or bounds it or log_var: no region "
            "can be narrower, and with log_var no help against 0 is needed",
        )
    exam.fail(seen, UNKNOWN)


def _noise(exam: Exam, noise: Tensor, words: str, read: str) -> None:
    """(z - mu) / σ, (rows, d), is standard normal, and every number is drawn for itself."""
    n = len(noise)
    if close(noise, noise[:1].expand_as(noise)):
        exam.fail(
            f"all {n} rows of a batch got the same noise, {numbers(noise[0])}",
            "the noise is shared across the batch: every image needs a draw of its own",
            read,
        )
    if close(noise, noise[:, :1].expand_as(noise)):
        exam.fail(
            f"all dimensions of a row got the same noise, {noise[0, 0]:.4g}",
            "the noise is shared across latent dimensions: z moves on a line only",
            read,
        )
    values = noise.flatten().double().cpu().numpy()
    mean, std = values.mean(), values.std()
    seen = f"{words} mean {mean:.3f} and standard deviation {std:.3f}"
    far = abs(values).max()  # of 10,000 one is beyond 3.2, but once in a million times
    cut_off = 1.5 < far < 3.2 and len(values) > 10_000
    if p_normal(values) < 1e-7:
        seen += f"; they lie between {values.min():.3g} and {values.max():.3g}"
        if p_uniform((values - values.min()) / (values.max() - values.min())) > 1e-7:
            exam.fail(seen, "the noise is uniform, as torch.rand makes it, and not normal", read)
        if abs(mean) < 0.05 and abs(std - 1) > 0.05 and p_normal(values / std) > 1e-7:
            exam.fail(seen, "the noise is normal, but not of standard deviation 1", read)
        if not cut_off:
            exam.fail(
                seen, "the noise is not standard normal (mean and spread are not all that a law has)", read
            )
    if cut_off:
        exam.fail(
            f"{seen}; none goes beyond {far:.3g}", "the noise is cut off: normal noise has no bound", read
        )
    roots = noise.var(0) ** (1 / 3)  # nearly normal where variances are skewed (Wilson and Hilferty)
    spread = (roots - 1 + 2 / (9 * n)) / (2 / (9 * n)) ** 0.5
    if max(z_scores(noise, 0).abs().max(), spread.abs().max()) > FAR:
        exam.fail(seen, "the noise is not standard normal in every dimension", read)
    if (score := dependence(noise)) > FAR:
        exam.fail(
            f"noise of two dimensions or neighbouring rows is correlated: {score:.0f} standard errors from 0",
            "parts of the noise are shared or repeated: every number of z needs noise of its own",
            read,
        )


SPREADS = (  # mistakes, and what stands where the standard deviation belongs
    ("exp(log_var) is used as the standard deviation: it is the variance", lambda v: v.exp()),
    ("log_var has the sign of a precision", lambda v: (-0.5 * v).exp()),
    (
        "log_var has the sign of a precision, and its exponential is used as the standard deviation",
        lambda v: (-v).exp(),
    ),
    ("the square of the variance is used as the standard deviation", lambda v: (2 * v).exp()),
    ("the root is taken twice", lambda v: (0.25 * v).exp()),
    ("the standard deviation has no influence: the noise is added as it is", torch.ones_like),
    ("log_var itself is used as the standard deviation", lambda v: v.abs()),
    ("the root of log_var is used as the standard deviation", lambda v: v.abs().sqrt()),
)


def _spread(exam: Exam, draw, n: int) -> None:
    """The standard deviation, where it is not 1."""
    log_var = exam.rand(-0.3, 0.3, 4) + exam.rand(0, 0, 4).new_tensor([-2.0, -1.0, 1.0, 2.0])
    mu = exam.randn(4)
    z = draw(mu.repeat(n, 1), log_var.repeat(n, 1))
    std = z.std(0)
    if (std.square() / log_var.exp() - 1).abs().max() > FAR * (2 / n) ** 0.5:
        seen = (
            f"for log_var = {numbers(log_var, 4)} the standard deviations of {n} draws are {numbers(std, 4)}"
        )
        for text, taken in SPREADS:
            if ((std / taken(log_var) - 1).abs() < 0.08).all():
                exam.fail(seen, text)
        exam.fail(seen, UNKNOWN + ", but the spread is wrong where it should not be 1")
    if (z_scores(z, mu).abs() > FAR).any():
        exam.fail(
            f"for mu = {numbers(mu, 4)} the means of {n} draws are {numbers(z.mean(0), 4)}",
            "the mean is not mu",
        )
    exam.hold("spread")


def _pathwise(exam: Exam, mu: Tensor, log_var: Tensor) -> None:
    """dz/dmu = 1 and dz/dlog_var = (z - mu) / 2, at the draw that was made."""
    out, (m, v) = exam.call(mu, log_var, track=True)
    cut = "the draw cuts the gradient, as sample(), .detach() and torch.no_grad() do"
    if not out.requires_grad:
        exam.fail("the draw has no gradient, neither in mu nor in log_var", cut)
    weights = exam.rand(0.5, 1.5, *mu.shape)
    exam.guarded((weights * out).sum().backward, (), "when its draw was differentiated")
    for name, mine, right in (
        ("mu", m.grad, weights),
        ("log_var", v.grad, 0.5 * weights * (out.detach() - mu)),
    ):
        if mine is None or not mine.any():
            exam.fail(f"no gradient reaches {name}", f"{cut}; here on the way to {name}")
        if not close(mine, right):
            exam.fail(
                f"the gradient in {name} is {numbers(mine)}, where it is {numbers(right)} at this draw",
                f"{name} is averaged over the images: each has its own"
                if close(mine, mine[:1].expand_as(mine))
                else "the path from the parameters to z is not the one that z was made on",
            )
    exam.hold("gradients")


# --- the score function -------------------------------------------------------------------------------------


def _log_q(phi: Tensor, z: Tensor) -> Tensor:
    d = z.shape[-1]
    return Normal(phi[..., :d], phi[..., d:].exp()).log_prob(z).sum(-1)


def _slope(function, phi: Tensor, z: Tensor) -> Tensor:
    """The gradient of the mean of a function over draws."""
    phi = phi.detach().requires_grad_()
    return torch.autograd.grad(function(phi, z).mean(), phi)[0]


def _score(f, log_q, phi: Tensor, z: Tensor) -> Tensor:
    return _slope(lambda p, z: f(p, z).detach() * log_q(p, z) + f(p, z), phi, z)


def _centred(f, phi: Tensor, z: Tensor) -> Tensor:
    values = f(phi, z).detach()
    return values - values.mean()


PRODUCT = (
    "f · log q is differentiated as a product, and log q weights the gradient of f; f is a constant there"
)

SCORE_MARKS = [
    Mark(
        "the gradient of f alone: how often each z is drawn depends on phi too, and that is missing (or a "
        "draw's own value is subtracted as its baseline)",
        lambda f, q, p, z: _slope(f, p, z),
        EASY,
    ),
    Mark(
        "the part through f is missing: f may contain phi itself",
        lambda f, q, p, z: _slope(lambda p, z: f(p, z).detach() * q(p, z), p, z),
        EASY,
    ),
    Mark("the sign", lambda f, q, p, z: -_score(f, q, p, z)),
    Mark("the sum over draws, where their mean belongs", lambda f, q, p, z: len(z) * _score(f, q, p, z)),
    Mark("the score alone, whose mean is 0: f does not weight it", lambda f, q, p, z: _slope(q, p, z)),
    Mark("the score is not weighted by f", lambda f, q, p, z: _slope(lambda p, z: q(p, z) + f(p, z), p, z)),
    Mark(
        "the mean of f times the mean score: each draw's f belongs to its own score",
        lambda f, q, p, z: f(p, z).mean().detach() * _slope(q, p, z) + _slope(f, p, z),
    ),
    Mark(
        "the mean of f times the mean score: each draw's f belongs to its own score",
        lambda f, q, p, z: f(p, z).mean().detach() * _slope(q, p, z),
    ),
    Mark(
        "the baseline is a mean to which the draw's own value belongs: so it depends on the draw, and the "
        "estimate is biased",
        lambda f, q, p, z: _slope(lambda p, z_: _centred(f, p, z) * q(p, z) + f(p, z), p, z),
        BASELINE,
    ),
    Mark(
        "the gradient of q, where that of its logarithm belongs",
        lambda f, q, p, z: _slope(lambda p, z: f(p, z).detach() * q(p, z).exp() + f(p, z), p, z),
    ),
    Mark(
        "the gradient of q, where that of its logarithm belongs",
        lambda f, q, p, z: _slope(lambda p, z: f(p, z).detach() * q(p, z).exp(), p, z),
    ),
    Mark(
        PRODUCT,
        lambda f, q, p, z: _slope(lambda p, z: f(p, z) * q(p, z), p, z),
    ),
    Mark(
        PRODUCT,
        lambda f, q, p, z: _slope(lambda p, z: f(p, z) * q(p, z) + f(p, z), p, z),
    ),
    Mark(
        "f is squared",
        lambda f, q, p, z: _score(lambda p, z: f(p, z) ** 2, q, p, z),
    ),
]


@check(
    "f log_q phi z",
    SCORE,
    raised=[
        (
            "does not require grad|not have been used|does not have a grad",
            "something is differentiated that does not depend on phi: z is a number",
        )
    ],
)
def score_function(exam: Exam) -> Report:
    """A function (f, log_q, phi, z) -> the score-function estimate of the gradient in phi, (parameters,).

    f(phi, z) and log_q(phi, z) take one row of z (draws, d), or all rows. The result is a mean over draws.
    A result with an attribute `gradient`, like the book's, is accepted, and so is a baseline without bias.
    False alarms: none but by rounding; with a baseline fewer than one call in 100,000.
    Checks: chapter 4.4.
    """
    d, n = 2, exam.integer(9, 14)
    phi = torch.cat([exam.randn(d), exam.rand(-0.5, 0.5, d)])
    a, b, shift, w = (
        phi[:d] + exam.rand(0.5, 1.0, d),
        exam.rand(0.5, 1.5, d),
        exam.rand(1, 2),
        exam.randn(2 * d),
    )

    def plain(p: Tensor, z: Tensor) -> Tensor:  # whose phi has no influence
        return (b * (z - a).square()).sum(-1) + shift + 0 * p.sum(-1)

    def own(p: Tensor, z: Tensor) -> Tensor:  # f that contains phi
        return plain(p, z) + (w * p).sum(-1) * z.cos().sum(-1)

    def draws(n: int) -> Tensor:
        return phi[:d] + phi[d:].exp() * exam.randn(n, d)

    def estimate(f, z: Tensor) -> Tensor:
        out = exam.call(f, _log_q, phi, z, track=True)[0]
        shapes = {
            (n, 2 * d): "one gradient for each draw: the estimate is their mean",
            (n,): "one number for each draw: a value, and no gradient in phi",
            (): "one number: the value of an objective, and not its gradient in phi",
            (d,): "one number for each dimension of z, and not for each parameter",
        }
        return exam.tensor(getattr(out, "gradient", out), (2 * d,), shapes).detach()

    cases = [(plain, draws(n)), (plain, draws(n)), (own, draws(n)), (own, draws(n))]
    seen = [estimate(f, z) for f, z in cases]
    right = [_score(f, _log_q, phi, z) for f, z in cases]
    if not all(close(s, r) for s, r in zip(seen, right, strict=True)):
        i = next(i for i in range(4) if not close(seen[i], right[i]))
        name = "an f without phi" if i < 2 else "an f that contains phi"
        text = f"for {name} your gradient is {numbers(seen[i], 4)}, where it is {numbers(right[i], 4)}"
        for mark in SCORE_MARKS:
            if all(
                close(s, mark.makes(f, _log_q, phi, z), nan=True)
                for s, (f, z) in zip(seen, cases, strict=True)
            ):
                exam.fail(text, mark.text, mark.read)
        ratio = (seen[0] / right[0]).mean()
        if all(close(s, ratio * r) for s, r in zip(seen, right, strict=True)):
            exam.fail(text, f"{UNKNOWN}; it is {ratio.item():.4g} times what it should be, everywhere")
        for k, row in enumerate(torch.eye(n).to(phi)):
            if close(estimate(own, cases[2][1] + row[:, None]), seen[2]):
                exam.fail(
                    f"{text}; whatever draw {k + 1} of {n} is, the result is the same",
                    "some draws are not used: the estimate is a mean over all of them",
                )
        _unbiased(
            exam, text, lambda z: estimate(own, z), lambda z: _score(own, _log_q, phi, z), lambda: draws(n)
        )
    exam.hold("f without phi")
    exam.hold("f with phi")
    flat = exam.call(plain, _log_q, phi[::d], draws(n)[:, :1], track=True)[0]  # one latent dimension
    exam.tensor(getattr(flat, "gradient", flat), (2,), {})
    exam.hold("one latent dimension")


def _unbiased(exam: Exam, text: str, estimate, right, draws) -> None:
    """An unknown estimate may still be right: its mean over fresh draws is that of the plain estimate."""
    pairs = [(estimate(z), right(z)) for z in (draws() for _ in range(200))]
    mine, plain = (torch.stack(part) for part in zip(*pairs, strict=True))
    scores = z_scores(mine - plain, 0).nan_to_num(0)  # no difference at all is none
    if not (scores.abs() < 5).all() or (mine.std(0) > 5 * plain.std(0)).any():
        exam.fail(
            f"{text}; over 200 such estimates the mean is {numbers(mine.mean(0), 4)}, where it is "
            f"{numbers(plain.mean(0), 4)}",
            UNKNOWN,
        )


# --- one step of training -----------------------------------------------------------------------------------


@check(
    "model x optimizer",
    LOOP,
    seconds=10,
    raised=[("modified by an inplace", "step() comes before backward(): it moves the parameters in between")],
)
def train_step(exam: Exam) -> Report:
    """A function (model, x, optimizer) -> loss: one step on the mean of -ELBO over the images x.

    The model has what `vaebook.models.VAE` has. A first one is so sure that drawing z makes no difference:
    there the step and the loss are compared. In a second one the regions are wide: there the draw is judged.
    False alarms: fewer than one call in a million.
    Checks: chapter 3.
    """
    batch, pixels, d, rate = exam.integer(6, 9), exam.integer(11, 15), 4, 0.01
    model = VAE(pixels, d, (8,)).to(exam.device, exam.dtype).train()
    with (
        torch.no_grad()
    ):  # log_var is -40 for every image: q is a point, and any way to draw gives the same z
        model.encoder[-1].weight[d:] = 0
        model.encoder[-1].bias[d:] = -40
        for layer in (model.encoder[0], model.decoder[0]):  # away from the kink of a ReLU
            layer.bias.copy_(exam.rand(-0.5, 0.5, 8))
    optimizer, x = torch.optim.SGD(model.parameters(), lr=rate), exam.bits(batch, pixels)

    def parts(model: VAE) -> tuple[Tensor, Tensor]:
        mu, log_var = model.encode(x)
        return -bernoulli_log_likelihood(model.decode(mu), x).mean(), kl_to_standard_normal(
            mu, log_var
        ).mean()

    def flat(tensors) -> Tensor:
        return torch.cat([t.detach().flatten() for t in tensors])

    def step() -> tuple[Tensor, list[Tensor], list[float], float]:
        """How far the parameters went; the gradients of the two parts, and the parts, before; the result."""
        before, values = _flat(model.parameters()), parts(model)
        slopes = [
            _flat(torch.autograd.grad(v, list(model.parameters()), retain_graph=True, materialize_grads=True))
            for v in values
        ]
        out = exam.call(model, x, optimizer)[0]
        moved = (before - _flat(model.parameters())) / rate
        if not moved.isfinite().all():
            exam.fail(
                "after a step the parameters are not finite", "the loss, or its gradient, is not finite"
            )
        if isinstance(out, Tensor) and out.numel() > 1:
            exam.fail(f"a loss of shape {tuple(out.shape)}", "the loss of a step is one number")
        if out is None or not isinstance(out, Tensor | float | int):
            exam.fail(
                f"your function returned {out!r}"[:100], "a step returns its loss: one number, to be watched"
            )
        if not torch.is_grad_enabled():
            exam.fail(
                "after the call gradients are switched off", "torch.set_grad_enabled(False) is never undone"
            )
        if not model.training:
            exam.fail(
                "after the call the model is in evaluation mode",
                "model.eval() without model.train() after it",
            )
        return (
            moved,
            slopes,
            [v.item() for v in values],
            float(out.detach() if isinstance(out, Tensor) else out),
        )

    moved, (rebuild, cost), values, returned = step()
    gradient, after = rebuild + cost, sum(parts(model)).item()
    if not moved.any():
        left = [p.grad for p in model.parameters()]
        if all(g is None or not g.any() for g in left):
            exam.fail(
                "after the call no parameter had moved, and none had a gradient",
                "backward() is not called, or the gradients are zeroed between backward() and step()",
            )
        again, *_ = step()
        mark = (
            "step() comes before backward(): it moves along old gradients, or none"
            if again.any()
            else "step() is not called"
        )
        exam.fail("after the call no parameter had moved, though all had gradients", mark)
    _along(exam, moved, rebuild, cost, batch)
    exam.hold("one step down the gradient of the loss")
    second, (rebuild, cost), *_ = step()
    if not close(second, rebuild + cost):
        if close(second, rebuild + cost + gradient):
            exam.fail(
                "the second step goes along the sum of two gradients",
                "gradients are not zeroed: backward() adds to what is there",
            )
        exam.fail(
            "the first step is right, and the second is not", UNKNOWN + "; something is kept between steps"
        )
    exam.hold("zeroed gradients")
    _returned(exam, returned, *values, after, batch)
    exam.hold("the loss that is returned")
    exam.hold("training mode")
    _drawn(exam, model, optimizer, exam.bits(250, pixels))
    exam.hold("one draw from each region")


def _flat(tensors) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def _along(exam: Exam, moved: Tensor, rebuild: Tensor, cost: Tensor, batch: int) -> None:
    gradient = rebuild + cost
    if close(moved, gradient):
        return
    share = torch.linalg.lstsq(torch.stack([rebuild, cost], 1).cpu(), moved[:, None].cpu()).solution.flatten()
    a, b = share.tolist()
    if not close(a * rebuild + b * cost, moved):
        exam.fail(
            f"the step is not along the gradient of -ELBO; {moved.norm():.4g} and {gradient.norm():.4g} long",
            UNKNOWN + "; a part of the gradient may be cut, log_var bounded, or two steps made",
        )
    seen = f"the step goes {a:.4g} times down the gradient of the reconstruction loss, {b:.4g} times the KL's"
    same = abs(a - b) < 1e-3 * abs(a)
    if a < 0 and same:
        exam.fail(seen, "uphill: the ELBO itself is minimised, where its negative should be")
    if abs(a - batch) < 1e-3 * batch and same:
        exam.fail(seen, "the sum over images, where their mean belongs: the step grows with the batch")
    if same:
        exam.fail(
            seen,
            "the two parts weigh the same, as they should, but the whole is scaled: the loss is divided or "
            "multiplied by a number, the gradient is clipped, or step() is called more than once",
        )
    if abs(b) < 1e-6:
        exam.fail(seen, "the KL is not in the loss", TWO_TERMS)
    if a * b < 0:
        exam.fail(seen, "one of the two parts has the wrong sign: a high KL should cost", TWO_TERMS)
    exam.fail(seen, "the two parts of the loss have another price than in the ELBO", TWO_TERMS)


def _returned(exam: Exam, returned: float, rebuild: float, cost: float, after: float, batch: int) -> None:
    """The number that the step returned is the loss before it."""
    loss = rebuild + cost
    for number, mark in (
        (loss, None),
        (after, "the loss after the step: it is asked for as it was before"),
        (-loss, "the ELBO, where its negative, the loss, is asked for"),
        (rebuild, "the KL is not in the number that is returned"),
        (cost, "the KL alone: the reconstruction is not in the number that is returned"),
        (batch * loss, "the sum over the images: their mean is asked for"),
    ):
        if abs(returned - number) <= 1e-4 * max(1.0, abs(number)):
            if mark is None:
                return
            break
    else:
        mark = UNKNOWN + "; the step is right, but the number that is returned is not its loss"
    exam.fail(f"{returned:.6g} was returned, where the loss before the step was {loss:.6g}", mark)


ONE_DRAW = "one draw of z for each image is asked for: noisy, but right on average"


def _drawn(exam: Exam, model: VAE, optimizer: torch.optim.SGD, x: Tensor) -> None:
    """Where regions are wide: the z that is decoded is one draw of each, and the step is that of its loss."""
    d, rate = model.decoder[0].in_features, optimizer.param_groups[0]["lr"]
    with torch.no_grad():
        head = model.encoder[-1]
        head.weight.copy_(0.2 * exam.randn(*head.weight.shape))
        head.bias[d:] = exam.rand(-2, -1, d)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def step(x: Tensor) -> list[Tensor]:
        """The noise in what was decoded on the way to a gradient, for each call with a z for each image."""
        asked = []
        with torch.no_grad():
            mu, log_var = model.encode(x)
        hook = model.decoder.register_forward_hook(
            lambda module, inputs, out: (
                asked.append(inputs[0].detach().clone()) if out.requires_grad else None
            )
        )
        exam.call(model, x, optimizer)
        hook.remove()
        all_rows = torch.cat([z.reshape(-1, d) for z in asked] or [mu[:0]])
        draws = [z for z in asked if z.shape == (len(x), d)] or [all_rows]
        if len(draws[0]) != len(x):
            exam.fail(f"the decoder was given {len(all_rows)} z for {len(x)} images", ONE_DRAW, TWO_TERMS)
        return [(z - mu) / (0.5 * log_var).exp() for z in draws]

    def is_slope(noise: Tensor, cut_mu: bool = False, cut_width: bool = False) -> bool:
        """Whether the step went along the gradient at this noise, whole or cut on its way through z."""
        mu, log_var = model.encode(x)
        width = (0.5 * log_var).exp()
        z = (mu.detach() if cut_mu else mu) + (width.detach() if cut_width else width) * noise
        loss = (kl_to_standard_normal(mu, log_var) - bernoulli_log_likelihood(model.decode(z), x)).mean()
        return close(_flat(torch.autograd.grad(loss, list(model.parameters()))), moved)

    noises = step(x)
    after = _flat(model.parameters())
    model.load_state_dict(before)
    moved = (_flat(model.parameters()) - after) / rate
    right = [noise for noise in noises if is_slope(noise)]
    noise = (right or noises)[0]
    with torch.no_grad():
        mu, log_var = model.encode(x)
    off = (0.5 * log_var).exp() * noise
    _no_noise(exam, mu + off, mu, log_var)
    if p_normal(noise.flatten().cpu().numpy()) < 1e-7:
        for text, taken in SPREADS:
            if p_normal((off / taken(log_var)).flatten().cpu().numpy()) > 1e-7:
                exam.fail(f"the z that is decoded spreads {off.std():.3g} around mu", text, REGION)
    _noise(exam, noise, "(z - mu) / σ of the z that is decoded has", REGION)
    if right:
        if close(one := step(x[:8])[0], step(x[:8])[0]):
            exam.fail(f"two steps drew the same noise: {numbers(one)}", SEED)
        return
    seen = "where regions are wide, the step is not along the gradient of -ELBO at the z that was decoded"
    if len(noises) > 1:
        exam.fail(f"{seen}; the decoder was given {len(noises)} z for each image", ONE_DRAW, TWO_TERMS)
    for name, cuts in (("mu", (True, False)), ("log_var", (False, True)), ("both", (True, True))):
        if is_slope(noise, *cuts):
            exam.fail(seen, f"the draw cuts the gradient on the way to {name}", REGION)
    exam.fail(
        seen,
        UNKNOWN
        + "; where regions are points and the KL is large it was right: is the KL bounded, or log_var?",
    )


# --- new images ---------------------------------------------------------------------------------------------


@check("vae n", LATENT)
def sample_prior(exam: Exam) -> Report:
    """A function (vae, n) -> n new images from the model, (n, pixels), every pixel 0 or 1.

    False alarms: fewer than one call in 100,000.
    Checks: chapter 3.
    """
    n, d, pixels = 2000, 2, 6
    vae, asked, encoded = VAE(pixels, d, (8,)).to(exam.device), [], []
    vae.z_dim = d
    with torch.no_grad():
        vae.decoder[-1].weight.mul_(2)
        vae.decoder[-1].bias.copy_(exam.rand(-0.5, 0.5, pixels))
    vae.decoder.register_forward_hook(
        lambda module, inputs, out: asked.append((inputs[0].detach(), out.detach()))
    )
    vae.encoder.register_forward_hook(lambda *_: encoded.append(True))

    def images() -> tuple[Tensor, Tensor, Tensor]:
        asked.clear()
        shapes = {(n, d): "these are draws z, and no images", (pixels,): "one image, and not n"}
        out = exam.tensor(exam.call(vae, n)[0], (n, pixels), shapes).detach()
        if encoded:
            exam.fail(
                "your function ran the encoder", "a reconstruction: a generator starts from no image", NEW
            )
        if not asked:
            exam.fail(
                "your function did not run the decoder", "images come from the decoder, at draws z", NEW
            )
        z, logits = (
            torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
            for parts in zip(*asked, strict=True)
        )
        if len(z) != n:
            exam.fail(
                f"the decoder was asked for {len(z)} images, and {n} were wanted",
                "each image has a z of its own",
            )
        return out.double(), z.double(), logits.double()

    out, z, logits = images()
    p = logits.sigmoid()
    if not ((out == 0) | (out == 1)).all():
        seen = f"pixels like {numbers(out)}, which are not 0 or 1"
        if close(out, p):
            exam.fail(seen, "decoder means shown as samples: a sample is drawn from p(x|z), pixel by pixel")
        if close(out, logits):
            exam.fail(seen, "the decoder's logits: neither probabilities nor a sample")
        exam.fail(seen, UNKNOWN + "; a sample of the model lies where its images lie")
    if torch.equal(out, (p > 0.5).double()):
        exam.fail(
            "every pixel is 1 where its probability is above ½, and 0 elsewhere",
            "the decoder mean, rounded: a sample is drawn from p(x|z), pixel by pixel",
        )
    if close(z, z[:1].expand_as(z)):
        exam.fail(
            f"all images were decoded from one z, {numbers(z[0])}",
            "one draw from the prior, where n belong",
            NEW,
        )
    worst = max(
        z_scores(z, 0).abs().max().item(),
        ((z.var(0) - 1).abs().max() / (2 / n) ** 0.5).item(),
        dependence(z),
        0.0 if min(p_normal(column) for column in z.T.cpu().numpy()) > 1e-7 else math.inf,
    )
    if worst > FAR:
        exam.fail(
            f"the z that were decoded have means {numbers(z.mean(0))}, spreads {numbers(z.std(0))}, "
            f"and lie between {z.min():.3g} and {z.max():.3g}",
            "z does not come from the prior, a standard normal distribution in each dimension",
            NEW,
        )
    exam.hold("z from the prior")
    noise = (out - p) / (p * (1 - p)).clamp_min(1e-9).sqrt()
    use = (p * (1 - p) > 0.02).all(-1)  # rows whose noise is near enough to normal
    if z_scores((out - p), 0).abs().max() > FAR or z_scores((out - p) * (p - p.mean(0)), 0).abs().max() > FAR:
        exam.fail(
            f"shares of 1 among the pixels are {numbers(out.mean(0))}, they should be {numbers(p.mean(0))}",
            "pixels are not drawn with the decoder's probabilities, or not with those of their own z",
        )
    if dependence(noise[use]) > FAR:
        exam.fail(
            "given z, pixels are 1 together", "one coin is thrown for several pixels, or several images"
        )
    exam.hold("pixels drawn from p(x|z)")
    if torch.equal(images()[0], out):
        exam.fail("two calls gave the same images", SEED)
    exam.hold("new images at each call")
