"""Random noise and the grid, whose rows only the paper on BANG has, as its chapter shows them."""

from collections.abc import Mapping

from robustnb import plots, tables
from robustnb.drawing import Drawing
from robustnb.plots.lines import Series
from robustnb.stored import Stored
from robustnb.tables import Table


def after_noise(stored: Stored, table: str, columns: Mapping[str, str]) -> Drawing:
    """Draw the answers that noise changes at the end of training, a line for each of `columns`.

    `columns` are those of the table, by the names that the lines get.
    """
    iterations, stds = noise_tested(stored, table)
    lines: dict[str, Series] = {
        f"{name}{note}": [
            _point(stored, table, f"iteration {iterations[-1]}, std {std}{note}", column)
            for std in stds
        ]
        for name, column in columns.items()
        for note in ("", ", clipped")
    }
    title = f"Answers changed by noise after {iterations[-1]} iterations"
    xlabel = "standard deviation of the noise (0 to 255)"
    return plots.curves(title, stds, lines, xlabel, "changed answers (%)")


def noise_over_training(stored: Stored, table: str, columns: Mapping[str, str]) -> Drawing:
    """Draw the answers that the strongest noise changes over training, as `after_noise` does."""
    iterations, stds = noise_tested(stored, table)
    lines: dict[str, Series] = {
        name: [_point(stored, table, f"iteration {i}, std {stds[-1]}", column) for i in iterations]
        for name, column in columns.items()
    }
    title = f"Answers changed by noise of std {stds[-1]}"
    return plots.curves(title, iterations, lines, "iterations of training", "changed answers (%)")


def noise_tested(stored: Stored, table: str) -> tuple[list[str], list[str]]:
    """Return at which iterations and with which standard deviations noise was tested."""
    rows = [row["row"].split(", ") for row in stored.rows(table)]
    iterations, stds = (dict.fromkeys(parts[n].split()[-1] for parts in rows) for n in (0, 1))
    return list(iterations), list(stds)


def _point(stored: Stored, table: str, row: str, column: str) -> tuple[float, float | None]:
    found = stored.row(table, row, column)
    return found["value"], found["spread"]


def grid(stored: Stored, table: str, column: str, title: str) -> Table:
    """Show one column of a grid of networks: a row for each epsilon, a column for each beta."""
    rows = [row for row in stored.rows(table) if row["column"] == column]
    cells = {}
    for row in rows:
        _, beta, eps = row["row"].split()
        cells[eps, beta] = f"{row['value']:.4g}"
    iterations = rows[0]["settings"]["training"]["iterations"]
    where = f"after {iterations} iterations; {stored.where(table)}"
    return tables.text_table(cells, f"{title} {where}")
