"""Attacks that use no gradient of the network they are aimed at: noise, random search, transfer."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.common import (
    NORMS,
    Attack,
    CheckedAttack,
    Norm,
    check_eps,
    l2_norm,
    per_image,
)
from robustnb.attacks.gradient import project
from robustnb.attacks.replayed import Replayed
from robustnb.checks import check_one_of, check_whole
from robustnb.metrics import margin

# Of 10,000 queries, those after which squares cover half as much of the image as before.
HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class RandomNoise(CheckedAttack):
    """Add random noise: the baseline that an attack has to beat.

    In "linf" the noise is uniform in the ball of radius `eps`; in "l2" it has length `eps` and a
    random direction. `eps` is in pixel units of [0, 1]; pixels are then clipped to [0, 1]. Of
    `restarts` draws, each image keeps the one with the largest margin, which is that of the mean
    logits of `eot_samples` passes.
    """

    eps: float
    norm: Norm = "linf"
    restarts: int = 1
    eot_samples: int = 1

    def __post_init__(self) -> None:
        check_one_of(NORMS, norm=self.norm)
        check_eps(self.eps, self.norm)
        check_whole(1, restarts=self.restarts, eot_samples=self.eot_samples)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        network = Replayed(model, self.eot_samples, images.device, generator)
        found = self._noisy(images, generator)
        if self.restarts > 1:  # one draw repeats nothing
            network.warn_unless_repeated(images)
        margins = margin(network.logits(found), labels)
        for _ in range(self.restarts - 1):
            tried = self._noisy(images, generator)
            reached = margin(network.logits(tried), labels)
            better = reached > margins
            found[better], margins[better] = tried[better], reached[better]
        return found

    def _noisy(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        noise = torch.empty_like(images)
        if self.norm == "linf":
            noise.uniform_(-self.eps, self.eps, generator=generator)
            return (images + noise).clamp(0, 1)
        noise.normal_(generator=generator)
        return (images + self.eps * noise / per_image(l2_norm(noise), noise)).clamp(0, 1)


@dataclass(frozen=True)
class Square(CheckedAttack):
    """Search the corners of the Linf ball by random squares (Andriushchenko et al. 2020).

    It needs only the logits, so that masked gradients do not stop it. The perturbation starts as
    vertical stripes of +eps and -eps. Each query sets a square of it, at a random place, to +eps or
    -eps per channel, and keeps the change if the margin grew (algorithms 1 and 2). The share of the
    image that a square covers falls from `p_init` as the `queries` are used up. `eps` is in pixel
    units of [0, 1].

    The margin is that of the mean logits of `eot_samples` passes. On a stochastic network the noise
    is drawn once and repeated at every query, so that no change is kept by luck. Fooled images are
    dropped from the batch, except on a stochastic network: there a larger margin makes it likelier
    that fresh noise is fooled too, and in a smaller batch the other images would get other noise.
    """

    eps: float
    queries: int = 1000
    p_init: float = 0.8
    eot_samples: int = 1

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_whole(1, queries=self.queries, eot_samples=self.eot_samples)
        if not 0 < self.p_init <= 1:
            raise ValueError(f"p_init is {self.p_init}: it must be above 0 and at most 1.")

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        if images.dim() != 4:
            raise ValueError(f"images have shape {tuple(images.shape)}: Square takes (N, C, H, W).")
        network = Replayed(model, self.eot_samples, images.device, generator)
        network.warn_unless_repeated(images)
        best, margins = images.clone(), margin(network.logits(images), labels)
        active = self._in_play(margins, network)
        for query in range(self.queries):
            if not len(active):
                break
            tried = self._change(best[active], images[active], query, generator)
            reached = margin(network.logits(tried), labels[active])
            # The search begins at the stripes, whether or not they raise the margin.
            better = (reached > margins[active]) | (query == 0)
            best[active[better]], margins[active[better]] = tried[better], reached[better]
            active = self._in_play(margins, network)
        return best

    def _in_play(self, margins: Tensor, network: Replayed) -> Tensor:
        searched = torch.ones_like(margins) if network.stochastic else ~(margins > 0)
        return searched.nonzero().squeeze(1)

    def _change(
        self, current: Tensor, images: Tensor, query: int, generator: torch.Generator | None
    ) -> Tensor:
        """Return `current` with a new square, or the stripes at the first query."""
        number, channels, height, width = images.shape
        if query == 0:
            stripes = _signs((number, channels, 1, width), images, generator)
            return project(images + self.eps * stripes, images, self.eps, "linf")
        side = self._side(query, height, width)
        square = _squares(images, side, generator)
        signs = _signs((number, channels, 1, 1), images, generator)
        # Twice eps leads from either corner to the other, and the projection stops there.
        return project(current + 2 * self.eps * signs * square, images, self.eps, "linf")

    def _side(self, query: int, height: int, width: int) -> int:
        halvings = sum(query * 10_000 > place * self.queries for place in HALVINGS)
        side = round(math.sqrt(self.p_init / 2**halvings * height * width))
        return min(max(side, 1), height, width)


@dataclass(frozen=True)
class Transfer:
    """Attack `source`, to try on another network what fools this one.

    The attacker needs a network for the same task and no access to the one under attack.
    """

    source: nn.Module
    attack: Attack

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return what `attack` finds on `source`; `model` is not used."""
        return self.attack(self.source, images, labels, generator)


def _signs(shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw -1 or +1 for each place of `shape`, as the type of `images`."""
    ones = torch.randint(2, shape, generator=generator, device=images.device)
    return (2 * ones - 1).to(images.dtype)


def _squares(images: Tensor, side: int, generator: torch.Generator | None) -> Tensor:
    """Return masks (N, 1, H, W), each true in one square of `side` pixels at a random place."""
    spans = []
    for length in images.shape[2:]:
        size = (len(images), 1)
        first = torch.randint(length - side + 1, size, generator=generator, device=images.device)
        place = torch.arange(length, device=images.device)
        spans.append((place >= first) & (place < first + side))
    rows, columns = spans
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)
