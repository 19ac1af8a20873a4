"""Experiments in pieces: each is computed once, kept on disk, and found again after any stop."""

import ast
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from joblib import Memory, Parallel, delayed
from joblib import hash as digest_of
from tqdm.auto import tqdm

from robustnb.data import load
from robustnb.files import cache_folder


@dataclass(frozen=True)
class Piece:
    """One call of a module's function whose result is worth keeping.

    `arguments` are numbers, strings and frozen dataclasses; `cost` is in any unit that the pieces
    of one run share, for the estimate of the time that remains.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    cost: float = 1.0


def result(piece: Piece) -> Any:
    """Return what the call returns, from the disk if it ran before with this code and data.

    Raises OSError if it cannot be stored; how far a training was is then still there.
    """
    kept, call = _kept(), _call(piece)
    if kept.check_call_in_cache(*call):
        return kept(*call)
    found = kept(*call)
    if not kept.check_call_in_cache(*call):  # joblib only warns
        raise OSError(f"A result cannot be stored in {cache_folder()}: is there room enough?")
    shutil.rmtree(_progress(*call), ignore_errors=True)
    return found


def finish(pieces: Iterable[Piece], *, jobs: int, description: str, progress: bool = True) -> None:
    """Compute the pieces that are missing, `jobs` processes side by side.

    The dearest go first, so that no core waits for one long piece at the end.
    """
    missing = [
        piece for piece in dict.fromkeys(pieces) if not _kept().check_call_in_cache(*_call(piece))
    ]
    missing.sort(key=lambda piece: piece.cost, reverse=True)
    total = sum(piece.cost for piece in missing)
    quiet = not (progress and missing)
    with tqdm(total=total, desc=description, disable=quiet, bar_format=_BAR) as bar:
        parallel = Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")
        for cost in parallel(delayed(_finished)(piece) for piece in missing):
            bar.update(cost)


def unfinished(name: str = "training.safetensors") -> Path | None:
    """Return the path of a file in which the piece being computed keeps how far its training is.

    It is there again when the same piece is computed after a stop, and gone once the piece is
    finished. None outside of pieces.
    """
    folder = _UNFINISHED.get()
    return None if folder is None else folder / name


_UNFINISHED: ContextVar[Path | None] = ContextVar("unfinished", default=None)
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} to go"


def _finished(piece: Piece) -> float:
    result(piece)
    return piece.cost


def _kept() -> Any:
    return Memory(cache_folder() / "pieces", verbose=0).cache(_computed)


def _call(piece: Piece) -> tuple[Callable[..., Any], tuple[Any, ...], str]:
    data = sorted(set(_data_digests(piece.arguments)))
    stamp = " ".join([_code_digest(piece.function.__module__), *data])
    return piece.function, piece.arguments, stamp


def _data_digests(value: Any) -> Iterator[str]:
    """Yield the digests of the data sets that dataclasses name in a field `dataset`."""
    if isinstance(value, tuple):
        for part in value:
            yield from _data_digests(part)
    elif is_dataclass(value):
        for field in fields(value):
            inner = getattr(value, field.name)
            if field.name == "dataset":
                yield _data_digest(inner, os.environ.get("ROBUSTNB_DATA"))
            else:
                yield from _data_digests(inner)


@cache
def _data_digest(dataset: str, folder: str | None) -> str:
    # `folder` is there for the cache: two folders may hold different data under one name.
    return load(dataset).digest


def _computed(function: Callable[..., Any], arguments: tuple[Any, ...], stamp: str) -> Any:
    # When a line of this function changes, joblib forgets the results of all versions.
    return _compute(function, arguments, stamp)


def _compute(function: Callable[..., Any], arguments: tuple[Any, ...], stamp: str) -> Any:
    with _one_thread(), _resumable(_progress(function, arguments, stamp)):
        return function(*arguments)


def _progress(function: Callable[..., Any], arguments: tuple[Any, ...], stamp: str) -> Path:
    return cache_folder() / "unfinished" / digest_of((function, arguments, stamp))


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


@cache
def _code_digest(module: str) -> str:
    """Return a digest of torch's version and of the code that `module` runs of its own package."""
    trees: dict[str, ast.Module] = {}
    _add_code(module, trees)
    dumped = [ast.dump(tree) for _, tree in sorted(trees.items())]
    return hashlib.sha256("\n".join([torch.__version__, *dumped]).encode()).hexdigest()[:16]


def _add_code(module: str, trees: dict[str, ast.Module]) -> None:
    """Add the syntax trees of `module` and of what it imports of its package, without docstrings.

    How pieces are kept, which is this file, changes no result.
    """
    path = None if module in trees or module == __name__ else _source(module)
    if path is None:
        return
    tree = trees[module] = ast.parse(path.read_text(encoding="utf-8"))
    for node in list(ast.walk(tree)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        for name in _imported(node):
            if name.partition(".")[0] == module.partition(".")[0]:
                _add_code(name, trees)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _imported(node: ast.AST) -> list[str]:
    """Return the names that a statement imports, which may be modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _source(module: str) -> Path | None:
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # a name inside a module
        return None
    return Path(found.origin) if found is not None and found.origin is not None else None
