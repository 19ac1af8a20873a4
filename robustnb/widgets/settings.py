"""Settings of explorables: numbers from Python, numpy or torch, and checks of what they may be."""

from collections.abc import Iterable
from typing import Any

import traitlets
from traitlets import TraitError


def as_python(value: Any) -> Any:
    """Return a scalar of numpy or torch as Python's number, and anything else as it is."""
    is_scalar = hasattr(value, "item") and getattr(value, "ndim", None) == 0
    return value.item() if is_scalar else value


class _Scalar(traitlets.TraitType[Any, Any]):
    def _validate(self, obj: Any, value: Any) -> Any:
        return super()._validate(obj, as_python(value))


class Number(_Scalar, traitlets.Float[float, Any]):
    """A trait that takes a number of Python, numpy or torch."""


class Whole(_Scalar, traitlets.Int[int, Any]):
    """A trait that takes a whole number of Python, numpy or torch."""


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Raise TraitError unless `value` lies between `low` and `high`."""
    if not low <= value <= high:
        raise TraitError(f"{name} is {value!r}: it must be from {low:.10g} to {high:.10g}.")


def check_choice(name: str, value: object, options: Iterable[object]) -> None:
    """Raise TraitError unless `value` is one of `options`."""
    if value not in (listed := list(options)):
        raise TraitError(f"{name} is {value!r}: it must be one of {', '.join(map(str, listed))}.")


def slider_values(name: str, values: Iterable[Any], low: float, high: float) -> list[float]:
    """Return the values of a slider in order; raise ValueError unless there are some, in range."""
    numbers = sorted({float(value) for value in values})
    if not numbers:
        raise ValueError(f"{name} is empty: the slider needs one value at least.")
    if wrong := [number for number in numbers if not low <= number <= high]:
        raise ValueError(f"{name} has {wrong[0]:g}: each must be from {low:g} to {high:g}.")
    return numbers
