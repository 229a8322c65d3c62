"""Checks of functions whose result is exact: likelihoods, the KL, the loss, the importance-weighted mean.

Their inputs are random, their verdicts are not: rounding aside, no right answer ever fails. Each takes the
learner's function and optionally a device to check it on, returns a `Report`, and raises a `Mistake`.
"""

import math
import re

import torch
from torch import Tensor
from torch.nn import functional as F

from vaebook import densities
from vaebook.checks.base import UNKNOWN, Exam, Mark, Report, check, close, described, numbers, per_image
from vaebook.checks.places import BOUND, COST, LOSS, PRICE, REVENUE, TIGHTER, TWO_TERMS

BITS = "bits, by logarithms of base 2, where the book counts in nats"
PIXELS = "the mean over pixels, where their sum belongs: every pixel is a factor of p(x|z)"


# --- Kullback-Leibler divergence ----------------------------------------------------------------------------

kl = densities.kl_to_standard_normal


def _kl(square=1, variance=1, one=1, log=1, power=1):
    """The closed form with its terms multiplied by numbers, and log_var by one in the exponential."""
    return lambda m, v: 0.5 * (square * m**2 + variance * (power * v).exp() - one - log * v).sum(-1)


MEAN_OF_LATENTS = "the mean over latent dimensions, where their sum belongs"
LOG_STD = "log_var is taken for log σ, so that exp(log_var) stands where σ does; it is log σ²"
AT_PRIOR = "at mu = 0 and log_var = 0, where q is the prior, a KL divergence is 0"
PART = "½ stands in front of a part of the terms only"
KL_MARKS = [
    Mark(MEAN_OF_LATENTS, lambda m, v: kl(m, v) / m.shape[-1]),
    Mark("the sign: this is minus the KL divergence, which is never negative", lambda m, v: -kl(m, v)),
    Mark("the sign, and " + MEAN_OF_LATENTS, lambda m, v: -kl(m, v) / m.shape[-1]),
    Mark("a factor ½ is missing in front", lambda m, v: 2 * kl(m, v)),
    Mark("the sign, and a factor ½ in front", lambda m, v: -2 * kl(m, v)),
    Mark("there is a factor ½ too much", lambda m, v: kl(m, v) / 2),
    Mark("the arguments are swapped: log_var is used as mu, and mu as log_var", lambda m, v: kl(v, m)),
    Mark(
        "the wrong direction: KL(p || q), from the prior to q. The mean is taken under q",
        lambda m, v: 0.5 * ((1 + m**2) * (-v).exp() - 1 + v).sum(-1),
    ),
    Mark(LOG_STD, _kl(power=2, log=2)),
    Mark(LOG_STD + ". In one of two terms", _kl(power=2)),
    Mark("exp(log_var / 2), a standard deviation, stands where a variance belongs", _kl(power=0.5)),
    Mark("log_var is taken for the variance itself", lambda m, v: kl(m, v.log())),
    Mark("log_var is taken for the standard deviation", lambda m, v: kl(m, 2 * v.log())),
    Mark("the constant is missing: " + AT_PRIOR, _kl(one=0)),
    Mark("the constant has the wrong sign: " + AT_PRIOR, _kl(one=-1)),
    Mark("the constant counts once, and not for every dimension", lambda m, v: _kl(one=0)(m, v) - 0.5),
    Mark("the term of the place is missing: mu has no influence", _kl(square=0)),
    Mark("mu is not squared", lambda m, v: kl(0 * m, v) + 0.5 * m.sum(-1)),
    Mark("|mu| stands where a square belongs", lambda m, v: kl(0 * m, v) + 0.5 * m.abs().sum(-1)),
    Mark("the term of mu has the wrong sign", _kl(square=-1)),
    Mark("the logarithm of the variance is missing: nothing keeps q from shrinking to a point", _kl(log=0)),
    Mark("the logarithm of the variance has the wrong sign", _kl(log=-1)),
    Mark("the variance is missing: nothing keeps q from growing", _kl(variance=0)),
    Mark(PART, _kl(variance=2, one=2, log=2)),
    Mark(PART, _kl(square=2)),
    Mark("only one latent dimension is used", lambda m, v: kl(m[:, :1], v[:, :1])),
    Mark("only one latent dimension is used", lambda m, v: kl(m[:, -1:], v[:, -1:])),
    Mark(BITS, lambda m, v: kl(m, v) / math.log(2)),
]


@check("mu log_var", COST)
def kl_to_standard_normal(exam: Exam) -> Report:
    """A function (mu, log_var), both (batch, d) -> (batch,): the KL divergence of q from N(0, I), in nats.

    False alarms: none but by rounding.
    Checks: chapter 4.3.
    """
    batch, d = exam.integer(6, 9), exam.integer(3, 5)
    mu, log_var = 1.5 * exam.randn(batch, d), 1.2 * exam.randn(batch, d)
    positive = exam.rand(0.2, 2.0, batch, d)
    cases = [(mu, log_var), (mu, positive), (mu[:1], log_var[:1]), (mu[:, :1], log_var[:, :1])]
    cases += [(mu.float(), log_var.float())]
    exam.values(
        cases,
        kl,
        KL_MARKS,
        lambda mu, log_var: per_image(mu, "latent dimensions"),
        "KL divergence",
        probes=[
            ("it is right where mu = 0: look at what mu contributes", lambda m, v: (0 * m, v)),
            ("it is right where log_var = 0: look at what log_var contributes", lambda m, v: (m, 0 * v)),
        ],
    )
    exam.gradients((mu, log_var), kl)
    # Spreads from a millionth to a million; in one row all are small, so that no large term hides theirs.
    wide = torch.cat([exam.rand(-27, -26, 1, d), exam.rand(-27, 27, batch - 1, d)])
    out = exam.call(mu, wide)[0]
    if not close(out / kl(mu, wide), torch.ones_like(out)):
        exam.fail(
            f"for log_var from {wide.min():.3g} to {wide.max():.3g} your function gives {numbers(out)}, "
            f"where the KL divergence is {numbers(kl(mu, wide))}",
            "log_var is clamped, or something is added to the variance, or it overflows",
        )
    exam.hold("wide and narrow q")


# --- likelihoods --------------------------------------------------------------------------------------------

bernoulli = densities.bernoulli_log_likelihood

BERNOULLI_MARKS = [
    Mark(
        "the sign: this is the loss, minus the log-likelihood. A probability is at most 1",
        lambda a, x: -bernoulli(a, x),
    ),
    Mark(PIXELS, lambda a, x: bernoulli(a, x) / x.shape[-1], PRICE),
    Mark("the sign, and " + PIXELS, lambda a, x: -bernoulli(a, x) / x.shape[-1], PRICE),
    Mark(
        "the logits are taken for probabilities", lambda a, x: (x * a.log() + (1 - x) * (1 - a).log()).sum(-1)
    ),
    Mark(
        "sigmoid is applied twice: once by you, once more by the function that takes logits",
        lambda a, x: bernoulli(a.sigmoid(), x),
    ),
    Mark("the pixels that are 0 are left out", lambda a, x: (x * F.logsigmoid(a)).sum(-1)),
    Mark("the pixels that are 1 are left out", lambda a, x: ((1 - x) * F.logsigmoid(-a)).sum(-1)),
    Mark("0 and 1 are swapped: the logit is that of a 1", lambda a, x: bernoulli(-a, x)),
    Mark("the sum of the logits: the normalising term is missing", lambda a, x: (x * a).sum(-1)),
    Mark(
        "softmax makes the pixels compete; each is a coin of its own",
        lambda a, x: (x * a.log_softmax(-1)).sum(-1),
    ),
    Mark(
        "a squared error, and no log-probability of a coin", lambda a, x: -(a.sigmoid() - x).square().sum(-1)
    ),
    Mark(
        "a squared error, and no log-probability of a coin", lambda a, x: (a.sigmoid() - x).square().sum(-1)
    ),
    Mark("the probability itself, without the logarithm", lambda a, x: bernoulli(a, x).exp()),
    Mark(
        "a sum of probabilities: the logarithm of each pixel is missing",
        lambda a, x: (-bernoulli_each(a, x)).exp().sum(-1),
    ),
    Mark(
        BITS,
        lambda a, x: bernoulli(a, x) / math.log(2),
    ),
]


def bernoulli_each(logits: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none")


@check(
    "logits x",
    REVENUE,
    raised=[(r"between 0 and 1|parameter probs", "the logits are taken for probabilities")],
)
def bernoulli_log_likelihood(exam: Exam) -> Report:
    """A function (logits, x), both (batch, pixels) -> (batch,): log p(x) in nats; x must be binary.

    False alarms: none but by rounding.
    Checks: chapter 4.3.
    """
    batch, pixels = exam.integer(6, 9), exam.integer(11, 15)
    logits, x = 2 * exam.randn(batch, pixels), exam.bits(batch, pixels)
    gentle = exam.rand(0.1, 0.9, batch, pixels)
    cases = [(logits, x), (gentle, x), (logits[:1], x[:1]), (logits.float(), x.float())]
    exam.values(
        cases,
        bernoulli,
        BERNOULLI_MARKS,
        lambda logits, x: per_image(x, "pixels"),
        "log-likelihood",
        probes=[
            ("it is right where every pixel is 1", lambda a, x: (a, x.new_ones(x.shape))),
            ("it is right where every pixel is 0", lambda a, x: (a, 0 * x)),
            ("it is right where every logit is 0", lambda a, x: (0 * a, x)),
        ],
    )
    exam.gradients((logits, x), lambda a, x: bernoulli(a, x.detach()))
    for dtype in (torch.float32, exam.dtype):
        _confident(exam, dtype)
    exam.hold("sure and wrong pixels")

    for value in (0.73, 0.02, 0.98):
        grey = x.clone()
        grey[exam.integer(0, batch - 1), exam.integer(0, pixels - 1)] = value
        _refused(exam, logits, grey, f"a pixel of {value}")
    _refused(exam, logits, 255 * x, "pixels of 0 and 255")
    exam.hold("grey pixels refused")


# In messages of one or two words; a longer one is taken to help, in whatever language.
HELPS = r"0|1|bin|bernoulli|black|bool|gr[ae]y|pixel|coin|round|thresh|discret|sampl"


def _refused(exam: Exam, logits: Tensor, x: Tensor, what: str) -> None:
    """The answer raises an exception on this x, with words that are of use."""
    out = exam.refusal(logits, x)
    if not isinstance(out, Exception):
        exam.fail(
            f"x with {what} was answered by None, and not by an exception"
            if out is None
            else f"x with {what} was accepted, and its log-likelihood was "
            f"{numbers(out) if isinstance(out, Tensor) else described(out)}",
            "other pixels than 0 and 1 are no outcome of a coin: the number is no log-likelihood, and nobody "
            "is told. A ValueError would tell",
        )
    said = " ".join(str(out).split())
    if len(said.split()) < 3 and not re.search(HELPS, said, re.I):
        exam.fail(
            f"x with {what} was refused with the words {said!r}",
            "the exception says nothing that helps: it should tell what x may hold, or what to do with it",
        )


def _confident(exam: Exam, dtype: torch.dtype) -> None:
    """Pixels of which the decoder is sure: right, wrong, wrong, right."""
    sure = exam.rand(130, 200, 5, 1).to(dtype)
    logits, x = sure * sure.new_tensor([1, -1, 1, -1]), sure.new_tensor([1, 1, 0, 0]).expand(5, 4)
    x, read = x.contiguous(), REVENUE
    out, (mine, _) = exam.call(logits, x, track=True)
    out = exam.tensor(out, (5,), {})
    asked = (
        f"for a pixel that is 1 with logit {-sure[0].item():.0f}, and one that is 0 with {sure[0].item():.0f}"
    )
    if not out.isfinite().all():
        finer = exam.call(logits.detach().double(), x.double())[0] if dtype is torch.float32 else out
        exam.fail(
            f"{asked}, your log-likelihood is {out[0].item()}",
            "exp() of a logit overflows, or a sigmoid is rounded to 0, before the logarithm is taken; with "
            "twice the digits it is right. There are functions of logits that avoid both"
            if finer.isfinite().all()
            else "sigmoid first, then the logarithm: the probability is rounded to 0 or 1, and its logarithm "
            "is lost. Logits are there to avoid that",
            read,
        )
    exam.guarded(out.sum().backward, (), "when its result was differentiated")
    slope, right = mine.grad, torch.tensor([0.0, 1.0, -1.0, 0.0]).to(logits).expand(5, 4)
    if not close(out, -2 * sure[:, 0]) or not close(slope, right):
        exam.fail(
            f"{asked}, your log-likelihood is {out[0].item():.4g}, its gradient {numbers(slope[0], 4)} in "
            "four logits of which two are wrong",
            "probabilities are clamped (or an epsilon is added) before the logarithm: a pixel that is surely "
            "wrong costs too little, and has no gradient, so nothing mends it",
            read,
        )


gaussian = densities.gaussian_log_likelihood


def _gaussian_marks() -> list[Mark]:
    c = 0.5 * math.log(2 * math.pi)

    def made(square=0.5, power=2, log=1.0, constant=c, width=lambda s: s, reduce=torch.sum):
        def values(mean, x, std):
            std = width(torch.as_tensor(std).to(x).expand_as(x))
            terms = square * (x - mean).square() / std**power + log * std.log() + constant
            return -reduce(terms, -1)

        return values

    def once(mean, x, std):
        return gaussian(mean, x, std) + (x.shape[-1] - 1) * torch.as_tensor(std).to(x).log().mean(-1)

    return [
        Mark(PIXELS, made(reduce=torch.mean), PRICE),
        Mark("the sign: this is minus the log-likelihood, a loss", lambda *a: -gaussian(*a)),
        Mark("the sign, and " + PIXELS, lambda *a: -made(reduce=torch.mean)(*a), PRICE),
        Mark("the normalising constant of the normal density is missing", made(constant=0)),
        Mark("log std is missing: without it a wider normal distribution has more mass than 1", made(log=0)),
        Mark(
            "a squared error: log std and the constant are missing, so it is no density",
            made(log=0, constant=0),
        ),
        Mark("a squared error that does not know std", made(power=0, log=0, constant=0)),
        Mark("a squared error that does not know std", made(square=1, power=0, log=0, constant=0)),
        Mark("a factor ½ is missing in front of the square", made(square=1)),
        Mark("std is taken for the variance", made(power=1, log=0.5)),
        Mark("the square is divided by std, and not by its square", made(power=1)),
        Mark("std is taken for the log variance", made(width=lambda s: (0.5 * s).exp())),
        Mark("std is taken for the log standard deviation", made(width=torch.exp)),
        Mark("½ log std, where the logarithm of the standard deviation itself belongs", made(log=0.5)),
        Mark("log of the variance, where that of the standard deviation belongs", made(log=2.0)),
        Mark("log std has the wrong sign", made(log=-1.0)),
        Mark("the normalising constant counts twice", made(constant=2 * c)),
        Mark("the constant has the wrong sign", made(constant=-c)),
        Mark("the variance is squared once more", made(width=torch.square)),
        Mark(
            "the constant counts once, and not once for every pixel",
            lambda m, x, s: gaussian(m, x, s) + (x.shape[-1] - 1) * c,
        ),
        Mark("log std counts once, and not once for every pixel", once),
        Mark(
            "log std and the constant count once, and not once for every pixel",
            lambda m, x, s: once(m, x, s) + (x.shape[-1] - 1) * c,
        ),
        Mark("the density itself, without its logarithm", lambda *a: gaussian(*a).exp()),
        Mark(
            "the log of a sum of densities: the pixels' densities multiply, so their logarithms add up",
            lambda m, x, s: torch.distributions.Normal(m, s).log_prob(x).logsumexp(-1),
        ),
        Mark(BITS, lambda *a: gaussian(*a) / math.log(2)),
    ]


GAUSSIAN_MARKS = _gaussian_marks()


@check(
    "mean x std", REVENUE, raised=[("parameter scale", "something negative is used as a standard deviation")]
)
def gaussian_log_likelihood(exam: Exam) -> Report:
    """A function (mean, x, std), mean and x (batch, pixels) -> (batch,): log p(x) in nats.

    std is one number, or a tensor that broadcasts to (batch, pixels).
    False alarms: none but by rounding.
    Checks: chapter 4.3.
    """
    batch, pixels = exam.integer(6, 9), exam.integer(11, 15)
    mean, std = exam.randn(batch, pixels), exam.rand(0.3, 2.5, batch, pixels)
    x, number = mean + 0.5 * exam.randn(batch, pixels), exam.rand(0.3, 0.6).item()
    cases = [(mean, x, number), (mean, x, std), (mean, x, std[0]), (mean, x, std[:, :1])]
    cases += [(mean[:1], x[:1], number), (mean.float(), x.float(), std.float())]
    exam.values(
        cases,
        gaussian,
        GAUSSIAN_MARKS,
        lambda mean, x, std: per_image(x, "pixels"),
        "log-likelihood",
        probes=[
            ("it is right where std = 1: look at how std enters", lambda m, x, s: (m, x, 1.0)),
            ("it is right where x = mean: look at the square", lambda m, x, s: (m, m, s)),
        ],
    )
    exam.gradients((mean, x, std), gaussian)
    far = mean + number * exam.rand(60, 90, batch, pixels)
    out, expected = exam.call(mean, far, number)[0], gaussian(mean, far, number)
    if not close(out / expected, torch.ones_like(expected)):
        exam.fail(
            f"for pixels 60 to 90 standard deviations from their mean your function gives {numbers(out)}, "
            f"where the log-likelihood is {numbers(expected)}",
            "the density first, then its logarithm (or a clamp): the density is rounded to 0 far out",
        )
    exam.hold("far pixels")
    # Not below 0.001, where PyTorch's own loss clamps.
    small = exam.rand(0.002, 0.009, batch, pixels)
    x = mean + small * exam.randn(batch, pixels)
    out, expected = exam.call(mean, x, small)[0], gaussian(mean, x, small)
    if not close(out / expected, torch.ones_like(expected)):
        exam.fail(
            f"for std from {small.min():.4f} to {small.max():.4f} your function gives {numbers(out)}, where "
            f"the log-likelihood is {numbers(expected)}",
            "std is clamped, or something is added to it: a decoder may be as sure as it likes",
        )
    exam.hold("small std")


# --- the loss -----------------------------------------------------------------------------------------------


def loss(mu: Tensor, log_var: Tensor, logits: Tensor, x: Tensor) -> Tensor:
    return (kl(mu, log_var) - bernoulli(logits, x.detach())).mean()


def _shares(exam: Exam, cases: list[tuple], losses: list[Tensor]) -> list[float] | None:
    """a and b if every loss is a times the mean reconstruction loss plus b times the mean KL."""
    parts = (
        torch.stack([torch.stack([-bernoulli(*c[2:]).mean(), kl(*c[:2]).mean()]) for c in cases])
        .cpu()
        .double()
    )
    seen = torch.stack([value.detach() for value in losses]).cpu().double()[:, None]
    if not seen.isfinite().all():
        return None
    shares = torch.linalg.lstsq(parts, seen).solution
    return shares.flatten().tolist() if close(parts @ shares, seen) else None


@check(
    "mu log_var logits x",
    LOSS,
    raised=[(r"between 0 and 1|parameter probs", "the logits are taken for probabilities")],
)
def elbo_loss(exam: Exam) -> Report:
    """A function (mu, log_var, logits, x) -> one number to minimise: the mean over images of -ELBO, in nats.

    mu and log_var (batch, d) are the encoder's, logits (batch, pixels) the decoder's at a draw from it.
    False alarms: none but by rounding.
    Checks: chapters 3 and 4.3.
    """
    batch, d, pixels = exam.integer(6, 9), exam.integer(3, 5), exam.integer(11, 15)

    def case():
        return (
            1.5 * exam.randn(batch, d),
            1.2 * exam.randn(batch, d),
            2 * exam.randn(batch, pixels),
            exam.bits(batch, pixels),
        )

    cases = [case() for _ in range(5)]
    shapes = {
        (batch,): "one number for each image: a loss to minimise is one number, the mean over images",
        (batch, pixels): "nothing is summed over the pixels",
        (batch, d): "nothing is summed over the latent dimensions",
        (1,): "a tensor with one axis of length 1, where a number without axes belongs",
    }
    losses = [exam.tensor(exam.call(*c)[0], (), shapes).detach() for c in cases]
    if not all(close(value, loss(*c)) for value, c in zip(losses, cases, strict=True)):
        _wrong_loss(exam, cases, losses, batch, d, pixels)
    other = [tuple(t.repeat(2, 1) for t in cases[0]), tuple(t[:1] for t in cases[1])]
    for c in [*other, tuple(t.float() for t in cases[2])]:
        out = exam.tensor(exam.call(*c)[0], (), shapes)
        if not close(out, loss(*c)):
            exam.fail(
                f"with {len(c[0])} images the loss is {out.item():.4g}, but -ELBO is {loss(*c).item():.4g}; "
                f"with {batch} it was right",
                "the size of a batch (or another size) is written into the function as a number",
            )
    exam.hold("values")
    exam.gradients(cases[0], loss, TWO_TERMS)
    mu, log_var, logits, x = (t.float() for t in cases[0])
    logits = 150 * logits.sign()
    out, expected = exam.call(mu, log_var, logits, x)[0], loss(mu, log_var, logits, x)
    if not close(out / expected, torch.ones_like(expected)):
        exam.fail(
            f"for logits of 150 and -150 the loss is {out.item():.4g}, where it is {expected.item():.4g}",
            "in the reconstruction: sigmoid first, then the logarithm (or exp() of a logit): a probability "
            "is rounded to 0 or 1, or clamped",
            REVENUE,
        )
    exam.hold("sure and wrong pixels")


def _wrong_loss(
    exam: Exam, cases: list[tuple], losses: list[Tensor], batch: int, d: int, pixels: int
) -> None:
    seen = f"a loss of {losses[0].item():.4g}, where the mean of -ELBO is {loss(*cases[0]).item():.4g}"
    shares = _shares(exam, cases, losses)
    if shares is not None:
        a, b = shares
        seen += (
            f"; yours is {a:.4g} times the reconstruction loss plus {b:.4g} times the KL, both for one image"
        )

        def is_(x, y):
            return abs(x - y) < 1e-3 * max(abs(y), 0.01)

        known = [
            (-1, -1, "the sign: this is the ELBO, which is to be maximised; a loss is minimised", LOSS),
            (1, -1, "the sign of the KL: the loss falls when q moves away from the prior", TWO_TERMS),
            (
                -1,
                1,
                "the sign of the reconstruction: the loss falls when images are rebuilt worse",
                TWO_TERMS,
            ),
            (batch, batch, "the sum over images, where their mean belongs", LOSS),
            (-batch, -batch, "the sign, and the sum over images where their mean belongs", LOSS),
            (1, 0, "the KL is not in the loss: nothing keeps q near the prior", TWO_TERMS),
            (0, 1, "the reconstruction is not in the loss", TWO_TERMS),
            (1 / pixels, 1, PIXELS + ": a hidden price of the KL", PRICE),
            (1, 1 / d, "the mean over latent dimensions: a hidden price of the KL", PRICE),
            (
                1 / pixels,
                1 / d,
                "means over pixels and over latent dimensions: a hidden price of the KL",
                PRICE,
            ),
            (
                1,
                batch,
                "the reconstruction is averaged over images, and the KL summed: a hidden price",
                PRICE,
            ),
            (
                batch,
                1,
                "the KL is averaged over images, and the reconstruction summed: a hidden price",
                PRICE,
            ),
            (
                1 / pixels,
                batch,
                "means over pixels and images, but a KL summed over the batch: a hidden price",
                PRICE,
            ),
            (1, 2, "a factor ½ is missing in the KL", COST),
        ]
        for a_, b_, mark, read in known:
            if is_(a, a_) and is_(b, b_):
                exam.fail(seen, mark, read)
        if is_(a, b):
            exam.fail(
                seen, f"the price of the KL is right, but the loss is {a:.4g} times -ELBO of one image", LOSS
            )
        if a:
            exam.fail(seen, f"a hidden price: a nat of KL costs {b / a:.4g} nats of reconstruction", PRICE)
    for marks, right, part in ((KL_MARKS, kl, slice(0, 2)), (BERNOULLI_MARKS, bernoulli, slice(2, 4))):
        sign = 1 if part.start == 0 else -1
        for mark in marks:
            wrong = [loss(*c) + sign * (mark.makes(*c[part]) - right(*c[part])).mean() for c in cases]
            if all(close(value, w, nan=True) for value, w in zip(losses, wrong, strict=True)):
                name = "the KL" if part.start == 0 else "the reconstruction"
                exam.fail(
                    seen, f"in {name}: {mark.text}", mark.read or (COST if part.start == 0 else REVENUE)
                )
    again = exam.call(*cases[0])[0]
    if not close(again, losses[0], nan=True):
        exam.fail(
            f"two calls on the same inputs differ: {losses[0].item():.4g} and {again.item():.4g}",
            "something is drawn in it: logits are already those at a draw z",
            TWO_TERMS,
        )
    hint = "" if losses[0].isfinite() else "; it is not finite, at inputs where nothing should overflow"
    exam.fail(
        seen,
        UNKNOWN
        + hint
        + ". Check its two terms each by itself: kl_to_standard_normal, bernoulli_log_likelihood",
    )


# --- the importance-weighted bound --------------------------------------------------------------------------


def log_mean(log_weights: Tensor) -> Tensor:
    return log_weights.logsumexp(0) - math.log(len(log_weights))


LOG_MEAN_MARKS = [
    Mark(
        "the mean of the logarithms: the ELBO, and not the log of a mean weight", lambda w: w.mean(0), BOUND
    ),
    Mark("the mean weight itself: its logarithm is missing", lambda w: w.exp().mean(0)),
    Mark(
        "the log of the sum: log K is missing, so the value grows with K even if all weights are equal",
        lambda w: w.logsumexp(0),
    ),
    Mark("log K is added, and not subtracted", lambda w: w.logsumexp(0) + math.log(len(w))),
    Mark("divided by K outside the logarithm", lambda w: w.logsumexp(0) / len(w)),
    Mark("K is subtracted, and not its logarithm", lambda w: w.logsumexp(0) - len(w)),
    Mark("the sign: this is a loss, and not the bound", lambda w: -log_mean(w)),
    Mark("the number of images is used for K", lambda w: w.logsumexp(0) - math.log(w.shape[1])),
    Mark("the sum of the logarithms: the log of a product", lambda w: w.sum(0)),
    Mark("only the largest weight counts", lambda w: w.max(0).values),
    Mark("only the largest weight counts", lambda w: w.max(0).values - math.log(len(w))),
    Mark("the log weights are taken for weights: a logarithm of their mean", lambda w: w.mean(0).log()),
    Mark("only the first draw is used", lambda w: w[0]),
    Mark(BITS, lambda w: log_mean(w) / math.log(2)),
]


ONE_FOR_ALL = (
    "what is subtracted before exp() is one number for all images: where they lie far apart, exp() vanishes "
    "to 0 in some of them, or overflows"
)
NOT_LARGEST = (
    "what is subtracted before exp() is not the largest log weight of the image, and exp() overflows"
)
NO_NUMBERS = (
    "the gradient is cut, and the task asks that it can pass: NumPy, Python's own numbers, .detach(), or a "
    "new tensor made of numbers"
)


def spread_out(log_weights: Tensor) -> tuple[tuple[str, str, Tensor], ...]:
    """Where log weights lie, the mark of who fails there, and such log weights, (k, batch)."""
    batch = log_weights.shape[1]
    lone = log_weights - 1000
    lone[:batch] += 2000 * torch.eye(batch).to(lone)  # in each image another draw
    apart = log_weights + 1000 * (torch.arange(batch).to(lone) - 2)
    return (
        ("for images whose log weights lie 1,000 apart", ONE_FOR_ALL, apart),
        (
            "where one log weight of each image is about 1000 and all others are about -1000",
            NOT_LARGEST,
            lone,
        ),
    )


@check("log_weights", TIGHTER, raised=[(r"Can't call numpy\(\) on Tensor that requires grad", NO_NUMBERS)])
def log_mean_exp(exam: Exam) -> Report:
    """A function log_weights (k, batch) -> (batch,): the log of the mean over k of exp(log_weights).

    That is the importance-weighted bound of each image.
    False alarms: none but by rounding.
    Checks: chapters 4.1 and 4.2.
    """
    k, batch = exam.integer(11, 15), exam.integer(6, 9)
    weights = 2 * exam.randn(k, batch)
    shapes = {
        (k,): "the mean runs over the images: the draws are the first axis",
        (1, batch): "an axis of length 1 is left over, as keepdim=True leaves it",
        (k, batch): "no mean is taken over the draws",
        (): "one number for all images: every image should keep a number of its own",
    }
    positive = exam.rand(0.5, 2.0, k, batch)
    exam.values(
        [(weights,), (positive,), (weights[:, :1],), (weights.float(),), (weights[:1],)],
        log_mean,
        LOG_MEAN_MARKS,
        lambda w: {**shapes, **({(): "with one image the batch disappears"} if w.shape[1] == 1 else {})},
        "log of the mean weight",
        probes=[("it is right for one draw", lambda w: (w[:1],))],
    )
    if not exam.call(weights, track=True)[0].requires_grad:
        exam.fail("the values are right, but the result has no gradient in the log weights", NO_NUMBERS)
    exam.gradients((weights,), log_mean)
    for at in (-1000.0, 1000.0, -90_000.0):
        out, expected = exam.call(weights + at)[0], log_mean(weights + at)
        if not close(out - at, expected - at):
            exam.fail(
                f"for log weights around {at:g} your function gives {numbers(out)}, where it should be "
                f"{numbers(expected)}",
                "the weights are computed before their logarithm is taken: exp() overflows to inf, or "
                "vanishes to 0. An image of 784 pixels has log weights of some hundreds below 0",
            )
    for where, mark, far in spread_out(weights):
        out, expected = exam.call(far)[0], log_mean(far)
        if not close(out, expected):
            exam.fail(
                f"{where}, your function gives {numbers(out)}, and it should be {numbers(expected)}", mark
            )
    exam.hold("no overflow")
