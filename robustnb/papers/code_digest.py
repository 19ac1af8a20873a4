"""A digest of the code that a result depends on, so that a changed line computes it anew."""

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

# How results are kept changes none of them; what data readers return has a digest of its own.
_LEFT_OUT = ("robustnb.papers.pieces", "robustnb.papers.code_digest", "robustnb.data")
_SPLITS = "robustnb.data.splits"
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def code_digest(module: str) -> str:
    """Return a digest of torch's version and of the code that `module` runs of its own package.

    Comments and docstrings do not count.
    """
    trees: dict[str, ast.Module] = {}
    _add(module, trees)
    dumped = [ast.dump(tree) for _, tree in sorted(trees.items())]
    return hashlib.sha256("\n".join([torch.__version__, *dumped]).encode()).hexdigest()[:16]


def _add(module: str, trees: dict[str, ast.Module]) -> None:
    """Add the syntax trees of `module` and of what it imports of its package."""
    if module.startswith(_LEFT_OUT) and module != _SPLITS:
        module = _SPLITS if module.startswith("robustnb.data") else ""
    path = None if module in trees or not module else _source(module)
    if path is None:
        return
    tree = trees[module] = ast.parse(path.read_text(encoding="utf-8"))
    for node in list(ast.walk(tree)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        for name in imported(node):
            if name.partition(".")[0] == module.partition(".")[0]:
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
