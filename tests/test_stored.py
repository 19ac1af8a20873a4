"""What a chapter asks of rows, against rows made by hand."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from hand_made import row

from robustnb.metrics import wilson_interval
from robustnb.quantities import NotMeasured
from robustnb.results import BOOK, Row, over_seeds, published, write_rows
from robustnb.stored import Stored

PAPER = "bang"


def made(
    table: str, name: str, column: str, values: list[float], profile: str, **changes: Any
) -> Row:
    """Return the row of one cell with a value for each seed."""
    rows = [row(PAPER, (table, name, column), v, s, profile) for s, v in enumerate(values)]
    (merged,) = over_seeds([each | {"dataset": "mnist", "num_images": 100} for each in rows])
    return merged | changes


@pytest.fixture
def book(tmp_path: Path) -> Path:
    shutil.copytree(BOOK / "published", tmp_path / "published")
    laptop = [
        made("ours", "a", "x", [1.0, 3.0], "laptop"),
        made("ours", "b", "x", [5.0, 6.0], "laptop"),
        made("laptop's", "a", "x", [7.0], "laptop"),
    ]
    paper = [
        made("ours", "a", "x", [10.0, 30.0], "paper"),
        made("ours", "a", "y", [11.0, 33.0], "paper"),
        made("1", "R0", "accuracy", [99.0], "paper"),
    ]
    write_rows(PAPER, "laptop", laptop, tmp_path)
    write_rows(PAPER, "paper", paper, tmp_path)
    return tmp_path


def values(rows: list[Row]) -> dict[tuple[str, str], float]:
    return {(r["row"], r["column"]): r["value"] for r in rows}


def test_a_table_is_shown_at_its_most_thorough_profile(book: Path) -> None:
    stored = Stored(PAPER, folder=book)
    assert values(stored.rows("ours")) == {("a", "x"): 20.0, ("a", "y"): 22.0}
    assert values(stored.rows("laptop's")) == {("a", "x"): 7.0}
    assert stored.where("ours") == "profile paper, mnist, 2 seeds"


def test_or_each_row_at_its_own_and_its_name_says_which(book: Path) -> None:
    stored = Stored(PAPER, by_row=True, folder=book)
    expected = {("a", "x"): 20.0, ("a", "y"): 22.0, ("b", "x"): 5.5}
    assert values(stored.rows("ours")) == expected
    assert stored.where("ours") == "profile paper and laptop, mnist, 2 seeds"
    shown = repr(stored.table("ours", "Ours"))
    assert "a (paper), x: 20.00 ± 14.14" in shown
    assert "b (laptop), x: 5.50 ± 0.71" in shown


def test_own_rows_are_shown_where_they_are_handed_in(book: Path) -> None:
    own = [made("ours", "mine", "x", [50.0], "smoke"), made("1", "R0", "accuracy", [1.0], "smoke")]
    stored = Stored(PAPER, own, folder=book)
    assert values(stored.rows("ours")) == {("mine", "x"): 50.0}
    assert stored.value("1", "R0", "accuracy") == 1.0
    assert "R0, accuracy" not in repr(stored.table("ours", "Ours"))
    assert values(stored.rows("laptop's")) == {("a", "x"): 7.0}


def test_a_caption_tells_the_fewest_and_the_most_seeds(book: Path) -> None:
    own = [made("two", "a", "x", [1.0], "smoke"), made("two", "b", "x", [1.0] * 3, "smoke")]
    assert Stored(PAPER, own, folder=book).where("two") == "profile smoke, mnist, 1 to 3 seeds"


def test_cells_have_value_seeds_and_interval(book: Path) -> None:
    stored = Stored(PAPER, folder=book)
    assert stored.value("ours", "a", "x") == 20.0
    difference = stored.quantity("ours", "a", "y") - stored.quantity("ours", "a", "x")
    assert difference.by_seed == {0: 1.0, 1: 3.0}
    low, high = wilson_interval(0.2, 100)
    assert stored.interval("ours", "a", "x") == pytest.approx((100 * low, 100 * high))
    share = made("ours", "a", "x", [0.2], "smoke", unit="accuracy in [0,1]")
    assert Stored(PAPER, [share]).interval("ours", "a", "x") == pytest.approx((low, high))


def test_a_row_and_a_column_have_their_cells_by_name(book: Path) -> None:
    stored = Stored(PAPER, folder=book)
    across = stored.across("ours", "a")
    assert {name: found.by_seed for name, found in across.items()} == {
        "x": {0: 10.0, 1: 30.0},
        "y": {0: 11.0, 1: 33.0},
    }
    assert stored.down("ours", "y")["a"].by_seed == across["y"].by_seed
    assert stored.down("ours", "z") == {}


def test_a_printed_table_stands_beside_ours(book: Path) -> None:
    stored = Stored(PAPER, folder=book)
    percent = repr(stored.comparison("1", "everything"))
    assert percent.startswith("Table 1: everything; profile paper, mnist, 1 seed")
    cells = {cell["unit"] for cell in published(PAPER, "1")}
    assert len(cells) > 1
    html = stored.comparison("1", "accuracy", unit="%").html
    assert "accuracy" in html
    assert "PASS" not in html
    assert "99.16" in html


def test_a_curve_has_a_line_for_each_column_or_row(book: Path) -> None:
    stored = Stored(PAPER, folder=book)
    alt = stored.curve("ours", "Curves", "place", "value").alt
    assert alt == "Curves. x: a 20.00 ± 14.14%; y: a 22.00 ± 15.56%."
    turned = stored.curve("ours", "Curves", "place", "value", over="column", unit="").alt
    assert turned == "Curves. a: x 20.00 ± 14.14, y 22.00 ± 15.56."
    chosen = stored.curve("ours", "Curves", "place", "value", lines={"why": "y"}).alt
    assert chosen == "Curves. why: a 22.00 ± 15.56%."


def test_a_long_curve_is_thinned_and_keeps_its_first_place(book: Path) -> None:
    own = [made("long", f"epoch {k}", "loss", [k], "smoke") for k in range(30)]
    alt = Stored(PAPER, own, folder=book).curve("long", "Loss", "epoch", "loss", most=10).alt
    assert alt.count(",") == 9
    assert "loss: 0 0.00" in alt


def test_what_is_not_measured_is_one_sentence(book: Path) -> None:
    stored = Stored(PAPER, folder=book)
    with pytest.raises(NotMeasured, match=r"^Table 'none' of bang is not measured\.$"):
        stored.table("none", "Nothing")
    with pytest.raises(NotMeasured, match=r"^Table 'ours' of bang has no cell 'a', 'z'\.$"):
        stored.value("ours", "a", "z")
