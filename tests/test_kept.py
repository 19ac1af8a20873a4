"""Results come back from the disk as they were, and never as something else."""

import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load
from torch import nn

from robustnb.papers.kept import own_folder, read, read_or_warn, write

numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
tensors = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16])
tensors = tensors.map(lambda dtype: torch.arange(6).view(2, 3).to(dtype))
values = st.recursive(
    numbers | tensors,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two values have the same types and content, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[name], other[name]) for name in one)
    return bool(one == other)


@given(values)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_plain_values_come_back_without_a_pickle(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "value"
    write(path, value)
    assert is_same(read(path), value)
    assert json.loads(path.read_bytes().split(b"\n")[1])["format"] == "safetensors"


def test_the_numbers_of_tensors_are_in_safetensors_format(tmp_path: Path) -> None:
    numbers = torch.rand(5)
    write(tmp_path / "value", {"a": numbers, "b": [numbers[1:]]})
    body = (tmp_path / "value").read_bytes().split(b"\n", 2)[2]
    assert torch.equal(load(body)["0"], numbers)
    assert torch.equal(load(body)["1"], numbers[1:])


class Pair(tuple):
    """Only looks like a tuple."""

    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        Pair((1, 2)),
        {1: "a"},
        Path("a"),
        torch.rand(4, 3).T,
        torch.rand(3, requires_grad=True),
        nn.Linear(3, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_else_comes_back_from_a_pickle(tmp_path: Path, value: Any) -> None:
    write(tmp_path / "value", [value])
    (found,) = read(tmp_path / "value")
    assert type(found) is type(value)
    if isinstance(value, torch.Tensor):
        assert torch.equal(found, value)
        assert found.stride() == value.stride()
        assert found.requires_grad == value.requires_grad
    elif isinstance(value, nn.Module):
        assert torch.equal(found.weight, value.weight)
    else:
        assert found == value


DAMAGES = {
    "a bit": lambda content, rng: _flipped(content, rng.randrange(8 * len(content))),
    "the end": lambda content, rng: content[: rng.randrange(len(content))],
    "a byte": lambda content, rng: content[:9] + content[10:],
    "all": lambda content, rng: b"",
    "zeros": lambda content, rng: bytes(len(content)),
}


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("value", [[1, torch.rand(9)], nn.Linear(3, 2)], ids=["plain", "pickled"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_told_and_the_file_goes(tmp_path: Path, damage: Any, value: Any) -> None:
    path, rng = tmp_path / "value", random.Random(0)
    for _ in range(40):
        write(path, value)
        path.write_bytes(damage(path.read_bytes(), rng))
        with pytest.warns(UserWarning, match=r"value is damaged .*: it is computed again\.$"):
            assert read_or_warn(path) is None
        assert not path.exists()
    assert read_or_warn(path) is None


def test_a_pickle_that_is_changed_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "value"
    write(path, {1: 2})
    checksum, told, _ = path.read_bytes().split(b"\n", 2)
    deadly = pickle.dumps(_Deadly())
    path.write_bytes(b"\n".join([checksum, told, deadly]))
    with pytest.warns(UserWarning, match="is damaged"):
        assert read_or_warn(path) is None


class _Deadly:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("the pickle was run",)


@pytest.mark.skipif(os.name != "posix", reason="rights of other users")
@pytest.mark.parametrize("rights", [0o777, 0o775, 0o757])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, rights: int) -> None:
    folder = own_folder(tmp_path / "cache/pieces")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(rights)
    with pytest.raises(PermissionError, match=rf"^Others may write .*chmod go-w {folder}\)"):
        own_folder(folder)
    folder.chmod(0o755)
    assert own_folder(folder) == folder
