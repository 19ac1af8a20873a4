"""The chapters as they are stored, as papermill executes them, and as nbval checks them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robustnb.book import ROOT, Book
from robustnb.chapters import check, read_notebook, write_notebook

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
        assert cell["execution_count"] is None
        assert bool(cell["outputs"]) == is_checked(cell), cell["source"]
        for output in cell["outputs"]:
            assert output["output_type"] == "stream" or set(output["data"]) == {"text/plain"}


@every_chapter
def test_code_is_short_enough_to_read(path: Path) -> None:
    for cell in code_cells(path):
        lines = "".join(cell["source"]).splitlines()
        assert len(lines) <= 15, cell["source"]
        assert max(map(len, lines)) <= 76, cell["source"]


@every_chapter
def test_a_chapter_runs_under_papermill(path: Path, built_book: Path) -> None:
    executed = code_cells(built_book.parent / "chapters" / path.name)
    own = [c for c in executed if "injected-parameters" not in c["metadata"].get("tags", [])]
    assert all(cell["execution_count"] for cell in own)
    warnings = [out["text"] for c in own for out in c["outputs"] if out.get("name") == "stderr"]
    assert warnings == []
    for stored, cell in zip(code_cells(path), own, strict=True):
        assert stored["source"] == cell["source"]
        if is_checked(stored):
            assert printed(cell) == printed(stored)


def nbval(path: Path) -> tuple[dict[str, int], str]:
    """Run a notebook under nbval; return how many cells did what, and its report."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env"]
    command += [
        "--nbval-cell-timeout",
        "600",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(path),
    ]
    report = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    closing = report.rstrip().rpartition("\n")[2]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", closing)}, report


# The book comes first, since it leaves behind what takes a chapter long to compute.
@pytest.mark.usefixtures("built_book")
@every_chapter
def test_a_chapter_runs_under_nbval(path: Path) -> None:
    outcomes, report = nbval(path)
    assert outcomes.get("passed") == len(code_cells(path)), report
    assert "failed" not in outcomes, report


@pytest.mark.usefixtures("built_book")
@every_chapter
def test_an_altered_check_cell_is_found(path: Path, tmp_path: Path) -> None:
    notebook = read_notebook(path)
    first = next(i for i, c in enumerate(notebook["cells"]) if CHECKED in str(c["metadata"]))
    notebook["cells"] = notebook["cells"][: first + 1]
    notebook["cells"][first]["outputs"][0]["text"] = ["something else\n"]
    altered = tmp_path / path.name
    write_notebook(altered, notebook)
    outcomes, report = nbval(altered)
    assert outcomes.get("failed") == 1, report
    assert outcomes.get("passed") == len(code_cells(altered)) - 1, report
    assert "something else" in report
