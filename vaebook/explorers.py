"""Figures with sliders: a move draws one picture, and `still` gives the same picture for the page."""

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
from torch import Tensor

from vaebook import figures
from vaebook.device import seeded
from vaebook.figures import INK
from vaebook.models import VAE, Autoencoder, squared_error

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


def code_size_and_noise(models: dict[int, Autoencoder], x: Tensor) -> Explorer:
    """Choose the code size and the noise on the image, see what comes back.

    models: one autoencoder for each code size; x: (n, 784) images to choose from.
    """
    fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.5))
    pictures, titles = _pictures(axes, ["image", "given to the encoder", ""])
    noise_of = torch.randn(x.shape, generator=seeded(0, x.device), device=x.device)

    def update(image: int, code_size: int, noise: float) -> None:
        clean = x[image : image + 1]
        given = (clean + noise * noise_of[image]).clamp(0, 1)
        rebuilt = models[code_size](given)
        for picture, shown in zip(pictures, (clean, given, rebuilt), strict=True):
            picture.set_data(figures.square(shown))
        titles[2].set_text(f"{code_size} numbers, error {squared_error(rebuilt, clean).item():.1f}")

    return Explorer(
        fig,
        update,
        {
            "image": _slider(widgets.IntSlider, "image", 0, 0, len(x) - 1, 1),
            "code_size": widgets.SelectionSlider(
                options=sorted(models), description="code size", layout=WIDE, style=LABEL
            ),
            "noise": _slider(widgets.FloatSlider, "noise", 0.0, 0.0, 0.8, 0.1),
        },
    )


def code_plane(model: Autoencoder, codes: Tensor, labels: Tensor) -> Explorer:
    """Move a point over the code plane of a 2-D autoencoder, see the decoded image and the nearest code.

    codes: (n, 2) of real images; labels: (n,).
    """
    fig, (plane, screen) = plt.subplots(1, 2, figsize=(7.4, 3.9), width_ratios=(1.6, 1))
    figures.draw_codes(plane, codes, labels, size=14, alpha=0.7)
    (line,) = plane.plot([], [], color=INK, lw=1, animated=True)
    (point,) = plane.plot([], [], "o", color=INK, ms=8, animated=True)
    (picture,), (title,) = _pictures([screen], [""])

    def update(first: float, second: float) -> None:
        at = torch.tensor([[first, second]], device=codes.device)
        distance, nearest = torch.cdist(at, codes)[0].min(0)
        there = codes[nearest].tolist()
        line.set_data([first, there[0]], [second, there[1]])
        point.set_data([first], [second])
        picture.set_data(figures.square(model.decode(at)))
        title.set_text(f"distance to the nearest code {distance.item():.2f}")

    low, high = (codes.amin(0) - 1).round().tolist(), (codes.amax(0) + 1).round().tolist()
    plane.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    controls = {
        "first": _slider(widgets.FloatSlider, "first number", 0.0, low[0], high[0], 0.1),
        "second": _slider(widgets.FloatSlider, "second number", 0.0, low[1], high[1], 0.1),
    }
    return Explorer(fig, update, controls)


def latent_plane(model: VAE, codes: Tensor, labels: Tensor, ends: Tensor) -> Explorer:
    """Walk between two images in the latent plane of a 2-D VAE, drawing z around each point of the way.

    codes: (n, 2) means of real images; labels: (n,); ends: (2, 784) the two binary images.
    """
    fig, (plane, screen) = plt.subplots(1, 2, figsize=(7.4, 3.9), width_ratios=(1.6, 1))
    figures.draw_codes(plane, codes, labels, size=14, alpha=0.6)
    with torch.no_grad():
        mu, log_var = model.encode(ends)
    figures.draw_ellipses(plane, mu, log_var, edgecolor=INK)
    plane.plot(*mu.T.cpu(), color=INK, lw=1, ls="--")
    for name, end in zip("AB", mu.tolist(), strict=True):
        plane.annotate(name, end, xytext=(6, 6), textcoords="offset points", weight="bold")
    plane.set(xlabel="$z_1$", ylabel="$z_2$")
    (point,) = plane.plot([], [], "o", color=INK, ms=8, animated=True)
    (picture,), _ = _pictures([screen], ["decoder mean at z"])
    eps = torch.randn(21, 2, generator=seeded(1, mu.device), device=mu.device)

    def update(way: float, draw: int, spread: float) -> None:
        between = torch.lerp(mu[0], mu[1], way)
        std = (0.5 * torch.lerp(log_var[0], log_var[1], way)).exp()
        z = between + spread * std * eps[draw]
        point.set_data(*z[:, None].tolist())
        picture.set_data(figures.square(model.decoder_mean(z[None])))

    return Explorer(
        fig,
        update,
        {
            "way": _slider(widgets.FloatSlider, "from A to B", 0.0, 0.0, 1.0, 0.05),
            "draw": _slider(widgets.IntSlider, "draw number", 0, 0, len(eps) - 1, 1),
            "spread": _slider(widgets.FloatSlider, "spread", 1.0, 0.0, 3.0, 0.25),
        },
    )


def _slider(kind: type, name: str, value: float, low: float, high: float, step: float) -> widgets.ValueWidget:
    return kind(value=value, min=low, max=high, step=step, description=name, layout=WIDE, style=LABEL)


def _pictures(axes: list[Axes], names: list[str]) -> tuple[list[AxesImage], list[Text]]:
    """A black image and a changeable title in each of the axes."""
    for ax in axes:
        figures.draw_image(ax, torch.zeros(784))
    titles = [ax.set_title(name or " ", animated=True) for ax, name in zip(axes, names, strict=True)]
    return [ax.images[0] for ax in axes], titles
