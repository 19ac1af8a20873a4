"""CONTRIBUTING.md adds a paper in four files and a defence in one: they are built, and work."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from robustnb.results import BOOK

ROOT = BOOK.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = {
    language: re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for language in ("python", "csv", "yaml")
}
FILES = dict(zip(("protocols", "measuring", "tables", "claims"), BLOCKS["python"], strict=False))
CELLS, (DEFENSE,) = BLOCKS["python"][len(FILES) : -1], BLOCKS["python"][-1:]
KEY, NAME = "fast-gradient-sign", "fast_gradient_sign"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Copy the package and the book, and add what CONTRIBUTING.md adds to them."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("robustnb", "book"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    folder = root / "robustnb" / "papers" / NAME
    folder.mkdir()
    for name, text in {"__init__": "", **FILES}.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    for name, lines in zip(("tables", "claims", "rules"), BLOCKS["csv"], strict=True):
        with (root / "book" / "published" / f"{name}.csv").open("a", encoding="utf-8") as file:
            file.write(lines)
    with (root / "_toc.yml").open("a", encoding="utf-8") as file:
        file.write("".join(BLOCKS["yaml"]))
    defenses = root / "robustnb" / "papers" / "comparison" / "defenses"
    (defenses / "dropout_left_on.py").write_text(DEFENSE, encoding="utf-8")
    nbformat.write(chapter(), root / "book" / f"{NAME}.ipynb")
    yield root
    shutil.rmtree(root)


def chapter() -> nbformat.NotebookNode:
    """Return the chapter that CONTRIBUTING.md describes."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    for cell, tag in zip(cells, ("parameters", "dataset"), strict=False):
        cell.metadata["tags"] = [tag]
    title = nbformat.v4.new_markdown_cell("# Fast gradient sign")
    return nbformat.v4.new_notebook(cells=[title, *cells])


def robustnb(checkout: Path, *arguments: str) -> str:
    """Run the command line of the copy."""
    known = os.environ | {"PYTHONPATH": str(checkout), "ROBUSTNB_CACHE": str(checkout / "cache")}
    command = [sys.executable, "-c", "from robustnb.cli import main; main()", *arguments]
    done = subprocess.run(
        command, cwd=checkout, env=known, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_it_takes_four_files_of_at_most_150_lines() -> None:
    assert len(FILES) == 4
    assert sum(len(text.splitlines()) for text in [*FILES.values(), *CELLS]) <= 150


def test_it_is_measured_counted_and_its_claim_decided(checkout: Path) -> None:
    said = robustnb(checkout, "reproduce", KEY, "--profile", "smoke", "--table", "1")
    assert "Stored 2 rows of fast-gradient-sign" in said
    stored = json.loads((checkout / "book" / "results" / KEY / "smoke.json").read_text())
    error, confidence = (row["value"] for row in stored)
    assert error > 90  # of a linear network at eps 0.25, as Goodfellow et al. found
    assert 10 <= confidence <= 100
    (counted,) = (
        c for c in json.loads(robustnb(checkout, "results", "--json")) if c["paper"] == KEY
    )
    assert counted["tables"][0]["measured"]["smoke"] == 2
    assert counted["decided"]["smoke"] == 1


def test_its_chapter_is_executed_and_shows_both(checkout: Path) -> None:
    robustnb(checkout, "book", "--chapter", NAME)
    executed = checkout / "_build" / "smoke" / "chapters" / f"{NAME}.ipynb"
    cells = nbformat.read(executed, as_version=4).cells
    shown = "".join(str(cell.get("outputs", "")) for cell in cells)
    assert "Table 1: a softmax regression under FGSM (%)" in shown
    assert "FGS-1: " in shown


def test_a_changed_protocol_is_one_line(checkout: Path) -> None:
    code = f"""
from dataclasses import replace
from robustnb.attacks.gradient import FGSM
from robustnb.papers.{NAME}.protocols import PROTOCOLS
from robustnb.papers.{NAME}.tables import measure
rows = measure(replace(PROTOCOLS["smoke"], fgsm=FGSM(0.1)), jobs=1, progress=False)
print(rows[0]["settings"]["attack"]["eps"])
"""
    known = os.environ | {"PYTHONPATH": str(checkout), "ROBUSTNB_CACHE": str(checkout / "cache")}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=known, text=True, cwd=checkout).strip() == "0.1"


def test_a_defence_takes_one_file_of_at_most_40_lines() -> None:
    assert len(DEFENSE.splitlines()) <= 40


def test_it_is_measured_and_stands_in_figure_table_and_audits(checkout: Path) -> None:
    code = """
from dataclasses import replace
from robustnb.papers.comparison import figures
from robustnb.papers.comparison.protocols import PROTOCOLS
from robustnb.papers.comparison.tables import measure
from robustnb.stored import Stored
smoke = PROTOCOLS["smoke"]
tiny = replace(smoke, task=replace(smoke.task, epochs=1), num_images=10, num_certified=1, copies=10)
new = replace(tiny, only=("plain", "dropout_left_on"))
stored = Stored("comparison", measure(new, jobs=1, progress=False))
for shown in (figures.left, figures.side_by_side, figures.audits):
    html = shown(stored)._repr_html_()
    assert html.count("Dropout left on") > 0, shown
    assert html.count("No defence") > 0, shown
assert "Dropout left on" in figures.about().text
print(stored.value("side by side", "Dropout left on", "worst case"))
"""
    known = os.environ | {"PYTHONPATH": str(checkout), "ROBUSTNB_CACHE": str(checkout / "cache")}
    command = [sys.executable, "-c", code]
    said = subprocess.check_output(command, env=known, text=True, cwd=checkout)
    assert 0 <= float(said) <= 100
