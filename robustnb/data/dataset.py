"""A data set: one tensor of images, their labels, and named splits."""

import html
from dataclasses import dataclass

import torch
from torch import Tensor


class DataError(ValueError):
    """Say in one sentence what is wrong with a data set and what is accepted."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Hold labelled images and the splits in which they are used.

    `images` are float32 in [0, 1], shape (N,C,H,W), often mapped from a file, which stays as it is
    when they are written to. `labels` are int64, shape (N,), indices into `classes`. `digest` is a
    hash of all pixels and labels, also of classes that were left out. `splits` holds indices into
    images and labels.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    digest: str
    splits: dict[str, Tensor]

    def split(self, which: str, num_images: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the first `num_images` images of a split and their labels: all of them if None.

        A split with fewer images is returned whole. Nothing is copied where the indices are a
        range. Raises DataError if the split is unknown or `num_images` is no positive integer.
        """
        if which not in self.splits:
            raise DataError(
                f"{self.name} has no split {which!r} here: accepted are {', '.join(self.splits)}."
            )
        if num_images is not None and (not isinstance(num_images, int) or num_images < 1):
            raise DataError(
                f"num_images is {num_images!r}: accepted are integers of at least 1, or None."
            )
        indices = self.splits[which][:num_images]
        if torch.all(indices.diff() == 1):
            part = slice(int(indices[0]), int(indices[-1]) + 1)
            return self.images[part], self.labels[part]
        return self.images[indices], self.labels[indices]

    def __str__(self) -> str:
        shape = "×".join(str(length) for length in self.images.shape[1:])
        sizes = ", ".join(f"{name} {len(indices):,}" for name, indices in self.splits.items())
        return (
            f"{self.name}: {len(self.images):,} images of {shape} in {len(self.classes)} classes; "
            f"{sizes}; digest {self.digest}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>"
