"""The playground where no JavaScript runs: two trained networks, drawn by matplotlib."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Circle, Patch, Rectangle
from torch import Tensor

from robustnb.attacks.common import Norm
from robustnb.drawing import Drawing
from robustnb.models import predict
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.widgets.plane_networks import HALF, defended

STILL_STEPS = 150
NUM_DRAWS = 8
COLOURS = ("#d55e00", "#0072b2")


class Still(NamedTuple):
    """Hold what is drawn of one trained network, and which points and balls are right."""

    name: str
    eps: float
    norm: Norm
    shade: Tensor
    points: Tensor
    labels: Tensor
    right: Tensor
    whole: Tensor

    def told(self) -> str:
        """Return the shares of right points and balls in words."""
        clean, robust = self.right.float().mean(), self.whole.float().mean()
        return f"{self.name}: {clean:.0%} of the points and {robust:.0%} of the balls are right"


@lru_cache(maxsize=32)  # a page asks for its widget's HTML more than once
def trained_still(
    defence: str,
    kind: str,
    own: str,
    seed: int,
    eps: float,
    norm: Norm,
    numbers: tuple[tuple[str, float], ...],
) -> Still:
    """Train one network by torch, and find what it says of the plane and of each ball."""
    settings = dict(numbers)
    points, labels = (
        _own(own) if kind == "own" else _points(kind, int(settings["num_points"]), seed)
    )
    with initial_weights(seed):
        made = defended(defence, eps, norm, settings=settings)
        optimizer = made.optimizer(made.model)
        for _ in range(STILL_STEPS if len(labels) else 0):
            optimizer.zero_grad()
            made.loss(made.model.train(), _images(points), labels).backward()
            optimizer.step()

    def answers(places: Tensor) -> Tensor:
        with noise_from(made.model, seeded(seed)):
            draws = [predict(made.model, _images(places)).softmax(1) for _ in range(NUM_DRAWS)]
        return torch.stack(draws).mean(0)[:, 1]

    side = torch.linspace(-HALF, HALF, 50)
    shade = answers(torch.cartesian_prod(side, side)).view(50, 50).T
    right = (answers(points) > 0.5) == labels.bool()
    balls = points[:, None] + eps * _ball(norm)
    inside = (answers(balls.flatten(0, 1)) > 0.5).view(len(points), -1) == labels.bool()[:, None]
    return Still(defence, eps, norm, shade, points, labels, right, inside.all(1) & right)


def _images(points: Tensor) -> Tensor:
    return ((points + HALF) / (2 * HALF)).view(-1, 1, 1, 2)


def _ball(norm: Norm) -> Tensor:
    """Return places (49, 2) of a ball of radius 1."""
    side = torch.linspace(-1, 1, 7)
    square = torch.cartesian_prod(side, side)
    if norm == "linf":
        return square
    # Squares shrink to discs: every ring of places keeps its distance from the centre.
    return square * (square.abs().amax(1, True) / square.norm(dim=1, keepdim=True).clamp(min=1e-9))


def _own(text: str) -> tuple[Tensor, Tensor]:
    found = re.findall(r"([ab])(-?\d+),(-?\d+)", text)
    places = torch.tensor([[int(x) / 100, int(y) / 100] for _, x, y in found]).view(-1, 2)
    return places, torch.tensor([int(letter == "b") for letter, _, _ in found], dtype=torch.int64)


def _points(kind: str, number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw points (N, 2) from the same shapes as the page, and their classes (N,)."""
    from sklearn.datasets import make_circles, make_moons

    random = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    if kind == "moons":
        points, labels = make_moons(number, noise=0.11, random_state=seed)
        points = 1.1 * (points - [0.5, 0.25])
    elif kind == "circles":
        points, labels = make_circles(number, noise=0.09, factor=0.43, random_state=seed)
        points = 1.4 * points
    elif kind == "XOR":
        points = random.uniform(0.25, 1.6, (number, 2)) * random.choice([-1, 1], (number, 1))
        points[labels == 1, 1] *= -1
    else:
        points = random.normal(0, 0.4, (number, 2)) + np.where(labels, 0.75, -0.75)[:, None]
    return torch.tensor(points, dtype=torch.float32).clamp(-HALF, HALF), torch.tensor(labels).long()


def drawn(stills: Sequence[Still]) -> Drawing:
    """Draw the planes of networks side by side."""
    figure, axes = plt.subplots(1, len(stills), figsize=(3.5 * len(stills), 3.6), squeeze=False)
    for axis, still in zip(axes[0], stills, strict=True):
        _draw(axis, still)
    return Drawing(figure, f"{'; '.join(still.told() for still in stills)}.")


def _draw(axis: Axes, still: Still) -> None:
    extent = (-HALF, HALF, -HALF, HALF)
    axis.imshow(still.shade.numpy(), cmap=_cmap(), vmin=0, vmax=1, origin="lower", extent=extent)
    rows = zip(still.points.tolist(), still.labels.tolist(), still.whole.tolist(), strict=True)
    for (x, y), label, whole in rows:
        axis.add_patch(_ball_around(x, y, still, COLOURS[label], whole))
        axis.plot(x, y, "oD"[label], color=COLOURS[label], markersize=4, markeredgecolor="white")
    axis.set(xlim=(-HALF, HALF), ylim=(-HALF, HALF), xticks=[], yticks=[])
    axis.set_title(still.name, fontsize=10)


def _ball_around(x: float, y: float, still: Still, colour: str, whole: bool) -> Patch:
    look: Any = {"fill": not whole, "facecolor": f"{colour}70", "edgecolor": colour}
    look["linewidth"] = 0.5 if whole else 1.5
    if still.norm == "l2":
        return Circle((x, y), still.eps, **look)
    return Rectangle((x - still.eps, y - still.eps), 2 * still.eps, 2 * still.eps, **look)


def _cmap() -> LinearSegmentedColormap:
    """Colour a probability the stronger, the surer it is."""
    ends = (f"{COLOURS[0]}96", f"{COLOURS[0]}00", f"{COLOURS[1]}00", f"{COLOURS[1]}96")
    return LinearSegmentedColormap.from_list("", list(zip((0, 0.5, 0.5, 1), ends, strict=True)))
