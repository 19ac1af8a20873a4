"""Runs that are killed, or that go side by side: nothing is left behind, nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robustnb.papers import pieces
from robustnb.papers.kept import write
from robustnb.papers.pieces import Piece, is_kept, key, result

WORK = '''
import os, time
from pathlib import Path


def slow(folder, number, seconds):
    """Note the process and the piece, and take a while."""
    with open(Path(folder) / "begun", "a") as file:
        file.write(f"{os.getpid()} {number}\\n")
    time.sleep(seconds)
    return 10 * number
'''
RUN = """
import os, sys, time
from pathlib import Path
from slow_work import slow
from robustnb.papers.pieces import Piece, finish
folder, number, seconds, jobs, runs = Path(sys.argv[1]), *map(int, sys.argv[2:])
(folder / f"{os.getpid()}.ready").touch()
while len(list(folder.glob("*.ready"))) < runs:
    time.sleep(0.05)
finish([Piece(slow, (str(folder), n, seconds)) for n in range(number)], jobs=jobs, progress=False)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "slow_work.py").write_text(WORK)
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(
    folder: Path, number: int, seconds: int, jobs: int = 2, runs: int = 1
) -> subprocess.Popen[bytes]:
    """Start a run of so many pieces, which begins when `runs` of them are ready."""
    numbers = map(str, (number, seconds, jobs, runs))
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), *numbers])


def begun(folder: Path) -> list[tuple[int, int]]:
    """Return the process and the number of each piece that was begun."""
    place = folder / "begun"
    lines = place.read_text().splitlines() if place.exists() else []
    return [(int(process), int(number)) for process, number in map(str.split, lines)]


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 200
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    # One that nobody has waited for, as in a container without an init, has ended too.
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.mark.skipif(os.name != "posix", reason="Windows tells no child that its parent has ended")
def test_the_processes_of_a_run_that_is_killed_end(folder: Path) -> None:
    with run(folder, 2, 300) as killed:
        until(lambda: len(begun(folder)) == 2)
        killed.send_signal(signal.SIGKILL)
    workers = {process for process, _ in begun(folder)}
    assert len(workers) == 2
    until(lambda: all(map(is_gone, workers)))


def test_a_lock_ends_with_its_process(folder: Path) -> None:
    with run(folder, 1, 1, jobs=1) as killed:
        until(lambda: len(begun(folder)) == 1)
        killed.send_signal(signal.SIGKILL)
    (lock,) = (folder / "cache/pieces").glob("*.lock")
    with run(folder, 1, 1, jobs=1) as second:
        assert second.wait(200) == 0
    assert not lock.exists()
    assert [number for _, number in begun(folder)] == [0, 0]


def test_two_runs_of_the_same_share_its_pieces(folder: Path) -> None:
    with run(folder, 6, 1, 1, runs=2) as one, run(folder, 6, 1, 1, runs=2) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    assert sorted(number for _, number in begun(folder)) == list(range(6))
    assert {process for process, _ in begun(folder)} == {one.pid, other.pid}
    assert not list((folder / "cache").rglob("*.lock"))


def test_a_damaged_result_is_computed_again_and_said(folder: Path) -> None:
    from slow_work import slow  # type: ignore[import-not-found]

    piece = Piece(slow, (str(folder), 1, 0))
    assert result(piece) == 10
    place = folder / "cache/pieces" / key(piece)
    whole = place.read_bytes()
    for bit in range(0, 8 * len(whole), 97):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        place.write_bytes(changed)
        with pytest.warns(UserWarning, match="is damaged .*: it is computed again"):
            assert result(piece) == 10
    assert result(piece) == 10
    assert len(begun(folder)) == 1 + len(range(0, 8 * len(whole), 97))


def test_what_another_run_has_stored_meanwhile_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slow_work import slow

    piece, found = Piece(slow, (str(folder), 1, 0)), pieces._found
    looks: list[bool] = []

    def stored_between(piece: Piece) -> pieces.Computed | None:
        looks.append(is_kept(piece))
        if len(looks) == 2:
            write(folder / "cache/pieces" / key(piece), (10, 0.5))
        return found(piece)

    monkeypatch.setattr(pieces, "_found", stored_between)
    assert result(piece) == 10
    assert looks == [False, False]
    assert begun(folder) == []
