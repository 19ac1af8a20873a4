"""Write a folder whole or not at all, whatever stops the process or runs beside it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EPERM, EROFS
from pathlib import Path

from robustnb.data.dataset import DataError


class NotWritable(DataError):
    """The cache folder may only be read."""


@contextmanager
def draft_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder inside `place`, which is deleted afterwards unless it was moved.

    Raises DataError if it cannot be written, and NotWritable if nothing there can.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=place) as temporary:
            draft = Path(temporary) / "draft"  # with the rights of an ordinary folder
            draft.mkdir()
            yield draft
    except OSError as error:
        kind = NotWritable if error.errno in (EACCES, EPERM, EROFS) else DataError
        raise kind(
            f"The cache folder {place} cannot be written ({error.strerror or error}): "
            "let ROBUSTNB_CACHE name one that can, with room enough."
        ) from error


def move_into_place(draft: Path, place: Path) -> None:
    """Move a finished folder to its place, unless another process has been faster."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.rename(place)
    except OSError:
        if not place.is_dir():
            raise
