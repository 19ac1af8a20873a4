"""Load every data set of the book the same way: one tensor of images, labels and named splits."""

import difflib
import html
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustnb import shapes
from robustnb.cache import Decoded, cache_folder, in_memory, put_in_place, remembered, unfinished
from robustnb.folder import (
    SEED,
    DataError,
    Pictures,
    interleave,
    read_cifar10,
    read_class_folders,
    read_mnist,
    read_tiny_imagenet,
)

__all__ = ["PARTITIONS", "DataError", "Dataset", "load"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled images and the splits in which a paper uses them.

    `images` are float32 in [0, 1], shape (N,C,H,W), often memory-mapped: what is written into them
    never reaches the disk. `labels` are int64, shape (N,), indices into `classes`. `digest` is a
    hash of all pixels and labels, also of classes that were left out. `splits` holds indices into
    images and labels.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    digest: str
    splits: dict[str, Tensor]

    def split(self, which: str) -> tuple[Tensor, Tensor]:
        """Return the images and labels of one split, without a copy if its indices are a range."""
        if which not in self.splits:
            raise DataError(
                f"{self.name} has no split {which!r} here: accepted are {', '.join(self.splits)}."
            )
        indices = self.splits[which]
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


def load(name: str | os.PathLike[str], splits: str | None = None) -> Dataset:
    """Load a data set by its name, or your own images by the path of their folder.

    Names: `digits` (1×28×28), `shapes` (3×32×32, ten classes), `shapes-N` (3×64×64, N classes, at
    most 200, of 70 images), `mnist`, `cifar10`, `tiny-imagenet`. The last three are read from the
    folder that the environment variable ROBUSTNB_DATA names, or else downloaded, and have their
    first N classes as `tiny-imagenet-N` and so on. A folder of yours holds `<class>/*.png`, or
    `train/<class>/*.png` and `test/<class>/*.png`, all of one size.
    `splits` is the paper whose way to divide a data set is wanted, by default the first of
    `PARTITIONS`. Decoded images are kept in the folder that ROBUSTNB_CACHE names.

    Raises DataError, one sentence, if the name, a file or the network will not do.
    """
    paper = next(iter(PARTITIONS)) if splits is None else splits
    if paper not in PARTITIONS:
        raise DataError(f"No partition is called {paper!r}: accepted are {', '.join(PARTITIONS)}.")
    some = re.fullmatch(rf"({'|'.join(LAYOUTS)})-(\d+)", os.fspath(name))
    dataset = find(some[1] if some else os.fspath(name))
    partition = PARTITIONS[paper](dataset)
    for split, indices in partition.items():
        if not len(indices):
            raise DataError(f"{dataset.name} has too few images for a {split} split.")
    dataset = replace(dataset, splits=partition)
    return first_classes(dataset, int(some[2])) if some else dataset


def first_classes(dataset: Dataset, number: int) -> Dataset:
    """Keep the images of the first classes, each in the split where it was."""
    name, most = f"{dataset.name}-{number}", len(dataset.classes)
    if not 2 <= number <= most:
        raise DataError(
            f"{name} cannot be had of {dataset.name}: accepted are 2 to {most} classes."
        )
    kept = dataset.labels < number
    places = kept.cumsum(0) - 1
    return replace(
        dataset,
        name=name,
        images=dataset.images[kept],
        labels=dataset.labels[kept],
        classes=dataset.classes[:number],
        splits={split: places[part[kept[part]]] for split, part in dataset.splits.items()},
    )


def find(name: str) -> Dataset:
    """Load a data set with the splits that its authors published: train and test."""
    if name == "digits":
        return published(name, in_memory(enlarged_digits()))
    if match := re.fullmatch(r"shapes(?:-(\d+))?", name):
        pictures = generated_shapes(int(match[1]), 64, 70) if match[1] else generated_shapes()
        return published(name, in_memory(pictures))
    if name in LAYOUTS:
        return published(name, remembered(name, *locate(name)))
    folder = Path(name).expanduser().resolve()
    if folder.is_dir():
        return published(folder.name, remembered(folder.name, folder, read_class_folders))
    known = ["digits", "shapes", *LAYOUTS]
    close = difflib.get_close_matches(name.lower(), known, n=1)
    raise DataError(
        f"{name!r} is neither a data set nor a folder"
        + (f" (did you mean {close[0]!r}?)" if close else "")
        + f": accepted are {', '.join(known)}, shapes-N and the path of a folder of class folders."
    )


def published(name: str, decoded: Decoded) -> Dataset:
    images, labels, classes, train_size, digest = decoded
    train, test = torch.arange(len(labels)).tensor_split([train_size])
    return Dataset(name, images, labels, classes, digest, {"train": train, "test": test})


# How the papers divide a data set.


def held_out(dataset: Dataset) -> dict[str, Tensor]:
    """Hold out the last sixth of the training part for validation: MNIST's 50,000/10,000/10,000."""
    train = dataset.splits["train"]
    kept = len(train) - round(len(train) / 6)
    return {"train": train[:kept], "validation": train[kept:], "test": dataset.splits["test"]}


def as_published(dataset: Dataset) -> dict[str, Tensor]:
    """Train on the whole training part, without validation: CIFAR-10's 50,000/10,000."""
    return dataset.splits


RATIOS = {"mnist": (5, 1, 1), "cifar10": (4, 1, 1), "tiny-imagenet": (10, 1, 1)}


def at_random(dataset: Dataset) -> dict[str, Tensor]:
    """Divide all labelled images at random, from a fixed seed, in the paper's ratio."""
    train, validation, test = RATIOS.get(dataset.name, (5, 1, 1))
    share = len(dataset.labels) / (train + validation + test)
    order = torch.from_numpy(np.random.RandomState(SEED).permutation(len(dataset.labels)))
    parts = order.tensor_split((round(train * share), round((train + validation) * share)))
    return {
        split: part.sort().values
        for split, part in zip(("train", "validation", "test"), parts, strict=True)
    }


# By paper. Each rule serves every data set; the first is the default.
PARTITIONS: dict[str, Callable[[Dataset], dict[str, Tensor]]] = {
    "bayesian-weight-sampling": held_out,
    "noise-optimization": at_random,
    "bang": as_published,  # for MNIST the paper says 50,000, its code trains on all 60,000
    "stochastic-lwta": as_published,
}


# Data sets that need no file.


def enlarged_digits() -> Pictures:
    """Return scikit-learn's 1,797 handwritten digits, enlarged bilinearly from 8×8 to 28×28."""
    from sklearn.datasets import load_digits  # here, as only this set should pay for the import

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float()[:, None] / 16
    large = torch.nn.functional.interpolate(small, size=28, mode="bilinear")
    order = interleave(bunch.target, SEED)
    pixels = (large * 255).round().to(torch.uint8).numpy()[order]
    return Pictures(pixels, bunch.target[order], tuple("0123456789"), round(len(order) * 6 / 7))


def generated_shapes(num_classes: int = 10, size: int = 32, per_class: int = 700) -> Pictures:
    """Return a balanced set of images drawn from a fixed seed."""
    if not 2 <= num_classes <= shapes.MOST_CLASSES:
        raise DataError(
            f"shapes-{num_classes} cannot be drawn: accepted are 2 to {shapes.MOST_CLASSES}."
        )
    generator = torch.Generator().manual_seed(SEED)
    pixels = shapes.generate(num_classes, size, per_class, generator).numpy()
    labels = np.arange(len(pixels)) % num_classes
    return Pictures(pixels, labels, shapes.class_names(num_classes), len(pixels) * 6 // 7)


# Data sets in files.

Reader = Callable[[Path], Pictures]

# The folders in which each may lie, below ROBUSTNB_DATA; a download makes the first.
LAYOUTS: dict[str, dict[str, Reader]] = {
    "mnist": {"MNIST/raw": read_mnist, "mnist": read_class_folders},
    "cifar10": {"cifar-10-batches-py": read_cifar10, "cifar10": read_class_folders},
    "tiny-imagenet": {
        "tiny-imagenet-200": read_tiny_imagenet,
        "tiny-imagenet": read_class_folders,
    },
}
TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def locate(name: str) -> tuple[Path, Reader]:
    """Return the folder of a data set and what reads it, after a download if need be."""
    given = os.environ.get("ROBUSTNB_DATA")
    root = Path(given).expanduser().resolve() if given else cache_folder() / "downloads"
    if given and not root.is_dir():
        raise DataError(f"ROBUSTNB_DATA is {given}, which is not a folder.")
    if not given and not (root / next(iter(LAYOUTS[name]))).is_dir():
        download(name, root)
    for layout, reader in LAYOUTS[name].items():
        if (root / layout).is_dir():
            return root / layout, reader
    raise DataError(
        f"{name} is not in ROBUSTNB_DATA, {given} (looked for {' and '.join(LAYOUTS[name])}): "
        "put it there, or unset ROBUSTNB_DATA to download it."
    )


def download(name: str, root: Path) -> None:
    """Download a data set and check its checksum; `root` then holds the whole of it or nothing."""
    layout = next(iter(LAYOUTS[name]))
    with unfinished(root) as draft:
        try:
            fetch(name, draft)
        except (OSError, RuntimeError, EOFError, HTTPException) as error:
            raise DataError(why_not_downloaded(name, error)) from error
        put_in_place(draft / layout, root / layout)


def fetch(name: str, folder: Path) -> None:
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    if name == "mnist":
        datasets.MNIST(folder, download=True)
    elif name == "cifar10":
        datasets.CIFAR10(folder, download=True)
    else:
        download_and_extract_archive(
            TINY_IMAGENET_URL, folder, md5=TINY_IMAGENET_MD5, remove_finished=True
        )


def why_not_downloaded(name: str, error: Exception) -> str:
    if "corrupted" in str(error):  # torchvision's word for a wrong checksum
        return f"The download of {name} was cut short or altered (wrong checksum): try again."
    reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return (
        f"{name} cannot be downloaded ({reason}): try again with a network, or let ROBUSTNB_DATA "
        "name a folder that holds it."
    )
