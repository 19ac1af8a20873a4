"""What the chapter alone draws: blocks on small digits, a block's mask, gradients that agree."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb import plots
from robustnb.attacks.gradient import averaged_gradient
from robustnb.data import load
from robustnb.defenses.lwta import Mode, WinnerTakesAll, winners_by
from robustnb.drawing import Drawing
from robustnb.models import evaluating
from robustnb.papers.stochastic_lwta.training import COLD, HOT, SPLITS
from robustnb.plots.lines import Series
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.training import Split, fit


def small_digits(which: str, number: int) -> Split:
    """Return the first digits of a split of mnist-5k, shrunk to 14×14, with their labels."""
    images, labels = load("mnist-5k", SPLITS).split(which, number)
    return F.adaptive_avg_pool2d(images, 14), labels


def trained_on_digits(units: int) -> nn.Sequential:
    """Train a small network for `small_digits` whose neurons compete in blocks of `units`."""
    with initial_weights(seed=0):
        hidden = (
            nn.Linear(14 * 14, 64),
            WinnerTakesAll(units),
            nn.Linear(64, 64),
            WinnerTakesAll(units),
        )
        model = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))
    fit(
        *(model, small_digits("train", 4_000), small_digits("test", 100)),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=8,
        patience=None,
        progress=False,
    )
    return model


def mask_of_a_block(temperature: float) -> Drawing:
    """Draw the mask of the first of two neurons and its slope over the difference of their values.

    One draw favours the first by 0.2; beside it is the mean over draws.
    """
    values = torch.arange(-3, 3.1, 0.5)
    drawn, mean = torch.sigmoid((values + 0.2) / temperature), torch.sigmoid(values)
    slope = drawn * (1 - drawn) / temperature
    lines = {
        "mask, one draw": drawn,
        "its slope": slope,
        "mean mask": mean,
        "slope of the mean": mean * (1 - mean),
    }
    found = plots.curves(
        *("A block's mask", [f"{value:g}" for value in values.tolist()]),
        {name: [(value, None) for value in line.tolist()] for name, line in lines.items()},
        *("first value minus second", "mask, slope"),
        unit="",
    )
    alt = (
        f"At the places drawn, a draw's slope is at most {slope.max().item():.2g}, "
        "that of the mean mask 0.25."
    )
    return replace(found, alt=alt)


def agreement(model: nn.Module, images: Tensor, labels: Tensor) -> Drawing:
    """Draw how far gradients of relaxed masks, averaged over draws, go along the mean mask's."""
    numbers = (1, 3, 10, 30)
    smooth = gradient(model, images, labels, "mean", HOT, 1)
    lines: dict[str, Series] = {}
    for temperature in (COLD, HOT):
        drawn = (gradient(model, images, labels, "relaxed", temperature, k) for k in numbers)
        cosines = (F.cosine_similarity(smooth, each).mean().item() for each in drawn)
        lines[f"temperature {temperature}"] = [(cosine, None) for cosine in cosines]
    return plots.curves(
        *("Cosine with the gradient of the mean mask", [f"{k}" for k in numbers], lines),
        *("draws averaged", "cosine"),
        unit="",
    )


def gradient(
    model: nn.Module, images: Tensor, labels: Tensor, mode: Mode, temperature: float, samples: int
) -> Tensor:
    """Return the input gradient (N, pixels) of the loss through masks by `mode`."""
    masked, noise = winners_by(model, mode, temperature), noise_from(model, seeded(0))
    with evaluating(model), masked, noise:
        found = averaged_gradient(model, images, labels, "cross-entropy", samples)
    return found.flatten(1)
