"""Whatever stops a paper's training, it goes on from its last epoch, to the same network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from robustnb import checkpoint, training
from robustnb.papers.bang import training as bang_training
from robustnb.papers.bang.protocols import PROTOCOLS as BANG
from robustnb.papers.bayesian_weight_sampling import training as bayesian_training
from robustnb.papers.bayesian_weight_sampling.protocols import PROTOCOLS as BAYESIAN
from robustnb.papers.noise_optimization import training as noise_training
from robustnb.papers.noise_optimization.protocols import PROTOCOLS as NOISE
from robustnb.papers.pieces import Piece, result
from robustnb.papers.stochastic_lwta.parts import trained
from robustnb.papers.stochastic_lwta.protocols import LWTA, TUNED
from robustnb.papers.stochastic_lwta.protocols import PROTOCOLS as BLOCKS

EPOCHS = 4


def shortened(found: Any, **changes: Any) -> Any:
    return replace(found, epochs=EPOCHS, **changes)


def pieces() -> Iterator[Any]:
    """Yield the training of a small network of each paper."""
    plain = shortened(BAYESIAN["smoke"].plain)
    yield Piece(bayesian_training.train_plain, (plain, "FC-10", 0.0, 0))
    perceptrons = shortened(NOISE["smoke"].study("3").training, num_images=300)
    yield Piece(noise_training.train, (perceptrons, "MLPN ReLU", 0))
    lenet = BANG["smoke"].mnist.training
    rounds = replace(lenet, iterations=EPOCHS * 5, stages=(5, 20), every=5)
    yield Piece(bang_training.train, (rounds, 0.8, 0.5, False, 0))
    few = shortened(BLOCKS["smoke"].training, num_images=200)
    blocks = replace(BLOCKS["smoke"], training=few)
    for network in (LWTA, TUNED):
        yield trained(blocks, network, 0)


NAMES = ("Bayesian", "noise", "BANG", "LWTA", "LWTA with a schedule")


def saving(patch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[int]:
    """Note the epoch of each save, after one of which the training is stopped."""
    epochs, save = [], checkpoint.Run.save

    def save_and_stop(run: checkpoint.Run, path: Path) -> None:
        save(run, path)
        epochs.append(len(run.history))
        if len(run.history) == stop_after:
            raise KeyboardInterrupt

    patch.setattr(checkpoint.Run, "save", save_and_stop)
    return epochs


def deterministic(found: Any) -> dict[str, Any]:
    """Return all that a training has returned but its seconds."""
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in found.history]
    return vars(found) | {"model": found.model.state_dict(), "history": history, "seconds": None}


@pytest.mark.parametrize("piece", list(pieces()), ids=NAMES)
def test_it_goes_on_from_its_last_epoch(
    piece: Piece, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "at once"))
    expected = result(piece)
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "in two"))
    with monkeypatch.context() as patch:
        saving(patch, stop_after=EPOCHS - 1)
        with pytest.raises(KeyboardInterrupt):
            result(piece)
    assert list(tmp_path.rglob("training.safetensors"))
    epochs = saving(monkeypatch)
    found = result(piece)
    assert epochs == [EPOCHS]
    assert not list(tmp_path.rglob("*.safetensors"))
    torch.testing.assert_close(deterministic(found), deterministic(expected), rtol=0, atol=0)
