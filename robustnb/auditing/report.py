"""What an audit found: as a table, a figure and sentences, as text, and as plain data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from html import escape
from typing import Any

from torch import Tensor, nn

from robustnb.attacks.common import Norm
from robustnb.auditing.outcome import Outcome, interval
from robustnb.auditing.signs import Sign
from robustnb.drawing import Drawing
from robustnb.plots import accuracies
from robustnb.tables import Table, text_table


@dataclass(frozen=True)
class Report:
    """What an audit found. `attacks` are in the order in which they were made.

    `clean_right` and `worst_right` are right answers (D, N) of D draws on N images: without an
    attack, and under the attack chosen for each image. `chosen` (N,) says which attack that is.
    `failures` names attacks that broke off, and their errors. `signs` are all that were looked at.
    """

    network: str
    eps: float
    norm: Norm
    effort: str
    clean_right: Tensor
    attacks: Sequence[Outcome]
    worst_right: Tensor
    chosen: Tensor
    failures: Mapping[str, str]
    signs: Sequence[Sign]
    seconds: float
    passes: int
    interrupted: bool = False

    @property
    def clean(self) -> float:
        """Return the accuracy without an attack, as a share."""
        return self.clean_right.float().mean().item()

    @property
    def worst_case(self) -> float:
        """Return the accuracy under the attack chosen for each image, as a share."""
        return self.worst_right.float().mean().item()

    @property
    def every_draw(self) -> float:
        """Return the share of images that are right in every draw: the attacker may try again."""
        return self.worst_right.all(0).float().mean().item()

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the worst case, over images, and over draws if there are."""
        return interval(self.worst_right)

    @property
    def raised(self) -> list[Sign]:
        """Return the signs that were raised, alarms first."""
        raised = (sign for sign in self.signs if sign.raised)
        return sorted(raised, key=lambda sign: not sign.alarms)

    @property
    def believable(self) -> bool:
        """Tell whether no sign says that the worst case may be far too high."""
        return not self.interrupted and not any(sign.alarms for sign in self.signs)

    @property
    def sentence(self) -> str:
        """Say in plain words what the worst case is worth."""
        low, high = (100 * end for end in self.interval)
        bound = (
            f"At most {100 * self.worst_case:.1f}% ({low:.1f} to {high:.1f}) of the answers are "
            f"right within eps {self.eps:.4g} in {_NORMS[self.norm]}"
        )
        if self.interrupted:
            return f"{bound}. The audit was interrupted: what was left out may find more."
        if self.believable:
            return f"{bound}. No sign says that this is far too high."
        alarms = sum(sign.alarms for sign in self.signs)
        many = "a sign says" if alarms == 1 else f"{alarms} signs say"
        return (
            f"{bound}. This upper bound is not to be believed as the network's robustness: {many} "
            "that the attacks did not work as they should, and the truth may be far lower."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything but images and answers as plain data, which JSON can hold."""
        low, high = self.interval
        return {
            "network": self.network,
            "eps": self.eps,
            "norm": self.norm,
            "effort": self.effort,
            "num_images": self.worst_right.shape[1],
            "draws": len(self.worst_right),
            "clean": self.clean,
            "attacks": {each.name: _facts(each) for each in self.attacks},
            "failures": dict(self.failures),
            "worst_case": self.worst_case,
            "interval": [low, high],
            "every_draw": self.every_draw,
            "signs": [sign.as_dict() for sign in self.raised],
            "quiet_signs": [sign.as_dict() for sign in self.signs if not sign.raised],
            "believable": self.believable,
            "sentence": self.sentence,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
            "passes": self.passes,
        }

    def json(self) -> str:
        """Return `as_dict` as JSON."""
        return json.dumps(self.as_dict(), indent=2)

    @cached_property
    def figure(self) -> Drawing:
        """Return the accuracies as bars."""
        named = {"no attack": self.clean_right}
        named |= {each.name: each.right for each in self.attacks}
        named["worst case"] = self.worst_right
        shares = {name: (r.float().mean().item(), *interval(r)) for name, r in named.items()}
        return accuracies(f"Accuracy of {self.network}", shares)

    @property
    def table(self) -> Table:
        """Return the accuracies and what they cost."""
        images = self.worst_right.shape[1]
        cells = {("no attack", "accuracy (%)"): _ranged(self.clean_right)}
        for each in self.attacks:
            cells[each.name, "accuracy (%)"] = _ranged(each.right)
            cells[each.name, "chosen for"] = f"{int((self.chosen == self._place(each)).sum())}"
            cells[each.name, "seconds"] = f"{each.seconds:.1f}"
            cells[each.name, "passes an image"] = f"{each.passes / images:,.0f}"
        cells["worst case", "accuracy (%)"] = _ranged(self.worst_right)
        cells["worst case", "seconds"] = f"{self.seconds:.1f}"
        cells["worst case", "passes an image"] = f"{self.passes / images:,.0f}"
        if len(self.worst_right) > 1:
            cells["right in every draw", "accuracy (%)"] = f"{100 * self.every_draw:.1f}"
        return text_table(
            cells, f"Accuracy under each attack, with its 95% interval ({self.about})"
        )

    @property
    def about(self) -> str:
        """Say in a few words what was audited, and how."""
        draws = len(self.worst_right)
        judged = f", judged on {draws} draws" if draws > 1 else ""
        return (
            f"{self.network}, {self.worst_right.shape[1]:,} images, eps {self.eps:.4g} in "
            f"{_NORMS[self.norm]}, effort {self.effort}{judged}"
        )

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.table_lines())
        lines = [f"{name:{width}}  {text}" for name, text in self.table_lines()]
        return "\n".join([f"Audit of {self.about}", "", *lines, "", *self._told()])

    __repr__ = __str__

    def table_lines(self) -> list[tuple[str, str]]:
        """Return name and accuracy of each line of the table."""
        lines = [("no attack", _ranged(self.clean_right))]
        lines += [(each.name, _ranged(each.right)) for each in self.attacks]
        lines.append(("worst case", _ranged(self.worst_right)))
        if len(self.worst_right) > 1:
            lines.append(("right in every draw", f"{100 * self.every_draw:.1f}"))
        return lines

    def _repr_html_(self) -> str:
        raised = "".join(_item(sign) for sign in self.raised)
        broken = "".join(f"<li>{escape(line)}</li>" for line in self._broken())
        quiet = f"<details><summary>{escape(self._quiet())}</summary>{self._quiet_list()}</details>"
        parts = [
            f"<p><strong>{escape(self.sentence)}</strong></p>",
            self.figure._repr_html_(),
            f"<ul>{raised}{broken}</ul>" if raised or broken else "",
            quiet,
            self.table._repr_html_(),
        ]
        return "".join(parts)

    def _told(self) -> list[str]:
        raised = [f"{_kind(sign)}: {sign.rule.name}. {_said(sign)}" for sign in self.raised]
        names = ", ".join(sign.rule.name for sign in self.signs if not sign.raised)
        return [self.sentence, *raised, *self._broken(), f"{self._quiet()}: {names}."]

    def _broken(self) -> list[str]:
        return [f"{name} broke off: {error}" for name, error in self.failures.items()]

    def _quiet(self) -> str:
        number = sum(not sign.raised for sign in self.signs)
        return f"{number} signs were looked at and not raised"

    def _quiet_list(self) -> str:
        quiet = (sign.rule.name for sign in self.signs if not sign.raised)
        return f"<ul>{''.join(f'<li>{escape(name)}</li>' for name in quiet)}</ul>"

    def _place(self, outcome: Outcome) -> int:
        return next(place for place, each in enumerate(self.attacks) if each is outcome)


_NORMS: dict[Norm, str] = {"linf": "Linf", "l2": "L2"}


def settings(attack: Any) -> dict[str, Any]:
    """Return the class and the fields of an attack, and of one that it makes elsewhere."""
    found: dict[str, Any] = {"class": type(attack).__name__}
    if not is_dataclass(attack):
        return found
    for field in fields(attack):
        value = getattr(attack, field.name)
        if is_dataclass(value):
            found[field.name] = settings(value)
        else:
            found[field.name] = type(value).__name__ if isinstance(value, nn.Module) else value
    return found


def _kind(sign: Sign) -> str:
    return "Warning" if sign.alarms else "Remark"


def _said(sign: Sign) -> str:
    return f"{sign.sentence} {sign.rule.advice} (Raised {sign.limit}; {sign.rule.source}.)"


def _item(sign: Sign) -> str:
    name = f"<strong>{_kind(sign)}: {escape(sign.rule.name)}.</strong>"
    return f"<li>{name} {escape(_said(sign))}</li>"


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "accuracy": outcome.accuracy,
        "interval": list(interval(outcome.right)),
        "seconds": outcome.seconds,
        "passes": outcome.passes,
        "settings": settings(outcome.attack),
    }


def _ranged(right: Tensor) -> str:
    low, high = interval(right)
    return f"{100 * right.float().mean().item():.1f} ({100 * low:.1f} to {100 * high:.1f})"
