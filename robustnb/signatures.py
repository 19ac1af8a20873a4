"""Folders of data: the files below one, what tells that they changed, and which ones were read."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

# The environment variable that names a file in which each folder that is read gets a line.
READ_LOG = "ROBUSTNB_READ_LOG"


def files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder, also behind symbolic links, but none that is hidden.

    A link that leads nowhere, or to a folder that the link itself lies in, is passed over. Raises
    OSError if a folder cannot be read.
    """
    # Beside each folder stand the real paths of it and of those that links were followed from.
    waiting: list[tuple[str, tuple[Path, ...]]] = [(str(folder), (folder.resolve(),))]
    while waiting:
        place, way = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is(entry, "file"):
                    yield entry
                elif _is(entry, "folder"):
                    inner = _way_into(entry, way)
                    waiting += [(entry.path, inner)] if inner else []


def signature(folder: Path) -> str:
    """Return a hash of the names, sizes and times of the files below: of 60,000 within a second.

    Raises OSError if a folder cannot be read.
    """
    inside = len(str(folder))
    found = ((entry.path[inside:], entry.stat()) for entry in files_below(folder))
    files = sorted(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in found)
    return hashlib.sha256("\n".join(files).encode(errors="surrogateescape")).hexdigest()[:12]


def note_read(folder: Path, found: str) -> None:
    """Add a folder and its signature to the file that READ_LOG names, if it names one."""
    log = os.environ.get(READ_LOG)
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(json.dumps([str(folder), found]) + "\n")


def noted(log: Path) -> list[list[str]]:
    """Return each folder that was noted in a file, with its signature; none if there is no file."""
    if not log.exists():
        return []
    lines = set(log.read_text(encoding="utf-8").splitlines())
    return [json.loads(line) for line in sorted(lines)]


def is_unchanged(folder: str, known: str) -> bool:
    """Tell whether a folder is there and still has the signature `known`."""
    try:
        return signature(Path(folder)) == known
    except OSError:
        return False


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    # The methods of an entry save a look at the disk, but raise an error for a link to itself.
    if entry.is_symlink():
        return os.path.isfile(entry.path) if kind == "file" else os.path.isdir(entry.path)
    return entry.is_file() if kind == "file" else entry.is_dir()


def _way_into(entry: os.DirEntry[str], way: tuple[Path, ...]) -> tuple[Path, ...] | None:
    """Return the way into a folder inside the last of `way`; None if it only leads back up."""
    if not entry.is_symlink():
        return (*way[:-1], way[-1] / entry.name)
    real = Path(entry.path).resolve()
    return None if any(passed.is_relative_to(real) for passed in way) else (*way, real)
