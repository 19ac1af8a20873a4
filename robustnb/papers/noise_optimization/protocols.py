"""What is trained, attacked and measured of Xiao, Zhang & Peng (2021), at each profile."""

import re
from dataclasses import dataclass, replace
from typing import Any

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.lbfgs import BatchLBFGS
from robustnb.corruptions import CIFAR_10_C, TINY_IMAGENET_C, Constants
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization.measuring import PaperAttack
from robustnb.papers.noise_optimization.training import Training

WHITE_BOX = ("white-box FGSM", "white-box L-BFGS", "white-box PGD")
BLACK_BOX = ("black-box FGSM", "black-box L-BFGS")
PERCEPTRONS = tuple(
    f"{kind} {activation}" for kind in ("MLP", "MLP+", "MLPN") for activation in ("ReLU", "Sigmoid")
)
ENDINGS = ("", "-MLP+", "-A+", "-MLPN", "-AN")


@dataclass(frozen=True)
class Study:
    """Say what one of Tables 3 to 6 is about: its networks, their training and their attacks.

    The attacks are those of Table 2. The attacker of the black box trains the network `surrogate`
    (sections 4.2 to 4.4). Corruptions have the strengths `constants`; on MNIST the code has those
    of CIFAR-10-C. Images to attack or corrupt are the first `num_images` of the test split; the
    attacks with gradients averaged over `eot_samples` passes have the first `num_attacked`, those
    of the worst case and saliency maps the first `num_worst`. Accuracies of a noisy network are
    means over `draws` single passes, Theorem 2 is tried on `copies` of one image, and `timed` steps
    are timed. `epoch_seconds` is about how long an epoch of training takes on one core.
    """

    table: str
    networks: tuple[str, ...]
    surrogate: str
    training: Training
    fgsm: FGSM
    lbfgs: BatchLBFGS
    pgd: PGD
    epoch_seconds: float
    constants: Constants = CIFAR_10_C
    num_images: int = 10_000
    num_attacked: int = 2_000
    num_worst: int = 200
    eot_samples: int = 10
    queries: int = 200
    draws: int = 5
    copies: int = 20_000
    timed: int = 20

    @property
    def noisy(self) -> tuple[str, ...]:
        """Return the networks that have noise."""
        return tuple(name for name in self.networks if name != without_noise(name))

    @property
    def white_box(self) -> dict[str, PaperAttack]:
        """Return the attacks on the network itself, by their columns."""
        return dict(zip(WHITE_BOX, (self.fgsm, self.lbfgs, self.pgd), strict=True))

    @property
    def black_box(self) -> dict[str, PaperAttack]:
        """Return the attacks on the surrogate, by their columns."""
        return dict(zip(BLACK_BOX, (self.fgsm, self.lbfgs), strict=True))

    @property
    def strong_attacks(self) -> dict[str, PGD | Square]:
        """Return attacks by who knows the noise, in the ball of the paper's PGD.

        They take four times its steps, from random starts, with gradients averaged over the noise.
        """
        long = self.long_pgd
        return {
            "PGD, cross-entropy": long,
            "PGD, margin": replace(long, loss="margin", restarts=3),
            "Square": Square(long.eps, self.queries, eot_samples=self.eot_samples),
        }

    @property
    def long_pgd(self) -> PGD:
        """Return PGD in four times the paper's steps, from a random start."""
        eps, steps = self.pgd.eps, 4 * self.pgd.steps
        return PGD(eps, 2.5 * eps / steps, steps, eot_samples=self.eot_samples)

    def samples(self, name: str) -> int:
        """Return how many passes a gradient is averaged over: one where there is no noise."""
        return self.eot_samples if name in self.noisy else 1

    def images(self, number: int) -> Images:
        """Name the first test images."""
        return self.training.images("test", number)


def without_noise(name: str) -> str:
    """Return the name of the same network without noise, such as "MLP ReLU" or "CNN"."""
    return re.sub(r"(?<=MLP)[+N](?= )|-.*", "", name)


@dataclass(frozen=True)
class Protocol:
    """Say at which profile which of Tables 3 to 6 are measured, and how."""

    profile: str
    studies: tuple[Study, ...]

    def study(self, table: str) -> Study:
        """Return what the table with this number is about; raise ValueError if it is not there."""
        known = {study.table: study for study in self.studies}
        if table not in known:
            raise ValueError(
                f"{table!r} has no networks at profile {self.profile}: "
                f"accepted are {', '.join(known)}."
            )
        return known[table]


# Tables 1 and 2. White-box attacks start at the image, as in the published code.
PERCEPTRON = Study(
    "3",
    PERCEPTRONS,
    "source MLP",
    Training("mnist", epochs=30),
    FGSM(0.1),
    BatchLBFGS(lr=0.5, steps=10),
    PGD(25 / 255, 5 / 255, steps=10, random_start=False),
    epoch_seconds=2.0,
)
CNN = replace(
    PERCEPTRON,
    table="4",
    networks=tuple(f"CNN{ending}" for ending in ENDINGS),
    epoch_seconds=40.0,
)
RESNET_18 = Study(
    "5",
    tuple(f"ResNet18{ending}" for ending in ENDINGS),
    "source ResNet18",
    Training("cifar10", epochs=50),
    FGSM(0.1),
    BatchLBFGS(lr=0.05, steps=20),
    PGD(8 / 255, 2 / 255, steps=5, random_start=False),
    epoch_seconds=2_000.0,
)
RESNET_34 = Study(
    "6",
    tuple(f"ResNet34{ending}" for ending in ENDINGS),
    "source ResNet34",
    Training("tiny-imagenet", 80, lr=1e-2, weight_decay=5e-4, momentum=0.9, decay_every=20),
    FGSM(2 / 255),
    BatchLBFGS(lr=0.05, steps=10),
    PGD(5 / 255, 2 / 255, steps=3, random_start=False),
    epoch_seconds=8_000.0,
    constants=TINY_IMAGENET_C,
)


def _smaller(study: Study, training: dict[str, Any], **changes: Any) -> Study:
    return replace(study, training=replace(study.training, **training), **changes)


FEW = {"num_images": 1_000, "num_attacked": 200, "num_worst": 100, "eot_samples": 5, "queries": 100}
FEWER = {"num_images": 500, "num_attacked": 100, "num_worst": 50, "eot_samples": 4, "queries": 50}
FEWER |= {"draws": 2}
TINY = {"num_images": 200, "num_attacked": 80, "num_worst": 40, "eot_samples": 3, "queries": 20}
TINIER = {"num_images": 40, "num_attacked": 20, "num_worst": 8, "eot_samples": 2, "queries": 5}
TINIER |= {"draws": 2, "timed": 3}
DIGITS = {"dataset": "mnist-5k", "epochs": 5, "num_images": 3_000, "batch_size": 64, "lr": 4e-3}
DIGITS |= {"sigma_lr": 1e-2}
FEW_STEPS = {"epochs": 1, "batch_size": 16, "lr": 2e-3, "num_images": 1_200}
TWENTY_CLASSES = {"dataset": "tiny-imagenet-20", "epochs": 40, "batch_size": 16, "width": 8}
PROTOCOLS = {
    "smoke": Protocol(
        "smoke",
        (
            _smaller(PERCEPTRON, DIGITS, **TINY, copies=4_000, timed=10, epoch_seconds=0.1),
            _smaller(CNN, DIGITS | FEW_STEPS, **TINIER, epoch_seconds=1.0),
        ),
    ),
    "laptop": Protocol(
        "laptop",
        (
            _smaller(PERCEPTRON, {"epochs": 10, "num_images": 10_000}, **FEW, epoch_seconds=0.4),
            _smaller(CNN, {"epochs": 20, "num_images": 10_000}, **FEW, epoch_seconds=8.0),
            _smaller(
                RESNET_18,
                {"epochs": 6, "num_images": 20_000, "width": 16},
                **FEWER,
                epoch_seconds=60.0,
            ),
            _smaller(RESNET_34, TWENTY_CLASSES, **FEWER, epoch_seconds=20.0),
        ),
    ),
    "paper": Protocol("paper", (PERCEPTRON, CNN, RESNET_18, RESNET_34)),
}
