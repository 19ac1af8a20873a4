"""What the system refuses is told in one sentence: no room, no rights, no such folder."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from joblib.externals.loky.process_executor import TerminatedWorkerError
from torch import nn

from robustnb import cli, reproduction
from robustnb.papers import pieces
from robustnb.papers.pieces import Piece, finish, result
from robustnb.publishing import build as building
from robustnb.publishing.build import build
from robustnb.publishing.errors import BookError
from robustnb.randomness import seeded
from robustnb.training import fit

LIMIT = 4000


@contextmanager
def small_files() -> Iterator[None]:
    """Let the system refuse files of more than LIMIT bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def large(seed: int) -> torch.Tensor:
    return torch.rand(LIMIT, generator=seeded(seed))


def one_sentence(said: str) -> str:
    assert "\n" not in said
    assert "Errno" not in said
    assert said.endswith((".", "?"))
    return said


def test_a_checkpoint_for_which_there_is_no_room(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 50))
    data = (torch.rand(4, 1, 8, 8), torch.arange(4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    settings: dict[str, Any] = {"epochs": 1, "progress": False, "checkpoint": path}
    with small_files(), pytest.raises(OSError, match=r"cannot be written .*room enough") as told:
        fit(model, data, data, optimizer=optimizer, **settings)
    assert str(told.value).startswith(f"The checkpoint {path} cannot be written")
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_result_for_which_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))
    with small_files(), pytest.raises(OSError, match=r"cannot be stored in .*room enough") as told:
        result(Piece(large, (0,)))
    one_sentence(str(told.value))
    assert list((tmp_path / "pieces").iterdir()) == []
    assert torch.equal(result(Piece(large, (0,))), large(0))


@pytest.mark.parametrize("kind", ["a file", "below a file", "nobody's home", "itself"])
def test_a_cache_folder_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    folders = {"a file": "file", "below a file": "file/cache", "itself": "itself"}
    named = str(tmp_path / folders[kind]) if kind in folders else "~nobody-of-this-name/cache"
    monkeypatch.setenv("ROBUSTNB_CACHE", named)
    with pytest.raises(OSError, match="let ROBUSTNB_CACHE name a folder that can be") as told:
        result(Piece(large, (0,)))
    one_sentence(str(told.value))


def run(*command: str) -> str:
    """Return what a command that fails says, in one sentence."""
    found = CliRunner().invoke(cli.main, command)
    assert found.exit_code == 1, found.output
    return one_sentence(found.output.strip().removeprefix("Error: "))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/x/smoke.json"), "/x/smoke.json cannot be read"),
        (OSError(28, "No space left on device"), "A write failed (No space left on device)."),
        (OSError("The result does not fit."), "The result does not fit."),
    ],
)
def test_commands_tell_what_the_system_says(
    monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(reproduction, "reproduce", fail)
    assert run("reproduce", "bang").startswith(said)


def test_a_process_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))

    def broken(*_: object) -> None:
        raise TerminatedWorkerError("exit codes of the workers are {SIGKILL(-9)}")

    monkeypatch.setattr(pieces.Parallel, "__call__", broken)
    with pytest.raises(ChildProcessError, match="as happens when memory runs out: start") as told:
        finish([Piece(large, (0,))], jobs=2, progress=False)
    one_sentence(str(told.value))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "book").mkdir()
    (tmp_path / "book/intro.md").write_text("# Front\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    return tmp_path


def test_a_build_folder_that_is_a_file(root: Path) -> None:
    (root / "_build").touch()
    with pytest.raises(BookError) as told:
        build(root=root)
    assert one_sentence(told.value.message).startswith(f"{root / '_build'}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(30, "Read-only file system", "/x/_build"), "/x/_build cannot be read or written"),
        (OSError(28, "No space left on device"), "A write failed (No space left on device)."),
    ],
)
def test_a_build_folder_that_is_full_or_may_only_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(building, "render", fail)
    with pytest.raises(BookError) as told:
        build(root=root)
    assert one_sentence(told.value.message).startswith(said)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_build_folder_without_rights(root: Path) -> None:
    (root / "_build").mkdir(mode=0o500)
    with pytest.raises(BookError) as told:
        build(root=root)
    one_sentence(told.value.message)
