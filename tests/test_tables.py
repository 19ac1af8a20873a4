"""HTML tables say in words what their colours say."""

import re
from html.parser import HTMLParser
from typing import Any, get_args

import pytest

from robustnb.deciding import Answer
from robustnb.results import compare, make_row
from robustnb.tables import (
    claims_table,
    comparison_table,
    measured_table,
    text_table,
    verdict_table,
)
from robustnb.verdicts import Verdict

PAPER = "bayesian-weight-sampling"


class Cells(HTMLParser):
    """Collect the words of every cell and check that all elements are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open) and data.strip():
            self.cells[-1].append(data)


def compared() -> list[dict[str, Any]]:
    rest: dict[str, Any] = {"num_images": 1, "profile": "smoke", "settings": {}, "seconds": 0.0}
    rest |= {"dataset": "digits", "digest": "ab"}
    column = "bayesian rho_init=-3"
    rows = [make_row(PAPER, "1", "test", column, 96 + s, seed=s, **rest) for s in (0, 1)]
    rows += [make_row(PAPER, "1", "validation", column, 97.3, seed=0, **rest)]
    return compare(PAPER, "1", rows, "smoke")


def test_a_cell_has_ours_the_published_value_and_the_difference() -> None:
    table = comparison_table(compared(), "Table 1")
    cells = Cells(table._repr_html_()).cells
    assert len(cells) == 3 * 12
    assert cells[24 + 4] == ["96.50 ± 0.71", "paper 97.12", "-0.62"]
    assert cells[12 + 4] == ["97.30", "paper 97.29", "+0.01"]
    assert cells[12 + 1] == ["–", "paper 97.51"]
    assert cells[4] == ["bayesian", "rho_init=-3"]
    assert repr(table) == "Table 1: 2 of 22 published cells measured"


def test_the_colour_grows_with_the_difference() -> None:
    shades = re.findall(
        r"background:rgb\(([\d ]+)/([\d.]+)\)", comparison_table(compared(), "")._repr_html_()
    )
    assert shades == [("0 114 178", "0.01"), ("213 94 0", "0.50")]


def test_a_table_without_any_measurement_has_no_colour() -> None:
    html = comparison_table(compare("bang", "1", [], "smoke"), "Table 1")._repr_html_()
    assert "background:rgb" not in html.split("</style>")[1]
    assert ["–", "paper 40.51 ± 15.72"] in Cells(html).cells


@pytest.mark.parametrize("answer", get_args(Answer))
def test_a_verdict_is_in_words(answer: Answer) -> None:
    verdict = Verdict("BWS-3", "small <and> few", "< 0.10", answer, "Because it is.")
    table = verdict_table([verdict])
    names, line = Cells(table._repr_html_()).cells[:5], Cells(table._repr_html_()).cells[5:]
    assert names == [["id"], ["claim"], ["published"], ["verdict"], ["reason"]]
    assert [" ".join(cell) for cell in line[:3]] == ["BWS-3", "small <and> few", "< 0.10"]
    assert line[3][0].endswith(f" {answer}")
    assert line[4] == ["Because it is."]
    assert repr(table) == f"BWS-3: {answer}. Because it is."


def test_a_verdict_says_how_old_its_rule_is_and_the_rule_can_be_opened() -> None:
    verdict = Verdict("BWS-3", "few", "< 0.10", "holds", "It is.", {}, "At most <0.10>.", "Young.")
    html = verdict_table([verdict])._repr_html_()
    assert (
        "<small>Young.<details><summary>The rule</summary>At most &lt;0.10&gt;.</details>" in html
    )


def test_a_line_of_a_claim_opens_on_its_numbers_and_its_rule() -> None:
    verdict = Verdict("BWS-3", "few", "< 0.10", "holds", "It is 1 <here>.", {}, "Rule.", "Young.")
    table = claims_table([verdict], "All")
    html = table._repr_html_()
    assert "<summary>Numbers and rule</summary>It is 1 &lt;here&gt;.<br>Rule.<br>Young." in html
    assert "✓ holds" in html
    assert repr(table) == "BWS-3: holds. few."


def test_a_table_of_our_own_has_its_spreads_and_its_gaps() -> None:
    rest: dict[str, Any] = {"num_images": 1, "profile": "smoke", "settings": {}, "seconds": 0.0}
    rest |= {"dataset": "digits", "digest": "ab"}
    rows = [
        make_row(PAPER, "own", row, column, value, seed=seed, unit=unit, **rest)
        for row, column, value, seed, unit in [
            ("PGD", "plain <b>", 50.0, 0, "%"),
            ("FGSM", "Bayesian", 0.25, 0, ""),
            ("PGD", "plain <b>", 52.0, 1, "%"),
        ]
    ]
    other = make_row(PAPER, "1", "test", "bayesian rho_init=-3", 97.0, seed=0, **rest)
    table = measured_table([other, *rows], "own", "Accuracy (%)")
    assert Cells(table._repr_html_()).cells == [
        *([], ["plain", "<b>"], ["Bayesian"]),
        *(["PGD"], ["51.00 ± 1.41"], ["–"]),
        *(["FGSM"], ["–"], ["0.250"]),
    ]
    assert repr(table) == "Accuracy (%)\nPGD, plain <b>: 51.00 ± 1.41\nFGSM, Bayesian: 0.250"


def test_a_table_of_our_own_without_rows_says_so() -> None:
    table = measured_table([], "own", "Accuracy <(%)>")
    assert "Accuracy &lt;(%)&gt;: not measured" in table.html
    assert repr(table) == "Accuracy <(%)>: not measured"


def test_a_table_of_texts_keeps_their_order_and_escapes_them() -> None:
    table = text_table({("b", "x < 1"): "<i>", ("a", "x < 1"): "2", ("b", "y"): "3"}, "T")
    assert Cells(table._repr_html_()).cells == [
        *([], ["x", "<", "1"], ["y"]),
        *(["b"], ["<i>"], ["3"]),
        *(["a"], ["2"], ["–"]),
    ]
    assert repr(table) == "T\nb, x < 1: <i>\na, x < 1: 2\nb, y: 3"
