"""What Rozsa, Günther & Boult (2016) measure of a network: accuracy, and two line searches."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.devices import device
from robustnb.models import predict
from robustnb.papers.bang.saturation import blank, certain, gradient_health
from robustnb.papers.bang.similarity import psychometric_similarity
from robustnb.papers.bang.training import BATCH, Trained
from robustnb.papers.images import Images
from robustnb.training import Split

LineSearch = FastGradientSign | HotCold


@dataclass(frozen=True)
class Searched:
    """What a line search made of the images that a network classifies correctly.

    `found` says for which of them (N,) it found an image with another answer, `linf` how far each
    then lies from its original (0 to 255), and `similarity` is the PASS of the first that it found.
    """

    found: Tensor
    linf: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class Health:
    """What a gradient-based attack has to go by on the images that a network classifies correctly.

    For each image (N,) whether its input gradient is 0 everywhere and whether the probability of
    its label is exactly 1, and for all of them the numbers of `gradient_health`.
    """

    blank: Tensor
    certain: Tensor
    numbers: dict[str, float]


def correct(trained: Trained, images: Images) -> Tensor:
    """Return whether the network classifies each image (N,) correctly."""
    pictures, labels = images.load()
    return _correct(trained.model.to(device()), pictures, labels).cpu()


def line_search(trained: Trained, attack: LineSearch, images: Images, num_similar: int) -> Searched:
    """Follow one direction for each image that is classified correctly, until the answer changes.

    PASS is computed for the first `num_similar` successes.
    """
    model = trained.model.to(device())
    originals, labels = _correctly_classified(model, images)
    reached = attack(model, originals, labels)
    found = ~_correct(model, reached, labels)
    some = found.nonzero().squeeze(1)[:num_similar]
    return Searched(
        found.cpu(),
        255 * (reached - originals).abs().flatten(1).amax(1).cpu(),
        psychometric_similarity(reached[some], originals[some]) if len(some) else torch.empty(0),
    )


def health(trained: Trained, images: Images) -> Health:
    """Look at logits and gradients of the images that are classified correctly."""
    model = trained.model.to(device())
    some = _correctly_classified(model, images)
    return Health(
        blank(model, *some).cpu(), certain(model, *some).cpu(), gradient_health(model, *some)
    )


def _correctly_classified(model: nn.Module, images: Images) -> Split:
    pictures, labels = images.load()
    right = _correct(model, pictures, labels)
    return pictures[right], labels[right]


def _correct(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return predict(model, images, BATCH).argmax(1) == labels
