"""What a certificate is asked: a network cut into layers, and images with eps, all in float64."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.common import check_eps
from robustnb.certificates.boxes import Box, pixels_within
from robustnb.certificates.layers import layers_of
from robustnb.checks import check_images, check_labels, logits_of
from robustnb.models import copied


@dataclass(frozen=True)
class Problem:
    """Hold the layers of a network and the box (N, ...) of its images, in float64."""

    layers: list[nn.Module]
    box: Box


@contextmanager
def posed(
    model: nn.Module,
    images: Tensor,
    eps: float,
    accepted: Sequence[type[nn.Module]],
    labels: Tensor | None = None,
) -> Iterator[Problem]:
    """Pose the problem of a network around images (N, ...), without gradients inside the block.

    Raises ValueError for images, labels (N,), `eps` or a network that no bound can be given for.
    """
    check_images(images, labels)
    check_eps(eps)
    if not layers_of(model, accepted):
        raise ValueError("the network has no layer: it takes at least one.")
    with torch.inference_mode(False), torch.no_grad():
        network = copied(model).double()
        centres = images.detach().to(torch.float64, copy=True)
        logits = logits_of(network, centres.clamp(0, 1))
        if labels is not None:
            check_labels(logits, labels)
        yield Problem(layers_of(network, accepted), pixels_within(centres, eps))
