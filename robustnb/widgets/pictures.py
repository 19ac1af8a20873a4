"""What explorables of images share: the images in the page, and what stands in for a figure."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor, nn
from traitlets import TraitError

from robustnb.checks import check_images
from robustnb.drawing import Drawing
from robustnb.models import copied, predict
from robustnb.randomness import noise_from, seeded
from robustnb.widgets.network import tensor_blob


def picture_traits(
    models: Iterable[nn.Module], images: Tensor, labels: Tensor, classes: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the traits `pictures`, `labels` and `classes`, and the blobs that hold the images.

    `images` (N, C, H, W) are in [0, 1], stored in steps of 1/255; `labels` (N,) are their classes.
    Raises ValueError if they, the names of the classes and the networks do not agree.
    """
    check_images(images, labels)
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(
            f"images have shape {tuple(images.shape)}: they must be (N, C, H, W), "
            "with C of 1 or 3 and at least one image."
        )
    pictures, blobs = tensor_blob(images, "uint8")
    first = images[:1].detach().cpu().float()
    with torch.random.fork_rng():  # who draws a figure changes no other draw
        outputs = {predict(copied(model).cpu().float(), first).shape[1] for model in models}
    names = class_names(outputs, labels, classes)
    return {"pictures": pictures, "labels": labels.tolist(), "classes": names}, blobs


def class_names(outputs: set[int], labels: Tensor, classes: Sequence[str] | None) -> list[str]:
    """Return a name for each of a network's outputs; without `classes`, its number."""
    number = max(outputs) if classes is None else len(classes)
    if outputs != {number}:
        counts = " and ".join(map(str, sorted(outputs)))
        raise ValueError(f"a network has {counts} outputs: it must have {number}, one per class.")
    lowest, highest = labels.min().item(), labels.max().item()
    if lowest < 0 or highest >= number:
        raise ValueError(
            f"labels go from {lowest} to {highest}: they must be from 0 to {number - 1}."
        )
    return [str(name) for name in (range(number) if classes is None else classes)]


def drawn_probabilities(model: nn.Module, image: Tensor, num_samples: int, seed: int) -> Tensor:
    """Return the class probabilities (num_samples, classes) of draws for one image (C, H, W)."""
    with noise_from(model, seeded(seed)):
        draws = [predict(model, image[None]).softmax(1) for _ in range(num_samples)]
    return torch.cat(draws)


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Raise TraitError unless `value` lies between `low` and `high`."""
    if not low <= value <= high:
        raise TraitError(f"{name} is {value!r}: it must be from {low:.10g} to {high:.10g}.")


def check_choice(name: str, value: object, options: Iterable[object]) -> None:
    """Raise TraitError unless `value` is one of `options`."""
    if value not in (listed := list(options)):
        raise TraitError(f"{name} is {value!r}: it must be one of {', '.join(map(str, listed))}.")


def stand_in(drawing: Drawing, setting: str) -> str:
    """Return the HTML of a figure without JavaScript: the picture, what it shows and at what."""
    return (
        '<div class="explorable">'
        f'<div class="explorable-picture">{drawing.svg()}</div>'
        f'<p class="explorable-text"><span>{escape(setting)} {escape(drawing.alt)} '
        "The controls need JavaScript.</span></p></div>"
    )
