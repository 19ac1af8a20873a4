"""Figures from rows, never from models; each is a Drawing whose alt text is made from its data.

The colours are of the Okabe-Ito palette, those that read on white and on near black; text and axes
are black, which the page replaces by its own colour of text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import ArrayLike, NDArray

from robustnb.drawing import Drawing
from robustnb.metrics import expected_calibration_error
from robustnb.results import Row, one_per_cell

BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#888888"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
MARKERS = ("o", "s", "^", "D")
STYLES: dict[str, dict[str, Any]] = {
    "paper": {"color": VERMILION, "linestyle": "--", "markerfacecolor": "none"},
    "ours": {"color": BLUE, "linestyle": "-"},
}
# Light enough at both ends for dark numbers.
HIGHER = LinearSegmentedColormap.from_list("higher", ["white", "#56B4E9"])
SIGNED = LinearSegmentedColormap.from_list("signed", ["#E69F00", "white", "#56B4E9"])
WIDTH = 5.4  # inches: a line chart that fits a column of 700 pixels and still reads at 390
NARROW = 4.6  # of a figure in the frame of a slider, whose margins leave a phone less

# Pairs of ends of strokes: one of length 0 with round ends is a dot.
DOT = np.zeros((2, 2))
CROSS = np.array([(-1, -1), (1, 1), (-1, 1), (1, -1)])

Cells = Mapping[tuple[str, str, str], Row]
Series = list[tuple[float, float | None] | None]


def comparison(cells: Sequence[Row], title: str) -> Drawing:
    """Draw published | ours | difference of one table (rows of `results.compare`) as heat maps.

    The three panels lie under each other; the difference is coloured symmetrically around 0, and
    what was not measured is a dash.
    """
    panels = {name: _matrix(cells, name) for name in ("published", "ours", "difference")}
    values = np.concatenate([panels["published"], panels["ours"]], axis=None)
    scale = {"cmap": HIGHER, "vmin": np.nanmin(values), "vmax": np.nanmax(values)}
    limit = np.nanmax(np.abs(panels["difference"]), initial=1e-9)
    signed = {"cmap": SIGNED, "vmin": -limit, "vmax": limit}
    height, width = panels["published"].shape
    figure, axes = _axes(3, size=(1.9 + 0.48 * width, 3 * (0.75 + 0.23 * height)))
    for panel, (name, matrix) in zip(axes, panels.items(), strict=True):
        _heat_map(panel, matrix, cells, signed if name == "difference" else scale)
        note = " (ours minus published)" if name == "difference" else ""
        panel.set_title(f"{title}: {name}{note}")
    return Drawing(figure, _comparison_alt(cells, title))


def accuracy_over_rho(
    rows: Iterable[Row], published: Iterable[Row], row: str = "average"
) -> Drawing:
    """Draw accuracy on perturbed images over rho_init, Table 2's points and ours.

    Horizontal lines are the best plain network of each. `row` picks one perturbation set.
    """
    cells = {"paper": _by_cell(published), "ours": one_per_cell(rows)}
    columns = _columns(cells["paper"], "2", "bayesian")
    plain = _columns(cells["paper"], "2", "standard")
    figure, axes = _chart("rho_init", "accuracy on perturbed images (%)", columns)
    lines = {
        name: _line(axes, name, _series(found, "2", row, columns), **STYLES[name])
        for name, found in cells.items()
    }
    alt = _curves_alt(f"Accuracy on perturbed images ({row}) over rho_init", columns, lines)
    for name, found in cells.items():
        best = _best(found, row, plain)
        if best is not None:
            label = f"best plain ({best['column'].split()[-1]}), {name}"
            axes.axhline(best["value"], color=STYLES[name]["color"], linestyle=":", label=label)
            alt += f" {label.capitalize()}: {_percent(best['value'], best['spread'])}."
    _legend(figure)
    return Drawing(figure, alt)


def ensemble_curve(rows: Iterable[Row], published: Iterable[Row]) -> Drawing:
    """Draw accuracy on perturbed images over the number of weight samples, Table 3's and ours."""
    cells = {"paper": _by_cell(published), "ours": one_per_cell(rows)}
    columns = _columns(cells["paper"], "3", "ensemble")
    ylabel = "accuracy on perturbed images (%)"
    figure, axes = _chart("weight samples in the ensemble", ylabel, columns)
    lines = {
        name: _line(axes, name, _series(found, "3", "average", columns), **STYLES[name])
        for name, found in cells.items()
    }
    _legend(figure)
    title = "Accuracy on perturbed images (average) over the number of weight samples"
    return Drawing(figure, _curves_alt(title, columns, lines))


def pruning_curve(rows: Iterable[Row], published: Iterable[Row]) -> Drawing:
    """Draw clean and perturbed accuracy over the share of weights removed, Table 4's and ours.

    At 0% is the unpruned ensemble of 100: Table 3's average for perturbed images, and for clean
    ones our own table `unpruned`, since the paper does not print it.
    """
    cells = {"paper": _by_cell(published), "ours": one_per_cell(rows)}
    columns = _columns(cells["paper"], "4", "pruned")
    places = ["pruned 0%", *columns]
    figure, axes = _chart("weights removed", "accuracy (%)", places)
    lines = {}
    for kind, row, unpruned, marker in (
        ("clean", "original test", "unpruned", "s"),
        ("perturbed", "average", "3", "o"),
    ):
        for name, found in cells.items():
            style, label = STYLES[name] | {"marker": marker}, f"{kind}, {name}"
            series = _series(found, unpruned, row, ["ensemble N=100"])
            series += _series(found, "4", row, columns)
            lines[label] = _line(axes, label, series, **style)
    _legend(figure)
    return Drawing(figure, _curves_alt("Accuracy over weights removed", places, lines))


def curves(
    title: str,
    places: Sequence[str],
    lines: Mapping[str, Series],
    xlabel: str,
    ylabel: str,
    unit: str = "%",
) -> Drawing:
    """Draw lines over named places; a line has (value, spread or None) or None at each place.

    The alt text writes `unit` behind every value.
    """
    figure, axes = _chart(xlabel, ylabel, places)
    for index, (label, series) in enumerate(lines.items()):
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        _line(axes, label, series, **style)
    _legend(figure)
    return Drawing(figure, _curves_alt(title, places, lines, unit))


def dots(title: str, cells: Mapping[str, Row], xlabel: str) -> Drawing:
    """Draw one value a line with its spread over seeds, from the least to the greatest."""
    order = sorted(cells, key=lambda name: float(cells[name]["value"]))
    figure, (axes,) = _axes(size=(WIDTH, 0.8 + 0.3 * len(order)))
    for place, name in enumerate(order):
        value, spread = cells[name]["value"], cells[name]["spread"]
        axes.errorbar([value], [place], xerr=spread, marker="o", color=BLUE, capsize=3)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel(xlabel)
    told = [f"{name} {_percent(cells[name]['value'], cells[name]['spread'])}" for name in order]
    return Drawing(figure, f"{title}, from the least to the greatest: {', '.join(told)}.")


def ranked(
    title: str, lengths: Mapping[str, ArrayLike], ylabel: str, limits: tuple[float, float]
) -> Drawing:
    """Draw lengths from the greatest to the least on a logarithmic axis, a dot for each.

    What is 0 lies below any axis, and below `limits` nothing is seen; the alt text counts both.
    """
    figure, (axes,) = _axes(size=(NARROW, 3.1))
    told = []
    for index, (name, values) in enumerate(lengths.items()):
        order = np.sort(np.asarray(values, dtype=float))[::-1]
        seen = order[order >= limits[0]]
        style: dict[str, Any] = {"color": COLOURS[index % 4], "marker": MARKERS[index % 4]}
        axes.plot(range(1, len(seen) + 1), seen, linestyle="", markersize=4, label=name, **style)
        unseen = f", {len(order) - len(seen)} below the axis" if len(seen) < len(order) else ""
        told.append(f"{name} from {order[0]:.2g} to {order[-1]:.2g}{unseen}")
    axes.set(yscale="log", ylim=limits, xlabel="examples, the longest first", ylabel=ylabel)
    _legend(figure)
    return Drawing(figure, f"{title}: {'; '.join(told)}.")


def training_curve(history: Sequence[Mapping[str, float]]) -> Drawing:
    """Draw training loss and validation accuracy over epochs from the rows that `fit` returns."""
    if not history:
        raise ValueError("The history is empty: a training curve needs at least one epoch.")
    epochs = [int(row["epoch"]) for row in history]
    loss = [row["train_loss"] for row in history]
    accuracy = [100 * row["validation_accuracy"] for row in history]
    figure, (above, below) = _axes(2, size=(WIDTH, 4.2), sharex=True)
    above.plot(epochs, loss, color=VERMILION, marker=".")
    above.set_ylabel("training loss")
    below.plot(epochs, accuracy, color=BLUE, marker=".")
    below.set_ylabel("validation\naccuracy (%)")
    below.set_xlabel("epoch")
    below.xaxis.get_major_locator().set_params(integer=True)
    best = int(np.argmax(accuracy))
    alt = (
        f"Training over {len(epochs)} epochs: the loss goes from {loss[0]:.3g} to {loss[-1]:.3g}; "
        f"validation accuracy from {accuracy[0]:.2f}% to {accuracy[-1]:.2f}%, at best "
        f"{accuracy[best]:.2f}% in epoch {epochs[best]}."
    )
    return Drawing(figure, alt)


def images(
    pictures: Sequence[Sequence[ArrayLike]],
    captions: Sequence[Sequence[str]],
    cmap: str = "gray",
    limit: float | None = 1.0,
) -> Drawing:
    """Draw rows of small images, crisp, with a caption under each.

    An image is (H, W), (1, H, W) or (3, H, W). One with a negative pixel is signed: blue is
    positive, red negative, on one scale for its row. Others go from 0 to `limit` (None: to each
    image's own maximum, as saliency maps want it).
    """
    if [len(row) for row in pictures] != [len(row) for row in captions]:
        raise ValueError("Every picture needs a caption: the two grids differ in shape.")
    columns = max(len(row) for row in pictures)
    figure, axes = _axes(len(pictures), columns, size=(1.1 * columns, 1.4 * len(pictures)))
    for panel in axes.flat:
        panel.set_axis_off()
    for panels, row, words in zip(axes.reshape(-1, columns), pictures, captions, strict=True):
        arrays = [_picture(picture) for picture in row]
        signed = max((np.abs(a).max() for a in arrays if a.min() < 0), default=0.0)
        for panel, array, caption in zip(panels, arrays, words, strict=False):
            _draw_image(panel, array, cmap, limit, signed)
            panel.text(0.5, -0.04, caption, ha="center", va="top", transform=panel.transAxes)
    told = "; ".join(", ".join(caption.replace("\n", " ") for caption in row) for row in captions)
    return Drawing(figure, f"{sum(map(len, pictures))} images: {told}.")


def probabilities(
    networks: Mapping[str, ArrayLike], classes: Sequence[str], true_class: str
) -> Drawing:
    """Draw the class probabilities that each network gives to one image, the true class marked."""
    figure, (axes,) = _axes(size=(WIDTH, 3.6))
    told = _bars(axes, networks, classes, true_class)
    _legend(figure)
    return Drawing(figure, told)


def answers(
    picture: ArrayLike,
    networks: Mapping[str, ArrayLike],
    classes: Sequence[str],
    true_class: str,
) -> Drawing:
    """Draw an image, as `images` takes it, beside the class probabilities of each network."""
    figure, (left, right) = _axes(1, 2, size=(NARROW, 2.9), widths=(1, 2.4))
    left.set_axis_off()
    _draw_image(left, _picture(picture), "gray", 1.0, 1.0)
    told = _bars(right, networks, classes, true_class)
    _legend(figure)
    return Drawing(figure, told)


def draws(answers: ArrayLike, classes: Sequence[str], true_class: str) -> Drawing:
    """Draw the class probabilities (S, classes) of S weight draws for one image.

    Bars are the mean over the draws, dots the single draws: the first 100, each in its own place
    across the width of the bars.
    """
    single = np.asarray(answers, dtype=float)
    if single.ndim != 2 or single.shape[1] != len(classes) or not len(single):
        raise ValueError(
            f"Draws have shape (draws, {len(classes)} classes) and are one at least, "
            f"not {single.shape}."
        )
    mean, number = single.mean(0), _count(len(single), "draw")
    figure, (axes,) = _axes(size=(NARROW, 3.1))
    _class_axes(axes, classes, true_class)
    axes.bar(range(len(classes)), mean, 0.8, color=BLUE, alpha=0.5, label=f"mean of {number}")
    style: dict[str, Any] = {"color": "black", "alpha": 0.6, "linewidth": 2.5}
    _strokes(axes, _spread_out(single[:100]), DOT, label="a single draw", **style)
    _legend(figure)
    top, votes = int(mean.argmax()), _votes([classes[top] for top in single.argmax(1)])
    alt = f"The mean of {number} says {classes[top]} ({mean[top]:.2f}); single draws: {votes}."
    return Drawing(figure, f"The true class is {true_class}. {alt}")


def boundaries(
    points: ArrayLike, labels: ArrayLike, side: ArrayLike, surfaces: Mapping[str, ArrayLike]
) -> Drawing:
    """Draw where networks part two classes of points (N, 2) of the plane, a panel for each network.

    A surface is the logits (S, M * M, 2) of S weight draws on `torch.cartesian_prod(side, side)`,
    with `side` of shape (M,). Each draw has its own line; the more the draws differ about a place,
    the darker is its shade.
    """
    places, kinds, ticks = np.asarray(points), np.asarray(labels), np.asarray(side)
    if len(set(kinds.tolist())) != 2:
        raise ValueError(f"A boundary parts two classes, not {len(set(kinds.tolist()))}.")
    figure, axes = _axes(1, len(surfaces), size=(WIDTH, WIDTH / len(surfaces) + 0.8))
    told = []
    for panel, (name, logits) in zip(axes, surfaces.items(), strict=True):
        margins = _margins(logits, ticks, name)
        _surface(panel, ticks, margins)
        _two_classes(panel, places, kinds)
        panel.set_title(fill(name, 72 // len(surfaces)), size="medium")
        disputed = ((margins > 0) != (margins[0] > 0)).any(0).mean()
        told.append(
            f"{name}: {_count(len(margins), 'draw')}, differing on {disputed:.0%} of the plane"
        )
    handles, words = axes[-1].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=3, frameon=False)
    start = f"Boundaries between two classes of {len(places)} points in the plane"
    return Drawing(figure, f"{start}. {'; '.join(told)}.")


def reliability(networks: Mapping[str, Sequence[Mapping[str, float]]]) -> Drawing:
    """Draw accuracy over confidence for each network, from the rows of `metrics.reliability`.

    A calibrated network lies on the diagonal; the area of a marker is its share of the images.
    """
    figure, (axes,) = _axes(size=(WIDTH, 4.4))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="calibrated")
    told = []
    for index, (name, rows) in enumerate(networks.items()):
        error = expected_calibration_error([dict(row) for row in rows])
        confidence, accuracy, share = (
            [row[key] for row in rows] for key in ("confidence", "accuracy", "share")
        )
        colour = COLOURS[index % 4]
        axes.plot(confidence, accuracy, color=colour, label=f"{name}, ECE {error:.3f}")
        sizes = 20 + 180 * np.array(share)
        axes.scatter(confidence, accuracy, sizes, color=colour, marker=MARKERS[index % 4])
        told.append(f"{name} has an expected calibration error of {error:.3f}")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
    _legend(figure)
    return Drawing(figure, f"Accuracy over confidence: {'; '.join(told)}.")


def _axes(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float],
    sharex: bool = False,
    widths: Sequence[float] | None = None,
) -> tuple[Figure, NDArray[Any]]:
    """Return a transparent figure and its axes in one flat array, without the upper frame."""
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=sharex, squeeze=False, width_ratios=widths)
    axes = grid.ravel()
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color=GREY, alpha=0.3)
        panel.set_axisbelow(True)
    return figure, axes


def _chart(xlabel: str, ylabel: str, columns: Sequence[str]) -> tuple[Figure, Axes]:
    """Return axes with one place for each column, labelled with what follows its last '='."""
    figure, (axes,) = _axes(size=(WIDTH, 3.6))
    labels = [column.split()[-1].split("=")[-1] for column in columns]
    axes.set_xticks(range(len(columns)), labels)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.5, len(columns) - 0.5))
    return figure, axes


def _bars(
    axes: Axes, networks: Mapping[str, ArrayLike], classes: Sequence[str], true_class: str
) -> str:
    """Draw a bar for each network and class; return the alt text."""
    _class_axes(axes, classes, true_class)
    truth, width = classes.index(true_class), 0.8 / len(networks)
    told = []
    for index, (name, values) in enumerate(networks.items()):
        heights = np.asarray(values, dtype=float)
        positions = np.arange(len(classes)) + width * (index - (len(networks) - 1) / 2)
        axes.bar(positions, heights, width, label=name, color=COLOURS[index % 4])
        top = int(heights.argmax())
        rest = "" if top == truth else f", {true_class} ({heights[truth]:.2f})"
        told.append(f"{name} says {classes[top]} ({heights[top]:.2f}){rest}")
    return f"The true class is {true_class}. {'; '.join(told)}."


def _class_axes(axes: Axes, classes: Sequence[str], true_class: str) -> None:
    """Give the axes a place for each class, the true one marked, whatever will be drawn."""
    if true_class not in classes:
        raise ValueError(f"{true_class!r} is no class: the classes are {', '.join(classes)}.")
    long = max(map(len, classes)) > 3
    axes.set_xticks(range(len(classes)), classes, rotation=90 if long else 0)
    axes.set(xlabel="class", ylabel="probability", xlim=(-0.5, len(classes) - 0.5), ylim=(0, 1))
    place = classes.index(true_class)
    axes.axvspan(place - 0.5, place + 0.5, color=GREY, alpha=0.25)
    axes.text(place, 1.01, "true class", ha="center")


def _spread_out(single: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the places (dots, 2) of probabilities (S, classes), those that would coincide once."""
    golden = 0.618034
    offsets = ((0.5 + golden * np.arange(len(single))) % 1).round(1) - 0.5
    across = np.arange(single.shape[1]) + 0.7 * offsets[:, None]
    dots = np.stack([across, single], axis=-1).reshape(-1, 2)
    return np.unique(dots.round(2), axis=0)


def _votes(names: Sequence[str]) -> str:
    """Say how many draws say what: the three most frequent names, and how many say another."""
    counts = Counter(names).most_common(3)
    if others := len(names) - sum(count for _, count in counts):
        counts.append(("another", others))
    return ", ".join(f"{count} say{'s' * (count == 1)} {name}" for name, count in counts)


def _margins(logits: ArrayLike, side: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return how far each draw prefers the second class, (S, M, M) with y before x."""
    found, length = np.asarray(logits, dtype=float), len(side)
    if found.ndim != 3 or found.shape[1:] != (length**2, 2):
        raise ValueError(
            f"The logits of {name!r} have shape {found.shape}: with {length} places a side it "
            f"must be (draws, {length**2}, 2)."
        )
    return (found[..., 1] - found[..., 0]).reshape(-1, length, length).swapaxes(1, 2)


def _surface(axes: Axes, side: NDArray[Any], margins: NDArray[np.float64]) -> None:
    """Draw the boundary of each draw, and a shade where the draws differ."""
    share = (margins > 0).mean(0)
    shade = np.zeros((*share.shape, 4)) + to_rgba(GREY)
    shade[..., 3] = 1.4 * np.minimum(share, 1 - share)
    extent = (side[0], side[-1], side[0], side[-1])
    axes.imshow(shade, extent=extent, origin="lower")
    # On 45 places a side a line is smooth enough, and its bytes are few.
    some = np.linspace(0, len(side) - 1, min(len(side), 45)).astype(int)
    alone = len(margins) == 1
    style: dict[str, Any] = {"alpha": 1.0 if alone else 0.5, "linewidth": 1.5 if alone else 1.0}
    for margin in margins:
        if margin.min() < 0 < margin.max():
            coarse = margin[np.ix_(some, some)]
            lines = axes.contour(side[some], side[some], coarse, levels=[0], colors="black")
            lines.set(**style)
    axes.plot([], [], color="black", label="boundary of a draw", **style)
    axes.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    axes.spines[["top", "right"]].set_visible(True)


def _two_classes(axes: Axes, places: NDArray[Any], kinds: NDArray[Any]) -> None:
    """Draw the points of one class as dots and of the other as crosses, at most 200 in all."""
    shown = slice(None, None, ceil(len(places) / 200))
    places, kinds = places[shown], kinds[shown]
    first, second = np.unique(kinds)
    _strokes(axes, places[kinds == first], DOT, color=BLUE, linewidth=4, label=f"class {first}")
    radius = 0.012 * np.ptp(axes.get_xlim())
    style: dict[str, Any] = {"color": VERMILION, "linewidth": 1.2, "label": f"class {second}"}
    _strokes(axes, places[kinds == second], radius * CROSS, **style)


def _strokes(
    axes: Axes, places: NDArray[Any], glyph: NDArray[Any], *, label: str, **style: Any
) -> None:
    """Draw a glyph of strokes at each place as one path: a quarter of the bytes of markers."""
    vertices = (places[:, None] + glyph).reshape(-1, 2)
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * (len(vertices) // 2))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, fill=False, capstyle="round", **style))
    marker = "o" if glyph is DOT else "x"
    axes.plot([], [], marker, markersize=5, color=style["color"], label=label)


def _by_cell(published: Iterable[Row]) -> Cells:
    return {(cell["table"], cell["row"], cell["column"]): cell for cell in published}


def _columns(cells: Cells, table: str, kind: str) -> list[str]:
    found = (c for name, _, c in cells if name == table and c.startswith(kind))
    return list(dict.fromkeys(found))


def _series(cells: Cells, table: str, row: str, columns: Sequence[str]) -> Series:
    found = [cells.get((table, row, column)) for column in columns]
    return [None if cell is None else (cell["value"], cell["spread"]) for cell in found]


def _best(cells: Cells, row: str, columns: Sequence[str]) -> Row | None:
    found = [cells["2", row, column] for column in columns if ("2", row, column) in cells]
    return max(found, key=lambda cell: float(cell["value"]), default=None)


def _line(axes: Axes, label: str, series: Series, **style: Any) -> Series:
    """Draw the points that are there, with their spreads; return the series for the alt text."""
    there = [(place, *point) for place, point in enumerate(series) if point is not None]
    if there:
        places, values, spreads = zip(*there, strict=True)
        errors = [spread or 0 for spread in spreads] if any(spreads) else None
        axes.errorbar(places, values, errors, label=label, capsize=3, **{"marker": "o"} | style)
    return series


def _legend(figure: Figure) -> None:
    """Put the legend above the axes, where it hides nothing."""
    figure.legend(loc="outside upper center", ncols=2, frameon=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _percent(value: float, spread: float | None, unit: str = "%") -> str:
    return f"{value:.2f}" + ("" if spread is None else f" ± {spread:.2f}") + unit


def _curves_alt(
    title: str, columns: Sequence[str], lines: Mapping[str, Series], unit: str = "%"
) -> str:
    told = []
    for name, series in lines.items():
        points = [
            f"{column.split()[-1]} {_percent(*point, unit)}"
            for column, point in zip(columns, series, strict=True)
            if point is not None
        ]
        told.append(f"{name}: {', '.join(points) or 'not measured'}")
    return f"{title}. {'; '.join(told)}."


def _matrix(cells: Sequence[Row], name: str) -> NDArray[np.float64]:
    rows, columns = _names(cells)
    values = {(cell["row"], cell["column"]): cell[name] for cell in cells}
    table = [[values.get((row, column)) for column in columns] for row in rows]
    return np.array(table, dtype=float)


def _names(cells: Sequence[Row]) -> tuple[list[str], list[str]]:
    rows, columns = ([cell[kind] for cell in cells] for kind in ("row", "column"))
    return list(dict.fromkeys(rows)), list(dict.fromkeys(columns))


def _heat_map(
    axes: Axes, matrix: NDArray[np.float64], cells: Sequence[Row], scale: Mapping[str, Any]
) -> None:
    import seaborn

    rows, columns = _names(cells)
    decimals = max(cell["decimals"] for cell in cells)
    sign = "+" if scale["vmin"] == -scale["vmax"] else ""
    words = [[f"{value:{sign}.{decimals}f}" for value in line] for line in matrix]
    seaborn.heatmap(
        matrix, mask=np.isnan(matrix), annot=np.array(words), fmt="", cbar=False, ax=axes,
        annot_kws={"size": 8, "color": "#222222"}, yticklabels=rows, **scale,
        xticklabels=[column.replace(" ", "\n").replace("=", "=\n") for column in columns],
    )  # fmt: skip
    for place in np.argwhere(np.isnan(matrix)):
        axes.text(place[1] + 0.5, place[0] + 0.5, "–", ha="center", va="center")
    axes.grid(visible=False)
    axes.tick_params(labelsize=8, length=0, top=False, labeltop=True, labelbottom=False)
    axes.tick_params(axis="x", rotation=0)


def _comparison_alt(cells: Sequence[Row], title: str) -> str:
    measured = [cell for cell in cells if cell["difference"] is not None]
    start = f"{title}: {len(measured)} of {len(cells)} published cells measured"
    if not measured:
        return start + "."
    gaps = [abs(cell["difference"]) for cell in measured]
    largest = measured[int(np.argmax(gaps))]
    return (
        f"{start}, {np.mean(gaps):.2f} from the published value on average; the largest difference "
        f"is {largest['difference']:+.2f} at {largest['row']}, {largest['column']} (published "
        f"{largest['published']:.2f}, ours {largest['ours']:.2f})."
    )


def _picture(picture: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(picture, dtype=float)
    if array.ndim == 3 and len(array) in (1, 3):
        array = array[0] if len(array) == 1 else array.transpose(1, 2, 0)
    elif array.ndim != 2:
        raise ValueError(f"An image is (H, W), (1, H, W) or (3, H, W), not {array.shape}.")
    return array


def _draw_image(
    axes: Axes, array: NDArray[np.float64], cmap: str, limit: float | None, signed: float
) -> None:
    if array.min() < 0:
        grey = array if array.ndim == 2 else array.mean(-1)
        axes.imshow(grey, cmap="RdBu", vmin=-signed, vmax=signed, interpolation="none")
    else:
        top = array.max() if limit is None else limit
        axes.imshow(array, cmap=cmap, vmin=0, vmax=top, interpolation="none")
