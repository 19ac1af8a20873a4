"""Pictures as a data set's files or drawings give them, and the order in which they are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 0  # for RandomState, as NumPy promises its numbers in every future release


@dataclass(frozen=True, eq=False)
class Pictures:
    """Hold 8-bit pictures: first those for training, then for validation, then for testing.

    `notes` say what was left out of them.
    """

    pixels: NDArray[np.uint8]  # (N, C, H, W)
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    train_size: int
    validation_size: int = 0
    notes: tuple[str, ...] = ()


Reader = Callable[[Path], Pictures]  # of the folder that holds a data set


def interleave(labels: NDArray[np.int64], seed: int | None = None) -> NDArray[np.int64]:
    """Return an order in which every stretch holds the classes in the proportions of the whole.

    Within a class the order stays as it was, or is shuffled from `seed`.
    """
    order = np.arange(len(labels))
    if seed is not None:
        order = np.random.RandomState(seed).permutation(order)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((labels, position))
