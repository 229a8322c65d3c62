"""What every check shares: fresh randomness, a guarded call of the learner's function, a diagnosis."""

import functools
import inspect
import io
import random
import re
import secrets
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from scipy import special
from torch import Tensor

SECONDS = 5.0  # that all calls of the learner's function in one check may take together
UNKNOWN = "no mistake that this check knows by its numbers"
# What a released sheet raises where an answer belongs: `NotImplementedError(STUB)`.
STUB = "Write your answer in place of this line."


RAISED = (  # messages of exceptions that betray the same mistake in every task
    (
        "Boolean value of Tensor with more than one value is ambiguous",
        "an if asks one question, and the tensor holds an answer for each row: torch.where chooses element "
        "by element",
    ),
    ("local variable .* (not associated|before assignment)", "a name is used before it is set"),
)


def p_uniform(values: np.ndarray) -> float:
    """p-value of "many independent draws from the uniform law on [0, 1]", of Kolmogorov and Smirnov.

    Written out because importing scipy.stats takes a second, which every sheet would wait for.
    """
    values, n = np.sort(values), len(values)
    gap = max((np.arange(1, n + 1) / n - values).max(), (values - np.arange(n) / n).max())
    return float(special.kolmogorov(n**0.5 * gap))


def p_normal(values: np.ndarray) -> float:
    """p-value of "many independent draws from N(0, 1)"."""
    return p_uniform(special.ndtr(values))


class Mistake(AssertionError):
    """What a check found: `seen`, the numbers; `mark`, the mistake they betray; `read`, where to read."""

    def __init__(self, check: str, seen: str, mark: str, read: str):
        super().__init__(f"{check}: not yet.\n  seen: {seen}\n  mark: {mark}\n  read: {read}")
        self.check, self.seen, self.mark, self.read = check, seen, mark, read

    def _render_traceback_(self) -> list[str]:
        """IPython shows this in place of a traceback, in which no line would be the learner's."""
        return [str(self)]


class Report(NamedTuple):
    """What a check returns when nothing was wrong."""

    check: str
    properties: tuple[str, ...]

    def __repr__(self) -> str:
        if len(self.properties) == 1:
            return f"✓ {self.check}: {self.properties[0]}"
        return f"✓ {self.check}: {len(self.properties)} properties hold ({', '.join(self.properties)})"


class Mark(NamedTuple):
    """A mistake: what it is, the function (of the check's inputs) that makes it, and where to read if not
    in the check's own section."""

    text: str
    makes: Callable[..., Tensor]
    read: str | None = None


# --- the walls around a learner's function ------------------------------------------------------------------


class TimeUp(BaseException):
    """No Exception, so that an `except Exception` of the learner's does not hold it up."""


class Nowhere(io.TextIOBase):
    """Where a learner's prints go: a loop that prints fills no memory."""

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def fresh_randomness() -> Iterator[torch.Generator]:
    """A generator with a seed of its own, and fresh global seeds; afterwards global states are as before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    dtype, devices = torch.get_default_dtype(), range(torch.cuda.device_count())
    with torch.random.fork_rng(devices if torch.cuda.is_initialized() else ()), torch.enable_grad():
        try:
            torch.manual_seed(secrets.randbits(63))
            np.random.seed(secrets.randbits(32))
            random.seed(secrets.randbits(63))
            yield torch.Generator().manual_seed(secrets.randbits(63))
        finally:
            torch.set_default_dtype(dtype)
            np.random.set_state(numpy_state)
            random.setstate(python_state)


class Deadline:
    """Raises TimeUp in its body after some seconds; afterwards `left` says how many were not used.

    In the main thread of Linux and macOS an alarm does it, which also wakes a sleeping call. Elsewhere every
    traced line of Python looks at the clock: that stops loops, but waits for a call into C to come back.
    PyTorch imports big parts of itself when they are first used: while an import runs, the clock starts anew.
    """

    def __init__(self, seconds: float):
        self.seconds, self.left = seconds, seconds
        self.alarm = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")

    def __enter__(self) -> "Deadline":
        self.start, self.running = time.monotonic(), True
        self.end = self.start + self.left
        if self.alarm:
            self.handler = signal.signal(signal.SIGALRM, lambda number, frame: self.look(frame))
            # Again and again: a bare `except:` may swallow the first.
            self.other = signal.setitimer(signal.ITIMER_REAL, max(self.left, 0.001), 0.002)
        else:
            self.trace = sys.gettrace()
            sys.settrace(self.look)
        return self

    def look(self, frame: Any, *_: Any) -> Callable:
        now = time.monotonic()
        if self.running and now >= self.end:
            while frame and frame.f_code is not Exam.guarded.__code__:
                if frame.f_code.co_filename.startswith("<frozen importlib"):
                    self.end = now + self.seconds
                    return self.look
                frame = frame.f_back
            raise TimeUp
        return self.look

    def __exit__(self, *_: Any) -> None:
        self.running, now = False, time.monotonic()
        self.left = max(self.end - now, 0.0)
        if self.alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.handler)
            remaining, interval = self.other
            if remaining:  # someone else's alarm, such as a test runner's
                signal.setitimer(signal.ITIMER_REAL, max(remaining - (now - self.start), 0.001), interval)
        else:
            sys.settrace(self.trace)


def copied(value: Any, track: bool) -> Any:
    """A tensor of its own, whose gradients are tracked if `track`; anything else as it is."""
    return value.detach().clone().requires_grad_(track) if isinstance(value, Tensor) else value


def described(value: Any) -> str:
    if inspect.isroutine(value):
        return "a function"
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)}" if value.dim() else f"a tensor {value.item():.3g}"
    return f"{value:.3g}" if isinstance(value, float) else f"{value!r}"[:40]


def numbers(values: Tensor, n: int = 3) -> str:
    """The first numbers of a tensor, as text."""
    shown = ", ".join(f"{value:.4g}" for value in values.detach().flatten()[:n].tolist())
    return f"{shown}, …" if values.numel() > n else shown


def close(a: Tensor, b: Tensor, nan: bool = False) -> bool:
    """Equal but for the rounding of float32, from whatever precision."""
    if a.shape != b.shape:
        return False
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=nan)


# --- one check of one answer --------------------------------------------------------------------------------


class Exam:
    """One call of a check: draws inputs, calls the answer, compares, and raises what it finds.

    Args:
        parameters: the names of what the answer takes, in order.
        raised: (pattern, mark) for messages of exceptions that betray a mistake.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[str],
        read: str,
        raised: Sequence[tuple[str, str]] = (),
        seconds: float | None = None,
    ):
        self.name, self.parameters, self.read, self.raised = name, parameters, read, raised
        self.properties: list[str] = []
        self.deadline = Deadline(seconds or SECONDS)

    def start(self, answer: Any, generator: torch.Generator, device: torch.device | str) -> None:
        self.answer, self.generator, self.device = answer, generator, torch.device(device)
        self.dtype = torch.float32 if self.device.type == "mps" else torch.float64
        if inspect.isclass(answer):
            self.answer = self.guarded(answer, (), "when it was made, without arguments")
        if not callable(self.answer):
            was = "None" if answer is None else f"a {type(answer).__name__}"
            self.fail(
                f"{was}, and not a function",
                "the function itself is asked for: its name, without parentheses after it",
            )
        try:
            known = inspect.signature(self.answer).parameters.values()
        except (TypeError, ValueError):  # some built-in functions have none
            known = ()
        self.keywords = [p.name for p in known if p.kind == p.KEYWORD_ONLY and p.name in self.parameters]
        self.takes_generator = any(p.name == "generator" for p in known)

    # inputs

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.device, self.dtype)

    def rand(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * drawn).to(self.device, self.dtype)

    def bits(self, *shape: int) -> Tensor:
        """Zeros and ones; in every row of two or more there are both."""
        x = (self.rand(0, 1, *shape) < 0.4).to(self.dtype)
        x[..., 0], x[..., -1] = 1, 0
        return x

    # calls

    def fail(self, seen: str, mark: str, read: str | None = None) -> NoReturn:
        raise Mistake(self.name, seen, mark, read or self.read)

    def hold(self, name: str) -> None:
        self.properties.append(name)

    def guarded(self, function: Callable, inputs: Sequence[Any], on: str, **options: Any) -> Any:
        """function(*inputs), whatever it does."""
        try:
            with (
                redirect_stdout(Nowhere()),
                redirect_stderr(Nowhere()),
                warnings.catch_warnings(),
                self.deadline,
            ):
                warnings.simplefilter("ignore")
                return function(*inputs, **options)
        except (KeyboardInterrupt, Mistake):
            raise
        except TimeUp:
            self.deadline.__exit__()  # once more: a second alarm may have come before the first exit was done
            self.fail(
                f"your function had not come back after {self.deadline.seconds:g} s, {on}",
                "a loop without end, or far more work than needed",
            )
        except SystemExit:
            self.fail(f"your function tried to end Python, {on}", "exit() or sys.exit() inside an answer")
        except RecursionError:
            self.fail(f"your function calls itself without end, {on}", "a recursion that nothing stops")
        except BaseException as error:
            self.stumbled(error, on)

    def stumbled(self, error: BaseException, on: str) -> NoReturn:
        """The learner's function raised: say what, where, and what it may mean."""
        if isinstance(error, NotImplementedError) and STUB in str(error):
            self.fail(
                "your function still raises NotImplementedError",
                "not answered yet: write your answer in place of that line, run its cell, then this one",
            )
        file = getattr(inspect.unwrap(self.answer), "__code__", None)
        lines = [
            f", at `{frame.line}`"
            for frame in traceback.extract_tb(error.__traceback__)
            if file and frame.filename == file.co_filename and frame.line
        ]
        message = " ".join(str(error).split())[:200]
        seen = f"your function raised {type(error).__name__}: {message}{lines[-1] if lines else ''}; {on}"
        for pattern, mark in (*self.raised, *RAISED):
            if re.search(pattern, message):
                self.fail(seen, mark)
        self.fail(seen, "the function does not run on every input that it is meant for")

    def call(self, *inputs: Any, track: bool = False, **options: Any) -> tuple[Any, list[Any]]:
        """The answer at copies of the inputs, and the copies."""
        copies = [copied(value, track) for value in inputs]
        on = "on " + ", ".join(
            f"{name} {described(value)}" for name, value in zip(self.parameters, inputs, strict=True)
        )
        by_name = dict(zip(self.parameters, copies, strict=True))
        named = {name: by_name[name] for name in self.keywords}
        given = [value for name, value in by_name.items() if name not in named]
        out = self.guarded(self.answer, given, on, **named, **options)
        for name, before, after in zip(self.parameters, inputs, copies, strict=True):
            if isinstance(before, Tensor) and not torch.equal(before.detach(), after.detach()):
                self.fail(
                    f"after the call {name} was no longer what it was before",
                    f"{name} is changed in place, and so is the caller's tensor: += and methods with a name "
                    "ending in _ do that",
                )
        return out, copies

    def refusal(self, *inputs: Any) -> Any:
        """The exception by which the answer refuses the inputs; if it raises none, its result."""
        answer = self.answer

        def refusing(*given: Any, **named: Any) -> Any:
            try:
                return answer(*given, **named)
            except Exception as error:
                return error

        self.answer = refusing
        try:
            return self.call(*inputs)[0]
        finally:
            self.answer = answer

    def tensor(self, out: Any, shape: tuple[int, ...], shapes: dict[tuple[int, ...], str]) -> Tensor:
        """The answer's result, if it is a tensor of real numbers of this shape on the device of the inputs.

        Args:
            shapes: the marks of other shapes.
        """
        asked = f"a tensor of shape {shape} was asked for"
        if out is None:
            self.fail(f"your function returned None; {asked}", "there is no return where the function ends")
        if isinstance(out, np.ndarray):
            self.fail(
                f"your function returned a NumPy array; {asked}",
                "the computation leaves PyTorch, and gradients cannot follow it",
            )
        if isinstance(out, tuple | list):
            self.fail(
                f"your function returned a {type(out).__name__} of {len(out)}; {asked}",
                "more than the result is returned",
            )
        if not isinstance(out, Tensor):
            self.fail(
                f"your function returned {described(out)}, of type {type(out).__name__}; {asked}",
                "the result is no tensor: .item(), float() and the like lose the gradient"
                if isinstance(out, int | float)
                else "the result is no tensor",
            )
        if not out.is_floating_point():
            self.fail(
                f"your function returned numbers of type {out.dtype}", "the result must be real numbers"
            )
        if tuple(out.shape) != shape:
            mark = shapes.get(tuple(out.shape), "sums or means run over other axes than they should")
            self.fail(f"your function returned shape {tuple(out.shape)}; {asked}", mark)
        if out.device.type != self.device.type:
            self.fail(
                f"your function returned a tensor on {out.device} for inputs on {self.device}",
                "a tensor is made inside the function without saying on which device",
            )
        return out

    # comparisons

    def values(
        self,
        cases: Sequence[tuple],
        right: Callable[..., Tensor],
        marks: Sequence[Mark],
        shapes: Callable[..., dict[tuple[int, ...], str]],
        what: str,
        probes: Sequence[tuple[str, Callable[..., tuple]]] = (),
    ) -> None:
        """The answer equals `right` in every case; or it is looked for among the marks.

        Args:
            cases: inputs; the marks must agree in all of them, so one mistake is told from another.
            shapes: inputs -> the marks of wrong shapes.
            what: the name of the right values.
            probes: (text, inputs -> simpler inputs): where the answer is right at these, the text helps.
        """
        outs = []
        for case in cases:
            out, expected = self.call(*case)[0], right(*case)
            if isinstance(out, Tensor) and out.shape == () and expected.dim() == 1 and len(expected) > 1:
                for word, total in (("sum", expected.sum()), ("mean", expected.mean())):
                    if close(out, total):
                        self.fail(
                            f"your function returned one number, {out.item():.4g}, for {len(expected)} rows",
                            f"it is the {word} over the images: every image should keep a number of its own",
                        )
            outs.append(self.tensor(out, tuple(expected.shape), shapes(*case)).detach())
        wrong = [i for i, case in enumerate(cases) if not close(outs[i], right(*case))]
        if not wrong:
            return self.hold("values")
        seen, expected = outs[wrong[0]], right(*cases[wrong[0]])
        text = f"{numbers(seen)} from your function, where the {what} is {numbers(expected)}"
        for mark in marks:
            if all(close(out, mark.makes(*case), nan=True) for out, case in zip(outs, cases, strict=True)):
                self.fail(text, mark.text, mark.read)
        if not close(self.call(*cases[0])[0], outs[0], nan=True):
            self.fail(
                f"two calls on the same inputs differ: {numbers(outs[0])} and then "
                f"{numbers(self.call(*cases[0])[0])}",
                "there are draws in it, or a state that changes; the result should depend on the inputs only",
            )
        finite = seen.isfinite()
        if not finite.all():
            where = ", and right where it is finite" if close(seen[finite], expected[finite]) else ""
            self.fail(
                text, f"it is not finite{where}: a logarithm of 0 or less, a division by 0, an overflow"
            )
        hints = [hint for hint, simpler in probes if self.right_at(simpler(*cases[0]), right)]
        ratio = (seen / expected).mean()
        if all(close(out, ratio * right(*case)) for out, case in zip(outs, cases, strict=True)):
            hints.append(f"it is {ratio.item():.4g} times what it should be, everywhere")
        self.fail(text, f"{UNKNOWN}{'; ' if hints else ''}{'; '.join(hints)}")

    def right_at(self, case: tuple, right: Callable[..., Tensor]) -> bool:
        out = self.call(*case)[0]
        return isinstance(out, Tensor) and close(out, right(*case))

    def gradients(self, case: tuple, right: Callable[..., Tensor], read: str | None = None) -> None:
        """A weighted sum of the answer's values has the same gradient in every tensor as that of `right`."""
        out, inputs = self.call(*case, track=True)
        truth = [copied(value, True) for value in case]
        expected = right(*truth)
        weights = self.rand(0.5, 1.5, *expected.shape)
        torch.autograd.backward(
            (weights * expected).sum(), inputs=[t for t in truth if isinstance(t, Tensor)]
        )
        cut = (
            "the gradient is cut: .detach(), .data, .item(), torch.no_grad() or a new tensor made of numbers"
        )
        if not (isinstance(out, Tensor) and out.requires_grad):
            self.fail("the result has no gradient in any of the inputs", cut, read)
        self.guarded((weights * out).sum().backward, (), "when its result was differentiated")
        for name, mine, true in zip(self.parameters, inputs, truth, strict=True):
            if not isinstance(true, Tensor) or true.grad is None or not true.grad.abs().max():
                continue
            if mine.grad is None or not mine.grad.any():
                self.fail(f"the values are right, but the gradient in {name} is zero", cut, read)
            if not close(mine.grad, true.grad):
                self.fail(
                    f"the values are right, but the gradient in {name} is {numbers(mine.grad)}, "
                    f"where it should be {numbers(true.grad)}",
                    "a part of the gradient is lost or doubled: " + cut,
                    read,
                )
        self.hold("gradients")


def per_image(values: Tensor, what: str) -> dict[tuple[int, ...], str]:
    """The marks of shapes other than (batch,), for values (batch, d); `what` the columns are."""
    batch, d = values.shape
    return {
        (batch, d): f"nothing is summed over the {what}: sum over the last axis",
        (d,): f"the sum runs over the images, and not over the {what}: the first axis, and not the last",
        (batch, 1): "an axis of length 1 is left over, as keepdim=True leaves it",
        (1, batch): "an axis of length 1 stands in front",
        (batch, batch): "(batch,) and (batch, 1) were broadcast to (batch, batch) on the way",
        (): "one number for all images: every image should keep a number of its own; with squeeze(), or "
        "where a sum names no axis, the batch disappears too",
    }


def check(
    parameters: str, read: str, raised: Sequence[tuple[str, str]] = (), seconds: float | None = None
) -> Callable:
    """Turns a function of an `Exam` into a check of a learner's answer.

    Args:
        parameters: what the answer takes, as in "mu log_var".
        read: chapter and section.
        seconds: that all calls of the answer may take together, SECONDS if None.
    """

    def decorate(body: Callable[[Exam], None]) -> Callable[..., Report]:
        @functools.wraps(body)
        def checked(answer: Callable, *, device: torch.device | str = "cpu") -> Report:
            exam = Exam(body.__name__, parameters.split(), read, raised, seconds)
            try:
                with fresh_randomness() as generator:
                    exam.start(answer, generator, device)
                    body(exam)
                return Report(body.__name__, tuple(exam.properties))
            except Mistake as found:
                mistake = found
            except Exception as error:
                seen = f"{type(error).__name__} while your result was looked at: {str(error)[:200]}"
                mistake = Mistake(body.__name__, seen, "the result is of a kind that no check expects", read)
            raise mistake.with_traceback(None) from None

        del checked.__wrapped__  # whose signature is another
        return checked

    return decorate


# --- predictions --------------------------------------------------------------------------------------------


class Option(NamedTuple):
    """One answer to a question about what a cell will show.

    says: the answer in words; holds: of what was measured, whether it came so; mark: the belief of someone
    who expects it where it does not hold; read: where that is mended.
    """

    says: str
    holds: Callable[..., bool]
    mark: str
    read: str


class Surprise(NamedTuple):
    """What a check of a prediction returns when something else was measured. It is no failure."""

    check: str
    says: str
    measured: str
    mark: str
    read: str

    def __repr__(self) -> str:
        return (
            f"≠ {self.check}: you expected that {self.says}\n  measured: {self.measured}\n"
            f"  mark: {self.mark}\n  read: {self.read}"
        )


def prediction(name: str, measured: str, options: dict[str, Option]) -> Callable[..., Report | Surprise]:
    """A check of a prediction: `predict_this("a", *measured)`.

    A prediction is not marked by being right. The check raises a `Mistake` only where there is none, or where
    what was measured fits no option, because the function that measures is not right yet.

    Args:
        measured: the names of the numbers that it takes after the prediction, as in "before after".
        options: by letter; exactly one of them holds of what a right cell measures.
    """
    names = measured.split()
    letters = ", ".join(options)
    first = next(iter(options.values())).read

    def predicted(answer: Any, *values: Any) -> Report | Surprise:
        if not isinstance(answer, str) or answer.strip().lower() not in options:
            raise Mistake(
                name,
                f"{answer!r}"[:60],
                f"no prediction: choose one of the letters {letters}, before the cell that measures",
                first,
            )
        if len(values) != len(names):
            raise Mistake(
                name,
                f"{len(values)} measured values",
                f"the check takes the prediction, and then {', '.join(names)}",
                first,
            )
        try:
            numbers = [float(value) for value in values]
        except (TypeError, ValueError):
            raise Mistake(name, f"{values!r}"[:200], f"{', '.join(names)} must be numbers", first) from None
        seen = ", ".join(f"{word} {value:.4g}" for word, value in zip(names, numbers, strict=True))
        came = [letter for letter, option in options.items() if option.holds(*numbers)]
        if len(came) != 1:
            raise Mistake(
                name,
                seen,
                "none of the options came true: the cell that measures was changed, or what it calls is not "
                "right yet",
                first,
            )
        letter = answer.strip().lower()
        if letter == came[0]:
            return Report(name, (f"as you expected, {options[letter].says}: {seen}",))
        chosen = options[letter]
        return Surprise(name, chosen.says, f"{seen}: {options[came[0]].says}", chosen.mark, chosen.read)

    predicted.__name__ = predicted.__qualname__ = name
    predicted.__doc__ = (
        f"A prediction, one of {letters}, and what was measured: {', '.join(names)}.\n\n"
        + "\n".join(f"    {letter}: {option.says}" for letter, option in options.items())
    )
    predicted.options = options
    return predicted
