"""What all explorers are made of."""

import io
from collections.abc import Callable

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image

from vaebook import figures

WIDE = {"width": "26em"}
LABEL = {"description_width": "8em"}


class Explorer:
    """A figure, the controls that change it, and the function that redraws it.

    Args:
        figure: what `update` changes in it must be images or animated artists (`set_animated(True)`): the
            rest is drawn once, so that a move costs milliseconds.
        update: called with the value of every control, by name.
        controls: ipywidgets with a `value`; all of them work by keyboard.
    """

    def __init__(self, figure: Figure, update: Callable[..., None], controls: dict[str, widgets.ValueWidget]):
        self.figure, self._update, self.controls = figure, update, controls
        self._update(**self.values)
        self._canvas = FigureCanvasAgg(figure)
        plt.close(figure)  # or the notebook would show it below the cell, a second time and without alt text
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(figure.bbox)
        self._moving = figure.findobj(lambda artist: artist.get_animated() or isinstance(artist, AxesImage))
        self.picture = widgets.Image(format="png")
        self.widget = widgets.VBox([*controls.values(), self.picture], layout={"align_items": "flex-start"})
        for control in controls.values():
            control.observe(self._moved, "value")
        self._moved()

    @property
    def values(self) -> dict:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def still(self, **values) -> Figure:
        """The figure with the given controls moved to the given values, for `figures.show`.

        Raises:
            ValueError: there is no such control, or it does not go that far.
        """
        if unknown := values.keys() - self.controls.keys():
            raise ValueError(f"no control is called {unknown.pop()!r}. There are {', '.join(self.controls)}.")
        for name, value in values.items():
            control = self.controls[name]
            control.value = value
            if control.value != value:  # sliders clamp silently
                raise ValueError(f"{name} goes from {control.min} to {control.max}; got {value}.")
        return self.figure

    def _moved(self, _change: dict | None = None) -> None:
        with torch.no_grad():
            self._update(**self.values)
        self._canvas.restore_region(self._background)
        for artist in self._moving:
            artist.draw(self._canvas.get_renderer())
        png = io.BytesIO()
        # Not savefig: it would lay out and draw the whole figure again.
        Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB").save(
            png, "png", compress_level=1
        )
        self.picture.value = png.getvalue()

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = self.widget._repr_mimebundle_(**options)
        names = ", ".join(control.description for control in self.controls.values())
        # What a page without widgets shows; the widget's own text is a listing of its parts.
        bundle["text/plain"] = f"(an explorer with sliders: {names}; it moves in a running notebook)"
        return bundle


def slider(kind: type, name: str, value: float, low: float, high: float, step: float) -> widgets.ValueWidget:
    return kind(value=value, min=low, max=high, step=step, description=name, layout=WIDE, style=LABEL)


def pictures(axes: list[Axes], names: list[str]) -> tuple[list[AxesImage], list[Text]]:
    """A black image and a changeable title in each of the axes."""
    for ax in axes:
        figures.draw_image(ax, torch.zeros(784))
    titles = [ax.set_title(name or " ", animated=True) for ax, name in zip(axes, names, strict=True)]
    return [ax.images[0] for ax in axes], titles
