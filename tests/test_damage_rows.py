"""Rows that two runs store at once are all kept, and damage to them is told in one sentence."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustnb.reproduction import reproduce
from robustnb.results import BOOK, PROFILES, Row, make_row, over_seeds, papers, read_rows
from robustnb.results import write_rows as write

PAPER = "noise-optimization"
TABLES = 6
STORE = """
import sys, time
from pathlib import Path
from robustnb.results import make_row, update_rows
table, folder = sys.argv[1], Path(sys.argv[2])
row = make_row("bang", table, "row", "column", 1.0, seed=0, num_images=1, profile="smoke",
               settings={}, dataset="digits", digest="0", seconds=0.0, unit="%")
print("ready", flush=True)
sys.stdin.readline()
update_rows("bang", "smoke", [row], folder)
"""


def measured(row: str, value: float, seed: int) -> Row:
    return make_row(
        *(PAPER, "3", row, "clean", value),
        seed=seed,
        num_images=100,
        profile="smoke",
        settings={"eps": 0.1},
        dataset="mnist-5k",
        digest="ab12",
        seconds=2.0,
    )


@pytest.fixture
def book(tmp_path: Path) -> Path:
    shutil.copytree(BOOK / "published", tmp_path / "published")
    return tmp_path


@pytest.fixture
def stored(book: Path) -> Path:
    """Store two rows of three seeds each."""
    rows = [
        measured(row, value + seed / 10, seed)
        for row, value in (("MLP Sigmoid", 0.5), ("MLP ReLU", 0.7))
        for seed in range(3)
    ]
    return write(PAPER, "smoke", over_seeds(rows), book)


def test_rows_that_are_stored_at_the_same_moment_are_all_kept(book: Path) -> None:
    names = [str(number) for number in range(10, 10 + TABLES)]
    command = [sys.executable, "-c", STORE]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen([*command, name, str(book)], **pipes) for name in names]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("\n")
        run.stdin.flush()
    assert [run.wait() for run in runs] == [0] * TABLES
    for run in runs:
        run.stdin.close()
        run.stdout.close()
    assert sorted(row["table"] for row in read_rows("bang", "smoke", book)) == names


def change(**fields: Any) -> Callable[[list[Any]], None]:
    return lambda rows: rows[0].update(fields)


def drop(name: str) -> Callable[[list[Any]], None]:
    return lambda rows: rows[0].pop(name)


def scale(name: str, factor: float) -> Callable[[list[Any]], None]:
    return lambda rows: rows[0].update({name: rows[0][name] * factor})


DAMAGES: dict[str, Callable[[list[Any]], object]] = {
    "a wrong unit": change(unit="%"),
    "a row that the table does not have": change(row="MLP ReLUs"),
    "a column that the table does not have": change(column="none"),
    "an unknown profile": change(profile="laptops"),
    "another file's profile": change(profile="paper"),
    "another paper": change(paper="bang"),
    "a value that is not the mean": scale("value", 1.01),
    "a value of a seed that was changed": lambda rows: rows[0]["values"].__setitem__(1, 0.9),
    "a spread of other values": scale("spread", 1.01),
    "no spread": change(spread=None),
    "a negative spread": scale("spread", -1),
    "negative numbers": change(value=-0.6, values=[-0.5, -0.6, -0.7]),
    "numbers beyond the unit": change(value=60.0, values=[50.0, 60.0, 70.0], spread=10.0),
    "a negative number of images": change(num_images=-1),
    "half an image": change(num_images=1.5),
    "negative seconds": change(seconds=-1.0),
    "text for a value": change(value="0.6"),
    "text for values": change(values=["0.5", "0.6", "0.7"]),
    "text for a number of images": change(num_images="100"),
    "text for seconds": change(seconds="2"),
    "text for a spread": change(spread="0.1"),
    "text for seeds": change(seeds=["0", "1", "2"]),
    "text for settings": change(settings="eps"),
    "text for versions": change(versions="3.11"),
    "numbers for versions": change(versions={"python": 3}),
    "a number for a device": change(device=1),
    "a list for a table": change(table=["3"]),
    "nothing for a data set": change(dataset=None),
    "a digest of another data set": change(digest="ab13"),
    "a digest that is none": change(digest="mnist"),
    "a seed twice": change(seeds=[0, 1, 1]),
    "a negative seed": change(seeds=[-1, 0, 1]),
    "a seed less": change(seeds=[0, 1]),
    "no seed": change(seeds=[], values=[]),
    "true for a value": change(value=True),
    "an infinite value": change(value=float("inf")),
    "a field less": drop("seconds"),
    "a field more": change(note="by hand"),
    "a row that stands twice": lambda rows: rows.append(rows[0]),
    "a number for a row": lambda rows: rows.append(3),
}
TEXTS: dict[str, Callable[[str], str]] = {
    "a field that stands twice": lambda text: text.replace('"table":', '"table": "1", "table":', 1),
    "no list": lambda text: text[2:-2],
    "half a file": lambda text: text[: len(text) // 2],
    "an empty file": lambda _: "",
    "a number of 5000 digits": lambda text: text.replace(
        '"num_images": ', f'"num_images": {"1" * 5000}', 1
    ),
    "brackets without end": lambda _: "[" * 100_000,
    "no text": lambda text: text.replace("smoke", "sm\udcffke", 1),
    "null bytes": lambda text: "\0" * len(text),
}


def sentence(book: Path) -> str:
    with pytest.raises(ValueError, match=r"smoke\.json") as caught:
        read_rows(PAPER, "smoke", book)
    said = str(caught.value)
    assert said.endswith((".", "?"))
    assert "\n" not in said
    assert len(said) < 500
    return said


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_slip_of_the_hand_is_told(
    stored: Path, book: Path, damage: Callable[[list[Any]], object]
) -> None:
    rows = json.loads(stored.read_text())
    damage(rows)
    stored.write_text(json.dumps(rows))
    assert "ow" in sentence(book)  # the row, or the rows


@pytest.mark.parametrize("damage", TEXTS.values(), ids=TEXTS)
def test_a_damaged_file_is_told(stored: Path, book: Path, damage: Callable[[str], str]) -> None:
    stored.write_text(damage(stored.read_text()), errors="surrogateescape")
    assert "robustnb reproduce noise-optimization --profile smoke --replace" in sentence(book)


def test_what_a_hand_may_change_is_read(stored: Path, book: Path) -> None:
    rows = json.loads(stored.read_text())
    rows[0]["device"], rows[0]["seconds"] = "another", 3
    stored.write_text(json.dumps(rows, indent=4))
    assert read_rows(PAPER, "smoke", book)[0]["device"] == "another"


@pytest.mark.parametrize("paper", papers())
def test_the_rows_of_the_book_are_whole(paper: str) -> None:
    for profile in PROFILES:
        read_rows(paper, profile)


def test_a_damaged_file_is_replaced_when_all_is_measured_again(
    stored: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustnb.papers.noise_optimization import tables

    stored.write_text("[")
    monkeypatch.setattr(tables, "measure", lambda *_, **__: [measured("MLP Sigmoid", 0.5, 0)])
    with pytest.raises(ValueError, match="is damaged at row 1: restore it, or measure all again"):
        reproduce(PAPER, "smoke", 1, folder=book)
    reproduce(PAPER, "smoke", 1, folder=book, replace=True)
    assert len(read_rows(PAPER, "smoke", book)) == 1


def test_rows_of_more_seeds_that_came_meanwhile_are_kept(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustnb.papers.noise_optimization import tables

    several = over_seeds(measured("MLP Sigmoid", 0.5, seed) for seed in range(3))

    def measure(*_: object, **__: object) -> list[Row]:
        write(PAPER, "smoke", several, book)
        return [measured("MLP Sigmoid", 0.5, 0)]

    monkeypatch.setattr(tables, "measure", measure)
    with pytest.raises(ValueError, match="rest on 3 seeds"):
        reproduce(PAPER, "smoke", 1, folder=book)
    assert read_rows(PAPER, "smoke", book) == several
