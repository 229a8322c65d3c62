"""Checks of the sheet of chapter 1: errors of images, an autoencoder and its training, PCA."""

import copy
import math
from collections.abc import Callable, Sequence
from numbers import Real

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vaebook.checks.base import (
    UNKNOWN,
    Exam,
    Mark,
    Mistake,
    Option,
    Report,
    check,
    close,
    described,
    numbers,
    per_image,
    prediction,
)
from vaebook.checks.places import GOOD_FOR, LOOP, NUMBER, SMALLER, ZIP
from vaebook.evaluation import psnr as right_psnr
from vaebook.models import squared_error as error

SEED = "a seed is set inside the function: the caller cannot have another draw"


def one_number(exam: Exam, out: object, asked: str) -> float:
    """The answer's result as a float, whatever kind of number it is."""
    if isinstance(out, Tensor) and out.dim() == 0:
        out = out.item()
    if isinstance(out, Tensor) and out.numel() == 1:
        exam.fail(f"your function returned shape {tuple(out.shape)}", f"{asked}; an axis is left over")
    if isinstance(out, bool) or not isinstance(out, Real):
        exam.fail(f"your function returned {described(out)}", asked)
    return float(out)


def near(value: float, expected: float) -> bool:
    return abs(value - expected) <= 1e-4 * max(abs(expected), 1e-3)


def number_values(
    exam: Exam, cases: Sequence[tuple], right: Callable[..., float], marks: Sequence[Mark], what: str
) -> None:
    """The answer is one number, that of `right`, in every case; or it is looked for among the marks."""
    outs = [one_number(exam, exam.call(*case)[0], f"one number was asked for, the {what}") for case in cases]
    truth = [float(right(*case)) for case in cases]
    wrong = [i for i in range(len(cases)) if not near(outs[i], truth[i])]
    if not wrong:
        return exam.hold("values")
    seen = f"{outs[wrong[0]]:.4g} from your function, where the {what} is {truth[wrong[0]]:.4g}"
    for mark in marks:
        if all(near(out, float(mark.makes(*case))) for out, case in zip(outs, cases, strict=True)):
            exam.fail(seen, mark.text, mark.read)
    again = one_number(exam, exam.call(*cases[0])[0], what)
    if not near(again, outs[0]) and math.isfinite(again):
        exam.fail(f"two calls on the same inputs gave {outs[0]:.4g} and {again:.4g}", "there are draws in it")
    ratio = outs[wrong[0]] / truth[wrong[0]] if truth[wrong[0]] else math.nan
    same = all(near(out, ratio * t) for out, t in zip(outs, truth, strict=True))
    exam.fail(seen, UNKNOWN + (f"; it is {ratio:.4g} times what it should be, everywhere" if same else ""))


# --- the error of an image ----------------------------------------------------------------------------------

MEAN_OF_PIXELS = (
    "the mean over pixels, where their sum belongs: the book sums over pixels, and takes the mean "
)
ERROR_MARKS = [
    Mark(MEAN_OF_PIXELS + "over images", lambda a, x: error(a, x) / x.shape[-1]),
    Mark("the root of it: that is a distance, and not its square", lambda a, x: error(a, x).sqrt()),
    Mark("a factor ½ is in front", lambda a, x: error(a, x) / 2),
    Mark("the sign: an error is never negative", lambda a, x: -error(a, x)),
    Mark("absolute differences, where squares belong", lambda a, x: (a - x).abs().sum(-1)),
    Mark(
        "the differences are summed as they are: too bright and too dark cancel", lambda a, x: (a - x).sum(-1)
    ),
    Mark(
        "summed first and squared then: too bright and too dark cancel", lambda a, x: (a - x).sum(-1).square()
    ),
    Mark(
        "the difference of the squares, and not the square of the difference",
        lambda a, x: (a.square() - x.square()).sum(-1),
    ),
    Mark("only the largest difference counts", lambda a, x: (a - x).square().amax(-1)),
    Mark("784 stands where the number of pixels belongs", lambda a, x: error(a, x) / x.shape[-1] * 784),
    Mark(
        "a cross-entropy, and not a squared error",
        lambda a, x: -(x * a.log() + (1 - x) * (1 - a).log()).sum(-1),
    ),
]


def _pairs(exam: Exam) -> list[tuple[Tensor, Tensor]]:
    batch, pixels = exam.integer(6, 9), exam.integer(11, 15)
    a, x = exam.rand(0.05, 0.95, batch, pixels), exam.rand(0.05, 0.95, batch, pixels)
    if isinstance(exam.call(a, x)[0], list):
        exam.fail("your function returned a Python list", "the numbers belong in one tensor")
    return [(a, x), (x, a.square()), (a[:1], x[:1]), (a.float(), x.float())]


def _of_images(x_hat: Tensor, x: Tensor) -> dict[tuple[int, ...], str]:
    loss = "one number for all images, as mean() without an axis and PyTorch's ready-made losses give: every "
    return {**per_image(x, "pixels"), (): loss + "image should keep a number of its own"}


@check("x_hat x", LOOP)
def squared_error(exam: Exam) -> Report:
    """A function (x_hat, x), both (batch, pixels) -> (batch,): the squared error, summed over the pixels.

    False alarms: none but by rounding.
    Checks: chapter 1.
    """
    cases = _pairs(exam)
    exam.values(cases, error, ERROR_MARKS, _of_images, "squared error")
    exam.gradients(cases[0], lambda a, x: error(a, x.detach()))


def _decibels(power: float = 1.0, factor: float = 10.0, base: float = 10.0) -> Callable[..., Tensor]:
    return lambda a, x: -factor * power * (a - x).square().mean(-1).log() / math.log(base)


PSNR_MARKS = [
    Mark("the sign: a better image has a higher ratio", lambda a, x: -right_psnr(a, x)),
    Mark("the natural logarithm, where that of base 10 belongs", _decibels(base=math.e)),
    Mark("the logarithm of base 2, where that of base 10 belongs", _decibels(base=2)),
    Mark("the factor 10 is missing: these are bels, and not decibels", _decibels(factor=1)),
    Mark("a factor 20 in front of a mean square: 20 belongs in front of its root", _decibels(factor=20)),
    Mark("the root of the mean square with a factor 10: that belongs in front of the square", _decibels(0.5)),
    Mark(
        "the squared error is summed over pixels, and not averaged: the ratio would fall with the size",
        lambda a, x: -10 * error(a, x).log10(),
    ),
    Mark(
        "the pixels are taken for bytes, with a peak of 255: here the peak is 1",
        lambda a, x: right_psnr(a, x) + 20 * math.log10(255),
    ),
    Mark(
        "the mean of the logarithms of the pixels, and not the logarithm of their mean",
        lambda a, x: -10 * (a - x).square().log10().mean(-1),
    ),
    Mark("absolute differences, where squares belong", lambda a, x: -10 * (a - x).abs().mean(-1).log10()),
    Mark("the mean squared error itself: no logarithm is taken", lambda a, x: (a - x).square().mean(-1)),
    Mark("784 stands where the number of pixels belongs", lambda a, x: -10 * (error(a, x) / 784).log10()),
    Mark("the ratio itself: no logarithm is taken", lambda a, x: 1 / (a - x).square().mean(-1)),
]


@check("x_hat x", GOOD_FOR)
def psnr(exam: Exam) -> Report:
    """A function (x_hat, x), both (batch, pixels) in [0, 1] -> (batch,): the PSNR in decibels.

    False alarms: none but by rounding.
    Checks: chapter 1.
    """
    exam.values(_pairs(exam), right_psnr, PSNR_MARKS, _of_images, "peak signal-to-noise ratio")


# --- the autoencoder ----------------------------------------------------------------------------------------

WIDTHS = "the widths of two layers that follow each other do not agree, or a number stands where x_dim or "
BETWEEN = "the images of a batch influence each other, as normalisation over a batch does: "


@check(
    "x_dim code_dim",
    LOOP,
    raised=[
        ("cannot be multiplied", WIDTHS + "code_dim belongs"),
        ("more than 1 value per channel", BETWEEN + "a single image must have a code too"),
    ],
    seconds=30,
)
def autoencoder(exam: Exam) -> Report:
    """A function (x_dim, code_dim) -> (encoder, decoder): two new modules at each call.

    The encoder makes (batch, code_dim) of (batch, x_dim), the decoder (batch, x_dim) in [0, 1] of that. Each
    bends, learns in all its parameters, and treats every row by itself.
    False alarms: none but by rounding.
    Checks: chapter 1.
    """
    for _ in range(3):
        x_dim, k = exam.integer(30, 50), 3 + 4 * exam.integer(0, 1)
        encoder, decoder = _two_modules(exam, x_dim, k)
        x, codes = exam.rand(0, 1, 7, x_dim).float(), exam.randn(200, k).float()
        _shapes(exam, encoder, decoder, x, k)
        _pixels(exam, decoder, codes, x_dim)
        _alone(exam, encoder, decoder, x, codes)
        _bent(exam, encoder, exam.randn(40, x_dim).float(), "encoder", lambda out: out)
        _bent(exam, decoder, codes[:40], "decoder", lambda out: out.double().logit(1e-12))
        _any_code(exam, encoder, 3 * exam.randn(50, x_dim).float())
        _learns(exam, encoder, decoder, exam.rand(0, 1, 64, x_dim).float())
    _any_pixel(exam, decoder, codes[:40])
    exam.properties[:] = ["shapes", "pixels in [0, 1]", "each image by itself", "bends", "gradients"]
    _new_each_time(exam)


def _two_modules(exam: Exam, x_dim: int, k: int) -> tuple[nn.Module, nn.Module]:
    out = exam.call(x_dim, k)[0]
    if isinstance(out, nn.Module):
        exam.fail(
            "your function returned one module",
            "one network from image to image: encoder and decoder are asked for by themselves, or nobody "
            "could look at a code",
            NUMBER,
        )
    if not isinstance(out, tuple | list) or len(out) != 2 or not all(isinstance(m, nn.Module) for m in out):
        seen = f"a {type(out).__name__}" + (f" of {len(out)}" if isinstance(out, tuple | list) else "")
        exam.fail(f"your function returned {seen}", "two modules are asked for, the encoder and the decoder")
    for name, module in zip(("encoder", "decoder"), out, strict=True):
        if not list(module.parameters()):
            exam.fail(
                f"PyTorch finds no parameters in the {name}",
                "layers in a Python list or made inside forward() are no part of a module: an optimizer "
                "would not find them",
            )
    return out[0].to(exam.device), out[1].to(exam.device)


def _run(exam: Exam, module: nn.Module, x: Tensor, name: str) -> Tensor:
    return exam.guarded(module, (x,), f"when the {name} was given {tuple(x.shape)}")


def _shapes(exam: Exam, encoder: nn.Module, decoder: nn.Module, x: Tensor, k: int) -> None:
    batch, x_dim = x.shape
    try:
        code = _run(exam, encoder, x, "encoder")
    except Mistake:
        try:
            _run(exam, decoder, x, "decoder")
        except Mistake:
            pass
        else:
            exam.fail(
                "the first module takes codes, and the second images",
                "the two are returned in the wrong order",
            )
        raise
    wide = {
        (batch, x_dim): "a code as large as the image: the middle is not narrow",
        (batch, 2 * k): "twice as many numbers as asked for: this code is a point, and has no width",
    }
    size = "code_dim does not decide the size of the code"
    shape = tuple(code.shape) if isinstance(code, Tensor) else ()
    if len(shape) == 2 and shape[0] == batch:
        wide.setdefault(shape, size)
    code = exam.tensor(code, (batch, k), wide)
    image = exam.tensor(_run(exam, decoder, code, "decoder"), (batch, x_dim), {})
    if not (code.isfinite().all() and image.isfinite().all()):
        exam.fail("codes or pixels that are not finite", UNKNOWN)


def _pixels(exam: Exam, decoder: nn.Module, codes: Tensor, x_dim: int) -> None:
    out = _run(exam, decoder, codes, "decoder").detach()
    far = _run(exam, decoder, 30 * codes, "decoder").detach()
    low, high = min(out.min(), far.min()).item(), max(out.max(), far.max()).item()
    seen = f"pixels between {low:.3g} and {high:.3g}"
    if close(far.sum(-1), torch.ones(len(far))):
        exam.fail(
            f"the pixels of every image add up to 1; {seen}",
            "softmax makes the pixels share one unit of light: each should be bright or dark by itself",
        )
    if low < 0:
        mark = "tanh at the end reaches down to −1" if low >= -1 and high <= 1 else "nothing holds them there"
        exam.fail(seen, f"{mark}: a pixel is a number from 0 to 1")
    if high > 1:
        exam.fail(seen, "only one end is held, as ReLU does: a pixel is a number from 0 to 1")
    cut = ((out == 0) | (out == 1)).float().mean().item()
    if cut > 0.05:
        exam.fail(
            f"before any training {cut:.0%} of the pixels are exactly 0 or 1",
            "the values are cut off at the ends: there the gradient is 0, and such a pixel does not learn",
        )


def _alone(exam: Exam, encoder: nn.Module, decoder: nn.Module, x: Tensor, codes: Tensor) -> None:
    for name, module, rows in (("encoder", encoder, x), ("decoder", decoder, codes)):
        together, again = (_run(exam, module, rows, name) for _ in range(2))
        if not close(together, again):
            exam.fail(
                f"twice on the same rows the {name} gave {numbers(together)} and {numbers(again)}",
                "there are draws in it, as dropout makes: an image has one code, and a code one image",
            )
        for part in (rows[:2], rows[:1]):
            if not close(_run(exam, module, part, name), together[: len(part)]):
                exam.fail(
                    f"the {name} gave {numbers(together[0])} for a row among {len(rows)}, and "
                    f"{numbers(_run(exam, module, part, name)[0])} for the same row among {len(part)}",
                    BETWEEN + "a row should be treated as if it were alone",
                )
    before = _run(exam, decoder, codes, "decoder")
    _run(exam, encoder, x.flip(0), "encoder")
    if not close(before, _run(exam, decoder, codes, "decoder")):
        exam.fail(
            "the same code gave another image after other images had been encoded",
            "something passes around the code: the decoder may know nothing of an image but its code",
            NUMBER,
        )


def _bent(exam: Exam, module: nn.Module, a: Tensor, name: str, straight: Callable) -> None:
    """f(a) + f(b) = f(a + b) + f(0) for all a and b if f does not bend; `straight` undoes a sigmoid."""
    b = a.flip(0)
    at = [straight(_run(exam, module, x, name).detach()) for x in (a, b, a + b, 0 * a)]
    bend = (at[0] + at[1] - at[2] - at[3]).norm() / (at[0] - at[3]).norm()
    if bend < 1e-3:
        end = " (before its last function)" if name == "decoder" else ""
        exam.fail(
            f"the {name}{end} is linear: its value at a sum is the sum of its values, to {bend:.0e}",
            "nothing bends: linear layers in a row are together one linear layer, and its codes are those of "
            "a flat subspace",
            SMALLER,
        )


def _leaves(value: Tensor) -> list[Tensor]:
    """The tensors at which the graph of `value` ends."""
    nodes, found = [value.grad_fn], {}
    for node in nodes:
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        nodes += [child for child, _ in node.next_functions if child and child not in nodes]
    return list(found.values())


def _learns(exam: Exam, encoder: nn.Module, decoder: nn.Module, x: Tensor) -> None:
    loss = error(_run(exam, decoder, _run(exam, encoder, x, "encoder"), "decoder"), x).mean()
    if loss.requires_grad:
        known = {id(p) for module in (encoder, decoder) for p in module.parameters()}
        if lost := [tuple(p.shape) for p in _leaves(loss) if id(p) not in known]:
            exam.fail(
                f"weights of shape {lost[0]} are used, and are not among the parameters that PyTorch finds",
                "layers in a Python list or made inside forward() are no part of a module: an optimizer "
                "would not find them",
            )
        exam.guarded(loss.backward, (), "when its loss was differentiated")
    for name, module in (("encoder", encoder), ("decoder", decoder)):
        left = [n for n, p in module.named_parameters() if p.grad is None]
        still = [n for n, p in module.named_parameters() if p.grad is not None and not p.grad.any()]
        if left:
            everything = len(left) == len(list(module.parameters()))
            exam.fail(
                f"no gradient reaches {', '.join(left)} of the {name}",
                "the gradient is cut on the way: torch.no_grad(), detach(), .data, or requires_grad=False"
                if everything
                else "a layer that is made, and not used; or its gradient is cut",
            )
        if still:
            exam.fail(
                f"the gradient in {', '.join(still)} of the {name} is 0 for 64 images",
                "it can learn nothing: are the first weights all 0?",
            )


def _scaled_up(exam: Exam, module: nn.Module, x: Tensor, scales: Sequence[float], name: str) -> Tensor:
    """The module's results with all weights, but not biases, so many times as large, one after the other."""

    def results() -> Tensor:
        own = {n: p.detach() for n, p in module.named_parameters()}
        weights = ({n: s * p if p.dim() > 1 else p for n, p in own.items()} for s in scales)
        return torch.cat([functional_call(module, w, (x,)) for w in weights])

    return exam.guarded(results, (), f"when the {name} had larger weights")


def _drawn(module: nn.Module) -> bool:
    """Whether no weight matrix is all 0."""
    return all(p.any() for p in module.parameters() if p.dim() > 1)


def _any_code(exam: Exam, encoder: nn.Module, x: Tensor) -> None:
    codes = _run(exam, encoder, x, "encoder")
    if not _drawn(encoder):
        return
    if not (codes < 0).any() and (codes == 0).any():
        exam.fail(
            f"in codes no number is negative, and {(codes == 0).float().mean():.0%} of them are 0",
            "a ReLU stands after the last layer of the encoder: half of the code space is thrown away, and a "
            "number that is 0 for every image learns nothing any more",
        )
    far = _scaled_up(exam, encoder, 1000 * x, (1000.0, -1000.0), "encoder")
    low, high = far.min().item(), far.max().item()
    if low > -3 or high < 3:
        exam.fail(
            f"with weights a thousand times as large the numbers of a code lie between {low:.3g} and "
            f"{high:.3g}",
            "a function after the last layer of the encoder holds the codes back: a code is any vector of "
            "real numbers",
        )


def _any_pixel(exam: Exam, decoder: nn.Module, codes: Tensor) -> None:
    if not _drawn(decoder):
        return
    out = _scaled_up(exam, decoder, codes, [s * 4.0**i for i in range(6) for s in (1, -1)], "decoder")
    low, high = out.min().item(), out.max().item()
    if low > 0.1 or high < 0.9:
        exam.fail(
            f"however large the weights are, pixels lie between {low:.2f} and {high:.2f}",
            "two functions in a row hold the pixels: none can become as dark, or as bright, as it should",
        )
    ends = (out == 0) | (out == 1)  # a smooth function comes near to an end before it is rounded to it
    soft = ((out < 1e-3) | (out > 1 - 1e-3)) & ~ends
    if ends.float().mean() > 0.05 and soft.sum() < 0.01 * ends.sum():
        exam.fail(
            "with larger weights pixels are exactly 0 or 1, and hardly any lie close to that",
            "the values are cut off at the ends: there the gradient is 0, and such a pixel does not learn",
        )


def _new_each_time(exam: Exam) -> None:
    one, two = (_two_modules(exam, 31, 3) for _ in range(2))
    first, second = ([*pair[0].parameters(), *pair[1].parameters()] for pair in (one, two))
    if any(p is q for p in first for q in second):
        exam.fail(
            "two calls returned the same layers",
            "the layers are made outside of the function: whoever trains a second autoencoder would train "
            "the first one too",
        )
    if all(torch.equal(p, q) for p, q in zip(first, second, strict=True)):
        exam.fail("two calls made the same first weights", SEED)
    exam.hold("new networks at each call")


# --- one epoch, and an honest look --------------------------------------------------------------------------


class Notes(list):
    """A list that a copy of its owner goes on writing."""

    def __deepcopy__(self, memo: dict) -> "Notes":
        return self


class Watched(nn.Module):
    """A small autoencoder that notes what it is shown, and in which mode."""

    def __init__(self, pixels: int, dropout: float = 0.0):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(pixels, 3), nn.Linear(3, pixels)
        self.dropout = nn.Dropout(dropout)
        self.shown: list[Tensor] = []
        self.modes: list[tuple[bool, bool]] = Notes()  # training, gradients

    def __repr__(self) -> str:
        return "a small autoencoder"

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append((self.training, torch.is_grad_enabled()))
        if torch.is_grad_enabled():
            self.shown.append(x.detach().reshape(-1, self.encoder.in_features).clone())
        return self.decoder(self.dropout(self.encoder(x).tanh())).sigmoid()

    def loss_terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        return {"loss": error(self(x), x)}

    def flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.parameters()])

    def slope(self, at: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of the mean error of x with the parameters `at`, and the errors."""
        twin = Watched(self.encoder.in_features).to(at.device, at.dtype)
        nn.utils.vector_to_parameters(at, twin.parameters())
        errors = error(twin(x), x)
        slopes = torch.autograd.grad(errors.mean(), list(twin.parameters()))
        return torch.cat([s.flatten() for s in slopes]), errors.detach()


class Step:
    """What an optimizer found when it made a step: the rows shown before, the gradient, the parameters."""

    def __init__(self, model: Watched, x: Tensor, exam: Exam):
        shown = torch.cat(model.shown) if model.shown else x[:0]
        model.shown.clear()
        distance = (shown[:, None] - x[None]).abs().sum(-1)  # (shown, n)
        if len(shown) and distance.amin(1).max() > 1e-4:
            exam.fail(
                "the model was shown something that is no row of x", "the images are changed on the way"
            )
        rows = distance.argmin(1).tolist() if len(shown) else []
        self.rows = list(dict.fromkeys(rows))
        grads = [p.grad for p in model.parameters()]
        self.grad = None if any(g is None for g in grads) else torch.cat([g.flatten() for g in grads]).clone()
        self.at = model.flat()


ROWS = "every image belongs into exactly one batch of an epoch"
TOGETHER = "the batches are shuffled, and not the images: the same images always go together"


@check("model x optimizer batch_size generator", LOOP, seconds=30)
def train_epoch(exam: Exam) -> Report:
    """A function (model, x, optimizer, batch_size, generator) -> the mean error of an image over the epoch.

    model(x) is the reconstruction, x (n, pixels). One step for each batch, on the mean over its images of the
    squared error summed over pixels; the last batch may be smaller. The generator decides the order. Returned
    is one number, the mean over the images of the errors as they were when used (or a dict with "loss").
    False alarms: fewer than one call in a billion (two equal random orders).
    Checks: chapter 1.
    """
    batch = exam.integer(4, 5)
    n, pixels = 6 * batch + exam.integer(1, batch - 1), exam.integer(11, 15)
    model = Watched(pixels).to(exam.device, exam.dtype).train()
    images = exam.rand(0, 1, n, pixels) * exam.rand(0.05, 1, n, 1)  # so that no two means are alike
    start, first = copy.deepcopy(model.state_dict()), model.flat()

    def epoch(generator: torch.Generator, x: Tensor = images) -> tuple[list[Step], object]:
        """One epoch from the first weights."""
        model.load_state_dict(start)
        model.zero_grad()
        model.shown.clear()
        steps: list[Step] = []

        def note(optimizer: torch.optim.Optimizer, given: tuple, named: dict) -> tuple[tuple, dict]:
            """Before a step; where step() is given a closure, it is called here, and its value handed on."""
            closure = (*given[1:], *named.values(), None)[0]
            loss = closure() if closure else None
            steps.append(Step(model, x, exam))
            return (optimizer, closure and (lambda: loss)), {}

        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        optimizer.register_step_pre_hook(note)
        out = exam.call(model, x, optimizer, batch, generator)[0]
        if not torch.is_grad_enabled():
            exam.fail("after the epoch gradients are switched off", "set_grad_enabled(False) is never undone")
        if not steps:
            mark = (
                "step() is never called" if model.shown else "the model is never asked for a reconstruction"
            )
            if not torch.equal(model.flat(), first):
                mark = "the parameters changed all the same: another optimizer makes the steps"
            exam.fail("the optimizer that was handed in made no step", mark)
        if model.shown:
            exam.fail(
                f"after the last step {sum(map(len, model.shown))} images were shown once more",
                "a batch is shown to the model, and no step is made for it",
            )
        return steps, out

    seed = exam.integer(0, 2**31)
    generator = torch.Generator(exam.device).manual_seed(seed)
    steps, out = epoch(generator)
    _rows(exam, steps, n, batch)
    _slopes(exam, model, images, steps, batch)
    _returned(exam, model, images, steps, out)
    exam.hold("mean over the images")
    if not model.training:
        exam.fail("after the epoch the model is in evaluation mode", "model.eval() is never undone")
    exam.hold("training mode")
    order = [row for step in steps for row in step.rows]
    later, out = epoch(generator)
    _returned(exam, model, images, later, out)
    if [row for step in later for row in step.rows] == order:
        exam.fail(
            "a second epoch with the same generator took the images in the same order",
            "every epoch has the same order: a seed is set inside, or the order is made once and for all",
        )
    if {frozenset(step.rows) for step in later} == {frozenset(step.rows) for step in steps}:
        exam.fail("a second epoch had the same batches, in another order", TOGETHER)
    repeated = epoch(torch.Generator(exam.device).manual_seed(seed))[0]
    if [row for step in repeated for row in step.rows] != order:
        exam.fail(
            "two generators with the same seed gave different orders",
            "the order does not come from the generator that is handed in: nobody could repeat the training",
        )
    exam.hold("a fresh order from the generator")
    _rows(exam, epoch(generator, images[: 6 * batch])[0], 6 * batch, batch)


def _rows(exam: Exam, steps: list[Step], n: int, batch: int) -> None:
    order = [row for step in steps for row in step.rows]
    sizes, used = [len(step.rows) for step in steps], set(order)
    seen = f"of {n} images {len(used)} were used in {len(steps)} steps, with batch_size {batch}"
    if not order:
        exam.fail("steps were made, and no image was shown", "the model is not asked inside the loop")
    if len(order) == len(used) == n and 0 in sizes:
        exam.fail(
            f"{seen}; one batch held no image",
            "a batch too many where batch_size divides the number of images: the mean of no image is 0/0",
        )
    if len(order) == len(used) < n:
        if len(steps) == 1 and len(used) == batch:
            exam.fail(seen, "the loop ends after its first batch: a return inside of it, or no loop")
        if len(used) == n - n % batch:
            exam.fail(
                seen, f"the last batch, which is smaller, is left out. {ROWS}".replace("every", "Every")
            )
        exam.fail(seen, f"images are left out: {ROWS}")
    if len(order) > len(used):
        if len(used) <= batch:
            exam.fail(seen, f"every step takes the same images: {ROWS}")
        if len(used) < n:
            exam.fail(
                f"{seen}, and some of them more than once",
                f"each batch is drawn anew from all images: {ROWS}",
            )
        exam.fail(
            f"{seen}, {len(order)} times in all", f"more than one epoch, or overlapping batches: {ROWS}"
        )
    expected = [batch] * (n // batch) + [n % batch] * (n % batch > 0)
    if sorted(sizes) != sorted(expected):
        mark = "the batches have another size than batch_size"
        if len(sizes) == 1:
            mark = "all images are one batch: one step an epoch"
        elif len(sizes) == batch:
            mark = "batch_size is used as the number of batches"
        elif max(sizes) == 1:
            mark = "one image a step: batch_size is not used"
        exam.fail(f"batches of {', '.join(map(str, sizes[:6]))} … images for batch_size {batch}", mark)
    if order == sorted(order):
        exam.fail(
            "the images were taken in the order in which they stand",
            "nothing is shuffled: each epoch is alike",
        )
    if sum(a + 1 == b for a, b in zip(order, order[1:], strict=False)) > n / 2:
        exam.fail("most images were followed by the next row of x", TOGETHER)
    exam.hold("every image once")


def _slopes(exam: Exam, model: Watched, x: Tensor, steps: list[Step], batch: int) -> None:
    pixels, before = x.shape[1], None
    if any(step.grad is None for step in steps):
        exam.fail(
            "a step was made where parameters had no gradient",
            "step() comes before backward(), or the gradients are zeroed between the two",
        )
    ratios = []
    for i, step in enumerate(steps):
        right, _ = model.slope(step.at, x[step.rows])
        if not step.grad.isfinite().all():
            exam.fail(f"at step {i + 1} the gradient is not finite", UNKNOWN)
        share = (step.grad @ right / (right @ right)).item()
        if before is not None and close(step.grad, right + before) and not close(step.grad, share * right):
            exam.fail(
                f"step {i + 1} went along the sum of the gradients of {i + 1} batches",
                "gradients are not zeroed: backward() adds to what is there",
            )
        if not close(step.grad, share * right):
            exam.fail(
                f"step {i + 1} was not along the gradient of the squared error of its batch",
                "another loss, an old gradient (step() before backward()), or gradients that are not zeroed",
            )
        before = step.grad
        ratios.append((len(step.rows), share))
    for text, ratio in (
        ("", lambda size: 1.0),
        ("uphill: the error is made larger", lambda size: -1.0),
        ("the sum over the images of a batch, where their mean belongs", lambda size: size),
        (MEAN_OF_PIXELS + "over images", lambda size: 1 / pixels),
        ("the sum over images of a mean over pixels: the other way round", lambda size: size / pixels),
        (
            "the sum over a batch is divided by batch_size, also where the last batch is smaller",
            lambda size: size / batch,
        ),
    ):
        if all(near(share, ratio(size)) for size, share in ratios):
            if not text:
                return exam.hold("one step for each batch, with zeroed gradients")
            size, share = ratios[0]
            exam.fail(f"a step went {share:.4g} times down the gradient of the mean error", text)
    exam.fail(
        f"the steps went {ratios[0][1]:.4g} and {ratios[1][1]:.4g} times down the gradient of the mean error",
        "the loss is another function of the squared error than its mean over the images",
    )


def _returned(exam: Exam, model: Watched, x: Tensor, steps: list[Step], out: object) -> None:
    if isinstance(out, dict) and "loss" in out:
        out = out["loss"]
    if isinstance(out, Tensor) and out.requires_grad:
        exam.fail(
            "the returned number has a gradient",
            "it holds on to the graph of the computation and all its memory: a record needs a number only",
        )
    value = one_number(exam, out, "one number was asked for, the mean error of an image over the epoch")
    errors = [model.slope(step.at, x[step.rows])[1] for step in steps]
    whole, means = torch.cat(errors), torch.stack([e.mean() for e in errors])
    final = error(model(x), x).mean().detach()
    model.shown.clear()
    right, pixels = whole.mean().item(), x.shape[1]
    if not near(value, right):
        seen = f"your function returned {value:.5g}, where the mean error of an image was {right:.5g}"
        for other, mark in (
            (means.mean(), "the mean of the means of the batches: the smaller last batch counts too much"),
            (whole.sum(), "the sum over the images, where their mean belongs"),
            (means.sum(), "the sum of the means of the batches"),
            (
                means.sum() / len(x),
                "the means of the batches are summed, and divided by the number of images",
            ),
            (whole.sum() / len(steps), "the sum over the images, divided by the number of batches"),
            (means[-1], "the error of the last batch only"),
            (errors[-1].sum(), "the sum over the last batch only"),
            (means[0], "the error of the first batch only"),
            (whole.mean() / pixels, MEAN_OF_PIXELS + "over images"),
            (means.mean() / pixels, MEAN_OF_PIXELS + "over images; and batches, not images, are averaged"),
            (final, "the error after the epoch, and not that of each image when it was used"),
            (whole.sqrt().mean(), "the mean of the roots of the errors"),
            (
                right * len(x) / (len(x) - len(x) % len(steps[0].rows)),
                "divided by a rounded number of images",
            ),
        ):
            if near(value, float(other)):
                exam.fail(seen, mark)
        exam.fail(seen, UNKNOWN)


def _of_batches(size: int) -> Callable[[Watched, Tensor], Tensor]:
    return lambda m, x: torch.stack([error(m(part), part).mean() for part in x.split(size)]).mean()


HELD_OUT_MARKS = [
    Mark(MEAN_OF_PIXELS + "over images", lambda m, x: error(m(x), x).mean() / x.shape[1]),
    Mark("the sum over the images, where their mean belongs", lambda m, x: error(m(x), x).sum()),
    Mark("the root of the error", lambda m, x: error(m(x), x).mean().sqrt()),
    Mark("the mean of the roots of the errors", lambda m, x: error(m(x), x).sqrt().mean()),
    Mark("the error of one image only", lambda m, x: error(m(x), x)[0]),
    Mark("the error of one image only", lambda m, x: error(m(x), x)[-1]),
    *(
        Mark("the mean of the means of batches: a smaller last batch counts too much", _of_batches(size))
        for size in (2, 4, 8, 10, 16, 20, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512)
    ),
]


@check("model x", ZIP)
def held_out_error(exam: Exam) -> Report:
    """A function (model, x) -> the mean over the images x (n, pixels) of the squared error of model(x).

    It asks in evaluation mode and without gradients, and leaves the model as it was found.
    False alarms: none but by rounding.
    Checks: chapter 1.
    """
    pixels = exam.integer(11, 15)
    model = Watched(pixels, dropout=0.5).to(exam.device, exam.dtype)
    before = model.flat()
    for training in (True, False):
        model.train(training)
        model.modes.clear()
        # A prime number of images, which no batch size divides; the last ones are dark.
        n = (521, 523, 541, 547)[exam.integer(0, 3)] if training else exam.integer(6, 9)
        x = exam.rand(0, 1, n, pixels) * torch.linspace(1, 0.1, n).to(exam.device, exam.dtype)[:, None]
        out = exam.call(model, x)[0]
        after, modes = model.training, list(model.modes)
        if not modes:
            exam.fail("the model was not asked for a reconstruction", UNKNOWN)
        if any(mode for mode, _ in modes):
            exam.fail(
                "the model was asked in training mode",
                "layers like dropout act differently while training: the result is noisy, and not that of "
                "the model as it will be used",
            )
        if any(gradients for _, gradients in modes):
            exam.fail(
                "the model was asked with gradients switched on",
                "nothing is learned here, and PyTorch still keeps all that a backward() would need",
            )
        if after != training:
            mode = ("evaluation", "training")
            exam.fail(
                f"a model in {mode[training]} mode came back in {mode[after]} mode",
                "the mode is changed and not put back: the next epoch would train a model that is not in "
                "training mode"
                if training
                else "the model is put into training mode, whatever it was in before",
            )
        if not torch.is_grad_enabled():
            exam.fail("after the call gradients are switched off", "set_grad_enabled(False) is never undone")
        if not torch.equal(model.flat(), before) or any(p.grad is not None for p in model.parameters()):
            exam.fail("the parameters, or their gradients, changed", "a measurement may not train the model")
        if isinstance(out, Tensor) and out.numel() == len(x):
            exam.fail(f"one number for each of {len(x)} images", "their mean is asked for")
        value = one_number(exam, out, "one number was asked for, the mean error of an image")
        model.eval()
        right = error(model(x), x).mean().item()
        if not near(value, right):
            seen = f"{value:.4g} from your function, where the mean error of an image is {right:.4g}"
            for mark in HELD_OUT_MARKS:
                if near(value, float(mark.makes(model, x).detach())):
                    exam.fail(seen, mark.text, LOOP)
            exam.fail(seen, UNKNOWN)
    for name in ("mean over the images", "evaluation mode", "no gradients", "the model as it was found"):
        exam.hold(name)


# --- PCA ----------------------------------------------------------------------------------------------------


def pca(train: Tensor, x: Tensor, k: int, mean: Tensor | None = None, fit: Tensor | None = None) -> Tensor:
    """x projected onto the first k directions of `fit` (train if None), through `mean` (that of train)."""
    fit = train if fit is None else fit
    mean = train.mean(0) if mean is None else mean
    directions = torch.linalg.svd(fit - fit.mean(0), full_matrices=False).Vh[:k]
    return mean + (x - mean) @ directions.T @ directions


def _svd(train: Tensor) -> tuple[Tensor, Tensor]:
    _, s, rows = torch.linalg.svd(train - train.mean(0), full_matrices=False)
    return s, rows


def _through(x: Tensor, mean: Tensor, directions: Tensor) -> Tensor:
    return mean + (x - mean) @ directions.T @ directions


def _raw(train: Tensor, x: Tensor, k: int, centre: bool = False) -> Tensor:
    """Directions of the images themselves, without taking off their mean."""
    directions = torch.linalg.svd(train, full_matrices=False).Vh[:k]
    return _through(x, train.mean(0) if centre else 0 * train.mean(0), directions)


def _whitened(train: Tensor, x: Tensor, k: int) -> Tensor:
    s, rows = _svd(train)
    return train.mean(0) + (x - train.mean(0)) @ rows[:k].T / s[:k] @ rows[:k]


def _scaled(train: Tensor, x: Tensor, k: int) -> Tensor:
    mean, std = train.mean(0), train.std(0)
    rows = torch.linalg.svd((train - mean) / std, full_matrices=False).Vh[:k]
    return mean + (x - mean) / std @ rows.T @ rows * std


COLUMNS = (
    "the columns of the third factor are taken for the directions; torch.linalg.svd returns it transposed, "
    "with the directions as rows"
)
PCA_MARKS = [
    Mark(
        "the mean is never taken off: the directions are those of the images, and not of their deviations "
        "from the mean image",
        lambda t, x, k: _raw(t, x, k),
    ),
    Mark(
        "the directions are found without taking off the mean of the training images",
        lambda t, x, k: _raw(t, x, k, centre=True),
    ),
    Mark(
        "x is centred with its own mean, and not with that of the training images: a single image would be "
        "its own mean, and come back exactly",
        lambda t, x, k: pca(t, x, k, mean=x.mean(0)),
    ),
    Mark(
        "the mean of x is taken off, and that of the training images put back",
        lambda t, x, k: pca(t, x, k, mean=x.mean(0)) - x.mean(0) + t.mean(0),
    ),
    Mark(
        "the directions are found in x: the subspace is to be found in the training images only",
        lambda t, x, k: pca(t, x, k, mean=x.mean(0), fit=x),
    ),
    Mark(
        "the directions are found in x: the subspace is to be found in the training images only",
        lambda t, x, k: pca(t, x, k, fit=x),
    ),
    Mark(
        "the directions are found in the training images and x together: x is held out",
        lambda t, x, k: pca(torch.cat([t, x]), x, k),
    ),
    Mark(
        "the mean is taken off, and never put back: these are deviations from the mean image",
        lambda t, x, k: pca(t, x, k) - t.mean(0),
    ),
    Mark(
        "the mean is put back without having been taken off",
        lambda t, x, k: pca(t, x, k, 0 * t.mean(0)) + t.mean(0),
    ),
    Mark("what the projection loses, and not what it keeps", lambda t, x, k: x - pca(t, x, k)),
    Mark(
        "the directions with the smallest spread are taken: eigh, unlike svd, puts the smallest first",
        lambda t, x, k: _through(x, t.mean(0), _svd(t)[1][-k:]),
    ),
    Mark(COLUMNS, lambda t, x, k: _through(x, t.mean(0), _svd(t)[1][:, :k].T)),
    Mark(COLUMNS, lambda t, x, k: _through(x, t.mean(0), torch.linalg.svd(t - t.mean(0)).Vh[:, :k].T)),
    Mark("one direction too many", lambda t, x, k: pca(t, x, k + 1)),
    Mark("one direction too few", lambda t, x, k: pca(t, x, k - 1)),
    Mark(
        "only one direction is used, the k-th", lambda t, x, k: _through(x, t.mean(0), _svd(t)[1][k - 1 : k])
    ),
    Mark("the code is divided by the singular values, and never multiplied by them again", _whitened),
    Mark("the pixels are scaled to equal spread first: another subspace is the best one then", _scaled),
    Mark(
        "one mean for all pixels: a grey level, and not the mean image",
        lambda t, x, k: pca(t, x, k, mean=t.mean()),
    ),
    Mark(
        "all images come back as the mean image: the code has no influence", lambda t, x, k: t.mean(0) + 0 * x
    ),
    Mark("all images come back as they were: k has no influence", lambda t, x, k: x),
    Mark(
        "the result is squeezed between 0 and 1: that is no point of the subspace any more",
        lambda t, x, k: pca(t, x, k).clamp(0, 1),
    ),
]


@check("train x k", SMALLER)
def pca_reconstruct(exam: Exam) -> Report:
    """A function (train, x, k) -> (m, pixels): x (m, pixels) rebuilt from k numbers each by PCA.

    The subspace is found in train (n, pixels) alone: the flat one of k dimensions, through the mean of its
    rows, from which they are least far away in squared error.
    False alarms: none but by rounding.
    Checks: chapter 1.
    """
    pixels, m, k = exam.integer(9, 12), exam.integer(5, 6), exam.integer(2, 4)
    spread = torch.linspace(2.0, 0.2, pixels, dtype=exam.dtype, device=exam.device)
    turn = torch.linalg.qr(exam.randn(pixels, pixels)).Q

    def images(n: int, mean: Tensor) -> Tensor:
        return mean + exam.randn(n, pixels) * spread @ turn

    here, there = 1.5 * exam.randn(pixels), 1.5 * exam.randn(pixels)
    train, other, x = images(40, here), images(30, there), images(m + 3, there)
    cases = [(train, x, k), (other, x[:m], k), (train, x[:1], k + 1), (train.float(), x.float(), 1)]

    def shapes(train: Tensor, x: Tensor, k: int) -> dict[tuple[int, ...], str]:
        return {
            (len(x), k): "these are codes: decode them, back to images",
            tuple(train.shape): "the training images are rebuilt, and not x",
            (pixels,): "one image for all",
        }

    exam.values(cases, pca, PCA_MARKS, shapes, "projection")
    few = images(7, here)
    out = exam.tensor(exam.call(few, x, k)[0], tuple(x.shape), shapes(few, x, k))
    if not close(out, pca(few, x, k)):
        exam.fail(
            f"with 40 training images the projection is right, and with 7 of {pixels} pixels it is not",
            "fewer images than pixels: some directions have no spread at all",
        )
    exam.hold("centred with the training mean")
    exam.hold("x is not used to find the subspace")


PCA_ERROR_MARKS = [
    Mark(
        "the directions that are kept are counted, and not those that are lost",
        lambda s, n, k: s[:k].square().sum() / n,
    ),
    Mark(
        "n − 1, as for an unbiased variance: the error is a mean over the n images",
        lambda s, n, k: s[k:].square().sum() / (n - 1),
    ),
    Mark("the singular values are not squared", lambda s, n, k: s[k:].sum() / n),
    Mark("the sum over all images, where their mean belongs", lambda s, n, k: s[k:].square().sum()),
    Mark(
        "the root of it: a distance, and not a squared error",
        lambda s, n, k: (s[k:].square().sum() / n).sqrt(),
    ),
    Mark(
        "the mean over the lost directions, where their sum belongs",
        lambda s, n, k: s[k:].square().mean() / n,
    ),
    Mark(
        "divided by the number of directions, and not by that of images",
        lambda s, n, k: s[k:].square().sum() / len(s),
    ),
    Mark(
        "divided by the number of lost directions, and not by that of images",
        lambda s, n, k: s[k:].square().mean(),
    ),
    Mark("one direction too few is lost", lambda s, n, k: s[k + 1 :].square().sum() / n),
    Mark("one direction too many is lost", lambda s, n, k: s[k - 1 :].square().sum() / n),
    Mark("only the first lost direction is counted", lambda s, n, k: s[k].square() / n),
    Mark(
        "the squares are summed after the sum: the sum is squared", lambda s, n, k: s[k:].sum().square() / n
    ),
    Mark("a share of the whole, and not an error", lambda s, n, k: s[k:].square().sum() / s.square().sum()),
    Mark("the share that is kept, and not an error", lambda s, n, k: s[:k].square().sum() / s.square().sum()),
    Mark("the error with no direction at all: k has no influence", lambda s, n, k: s.square().sum() / n),
]


@check("singular_values n k", SMALLER)
def pca_error(exam: Exam) -> Report:
    """A function (singular_values, n, k) -> the mean squared error of n training images under PCA.

    singular_values (r,), in falling order, are those of the centred training images (n, pixels); k numbers
    are kept of each image, from 1 to r.
    False alarms: none but by rounding.
    Checks: chapter 1.
    """
    cases = []
    for n, pixels in ((exam.integer(30, 40), 8), (exam.integer(15, 20), 12), (9, 20)):
        train = exam.randn(n, pixels) * torch.linspace(2, 0.3, pixels, dtype=exam.dtype, device=exam.device)
        cases.append((_svd(train)[0], n, exam.integer(2, 5)))
    number_values(
        exam, cases, lambda s, n, k: s[k:].square().sum() / n, PCA_ERROR_MARKS, "mean squared error"
    )
    full = (cases[0][0], cases[0][1], len(cases[0][0]))
    value = one_number(
        exam, exam.call(*full)[0], "one number was asked for, also where all directions are kept"
    )
    if not abs(value) < 1e-6:
        exam.fail(f"{value:.4g} where all directions are kept", "then nothing is lost, and the error is 0")
    exam.hold("nothing lost where all are kept")


predict_shifted_digits = prediction(
    "predict_shifted_digits",
    "in_place shifted of_mean_image",
    {
        "a": Option(
            "the error on shifted digits is at most a quarter larger",
            lambda in_place, shifted, mean: 0 < shifted <= 1.25 * in_place < mean,
            "the code is thought to describe strokes, wherever they stand. The layers do not know which "
            "pixels are neighbours: a digit that stands elsewhere is another pattern, and was never trained",
            ZIP,
        ),
        "b": Option(
            "the error on shifted digits grows much more, and stays below that of the mean image",
            lambda in_place, shifted, mean: 1.25 * in_place < shifted < mean,
            "the network is expected to know a part of what it has never seen, which holds where most pixels "
            "are still those of a digit; something else was measured",
            ZIP,
        ),
        "c": Option(
            "the error on shifted digits is above that of the mean image",
            lambda in_place, shifted, mean: in_place < mean <= shifted,
            "whatever was not in the training images is expected to come back as badly as an inverted digit. "
            "A shifted digit still lies near some of the training digits, so the code can tell something",
            ZIP,
        ),
    },
)
