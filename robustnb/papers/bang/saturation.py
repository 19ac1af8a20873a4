"""Whether softmax saturates in float32, so that gradients of the cross-entropy vanish."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import averaged_gradient
from robustnb.checks import check_labels
from robustnb.metrics import margin
from robustnb.models import evaluating, predict

BATCH = 250


def certain(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return for each image (N,) whether the softmax of its label is exactly 1 in float32.

    Its cross-entropy is then exactly 0, and so are most of its gradients.
    """
    probabilities = F.softmax(predict(model, images, BATCH).float(), 1)
    check_labels(probabilities, labels)
    return probabilities.gather(1, labels.unsqueeze(1)).squeeze(1) == 1


def blank(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return for each image (N,) whether its gradient of the cross-entropy is 0 in every pixel."""
    batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    with evaluating(model):
        return torch.cat([~_gradient(model, *batch).flatten(1).any(1) for batch in batches])


def gradient_health(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Measure whether gradients of the cross-entropy can be trusted on these images.

    `zero_gradients` and `certain` are shares of the images (see `blank` and `certain`), 0 in a
    healthy network. `median_margin` is how far the label's logit lies above the largest other one:
    from 17 on, softmax rounds the label's probability to 1. `mean_label_logit` and
    `mean_largest_logit`, the mean over images of the largest |logit|, show the logits' scale.
    """
    logits = predict(model, images, BATCH)
    label_logits = logits.gather(1, labels.unsqueeze(1))
    return {
        "zero_gradients": blank(model, images, labels).float().mean().item(),
        "certain": certain(model, images, labels).float().mean().item(),
        "median_margin": -margin(logits, labels).median().item(),
        "mean_label_logit": label_logits.mean().item(),
        "mean_largest_logit": logits.abs().amax(1).mean().item(),
    }


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return averaged_gradient(model, images, labels, "cross-entropy", 1)
