"""A data set that was read from a folder, and tells what it made of it."""

from collections import Counter
from dataclasses import dataclass

from robustnb.data.dataset import Dataset

MOST_CLASSES = 20  # in a description


@dataclass(frozen=True, eq=False, repr=False)
class OwnImages(Dataset):
    """Hold the labelled images of a folder; `notes` say what was left out of them."""

    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        number = Counter(self.labels.tolist())
        counts = [f"{name} {number[label]:,}" for label, name in enumerate(self.classes)]
        more = len(counts) - MOST_CLASSES
        shown = counts[:MOST_CLASSES] + ([f"and {more} more classes"] if more > 0 else [])
        return "; ".join([super().__str__(), ", ".join(shown), *self.notes])

    __repr__ = __str__


def described(dataset: Dataset, notes: tuple[str, ...]) -> OwnImages:
    """Return a data set that lists its classes and what was left out."""
    return OwnImages(**vars(dataset), notes=notes)
