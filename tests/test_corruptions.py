"""Corruptions against scikit-image, the authors' loop over pixels, and shares worked out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import gaussian
from torch import Tensor

from robustnb.corruptions import (
    CIFAR_10_C,
    CORRUPTIONS,
    TINY_IMAGENET_C,
    Constants,
    constants_for,
    contrast,
    corrupt,
    gaussian_blur,
    gaussian_noise,
    glass_blur,
    impulse_noise,
    shuffle_pixels,
)
from robustnb.randomness import seeded

SHAPES = ((3, 1, 8, 8), (2, 1, 28, 28), (2, 3, 32, 32), (1, 3, 64, 64), (4, 2, 9, 12))
every_name = pytest.mark.parametrize("name", CORRUPTIONS)


def pictures(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=seeded(seed), dtype=dtype)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(CORRUPTIONS)),
    shape=st.sampled_from(SHAPES),
    severity=st.integers(1, 5),
    constants=st.sampled_from([None, CIFAR_10_C, TINY_IMAGENET_C]),
    seed=st.integers(0, 1000),
)
def test_shape_range_and_type_are_kept_and_the_seed_decides(
    name: str, shape: tuple[int, ...], severity: int, constants: Constants | None, seed: int
) -> None:
    images = pictures(*shape, seed=seed, dtype=torch.float32)
    original = images.clone()
    first, second = (corrupt(name, images, severity, seeded(seed), constants) for _ in range(2))
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert 0 <= first.min() <= first.max() <= 1
    assert torch.equal(first, second)
    assert torch.equal(images, original)


@every_name
@pytest.mark.parametrize("constants", [CIFAR_10_C, TINY_IMAGENET_C])
def test_a_higher_severity_changes_more(name: str, constants: Constants) -> None:
    """Glass blur alone need not at each step: CIFAR-10-C has smaller sigmas at 4 than at 3."""
    images = gaussian_blur(pictures(40, 1, 28, 28), 1.0)
    changes = [
        (corrupt(name, images, severity, seeded(0), constants) - images).square().mean().item()
        for severity in range(1, 6)
    ]
    if name == "glass blur":
        changes = [changes[0], changes[4]]
    assert changes == sorted(changes)


def test_gaussian_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    noise = gaussian_noise(torch.full((50, 1, 28, 28), 0.5), 0.08, seeded(0)) - 0.5
    # The sample's standard deviation is itself uncertain by sigma / sqrt(2 n).
    assert abs(noise.std().item() - 0.08) < 4 * 0.08 / (2 * noise.numel()) ** 0.5
    assert abs(noise.mean().item()) < 4 * 0.08 / noise.numel() ** 0.5


def test_impulse_noise_hits_values_on_their_own_half_black_half_white() -> None:
    images, amount = torch.full((100, 3, 32, 32), 0.5), 0.07
    found = impulse_noise(images, amount, seeded(0))
    black, white = (found == 0), (found == 1)
    error = (amount / 2 / images.numel()) ** 0.5
    assert abs(black.float().mean().item() - amount / 2) < 4 * error
    assert abs(white.float().mean().item() - amount / 2) < 4 * error
    assert torch.equal(found[~(black | white)], images[~(black | white)])
    hit = (black | white).float()  # red and green of a pixel are hit together amount^2 of the time
    assert abs((hit[:, 0] * hit[:, 1]).mean().item() - amount**2) < 0.002


def test_contrast_by_hand() -> None:
    images = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]], [[0.2, 0.2], [0.2, 0.6]]]])
    found = contrast(images, 0.5)
    expected = torch.tensor([[[[0.25, 0.75], [0.5, 0.5]], [[0.25, 0.25], [0.25, 0.45]]]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.25, 0.4, 0.7, 1.5])
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 9, 12)])
def test_gaussian_blur_is_scikit_image_s(sigma: float, shape: tuple[int, ...]) -> None:
    images = pictures(*shape)
    theirs = np.stack([gaussian(x, sigma, channel_axis=0) for x in images.numpy()])
    torch.testing.assert_close(gaussian_blur(images, sigma), torch.from_numpy(theirs))


def pixel_by_pixel(images: Tensor, max_delta: int, generator: torch.Generator):
    """Return what the loop of the benchmark's authors gives, one image after the other.

    Images are (H, W) or (H, W, C) there, and what it does to them follows from that.
    """
    height, width = images.shape[2:]
    rows = range(height - max_delta, max_delta, -1)
    offsets = {}
    for place in [(h, w) for h in rows for w in range(width - max_delta, max_delta, -1)]:
        offsets[place] = torch.randint(
            -max_delta, max_delta, (2, len(images)), generator=generator
        ).numpy()
    found = images.permute(0, 2, 3, 1).numpy().copy()
    for number, image in enumerate(found):
        x = image[:, :, 0] if image.shape[2] == 1 else image
        for (h, w), (down, right) in offsets.items():
            h_prime, w_prime = h + down[number], w + right[number]
            x[h, w], x[h_prime, w_prime] = x[h_prime, w_prime], x[h, w]
    return torch.from_numpy(found).permute(0, 3, 1, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("max_delta", [1, 2, 3])
def test_pixels_are_shuffled_as_by_the_authors_loop(channels: int, max_delta: int) -> None:
    images = pictures(5, channels, 9, 11)
    found = shuffle_pixels(images, max_delta, seeded(1))
    assert torch.equal(found, pixel_by_pixel(images, max_delta, seeded(1)))
    assert not torch.equal(found, images)


def test_gray_images_keep_all_their_pixels_and_colour_images_do_not() -> None:
    """The authors' loop swaps numbers, but of two rows of an array it makes one."""
    for channels in (1, 3):
        images = pictures(4, channels, 16, 16)
        found = shuffle_pixels(images, 2, seeded(0)).flatten(1).sort(1).values
        assert torch.equal(found, images.flatten(1).sort(1).values) == (channels == 1)


def test_glass_blur_is_blur_shuffle_blur() -> None:
    images, generator = pictures(3, 3, 12, 12), seeded(2)
    blurred = np.stack([gaussian(x, 0.6, channel_axis=0) for x in images.numpy()])
    shuffled = pixel_by_pixel(torch.from_numpy(blurred), 1, generator)
    shuffled = pixel_by_pixel(shuffled, 1, generator)
    expected = np.stack([gaussian(x, 0.6, channel_axis=0) for x in shuffled.numpy()])
    found = glass_blur(images, 0.6, 1, 2, seeded(2))
    torch.testing.assert_close(found, torch.from_numpy(expected))


@every_name
def test_images_are_corrupted_each_on_its_own(name: str) -> None:
    """Two copies of one picture in a batch are not corrupted alike, unless nothing is drawn."""
    images = pictures(1, 3, 32, 32).expand(2, -1, -1, -1)
    one, two = corrupt(name, images, 5, seeded(0))
    assert torch.equal(one, two) == (name == "contrast")


@pytest.mark.parametrize(
    ("side", "source"),
    [(8, "CIFAR-10-C"), (28, "CIFAR-10-C"), (32, "CIFAR-10-C"), (64, "Tiny-ImageNet-C")],
)
def test_the_size_decides_on_the_constants(side: int, source: str) -> None:
    images = pictures(2, 1, side, side)
    constants = constants_for(images)
    assert constants.source == source
    by_hand = contrast(images, constants.contrast[2])
    assert torch.equal(corrupt("contrast", images, 3), by_hand)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: corrupt("fog", pictures(1, 1, 8, 8), 1), "'fog' is no corruption.*glass blur"),
        (lambda: corrupt("contrast", pictures(1, 1, 8, 8), 0), "severity is 0.*1, 2, 3, 4 or 5"),
        (lambda: corrupt("contrast", pictures(1, 1, 8, 8), 6), "severity is 6"),
        (lambda: corrupt("contrast", pictures(1, 8, 8), 1), r"\(1, 8, 8\).*\(N, C, H, W\)"),
        (lambda: corrupt("contrast", 3 * pictures(1, 1, 8, 8) - 1, 1), r"in \[0, 1\]"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
