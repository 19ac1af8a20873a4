"""Read MNIST, CIFAR-10 and Tiny-ImageNet as their authors publish them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustnb.data.dataset import DataError
from robustnb.data.folders import (
    Listing,
    class_folders,
    decode_parts,
    images_below,
    list_images,
    read_class_folders,
    subfolders,
)
from robustnb.data.pictures import Pictures, Reader, interleave


def read_mnist(folder: Path) -> Pictures:
    """Read MNIST's original files, in their own order."""
    (train, train_labels), (test, test_labels) = (mnist_part(folder, p) for p in ("train", "t10k"))
    some = min(len(train), len(test))
    if np.array_equal(train[:some], test[:some]):
        raise DataError(
            f"The test images in {folder} are the training images: replace t10k-images-idx3-ubyte."
        )
    pixels = np.concatenate([train, test])[:, None]
    labels = np.concatenate([train_labels, test_labels])
    return Pictures(pixels, labels, tuple("0123456789"), len(train))


def mnist_part(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images and labels of a part of MNIST: these very files, not what was made of them.

    torchvision's own reader prefers what older versions of it stored beside them.
    """
    from torchvision.datasets import mnist  # takes longer to import than a cached set to load

    images, labels = (folder / f"{part}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    try:
        pixels = mnist.read_image_file(str(images)).numpy()
        classes = mnist.read_label_file(str(labels)).numpy()
    except Exception as error:  # torchvision's readers fail in many ways
        raise DataError(
            f"The MNIST files in {folder.parents[1]} are damaged or incomplete: replace them, or "
            "delete them if they were downloaded."
        ) from error
    if len(pixels) != len(classes):
        raise DataError(
            f"{images} has {len(pixels):,} images, and {labels.name} {len(classes):,} labels: "
            "replace the one that is of another part."
        )
    if classes.size and classes.max() > 9:
        raise DataError(f"{labels} has the label {classes.max()}: those of MNIST are 0 to 9.")
    return pixels, classes


def read_cifar10(folder: Path) -> Pictures:
    """Read CIFAR-10's original files, in the order that its class folders would have."""
    train, test = open_with_torchvision("CIFAR10", folder.parent)
    labels = [np.asarray(part.targets) for part in (train, test)]
    orders = [interleave(part) for part in labels]
    pixels = [part.data[order] for part, order in zip((train, test), orders, strict=True)]
    return Pictures(
        np.concatenate(pixels).transpose(0, 3, 1, 2),
        np.concatenate([part[order] for part, order in zip(labels, orders, strict=True)]),
        tuple(train.classes),
        len(train),
    )


def open_with_torchvision(kind: str, root: Path) -> list[Any]:
    """Return torchvision's own objects for the training and the test part."""
    from torchvision import datasets  # here, as it takes longer to import than a cached set to load

    try:
        return [getattr(datasets, kind)(root, train=train) for train in (True, False)]
    except Exception as error:  # torchvision's readers fail in many ways
        raise DataError(
            f"The {kind} files in {root} are damaged or incomplete: replace them, or delete them "
            "if they were downloaded."
        ) from error


def read_tiny_imagenet(folder: Path) -> Pictures:
    """Read Tiny-ImageNet; its validation images become the test part, as its own have no labels.

    They lie in one folder, as they are published, or are sorted into class folders already.
    """
    wordnet_ids = class_folders(folder / "train")
    is_sorted = {path.name for path in subfolders(folder / "val")} >= set(wordnet_ids)
    list_validation = list_images if is_sorted else list_annotated
    parts = [
        list_images(folder / "train", wordnet_ids).interleaved(),
        list_validation(folder / "val", wordnet_ids).interleaved(),
    ]
    return decode_parts(folder, parts, first_words(folder / "words.txt", wordnet_ids))


def list_annotated(folder: Path, classes: Sequence[str]) -> Listing:
    """List the images whose classes are written in `val_annotations.txt`."""
    annotations = folder / "val_annotations.txt"
    if not annotations.is_file():
        raise DataError(f"{annotations} is missing: it holds the labels of the validation images.")
    rows = [line.split("\t") for line in annotations.read_text(encoding="utf-8").splitlines()]
    class_of = {row[0]: row[1] for row in rows if len(row) > 1}
    index = {name: label for label, name in enumerate(classes)}
    paths = images_below(folder / "images")
    labels = []
    for path in paths:
        if class_of.get(path.name) not in index:
            raise DataError(f"{annotations} has no label of a known class for {path.name}.")
        labels.append(index[class_of[path.name]])
    return Listing(paths, np.asarray(labels, dtype=np.int64))


def first_words(words: Path, wordnet_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the first word for every WordNet id."""
    if not words.is_file():
        return tuple(wordnet_ids)
    lines = words.read_text(encoding="utf-8").splitlines()
    meaning = dict(line.partition("\t")[::2] for line in lines)
    return tuple(meaning.get(key, key).split(",")[0] for key in wordnet_ids)


# The folders in which each may lie, below ROBUSTNB_DATA; a download makes the first.
LAYOUTS: dict[str, dict[str, Reader]] = {
    "mnist": {"MNIST/raw": read_mnist, "mnist": read_class_folders},
    "cifar10": {"cifar-10-batches-py": read_cifar10, "cifar10": read_class_folders},
    "tiny-imagenet": {
        "tiny-imagenet-200": read_tiny_imagenet,
        "tiny-imagenet": read_class_folders,
    },
}
