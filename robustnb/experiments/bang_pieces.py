"""What Rozsa, Günther & Boult (2016) attack and measure, in pieces that are computed once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import PGD
from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.data import load
from robustnb.defenses.bang import BANG
from robustnb.experiments.bang_training import Network, Training, build, trained
from robustnb.models import predict
from robustnb.papers.bang.saturation import blank, certain, gradient_health
from robustnb.papers.bang.similarity import psychometric_similarity
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, Split, cross_entropy

LineSearch = FastGradientSign | HotCold
BATCH = 250
CANDIDATES = 3_000  # test images among which those of the noise test are looked for
REPEATS = 40  # of a timed step


@dataclass(frozen=True)
class Searched:
    """What a line search made of the images that a network reads rightly.

    `found` says which of them it fooled the network with, `linf` how far each then lies from its
    original (0 to 255), and `similarity` is the PASS of the first of those that were found.
    """

    found: Tensor
    linf: Tensor
    similarity: Tensor
    seconds: float


@dataclass(frozen=True)
class Health:
    """What a gradient-based attack has to go by on the images that a network reads rightly.

    For each image (N,) whether its input gradient is 0 everywhere and whether the probability of
    its label is exactly 1, and for all of them the numbers of `gradient_health`.
    """

    blank: Tensor
    certain: Tensor
    numbers: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Attacked:
    """Which of the attacked images a network still reads rightly (N,)."""

    right: Tensor
    seconds: float


@dataclass(frozen=True)
class Noisy:
    """The share of noisy copies that change the answer, by iteration, std and clipping.

    Each share comes twice: for the first network and for the second. There is none where no image
    is read rightly by both at every stage.
    """

    num_images: int
    shares: dict[tuple[int, float, bool], tuple[float, float]]
    seconds: float


def line_search(
    training: Training,
    network: Network,
    attack: LineSearch,
    num_images: int,
    num_similar: int,
    seed: int,
) -> Searched:
    """Follow one direction for each image that is read rightly, until the answer changes.

    The images are those among the first `num_images` of the test set; PASS is computed for the
    first `num_similar` successes.
    """
    started, model = time.perf_counter(), trained(training, network, seed).model
    images, labels = read_rightly(model, training.dataset, num_images)
    reached = attack(model, images, labels)
    found = predict(model, reached, BATCH).argmax(1) != labels
    some = found.nonzero().squeeze(1)[:num_similar]
    return Searched(
        found,
        255 * (reached - images).abs().flatten(1).amax(1),
        psychometric_similarity(reached[some], images[some]) if len(some) else torch.empty(0),
        time.perf_counter() - started,
    )


def read_rightly(model: nn.Module, dataset: str, num_images: int) -> Split:
    """Return those of the first `num_images` test images that the network reads rightly."""
    images, labels = first_images(dataset, num_images)
    right = predict(model, images, BATCH).argmax(1) == labels
    return images[right], labels[right]


def first_images(dataset: str, num_images: int) -> Split:
    """Return the first `num_images` test images and their labels."""
    images, labels = load(dataset, splits="as_published").split("test")
    return images[:num_images], labels[:num_images]


def accuracy(training: Training, network: Network, seed: int) -> Attacked:
    """Ask the network about every test image, changed by nobody."""
    started, model = time.perf_counter(), trained(training, network, seed).model
    images, labels = load(training.dataset, splits="as_published").split("test")
    right = predict(model, images, BATCH).argmax(1) == labels
    return Attacked(right, time.perf_counter() - started)


def health(training: Training, network: Network, num_images: int, seed: int) -> Health:
    """Look at logits and gradients where the network is right."""
    started, model = time.perf_counter(), trained(training, network, seed).model
    images, labels = read_rightly(model, training.dataset, num_images)
    return Health(
        blank(model, images, labels),
        certain(model, images, labels),
        gradient_health(model, images, labels),
        time.perf_counter() - started,
    )


def attacked(
    training: Training, network: Network, attack: PGD | Square, num_images: int, seed: int
) -> Attacked:
    """Attack the network itself."""
    return transferred(training, network, network, attack, num_images, seed)


def transferred(
    training: Training,
    network: Network,
    source: Network,
    attack: PGD | Square,
    num_images: int,
    seed: int,
) -> Attacked:
    """Attack the network `source`, and show what was found to `network`."""
    started = time.perf_counter()
    images, labels = first_images(training.dataset, num_images)
    found = attack(trained(training, source, seed).model, images, labels, seeded(1_000 + seed))
    right = predict(trained(training, network, seed).model, found, BATCH).argmax(1) == labels
    return Attacked(right, time.perf_counter() - started)


def noisy(
    training: Training,
    pair: tuple[Network, Network],
    stds: tuple[float, ...],
    copies: int,
    per_class: int,
    seed: int,
) -> Noisy:
    """Add Gaussian noise to images that both networks read rightly at every stage (section 4).

    At most `per_class` images of each class, `copies` of each, and the same noise for both
    networks, with and without clipping pixels to [0, 1]. `stds` are in pixels of 0 to 255.
    """
    started = time.perf_counter()
    both = [trained(training, network, seed) for network in pair]
    stages = {i: [network.at(i) for network in both] for i in training.stages}
    every = [model for models in stages.values() for model in models]
    images, answers = agreed(training.dataset, every, per_class)
    shares = {
        (iteration, std, clipped): changed(models, images, answers, std, clipped, copies, seed)
        for iteration, models in stages.items()
        for std in stds
        for clipped in (False, True)
        if len(images)
    }
    return Noisy(len(images), shares, time.perf_counter() - started)


def agreed(dataset: str, models: list[nn.Module], per_class: int) -> Split:
    """Return the first test images of each class that all networks read rightly."""
    images, labels = first_images(dataset, CANDIDATES)
    right = torch.stack([predict(model, images, BATCH).argmax(1) == labels for model in models])
    of_class = F.one_hot(labels).mul(right.all(0).unsqueeze(1))
    kept = (of_class.cumsum(0).mul(of_class).sum(1) <= per_class) & right.all(0)
    return images[kept], labels[kept]


def changed(
    models: list[nn.Module],
    images: Tensor,
    answers: Tensor,
    std: float,
    clipped: bool,
    copies: int,
    seed: int,
) -> tuple[float, float]:
    """Return, for each of two networks, the share of noisy copies that it answers otherwise."""
    generator, counts = seeded(seed), [0.0, 0.0]
    for _ in range(copies):
        noise = torch.empty_like(images).normal_(std=std / 255, generator=generator)
        copy = (images + noise).clamp(0, 1) if clipped else images + noise
        for place, model in enumerate(models):
            different = predict(model, copy, BATCH).argmax(1) != answers
            counts[place] += different.float().mean().item()
    return counts[0] / copies, counts[1] / copies


def step_seconds(training: Training, network: Network, seed: int) -> tuple[float, float]:
    """Return the median seconds of a training step with BANG and of a plain one, in turns."""
    dataset = load(training.dataset, splits="as_published")
    batch = tuple(part[: training.batch_size] for part in dataset.split("train"))
    losses = BANG(network.eps, network.beta, training.misclassified), cross_entropy
    steps = [_step(training, loss, (batch[0], batch[1]), seed) for loss in losses]
    # The first of each is left out: it is slower than all others.
    times = [[_timed(step) for step in steps] for _ in range(REPEATS + 1)][1:]
    balanced, plain = (median(column) for column in zip(*times, strict=True))
    return balanced, plain


def _step(training: Training, loss: Loss, batch: Split, seed: int) -> Callable[[], None]:
    with initial_weights(seed):
        model = build(training, load(training.dataset, splits="as_published")).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=training.momentum)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model, *batch).backward()
        optimizer.step()

    return step


def _timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
