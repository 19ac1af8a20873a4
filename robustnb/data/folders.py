"""Read image files from class folders into one array."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustnb.data.dataset import DataError
from robustnb.data.decoding import Size, decode_all, is_picture, picture_suffixes
from robustnb.data.pictures import SEED, Pictures, interleave
from robustnb.signatures import files_below

# The names, in any case, of the folders that hold the parts of a data set.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

# What is noted where most pictures are grey, and a network for grey ones fits no more.
IN_COLOUR = "3 channels, as colour is in"


@dataclass(frozen=True, eq=False)
class Listing:
    """Hold the paths of image files and their labels."""

    paths: Sequence[Path]
    labels: NDArray[np.int64]

    def interleaved(self, seed: int | None = None) -> "Listing":
        """Return the same files in the order of `interleave`."""
        order = interleave(self.labels, seed)
        return Listing([self.paths[i] for i in order], self.labels[order])

    def cut(self, size: int) -> "list[Listing]":
        """Return the first `size` files, and the others."""
        return [
            Listing(self.paths[part], self.labels[part])
            for part in (slice(size), slice(size, None))
        ]


def read_class_folders(folder: Path, size: Size | None = None) -> Pictures:
    """Read `<class>/*.png`, or `train/<class>/*.png` and `test/<class>/*.png`, below a folder.

    Without `train` and `test`, a random seventh of every class is for testing. Beside these two
    there may be `val`, which is the test part where there is no `test`. Names of these folders are
    taken in any case, and `training`, `testing`, `valid` and `validation` too.
    """
    parts = part_folders(folder)
    if parts:
        classes, listings = list_parts(folder, parts)
    else:
        classes = class_folders(folder)
        listing = list_images(folder, classes).interleaved(SEED)
        listings = listing.cut(round(len(listing.paths) * 6 / 7))
    read = {path for listing in listings for path in listing.paths}
    files = {Path(entry.path) for entry in files_below(folder)}
    left_out = sorted((files - read).union(no_files_below(folder)))
    pictures = decode_parts(folder, listings, classes, size, left_out)
    if "test" in parts or not parts:
        return pictures
    return replace(
        pictures, notes=(f"{parts['validation'].name} is the test part", *pictures.notes)
    )


def part_folders(folder: Path) -> dict[str, Path]:
    """Return the folders that hold the parts of a data set; none if the classes lie in `folder`.

    A folder of such a name with no folder inside is a class like others: of trains, say.
    """
    named = [path for path in subfolders(folder) if path.name.lower() in PARTS]
    if not any(subfolders(path) for path in named):
        return {}
    parts: dict[str, Path] = {}
    for path in named:
        other = parts.setdefault(PARTS[path.name.lower()], path)
        if other != path:
            raise DataError(
                f"{folder} has both {other.name} and {path.name}, which mean the same: join them."
            )
    return parts


def list_parts(folder: Path, parts: dict[str, Path]) -> tuple[tuple[str, ...], list[Listing]]:
    """List the images for training, for validation if they have a folder too, and for testing."""
    train = parts.get("train", folder / "train")
    extra = [path for path in subfolders(folder) if path not in parts.values()]
    if extra:
        raise DataError(
            f"{extra[0]} lies beside the folder {train.name} and would be left out: accepted there "
            "are train, val and test (without val, a validation split is held out of train)."
        )
    validation = [parts["validation"]] if {"validation", "test"} <= parts.keys() else []
    test = parts.get("test", parts.get("validation", folder / "test"))
    classes = class_folders(train)
    for part in (*validation, test):
        differing = sorted(set(classes) ^ set(class_folders(part)))
        if differing:
            raise DataError(
                f"The class {differing[0]} is in only one of {train} and {part}: "
                "both must hold the same class folders."
            )
    return classes, [
        list_images(part, classes).interleaved() for part in (train, *validation, test)
    ]


def subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted(found, key=lambda path: natural_order(path.name))


def natural_order(name: str) -> tuple[object, ...]:
    """Return a key that sorts 2 before 10, and all else as it would be sorted without it."""
    parts = re.findall(r"\d+|\D", name)
    return [("0", int(part)) if part.isdecimal() else (part, 0) for part in parts], name


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
                f"The class folder {folder / name} holds no image that Pillow can open "
                "(.png, .jpg, .webp and so on)."
            )
        paths += images
        labels += [label] * len(images)
    return Listing(paths, np.asarray(labels, dtype=np.int64))


def images_below(folder: Path) -> list[Path]:
    suffixes = picture_suffixes()
    paths = (Path(entry.path) for entry in files_below(folder))
    return sorted(path for path in paths if is_picture(path, suffixes))


def no_files_below(folder: Path) -> list[Path]:
    """List links that lead nowhere, pipes and the like, and folders named as pictures.

    Those that hold a file are folders like others.
    """
    suffixes = picture_suffixes()
    shown = (path for path in folder.rglob("[!.]*") if not _is_hidden(path, folder))
    return [
        path
        for path in shown
        if not path.is_file()
        and (not path.is_dir() or (path.suffix.lower() in suffixes and not any(files_below(path))))
    ]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def decode_parts(
    folder: Path,
    parts: Sequence[Listing],
    classes: tuple[str, ...],
    size: Size | None = None,
    left_out: Sequence[Path] = (),
) -> Pictures:
    """Decode the images for training, for validation if there are such, and for testing."""
    paths = [path for part in parts for path in part.paths]
    pixels, with_more_pages, in_colour = decode_all(paths, folder.name, size)
    notes = {
        "left out as no image or in no class folder": left_out,
        "only the first page taken of": with_more_pages,
        IN_COLOUR: in_colour if len(in_colour) < len(paths) / 2 else [],
    }
    return Pictures(
        pixels,
        np.concatenate([part.labels for part in parts]),
        classes,
        len(parts[0].paths),
        sum(len(part.paths) for part in parts[1:-1]),
        tuple(f"{note} {counted(files, folder)}" for note, files in notes.items() if files),
    )


def counted(files: Sequence[Path], folder: Path) -> str:
    """Return the number of files and the names of the first."""
    names = [path.relative_to(folder).as_posix() for path in files[:3]]
    more = ["…"] if len(files) > 3 else []
    number = "1 file" if len(files) == 1 else f"{len(files):,} files"
    return f"{number} ({', '.join([*names, *more])})"
