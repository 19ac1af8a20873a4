"""Small networks that certificates take, points of boxes, and images that tell who is robust."""

from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torchvision.transforms import Normalize

from robustnb.models import Scale, predict
from robustnb.randomness import seeded


def dense(*widths: int, seed: int = 0, gain: float = 1.0) -> nn.Sequential:
    """Build a fully connected ReLU network whose units often change their sign."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [Scale(2.0), nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        layers[-2].weight.data *= gain
        layers[-2].bias.data -= layers[-2].weight.data.sum(1)  # 0 at the middle of all images
    return nn.Sequential(*layers[:-1])


def convolutional(pool: nn.Module | None = None, seed: int = 0) -> nn.Sequential:
    """Build a network of all kinds of layers, for images (N, 2, 6, 6)."""
    torch.manual_seed(seed)
    front = [Normalize((0.4, 0.5), (0.2, 0.3)), nn.Conv2d(2, 3, 3, stride=2, padding=1)]
    middle = [nn.ReLU(), pool or nn.AvgPool2d(2, stride=1), nn.Conv2d(3, 4, 2, bias=False)]
    return nn.Sequential(*front, nn.Sequential(*middle, nn.ReLU()), nn.Flatten(), nn.Linear(4, 3))


def batch(model: nn.Module, *shape: int, count: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw images, with the labels that the network gives them."""
    images = torch.rand(count, *shape, generator=seeded(seed))
    return images, predict(model, images).argmax(1)


def points(images: Tensor, eps: float, count: int, seed: int = 0) -> Tensor:
    """Draw points (count, N, ...) in [0, 1] within `eps`, half of them at corners, in float64."""
    images, generator = images.double(), seeded(seed)
    offsets = torch.empty(count, *images.shape, dtype=images.dtype)
    offsets.uniform_(-eps, eps, generator=generator)
    offsets[::2] = eps * offsets[::2].sign()
    return (images + offsets).clamp(0, 1)


def corners(image: Tensor, eps: float) -> Tensor:
    """Return all corners of the box of one image (1, ...), in float64."""
    image = image.double()
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=image.numel())), dtype=torch.float64)
    return (image + eps * signs.view(-1, *image.shape[1:])).clamp(0, 1)


def one_strong_pixel(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of two classes: one pixel tells 85% of them by far, the others all of them by little.

    An attack of 0.1 turns what all other pixels say round, and not what the first does.
    """
    generator = seeded(seed)
    labels = torch.randint(2, (count,), generator=generator)
    pixels = 0.5 + 0.05 * torch.randn(count, 16, generator=generator)
    pixels += 0.05 * (2 * labels - 1).unsqueeze(1)
    told = torch.where(torch.rand(count, generator=generator) < 0.85, labels, 1 - labels)
    pixels[:, 0] = 0.5 + 0.3 * (2 * told - 1)
    return pixels.clamp(0, 1).view(-1, 1, 4, 4), labels
