"""The rows of a paper as a chapter shows them: tables, comparisons, values, curves, intervals."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from robustnb import plots, results, tables
from robustnb.drawing import Drawing
from robustnb.metrics import wilson_interval
from robustnb.quantities import NotMeasured, Quantity
from robustnb.results import BOOK, Row
from robustnb.tables import Table


class Stored:
    """What was measured of a paper: a table's rows at the most thorough profile that has any.

    A table that `rows` hold is shown from these, such as a reader's own; all others from the rows
    stored in `folder`. With `by_row`, each row of a table is shown at the most thorough profile
    that has it, and where these differ its name tells which.
    """

    def __init__(
        self,
        paper: str,
        rows: Iterable[Row] | None = None,
        *,
        by_row: bool = False,
        folder: Path = BOOK,
    ) -> None:
        self.paper, self.folder, self.by_row = paper, folder, by_row
        self.own = list(rows or ())

    def rows(self, *tables: str) -> list[Row]:
        """Return the rows of tables, one after the other; raise NotMeasured where one has none."""
        return [row for table in tables for row in self._rows(table)]

    def _rows(self, table: str) -> list[Row]:
        found = _of(self.own, table) or _of(self._stored, table)
        if not found:
            raise NotMeasured(f"Table {table!r} of {self.paper} is not measured.")
        order = sorted(found, key=lambda row: results.PROFILES.index(row["profile"]), reverse=True)
        best = {row["row"] if self.by_row else "": row["profile"] for row in reversed(order)}
        return [row for row in order if row["profile"] == best[row["row"] if self.by_row else ""]]

    @cached_property
    def _stored(self) -> list[Row]:
        return results.read_rows(self.paper, folder=self.folder)

    def row(self, table: str, row: str, column: str) -> Row:
        """Return one row; raise NotMeasured where there is none."""
        for found in self.rows(table):
            if (found["row"], found["column"]) == (row, column):
                return found
        raise NotMeasured(f"Table {table!r} of {self.paper} has no cell {row!r}, {column!r}.")

    def value(self, table: str, row: str, column: str) -> float:
        """Return the value of a cell, the mean over seeds."""
        return float(self.row(table, row, column)["value"])

    def quantity(self, table: str, row: str, column: str) -> Quantity:
        """Return a cell with its value for each seed; differences pair the seeds."""
        return _quantity(self.row(table, row, column))

    def across(self, table: str, row: str) -> dict[str, Quantity]:
        """Return the cells of a row by their columns; none where there is no such row."""
        return {r["column"]: _quantity(r) for r in self.rows(table) if r["row"] == row}

    def down(self, table: str, column: str) -> dict[str, Quantity]:
        """Return the cells of a column by their rows; none where there is no such column."""
        return {r["row"]: _quantity(r) for r in self.rows(table) if r["column"] == column}

    def interval(self, table: str, row: str, column: str) -> tuple[float, float]:
        """Return the 95% interval over images of an accuracy, in the unit of its row."""
        found = self.row(table, row, column)
        whole = 100 if found["unit"] == "%" else 1
        low, high = wilson_interval(found["value"] / whole, found["num_images"])
        return whole * low, whole * high

    def table(self, name: str, title: str) -> Table:
        """Show a table with the spread over seeds in each cell."""
        found = self.rows(name)
        several = len({row["profile"] for row in found}) > 1
        named = [row | {"row": f"{row['row']} ({row['profile']})"} for row in found]
        return tables.measured_table(named if several else found, name, self._caption(name, title))

    def comparison(self, name: str, title: str, unit: str | None = None) -> Table:
        """Show a printed table with ours, the published value and the difference in each cell.

        With `unit`, of the cells in this unit alone.
        """
        found = self.rows(name)
        cells = results.compare(self.paper, name, found, found[0]["profile"], self.folder)
        chosen = [cell for cell in cells if unit in (None, cell["unit"])]
        return tables.comparison_table(chosen, self._caption(name, f"Table {name}: {title}"))

    def curve(
        self,
        table: str,
        title: str,
        xlabel: str,
        ylabel: str,
        *,
        lines: Mapping[str, str] | None = None,
        over: Literal["row", "column"] = "row",
        unit: str = "%",
        most: int = 1_000,
    ) -> Drawing:
        """Draw a line for each column of a table over its rows, or with `over` the other way round.

        `lines` gives the names of the lines that are wanted and the columns that they show; all
        under their own names unless given. Of more than `most` places only some are drawn.
        """
        of = "column" if over == "row" else "row"
        found = {(row[of], row[over]): (row["value"], row["spread"]) for row in self.rows(table)}
        chosen = lines or {name: name for name, _ in found}
        places = list(dict.fromkeys(place for name, place in found if name in chosen.values()))
        some = places[:: max(1, len(places) // most)]
        drawn = {k: [found.get((name, place)) for place in some] for k, name in chosen.items()}
        return plots.curves(title, some, drawn, xlabel, ylabel, unit)

    def where(self, table: str) -> str:
        """Say at which profiles, on which data and with how many seeds a table was measured."""
        found = self.rows(table)
        profiles, data = (dict.fromkeys(row[k] for row in found) for k in ("profile", "dataset"))
        numbers = sorted({len(row["seeds"]) for row in found})
        seeds = " to ".join(f"{n}" for n in dict.fromkeys((numbers[0], numbers[-1])))
        noun = "seed" if numbers[-1] == 1 else "seeds"
        return f"profile {' and '.join(profiles)}, {' and '.join(data)}, {seeds} {noun}"

    def _caption(self, table: str, title: str) -> str:
        return f"{title}; {self.where(table)}"


def _of(rows: Iterable[Row], table: str) -> list[Row]:
    return [row for row in rows if row["table"] == table]


def _quantity(row: Row) -> Quantity:
    return Quantity(dict(zip(row["seeds"], row["values"], strict=True)))
