"""Common corruptions of pictures at five severities (Hendrycks & Dietterich 2019).

Only the four that Xiao, Zhang & Peng (2021) use, with the constants of the authors' scripts for
CIFAR-10-C and Tiny-ImageNet-C. The images are made here, from a generator, and are not the files
that those benchmarks publish: rows made with them are "C-style". Pixels stay floats, where the
scripts round them to 8 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Five = tuple[float, float, float, float, float]
Glass = tuple[float, int, int]


@dataclass(frozen=True)
class Constants:
    """Hold the strengths of each corruption at severities 1 to 5; `source` is the benchmark.

    `gaussian_noise` holds standard deviations and `contrast` factors, both for pixels in [0, 1],
    `impulse_noise` shares of values, `glass_blur` triples of sigma and max_delta, both in pixels,
    and the number of iterations.
    """

    source: str
    gaussian_noise: Five
    impulse_noise: Five
    glass_blur: tuple[Glass, Glass, Glass, Glass, Glass]
    contrast: Five


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


def constants_for(images: Tensor) -> Constants:
    """Return Tiny-ImageNet-C's constants for images of 64 pixels or more, CIFAR-10-C's below.

    The paper names none for MNIST; its code uses CIFAR-10-C's, which are far milder than MNIST-C's.
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

    `name` is one of `CORRUPTIONS` and `severity` goes from 1 to 5. Without `constants`, the size of
    the images decides (see `constants_for`). Each image gets random numbers of its own. Raises
    ValueError for any other name or severity and for pixels outside [0, 1].
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
    """Set a share `amount` of all values to 0 or 1, with equal probability.

    Channels are hit independently: a pixel of a colour image may change in red alone.
    """
    draw = torch.empty_like(images).uniform_(generator=generator)
    peppered = images.masked_fill(draw < amount / 2, 0.0)
    return peppered.masked_fill(draw >= 1 - amount / 2, 1.0)


def contrast(images: Tensor, factor: float) -> Tensor:
    """Multiply each channel's distance from its mean by `factor`, which is below 1."""
    means = images.mean((2, 3), keepdim=True)
    return ((images - means) * factor + means).clamp(0, 1)


def glass_blur(
    images: Tensor,
    sigma: float,
    max_delta: int,
    iterations: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Blur by `sigma` pixels, swap pixels up to `max_delta` apart at random, and blur again."""
    shuffled = gaussian_blur(images, sigma)
    for _ in range(iterations):
        shuffled = shuffle_pixels(shuffled, max_delta, generator)
    return gaussian_blur(shuffled, sigma).clamp(0, 1)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Average over neighbours within 4 `sigma` by Gaussian weights; edge pixels repeat outwards."""
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
    images: Tensor, max_delta: int, generator: torch.Generator | None = None
) -> Tensor:
    """Swap each pixel with one of its neighbours at random, from the last pixel to the first.

    As in the authors' loop, offsets go from -max_delta to max_delta - 1 in either direction, the
    first rows and columns are not visited, and a pixel may be moved several times. In colour images
    that loop copies the neighbour instead of swapping with it, and so does this one.
    """
    channels, height, width = images.shape[1:]
    # Images last, so that one pixel of all of them lies together in memory.
    pixels = images.flatten(2).permute(2, 1, 0).clone(memory_format=torch.contiguous_format)
    for row in range(height - max_delta, max_delta, -1):
        for column in range(width - max_delta, max_delta, -1):
            here = row * width + column
            there = here + _offsets(images, max_delta, generator)
            _move(pixels, here, there.expand(1, channels, -1))
    return pixels.permute(2, 1, 0).reshape(images.shape)


def _offsets(images: Tensor, max_delta: int, generator: torch.Generator | None) -> Tensor:
    """Draw the offset (N,) of a pixel's partner in each flattened image."""
    size = (2, len(images))
    down, right = torch.randint(
        -max_delta, max_delta, size, generator=generator, device=images.device
    )
    return down * images.shape[-1] + right


def _move(pixels: Tensor, here: int, there: Tensor) -> None:
    """Swap the pixel `here` of (H * W, C, N) with those at `there` (1, C, N); in colour, copy."""
    partners = pixels.gather(0, there)
    if pixels.shape[1] == 1:
        pixels.scatter_(0, there, pixels[here : here + 1].clone())
    pixels[here] = partners[0]


Corruption = Callable[[Tensor, Constants, int, torch.Generator | None], Tensor]

# By the names of the published tables.
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian noise": lambda x, c, level, g: gaussian_noise(x, c.gaussian_noise[level], g),
    "impulse noise": lambda x, c, level, g: impulse_noise(x, c.impulse_noise[level], g),
    "glass blur": lambda x, c, level, g: glass_blur(x, *c.glass_blur[level], g),
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
