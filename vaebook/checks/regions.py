"""Checks of the sheet of chapter 3: networks that answer with a region, and all regions together."""

import torch
from torch import Tensor, nn

from vaebook.checks.base import Exam, Mark, Option, Report, check, close, described, numbers, prediction
from vaebook.checks.places import LATENT, NEW, REGION, TOGETHER, TWO_TERMS

SQUEEZED = "an axis disappeared: squeeze() removes every axis of length 1"


# --- the networks -------------------------------------------------------------------------------------------


@check(
    "x_dim z_dim",
    REGION,
    raised=[
        (
            "cannot be multiplied|is invalid for input of size",
            "layers do not fit: a size stands there as a number, or belongs elsewhere",
        ),
        ("before Module.__init__", "super().__init__() must come before the first layer"),
        ("has no attribute", "a name is used that __init__ did not set, or misspelt"),
    ],
)
def vae_networks(exam: Exam) -> Report:
    """A class VAE(x_dim, z_dim) of networks: encode and decode. Both arguments have defaults.

    encode: x (batch, x_dim) -> mu and log_var, each (batch, z_dim). decode: z (batch, z_dim) -> the logits of
    the pixels, (batch, x_dim). The check makes networks of its own sizes, and draws their weights anew.
    False alarms: fewer than one call in 100,000.
    Checks: chapter 3.
    """
    answer = type(exam.answer) if isinstance(exam.answer, nn.Module) else exam.answer
    for x_dim, z_dim in ((exam.integer(11, 15), 4), (exam.integer(6, 9), 1)):
        exam.answer, exam.parameters = answer, ["x_dim", "z_dim"]
        model = exam.call(x_dim, z_dim)[0]
        if not isinstance(model, nn.Module):
            exam.fail(f"no network, but {described(model)}", "the class must be an nn.Module")
        for name in ("encode", "decode"):
            if not callable(getattr(model, name, None)):
                exam.fail(f"the network has no method {name}", "a VAE has two parts: encode and decode")
        model.to(exam.device).eval()  # without dropout, and without the statistics of a batch
        _parameters(exam, model, x_dim, z_dim)
        _shapes(exam, model, x_dim, z_dim)
        _values(exam, model, x_dim, z_dim)
    exam.hold("a region for each image")
    exam.hold("every layer used")
    exam.hold("no value out of reach")


def _encode(exam: Exam, model: nn.Module, x: Tensor, z_dim: int) -> list[Tensor]:
    exam.answer, exam.parameters = model.encode, ["x"]
    out, n = exam.call(x)[0], len(x)
    if isinstance(out, Tensor) and tuple(out.shape) == (2, n, z_dim):
        out = tuple(out)
    if isinstance(out, Tensor):
        exam.fail(
            f"encode returned one tensor of shape {tuple(out.shape)}",
            "a point: a region has a centre and a width, mu and log_var"
            if tuple(out.shape) == (n, z_dim)
            else "mu and log_var are two tensors, and should be returned as two",
        )
    if not isinstance(out, tuple | list) or len(out) != 2:
        what = f"{len(out)} things" if isinstance(out, tuple | list) else described(out)
        exam.fail(f"encode returned {what}", "it returns two things, mu and log_var, and nothing else")
    shapes = {
        (n, z_dim // 2): "z_dim numbers were divided between mu and log_var; each of them has z_dim",
        (n // 2, 2 * z_dim): "the images were divided in two halves, and not the numbers of each image",
        (n, 2 * z_dim): "each has twice the latent dimensions: the last layer is not divided",
        (n,): SQUEEZED,
        (n, 1): "one number for each image, and not one for each latent dimension",
        (z_dim,): SQUEEZED if n == 1 else "one for all images: each has a mu and a log_var of its own",
    }
    return [exam.tensor(part, (n, z_dim), shapes) for part in out]


def _decode(exam: Exam, model: nn.Module, z: Tensor, x_dim: int) -> Tensor:
    exam.answer, exam.parameters = model.decode, ["z"]
    return exam.tensor(exam.call(z)[0], (len(z), x_dim), {})


def _shapes(exam: Exam, model: nn.Module, x_dim: int, z_dim: int) -> None:
    for n in (6, 1):
        x, z = exam.bits(n, x_dim).float(), exam.randn(n, z_dim).float()
        once = [*_encode(exam, model, x, z_dim), _decode(exam, model, z, x_dim)]
        again = [*_encode(exam, model, x, z_dim), _decode(exam, model, z, x_dim)]
        if not all(map(close, once, again)):
            exam.fail(
                "two calls with the same input differ",
                "something is drawn inside: encode says where and how wide, and the draw comes after it",
            )
        alone = [*_encode(exam, model, x[:1], z_dim), _decode(exam, model, z[:1], x_dim)]
        if not all(close(part[:1], one) for part, one in zip(once, alone, strict=True)):
            exam.fail(
                "an image alone gets another answer than in a batch",
                "images are mixed: a mean, a softmax or a reshape runs over the batch",
            )


def _parameters(exam: Exam, model: nn.Module, x_dim: int, z_dim: int) -> None:
    """The numbers that the results depend on are the parameters of the network."""
    mu, log_var = _encode(exam, model, exam.bits(6, x_dim).float(), z_dim)
    logits = _decode(exam, model, exam.randn(6, z_dim).float(), x_dim)
    known = {id(p): name for name, p in model.named_parameters()}
    reached = {id(p) for out in (mu, log_var, logits) for p in _leaves(out)}
    if reached - known.keys():
        exam.fail(
            "results depend on numbers that model.parameters() does not list",
            "layers in a Python list or dict, or made anew at each call, are unknown to the network, and to "
            "the optimizer: nn.Sequential and nn.ModuleList make them known",
            TWO_TERMS,
        )
    for name, out in (("mu", mu), ("log_var", log_var), ("decode", logits)):
        if not _leaves(out):
            exam.fail(
                f"{name} depends on no parameter",
                "the gradient is cut (.detach(), .data, torch.no_grad()), or no layer stands in the way",
            )
    if unused := [known[key] for key in known.keys() - reached]:
        exam.fail(
            f"nothing depends on the parameters {', '.join(sorted(unused))[:80]}",
            "a layer that is made and not used, or one that another hides, or a gradient that is cut",
        )


def _leaves(out: Tensor) -> list[Tensor]:
    """The tensors that a gradient of `out` would reach."""
    seen, todo = set(), [out.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [parent for parent, _ in node.next_functions]
    return [node.variable for node in seen if hasattr(node, "variable")]


def _values(exam: Exam, model: nn.Module, x_dim: int, z_dim: int) -> None:
    """Over many draws of all weights: mu, log_var and logits may be any number, and depend on the input."""
    rows, far = [], []
    for _ in range(25):
        with torch.no_grad():
            for p in model.parameters():
                fan_in = p[0].numel() if p.dim() else 1
                p.copy_(3 * exam.randn(*p.shape) / fan_in**0.5)
        x, z = exam.bits(20, x_dim).float(), 3 * exam.randn(20, z_dim).float()
        rows.append([*_encode(exam, model, x, z_dim), _decode(exam, model, z, x_dim)])
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1e6)
        far.append([*_encode(exam, model, x, z_dim), _decode(exam, model, z, x_dim)])
    mu, log_var, logits = (torch.stack(parts).detach() for parts in zip(*rows, strict=True))
    if close(mu, log_var):
        exam.fail(
            f"mu and log_var are the same numbers: {numbers(mu)}",
            "one head for both: a centre says nothing about a width",
        )
    negative = "a ReLU, softplus or exp ends it, or it is a variance: log_var is below 0 where σ < 1"
    cases = (
        ("mu", mu, "a ReLU, sigmoid or softplus ends it, and half of the space is out of reach", REGION, 12),
        ("log_var", log_var, negative, REGION, 9),  # a clamp at ±10, as some put there, takes no width away
        (
            "the result of decode",
            logits,
            "a sigmoid or a ReLU ends it: a logit may be any number",
            TWO_TERMS,
            12,
        ),
    )
    for (name, values, never_negative, read, reach), large in zip(cases, zip(*far, strict=True), strict=True):
        if close(values, values[:, :1].expand_as(values)):
            exam.fail(
                f"{name} is the same for every image",
                "it does not depend on the input, or a unit in between passes nothing on",
                read,
            )
        low, high = values.min().item(), values.max().item()
        seen = f"whatever the weights, {name} lies between {low:.3g} and {high:.3g}"
        if low >= 0:
            exam.fail(seen, never_negative, read)
        if high <= 0:
            exam.fail(seen, "it is never positive: something that ends it leaves numbers below 0 only", read)
        low, high = torch.stack(large).aminmax()  # not a number, where float32 ends: then nothing is said
        seen = f"with weights a million times as large, {name} lies between {low:.3g} and {high:.3g}"
        if low > -reach and high < reach:
            exam.fail(seen, "a tanh ends it, or a clamp: it cannot leave this interval", read)
        if low > -reach:
            exam.fail(seen, "an ELU, GELU or SiLU ends it, or a clamp: numbers below are out of reach", read)
        if high < reach:
            exam.fail(seen, "a clamp or the like ends it: numbers above are out of reach", read)


# --- all regions together -----------------------------------------------------------------------------------


def _covariance(mu: Tensor, spread: Tensor, correction: int = 0) -> Tensor:
    """diag(spread) plus the covariance of the centres."""
    off = mu - mu.mean(0)
    return torch.diag(spread) + off.T @ off / (len(mu) - correction)


def covariance(mu: Tensor, log_var: Tensor) -> Tensor:
    return _covariance(mu, log_var.exp().mean(0))


def _correlation(covariance: Tensor) -> Tensor:
    return covariance / torch.outer(covariance.diag(), covariance.diag()).sqrt()


ONLY_CENTRES = "the covariance of the centres alone: a draw also strays from the centre of its region"
COVARIANCE_MARKS = [
    Mark(ONLY_CENTRES, lambda m, v: _covariance(m, 0 * m[0])),
    Mark(ONLY_CENTRES + ". It is divided by n - 1, too", lambda m, v: _covariance(m, 0 * m[0], 1)),
    Mark(
        "the widths alone: the regions lie in different places, and that spreads their draws too",
        lambda m, v: torch.diag(v.exp().mean(0)),
    ),
    Mark(
        "the part of the centres is divided by n - 1, as for a sample. These regions are all there are, each "
        "with the probability 1/n",
        lambda m, v: _covariance(m, v.exp().mean(0), 1),
    ),
    Mark(
        "the mean of the centres is not subtracted: a second moment around 0, and no covariance",
        lambda m, v: torch.diag(v.exp().mean(0)) + m.T @ m / len(m),
    ),
    Mark(
        "the squared length of the mean is subtracted from every entry: m mᵀ is a matrix, and mᵀ m a number",
        lambda m, v: torch.diag(v.exp().mean(0)) + m.T @ m / len(m) - m.mean(0).square().sum(),
    ),
    Mark(
        "a correlation, whose diagonal is 1, and no covariance",
        lambda m, v: _correlation(_covariance(m, 0 * m[0])),
    ),
    Mark(
        "a correlation, whose diagonal is 1, and no covariance",
        lambda m, v: _correlation(covariance(m, v)),
    ),
    Mark("the sum over regions, where their mean belongs", lambda m, v: len(m) * covariance(m, v)),
    Mark(
        "the variances are summed over regions, and not averaged", lambda m, v: _covariance(m, v.exp().sum(0))
    ),
    Mark(
        "standard deviations, exp(log_var / 2), stand where variances belong: widths do not add up",
        lambda m, v: _covariance(m, (0.5 * v).exp().mean(0)),
    ),
    Mark(
        "the square of the mean width stands where the mean of the squares belongs",
        lambda m, v: _covariance(m, (0.5 * v).exp().mean(0).square()),
    ),
    Mark(
        "exp(log_var) is squared once more: it is the variance already",
        lambda m, v: _covariance(m, (2 * v).exp().mean(0)),
    ),
    Mark("log_var is averaged as if it were the variance", lambda m, v: _covariance(m, v.mean(0))),
    Mark(
        "log_var is averaged before the exponential: a geometric mean of the variances",
        lambda m, v: _covariance(m, v.mean(0).exp()),
    ),
    Mark(
        "the variances are added to every entry, and not to the diagonal alone: (z_dim,) and (z_dim, z_dim) "
        "broadcast",
        lambda m, v: _covariance(m, 0 * m[0]) + v.exp().mean(0),
    ),
    Mark(
        "the variances are added to every entry, and not to the diagonal alone",
        lambda m, v: _covariance(m, 0 * m[0]) + v.exp().mean(0)[:, None],
    ),
    Mark(
        "the diagonal alone: centres may vary together from one dimension to another",
        lambda m, v: covariance(m, v).diag().diag(),
    ),
    Mark(
        "a covariance of log_var is added", lambda m, v: _covariance(m, 0 * m[0]) + _covariance(v, 0 * m[0])
    ),
]


@check("mu log_var", TOGETHER)
def covariance_of_regions(exam: Exam) -> Report:
    """A function (mu, log_var), both (n, d) -> (d, d): the covariance of a z from all regions together.

    One of the n regions is chosen, each with the same probability; then z is drawn from it.
    False alarms: none but by rounding.
    Checks: chapter 3.
    """
    n, d = exam.integer(6, 9), exam.integer(3, 5)
    mu, log_var = 1.5 * exam.randn(n, d) + 2 * exam.randn(d), exam.randn(n, d)
    shapes = {
        (d,): "variances only, one for each dimension: a covariance has a row and a column for each",
        (n, n): "rows and columns are regions, and not dimensions: torch.cov takes variables as rows",
        (n, d): "nothing is averaged over the regions",
        (n, d, d): "a covariance for each region, and not one of all together",
        (): "one number: a covariance has a row and a column for each dimension",
    }
    exam.values(
        [(mu, log_var), (mu.float(), log_var.float()), (mu[:1], log_var[:1])],
        covariance,
        COVARIANCE_MARKS,
        lambda mu, log_var: shapes,
        "covariance",
        probes=[
            ("it is right where all centres are equal", lambda m, v: (m[:1].expand_as(m).clone(), v)),
            ("it is right where all variances are 1", lambda m, v: (m, 0 * v)),
            ("it is right where the centres have mean 0", lambda m, v: (m - m.mean(0), v)),
        ],
    )


# --- a prediction -------------------------------------------------------------------------------------------

predict_disagreement = prediction(
    "predict_disagreement",
    "one_z two_z",
    {
        "a": Option(
            "images drawn from one z do not differ at all",
            lambda one, two: one < 0.02 * two,
            "the decoder is thought to paint the image, and z to be all that is drawn. It gives "
            "probabilities; the image is drawn from them",
            LATENT,
        ),
        "b": Option(
            "images drawn from one z differ in less than half as many pixels as those drawn from two",
            lambda one, two: 0.02 * two <= one < 0.5 * two,
            "most of the difference is expected from z. But two draws from one region are decoded to nearly "
            "the same probabilities, and pixels drawn from the same probabilities still differ",
            NEW,
        ),
        "c": Option(
            "images drawn from one z differ in more than half as many pixels, and in less than nine tenths",
            lambda one, two: 0.5 * two <= one < 0.9 * two,
            "both draws are expected to matter about alike. Decoder means of two draws hardly differ, where "
            "every pixel that is not sure differs in many pairs",
            NEW,
        ),
        "d": Option(
            "images drawn from one z differ in nearly as many pixels as those drawn from two",
            lambda one, two: 0.9 * two <= one <= 1.1 * two,
            "the draw of z is expected to change next to nothing; in this model it does change the image",
            NEW,
        ),
    },
)
