"""Figures of Tables 2 to 4 of Zhang & Chen (2020): the published numbers and ours."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robustnb.drawing import Drawing
from robustnb.plots.canvas import BLUE, VERMILION, WIDTH, add_legend, new_axes, with_spread
from robustnb.plots.lines import Series, curves_alt, draw_line, new_chart
from robustnb.results import Row, one_per_cell

STYLES: dict[str, dict[str, Any]] = {
    "paper": {"color": VERMILION, "linestyle": "--", "markerfacecolor": "none"},
    "ours": {"color": BLUE, "linestyle": "-"},
}
Cells = Mapping[tuple[str, str, str], Row]


def accuracy_over_rho(
    rows: Iterable[Row], published: Iterable[Row], row: str = "average"
) -> Drawing:
    """Draw accuracy on perturbed images over rho_init, as published in Table 2 and as measured.

    Horizontal lines are the best plain network of each. `row` is the perturbation set.
    """
    cells = {"paper": _by_cell(published), "ours": one_per_cell(rows)}
    columns = _columns(cells["paper"], "2", "bayesian")
    plain = _columns(cells["paper"], "2", "standard")
    figure, axes = new_chart("rho_init", "accuracy on perturbed images (%)", columns)
    lines = {
        name: draw_line(axes, name, _series(found, "2", row, columns), **STYLES[name])
        for name, found in cells.items()
    }
    alt = curves_alt(f"Accuracy on perturbed images ({row}) over rho_init", columns, lines)
    for name, found in cells.items():
        best = _best(found, row, plain)
        if best is not None:
            label = f"best plain ({best['column'].split()[-1]}), {name}"
            axes.axhline(best["value"], color=STYLES[name]["color"], linestyle=":", label=label)
            alt += f" {label.capitalize()}: {with_spread(best['value'], best['spread'])}."
    add_legend(figure)
    return Drawing(figure, alt)


def ensemble_curve(rows: Iterable[Row], published: Iterable[Row]) -> Drawing:
    """Draw accuracy on perturbed images over the number of weight samples (Table 3 and ours)."""
    cells = {"paper": _by_cell(published), "ours": one_per_cell(rows)}
    columns = _columns(cells["paper"], "3", "ensemble")
    ylabel = "accuracy on perturbed images (%)"
    figure, axes = new_chart("weight samples in the ensemble", ylabel, columns)
    lines = {
        name: draw_line(axes, name, _series(found, "3", "average", columns), **STYLES[name])
        for name, found in cells.items()
    }
    add_legend(figure)
    title = "Accuracy on perturbed images (average) over the number of weight samples"
    return Drawing(figure, curves_alt(title, columns, lines))


def pruning_curve(rows: Iterable[Row], published: Iterable[Row]) -> Drawing:
    """Draw clean and perturbed accuracy over the share of weights removed (Table 4 and ours).

    The points at 0% are the unpruned ensemble of 100 samples: on perturbed images from Table 3, on
    clean ones from our own table `unpruned`, since the paper does not print them.
    """
    cells = {"paper": _by_cell(published), "ours": one_per_cell(rows)}
    columns = _columns(cells["paper"], "4", "pruned")
    places = ["pruned 0%", *columns]
    figure, axes = new_chart("weights removed", "accuracy (%)", places)
    lines = {}
    for kind, row, unpruned, marker in (
        ("clean", "original test", "unpruned", "s"),
        ("perturbed", "average", "3", "o"),
    ):
        for name, found in cells.items():
            style, label = STYLES[name] | {"marker": marker}, f"{kind}, {name}"
            series = _series(found, unpruned, row, ["ensemble N=100"])
            series += _series(found, "4", row, columns)
            lines[label] = draw_line(axes, label, series, **style)
    add_legend(figure)
    return Drawing(figure, curves_alt("Accuracy over weights removed", places, lines))


def dots(title: str, cells: Mapping[str, Row], xlabel: str) -> Drawing:
    """Draw each cell's value and spread on a line of its own, from the least to the greatest."""
    order = sorted(cells, key=lambda name: float(cells[name]["value"]))
    figure, (axes,) = new_axes(size=(WIDTH, 0.8 + 0.3 * len(order)))
    for place, name in enumerate(order):
        value, spread = cells[name]["value"], cells[name]["spread"]
        axes.errorbar([value], [place], xerr=spread, marker="o", color=BLUE, capsize=3)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel(xlabel)
    told = [f"{name} {with_spread(cells[name]['value'], cells[name]['spread'])}" for name in order]
    return Drawing(figure, f"{title}, from the least to the greatest: {', '.join(told)}.")


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
