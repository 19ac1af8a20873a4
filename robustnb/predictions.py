"""What a chapter asks before it shows: the question, its choices, and the answer that came out."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict


class Asked(TypedDict):
    """What a `robustnb.widgets.Prediction` takes."""

    question: str
    choices: dict[str, str]
    answer: str | float
    told: str
    see: str
    within: NotRequired[float]


def placed(value: float, choices: Mapping[str, str], *bounds: float) -> str:
    """Return the choice for `value`, where rising `bounds` part each choice from the next.

    Raises ValueError unless there is one bound less than there are choices.
    """
    if len(bounds) != len(choices) - 1:
        raise ValueError(
            f"there are {len(bounds)} bounds: {len(choices)} choices take {len(choices) - 1}."
        )
    return list(choices)[sum(value > bound for bound in bounds)]
