"""Colour images of textured shapes, drawn from a seed: a data set that needs no download.

The class is decided by outline and texture. Everything else is random: position, size, rotation,
the colours of shape and background, which of the two is brighter, and noise.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robustnb.data.dataset import DataError
from robustnb.data.pictures import SEED, Pictures

# Both take coordinates in the shape's own frame, in which it about fills the unit disc.
Outline = Callable[[Tensor, Tensor], Tensor]  # negative inside, about the distance to the edge
Texture = Callable[[Tensor, Tensor], Tensor]  # 0 for the first colour, 1 for the second

NOISE = 0.06


def disc(u: Tensor, v: Tensor, radius: float = 0.85) -> Tensor:
    return torch.hypot(u, v) - radius


def box(u: Tensor, v: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(u.abs() - width, v.abs() - height)


def square(u: Tensor, v: Tensor) -> Tensor:
    return box(u, v, 0.7, 0.7)


def polygon(corners: int, inner_radius: float) -> Outline:
    def outline(u: Tensor, v: Tensor) -> Tensor:
        sector = 2 * math.pi / corners
        angle = torch.remainder(torch.atan2(v, u), sector) - sector / 2
        return torch.hypot(u, v) * torch.cos(angle) - inner_radius

    return outline


def petals(number: int, radius: float, depth: float) -> Outline:
    def outline(u: Tensor, v: Tensor) -> Tensor:
        return torch.hypot(u, v) - radius - depth * torch.cos(number * torch.atan2(v, u))

    return outline


def hollow(outline: Outline, width: float = 0.18) -> Outline:
    return lambda u, v: (outline(u, v) + width).abs() - width


def cross(u: Tensor, v: Tensor) -> Tensor:
    return torch.minimum(box(u, v, 0.95, 0.26), box(u, v, 0.26, 0.95))


def crescent(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(disc(u, v, 0.9), -disc(u - 0.5, v, 0.75))


def bar(u: Tensor, v: Tensor) -> Tensor:
    return box(u, v, 0.95, 0.24)


def bow_tie(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs() - 0.8, v.abs() - 0.85 * u.abs())


def half_disc(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(disc(u + 0.4, v, 0.9), -(u + 0.4))


def corner(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(square(u, v), torch.minimum(u + 0.2, v + 0.2))


def tee(u: Tensor, v: Tensor) -> Tensor:
    return torch.minimum(box(u, v - 0.5, 0.8, 0.22), box(u, v + 0.2, 0.22, 0.7))


def dumbbell(u: Tensor, v: Tensor) -> Tensor:
    return torch.minimum(disc(u.abs() - 0.6, v, 0.38), box(u, v, 0.6, 0.12))


def ellipse(u: Tensor, v: Tensor) -> Tensor:
    return 0.6 * (torch.hypot(u, 2 * v) - 0.95)


def arrow(u: Tensor, v: Tensor) -> Tensor:
    head = torch.maximum(-u, u + v.abs() - 0.9)
    return torch.minimum(head, box(u + 0.45, v, 0.5, 0.2))


def wedge(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(disc(u, v), 0.75 * u - v.abs())


def pair_of_bars(u: Tensor, v: Tensor) -> Tensor:
    return box(u, v.abs() - 0.45, 0.8, 0.2)


OUTLINES: dict[str, Outline] = {
    "disc": disc,
    "ring": hollow(disc),
    "square": square,
    "triangle": polygon(3, 0.47),
    "star": petals(5, 0.65, 0.28),
    "cross": cross,
    "crescent": crescent,
    "bar": bar,
    "bow tie": bow_tie,
    "pair of bars": pair_of_bars,
    "frame": hollow(square),
    "half disc": half_disc,
    "trefoil": petals(3, 0.6, 0.33),
    "corner": corner,
    "tee": tee,
    "dumbbell": dumbbell,
    "ellipse": ellipse,
    "arrow": arrow,
    "wedge": wedge,
    "gear": petals(8, 0.72, 0.16),
}


def wave(phase: Tensor, level: float = 0) -> Tensor:
    """Turn a phase in cycles into bands of 0 and 1, the latter narrower at a higher level."""
    return torch.sigmoid(8 * (torch.cos(2 * math.pi * phase) - level))


TEXTURES: dict[str, Texture] = {
    "plain": lambda u, v: torch.zeros_like(u),
    "striped": lambda u, v: wave(2 * u),
    "checked": lambda u, v: (wave(1.4 * u) - wave(1.4 * v)).abs(),
    "dotted": lambda u, v: wave(2 * u) * wave(2 * v),
    "ringed": lambda u, v: wave(2.6 * torch.hypot(u, v)),
    "rayed": lambda u, v: wave(4 / math.pi * torch.atan2(v, u)),
    "wavy": lambda u, v: wave(2 * u + 0.4 * torch.sin(2 * math.pi * v)),
    "gridded": lambda u, v: torch.maximum(wave(2.6 * u, 0.5), wave(2.6 * v, 0.5)),
    "halved": lambda u, v: torch.sigmoid(12 * u),
    "shaded": lambda u, v: (0.5 + 0.6 * u).clamp(0, 1),
}

MOST_CLASSES = len(OUTLINES) * len(TEXTURES)


def generated_shapes(num_classes: int = 10, size: int = 32, per_class: int = 700) -> Pictures:
    """Return a balanced set of images drawn from a fixed seed."""
    if not 2 <= num_classes <= MOST_CLASSES:
        raise DataError(f"shapes-{num_classes} cannot be drawn: accepted are 2 to {MOST_CLASSES}.")
    generator = torch.Generator().manual_seed(SEED)
    pixels = generate(num_classes, size, per_class, generator).numpy()
    labels = np.arange(len(pixels)) % num_classes
    return Pictures(pixels, labels, class_names(num_classes), len(pixels) * 6 // 7)


def class_names(num_classes: int) -> tuple[str, ...]:
    """Return the first names: every outline plain, then every outline striped, and so on."""
    names = [
        outline if texture == "plain" else f"{texture} {outline}"
        for texture in TEXTURES
        for outline in OUTLINES
    ]
    return tuple(names[:num_classes])


def generate(num_classes: int, size: int, per_class: int, generator: torch.Generator) -> Tensor:
    """Draw a balanced set of images; image i is of class i modulo `num_classes`.

    Returns uint8 of shape (num_classes * per_class, 3, size, size).
    """
    kinds = [(outline, texture) for texture in TEXTURES.values() for outline in OUTLINES.values()]
    images = torch.empty(per_class, num_classes, 3, size, size, dtype=torch.uint8)
    for label, (outline, texture) in enumerate(kinds[:num_classes]):
        images[:, label] = draw(outline, texture, per_class, size, generator)
    return images.flatten(0, 1)


def draw(
    outline: Outline, texture: Texture, count: int, size: int, generator: torch.Generator
) -> Tensor:
    """Draw images of one class, uint8 of shape (count, 3, size, size)."""

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        chance = torch.rand(count, channels, 1, 1, generator=generator)
        return low + (high - low) * chance

    radius = size * uniform(0.28, 0.42)
    u, v = own_frame(size, radius, uniform)
    ground = uniform(0, 1, 3)
    # Colours on a circle, a third apart, so that none is lost against another in any channel.
    first, second = (ground + uniform(*step, 3) for step in ((0.25, 0.42), (0.58, 0.75)))
    fill = torch.lerp(first % 1, second % 1, texture(u, v))
    inside = (0.5 - outline(u, v) * radius).clamp(0, 1)
    noise = NOISE * torch.randn(count, 3, size, size, generator=generator)
    return ((torch.lerp(ground, fill, inside) + noise).clamp(0, 1) * 255).round().to(torch.uint8)


def own_frame(
    size: int, radius: Tensor, uniform: Callable[[float, float], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return all pixels' coordinates, (N,1,H,W), in the frames of shapes placed at random."""
    slack = size / 2 - radius
    pixels = torch.arange(size) - (size - 1) / 2
    x = pixels - slack * uniform(-1, 1)
    y = pixels[:, None] - slack * uniform(-1, 1)
    angle = uniform(0, 2 * math.pi)
    sin, cos = torch.sin(angle), torch.cos(angle)
    return (cos * x + sin * y) / radius, (cos * y - sin * x) / radius
