"""APGD: gradient ascent whose steps halve by themselves (Croce & Hein 2020)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from robustnb.attacks.common import NORMS, CheckedAttack, Norm, check_eps, per_image
from robustnb.attacks.gradient import (
    averaged_logits,
    averaged_margin,
    cross_entropies,
    in_ball,
    project,
    steepest,
)
from robustnb.attacks.hidden_noise import warn_if_noise_is_hidden
from robustnb.checks import NotFinite, check_labels, check_one_of, check_whole, logits_of
from robustnb.metrics import margin
from robustnb.models import logits_and_slope
from robustnb.randomness import stochastic_layers

APGDLoss = Literal["cross-entropy", "dlr", "margin"]
Score = Callable[[Tensor], Tensor]  # of each row of logits: the larger, the nearer to an error
MOMENTUM = 0.75  # the paper's alpha: how much of a new step is taken, the rest is the step before
TINY = 1e-12  # keeps the ratio of DLR finite where logits are equal


@dataclass(frozen=True)
class APGD(CheckedAttack):
    """Climb by steps that begin at twice `eps` and halve where they stop helping (algorithm 1).

    `eps` is the radius of the ball in `norm`, in pixel units of [0, 1]. At checkpoints, which grow
    denser, the step of an image is halved, and it goes back to its best iterate, if fewer than
    three quarters of the steps raised the loss, or if neither the step nor the best loss changed
    since the checkpoint before. "dlr" is the difference of logits ratio (eq. 6), which scaling and
    shifting the logits does not change; it takes three classes. "margin" is its numerator.

    With `targets` above 0, each of so many classes, the likeliest wrong ones first, is aimed at in
    turn, as in APGD-T: the loss is that of the label against this class, and targeted DLR (eq. 7)
    takes four classes. Each of `restarts` begins at a random point of the ball. An image is dropped
    as soon as it is misclassified, unless `early_stop` is false, the network answers differently
    when asked again, or `eot_samples` is above 1: then one error may be luck, and each image keeps
    its iterate with the largest mean loss, and of several runs the one with the largest margin.
    Loss and gradient are means over `eot_samples` passes.
    """

    eps: float
    steps: int = 100
    restarts: int = 1
    loss: APGDLoss = "cross-entropy"
    targets: int = 0
    norm: Norm = "linf"
    eot_samples: int = 1
    early_stop: bool = True

    def __post_init__(self) -> None:
        check_one_of(get_args(APGDLoss), loss=self.loss)
        check_one_of(NORMS, norm=self.norm)
        check_eps(self.eps, self.norm)
        check_whole(1, steps=self.steps, restarts=self.restarts, eot_samples=self.eot_samples)
        check_whole(0, targets=self.targets)
        if not isinstance(self.early_stop, bool):
            raise ValueError(f"early_stop is {self.early_stop!r}: it must be True or False.")

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        warn_if_noise_is_hidden(model, images)
        logits = averaged_logits(model, images, self.eot_samples)
        self._check_classes(logits, labels)
        stops = self.early_stop and self.eot_samples == 1 and not _is_random(model, images, logits)
        best, margins = images.clone(), margin(logits, labels)
        for targets in self._aims(logits, labels):
            for _ in range(self.restarts):
                active = (margins <= 0).nonzero().squeeze(1) if stops else _all(margins)
                if not len(active):
                    return best
                aim = None if targets is None else targets[active]
                climb = _Climb(self, model, images[active], labels[active], aim, stops)
                found = climb.run(generator)
                reached = averaged_margin(model, found, labels[active], self.eot_samples)
                better = reached > margins[active]
                best[active[better]] = found[better]
                margins[active[better]] = reached[better]
        return best

    def _check_classes(self, logits: Tensor, labels: Tensor) -> None:
        check_labels(logits, labels)
        needed = (4 if self.targets else 3) if self.loss == "dlr" else 2
        if logits.shape[1] < needed:
            aimed = " with targets" if self.targets else ""
            raise ValueError(
                f"the network has {logits.shape[1]} classes: the loss {self.loss!r}{aimed} needs "
                f"{needed} or more."
            )
        if (self.targets or self.loss == "dlr") and logits.isinf().any():
            raise NotFinite(
                "a logit is minus infinity: targets and the loss 'dlr' need finite ones; use "
                "'cross-entropy' or 'margin' without targets."
            )

    def _aims(self, logits: Tensor, labels: Tensor) -> Iterator[Tensor | None]:
        """Yield the classes (N,) that are aimed at, one after another, or None."""
        if not self.targets:
            yield None
            return
        wrong = logits.scatter(1, labels.unsqueeze(1), -torch.inf)
        order = wrong.argsort(1, descending=True)[:, :-1]
        yield from order[:, : self.targets].T


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the difference of logits ratio (N,): the margin over the spread of the first three.

    It is -DLR of eq. 6's sign convention, to be maximised: positive means misclassified.
    """
    first, _, third = logits.topk(3, dim=1).values.T
    return margin(logits, labels) / (first - third + TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Return eq. 7 (N,): how far the target lies above the label, over the spread of the logits."""
    first, _, third, fourth = logits.topk(4, dim=1).values.T
    return targeted_margin(logits, labels, targets) / (first - (third + fourth) / 2 + TINY)


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Return how far the target's logit lies above the label's (N,)."""
    aimed, right = (logits.gather(1, each.unsqueeze(1)).squeeze(1) for each in (targets, labels))
    return aimed - right


def checkpoints(steps: int) -> list[int]:
    """Return after which of `steps` the step size may be halved (section 3.1).

    As shares of the steps they are 0, 0.22 and so on: each distance is 0.03 shorter than the one
    before, and at least 0.06.
    """
    places, distance = [0.0], 0.22
    while places[-1] + distance <= 1:
        places.append(places[-1] + distance)
        distance = max(distance - 0.03, 0.06)
    return sorted({math.ceil(round(place * int(steps), 9)) for place in places[1:]})


class _Climb:
    """One run of the algorithm from a random point, for images that all have one aim."""

    def __init__(
        self,
        attack: APGD,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        stops: bool,
    ) -> None:
        self.attack, self.model, self.stops = attack, model, stops
        self.images, self.labels, self.targets = images, labels, targets

    def run(self, generator: torch.Generator | None) -> Tensor:
        """Return for each image an iterate that fools, or the one with the largest loss."""
        attack, result = self.attack, self.images.clone()
        rows = _all(self.labels)  # of the images that still climb
        start = in_ball(self.images, attack.eps, attack.norm, generator)
        current = project(self.images + start, self.images, attack.eps, attack.norm)
        losses, gradient, fooled = self._ask(current, rows)
        state = _State(current, losses, gradient, attack.eps)
        at, previous = set(checkpoints(attack.steps)), 0
        for step in range(attack.steps + 1):
            if self.stops and fooled.any():
                result[rows[fooled]] = state.current[fooled]
                rows, state = rows[~fooled], state.kept(~fooled)
            if not len(rows) or step == attack.steps:
                break
            moved = self._moved(state, rows, 1.0 if step == 0 else MOMENTUM)
            losses, gradient, fooled = self._ask(moved, rows)
            state.advance(moved, losses, gradient)
            if step + 1 in at:
                state.halve_where_stuck(step + 1 - previous)
                previous = step + 1
        result[rows] = state.best
        return result

    def _ask(self, current: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return losses (N,), their gradient and whether the mean logits fool (N,)."""
        score, number = self._score(rows), self.attack.eot_samples
        mean: Tensor | float = 0.0
        losses, gradient = current.new_zeros(len(current)), torch.zeros_like(current)
        for _ in range(number):
            logits, values, slope = logits_and_slope(self.model, current, score)
            mean = mean + logits / number
            losses += values / number
            gradient += slope / number
        assert isinstance(mean, Tensor)
        return losses, gradient, margin(mean, self.labels[rows]) > 0

    def _score(self, rows: Tensor) -> Score:
        labels, loss = self.labels[rows], self.attack.loss
        if self.targets is None:
            untargeted = {"cross-entropy": cross_entropies, "dlr": dlr, "margin": margin}[loss]
            return lambda logits: untargeted(logits, labels)
        targets = self.targets[rows]
        if loss == "cross-entropy":
            return lambda logits: -cross_entropies(logits, targets)
        targeted = {"dlr": targeted_dlr, "margin": targeted_margin}[loss]
        return lambda logits: targeted(logits, labels, targets)

    def _moved(self, state: "_State", rows: Tensor, share: float) -> Tensor:
        centres, eps, norm = self.images[rows], self.attack.eps, self.attack.norm
        step = per_image(state.step, centres) * steepest(state.gradient, norm)
        straight = project(state.current + step, centres, eps, norm)
        if share == 1:
            return straight
        drift = share * (straight - state.current) + (1 - share) * (state.current - state.before)
        return project(state.current + drift, centres, eps, norm)


class _State:
    """Where each image is, where it was, its best iterate, and how long its steps are."""

    def __init__(self, current: Tensor, loss: Tensor, gradient: Tensor, eps: float) -> None:
        self.current = self.before = self.best = current
        self.loss = self.best_loss = loss
        self.gradient = self.best_gradient = gradient
        self.step = torch.full_like(loss, 2 * eps)
        self.rises = torch.zeros_like(loss)  # since the last checkpoint
        self.checked_loss = loss  # the best loss at the last checkpoint, and whether it halved
        self.was_halved = torch.zeros_like(loss, dtype=torch.bool)

    def kept(self, which: Tensor) -> "_State":
        """Keep the images of a mask (N,) alone."""
        for name, value in vars(self).items():
            setattr(self, name, value[which])
        return self

    def advance(self, moved: Tensor, losses: Tensor, gradient: Tensor) -> None:
        """Go to the next iterate, and remember the best."""
        self.rises = self.rises + (losses > self.loss)
        self.before, self.current = self.current, moved
        self.loss, self.gradient = losses, gradient
        better = losses > self.best_loss
        wide = per_image(better, moved)
        self.best = torch.where(wide, moved, self.best)
        self.best_gradient = torch.where(wide, gradient, self.best_gradient)
        self.best_loss = torch.where(better, losses, self.best_loss)

    def halve_where_stuck(self, steps_since: int) -> None:
        """Halve steps by the two conditions of section 3.1, and go back to the best iterate."""
        few_rises = self.rises < 0.75 * steps_since
        no_change = ~self.was_halved & (self.checked_loss >= self.best_loss)
        stuck = few_rises | no_change
        self.step = torch.where(stuck, self.step / 2, self.step)
        wide = per_image(stuck, self.current)
        self.current = torch.where(wide, self.best, self.current)
        self.gradient = torch.where(wide, self.best_gradient, self.gradient)
        self.loss = torch.where(stuck, self.best_loss, self.loss)
        self.rises, self.was_halved = torch.zeros_like(self.rises), stuck
        self.checked_loss = self.best_loss


def _is_random(model: nn.Module, images: Tensor, logits: Tensor) -> bool:
    """Tell whether a network draws noise, or else answers differently when asked again."""
    return bool(stochastic_layers(model)) or not torch.equal(logits_of(model, images), logits)


def _all(values: Tensor) -> Tensor:
    return torch.arange(len(values), device=values.device)
