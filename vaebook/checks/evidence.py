"""Checks of the sheet of chapter 4.1: the evidence by a grid, and by draws with weights.

The inputs of exact functions are random, their verdicts are not. The laws of draws are judged beyond 6
standard errors, or where a Kolmogorov-Smirnov test says p < 1e-7.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

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
from vaebook.checks.draws import FAR, SEED, dependence, z_scores
from vaebook.checks.formulas import BITS, ONE_FOR_ALL, bernoulli_each, spread_out
from vaebook.checks.places import DRAWS, HOW_MANY, REVENUE, STAND_IN, SUM, TIGHTER
from vaebook.densities import gaussian_log_likelihood, kl_to_standard_normal
from vaebook.models import VAE

UNDERFLOW = (
    "probabilities are computed before their logarithm is taken: exp() vanishes to 0. An image of 784 pixels "
    "has log-probabilities of some hundreds below 0"
)


# --- a grid -------------------------------------------------------------------------------------------------


class _Linear:
    """log p(x|z) of a few images under a linear model of its own: z (..., d) -> (..., batch)."""

    def __init__(self, exam: Exam, d: int):
        self.d, self.plus, self.std = d, torch.zeros(()), exam.rand(0.9, 1.2).item()
        self.W = 0.6 * exam.randn(3, d)
        self.batch = exam.integer(5, 8)
        self.x = exam.rand(-2, 2, self.batch, d) @ self.W.T + self.std * exam.randn(self.batch, 3)

    def __call__(self, z: Tensor) -> Tensor:
        if z.shape[-1:] != (self.d,):
            raise ValueError(f"z must be (points, {self.d}); got {tuple(z.shape)}")
        mean, x = torch.broadcast_tensors((z.to(self.W) @ self.W.T)[..., None, :], self.x)
        return gaussian_log_likelihood(mean, x, self.std) + self.plus

    def log_evidence(self) -> Tensor:
        covariance = self.W @ self.W.T + self.std**2 * torch.eye(3).to(self.W)
        return MultivariateNormal(torch.zeros_like(self.x), covariance).log_prob(self.x) + self.plus

    def __repr__(self) -> str:
        return f"log p(x|z) of {self.batch} images"


def _grid(axis: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """The points (n^d, d), their log prior (n^d, 1), and log h."""
    z = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    log_prior = gaussian_log_likelihood(torch.zeros_like(z), z, 1.0)[:, None]
    return z, log_prior, (axis[1] - axis[0]).log()


def _summed(reduce, prior=True):
    """A wrong sum over the grid: reduce(values, log h, d), from log p(x, z), or log p(x|z) alone."""

    def makes(log_likelihood, axis, d):
        z, log_prior, log_h = _grid(axis, d)
        return reduce(log_likelihood(z) + prior * log_prior, log_h, d)

    return makes


def _log_inside(log_likelihood, axis, d):
    z, log_prior, log_h = _grid(axis, d)
    return ((log_prior + d * log_h).exp() * log_likelihood(z)).sum(0)


def _off(by):
    """log p(x), and by(axis, d) more."""
    return lambda log_likelihood, axis, d: log_likelihood.log_evidence() + by(axis, d)


def _one_coordinate(log_likelihood, axis, d):
    z, _, log_h = _grid(axis, d)
    first = gaussian_log_likelihood(torch.zeros_like(z[:, :1]), z[:, :1], 1.0)[:, None]
    return (log_likelihood(z) + first).logsumexp(0) + d * log_h


def _log_h(axis: Tensor) -> Tensor:
    return (axis[1] - axis[0]).log()


UNIFORM = "a mean over the grid's points: the points are no draws, each stands for a piece of space, h^d"
GRID_MARKS = [
    Mark("h is missing: a sum of densities alone is no integral", _off(lambda a, d: -d * _log_h(a))),
    Mark(
        "h counts once: a point of the grid stands for a piece of space of the size h^d",
        _off(lambda a, d: (1 - d) * _log_h(a)),
    ),
    Mark("log h^d is subtracted, and not added", _off(lambda a, d: -2 * d * _log_h(a))),
    Mark("h itself is added, and not its logarithm", _off(lambda a, d: d * (_log_h(a).exp() - _log_h(a)))),
    Mark(
        "h is the length of the axis divided by the number of points: n points have n - 1 steps between them",
        _off(lambda a, d: d * math.log(1 - 1 / len(a))),
    ),
    Mark(
        "the prior is missing: the likelihood alone is integrated over z",
        _summed(lambda v, h, d: v.logsumexp(0) + d * h, prior=False),
    ),
    Mark(UNIFORM, _summed(lambda v, h, d: v.logsumexp(0) - math.log(len(v)))),
    Mark(
        UNIFORM + ". The prior is missing too",
        _summed(lambda v, h, d: v.logsumexp(0) - math.log(len(v)), prior=False),
    ),
    Mark("only the best point of the grid counts", _summed(lambda v, h, d: v.amax(0))),
    Mark(
        "only the best point of the grid counts, and the prior is missing",
        _summed(lambda v, h, d: v.amax(0), prior=False),
    ),
    Mark("the logarithm is inside the sum: logs are added up", _summed(lambda v, h, d: v.sum(0))),
    Mark(
        "the logarithm is inside the sum: logs are added up",
        _summed(lambda v, h, d: v.sum(0) * (d * h).exp()),
    ),
    Mark("the mean of log p(x|z) over the prior: the logarithm belongs outside the integral", _log_inside),
    Mark("the prior of one coordinate: a density of d independent numbers is a product", _one_coordinate),
    Mark(
        "the normalising constant of the prior is missing",
        _off(lambda a, d: 0.5 * d * math.log(2 * math.pi)),
    ),
    Mark(
        "the normalising constant of the prior counts once, and not for every dimension",
        _off(lambda a, d: 0.5 * (d - 1) * math.log(2 * math.pi)),
    ),
    Mark("the sign: this is minus log p(x)", lambda f, a, d: -f.log_evidence()),
    Mark("the probability itself, without its logarithm", lambda f, a, d: f.log_evidence().exp()),
    Mark(BITS, lambda f, a, d: f.log_evidence() / math.log(2)),
]


@check(
    "log_likelihood axis d",
    SUM,
    raised=[
        (
            r"z must be \(points, 1\); got \(\d+, 2\)",
            "the grid has two axes, whatever d is: with d = 1 it has one",
        ),
        (
            r"z must be \(points, 1\); got \(\d+,\)",
            "for one axis torch.cartesian_prod returns the shape (n,): z keeps an axis for its dimensions, "
            "even if there is one only",
        ),
        (r"z must be \(points", "the grid is not the points z (n^d, d): one row for each point"),
        (
            "size of tensor a",
            "two shapes do not go together. log p(z) has one number for each point, log p(x|z) one for each "
            "point and image, (points, batch): log p(z) needs an axis more",
        ),
    ],
)
def grid_log_evidence(exam: Exam) -> Report:
    """A function (log_likelihood, axis, d) -> (batch,): log p(x) of each image, by a sum over a grid of z.

    log_likelihood(z) takes z (points, d) and returns log p(x|z), (points, batch), in nats; axis (n,) are the
    equidistant points of one axis; z has d dimensions, 1 or 2, and the prior is standard normal.
    False alarms: none but by rounding.
    Checks: chapter 4.1.
    """

    def case(d: int) -> tuple:
        n = exam.integer(35, 41)  # no more: a loop over all points of the grid should come back in time
        low, high = exam.rand(5.5, 6.5, 2).tolist()
        return _Linear(exam, d), torch.linspace(-low, high, n).to(exam.randn(1)), d

    def shapes(log_likelihood, axis, d):
        batch, points = log_likelihood.batch, len(axis) ** d
        return {
            (points, batch): "nothing is summed over the points of the grid",
            (points,): "the sum runs over the images, and not over the points",
            (len(axis), batch): "the sum runs over one axis of the grid only",
            (1, batch): "an axis of length 1 is left over, as keepdim=True leaves it",
            (): "one number for all images: every image should keep a number of its own",
        }

    cases = [case(2), case(1), case(1)]
    exam.values(cases, lambda f, axis, d: f.log_evidence(), GRID_MARKS, shapes, "log-evidence")
    far = case(exam.integer(1, 2))
    far[0].plus = -exam.rand(900, 2000) * torch.arange(1, far[0].batch + 1).to(far[1])
    out, expected = exam.call(*far)[0], far[0].log_evidence()
    if not close(out, expected):
        exam.fail(
            f"for images with a log-evidence of {numbers(expected)} your function gives {numbers(out)}",
            ONE_FOR_ALL if close(out[:1], expected[:1]) else UNDERFLOW,
        )
    exam.hold("improbable images")


# --- what draws are worth -----------------------------------------------------------------------------------


def ess(log_weights: Tensor) -> Tensor:
    return 1 / log_weights.softmax(0).square().sum(0)


UNSHARED = "the weights are squared as they are, and not as shares of their sum"
ESS_MARKS = [
    Mark("upside down: the sum of squares is divided by the square of the sum", lambda w: 1 / ess(w)),
    Mark("the share that draws are worth, ESS / K", lambda w: ess(w) / len(w)),
    Mark("the number of draws: the weights have no influence", lambda w: 0 * ess(w) + len(w)),
    Mark(
        "the log weights are taken for weights: their exponential is missing",
        lambda w: w.sum(0).square() / w.square().sum(0),
    ),
    Mark(UNSHARED, lambda w: 1 / (2 * w).exp().sum(0)),
    Mark("the sum above is not squared", lambda w: w.exp().sum(0) / (2 * w).exp().sum(0)),
    Mark("the sum of squares, divided by nothing", lambda w: (2 * w).exp().sum(0)),
    Mark(UNSHARED, lambda w: 1 / (w - w.amax(0)).exp().square().sum(0)),
    Mark(
        "one over the largest share: another measure. The squares of all shares count",
        lambda w: 1 / w.softmax(0).amax(0),
    ),
    Mark("an entropy: another measure", lambda w: -(w.softmax(0) * w.log_softmax(0)).sum(0)),
    Mark(
        "the exponential of an entropy: another measure of the same kind",
        lambda w: (-(w.softmax(0) * w.log_softmax(0)).sum(0)).exp(),
    ),
    Mark(
        "the shares are taken over the images, and not over the draws",
        lambda w: 1 / w.softmax(1).square().sum(0),
    ),
    Mark("the logarithm of it", lambda w: ess(w).log()),
    Mark("its root", lambda w: ess(w).sqrt()),
]


@check("log_weights", DRAWS)
def effective_sample_size(exam: Exam) -> Report:
    """A function log_weights (k, batch) -> (batch,): what the k weights of each image are worth, from 1 to k.

    False alarms: none but by rounding.
    Checks: chapter 4.1.
    """
    k, batch = exam.integer(11, 15), exam.integer(6, 9)
    log_weights = 1.5 * exam.randn(k, batch)

    def shapes(log_weights):
        k, batch = log_weights.shape
        return {
            (k, batch): "nothing is summed over the draws",
            (k,): "the sum runs over the images: the draws are the first axis",
            (1, batch): "an axis of length 1 is left over, as keepdim=True leaves it",
            (): "one number for all images: every image should keep a number of its own",
        }

    cases = [(log_weights,), (exam.randn(k, batch),), (log_weights[:, :1],), (log_weights.float(),)]
    exam.values(cases, ess, ESS_MARKS, shapes, "effective sample size")
    for at in (-1000.0, 800.0):
        out, expected = exam.call(log_weights + at)[0], ess(log_weights)
        if not close(out, expected):
            exam.fail(
                f"for log weights around {at:g} your function gives {numbers(out)}, where it should be "
                f"{numbers(expected)}: a factor that all weights share makes no difference",
                "the weights themselves are computed: exp() overflows to inf, or vanishes to 0. The shares "
                "of the draws in the whole weight stay between 0 and 1",
            )
    for where, mark, far in spread_out(log_weights):
        out, expected = exam.call(far)[0], ess(far)
        if not close(out, expected):
            exam.fail(
                f"{where}, your function gives {numbers(out)}, and it should be {numbers(expected)}", mark
            )
    exam.hold("no overflow")
    equal = exam.call(torch.zeros_like(log_weights))[0]
    if not close(equal, torch.full_like(equal, k)):
        exam.fail(f"{k} equal weights are worth {numbers(equal)} to your function", f"they are worth {k}")
    exam.hold("equal weights")


# --- the importance-weighted estimate -----------------------------------------------------------------------


class Parts(NamedTuple):
    """The logarithms of prior, likelihood and q at draws, each (k, batch), and what a wrong weight needs."""

    prior: Tensor
    likelihood: Tensor
    q: Tensor
    q_wide: Tensor  # exp(log_var) as the standard deviation
    q_centre: Tensor  # at mu
    kl: Tensor  # (batch,)
    error: Tensor  # the squared error of the pixels
    pixels: int
    d: int

    @property
    def weights(self) -> Tensor:
        return self.prior + self.likelihood - self.q


def log_mean(log_weights: Tensor) -> Tensor:
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def _weighted(weights):
    return lambda p: log_mean(weights(p))


WEIGHT_MARKS = [
    Mark(
        "the mean of the logarithms: an estimate of the ELBO, and not the log of a mean weight",
        lambda p: p.weights.mean(0),
        TIGHTER,
    ),
    Mark("log K is missing: the log of the sum of the weights", lambda p: p.weights.logsumexp(0)),
    Mark("log K is added, and not subtracted", lambda p: log_mean(p.weights) + 2 * math.log(len(p.prior))),
    Mark("divided by K outside the logarithm", lambda p: p.weights.logsumexp(0) / len(p.prior)),
    Mark("only the largest weight counts", lambda p: p.weights.amax(0)),
    Mark("the sign: this is a loss, and not the estimate", lambda p: -log_mean(p.weights)),
    Mark("log p(z) is missing from the weight", _weighted(lambda p: p.likelihood - p.q)),
    Mark("log q(z|x) is missing from the weight", _weighted(lambda p: p.likelihood + p.prior)),
    Mark(
        "p(x|z) alone is averaged, as if z came from the prior: draws from q carry the weight p(z) / q(z|x)",
        _weighted(lambda p: p.likelihood),
    ),
    Mark(
        "log q(z|x) is added, and not subtracted: it is in the denominator",
        _weighted(lambda p: p.likelihood + p.prior + p.q),
    ),
    Mark("the ratio is upside down: q over joint", _weighted(lambda p: -p.weights)),
    Mark(
        "prior and q have changed places: the weight is q(z|x) / p(z) times the likelihood",
        _weighted(lambda p: p.likelihood - p.prior + p.q),
    ),
    Mark("the likelihood is not in the weight", _weighted(lambda p: p.prior - p.q)),
    Mark(
        "the closed form of the KL stands where each draw's own log p(z) - log q(z|x) belongs",
        lambda p: log_mean(p.likelihood) - p.kl,
    ),
    Mark(
        "the loss is in the weight: cross-entropy is minus the log-likelihood",
        _weighted(lambda p: p.prior - p.likelihood - p.q),
    ),
    Mark(
        "the mean over pixels, where their sum belongs",
        _weighted(lambda p: p.prior + p.likelihood / p.pixels - p.q),
    ),
    Mark(
        "means over latent dimensions, where sums belong",
        _weighted(lambda p: p.likelihood + (p.prior - p.q) / p.d),
    ),
    Mark(
        "a squared error stands where the log-likelihood of coins belongs",
        _weighted(lambda p: p.prior - p.error - p.q),
    ),
    Mark(
        "in log q(z|x), exp(log_var) is used as the standard deviation: it is the variance",
        _weighted(lambda p: p.prior + p.likelihood - p.q_wide),
    ),
    Mark("log q(z|x) is taken at mu, and not at the draw", _weighted(lambda p: p.weights + p.q - p.q_centre)),
    Mark(
        "the normalising constant of log p(z) is missing, while log q(z|x) has its own",
        lambda p: log_mean(p.weights) + 0.5 * p.d * math.log(2 * math.pi),
    ),
    Mark(
        "the normalising constant of log q(z|x) is missing, while log p(z) has its own",
        lambda p: log_mean(p.weights) - 0.5 * p.d * math.log(2 * math.pi),
    ),
]


class _FarApart:
    """A small VAE whose q(z|x) lie so far apart that every draw tells which image it is for.

    surprise: minus the log-likelihood of a wrong pixel, about. Unless it is 0, each image has ten wrong
    pixels beside those that tell images apart, and the second one has no right pixel there.
    """

    def __init__(self, exam: Exam, surprise: float = 0.0):
        self.batch, self.d, self.pixels, self.exam = 6, 2, 28, exam
        model = VAE(self.pixels, self.d, ()).requires_grad_(False)
        centres = torch.cartesian_prod(torch.tensor([-3.0, 3.0]), torch.tensor([-6.0, 0.0, 6.0]))
        order = torch.randperm(6, generator=exam.generator)
        self.mu = centres.to(exam.device)[order] + exam.rand(-0.3, 0.3, 6, 2).float()
        self.log_var = exam.rand(-3.2, -1.8, 6, 2).float()
        self.x = exam.bits(self.batch, self.pixels).float()
        self.x[:, : self.batch] = torch.eye(self.batch)  # each image is known by one of its first pixels
        encoder, decoder = model.encoder[0], nn.Linear(self.d, self.pixels)
        encoder.weight.zero_()
        encoder.bias.zero_()
        encoder.weight[:, : self.batch] = torch.cat([self.mu, self.log_var], 1).T
        wrong = (exam.rand(0, 1, self.pixels) < 0.5).float() * 2 - 1
        if surprise:
            self.x[:, self.batch :] = (wrong > 0)[self.batch :]
            self.x[:, self.batch : self.batch + 10] = (wrong < 0)[self.batch : self.batch + 10]
            self.x[1, self.batch :] = (wrong < 0)[self.batch :]
        model.decoder[0].weight.copy_(0.3 * exam.randn(*decoder.weight.shape))
        model.decoder[0].bias.copy_(exam.rand(-1, 1, self.pixels) + surprise * wrong)
        self.asked: list[Tensor] = []
        model.decoder.register_forward_hook(lambda module, inputs, out: self.asked.append(inputs[0].detach()))
        self.model = model.to(exam.device)

    def ask(self, k: int) -> tuple[Tensor, Tensor]:
        """The answer (batch,), and the draws that it decoded, (k, batch, d)."""
        exam, n = self.exam, self.batch
        self.asked.clear()
        shapes = {
            (k, n): "these are the weights of the draws, and no mean of them",
            (n, k): "these are the weights of the draws, and no mean of them",
            (k,): "the mean runs over the images, and not over the draws",
            (): "one number for all images: every image should keep a number of its own",
        }
        out = exam.tensor(exam.call(self.model, self.x, k)[0], (n,), shapes).detach().double()
        if not self.asked:
            exam.fail("your function did not run the decoder", "the likelihood of x at a draw z is missing")
        z = torch.cat([part.reshape(-1, part.shape[-1]) for part in self.asked])
        if len(z) != n * k:
            few = {n: "one draw for each image, whatever k is", k: "k draws, which all images share"}
            exam.fail(
                f"for {n} images and k = {k} the decoder was asked about {len(z)} z",
                few.get(len(z), "k draws for each image are asked for, each of them decoded once"),
            )
        owner = torch.cdist(z, self.mu).argmin(1)
        if (owner.bincount(minlength=n) != k).any():
            mark = "the draws do not come from q(z|x), the normal distribution that the encoder answers with"
            if z.mean(0).abs().max() < 0.3 and (z.std(0) - 1).abs().max() < 0.3:
                mark = "the draws come from the prior, which the stand-in q should replace"
            exam.fail(
                f"the z that were decoded have means {numbers(z.mean(0))} and spreads {numbers(z.std(0))}; "
                f"the centres of the images' q are {numbers(self.mu, 4)}",
                mark,
            )
        return out, torch.stack([z[owner == i] for i in range(n)], 1)

    def parts(self, z: Tensor) -> Parts:
        z, mu, std = z.double(), self.mu.double(), (0.5 * self.log_var).exp().double()
        with torch.no_grad():
            logits = self.model.decode(z.float()).double()
        self.asked.clear()
        x = self.x.double().expand_as(logits)
        return Parts(
            gaussian_log_likelihood(torch.zeros_like(z), z, 1.0),
            -bernoulli_each(logits, x).sum(-1),
            gaussian_log_likelihood(mu.expand_as(z), z, std),
            gaussian_log_likelihood(mu.expand_as(z), z, std.square()),
            gaussian_log_likelihood(z, z, std),
            kl_to_standard_normal(mu, self.log_var.double()),
            (logits.sigmoid() - x).square().sum(-1),
            self.pixels,
            self.d,
        )


@check("model x k", STAND_IN)
def importance_weighted_bound(exam: Exam) -> Report:
    """A function (model, x, k) -> (batch,): the log of the mean of k importance weights for each image.

    The model has what `vaebook.models.VAE` has: encode(x) -> mu and log_var, each (batch, d), and
    decode(z) -> logits. The k draws of each image come from its q(z|x), and each is decoded once.
    The values are compared at the draws that were decoded, exactly; the law of the draws is tested.
    False alarms: fewer than one call in 100,000.
    Checks: chapters 4.1, 4.2 and 4.5.
    """
    vae, calls = _FarApart(exam), []
    for k in (100, 5, 1):
        out, z = vae.ask(k)
        if k == 100:
            _law(exam, (z - vae.mu).double() / (0.5 * vae.log_var).exp())
        calls.append((out, vae.parts(z)))
    if torch.equal(vae.ask(5)[1], vae.ask(5)[1]):
        exam.fail("two calls made the same draws", SEED)
    exam.hold("draws from q")
    if not all(close(out, log_mean(p.weights)) for out, p in calls):
        out, parts = calls[1]
        seen = (
            f"for k = 5 your function gives {numbers(out)}; from the weights at the z that it decoded it "
            f"would be {numbers(log_mean(parts.weights))}"
        )
        for mark in WEIGHT_MARKS:
            if all(close(out, mark.makes(p), nan=True) for out, p in calls):
                exam.fail(seen, mark.text, mark.read)
        if not out.isfinite().all():
            exam.fail(seen, UNDERFLOW)
        one = close(calls[2][0], calls[2][1].weights[0])
        hint = ". For k = 1 it is right: look at what is done with several weights" if one else ""
        exam.fail(seen, UNKNOWN + hint)
    exam.hold("log of the mean weight")
    far = _FarApart(exam, surprise=150.0)
    out, z = far.ask(5)
    expected = log_mean(far.parts(z).weights)
    if not close(out, expected):
        seen = f"for images with log weights around {numbers(expected)} your function gives {numbers(out)}"
        if out.isfinite().all():
            exam.fail(
                seen,
                "sigmoid first, then the logarithm: the probability of a pixel is rounded or clamped. "
                "Logits are there to avoid that",
                REVENUE,
            )
        exam.fail(seen, ONE_FOR_ALL if out.isfinite().any() else UNDERFLOW)
    exam.hold("improbable images")


def _law(exam: Exam, noise: Tensor) -> None:
    """(z - mu) / std of all draws, (k, batch, d)."""
    k, batch, d = noise.shape
    if close(noise, noise[:1].expand_as(noise)):
        mark = "there is no noise: z is mu itself" if close(noise, 0 * noise) else "one draw is used k times"
        exam.fail(f"all {k} draws of an image are the same", mark)
    if close(noise, noise[:, :1].expand_as(noise)):
        exam.fail(
            "all images got the same noise",
            "the noise is shared across the batch: every image needs draws of its own",
        )
    if close(noise, noise[..., :1].expand_as(noise)):
        exam.fail(
            "all dimensions of a z got the same noise",
            "the noise is shared across latent dimensions: z moves on a line only",
        )
    columns = noise.reshape(k, batch * d)
    fits = p_normal(noise.flatten().cpu().numpy()) > 1e-7
    wide = (noise.square().mean() - 1).abs() > FAR * (2 / noise.numel()) ** 0.5
    if z_scores(columns, 0).abs().max() > FAR or wide or not fits:
        exam.fail(
            f"(z - mu) / σ of your z has mean {noise.mean():.3g} and standard deviation {noise.std():.3g}; "
            f"it lies between {noise.min():.3g} and {noise.max():.3g}",
            "the draws are not normal with mean mu and variance exp(log_var)",
        )
    if dependence(columns) > FAR:
        exam.fail(
            "draws of different images, dimensions or neighbours are correlated",
            "parts of the noise are shared or repeated",
        )


# --- predictions --------------------------------------------------------------------------------------------

predict_halved_noise = prediction(
    "predict_halved_noise",
    "before after",
    {
        "a": Option(
            "as many draws are needed as before",
            lambda before, after: 0.8 <= after / before < 1.25,
            "the prior makes the draws, and it has not changed. But a draw counts only where the likelihood "
            "is high, and that place is smaller now",
            DRAWS,
        ),
        "b": Option(
            "about twice as many are needed",
            lambda before, after: 1.25 <= after / before < 3,
            "the posterior is half as wide, which is true of each dimension. The draws have to hit it in all "
            "dimensions at once, and the shares multiply",
            HOW_MANY,
        ),
        "c": Option(
            "many times as many are needed",
            lambda before, after: after / before >= 3,
            "the need is expected to grow with what x tells about z, which holds where x tells about several "
            "dimensions; something else was measured",
            HOW_MANY,
        ),
        "d": Option(
            "fewer are needed",
            lambda before, after: after / before < 0.8,
            "less noise is thought to make an estimate less noisy. Here it makes the likelihood narrower, so "
            "most draws of the prior miss it",
            HOW_MANY,
        ),
    },
)
