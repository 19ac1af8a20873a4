"""The two theorems of Xiao, Zhang & Peng (2021) as numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.defenses.noise import noise_layers
from robustnb.devices import device
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization.measuring import used
from robustnb.papers.noise_optimization.training import Trained
from robustnb.randomness import noise_from, seeded
from robustnb.training import Split


@dataclass(frozen=True)
class Errors:
    """How far delta times epsilon is from other ways to compute the gradient in sigma."""

    autograd: float
    differences: float
    z_score: float


def compare_gradients(trained: Trained, images: Images, copies: int, seed: int) -> Errors:
    """Compare delta times epsilon, in float64, with what Theorems 1 and 2 say it is.

    Theorem 2 is tried on `copies` of one image.
    """
    model, (pictures, labels) = used(trained).double(), images.load()
    split = pictures.double(), labels
    exact = [each.sum(0) for each in pathwise(model, split, seed)]
    sigmas = [layer.sigma for layer in noise_layers(model)]
    gradients = torch.autograd.grad(_losses(model, split, seed).sum(), sigmas)
    places = [_steepest(each) for each in exact]
    slopes = [_slope(model, k, place, split, seed, 1e-6).sum() for k, place in enumerate(places)]
    steepest = [each.flatten()[place] for each, place in zip(exact, places, strict=True)]
    z_scores = [_z_score(model, k, place, split, copies) for k, place in enumerate(places)]
    return Errors(
        max(map(_relative, exact, gradients)),
        max(map(_relative, steepest, slopes)),
        max(map(abs, z_scores)),
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
    with noise_from(model, seeded(seed, device())):
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


def _z_score(model: nn.Module, layer: int, place: int, split: Split, copies: int) -> float:
    """Compare the mean gradient of one image with the slope of its mean loss (Theorem 2).

    The two sides of the slope share their noise; the gradient has other draws. The image is the one
    with the largest loss: that of a clear image is made of rare draws, which no sample shows well.
    """
    hardest = _steepest(_losses(model, split, seed=1))
    images, labels = (part[hardest : hardest + 1] for part in split)
    many = images.expand(copies, *images.shape[1:]), labels.expand(copies)
    gradients = pathwise(model, many, seed=1)[layer].flatten(1)[:, place]
    slopes = _slope(model, layer, place, many, seed=2, step=0.02)
    error = ((gradients.var() + slopes.var()) / copies).sqrt()
    return ((gradients.mean() - slopes.mean()) / error).item()


def _steepest(values: Tensor) -> int:
    """Return the flat index of the value farthest from 0."""
    return int(values.abs().argmax())


def _relative(one: Tensor, other: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return ((one - other).abs().max() / other.abs().max()).item()
