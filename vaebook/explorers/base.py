"""What all explorers are made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from vaebook import figures
from vaebook.explorers.arrays import pack
from vaebook.explorers.controls import Choice, Slider
from vaebook.explorers.scene import Moving, describe, parts, plain, put

HERE = Path(__file__).parent


class Explorer(anywidget.AnyWidget):
    """A figure that moves with its controls, in the reader's browser, with or without a kernel.

    The figure is drawn by matplotlib, and its moving artists are drawn anew by live.js at every move. What
    they show there is computed twice: by `compute` for `still`, and by its twin in JavaScript for the reader.

    Args:
        figure: with axes side by side.
        compute: the value of every control, by name -> the data of every moving artist, by name
            (`scene.describe` says which kind takes what).
        controls: what the reader moves.
        moving: the artists that change; all others are drawn once.
        script: the file beside this one, without its ending, that holds `explorer(data)`, which returns
            `compute` in JavaScript.
        data: the numbers that the script starts from.
        alt: what the picture shows, for readers who do not see it.
        drag: an artist that can be dragged, and the names of the controls that are its x and its y.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        figure: Figure,
        compute: Callable[..., dict[str, Any]],
        controls: dict[str, Slider | Choice],
        moving: dict[str, Moving],
        *,
        script: str,
        data: dict[str, Any],
        alt: str,
        drag: tuple[str, str | None, str | None] | None = None,
    ):
        self.figure, self.controls, self.alt = figure, controls, alt
        self._compute, self._moving = compute, moving
        start = {name: control.start for name, control in controls.items()}
        for artist in moving.values():
            for part in parts(artist):
                part.set_animated(True)  # left out of the picture of what stays
        self._draw(start)
        plt.close(figure)  # or the notebook would show it below the cell, a second time and without alt text
        scene = describe(figure, moving) | {
            "controls": [{"name": name, **control.describe()} for name, control in controls.items()],
            "alt": alt,
            "drag": drag,
        }
        source = [(HERE / f"{name}.js").read_text("utf-8") for name in ("live", script)]
        super().__init__(
            _esm="\n".join([*source, "export default { render };\n"]),
            _css=(HERE / "live.css").read_text("utf-8"),
            scene=scene,
            data=pack(data),
            values=start,
        )

    def still(self, **values) -> Figure:
        """The figure with the given controls moved to the given values, for `figures.show`.

        Raises:
            ValueError: there is no such control, or it has no such value.
        """
        self.values = self._completed(values)
        self._draw(self.values)
        return self.figure

    def state(self, **values) -> dict[str, Any]:
        """The data of every moving artist with these controls moved, as lists: what the browser must find."""
        with torch.no_grad():
            shown = self._compute(**self._completed(values))
        return {name: plain(self._moving[name], data) for name, data in shown.items()}

    def _completed(self, values: dict) -> dict:
        if unknown := values.keys() - self.controls.keys():
            raise ValueError(f"no control is called {unknown.pop()!r}. There are {', '.join(self.controls)}.")
        for name, value in values.items():
            self.controls[name].check(name, value)
        return {**self.values, **values}

    def _draw(self, values: dict) -> None:
        with torch.no_grad():
            shown = self._compute(**values)
        for name, data in shown.items():
            put(self._moving[name], data)

    def _repr_mimebundle_(self, **options) -> tuple[dict, dict]:
        bundle, metadata = super()._repr_mimebundle_(**options)
        names = "; ".join(control.label for control in self.controls.values())
        # What a page without widgets shows.
        bundle["text/plain"] = (
            f"(An explorer: {self.alt}. Its controls: {names}. "
            "It moves in a notebook that is open in Jupyter and on the book's own pages.)"
        )
        return bundle, metadata


def pictures(axes: list[Axes], names: list[str]) -> tuple[list[AxesImage], list[Text]]:
    """A black image and a changeable title in each of the axes."""
    for ax in axes:
        figures.draw_image(ax, torch.zeros(784))
    titles = [ax.set_title(name or " ") for ax, name in zip(axes, names, strict=True)]
    return [ax.images[0] for ax in axes], titles
