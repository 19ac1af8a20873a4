"""Figures of what was measured of Zhang & Chen (2020), Tables 2 to 4 beside what they print."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from robustnb import plots, results
from robustnb.drawing import Drawing
from robustnb.papers.bayesian_weight_sampling import margins
from robustnb.papers.bayesian_weight_sampling.control_tables import mean_weights
from robustnb.papers.bayesian_weight_sampling.parts import bayesian_name
from robustnb.papers.bayesian_weight_sampling.protocols import Protocol
from robustnb.plots.canvas import BLUE, VERMILION, WIDTH, add_legend, new_axes, with_spread
from robustnb.plots.lines import Series, curves_alt, draw_line, new_chart
from robustnb.quantities import Quantity
from robustnb.results import Row
from robustnb.stored import Stored

STYLES: dict[str, dict[str, Any]] = {
    "paper": {"color": VERMILION, "linestyle": "--", "markerfacecolor": "none"},
    "ours": {"color": BLUE, "linestyle": "-"},
}
PERTURBED = "accuracy on perturbed images (%)"
Cells = Mapping[tuple[str, str, str], Row]


def accuracy_over_rho(stored: Stored, row: str = "average") -> Drawing:
    """Draw accuracy on perturbed images over rho_init, as published in Table 2 and as measured.

    Horizontal lines are the best plain network of each. `row` is the perturbation set.
    """
    cells = _paper_and_ours(stored, "2")
    columns = _columns(cells["paper"], "2", "bayesian")
    plain = _columns(cells["paper"], "2", "standard")
    figure, axes = new_chart("rho_init, and the σ that it sets", PERTURBED, columns)
    axes.set_xticks(range(len(columns)), [_with_sigma(column) for column in columns])
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


def ensemble_curve(stored: Stored) -> Drawing:
    """Draw accuracy on perturbed images over the number of weight samples (Table 3 and ours)."""
    cells = _paper_and_ours(stored, "3")
    columns = _columns(cells["paper"], "3", "ensemble")
    figure, axes = new_chart("weight samples in the ensemble", PERTURBED, columns)
    lines = {
        name: draw_line(axes, name, _series(found, "3", "average", columns), **STYLES[name])
        for name, found in cells.items()
    }
    add_legend(figure)
    title = "Accuracy on perturbed images (average) over the number of weight samples"
    return Drawing(figure, curves_alt(title, columns, lines))


def pruning_curve(stored: Stored) -> Drawing:
    """Draw clean and perturbed accuracy over the share of weights removed (Table 4 and ours).

    The points at 0% are the unpruned ensemble of 100 samples: on perturbed images from Table 3, on
    clean ones from our own table `unpruned`, since the paper does not print them.
    """
    cells = _paper_and_ours(stored, "3", "4", "unpruned")
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


def controls(stored: Stored) -> Drawing:
    """Draw networks with and without noise, from the lowest to the highest average accuracy."""
    averages = stored.across("2", "average")
    noisy = {bayesian_name(rho_init) for rho_init in (-30, -3)}
    shown = {n: a for n, a in averages.items() if n in noisy or n.startswith("standard")}
    shown |= {n: a for n, a in margins.controls(stored).items() if "rho_init" not in n}
    return dots("Accuracy under transferred perturbations", shown, PERTURBED)


def noise_at_test_time(stored: Stored) -> Drawing:
    """Draw the accuracy of single draws and of mean weights over rho_init."""
    rho_inits = Protocol().rho_inits
    lines = {
        "one draw": (stored.across("2", "average"), bayesian_name),
        "mean weights": (margins.controls(stored), mean_weights),
    }
    series = {
        label: [_point(found.get(name(rho_init))) for rho_init in rho_inits]
        for label, (found, name) in lines.items()
    }
    title, places = "Accuracy with and without noise at test time", [f"{r:g}" for r in rho_inits]
    return plots.curves(title, places, series, "rho_init", PERTURBED)


def dots(title: str, found: Mapping[str, Quantity], xlabel: str) -> Drawing:
    """Draw each mean and spread on a line of its own, from the least to the greatest."""
    order = sorted(found, key=lambda name: found[name].mean)
    figure, (axes,) = new_axes(size=(WIDTH, 0.8 + 0.3 * len(order)))
    for place, name in enumerate(order):
        mean, spread = found[name].mean, found[name].spread
        axes.errorbar([mean], [place], xerr=spread, marker="o", color=BLUE, capsize=3)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel(xlabel)
    told = [f"{name} {with_spread(found[name].mean, found[name].spread)}" for name in order]
    return Drawing(figure, f"{title}, from the least to the greatest: {', '.join(told)}.")


def _with_sigma(column: str) -> str:
    """Return the rho_init of a column and, below it, the standard deviation log(1 + exp(rho))."""
    rho_init = column.rpartition("=")[2]
    return f"{rho_init}\n{math.log1p(math.exp(float(rho_init))):.2g}"


def _point(found: Quantity | None) -> tuple[float, float | None] | None:
    return None if found is None else (found.mean, found.spread)


def _paper_and_ours(stored: Stored, *tables: str) -> dict[str, Cells]:
    """Return the cells of tables as printed, averages over the same sets as ours, and measured."""
    ours = [row for table in tables for row in stored.rows(table)]
    printed = results.published(stored.paper, folder=stored.folder)
    alike = results.like_for_like(printed, ours, stored.folder)
    paper = {(cell["table"], cell["row"], cell["column"]): cell for cell in alike}
    return {"paper": paper, "ours": results.one_per_cell(ours)}


def _columns(cells: Cells, table: str, kind: str) -> list[str]:
    found = (c for name, _, c in cells if name == table and c.startswith(kind))
    return list(dict.fromkeys(found))


def _series(cells: Cells, table: str, row: str, columns: Sequence[str]) -> Series:
    found = [cells.get((table, row, column)) for column in columns]
    return [None if cell is None else (cell["value"], cell["spread"]) for cell in found]


def _best(cells: Cells, row: str, columns: Sequence[str]) -> Row | None:
    found = [cells["2", row, column] for column in columns if ("2", row, column) in cells]
    return max(found, key=lambda cell: float(cell["value"]), default=None)
