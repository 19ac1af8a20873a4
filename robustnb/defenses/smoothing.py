"""Certificates by noise: randomised smoothing (Cohen, Rosenfeld & Kolter 2019).

The smoothed network's answer is the class that the network gives most often when every pixel gets
noise N(0, sigma^2). Within a radius that is proved here, no attack can change it. Radii are in L2,
in pixel units of [0, 1].

A stochastic network must draw anew for each noisy copy, or the copies are not independent trials:
where one draw serves the whole batch, as with noisy weights, set batch_size to 1.
"""

import torch
from torch import Tensor, nn

from robustnb.checks import check_images, check_positive, check_whole, logits_of
from robustnb.models import evaluating
from robustnb.randomness import noise_from

ABSTAIN = -1


def certify(
    model: nn.Module,
    images: Tensor,
    sigma: float,
    *,
    n0: int = 100,
    n: int = 1_000,
    alpha: float = 0.001,
    generator: torch.Generator | None = None,
    batch_size: int = 1_000,
) -> tuple[Tensor, Tensor]:
    """Return the smoothed network's classes (N,), ABSTAIN for none, and their radii (N,) in L2.

    The class is chosen by `n0` noisy copies of an image; `n` fresh copies bound its probability p
    from below. Within sigma * Phi^-1(p) the answer stays the same; this is wrong with probability
    `alpha` at most (algorithm CERTIFY, theorem 1). `n` limits the radius that can be proved: with
    the default alpha 1,000 copies prove at most 2.46 sigma, 100,000 at most 3.81 sigma.
    """
    check_whole(1, n0=n0)
    _check(images, sigma, n, alpha, batch_size)
    with evaluating(model), noise_from(model, generator), torch.no_grad():
        chosen = _counts(model, images, sigma, n0, generator, batch_size).argmax(1)
        counts = _counts(model, images, sigma, n, generator, batch_size)
    top = counts.gather(1, chosen.unsqueeze(1)).squeeze(1)
    bound = lower_bound(top, n, alpha)
    radii = sigma * torch.special.ndtri(bound).clamp(min=0)
    return torch.where(bound > 0.5, chosen, ABSTAIN), radii


def predict(
    model: nn.Module,
    images: Tensor,
    sigma: float,
    *,
    n: int = 1_000,
    alpha: float = 0.001,
    generator: torch.Generator | None = None,
    batch_size: int = 1_000,
) -> Tensor:
    """Return the smoothed network's classes (N,), or ABSTAIN where the first two are too close.

    A returned class is wrong with probability `alpha` at most (algorithm PREDICT): a two-sided
    binomial test asks whether the two classes could be equally likely.
    """
    _check(images, sigma, n, alpha, batch_size)
    with evaluating(model), noise_from(model, generator), torch.no_grad():
        counts = _counts(model, images, sigma, n, generator, batch_size)
    (first, second), classes = counts.topk(2, dim=1).values.T, counts.argmax(1)
    return torch.where(_tie_probability(first, second) <= alpha, classes, ABSTAIN)


def lower_bound(successes: Tensor, trials: int, alpha: float) -> Tensor:
    """Return the Clopper-Pearson lower bound of a probability, which holds with 1 - `alpha`."""
    from scipy.stats import beta

    k = successes.double().cpu().numpy()
    bound = torch.as_tensor(beta.ppf(alpha, k, trials - k + 1)).to(successes.device)
    return torch.where(successes > 0, bound, 0.0)


def _tie_probability(first: Tensor, second: Tensor) -> Tensor:
    """Return the probability of counts this unequal or more, if both classes are equally likely."""
    from scipy.stats import binom

    k, total = first.cpu().numpy(), (first + second).cpu().numpy()
    return torch.as_tensor(2 * binom.sf(k - 1, total, 0.5)).to(first.device)


def _counts(
    model: nn.Module,
    images: Tensor,
    sigma: float,
    draws: int,
    generator: torch.Generator | None,
    batch_size: int,
) -> Tensor:
    """Return how many of `draws` noisy copies of each image fall in each class (N, classes)."""
    parts = []
    for image in images:
        counts = torch.zeros((), dtype=torch.int64, device=images.device)
        for size in _sizes(draws, batch_size):
            noise = torch.empty(size, *image.shape, dtype=image.dtype, device=image.device)
            noisy = image + sigma * noise.normal_(generator=generator)
            logits = logits_of(model, noisy)
            counts = counts + logits.argmax(1).bincount(minlength=logits.shape[1])
        parts.append(counts)
    return torch.stack(parts) if parts else logits_of(model, images).long()


def _sizes(draws: int, batch_size: int) -> list[int]:
    return [min(batch_size, draws - start) for start in range(0, draws, batch_size)]


def _check(images: Tensor, sigma: float, n: int, alpha: float, batch_size: int) -> None:
    check_images(images)
    check_positive(sigma=sigma)
    check_whole(1, n=n, batch_size=batch_size)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: it must be between 0 and 1.")
