"""What each departure of the published code from the paper is worth (Xiao, Zhang & Peng 2021)."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import averaged_gradient
from robustnb.checkpoint import History
from robustnb.defenses.noise import GaussianNoise
from robustnb.experiments.noise_optimization_pieces import (
    BATCH,
    NOISE_OFF,
    Shares,
    Study,
    asked,
    defender,
    first_test_images,
    in_batches,
)
from robustnb.experiments.noise_optimization_training import (
    DEVICE,
    Trained,
    Training,
    images_of,
    new_network,
    optimizer_for,
    share,
    train_network,
)
from robustnb.experiments.pieces import Piece, result
from robustnb.models import evaluating
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.training import fit

LEARNED, PLAIN = "MLPN Sigmoid", "MLP Sigmoid"
UNSIGNED = f"{LEARNED}, sigma gradient without its sign"
SIGNED = f"{LEARNED}, sigma gradient with its sign"
CODED = f"{LEARNED}, as coded: unit noise, in training alone"
STOPPED = ", stopped on test accuracy"
ENOUGH, MOST_EPOCHS = 0.97, 10  # of the test set, at which the code stops, and its last epoch
AS_PRINTED = (PLAIN, LEARNED)
CLAMPED = ", normalised and clamped"
CHANGE = "mean change of a pixel"
UNITS = {CHANGE: "pixels of 0 to 1"}
# Means and standard deviations of CIFAR-10's channels, by which the code normalises.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class CodedNoise(GaussianNoise):
    """Noise of |sigma|, for sigma of either sign as the code starts it.

    Without `signed` the gradient lacks the factor sign(sigma), as in the code: where sigma is
    negative it then points uphill.
    """

    def __init__(self, *shape: int, signed: bool) -> None:
        super().__init__(*shape)
        nn.init.normal_(self.sigma)
        self.signed = signed

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *shape) to (N, *shape)."""
        epsilon = torch.randn(x.shape, generator=self.generator, device=x.device, dtype=x.dtype)
        level = self.sigma.abs()
        if not self.signed:
            level = self.sigma + (level - self.sigma).detach()
        return x + level * epsilon


def train_signs(training: Training, signed: bool, seed: int) -> Trained:
    """Train with one Adam for all, whose weight decay reaches sigma, as in the code."""
    model = new_network(training, LEARNED, seed)
    with initial_weights(seed):
        replace_noise(model, partial(CodedNoise, signed=signed))
    optimizer = torch.optim.Adam(
        model.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )
    return train_network(training, model, optimizer, seed)


def replace_noise(model: nn.Module, make: Callable[..., GaussianNoise]) -> None:
    """Put `make(*shape)` in the place of each noise layer."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, GaussianNoise):
                setattr(parent, name, make(*child.sigma.shape))


def train_until_enough(training: Training, name: str, seed: int) -> Trained:
    """Train epoch by epoch until the *test* set is read well enough, as the code does."""
    started, model = time.perf_counter(), new_network(training, name, seed).to(DEVICE)
    history: History = []
    optimizer, generator = optimizer_for(training, model), seeded(seed, DEVICE)
    images = images_of(training.dataset, "train", training.num_images)
    test = images_of(training.dataset, "test")
    while len(history) < MOST_EPOCHS:
        history += fit(
            *(model, images, test),
            optimizer=optimizer,
            batch_size=training.batch_size,
            epochs=1,
            keep="last",
            generator=generator,
            progress=False,
        )
        if history[-1]["validation_accuracy"] > ENOUGH:
            break
    return Trained(model.cpu(), history, [], time.perf_counter() - started)


def trained_pieces(study: Study, seed: int) -> Iterator[Piece]:
    """Return what is trained as the published code does it."""
    if LEARNED in study.names:
        yield from _variants(study, seed).values()


def pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name the measurements: of variants of the MNIST networks, or of clamped CIFAR-10 images."""
    if LEARNED in study.names:
        rows = (*AS_PRINTED, CODED, *_variants(study, seed))
        return {row: Piece(evaluate, (study, row, seed)) for row in rows}
    if study.table == "5":
        return {f"{name}{CLAMPED}": Piece(clamp, (study, name, seed)) for name in study.names}
    return {}


def _variants(study: Study, seed: int) -> dict[str, Piece]:
    signs = {UNSIGNED: False, SIGNED: True}
    learned = {row: Piece(train_signs, (study.training, s, seed)) for row, s in signs.items()}
    return learned | {
        f"{name}{STOPPED}": Piece(train_until_enough, (study.training, name, seed))
        for name in AS_PRINTED
    }


def evaluate(study: Study, row: str, seed: int) -> Shares:
    """Measure a network on clean images and under the white-box attacks that are cheap."""
    started, model = time.perf_counter(), _network(study, row, seed)
    split = first_test_images(study)
    found = {"clean": split} | {
        column: in_batches(study.attacks[column], model, split, seed)
        for column in ("white-box FGSM", "white-box PGD")
    }
    shares = {c: share(model, images, study.draws, defender(seed)) for c, images in found.items()}
    return Shares(shares, time.perf_counter() - started)


def _network(study: Study, row: str, seed: int) -> nn.Module:
    if row == CODED:
        return asked(study, f"MLP+ Sigmoid{NOISE_OFF}", seed)
    variants = _variants(study, seed)
    if row in variants:
        model: nn.Module = result(variants[row]).model
        return model.to(DEVICE).eval()
    return asked(study, row, seed)


def clamp(study: Study, name: str, seed: int) -> Shares:
    """Measure a network on images that are normalised, attacked there, and clamped to [0, 1]."""
    started, model = time.perf_counter(), asked(study, name, seed)
    images, labels = first_test_images(study)
    mean, std = (torch.tensor(values, device=DEVICE).view(1, 3, 1, 1) for values in (MEAN, STD))
    normalised, unscaled = (images - mean) / std, nn.Sequential(_Affine(std, mean), model)
    with evaluating(model), noise_from(model, seeded(1_000 + seed, DEVICE)):
        gradients = [
            averaged_gradient(unscaled, *batch, "cross-entropy", 1)
            for batch in zip(normalised.split(BATCH), labels.split(BATCH), strict=True)
        ]
    attacked = normalised + study.fgsm.eps * torch.cat(gradients).sign()
    pictures = {"clean": normalised, "white-box FGSM": attacked}
    seen = {column: z.clamp(0, 1) * std + mean for column, z in pictures.items()}
    shares = {c: share(model, (x, labels), study.draws, defender(seed)) for c, x in seen.items()}
    change = (seen["clean"] - images).abs().mean().item()
    return Shares(shares | {CHANGE: change}, time.perf_counter() - started)


class _Affine(nn.Module):
    """Multiply and add: images out of normalised ones."""

    def __init__(self, factor: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x + self.offset


def settings(study: Study, row: str) -> dict[str, Any]:
    """Return what a row depends on beside the training of its study."""
    draws = {"draws": study.draws}
    if row in (UNSIGNED, SIGNED):
        return draws | {"sigma_init": "N(0, 1)", "optimizer": "Adam for weights and sigma"}
    if row.endswith(STOPPED):
        return draws | {"stop above": ENOUGH, "epochs at most": MOST_EPOCHS}
    return draws | ({"mean": MEAN, "std": STD} if row.endswith(CLAMPED) else {})
