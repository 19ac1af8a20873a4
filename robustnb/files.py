"""Where the package keeps its files, and how they are written: whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

OTHER_CACHE = "let ROBUSTNB_CACHE name a folder that can be written, with room enough."


def cache_folder() -> Path:
    """Return the folder that ROBUSTNB_CACHE names, or the user's own cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "robustnb"
    named = Path(os.environ.get("ROBUSTNB_CACHE") or default)
    try:
        return named.expanduser().resolve()
    except (RuntimeError, OSError) as error:  # no such user, or a link to itself
        raise OSError(
            f"The cache folder {named} cannot be found ({error}): {OTHER_CACHE}"
        ) from error


def in_one_sentence(error: OSError) -> str:
    """Return what an error of the system says, with the path that it is about."""
    if error.errno is None or not error.strerror:
        return str(error)
    place = f"{error.filename} cannot be read or written" if error.filename else "A write failed"
    return f"{place} ({error.strerror})."


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path in the same folder to write to; it takes the place of `path` if all went well.

    Makes the folder where it is missing. After an error `path` is as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the block, of all that lock the file `path`.

    The system ends the lock with its process, however that ends. The file stays: it would not be
    safe to delete it while others wait for it. Within a thread the lock may be taken again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, is_singleton=True):
        yield


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
