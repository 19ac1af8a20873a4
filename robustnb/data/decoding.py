"""Decode image files into one array."""

import os
import re
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from robustnb.data.dataset import DataError

# Formats whose files Pillow opens, but does not decode by itself.
NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
# Formats that the first bytes of a file tell for sure, whatever its name.
MARKED = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")

Size = tuple[int, int]  # height and width


class Picture(NamedTuple):
    """Hold one decoded image, (H,W) if it is grayscale and (H,W,3) otherwise."""

    pixels: NDArray[np.uint8]
    has_more_pages: bool


class Pixels(NamedTuple):
    """Hold decoded images, (N,C,H,W), and the files of them that have something of their own."""

    pixels: NDArray[np.uint8]
    with_more_pages: list[Path]
    in_colour: list[Path]


def picture_suffixes() -> frozenset[str]:
    """Return the suffixes of the files that Pillow decodes, with what plugins it has."""
    return frozenset(
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in NOT_DECODED
    )


def is_picture(path: Path, suffixes: frozenset[str]) -> bool:
    """Tell whether a file is an image by its suffix, or else by its first bytes."""
    if path.suffix.lower() in suffixes:
        return True
    try:
        with Image.open(path, formats=MARKED):
            return True
    except Exception:  # Pillow's decoders fail in many ways
        return False


def decode_all(paths: Sequence[Path], description: str, size: Size | None = None) -> Pixels:
    """Decode images to (N,C,H,W); C is 1 if all are grayscale, otherwise 3.

    Without `size` all must have one.
    """
    height, width = decode(paths[0], size).pixels.shape[:2]
    pixels = np.empty((len(paths), 3, height, width), dtype=np.uint8)
    in_colour, with_more_pages = [], []
    with ThreadPool(min(4, os.cpu_count() or 1)) as pool:
        decoded = pool.imap(lambda path: decode(path, size), paths, chunksize=64)
        progress = tqdm(decoded, f"decoding {description}", len(paths), unit=" images", leave=False)
        for row, path, (image, has_more_pages) in zip(pixels, paths, progress, strict=True):
            if image.shape[:2] != (height, width):
                raise DataError(
                    f"All images must have one size, but {paths[0]} is {width}×{height} and {path} "
                    f"is {image.shape[1]}×{image.shape[0]}: size={min(height, width)}, or another, "
                    "lets load resize and crop them."
                )
            row[:] = np.atleast_3d(image).transpose(2, 0, 1)
            in_colour += [path] if image.ndim == 3 else []
            with_more_pages += [path] if has_more_pages else []
    return Pixels(pixels if in_colour else pixels[:, :1].copy(), with_more_pages, in_colour)


def decode(path: Path, size: Size | None = None) -> Picture:
    """Decode the first page of one image, upright and on white, at `size` if one is given."""
    try:
        with Image.open(path) as image:
            deep, has_more_pages = is_deep(image), getattr(image, "is_animated", False)
            pixels = np.asarray(prepared(image, size)) if not deep else None
    except Image.DecompressionBombError as error:
        raise DataError(
            f"The image {path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which "
            "Pillow takes for an attack: make it smaller."
        ) from error
    except Exception as error:  # Pillow's decoders fail in many ways
        raise DataError(f"The image {path} is damaged, or of an unknown kind.") from error
    if pixels is None:
        raise DataError(f"The image {path} has more than 8 bits a channel: save it with 8.")
    return Picture(pixels, has_more_pages)


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image has more than 8 bits a channel, of which Pillow may drop some."""
    if image.mode.startswith(("I", "F")):
        return True
    # What the file holds, which Pillow forgets as soon as the image is loaded.
    for codec, *_, arguments in getattr(image, "tile", []):
        if re.search(r";16[BLN]", str(arguments)):
            return True
        if codec.startswith("ppm") and arguments[1] > 255:
            return True
    return False


def prepared(image: Image.Image, size: Size | None) -> Image.Image:
    """Return an image upright, on white or black where transparent, at `size` if one is given.

    It is cropped at the centre to the proportions of `size`, then resized.
    """
    ImageOps.exif_transpose(image, in_place=True)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    flat = without_transparency(image, mode) if image.has_transparency_data else image.convert(mode)
    return flat if size is None else ImageOps.fit(flat, size[::-1], Image.Resampling.BICUBIC)


def without_transparency(image: Image.Image, mode: str) -> Image.Image:
    """Return an image on white, or on black if it is of white ink, which white would hide."""
    ink = image.convert("RGBA")
    flat = on_paper(ink, mode, "white")
    is_blank = ImageOps.invert(flat).getbbox() is None and ink.getchannel("A").getbbox()
    return on_paper(ink, mode, "black") if is_blank else flat


def on_paper(ink: Image.Image, mode: str, colour: str) -> Image.Image:
    paper = Image.new(mode, ink.size, colour)
    paper.paste(ink.convert(mode), mask=ink.getchannel("A"))
    return paper
