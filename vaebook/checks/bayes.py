"""Checks of the sheet of chapter 4.0: Bayes' rule on a table, by counting, by ratios, and by a chain.

Where a verdict is statistical, a z-score is too large beyond 6 standard errors (one normal variable in 500
million), and a law is wrong when a Kolmogorov-Smirnov test says so with p < 1e-7.
"""

import math

import torch
from scipy import special
from torch import Tensor
from torch.distributions import Normal

from vaebook.checks.base import (
    UNKNOWN,
    Exam,
    Mark,
    Option,
    Report,
    check,
    close,
    numbers,
    p_normal,
    prediction,
)
from vaebook.checks.draws import SEED
from vaebook.checks.places import COUNT, ENOUGH, NAMES, RULE, WHAT
from vaebook.exact import LatentVariableModel

FAR = 6.0  # standard errors

# --- Bayes' rule on a table ---------------------------------------------------------------------------------


def log_joint(log_prior: Tensor, log_likelihood: Tensor) -> Tensor:
    return log_prior[:, None] + log_likelihood


def log_evidence(log_prior: Tensor, log_likelihood: Tensor) -> Tensor:
    return log_joint(log_prior, log_likelihood).logsumexp(0)


def log_posterior(log_prior: Tensor, log_likelihood: Tensor) -> Tensor:
    return log_joint(log_prior, log_likelihood).log_softmax(0)


ALIGNED = (
    "must match",
    "shapes are lined up from their last axis: there log_prior has its states, and log_likelihood its images",
)
EARLY = (
    "probabilities first, and their logarithm then: exp() of such numbers loses digits, or is 0. An image "
    "of 784 pixels has log-likelihoods of some hundreds below 0"
)

EVIDENCE_MARKS = [
    Mark("the prior is missing: every state counts alike", lambda p, v: v.logsumexp(0)),
    Mark(
        "the mean over states replaces the prior: right only if all states are equally probable",
        lambda p, v: v.logsumexp(0) - math.log(len(v)),
    ),
    Mark("the evidence itself: its logarithm is missing", lambda p, v: log_evidence(p, v).exp()),
    Mark(
        "logarithms are added up: the log of a product of all joints, where the joints add up",
        lambda p, v: log_joint(p, v).sum(0),
    ),
    Mark(
        "the mean of the log-likelihood under the prior: the logarithm belongs outside the sum",
        lambda p, v: (p.exp()[:, None] * v).sum(0),
    ),
    Mark("only the most probable state counts", lambda p, v: log_joint(p, v).max(0).values),
    Mark("the sign: this is minus the log evidence", lambda p, v: -log_evidence(p, v)),
    Mark(
        "log_prior multiplies log_likelihood: where probabilities multiply, their logarithms add up",
        lambda p, v: (p[:, None] * v).logsumexp(0),
    ),
    Mark("the prior counts twice", lambda p, v: log_joint(2 * p, v).logsumexp(0)),
    Mark("log_prior is used as if it were the prior", lambda p, v: (p[:, None] * v.exp()).sum(0).log()),
    Mark("the prior is added as a probability", lambda p, v: log_joint(p.exp(), v).logsumexp(0)),
    Mark(
        "it is divided by the number of states",
        lambda p, v: log_evidence(p, v) - math.log(len(v)),
    ),
]

POSTERIOR_MARKS = [
    Mark(
        "each row sums to one over the images: a posterior sums to one over the states, for each image",
        lambda p, v: log_joint(p, v).log_softmax(1),
        NAMES,
    ),
    Mark(
        "the likelihood, stretched until it sums to one over the states: the prior is missing",
        lambda p, v: v.log_softmax(0),
    ),
    Mark("the log joint: it is not divided by the evidence", log_joint),
    Mark(
        "likelihood over evidence: the prior is in the evidence, and not in the joint",
        lambda p, v: v - log_evidence(p, v),
    ),
    Mark(
        "the evidence has no prior in it: a joint must be divided by the sum of the joints",
        lambda p, v: log_joint(p, v) - v.logsumexp(0),
    ),
    Mark("the prior counts twice", lambda p, v: log_joint(2 * p, v).log_softmax(0)),
    Mark("the posterior itself: its logarithm is missing", lambda p, v: log_posterior(p, v).exp()),
    Mark(
        "one evidence for all images together: every image has its own",
        lambda p, v: log_joint(p, v) - log_joint(p, v).flatten().logsumexp(0),
    ),
    Mark(
        "log joint divided by log evidence: where probabilities are divided, logarithms are subtracted",
        lambda p, v: log_joint(p, v) / log_evidence(p, v),
    ),
    Mark("the log evidence is added, and not subtracted", lambda p, v: log_joint(p, v) + log_evidence(p, v)),
    Mark(
        "the most probable state's joint takes the place of their sum",
        lambda p, v: log_joint(p, v) - log_joint(p, v).max(0).values,
    ),
    Mark(
        "the evidence is subtracted, and not its logarithm",
        lambda p, v: log_joint(p, v) - log_evidence(p, v).exp(),
    ),
    Mark(
        "log_prior multiplies log_likelihood: where probabilities multiply, their logarithms add up",
        lambda p, v: (p[:, None] * v).log_softmax(0),
    ),
    Mark("the sign: minus the log posterior", lambda p, v: -log_posterior(p, v)),
    Mark("the prior is added as a probability", lambda p, v: log_joint(p.exp(), v).log_softmax(0)),
    Mark(
        "the mean joint takes the place of the sum: the posterior sums to the number of states",
        lambda p, v: log_posterior(p, v) + math.log(len(v)),
    ),
]


def _table(exam: Exam, right, marks: list[Mark], shapes, what: str) -> None:
    states, batch = exam.integer(3, 5), exam.integer(7, 9)
    prior, values = (1.5 * exam.randn(states)).log_softmax(0), 2 * exam.randn(states, batch) - 3
    exam.values(
        [(prior, values), (prior.float(), values.float()), (prior, values[:, :1])],
        right,
        marks,
        shapes,
        what,
        probes=[
            ("it is right where all states have the same prior", lambda p, v: (0 * p - math.log(len(p)), v))
        ],
    )
    apart = values + 2000 * torch.arange(batch).to(values) - 90_000
    for table in (values - 1000, values - 90_000, apart, 500 * values):
        out, expected = exam.call(prior, table)[0], right(prior, table)
        if out.isposinf().any():
            exam.fail(
                f"for log-likelihoods from {table.min():.0f} to {table.max():.0f} your function gives "
                f"{numbers(out)}",
                "exp() of something far above 0, which is infinite: what is taken off first must be the "
                "largest of the numbers that are added up",
                NAMES,
            )
        if table is apart and not close(out - expected, 0 * expected):
            exam.fail(
                f"where images are 2,000 nats apart your function gives {numbers(out)}, where it should be "
                f"{numbers(expected)}",
                "one maximum for all images: each column needs its own",
                NAMES,
            )
        if not close(out - expected, 0 * expected):
            exam.fail(
                f"for log-likelihoods from {table.min():.0f} to {table.max():.0f} your function gives "
                f"{numbers(out)}, where it should be {numbers(expected)}",
                EARLY,
                NAMES,
            )
    exam.hold("log-likelihoods of -1000")


@check("log_prior log_likelihood", RULE, raised=[ALIGNED])
def table_log_evidence(exam: Exam) -> Report:
    """A function (log_prior, log_likelihood), (states,) and (states, batch) -> (batch,): log p(x), in nats.

    log_prior is log p(z) of each state, log_likelihood is log p(x|z) of each image under each state.
    False alarms: none but by rounding.
    Checks: chapter 4.0.
    """

    def shapes(log_prior: Tensor, log_likelihood: Tensor) -> dict[tuple[int, ...], str]:
        states, batch = log_likelihood.shape
        return {
            (states,): "the sum runs over the images: an evidence is a sum over the states, for each image",
            (states, batch): "nothing is summed over the states",
            (1, batch): "an axis of length 1 is left over, as keepdim=True leaves it",
            (): "one number for all images: every image has an evidence of its own",
        }

    _table(exam, log_evidence, EVIDENCE_MARKS, shapes, "log evidence")


@check("log_prior log_likelihood", RULE, raised=[ALIGNED])
def table_log_posterior(exam: Exam) -> Report:
    """A function (log_prior, log_likelihood), (states,) and (states, batch) -> (states, batch): log p(z|x).

    log_prior is log p(z) of each state, log_likelihood is log p(x|z) of each image under each state.
    False alarms: none but by rounding.
    Checks: chapter 4.0.
    """

    def shapes(log_prior: Tensor, log_likelihood: Tensor) -> dict[tuple[int, ...], str]:
        states, batch = log_likelihood.shape
        return {
            (batch, states): "the axes are swapped: states are the first axis, images the second",
            (batch,): "one number for each image: a posterior has one for each state too",
            (states,): "one number for each state: a posterior has one for each image too",
        }

    _table(exam, log_posterior, POSTERIOR_MARKS, shapes, "log posterior")


# --- by counting --------------------------------------------------------------------------------------------

KEPT = (
    ("every z is kept: these follow the prior, and know nothing of x0", lambda away, r: away[:, 0] > -1),
    ("those outside are kept, and those near x0 left out", lambda away, r: away.norm(dim=1) >= r),
    (
        "the squared distance is compared with the radius: a disc of another size",
        lambda away, r: away.square().sum(1) < r,
    ),
    ("each coordinate by itself is within the radius: a square, and no disc", lambda a, r: (a < r).all(1)),
    ("the coordinates' distances are added up: a diamond, and no disc", lambda a, r: a.sum(1) < r),
    (
        "the distance is averaged over coordinates, where squares add up",
        lambda a, r: a.square().mean(1).sqrt() < r,
    ),
    ("the distances are averaged over coordinates", lambda a, r: a.mean(1) < r),
    ("one coordinate near that of x0 is enough to be kept", lambda a, r: (a < r).any(1)),
    ("only one coordinate of x is compared", lambda a, r: a[:, 0] < r),
    ("only one coordinate of x is compared", lambda a, r: a[:, 1] < r),
)


@check(
    "sample_z sample_x x0 radius n",
    COUNT,
    raised=[("non-empty", "where no draw lands near x0, there is nothing to put together")],
)
def posterior_by_counting(exam: Exam) -> Report:
    """A function (sample_z, sample_x, x0, radius, n) -> (kept,): z of those of n draws whose x is near x0.

    sample_z(m) draws m latent numbers from the prior, (m,); sample_x(z) draws an image for each of them,
    (m, 2); x0 is (2,). Kept is what lies within the radius. The check looks at which draws were made.
    False alarms: none.
    Checks: chapter 4.0.
    """
    radius, n = exam.rand(0.4, 0.6).item(), 3000
    x0, drawn, shown = exam.rand(-0.3, 0.3, 2), [], []

    def sample_z(m: int) -> Tensor:
        drawn.append(exam.randn(m))
        return drawn[-1].clone()

    def sample_x(z: Tensor) -> Tensor:
        x = torch.stack([z, 0.5 * z.square() - 0.3], -1) + 0.4 * exam.randn(*z.shape, 2)
        if not shown:
            x.view(-1, 2)[:1] = x0 + 100  # the first is alone there
        shown.append((z.detach().clone().flatten(), x.reshape(-1, 2)))
        return x.clone()

    def kept(at: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        drawn.clear(), shown.clear()
        out = exam.call(sample_z, sample_x, at, radius, n)[0]
        made = sum(map(len, drawn))
        if not drawn or not shown:
            exam.fail(
                f"your function never called {'sample_x' if drawn else 'sample_z'}",
                "counting needs pairs: a z from the prior, and an x drawn from this z",
            )
        z, x = (torch.cat(part) for part in zip(*shown, strict=True))
        if made > len(z) == n:
            exam.fail(
                f"{made} z were drawn, and x for {n} of them",
                "the kept z is not the one from which its x was drawn",
            )
        if made != n:
            exam.fail(f"{made} z were drawn, and {n} were asked for", "n counts all draws, not the kept")
        if len(z) != n or not torch.equal(z, torch.cat(drawn)):
            exam.fail(
                f"{n} z were drawn, and x was drawn {len(z)} times" + ", from other z" * (len(z) == n),
                "each z goes with the x that was drawn from it, and no other",
            )
        if isinstance(out, list):
            exam.fail(
                f"a Python list of {len(out)}", "the kept z belong in one tensor, also if there is none"
            )
        return out, z, x

    out, z, x = kept(x0, n)
    away = (x - x0).abs()
    right = z[away.norm(dim=1) < radius]
    if isinstance(out, Tensor):
        if out.dtype == torch.bool or not out.is_floating_point():
            exam.fail(f"numbers of type {out.dtype}", "this says which draws are kept, and not their z")
        if tuple(out.shape) != tuple(right.shape):
            if out.dim() == 2 and out.shape[1] == n:
                exam.fail(
                    f"your function returned shape {tuple(out.shape)}",
                    "one distance for all images together: each x has its own, over the last axis",
                )
            for text, near in KEPT:
                chosen = z[near(away, radius)]
                if out.dim() == 1 and close(out.sort().values, chosen.sort().values):
                    exam.fail(
                        f"{len(out)} of {n} draws are kept, and {len(right)} lie within the radius", text
                    )
            if out.dim() == 1:
                seen = f"{len(out)} of {n} draws are kept, and {len(right)} lie within the radius"
                exam.fail(seen, "those outside are not left out" if len(out) == n else UNKNOWN)
    shapes = {
        (len(right), 2): "x is kept, and not the z it was drawn from",
        (): "one number: draws from the posterior are asked for, and no mean or count of them",
        (len(right), 1): "an axis of length 1 is left over",
    }
    out = exam.tensor(out, tuple(right.shape), shapes).detach()
    if not close(out.sort().values, right.sort().values):
        exam.fail(
            f"the kept z are {numbers(out)}, where they should be {numbers(right)}",
            "as many as lie within the radius, but others than those",
        )
    exam.hold("keeps what lies near")
    alone = "where one draw alone is kept its axis disappears, as squeeze() and the like make it"
    exam.tensor(kept(x0 + 100, 50)[0], (1,), {(): alone})
    nothing = kept(x0 - 100, 50)[0]
    exam.tensor(nothing, (0,), {(50,): "where nothing lies near x0, everything is kept"})
    exam.hold("keeps nothing where nothing lies near")


# --- without the evidence -----------------------------------------------------------------------------------


class Sealed(LatentVariableModel):
    """A model whose evidence nobody has: a latent number, and images of three pixels."""

    def __init__(self, exam: Exam):
        self.prior = Normal(*exam.rand(0.5, 1.5, 2))
        self.w, self.std, self.asked = exam.randn(3), exam.rand(0.5, 1.0), 0

    def __repr__(self) -> str:
        return "whose evidence is sealed"

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        self.asked += z.numel()
        return Normal(z[..., None] * self.w, self.std).log_prob(x).sum(-1)

    def log_evidence(self, x: Tensor) -> Tensor:
        raise RuntimeError("the evidence is sealed")


RATIO_MARKS = [
    Mark("the sign: the ratio the other way round", lambda m, a, b, x: m.log_joint(b, x) - m.log_joint(a, x)),
    Mark(
        "the ratio of the likelihoods: the prior of the two z is missing",
        lambda m, a, b, x: m.log_likelihood(a, x) - m.log_likelihood(b, x),
        RULE,
    ),
    Mark(
        "the ratio of the priors: x plays no part",
        lambda m, a, b, x: m.prior.log_prob(a) - m.prior.log_prob(b) + 0 * m.log_joint(a, x),
        RULE,
    ),
    Mark("the ratio itself: its logarithm is missing", lambda m, a, b, x: _ratio(m, a, b, x).exp()),
    Mark(
        "a ratio of logarithms, where a logarithm of a ratio is asked for",
        lambda m, a, b, x: m.log_joint(a, x) / m.log_joint(b, x),
    ),
    Mark(
        "the logarithms are added: a product, and no ratio",
        lambda m, a, b, x: m.log_joint(a, x) + m.log_joint(b, x),
    ),
    Mark(
        "the probability of the first of the two, if there were no other z",
        lambda m, a, b, x: _ratio(m, a, b, x).sigmoid(),
    ),
    Mark(
        "the log probability of the first of the two, if there were no other z",
        lambda m, a, b, x: _ratio(m, a, b, x).sigmoid().log(),
    ),
    Mark("the joint of the first z alone", lambda m, a, b, x: m.log_joint(a, x)),
    Mark(
        "the prior counts for the first z only",
        lambda m, a, b, x: m.log_joint(a, x) - m.log_likelihood(b, x),
    ),
    Mark(
        "a difference of probabilities, where a ratio is asked for",
        lambda m, a, b, x: m.log_joint(a, x).exp() - m.log_joint(b, x).exp(),
    ),
]


def _ratio(model: Sealed, z1: Tensor, z2: Tensor, x: Tensor) -> Tensor:
    return model.log_joint(z1, x) - model.log_joint(z2, x)


@check(
    "model z1 z2 x",
    WHAT,
    raised=[("evidence is sealed", "the evidence is asked for: it is the same in both posteriors")],
)
def log_posterior_ratio(exam: Exam) -> Report:
    """A function (model, z1, z2, x) -> (points, batch): log p(z1|x) - log p(z2|x), without the evidence.

    model is a `LatentVariableModel`, z1 and z2 are (points, batch), x is (batch, pixels).
    False alarms: none but by rounding.
    Checks: chapter 4.0.
    """
    model, points, batch = Sealed(exam), exam.integer(3, 4), exam.integer(5, 7)

    def case(far: float = 1.0) -> tuple:
        return model, exam.randn(points, batch), exam.randn(points, batch), far * exam.randn(batch, 3)

    shapes = {
        (batch,): "one number for each image: every pair of z has a ratio of its own",
        (points,): "one number for each point: every image has ratios of its own",
        (): "one number: every pair of z has a ratio of its own",
    }
    cases = [case(), case()]
    exam.values(cases, _ratio, RATIO_MARKS, lambda *_: shapes, "log ratio")
    far = case(60.0)
    out, expected = exam.call(*far)[0], _ratio(*far)
    if not close(out / expected, torch.ones_like(expected)):
        exam.fail(
            f"for images that no z explains your function gives {numbers(out)}, and not {numbers(expected)}",
            EARLY,
            NAMES,
        )
    exam.hold("improbable images")
    model.asked = 0
    exam.call(*cases[0])
    if model.asked > 4 * points * batch:
        exam.fail(
            f"the likelihood was evaluated at {model.asked} z, for {points * batch} pairs",
            "a sum over many z, as the evidence is one: what two posteriors share drops out of their ratio",
        )
    exam.hold("no evidence")


# --- a chain that needs ratios only -------------------------------------------------------------------------

LEVEL = -1.0  # the log joint on the upper of two levels, so that it is told from a log ratio
RULES = (  # of a step to a place where the posterior is r times as high, r < 1: accepted up, and down
    ("every proposal is accepted: a random walk, that the posterior does not hold back", lambda r: (1, 1)),
    ("only climbs are accepted: a maximum is found, and no draw from the posterior", lambda r: (1, 0)),
    ("the ratio is the wrong way round: the chain flees from where the posterior is high", lambda r: (r, 1)),
    ("accepted where it should be rejected: the comparison is turned round", lambda r: (0, 1 - r)),
    (
        "the log ratio is compared with a uniform number: its exponential belongs there",
        lambda r: (-math.log(r), 0),
    ),
    (
        "this rule keeps the posterior too, but it is not the largest A: where the posterior rises, A is 1",
        lambda r: (1 / (1 + r), r / (1 + r)),
    ),
    ("the ratio is squared", lambda r: (1, r**2)),
    ("the joint itself is the probability, and no ratio", lambda r: (math.exp(LEVEL), r * math.exp(LEVEL))),
    (
        "a ratio of logarithms, which is near 1 at -2000: it is the exp() of their difference",
        lambda r: (1 / (1 - math.log(r) / -LEVEL), 1),
    ),
    ("the root of the ratio", lambda r: (1, r**0.5)),
    ("a coin decides, and not the ratio", lambda r: (0.5, 0.5)),
    ("no proposal is accepted", lambda r: (0, 0)),
    ("the uniform number is compared with 1 - r", lambda r: (1, 1 - r)),
    (
        "a normal number is compared with the ratio, where a uniform one belongs",
        lambda r: (special.ndtr(1 / r), special.ndtr(r)),
    ),
    (
        "a normal number is compared with the log ratio, where the log of a uniform one belongs",
        lambda r: (special.ndtr(-math.log(r)), special.ndtr(math.log(r))),
    ),
)


@check("log_joint z width", WHAT, seconds=20)
def metropolis_step(exam: Exam) -> Report:
    """A function (log_joint, z, width) -> (chains,): one step of many chains that keeps the posterior.

    log_joint takes (chains,) and gives log p(x, z) for one image x, (chains,). Each chain proposes z plus
    normal noise of standard deviation width, and moves there with the largest probability that keeps the
    posterior; else it stays.
    False alarms: fewer than one call in 100,000.
    Checks: chapter 4.0.
    """
    n = 20_000

    def step(log_joint, z: Tensor, width: float) -> Tensor:
        out = exam.call(log_joint, z, width)[0]
        if isinstance(out, Tensor) and out.dim() == 1 and len(out) < len(z):
            exam.fail(
                f"{len(z)} chains went in, and {len(out)} came out",
                "a chain whose proposal is rejected stays where it is, and counts once more",
            )
        return exam.tensor(out, tuple(z.shape), {}).detach()

    width, start = exam.rand(1.6, 2.4).item(), 9 * exam.randn(n)
    moved = step(lambda z: 0 * z - 7, start, width) - start
    if (moved == 0).double().mean() > 0.001:
        _acceptance(exam, step, n)  # which says more
        exam.fail("where the posterior is flat, chains stay", "a proposal as probable as z is not accepted")
    if torch.equal(step(lambda z: 0 * z - 7, start, width) - start, moved):
        exam.fail("two calls made the same proposals", SEED)
    _proposals(exam, moved, width)
    _acceptance(exam, step, n)
    _stationary(exam, step, n)


def _proposals(exam: Exam, moved: Tensor, width: float) -> None:
    """Where the posterior is flat, every proposal is accepted: so these are the proposals."""
    seen = f"where the posterior is flat, steps of width {width:.3g} have the spread {moved.std():.3g}"
    if not moved.isfinite().all():
        exam.fail(seen, "a step is not finite")
    if close(moved, moved[:1].expand_as(moved)):
        exam.fail(seen, "one step for all chains: each needs noise of its own")
    noise = (moved / width).double().cpu().numpy()
    if p_normal(noise) < 1e-7:
        for text, scale in (
            ("width is used as a variance", width**-0.5),
            ("width has no influence on the proposals", 1 / width),
            ("width is squared", width),
        ):
            if p_normal(noise / scale) > 1e-7:
                exam.fail(seen, text)
        exam.fail(seen, "proposals are not z plus normal noise of this width")
    exam.hold("proposals")


def _acceptance(exam: Exam, step, n: int) -> None:
    """A posterior of two levels, and chains that start where one meets the other, on either side."""

    def shares(r: float, n: int, others: int = 0) -> tuple[float, ...]:
        """r; of the proposals up and down, the share accepted; twice the share that stayed, down and up.

        Others are more chains, far away on the upper level, where nothing changes.
        """

        def log_joint(z: Tensor) -> Tensor:
            return torch.where(z > 0, LEVEL, LEVEL + math.log(r)).to(z)

        edge = exam.rand(1e-7, 1e-6, n)
        away = edge.new_full((others,), 99.0)
        down, up = (step(log_joint, torch.cat([at, away]), 1.0)[:n] for at in (edge, -edge))
        parts = up > 0, down < 0, down == edge, up == -edge
        return r, *(2 * part.double().mean().item() for part in parts)

    rows = [shares(exam.rand(low, low + 0.1).item(), n) for low in (0.2, 0.3, 0.4, 0.5)]
    error = FAR / n**0.5
    wrong = [row for row in rows if max(abs(row[1] - 1), abs(row[2] - row[0])) > error]
    if not wrong:
        if all(abs(stay - (1 - r)) < error for r, _, _, stay, _ in rows):
            return exam.hold("accepted by the ratio")
        exam.fail("chains whose proposals are rejected move all the same", "rejected, they stay in place")
    r, up, down, *_ = wrong[0]
    seen = (
        f"of the proposals to a place where the posterior is {r:.2f} times as high, {min(down, 1):.0%} were "
        f"accepted; of those the other way {min(up, 1):.0%}"
    )
    if all(min(abs(down), abs(down - 1)) < error for _, _, down, *_ in rows):
        again = {round(shares(0.5, 200)[2]) for _ in range(24)}
        if {0, 1} <= again or any(stay > 1.9 and moved < 0.1 for *_, stay, moved in rows):
            exam.fail(
                seen, "one decision for all chains: each needs a uniform number, and a ratio, of its own"
            )

        if all((down > 0.5) == (r > 0.5) for r, _, down, *_ in rows):
            exam.fail(
                seen,
                "the same proposal is always judged alike: accept with probability A, by comparing it with a "
                "uniform number",
            )

    if abs(shares(0.5, n, n)[2] - shares(0.5, n)[2]) > 2 * error:
        exam.fail(
            f"{seen}; with more chains elsewhere it is another share",
            "one ratio for all chains: each needs a ratio of its own",
        )

    def distance(rule) -> float:
        pairs = [(up, down, *rule(r)) for r, up, down, *_ in rows]
        return max(max(abs(up - min(u, 1)), abs(down - d)) for up, down, u, d in pairs)

    text, rule = min(RULES, key=lambda known: distance(known[1]))
    if distance(rule) < error:
        exam.fail(seen, text)
    exam.fail(seen, UNKNOWN)


def _stationary(exam: Exam, step, n: int) -> None:
    """Draws from a posterior, after some steps, are draws from it."""
    share, places, widths = exam.rand(0.3, 0.7).item(), exam.rand(0.5, 1.5, 2), exam.rand(0.3, 0.8, 2)
    places[0] *= -1

    def log_joint(z: Tensor) -> Tensor:
        parts = Normal(places, widths).log_prob(z[..., None])
        return (parts + torch.tensor([share, 1 - share]).to(z).log()).logsumexp(-1) - 2000

    which = (exam.rand(0, 1, n) > share).long()
    start = places[which] + widths[which] * exam.randn(n)
    z = start
    for _ in range(3):
        z = step(log_joint, z, 1.0)
    for name, f in (("mean", lambda t: t), ("mean square", torch.square), ("share above 0", lambda t: t > 0)):
        change = f(z).double() - f(start).double()
        if not abs(change.mean()) <= FAR * change.std() / n**0.5:
            exam.fail(
                f"{n} draws from a posterior with {name} {f(start).double().mean():.3f} have "
                f"{f(z).double().mean():.3f} after three steps; their log joints lie near -2000",
                f"{UNKNOWN}; it is right for log joints near 0" if math.isfinite(change.mean()) else EARLY,
            )
    if torch.equal(z, start):
        exam.fail(
            "where log joints lie near -2000, no chain moves",
            "both joints are exp(-2000) = 0, and 0/0 is no number: subtract the logarithms, then exp()",
        )
    exam.hold("the posterior stays what it is")


# --- a prediction -------------------------------------------------------------------------------------------

predict_two_humps = prediction(
    "predict_two_humps",
    "share posterior",
    {
        "a": Option(
            "the share is that of the posterior",
            lambda share, posterior: abs(share - posterior) < 0.05,
            "every ratio is right, so the chain is expected to be right soon. It is right in the long run "
            "only: between the humps lies a valley, and short steps do not cross it",
            WHAT,
        ),
        "b": Option(
            "half of the chains are on each hump, as the prior has it",
            lambda share, posterior: abs(share - 0.5) < 0.05 < abs(posterior - 0.5),
            "the two humps are thought to be reached alike. Neither the prior nor symmetry moves a chain: "
            "its proposals do, and they are short",
            WHAT,
        ),
        "c": Option(
            "all chains are still on the hump where they began",
            lambda share, posterior: share > 0.95 > posterior,
            "short steps are expected to stay on one hump; these crossed the valley",
            ENOUGH,
        ),
    },
)
