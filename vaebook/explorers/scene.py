"""A matplotlib figure as a picture of what stays and a list of what moves, both for live.js."""

import io
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.path import Path
from matplotlib.text import Text
from PIL import Image

ZOOM = 2  # pixels of the picture in one of the figure: sharp on a phone
MARGIN = 6  # pixels around each of the axes, with their labels
ANCHORS = {"left": "start", "center": "middle", "right": "end"}
Moving = Line2D | AxesImage | Text | Rectangle | StepPatch | BarContainer


def parts(artist: Moving) -> list[Artist]:
    """The artists that are drawn: a container of bars is none itself."""
    return list(artist) if isinstance(artist, BarContainer) else [artist]


def put(artist: Moving, data: Any) -> None:
    """Give an artist the data that `describe` says it takes."""
    match artist:
        case Line2D():
            artist.set_data(*map(np.asarray, data))
        case AxesImage():
            artist.set_data(np.asarray(data).reshape(artist.get_array().shape))
        case Text() if isinstance(data, str):
            artist.set_text(data)
        case Text():
            artist.set_text(data[0])
            artist.set_position(data[1:])
        case Rectangle():
            artist.set_bounds(*data)
        case StepPatch():
            artist.set_data(np.asarray(data))
        case BarContainer():
            for bar, height in zip(artist, data, strict=True):
                bar.set_height(height)


def describe(figure: Figure, moving: dict[str, Moving]) -> dict:
    """Everything about the figure that live.js needs, in pixels of the figure from its upper left corner.

    Each moving artist has its kind and its style, and `axes`, the number of its axes, whose maps from data to
    pixels are in `axes`. The data that it takes, in Python and in JavaScript:
    line: xs and ys; image: pixels, row by row; text: a string, or a string with x and y;
    rectangle: x, y, width and height; bars: heights.
    """
    dpi = figure.dpi
    figure.set_dpi(ZOOM * dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # leaves out what is animated
    figure.set_layout_engine("none")  # from now on nothing moves that should stay
    picture = io.BytesIO()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pixels.save(picture, "webp", quality=80, method=6)
    width, height = (figure.bbox.size / ZOOM).round(2).tolist()
    ordered = sorted(moving.items(), key=lambda item: parts(item[1])[0].get_zorder())
    scene = {
        "size": [width, height],
        "background": picture.getvalue(),
        "panels": _panels(figure, canvas),
        "axes": [_axes(ax, height) for ax in figure.axes],
        # A list: a notebook's file keeps the names of a dictionary in the order of the alphabet.
        "artists": [{"name": name, **_artist(artist, figure, height)} for name, artist in ordered],
    }
    figure.set_dpi(dpi)
    return scene


def _panels(figure: Figure, canvas: FigureCanvasAgg) -> list[list[float]]:
    """For each of the axes its part of the picture: on a phone the parts lie one below another."""
    parts, whole = [], figure.bbox.size
    for ax in figure.axes:
        box = ax.get_tightbbox(canvas.get_renderer()).padded(MARGIN * ZOOM)
        (x0, y0), (x1, y1) = np.clip(box.min, 0, whole), np.clip(box.max, 0, whole)
        parts.append((np.array([x0, whole[1] - y1, x1 - x0, y1 - y0]) / ZOOM).round(2).tolist())
    return parts


def _axes(ax: Axes, height: float) -> dict:
    """The box of the axes, and for x and y the map pixel = a * number + b, of the number's log10 if `log`."""
    lower, upper = ax.transData.transform(list(zip(ax.get_xlim(), ax.get_ylim(), strict=True))) / ZOOM
    maps = []
    for scale, ends, pixels in (
        (ax.get_xscale(), ax.get_xlim(), (lower[0], upper[0])),
        (ax.get_yscale(), ax.get_ylim(), (height - lower[1], height - upper[1])),
    ):
        log = scale == "log"
        low, high = np.log10(ends) if log else ends
        a = (pixels[1] - pixels[0]) / (high - low)
        maps.append({"log": log, "a": float(a), "b": float(pixels[0] - a * low)})
    return {"box": _box(ax.bbox, height), "x": maps[0], "y": maps[1]}


def _box(bbox: Any, height: float) -> list[float]:
    x, y, w, h = (bbox.x0, bbox.y1, bbox.width, bbox.height)
    return [round(float(v), 2) for v in (x / ZOOM, height - y / ZOOM, w / ZOOM, h / ZOOM)]


def _artist(artist: Moving, figure: Figure, height: float) -> dict:
    first = parts(artist)[0]
    described = {"axes": figure.axes.index(first.axes)}
    pixels = figure.dpi / ZOOM / 72  # in a point
    match artist:
        case Line2D():
            return described | {"kind": "line", **_line(artist, pixels)}
        case AxesImage():
            left, right, bottom, top = artist.get_extent()
            return described | {
                "kind": "image",
                "extent": [float(v) for v in (left, top, right, bottom)],
                "shape": list(artist.get_array().shape),
                "range": [float(v) for v in artist.get_clim()],
            }
        case Text():
            x, y = artist.get_transform().transform(artist.get_position()) / ZOOM
            return described | {
                "kind": "text",
                "at": [round(float(x), 2), round(float(height - y), 2)],
                "size": round(artist.get_fontsize() * pixels, 2),
                "weight": str(artist.get_fontweight()),
                "fill": _colour(artist.get_color(), artist.get_alpha()),
                "anchor": ANCHORS[artist.get_horizontalalignment()],
                "centred": artist.get_verticalalignment().startswith("center"),
            }
        case Rectangle():
            return described | {"kind": "rectangle", **_patch(first, pixels)}
        case StepPatch():
            edges = artist.get_data().edges
            bars = {"left": edges[:-1].tolist(), "width": np.diff(edges).tolist()}
        case BarContainer():
            bars = {
                "left": [float(bar.get_x()) for bar in artist],
                "width": [float(bar.get_width()) for bar in artist],
            }
    return described | {"kind": "bars", **bars, **_patch(first, pixels)}


def _line(line: Line2D, pixels: float) -> dict:
    styles = {"--": "dashed", ":": "dotted", "-.": "dashdot"}
    style, width = line.get_linestyle(), line.get_linewidth()
    drawn = style not in ("None", "none", "", " ")
    dashes = rcParams[f"lines.{styles[style]}_pattern"] if style in styles else []
    described = {
        "stroke": _colour(line.get_color(), line.get_alpha()) if drawn else "none",
        "thick": round(width * pixels, 2),
        "dashes": [round(part * width * pixels, 2) for part in dashes],
    }
    if line.get_marker() not in ("None", "none", "", " ", None):
        described["marker"] = {
            "path": _svg(MarkerStyle(line.get_marker()), line.get_markersize() * pixels),
            "fill": _colour(line.get_markerfacecolor(), line.get_alpha()),
            "stroke": _colour(line.get_markeredgecolor(), line.get_alpha()),
            "thick": round(line.get_markeredgewidth() * pixels, 2),
        }
    return described


def _patch(patch: Any, pixels: float) -> dict:
    return {
        "fill": _colour(patch.get_facecolor()),
        "stroke": _colour(patch.get_edgecolor()),
        "thick": round(patch.get_linewidth() * pixels, 2),
        "hatched": bool(patch.get_hatch()),
    }


def _colour(colour: Any, alpha: float | None = None) -> str:
    if isinstance(colour, str) and colour == "none":
        return "none"
    rgba = to_rgba(colour, alpha)
    return to_hex(rgba, keep_alpha=rgba[3] < 1) if rgba[3] else "none"


def _svg(marker: MarkerStyle, size: float) -> str:
    """A marker's outline as the `d` of an SVG path around the origin."""
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}
    path = marker.get_path().transformed(marker.get_transform())
    words = []
    for vertices, code in path.iter_segments():
        words.append(letters[code])
        if code != Path.CLOSEPOLY:
            points = vertices.reshape(-1, 2) * (size, -size)
            words += [f"{number:.2f}" for number in points.flatten()]
    return " ".join(words)


def plain(artist: Moving, data: Any) -> Any:
    """What `put` gives an artist, as lists of numbers."""
    if isinstance(artist, AxesImage):
        return np.ravel(data).tolist()
    if isinstance(data, (list, tuple)):
        return [part if isinstance(part, str) else np.asarray(part).tolist() for part in data]
    return data if isinstance(data, str) else np.asarray(data).tolist()
