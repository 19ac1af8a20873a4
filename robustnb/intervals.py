"""95% intervals of what is measured, over seeds or over images, and the regions they may lie in."""

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

_NUMBER = r"-?\d[\d.e/-]*"
_REGION = re.compile(
    rf"anything|all|(?P<words>more than|at least|less than|at most) (?P<limit>{_NUMBER})"
    rf"|(?P<low>{_NUMBER}) to (?P<high>{_NUMBER})"
)


class Interval(NamedTuple):
    """Where a number lies, both ends included."""

    low: float
    high: float

    def __str__(self) -> str:
        """Return both ends to three digits."""
        return f"{self.low:.3g} to {self.high:.3g}"


UNKNOWN = Interval(-math.inf, math.inf)


class Share(NamedTuple):
    """A share of images, from 0 to 1, and the weight that it has in a sum; `place` names it."""

    place: str
    weight: float
    share: float
    images: int


def over_seeds(values: Sequence[float], level: float = 0.95) -> Interval:
    """Return Student's interval of the mean over seeds; raises ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError(f"An interval over seeds needs two or more, not {len(values)}.")
    from scipy.special import stdtrit  # here, as it takes a while to load

    quantile = float(stdtrit(len(values) - 1, (1 + level) / 2))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Interval(mean - half, mean + half)


def of_share(share: float, images: int, level: float = 0.95) -> Interval:
    """Return the Wilson interval of a share from 0 to 1 that was measured on some images."""
    from robustnb.metrics import wilson_interval  # here, as it takes torch a second to load

    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    return Interval(*wilson_interval(share, images, z))


def over_images(value: float, shares: Iterable[Share], level: float = 0.95) -> Interval:
    """Return the interval of a weighted sum of shares whose value is `value`.

    From the Wilson interval of each share, by the method of variance estimates recovery (Zou &
    Donner 2008). The shares are taken to be of other images each; where they are of the same ones
    and networks err together, the interval is wider than it need be.
    """
    below = above = 0.0
    for each in shares:
        low, high = of_share(each.share, each.images, level)
        down, up = each.weight * (each.share - low), each.weight * (high - each.share)
        if each.weight < 0:
            down, up = -up, -down
        below, above = below + down**2, above + up**2
    return Interval(value - math.sqrt(below), value + math.sqrt(above))


@dataclass(frozen=True)
class Region:
    """The numbers for which a claim holds, from words such as "more than 0" or "-1.5 to 0".

    "all" is the number 1, as a share of cases, and a limit may be a fraction such as 1/2.
    """

    words: str
    low: float = -math.inf
    high: float = math.inf
    is_open: bool = False  # a limit is outside

    @classmethod
    def of(cls, words: str) -> "Region":
        """Read a region; raises ValueError for words that are none."""
        match = _REGION.fullmatch(words)
        if match is None:
            raise ValueError(
                f"{words!r} is no region: write 'more than 0', 'at least 1', 'less than 0', "
                "'at most 1/2', '-1 to 1', 'all' or 'anything'."
            )
        if words == "all":
            return cls(words, 1, 1)
        if match["words"]:
            limit, is_open = _number(match["limit"]), match["words"] in ("more than", "less than")
            if match["words"] in ("more than", "at least"):
                return cls(words, low=limit, is_open=is_open)
            return cls(words, high=limit, is_open=is_open)
        if match["low"]:
            return cls(words, _number(match["low"]), _number(match["high"]))
        return cls(words)

    @property
    def is_between(self) -> bool:
        """Tell whether it has two limits."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def covers(self, interval: Interval) -> bool:
        """Tell whether all of an interval is inside."""
        return interval.low in self and interval.high in self

    def meets(self, interval: Interval) -> bool:
        """Tell whether any of an interval is inside."""
        low, high = max(interval.low, self.low), min(interval.high, self.high)
        return low < high or (low == high and low in self)

    def __contains__(self, number: float) -> bool:
        """Tell whether a number is inside."""
        if self.is_open:
            return self.low < number < self.high
        return self.low <= number <= self.high


def _number(text: str) -> float:
    return float(Fraction(text))
