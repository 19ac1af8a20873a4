"""Figures and tables of the chapter on learned noise: of its networks, and of rows."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb import plots, tables
from robustnb.attacks.gradient import FGSM
from robustnb.corruptions import CORRUPTIONS, Constants, corrupt
from robustnb.defenses.noise import GaussianNoise, noise_layers
from robustnb.drawing import Drawing
from robustnb.models import predict
from robustnb.papers.noise_optimization.own_tables import CLAMPED, WORST
from robustnb.randomness import noise_from, seeded
from robustnb.results import published
from robustnb.saliency import smooth_grad
from robustnb.stored import Stored
from robustnb.tables import Table


def one_draw(model: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the logits (N, classes) of a pass in which all images have the same noise.

    A draw of the noise of each `noisy_linear` is moved to its biases.
    """
    still = copy.deepcopy(model)
    for layer in (child for child in still.children() if isinstance(child, nn.Sequential)):
        linear, noise = layer
        assert isinstance(linear, nn.Linear)
        assert isinstance(noise, GaussianNoise)
        epsilon = torch.randn(noise.sigma.shape, generator=generator)
        linear.bias.data += noise.sigma * epsilon
        noise.sigma.data.zero_()
    return predict(still, images)


def level_maps(networks: Mapping[str, nn.Module]) -> Drawing:
    """Draw the level of each neuron, a square for each and a map for each layer, on one scale.

    The number of neurons of a layer must be 10 or a multiple of it.
    """
    sigmas = {
        name: [layer.sigma.detach() for layer in noise_layers(model)]
        for name, model in networks.items()
    }
    return plots.images(
        [[s.view(-1, 5 if len(s) == 10 else 10) for s in row] for row in sigmas.values()],
        [
            [f"{name.split()[1]} {k}\n{s.min():.2f} – {s.max():.2f}" for k, s in enumerate(row, 1)]
            for name, row in sigmas.items()
        ],
        maps=len(sigmas),
        limit=max(level.max().item() for row in sigmas.values() for level in row),
        scale="level σ",
    )


def median_gradients(model: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Return the median size of the gradient in a level, from the first noise layer to the last."""
    with noise_from(model, seeded(0, images.device)):
        F.cross_entropy(model(images), labels).backward()
    gradients = (layer.sigma.grad for layer in noise_layers(model))
    return [each.abs().median().item() for each in gradients if each is not None]


def answers_under_attack(
    networks: Mapping[str, nn.Module],
    image: Tensor,
    label: Tensor,
    classes: Sequence[str],
    eps: float,
    times: float,
) -> Drawing:
    """Draw what networks answer to an image (1, C, H, W) that FGSM moved on each of them.

    Their noise is multiplied by `times`, an answer is the mean of 50 passes, and the image is the
    one that was moved on the first network.
    """
    found = {
        name: answer_under_attack(model, image, label, eps, times)
        for name, model in networks.items()
    }
    (picture, _), *_ = found.values()
    answers = {name: answer for name, (_, answer) in found.items()}
    return plots.answers(picture, answers, classes, classes[int(label)])


def answer_under_attack(
    model: nn.Module, image: Tensor, label: Tensor, eps: float, times: float
) -> tuple[Tensor, Tensor]:
    """Return an image (C, H, W) that FGSM moved, and the mean answer (classes) of 50 passes.

    The noise of `model` is multiplied by `times` for both.
    """
    scaled = times_noise(model, times)
    attacked = FGSM(eps)(scaled, image, label, seeded(1, image.device))
    with noise_from(scaled, seeded(0, image.device)):
        passes = [predict(scaled, attacked).softmax(1) for _ in range(50)]
    return attacked[0], torch.stack(passes).mean(0)[0]


def times_noise(model: nn.Module, times: float) -> nn.Module:
    """Return a copy of a network whose noise levels are multiplied."""
    scaled = copy.deepcopy(model)
    for layer in noise_layers(scaled):
        layer.sigma.data *= times
    return scaled


def corruptions(image: Tensor, constants: Constants) -> Drawing:
    """Draw each corruption of an image (1, C, H, W) at its five severities."""
    severities = range(1, 6)
    return plots.images(
        [
            [corrupt(n, image, s, seeded(0, image.device), constants)[0] for s in severities]
            for n in CORRUPTIONS
        ],
        [[f"{n}\n{s}" if s == 1 else f"{s}" for s in severities] for n in CORRUPTIONS],
    )


def saliency(networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor) -> Drawing:
    """Draw images, and below them where each network looks (eq. 8)."""
    maps = {
        name: smooth_grad(model, images, labels, generator=seeded(0, images.device))
        for name, model in networks.items()
    }
    words = [[name.replace(" ", "\n")] * len(images) for name in maps]
    return plots.images(
        [list(images), *map(list, maps.values())],
        [[f"{label.item()}" for label in labels], *words],
        maps=len(maps),
        scale="squared gradient, averaged",
    )


# Figures and tables of rows.


def levels_by_epoch(stored: Stored, name: str) -> Drawing:
    """Draw the mean |sigma| of each of three layers over the epochs."""
    profile = stored.row("sigma", f"{name}, layer 1", "epoch 0")["profile"]
    return stored.curve(
        *("sigma", f"Mean noise level, {name}", "epoch", "mean |σ|"),
        lines={f"layer {k} ({profile})": f"{name}, layer {k}" for k in (1, 2, 3)},
        over="column",
        unit="",
        most=10,
    )


def losses_by_epoch(stored: Stored) -> Drawing:
    """Draw the training loss of the three ReLU networks over the epochs (Figure 3)."""
    profile = stored.row("convergence", "MLP ReLU", "epoch 1")["profile"]
    names = [f"{network} ReLU" for network in ("MLP", "MLP+", "MLPN")]
    return stored.curve(
        "convergence",
        "Training loss of the ReLU networks",
        *("epoch", "training loss (nats)"),
        lines={f"{name} ({profile})": name for name in names},
        over="column",
        unit=" nats",
        most=10,
    )


def last_levels(stored: Stored) -> Table:
    """Show the quietest and the loudest layer of each network after training."""
    networks: dict[str, dict[str, float]] = {}
    for row in stored.rows("sigma"):  # the last epoch comes last
        name, _, layer = row["row"].partition(", ")
        networks.setdefault(f"{name}, profile {row['profile']}", {})[layer] = row["value"]
    levels = {
        (name, column): f"{pick(found.values()):.3f}"
        for name, found in networks.items()
        for column, pick in (("quietest layer", min), ("loudest", max))
    }
    return tables.text_table(levels, "Mean |σ| of a layer after training, from 1")


def worst_cases(stored: Stored) -> Table:
    """Show the accuracy at the worst of all attacks, and its 95% interval over images."""
    ends = {}
    for row in stored.rows("worst case"):
        if row["column"] == WORST:
            name = f"{row['row']} ({row['profile']})"
            low, high = stored.interval("worst case", row["row"], WORST)
            ends[name, "worst of four"] = f"{row['value']:.3f}"
            ends[name, "95% interval"] = f"{low:.3f} to {high:.3f}"
    title = "Accuracy at the worst of all four, per image, and its interval over images"
    return tables.text_table(ends, title)


def trained_and_used_with_noise(stored: Stored) -> Table:
    """Show what training with noise does to perceptrons, and what the noise does when it is on."""
    told = {}
    for kind in ("ReLU", "Sigmoid"):
        for name in (f"MLP+ {kind}", f"MLPN {kind}"):
            told[name, "never any noise"] = _three(stored, "3", f"MLP {kind}")
            told[name, "trained with noise, off"] = _three(stored, "noise off", name)
            told[name, "trained with noise, on"] = _three(stored, "3", name)
    return tables.text_table(told, "Accuracy on clean images / under FGSM / under PGD")


def _three(stored: Stored, table: str, name: str) -> str:
    columns = "clean", "white-box FGSM", "white-box PGD"
    return " / ".join(f"{stored.value(table, name, column):.3f}" for column in columns)


Pairs = dict[tuple[str, str], tuple[float, float]]


def by_source(stored: Stored) -> Pairs:
    """Pair accuracies under transferred attacks, by network and column, of the same profile.

    The first of a pair has the source that shares its targets' seed, the second another.
    """
    printed = stored.rows(
        *dict.fromkeys(cell["table"] for cell in published(stored.paper, folder=stored.folder))
    )
    same = {(row["row"], row["column"], row["profile"]): row["value"] for row in printed}
    return {
        (row["row"], row["column"]): (same[place], row["value"])
        for row in stored.rows("another seed")
        if (place := (row["row"], row["column"], row["profile"])) in same
    }


def sources(pairs: Pairs) -> Table:
    """Show accuracies under transferred attacks with both sources."""
    told = {
        (name, f"{column}, {seed}"): f"{value:.3f}"
        for (name, column), pair in pairs.items()
        for seed, value in zip(("its targets' seed", "its own"), pair, strict=True)
    }
    return tables.text_table(told, "Accuracy, by the seed of the attacker's network")


def as_coded(stored: Stored) -> Table:
    """Show what perceptrons score that are trained or measured as the published code does it."""
    rows = [row for row in stored.rows("published code") if CLAMPED not in row["row"]]
    named = [row | {"row": f"{row['row']} ({row['profile']})"} for row in rows]
    return tables.measured_table(named, "published code", "Accuracy by what the code does")


def with_and_without_clamp(stored: Stored) -> Table:
    """Show accuracies on CIFAR-10 without the clamp of the published code and with it."""
    rows = stored.rows("5", "published code")
    found = {(row["row"], row["column"]): row["value"] for row in rows}
    told = {
        (name, column + how): f"{found[name + which, column]:.3f}"
        for name in dict.fromkeys(row["row"] for row in stored.rows("5"))
        for column in ("clean", "white-box FGSM")
        for how, which in (("", ""), (", clamped", CLAMPED))
        if (name + which, column) in found
    }
    return tables.text_table(told, "Accuracy without and with the clamp")
