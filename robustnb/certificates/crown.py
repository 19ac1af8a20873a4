"""CROWN: lines below and above each ReLU, followed back to the pixels (Zhang et al. 2018).

A line may pass below 0, where no ReLU goes, so that a bound at the pixels alone is now and then
looser than intervals are. Here the sum is bounded after each layer on the way back, by what is
known of that layer's inputs, and the best bound counts: it is never looser than intervals.

See `robustnb.certificates` for the sign of a margin, and for what rounding leaves open.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustnb.certificates.boxes import Box, least, margin_rows, smallest
from robustnb.certificates.intervals import through
from robustnb.certificates.layers import AFFINE
from robustnb.certificates.problem import Problem, posed

ACCEPTED = (*AFFINE, nn.ReLU)
ELEMENTS = 2**24  # of coefficients at a time: 128 MiB


def layer_bounds(model: nn.Module, images: Tensor, eps: float) -> list[Box]:
    """Return bounds of the pixels within `eps` of images (N, ...), and of each layer's outputs.

    Those of what enters a ReLU and of the logits are CROWN's; those in between follow from them by
    intervals. They are in float64. Raises ValueError for a layer that is not in ACCEPTED.
    """
    with posed(model, images, eps, ACCEPTED) as problem:
        boxes = propagated(problem)
        boxes[-1] = _unit_bounds(problem.layers, boxes[:-1], boxes[-1].lower)
        return boxes


def margin_bounds(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Return lower bounds (N, classes) of the label's logit minus each logit, within `eps`.

    They are in float64, 0 at the label itself. Time and memory grow with the square of the widest
    layer. Raises ValueError for a layer that is not in ACCEPTED.
    """
    with posed(model, images, eps, ACCEPTED, labels) as problem:
        return margins_within(problem, propagated(problem), labels)


def smallest_margin(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Return a lower bound (N,) of the margin over all images within `eps` (see margin_bounds)."""
    return smallest(margin_bounds(model, images, labels, eps), labels)


def certified(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Return whether CROWN proves each image (N,) to keep its label within `eps`."""
    return smallest_margin(model, images, labels, eps) > 0


def propagated(problem: Problem) -> list[Box]:
    """Return bounds of each layer's inputs, by CROWN where a ReLU follows, and of the outputs."""
    boxes = [problem.box]
    for index, layer in enumerate(problem.layers):
        if index and isinstance(layer, nn.ReLU):
            boxes[-1] = _unit_bounds(problem.layers[:index], boxes[:-1], boxes[-1].lower)
        boxes.append(through(layer, boxes[-1]))
    return boxes


def margins_within(problem: Problem, boxes: list[Box], labels: Tensor) -> Tensor:
    """Return lower bounds (N, classes) of the label's logit minus each; `boxes` are propagated."""
    logits = boxes[-1].lower
    every = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    rows, _ = margin_rows(every, every[0], labels)
    return _least_backward(rows, problem.layers, boxes[:-1])


def _unit_bounds(layers: Sequence[nn.Module], boxes: Sequence[Box], outputs: Tensor) -> Box:
    """Return bounds of each unit of what `layers` return, which has the shape of `outputs`."""
    shape, units = outputs.shape, math.prod(outputs.shape[1:])
    largest = max(units, *(box.lower[:1].numel() for box in boxes))
    size = max(1, ELEMENTS // (largest * max(1, len(outputs))))
    every = torch.eye(units, dtype=outputs.dtype, device=outputs.device)
    lower, upper = [], []
    for some in every.split(size):
        rows = some.view(1, -1, *shape[1:]).expand(len(outputs), *[-1] * len(shape))
        lower.append(_least_backward(rows, layers, boxes))
        upper.append(-_least_backward(-rows, layers, boxes))
    return Box(torch.cat(lower, 1).view(shape), torch.cat(upper, 1).view(shape))


def _least_backward(rows: Tensor, layers: Sequence[nn.Module], boxes: Sequence[Box]) -> Tensor:
    """Return a lower bound (N, R) of `rows` (N, R, ...) times the outputs of `layers`.

    `boxes` bound the inputs of each layer.
    """
    constant, best = rows.new_zeros(rows.shape[:2]), rows.new_full(rows.shape[:2], -torch.inf)
    for layer, box in zip(reversed(layers), reversed(boxes), strict=True):
        step = _before_relu if isinstance(layer, nn.ReLU) else _before_affine
        rows, added = step(rows, layer, box)
        constant = constant + added
        best = torch.maximum(best, constant + least(rows, box))
    return best


def _before_relu(rows: Tensor, _: nn.Module, box: Box) -> tuple[Tensor, Tensor]:
    """Return coefficients of a ReLU's inputs, and constants (N, R), whose sum is no larger.

    A coefficient above 0 takes the line below the ReLU, through 0 with slope 0 or 1, whichever
    leaves the smaller area; one below 0 takes the line above it, from (lower, 0) to (upper, upper).
    A ReLU whose input keeps its sign is a line itself (the paper's CROWN-Ada).
    """
    low, high = box.lower.clamp(max=0), box.upper.clamp(min=0)
    above = high / (high - low).clamp(min=torch.finfo(low.dtype).tiny)
    below = (above > 0.5).to(low.dtype)
    positive, negative = rows.clamp(min=0), rows.clamp(max=0)
    shift = negative * (-above * low).unsqueeze(1)
    slopes = positive * below.unsqueeze(1) + negative * above.unsqueeze(1)
    return slopes, shift.flatten(2).sum(2)


def _before_affine(rows: Tensor, layer: nn.Module, box: Box) -> tuple[Tensor, Tensor]:
    """Return the coefficients of an affine layer's inputs, and constants (N, R): the same sum."""
    flat, inputs = rows.flatten(0, 1), box.lower.shape[1:]
    pulled: Any = torch.func.vjp(layer, rows.new_zeros(len(flat), *inputs))
    bias, transposed = pulled
    (before,) = transposed(flat)
    constant = (flat * bias).flatten(1).sum(1)
    return before.view(*rows.shape[:2], *inputs), constant.view(rows.shape[:2])
