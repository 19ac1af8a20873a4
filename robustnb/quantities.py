"""Measured numbers by seed, what is made of them, and what is said where one is missing."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from robustnb import intervals
from robustnb.intervals import Interval, Share


class NotMeasured(LookupError):
    """A claim rests on a cell that has no row yet; the message names the cell."""


class Undecided(NotMeasured):
    """A claim rests on a cell that tells nothing; the message says why."""


@dataclass(frozen=True)
class Quantity:
    """A measured number with its value for each seed; a difference pairs the seeds.

    `shares` are the shares of images that it is a weighted sum of, None where it is no such sum.
    """

    by_seed: dict[int, float]
    shares: tuple[Share, ...] | None = None

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return statistics.fmean(self.by_seed.values())

    @property
    def spread(self) -> float | None:
        """Return the sample standard deviation over seeds, None for a single seed."""
        values = list(self.by_seed.values())
        return statistics.stdev(values) if len(values) > 1 else None

    def __add__(self, other: "Quantity | float") -> "Quantity":
        """Add a number, or a quantity seed by seed; raises NotMeasured without a common seed."""
        if isinstance(other, int | float):
            return replace(self, by_seed={k: value + other for k, value in self.by_seed.items()})
        both = self.by_seed.keys() & other.by_seed.keys()
        if not both:
            raise NotMeasured("Not measured yet with the same seed on both sides.")
        by_seed = {seed: self.by_seed[seed] + other.by_seed[seed] for seed in sorted(both)}
        return Quantity(by_seed, _sum(self.shares, other.shares))

    def __mul__(self, factor: float) -> "Quantity":
        """Multiply by a number."""
        by_seed = {seed: factor * value for seed, value in self.by_seed.items()}
        if self.shares is None:
            return Quantity(by_seed)
        return Quantity(by_seed, tuple(s._replace(weight=factor * s.weight) for s in self.shares))

    def __sub__(self, other: "Quantity | float") -> "Quantity":
        """Subtract a number, or a quantity seed by seed."""
        return self + other * -1

    def __truediv__(self, other: "Quantity") -> "Quantity":
        """Divide seed by seed; the ratio is no sum of shares. Raises NotMeasured as a sum does."""
        both = (self + other).by_seed  # the seeds that they share
        return Quantity({seed: self.by_seed[seed] / other.by_seed[seed] for seed in both})

    def __str__(self) -> str:
        """Return the mean, and the spread where there is one, to two decimals."""
        return f"{self.mean:.2f}" + ("" if self.spread is None else f" ± {self.spread:.2f}")

    def interval(self, level: float = 0.95, fewest: int = 1) -> Interval:
        """Return its interval over seeds, or over images where there is one seed.

        Raises Undecided for fewer seeds than `fewest`, and for one seed of what is no share.
        """
        values = list(self.by_seed.values())
        if len(values) < fewest:
            raise Undecided(f"{count_seeds(len(values))}, where the rule asks for {fewest}")
        if len(values) > 1:
            return intervals.over_seeds(values, level)
        if self.shares is None:
            raise Undecided("one seed, of what is no share of images")
        return intervals.over_images(self.mean, self.shares, level)


def mean(quantities: Iterable[Quantity]) -> Quantity:
    """Return the mean of several quantities, seed by seed."""
    first, *others = quantities
    for other in others:
        first += other
    return first * (1 / (1 + len(others)))


Cases = Mapping[str, Quantity | NotMeasured]


def cases(find: Callable[..., Quantity], keys: Mapping[str, tuple[Any, ...]]) -> Cases:
    """Find the quantity of each case by its key; raises NotMeasured where none has any."""
    found: dict[str, Quantity | NotMeasured] = {}
    for name, key in keys.items():
        try:
            found[name] = find(*key)
        except NotMeasured as why:
            found[name] = why
    missing = [why for why in found.values() if isinstance(why, NotMeasured)]
    if len(missing) == len(found) and not any(isinstance(why, Undecided) for why in missing):
        raise missing[0]
    return found


def _sum(
    one: tuple[Share, ...] | None, other: tuple[Share, ...] | None
) -> tuple[Share, ...] | None:
    """Add two sums of shares; a share that is in both has the sum of its weights."""
    if one is None or other is None:
        return None
    found: dict[str, Share] = {}
    for share in (*one, *other):
        weight = found[share.place].weight if share.place in found else 0.0
        found[share.place] = share._replace(weight=weight + share.weight)
    return tuple(found.values())


def count_seeds(number: int) -> str:
    """Return how many seeds, in words."""
    return "one seed" if number == 1 else f"{number} seeds"
