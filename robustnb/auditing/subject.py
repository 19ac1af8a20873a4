"""What is audited: a network, the images it is judged on, and what it answers without attack."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustnb.attacks.common import Norm
from robustnb.attacks.gradient import in_ball, project
from robustnb.auditing import probes
from robustnb.auditing.efforts import PLAIN, RANDOM, Effort
from robustnb.auditing.network import Network, asked
from robustnb.auditing.outcome import COUNTED, right_answers
from robustnb.checks import check_labels
from robustnb.judging import attacker_draws


@dataclass(frozen=True)
class Subject:
    """A network with its images and labels, and what is known of it without an attack.

    `clean` are its right answers (D, N); `probes` (P,) are places of images that it reads rightly.
    """

    network: Network
    images: Tensor
    labels: Tensor
    eps: float
    norm: Norm
    effort: Effort
    batch_size: int
    seed: int
    classes: int
    clean: Tensor
    probes: Tensor

    @property
    def random(self) -> bool:
        """Tell whether its answers are drawn."""
        return self.effort.draws > 1

    @property
    def probed(self) -> tuple[Tensor, Tensor]:
        """Return the images of the probes, and their labels."""
        return self.images[self.probes], self.labels[self.probes]

    def near(self, images: Tensor) -> Tensor:
        """Return images at random places of the ball."""
        generator = attacker_draws(self.seed)
        offset = in_ball(images, self.eps, self.norm, generator)
        return project(images + offset, images, self.eps, self.norm)


def subject(
    network: Network,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: Norm,
    effort: str,
    batch_size: int,
    seed: int,
) -> Subject:
    """Ask a network without an attack, and find out whether it is random.

    Raises ValueError where its answers are no logits for the labels, or none is right.
    """
    few = images[:batch_size]
    classes = asked(network, few, COUNTED).shape[1]
    check_labels(images.new_zeros(len(labels), classes), labels)
    chosen = (RANDOM if probes.is_random(network, few) else PLAIN)[effort]
    clean = right_answers(network, images, labels, chosen.draws, batch_size, COUNTED)
    right = (clean.float().mean(0) > 0.5).nonzero().squeeze(1)
    if not len(right):
        raise ValueError(
            f"the network reads none of the {len(images)} images rightly, so that there is nothing "
            "to attack: see that labels and pixels are as in its training."
        )
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(0))
    places = right[order][: chosen.probes].to(images.device)
    return Subject(
        network, images, labels, eps, norm, chosen, batch_size, seed, classes, clean, places
    )
