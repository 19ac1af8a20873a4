"""PASS against structural similarity written out, closed forms, and movements that it forgives."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from robustnb.data import load
from robustnb.papers.bang.similarity import psychometric_similarity
from robustnb.randomness import seeded


def pictures(count: int = 6) -> Tensor:
    return load("digits").images[:count].clone()


def coloured(images: Tensor) -> Tensor:
    return images * torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1)


def smooth(size: int = 32, channels: int = 3, count: int = 4) -> Tensor:
    """Draw images without edges, which a movement by parts of a pixel can recover."""
    coarse = torch.rand(count, channels, 8, 8, generator=seeded(0))
    return F.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


def noisy(images: Tensor, sd: float, seed: int = 0) -> Tensor:
    return (images + sd * torch.randn(images.shape, generator=seeded(seed))).clamp(0, 1)


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of Wang et al., eq. 13, over all pixels of the mirrored image (N, C)."""
    line = torch.exp(-torch.arange(-5, 6, dtype=torch.float64).square() / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2

    def mean(values: Tensor) -> Tensor:
        sides = [(0, 0), (0, 0), (5, 5), (5, 5)]
        mirrored = torch.from_numpy(np.pad(values.numpy(), sides, mode="symmetric"))
        return F.conv2d(mirrored.flatten(0, 1)[:, None], window[None, None])

    x, y = 255 * x.double(), 255 * y.double()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    score = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return score.flatten(1).mean(1).view(x.shape[:2])


@pytest.mark.parametrize(
    "images",
    [pictures(), coloured(pictures()), smooth(8, 1)],
    ids=["gray", "colour", "8x8"],
)
def test_without_alignment_it_is_the_formula(images: Tensor) -> None:
    changed = noisy(images, 0.2)
    found = psychometric_similarity(changed, images, align=False)
    expected = structural_similarity(changed, images).mean(1).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    swapped = psychometric_similarity(images, changed, align=False)
    torch.testing.assert_close(found, swapped)


@pytest.mark.parametrize("align", [False, True])
def test_constant_images_in_closed_form(align: bool) -> None:
    """Only the means are left, and there is nothing to align by."""
    x, y = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    constant = (0.01 * 255) ** 2
    expected = (2 * 51 * 153 + constant) / (51**2 + 153**2 + constant)
    assert psychometric_similarity(x, y, align).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(
    "images",
    [pictures(), coloured(pictures()), smooth(), torch.rand(3, 1, 8, 8, generator=seeded(1))],
    ids=["gray", "colour", "smooth", "8x8"],
)
def test_an_image_is_identical_to_itself(images: Tensor, align: bool) -> None:
    found = psychometric_similarity(images, images, align)
    assert found.shape == (len(images),)
    torch.testing.assert_close(found, torch.ones(len(images)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (1, 1)])
@pytest.mark.parametrize("images", [pictures(), coloured(pictures())], ids=["gray", "colour"])
def test_a_moved_image_is_recovered(images: Tensor, shift: tuple[int, int]) -> None:
    moved = images.roll(shift, (2, 3))
    aligned = psychometric_similarity(moved, images)
    assert (aligned > psychometric_similarity(moved, images, align=False)).all()
    assert aligned.min() > 0.99


def test_a_turned_image_is_recovered() -> None:
    images = smooth()
    matrix = torch.tensor([[0.99, 0.05, 0.02], [-0.05, 0.99, 0.0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    plain = psychometric_similarity(turned, images, align=False)
    aligned = psychometric_similarity(turned, images)
    assert (aligned > plain).all()
    assert aligned.mean() > 0.95


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("images", [pictures(), smooth(8, 1)], ids=["28x28", "8x8"])
def test_more_noise_is_less_alike(images: Tensor, align: bool) -> None:
    levels = (0.0, 0.05, 0.15, 0.4)
    means = [psychometric_similarity(noisy(images, sd), images, align).mean() for sd in levels]
    assert all(more > less for more, less in pairwise(means))


def test_an_image_that_cannot_be_aligned_is_compared_as_it_is() -> None:
    images = pictures()
    inverted = 1 - images  # the correlation is negative, and the search gives up
    aligned = psychometric_similarity(inverted, images)
    torch.testing.assert_close(aligned, psychometric_similarity(inverted, images, align=False))


def test_nothing_gives_nothing_and_wrong_shapes_are_named() -> None:
    assert psychometric_similarity(pictures(0), pictures(0)).shape == (0,)
    with pytest.raises(ValueError, match=r"\(6, 1, 28, 28\) and originals \(5, 1, 28, 28\)"):
        psychometric_similarity(pictures(6), pictures(5))
    with pytest.raises(ValueError, match=r"both must be \(N, C, H, W\)"):
        psychometric_similarity(torch.rand(8, 8), torch.rand(8, 8))
