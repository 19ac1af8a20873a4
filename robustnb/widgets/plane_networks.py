"""The networks that the playground trains in the page, as torch builds and trains them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from robustnb.attacks.gradient import PGD
from robustnb.defenses import bayesian, lwta
from robustnb.defenses.adversarial_training import Adversarial
from robustnb.defenses.bang import BANG
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.defenses.noise import noisy_linear, with_noise_levels
from robustnb.defenses.pni import PNILinear
from robustnb.models import Layer
from robustnb.training import Loss, RegularizedCrossEntropy, cross_entropy

HALF = 2.0  # the plane goes from -2 to 2 on both sides
WIDTHS = (2, 32, 32, 2)
PGD_STEPS = 5

# What the defences take: see their classes in robustnb.defenses.
SETTINGS: dict[str, float] = {
    "lr": 0.01,
    "l2": 0.01,
    "sigma": 0.5,
    "rho_init": -2.5,
    "complexity_weight": 1e-3,
    "bang_eps": 0.815,
    "units": 2,
    "temperature": 0.67,
    "winner_weight": 0.0,
    "alpha_init": 0.25,
}


class Plane(nn.Module):
    """Spread the unit square over the plane, so that attacks see images in [0, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 1, 1, 2) in [0, 1] to points (N, 2)."""
        return 2 * HALF * images.flatten(1) - HALF


class Defended(NamedTuple):
    """Hold a network for points, its loss, and what makes its optimizer."""

    model: nn.Sequential
    loss: Loss
    optimizer: Callable[[nn.Module], Optimizer]


def _linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


@dataclass(frozen=True)
class _Parts:
    layer: Layer = _linear
    hidden: Callable[[], nn.Module] = nn.ReLU
    loss: Loss = cross_entropy
    learns_noise: bool = False


def defended(
    defence: str,
    eps: float,
    norm: Any = "linf",
    widths: tuple[int, ...] = WIDTHS,
    settings: Mapping[str, float] = SETTINGS,
) -> Defended:
    """Build in torch what the page trains for one of DEFENCES.

    The network takes points as images (N, 1, 1, 2) in [0, 1], which stand for the plane; `eps` is
    in units of the plane.
    """
    parts = DEFENCES[defence](eps / (2 * HALF), norm, settings)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [parts.layer(inputs, outputs), parts.hidden()]
    adam = partial(torch.optim.Adam, lr=settings["lr"])

    def optimizer(model: nn.Module) -> Optimizer:
        if parts.learns_noise:
            return with_noise_levels(model, adam, lr=settings["lr"])
        return adam(model.parameters())

    return Defended(nn.Sequential(Plane(), *layers[:-1]), parts.loss, optimizer)


def _noisy(eps: float, norm: Any, settings: Mapping[str, float], trainable: bool) -> _Parts:
    layer = partial(noisy_linear, sigma_init=settings["sigma"], trainable=trainable)
    return _Parts(layer, learns_noise=trainable)


def _bayesian(eps: float, norm: Any, settings: Mapping[str, float]) -> _Parts:
    loss = bayesian.NegativeELBO(1, "mean", settings["complexity_weight"])
    return _Parts(partial(BayesianLinear, rho_init=settings["rho_init"]), loss=loss)


def _competing(eps: float, norm: Any, settings: Mapping[str, float]) -> _Parts:
    units, temperature = int(settings["units"]), settings["temperature"]
    hidden = partial(WinnerTakesAll, units, "straight-through", temperature)
    return _Parts(hidden=hidden, loss=lwta.NegativeELBO(1, settings["winner_weight"]))


def _pgd(eps: float, norm: Any, settings: Mapping[str, float]) -> _Parts:
    return _Parts(loss=Adversarial(PGD(eps, 2 * eps / PGD_STEPS, PGD_STEPS, norm=norm)))


def _fgsm(eps: float, norm: Any, settings: Mapping[str, float]) -> _Parts:
    # One step of PGD, since FGSM knows no discs.
    return _Parts(loss=Adversarial(PGD(eps, eps, 1, random_start=False, norm=norm)))


DEFENCES: dict[str, Callable[[float, Any, Mapping[str, float]], _Parts]] = {
    "plain": lambda eps, norm, settings: _Parts(),
    "L2": lambda eps, norm, settings: _Parts(loss=RegularizedCrossEntropy(settings["l2"])),
    "fixed noise": partial(_noisy, trainable=False),
    "learned noise": partial(_noisy, trainable=True),
    "Bayesian weights": _bayesian,
    "BANG": lambda eps, norm, settings: _Parts(loss=BANG(settings["bang_eps"])),
    "winner takes all": _competing,
    "PNI": lambda eps, norm, settings: _Parts(
        partial(PNILinear, alpha_init=settings["alpha_init"])
    ),
    "FGSM training": _fgsm,
    "PGD training": _pgd,
}
