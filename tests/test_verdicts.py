"""The machinery of verdicts: quantities pair their seeds, what is missing is said."""

import shutil
from pathlib import Path

import pytest
from hand_made import Changes, rows_of

from robustnb.results import BOOK, Row, claims, make_row, over_seeds, papers, published, write_rows
from robustnb.verdicts import NotMeasured, Quantity, best_verdicts, verdicts

PAPER = "bayesian-weight-sampling"


def test_a_difference_pairs_the_seeds() -> None:
    difference = Quantity({0: 5.0, 1: 7.0, 2: 1.0}) - Quantity({1: 4.0, 0: 1.0})
    assert difference.by_seed == {0: 4.0, 1: 3.0}
    assert difference.mean == 3.5
    assert difference.spread == pytest.approx(0.5**0.5)
    assert str(difference) == "3.50 ± 0.71"


def test_one_seed_has_no_spread() -> None:
    assert Quantity({3: 1.0}).spread is None
    assert str(Quantity({3: 1.0})) == "1.00"


def test_quantities_without_a_common_seed_cannot_be_compared() -> None:
    with pytest.raises(NotMeasured, match="same seed"):
        Quantity({0: 1.0}) - Quantity({1: 1.0})


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
        return {verdict.id: verdict.reason for verdict in best_verdicts(PAPER, book)}

    assert "Not measured" in reasons()["BWS-1"]
    write_rows(PAPER, "laptop", clean_accuracies("laptop"), book)
    assert reasons()["BWS-1"].startswith("At profile laptop")
    # A paper's run without the tables of a claim leaves it to the laptop.
    write_rows(PAPER, "paper", [measured("distortion", "FC-10", "accuracy", "paper")], book)
    assert reasons()["BWS-1"].startswith("At profile laptop")
    write_rows(PAPER, "paper", clean_accuracies("paper"), book)
    assert "At profile" not in reasons()["BWS-1"]
    assert [verdict.id for verdict in best_verdicts(PAPER, book)] == [
        c["id"] for c in claims(PAPER)
    ]


def test_undecided_tells_more_than_not_run(book: Path) -> None:
    gains = [60.0, 66.0, 72.0]  # of the best lambda, by seed
    standard = {"standard lambda=0": gains, "standard lambda=1e-4": [67.0] * 3}
    standard |= {"standard lambda=1e-2": [68.0] * 3, "standard lambda=1": [67.0] * 3}
    cells: Changes = {("2", "average", name): values for name, values in standard.items()}
    write_rows(PAPER, "laptop", over_seeds(rows_of(PAPER, cells, 3, "laptop")), book)
    write_rows(PAPER, "paper", [measured("distortion", "FC-10", "accuracy", "paper")], book)
    verdict = next(v for v in best_verdicts(PAPER, book) if v.id == "BWS-7")
    assert verdict.answer == "undecided"
    assert verdict.reason.startswith("At profile laptop")
    assert next(v for v in best_verdicts(PAPER, book) if v.id == "BWS-5").answer == "not run"


def clean_accuracies(profile: str) -> list[Row]:
    columns = {cell["column"] for cell in published(PAPER, "1")}
    return [measured("1", "test", column, profile) for column in sorted(columns)]


def measured(table: str, row: str, column: str, profile: str) -> Row:
    return make_row(
        *(PAPER, table, row, column, 90.0),
        unit="%",
        seed=0,
        num_images=10,
        profile=profile,
        settings={},
        dataset="mnist",
        digest="0",
        seconds=0.0,
    )


@pytest.fixture
def book(tmp_path: Path) -> Path:
    shutil.copytree(BOOK / "published", tmp_path / "published")
    return tmp_path
