"""Tables from rows as HTML that reads on a phone, in light and in dark, and without colour."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from robustnb.deciding import Answer
from robustnb.results import Row, one_per_cell
from robustnb.verdicts import Verdict

_MARKS: dict[Answer, tuple[str, str]] = {
    "holds": ("✓", "0 158 115"),
    "holds in part": ("◐", "230 159 0"),
    "does not hold": ("✗", "213 94 0"),
    "undecided": ("?", "86 180 233"),
    "not run": ("–", "136 136 136"),
}
_PAGE = "var(--pst-color-background,var(--jp-layout-color0,Canvas))"
_STYLE = f"""<style>
.rnb-table{{overflow-x:auto}}
.rnb-table table{{border-collapse:separate;border-spacing:0;font-size:.85em;margin:0;color:inherit}}
.rnb-table caption{{text-align:left;font-weight:bold;caption-side:top;color:inherit}}
.rnb-table :is(th,td){{padding:.35em .6em;border-bottom:1px solid rgb(136 136 136/.4)!important;
text-align:left;vertical-align:top;white-space:normal}}
.rnb-table th span{{white-space:nowrap}}
.rnb-table small{{display:block;font-size:.9em!important;line-height:1.4;opacity:.85}}
.rnb-cells :is(th,td){{text-align:right}}
.rnb-cells :is(td,small){{white-space:nowrap}}
.rnb-cells tr>:first-child{{position:sticky;left:0;z-index:1;min-width:8em;text-align:left;
background:{_PAGE}}}
.rnb-table details{{margin:.4em 0}}
.rnb-table summary{{cursor:pointer;padding:.35em 0;font-weight:bold}}
.rnb-chip{{border:1px solid;border-radius:1em;padding:.1em .6em;white-space:nowrap}}
@media(max-width:600px){{
.rnb-claims thead{{display:none}}
.rnb-claims :is(tr,td,th){{display:block;border:0!important;padding:.15em 0}}
.rnb-claims td[data-name]::before{{content:attr(data-name) ": "}}
.rnb-claims tr{{border-bottom:1px solid rgb(136 136 136/.4)!important;padding:.7em 0}}
}}
</style>"""


@dataclass(frozen=True)
class Table:
    """Show HTML that scrolls in its own box, and `text` where there is no HTML."""

    title: str
    html: str
    text: str

    def _repr_html_(self) -> str:
        label = f'role="region" tabindex="0" aria-label="{escape(self.title)}"'
        return f'<div class="fig rnb-table" {label}>{_STYLE}{self.html}</div>'

    def __repr__(self) -> str:
        return self.text


def comparison_table(cells: Sequence[Row], title: str) -> Table:
    """Show ours with its spread, the published value and the difference in each cell.

    `cells` are those of `results.compare`. The stronger the colour the larger the difference: blue
    where ours is above the published value, orange where it is below.
    """
    limit = max((abs(cell["difference"] or 0) for cell in cells), default=0) or 1.0
    boxes = {(cell["row"], cell["column"]): _cell(cell, limit) for cell in cells}
    measured = sum(cell["ours"] is not None for cell in cells)
    text = f"{title}: {measured} of {len(cells)} published cells measured"
    return Table(title, _grid(title, boxes), text)


def measured_table(rows: Iterable[Row], table: str, title: str) -> Table:
    """Show one of our own tables with its spread in each cell; `title` names the unit."""
    cells = one_per_cell(row for row in rows if row["table"] == table)
    numbers = {(row, column): _measured(cell) for (_, row, column), cell in cells.items()}
    if not numbers:
        return Table(title, f"<p>{escape(title)}: not measured</p>", f"{title}: not measured")
    return text_table(numbers, title)


def text_table(texts: Mapping[tuple[str, str], str], title: str) -> Table:
    """Show a text, such as a number, in the cell of each (row, column)."""
    boxes = {place: f"<td>{escape(text)}</td>" for place, text in texts.items()}
    lines = [f"{row}, {column}: {text}" for (row, column), text in texts.items()]
    return Table(title, _grid(title, boxes), "\n".join([title, *lines]))


def prose_table(texts: Mapping[tuple[str, str], str], title: str, first: str) -> Table:
    """Show words, which may take several lines, in the cell of each (row, column).

    `first` is the head of the column of the rows' names.
    """
    columns = list(dict.fromkeys(column for _, column in texts))
    lines = [_line([_head(name, "col") for name in (first, *columns)])]
    for row in dict.fromkeys(row for row, _ in texts):
        named = {column: texts[row, column] for column in columns if (row, column) in texts}
        cells = (f'<td data-name="{escape(c)}">{escape(text)}</td>' for c, text in named.items())
        lines.append(_line([_head(row, "row"), *cells]))
    told = (f"{row}, {column}: {text}" for (row, column), text in texts.items())
    return Table(title, _table("rnb-claims", title, lines), "\n".join([title, *told]))


def verdict_table(verdicts: Sequence[Verdict], page: str = "") -> Table:
    """Show claim, published figure, verdict, reason and rule, a line for each claim.

    Each line can be linked to by the claim's id; with a `page`, the id links to the line there.
    """
    names = ("id", "claim", "published", "verdict", "reason")
    lines = [_line([_head(name, "col") for name in names])]
    for verdict in verdicts:
        cells = [
            _claim(verdict.id, page),
            f"<td>{escape(verdict.claim)}</td>",
            f'<td data-name="Published">{escape(verdict.published)}</td>',
            f"<td>{_chip(verdict.answer)}</td>",
            f"<td>{escape(verdict.reason)}{_rule(verdict)}</td>",
        ]
        lines.append(_line(cells))
    text = "\n".join(f"{v.id}: {v.answer}. {v.reason}" for v in verdicts)
    return Table("Verdicts", _table("rnb-claims", "", lines), text)


def claims_table(verdicts: Sequence[Verdict], title: str) -> Table:
    """Show claim and verdict, a line for each; what was found and the rule can be opened."""
    lines = [_line([_head(name, "col") for name in ("id", "claim", "verdict", "why")])]
    for verdict in verdicts:
        why = f"{escape(verdict.reason)}<br>{escape(verdict.rule)}<br>{escape(verdict.history)}"
        cells = [
            _head(verdict.id, "row"),
            f"<td>{escape(verdict.claim)}</td>",
            f"<td>{_chip(verdict.answer)}</td>",
            f"<td><details><summary>Numbers and rule</summary>{why}</details></td>",
        ]
        lines.append(_line(cells))
    text = "\n".join(f"{v.id}: {v.answer}. {v.claim}." for v in verdicts)
    return Table(title, _table("rnb-claims", title, lines), text)


def folded(tables: Mapping[str, Table], title: str) -> Table:
    """Show each table folded under its name."""
    parts = (
        f"<details><summary>{escape(name)}</summary>{table.html}</details>"
        for name, table in tables.items()
    )
    text = "\n\n".join(f"{name}\n{table.text}" for name, table in tables.items())
    return Table(title, "".join(parts), text)


def _claim(identifier: str, page: str) -> str:
    name = escape(identifier)
    if page:
        return f'<th scope="row"><a href="{escape(page)}#{name}">{name}</a></th>'
    return f'<th scope="row" id="{name}"><span>{name}</span></th>'


def _rule(verdict: Verdict) -> str:
    """Return the rule of a verdict, to be opened, and what became of older rules."""
    if not verdict.rule:
        return ""
    rule = f"<details><summary>The rule</summary>{escape(verdict.rule)}</details>"
    return f"<small>{escape(verdict.history)}{rule}</small>"


def _cell(cell: Row, limit: float) -> str:
    digits = cell["decimals"]
    paper = _number(cell["published"], cell["published_spread"], digits)
    if cell["ours"] is None:
        return f"<td>–<small>paper {paper}</small></td>"
    difference = cell["difference"]
    colour = "0 114 178" if difference > 0 else "213 94 0"
    shade = f"background:rgb({colour}/{0.5 * abs(difference) / limit:.2f})"
    ours = _number(cell["ours"], cell["spread"], digits)
    small = f"<small>paper {paper}</small><small>{difference:+.{digits}f}</small>"
    return f'<td style="{shade}">{ours}{small}</td>'


def _measured(cell: Row) -> str:
    return _number(cell["value"], cell["spread"], 2 if cell["unit"] == "%" else 3)


def _grid(title: str, boxes: Mapping[tuple[str, str], str]) -> str:
    """Lay out cells by row and column, both in the order in which they first appear."""
    columns = list(dict.fromkeys(column for _, column in boxes))
    lines = [_line(["<td></td>", *(_head(column, "col") for column in columns)])]
    for row in dict.fromkeys(row for row, _ in boxes):
        found = [boxes.get((row, column), "<td>–</td>") for column in columns]
        lines.append(_line([_head(row, "row"), *found]))
    return _table("rnb-cells", title, lines)


def _number(value: float, spread: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def _chip(answer: Answer) -> str:
    mark, colour = _MARKS[answer]
    style = f"background:rgb({colour}/.25);border-color:rgb({colour})"
    return f'<span class="rnb-chip" style="{style}">{mark} {answer}</span>'


def _head(text: str, scope: str) -> str:
    words = " ".join(f"<span>{escape(word)}</span>" for word in text.split())
    return f'<th scope="{scope}">{words}</th>'


def _line(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _table(kind: str, title: str, lines: Sequence[str]) -> str:
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    body = "".join(lines[1:])
    return f'<table class="{kind}">{caption}<thead>{lines[0]}</thead><tbody>{body}</tbody></table>'
