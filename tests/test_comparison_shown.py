"""What the chapter shows of the comparison is what the rows say; the table sorts in a browser."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bs4 import BeautifulSoup
from drawn import axes_of
from hand_made import row

from robustnb import plots, results
from robustnb.auditing import signs
from robustnb.papers.comparison import figures
from robustnb.papers.comparison.defenses import defenses
from robustnb.publishing.notebook import read_notebook
from robustnb.results import over_seeds
from robustnb.sortable import sortable_table
from robustnb.stored import Stored
from robustnb.tables import text_table, verdict_table
from robustnb.verdicts import Verdict

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

WORST = {"a": [10.0, 20.0], "b": [60.0, 70.0], "c": [40.0, 40.0]}
PRINTED = {"a": [80.0, 90.0], "b": [65.0, 75.0]}  # the paper of c attacks nothing


def stored(**extra: Any) -> Stored:
    columns: dict[str, dict[str, list[float]]] = {
        "clean": {name: [90.0, 90.0] for name in WORST},
        "as its paper attacks": PRINTED,
        "random noise": {name: [88.0, 88.0] for name in WORST},
        "worst case": WORST,
        "worst case, from": {name: [v - 5 for v in values] for name, values in WORST.items()},
        "worst case, to": {name: [v + 5 for v in values] for name, values in WORST.items()},
    }
    cells = {
        ("side by side", name, column): values
        for column, found in columns.items()
        for name, values in found.items()
    }
    cells |= {("cost", name, "training"): [2.0, 4.0] for name in WORST}
    cells |= {("attacks", name, "Square"): [85.0, 85.0] for name in WORST}
    cells |= extra.get("cells", {})
    rows = [
        row("comparison", key, value, seed, "smoke") | {"num_images": 100}
        for key, values in cells.items()
        for seed, value in enumerate(values)
    ]
    for each in rows:
        each["unit"] = "times" if each["table"] == "cost" else "%"
    return Stored("comparison", over_seeds(rows))


def soup(shown: Any) -> BeautifulSoup:
    return BeautifulSoup(shown._repr_html_(), "html.parser")


def test_the_figure_shows_both_ends_of_each_defense_the_weakest_first() -> None:
    drawing = figures.left(stored())
    (axes,) = axes_of(drawing)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["a", "c", "b"]
    dots = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert dots["as its own paper attacks"] == [[85, 0], [70, 2]]
    assert dots["in the worst case"] == [[15, 0], [40, 1], [65, 2]]
    assert "a 85%, then 15% (10 to 20); c 40% (35 to 45); b 70%, then 65%" in drawing.alt


def test_a_figure_without_a_first_value_anywhere_is_drawn() -> None:
    drawing = plots.dumbbells("Some", {"a": (None, (5.0, 1.0, 9.0))}, ("before", "after"))
    assert drawing.alt == "Some: a 5% (1 to 9)."


def test_the_message_counts_what_keeps_half() -> None:
    assert figures.message(stored()) == (
        "As its own paper attacks, 2 of 2 networks read half of the images or more; in the worst "
        "case 1 of 3 do: b. Of these, 0 of 1 learn from attacked images."
    )


def test_the_message_warns_of_what_an_audit_doubts() -> None:
    doubted = stored(cells={("signs", "b", signs.ACTIVE.name): [0.25]})
    assert figures.message(doubted).endswith(" The audit warns that less may be left of: b.")
    weak = stored(cells={("signs", "a", signs.ACTIVE.name): [0.25]})  # it has fallen anyway
    assert "warns" not in figures.message(weak)


def test_an_alarm_is_told_before_a_remark() -> None:
    remark = next(rule for rule in signs.RULES if not rule.alarming)
    cells = {("signs", "a", rule.name): [1.0] for rule in (remark, signs.ACTIVE)}
    told = figures.audits(stored(cells=cells)).text
    assert told.index("Warning: ") < told.index("Remark: ")


def test_it_is_said_on_what_it_was_measured() -> None:
    told = figures.conditions(Stored("comparison"))
    worst = next(
        r for r in Stored("comparison").rows("side by side") if r["column"] == "worst case"
    )
    assert f"profile {worst['profile']}, {worst['dataset']}, {len(worst['seeds'])} seed" in told
    assert f"{worst['num_images']:,} test images, ε = 0.1" in told


def test_each_attacker_has_a_figure() -> None:
    alt = figures.under(stored(), "random noise").alt
    assert alt.startswith("Right answers without an attack and with: random noise: a 90%, then 88%")


def test_the_table_has_the_numbers_of_the_rows_and_what_they_are_sorted_by() -> None:
    page = soup(figures.side_by_side(stored()))
    heads = [head.text for head in page.select("thead th")]
    lines = {
        line.th.text: [(cell.text, cell.get("data-value")) for cell in line.find_all("td")]
        for line in page.select("tbody tr")
        if line.th is not None
    }
    first = ["defence", "clean", "as its paper attacks", "worst case"]
    assert heads == [*first, "random noise", "training"]
    assert lines["a"][heads.index("worst case") - 1] == ("15.0 (10.0 to 20.0)", "15")
    assert lines["a"][heads.index("training") - 1] == ("3.0 ± 1.4×", "3")
    assert lines["c"][heads.index("as its paper attacks") - 1] == ("–", None)


def test_each_defense_has_its_audit_folded_with_what_warned() -> None:
    rule = signs.ACTIVE
    raised = {("signs", "a", rule.name): [0.25]}  # with one seed of two
    page = soup(figures.audits(stored(cells=raised)))
    folds = {fold.summary.text: fold for fold in page.find_all("details") if fold.summary}
    assert list(folds) == ["a", "b", "c"]
    assert "15.00 (10.0 to 20.0)" in folds["a"].text
    assert "85.00" in folds["a"].text
    told = folds["a"].text
    assert "raised with 1 of 2 seeds" in told
    assert rule.advice in told
    assert "the truth may be lower" in told
    assert "No sign says" in folds["b"].text
    assert all(not fold.has_attr("open") for fold in folds.values())
    assert "No sign says" in figures.audits(stored()).html  # where no audit raised any


def test_every_file_is_told_of() -> None:
    told = soup(figures.about()).get_text(" ")
    for defense in defenses().values():
        for text in (defense.sentence, defense.source, defense.attacked, defense.differs):
            assert text in told


def test_a_claim_links_to_its_line_in_its_chapter() -> None:
    verdict = Verdict("X-1", "It holds", "90%", "holds", "It does.")
    there, here = soup(verdict_table([verdict])), soup(verdict_table([verdict], "x.html"))
    link = here.select_one("tbody th a")
    assert link is not None
    page, _, place = str(link["href"]).partition("#")
    assert page == "x.html"
    assert there.find(id=place) is not None
    assert figures.counted("some-paper", [verdict, verdict]) == "some paper, 2 claims (holds: 2)"


def test_the_chapter_shows_every_defense_with_the_numbers_of_its_rows(built_book: Path) -> None:
    cells = read_notebook(built_book.parent / "chapters" / "defenses_compared.ipynb")["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", ())]
    html = ["".join(out["data"].get("text/html", "")) for out in outputs if "data" in out]
    rows = Stored("comparison")
    figure = next(BeautifulSoup(text, "html.parser").svg for text in html if "<svg" in text)
    table = next(text for text in html if "rnb-sortable" in text)
    audits = next(text for text in html if text.count("<details>") == len(defenses()))
    assert figure is not None
    for defense in defenses().values():
        worst = rows.value("side by side", defense.title, "worst case")
        assert f"{defense.title} " in str(figure["aria-label"])
        lines = BeautifulSoup(table, "html.parser").select("tbody tr")
        (line,) = [each for each in lines if each.th and each.th.text == defense.title]
        assert f"{worst:.1f} (" in line.text
        assert f"<summary>{escape(defense.title)}</summary>" in audits
    claims = next(text for text in html if 'href="bang.html#' in text)
    assert len(BeautifulSoup(claims, "html.parser").select("tbody th a")) == len(results.claims())


# --- in a browser

CELLS = {
    ("one", "x"): ("9.0", 9.0),
    ("two", "x"): ("10.0 (8 to 12)", 10.0),
    ("three", "x"): ("–1.0", -1.0),
    ("one", "y"): ("5.0", 5.0),
    ("three", "y"): ("7.0", 7.0),  # two has none
}


@pytest.fixture
def table_page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    head = '<meta charset="utf-8"><title>Tables</title>'
    tables = sortable_table(CELLS, "Some numbers", "name")._repr_html_()
    other = text_table({("first", "x"): "1"}, "Another")._repr_html_()
    path.write_text(f'<!doctype html><html lang="en">{head}<main>{other}{tables}</main></html>')
    return path


def order(page: Any) -> list[str]:
    return list(page.locator(".rnb-sortable tbody th").all_text_contents())


def test_a_column_is_sorted_by_its_numbers_and_turned_round(table_page: Path, visit: Visit) -> None:
    from browser import axe_findings

    with visit(table_page) as page:
        assert order(page) == ["one", "two", "three"]
        by_x = page.get_by_role("button", name="x")
        by_x.click()
        assert order(page) == ["two", "one", "three"]
        head = page.get_by_role("columnheader", name="x").last
        assert head.get_attribute("aria-sort") == "descending"
        by_x.click()
        assert order(page) == ["three", "one", "two"]
        assert head.get_attribute("aria-sort") == "ascending"
        page.get_by_role("button", name="y").click()
        assert order(page) == ["three", "one", "two"]  # what has no number is last
        page.get_by_role("button", name="y").click()
        assert order(page) == ["one", "three", "two"]
        assert page.locator("[aria-sort]").count() == 1
        assert axe_findings(page, "main") == []


def test_it_is_sorted_from_the_keyboard(table_page: Path, visit: Visit) -> None:
    with visit(table_page) as page:
        page.get_by_role("button", name="name").focus()
        page.keyboard.press("Enter")
        assert order(page) == ["one", "three", "two"]
        page.keyboard.press("Space")
        assert order(page) == ["two", "three", "one"]
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert order(page) == ["two", "one", "three"]


def test_without_javascript_it_is_a_table(table_page: Path, visit: Visit) -> None:
    with visit(table_page, java_script_enabled=False) as page:
        assert order(page) == ["one", "two", "three"]
        assert page.locator("button").count() == 0
