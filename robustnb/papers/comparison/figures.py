"""What the chapter shows of the comparison's rows: a figure, a sentence, tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from robustnb import plots
from robustnb.auditing.signs import RULES, Rule, Sign
from robustnb.drawing import Drawing
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.defenses import defenses
from robustnb.papers.comparison.tables import ATTACKS, COST, SIDE_BY_SIDE, SIGNS, STAND_IN, TIMES
from robustnb.quantities import NotMeasured, Quantity
from robustnb.results import Row
from robustnb.sortable import sortable_table
from robustnb.stored import Stored
from robustnb.tables import Table, folded, prose_table, text_table
from robustnb.verdicts import Verdict

AS_PRINTED, WORST = "as its paper attacks", "worst case"
ENDS = tuple(f"{WORST}, {end}" for end in ("from", "to"))
COLUMNS = (
    *("clean", AS_PRINTED, WORST, "corruptions", "random noise", "transfer"),
    *("along the gradient", STAND_IN, "training", "an answer"),
)
HALF = 50.0  # percent
ATTACKERS = ("random noise", "transfer", AS_PRINTED, "along the gradient", WORST)


def left(stored: Stored) -> Drawing:
    """Draw what each defence keeps as its own paper attacks, and in the worst case."""
    worst = stored.down(SIDE_BY_SIDE, WORST)
    low, high = (stored.down(SIDE_BY_SIDE, end) for end in ENDS)
    first = stored.down(SIDE_BY_SIDE, AS_PRINTED)
    rows = {
        name: (
            first[name].mean if name in first else None,
            (worst[name].mean, low[name].mean, high[name].mean),
        )
        for name in sorted(worst, key=lambda name: worst[name].mean)
    }
    return plots.dumbbells(
        "Right answers as each paper attacks, and in the worst case",
        rows,
        ("as its own paper attacks", "in the worst case"),
    )


def under(stored: Stored, attacker: str) -> Drawing:
    """Draw what each defence keeps of its clean accuracy under one of `ATTACKERS`."""
    clean, found = (stored.down(SIDE_BY_SIDE, column) for column in ("clean", attacker))
    rows = {
        name: (
            clean[name].mean,
            (quantity.mean, *stored.interval(SIDE_BY_SIDE, name, attacker)),
        )
        for name, quantity in found.items()
    }
    title = f"Right answers without an attack and with: {attacker}"
    return plots.dumbbells(title, rows, ("no attack", attacker))


def message(stored: Stored) -> str:
    """Say in two or three sentences what is left of the defences, and what of it to doubt."""
    first = stored.down(SIDE_BY_SIDE, AS_PRINTED)
    worst = stored.down(SIDE_BY_SIDE, WORST)
    before = [name for name, found in first.items() if found.mean >= HALF]
    after = [name for name, found in worst.items() if found.mean >= HALF]
    named = f": {', '.join(after)}" if after else ""
    known = {each.title: each for each in defenses().values()}
    trained = sum(known[name].adversarial for name in after if name in known)
    learned = f" Of these, {trained} of {len(after)} learn from attacked images." if after else ""
    doubted = [name for name in after if any(rule.alarming for rule in _signs(stored, name))]
    doubt = f" The audit warns that less may be left of: {', '.join(doubted)}." if doubted else ""
    return (
        f"As its own paper attacks, {len(before)} of {len(first)} networks read half of the images "
        f"or more; in the worst case {len(after)} of {len(worst)} do{named}.{learned}{doubt}"
    )


def conditions(stored: Stored) -> str:
    """Say on what, within which radius and how hard all of it was measured."""
    row = stored.row(SIDE_BY_SIDE, stored.rows(SIDE_BY_SIDE)[0]["row"], WORST)
    eps, effort = row["settings"]["task"]["eps"], row["settings"]["effort"]
    return (
        f"Measured at {stored.where(SIDE_BY_SIDE)}: {row['num_images']:,} test images, "
        f"ε = {eps:g}, audits of effort *{effort}*."
    )


def side_by_side(stored: Stored) -> Table:
    """Show all columns of each defence, to be sorted by any of them."""
    rows = stored.rows(SIDE_BY_SIDE, COST)
    cells = {
        (row["row"], row["column"]): (_text(row), row["value"])
        for row in rows
        if row["column"] not in ENDS
    }
    for name, worst in stored.down(SIDE_BY_SIDE, WORST).items():
        low, high = (stored.value(SIDE_BY_SIDE, name, end) for end in ENDS)
        cells[name, WORST] = f"{worst.mean:.1f} ({low:.1f} to {high:.1f})", worst.mean
    ordered = dict(sorted(cells.items(), key=lambda cell: _place(cell[0][1])))
    title = f"Right answers (%), and cost as a multiple of no defence; {stored.where(SIDE_BY_SIDE)}"
    return sortable_table(ordered, title, "defence")


def _place(column: str) -> int:
    """Return where a column stands; those of the protocol's own names come last."""
    return COLUMNS.index(column) if column in COLUMNS else len(COLUMNS)


def _text(row: Row) -> str:
    spread = "" if row["spread"] is None else f" ± {row['spread']:.1f}"
    return f"{row['value']:.1f}{spread}{'×' if row['unit'] == TIMES else ''}"


def counted(paper: str, verdicts: Sequence[Verdict]) -> str:
    """Say how many claims a paper has, and how many of them came out in which way."""
    numbers = Counter(verdict.answer for verdict in verdicts)
    told = ", ".join(f"{answer}: {number}" for answer, number in numbers.items())
    return f"{paper.replace('-', ' ')}, {len(verdicts)} claims ({told})"


def about(known: Mapping[str, Defense] | None = None) -> Table:
    """Show what each defence does, how its paper attacked it, and how it is trained."""
    cells = {}
    for defense in (known or defenses()).values():
        cells[defense.title, "what it does"] = defense.sentence
        cells[defense.title, "its paper"] = defense.source
        cells[defense.title, "the paper's attack"] = defense.attacked
        cells[defense.title, "what differs in training"] = defense.differs or "nothing"
    return prose_table(cells, "What the defences are", "defence")


def audits(stored: Stored) -> Table:
    """Show the audit of each defence, folded under its name."""
    seeds = {row["row"]: len(row["seeds"]) for row in stored.rows(ATTACKS)}
    reports = {name: _report(stored, name, seeds[name]) for name in seeds}
    return folded(reports, f"The audit of each defence; {stored.where(ATTACKS)}")


def _report(stored: Stored, name: str, seeds: int) -> Table:
    worst = stored.value(SIDE_BY_SIDE, name, WORST)
    low, high = (stored.value(SIDE_BY_SIDE, name, end) for end in ENDS)
    found = _signs(stored, name)
    cells = {
        (attack, "accuracy (%)"): str(quantity)
        for attack, quantity in stored.across(ATTACKS, name).items()
    }
    cells[WORST, "accuracy (%)"] = f"{worst:.2f} ({low:.1f} to {high:.1f})"
    table = text_table(cells, f"{name}: accuracy under each attack")
    told = [_verdict(list(found)), *(_sign(rule, q, seeds) for rule, q in found.items())]
    html = "".join(f"<p>{escape(line)}</p>" for line in told)
    return Table(table.title, table.html + html, "\n".join([table.text, *told]))


def _signs(stored: Stored, name: str) -> dict[Rule, Quantity]:
    known = {rule.name: rule for rule in RULES}
    try:
        raised = stored.across(SIGNS, name)
    except NotMeasured:  # no audit raised any
        return {}
    found = {known[sign]: quantity for sign, quantity in raised.items() if sign in known}
    return dict(sorted(found.items(), key=lambda sign: not sign[0].alarming))  # alarms first


def _verdict(raised: list[Rule]) -> str:
    alarms = sum(rule.alarming for rule in raised)
    if not alarms:
        return "No sign says that the worst case is far too high."
    many = "A sign says" if alarms == 1 else f"{alarms} signs say"
    return f"{many} that the attacks did not work as they should: the truth may be lower."


def _sign(rule: Rule, found: Quantity, seeds: int) -> str:
    said = Sign(rule, found.mean, rule.threshold, raised=True).sentence
    kind = "Warning" if rule.alarming else "Remark"
    raised = f"raised with {len(found.by_seed)} of {seeds} seeds"
    return f"{kind}: {rule.name} ({raised}). {said} {rule.advice} ({rule.source}.)"
