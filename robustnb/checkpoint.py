"""The state of a training run, saved so that an interrupted run can be resumed."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from robustnb.files import whole
from robustnb.fingerprint import fingerprint

Tensors = dict[str, Tensor]
History = list[dict[str, float]]


class Damaged(ValueError):
    """A checkpoint is another than it was when it was written."""


class Run:
    """A training run: network, optimizer, scheduler, generator, history and best weights.

    `parts` says by a text for each, under its name, what the run was started with; it resumes only
    from a checkpoint that was started with the same.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        generator: torch.Generator,
        scheduler: LRScheduler | None = None,
    ) -> None:
        self.model, self.optimizer, self.generator = model, optimizer, generator
        self.scheduler = scheduler
        self.parts: dict[str, str] = {}
        self.history: History = []
        self.best_score = -math.inf
        self.best_weights = _copy(model.state_dict())
        self._saved = time.perf_counter()

    @property
    def unsaved_seconds(self) -> float:
        """Return the seconds since the run was last saved or, if it never was, since it began."""
        return time.perf_counter() - self._saved

    def record(self, validation_accuracy: float, **numbers: float) -> None:
        """Add an epoch to the history, and keep its weights if its score is the best so far."""
        row = {"epoch": len(self.history) + 1.0, "validation_accuracy": validation_accuracy}
        self.history.append(row | numbers)
        if validation_accuracy > self.best_score:
            self.best_score, self.best_weights = validation_accuracy, _copy(self.model.state_dict())

    def save(self, path: Path) -> None:
        """Write everything to `path` (safetensors), whole or not at all.

        Raises OSError, which names the path, where there is no room.
        """
        moments, rest = _split(self.optimizer.state_dict())
        tensors = _prefix("model.", self.model.state_dict()) | _prefix("best.", self.best_weights)
        tensors |= _prefix("optimizer.", moments) | {"generator": self.generator.get_state()}
        schedule = _changing(self.scheduler.state_dict()) if self.scheduler is not None else {}
        metadata = {
            "history": json.dumps(self.history),
            "optimizer": json.dumps(rest),
            "scheduler": json.dumps(schedule),
            "parts": json.dumps(self.parts),
        }
        tensors = _copy(tensors)
        try:
            with whole(path) as part:
                save_file(tensors, part, metadata | {"digest": _digest(tensors, metadata)})
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"The checkpoint {path} cannot be written ({error}): is there room enough?"
            ) from error
        self._saved = time.perf_counter()

    def load(self, path: Path) -> None:
        """Resume the run stored in `path`.

        Raises Damaged, and changes nothing, if the file is not as it was written, and ValueError if
        the run was started with other parts or this is no checkpoint.
        """
        tensors, metadata = _read(path)
        try:
            if metadata["digest"] != _digest(tensors, metadata):
                raise Damaged(f"{path} is damaged")
            different = self._different(json.loads(metadata["parts"]))
            if not different:
                self._restore(tensors, metadata)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, Damaged):
                raise
            raise ValueError(
                f"{path} is no checkpoint from which this training can go on: "
                "delete it to start anew, or give another path."
            ) from error
        if different:
            raise ValueError(
                f"{path} is of a training with a different {' and a different '.join(different)}: "
                "delete it to start anew, or give another path."
            )

    def _different(self, stored: Mapping[str, str]) -> list[str]:
        names = {**self.parts, **stored}
        return [name for name in names if self.parts.get(name) != stored.get(name)]

    def _restore(self, tensors: Tensors, metadata: Mapping[str, str]) -> None:
        self.model.load_state_dict(_under("model.", tensors))
        moments = _under("optimizer.", tensors)
        self.optimizer.load_state_dict(_join(moments, json.loads(metadata["optimizer"])))
        _lay_out(self.optimizer)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(json.loads(metadata["scheduler"]))
        self.best_weights = _under("best.", tensors)
        self.generator.set_state(tensors["generator"])
        self.history = json.loads(metadata["history"])
        self.best_score = max(row["validation_accuracy"] for row in self.history)


def _changing(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a scheduler, and of those in it, without dicts.

    They never change, as MultiStepLR's milestones, and JSON would turn their keys into text.
    """
    state = {name: value for name, value in schedule.items() if not isinstance(value, dict)}
    if "_schedulers" in state:
        state["_schedulers"] = [_changing(inner) for inner in state["_schedulers"]]
    return state


def _split(state: dict[str, Any]) -> tuple[Tensors, dict[str, Any]]:
    """Split an optimizer's state into tensors, named "index.name", and what JSON can hold."""
    tensors: Tensors = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        tensors |= {f"{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        plain[str(index)] = {k: v for k, v in values.items() if not isinstance(v, Tensor)}
    return tensors, {"state": plain, "param_groups": state["param_groups"]}


def _join(tensors: Tensors, rest: dict[str, Any]) -> dict[str, Any]:
    state = {int(index): dict(values) for index, values in rest["state"].items()}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state[int(index)][name] = value
    return {"state": state, "param_groups": rest["param_groups"]}


def _lay_out(optimizer: Optimizer) -> None:
    """Give each moment the memory layout of its weights, on which the last digit can depend."""
    for weights, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == weights.shape:
                moments[name] = torch.empty_like(weights, dtype=value.dtype).copy_(value)


def _copy(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def _prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _read(path: Path) -> tuple[Tensors, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
        return load_file(path), metadata
    except (SafetensorError, ValueError) as error:
        raise Damaged(f"{path} is damaged") from error


def _digest(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    """Return a digest of all that a checkpoint holds but the digest itself."""
    texts = {name: text for name, text in metadata.items() if name != "digest"}
    return fingerprint(sorted(tensors.items()), sorted(texts.items()))
