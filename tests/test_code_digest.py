"""What the key of a result digests: the code that it depends on, and no more."""

import ast
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from typing import Any

import pytest

from robustnb.papers import code_digest
from robustnb.papers.pieces import Piece
from robustnb.results import papers

PACKAGES = [f"robustnb.papers.{paper.replace('-', '_')}" for paper in papers()]


@cache
def modules(module: str) -> frozenset[str]:
    """Return the modules whose code goes into the digest of `module`."""
    trees: dict[str, ast.Module] = {}
    code_digest._add(module, trees)
    return frozenset(trees)


def in_key(value: Any) -> Iterator[str]:
    """Yield the modules of the functions and the classes of arguments that go into a key."""
    if isinstance(value, Piece):
        yield value.function.__module__
        yield from in_key(value.arguments)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from in_key(part)
    elif isinstance(value, dict):
        yield from in_key(list(value.values()))
    elif is_dataclass(value):
        yield type(value).__module__
        yield from in_key(tuple(getattr(value, field.name) for field in fields(value)))


@cache
def digested(package: str) -> frozenset[str]:
    """Return the modules whose code goes into the keys of a paper's smoke tables."""
    tables = import_module(f"{package}.tables").TABLES
    protocol = import_module(f"{package}.protocols").PROTOCOLS["smoke"]
    parts = [part for table in tables.values() for part in table(protocol, 0)]
    return frozenset(
        m for pieces, _ in parts for named in set(in_key(pieces)) for m in modules(named)
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_attacks_networks_and_training_count(package: str) -> None:
    used = {"attacks.gradient", "models", "randomness", "training", "checkpoint", "data.splits"}
    assert {f"robustnb.{name}" for name in used} <= digested(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_readers_of_data_and_what_shows_results_do_not_count(package: str) -> None:
    readers = {name for name in digested(package) if name.startswith("robustnb.data")}
    assert readers == {"robustnb.data.splits", "robustnb.data.dataset"}
    shown = {"results", "verdicts", "tables", "plots", "drawing", "stored", "papers.pieces"}
    assert not {f"robustnb.{name}" for name in shown} & digested(package)
    own = {f"{package}.{name}" for name in ("protocols", "tables", "claims", "figures")}
    assert not own & digested(package)
