"""Results are data: measured rows on disk, keyed like the cells that the papers print.

A row is a plain dict with the fields of `FIELDS`. One row holds one cell: `value` is the mean over
`seeds`, `values` has each seed's own value in the same order, and `spread` is their sample standard
deviation (None for one seed).
"""

import csv
import json
import math
import os
import platform
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from robustnb.files import locked, write_whole
from robustnb.row_checks import check_row, check_rows, check_value

Row = dict[str, Any]
Units = dict[str, dict[tuple[str, str], str]]

BOOK = Path(__file__).resolve().parent.parent / "book"
PROFILES = ("smoke", "laptop", "paper")
FIELDS = (
    *("paper", "table", "row", "column", "value", "unit", "spread", "seeds", "values"),
    *("num_images", "profile", "settings", "dataset", "digest", "versions", "device", "seconds"),
)
# Rows that agree in these measure the same thing, and differ by their seed alone.
_IDENTITY = (
    *("paper", "table", "row", "column", "unit", "profile", "settings"),
    *("dataset", "digest"),
)


def make_row(
    paper: str,
    table: str,
    row: str,
    column: str,
    value: float,
    *,
    seed: int,
    num_images: int,
    profile: str,
    settings: Mapping[str, Any],
    dataset: str,
    digest: str,
    seconds: float,
    unit: str | None = None,
    device: str = "cpu",
    folder: Path = BOOK,
) -> Row:
    """Return what one seed measured for one cell, checked and with its provenance filled in.

    A cell of one of the paper's tables has the published unit; a table of our own (any other name)
    may have any rows and columns and must state its `unit`. `settings` are the fields of model,
    training and attack. Raises ValueError for an unknown name, with the nearest that is known.
    """
    check_value(value, f"{row}, {column}")
    check_name("profile", profile, PROFILES)
    number, unit = float(value), _unit(paper, table, row, column, unit, folder)
    return (
        {"paper": paper, "table": table, "row": row, "column": column}
        | {"value": number, "unit": unit, "spread": None, "seeds": [seed], "values": [number]}
        | {"num_images": num_images, "profile": profile, "settings": _as_stored(settings)}
        | {"dataset": dataset, "digest": digest, "versions": _versions()}
        | {"device": device_name(device), "seconds": float(seconds)}
    )


def write_rows(paper: str, name: str, rows: Iterable[Row], folder: Path = BOOK) -> Path:
    """Store `rows` as `book/results/<paper>/<name>.json`, whole or not at all; return the path.

    The file has one row a line, its keys in the order of `FIELDS` and measured numbers to six
    significant digits.
    """
    if Path(name).name != name or not name:
        raise ValueError(f"{name!r} cannot name a file of results: use one like 'table_2'.")
    path = folder / "results" / paper / f"{name}.json"
    rounded = []
    for number, row in enumerate(rows, 1):
        _check_row(row, paper, name, f"Row {number} of {path.name}", folder)
        rounded.append(_rounded(row))
    check_rows(rounded, path.name, f"measure all of {paper} at one profile again.")
    lines = [json.dumps(row, ensure_ascii=False) for row in rounded]
    with rows_locked(paper, name, folder):
        write_whole(path, "[\n" + ",\n".join(lines) + "\n]\n")
    return path


def update_rows(paper: str, profile: str, rows: Iterable[Row], folder: Path = BOOK) -> Path:
    """Store `rows` in the places of the same cells, new ones last; other cells stay as they are.

    No other run can store between what is read here and what is written.
    """
    measured = list(rows)
    with rows_locked(paper, profile, folder):
        found = read_rows(paper, profile, folder)
        replaced = {_place(row) for row in measured}
        kept = [row for row in found if _place(row) not in replaced]
        places = {place: number for number, place in enumerate(dict.fromkeys(map(_place, found)))}
        ordered = sorted(kept + measured, key=lambda row: places.get(_place(row), len(places)))
        return write_rows(paper, profile, ordered, folder)


@contextmanager
def rows_locked(paper: str, name: str, folder: Path = BOOK) -> Iterator[None]:
    """Let no other run store rows under this name until the block ends, or its process does."""
    with locked(folder / "results" / paper / f".{name}.lock"):
        yield


def read_rows(paper: str, profile: str | None = None, folder: Path = BOOK) -> list[Row]:
    """Return every stored row of `paper`, or those of one profile; none where nothing was measured.

    Raises ValueError naming file and row where a file is damaged, or was changed to what cannot be.
    """
    paths = sorted((folder / "results" / paper).glob("[!.]*.json"))
    rows = [row for path in paths for row in _read_file(path, paper, folder)]
    return [row for row in rows if profile in (None, row["profile"])]


def papers(folder: Path = BOOK) -> list[str]:
    """Return the keys of the papers that have published cells."""
    return list(dict.fromkeys(cell["paper"] for cell in _cells(folder)))


def published(paper: str, table: str | None = None, folder: Path = BOOK) -> list[Row]:
    """Return the cells that `paper` printed, in its order: all of them or those of one table.

    Each has `paper`, `table`, `row`, `column`, `value`, `spread` (None where none is printed),
    `unit` and `decimals`, the number of digits that the paper prints after the point.
    """
    check_name("paper", paper, papers(folder))
    cells = [dict(cell) for cell in _cells(folder) if cell["paper"] == paper]
    if table is not None:
        check_name(f"table of {paper}", table, {cell["table"] for cell in cells})
    return [cell for cell in cells if table in (None, cell["table"])]


def printed(paper: str, table: str, row: str, column: str, folder: Path = BOOK) -> float:
    """Return the number that `paper` printed in a cell."""
    cells = published(paper, table, folder)
    return float({(c["row"], c["column"]): c["value"] for c in cells}[row, column])


def claims(paper: str | None = None, folder: Path = BOOK) -> list[dict[str, str]]:
    """Return the claims of one paper or of all, a dict per row of `published/claims.csv`.

    Those that a second reading of the papers added, in `published/more_claims.csv`, come last.
    """
    paths = [folder / "published" / f"{name}.csv" for name in ("claims", "more_claims")]
    rows = [row for path in paths if path.exists() or path is paths[0] for row in read_csv(path)]
    return [row for row in rows if paper in (None, row["paper"])]


def out_of_scope(folder: Path = BOOK) -> list[dict[str, str]]:
    """Return the sentences of the papers that claim something which is not judged, and why."""
    return read_csv(folder / "published" / "out_of_scope.csv")


def over_seeds(rows: Iterable[Row]) -> list[Row]:
    """Merge rows that differ by their seed alone, in the order in which they first appear.

    The merged row has the mean value, the sample standard deviation as `spread` (None for one
    seed), the seconds of all, and the fewest images of any, as an experiment may ask which images
    its networks agree on. Raises ValueError where a cell has the same seed twice.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        identity = json.dumps([row[name] for name in _IDENTITY], sort_keys=True)
        groups.setdefault(identity, []).append(row)
    return [_merged(group) for group in groups.values()]


def one_per_cell(rows: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    """Return the row of each cell, merged over seeds, keyed by (table, row, column).

    Raises ValueError where a cell was measured in two ways, with what tells them apart.
    """
    cells: dict[tuple[str, str, str], Row] = {}
    for row in over_seeds(rows):
        key = (row["table"], row["row"], row["column"])
        if key in cells:
            different = ", ".join(_differences(cells[key], row))
            raise ValueError(
                f"{_place(row)} was measured in two ways, which differ in {different}: "
                "keep the rows of one."
            )
        cells[key] = row
    return cells


def compare(
    paper: str, table: str, rows: Iterable[Row], profile: str, folder: Path = BOOK
) -> list[Row]:
    """Join each published cell of a table with ours at `profile`, in published order.

    A cell has `row`, `column`, `unit`, `decimals`, `published`, `published_spread`, `ours`,
    `spread`, `seeds` and `difference` (ours minus published); what was not measured is None.
    Averages are compared like for like, and a row that is an average of fewer sets says so.
    """
    wanted = {"paper": paper, "table": table, "profile": profile}
    found = [row for row in rows if all(row[k] == v for k, v in wanted.items())]
    ours = one_per_cell(found)
    return [
        _compared(cell, ours.get((table, cell["row"], cell["column"])))
        for cell in like_for_like(published(paper, table, folder), found, folder)
    ]


def like_for_like(cells: Iterable[Row], rows: Iterable[Row], folder: Path = BOOK) -> list[Row]:
    """Return published cells with each average taken over the sets that our own is over.

    Where ours leaves out some of the table's sets, the published average over all of them is no
    comparison; the mean of the printed cells of the same sets is. Such a cell has their number as
    `sets`.
    """
    printed = {(cell["table"], cell["row"], cell["column"]): cell for cell in cells}
    partial = {key: row for key, row in one_per_cell(rows).items() if is_partial(row, folder)}
    return [
        cell | _average(printed, key, partial[key]["settings"]["sets"]) if key in partial else cell
        for key, cell in printed.items()
    ]


def is_partial(row: Row, folder: Path = BOOK) -> bool:
    """Tell whether a row is an average over some of the sets that the published one is over.

    One that does not say its sets is taken for an average over all of them.
    """
    place, sets = (row["paper"], row["table"], row["row"]), row["settings"].get("sets")
    return sets is not None and bool(set(_averaged(folder).get(place, ())) - set(sets))


def _average(
    printed: Mapping[tuple[str, str, str], Row], key: tuple[str, str, str], sets: Sequence[str]
) -> Row:
    table, _, column = key
    values = [printed[table, name, column]["value"] for name in sets]
    return {"value": statistics.fmean(values), "sets": len(sets)}


def _compared(cell: Row, ours: Row | None) -> Row:
    names = ("paper", "table", "column", "unit", "decimals")
    row = f"average of {cell['sets']} sets" if "sets" in cell else cell["row"]
    return {name: cell[name] for name in names} | {
        "row": row,
        "published": cell["value"],
        "published_spread": cell["spread"],
        "ours": ours and ours["value"],
        "spread": ours and ours["spread"],
        "seeds": ours and ours["seeds"],
        "difference": ours and ours["value"] - cell["value"],
    }


def _merged(group: list[Row]) -> Row:
    by_seed: dict[int, float] = {}
    for row in group:
        for seed, value in zip(row["seeds"], row["values"], strict=True):
            if seed in by_seed:
                raise ValueError(f"{_place(row)} has seed {seed} twice: keep one of the rows.")
            by_seed[seed] = value
    values = [by_seed[seed] for seed in sorted(by_seed)]
    return group[0] | {
        "value": statistics.fmean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "seeds": sorted(by_seed),
        "values": values,
        "num_images": min(row["num_images"] for row in group),
        "versions": {
            name: _joined(row["versions"][name] for row in group) for name in group[0]["versions"]
        },
        "device": _joined(row["device"] for row in group),
        "seconds": math.fsum(row["seconds"] for row in group),
    }


def _joined(names: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(part for name in names for part in name.split("; ")))


def _differences(one: Row, other: Row) -> list[str]:
    settings = one["settings"] | other["settings"]
    names = [n for n in settings if one["settings"].get(n) != other["settings"].get(n)]
    return names + [n for n in _IDENTITY if n != "settings" and one[n] != other[n]]


def _unit(paper: str, table: str, row: str, column: str, unit: str | None, folder: Path) -> str:
    if unit is None:
        check_name("paper", paper, papers(folder))
    units = _units(paper, folder)
    # A study of our own has a key, and no printed cells.
    if table in units:
        return _check_cell(table, row, column, unit, paper, units)
    if unit is None:
        raise ValueError(f"Table {table!r} is none of {paper}'s own, so its rows need a unit.")
    return unit


def _check_cell(
    table: str, row: str, column: str, unit: str | None, paper: str, units: Units
) -> str:
    """Return the unit of a printed cell; raise ValueError if there is none, or it is not `unit`."""
    cells = units[table]
    check_name(f"row of Table {table} of {paper}", row, [name for name, _ in cells])
    check_name(f"column of Table {table} of {paper}", column, [name for _, name in cells])
    if (row, column) not in cells:
        raise ValueError(f"Table {table} of {paper} has no cell {row!r}, {column!r}.")
    if unit not in (None, cells[row, column]):
        raise ValueError(f"Table {table} of {paper} is in {cells[row, column]!r}, not {unit!r}.")
    return cells[row, column]


@cache
def _units(paper: str, folder: Path) -> Units:
    """Return the units of a paper's printed cells, by table and then by row and column."""
    if not (folder / "published" / "tables.csv").exists():  # a folder with rows alone
        return {}
    units: Units = {}
    for cell in _cells(folder):
        if cell["paper"] == paper:
            units.setdefault(cell["table"], {})[cell["row"], cell["column"]] = cell["unit"]
    return units


def check_name(kind: str, name: str, known: Collection[str]) -> None:
    """Raise ValueError, with the nearest of the known names, if there is no such `kind`."""
    if name not in known:
        nearest = get_close_matches(name, list(known), n=1, cutoff=0)
        raise ValueError(f"{name!r} is no {kind}: did you mean {nearest[0]!r}?")


def _check_row(row: Any, paper: str, name: str, place: str, folder: Path) -> None:
    check_row(row, FIELDS, place)
    if row["paper"] != paper:
        raise ValueError(f"{place} belongs to {row['paper']!r}, not to {paper!r}.")
    try:
        check_name("profile", row["profile"], (name,) if name in PROFILES else PROFILES)
        units = _units(paper, folder)
        if row["table"] in units:
            _check_cell(row["table"], row["row"], row["column"], row["unit"], paper, units)
    except ValueError as error:
        raise ValueError(f"{place} cannot be: {error}") from error


def _read_file(path: Path, paper: str, folder: Path) -> list[Row]:
    again = f"restore it, or measure all again: robustnb reproduce {paper} --replace."
    if path.stem in PROFILES:
        again = again.replace("--replace", f"--profile {path.stem} --replace")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        number = max(error.lineno - 1, 1)
        raise ValueError(f"{path} is damaged at row {number}: {again}") from error
    except UnicodeDecodeError as error:
        number = max(error.object.count(b"\n", 0, error.start), 1)
        raise ValueError(f"{path} is damaged at row {number}: {again}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): {again}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} does not hold a list of rows: {again}")
    for number, row in enumerate(rows, 1):
        _check_row(row, paper, path.stem, f"Row {number} of {path}", folder)
    check_rows(rows, str(path), again)
    return rows


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1)
        raise ValueError(f"a row has {name!r} twice")
    return found


def _rounded(row: Row) -> Row:
    rounded = {name: row[name] for name in FIELDS}
    for name in ("value", "spread", "seconds"):
        rounded[name] = _six_digits(row[name])
    return rounded | {"values": [_six_digits(value) for value in row["values"]]}


def _six_digits(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")


def _as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in settings.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Setting {name!r} is {value!r}: settings are numbers, strings, lists and dicts."
            ) from error
    stored: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return stored


def _place(row: Row) -> str:
    return f"Table {row['table']} of {row['paper']}, {row['row']}, {row['column']}"


@cache
def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "robustnb": version("robustnb"),
    }


@cache
def device_name(device: str = "cpu") -> str:
    """Return the name of the processor and its number of cores, or that of a graphics card."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@cache
def _averaged(folder: Path) -> dict[tuple[str, str, str], list[str]]:
    """Return the rows that a published average is over, by paper, table and row."""
    path = folder / "published" / "averages.csv"
    lines = read_csv(path) if path.exists() else []
    return {(a["paper"], a["table"], a["row"]): a["average of"].split("; ") for a in lines}


@cache
def _cells(folder: Path) -> tuple[Row, ...]:
    return tuple(_cell(row) for row in read_csv(folder / "published" / "tables.csv"))


def _cell(row: dict[str, str]) -> Row:
    value, _, spread = row["value"].partition("±")
    return row | {
        "value": float(value),
        "spread": float(spread) if spread else None,
        "decimals": len(value.partition(".")[2]),
    }


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return a dict per line of a table; raises FileNotFoundError that says where it should be."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: the published tables are in the book folder of the checkout; "
            "install robustnb from there, or hand that folder in as `folder`."
        )
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
