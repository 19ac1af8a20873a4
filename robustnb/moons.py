"""Two classes of points in the plane: what a small network decides there can be drawn."""

import torch
from torch import Tensor, nn

from robustnb.models import Layer, fully_connected
from robustnb.randomness import initial_weights
from robustnb.training import Loss, Split, cross_entropy, fit


def two_moons() -> tuple[Split, Split]:
    """Return 400 training and 200 held-out points as images (N, 1, 1, 2), and their class."""
    from sklearn.datasets import make_moons

    points, classes = map(torch.from_numpy, make_moons(600, noise=0.2, random_state=0))
    images = points.float().view(-1, 1, 1, 2)
    return (images[:400], classes[:400]), (images[400:], classes[400:])


def fit_moons(
    epochs: int,
    loss: Loss = cross_entropy,
    patience: int | None = None,
    layer: Layer = nn.Linear,
) -> nn.Sequential:
    """Train a small network (FC-40-40-2, made of `layer`) on the moons, the same each time."""
    with initial_weights(seed=0):
        model = fully_connected("FC-40-40-2", in_features=2, layer=layer)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    fit(
        *(model, *two_moons()),
        optimizer=optimizer,
        loss=loss,
        epochs=epochs,
        patience=patience,
        progress=False,
    )
    return model


def plane() -> tuple[Tensor, Tensor]:
    """Return 90 ticks (90,) of each side of the plane, and its places as images (8100, 1, 1, 2)."""
    side = torch.linspace(-2, 3, 90)
    return side, torch.cartesian_prod(side, side).view(-1, 1, 1, 2)
