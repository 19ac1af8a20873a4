"""A paper by its key: what is measured is stored, claims are decided, both are counted."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hand_made import Changes, rows_of

from robustnb import reproduction
from robustnb.papers.bang import tables as bang_tables
from robustnb.papers.bang.protocols import Protocol
from robustnb.reproduction import coverage, verdicts
from robustnb.results import (
    BOOK,
    PROFILES,
    Row,
    claims,
    make_row,
    over_seeds,
    papers,
    published,
    read_rows,
    write_rows,
)

BAYESIAN = "bayesian-weight-sampling"


def measured(value: float, table: str) -> Row:
    """Return a row of a table of our own."""
    return make_row(
        *("bang", table, "row", "column", value),
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
def book(tmp_path: Path) -> Path:
    shutil.copytree(BOOK / "published", tmp_path / "published")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Let the experiment measure nothing: the number of the call is the value of every cell."""
    made: list[tuple[object, ...]] = []

    def measure(
        protocol: Protocol,
        seeds: Sequence[int],
        tables: Iterable[str] | None,
        **_: object,
    ) -> list[Row]:
        made.append((protocol.profile, list(seeds), tables))
        return [measured(len(made), table) for table in tables or ("one", "two")]

    monkeypatch.setattr(bang_tables, "measure", measure)
    return made


def test_every_paper_can_be_reproduced() -> None:
    *printed, own = reproduction.reproducible()
    assert printed == papers()
    assert own == "comparison"  # which prints nothing


def test_rows_are_stored_and_named_tables_beside_the_others(
    calls: list[tuple[object, ...]], book: Path
) -> None:
    reproduction.reproduce("bang", "smoke", 2, folder=book)
    made = reproduction.reproduce("bang", "smoke", 1, ["two"], book)
    assert calls == [("smoke", [0, 1], None), ("smoke", [0], ["two"])]
    stored = {row["table"]: row["value"] for row in read_rows("bang", "smoke", book)}
    assert stored == {"one": 1, "two": 2}
    assert [row["value"] for row in made] == [2]
    reproduction.reproduce("bang", "smoke", 2, folder=book)
    assert {row["value"] for row in read_rows("bang", "smoke", book)} == {3}


def test_rows_of_more_seeds_are_not_lost_by_accident(
    calls: list[tuple[object, ...]], book: Path
) -> None:
    three = [
        measured(1, "one") | {"seeds": [0, 1, 2], "values": [1.0] * 3, "spread": 0.0},
        measured(1, "two"),
    ]
    write_rows("bang", "smoke", three, book)
    reason = "seeds is 2, and rows stored at profile smoke rest on 3 seeds: ask for at least 3, or"
    for tables in (None, ["one"]):
        with pytest.raises(ValueError, match=rf"^{reason} give --replace to lose them\.$"):
            reproduction.reproduce("bang", "smoke", 2, tables, book)
    assert not calls
    reproduction.reproduce("bang", "smoke", 2, ["two"], book)
    assert [row["seeds"] for row in read_rows("bang", "smoke", book)] == [[0, 1, 2], [0]]
    reproduction.reproduce("bang", "smoke", 2, folder=book, replace=True)
    assert [row["seeds"] for row in read_rows("bang", "smoke", book)] == [[0], [0]]


@pytest.mark.usefixtures("calls")
def test_bad_input_is_named_in_one_sentence(book: Path) -> None:
    with pytest.raises(ValueError, match=r"^'bank' is no paper: it must be one of bayesian-weight"):
        reproduction.reproduce("bank", folder=book)
    with pytest.raises(ValueError, match=r"^seeds is 0: it must be at least 1\.$"):
        reproduction.reproduce("bang", "smoke", 0, folder=book)
    with pytest.raises(ValueError, match=r"^'big' is no profile: it must be one of smoke, laptop"):
        reproduction.reproduce("bang", "big", folder=book)
    assert not (book / "results").exists()


# Verdicts


@pytest.mark.parametrize("paper", papers())
def test_without_rows_every_claim_is_not_run(paper: str) -> None:
    found = verdicts(paper, [])
    assert [v.id for v in found] == [row["id"] for row in claims(paper)]
    assert [v.claim for v in found] == [row["claim"] for row in claims(paper)]
    assert {v.answer for v in found} == {"not run"}
    assert all(v.reason.endswith(".") for v in found)


def test_an_unknown_paper_is_named() -> None:
    with pytest.raises(ValueError, match=r"^'bank' is no paper: did you mean 'bang'\?$"):
        verdicts("bank", [])


def test_each_claim_is_decided_at_the_most_thorough_profile_that_can(book: Path) -> None:
    def reasons() -> dict[str, str]:
        return {verdict.id: verdict.reason for verdict in verdicts(BAYESIAN, folder=book)}

    assert "Not measured" in reasons()["BWS-1"]
    write_rows(BAYESIAN, "laptop", clean_accuracies("laptop"), book)
    assert reasons()["BWS-1"].startswith("At profile laptop")
    # A paper's run without the tables of a claim leaves it to the laptop.
    write_rows(BAYESIAN, "paper", [of_bayesian("distortion", "FC-10", "accuracy", "paper")], book)
    assert reasons()["BWS-1"].startswith("At profile laptop")
    write_rows(BAYESIAN, "paper", clean_accuracies("paper"), book)
    assert "At profile" not in reasons()["BWS-1"]
    assert [verdict.id for verdict in verdicts(BAYESIAN, folder=book)] == [
        c["id"] for c in claims(BAYESIAN)
    ]


def test_undecided_tells_more_than_not_run(book: Path) -> None:
    gains = [60.0, 66.0, 72.0]  # of the best lambda, by seed
    standard = {"standard lambda=0": gains, "standard lambda=1e-4": [67.0] * 3}
    standard |= {"standard lambda=1e-2": [68.0] * 3, "standard lambda=1": [67.0] * 3}
    cells: Changes = {("2", "average", name): values for name, values in standard.items()}
    write_rows(BAYESIAN, "laptop", over_seeds(rows_of(BAYESIAN, cells, 3, "laptop")), book)
    write_rows(BAYESIAN, "paper", [of_bayesian("distortion", "FC-10", "accuracy", "paper")], book)
    verdict = next(v for v in verdicts(BAYESIAN, folder=book) if v.id == "BWS-7")
    assert verdict.answer == "undecided"
    assert verdict.reason.startswith("At profile laptop")
    assert next(v for v in verdicts(BAYESIAN, folder=book) if v.id == "BWS-5").answer == "not run"


# Counting


def test_nothing_measured_is_counted_as_nothing(book: Path) -> None:
    counted = coverage(book)
    assert [paper["paper"] for paper in counted] == papers()
    nothing = dict.fromkeys(PROFILES, 0)
    for paper in counted:
        assert paper["decided"] == nothing
        assert all(table["measured"] == nothing for table in paper["tables"])
    for paper in counted:
        tables = sum(table["published"] for table in paper["tables"])
        assert tables == len(published(paper["paper"]))
        assert paper["claims"] == len(claims(paper["paper"]))


def test_measured_cells_and_decided_claims_are_counted_by_profile(book: Path) -> None:
    cells = [c for c in published(BAYESIAN, "1") if c["row"] == "test"]
    rows = [of_bayesian("1", c["row"], c["column"], "paper", c["value"]) for c in cells]
    rows = [row | {"seeds": [seed]} for row in rows for seed in range(3)]
    own = of_bayesian("controls", "plain, both", "average over 12 sets", "paper")
    write_rows(BAYESIAN, "table_1", [*rows, own], book)
    first = coverage(book)[0]
    assert first["tables"][0] == {
        "table": "1",
        "published": 22,
        "measured": {"smoke": 0, "laptop": 0, "paper": 11},
    }
    assert first["decided"] == {"smoke": 0, "laptop": 0, "paper": 3}


def clean_accuracies(profile: str) -> list[Row]:
    columns = {cell["column"] for cell in published(BAYESIAN, "1")}
    return [of_bayesian("1", "test", column, profile) for column in sorted(columns)]


def of_bayesian(table: str, row: str, column: str, profile: str, value: float = 90.0) -> Row:
    return make_row(
        *(BAYESIAN, table, row, column, value),
        unit="%",
        seed=0,
        num_images=10,
        profile=profile,
        settings={},
        dataset="mnist",
        digest="0",
        seconds=0.0,
    )
