"""What the chapter alone draws: blocks on small digits, a block's mask, gradients that agree."""

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
from robustnb.plots.canvas import BLUE, NARROW, VERMILION, add_legend, new_axes
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
    near = temperature * torch.linspace(-10, 10, 81) - 0.2  # where a draw's mask goes up
    values = torch.cat([torch.linspace(-3, 3, 121), near.clamp(-3, 3)]).sort().values
    drawn, mean = torch.sigmoid((values + 0.2) / temperature), torch.sigmoid(values)
    slope, gentle = drawn * (1 - drawn) / temperature, mean * (1 - mean)
    figure, (above, below) = new_axes(2, size=(NARROW, 4.6), sharex=True)
    for lines, axes in (((drawn, mean), above), ((slope, gentle), below)):
        for line, name, colour in zip(lines, ("one draw", "mean"), (VERMILION, BLUE), strict=True):
            axes.plot(values, line, color=colour, label=name if axes is above else None)
    above.set_ylabel("mask")
    below.set(ylabel="slope", xlabel="first value minus second", yscale="log", ylim=(1e-3, 100))
    add_legend(figure)
    alt = (
        f"A draw's slope is {slope.max().item():.2g} where the two are equal, and "
        f"{_slope_at(0.5, temperature):.2g} at a difference of 0.5; the mean mask's at most 0.25."
    )
    return Drawing(figure, alt)


def _slope_at(value: float, temperature: float) -> float:
    mask = torch.sigmoid(torch.tensor((value + 0.2) / temperature, dtype=torch.float64))
    return float(mask * (1 - mask) / temperature)


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
