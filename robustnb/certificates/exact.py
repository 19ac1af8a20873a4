"""Exact verification of small ReLU networks by mixed-integer programming (Tjeng et al. 2019).

A ReLU whose input may have both signs is a binary variable: on or off. The time grows up to
exponentially with their number, so that networks with some tens of such units are what it is for.

See `robustnb.certificates` for the sign of a margin, and for what rounding leaves open. The solver
works in float64 too, and takes constraints and optima as met within TOLERANCE.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn

from robustnb.certificates import crown
from robustnb.certificates.boxes import Box, margin_rows
from robustnb.certificates.layers import as_matrix
from robustnb.certificates.problem import Problem, posed
from robustnb.checks import check_positive
from robustnb.metrics import margin

ACCEPTED = crown.ACCEPTED
TOLERANCE = 1e-6  # of HiGHS, for whole numbers, constraints and optima

Array = NDArray[np.float64]


class Affine(NamedTuple):
    """Hold the weights (outputs, inputs) and the biases (outputs,) between two ReLUs."""

    weight: Tensor
    bias: Tensor


def smallest_margin(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, *, seconds: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the smallest margin (N,) within `eps` of each image, and points (N, ...) that have it.

    Both are in float64. The margin is the network's own at the point; up to TOLERANCE no other
    point in [0, 1] within `eps` has a smaller one. Raises TimeoutError if the program of one image
    and class takes longer than `seconds`, and ValueError for a layer that is not in ACCEPTED.
    """
    if seconds is not None:
        check_positive(seconds=seconds)
    with posed(model, images, eps, ACCEPTED, labels) as problem:
        boxes = crown.propagated(problem)
        bounds = crown.margins_within(problem, boxes, labels)
        affine = _affine_parts(problem, boxes)
        margins, points = bounds[:, 0].clone(), problem.box.lower.clone()
        for index in range(len(images)):
            own = [Box(box.lower[[index]], box.upper[[index]]) for box in boxes]
            search = _Search(problem, own, affine, labels[[index]], seconds)
            margins[index], points[index] = search(bounds[index])
        return margins, points


def certified(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, *, seconds: float | None = None
) -> Tensor:
    """Return whether each image (N,) keeps its label within `eps`, by more than TOLERANCE."""
    return smallest_margin(model, images, labels, eps, seconds=seconds)[0] > TOLERANCE


def _affine_parts(problem: Problem, boxes: Sequence[Box]) -> list[Affine]:
    """Return what stands before each ReLU, and after the last one, as matrices."""
    parts, start = [], 0
    for end in [*_relus(problem), len(problem.layers)]:
        parts.append(Affine(*as_matrix(problem.layers[start:end], boxes[start].lower)))
        start = end + 1
    return parts


def _relus(problem: Problem) -> list[int]:
    return [i for i, layer in enumerate(problem.layers) if isinstance(layer, nn.ReLU)]


@dataclass(frozen=True)
class _Search:
    """Search the box of one image, class by class, for the smallest margin."""

    problem: Problem
    boxes: Sequence[Box]
    affine: list[Affine]
    label: Tensor
    seconds: float | None

    def __call__(self, bounds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the smallest margin and the point that has it; `bounds` (classes,) are CROWN's.

        A class that cannot get below what another one reached needs no program.
        """
        network, pixels = nn.Sequential(*self.problem.layers), self.boxes[0]
        rows, _ = margin_rows(*self.affine[-1], self.label)
        inner = [self.boxes[index] for index in _relus(self.problem)]
        program = _program(pixels, self.affine[:-1], inner)
        smallest, at = bounds.new_tensor(torch.inf), pixels.lower
        for other in bounds.argsort().tolist():
            if other == int(self.label) or bounds[other] >= smallest:
                continue
            solved = program.minimiser(_array(rows[0, other]), self.seconds)
            point = torch.as_tensor(solved).to(pixels.lower).view_as(pixels.lower)
            point = point.clamp(*pixels)
            reached = -margin(network(point), self.label).squeeze()
            if reached < smallest:
                smallest, at = reached, point
        return smallest, at.squeeze(0)


class _Program(NamedTuple):
    """Hold the network in the box of an image, for the solver.

    Its variables are the pixels, then the outputs and the switches of each layer of ReLUs.
    """

    constraints: list[LinearConstraint]
    bounds: Bounds
    is_whole: Array
    outputs: slice  # those of the last layer of ReLUs, or the pixels
    num_pixels: int

    def minimiser(self, objective: Array, seconds: float | None) -> Array:
        """Return the pixels where `objective` times the last outputs is least."""
        costs = np.zeros_like(self.is_whole)
        costs[self.outputs] = objective
        limit = {} if seconds is None else {"time_limit": float(seconds)}
        found = milp(
            costs,
            constraints=self.constraints,
            bounds=self.bounds,
            integrality=self.is_whole,
            options={"mip_rel_gap": 0.0, **limit},
        )
        if found.status == 1:
            raise TimeoutError(
                f"the program of an image was not solved in {seconds} seconds: allow more, or take "
                "a smaller network or a smaller eps."
            )
        if not found.success:
            raise ArithmeticError(f"the solver failed: {found.message}")
        solved: Array = found.x[: self.num_pixels]
        return solved


def _program(pixels: Box, affine: Sequence[Affine], inner: Sequence[Box]) -> _Program:
    """Return the program of layers of ReLUs whose inputs the boxes `inner` bound."""
    count = pixels.lower.numel()
    total = count + 2 * sum(len(part.bias) for part in affine)
    low, high, is_whole = np.zeros(total), np.ones(total), np.zeros(total)
    low[:count], high[:count] = _array(pixels.lower), _array(pixels.upper)
    constraints, inputs = [], slice(0, count)
    for part, box in zip(affine, inner, strict=True):
        units, least, most = len(part.bias), _array(box.lower), _array(box.upper)
        outputs, switches = slice(count, count + units), slice(count + units, count + 2 * units)
        high[outputs] = most.clip(0)
        low[switches], high[switches] = least > 0, (most >= 0) | (least > 0)
        is_whole[switches] = 1
        rows, limits = _relu_rows(part, least.clip(max=0), most.clip(0))
        matrix = np.zeros((len(rows), total))
        matrix[:, inputs], matrix[:, outputs], matrix[:, switches] = np.split(
            rows, [part.weight.shape[1], part.weight.shape[1] + units], axis=1
        )
        constraints.append(LinearConstraint(matrix, ub=limits))
        inputs, count = outputs, switches.stop
    return _Program(constraints, Bounds(low, high), is_whole, inputs, pixels.lower.numel())


def _relu_rows(part: Affine, least: Array, most: Array) -> tuple[Array, Array]:
    """Return rows and their upper limits, for the inputs, the outputs and the switches in turn.

    With z = W x + b in [least, most], output y and switch d they say y >= z, y <= z - least (1 - d)
    and y <= most d; y >= 0 is a bound of the variable (Tjeng et al., section 4.1).
    """
    weight, bias, same = _array(part.weight), _array(part.bias), np.eye(len(least))
    weight = weight.reshape(part.weight.shape)
    rows = [
        [weight, -same, 0 * same],
        [-weight, same, -np.diag(least)],
        [0 * weight, same, -np.diag(most)],
    ]
    return np.block(rows), np.concatenate([-bias, bias - least, 0 * most])


def _array(values: Tensor) -> Array:
    flat: Array = values.flatten().cpu().numpy()
    return flat
