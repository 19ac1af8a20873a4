"""Attacks by L-BFGS: Szegedy et al.'s least distortion in [0, 1], and that of a published code."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from robustnb.attacks.common import CheckedAttack, l2_norm, per_image, runner_up
from robustnb.attacks.gradient import averaged_loss_and_gradient
from robustnb.attacks.replayed import Replayed
from robustnb.checks import NotFinite, check_positive, check_whole

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]

HISTORY = 10  # how many changes of place and gradient are remembered
SUFFICIENT = 1e-4  # share of the decrease promised by the gradient that a step has to bring


@dataclass(frozen=True)
class LBFGS(CheckedAttack):
    """Find the least distortion that fools a network, by L-BFGS in [0, 1] (Szegedy et al. 2013).

    For each image c |r| + cross-entropy(f(x + r), t) is minimised over x + r in [0, 1], in `steps`
    passes forward and backward; |r| is the Euclidean norm and t the runner-up on the clean image.
    `searches` values of c are tried: `c`, then ten times more or less, then by bisection. The
    largest that fools gives the least distortion. (The authors ask for the smallest, which would be
    right if c multiplied the loss.) An image that is misclassified already, or that no search
    fools, keeps r = 0.

    Logits and loss are means over `eot_samples` passes. A stochastic network repeats the same noise
    at every step: with fresh noise the line search would mistake luck for progress.

    Few of these images still fool as pictures of 8 bits: `fools_in_8_bits` says which.
    """

    c: float = 1.0
    steps: int = 30
    searches: int = 8
    eot_samples: int = 1

    def __post_init__(self) -> None:
        check_positive(c=self.c)
        check_whole(1, steps=self.steps, searches=self.searches, eot_samples=self.eot_samples)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        network = Replayed(model, self.eot_samples, images.device, generator)
        network.warn_unless_repeated(images)
        logits = network.logits(images)
        targets = runner_up(logits, labels)
        search = _Search(images, logits.argmax(1) != labels, self.c)
        for _ in range(self.searches):
            objective = partial(penalised_loss, network, targets, images, search.c)
            found = minimise_in_box(objective, images, self.steps)
            search.learn(found, network.logits(found).argmax(1) != labels)
        return search.best


def penalised_loss(
    network: Replayed, targets: Tensor, centres: Tensor, c: Tensor, images: Tensor
) -> tuple[Tensor, Tensor]:
    """Return c |r| + cross-entropy (N,) and its gradient in the images."""
    values, gradients = network.loss_and_gradient(images, targets)
    distances = l2_norm(images - centres)
    slopes = torch.where(distances > 0, c / distances, 0.0)  # |r| has a kink at r = 0
    return values + c * distances, gradients + per_image(slopes, images) * (images - centres)


class _Search:
    """The largest c of each image that still fools, and the least distortion so far."""

    def __init__(self, images: Tensor, fooled: Tensor, c: float) -> None:
        self.images, self.best = images, images.clone()
        self.least = images.new_full(fooled.shape, torch.inf).masked_fill(fooled, 0.0)
        self.c = torch.full_like(self.least, c)
        self.fools, self.fails = torch.zeros_like(self.c), torch.full_like(self.c, torch.inf)

    def learn(self, found: Tensor, fooled: Tensor) -> None:
        """Update with what was found at the present c, and choose the next c."""
        lengths = l2_norm(found - self.images)
        better = fooled & (lengths < self.least)
        self.best[better], self.least[better] = found[better], lengths[better]
        self.fools = torch.where(fooled, self.c, self.fools)
        self.fails = torch.where(fooled, self.fails, self.c)
        bisected = (self.fools * self.fails).sqrt()  # in the middle of the logarithms
        bounded_below = torch.where(self.fools == 0, self.c / 10, bisected)
        self.c = torch.where(self.fails.isinf(), self.c * 10, bounded_below)


def minimise_in_box(objective: Objective, start: Tensor, steps: int) -> Tensor:
    """Minimise a function at N independent points in [0, 1] by projected L-BFGS; return the points.

    `objective` maps points (N, ...) to values (N,) and gradients (N, ...); it is called `steps`
    times. The direction is that of the two-loop recursion over the pixels that no bound holds
    (Kim, Sra & Dhillon 2010). A step along it is clipped to [0, 1] and taken if the decrease is
    sufficient; otherwise the next call tries half of it. Each point has its own step and memory.
    """
    place, memory = start, _Memory(start)
    values, gradients = objective(place)
    direction = memory.direction(place, gradients)
    step = 1 / l2_norm(direction).clamp(min=torch.finfo(values.dtype).tiny)
    for _ in range(steps - 1):
        trial = (place + per_image(step, place) * direction).clamp(0, 1)
        new_values, new_gradients = objective(trial)
        promised = _dot(trial - place, gradients).clamp(max=0)
        taken = new_values <= values + SUFFICIENT * promised
        here = per_image(taken, place)
        moved, bent = torch.where(here, trial, place), torch.where(here, new_gradients, gradients)
        memory.add(moved - place, bent - gradients)
        place, gradients = moved, bent
        values, step = torch.where(taken, new_values, values), torch.where(taken, 1.0, step / 2)
        direction = torch.where(here, memory.direction(place, gradients), direction)
    return place


class _Memory:
    """What L-BFGS keeps for each point: its last moves, and how they changed the gradient."""

    def __init__(self, places: Tensor) -> None:
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)
        self.scale = places.new_ones(len(places))

    def add(self, move: Tensor, change: Tensor) -> None:
        """Store a pair, with weight 0 where the curvature is not positive or no step was taken."""
        curvature, squares = _dot(move, change), _dot(change, change)
        upward = curvature > torch.finfo(move.dtype).eps * squares
        self.scale = torch.where(upward, curvature / squares, self.scale)
        self.pairs.append((move, change, torch.where(upward, 1 / curvature, 0.0)))

    def direction(self, place: Tensor, gradients: Tensor) -> Tensor:
        """Return the quasi-Newton direction, 0 for pixels that a bound holds."""
        free = ~((place <= 0) & (gradients > 0) | (place >= 1) & (gradients < 0))
        return free * self._solve(-gradients * free)

    def _solve(self, q: Tensor) -> Tensor:
        """Multiply by the inverse Hessian (two-loop recursion; Nocedal & Wright, algorithm 7.4)."""
        shares = []
        for move, change, weight in reversed(self.pairs):
            shares.append(weight * _dot(move, q))
            q = q - per_image(shares[-1], q) * change
        q = per_image(self.scale, q) * q
        for (move, change, weight), share in zip(self.pairs, reversed(shares), strict=True):
            q = q + per_image(share - weight * _dot(change, q), q) * move
        return q


@dataclass(frozen=True)
class BatchLBFGS(CheckedAttack):
    """Maximise the mean cross-entropy of a batch by torch's L-BFGS, as Xiao et al.'s code does.

    This is not Szegedy's attack: only the number of `steps` keeps the distortion small, and pixels
    are clamped to [0, 1] only at the end. The images of a batch share one loss and one memory, so
    that the result for one depends on the others. Where the cross-entropy is convex, its negative
    is concave and torch's L-BFGS stores no curvature: it is then gradient ascent on the mean in
    steps of `lr`, which are `lr` / N for each image. The paper has `lr` 0.5 and 10 `steps` on
    MNIST, 0.05 and 20 on CIFAR-10, 0.05 and 10 on Tiny-ImageNet (Table 2); its code has batches of
    128. The gradient is the mean over `eot_samples` passes.
    """

    lr: float
    steps: int
    eot_samples: int = 1

    def __post_init__(self) -> None:
        check_positive(lr=self.lr)
        check_whole(1, steps=self.steps, eot_samples=self.eot_samples)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        if not len(images):
            return images.clone()
        found = images.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([found], lr=self.lr, max_iter=self.steps)

        def closure() -> float:
            values, gradients = averaged_loss_and_gradient(
                model, found, labels, "cross-entropy", self.eot_samples
            )
            found.grad = -gradients / len(images)
            return -values.mean().item()

        try:
            optimizer.step(closure)
        except NotFinite:
            if torch.equal(found, images):
                raise
            # Nothing bounds the way of the attack: it ends where it overflows.
        return torch.where(found.isnan(), images, found.detach().clamp(0, 1))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).flatten(1).sum(1)
