"""Rows on disk, seeds and published cells, against hand-made cases and the standard library."""

import json
import math
import platform
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robustnb import results
from robustnb.results import (
    BOOK,
    FIELDS,
    Row,
    claims,
    compare,
    make_row,
    one_per_cell,
    over_seeds,
    published,
    read_rows,
    update_rows,
    write_rows,
)

PAPER = "bayesian-weight-sampling"
CELL = (PAPER, "1", "test", "bayesian rho_init=-3")
REST: dict[str, Any] = {
    "seed": 0,
    "num_images": 100,
    "profile": "smoke",
    "settings": {"eps": 0.1, "steps": [1, 2]},
    "dataset": "digits",
    "digest": "ab12",
    "seconds": 2.0,
}
numbers = st.floats(0, 1e6)  # in percent


def measure(*cell: str, value: float = 97.0, **changes: Any) -> Row:
    return make_row(*(cell or CELL), value, **REST | changes)  # type: ignore[arg-type]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    shutil.copytree(BOOK / "published", tmp_path / "published")
    return tmp_path


# The published tables


PRINTED = {PAPER: (320, 16), "noise-optimization": (210, 17), "bang": (112, 11)}
PRINTED |= {"stochastic-lwta": (36, 6)}


@pytest.mark.parametrize("paper", PRINTED)
def test_every_published_cell_and_claim_is_there(paper: str) -> None:
    assert (len(published(paper)), len(claims(paper))) == PRINTED[paper]


def test_claims_of_a_second_reading_come_after_the_first(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    shutil.copy(BOOK / "published" / "claims.csv", tmp_path / "published")
    first = claims(folder=tmp_path)
    assert claims()[: len(first)] == first
    assert len(claims()) > len(first) == 39


@pytest.mark.parametrize("table", ["2", "3", "4"])
def test_the_printed_averages_are_those_of_the_twelve_sets(table: str) -> None:
    cells = published(PAPER, table)
    for column in {cell["column"] for cell in cells}:
        values = {c["row"]: c["value"] for c in cells if c["column"] == column}
        sets = [value for row, value in values.items() if row.startswith("FC-")]
        assert len(sets) == 12
        assert statistics.fmean(sets) == pytest.approx(values["average"], abs=0.0051)


def test_a_printed_spread_is_parted_from_its_value() -> None:
    cells = {(c["row"], c["column"]): c for c in published("bang", "1")}
    linf = cells["R0", "FGS Linf"]
    assert (linf["value"], linf["spread"], linf["decimals"]) == (40.51, 15.72, 2)
    accuracy = cells["R0", "accuracy"]
    assert (accuracy["value"], accuracy["spread"], accuracy["unit"]) == (99.16, None, "%")


def test_a_checkout_without_the_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tables.csv is missing"):
        published(PAPER, folder=tmp_path)


# Making rows


def test_a_row_has_all_fields_and_its_provenance() -> None:
    row = measure(value=97.25)
    assert tuple(row) == FIELDS
    assert (row["value"], row["values"], row["seeds"], row["spread"]) == (97.25, [97.25], [0], None)
    assert row["unit"] == "%"
    assert row["versions"]["python"] == platform.python_version()
    assert set(row["versions"]) == {"python", "torch", "robustnb"}
    assert row["device"].endswith("cores")


def test_a_graphics_card_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"card {device}")
    assert measure(device="cuda:1")["device"] == "card cuda:1"


@pytest.mark.parametrize(
    ("cell", "changes", "sentence"),
    [
        (("bayesian-weight-samplin", *CELL[1:]), {}, "did you mean 'bayesian-weight-sampling'"),
        ((PAPER, "1", "tset", CELL[3]), {}, "no row of Table 1 .* did you mean 'test'"),
        ((PAPER, "1", "test", "bayesian rho=-3"), {}, "did you mean 'bayesian rho_init=-3'"),
        (CELL, {"profile": "laptops"}, "did you mean 'laptop'"),
        (CELL, {"unit": "accuracy in [0,1]"}, "is in '%'"),
        (CELL, {"value": math.nan}, "value of test, bayesian rho_init=-3 is nan: it must be"),
        (CELL, {"settings": {"loss": object()}}, "Setting 'loss'"),
        (CELL, {"settings": {"eps": math.inf}}, "Setting 'eps'"),
        ((PAPER, "controls", "any", "any"), {}, "need a unit"),
    ],
)
def test_a_wrong_row_gets_one_sentence(
    cell: tuple[str, ...], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        measure(*cell, **changes)
    assert "\n" not in str(error.value)


def test_a_table_of_our_own_takes_any_names() -> None:
    row = measure(PAPER, "controls", "plain, both", "average over 12 sets", unit="%")
    assert row["row"] == "plain, both"


def test_settings_are_the_same_in_memory_and_on_disk(book: Path) -> None:
    row = measure(settings={"eps": 8 / 255, "widths": (100, 100)})
    write_rows(PAPER, "table_1", [row], book)
    assert read_rows(PAPER, folder=book) == [row]


# Storing rows


@given(st.lists(numbers, min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_come_back_as_they_were_stored(book: Path, values: list[float]) -> None:
    rows = over_seeds(measure(value=value, seed=seed) for seed, value in enumerate(values))
    path = write_rows(PAPER, "table_1", rows, book)
    first = path.read_bytes()
    (row,) = read_rows(PAPER, folder=book)
    assert row["value"] == pytest.approx(rows[0]["value"], rel=1e-5)
    assert row["values"] == pytest.approx(values, rel=1e-5)
    assert row | {"value": 0, "values": 0, "spread": 0} == rows[0] | {
        "value": 0,
        "values": 0,
        "spread": 0,
    }
    write_rows(PAPER, "table_1", read_rows(PAPER, folder=book), book)
    assert path.read_bytes() == first


def test_a_file_has_one_row_a_line_with_readable_numbers(book: Path) -> None:
    rows = [measure(seed=seed, value=100 / 3) for seed in range(3)]
    path = write_rows(PAPER, "table_1", [dict(reversed(row.items())) for row in rows], book)
    lines = path.read_text().splitlines()
    assert path == book / "results" / PAPER / "table_1.json"
    assert len(lines) == 5
    assert all(tuple(json.loads(line.rstrip(","))) == FIELDS for line in lines[1:-1])
    assert '"value": 33.3333,' in lines[1]


def test_an_update_replaces_the_same_cells_and_keeps_the_others(book: Path) -> None:
    old = [measure(value=1), measure(PAPER, "controls", "a", "b", unit="%", value=2)]
    write_rows(PAPER, "smoke", old, book)
    new = [measure(value=3), measure(PAPER, "controls", "a", "c", unit="%", value=4)]
    path = update_rows(PAPER, "smoke", new, book)
    assert [row["value"] for row in read_rows(PAPER, "smoke", book)] == [3, 2, 4]
    written = path.read_bytes()
    update_rows(PAPER, "smoke", new, book)
    assert path.read_bytes() == written


def test_rows_of_all_files_are_read_and_a_profile_picked(book: Path) -> None:
    write_rows(PAPER, "a", [measure()], book)
    write_rows(PAPER, "b", [measure(profile="laptop")], book)
    assert [row["profile"] for row in read_rows(PAPER, folder=book)] == ["smoke", "laptop"]
    assert len(read_rows(PAPER, "laptop", folder=book)) == 1
    assert read_rows("bang", folder=book) == []


def test_a_write_that_fails_leaves_the_old_file(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(PAPER, "table_1", [measure(value=1.0)], book)
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_rows(PAPER, "table_1", [measure(value=2.0)], book)
    assert path.read_bytes() == before
    assert list(path.parent.glob("[!.]*")) == [path]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: len(text) * 2 // 3], "table_1.json is damaged at row 2"),
        (lambda text: text.replace("smoke", "sm\udcffoke"), "table_1.json is damaged at row 1"),
        (lambda text: "{}", "does not hold a list of rows"),
        (lambda text: "[\n3\n]", "Row 1 of .*table_1.json has missing or unknown fields"),
        (lambda text: text.replace('"unit"', '"units"'), "unknown fields: unit, units"),
        (lambda text: text.replace(PAPER, "bang"), "belongs to 'bang'"),
        (lambda text: text.replace('"seeds": [0]', '"seeds": [0, 1]'), "for each of its `seeds`"),
        (
            lambda text: text.replace('"values": [97.0]', '"values": 97.0'),
            "for each of its `seeds`",
        ),
        (lambda text: text.replace('"value": 97.0', '"value": NaN'), "must be a finite number"),
    ],
)
def test_a_damaged_file_is_named_with_its_row(
    book: Path, damage: Callable[[str], str], sentence: str
) -> None:
    path = write_rows(PAPER, "table_1", [measure(seed=seed) for seed in range(2)], book)
    path.write_text(damage(path.read_text()), errors="surrogateescape")
    with pytest.raises(ValueError, match=sentence):
        read_rows(PAPER, folder=book)


def test_rows_are_checked_before_they_are_stored(book: Path) -> None:
    with pytest.raises(ValueError, match=r"Row 2 of x.json belongs to 'bang'"):
        write_rows(PAPER, "x", [measure(), measure() | {"paper": "bang"}], book)
    with pytest.raises(ValueError, match="cannot name a file"):
        write_rows(PAPER, "../x", [], book)
    assert not (book / "results").exists()


# Seeds


@given(st.lists(numbers, min_size=2, max_size=6))
def test_mean_and_spread_are_those_of_the_statistics_module(values: list[float]) -> None:
    (row,) = over_seeds(measure(value=value, seed=seed) for seed, value in enumerate(values))
    assert row["value"] == pytest.approx(statistics.mean(values))
    assert row["spread"] == pytest.approx(statistics.stdev(values), abs=1e-6)
    assert (row["values"], row["seeds"]) == (values, list(range(len(values))))
    assert row["seconds"] == 2.0 * len(values)


@given(st.lists(numbers, min_size=2, max_size=6), st.data())
def test_merging_in_steps_is_merging_at_once(values: list[float], data: st.DataObject) -> None:
    rows = [measure(value=value, seed=seed) for seed, value in enumerate(values)]
    cut = data.draw(st.integers(1, len(rows) - 1))
    assert over_seeds([*over_seeds(rows[cut:]), *rows[:cut]]) == over_seeds(rows)


def test_one_seed_has_no_spread() -> None:
    assert over_seeds([measure()]) == [measure()]


def test_what_was_measured_in_another_way_is_not_merged() -> None:
    rows = [measure(), measure(seed=1, settings={"eps": 0.2}), measure(seed=2, digest="other")]
    assert over_seeds(rows) == rows
    with pytest.raises(ValueError, match="differ in eps, steps"):
        one_per_cell(rows[:2])
    with pytest.raises(ValueError, match="differ in digest"):
        one_per_cell([rows[0], rows[2]])


def test_a_seed_counts_once() -> None:
    with pytest.raises(ValueError, match="seed 0 twice"):
        over_seeds([measure(), measure()])


def test_a_merged_row_names_every_device_and_version() -> None:
    other = measure(seed=1) | {"device": "another", "versions": measure()["versions"]}
    third = measure(seed=2) | {"versions": measure()["versions"] | {"torch": "9.9"}}
    (row,) = over_seeds([measure(), other, third])
    assert row["device"] == measure()["device"] + "; another"
    assert row["versions"]["torch"].endswith("; 9.9")


# Comparing and counting


def test_comparison_joins_in_published_order() -> None:
    rows = [measure(value=96.0), measure(value=97.0, seed=1), measure(profile="laptop", value=1.0)]
    cells = compare(PAPER, "1", rows, "smoke")
    assert [(c["row"], c["column"]) for c in cells] == [
        (c["row"], c["column"]) for c in published(PAPER, "1")
    ]
    (cell,) = [c for c in cells if c["ours"] is not None]
    assert (cell["published"], cell["ours"], cell["seeds"]) == (97.12, 96.5, [0, 1])
    assert cell["difference"] == pytest.approx(96.5 - 97.12)
    assert cell["spread"] == pytest.approx(math.sqrt(0.5))
    assert cells[0]["difference"] is None
    with pytest.raises(ValueError, match="'9' is no table"):
        compare(PAPER, "9", rows, "smoke")


def test_rows_of_several_seeds_say_the_fewest_images() -> None:
    rows = [measure(value=1, num_images=9), measure(value=3, seed=1, num_images=7)]
    (merged,) = over_seeds(rows)
    assert (merged["num_images"], merged["value"], merged["seeds"]) == (7, 2, [0, 1])


def measured_average(sets: list[str], value: float) -> Row:
    return results.make_row(
        *("bayesian-weight-sampling", "2", "average", "bayesian rho_init=-3", value),
        seed=0,
        num_images=10,
        profile="laptop",
        settings={"sets": sets},
        dataset="mnist",
        digest="0",
        seconds=0.0,
    )


def test_an_average_of_fewer_sets_is_compared_with_the_same_sets() -> None:
    two = ["FC-10 lambda=0", "FC-10 lambda=1"]  # printed as 94.89 and 83.23
    row = measured_average(two, 90.0)
    assert results.is_partial(row)
    cells = results.compare("bayesian-weight-sampling", "2", [row], "laptop")
    (average,) = [cell for cell in cells if cell["ours"] is not None]
    assert average["row"] == "average of 2 sets"
    assert average["published"] == pytest.approx((94.89 + 83.23) / 2)
    assert average["difference"] == pytest.approx(90 - 89.06)


def test_an_average_of_our_own_is_no_part_of_a_published_one() -> None:
    row = measure(PAPER, "controls", "plain, both", "average over 2 sets", unit="%")
    assert not results.is_partial(row | {"settings": {"sets": ["FC-10 lambda=0"]}})


def test_an_average_of_all_sets_is_compared_with_the_printed_one() -> None:
    names = [cell["row"] for cell in results.published("bayesian-weight-sampling", "2")]
    row = measured_average([name for name in dict.fromkeys(names) if name != "average"], 80.0)
    assert not results.is_partial(row)
    cells = results.compare("bayesian-weight-sampling", "2", [row], "laptop")
    (average,) = [cell for cell in cells if cell["ours"] is not None]
    assert (average["row"], average["published"]) == ("average", 83.22)
