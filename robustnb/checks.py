"""What everything checks that takes settings, images, labels or a network: one sentence a fault."""

import math
import operator
import warnings
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

# By how much pixels may leave [0, 1]: normalising and its inverse round in the last digits.
ROUNDING = 1e-6
# How far the sums of probabilities may be from 1.
SUMS = 1e-4
TWO_CLASSES = (
    "there must be logits of two classes or more, as torch.cat([0 * z, z], 1) are for the z (N, 1) "
    "of a sigmoid."
)
# The kinds of fault of which it was warned, by network.
_warned: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


class NotFinite(ValueError):
    """Logits are NaN or infinite; the message says for how many images."""


def check_finite(**settings: float) -> None:
    """Raise ValueError, which names the setting, if one is no number, NaN or infinite."""
    for name, value in settings.items():
        is_one = hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0
        if not is_one or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}: it must be a number.")
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: it must be a finite number.")


def check_at_least(least: float, **settings: float) -> None:
    """Raise ValueError, which names the setting, if one is below `least`, NaN or infinite."""
    check_finite(**settings)
    for name, value in settings.items():
        if value < least:
            raise ValueError(f"{name} is {value}: it must be at least {least}.")


def check_positive(**settings: float) -> None:
    """Raise ValueError, which names the setting, if one is 0, negative, NaN or infinite."""
    check_finite(**settings)
    for name, value in settings.items():
        if value <= 0:
            raise ValueError(f"{name} is {value}: it must be above 0.")


def check_whole(least: int, **settings: int) -> None:
    """Raise ValueError, which names the setting, unless all are whole and at least `least`."""
    for name, value in settings.items():
        try:
            operator.index(value)
        except TypeError:
            raise ValueError(f"{name} is {value!r}: it must be a whole number.") from None
    check_at_least(least, **settings)


def check_one_of(accepted: Iterable[str], **settings: str) -> None:
    """Raise ValueError, which names the setting, if one is not among the accepted words."""
    words = tuple(accepted)
    for name, value in settings.items():
        if value not in words:
            raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(words)}.")


def check_images(images: Tensor, labels: Tensor | None = None) -> None:
    """Raise ValueError unless images (N, ...) are float in [0, 1], with an int64 label each.

    Without `labels` only the images are checked. Pixels may leave [0, 1] by ROUNDING, or by the
    last digit of a type that is coarser.
    """
    _check_batch(images)
    if not images.is_floating_point():
        raise ValueError(
            f"images are {images.dtype}: they must be of a floating type in [0, 1], as bytes are "
            "when divided by 255."
        )
    if labels is not None:
        _check_tensor("labels", labels)
        if labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)} for {len(images)} images: "
                "it takes one label per image."
            )
    _check_pixels(images)
    if labels is not None:
        _check_classes(labels)


def check_labels(logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless each row of logits (..., N, classes) has a label (N,) of a class."""
    _check_tensor("logits", logits)
    _check_tensor("labels", labels)
    if labels.shape != logits.shape[-2:-1]:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} for logits of shape {tuple(logits.shape)}: "
            "it takes one label for each row of logits."
        )
    if logits.shape[-1] < 2:
        raise ValueError(f"logits have shape {tuple(logits.shape)}: {TWO_CLASSES}")
    _check_classes(labels, logits.shape[-1])


def check_logits(logits: Tensor) -> None:
    """Raise NotFinite if logits (..., N, classes) are NaN or plus infinity, and say for how many.

    Minus infinity rules a class out.
    """
    wrong = ~(logits < torch.inf)
    if wrong.any():
        images = wrong.any(-1).flatten(0, -2).any(0) if logits.dim() > 2 else wrong.any(-1)
        what = "NaN" if logits.isnan().any() else "infinite"
        raise NotFinite(
            f"the network's logits are {what} for {images.sum()} of {images.numel()} images: "
            "no class can be the largest."
        )


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return what `model` answers to images (N, ...): logits (N, classes), of float32 at least.

    The network gets a copy of the images, which it may change. Raises ValueError, which says what
    is wrong with the answer, unless it is a tensor (N, classes) of two classes or more, and
    NotFinite if logits are NaN or infinite. Warns, once for each network, of probabilities.
    """
    _check_batch(images)
    logits = model(images.clone())
    _check_answer(logits, len(images))
    low, high = _range(logits.detach())
    if not -math.inf <= low <= high < math.inf:
        check_logits(logits)
    if low >= 0 and high <= 1:
        _warn_of_probabilities(model, logits.detach())
    return logits.float() if torch.finfo(logits.dtype).bits < 32 else logits


def check_network(model: nn.Module) -> None:
    """Raise ValueError unless `model` is a torch.nn.Module."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"the network is a {type(model).__name__}: it must be a torch.nn.Module.")


def warn_once(model: nn.Module, kind: str, message: str) -> None:
    """Warn of a network, once for each kind of fault."""
    if not was_warned(model, kind):
        _warned.setdefault(unwrapped(model), set()).add(kind)
        warnings.warn(message, stacklevel=3)


def was_warned(model: nn.Module, kind: str) -> bool:
    """Tell whether a warning of this kind was given for a network."""
    return kind in _warned.get(unwrapped(model), ())


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network itself: one of half floats is wrapped at each call of an attack."""
    network: nn.Module = getattr(model, "in_own_type", model)
    return network


def _check_tensor(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} are of the type {type(value).__name__}: they must be a tensor, "
            f"as torch.as_tensor({name}) makes."
        )


def _check_batch(images: Tensor) -> None:
    _check_tensor("images", images)
    if images.dim() < 2 or images.dim() == 3:
        raise ValueError(
            f"images have shape {tuple(images.shape)}: they must be a batch (N, C, H, W), which "
            "images.unsqueeze(0) makes of one image (C, H, W)."
        )


def _check_pixels(images: Tensor) -> None:
    beyond = max(ROUNDING, torch.finfo(images.dtype).eps)
    # Not "< 0 or > 1", which lets NaN through.
    if images.numel() and not (images.min() >= -beyond and images.max() <= 1 + beyond):
        raise ValueError(
            f"pixels range from {images.min():.3g} to {images.max():.3g}: they must be in [0, 1]; "
            "put any other scaling into the model's first layer."
        )


def _check_classes(labels: Tensor, classes: int | None = None) -> None:
    if labels.dtype != torch.int64:
        raise ValueError(
            f"labels are {labels.dtype}: they must be torch.int64, as labels.long() are."
        )
    if not len(labels):
        return
    low, high = torch.stack(labels.aminmax()).tolist()
    if low < 0:
        raise ValueError(f"the smallest label is {low}: classes count from 0.")
    if classes is not None and high >= classes:
        raise ValueError(
            f"the largest label is {high} for {classes} classes: labels go from 0 to {classes - 1}."
        )


def _check_answer(answer: Any, num_images: int) -> None:
    needed = "it must return logits (N, classes), a tensor"
    if not isinstance(answer, Tensor):
        raise ValueError(
            f"the network returns a {type(answer).__name__}: {needed}; wrap it in a module that "
            "returns this part alone."
        )
    shape = tuple(answer.shape)
    if shape in ((num_images,), (num_images, 1)):
        raise ValueError(f"the network returns one number for each image: {TWO_CLASSES}")
    if len(shape) != 2 or shape[0] != num_images or not shape[1]:
        raise ValueError(
            f"the network returns the shape {shape} for {num_images} images: {needed}."
        )
    if not answer.is_floating_point():
        raise ValueError(f"the network returns {answer.dtype}: {needed} of a floating type.")


def _range(logits: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest logit, which are NaN if one is."""
    if not logits.numel():
        return -1.0, 0.0
    low, high = torch.stack(logits.aminmax()).tolist()
    return low, high


def _warn_of_probabilities(model: nn.Module, logits: Tensor) -> None:
    kind, rounding = "probabilities", torch.finfo(logits.dtype).eps * logits.shape[1]
    if was_warned(model, kind) or (logits.sum(1) - 1).abs().max() > max(SUMS, rounding):
        return
    warn_once(
        model,
        kind,
        f"The network's outputs for {len(logits)} images are all from {logits.min():.3g} to "
        f"{logits.max():.3g} and sum to 1: they look like probabilities. It must return logits; "
        "leave the softmax out, or attacks stall where it saturates.",
    )
