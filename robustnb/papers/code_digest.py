"""A digest of the code that a result depends on, so that a changed line computes it anew."""

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

_PACKAGE = "robustnb"
# How results are kept changes none of them.
_LEFT_OUT = (f"{_PACKAGE}.papers.pieces", f"{_PACKAGE}.papers.code_digest")
# What readers of data return has a digest of its own; which images a split takes has not.
_DATA = f"{_PACKAGE}.data"
_SPLITS = (f"{_DATA}.splits", f"{_DATA}.dataset")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_of(thing: Callable[..., Any]) -> str:
    """Return the digest of the code that a function or a class runs.

    Raises ValueError for one that is not in a module, where a change would go unnoticed.
    """
    if thing.__module__ == "__main__":
        raise ValueError(
            f"{thing.__qualname__} is defined in a notebook or a script: results are kept only of "
            "functions and classes in a module, where a change of their code is noticed."
        )
    return code_digest(thing.__module__)


@cache
def code_digest(module: str) -> str:
    """Return a digest of torch's version and of the code that `module` runs.

    That is its own and what it imports of its package and of robustnb. Comments and docstrings do
    not count.
    """
    trees: dict[str, ast.Module] = {}
    _add(module, trees)
    dumped = [ast.dump(tree) for _, tree in sorted(trees.items())]
    return hashlib.sha256("\n".join([torch.__version__, *dumped]).encode()).hexdigest()[:16]


def _add(module: str, trees: dict[str, ast.Module]) -> None:
    """Add the syntax trees of `module` and of what it imports of its package and of robustnb."""
    if f"{module}.".startswith(f"{_DATA}.") and module not in _SPLITS:
        module = _SPLITS[0]
    path = None if module in trees or module in _LEFT_OUT else _source(module)
    if path is None:
        return
    tree = trees[module] = ast.parse(path.read_text(encoding="utf-8"))
    for node in list(ast.walk(tree)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        for name in imported(node):
            if name.partition(".")[0] in (module.partition(".")[0], _PACKAGE):
                _add(name, trees)


def imported(node: ast.AST) -> list[str]:
    """Return the names that a statement imports, which may be modules or what is in them."""
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
