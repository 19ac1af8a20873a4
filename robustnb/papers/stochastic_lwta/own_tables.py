"""Tables about the networks themselves: how sure they are, how slow, how they were trained."""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import fmean

from robustnb.metrics import expected_calibration_error, reliability
from robustnb.papers.images import Images
from robustnb.papers.pieces import Piece
from robustnb.papers.stochastic_lwta.measuring import Answers, Certified, certificates
from robustnb.papers.stochastic_lwta.parts import MakeCell, answered, cell_of, trained
from robustnb.papers.stochastic_lwta.protocols import (
    LWTA,
    MIXED_NOISE,
    NETWORKS,
    NOISE,
    REGULAR,
    SMOOTH_LWTA,
    SMOOTHING,
    TUNED,
    Protocol,
)
from robustnb.papers.stochastic_lwta.timing import milliseconds
from robustnb.papers.stochastic_lwta.training import SPLITS, Trained
from robustnb.papers.tables import Cell, Part

RADII = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)  # of certificates, in L2


def confidence(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield how many images have which probability of the answer (Figure 3)."""
    for name in (LWTA, TUNED):
        yield answered(protocol, name, seed), partial(histogram, name, cell_of(protocol, name))


def histogram(name: str, cell: MakeCell, found: Answers) -> Iterator[Cell]:
    """Yield the share of images by the probability of the answer, of all and of right ones."""
    cell = partial(cell, num_images=len(found.labels))
    confidence, answer = found.probabilities.max(1)
    right = confidence[answer == found.labels]
    for column, values in (("all images", confidence), ("right answers", right)):
        bins = (values * 10).long().clamp(max=9).bincount(minlength=10)
        for number, count in enumerate(bins.tolist()):
            row = f"{number / 10:.1f} to {(number + 1) / 10:.1f}"
            yield cell(row, f"{name}, {column}", 100 * count / max(len(values), 1), "%")


def calibration(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the confidence and the calibration of networks."""
    for name in (REGULAR, TUNED, LWTA, SMOOTH_LWTA):
        yield (
            answered(protocol, name, seed),
            partial(confidence_cells, name, cell_of(protocol, name)),
        )


def confidence_cells(name: str, cell: MakeCell, found: Answers) -> Iterator[Cell]:
    """Yield the expected calibration error of a network, and how sure it is."""
    cell = partial(cell, num_images=len(found.labels))
    confidence = found.probabilities.max(1).values
    bins = reliability(found.probabilities, found.labels)
    yield cell(name, "ECE", expected_calibration_error(bins), "")
    yield cell(name, "mean probability of the answer", confidence.mean().item(), "")
    yield cell(name, "mean probability of a class", found.probabilities.mean().item(), "")
    yield cell(name, "answers above 0.5", 100 * (confidence > 0.5).float().mean().item(), "%")


def cost(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the time that the blocks take, beside that of ReLU; neither network is trained."""
    dataset, number = protocol.training.dataset, max(protocol.batches)
    images = Images(dataset, SPLITS, "test", number)
    for name in (REGULAR, LWTA):
        arguments = (protocol.timed, NETWORKS[name], images, protocol.batches, seed)
        known = {"network": protocol.settings_of(name)["network"], "architecture": protocol.timed}
        cell = partial(Cell, dataset=dataset, num_images=number, settings=known)
        yield Piece(milliseconds, arguments), partial(times, name, cell)


def times(name: str, cell: MakeCell, found: dict[int, float]) -> Iterator[Cell]:
    """Yield the milliseconds of an image by the size of its batch."""
    for batch, value in found.items():
        yield cell(name, f"batch of {batch}", value, "ms")


def coefficients(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the strength of the injected noise after each epoch of two trainings."""
    for name in (NOISE, MIXED_NOISE):
        yield course(protocol, name, seed, strengths)


def strengths(name: str, cell: MakeCell, found: Trained) -> Iterator[Cell]:
    """Yield the mean |alpha| of the layers, and that of the first and of the last, by epoch."""
    for epoch, by_layer in enumerate(found.strengths):
        first, *_, last = by_layer.values()
        means = {"mean": fmean(by_layer.values()), "first layer": first, "last layer": last}
        for column, value in means.items():
            yield cell(f"epoch {epoch}", f"{name}, {column}", value, "")


def deep_losses(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the loss in each epoch of the trainings with the report's architecture."""
    if protocol.deep is not None:
        for name in (LWTA, TUNED):
            yield course(protocol.deep, name, seed, losses)


def losses(name: str, cell: MakeCell, found: Trained) -> Iterator[Cell]:
    """Yield the mean loss over the minibatches of each epoch."""
    for epoch in found.history:
        yield cell(f"epoch {epoch['epoch']:.0f}", name, epoch["train_loss"], "nats")


def course(protocol: Protocol, name: str, seed: int, cells: Callable[..., Iterator[Cell]]) -> Part:
    """Return the part about the training of the network `name`, of which `cells` makes cells."""
    cell = partial(cell_of(protocol, name), num_images=protocol.training.num_images)
    return trained(protocol, name, seed), partial(cells, name, cell)


def certificate(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield what is proved of the network that met noise in training, and of one that did not."""
    number, draws = protocol.strength.num_attacked, protocol.certified_draws
    images, sigma = protocol.images(number), protocol.training_attacks.sigma
    for name in (REGULAR, SMOOTHING):
        arguments = (trained(protocol, name, seed), images, sigma, draws, seed)
        piece = Piece(certificates, arguments, cost=number * draws / 3)
        yield piece, partial(proved, name, cell_of(protocol, name, {"draws": draws}))


def proved(name: str, cell: MakeCell, found: Certified) -> Iterator[Cell]:
    """Yield the share of images whose right answer is proved within a radius."""
    for radius in RADII:
        share = (found.right & (found.radii >= radius)).float().mean().item()
        yield cell(f"radius {radius:g}", name, 100 * share, "%", num_images=len(found.right))
