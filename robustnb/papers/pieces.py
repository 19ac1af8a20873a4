"""Pieces: calls that are computed once, kept on disk, and found again after any stop."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from robustnb.data import load
from robustnb.devices import device
from robustnb.files import cache_folder
from robustnb.papers.code_digest import code_of
from robustnb.papers.kept import own_folder, read_or_warn, write
from robustnb.processes import end_with


@dataclass(frozen=True)
class Piece:
    """A call of a module's function whose result is worth keeping.

    `arguments` are numbers, strings, frozen dataclasses, other pieces, and tuples of these. In the
    place of a piece the function is given its result. `cost` is an estimate in any unit that the
    pieces of one run share; the time that remains goes by it.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    cost: float = field(default=1.0, compare=False)


class Computed(NamedTuple):
    """What a piece's call returned, and how long it took without the pieces among its arguments."""

    value: Any
    seconds: float


def result(piece: Piece) -> Any:
    """Return what the call returns, as `computed` does."""
    return computed(piece).value


def computed(piece: Piece) -> Computed:
    """Return the result of a piece, from the disk if it ran before with this code and data.

    Where another process computes it, that is waited for. A damaged file is told and computed
    again. Raises OSError if the result cannot be stored; how far a training was is then still
    there.
    """
    found = _found(piece) or _computed(piece, wait=True)
    assert found is not None
    return found


def resolved(value: Any, result: Callable[[Piece], Any] = result) -> Any:
    """Return `value` with the result of each piece in its place, in tuples, lists and dicts too."""
    if isinstance(value, Piece):
        return result(value)
    if isinstance(value, tuple | list):
        return type(value)(resolved(part, result) for part in value)
    if isinstance(value, dict):
        return {name: resolved(part, result) for name, part in value.items()}
    return value


def pieces_in(value: Any) -> Iterator[Piece]:
    """Yield the pieces in `value`, in tuples, lists and dicts too, but not those within pieces."""
    if isinstance(value, Piece):
        yield value
    elif isinstance(value, tuple | list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from pieces_in(part)


def finish(pieces: Iterable[Piece], *, jobs: int, progress: bool = True) -> None:
    """Compute the pieces that are missing and those that they need, `jobs` processes side by side.

    The most expensive go first, so that no core waits for one long piece at the end. Those that
    another run computes come last. The processes end with this one, however it ends.
    """
    rounds = _rounds(pieces)
    for number, missing in enumerate(rounds, 1):
        missing.sort(key=lambda piece: piece.cost, reverse=True)
        total = sum(piece.cost for piece in missing)
        description = f"computing, round {number} of {len(rounds)}"
        with tqdm(total=total, desc=description, disable=not progress, bar_format=_BAR) as bar:
            for wait in (False, True):
                missing = list(_left_by(missing, jobs, wait, bar))


def _left_by(pieces: Sequence[Piece], jobs: int, wait: bool, bar: Any) -> Iterator[Piece]:
    """Compute pieces, and yield those that another run computes unless they are to `wait` for."""
    parallel = Parallel(
        n_jobs=jobs,
        backend="loky",
        batch_size=1,
        return_as="generator_unordered",
        initializer=end_with,
        initargs=(os.getpid(),),
    )
    calls = (delayed(_is_finished)(number, piece, wait) for number, piece in enumerate(pieces))
    try:
        for number, is_finished in parallel(calls):
            if is_finished:
                bar.update(pieces[number].cost)
            else:
                yield pieces[number]
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "A process that computed a result was ended, as happens when memory runs out: start "
            "again, as what was finished is kept, or with LOKY_MAX_CPU_COUNT=1 for one at a time."
        ) from error


def unfinished(name: str = "training.safetensors") -> Path | None:
    """Return the path of a file in which the piece being computed keeps how far its training is.

    It is there again when the same piece is computed after a stop, and gone once the piece is
    finished. None outside of pieces.
    """
    folder = _UNFINISHED.get()
    return None if folder is None else folder / name


_UNFINISHED: ContextVar[Path | None] = ContextVar("unfinished", default=None)
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} to go"


def _rounds(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Part what is missing into rounds; a piece needs only pieces of the rounds before its own."""
    places: dict[Piece, int] = {}

    def place(piece: Piece) -> int:
        if piece not in places:
            needed = [] if is_kept(piece) else [0, *(map(place, pieces_in(piece.arguments)))]
            places[piece] = max(needed) + 1 if needed else 0
        return places[piece]

    last = max(map(place, pieces), default=0)
    return [[p for p, number in places.items() if number == n] for n in range(1, last + 1)]


def _is_finished(number: int, piece: Piece, wait: bool) -> tuple[int, bool]:
    return number, bool(is_kept(piece) or _computed(piece, wait))


def is_kept(piece: Piece) -> bool:
    """Tell whether the result is on the disk, computed with this code and data."""
    return _place(piece).exists()


def key(piece: Piece) -> str:
    """Return a digest of function, arguments, code, data and device, to keep a result under."""
    # Another folder may hold other data under the same name.
    return _key(piece, os.environ.get("ROBUSTNB_DATA"), str(device()))


@cache
def _key(piece: Piece, data_folder: str | None, where: str) -> str:
    function = piece.function
    named = (function.__module__, function.__qualname__, code_of(function), where)
    text = repr((*named, _identified(piece.arguments, data_folder)))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _identified(value: Any, data_folder: str | None) -> Any:
    """Return what stands for an argument in a key: a piece's key, an attack's code and fields."""
    if isinstance(value, Piece):
        return key(value)
    if isinstance(value, tuple):
        return tuple(_identified(part, data_folder) for part in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    inside = {f.name: _identified(getattr(value, f.name), data_folder) for f in fields(value)}
    if "dataset" in inside:
        inside["digest"] = _data_digest(inside["dataset"], data_folder)
    return type(value).__qualname__, code_of(type(value)), inside


@cache
def _data_digest(dataset: str, _: str | None) -> str:
    found = load(dataset, "as_published")
    return f"{found.digest}, {len(found.splits['train'])} for training"


def _place(piece: Piece) -> Path:
    return own_folder(cache_folder() / "pieces") / key(piece)


def _found(piece: Piece) -> Computed | None:
    found = read_or_warn(_place(piece))
    return found and Computed(*found[0])


def _computed(piece: Piece, wait: bool) -> Computed | None:
    """Compute a piece; return None if another process does so, unless that is to `wait` for.

    The system ends a lock with its process.
    """
    place = _place(piece)
    lock = FileLock(place.with_name(f"{place.name}.lock"))
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        return None
    try:
        return _found(piece) or _compute(piece, place)
    finally:
        # Others that wait for this very file find the result before they compute.
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _compute(piece: Piece, place: Path) -> Computed:
    arguments = resolved(piece.arguments)
    with _one_thread(), _resumable(_progress(place.name)):
        started = time.perf_counter()
        value = piece.function(*arguments)
        found = Computed(value, time.perf_counter() - started)
    try:
        write(place, tuple(found))
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"A result cannot be stored in {cache_folder()} ({reason}): is there room enough?"
        ) from error
    shutil.rmtree(_progress(place.name), ignore_errors=True)
    return found


def _progress(place: str) -> Path:
    return cache_folder() / "unfinished" / place


@contextmanager
def _one_thread() -> Iterator[None]:
    # Sums differ in their last digit with the number of threads, and results should not.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    outer = _UNFINISHED.set(folder)
    try:
        yield
    finally:
        _UNFINISHED.reset(outer)
