"""Figures drawn once for every setting, shown under sliders that need no kernel."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import numpy as np
import traitlets
from matplotlib.transforms import Bbox

from robustnb.drawing import Drawing, still
from robustnb.widgets.settings import as_python
from robustnb.widgets.static import StaticWidget

MOST_FRAMES = 200  # of 10 kB each: what a page carries without delay


class Frames(StaticWidget):
    """Show one of many pictures, chosen by sliders.

    `positions` holds one index per slider and may be set and observed from Python; `pictures`
    and `descriptions` are in the order of nested loops, the last slider running fastest.
    """

    _module = "frames.js"
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    descriptions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sliders = traitlets.List(traitlets.Dict()).tag(sync=True)
    positions = traitlets.Tuple().tag(sync=True)

    @traitlets.validate("positions")
    def _check_positions(self, proposal: Mapping[str, Any]) -> tuple[int, ...]:
        positions: tuple[int, ...] = tuple(map(as_python, proposal["value"]))
        lengths = self._lengths()
        if len(positions) != len(lengths) or not all(map(_is_index, positions, lengths)):
            ranges = ", ".join(f"0 to {length - 1}" for length in lengths)
            raise traitlets.TraitError(
                f"positions must be one whole number per slider ({ranges}), got {list(positions)}"
            )
        return positions

    def fallback(self) -> str:
        """Return the picture at the present positions, and in words what it shows."""
        frame = self._frame()
        picture = still(self.pictures[frame], self.descriptions[frame])
        pairs = zip(self.sliders, self.positions, strict=True)
        setting = ", ".join(
            f"{slider['label']} {slider['values'][index]}" for slider, index in pairs
        )
        return (
            '<div class="explorable">'
            f'<div class="explorable-picture">{picture}</div>'
            f'<p class="explorable-text"><span>{escape(self.descriptions[frame])}<br>'
            f"Shown at {escape(setting)}. The controls need JavaScript.</span></p></div>"
        )

    def _address(self) -> dict[str, dict[str, Any]]:
        return {
            slider["name"]: {"trait": "positions", "index": index, "values": slider["values"]}
            for index, slider in enumerate(self.sliders)
        }

    def _frame(self) -> int:
        return int(np.ravel_multi_index(self.positions, self._lengths()))

    def _lengths(self) -> list[int]:
        return [len(slider["values"]) for slider in self.sliders]

    def __repr__(self) -> str:
        return f"<figure with sliders: {self.descriptions[self._frame()]}>"


def _is_index(position: object, length: int) -> bool:
    return isinstance(position, int) and 0 <= position < length


def sweep(
    draw: Callable[..., Drawing],
    *,
    labels: Mapping[str, str] | None = None,
    formats: Mapping[str, str] | None = None,
    start: Mapping[str, Any] | None = None,
    name: str | None = None,
    **values: Iterable[Any],
) -> Frames:
    """Draw a figure for every combination of values, and put one slider per keyword under it.

    `sweep(draw, eps=[0, 0.1])` calls `draw(eps=0)` and `draw(eps=0.1)`. For each keyword, `labels`
    name its slider (`{"eps": "strength ε"}`), `formats` say how its values are written
    (`{"eps": "{:.2f}"}`) and `start` holds the value shown first. `name` stands for the figure in
    the page's address (`#name.eps=0.1`); by default it is made of the keywords. Values that are
    all texts have no order: they are chosen by buttons.
    """
    labels, formats, start = labels or {}, formats or {}, start or {}
    choices = {key: _listed(key, given) for key, given in values.items()}
    _check_names(choices, labels=labels, formats=formats, start=start)
    _check_number(choices)
    written = {key: _written(options, formats.get(key)) for key, options in choices.items()}
    positions = [_position(key, written[key], formats, start) for key in choices]
    pictures = _pictures(draw, choices)
    return Frames(
        name=name or "-".join(choices),
        pictures=[picture for picture, _ in pictures],
        descriptions=[description for _, description in pictures],
        sliders=[
            {"name": key, "label": labels.get(key, key), "values": texts, **_kind(choices[key])}
            for key, texts in written.items()
        ],
        positions=positions,
    )


def _kind(options: list[Any]) -> dict[str, str]:
    """Tell the page which values are no scale that a slider could run along."""
    return {"kind": "choice"} if all(isinstance(value, str) for value in options) else {}


def _listed(name: str, given: Any) -> list[Any]:
    """Return the values of a keyword as plain Python values, from any iterable, array or tensor."""
    given = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"sweep needs a list of values for {name}, got {given!r}")
    options = list(given)
    if not options:
        raise ValueError(f"sweep needs at least one value for {name}, got none")
    return options


def _check_names(choices: Mapping[str, Any], **settings: Mapping[str, Any]) -> None:
    if not choices:
        raise ValueError("sweep needs a keyword with values, such as eps=[0, 0.1, 0.2]")
    for setting, given in settings.items():
        if unknown := sorted(given.keys() - choices.keys()):
            raise ValueError(
                f"{setting} has no use for {unknown[0]!r}; the sliders are {', '.join(choices)}"
            )


def _check_number(choices: Mapping[str, list[Any]]) -> None:
    number = math.prod(map(len, choices.values()))
    if number > MOST_FRAMES:
        factors = ", ".join(f"{len(options)} of {name}" for name, options in choices.items())
        raise ValueError(
            f"sweep would draw {number} frames ({factors}); a page carries at most {MOST_FRAMES}"
        )


def _written(options: list[Any], form: str | None) -> list[str]:
    def write(value: Any) -> str:
        return (form or ("{:g}" if isinstance(value, float) else "{}")).format(value)

    return [write(value) for value in options]


def _position(
    name: str, texts: list[str], formats: Mapping[str, str], start: Mapping[str, Any]
) -> int:
    """Find the value to start from by how it is written, since 0.1 + 0.2 is not 0.3."""
    if name not in start:
        return 0
    (text,) = _written([start[name]], formats.get(name))
    if text not in texts:
        raise ValueError(f"{name} cannot start at {text}; its values are {', '.join(texts)}")
    return texts.index(text)


def _pictures(
    draw: Callable[..., Drawing], choices: Mapping[str, list[Any]]
) -> list[tuple[str, str]]:
    """Draw all frames, cut to one box so that nothing jumps when a slider moves."""
    settings = itertools.product(*choices.values())
    drawings = [_drawn(draw, dict(zip(choices, setting, strict=True))) for setting in settings]
    box = Bbox.union([drawing.box() for drawing in drawings])
    return [(drawing.svg(box), drawing.alt) for drawing in drawings]


def _drawn(draw: Callable[..., Drawing], setting: Mapping[str, Any]) -> Drawing:
    drawing: object = draw(**setting)
    if not isinstance(drawing, Drawing):
        call = ", ".join(f"{name}={value!r}" for name, value in setting.items())
        kind = type(drawing).__name__
        raise TypeError(f"draw({call}) must return a Drawing, got a value of type {kind}")
    return drawing
