"""What Xiao, Zhang & Peng (2021) attack and measure, in pieces that are computed once."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import nn

from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.lbfgs import BatchLBFGS
from robustnb.corruptions import (
    CIFAR_10_C,
    CORRUPTIONS,
    TINY_IMAGENET_C,
    Constants,
    corrupt,
)
from robustnb.defenses.noise import noise_layers
from robustnb.experiments.noise_optimization_training import (
    DEVICE,
    Trained,
    Training,
    images_of,
    share,
    train,
)
from robustnb.experiments.pieces import Piece, result
from robustnb.randomness import seeded
from robustnb.training import Split

# The networks of each published table, by their names there.
NETWORKS = {
    "3": tuple(f"{kind} {act}" for kind in ("MLP", "MLP+", "MLPN") for act in ("ReLU", "Sigmoid")),
    "4": ("CNN", "CNN-MLP+", "CNN-A+", "CNN-MLPN", "CNN-AN"),
    "5": tuple(f"ResNet18{noise}" for noise in ("", "-MLP+", "-A+", "-MLPN", "-AN")),
    "6": tuple(f"ResNet34{noise}" for noise in ("", "-MLP+", "-A+", "-MLPN", "-AN")),
}
PLAIN = ("MLP ReLU", "MLP Sigmoid", "CNN", "ResNet18", "ResNet34")
# The attacker's own network, whose adversarial images are transferred (sections 4.2 to 4.4).
SURROGATES = {"3": "source MLP", "4": "source MLP", "5": "source ResNet18", "6": "source ResNet34"}
COSTS = {"3": 1.0, "4": 20.0, "5": 1_000.0, "6": 4_000.0}
NOISE_OFF = ", noise off"  # after a network's name: the same network, silent at inference
WHITE_BOX = ("white-box FGSM", "white-box L-BFGS", "white-box PGD")
BLACK_BOX = ("black-box FGSM", "black-box L-BFGS")
BATCH = 128  # images attacked together, on which the L-BFGS of the paper's code depends


@dataclass(frozen=True)
class Study:
    """Say what one of Tables 3 to 6 is about: its training and its attacks (Tables 1 and 2).

    Images to attack or corrupt are the first `num_images` of the test split; the attacks with
    gradients averaged over `eot_samples` passes have the first `num_attacked`, those of the worst
    case and saliency maps the first `num_worst`. Accuracies of a noisy network are means over
    `draws` single passes, Theorem 2 is tried on `copies` of one image, and `timed` steps are timed.
    """

    table: str
    training: Training
    fgsm: FGSM
    lbfgs: BatchLBFGS
    pgd: PGD
    num_images: int = 10_000
    num_attacked: int = 2_000
    num_worst: int = 200
    eot_samples: int = 10
    queries: int = 200
    draws: int = 5
    copies: int = 20_000
    timed: int = 20

    @property
    def names(self) -> tuple[str, ...]:
        """Return the networks of the table."""
        return NETWORKS[self.table]

    @property
    def noisy(self) -> tuple[str, ...]:
        """Return the networks of the table that have noise."""
        return tuple(name for name in self.names if name not in PLAIN)

    @property
    def everyone(self) -> tuple[str, ...]:
        """Return all networks, and those with noise a second time with it switched off."""
        return (*self.names, *(name + NOISE_OFF for name in self.noisy))

    @property
    def surrogate(self) -> str:
        """Return the network that the attacker of the black box trains."""
        return SURROGATES[self.table]

    @property
    def cost(self) -> float:
        """Return about how dear the table's networks are, in no unit."""
        return COSTS[self.table] * (self.training.width / 64) ** 2

    @property
    def constants(self) -> Constants:
        """Return the strengths of the corruptions; on MNIST the code has those of CIFAR-10-C."""
        return TINY_IMAGENET_C if self.table == "6" else CIFAR_10_C

    @property
    def attacks(self) -> dict[str, FGSM | BatchLBFGS | PGD]:
        """Return the paper's attacks, each by its column."""
        attacks = (self.fgsm, self.lbfgs, self.pgd)
        return dict(zip((*WHITE_BOX, *BLACK_BOX), (*attacks, *attacks[:2]), strict=True))


@dataclass(frozen=True)
class Shares:
    """The share of right answers of each network."""

    of: dict[str, float]
    seconds: float


def in_batches(attack: Attack, model: nn.Module, split: Split, seed: int) -> Split:
    """Attack images in batches, with draws that the defender does not have."""
    (images, labels), generator = split, seeded(1_000 + seed, DEVICE)
    batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    return torch.cat([attack(model, *batch, generator) for batch in batches]), labels


# Pieces: each of the calls below is computed once and then found on disk.


def clean(study: Study, seed: int) -> Shares:
    """Measure every network on clean test images."""
    started = time.perf_counter()
    return _of_everyone(study, [first_test_images(study)], seed, started)


def corrupted(study: Study, corruption: str, seed: int) -> Shares:
    """Measure every network on corrupted test images, the mean over five severities."""
    started, generator = time.perf_counter(), seeded(2_000 + seed, DEVICE)
    images, labels = first_test_images(study)
    splits = (
        (corrupt(corruption, images, severity, generator, study.constants), labels)
        for severity in range(1, 6)
    )
    return _of_everyone(study, splits, seed, started)


def transferred(study: Study, column: str, seed: int, source_seed: int) -> Shares:
    """Measure every network on images that were made against the attacker's own network."""
    started, source = time.perf_counter(), asked(study, study.surrogate, source_seed)
    found = in_batches(study.attacks[column], source, first_test_images(study), seed)
    return _of_everyone(study, [found], seed, started)


def _of_everyone(study: Study, splits: Iterable[Split], seed: int, started: float) -> Shares:
    models = {name: asked(study, name, seed) for name in study.everyone}
    found = [
        {name: share(model, split, study.draws, defender(seed)) for name, model in models.items()}
        for split in splits
    ]
    means = {name: fmean(shares[name] for shares in found) for name in models}
    return Shares(means, time.perf_counter() - started)


def attacked(study: Study, name: str, column: str, seed: int) -> Shares:
    """Measure one network on images made against itself, as the paper makes them."""
    return _attack(study, name, study.attacks[column], study.num_images, seed)


def attacked_on_average(study: Study, name: str, column: str, seed: int) -> Shares:
    """Measure one network on images made with gradients that are averaged over its noise."""
    attack = replace(study.attacks[column], eot_samples=samples(study, name))
    return _attack(study, name, attack, study.num_attacked, seed)


def _attack(study: Study, name: str, attack: Attack, number: int, seed: int) -> Shares:
    started, model = time.perf_counter(), asked(study, name, seed)
    found = in_batches(attack, model, first_test_images(study, number), seed)
    right = share(model, found, study.draws, defender(seed))
    return Shares({name: right}, time.perf_counter() - started)


def first_test_images(study: Study, number: int | None = None) -> Split:
    """Return the first test images, as many as the paper's attacks have unless told."""
    return images_of(study.training.dataset, "test", number or study.num_images)


def defender(seed: int) -> torch.Generator:
    """Return what the defender's noise is drawn from."""
    return seeded(seed, DEVICE)


def trained(study: Study, name: str, seed: int) -> Trained:
    """Return a trained network of a study with how it was trained."""
    found: Trained = result(train_piece(study, name, seed))
    return found


def asked(study: Study, name: str, seed: int) -> nn.Module:
    """Return a trained network by its name, which may end in ", noise off"."""
    model = trained(study, name.removesuffix(NOISE_OFF), seed).model.to(DEVICE)
    if name.endswith(NOISE_OFF):
        for layer in noise_layers(model):
            layer.at_inference = False
    return model.eval()


def plain_of(name: str) -> str:
    """Return the name of the same network without noise."""
    return next(p for p in PLAIN if p.split()[0] in name and p.split()[-1] in name)


def samples(study: Study, name: str) -> int:
    """Return how many passes a gradient is averaged over: one where there is no noise."""
    return study.eot_samples if name in study.noisy else 1


def stranger(seed: int) -> int:
    """Return the seed of an attacker's network that shares no initial weight with its targets."""
    return 1_000 + seed


def train_piece(study: Study, name: str, seed: int) -> Piece:
    """Name the training of a network, or of the attacker's own."""
    return Piece(train, (study.training, name, seed), study.cost * study.training.epochs)


def common_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name what all networks of a study are asked together, by its column."""
    columns = {name: Piece(corrupted, (study, name, seed), study.cost) for name in CORRUPTIONS}
    columns |= {name: transferred_piece(study, name, seed, seed) for name in BLACK_BOX}
    return columns | {"clean": Piece(clean, (study, seed), study.cost)}


def transferred_piece(study: Study, column: str, seed: int, source_seed: int) -> Piece:
    """Name an attack of the paper's black box, whose source is trained from a seed of its own."""
    return Piece(transferred, (study, column, seed, source_seed), study.cost)


def attacked_piece(study: Study, name: str, column: str, seed: int) -> Piece:
    """Name an attack of the paper's white box."""
    return Piece(attacked, (study, name, column, seed), study.cost)


def averaged_piece(study: Study, name: str, column: str, seed: int) -> Piece:
    """Name the same attack with gradients averaged over the noise."""
    cost = study.cost * samples(study, name)
    return Piece(attacked_on_average, (study, name, column, seed), cost)
