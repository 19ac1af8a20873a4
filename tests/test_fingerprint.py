"""Fingerprints: equal for the same settings, different for any that are not."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedules

from robustnb.fingerprint import fingerprint, optimizer_settings, scheduler_settings


class Focal:
    """A loss that is a plain object with a setting."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, *_: object) -> float:
        return self.gamma


class Scaled(nn.Module):
    """A network with a private setting."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor, self.layer = factor, nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self._factor * self.layer(x)


def weighted(value: float) -> nn.Module:
    return nn.CrossEntropyLoss(weight=torch.full((3,), value))


@pytest.mark.parametrize(
    "make",
    [
        Focal,
        lambda x: Focal(x).__call__,
        lambda x: partial(print, x),
        lambda x: lambda: [x for _ in "ab"],
        np.float32,
        lambda x: np.array([x]),
        lambda x: torch.tensor([x]),
        lambda x: {x, "a"},
        lambda x: {"a": x},
        lambda x: [weighted(x)],
        Scaled,
        lambda x: [torch.float32, torch.float64][int(x) - 1],
    ],
    ids=[
        "object",
        "method",
        "partial",
        "closure",
        "scalar",
        "array",
        "tensor",
        "set",
        "dict",
        "weights",
        "network",
        "dtype",
    ],
)
def test_a_changed_setting_changes_it_and_an_equal_one_does_not(make: Callable[[Any], Any]) -> None:
    assert fingerprint(make(1.0)) == fingerprint(make(1.0))
    assert fingerprint(make(1.0)) != fingerprint(make(2.0))


class Shifted(nn.Module):
    """A network with a constant that is not saved, or a plain tensor."""

    def __init__(self, value: float, name: str) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        if name == "buffer":
            self.register_buffer("shift", torch.tensor(value), persistent=False)
        elif name == "plain":
            self.shift = torch.tensor(value)
        else:
            self.layer.weight.requires_grad_(value > 1)


@pytest.mark.parametrize("name", ["buffer", "plain", "frozen"])
def test_constants_that_are_not_saved_and_frozen_layers_count(name: str) -> None:
    assert fingerprint(Shifted(1.0, name)) == fingerprint(Shifted(1.0, name))
    assert fingerprint(Shifted(1.0, name)) != fingerprint(Shifted(2.0, name))


def test_only_a_schedule_that_moves_the_momentum_leaves_it_out() -> None:
    def settings(momentum: float, schedule: Any) -> str:
        optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1, momentum)
        return fingerprint(optimizer_settings(optimizer, schedule(optimizer)))

    stepped = partial(torch.optim.lr_scheduler.StepLR, step_size=5)
    cycle = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=9)
    assert settings(0.9, stepped) != settings(0.5, stepped)
    assert settings(0.9, cycle) == settings(0.5, cycle)


def test_the_weights_of_a_network_and_what_a_pass_leaves_do_not_count() -> None:
    model = Scaled(1.0)
    before = fingerprint(model)
    assert fingerprint(Scaled(1.0)) == before
    model(torch.ones(1, 2)).sum().backward()
    model.eval()
    assert fingerprint(model) == before


@pytest.mark.parametrize("rng", [np.random.default_rng, np.random.RandomState, random.Random])
def test_how_far_a_generator_of_a_network_is_does_not_count(rng: Callable[[int], Any]) -> None:
    one, other = Scaled(1.0), Scaled(1.0)
    one.rng, other.rng = rng(0), rng(1)
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("outer", ["in turn", "together"])
def test_schedulers_in_a_scheduler_count(outer: str) -> None:
    def settings(step: int, milestone: int = 3) -> str:
        optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
        inner: list[Any] = [
            schedules.ConstantLR(optimizer),
            schedules.StepLR(optimizer, step),
        ]
        both = (
            schedules.SequentialLR(optimizer, inner, [milestone])
            if outer == "in turn"
            else schedules.ChainedScheduler(inner, optimizer)
        )
        return fingerprint(scheduler_settings(both))

    assert settings(5) == settings(5)
    assert settings(5) != settings(6)
    assert (settings(5) != settings(5, 4)) is (outer == "in turn")


def test_hooks_count() -> None:
    def hooked(factor: float, *, before: bool) -> str:
        model = Scaled(1.0)
        add = model.layer.register_forward_pre_hook if before else model.register_forward_hook
        add(lambda *_: factor)
        return fingerprint(model)

    assert hooked(1.0, before=True) == hooked(1.0, before=True)
    told = {hooked(x, before=y) for x in (1.0, 2.0) for y in (True, False)}
    assert len({fingerprint(Scaled(1.0)), *told}) == 5


def test_a_global_that_a_notebooks_function_uses_counts() -> None:
    space: dict[str, Any] = {"__name__": "__main__", "factor": 1}
    exec("def loss(x):\n    return [factor * part for part in x]", space)
    before = fingerprint(space["loss"])
    space["factor"] = 2
    assert fingerprint(space["loss"]) != before


def test_a_class_that_is_changed_in_a_notebook_counts() -> None:
    def written(body: str) -> Any:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(f"class Loss:\n    def __call__(self, x):\n        return {body}", space)
        return space["Loss"]()

    assert fingerprint(written("x")) == fingerprint(written("x"))
    assert fingerprint(written("x")) != fingerprint(written("2 * x"))
