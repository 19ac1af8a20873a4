"""The chapters as they are stored, as papermill executes them, and as nbval checks them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robustnb.publishing.book import ROOT, Book
from robustnb.publishing.chapter import check
from robustnb.publishing.notebook import read_notebook, write_notebook

CHAPTERS = {chapter.name: chapter.source for chapter in Book(ROOT, "smoke").chapters()}
CHECKED = "nbval-check-output"

Cell = dict[str, Any]

every_chapter = pytest.mark.parametrize("path", CHAPTERS.values(), ids=CHAPTERS)


def code_cells(path: Path) -> list[Cell]:
    return [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]


def is_checked(cell: Cell) -> bool:
    return CHECKED in cell["metadata"].get("tags", [])


def printed(cell: Cell) -> str:
    """Return what a cell printed or returned, as text."""
    texts = [out.get("text") or out["data"]["text/plain"] for out in cell["outputs"]]
    return "".join("".join(text) for text in texts)


def test_every_notebook_is_a_chapter() -> None:
    assert sorted((ROOT / "book").glob("*.ipynb")) == sorted(CHAPTERS.values())


@every_chapter
def test_a_chapter_takes_a_profile_and_shows_its_data(path: Path) -> None:
    check(path)
    parameters = [c for c in code_cells(path) if "parameters" in c["metadata"].get("tags", [])]
    assert "".join(parameters[0]["source"]).startswith('profile = "smoke"')


@every_chapter
def test_check_cells_alone_are_stored_with_their_output(path: Path) -> None:
    assert any(map(is_checked, code_cells(path)))
    for cell in code_cells(path):
        # nbval calls a cell that has outputs but no count "unrun", and does not compare it.
        kept = (bool(cell["outputs"]), cell["execution_count"] is not None)
        assert kept == (is_checked(cell), is_checked(cell)), cell["source"]
        for output in cell["outputs"]:
            assert output["output_type"] == "stream" or set(output["data"]) == {"text/plain"}


@every_chapter
def test_code_is_short_enough_to_read(path: Path) -> None:
    for cell in code_cells(path):
        lines = "".join(cell["source"]).splitlines()
        assert len(lines) <= 15, cell["source"]
        assert max(map(len, lines)) <= 76, cell["source"]


def executed(book: Path, path: Path) -> list[Cell]:
    """Return the code cells of a chapter as the build has executed them, papermill's own aside."""
    cells = code_cells(book.parent / "chapters" / path.name)
    return [c for c in cells if "injected-parameters" not in c["metadata"].get("tags", [])]


@every_chapter
def test_a_chapter_runs_under_papermill(path: Path, built_book: Path) -> None:
    own = executed(built_book, path)
    assert all(cell["execution_count"] for cell in own)
    warnings = [out["text"] for c in own for out in c["outputs"] if out.get("name") == "stderr"]
    assert warnings == []
    for stored, cell in zip(code_cells(path), own, strict=True):
        assert stored["source"] == cell["source"]
        if is_checked(stored):
            assert printed(cell) == printed(stored)


# nbval executes a chapter as it stands, whose parameters are those that papermill was given: what
# it would print is what the build printed. So one chapter is executed again, and of all others
# nbval compares what the build printed with what is stored.


def nbval(*paths: Path) -> str:
    """Return the report of nbval, which compares what the check cells print."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-rA"]
    command += ["--nbval-cell-timeout", "600", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += map(str, paths)
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def altered(path: Path) -> tuple[dict[str, Any], list[Cell], int]:
    """Return a chapter whose last check is stored with another output, its cells, and which."""
    notebook = read_notebook(path)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    last = max(number for number, cell in enumerate(cells) if is_checked(cell))
    cells[last]["outputs"][0]["text"] = [f"something else than {path.stem}\n"]
    return notebook, cells, last


@pytest.fixture(scope="module")
def replayed(built_book: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return nbval's report on altered chapters whose cells print what the build's have printed."""
    folder = tmp_path_factory.mktemp("replayed")
    for path in CHAPTERS.values():
        notebook, cells, _ = altered(path)
        for cell, done in zip(cells, executed(built_book, path), strict=True):
            cell["source"] = f"print({printed(done)!r}, end='')" if is_checked(cell) else "pass"
        write_notebook(folder / path.name, notebook)
    return nbval(*sorted(folder.glob("*.ipynb")))


def check_report(report: str, path: Path) -> None:
    """Check that nbval has found the altered cell of a chapter, and that all others are right."""
    _, cells, last = altered(path)
    said = rf"^(PASSED|FAILED) \S*/{path.name}::Cell (\d+)"
    found = {int(number): outcome for outcome, number in re.findall(said, report, re.MULTILINE)}
    expected = dict.fromkeys(range(len(cells)), "PASSED") | {last: "FAILED"}
    assert found == expected, report
    assert f"something else than {path.stem}" in report


@every_chapter
def test_nbval_finds_the_altered_check_alone(path: Path, replayed: str) -> None:
    check_report(replayed, path)


# The book comes first, since it leaves behind what takes a chapter long to compute.
@pytest.mark.usefixtures("built_book")
def test_nbval_executes_a_chapter_and_finds_the_altered_check_alone(tmp_path: Path) -> None:
    path = CHAPTERS["intro"]
    write_notebook(tmp_path / path.name, altered(path)[0])
    check_report(nbval(tmp_path / path.name), path)
