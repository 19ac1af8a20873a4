"""Tables of a small paper made here: parts become rows, and only what is asked for is computed."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part, measure_tables
from robustnb.results import BOOK

computed: list[str] = []


@dataclass(frozen=True)
class Protocol:
    profile: str = "smoke"
    strength: int = 1
    num_images: int = 30
    has_extra: bool = False


def train(seed: int) -> int:
    computed.append(f"train {seed}")
    return 100 * seed


def attack(network: int, strength: int) -> int:
    computed.append(f"attack {network} {strength}")
    return network + strength


def clean(network: int) -> int:
    computed.append(f"clean {network}")
    return network


def cells(protocol: Protocol, row: str, found: int) -> Iterator[Cell]:
    yield Cell(row, "value", found, "%", "digits", protocol.num_images, {"strength": 1})


def attacked(protocol: Protocol, seed: int) -> Iterator[Part]:
    network = Piece(train, (seed,))
    yield Piece(attack, (network, protocol.strength)), partial(cells, protocol, "attacked")
    both = {"clean": Piece(clean, (network,)), "attacked": Piece(attack, (network, 1))}
    yield both, lambda found: cells(protocol, "sum", sum(found.values()))


def plain(protocol: Protocol, seed: int) -> Iterator[Part]:
    yield Piece(clean, (Piece(train, (seed,)),)), partial(cells, protocol, "clean")


def extra(protocol: Protocol, seed: int) -> Iterator[Part]:
    if protocol.has_extra:
        yield from plain(protocol, seed)


TABLES = {"attacked": attacked, "plain": plain, "extra": extra}
measure = partial(measure_tables, "bang", TABLES, jobs=1, progress=False)


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    computed.clear()


def test_rows_are_averaged_over_seeds_and_keep_the_order_of_the_tables() -> None:
    rows = measure(Protocol(), [0, 1])
    assert [(r["table"], r["row"], r["value"], r["seeds"]) for r in rows] == [
        ("attacked", "attacked", 51, [0, 1]),
        ("attacked", "sum", 101, [0, 1]),
        ("plain", "clean", 50, [0, 1]),
    ]
    assert {r["profile"] for r in rows} == {"smoke"}
    assert {(r["num_images"], r["dataset"], r["unit"]) for r in rows} == {(30, "digits", "%")}
    assert rows[0]["settings"] == {"strength": 1}
    assert all(r["seconds"] > 0 for r in rows)


def test_each_piece_is_computed_once_and_a_second_run_computes_nothing() -> None:
    measure(Protocol())
    assert sorted(computed) == ["attack 0 1", "clean 0", "train 0"]
    measure(Protocol())
    assert len(computed) == 3


def test_a_changed_protocol_computes_what_it_changes_alone() -> None:
    measure(Protocol())
    computed.clear()
    rows = measure(replace(Protocol(), strength=5))
    assert computed == ["attack 0 5"]
    assert rows[0]["value"] == 5


def test_a_table_alone_computes_what_it_needs_alone() -> None:
    rows = measure(Protocol(), tables=["plain"])
    assert [row["table"] for row in rows] == ["plain"]
    assert computed == ["train 0", "clean 0"]


def test_a_table_that_the_protocol_does_not_have_is_refused_with_those_that_it_has() -> None:
    for name in ("9", "extra"):
        sentence = rf"^{name!r} is no table at profile smoke: accepted are attacked, plain\.$"
        with pytest.raises(ValueError, match=sentence):
            measure(Protocol(), tables=["plain", name])
    assert not computed
    assert measure(Protocol(has_extra=True), tables=["extra"])


@pytest.mark.parametrize(("row", "known"), [("clean", True), ("another", False)])
def test_a_printed_table_has_the_cells_of_the_folder_s(
    tmp_path: Path, row: str, known: bool
) -> None:
    shutil.copytree(BOOK / "published", tmp_path / "published")
    with (tmp_path / "published" / "tables.csv").open("a") as published:
        published.write(f"bang,plain,{row},value,1,%\n")
    if known:
        assert measure(Protocol(), tables=["plain"], folder=tmp_path)
    else:
        with pytest.raises(ValueError, match="'clean' is no row of Table plain of bang"):
            measure(Protocol(), tables=["plain"], folder=tmp_path)
