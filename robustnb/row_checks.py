"""What a stored row must be: a slip of the hand in one is told in one sentence."""

import json
import math
import re
import statistics
from collections.abc import Callable, Collection, Iterable
from numbers import Real
from typing import Any

TEXTS = ("paper", "table", "row", "column", "unit", "profile", "dataset", "device")
# Units of what cannot be negative, and the most that it can be.
MOST = {"accuracy in [0,1]": 1.0}
MOST |= dict.fromkeys(("%", "ms", "times", "L2", "0-255 pixel", "pixels of 0 to 1"), math.inf)
ROUNDED = 2e-5  # of the largest number: each is rounded to six digits, and so is their mean


def check_value(value: object, place: str) -> None:
    """Raise ValueError unless the value of `place` is a finite number."""
    if not _is_number(value):
        raise ValueError(f"The value of {place} is {value!r:.60}: it must be a finite number.")


def check_row(row: Any, fields: Collection[str], place: str) -> None:
    """Raise ValueError, which begins with `place`, unless a row is whole and agrees with itself."""
    if not isinstance(row, dict) or set(row) != set(fields):
        found = set(row) if isinstance(row, dict) else set()
        wrong = ", ".join(sorted(set(fields) ^ found))
        raise ValueError(f"{place} has missing or unknown fields: {wrong}.")
    for name in TEXTS:
        _require(isinstance(row[name], str), place, row, name, "a text")
    for name, needed, fits in _FIELDS:
        _require(fits(row[name]), place, row, name, needed)
    seeds, values = row["seeds"], row["values"]
    if not (isinstance(values, list) and len(seeds) == len(values)):
        raise ValueError(f"{place} needs one of `values` for each of its `seeds`.")
    for value in (row["value"], *values):
        check_value(value, place)
    _check_range(row, place)
    _check_mean_and_spread(row, place)


def check_rows(rows: Iterable[Any], name: str, again: str) -> None:
    """Raise ValueError where rows of the file `name` contradict each other.

    That is where a cell has a seed twice, or the rows of one data set have two digests. `again`
    tells what to do.
    """
    seen: dict[str, int] = {}
    digests: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(rows, 1):
        for seed in row["seeds"]:
            cell = [row[k] for k in ("table", "row", "column", "profile", "settings", "digest")]
            first = seen.setdefault(json.dumps([*cell, seed], sort_keys=True), number)
            if first != number:
                raise ValueError(
                    f"Rows {first} and {number} of {name} are of one cell, {row['row']}, "
                    f"{row['column']}, and both have seed {seed}: {again}"
                )
        known, first = digests.setdefault(row["dataset"], (row["digest"], number))
        if known != row["digest"]:
            raise ValueError(
                f"Rows {first} and {number} of {name} are about two data sets named "
                f"{row['dataset']}, with the digests {known} and {row['digest']}: {again}"
            )


def _require(fits: bool, place: str, row: dict[str, Any], name: str, needed: str) -> None:
    if not fits:
        raise ValueError(f"{place} has {row[name]!r:.60} as {name}: it must be {needed}.")


def _check_range(row: dict[str, Any], place: str) -> None:
    most = MOST.get(row["unit"])
    if most is None:
        return
    for value in row["values"]:
        if not 0 <= value <= most:
            accepted = "at least 0" if most == math.inf else f"from 0 to {most:g}"
            raise ValueError(f"{place} has {value} in {row['unit']!r}: it must be {accepted}.")


def _check_mean_and_spread(row: dict[str, Any], place: str) -> None:
    values, spread = row["values"], row["spread"]
    close = ROUNDED * max(map(abs, values))
    if abs(row["value"] - statistics.fmean(values)) > close:
        raise ValueError(
            f"{place} has the value {row['value']}, which is not the mean of its values, "
            f"{statistics.fmean(values):.6g}."
        )
    if len(values) == 1 and spread is None:
        return
    if len(values) == 1 or spread is None or abs(spread - statistics.stdev(values)) > close:
        raise ValueError(
            f"{place} has the spread {spread}, which is not that of its {len(values)} values."
        )


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_seeds(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(_is_whole(seed) and seed >= 0 for seed in value)
        and len(set(value)) == len(value)
    )


def _is_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_FIELDS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("digest", "hexadecimal digits", lambda v: isinstance(v, str) and _is_hexadecimal(v)),
    ("num_images", "a whole number of at least 0", lambda v: _is_whole(v) and v >= 0),
    ("seconds", "a number of at least 0", lambda v: _is_number(v) and v >= 0),
    ("spread", "None or a number", lambda v: v is None or _is_number(v)),
    ("settings", "a dict", lambda v: isinstance(v, dict)),
    ("versions", "a dict of texts", _is_by_name),
    ("seeds", "a list of different whole numbers, one or more", _are_seeds),
)


def _is_hexadecimal(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]+", text) is not None
