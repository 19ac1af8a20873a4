"""What explorables of images share: the images in the page, and what stands in for a figure."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from robustnb.checks import check_images
from robustnb.drawing import Drawing, still
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded
from robustnb.widgets.network import tensor_blob
from robustnb.widgets.plain import plain


def picture_traits(
    models: Iterable[nn.Module], images: Tensor, labels: Tensor, classes: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the traits `pictures`, `labels` and `classes`, and the blobs that hold the images.

    `images` (N, C, H, W) are in [0, 1], stored in steps of 1/255; `labels` (N,) are their classes.
    Raises ValueError if they, the names of the classes and the networks do not agree, and for
    networks whose answers to the images are no logits.
    """
    check_images(images, labels)
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(
            f"images have shape {tuple(images.shape)}: they must be (N, C, H, W), "
            "with C of 1 or 3 and at least one image."
        )
    pictures, blobs = tensor_blob(images, "uint8")
    with torch.random.fork_rng():  # who draws a figure changes no other draw
        try:
            outputs = {_number_of_outputs(model, images) for model in models}
        except RuntimeError as error:
            raise ValueError(
                f"a network does not take images of shape {tuple(images.shape)}: {error}"
            ) from error
    names = class_names(outputs, labels, classes)
    return {"pictures": pictures, "labels": labels.tolist(), "classes": names}, blobs


def _number_of_outputs(model: nn.Module, images: Tensor) -> int:
    network = plain(model).float()
    with noise_from(network, seeded(0, device_of(network))):
        return predict(network, images.detach().to(device_of(network)).float()).shape[1]


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's weights; the CPU for one without."""
    return next((weights.device for weights in model.parameters()), torch.device("cpu"))


def class_names(outputs: set[int], labels: Tensor, classes: Sequence[str] | None) -> list[str]:
    """Return a name for each of a network's outputs; without `classes`, its number."""
    number = max(outputs) if classes is None else len(classes)
    if classes is not None and outputs == {max(outputs)} != {number}:
        raise ValueError(
            f"classes has the length {number}, and the network has {max(outputs)} outputs: it "
            "takes one name for each."
        )
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
    image = image.to(device_of(model))
    with noise_from(model, seeded(seed, image.device)):
        draws = [predict(model, image[None]).softmax(1) for _ in range(num_samples)]
    return torch.cat(draws).cpu()


def stand_in(drawing: Drawing, setting: str, needed: str = "JavaScript") -> str:
    """Return the HTML of a figure without what its controls need: the picture, and in words."""
    return (
        '<div class="explorable">'
        f'<div class="explorable-picture">{still(drawing.svg(), drawing.alt)}</div>'
        f'<p class="explorable-text"><span>{escape(setting)} {escape(drawing.alt)} '
        f"The controls need {escape(needed)}.</span></p></div>"
    )


# A reader's own picture as a text for the address: sixteen shades as 1 to f, and runs of up to
# twenty black pixels as g to z.
OWN_SHAPE = (1, 28, 28)


def written_picture(picture: Tensor) -> str:
    """Write a picture (1, 28, 28) in [0, 1] as a text, as drawing_pad.js does."""
    shades = "".join(f"{round(15 * pixel):x}" for pixel in picture.flatten().tolist())
    return re.sub("0{1,20}", lambda run: chr(ord("f") + len(run[0])), shades)


def read_picture(text: str) -> Tensor:
    """Return the picture (1, 28, 28) that a text holds; raise ValueError if it holds none."""
    shades = re.sub("[g-z]", lambda run: "0" * (ord(run[0]) - ord("f")), text)
    if not re.fullmatch("[1-9a-z]+", text) or len(shades) != 28 * 28:
        raise ValueError(f"{text[:20]!r} is no picture of 28 by 28 pixels as the page writes it.")
    return torch.tensor([int(shade, 16) for shade in shades]).view(OWN_SHAPE) / 15
