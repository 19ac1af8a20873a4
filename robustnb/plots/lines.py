"""Lines over places, epochs or confidence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustnb.drawing import Drawing
from robustnb.metrics import expected_calibration_error
from robustnb.plots.canvas import (
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    VERMILION,
    WIDTH,
    add_legend,
    new_axes,
    with_spread,
)

Series = list[tuple[float, float | None] | None]


def curves(
    title: str,
    places: Sequence[str],
    lines: Mapping[str, Series],
    xlabel: str,
    ylabel: str,
    unit: str = "%",
) -> Drawing:
    """Draw lines over named places, with error bars.

    At each place a line has a pair of its value and its spread or None, or None if it was not
    measured. The alt text writes `unit` after every value.
    """
    figure, axes = new_chart(xlabel, ylabel, places)
    for index, (label, series) in enumerate(lines.items()):
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        draw_line(axes, label, series, **style)
    add_legend(figure)
    return Drawing(figure, curves_alt(title, places, lines, unit))


def training_curve(history: Sequence[Mapping[str, float]]) -> Drawing:
    """Draw training loss and validation accuracy over epochs, from the history `fit` returns."""
    if not history:
        raise ValueError("The history is empty: a training curve needs at least one epoch.")
    epochs = [int(row["epoch"]) for row in history]
    loss = [row["train_loss"] for row in history]
    accuracy = [100 * row["validation_accuracy"] for row in history]
    figure, (above, below) = new_axes(2, size=(WIDTH, 4.2), sharex=True)
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


def reliability(networks: Mapping[str, Sequence[Mapping[str, float]]]) -> Drawing:
    """Draw accuracy over confidence for each network, from the rows of `metrics.reliability`.

    The diagonal is a calibrated network; the area of a marker grows with its share of the images.
    """
    figure, (axes,) = new_axes(size=(WIDTH, 4.4))
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
    add_legend(figure)
    return Drawing(figure, f"Accuracy over confidence: {'; '.join(told)}.")


def new_chart(xlabel: str, ylabel: str, columns: Sequence[str]) -> tuple[Figure, Axes]:
    """Make axes with a place for each column, labelled with what follows its last '='."""
    figure, (axes,) = new_axes(size=(WIDTH, 3.6))
    labels = [column.split()[-1].split("=")[-1] for column in columns]
    axes.set_xticks(range(len(columns)), labels)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.5, len(columns) - 0.5))
    return figure, axes


def draw_line(axes: Axes, label: str, series: Series, **style: Any) -> Series:
    """Draw what was measured of a series, with its spreads; return the series for the alt text."""
    there = [(place, *point) for place, point in enumerate(series) if point is not None]
    if there:
        places, values, spreads = zip(*there, strict=True)
        errors = [spread or 0 for spread in spreads] if any(spreads) else None
        axes.errorbar(places, values, errors, label=label, capsize=3, **{"marker": "o"} | style)
    return series


def curves_alt(
    title: str, columns: Sequence[str], lines: Mapping[str, Series], unit: str = "%"
) -> str:
    """Say the values of all lines in words."""
    told = []
    for name, series in lines.items():
        points = [
            f"{column.split()[-1]} {with_spread(*point, unit)}"
            for column, point in zip(columns, series, strict=True)
            if point is not None
        ]
        told.append(f"{name}: {', '.join(points) or 'not measured'}")
    return f"{title}. {'; '.join(told)}."
