"""Storing what an experiment measures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from robustnb import reproduction
from robustnb.experiments import bang
from robustnb.results import Row, make_row, over_seeds, papers, read_rows, write_rows


def measured(value: float, table: str) -> Row:
    """Return a row of a table of our own."""
    return make_row(
        *(bang.PAPER, table, "row", "column", value),
        seed=0,
        num_images=1,
        profile="smoke",
        settings={},
        dataset="digits",
        digest="0",
        seconds=0.0,
        unit="%",
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Let the experiment measure nothing: the number of the call is the value of every cell."""
    calls: list[tuple[object, ...]] = []

    def measure(profile: str, seeds: Sequence[int], tables: Iterable[str] | None) -> list[Row]:
        calls.append((profile, list(seeds), tables))
        return [measured(len(calls), table) for table in tables or ("one", "two")]

    monkeypatch.setattr(bang, "measure", measure)
    return calls


def test_every_paper_can_be_reproduced() -> None:
    assert reproduction.reproducible() == papers()


def test_rows_are_stored_and_named_tables_beside_the_others(
    asked: list[tuple[object, ...]], tmp_path: Path
) -> None:
    reproduction.reproduce("bang", "smoke", 2, folder=tmp_path)
    made = reproduction.reproduce("bang", "smoke", 1, ["two"], tmp_path)
    assert asked == [("smoke", [0, 1], None), ("smoke", [0], ["two"])]
    stored = {row["table"]: row["value"] for row in read_rows("bang", "smoke", tmp_path)}
    assert stored == {"one": 1, "two": 2}
    assert [row["value"] for row in made] == [2]
    reproduction.reproduce("bang", "smoke", 2, folder=tmp_path)
    assert {row["value"] for row in read_rows("bang", "smoke", tmp_path)} == {3}


def test_rows_of_more_seeds_are_not_lost_by_accident(
    asked: list[tuple[object, ...]], tmp_path: Path
) -> None:
    three = [measured(1, "one") | {"seeds": [0, 1, 2], "values": [1.0] * 3}, measured(1, "two")]
    write_rows("bang", "smoke", three, tmp_path)
    reason = "seeds is 2, and rows stored at profile smoke rest on 3 seeds: ask for at least 3, or"
    for tables in (None, ["one"]):
        with pytest.raises(ValueError, match=rf"^{reason} give --replace to lose them\.$"):
            reproduction.reproduce("bang", "smoke", 2, tables, tmp_path)
    assert not asked
    reproduction.reproduce("bang", "smoke", 2, ["two"], tmp_path)
    assert [row["seeds"] for row in read_rows("bang", "smoke", tmp_path)] == [[0, 1, 2], [0]]
    reproduction.reproduce("bang", "smoke", 2, folder=tmp_path, replace=True)
    assert [row["seeds"] for row in read_rows("bang", "smoke", tmp_path)] == [[0], [0]]


@pytest.mark.usefixtures("asked")
def test_bad_input_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^'bank' is no paper: it must be one of bayesian-weight"):
        reproduction.reproduce("bank", folder=tmp_path)
    with pytest.raises(ValueError, match=r"^seeds is 0: it must be at least 1\.$"):
        reproduction.reproduce("bang", "smoke", 0, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_rows_of_several_seeds_say_the_fewest_images() -> None:
    rows = [measured(1, "one"), measured(3, "one") | {"seeds": [1], "num_images": 7}]
    rows[0]["num_images"] = 9
    (merged,) = over_seeds(rows)
    assert (merged["num_images"], merged["value"], merged["seeds"]) == (7, 2, [0, 1])
