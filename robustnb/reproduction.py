"""Measure again what a paper prints, and store the rows beside the published ones."""

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import robustnb.experiments as experiments
from robustnb.results import BOOK, Row, papers, read_rows, update_rows, write_rows


def reproducible() -> list[str]:
    """Return the keys of the papers that have an experiment, in the order of the book."""
    modules = {module.name for module in iter_modules(experiments.__path__)}
    return [paper for paper in papers() if _module(paper) in modules]


def reproduce(
    paper: str,
    profile: str = "laptop",
    seeds: int = 3,
    tables: Collection[str] | None = None,
    folder: Path = BOOK,
    *,
    replace: bool = False,
) -> list[Row]:
    """Measure a paper's tables at a profile with seeds 0 and up, store the rows and return them.

    With `tables`, such as "1" or "random noise", these alone are measured, and what is stored of
    others stays as it is. What was computed before, also by a run that was killed, is not computed
    again. Raises ValueError, before anything is computed, for what is not known, and without
    `replace` for fewer seeds than the stored rows have that would go.
    """
    if paper not in reproducible():
        raise ValueError(f"{paper!r} is no paper: it must be one of {', '.join(reproducible())}.")
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}: it must be at least 1.")
    rows = read_rows(paper, profile, folder)
    replaced = [row for row in rows if tables is None or row["table"] in tables]
    most = max((len(row["seeds"]) for row in replaced), default=0)
    if seeds < most and not replace:
        raise ValueError(
            f"seeds is {seeds}, and rows stored at profile {profile} rest on {most} seeds: ask for "
            f"at least {most}, or give --replace to lose them."
        )
    experiment = import_module(f"{experiments.__name__}.{_module(paper)}")
    rows = experiment.measure(profile, range(seeds), tables)
    store = write_rows if tables is None else update_rows
    store(paper, profile, rows, folder)
    return rows


def _module(paper: str) -> str:
    return paper.replace("-", "_")
