"""What is trained, attacked and measured of Kaspar, Hicheur & Bourdrez (2024), at each profile."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from robustnb.attacks.black_box import Square
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.defenses.adversarial_training import InputNoise
from robustnb.papers.images import Images
from robustnb.papers.stochastic_lwta.training import SPLITS, Architecture, Network, Training

REGULAR, NOISE, SMOOTHING = "Regular training", "Noise Injection", "Smoothing"
MIXED = "Smoothing, PGD, FGSM, CW"
MIXED_NOISE = f"{MIXED} + Noise Injection"
LWTA = "Stochastic LWTA"
TUNED = "PGD adversarial training"
SMOOTH_LWTA = "Stochastic LWTA, smooth gradients"

# The eight rows of Table 1, and two networks of our own.
NETWORKS = {
    REGULAR: Network(),
    NOISE: Network(noise_injection=True),
    SMOOTHING: Network(("Smoothing",)),
    "Smoothing, PGD": Network(("Smoothing", "PGD")),
    "Smoothing, PGD, FGSM": Network(("Smoothing", "PGD", "FGSM")),
    MIXED: Network(("Smoothing", "PGD", "FGSM", "CW")),
    MIXED_NOISE: Network(("Smoothing", "PGD", "FGSM", "CW"), noise_injection=True),
    LWTA: Network(("PGD",), always=True, winners="relaxed"),
    TUNED: Network(("PGD",), always=True),
    SMOOTH_LWTA: Network(("PGD",), always=True, winners="mean"),
}
PRINTED = tuple(NETWORKS)[:8]

REPORTED = PGD(eps=8 / 255, alpha=0.007, steps=20)
BRIEF = CarliniWagner(c=1.0, steps=10)
CROSSING = PGD(eps=8 / 255, alpha=2 / 255, steps=20)
SEARCHING = Square(eps=8 / 255, queries=2_000, eot_samples=5)


@dataclass(frozen=True)
class TrainingAttacks:
    """Say which attacks networks meet in training (section 3.1).

    The report gives eps and steps for its eighth network alone. `sigma` is the standard deviation
    of the noise called Smoothing.
    """

    pgd: PGD = REPORTED
    carlini_wagner: CarliniWagner = BRIEF
    sigma: float = 0.12

    def of(self, network: Network) -> tuple[Attack, ...]:
        """Return the attacks that `network` names."""
        known: dict[str, Attack] = {
            "Smoothing": InputNoise(self.sigma),
            "PGD": self.pgd,
            "FGSM": FGSM(self.pgd.eps),
            "CW": self.carlini_wagner,
        }
        return tuple(known[name] for name in network.attacks)


@dataclass(frozen=True)
class Strength:
    """Say how hard the networks are attacked; `pgd` and `square` stay in the ball of training.

    Printed tables are about `num_images`, our own about `num_attacked`. A stochastic network is
    judged by `draws`. Gradients are averaged over each of `eot_samples`, or over a `few` draws.
    """

    num_images: int = 1_024
    num_attacked: int = 500
    draws: int = 10
    pgd: PGD = CROSSING
    square: Square = SEARCHING
    eot_samples: tuple[int, ...] = (1, 10, 50)
    few: int = 10
    temperatures: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 0.67, 1.0, 3.0)
    steps: tuple[int, ...] = (3, 10, 30, 100)
    constants: tuple[float, ...] = (1e-4, 1e-2, 1.0, 100.0)


@dataclass(frozen=True)
class Protocol:
    """Say what is trained, attacked and measured; the defaults are the report's.

    It attacked 1,024 images: see the chapter's exercises. `timed` is the architecture whose time is
    taken on `batches` of images. Certificates rest on `certified_draws`. `deep` is what is done
    besides with the report's architecture, where the rest has a smaller one.
    """

    profile: str = "paper"
    training: Training = field(default_factory=Training)
    training_attacks: TrainingAttacks = field(default_factory=TrainingAttacks)
    strength: Strength = field(default_factory=Strength)
    timed: Architecture = "WRN-34-1"
    batches: tuple[int, ...] = (1, 128)
    certified_draws: int = 1_000
    deep: "Protocol | None" = None

    def training_of(self, name: str) -> Training:
        """Return how the network `name` is trained: our own rate of learning rises and falls."""
        return replace(self.training, schedule="one-cycle") if name == TUNED else self.training

    def images(self, number: int) -> Images:
        """Return the first test images, of the size of those in training."""
        return Images(self.training.dataset, SPLITS, "test", number, self.training.side)

    def settings_of(self, name: str) -> dict[str, Any]:
        """Return what a row says of the network `name`."""
        training = asdict(self.training_of(name)) | asdict(self.training_attacks)
        return {"training": training, "network": {"name": name} | asdict(NETWORKS[name])}


# What two cores train in minutes. With the report's architecture they have time for less.
SMALL = Training(
    *("cifar10", 16, "small CNN"),
    num_images=20_000,
    num_validation=500,
    schedule="one-cycle",
    epochs=10,
)
SHORT = TrainingAttacks(PGD(eps=8 / 255, alpha=0.01, steps=5), CarliniWagner(c=1.0, steps=5))
WEAKER = Strength(
    num_images=400,
    num_attacked=200,
    pgd=PGD(eps=8 / 255, alpha=2 / 255, steps=10),
    square=Square(eps=8 / 255, queries=200, eot_samples=4),
    few=5,
    steps=(3, 10, 30),
    constants=(1e-4, 1e-2, 1.0),
)

PROTOCOLS = {
    "smoke": Protocol(
        "smoke",
        training=Training(
            *("mnist-5k", 14, "small CNN"),
            num_images=800,
            num_validation=100,
            schedule="one-cycle",
            batch_size=16,
            epochs=2,
        ),
        training_attacks=TrainingAttacks(
            PGD(eps=0.1, alpha=0.05, steps=3), CarliniWagner(c=1.0, steps=5)
        ),
        strength=Strength(
            num_images=40,
            num_attacked=20,
            draws=5,
            pgd=PGD(eps=0.1, alpha=0.04, steps=5),
            square=Square(eps=0.1, queries=50, eot_samples=3),
            eot_samples=(1, 10),
            few=5,
            temperatures=(0.01, 0.1, 0.67),
            steps=(3, 30),
            constants=(1e-4, 1.0),
        ),
        timed="small CNN",
        certified_draws=100,
    ),
    "laptop": Protocol(
        "laptop",
        training=SMALL,
        training_attacks=SHORT,
        strength=WEAKER,
        certified_draws=500,
        deep=Protocol(
            "laptop",
            training=replace(SMALL, architecture="WRN-34-1", epochs=6),
            training_attacks=TrainingAttacks(SHORT.pgd),
            strength=replace(WEAKER, num_attacked=128),
        ),
    ),
    "paper": Protocol(),
}
