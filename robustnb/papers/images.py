"""Which images a piece is about, as one of its arguments."""

import os
from dataclasses import dataclass
from functools import lru_cache

from torch.nn import functional as F

from robustnb.data import Dataset, load
from robustnb.devices import device
from robustnb.training import Split


@dataclass(frozen=True)
class Images:
    """Name the first `num_images` of a split of a data set (all unless told), and their labels.

    `splits` is the rule that divides the data set. `side` shrinks images to so many pixels a side.
    """

    dataset: str
    splits: str = "held_out"
    which: str = "test"
    num_images: int | None = None
    side: int | None = None

    def load(self) -> Split:
        """Return the images, float in [0, 1], and the labels, on the device."""
        dataset = loaded(self.dataset, self.splits)
        images, labels = dataset.split(self.which, self.num_images)
        images, labels = images.to(device()), labels.to(device())
        return images if self.side is None else F.adaptive_avg_pool2d(images, self.side), labels


def loaded(dataset: str, splits: str) -> Dataset:
    """Return a data set, from memory if it is one of the last two that were asked for."""
    return _loaded(dataset, splits, os.environ.get("ROBUSTNB_DATA"))


@lru_cache(maxsize=2)
def _loaded(dataset: str, splits: str, _: str | None) -> Dataset:
    # Every piece asks for images, and those that need no file are drawn anew at each load.
    return load(dataset, splits)
