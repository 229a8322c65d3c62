"""Checks of the sheets of chapters 4.4 and 4.5: gradients of an expectation, exact, estimated, less noisy."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

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
from vaebook.checks.places import BASELINE, CUTS, EASY, INSIDE, MOVE, NOISY, SCORE

NO_GRAPH = "does not require grad|not have been used|does not have a grad"


# --- the exact gradient, where there are few states ---------------------------------------------------------


def _exact(phi: Tensor, values: Tensor) -> Tensor:
    q = phi.softmax(0)
    return q * (values - (q * values).sum())


EXACT_MARKS = [
    Mark("the sign", lambda phi, f: -_exact(phi, f)),
    Mark(
        "zero: the values do not contain phi, but how often each state is drawn does",
        lambda phi, f: 0 * f,
    ),
    Mark(
        "each probability is taken to change with its own logit as q itself does. A logit that rises takes "
        "probability from all other states, because probabilities sum to one",
        lambda phi, f: phi.softmax(0) * f,
    ),
    Mark(
        "what a logit that rises takes from the other states is missing: each has a gradient q(1 - q) in "
        "its own logit, and another in every other logit",
        lambda phi, f: phi.softmax(0) * (1 - phi.softmax(0)) * f,
    ),
    Mark("the logits are taken for probabilities, or their exponentials are", lambda phi, f: phi.exp() * f),
    Mark("the gradient in the probabilities, and not in the logits", lambda phi, f: f),
    Mark(
        "the mean of the values over the states, where their mean under q belongs",
        lambda phi, f: phi.softmax(0) * (f - f.mean()),
    ),
    Mark(
        "q is not in front: a state that is never drawn must not count", lambda phi, f: f - phi.softmax(0) @ f
    ),
    Mark(
        "the terms of the expectation, and no gradient: q is there, but not how q changes",
        lambda phi, f: phi.log_softmax(0) * phi.softmax(0) * f,
    ),
    Mark(
        "each logit is taken for that of a coin of its own",
        lambda phi, f: phi.sigmoid() * (1 - phi.sigmoid()) * f,
    ),
]


@check(
    "phi values",
    EASY,
    raised=[
        (
            NO_GRAPH,
            "something is differentiated that does not depend on phi, or phi has not been told to require a "
            "gradient",
        )
    ],
)
def exact_gradient(exam: Exam) -> Report:
    """A function (phi, values), both (states,) -> (states,): the gradient in phi of the mean of f under q.

    q is one of a few states, with probabilities softmax(phi); values holds f at each state.
    False alarms: none but by rounding.
    Checks: chapter 4.4.
    """
    cases = [(exam.randn(k), 2 * exam.randn(k) + exam.rand(1, 3)) for k in (exam.integer(4, 7), 2, 9)]
    exam.values(
        cases,
        _exact,
        EXACT_MARKS,
        lambda phi, values: {
            (): "one number: a mean, and not its gradient in each logit",
            (
                len(phi),
                len(phi),
            ): "a matrix: how each probability changes with each logit, before f is averaged",
        },
        "exact gradient",
    )
    phi, values = 1000 + exam.randn(5).round(), cases[0][1].new_tensor([1.0, -2, 3, 1, -1])
    out, expected = exam.call(phi, values)[0], _exact(phi, values)
    if not close(out, expected):
        exam.fail(
            f"for logits around 1000 your function gives {numbers(out)}, where the exact gradient is "
            f"{numbers(expected)}",
            "the exponential of each logit is computed as it is, and overflows to inf. A number that all "
            "logits share makes no difference",
        )
    exam.hold("no overflow")


# --- the mean over the other draws --------------------------------------------------------------------------


def _others(values: Tensor) -> Tensor:
    return (values.sum(0) - values) / (len(values) - 1)


ONE_NEIGHBOUR = "one other draw, where the mean over all others belongs: right on average, and noisier"
OTHERS_MARKS = [
    Mark(
        "the mean over all draws: a draw's own value belongs to it, so the baseline depends on the draw, "
        "and the estimate is biased",
        lambda v: v.mean(0).expand_as(v),
    ),
    Mark("the sum over the other draws, where their mean belongs", lambda v: v.sum(0) - v),
    Mark(
        "the sum over the other draws is divided by the number of all draws: there is one fewer",
        lambda v: (v.sum(0) - v) / len(v),
    ),
    Mark(
        "a draw's own value is taken from a mean, where it should be taken from a sum: its share in a mean "
        "is smaller",
        lambda v: v.mean(0) - v,
    ),
    Mark(
        "a draw's own value is taken from a mean, where it should be taken from a sum: its share in a mean "
        "is smaller",
        lambda v: (v.mean(0) - v) * len(v) / (len(v) - 1),
    ),
    Mark(
        "the values less their baseline: this is what multiplies the score; the baseline itself is asked for",
        lambda v: v - _others(v),
    ),
    Mark("the draw's own value: what is left of it is 0", lambda v: v),
    Mark(ONE_NEIGHBOUR, lambda v: v.roll(1, 0)),
    Mark(ONE_NEIGHBOUR, lambda v: v.roll(-1, 0)),
    Mark(
        "the means run over the images: the other draws are the other rows, for the same image",
        lambda v: _others(v.T).T if v.dim() > 1 else _others(v),
    ),
    Mark(
        "the means run over the images: the other draws are the other rows, for the same image",
        lambda v: v.mean(-1, keepdim=True).expand_as(v),
    ),
    Mark(
        "the values of all images are mixed: each image has draws of its own",
        lambda v: (v.sum() - v) / (v.numel() - 1),
    ),
    Mark("nothing is subtracted in the end: the baseline is 0", lambda v: 0 * v),
]


@check("values", BASELINE)
def leave_one_out(exam: Exam) -> Report:
    """A function (values), (draws,) or (draws, batch) -> the same shape: the mean over the other draws.

    With a single draw there is no other: it raises an exception that says something.
    False alarms: none but by rounding.
    Checks: chapter 4.4.
    """
    draws, batch = exam.integer(4, 7), exam.integer(8, 10)
    values = 3 * exam.randn(draws, batch) - exam.rand(10, 20)
    cases = [(values,), (values[:, 0],), (values[:2],), (values.float(),), (values[:, :1],)]

    def shapes(v: Tensor) -> dict[tuple[int, ...], str]:
        one = "one mean for all draws: each draw has a baseline of its own, without its own value"
        lost = "with a single image its axis disappears: squeeze() drops every axis of length 1"
        return {(len(v),): lost, (): one, tuple(v.shape[1:]): one, (1, *v.shape[1:]): one}

    exam.values(cases, _others, OTHERS_MARKS, shapes, "mean over the other draws")
    alone = exam.refusal(values[:1])
    if not isinstance(alone, Exception):
        returned = numbers(alone) if isinstance(alone, Tensor) and alone.numel() else described(alone)
        exam.fail(
            f"for a single draw your function returned {returned}",
            "with one draw there is no other whose mean could be taken, and any number would be made up: "
            "refuse it by an exception that says so",
        )
    seen = (
        f"for a single draw your function raised {type(alone).__name__}: {' '.join(str(alone).split())[:200]}"
    )
    if isinstance(alone, ZeroDivisionError) and "by zero" in str(alone):
        exam.fail(seen, "an accident, which helps nobody: refuse a single draw before anything is computed")
    if not str(alone).strip():
        exam.fail(seen, "an exception without a word: say in it what to do")
    exam.hold("a single draw is refused")


# --- a number whose gradient is the estimate ----------------------------------------------------------------


def _surrogate(f: Tensor, log_q: Tensor) -> Tensor:
    return ((f - _others(f)).detach() * log_q + f).mean()


PRODUCT = (
    "what weights log q is not held fixed: f · log q is differentiated as a product. In the estimate that "
    "weight is a number"
)
ONLY_F = (
    "nothing reaches log q: this is the naive program. How often each z is drawn depends on the encoder, and "
    "that the values do not show"
)
NO_VALUES = (
    "the values of f get no gradient, so the decoder learns nothing. The second part of the estimate, the "
    "gradient of f itself, is missing or cancels"
)
SURROGATE_MARKS = [
    Mark(
        "no baseline: right on average, and far noisier than it need be. Subtract from each draw's f the "
        "mean over the others",
        lambda f, q: (f.detach() * q + f).mean(),
        BASELINE,
    ),
    Mark(
        "the baseline is the mean over all draws, the draw itself among them: a part of the gradient is lost",
        lambda f, q: ((f - f.mean(0)).detach() * q + f).mean(),
        BASELINE,
    ),
    Mark(ONLY_F, lambda f, q: f.mean(), CUTS),
    Mark(NO_VALUES, lambda f, q: ((f - _others(f)).detach() * q).mean(), EASY),
    Mark(NO_VALUES + ". The baseline is missing too", lambda f, q: (f.detach() * q).mean(), EASY),
    Mark(PRODUCT, lambda f, q: ((f - _others(f)) * q + f).mean()),
    Mark(PRODUCT, lambda f, q: ((f - _others(f)) * q).mean()),
    Mark(PRODUCT, lambda f, q: ((f - _others(f).detach()) * q + f).mean()),
    Mark(PRODUCT, lambda f, q: ((f - _others(f).detach()) * q).mean()),
    Mark(PRODUCT + ". The baseline is missing too", lambda f, q: (f * q + f).mean()),
    Mark(PRODUCT + ". The baseline is missing too", lambda f, q: (f * q).mean()),
    Mark("f does not weight log q", lambda f, q: (q + f).mean()),
    Mark(
        "q itself, where its logarithm belongs", lambda f, q: ((f - _others(f)).detach() * q.exp() + f).mean()
    ),
    Mark(
        "log q is detached, and what weights it is not: it should be the other way round",
        lambda f, q: ((f - _others(f)) * q.detach() + f).mean(),
    ),
    Mark(
        "the baseline runs over the images: the other draws are the other rows, for the same image",
        lambda f, q: ((f - _others(f.T).T).detach() * q + f).mean(),
        BASELINE,
    ),
    Mark(
        "the baseline is added, where it is subtracted",
        lambda f, q: ((f + _others(f)).detach() * q + f).mean(),
    ),
    Mark(
        "the weights and log q are averaged first, and multiplied then: each draw's f belongs to its own "
        "log q",
        lambda f, q: ((f - _others(f)).detach().mean(0) * q.mean(0) + f).mean(),
    ),
]
TIMES = {
    "the sign: a loss, to be minimised; a surrogate has the gradient of the mean of f": lambda n, b: -1,
    "a sum over draws, where their mean belongs": lambda n, b: n,
    "a sum over images, where their mean belongs": lambda n, b: b,
    "a sum over draws and images, where their mean belongs": lambda n, b: n * b,
    "a loss, and a sum over draws and images": lambda n, b: -n * b,
    "a loss, and a sum over draws": lambda n, b: -n,
    "a loss, and a sum over images": lambda n, b: -b,
}


@check("values log_q", SCORE, raised=[(NO_GRAPH, "everything is detached: nothing is left to differentiate")])
def surrogate(exam: Exam) -> Report:
    """A function (values, log_q), both (draws, batch) -> one number, whose gradient is the estimate.

    values holds f, and log_q the log of q, at draws of z for each image. The gradient is that of the mean
    over images of E_q[f], by the score function with the other draws as baseline. The number itself is free.
    False alarms: none but by rounding.
    Checks: chapter 4.4.
    """
    draws, batch = exam.integer(3, 5), exam.integer(6, 8)
    cases = [(3 * exam.randn(n, batch) - 10, exam.randn(n, batch) - 2) for n in (draws, 2)]

    def slopes(number: Tensor, leaves: list[Tensor]) -> list[Tensor]:
        return torch.autograd.grad(number, leaves, allow_unused=True, materialize_grads=True)

    def expected(makes: Callable, case: tuple) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in case]
        return slopes(makes(*leaves), leaves)

    def same(mine: list, theirs: list) -> bool:
        return all(
            close(a, b)
            for one, other in zip(mine, theirs, strict=True)
            for a, b in zip(one, other, strict=True)
        )

    mine = []
    for case in cases:
        out, leaves = exam.call(*case, track=True)
        rows = "one number for each image: take their mean"
        exam.tensor(
            out, (), {(batch,): rows, (len(case[0]), batch): "one number for each draw: take their mean"}
        )
        if not out.requires_grad:
            exam.fail(
                "the result has no gradient", "everything is detached: nothing is left to differentiate"
            )
        mine.append(exam.guarded(slopes, (out, leaves), "when its result was differentiated"))
    right = [expected(_surrogate, case) for case in cases]
    if not same(mine, right):
        by_f, by_q = mine[0]
        seen = (
            f"the gradient in values is {numbers(by_f)}, where it is {numbers(right[0][0])}; that in log_q "
            f"is {numbers(by_q)}, where it is {numbers(right[0][1])}"
        )
        for mark in SURROGATE_MARKS:
            theirs = [expected(mark.makes, case) for case in cases]
            if same(mine, theirs):
                exam.fail(seen, mark.text, mark.read)
            if same([[-slope for slope in pair] for pair in mine], theirs):
                exam.fail(seen, "the sign: a loss, to be minimised. And " + mark.text, mark.read)
        for text, factor in TIMES.items():
            times = [factor(*case[0].shape) for case in cases]
            if same(mine, [[t * slope for slope in pair] for t, pair in zip(times, right, strict=True)]):
                exam.fail(seen, text)
        exam.fail(seen, UNKNOWN)
    exam.hold("the gradient in values, for the decoder")
    exam.hold("the gradient in log_q, for the encoder")


# --- the constant of least noise ----------------------------------------------------------------------------


def _weighted(values: Tensor, length: Tensor) -> Tensor:
    return (values * length.square()).sum() / length.square().sum()


@check("values scores", BASELINE)
def best_baseline(exam: Exam) -> Report:
    """A function (values (draws,), scores (draws, parameters)) -> one number: the constant of least variance.

    Of all constants b it is the one for which (f - b) times the score has the smallest variance, summed over
    parameters. It passes if it is within 0.1 % of that variance on the draws that it was given.
    False alarms: fewer than one call in 100,000.
    Checks: chapter 4.4.
    """
    for p in (2, exam.integer(3, 5)):
        n = 4000
        noise = exam.randn(n, p)
        # Scores from narrow to wide, and not independent. f rises with the widest, falls with the narrowest.
        scores = (noise + exam.rand(0.3, 0.6) * noise.roll(1, 1)) * torch.logspace(-0.3, 0.3, p).to(noise)
        squares, shares = scores.square().sum(1), scores.square() / scores.square().mean(0)
        values = exam.rand(1, 2) * (p + 2) * (shares[:, -1] - shares[:, 0])
        values = values + noise @ exam.rand(-1, 1, p) + exam.rand(-40, 40)
        best = (values * squares).mean() / squares.mean()

        def variance(b: Tensor | float, f=values, s=scores) -> float:
            return ((f - b)[:, None] * s).var(0).sum().item()

        out = exam.call(values, scores)[0]
        if isinstance(out, Tensor) and out.numel() == p:
            exam.fail(
                f"your function returned {p} numbers",
                "one number for each parameter: one constant for all of them is asked for, and variances "
                "are summed",
            )
        if isinstance(out, Tensor) and out.numel() == 1:
            out = out.item()
        if isinstance(out, bool) or not isinstance(out, int | float):
            exam.fail(f"your function returned {described(out)}", "a constant is one number")
        least = variance(best)
        if variance(out) < 1.001 * least:
            continue
        seen = (
            f"with your constant {out:.4g} the variance is {variance(out):.4g}; there is a constant for "
            f"which it is {least:.4g}, and with none, 0, it is {variance(0.0):.4g}"
        )
        length = squares.sqrt()
        parts = scores.square().mean(0)
        other = (
            "each draw is weighted by another length of its score: write out the variance, which is a sum "
            "over parameters of mean squares"
        )
        marks = (
            (
                "the mean of f: a good guess, and not the best constant. How does the variance depend on "
                "b? A draw with a long score adds more to it than one with a short score",
                values.mean(),
            ),
            ("the median of f: what the variance says has not been used", values.median()),
            ("the sign", -best),
            (
                "each draw is weighted by the length of its score: write out the variance, and see with "
                "which power that length stands in it",
                (values * length).mean() / length.mean(),
            ),
            (
                "a draw's scores are added up before they are squared: it is the variances that are summed",
                _weighted(values, scores.sum(1)),
            ),
            (other, _weighted(values, scores.abs().sum(1))),
            (other, _weighted(values, scores.abs().amax(1))),
            (
                "the mean of each parameter's own best constant: parameters with large scores make more "
                "noise than others, and must count more",
                ((values @ scores.square()) / len(values) / parts).mean(),
            ),
            ("a mean of products that is not divided by the mean of the weights", (values * squares).mean()),
            (
                "f times the score over the score: the scores have mean 0, so this divides by a number "
                "near 0",
                (values @ scores).sum() / scores.sum(),
            ),
            ("f counts double, or squared: the slope of the variance in b is linear in f", 2 * best),
        )
        text, value = min(marks, key=lambda mark: abs(out - mark[1].item()))
        if abs(out - value.item()) < 1e-4 * (1 + abs(value.item())):
            exam.fail(seen, text)
        exam.fail(
            seen,
            f"{UNKNOWN}. Write the variance as a function of b: it is a parabola. Subtracting b leaves the "
            "mean of the gradient as it is, so only the mean square counts",
        )
    exam.hold("no other constant makes less noise, for two sets of draws")


# --- through the noise --------------------------------------------------------------------------------------


def _through(
    f, mu, log_var, eps, std=lambda v: (0.5 * v).exp(), at=lambda z: z, share=lambda values: values.mean()
):
    """(2, d): the gradient in mu and in log_var of the mean of f at z = mu + std(log_var) eps."""
    mu, log_var = (t.detach().requires_grad_() for t in (mu, log_var))
    value = share(f(at(mu + std(log_var) * eps)))
    return torch.stack(torch.autograd.grad(value, (mu, log_var), materialize_grads=True, allow_unused=True))


def _slopes(f, z: Tensor) -> Tensor:
    z = z.detach().requires_grad_()
    return torch.autograd.grad(f(z).sum(), z)[0]


def _scores(f, mu, log_var, eps):
    z = mu + (0.5 * log_var).exp() * eps
    return torch.stack([f(z) @ (eps / (0.5 * log_var).exp()), f(z) @ (0.5 * (eps.square() - 1))]) / len(z)


def _separate(f, mu, log_var, eps):
    std = (0.5 * log_var).exp()
    slope = _slopes(f, mu + std * eps).mean(0)
    return torch.stack([slope, slope * eps.mean(0) * 0.5 * std])


def _at_centre(f, mu, log_var, eps):
    slope, std = _slopes(f, mu.expand_as(eps)), (0.5 * log_var).exp()
    return torch.stack([slope.mean(0), (slope * eps * 0.5 * std).mean(0)])


def _last(factor):
    """The right gradient, with that in log_var multiplied by a function of log_var."""

    def makes(f, mu, log_var, eps):
        by_mu, by_log_var = _through(f, mu, log_var, eps)
        return torch.stack([by_mu, factor(log_var) * by_log_var])

    return makes


THROUGH_MARKS = [
    Mark(
        "exp(log_var) is used as the standard deviation: it is the variance",
        functools.partial(_through, std=torch.exp),
        MOVE,
    ),
    Mark(
        "log_var itself is used as the standard deviation", functools.partial(_through, std=lambda v: v), MOVE
    ),
    Mark("the gradient in σ, and not in log_var", _last(lambda v: 2 * (-0.5 * v).exp())),
    Mark("a factor ½ is missing: the second gradient is that in log σ", _last(lambda v: 2)),
    Mark("the gradient in the variance, and not in its logarithm", _last(lambda v: (-v).exp())),
    Mark("there is no way from z back to log_var", _last(lambda v: 0)),
    Mark(
        "the sum over draws, where their mean belongs",
        functools.partial(_through, share=lambda values: values.sum()),
    ),
    Mark("the sign: the gradient of minus f", lambda *case: -_through(*case)),
    Mark("the two gradients are swapped: that in mu comes first", lambda *case: _through(*case).flip(0)),
    Mark(
        "there is no noise in z: f is differentiated at mu", functools.partial(_through, std=lambda v: 0 * v)
    ),
    Mark("the slope of f is taken at mu, and not at z", _at_centre),
    Mark("f of the mean z, where the mean of f belongs", functools.partial(_through, at=lambda z: z.mean(0))),
    Mark("the mean slope times the mean noise: each draw's slope belongs to its own noise", _separate),
    Mark("the score function, which uses values of f: through z go its slopes", _scores),
]


@check(
    "f mu log_var eps",
    INSIDE,
    raised=[(NO_GRAPH, "z is cut off from mu and log_var: .detach(), a draw by sample(), or a new tensor")],
)
def reparameterized(exam: Exam) -> Report:
    """A function (f, mu, log_var, eps) -> the gradients in mu and in log_var of the mean of f at the draws.

    mu and log_var are (d,) and require gradients, eps is (draws, d). f takes z (draws, d), or one row of it,
    and returns a number for each. The two gradients, each (d,), may also be the rows of one tensor.
    False alarms: none but by rounding.
    Checks: chapter 4.5.
    """
    answer, parts = exam.answer, ("mu", "log_var")

    @functools.wraps(answer)
    def stacked(*given, **named):
        inputs = (
            dict(zip((name for name in exam.parameters if name not in named), given, strict=True)) | named
        )
        for name in parts:
            inputs[name].requires_grad_()
        out = answer(*given, **named)
        if isinstance(out, tuple | list) and len(out) == 2 and all(isinstance(part, Tensor) for part in out):
            for name, part in zip(parts, out, strict=True):
                exam.tensor(part, tuple(inputs[name].shape), shapes(inputs["eps"]))
            return torch.stack(list(out)).detach()
        return out

    def shapes(eps: Tensor) -> dict[tuple[int, ...], str]:
        d = eps.shape[1]
        each = "one gradient for each draw: the estimate is their mean"
        return {
            tuple(eps.shape): each,
            (2, *eps.shape): each,
            (): "one number: a value, and not its gradient in each parameter",
            (d,): "one gradient, where two are asked for: that in mu and that in log_var",
            (2 * d,): "both gradients in one row: return them as two tensors",
        }

    exam.answer = stacked
    cases = []
    for d in (exam.integer(2, 4), 1):
        a, b = exam.randn(d), exam.rand(0.5, 1.5, d)

        def f(z: Tensor, a=a, b=b) -> Tensor:
            return (b * (z - a).square()).sum(-1) + (b * z).sum(-1).sin() - 3

        log_var = exam.rand(-1.5, -0.5, d) if d > 1 else exam.rand(0.5, 1.5, d)
        cases.append((f, exam.randn(d), log_var, exam.randn(exam.integer(6, 9), d)))
    exam.values(
        cases, _through, THROUGH_MARKS, lambda f, mu, log_var, eps: shapes(eps), "gradient at these draws"
    )


# --- predictions --------------------------------------------------------------------------------------------

SAME, MORE = 1.05, 2.0  # a ratio of noises that has stayed, and one that has grown

predict_thousand_nats = prediction(
    "predict_thousand_nats",
    "moved plain others",
    {
        "a": Option(
            "the estimates move with f, and no longer aim at the same gradient",
            lambda moved, plain, others: abs(moved) > 6,
            "a constant in f is expected to show in the gradient of its mean. The constant has no slope in "
            "phi, and the score that it multiplies has mean 0",
            SCORE,
        ),
        "b": Option(
            "neither the gradient nor any noise changes",
            lambda moved, plain, others: abs(moved) <= 6 and max(plain, others) < SAME,
            "what is 0 on average is taken for 0 at every draw. The constant multiplies each draw's score, "
            "and those do not vanish",
            SCORE,
        ),
        "c": Option(
            "the gradient stays; the plain estimate becomes noisier, and the one with a baseline does not",
            lambda moved, plain, others: abs(moved) <= 6 and plain > MORE and others < SAME,
            "the baseline of the other draws is expected to miss a constant. It is in every draw's f, so "
            "it is in the mean of the others too; something else was measured",
            BASELINE,
        ),
        "d": Option(
            "the gradient stays, and both estimates become noisier",
            lambda moved, plain, others: abs(moved) <= 6 and min(plain, others) > MORE,
            "noise is thought to grow with the size of f whatever is subtracted. What all draws share is "
            "in the mean of the other draws, and cancels",
            BASELINE,
        ),
    },
)

predict_narrow_region = prediction(
    "predict_narrow_region",
    "wide narrow",
    {
        "a": Option(
            "the trick has the smaller variance in both regions",
            lambda wide, narrow: max(wide, narrow) < 1,
            "the trick is taken to win always. It uses slopes, and where f is a fast wave these are large "
            "and of either sign. No theorem ranks the two",
            NOISY,
        ),
        "b": Option(
            "the score function has the smaller variance in both regions",
            lambda wide, narrow: min(wide, narrow) > 1,
            "the frequency of f is taken to decide alone. What counts is whether f is smooth on the scale "
            "of σ; and the score itself grows when σ shrinks",
            NOISY,
        ),
        "c": Option(
            "the score function wins in the wide region, and the trick in the narrow one",
            lambda wide, narrow: wide > 1 > narrow,
            "you compare the wave with the width of the region, which is right; something else was measured",
            NOISY,
        ),
        "d": Option(
            "the trick wins in the wide region, and the score function in the narrow one",
            lambda wide, narrow: wide < 1 < narrow,
            "a wide region is thought to help slopes. Over a wide region the wave goes up and down many "
            "times, and the slopes say little about the mean",
            NOISY,
        ),
    },
)
