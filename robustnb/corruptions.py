"""Common corruptions of pictures at five severities (Hendrycks & Dietterich 2019).

Only the four that Xiao, Zhang & Peng (2021) use, with the constants of the authors' scripts for
CIFAR-10-C, Tiny-ImageNet-C and MNIST-C. The images are made here, from a generator, and are not the
files that those benchmarks publish: rows made with them are "C-style". Pixels stay floats, where
the scripts cut them to 8 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Five = tuple[float, float, float, float, float]
Glass = tuple[float, int, int]


@dataclass(frozen=True)
class Constants:
    """Say how strong each corruption is at severities 1 to 5, and where the numbers are from.

    `gaussian_noise` holds standard deviations and `contrast` factors, both for pixels in [0, 1],
    `impulse_noise` shares of values, `glass_blur` triples of sigma, max_delta (both in pixels) and
    iterations. `moved` is the share of pixels that glass blur moves.
    """

    source: str
    gaussian_noise: Five
    impulse_noise: Five
    glass_blur: tuple[Glass, Glass, Glass, Glass, Glass]
    contrast: Five
    moved: float = 1.0


CIFAR_10_C = Constants(
    "CIFAR-10-C",
    gaussian_noise=(0.04, 0.06, 0.08, 0.09, 0.10),
    impulse_noise=(0.01, 0.02, 0.03, 0.05, 0.07),
    glass_blur=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    contrast=(0.75, 0.5, 0.4, 0.3, 0.15),
)
TINY_IMAGENET_C = Constants(
    "Tiny-ImageNet-C",
    gaussian_noise=(0.04, 0.08, 0.12, 0.15, 0.18),
    impulse_noise=(0.01, 0.02, 0.05, 0.08, 0.14),
    glass_blur=((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
    contrast=(0.4, 0.3, 0.2, 0.1, 0.05),
)
# But for `moved`, the numbers of ImageNet-C. The script blurs gray images along one axis alone.
MNIST_C = Constants(
    "MNIST-C",
    gaussian_noise=(0.08, 0.12, 0.18, 0.26, 0.38),
    impulse_noise=(0.03, 0.06, 0.09, 0.17, 0.27),
    glass_blur=((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    contrast=(0.4, 0.3, 0.2, 0.1, 0.05),
    moved=0.5,
)


def constants_for(images: Tensor) -> Constants:
    """Return Tiny-ImageNet-C's constants for images of 64 pixels or more, CIFAR-10-C's below.

    The paper names none for MNIST; its code knows those of CIFAR-10-C, far milder than MNIST-C's.
    """
    return TINY_IMAGENET_C if min(images.shape[-2:]) >= 64 else CIFAR_10_C


def corrupt(
    name: str,
    images: Tensor,
    severity: int,
    generator: torch.Generator | None = None,
    constants: Constants | None = None,
) -> Tensor:
    """Return a corrupted copy of `images` (N, C, H, W), all in [0, 1].

    `name` is one of `CORRUPTIONS`, `severity` 1 to 5, and `constants` those for the images' size
    unless given. What is drawn is drawn for each image on its own. Raises ValueError, one sentence,
    for any other name or severity and for pixels outside [0, 1].
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"{name!r} is no corruption: accepted are {', '.join(CORRUPTIONS)}.")
    if severity not in range(1, 6):
        raise ValueError(f"severity is {severity!r}: it must be 1, 2, 3, 4 or 5.")
    _check_images(images)
    return CORRUPTIONS[name](
        images, constants or constants_for(images), int(severity) - 1, generator
    )


def gaussian_noise(
    images: Tensor, sigma: float, generator: torch.Generator | None = None
) -> Tensor:
    """Add noise of standard deviation `sigma` to every value."""
    noise = torch.empty_like(images).normal_(generator=generator)
    return (images + sigma * noise).clamp(0, 1)


def impulse_noise(
    images: Tensor, amount: float, generator: torch.Generator | None = None
) -> Tensor:
    """Set a share `amount` of all values to 0 or 1, as often to the one as to the other.

    Each channel's value is hit on its own: in a colour image a pixel can lose its red alone.
    """
    draw = torch.empty_like(images).uniform_(generator=generator)
    peppered = images.masked_fill(draw < amount / 2, 0.0)
    return peppered.masked_fill(draw >= 1 - amount / 2, 1.0)


def contrast(images: Tensor, factor: float) -> Tensor:
    """Draw every channel's values together around their mean by `factor`."""
    means = images.mean((2, 3), keepdim=True)
    return ((images - means) * factor + means).clamp(0, 1)


def glass_blur(
    images: Tensor,
    sigma: float,
    max_delta: int,
    iterations: int,
    generator: torch.Generator | None = None,
    moved: float = 1.0,
) -> Tensor:
    """Blur by `sigma` pixels, move pixels about by up to `max_delta`, and blur again."""
    shuffled = gaussian_blur(images, sigma)
    for _ in range(iterations):
        shuffled = shuffle_pixels(shuffled, max_delta, generator, moved)
    return gaussian_blur(shuffled, sigma).clamp(0, 1)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Average over neighbours with Gaussian weights, cut at 4 `sigma`; edges repeat outwards."""
    height, width = images.shape[2:]
    return _averaging(height, sigma, images) @ images @ _averaging(width, sigma, images).T


def _averaging(length: int, sigma: float, images: Tensor) -> Tensor:
    """Return the matrix (length, length) that blurs a row of pixels."""
    radius = int(4 * sigma + 0.5)
    place = torch.arange(-radius, radius + 1, device=images.device)
    weights = (-0.5 * (place.to(images.dtype) / sigma) ** 2).softmax(0).expand(length, -1)
    neighbours = torch.arange(length, device=images.device).unsqueeze(1) + place
    matrix = images.new_zeros(length, length)
    return matrix.scatter_add_(1, neighbours.clamp(0, length - 1), weights)


def shuffle_pixels(
    images: Tensor, max_delta: int, generator: torch.Generator | None = None, moved: float = 1.0
) -> Tensor:
    """Swap each pixel with one of its neighbours at random, from the last pixel to the first.

    As in the authors' loop: an offset is -max_delta to max_delta - 1 in either direction, the first
    rows and columns stay out of it, and a pixel that has been moved can be moved again. In colour
    images that loop copies the neighbour instead of swapping with it, and so does this. A share
    `moved` of the pixels, 1 in CIFAR-10-C, has its turn.
    """
    channels, height, width = images.shape[1:]
    # Images last, so that one pixel of all of them lies together in memory.
    pixels = images.flatten(2).permute(2, 1, 0).clone(memory_format=torch.contiguous_format)
    for row in range(height - max_delta, max_delta, -1):
        for column in range(width - max_delta, max_delta, -1):
            here = row * width + column
            there = here + _offsets(images, max_delta, generator, moved)
            _move(pixels, here, there.expand(1, channels, -1))
    return pixels.permute(2, 1, 0).reshape(images.shape)


def _offsets(
    images: Tensor, max_delta: int, generator: torch.Generator | None, moved: float
) -> Tensor:
    """Draw how far the partner of a pixel lies from it in each flattened picture (N,)."""
    where: dict[str, Any] = {"generator": generator, "device": images.device}
    down, right = torch.randint(-max_delta, max_delta, (2, len(images)), **where)
    offsets = down * images.shape[-1] + right
    return offsets if moved == 1 else offsets * (torch.rand(len(images), **where) < moved)


def _move(pixels: Tensor, here: int, there: Tensor) -> None:
    """Swap, or in colour copy, in pixels (H * W, C, N), with the partners at `there` (1, C, N)."""
    partners = pixels.gather(0, there)
    if pixels.shape[1] == 1:
        pixels.scatter_(0, there, pixels[here : here + 1].clone())
    pixels[here] = partners[0]


Corruption = Callable[[Tensor, Constants, int, torch.Generator | None], Tensor]

# By the names of the published tables.
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian noise": lambda x, c, level, g: gaussian_noise(x, c.gaussian_noise[level], g),
    "impulse noise": lambda x, c, level, g: impulse_noise(x, c.impulse_noise[level], g),
    "glass blur": lambda x, c, level, g: glass_blur(x, *c.glass_blur[level], g, c.moved),
    "contrast": lambda x, c, level, _: contrast(x, c.contrast[level]),
}


def _check_images(images: Tensor) -> None:
    if images.dim() != 4 or not images.is_floating_point():
        raise ValueError(
            f"images are {images.dtype} of shape {tuple(images.shape)}: corruptions take "
            "(N, C, H, W) of a floating type."
        )
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):  # nor NaN
        raise ValueError(
            f"pixels range from {images.min():.3g} to {images.max():.3g}: corruptions take images "
            "in [0, 1]; put any other scaling into the model's first layer."
        )
