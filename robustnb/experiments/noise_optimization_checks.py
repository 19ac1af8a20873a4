"""What Xiao, Zhang & Peng (2021) leave out: theorems as numbers, costs, stronger attackers."""

import time
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.black_box import Square, Transfer
from robustnb.attacks.gradient import PGD
from robustnb.defenses.noise import noise_layers
from robustnb.experiments.noise_optimization_pieces import (
    Shares,
    Study,
    asked,
    defender,
    first_test_images,
    in_batches,
    plain_of,
)
from robustnb.experiments.noise_optimization_training import (
    DEVICE,
    TOGETHER,
    images_of,
    is_noisy,
    new_network,
    optimizer_for,
)
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded
from robustnb.saliency import area_under, deletion_curve, insertion_curve, smooth_grad
from robustnb.training import Split, cross_entropy

ELSEWHERE = "PGD on another network"
WORST = "worst case"


# Attackers who know the noise.


@dataclass(frozen=True)
class Spared:
    """How often each image is read rightly after an attack, over draws of the noise."""

    right: Tensor
    seconds: float


def strong_attacks(study: Study) -> dict[str, PGD | Square]:
    """Name the attacks that are made on the network itself, in the ball of the paper's PGD.

    They take four times its steps, from random starts, with gradients averaged over the noise.
    """
    eps, steps, samples = study.pgd.eps, 4 * study.pgd.steps, study.eot_samples
    long = PGD(eps, 2.5 * eps / steps, steps, eot_samples=samples)
    return {
        "PGD, cross-entropy": long,
        "PGD, margin": replace(long, loss="margin", restarts=3),
        "Square": Square(eps, study.queries, eot_samples=samples),
    }


def attack_hard(study: Study, name: str, attack_name: str, seed: int) -> Spared:
    """Attack a network and ask it, with draws that the attacker does not have."""
    started, model = time.perf_counter(), asked(study, name, seed)
    images, labels = first_test_images(study, study.num_worst)
    found, _ = in_batches(_strong(study, model, attack_name, seed), model, (images, labels), seed)
    with noise_from(model, defender(seed)):
        passes = range(study.draws if is_noisy(model) else 1)
        answers = [predict(model, found, TOGETHER).argmax(1) == labels for _ in passes]
    right = torch.stack(answers).float().mean(0).cpu()
    return Spared(right, time.perf_counter() - started)


def _strong(study: Study, model: nn.Module, name: str, seed: int) -> PGD | Square | Transfer:
    attacks = strong_attacks(study)
    if name == ELSEWHERE:
        long = next(iter(attacks.values()))
        return Transfer(asked(study, study.surrogate, seed), replace(long, eot_samples=1))
    return attacks[name] if is_noisy(model) else replace(attacks[name], eot_samples=1)


def settings(study: Study, attack: str) -> dict[str, Any]:
    """Return the fields of an attack, or of all of them for the worst case."""
    attacks = strong_attacks(study)
    made = attacks | {ELSEWHERE: replace(next(iter(attacks.values())), eot_samples=1)}
    fields = {name: asdict(made[name]) for name in made if attack in (name, WORST)}
    return {"attacks": fields, "source": study.surrogate}


# The two theorems.


@dataclass(frozen=True)
class Errors:
    """How far delta times epsilon is from other ways to compute the gradient in sigma."""

    autograd: float
    differences: float
    z_score: float
    seconds: float


def theorems(study: Study, name: str, seed: int) -> Errors:
    """Compare delta times epsilon, in float64, with what Theorems 1 and 2 say it is."""
    started, model = time.perf_counter(), asked(study, name, seed).double()
    images, labels = first_test_images(study, 64)
    split = images.double(), labels
    exact = [each.sum(0) for each in pathwise(model, split, seed)]
    sigmas = [layer.sigma for layer in noise_layers(model)]
    gradients = torch.autograd.grad(_losses(model, split, seed).sum(), sigmas)
    slopes = [_slope(model, k, _place(exact[k]), split, seed, 1e-6).sum() for k in _indices(model)]
    steepest = [gradient.flatten()[_place(gradient)] for gradient in exact]
    return Errors(
        max(map(_relative, exact, gradients)),
        max(map(_relative, steepest, slopes)),
        max(abs(_z_score(model, k, _place(exact[k]), split, study)) for k in _indices(model)),
        time.perf_counter() - started,
    )


def pathwise(model: nn.Module, split: Split, seed: int) -> list[Tensor]:
    """Return delta times epsilon (Theorem 1) for each noise layer and example (N, ...).

    delta is the gradient of the loss in the pre-activation, and epsilon is what the layer has added
    to it, over sigma.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append((inputs[0].detach(), output))

    layers = noise_layers(model)
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    loss = _losses(model, split, seed).sum()
    for hook in hooks:
        hook.remove()
    deltas = torch.autograd.grad(loss, [output for _, output in seen])
    return [
        delta * (output.detach() - before) / layer.sigma.detach()
        for layer, delta, (before, output) in zip(layers, deltas, seen, strict=True)
    ]


def _losses(model: nn.Module, split: Split, seed: int) -> Tensor:
    """Return the loss of each example, with noise that is the same at each call."""
    images, labels = split
    with noise_from(model, seeded(seed, DEVICE)):
        return F.cross_entropy(model(images), labels, reduction="none")


@torch.no_grad()
def _slope(
    model: nn.Module, layer: int, place: int, split: Split, seed: int, step: float
) -> Tensor:
    """Return the central difference (N,) of each example's loss in one sigma."""
    sigma = noise_layers(model)[layer].sigma.view(-1)
    around = []
    for move in (step, -2 * step, step):
        sigma[place] += move
        around.append(_losses(model, split, seed))
    return (around[0] - around[1]) / (2 * step)


def _z_score(model: nn.Module, layer: int, place: int, split: Split, study: Study) -> float:
    """Compare the mean gradient of one image with the slope of its mean loss (Theorem 2).

    The two sides of the slope share their noise; the gradient has other draws. The image is the one
    with the largest loss: that of a clear image is made of rare draws, which no sample shows well.
    """
    hardest = _place(_losses(model, split, seed=1))
    images, labels = (part[hardest : hardest + 1] for part in split)
    many = images.expand(study.copies, *images.shape[1:]), labels.expand(study.copies)
    gradients = pathwise(model, many, seed=1)[layer].flatten(1)[:, place]
    slopes = _slope(model, layer, place, many, seed=2, step=0.02)
    error = ((gradients.var() + slopes.var()) / study.copies).sqrt()
    return ((gradients.mean() - slopes.mean()) / error).item()


def _place(gradient: Tensor) -> int:
    return int(gradient.abs().argmax())


def _indices(model: nn.Module) -> range:
    return range(len(noise_layers(model)))


def _relative(one: Tensor, other: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return ((one - other).abs().max() / other.abs().max()).item()


# What noise costs, and what it does to saliency maps.


def step_cost(study: Study, name: str, seed: int) -> Shares:
    """Time steps of training, in turn with those of the same network without noise."""
    started = time.perf_counter()
    images, labels = images_of(study.training.dataset, "train", study.training.batch_size)
    steps = [_Step(study, each, images, labels, seed) for each in (plain_of(name), name)]
    for step in steps:
        step()  # the first is slower than the others
    times = [[step() for step in steps] for _ in range(study.timed)]
    plain, noisy = (median(column) for column in zip(*times, strict=True))
    return Shares({name: noisy / plain}, time.perf_counter() - started)


class _Step:
    """A training step that says how many seconds it took."""

    def __init__(self, study: Study, name: str, images: Tensor, labels: Tensor, seed: int) -> None:
        self.model = new_network(study.training, name, seed).to(DEVICE).train()
        self.optimizer = optimizer_for(study.training, self.model)
        self.images, self.labels = images, labels

    def __call__(self) -> float:
        started = _clock()
        self.optimizer.zero_grad()
        cross_entropy(self.model, self.images, self.labels).backward()
        self.optimizer.step()
        return _clock() - started


def _clock() -> float:
    """Return seconds: of this process on a CPU, so that others on the machine do not count."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def saliency(study: Study, name: str, seed: int) -> Shares:
    """Return the areas under the deletion and insertion curves of a network's maps (eq. 8).

    The curves are of the label's mean probability over that of the whole images: else a network
    that is unsure of every image would have the smaller areas for that alone.
    """
    started, model = time.perf_counter(), asked(study, name, seed)
    split = first_test_images(study, study.num_worst)
    maps = smooth_grad(model, *split, generator=defender(seed))
    deletion = deletion_curve(model, *split, maps, generator=defender(seed)).mean(0)
    insertion = insertion_curve(model, *split, maps, generator=defender(seed)).mean(0)
    curves = torch.stack([deletion / deletion[0], insertion / insertion[-1]])
    areas = dict(zip(("deletion area", "insertion area"), area_under(curves).tolist(), strict=True))
    return Shares(areas, time.perf_counter() - started)
