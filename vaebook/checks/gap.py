"""Checks of the sheet of chapter 4.2: the bound, the gap under log p(x), and a climb."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from vaebook.checks.base import (
    UNKNOWN,
    Exam,
    Mark,
    Option,
    Report,
    check,
    close,
    described,
    numbers,
    prediction,
)
from vaebook.checks.evidence import UNDERFLOW
from vaebook.checks.formulas import BITS, ONE_FOR_ALL
from vaebook.checks.places import BOUND, LINES, NEVER, TIGHT, TIGHTER, WITHOUT

# --- the bound and the gap of a model with a few states -----------------------------------------------------


def mean_over(q: Tensor, values: Tensor) -> Tensor:
    """The mean over q, both (states, batch): a state that q rules out counts nothing."""
    return (q * values.masked_fill(q == 0, 0)).sum(0)


def elbo(log_joint: Tensor, q: Tensor) -> Tensor:
    return mean_over(q, log_joint - q.log())


def gap(log_joint: Tensor, q: Tensor) -> Tensor:
    return mean_over(q, q.log() - log_joint.log_softmax(0))


def _reverse(log_joint: Tensor, q: Tensor) -> Tensor:
    return kl_divergence(Categorical(logits=log_joint.T), Categorical(q.T))


WEIGHTED = "every state counts the same: the mean is taken under q, so q weights it"
NO_Q = "log p(x) itself: q has no influence on it. The logarithm comes before the mean"
ELBO_MARKS = [
    Mark("log q(z|x) is missing: the mean of log p(x, z) alone", lambda p, q: mean_over(q, p)),
    Mark(
        "log q(z|x) has the wrong sign: it is subtracted from log p(x, z)",
        lambda p, q: mean_over(q, p + q.log()),
    ),
    Mark("log q(z|x) counts twice", lambda p, q: mean_over(q, p - 2 * q.log())),
    Mark("log p(x, z) is missing: an entropy alone", lambda p, q: mean_over(q, -q.log())),
    Mark("the sign: this is a loss, minus the ELBO", lambda p, q: -elbo(p, q)),
    Mark(NO_Q, lambda p, q: p.logsumexp(0), TIGHTER),
    Mark("this is the gap, and not the bound below it", gap),
    Mark("minus the gap: log p(x) is missing", lambda p, q: -gap(p, q)),
    Mark("log p(x) plus the gap: the bound lies below", lambda p, q: p.logsumexp(0) + gap(p, q)),
    Mark(WEIGHTED, lambda p, q: (p - q.log()).mean(0)),
    Mark(WEIGHTED, lambda p, q: (p - q.log()).sum(0)),
    Mark("the mean over q is divided by the number of states once more", lambda p, q: elbo(p, q) / len(p)),
    Mark("q(z|x) is subtracted, and not its logarithm", lambda p, q: mean_over(q, p - q)),
    Mark("the joint stands where its logarithm belongs", lambda p, q: mean_over(q, p.exp() - q.log())),
    Mark("the mean is taken under the posterior, and not under q", lambda p, q: elbo_under_posterior(p, q)),
    Mark(BITS, lambda p, q: elbo(p, q) / math.log(2)),
]


def elbo_under_posterior(log_joint: Tensor, q: Tensor) -> Tensor:
    return mean_over(log_joint.softmax(0), log_joint - q.log())


GAP_MARKS = [
    Mark(
        "the wrong direction: KL(posterior || q). In the gap the mean is taken under q, and q comes first "
        "(F.kl_div takes its arguments the other way round)",
        _reverse,
    ),
    Mark("the wrong direction, and the sign", lambda p, q: -_reverse(p, q)),
    Mark("the sign: a KL divergence is never negative", lambda p, q: -gap(p, q)),
    Mark(
        "the joint stands where the posterior belongs: it sums to p(x), not to one. This is minus the ELBO",
        lambda p, q: -elbo(p, q),
        LINES,
    ),
    Mark("this is the ELBO, and not what is missing to log p(x)", elbo),
    Mark("log p(x), from which the ELBO is not subtracted", lambda p, q: p.logsumexp(0)),
    Mark("ELBO and log p(x) are added, where one is subtracted", lambda p, q: p.logsumexp(0) + elbo(p, q)),
    Mark(
        "a cross-entropy: the mean of log q is missing, so it is not zero at the posterior",
        lambda p, q: -mean_over(q, p.log_softmax(0)),
    ),
    Mark(
        "the posterior is missing: minus an entropy, whatever the model is",
        lambda p, q: mean_over(q, q.log()),
    ),
    Mark(WEIGHTED, lambda p, q: (q.log() - p.log_softmax(0)).sum(0)),
    Mark(WEIGHTED, lambda p, q: (q.log() - p.log_softmax(0)).mean(0)),
    Mark("the mean over q is divided by the number of states once more", lambda p, q: gap(p, q) / len(p)),
    Mark(
        "absolute values are summed: where q is below the posterior the logarithm counts negative",
        lambda p, q: mean_over(q, (q.log() - p.log_softmax(0)).abs()),
    ),
    Mark(
        "the mean of both directions, a divergence of another name",
        lambda p, q: (gap(p, q) + _reverse(p, q)) / 2,
    ),
    Mark(
        "differences of probabilities, and not of their logarithms",
        lambda p, q: (q - p.softmax(0)).abs().sum(0),
    ),
    Mark(
        "differences of probabilities, and not of their logarithms",
        lambda p, q: (q - p.softmax(0)).abs().sum(0) / 2,
    ),
    Mark(
        "differences of probabilities, and not of their logarithms",
        lambda p, q: (q - p.softmax(0)).square().sum(0),
    ),
    Mark(
        "the posterior is normalised over the images, and not over the states",
        lambda p, q: mean_over(q, q.log() - p.log_softmax(1)),
    ),
    Mark(BITS, lambda p, q: gap(p, q) / math.log(2)),
]


def _shapes(log_joint: Tensor, q: Tensor) -> dict[tuple[int, ...], str]:
    states, batch = log_joint.shape
    return {
        (states, batch): "nothing is summed over the states: they are the first axis",
        (states,): "the sum runs over the images, and not over the states, which are the first axis",
        (1, batch): "an axis of length 1 is left over, as keepdim=True leaves it",
        (): "one number for all images: every image should keep a number of its own",
    }


def _enumerable(exam: Exam, right: Callable[..., Tensor], marks: list[Mark], what: str) -> list[tuple]:
    """Values, then states that q rules out, then tiny probabilities of the model, and of q."""
    states, batch = exam.integer(4, 5), exam.integer(7, 9)

    def case(batch: int = batch) -> tuple[Tensor, Tensor]:
        return 1.5 * exam.randn(states, batch) - 3, exam.randn(states, batch).softmax(0)

    cases = [case(), case(), case(1), tuple(part.float() for part in case())]
    exam.values(cases, right, marks, _shapes, what)
    log_joint, q = case()
    q[0] = 0
    q = q / q.sum(0)
    impossible = log_joint.clone()
    impossible[0] = -math.inf
    for p, seen in ((log_joint, "for a state that q rules out"), (impossible, "where its joint is 0 too")):
        out, expected = exam.call(p, q)[0], right(p, q)
        if not close(out, expected):
            text = "a state with q(z|x) = 0 does not occur in a mean over q, and counts nothing"
            if close(out, right(p[1:], q[1:])):
                text = (
                    "log p(x) is taken from the states that q admits only: p(x) is a sum over all states, "
                    "and q has no influence on it"
                )
            elif not out.isfinite().all():
                text = "0 times an infinite logarithm is nan: " + text
            exam.fail(
                f"{seen}, your function gives {numbers(out)}; the {what} is {numbers(expected)}",
                text,
                WITHOUT,
            )
    exam.hold("states that q rules out")
    impossible, q_there = impossible[:, :3], case(3)[1]
    out, expected = exam.call(impossible, q_there)[0], right(impossible, q_there)
    if not (out * expected.sign() > 1e30).all():
        mark = "the state was dropped, or gives nan: mask where q is 0, and not where a logarithm is infinite"
        if out.isfinite().all() and not close(out, right(impossible[1:], q_there[1:])):
            mark = (
                "the logarithm of 0 was replaced by a finite number: a clamp, a mask, or something small "
                "that is added before the logarithm is taken"
            )
        exam.fail(
            f"for a state that q admits and the model rules out your function gives {numbers(out)}; the "
            f"{what} is {numbers(expected)}",
            mark,
            LINES,
        )
    spread = log_joint.clone()
    spread[1] -= 1000
    out, expected = exam.call(spread, q)[0], right(spread, q)
    if not close(out, expected):
        exam.fail(
            f"where one state's joint is e^1000 times below the others, and q admits it, your function gives "
            f"{numbers(out)}; the {what} is {numbers(expected)}",
            UNDERFLOW,
        )
    far = cases[0][0] - exam.rand(900, 1500) * torch.arange(1, batch + 1).to(q)
    out, expected = exam.call(far, q)[0], right(far, q)
    if not close(out, expected):
        exam.fail(
            f"for log p(x, z) from {far.min():.0f} to {far.max():.0f} your function gives {numbers(out)}; "
            f"the {what} is {numbers(expected)}",
            ONE_FOR_ALL if close(out[:1], expected[:1]) else UNDERFLOW,
        )
    exam.hold("tiny probabilities")
    rare, many = case(), (exam.randn(41, batch) - 3, torch.full_like(exam.randn(41, batch), 3.5e-5))
    rare[0][1] = -1e10 * exam.rand(1, 3, batch)  # so improbable that it counts
    rare[1][1], many[1][0] = 1e-9, 1
    for p, small in (rare, many):
        small = small / small.sum(0)
        out, expected = exam.call(p, small)[0], right(p, small)
        if not close(out, expected):
            exam.fail(
                f"where q gives some states less than 0.0001, your function gives {numbers(out)}; the {what} "
                f"is {numbers(expected)}",
                "a small q(z|x) is taken for 0, or clamped: it counts, and only a state with q = 0 does not",
            )
    exam.hold("small q")
    return cases


@check("log_joint q", BOUND)
def elbo_by_enumeration(exam: Exam) -> Report:
    """A function (log_joint, q), both (states, batch) -> (batch,): the ELBO of each image, in nats.

    log_joint is log p(x, z) of each state z, q the probabilities q(z|x): each column sums to one.
    False alarms: none but by rounding.
    Checks: chapter 4.2.
    """
    cases = _enumerable(exam, elbo, ELBO_MARKS, "ELBO")
    log_joint = cases[0][0]
    out = exam.call(log_joint, log_joint.softmax(0))[0]
    if not close(out, log_joint.logsumexp(0)):
        exam.fail("at the posterior your ELBO is not log p(x)", UNKNOWN)
    exam.hold("log p(x) at the posterior")


@check("log_joint q", NEVER)
def gap_by_enumeration(exam: Exam) -> Report:
    """A function (log_joint, q), both (states, batch) -> (batch,): KL(q || posterior) of each image, in nats.

    log_joint is log p(x, z) of each state z, q the probabilities q(z|x): each column sums to one.
    False alarms: none but by rounding.
    Checks: chapter 4.2.
    """
    cases = _enumerable(exam, gap, GAP_MARKS, "gap")
    log_joint = cases[0][0]
    out = exam.call(log_joint, log_joint.softmax(0))[0]
    if not close(out, torch.zeros_like(out)):
        exam.fail(f"at the posterior your gap is {numbers(out)}", "there it is zero")
    exam.hold("zero at the posterior")


# --- the best normal q --------------------------------------------------------------------------------------

ENOUGH = 0.02  # nats: a q that is this near to the best one is accepted


class _Target:
    """A model with one latent number, at one image: log p(x, z) as a function of z.

    Its posterior is N(place, width²) if sign is 0. Else it is skewed: the density of the logarithm of an
    exponential variable, moved and stretched, and mirrored if sign is -1. `tracked` says for each call
    whether a gradient could go through it.
    """

    def __init__(self, place: float, width: float, log_evidence: float, sign: int):
        self.place, self.width, self.log_evidence, self.sign = place, width, log_evidence, sign
        self.tracked: list[bool] = []

    def __call__(self, z: Tensor) -> Tensor:
        z = torch.as_tensor(z)
        self.tracked.append(z.requires_grad)
        u, top = (z - self.place) / self.width, self.log_evidence - math.log(self.width)
        if not self.sign:
            return top - 0.5 * u.square() - 0.5 * math.log(2 * math.pi)
        return top + self.sign * u - (self.sign * u).exp()

    def __repr__(self) -> str:
        return "log p(x, z) of an image"

    def elbo(self, mu: float, sigma: float) -> float:
        if not sigma > 0:
            return -math.inf
        m, s = (mu - self.place) / self.width, sigma / self.width
        entropy = math.log(s) + 0.5 * math.log(2 * math.pi) + 0.5
        if not self.sign:
            return self.log_evidence - 0.5 * (m * m + s * s) - 0.5 * math.log(2 * math.pi) + entropy
        return self.log_evidence + self.sign * m - math.exp(min(self.sign * m + s * s / 2, 700)) + entropy

    def at(self, m: float, s: float) -> tuple[float, float]:
        """mu and sigma from those of u."""
        return self.place + self.width * m * (self.sign or 1), self.width * s

    @property
    def best(self) -> tuple[float, float]:
        return self.at(-0.5, 1.0) if self.sign else (self.place, self.width)


def _pair(exam: Exam, out: Any) -> tuple[float, float]:
    if isinstance(out, Tensor) and out.shape == (2,):
        out = out.tolist()
    for value in out if isinstance(out, tuple | list) else ():
        if isinstance(value, Tensor) and value.numel() != 1:
            exam.fail(
                f"your function returned a tensor of shape {tuple(value.shape)} for mu or sigma",
                "a number is a float, or a tensor with one entry",
            )
    try:
        mu, sigma = (float(value) for value in out)
    except (TypeError, ValueError, RuntimeError):
        exam.fail(f"your function returned {described(out)}", "two numbers are asked for: mu and sigma")
    return mu, sigma


@check(
    "log_joint",
    BOUND,
    raised=[
        ("does not require grad", "mu and sigma have no influence on what is climbed: the gradient is cut"),
        ("parameter scale", "sigma is 0 or below, or nan: climb with its logarithm, which may be any number"),
    ],
    seconds=30.0,
)
def fit_q(exam: Exam) -> Report:
    """A function (log_joint) -> (mu, sigma): the normal q with the highest ELBO, for one image.

    log_joint(z) takes a tensor of any shape, one latent number in each entry, and returns log p(x, z) in that
    shape; gradients go through it. The best mu is within 3 of 0, and sigma between 0.1 and 1.5.
    A q within 0.02 nats of the best is accepted, however it was found.
    False alarms: none, for a climb that comes so near.
    Checks: chapter 4.2.
    """

    def target(low: float, high: float, sign: int = 0) -> _Target:
        place, width = exam.rand(-2, 2).item() / (1 + abs(sign)), exam.rand(low, high).item()
        return _Target(place, width, exam.rand(-90, -20).item(), sign)

    targets = [target(0.12, 0.2), target(0.8, 1.2, 1 - 2 * exam.integer(0, 1)), target(1.1, 1.4)]
    found = [_pair(exam, exam.call(t)[0]) for t in targets]
    short = [t.elbo(*t.best) - t.elbo(*q) for t, q in zip(targets, found, strict=True)]
    if max(short[0], short[-1], math.inf if math.isnan(sum(short)) else 0) > ENOUGH:
        _wrong_climb(exam, targets, found)
    exam.hold("log p(x) is reached where the posterior is normal")
    for t, q, missing in zip(targets, found, short, strict=True):
        if missing > ENOUGH:
            _wrong_skewed(exam, t, q)
    exam.hold("the highest ELBO where it is not")


def _said(t: _Target, q: tuple[float, float]) -> str:
    best = t.best
    posterior = "not normal" if t.sign else f"N({best[0]:.3g}, {best[1]:.3g}²)"
    return (
        f"for a model whose posterior is {posterior}, with log p(x) = {t.log_evidence:.2f}, you found "
        f"mu {q[0]:.3g} and sigma {q[1]:.3g}. The ELBO is {t.elbo(*q):.2f} there, and {t.elbo(*best):.2f} at "
        "its highest"
    )


def _wrong_climb(exam: Exam, targets: list[_Target], found: list[tuple[float, float]]) -> None:
    pairs = [pair for pair in zip(targets, found, strict=True) if not pair[0].sign]
    worst = max(pairs, key=lambda pair: -pair[0].elbo(*pair[1]) + pair[0].log_evidence)
    seen = _said(*worst)
    mus, sigmas = zip(*found, strict=True)
    calls = [tracked for t in targets for tracked in t.tracked]
    if not calls:
        exam.fail(seen, "log p(x, z) was never asked for, and only the model knows where its posterior is")
    away, still = not all(abs(value) < 20 for value in (*mus, *sigmas)), max(mus) - min(mus) < 1e-3
    if away and still and not any(calls):
        exam.fail(
            seen,
            "log p(x, z) is asked for at z without a gradient, so only the entropy is climbed, and sigma "
            "grows without end. sample(), detach() and torch.no_grad() cut the gradient",
            TIGHT,
        )
    if not all(math.isfinite(value) for value in (*mus, *sigmas)):
        exam.fail(seen, "the climb runs away: it goes down and not up, or its steps are too long")
    near_mu = all(abs(q[0] - t.place) < 0.35 * t.width for t, q in pairs)
    ratios = [q[1] / t.width for t, q in pairs]

    def all_near(values: list[float], wanted: list[float], share: float = 0.06) -> bool:
        return all(abs(a - b) < share * abs(b) for a, b in zip(values, wanted, strict=True))

    def each(f: Callable[[_Target], float]) -> list[float]:
        return [f(t) for t, _ in pairs]

    own = [q[1] for _, q in pairs]
    if all_near([q[0] for _, q in pairs], each(lambda t: t.width)) and all_near(own, each(lambda t: t.place)):
        exam.fail(seen, "mu and sigma have changed places in what is returned")
    if away:
        exam.fail(
            seen,
            "the climb goes down and not up: an optimiser minimises, so give it minus the ELBO; or what it "
            "climbs is not the ELBO, in which log q(z|x) is subtracted from log p(x, z), and is no weight",
        )
    if not any(calls):
        exam.fail(
            seen,
            "through log p(x, z) no gradient can reach mu and sigma: PyTorch sees no way from them to the z. "
            "sample(), detach() and torch.no_grad() cut that. (A score estimator does without, and is noisy)",
        )
    if still:
        exam.fail(seen, "mu is the same for every model: it does not move. No gradient reaches it")
    if max(sigmas) - min(sigmas) < 1e-3 and min(sigmas) > 0.3:
        exam.fail(
            seen,
            "sigma is the same for every model: it does not move. It is not among the parameters, or "
            "no gradient reaches it",
        )
    for name, factor in (("σ", 1), ("σ²", 2)):
        if min(sigmas) < 0 and all(abs(q[1] - factor * math.log(t.width)) < 0.15 for t, q in pairs):
            exam.fail(seen, f"log {name} is returned, and not σ")
    if min(sigmas) <= 0:
        exam.fail(seen, "a standard deviation is above 0: climb with its logarithm, which may be any number")
    if near_mu and all_near(own, each(lambda t: t.width**2)):
        exam.fail(seen, "the variance is returned, and not the standard deviation")
    if near_mu and all_near(own, each(lambda t: t.width**0.5), 0.03):
        exam.fail(seen, "the root of sigma is returned: log σ was taken for log σ²")
    if near_mu and all_near(ratios, [2**0.5] * 2):
        exam.fail(seen, "q is too wide by √2 everywhere: its entropy counts twice (as with log σ² for log σ)")
    if near_mu and all_near(ratios, [0.5**0.5] * 2):
        exam.fail(seen, "q is too narrow by √2 everywhere: its entropy counts half")
    twice = each(lambda t: t.place / (1 + t.width**2)), each(lambda t: t.width / (1 + t.width**2) ** 0.5)
    if all_near(own, twice[1]) and all(
        abs(q[0] - mu) < 0.1 * t.width for (t, q), mu in zip(pairs, twice[0], strict=True)
    ):
        exam.fail(
            seen,
            "the prior counts twice: log p(x, z) has log p(z) in it, and a KL from the prior has it too",
            BOUND,
        )
    share = sum(ratios) / 2
    same = abs(ratios[0] - ratios[1]) < 0.08 * share and share > 0.1
    if near_mu and max(ratios) < 0.6 and not same:
        exam.fail(
            seen,
            "q shrinks to a point at the top of log p(x, z): - log q(z|x), which rewards a wide q, is "
            "missing, or has the wrong sign; or the mean of log p(x, z) is not taken under q",
            LINES,
        )
    _noisy(exam, *worst, seen)
    if near_mu and same:
        exam.fail(
            seen,
            f"q is {share:.3g} times as wide as the best one in every model: its entropy has another weight "
            "than in the ELBO, or the mean of log p(x, z) is not taken under q",
            BOUND,
        )
    exam.fail(seen, _further(*worst))


def _noisy(exam: Exam, t: _Target, q: tuple[float, float], seen: str) -> None:
    """Whether further calls differ by about as much as this one is off."""
    calls = [q, *(_pair(exam, exam.call(t)[0]) for _ in range(2))]
    if min(sigma for _, sigma in calls) <= 0:
        return
    places = [(mu / t.width, math.log(sigma)) for mu, sigma in calls]
    off = math.dist(places[0], (t.best[0] / t.width, math.log(t.best[1])))
    if max(math.dist(places[0], place) for place in places[1:]) > 0.5 * off:
        mu, sigma = calls[1]
        exam.fail(
            f"{seen}. A second call found mu {mu:.3g} and sigma {sigma:.3g}",
            "the noise of the draws is left in the result: more draws a step, or shorter steps at the end; "
            "or a mean over q without drawing",
            WITHOUT,
        )


def _further(t: _Target, q: tuple[float, float]) -> str:
    """What would still raise the ELBO."""
    (mu, sigma), (best_mu, best_sigma) = q, t.best
    moves = []
    if t.elbo(best_mu, sigma) - t.elbo(mu, sigma) > ENOUGH / 2:
        moves.append("a larger mu" if best_mu > mu else "a smaller mu")
    if t.elbo(mu, best_sigma) - t.elbo(mu, sigma) > ENOUGH / 2:
        moves.append("a larger sigma" if best_sigma > sigma else "a smaller sigma")
    raised = " and ".join(moves) or "a change of both"
    return (
        f"not at the top: {raised} would raise the ELBO. There may be too few steps, or they are too short; "
        "or what is climbed is not the ELBO"
    )


def _wrong_skewed(exam: Exam, t: _Target, q: tuple[float, float]) -> None:
    seen = _said(t, q)
    mean, std = 0.5772, math.pi / 6**0.5
    for m, s, mark in (
        (
            0.0,
            1.0,
            "the top of log p(x, z) and its curvature there: right for a normal posterior only",
        ),
        (
            -mean,
            std,
            "the mean and spread of the posterior: they minimise KL(posterior || q), the other direction",
        ),
    ):
        mu, sigma = t.at(m, s)
        if abs(q[0] - mu) < 0.05 * t.width and abs(q[1] / sigma - 1) < 0.05:
            exam.fail(seen, mark, TIGHT)
    _noisy(exam, t, q, seen)
    exam.fail(seen, _further(t, q), TIGHT)


# --- predictions --------------------------------------------------------------------------------------------

predict_single_estimates = prediction(
    "predict_single_estimates",
    "above off",
    {
        "a": Option(
            "no estimate lies above log p(x)",
            lambda above, off: above < 0.001,
            "the bound is taken for one on each estimate. It is said of the mean over q, and not of one draw",
            TIGHTER,
        ),
        "b": Option(
            "some lie above, but fewer than half",
            lambda above, off: 0.001 <= above < 0.5,
            "a mean below log p(x) is taken to say that most estimates are. A few draws far out in q, with "
            "very low estimates, pull the mean down",
            BOUND,
        ),
        "c": Option(
            "more than half lie above, and their mean below",
            lambda above, off: above >= 0.5 and off < 0,
            "the estimates are expected to be skewed, which holds for a q that is too wide; something else "
            "was measured",
            BOUND,
        ),
        "d": Option(
            "more than half lie above, and so does their mean",
            lambda above, off: above >= 0.5 and off >= 0,
            "the mean of the estimates is taken to go with the larger part of them. The mean is the ELBO, "
            "and that is never above log p(x)",
            NEVER,
        ),
    },
)
