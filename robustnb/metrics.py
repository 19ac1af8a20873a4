"""What is measured of a network's answers. Shares are from 0 to 1; tables show percent."""

import math

import torch
from torch import Tensor

from robustnb.checks import check_labels, check_logits


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit (..., N, classes) is the label's (N,).

    Raises ValueError unless there is a label for each row of logits, and NotFinite for NaN.
    """
    check_labels(logits, labels)
    check_logits(logits)
    return (logits.argmax(-1) == labels).float().mean().item()


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how far the best wrong logit lies above the label's (N,): positive means fooled."""
    check_labels(logits, labels)
    check_logits(logits)
    right = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    wrong = logits.scatter(-1, labels.unsqueeze(-1), -math.inf).amax(-1)
    return wrong - right


def distortion(perturbations: Tensor) -> Tensor:
    """Return the root mean square pixel (N,) of perturbations (N, ...) (Zhang & Chen, 4.2)."""
    return perturbations.flatten(1).square().mean(1).sqrt()


def wilson_interval(share: float, num_images: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson interval of a share measured on `num_images` images (95% at z = 1.96)."""
    if num_images < 1 or not 0 <= share <= 1:
        raise ValueError(
            f"num_images is {num_images} and share {share}: an interval needs one image or more, "
            "and a share from 0 to 1."
        )
    centre = share + z**2 / (2 * num_images)
    spread = z * math.sqrt(share * (1 - share) / num_images + (z / (2 * num_images)) ** 2)
    scale = 1 + z**2 / num_images
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def reliability(
    probabilities: Tensor, labels: Tensor, num_bins: int = 10
) -> list[dict[str, float]]:
    """Compare confidence and accuracy in equal bins of confidence, the largest of (N, classes).

    Returns a row for each bin that is not empty: mean `confidence` and `accuracy`, and the `share`
    of the images.
    """
    check_labels(probabilities, labels)
    check_logits(probabilities)
    confidence, predicted = probabilities.max(-1)
    correct = (predicted == labels).float()
    bins = (confidence * num_bins).long().clamp(max=num_bins - 1)
    rows = []
    for members in (bins == k for k in range(num_bins)):
        if members.any():
            rows.append(
                {
                    "confidence": confidence[members].mean().item(),
                    "accuracy": correct[members].mean().item(),
                    "share": members.float().mean().item(),
                }
            )
    return rows


def expected_calibration_error(rows: list[dict[str, float]]) -> float:
    """Return the mean gap between confidence and accuracy, weighted by the share of each bin."""
    return sum(row["share"] * abs(row["confidence"] - row["accuracy"]) for row in rows)


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of each prediction (..., classes) in nats: 0 is certain."""
    return torch.special.entr(probabilities).sum(-1)
