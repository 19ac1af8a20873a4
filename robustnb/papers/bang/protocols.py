"""What is trained, attacked and measured of Rozsa, Günther & Boult (2016), at each profile."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from robustnb.papers.bang.training import Training
from robustnb.papers.images import Images


@dataclass(frozen=True)
class Network:
    """A network of Tables 1 and 2: `label` as printed, and BANG's two numbers (eps 0: none).

    With `exact` its loss is written so that the gradient in the label's logit does not round to 0.
    """

    label: str
    beta: float = 1.0
    eps: float = 0.0
    exact: bool = False

    @property
    def name(self) -> str:
        """Return the name of its row in the tables."""
        settings = f" beta={self.beta:.2f} epsilon={self.eps:.3f}" if self.eps else ""
        return f"{self.label}{settings}{', exact gradient' * self.exact}"


PLAIN = Network("R0")
OTHER = Network("R1")  # the attacker's own, whose perturbations are transferred


@dataclass(frozen=True)
class Study:
    """Say what is trained, attacked and measured on one data set.

    `networks` are those of the printed table, `balanced` the one of them that is compared with R0
    under noise of `stds` (0 to 255) and under strong attacks; `grid` are those of Figures 2 and 4.
    Line searches start from the first `num_images` test images, PASS is of `num_similar` of their
    successes, and the strong attacks have the first `num_attacked` images. Noise is tried on
    `copies` of each of at most `per_class` images of a class, from the first `candidates`. A
    training step is timed `repeats` times.
    """

    training: Training
    networks: tuple[Network, ...]
    balanced: Network
    stds: tuple[float, ...]
    grid: tuple[Network, ...] = ()
    num_images: int = 1_000
    num_similar: int = 1_000
    copies: int = 5
    per_class: int = 100
    candidates: int = 3_000
    num_attacked: int = 300
    eps: tuple[float, ...] = (0.1, 0.2, 0.3)
    steps: int = 40
    restarts: int = 2
    queries: int = 500
    repeats: int = 40

    @property
    def dissected(self) -> tuple[Network, ...]:
        """Return the networks of our own tables: the printed ones, and one without rounding."""
        return (*self.networks, replace(self.balanced, exact=True))

    @property
    def pair(self) -> tuple[Network, Network]:
        """Return the two networks that the paper compares under noise."""
        return PLAIN, self.balanced

    def images(self, num_images: int | None = None) -> Images:
        """Return which images the first `num_images` for tests are (all unless told)."""
        return self.training.images("test", num_images)


@dataclass(frozen=True)
class Protocol:
    """Say what is done on MNIST (or in its place) and on CIFAR-10, None for nothing there."""

    profile: str
    mnist: Study
    cifar10: Study | None = None


LENETS = (
    PLAIN,
    OTHER,
    Network("B0", 1.00, 0.785),
    Network("B1", 1.00, 0.815),
    Network("B2", 1.20, 0.810),
    Network("B3", 1.35, 0.780),
    Network("B4", 1.50, 0.840),
    Network("B5", 1.60, 0.780),
)
CIFAR_NETWORKS = (
    PLAIN,
    OTHER,
    Network("B0", 0.40, 0.855),
    Network("B1", 0.45, 0.805),
    Network("B2", 0.75, 0.800),
    Network("B3", 0.75, 0.845),
    Network("B4", 0.95, 0.840),
    Network("B5", 1.00, 0.800),
)
MNIST_TRAINING = Training(
    "mnist",
    "LeNet",
    iterations=10_000,
    batch_size=64,
    lr=0.01,
    weight_decay=5e-4,
    decay="inverse",
    misclassified=1.0,
    stages=(500, 1_000, 2_000, 5_000, 10_000),
    every=500,
)
CIFAR_TRAINING = Training(
    "cifar10",
    "CIFAR-10 quick",
    iterations=20_000,
    batch_size=100,
    lr=0.001,
    weight_decay=4e-3,
    decay="steps",
    misclassified=0.5,
    stages=(1_000, 2_000, 5_000, 10_000, 20_000),
    every=100,
)


def coarse(betas: Iterable[float], epsilons: Iterable[float]) -> tuple[Network, ...]:
    """Return a grid of networks with every beta and every eps."""
    return tuple(Network("grid", beta, eps) for beta, eps in product(betas, epsilons))


# The paper attacks all 10,000 test images, and has 1,000 noisy copies of each of its 1,000 images.
PAPER_MNIST = Study(
    MNIST_TRAINING,
    LENETS,
    LENETS[3],
    stds=(20.0, 40.0, 60.0, 80.0, 100.0),
    grid=coarse((1.0, 1.3, 1.6), (0.78, 0.81, 0.84)),
)
PAPER_CIFAR = Study(
    CIFAR_TRAINING,
    CIFAR_NETWORKS,
    CIFAR_NETWORKS[2],
    stds=(10.0, 20.0, 30.0, 40.0),
    grid=coarse((0.4, 0.7, 1.0), (0.80, 0.83, 0.86)),
    eps=(2 / 255, 4 / 255, 8 / 255),
)

PROTOCOLS = {
    "smoke": Protocol(
        "smoke",
        replace(
            PAPER_MNIST,
            training=replace(
                MNIST_TRAINING,
                dataset="mnist-5k",
                iterations=100,
                batch_size=48,
                lr=0.02,
                stages=(25, 50, 75, 100),
                every=25,
            ),
            networks=(PLAIN, OTHER, LENETS[3]),
            stds=(50.0, 100.0),
            grid=(),
            num_images=30,
            num_similar=20,
            copies=2,
            per_class=10,
            candidates=200,
            num_attacked=30,
            eps=(0.2,),
            steps=10,
            restarts=1,
            queries=50,
        ),
    ),
    "laptop": Protocol(
        "laptop",
        replace(
            PAPER_MNIST,
            training=replace(
                MNIST_TRAINING, iterations=1_000, stages=(100, 200, 500, 1_000), every=100
            ),
            num_images=500,
            num_similar=100,
            copies=5,
            num_attacked=200,
            queries=500,
        ),
        replace(
            PAPER_CIFAR,
            training=replace(CIFAR_TRAINING, iterations=4_000, stages=(500, 1_000, 2_000, 4_000)),
            grid=coarse((0.4, 1.0), (0.80, 0.86)),
            num_images=500,
            num_similar=100,
            copies=5,
            per_class=20,
            num_attacked=200,
            queries=500,
        ),
    ),
    "paper": Protocol("paper", PAPER_MNIST, PAPER_CIFAR),
}
