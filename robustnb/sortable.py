"""A table that a reader sorts by any of its columns, also in a page without a kernel."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from robustnb.tables import Table

_SCRIPT = Path(__file__).with_name("sortable.js").read_text(encoding="utf-8")
_STYLE = """<style>
.rnb-sortable button{all:unset;cursor:pointer;font-weight:bold}
.rnb-sortable button:focus-visible{outline:2px solid}
.rnb-sortable button::after{content:" ↕"}
.rnb-sortable [aria-sort=ascending] button::after{content:" ↑"}
.rnb-sortable [aria-sort=descending] button::after{content:" ↓"}
@media print{.rnb-sortable button::after{content:none}}
</style>"""


def sortable_table(
    cells: Mapping[tuple[str, str], tuple[str, float]], title: str, first: str
) -> Table:
    """Show a text in the cell of each (row, column), which is sorted by its number.

    `first` is the head of the column of the rows' names. Without JavaScript, and in print, it is a
    table in the order of `cells`.
    """
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in (first, *columns))
    lines = "".join(_line(row, [cells.get((row, column)) for column in columns]) for row in rows)
    html = (
        f'{_STYLE}<table class="rnb-cells rnb-sortable"><caption>{escape(title)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table><script>{_SCRIPT}</script>"
    )
    told = (f"{row}, {column}: {text}" for (row, column), (text, _) in cells.items())
    return Table(title, html, "\n".join([title, *told]))


def _line(row: str, cells: list[tuple[str, float] | None]) -> str:
    head = f'<th scope="row" data-value="{escape(row)}">{escape(row)}</th>'
    return f"<tr>{head}{''.join(map(_cell, cells))}</tr>"


def _cell(cell: tuple[str, float] | None) -> str:
    if cell is None:
        return "<td>–</td>"
    text, value = cell
    return f'<td data-value="{value:.6g}">{escape(text)}</td>'
