"""Keep decoded images on the disk, so that the next load only maps them into memory."""

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustnb.data.dataset import DataError
from robustnb.data.pictures import Pictures, Reader
from robustnb.data.writing import NotWritable, draft_folder, move_into_place
from robustnb.files import cache_folder
from robustnb.signatures import note_read, signature

FORMAT = 3  # of a cache entry, and of how images are read
CHECKSUM = "sha256"  # the name of the file


class Decoded(NamedTuple):
    """Hold pictures as float32 in [0, 1], with the digest of their pixels and labels."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    train_size: int
    validation_size: int
    notes: tuple[str, ...]
    digest: str


def scaled(pictures: Pictures) -> Decoded:
    """Scale pictures to [0, 1] in memory."""
    images = torch.from_numpy(pictures.pixels).float().div_(255)
    return Decoded(images, torch.from_numpy(pictures.labels), **about(pictures))


def decoded_once(name: str, folder: Path, reader: Reader, variant: str = "") -> Decoded:
    """Return a folder's pictures, which are read again only if a file in it has changed.

    `variant` tells apart what readers of different settings make of the same folder.
    """
    place = short_hash(os.fsencode(folder), variant.encode())
    try:
        found = signature(folder)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error
    note_read(folder, found)
    entry = cache_folder() / name / f"{place}-{FORMAT}-{found}"
    if entry.is_dir():
        try:
            return read_entry(entry)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            warnings.warn(
                f"{entry} is damaged: the images of {folder} are decoded again.", stacklevel=4
            )
            shutil.rmtree(entry, ignore_errors=True)
    pictures = reader(folder)
    try:
        write_entry(pictures, entry)
    except NotWritable as error:
        warnings.warn(f"{error} The images of {folder} are read at each load.", stacklevel=4)
        return scaled(pictures)
    for outdated in set(entry.parent.glob(f"{place}-*")) - {entry}:
        shutil.rmtree(outdated, ignore_errors=True)
    return read_entry(entry)


def about(pictures: Pictures) -> dict[str, Any]:
    """Return what is known of pictures beside their pixels and labels."""
    return {
        "classes": pictures.classes,
        "train_size": pictures.train_size,
        "validation_size": pictures.validation_size,
        "notes": pictures.notes,
        "digest": digest(pictures),
    }


def read_entry(entry: Path) -> Decoded:
    """Return what an entry holds; raise ValueError if its files are others than were written."""
    if (entry / CHECKSUM).read_text(encoding="utf-8") != checksum(entry):
        raise ValueError(f"{entry} is damaged")
    known = json.loads((entry / "about.json").read_text(encoding="utf-8"))
    # Mode "c" copies on write: nothing done to the tensor can spoil the cache.
    images = torch.from_numpy(np.load(entry / "images.npy", mmap_mode="c"))
    labels = torch.from_numpy(np.load(entry / "labels.npy"))
    known |= {name: tuple(known[name]) for name in ("classes", "notes")}
    return Decoded(images, labels, **known)


def write_entry(pictures: Pictures, entry: Path) -> None:
    """Write a cache entry, whole or not at all."""
    with draft_folder(entry.parent) as draft:
        write_images(pictures.pixels, draft / "images.npy")
        np.save(draft / "labels.npy", pictures.labels)
        (draft / "about.json").write_text(json.dumps(about(pictures)), encoding="utf-8")
        (draft / CHECKSUM).write_text(checksum(draft), encoding="utf-8")
        move_into_place(draft, entry)


def checksum(entry: Path) -> str:
    """Return the hash of the files of an entry: of MNIST's 220 MB in about 0.2 s."""
    whole = hashlib.sha256()
    for name in ("images.npy", "labels.npy", "about.json"):
        with (entry / name).open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def write_images(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write pixels as float32 in [0, 1], a block at a time to spare the memory."""
    header = {"descr": "<f4", "fortran_order": False, "shape": pixels.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(pixels), 4096):
            block = pixels[start : start + 4096]
            file.write(np.divide(block, 255, dtype=np.float32, order="C").data)


def digest(pictures: Pictures) -> str:
    """Return a hash of all pixels and labels."""
    labels = pictures.labels.astype("<i8")
    return short_hash(np.ascontiguousarray(pictures.pixels).data, labels.data)


def short_hash(*parts: bytes | memoryview) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()[:12]
