"""The answer to a claim: where the intervals of its contrasts lie beside its rule's regions."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from robustnb import results
from robustnb.intervals import UNKNOWN, Interval
from robustnb.quantities import Cases, NotMeasured, Quantity, Undecided, count_seeds
from robustnb.rules import Condition, Rule

Answer = Literal["holds", "holds in part", "does not hold", "undecided", "not run"]
LEVEL = 0.95
MOST_TOLD = 6  # cases; of more the least and the largest are told


class Found(NamedTuple):
    """What a claim's own function returns: each condition's contrast, and what else to tell.

    A condition about several cases has a mapping; a case may be open, and says why. `told` is a
    whole sentence or more, or nothing. With a `doubt`, a sentence without its full stop, the claim
    is undecided.
    """

    contrasts: Mapping[str, Quantity | Cases]
    told: str = ""
    doubt: str = ""


def decide(found: Found, known: Rule, profile: str = "paper") -> tuple[Answer, str]:
    """Decide a claim by its rule from its contrasts; return the answer and the sentences for it.

    It holds where every interval is inside its region, it does not where one is outside, and it is
    undecided where one overlaps the edge, or where the profile is a lesser one than the rule takes.
    """
    judged: list[tuple[Condition, Interval, str]] = []
    told: list[Quantity | Cases] = []
    for condition in known.conditions:
        contrast = found.contrasts[condition.name]
        judged.append((condition, *_judged(contrast, condition, known, again=contrast in told)))
        told.append(contrast)
    reason = " ".join(text for _, _, text in judged)
    doubts = [f"{found.doubt}."] if found.doubt else []
    if _scale(profile) < _scale(known.profile):
        doubts.append(f"The rule takes rows of profile {known.profile}.")
    if doubts:
        return "undecided", " ".join([reason, *doubts])
    possible = _possible([(condition, interval) for condition, interval, _ in judged])
    if len(possible) == 1:
        return possible[0], reason
    which = f"open whether it {' or '.join(possible)}" if len(possible) < 3 else "all open"
    return "undecided", f"{reason} The intervals leave {which}."


def _possible(judged: Sequence[tuple[Condition, Interval]]) -> list[Answer]:
    """Return the answers that no interval rules out."""
    whole = [(condition.holds, interval) for condition, interval in judged]
    part = [(condition.in_part, interval) for condition, interval in judged]
    differ = any(condition.holds != condition.in_part for condition, _ in judged)
    surely, surely_in_part = (all(r.covers(i) for r, i in each) for each in (whole, part))
    possibly, possibly_in_part = (all(r.meets(i) for r, i in each) for each in (whole, part))
    ruled: dict[Answer, bool] = {
        "holds": possibly,
        "holds in part": differ and possibly_in_part and not surely,
        "does not hold": not surely_in_part,
    }
    return [answer for answer, is_possible in ruled.items() if is_possible]


def _judged(
    contrast: Quantity | Cases, condition: Condition, known: Rule, again: bool
) -> tuple[Interval, str]:
    """Return where a condition's contrast lies, and a sentence; cases are not told `again`."""
    if isinstance(contrast, Quantity):
        interval, told = _interval(contrast, known, LEVEL)
        return interval, _sentence(
            f"{condition.contrast} is {contrast.mean:.3g}{condition.unit_text} ({told}), "
            f"where the claim asks for {condition.holds.words}."
        )
    assert condition.each is not None, condition.name
    level = 1 - (1 - LEVEL) / len(contrast)  # so that all intervals together are right in 95%
    found = {name: _interval(each, known, level) for name, each in contrast.items()}
    yes = sum(condition.each.covers(interval) for interval, _ in found.values())
    no = sum(not condition.each.meets(interval) for interval, _ in found.values())
    still = len(found) - yes - no
    sentences = [f"{yes} of {len(found)} {condition.cases}."]
    if no:
        sentences.append(f"In {no} it is not.")
    if still:
        sentences.append(f"In {still} it is open.")
    if not again:
        sentences.append(_told(contrast, {name: text for name, (_, text) in found.items()}))
    region = f"{'from ' if condition.each.is_between else ''}{condition.each.words}"
    region += condition.unit_text
    return Interval(yes / len(found), (yes + still) / len(found)), _sentence(
        f"{condition.contrast} is {region} in {' '.join(sentences)}"
    )


def _interval(found: Quantity | NotMeasured, known: Rule, level: float) -> tuple[Interval, str]:
    """Return the interval that a rule asks for, or all numbers, and how it reads."""
    if isinstance(found, NotMeasured):
        why = str(found) if isinstance(found, Undecided) else "not measured"
        return UNKNOWN, why
    values = list(found.by_seed.values())
    try:
        if known.over == "range":
            interval, over = Interval(min(values), max(values)), count_seeds(len(values))
        else:
            interval = found.interval(level, known.seeds)
            over = count_seeds(len(values)) if len(values) > 1 else f"over {_images(found)} images"
    except Undecided as why:
        return UNKNOWN, str(why)
    return interval, f"{interval}, {over}"


def _told(contrast: Cases, intervals_told: Mapping[str, str]) -> str:
    """Tell each case in a sentence, or of many the least and the largest."""
    means = {name: each.mean for name, each in contrast.items() if isinstance(each, Quantity)}
    names = list(contrast)
    if len(names) > MOST_TOLD and means:
        names = [min(means, key=means.__getitem__), max(means, key=means.__getitem__)]
    each = (
        f"{name}: {means[name]:.3g} ({intervals_told[name]})"
        if name in means
        else f"{name}: {intervals_told[name]}"
        for name in names
    )
    kind = "The least and the largest" if len(names) < len(contrast) else "One by one"
    return f"{kind}, {'; '.join(each)}."


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _images(found: Quantity) -> str:
    numbers = sorted({share.images for share in found.shares or ()})
    return " to ".join(f"{n}" for n in dict.fromkeys((numbers[0], numbers[-1])))


def _scale(profile: str) -> int:
    return results.PROFILES.index(profile)
