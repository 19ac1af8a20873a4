"""Signs that a look at outputs and gradients gives, before any attack."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import cross_entropies
from robustnb.auditing import signs
from robustnb.auditing.network import Network, asked, differ
from robustnb.auditing.signs import Sign
from robustnb.checks import SUMS, NotFinite
from robustnb.metrics import margin
from robustnb.models import evaluating, logits_and_slope
from robustnb.randomness import noise_from, seeded

ALONE = 16  # images that are asked about one by one


def is_random(network: Network, images: Tensor) -> bool:
    """Tell whether two draws of a network answer differently."""
    return bool(differ(asked(network, images, 0), asked(network, images, 1)).any())


def of_outputs(network: Network, images: Tensor) -> Iterator[Sign]:
    """Look at logits: are they random, probabilities, dependent on the batch."""
    logits, again, other = (asked(network, images, seed) for seed in (0, 0, 1))
    yield signs.RANDOM.on(_share(differ(logits, other)))
    hidden = _share(differ(logits, again))
    yield signs.HIDDEN.on(hidden)
    sums = (logits.sum(1) - 1).abs() < SUMS
    yield signs.PROBABILITIES.on(_share(sums & (logits >= 0).all(1) & (logits <= 1).all(1)))
    if not differ(logits, other).any() and not hidden:
        few = images[:ALONE]
        alone = torch.cat([asked(network, image, 0) for image in few.split(1)])
        yield signs.BATCH.on(_share(differ(asked(network, images, 0)[: len(few)], alone)))


def of_gradients(
    network: Network, images: Tensor, noisy: Tensor, labels: Tensor, draws: int
) -> Iterator[Sign]:
    """Look at the gradients of margin and cross-entropy, which are means over `draws` passes.

    `noisy` are the same images at random places of the ball, where a network may be another.
    """
    try:
        of_margin = mean_gradient(network, images, labels, margin, draws, 0)
        nearby = mean_gradient(network, noisy, labels, margin, draws, 0)
        of_entropy = mean_gradient(network, images, labels, cross_entropies, draws, 0)
    except NotFinite:
        yield signs.NOT_FINITE.on(_not_finite(network, images, labels))
        return
    except ValueError:
        yield signs.MISSING.on(1.0)
        return
    infinite = ~of_margin.flatten(1).isfinite().all(1)
    yield signs.NOT_FINITE.on(_share(infinite))
    yield signs.ZERO.on(max(_share(blank(of_margin)), _share(blank(nearby))))
    yield signs.UNDERFLOW.on(_share(blank(of_entropy) & ~blank(of_margin)))
    if draws > 1:
        other = mean_gradient(network, images, labels, margin, draws, 1)
        cosines = F.cosine_similarity(of_margin.flatten(1), other.flatten(1))
        yield signs.DISAGREE.on(cosines.mean().item())


def mean_gradient(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    score: Callable[[Tensor, Tensor], Tensor],
    draws: int,
    seed: int,
) -> Tensor:
    """Return the input gradient of a score, the mean over draws from `seed`."""
    total = torch.zeros_like(images)
    with evaluating(network), noise_from(network, seeded(seed, images.device)):
        for _ in range(draws):
            *_, gradient = logits_and_slope(network, images, lambda logits: score(logits, labels))
            total += gradient / draws
    return total


def blank(gradients: Tensor) -> Tensor:
    """Return which gradients (N, ...) are exactly 0."""
    return ~gradients.flatten(1).any(1)


def _not_finite(network: Network, images: Tensor, labels: Tensor) -> float:
    """Return the share of images whose gradient is NaN, asked one by one."""
    wrong = 0
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        try:
            mean_gradient(network, image, label, margin, 1, 0)
        except NotFinite:
            wrong += 1
    return wrong / len(images)


def _share(which: Tensor) -> float:
    return which.float().mean().item()
