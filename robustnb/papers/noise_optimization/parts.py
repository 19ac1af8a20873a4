"""What the tables of Xiao, Zhang & Peng (2021) are made of: networks, accuracies, cells."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from robustnb.corruptions import CORRUPTIONS
from robustnb.papers.images import loaded
from robustnb.papers.noise_optimization.measuring import (
    BATCH,
    Inference,
    PaperAttack,
    evaluate,
    evaluate_attacked,
    evaluate_corrupted,
    evaluate_perturbed,
    perturb,
)
from robustnb.papers.noise_optimization.protocols import Study
from robustnb.papers.noise_optimization.training import SPLITS, train
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part

ACCURACY = "accuracy in [0,1]"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """A row of a table: a trained network, how it is used, and what the row says of that."""

    row: str
    trained: Piece
    inference: Inference
    settings: Settings

    def with_settings(self, settings: Settings) -> "Network":
        """Return the same network, of which a row says more."""
        return replace(self, settings=self.settings | settings)


def network(study: Study, name: str, seed: int, *, noise: bool = True) -> Network:
    """Return a network of a study, its noise on or off."""
    how, settings = Inference(), Settings()
    if name in study.noisy:
        how = Inference(study.draws) if noise else Inference(noise=False)
        settings = {"draws": study.draws} if noise else {"noise at inference": "off"}
    return Network(name, trained(study, name, seed), how, settings)


def trained(study: Study, name: str, seed: int) -> Piece:
    """Return the training of a network, or of the attacker's own."""
    cost = study.epoch_seconds * study.training.epochs
    return Piece(train, (study.training, name, seed), cost)


def ten_columns(study: Study, network: Network, seed: int) -> Iterator[Part]:
    """Yield the accuracies of a row of Tables 3 to 6."""
    yield clean(study, network, seed)
    for column in study.white_box:
        yield attacked(study, network, column, seed)
    for corruption in CORRUPTIONS:
        yield corrupted(study, network, corruption, seed)
    for column in study.black_box:
        yield transferred(study, network, column, seed, source_seed=seed)


def clean(study: Study, network: Network, seed: int) -> Part:
    """Return the accuracy on clean images."""
    return accuracy(study, network, "clean", seed, evaluate, ())


def attacked(study: Study, network: Network, column: str, seed: int) -> Part:
    """Return the accuracy on images that are attacked on the network itself."""
    attack = study.white_box[column]
    return accuracy(study, network, column, seed, evaluate_attacked, (attack,), made_by(attack))


def corrupted(study: Study, network: Network, corruption: str, seed: int) -> Part:
    """Return the accuracy on corrupted images, the mean over five severities."""
    what = corruption, study.constants
    settings = {"severities": [1, 2, 3, 4, 5], "constants": study.constants.source}
    return accuracy(study, network, corruption, seed, evaluate_corrupted, what, settings)


def transferred(
    study: Study, network: Network, column: str, seed: int, *, source_seed: int
) -> Part:
    """Return the accuracy on images that are attacked on the attacker's own network."""
    attack, source = study.black_box[column], trained(study, study.surrogate, source_seed)
    images = study.images(study.num_images)
    found = Piece(perturb, (source, attack, images, seed), study.epoch_seconds)
    settings = made_by(attack) | {"source": study.surrogate}
    return accuracy(study, network, column, seed, evaluate_perturbed, (found,), settings)


def made_by(attack: PaperAttack) -> Settings:
    """Say by which attack images are made."""
    return {"attack": asdict(attack), "batch": BATCH}


def accuracy(
    study: Study,
    network: Network,
    column: str,
    seed: int,
    function: Callable[..., float],
    what: tuple[Any, ...],
    settings: Settings | None = None,
    num_images: int | None = None,
) -> Part:
    """Return the accuracy that `function` measures of a network, of `what` is done to images."""
    number = num_images or study.num_images
    arguments = network.trained, *what, study.images(number), network.inference, seed
    complete = network.settings | (settings or {})

    def cells(value: float) -> Iterator[Cell]:
        yield cell(study, network.row, column, value, ACCURACY, number, complete)

    return Piece(function, arguments, study.epoch_seconds), cells


def cell(
    study: Study,
    row: str,
    column: str,
    value: float,
    unit: str,
    num_images: int = 0,
    settings: Settings | None = None,
) -> Cell:
    """Return a number that depends on the training of a study, and on `settings`.

    It was measured on the first `num_images` test images, or on as many as there are.
    """
    dataset = study.training.dataset
    number = min(num_images, len(loaded(dataset, SPLITS).splits["test"]))
    complete = {"training": asdict(study.training)} | (settings or {})
    return Cell(row, column, value, unit, dataset, number, complete)
