"""Signs that attacks give beside each other: which should have been the stronger, and was not."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robustnb.auditing import probes, signs
from robustnb.auditing.outcome import COUNTED, Outcome, drop, right_answers, worst_of
from robustnb.auditing.signs import Sign
from robustnb.auditing.subject import Subject
from robustnb.metrics import margin


def compared(
    subject: Subject, own: Sequence[Outcome], black: Sequence[Outcome], smooth: Sequence[Outcome]
) -> Iterator[Sign]:
    """Compare attacks along the network's own gradient, without one, and by a stand-in's."""
    if own:
        white, _ = worst_of(own)
        first = [each for each in own if each.name == "one step"]
        many = [each for each in own if each.name != "one step"]
        if first and many:
            yield signs.ONE_STEP.on(*drop(worst_of(many)[0], first[0].right))
        if black:
            yield signs.NO_GRADIENT_BEATS.on(*drop(white, worst_of(black)[0]))
        if smooth:
            yield signs.STAND_IN.on(*drop(white, worst_of(smooth)[0]))
        yield from _blank(subject, white)
    found = [*own, *black, *smooth]
    if found:
        yield from _in_8_bits(subject, found)
    if found and subject.random:
        worst, _ = worst_of(found)
        yield signs.LUCK.on((worst.any(0) & ~worst.all(0)).float().mean().item())


def _blank(subject: Subject, white: Tensor) -> Iterator[Sign]:
    """Look at the gradients of images that withstood every attack along them."""
    places = (white.float().mean(0) > 0.5).nonzero().squeeze(1)[: subject.effort.probes]
    if len(places):
        images, labels = subject.images[places], subject.labels[places]
        gradients = probes.mean_gradient(subject.network, images, labels, margin, 1, 0)
        yield signs.BLANK.on(probes.blank(gradients).float().mean().item())


def _in_8_bits(subject: Subject, found: Sequence[Outcome]) -> Iterator[Sign]:
    """See how many of the images that fool no longer do when they are rounded to 8 bits."""
    right, which = worst_of(found)
    fooled = (right.float().mean(0) < 0.5) & (subject.clean.float().mean(0) > 0.5)
    places = fooled.nonzero().squeeze(1)[: subject.effort.probes]
    if len(places):
        images = torch.stack([found[int(which[place])].found[place] for place in places.tolist()])
        rounded = ((255 * images).round() / 255).to(subject.images)
        labels = subject.labels[places.to(subject.labels.device)]
        judged = len(right), subject.batch_size, COUNTED
        again = right_answers(subject.network, rounded, labels, *judged)
        more, _ = drop(again, right[:, places])
        yield signs.EIGHT_BITS.on(max(0.0, more))
