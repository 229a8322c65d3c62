"""What a reader can move: a number on a scale, or one of some values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Slider:
    """A number from `min` to `max` in steps of `step`, that starts at `start`."""

    label: str
    start: float
    min: float
    max: float
    step: float

    def check(self, name: str, value: float) -> None:
        """Raises ValueError: there is no such value on the slider."""
        steps = (value - self.min) / self.step
        if not (self.min <= value <= self.max and abs(steps - round(steps)) < 1e-6):
            raise ValueError(
                f"{name} goes from {self.min:g} to {self.max:g} in steps of {self.step:g}; got {value:g}."
            )

    @property
    def values(self) -> list[float]:
        """All numbers on the slider."""
        return [self.min + i * self.step for i in range(round((self.max - self.min) / self.step) + 1)]

    def describe(self) -> dict:
        """The control for live.js."""
        digits = len(f"{self.step:g}".partition(".")[2])
        return {"label": self.label, "min": self.min, "max": self.max, "step": self.step, "digits": digits}


@dataclass(frozen=True)
class Choice:
    """One of `options`, numbers or words; `start` is the first one unless it is given."""

    label: str
    options: Sequence[Any]
    first: Any = None

    @property
    def start(self) -> Any:
        """The option that is chosen at first."""
        return self.options[0] if self.first is None else self.first

    def check(self, name: str, value: Any) -> None:
        """Raises ValueError: this is none of the options."""
        if value not in self.options:
            raise ValueError(f"{name} is one of {', '.join(map(str, self.options))}; got {value}.")

    def describe(self) -> dict:
        """The control for live.js."""
        return {"label": self.label, "options": list(self.options)}
