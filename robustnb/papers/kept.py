"""Results on the disk, each in a file that knows its content.

A file has three parts: the SHA-256 of the rest and a line of JSON, each with a line break, and
bytes. What consists of numbers, texts, tensors and containers of these is all in the JSON, but for
the numbers of its tensors, which are bytes in safetensors format. All else, such as networks, is
pickled. As whoever writes a pickle decides what its reader runs, a folder that others may write is
refused.
"""

import hashlib
import json
import os
import pickle
import stat
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from robustnb.files import OTHER_CACHE, whole

PLAIN = (bool, int, float, str, type(None))


class NotPlain(TypeError):
    """A value holds something else than numbers, texts, tensors and containers of these."""


def write(path: Path, value: Any) -> None:
    """Write a value to `path`, whole or not at all."""
    head, body = _head_and_body(value)
    told = json.dumps(head).encode() + b"\n"
    with whole(path) as part, part.open("wb") as file:
        for each in (_checksum(told, body), told, body):
            file.write(each)


def read(path: Path) -> Any:
    """Return the value that was written; raise ValueError if the file is another than it was."""
    content = path.read_bytes()
    checksum, told, body = _parted(content)
    if checksum != _checksum(told, body):
        raise ValueError(f"{path} is damaged")
    head = json.loads(told)
    if head["format"] == "pickle":
        return pickle.loads(body)
    return _meant(head["value"], load(bytes(body)) if body else {})


def read_or_warn(path: Path) -> tuple[Any] | None:
    """Return the value in a tuple, or None where there is none; warn of a damaged file, once."""
    try:
        return (read(path),)
    except FileNotFoundError:
        return None
    except Exception as error:  # what was whole may still need code that is no longer there
        warnings.warn(f"{path} is damaged ({error}): it is computed again.", stacklevel=2)
        path.unlink(missing_ok=True)
        return None


def own_folder(folder: Path) -> Path:
    """Return a folder that nobody else can write, made if need be; raise OSError if others can."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"The folder {folder} cannot be made ({reason}): {OTHER_CACHE}") from error
    if os.name != "posix":
        return folder
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            f"Others may write the folder {folder}, and what they put there would be run: make it "
            f"yours alone (chmod go-w {folder}), or let ROBUSTNB_CACHE name another."
        )
    return folder


def _head_and_body(value: Any) -> tuple[dict[str, Any], bytes]:
    tensors: dict[str, Tensor] = {}
    try:
        told = _told(value, tensors)
    except NotPlain:
        return {"format": "pickle"}, pickle.dumps(value)
    return {"format": "safetensors", "value": told}, save(tensors) if tensors else b""


def _checksum(told: bytes, body: bytes | memoryview) -> bytes:
    sha = hashlib.sha256(told)
    sha.update(body)
    return sha.hexdigest().encode() + b"\n"


def _parted(content: bytes) -> tuple[bytes, bytes, memoryview]:
    first = content.find(b"\n") + 1
    second = content.find(b"\n", first) + 1
    return content[:first], content[first:second], memoryview(content)[second:]


def _told(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return what JSON can hold of a value; its tensors are added to `tensors`, by number."""
    if type(value) in PLAIN:
        return value
    if type(value) is list:
        return [_told(part, tensors) for part in value]
    if type(value) is tuple:
        return {"tuple": [_told(part, tensors) for part in value]}
    if type(value) is dict and all(type(name) is str for name in value):
        return {"dict": [[name, _told(part, tensors)] for name, part in value.items()]}
    if _is_plain_tensor(value):
        name = str(len(tensors))
        tensors[name] = value.clone()  # as safetensors takes none that share memory
        return {"tensor": name}
    raise NotPlain(type(value).__name__)


def _is_plain_tensor(value: Any) -> bool:
    return (
        type(value) is Tensor
        and value.device.type == "cpu"
        and value.layout is torch.strided
        and value.is_contiguous()
        and not value.requires_grad
    )


def _meant(told: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(told, list):
        return [_meant(part, tensors) for part in told]
    if not isinstance(told, dict):
        return told
    ((kind, inside),) = told.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "tuple":
        return tuple(_meant(part, tensors) for part in inside)
    return {name: _meant(part, tensors) for name, part in inside}
