"""Checks of the sheet of chapter 4.5: a whole VAE, what it learned, and a map of its latent plane.

A z-score is too large beyond 6 standard errors.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.optim.optimizer import register_optimizer_step_pre_hook

from vaebook import data, densities
from vaebook.checks.autoencoders import ROWS, Step, Watched, error
from vaebook.checks.base import UNKNOWN, Exam, Report, check, close, described, numbers, per_image
from vaebook.checks.draws import FAR, SEED, law
from vaebook.checks.formulas import BERNOULLI_MARKS, KL_MARKS
from vaebook.checks.places import CAN_DO, CUTS, GRAPHS, MOVE, NO_PRICE, PAGE, REGION, REVENUE, THREE_WAYS
from vaebook.evaluation import active_units

kl, bernoulli = densities.kl_to_standard_normal, densities.bernoulli_log_likelihood


def given_as(make: Callable[[Any], Callable]) -> Callable:
    """A check of something other than a function: `make` turns it into a function that the check can call."""

    def decorate(checked: Callable[..., Report]) -> Callable[..., Report]:
        @functools.wraps(checked)
        def given(answer: Any, *, device: torch.device | str = "cpu") -> Report:
            return checked(make(answer), device=device)

        del given.__wrapped__
        return given

    return decorate


# --- the whole VAE ------------------------------------------------------------------------------------------


def _maker(answer: Any) -> Any:
    """A function that makes a model, of a class; the class's lines are where its mistakes are looked for."""
    if isinstance(answer, nn.Module):
        kind = type(answer).__name__

        def instance(x_dim: int, z_dim: int) -> str:
            return f"the model {kind}"

        return instance
    if not inspect.isclass(answer):
        return answer

    def make(*given: int, **named: int) -> Any:
        return answer(*given, **named)

    make.__wrapped__ = answer.__init__
    return make


CENTRE = "an activation after the encoder's last layer: a centre may lie anywhere"
FIXED = (
    "a width is fixed in the code, such as 784 or 2, or two layers do not fit: x_dim and z_dim say how many"
)
STAYS = (
    "something does not go where the model goes: a layer that is kept in a Python list or made in a "
    "method, or a tensor that is made without the dtype and device of the others"
)


@given_as(_maker)
@check(
    "x_dim z_dim",
    PAGE,
    raised=[
        (r"before Module.__init__", "super().__init__() is missing, or comes after the first layer"),
        (r"cannot be multiplied|size mismatch|normalized_shape|invalid for input of size", FIXED),
        (
            r"must match the size of tensor",
            "two tensors of different shapes meet: both parts are summed over their last axis first",
        ),
        (r"same dtype|scalar type|same device|found dtype", STAYS),
        (r"between 0 and 1|parameter probs|argument probs", "the logits are taken for probabilities"),
        (r"values to unpack", "encode returns two tensors, mu and log_var, and nothing else"),
    ],
)
def vae(exam: Exam) -> Report:
    """A class, or a function (x_dim, z_dim) -> a model with the methods encode, decode and elbo.

    encode: x (batch, x_dim) -> mu and log_var of q(z|x), each (batch, z_dim). decode: z (batch, z_dim) -> the
    logits of p(x|z), (batch, x_dim). elbo: binary x (batch, x_dim) -> (batch,) nats per image, from one draw
    of z for each image; it calls encode and decode. The KL may be the closed form, or taken at the draw. A
    result of elbo with an attribute `value`, like the book's, is accepted.
    False alarms: fewer than one call in 100,000.
    Checks: chapter 4.5.
    """
    x_dim, z_dim = exam.integer(11, 15), 4
    model = exam.call(x_dim, z_dim)[0]
    if not isinstance(model, nn.Module):
        exam.fail(
            f"{described(model)}, and no model",
            "the class itself is asked for, its name without parentheses after it; and it must be an "
            "nn.Module, or its weights are not found, moved and trained",
        )
    for name in ("encode", "decode", "elbo"):
        if not callable(getattr(model, name, None)):
            exam.fail(
                f"the model has no method {name}", "encode, decode and elbo are asked for, by these names"
            )
    if not any(True for _ in model.parameters()):
        exam.fail(
            "the model has no parameters",
            "its layers are kept in a Python list, or made in a method: an optimizer finds what is an "
            "attribute of the model, or inside nn.Sequential and nn.ModuleList",
        )
    model.to(exam.device, exam.dtype).eval()
    _networks(exam, model, x_dim, z_dim)
    at_draw = _value(exam, model, x_dim, z_dim)
    _draw(exam, model, x_dim, z_dim)
    _ways_back(exam, model, x_dim, z_dim, at_draw)


def _encoded(exam: Exam, model: nn.Module, x: Tensor, z_dim: int) -> tuple[Tensor, Tensor]:
    out = exam.guarded(model.encode, (x,), f"in encode, on x {described(x)}")
    if isinstance(out, Tensor) and out.shape[-1] == 2 * z_dim:
        exam.fail(
            f"encode returned one tensor of shape {tuple(out.shape)}",
            "mu and log_var in one tensor: cut it in two, each (batch, z_dim)",
        )
    if not (isinstance(out, tuple | list) and len(out) == 2):
        exam.fail(
            f"encode returned {described(out)}, of type {type(out).__name__}",
            "two tensors are asked for, mu and log_var",
        )
    shapes = {
        (len(x), 2 * z_dim): "twice as many numbers as latent dimensions",
        (z_dim,): "the batch is lost",
    }
    mu, log_var = (exam.tensor(part, (len(x), z_dim), shapes) for part in out)
    return mu, log_var


def _decoded(exam: Exam, model: nn.Module, z: Tensor, x_dim: int) -> Tensor:
    out = exam.guarded(model.decode, (z,), f"in decode, on z {described(z)}")
    return exam.tensor(out, (len(z), x_dim), {(x_dim,): "the batch is lost"})


def _networks(exam: Exam, model: nn.Module, x_dim: int, z_dim: int) -> None:
    """Shapes; what the outputs may be, over many weights; each row for itself."""
    mus, log_vars, logits = [], [], []
    # An output that may have either sign has one sign in all of them with probability 2^-29. Some weights are
    # large, so that an output without a limit exceeds 1, whatever factor stands before it.
    for size in (*[100.0] * 10, *[1.0] * 20):
        with torch.no_grad():
            for weight in model.parameters():
                scale = (2 / weight.shape[-1]) ** 0.5 if weight.dim() > 1 else 0.5
                weight.copy_(size * scale * exam.randn(*weight.shape))
            x, z = exam.bits(8, x_dim), 2 * exam.randn(8, z_dim)
            mu, log_var = _encoded(exam, model, x, z_dim)
            mus.append(mu), log_vars.append(log_var), logits.append(_decoded(exam, model, z, x_dim))
    for name, outs, mark, read in (
        ("mu", mus, CENTRE, REGION),
        (
            "log_var",
            log_vars,
            "an activation after the encoder's last layer: no region can be narrow, or wide",
            REGION,
        ),
        ("decode", logits, "an activation after the decoder's last layer: no pixel can be sure", REVENUE),
    ):
        low, high = torch.stack(outs).aminmax()
        if low >= -1 and low < 0 < high <= 1:
            exam.fail(
                f"{name} never leaves the interval from -1 to 1, for {len(outs)} choices of the weights",
                mark,
                read,
            )
    for name, outs, mark in (
        ("mu", mus, CENTRE),
        (
            "log_var",
            log_vars,
            "a standard deviation, a variance, or an activation after the last layer: the logarithm of a "
            "variance may be any number, and is negative where the region is narrower than the prior",
        ),
    ):
        low = torch.stack(outs)
        if (low >= 0).all() and low.any():
            exam.fail(f"{name} is never negative, for {len(outs)} choices of the weights", mark, REGION)
    low, high = (torch.stack(logits).aminmax()) if logits else (None, None)
    if low >= 0 and high > 0:
        probabilities = "probabilities: there is a sigmoid in decode, and logits are asked for"
        mark = (
            probabilities if high <= 1 else "an activation after the decoder's last layer: logits have a sign"
        )
        exam.fail(
            f"decode answers with numbers from {low:.3g} to {high:.3g}, whatever the weights", mark, REVENUE
        )
    rows = [
        torch.cat(part) for part in zip(*(_encoded(exam, model, row[None], z_dim) for row in x), strict=True)
    ]
    rows.append(torch.cat([_decoded(exam, model, row[None], x_dim) for row in z]))
    for name, one, all_ in zip(("encode", "encode", "decode"), rows, (mu, log_var, logits[-1]), strict=True):
        if not close(one, all_):
            exam.fail(
                f"{name} answers otherwise for a row alone than for the same row in a batch",
                "the images of a batch influence each other (or there are draws in it)",
            )
    exam.hold("encode and decode")


def _run(
    exam: Exam, model: nn.Module, x: Tensor, mu: Tensor, log_var: Tensor, decode
) -> tuple[Tensor, Tensor]:
    """elbo(x) where encode and decode give these answers; and the z that was decoded."""
    encoded, asked = [], []

    def encode(*_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        encoded.append(True)
        return mu, log_var

    def decoding(z: Any, *_: Any, **__: Any) -> Tensor:
        if not isinstance(z, Tensor) or z.shape != mu.shape:
            mark = "each image has a z of its own, with a number for each latent dimension"
            exam.fail(f"elbo decoded {described(z)}, where mu has the shape {tuple(mu.shape)}", mark, MOVE)
        if not z.isfinite().all():
            mark = "a root or logarithm of log_var, which is negative where the standard deviation is below 1"
            exam.fail(f"elbo decoded a z of {numbers(z[~z.isfinite()])}", mark, MOVE)
        asked.append(z)
        return decode(z)

    # Past nn.Module, which would refuse them where a layer has this name.
    object.__setattr__(model, "encode", encode)
    object.__setattr__(model, "decode", decoding)
    try:
        out = exam.guarded(model.elbo, (x,), f"in elbo, on x {described(x)}")
    finally:
        object.__delattr__(model, "encode")
        object.__delattr__(model, "decode")
    if not encoded or len(asked) != 1:
        exam.fail(
            f"elbo called encode {len(encoded)} times and decode {len(asked)} times",
            "one draw of z for each image, and one answer of the decoder to it, by these two methods",
        )
    shapes = per_image(x, "pixels") | per_image(mu, "latent dimensions")
    return exam.tensor(getattr(out, "value", out), (len(x),), shapes), asked[0]


def _log_ratio(mu: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
    """log q(z|x) - log p(z), whose mean under q is the KL."""
    return (Normal(mu, (0.5 * log_var).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)


def _value(exam: Exam, model: nn.Module, x_dim: int, z_dim: int) -> bool:
    """The ELBO's two parts, at chosen answers of the two networks; whether its KL is taken at the draw."""
    outs, parts = [], []
    for batch in (6, 7, 1):
        mu, log_var, logits = exam.randn(batch, z_dim), exam.randn(batch, z_dim), 2 * exam.randn(batch, x_dim)
        x = exam.bits(batch, x_dim)
        out, z = _run(exam, model, x, mu, log_var, lambda z, logits=logits: logits)
        outs.append(out.detach())
        parts.append(
            (
                bernoulli(logits, x),
                kl(mu, log_var),
                _log_ratio(mu, log_var, z.detach()),
                logits,
                x,
                mu,
                log_var,
            )
        )

    def all_close(right: Callable[..., Tensor]) -> bool:
        return all(close(out, right(*part), nan=True) for out, part in zip(outs, parts, strict=True))

    at_draw = all_close(lambda r, k, ratio, *_: r - ratio)
    if not at_draw and not all_close(lambda r, k, *_: r - k):
        r, k = parts[0][:2]
        seen = f"{numbers(outs[0])} from elbo, where reconstruction minus KL is {numbers(r - k)}"
        for text, makes in (
            ("the sign: this is -ELBO, the loss, and elbo is asked for", lambda r, k, *_: k - r),
            ("the KL is added, where it is a cost", lambda r, k, *_: r + k),
            ("the KL is missing: this is the reconstruction alone", lambda r, k, *_: r),
            ("minus the KL alone: the reconstruction is missing", lambda r, k, *_: -k),
            (
                "both parts are averaged: over pixels, and over latent dimensions",
                lambda r, k, *_: r / x_dim - k / z_dim,
            ),
            ("q and p are swapped in the KL at the draw", lambda r, k, ratio, *_: r + ratio),
            ("the KL of all images is taken from each of them", lambda r, k, *_: r - k.sum()),
            ("the mean KL of all images is taken from each of them", lambda r, k, *_: r - k.mean()),
            ("every image has the reconstruction of all of them", lambda r, k, *_: r.sum() - k),
            ("every image has the mean reconstruction of all of them", lambda r, k, *_: r.mean() - k),
            (
                "the reconstruction is one mean over all pixels of all images, as "
                "F.binary_cross_entropy_with_logits makes it if no reduction is named: each "
                "image needs its own sum over its pixels",
                lambda r, k, *_: r.mean() / x_dim - k,
            ),
        ):
            if all_close(makes):
                exam.fail(seen, text, THREE_WAYS)
        for mark in KL_MARKS:
            if all_close(lambda r, k, ratio, logits, x, mu, v, mark=mark: r - mark.makes(mu, v)):
                exam.fail(seen, "in the KL: " + mark.text, mark.read or THREE_WAYS)
        for mark in BERNOULLI_MARKS:
            if all_close(lambda r, k, ratio, logits, x, *_, mark=mark: mark.makes(logits, x) - k):
                exam.fail(seen, "in the reconstruction: " + mark.text, mark.read or REVENUE)
        exam.fail(seen, UNKNOWN)
    far = 150 * (2 * exam.bits(6, x_dim) - 1)
    x, mu = exam.bits(6, x_dim), exam.randn(6, z_dim)
    log_var = 0 * mu
    out, z = _run(exam, model, x, mu, log_var, lambda z: far)
    expected = bernoulli(far, x) - (_log_ratio(mu, log_var, z.detach()) if at_draw else kl(mu, log_var))
    if not (out / expected - 1).abs().max() < 1e-2:
        exam.fail(
            f"for logits of 150 and -150 elbo gives {numbers(out)}, where it is {numbers(expected)}",
            "sigmoid first, then the logarithm: a probability is rounded to 0 or 1, or clamped",
            REVENUE,
        )
    exam.hold("reconstruction minus KL, for each image")
    return at_draw


def _draw(exam: Exam, model: nn.Module, x_dim: int, z_dim: int) -> None:
    """The z that is decoded: fresh, and with the law of q."""

    def draw(mu: Tensor, log_var: Tensor) -> Tensor:
        x = exam.bits(len(mu), x_dim)
        return _run(exam, model, x, mu, log_var, lambda z: torch.zeros_like(x) + 0 * z.sum())[1].detach()

    mu, log_var = 2 * exam.randn(6, z_dim), exam.randn(6, z_dim)
    one, two = draw(mu, log_var), draw(mu, log_var)
    if torch.equal(one, two):
        if not close(one, mu):
            exam.fail(f"two calls of elbo made the same draw: {numbers(one)}", SEED, MOVE)
        model.train()
        if not close(draw(mu, log_var), mu):
            exam.fail(
                "in evaluation mode z is mu; in training mode it is drawn",
                "what elbo returns after model.eval() is no ELBO: its mean is taken under q, at new images "
                "too",
                THREE_WAYS,
            )
        exam.fail("the z that is decoded is mu itself", "there is no noise: a point, and not a region", MOVE)
    far = draw(0 * mu + 1000, 0 * mu + 10)  # a standard deviation of 148
    if far.abs().max() < 20:
        exam.fail(
            f"for mu = 1000 and log_var = 10 the z that is decoded is {numbers(far)}",
            "z is drawn from the prior, and neither mu nor log_var has a part in it",
            MOVE,
        )
    law(exam, draw)


def _ways_back(exam: Exam, model: nn.Module, x_dim: int, z_dim: int, at_draw: bool) -> None:
    """The gradient of elbo in the encoder's answers, at the draw that was made, and in the weights."""
    mu, log_var = (exam.randn(6, z_dim).requires_grad_() for _ in range(2))
    weights, x = exam.randn(z_dim, x_dim), exam.bits(6, x_dim)
    out, z = _run(exam, model, x, mu, log_var, lambda z: z @ weights)

    def slopes(value: Tensor) -> list[Tensor]:
        return torch.autograd.grad(
            value.sum(), (mu, log_var), allow_unused=True, materialize_grads=True, retain_graph=True
        )

    cut = ".sample(), .detach(), .data, .item() or torch.no_grad()"
    if not out.requires_grad:
        exam.fail("elbo has no gradient", f"every way back is cut, by {cut}", GRAPHS)
    mine = exam.guarded(slopes, (out,), "when elbo was differentiated")
    eps = ((z - mu) / (0.5 * log_var).exp()).detach()
    at = mu + (0.5 * log_var).exp() * eps
    earned = slopes(bernoulli(at @ weights, x))
    paid = slopes(_log_ratio(mu, log_var, at) if at_draw else kl(mu, log_var))
    for name, seen, r, k in zip(("mu", "log_var"), mine, earned, paid, strict=True):
        if close(seen, r - k):
            continue
        text = f"the gradient of elbo in {name} is {numbers(seen)}, where it is {numbers(r - k)} at this draw"
        if close(seen, -k):
            exam.fail(
                text,
                f"it is that of minus the KL alone: the draw cuts the way back to {name}, by {cut}. The "
                "encoder will follow the KL, and switch its latent dimensions off",
                CUTS,
            )
        if close(seen, r):
            exam.fail(text, f"it is that of the reconstruction alone: the KL's is cut, by {cut}", NO_PRICE)
        exam.fail(text, f"{UNKNOWN}; a part of the way back is cut, or gone twice", GRAPHS)
    value = exam.guarded(model.elbo, (exam.bits(6, x_dim),), "in elbo")
    value = getattr(value, "value", value).sum()
    for name, answer in (("encode", model.encode(x)), ("decode", (model.decode(exam.randn(6, z_dim)),))):
        answer = sum(part.sum() for part in answer)
        if not answer.requires_grad:
            exam.fail(f"what {name} answers has no gradient in any weight", f"it is cut, by {cut}", GRAPHS)
    used = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    if not any(slope is not None and slope.any() for slope in used):
        exam.fail("elbo has no gradient in any weight", f"every way back is cut, by {cut}", GRAPHS)
    exam.hold("gradients")


# --- the loop -----------------------------------------------------------------------------------------------


class Shown(Watched):
    """A model whose ELBO is cheap, and which notes the images that it is asked for."""

    def elbo(self, x: Tensor) -> Tensor:
        return -error(self(x), x)


@check("model x epochs", PAGE, seconds=60.0)
def train_loop(exam: Exam) -> Report:
    """A function (model, x, epochs): training on -elbo, in mini-batches, one step for each batch.

    model.elbo(x) is (batch,), x (n, pixels). Every epoch shows every image once, in an order of its own. What
    the function returns, its batches, optimizer and rate are free.
    False alarms: fewer than one call in a billion (two equal random orders).
    Checks: chapter 4.5.
    """
    n, pixels, epochs = exam.integer(1030, 1090), 12, 2
    codes = torch.randperm(2**pixels, generator=exam.generator)[:n, None]
    x = (codes >> torch.arange(pixels) & 1).to(exam.device, exam.dtype)  # no two rows are alike
    model = Shown(pixels).to(exam.device, exam.dtype)
    before, steps, optimizers = model.flat(), [], []

    def note(optimizer: torch.optim.Optimizer, given: tuple, named: dict) -> tuple[tuple, dict] | None:
        if optimizer not in optimizers:
            optimizers.append(optimizer)
        upwards = optimizer.param_groups[0].get("maximize", False)

        def found() -> None:
            asked = len(model.shown)
            steps.append(Step(model, x, exam))
            steps[-1].asked, steps[-1].upwards = asked, upwards

        closure = named.get("closure", given[1] if len(given) > 1 else None)
        if closure is None:
            return found()
        first = len(steps)

        def watched() -> Any:
            value = closure()
            found() if len(steps) == first else model.shown.clear()
            return value

        return (optimizer, watched), {}

    handle = register_optimizer_step_pre_hook(note)
    try:
        exam.call(model, x, epochs)
    finally:
        handle.remove()
    if not steps and model.shown and not torch.equal(before, model.flat()):  # steps by hand
        for batch in list(model.shown):
            model.shown = [batch]
            steps.append(Step(model, x, exam))
            steps[-1].grad, steps[-1].asked = None, 1
    elif not steps:
        mark = "step() is never called" if model.shown else "elbo is never asked for, inside the loop"
        exam.fail("no step was made", mark)
    _shown(exam, steps, n, epochs)
    if optimizers:
        _along(exam, model, x, steps)
        if torch.equal(before, model.flat()):
            exam.fail(
                f"after {len(steps)} steps no weight was changed",
                "the rate is 0, or the optimizer holds other weights than the model's",
            )
    if len(optimizers) > epochs and any(optimizer.state for optimizer in optimizers):
        exam.fail(
            f"{len(optimizers)} optimizers made the {len(steps)} steps",
            "a new optimizer for each step: what it remembers of earlier steps, as Adam does, is lost. It is "
            "made once, before the loop",
        )
    exam.hold("one step for each batch")


def _shown(exam: Exam, steps: list[Step], n: int, epochs: int) -> None:
    order, size = [row for step in steps for row in step.rows], len(steps[0].rows)
    used = len(set(order))
    seen = f"{epochs} epochs of {n} images: {len(order)} shown in {len(steps)} steps, {used} different ones"
    if len(order) != epochs * n:
        mark = f"{ROWS} (an ELBO that is only printed is computed under torch.no_grad())"
        if len(order) == n == used:
            mark = "one epoch, whatever `epochs` says"
        elif size and len(order) == epochs * (n - n % size):
            mark = "the last batch of an epoch, which is smaller, is left out"
        elif used < n:
            mark = f"images are left out, or drawn anew for each batch: {ROWS}"
        exam.fail(seen, mark)
    rounds = [order[i : i + n] for i in range(0, len(order), n)]
    if any(len(set(rows)) < n for rows in rounds):
        exam.fail(seen, f"some images come twice in an epoch, and some not at all: {ROWS}")
    if len(steps) <= epochs:
        if steps[0].asked > 1:
            exam.fail(
                f"{seen}, in {steps[0].asked} batches before the first step",
                "step() is called once an epoch: it stands outside the loop over batches, by its indentation",
            )
        exam.fail(seen, "all images are one batch: that makes one step an epoch")
    if rounds[0] == sorted(order[:n]):
        exam.fail(seen, "nothing is shuffled: the images come in the order in which they stand")
    if rounds[0] == rounds[1]:
        exam.fail(
            seen, "every epoch has the same order: a seed is set inside, or the order is made before the loop"
        )
    if size > 1 and all(max(step.rows) - min(step.rows) < len(step.rows) for step in steps):
        exam.fail(
            f"{seen}; each batch was a block of neighbouring rows of x",
            "the batches are shuffled, and not the images: the same images always go together",
        )
    exam.hold("every image once an epoch, in a new order")


def _along(exam: Exam, model: Shown, x: Tensor, steps: list[Step]) -> None:
    """The first steps go down the gradient of the mean of -elbo over their batch, however far."""

    def along(grad: Tensor, right: Tensor) -> float:
        return torch.cosine_similarity(grad, right, dim=0).item()

    last = None
    for i, step in enumerate(steps[:6]):
        if step.grad is None:
            exam.fail(
                f"at step {i + 1} there was no gradient",
                "step() comes before backward(), or the gradients are zeroed between the two",
            )
        right, _ = model.slope(step.at, x[step.rows])
        if step.upwards:
            right = -right
        if along(step.grad, right) < -0.999:
            exam.fail(
                f"step {i + 1} lowers elbo",
                "downhill: with maximize=True an optimizer raises its objective, so that is the ELBO itself"
                if step.upwards
                else "uphill: an optimizer minimises, so its loss is minus the ELBO",
            )
        if along(step.grad, right) < 0.9999:
            exam.fail(
                f"step {i + 1} does not go along the gradient of -elbo of its batch",
                "gradients are not zeroed: backward() adds to what is there"
                if last is not None and along(step.grad - last, right) > 0.999
                else "another loss, or an old gradient",
            )
        last = step.grad
    exam.hold("downhill, with zeroed gradients")


# --- what it has learned ------------------------------------------------------------------------------------


HIGH = 6.0  # nats of KL that a latent dimension does not earn in a few epochs


def short(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1e5 else f"{value:.0e}"


@given_as(lambda answer: lambda: answer)
@check("", PAGE, seconds=30)
def trained_vae(exam: Exam) -> Report:
    """A trained model with the methods encode and decode of `vae`: what it says of images that it never saw.

    The ELBO of held-out images, with thresholded pixels, is estimated from encode and decode alone. It must
    be 20 nats per image or more, and more than 6 standard errors, above what the pixel frequencies of the
    training images give. The report shows the KL of each latent dimension.
    False alarms: fewer than one call in 100,000, for a model that is clearly above.
    Checks: chapter 4.5.
    """
    model = exam.call()[0]
    if not isinstance(model, nn.Module) or not next(iter(model.parameters()), None) is not None:
        exam.fail(f"{described(model)}, and no model", "the trained model itself is asked for")
    exam.device = next(model.parameters()).device
    images = data.load(device=exam.device)
    train, test = data.binarize(images.train), data.binarize(images.test[:1000])
    pixels = ((train.sum(0) + 1) / (len(train) + 2)).logit()
    was_training = model.training
    try:
        model.eval()
        with torch.no_grad():
            old, new = (_judged(exam, model, x, pixels) for x in (train[:1000], test))
    finally:
        model.train(was_training)
    gain, error = new["gain"].mean().item(), (new["gain"].std() / len(test) ** 0.5).item()
    elbo, base = (new["drawn"] - new["kl"]).mean().item(), new["base"].mean().item()
    drawn, centre, cost = (new[name].mean().item() for name in ("drawn", "centre", "kl"))
    seen = (
        f"held-out ELBO {short(elbo)} ± {short(error)} nats per image, reconstruction {short(drawn)} minus "
        f"KL {short(cost)}; a fixed probability for each pixel, without any latent variable, has {base:.1f}"
    )
    if not math.isfinite(elbo):
        exam.fail(
            seen,
            "training ran away: the loss is the ELBO and not minus it, or the rate is too high. Look at the "
            "loss while it trains",
        )
    seldom = old["gain"].mean().item() - gain
    if drawn > base + 20 and cost > HIGH * len(new["each"]):
        exam.fail(
            seen,
            "the codes cost more than they earn: the KL is not in the loss, or has too low a price",
            NO_PRICE,
        )
    if gain < max(20.0, FAR * error):
        if new["low"] >= 0 and new["high"] <= 1:
            exam.fail(seen, "decode answers with probabilities, where the logits are asked for", REVENUE)
        if elbo < -1000:
            exam.fail(
                seen,
                "far below what an untrained model has, some 550 nats below 0: the loop climbs down. An "
                "optimizer minimises, so its loss is minus the ELBO (or the rate is far too high)",
            )
        if centre < base - 50:
            exam.fail(
                seen,
                "it has hardly been trained, at z = mu too: no step was made, far too few, or the rate is "
                "far off",
            )
        if centre > base + 20 and drawn < 0.5 * (centre + base):
            exam.fail(
                f"{seen}. At z = mu, and not drawn, the reconstruction is {centre:.1f}",
                "only the centres were trained: the decoder does not know the regions around them",
                REGION,
            )
        if cost < 1:
            exam.fail(
                seen,
                "the latent dimensions are asleep: q is nearly the prior for every image, and the decoder "
                "answers with the same average. The draw cuts the gradient, or the KL has too high a price",
                CUTS,
            )
        if 0.9 < new["reach"] <= 1:
            exam.fail(f"{seen}; mu lies between -1 and 1, for every image", CENTRE, REGION)
        exam.fail(
            seen,
            "it learns, but made too few or too small steps: smaller batches (4,000 images in batches of 64 "
            "are 63 steps an epoch), or a higher rate (for Adam a few 1e-3). If the loss is not the mean of "
            "-elbo over the batch, or gradients are not zeroed, look there first",
        )
    both = ((new["gain"].var() + old["gain"].var()) / len(test)).sqrt().item()
    if -seldom > max(5.0, FAR * both):
        exam.fail(
            f"the test images are {-seldom:.1f} nats better than training images, each over pixel "
            "frequencies",
            "the test images were trained on: what is measured on them then says nothing of new images",
        )
    exam.hold(f"held-out ELBO {elbo:.1f} ± {error:.1f} nats per image, {gain:.1f} above pixel frequencies")
    each, used = new["each"], int(new["active"].sum())
    exam.hold(
        f"KL {cost:.1f} nats, by dimension {numbers(each, 16)}; {used} of {len(each)} dimensions in use"
    )


def _judged(exam: Exam, model: nn.Module, x: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    """For each image: the reconstruction at draws and at mu, the KL, the gain over pixel frequencies."""
    out = exam.guarded(model.encode, (x,), f"in encode, on x {described(x)}")
    if not (isinstance(out, tuple | list) and len(out) == 2 and isinstance(out[0], Tensor)):
        exam.fail(f"encode returned {described(out)}", "two tensors are asked for, mu and log_var")
    mu, log_var = (exam.tensor(part, (len(x), out[0].shape[-1]), {}) for part in out)
    draws = [mu + (0.5 * log_var).exp() * exam.randn(*mu.shape).to(mu.dtype) for _ in range(4)]
    logits = [_decoded(exam, model, z, x.shape[1]) for z in (mu, *draws)]
    centre, *drawn = (bernoulli(part, x.to(part.dtype)).cpu().double() for part in logits)
    each = 0.5 * (mu.square() + log_var.exp() - 1 - log_var).cpu().double()
    drawn, cost = torch.stack(drawn).mean(0), each.sum(1)
    base = bernoulli(pixels.expand_as(x), x).cpu().double()
    return {
        "drawn": drawn,
        "centre": centre,
        "kl": cost,
        "each": each.mean(0),
        "active": active_units(mu),
        "reach": mu.abs().max(),
        "base": base,
        "gain": drawn - cost - base,
        "low": min(part.min() for part in logits),
        "high": max(part.max() for part in logits),
    }


# --- a map of the latent plane ------------------------------------------------------------------------------


@check("n", CAN_DO)
def quantile_grid(exam: Exam) -> Report:
    """A function (n) -> (n n, 2), a grid of z in equal steps of probability: quantiles of N(0, 1), paired.

    Each coordinate runs through n quantiles, from as much below as above the middle; no more than a share of
    1 / n of the prior lies beyond either end. The points may come in any order.
    False alarms: none but by rounding.
    Checks: chapter 4.5.
    """
    for n in (exam.integer(5, 9), 30):
        shapes = {
            (
                n,
                n,
                2,
            ): "rows of rows: every point is one row of the result, so that a decoder can take them all",
            (2, n * n): "the points are columns: every point is one row",
            (2, n, n): "two tables: every point is one row of two numbers",
            (n, 2): "the diagonal only: each value of one coordinate is paired with every value of the other",
            (n,): "the values of one coordinate: the grid pairs each with every value of the other",
        }
        out = exam.call(n)[0]
        if isinstance(out, Tensor):
            exam.device = out.device  # nothing that was given says where the points should lie
        points = exam.tensor(out, (n * n, 2), shapes).detach().cpu().double()
        if not points.isfinite().all():
            exam.fail(
                f"for n = {n} there are points at {numbers(points[~points.isfinite()])}",
                "the quantiles of 0 and 1 are infinite: a normal distribution has no end. Keep away from "
                "both",
            )
        if not close(points, exam.tensor(exam.call(n)[0], (n * n, 2), {})):
            exam.fail("two calls gave different points", "drawn from the prior, and not laid out as a grid")
        for column in points.T:
            _quantiles(exam, column, n)
        if len(points.mul(1e4).round().unique(dim=0)) < n * n:
            exam.fail(
                f"for n = {n} some points come twice, and some pairs never",
                "each value of one coordinate is paired with every value of the other, once",
            )
    exam.hold(f"equal steps of probability, from {-points.max():.2f} to {points.max():.2f} for n = {n}")


def _quantiles(exam: Exam, column: Tensor, n: int) -> None:
    values = column.mul(1e4).round().unique() / 1e4
    if len(values) != n:
        exam.fail(
            f"a coordinate takes {len(values)} values, where n = {n}", "each coordinate runs through n values"
        )
    low, high = values[0].item(), values[-1].item()
    below = Normal(0.0, 1.0).cdf(values)
    seen = (
        f"for n = {n} a coordinate runs from {low:.3g} to {high:.3g}; inside such a grid lie "
        f"{(below[-1] - below[0]).item() ** 2:.0%} of the prior's draws"
    )
    if not _even(below):
        if low >= 0 and high <= 1:
            exam.fail(
                seen,
                "the probabilities themselves: these are asked for their quantiles"
                if _even(values)
                else "cdf makes probabilities of values: the way back is asked for",
            )
        if _even(values):
            exam.fail(
                seen,
                "equal steps in z, and not in probability: too few points where the prior has its mass, or a "
                "part of the prior that is never seen",
            )
        exam.fail(seen, f"{UNKNOWN}; the steps are not equal in probability")
    if abs(below[0] + below[-1] - 1) > 0.01:
        exam.fail(
            seen, "one side of the prior is seen, and the other less: as far below the middle as above it"
        )
    if below[0] > 1 / n + 1e-3:
        exam.fail(
            f"{seen}; {below[0]:.0%} lie beyond either end of a coordinate",
            "too much of the prior is left out: more than one step at each end",
        )


def _even(values: Tensor) -> bool:
    steps = values.diff()
    return bool(((steps / steps.mean() - 1).abs() < 0.02).all())
