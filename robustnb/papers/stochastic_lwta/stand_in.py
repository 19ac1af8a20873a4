"""Attacks that compute their gradients through a smooth stand-in for what a network does."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.common import Attack
from robustnb.defenses.lwta import Mode, winners_by


@dataclass(frozen=True)
class Through:
    """Make `attack` while every block masks by `mode`: what it finds is for the true network."""

    attack: Attack
    mode: Mode
    temperature: float

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return what the attack finds, of the shape of `images` (N, C, H, W)."""
        with winners_by(model, self.mode, self.temperature):
            return self.attack(model, images, labels, generator)
