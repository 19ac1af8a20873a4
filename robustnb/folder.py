"""Read image files into one array: class folders, Tiny-ImageNet's layout and torchvision's own."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

SEED = 0  # for RandomState, as NumPy promises its numbers in every future release
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


class DataError(ValueError):
    """Say in one sentence which data cannot be had, why, and what is accepted."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded pictures: the first `train_size` are for training, the others for testing."""

    pixels: NDArray[np.uint8]  # (N, C, H, W)
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    train_size: int


@dataclass(frozen=True, eq=False)
class Listing:
    """Image files and their labels."""

    paths: Sequence[Path]
    labels: NDArray[np.int64]

    def interleaved(self, seed: int | None = None) -> "Listing":
        """Return the same files in the order of `interleave`."""
        order = interleave(self.labels, seed)
        return Listing([self.paths[i] for i in order], self.labels[order])


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


def read_class_folders(folder: Path) -> Pictures:
    """Read `<class>/*.png`, or `train/<class>/*.png` and `test/<class>/*.png`, below a folder.

    Without `train` and `test`, a random seventh of every class is for testing.
    """
    if subfolders(folder / "train"):
        return read_train_and_test(folder)
    classes = class_folders(folder)
    listing = list_images(folder, classes).interleaved(SEED)
    train_size = round(len(listing.paths) * 6 / 7)
    return Pictures(decode_all(listing.paths, folder.name), listing.labels, classes, train_size)


def read_train_and_test(folder: Path) -> Pictures:
    extra = sorted({path.name for path in subfolders(folder)} - {"train", "test"})
    if extra:
        raise DataError(
            f"{folder / extra[0]} lies beside the folder train and would be left out: "
            "accepted there are train and test (a validation split is held out of train)."
        )
    classes = class_folders(folder / "train")
    differing = sorted(set(classes) ^ set(class_folders(folder / "test")))
    if differing:
        raise DataError(
            f"The class {differing[0]} is in only one of {folder}/train and {folder}/test: "
            "both must hold the same class folders."
        )
    parts = [list_images(folder / part, classes) for part in ("train", "test")]
    return join(parts, classes, folder.name)


def read_tiny_imagenet(folder: Path) -> Pictures:
    """Read Tiny-ImageNet; its validation images become the test part, as its own have no labels."""
    wordnet_ids = class_folders(folder / "train")
    parts = [
        list_images(folder / "train", wordnet_ids),
        list_annotated(folder / "val", wordnet_ids),
    ]
    return join(parts, first_words(folder / "words.txt", wordnet_ids), folder.name)


def read_mnist(folder: Path) -> Pictures:
    """Read MNIST's original files, in their own order."""
    train, test = open_with_torchvision("MNIST", folder.parents[1])
    pixels = np.concatenate([train.data.numpy(), test.data.numpy()])[:, None]
    labels = np.concatenate([train.targets.numpy(), test.targets.numpy()])
    return Pictures(pixels, labels, tuple("0123456789"), len(train))


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


def subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def class_folders(folder: Path) -> tuple[str, ...]:
    classes = tuple(path.name for path in subfolders(folder))
    if len(classes) < 2:
        raise DataError(
            f"{folder} needs two class folders or more ({folder.name}/<class>/*.png), "
            f"and holds {len(classes) or 'none'}."
        )
    return classes


def list_images(folder: Path, classes: Sequence[str]) -> Listing:
    """List every class folder's images, at any depth."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = images_below(folder / name)
        if not images:
            raise DataError(
                f"The class folder {folder / name} holds no image ({', '.join(SUFFIXES)})."
            )
        paths += images
        labels += [label] * len(images)
    return Listing(paths, np.asarray(labels, dtype=np.int64))


def images_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def list_annotated(folder: Path, classes: Sequence[str]) -> Listing:
    """List the images whose classes `val_annotations.txt` tells."""
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


def join(parts: Iterable[Listing], classes: tuple[str, ...], description: str) -> Pictures:
    train, test = (part.interleaved() for part in parts)
    return Pictures(
        decode_all([*train.paths, *test.paths], description),
        np.concatenate([train.labels, test.labels]),
        classes,
        len(train.paths),
    )


def decode_all(paths: Sequence[Path], description: str) -> NDArray[np.uint8]:
    """Decode images of one size to (N,C,H,W); C is 1 if all are grayscale, otherwise 3."""
    height, width = decode(paths[0]).shape[:2]
    pixels = np.empty((len(paths), 3, height, width), dtype=np.uint8)
    all_gray = True
    with ThreadPool(min(4, os.cpu_count() or 1)) as pool:
        decoded = pool.imap(decode, paths, chunksize=64)
        progress = tqdm(decoded, f"decoding {description}", len(paths), unit=" images", leave=False)
        for row, path, image in zip(pixels, paths, progress, strict=True):
            if image.shape[:2] != (height, width):
                raise DataError(
                    f"All images must have one size, but {paths[0]} is {width}×{height} "
                    f"and {path} is {image.shape[1]}×{image.shape[0]}."
                )
            row[:] = np.atleast_3d(image).transpose(2, 0, 1)
            all_gray &= image.ndim == 2
    return pixels[:, :1].copy() if all_gray else pixels


def decode(path: Path) -> NDArray[np.uint8]:
    """Decode one image to (H,W) if it is grayscale, to (H,W,3) otherwise."""
    try:
        with Image.open(path) as image:
            deep = image.mode.startswith(("I", "F"))
            gray = image.mode in ("1", "L", "LA")
            pixels = np.asarray(image.convert("L" if gray else "RGB"))
    except Exception as error:  # Pillow's decoders fail in many ways
        raise DataError(f"The image {path} is damaged, or of an unknown kind.") from error
    if deep:
        raise DataError(f"The image {path} has more than 8 bits a channel: save it with 8.")
    return pixels
