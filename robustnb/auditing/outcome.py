"""What an attack leaves of a network: right answers over images and draws, with their interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustnb.auditing.network import Network, asked
from robustnb.intervals import over_seeds
from robustnb.judging import REHEARSED, Judged, chosen
from robustnb.metrics import wilson_interval

# The seeds of the draws that count, and of the rehearsal's, are far from each other.
COUNTED, REHEARSAL = 10_000, 20_000


@dataclass(frozen=True)
class Outcome:
    """What an attack found, and which answers were right then: draws that count (D, N), others."""

    name: str
    attack: Any
    found: Tensor
    right: Tensor
    rehearsed: Tensor
    seconds: float
    passes: int

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        return self.right.float().mean().item()

    @property
    def judged(self) -> Judged:
        """Return the shares of right answers for each image."""
        return Judged(self.right.float().mean(0), self.rehearsed.float().mean(0))


def right_answers(
    network: Network, images: Tensor, labels: Tensor, draws: int, batch_size: int, seed: int
) -> Tensor:
    """Return whether each of `draws` draws reads each image rightly (D, N)."""

    def one(draw: int) -> Tensor:
        batches = images.split(batch_size)
        logits = [asked(network, batch, seed + draw) for batch in batches]
        return torch.cat(logits).argmax(1) == labels

    return torch.stack([one(draw) for draw in range(draws)]).cpu()


def outcome(
    name: str,
    attack: Any,
    found: Tensor,
    network: Network,
    labels: Tensor,
    draws: int,
    batch_size: int,
    seconds: float,
    passes: int,
) -> Outcome:
    """Judge what an attack found: on the draws that count, and on more of the attacker's own."""
    arguments = network, found, labels
    right = right_answers(*arguments, draws, batch_size, COUNTED)
    other = right
    if draws > 1:
        other = right_answers(*arguments, REHEARSED * draws, batch_size, REHEARSAL)
    return Outcome(name, attack, found.cpu(), right, other, seconds, passes)


def worst_of(outcomes: Sequence[Outcome]) -> tuple[Tensor, Tensor]:
    """Return the right answers (D, N) under the attack that is chosen for each image, and which."""
    which = chosen([each.judged for each in outcomes])
    right = torch.stack([each.right for each in outcomes])  # (attacks, D, N)
    places = which.expand(1, right.shape[1], -1)
    return right.gather(0, places).squeeze(0), which


def interval(right: Tensor) -> tuple[float, float]:
    """Return the 95% interval of an accuracy over images, and over draws (D, N) if there are some.

    Over images it is Wilson's; Student's of the draws' means is added in squares.
    """
    share = right.float().mean().item()
    low, high = wilson_interval(share, right.shape[1])
    of_draws = 0.0
    if len(right) > 1:
        low_mean, high_mean = over_seeds(right.float().mean(1).tolist())
        of_draws = (high_mean - low_mean) / 2
    return (
        max(0.0, share - math.hypot(share - low, of_draws)),
        min(1.0, share + math.hypot(high - share, of_draws)),
    )


def drop(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Return by how much `after` is below `before`, and the difference's standard error.

    Both are right answers (D, N) on the same images.
    """
    apart = before.float().mean(0) - after.float().mean(0)
    error = apart.std().item() / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
    return apart.mean().item(), error
