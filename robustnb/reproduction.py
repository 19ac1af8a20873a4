"""A paper by its key: measure it again, decide its claims, count what was measured of it.

This is the one place that looks modules up by name: `robustnb.papers.<key>`, with "_" for "-".
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Any

import robustnb.papers
from robustnb.results import (
    BOOK,
    PROFILES,
    Row,
    check_name,
    claims,
    is_partial,
    papers,
    published,
    read_rows,
    rows_locked,
    update_rows,
    write_rows,
)
from robustnb.verdicts import OPEN, Claim, Measured, Verdict, most_thorough

if TYPE_CHECKING:
    from robustnb.papers.weights import Facts


def reproducible(folder: Path = BOOK) -> list[str]:
    """Return the keys of the papers that can be measured, in the order of the book.

    Studies of our own, which are folders like those of papers and print nothing, come last.
    """
    there = [m.name.replace("_", "-") for m in iter_modules(robustnb.papers.__path__) if m.ispkg]
    printed = [paper for paper in papers(folder) if paper in there]
    return [*printed, *sorted(set(there) - set(printed))]


def reproduce(
    paper: str,
    profile: str = "laptop",
    seeds: int = 3,
    tables: Collection[str] | None = None,
    folder: Path = BOOK,
    *,
    jobs: int | None = None,
    replace: bool = False,
) -> list[Row]:
    """Measure a paper's tables at a profile with seeds 0 and up, store the rows and return them.

    With `tables`, such as "1" or "worst case", these alone are measured, and what is stored of
    others stays as it is. What was computed before, also by a run that was killed, is not computed
    again. Raises ValueError, before anything is computed, for what is not known, and without
    `replace` for fewer seeds than the stored rows have that would go.
    """
    protocol = _protocol(paper, profile, folder)
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}: it must be at least 1.")
    if not replace:
        _check_seeds(paper, profile, seeds, tables, folder)
    measure = _module(paper, "tables").measure
    rows: list[Row] = measure(protocol, range(seeds), tables, jobs=jobs, folder=folder)
    with rows_locked(paper, profile, folder):
        if not replace:  # other runs may have stored rows meanwhile
            _check_seeds(paper, profile, seeds, tables, folder)
        store = write_rows if tables is None else update_rows
        store(paper, profile, rows, folder)
    return rows


def _check_seeds(
    paper: str, profile: str, seeds: int, tables: Collection[str] | None, folder: Path
) -> None:
    """Raise ValueError if stored rows that would go rest on more seeds."""
    rows = read_rows(paper, profile, folder)
    replaced = [row for row in rows if tables is None or row["table"] in tables]
    most = max((len(row["seeds"]) for row in replaced), default=0)
    if seeds < most:
        raise ValueError(
            f"seeds is {seeds}, and rows stored at profile {profile} rest on {most} seeds: ask for "
            f"at least {most}, or give --replace to lose them."
        )


def keep_weights(
    paper: str, profile: str = "paper", seed: int = 0, folder: Path = BOOK
) -> "list[Facts]":
    """Keep with the book the networks of a paper that its pages show; return what is kept.

    Networks that are trained already are read from the disk. Raises ValueError for what is not
    known, and for a paper whose pages show none.
    """
    from robustnb.papers.weights import write  # here, as it takes torch a second to load

    protocol = _protocol(paper, profile, folder)
    if find_spec(f"{robustnb.papers.__name__}.{_package(paper)}.weights") is None:
        raise ValueError(f"{paper} has no networks to keep: its pages show none of its tables.")
    return write(paper, profile, seed, _module(paper, "weights").networks(protocol, seed), folder)


def verdicts(paper: str, rows: Sequence[Row] | None = None, folder: Path = BOOK) -> list[Verdict]:
    """Return the verdict on every claim of `paper`, in the order of `published/claims.csv`.

    From `rows`, all of one profile, or else from the stored rows of the most thorough profile at
    which the claim was run.
    """
    check_name("paper", paper, papers(folder))
    judges = list(_claims(paper, folder))
    if rows is None:
        stored = (read_rows(paper, profile, folder) for profile in reversed(PROFILES))
        by_profile = [*filter(None, stored)] or [[]]
    else:
        by_profile = [list(rows)]
    measured = [Measured(paper, found, folder) for found in by_profile]
    return most_thorough([[each.judge(found) for each in judges] for found in measured])


def _claims(paper: str, folder: Path) -> Iterator[Claim]:
    """Yield what decides each claim: the functions of the paper's `claims` with its id."""
    module = _module(paper, "claims")
    known = {each.id: each for each in vars(module).values() if isinstance(each, Claim)}
    for row in claims(paper, folder):
        if row["id"] not in known:
            raise ValueError(f"{module.__name__} has no function for the claim {row['id']}.")
        yield known[row["id"]]


def coverage(folder: Path = BOOK) -> list[dict[str, Any]]:
    """Count, per paper, the published cells that we measured and the claims that are decided.

    A paper has `paper`, `tables` (each `table`, `published` and `measured`), `claims` and
    `decided`; `measured` and `decided` have a number for each profile.
    """
    return [_coverage(paper, folder) for paper in papers(folder)]


def _coverage(paper: str, folder: Path) -> dict[str, Any]:
    rows = {profile: read_rows(paper, profile, folder) for profile in PROFILES}
    tables = dict.fromkeys(cell["table"] for cell in published(paper, folder=folder))
    decided = {
        profile: sum(v.answer not in OPEN for v in verdicts(paper, found, folder))
        for profile, found in rows.items()
    }
    return {
        "paper": paper,
        "tables": [_table_coverage(paper, table, rows, folder) for table in tables],
        "claims": len(claims(paper, folder)),
        "decided": decided,
    }


def _table_coverage(
    paper: str, table: str, rows: Mapping[str, list[Row]], folder: Path
) -> dict[str, Any]:
    wanted = {(cell["row"], cell["column"]) for cell in published(paper, table, folder)}
    measured = {
        profile: len(wanted & {(r["row"], r["column"]) for r in found if _counts(r, table, folder)})
        for profile, found in rows.items()
    }
    return {"table": table, "published": len(wanted), "measured": measured}


def _counts(row: Row, table: str, folder: Path) -> bool:
    """Tell whether a row is a whole cell of `table`."""
    return bool(row["table"] == table) and not is_partial(row, folder)


def _protocol(paper: str, profile: str, folder: Path) -> Any:
    """Return a paper's protocol; raise ValueError if the paper or the profile is not known."""
    known = reproducible(folder)
    if paper not in known:
        raise ValueError(f"{paper!r} is no paper: it must be one of {', '.join(known)}.")
    protocols = _module(paper, "protocols").PROTOCOLS
    if profile not in protocols:
        raise ValueError(f"{profile!r} is no profile: it must be one of {', '.join(protocols)}.")
    return protocols[profile]


def _module(paper: str, name: str) -> ModuleType:
    return import_module(f"{robustnb.papers.__name__}.{_package(paper)}.{name}")


def _package(paper: str) -> str:
    return paper.replace("-", "_")
