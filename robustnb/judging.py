"""How an attacked network is judged: the attacker chooses in a rehearsal, other draws count.

An attacker who has several attacks knows the network but not the draws by which it will be judged.
For each image the attack is chosen that did best on draws of the attacker's own; the least of means
over the very draws that count would read too low.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.devices import device
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded

REHEARSED = 3  # draws of the attacker, for each that counts

# Logits (S, N, classes) of S draws of a network, for images (N, ...).
Ask = Callable[[Tensor, int, torch.Generator], Tensor]
# How rightly draws (S, N, classes) answer, from 0 to 1 for each label (N,).
Right = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Judged:
    """How rightly each image (N,) is read, from 0 to 1: when it counts, and in the rehearsal."""

    shares: Tensor
    rehearsed: Tensor


def attacker_draws(seed: int) -> torch.Generator:
    """Return the generator of an attacker, whose draws are not those that count."""
    return seeded(1_000 + seed, device())


def single_draws(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of draws (S, N, classes) whose answer is the label, for each image (N,)."""
    return (logits.argmax(-1) == labels).float().mean(0)


def ensemble(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 for each image (N,) where the mean probability of the draws has the label first."""
    return (logits.softmax(-1).mean(0).argmax(-1) == labels).float()


def passes(model: nn.Module, batch_size: int = 500) -> Ask:
    """Return how a network is asked whose every pass is a draw."""

    def ask(images: Tensor, draws: int, generator: torch.Generator) -> Tensor:
        with noise_from(model, generator):
            return torch.stack([predict(model, images, batch_size) for _ in range(draws)])

    return ask


def judge(
    ask: Ask, images: Tensor, labels: Tensor, draws: int, seed: int, right: Right = single_draws
) -> Judged:
    """Ask a network about attacked images, and rehearse on other draws.

    With one draw nothing is random: the network is asked once, and the rehearsal is the same.
    """
    shares = right(ask(images, draws, seeded(seed, images.device)), labels).cpu()
    if draws == 1:
        return Judged(shares, shares)
    rehearsal = ask(images, REHEARSED * draws, seeded(2_000 + seed, images.device))
    return Judged(shares, right(rehearsal, labels).cpu())


def worst_case(judged: Sequence[Judged]) -> float:
    """Return the network's accuracy against an attacker who has several attacks."""
    shares = torch.stack([each.shares for each in judged])
    return shares.gather(0, chosen(judged).unsqueeze(0)).mean().item()


def chosen(judged: Sequence[Judged]) -> Tensor:
    """Return which attack meets each image (N,): the one that did best in the rehearsal.

    If one attack for all images leaves less, it is that one: so a worst case is never above what a
    table shows for one attack.
    """
    shares = torch.stack([each.shares for each in judged])
    best = torch.stack([each.rehearsed for each in judged]).argmin(0)
    left, alone = shares.mean(1).min(0)
    if left < shares.gather(0, best.unsqueeze(0)).mean():
        return alone.expand_as(best)
    return best
