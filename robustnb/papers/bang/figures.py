"""Figures of the networks in the chapter on BANG."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from robustnb import plots
from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.defenses.bang import gradient_norms
from robustnb.drawing import Drawing
from robustnb.dropout import Dropout
from robustnb.models import Scale, predict
from robustnb.papers.bang.saturation import certain
from robustnb.papers.bang.training import Trained
from robustnb.plots.canvas import COLOURS, MARKERS, NARROW, add_legend, new_axes
from robustnb.plots.lines import Series
from robustnb.randomness import seeded

Trainings = Mapping[str, Trained]
Networks = Mapping[str, nn.Module]


def lengths(
    trainings: Trainings, images: Tensor, labels: Tensor, iteration: int
) -> dict[str, Tensor]:
    """Return the length of each image's gradient (N,) in the output of the last layer.

    By the name of the training, of which the network after this iteration counts.
    """
    return {
        name: gradient_norms(trained.at(iteration), images, labels)["ip2"]
        for name, trained in trainings.items()
    }


def gradient_lengths(
    trainings: Trainings, images: Tensor, labels: Tensor, iteration: int
) -> Drawing:
    """Draw the lengths of the gradients of images after so many iterations, the longest first."""
    return ranked(
        f"Gradients of {len(images)} training digits after {iteration} iterations",
        lengths(trainings, images, labels, iteration),
        "length of the gradient",
        limits=(1e-16, 3),
    )


def ranked(
    title: str, lengths: Mapping[str, ArrayLike], ylabel: str, limits: tuple[float, float]
) -> Drawing:
    """Draw lengths from the greatest to the least on a logarithmic axis, a dot for each.

    Lengths below the lower of `limits`, such as 0, are not drawn; the alt text counts them.
    """
    figure, (axes,) = new_axes(size=(NARROW, 3.1))
    told = []
    for index, (name, values) in enumerate(lengths.items()):
        order = np.sort(np.asarray(values, dtype=float))[::-1]
        seen = order[order >= limits[0]]
        style: dict[str, Any] = {"color": COLOURS[index % 4], "marker": MARKERS[index % 4]}
        axes.plot(range(1, len(seen) + 1), seen, linestyle="", markersize=4, label=name, **style)
        unseen = f", {len(order) - len(seen)} below the axis" if len(seen) < len(order) else ""
        told.append(f"{name} from {order[0]:.2g} to {order[-1]:.2g}{unseen}")
    axes.set(yscale="log", ylim=limits, xlabel="examples, the longest first", ylabel=ylabel)
    add_legend(figure)
    return Drawing(figure, f"{title}: {'; '.join(told)}.")


def accuracy_curves(trainings: Trainings) -> Drawing:
    """Draw the accuracy on test images over the iterations of trainings of one length."""
    first = next(iter(trainings.values()))
    return plots.curves(
        "Accuracy on test images during training",
        [f"{row['iteration']:.0f}" for row in first.history],
        {
            name: [(100 * row["validation_accuracy"], None) for row in trained.history]
            for name, trained in trainings.items()
        },
        *("iterations", "accuracy (%)"),
    )


def mean_logits(trainings: Trainings, images: Tensor) -> Drawing:
    """Draw the mean of all logits of images (N, C, H, W) over the stages of trainings."""
    stages = list(next(iter(trainings.values())).weights)
    return plots.curves(
        "The mean of all logits during training",
        [f"{stage}" for stage in stages],
        {
            name: [(predict(trained.at(stage), images).mean().item(), None) for stage in stages]
            for name, trained in trainings.items()
        },
        *("iterations", "mean logit"),
    )


def fooled(networks: Networks, images: Tensor, labels: Tensor) -> Tensor:
    """Return the indices of the images (N, C, H, W) that hot/cold changes on every network."""
    moved = [_moved(model, images, labels)[1] > 0 for model in networks.values()]
    return torch.stack(moved).all(0).nonzero()[:, 0]


def hot_cold(
    networks: Networks,
    images: Tensor,
    labels: Tensor,
    shift: float = 0.0,
    *,
    originals: bool = True,
) -> Drawing:
    """Draw what hot/cold makes of images (N, C, H, W) on each network, and how far a pixel moved.

    `shift` is added to the logits of which the attack makes its weights.
    """
    pictures, words = ([images], [[f"{label}" for label in labels]]) if originals else ([], [])
    for name, model in networks.items():
        found, sizes = _moved(model, images, labels, shift)
        pictures.append(found)
        words.append([f"{name}: {size:.0f}" if size else f"{name}: fails" for size in sizes])
    return plots.images([list(row) for row in pictures], words)


def _moved(
    model: nn.Module, images: Tensor, labels: Tensor, shift: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return what hot/cold finds, and how far each farthest pixel moved (N,), of 255."""
    found = HotCold(shift=float(shift))(model, images, labels)
    return found, 255 * (found - images).abs().flatten(1).amax(1)


def multiplied(
    networks: Networks, images: Tensor, labels: Tensor, factors: Sequence[float]
) -> dict[str, Series]:
    """Return how FGS succeeds, and how often p = 1, where all logits are multiplied by a factor.

    Of the images (N, C, H, W) that a network classifies correctly, in percent, for each factor.
    """
    lines: dict[str, Series] = {}
    for kind, share in (("fooled by FGS", _fooled_share), ("p = 1", _certain_share)):
        for name, model in networks.items():
            right = predict(model, images).argmax(1) == labels
            shares = [share(model, images[right], labels[right], factor) for factor in factors]
            lines[f"{kind}, {name}"] = [(100 * each, None) for each in shares]
    return lines


def multiplied_logits(lines: Mapping[str, Series], factors: Sequence[float]) -> Drawing:
    """Draw the lines of `multiplied` over these factors."""
    places = [f"{factor:g}" for factor in factors]
    title = "The same network with its logits multiplied"
    return plots.curves(title, places, lines, "factor of the logits", "images (%)")


def _fooled_share(model: nn.Module, images: Tensor, labels: Tensor, factor: float) -> float:
    with warnings.catch_warnings(action="ignore"):  # that gradients become 0 is what is drawn
        found = FastGradientSign(scale=factor)(model, images, labels)
    return (predict(model, found).argmax(1) != labels).float().mean().item()


def _certain_share(model: nn.Module, images: Tensor, labels: Tensor, factor: float) -> float:
    louder = nn.Sequential(model, Scale(factor))
    return certain(louder, images, labels).float().mean().item()


def under_noise(
    networks: Networks, image: Tensor, label: int, classes: Sequence[str], std: float
) -> Drawing:
    """Draw an image (1, C, H, W) under noise of `std` (0 to 255), and what each network says."""
    seen = noisy(image, std)
    beliefs = {name: predict(model, seen).softmax(1)[0] for name, model in networks.items()}
    return plots.answers(seen[0].clamp(0, 1), beliefs, classes, classes[label])


def noisy(images: Tensor, std: float) -> Tensor:
    """Add the same noise of `std` (0 to 255) to all images (N, C, H, W)."""
    draw = torch.randn(images[:1].shape, generator=seeded(0, images.device), device=images.device)
    return images + std / 255 * draw


def most_parted(networks: Networks, images: Tensor, labels: Tensor, stds: Sequence[float]) -> int:
    """Return which image the last network reads rightly at more `stds` of noise than the first."""
    right = [
        sum((predict(model, noisy(images, std)).argmax(1) == labels).int() for std in stds)
        for model in networks.values()
    ]
    return int(torch.as_tensor(right[-1] - right[0]).argmax())


def without_dropout(model: nn.Module) -> nn.Sequential:
    """Return the same network for use alone, as the explorables take it."""
    return nn.Sequential(*[layer for layer in model.children() if not isinstance(layer, Dropout)])
