"""Read image files from class folders into one array."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from robustnb.data.dataset import DataError
from robustnb.data.pictures import SEED, Pictures, interleave

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True, eq=False)
class Listing:
    """Hold the paths of image files and their labels."""

    paths: Sequence[Path]
    labels: NDArray[np.int64]

    def interleaved(self, seed: int | None = None) -> "Listing":
        """Return the same files in the order of `interleave`."""
        order = interleave(self.labels, seed)
        return Listing([self.paths[i] for i in order], self.labels[order])


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
