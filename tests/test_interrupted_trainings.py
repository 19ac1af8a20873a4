"""Whatever stops a paper's training, it goes on from its last epoch, to the same network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from robustnb import checkpoint, training
from robustnb.experiments import bang, bang_training
from robustnb.experiments import bayesian_weight_sampling as bayesian
from robustnb.experiments import bayesian_weight_sampling_pieces as bayesian_pieces
from robustnb.experiments import noise_optimization as noise
from robustnb.experiments import noise_optimization_training as noise_training
from robustnb.experiments.bang_tables import PLAIN
from robustnb.experiments.pieces import Piece
from robustnb.experiments.pieces import result as result_of_experiment
from robustnb.papers import pieces as papers_pieces
from robustnb.papers.stochastic_lwta import protocols as lwta_protocols
from robustnb.papers.stochastic_lwta.own_tables import trained

EPOCHS = 4


def shortened(found: Any, **changes: Any) -> Any:
    return replace(found, epochs=EPOCHS, **changes)


def result(piece: Any) -> Any:
    """Return what a piece computes; some papers have not moved yet."""
    moved = isinstance(piece, papers_pieces.Piece)
    return papers_pieces.result(piece) if moved else result_of_experiment(piece)


def pieces() -> Iterator[Any]:
    """Yield the training of a small network of each paper."""
    plain = shortened(bayesian.PROTOCOLS["smoke"].plain)
    yield Piece(bayesian_pieces.train_plain, (plain, "FC-10", "0", 0))
    perceptrons = shortened(noise.PROTOCOLS["smoke"]["3"].training, num_images=300)
    yield Piece(noise_training.train, (perceptrons, "MLPN ReLU", 0))
    (digits, *_) = bang.PROTOCOLS["smoke"].studies.values()
    rounds = replace(digits.training, iterations=EPOCHS * 5, stages=(5, 20), every=5)
    bang_network = replace(PLAIN, eps=0.5, beta=0.8)
    yield Piece(bang_training.train, (rounds, bang_network, 0))
    blocks = lwta_protocols.PROTOCOLS["smoke"]
    blocks = replace(blocks, training=shortened(blocks.training))
    for network in (lwta_protocols.LWTA, lwta_protocols.TUNED):
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
    piece: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
