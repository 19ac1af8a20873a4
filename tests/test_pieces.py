"""Pieces of a throw-away package: each is computed once per code, whatever stops a run."""

import importlib
import itertools
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from PIL import Image

from robustnb.papers import code_digest, pieces
from robustnb.papers.pieces import Piece, computed, finish, is_kept, key, resolved, result

PACKAGE = {
    "__init__": "",
    "constants": "FACTOR = 10\n",
    "tools": "import laboratory.constants\n\nfactor = laboratory.constants.FACTOR\n",
    "unused": "FACTOR = 1\n",
    "work": '''"""Work that leaves a trace."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from laboratory import tools
from robustnb.papers.pieces import unfinished


def measure(folder, number, deadly=False):
    """Count the calls in a file."""
    with (Path(folder) / "calls").open("a") as calls:
        calls.write(f"{number} ")
    if number < 0:
        raise ValueError(f"{number} cannot be measured.")
    if deadly and not (Path(folder) / "died").exists():
        (Path(folder) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return tools.factor * number


@dataclass(frozen=True)
class Training:
    dataset: str


@dataclass(frozen=True)
class Study:
    folder: str
    training: Training


def study(study):
    return measure(study.folder, 1)


def add(folder, one, others):
    """Add numbers that other pieces may have found."""
    return measure(folder, (one + sum(others)) // 10)


def attacked(folder, attack):
    return measure(folder, attack())


def threads():
    return torch.get_num_threads()


def sleep(seconds, _):
    time.sleep(seconds)
    return seconds


def climb(height, fails):
    """Take a step at a time, and keep how far it is."""
    place = unfinished("height")
    place.parent.mkdir(parents=True, exist_ok=True)
    start = int(place.read_text()) if place.exists() else 0
    for step in range(start, height):
        if fails and step == height - 1 and start == 0:
            raise KeyboardInterrupt
        place.write_text(str(step + 1))
    return start, place
''',
}


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the package and an empty cache; return the folder that holds both."""
    (tmp_path / "laboratory").mkdir()
    for name, code in PACKAGE.items():
        (tmp_path / "laboratory" / f"{name}.py").write_text(code)
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    get_reusable_executor().shutdown(wait=True)  # its processes know another cache
    return tmp_path


def work() -> ModuleType:
    """Import the package's code as it is on the disk now."""
    for name in [name for name in sys.modules if name.startswith("laboratory")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    code_digest.code_digest.cache_clear()
    pieces._key.cache_clear()
    return importlib.import_module("laboratory.work")


def measurements(folder: Path, *numbers: int) -> list[Piece]:
    measure = work().measure
    return [Piece(measure, (str(folder), number)) for number in numbers]


def calls(folder: Path) -> list[int]:
    return [int(number) for number in (folder / "calls").read_text().split()]


def run(some: list[Piece], jobs: int = 1) -> list[int]:
    finish(some, jobs=jobs, progress=False)
    return [result(piece) for piece in some]


def test_a_piece_is_computed_once(laboratory: Path) -> None:
    some = measurements(laboratory, 1, 2)
    assert run(some) == run(some) == [10, 20]
    assert calls(laboratory) == [1, 2]


def test_equal_arguments_are_one_piece_and_others_another(laboratory: Path) -> None:
    measure = work().measure
    assert result(Piece(measure, (str(laboratory), 1), cost=1)) == 10
    assert result(Piece(measure, (str(laboratory), 1), cost=2)) == 10
    assert result(Piece(measure, (str(laboratory), 1, False))) == 10
    assert calls(laboratory) == [1, 1]


def test_a_killed_run_goes_on_from_the_last_finished_piece(laboratory: Path) -> None:
    code = f"""
from laboratory.work import measure
from robustnb.papers.pieces import Piece, finish
some = [Piece(measure, ({str(laboratory)!r}, n, n == 2)) for n in (1, 2, 3)]
finish(some, jobs=1, progress=False)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert calls(laboratory) == [1, 2]
    measure = work().measure
    some = [Piece(measure, (str(laboratory), n, n == 2)) for n in (1, 2, 3)]
    assert run(some) == [10, 20, 30]
    assert calls(laboratory) == [1, 2, 2, 3]


def test_a_piece_goes_on_from_what_it_kept_and_leaves_nothing(laboratory: Path) -> None:
    climb = work().climb
    with pytest.raises(KeyboardInterrupt):
        result(Piece(climb, (5, True)))
    assert result(Piece(climb, (4, False)))[0] == 0  # what another piece keeps is another's
    start, place = result(Piece(climb, (5, True)))
    assert start == 4
    assert not place.parent.exists()
    assert laboratory / "cache" in place.parents
    assert pieces.unfinished("height") is None


@pytest.mark.parametrize(
    ("module", "old", "new", "anew"),
    [
        ("work", "tools.factor * number", "tools.factor * number + 1", True),
        ("tools", "FACTOR\n", "FACTOR + 0\n", True),
        ("constants", "FACTOR = 10", "FACTOR = 20", True),
        ("work", "Count the calls in a file.", "Count.", False),
        ("work", '"""Work that leaves a trace."""\n', "", False),
        ("constants", "FACTOR = 10", "FACTOR = 10  # by definition", False),
        ("unused", "FACTOR = 1", "FACTOR = 2", False),
    ],
)
def test_changed_code_is_run_and_changed_words_are_not(
    laboratory: Path, module: str, old: str, new: str, anew: bool
) -> None:
    run(measurements(laboratory, 1))
    path = laboratory / "laboratory" / f"{module}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    run(measurements(laboratory, 1))
    assert calls(laboratory) == ([1, 1] if anew else [1])


def test_the_code_of_an_attack_among_the_arguments_counts(laboratory: Path) -> None:
    for factor, times in ((2, 1), (3, 2)):
        (laboratory / "laboratory" / "attack.py").write_text(
            "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Attack:\n"
            f"    eps: float\n\n    def __call__(self):\n        return {factor} * self.eps\n"
        )
        module = work()
        attack = importlib.import_module("laboratory.attack").Attack(5)
        assert result(Piece(module.attacked, (str(laboratory), attack))) == 10 * factor * 5
        assert len(calls(laboratory)) == times


def test_results_of_a_notebook_s_own_functions_are_refused_in_one_sentence() -> None:
    def own() -> None: ...

    own.__module__ = "__main__"
    with pytest.raises(ValueError, match=r"own is defined in a notebook or a script: results are"):
        key(Piece(own, ()))


def test_another_device_is_another_piece(laboratory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (piece,) = measurements(laboratory, 1)
    on_cpu = key(piece)
    monkeypatch.setenv("ROBUSTNB_DEVICE", "cuda")
    assert key(piece) != on_cpu


def test_other_data_under_the_same_name_are_other_pieces(
    laboratory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = work()
    study = module.Study(str(laboratory), module.Training("mnist"))
    for shade in (0, 255, 0):
        monkeypatch.setenv("ROBUSTNB_DATA", str(laboratory / f"shade {shade}"))
        for split, label in itertools.product(("train", "test"), ("0", "1")):
            folder = laboratory / f"shade {shade}" / "mnist" / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(6):
                Image.new("L", (28, 28), shade).save(folder / f"{number}.png")
        assert result(Piece(module.study, (study,))) == 10
    assert calls(laboratory) == [1, 1]


def test_a_piece_is_given_the_results_of_those_among_its_arguments(laboratory: Path) -> None:
    one, two, three = measurements(laboratory, 1, 2, 3)
    total = Piece(work().add, (str(laboratory), one, (two, three)))
    assert run([total, one], jobs=2) == [60, 10]
    assert sorted(calls(laboratory)) == [1, 2, 3, 6]
    assert run([total]) == [60]
    assert len(calls(laboratory)) == 4


def test_only_what_a_changed_argument_concerns_is_computed_anew(laboratory: Path) -> None:
    add, (one, two, three) = work().add, measurements(laboratory, 1, 2, 3)
    run([Piece(add, (str(laboratory), one, (two,)))])
    assert calls(laboratory) == [1, 2, 3]
    run([Piece(add, (str(laboratory), one, (three,)))])
    assert calls(laboratory) == [1, 2, 3, 3, 4]


def test_what_only_kept_results_need_is_not_computed(laboratory: Path) -> None:
    one, two = measurements(laboratory, 1, 2)
    total = Piece(work().add, (str(laboratory), one, (two,)))
    run([total])
    for place in (laboratory / "cache" / "pieces").iterdir():
        if place.name != key(total):
            place.unlink()
    assert (is_kept(total), is_kept(one)) == (True, False)
    assert run([total]) == [30]
    assert calls(laboratory) == [1, 2, 3]


def test_the_seconds_of_a_piece_leave_out_those_of_its_arguments(laboratory: Path) -> None:
    module = work()
    slow = Piece(module.sleep, (0.3, 0.0))
    assert computed(Piece(module.sleep, (0.0, slow))).seconds < 0.2
    assert computed(slow).seconds >= 0.3


def test_pieces_are_resolved_in_any_nesting(laboratory: Path) -> None:
    one, two = measurements(laboratory, 1, 2)
    assert resolved({"a": (one, [two, "x"]), "b": 3}) == {"a": (10, [20, "x"]), "b": 3}


def test_a_key_tells_apart_what_gives_other_results(laboratory: Path) -> None:
    module = work()
    one, two = measurements(laboratory, 1, 2)
    first = Piece(module.add, (str(laboratory), one, (two,)))
    assert key(first) == key(Piece(module.add, (str(laboratory), one, (two,)), cost=7))
    others = [
        Piece(module.add, (str(laboratory), two, (one,))),
        Piece(module.add, (str(laboratory), one, (two, two))),
        Piece(module.add, (str(laboratory), 10, (20,))),
        Piece(module.measure, (str(laboratory), one, (two,))),
    ]
    assert len({key(piece) for piece in (first, *others)}) == 5


def test_the_most_expensive_go_first(laboratory: Path) -> None:
    measure = work().measure
    costs = {1: 2.0, 2: 30.0, 3: 0.5, 4: 30.0}
    run([Piece(measure, (str(laboratory), number), cost) for number, cost in costs.items()])
    assert calls(laboratory) == [2, 4, 1, 3]


def test_two_processes_give_what_one_gives(laboratory: Path) -> None:
    some = measurements(laboratory, *range(4))
    assert run(some, jobs=2) == [0, 10, 20, 30]
    assert sorted(calls(laboratory)) == [0, 1, 2, 3]
    bad = measurements(laboratory, -1)
    with pytest.raises(ValueError, match=r"^-1 cannot be measured\.$"):
        run(bad, jobs=2)


def test_an_error_says_what_the_piece_said(laboratory: Path) -> None:
    some = measurements(laboratory, 1, -1)
    with pytest.raises(ValueError, match=r"^-1 cannot be measured\.$"):
        run(some)
    assert result(some[0]) == 10
    assert calls(laboratory) == [1, -1]


def test_a_piece_has_one_thread_whatever_the_caller_has(laboratory: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert result(Piece(work().threads, ())) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_progress_is_shown_only_where_something_is_missing(
    laboratory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = measurements(laboratory, 1)
    finish(some, jobs=1)
    shown = capsys.readouterr().err
    assert "round 1 of 1: 100%" in shown
    assert "to go" in shown
    finish(some, jobs=1)
    assert capsys.readouterr().err == ""


def test_what_cannot_be_stored_is_said_and_its_progress_kept(
    laboratory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(pieces, "write", full)
    with pytest.raises(OSError, match=r"No space left on device\): is there room enough"):
        pieces.result(Piece(work().climb, (3, False)))
    (height,) = (laboratory / "cache" / "unfinished").rglob("height")
    assert height.read_text() == "3"


def test_a_piece_that_is_asked_for_twice_is_computed_once(laboratory: Path) -> None:
    piece = Piece(work().measure, (str(laboratory), 2))
    finish([piece, piece], jobs=2, progress=False)
    assert (laboratory / "calls").read_text() == "2 "
