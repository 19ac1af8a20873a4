"""The rules by which a data set is divided into splits, and nothing else.

The key of a stored result digests the code of this file: what reads the images is covered by the
digest of the pixels, and has no place here.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from robustnb.data.dataset import DataError, Dataset

SEED = 0  # for RandomState, as NumPy promises its numbers in every future release
RATIOS = {
    "mnist": (5, 1, 1),
    "mnist-5k": (8, 1, 1),
    "cifar10": (4, 1, 1),
    "tiny-imagenet": (10, 1, 1),
}


def held_out(dataset: Dataset) -> dict[str, Tensor]:
    """Hold out the last sixth of the training part for validation: MNIST's 50,000/10,000/10,000.

    Of mnist-5k it is a ninth: 4,000/500/500.
    """
    train = dataset.splits["train"]
    kept = len(train) - round(len(train) / (9 if dataset.name == "mnist-5k" else 6))
    return {"train": train[:kept], "validation": train[kept:], "test": dataset.splits["test"]}


def at_random(dataset: Dataset) -> dict[str, Tensor]:
    """Divide all images at random, from a fixed seed, in the ratios of Xiao et al. (2021)."""
    train, validation, test = RATIOS.get(dataset.name, (5, 1, 1))
    share = len(dataset.labels) / (train + validation + test)
    order = torch.from_numpy(np.random.RandomState(SEED).permutation(len(dataset.labels)))
    parts = order.tensor_split((round(train * share), round((train + validation) * share)))
    return {
        split: part.sort().values
        for split, part in zip(("train", "validation", "test"), parts, strict=True)
    }


def as_published(dataset: Dataset) -> dict[str, Tensor]:
    """Keep the published parts, without validation: CIFAR-10's 50,000/10,000."""
    return dataset.splits


# Each rule takes a data set with its published splits, train and test.
RULES: dict[str, Callable[[Dataset], dict[str, Tensor]]] = {
    "held_out": held_out,
    "at_random": at_random,
    "as_published": as_published,
}


def first_classes(dataset: Dataset, number: int) -> Dataset:
    """Keep the images of the first `number` classes, each in the split where it was."""
    name, most = f"{dataset.name}-{number}", len(dataset.classes)
    if not 2 <= number <= most:
        raise DataError(f"{name} is no part of {dataset.name}: accepted are 2 to {most} classes.")
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
