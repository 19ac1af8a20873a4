"""Images in half precision stay in the ball, as measured in float64."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.black_box import RandomNoise, Square
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.rounding import rounded_inside
from robustnb.randomness import initial_weights, seeded

HALVES = (torch.float16, torch.bfloat16)
ATTACKS: dict[str, Any] = {
    "FGSM": FGSM,
    "PGD": lambda eps: PGD(eps, eps / 2, 3),
    "PGD in L2": lambda eps: PGD(eps, eps, 3, norm="l2"),
    "APGD": lambda eps: APGD(eps, steps=5, early_stop=False),
    "APGD in L2": lambda eps: APGD(eps, steps=5, norm="l2", early_stop=False),
    "noise": RandomNoise,
    "noise in L2": lambda eps: RandomNoise(eps, "l2"),
    "Square": lambda eps: Square(eps, queries=5),
}
radii = st.floats(1e-3, 1) | st.sampled_from([0.1, 8 / 255, 0.3, 1.0, 0.0625, 0.0625 - 1e-12])


def distance(found: Tensor, images: Tensor, norm: str) -> float:
    offset = (found.double() - images.double()).flatten(1)
    return offset.norm(torch.inf if norm == "linf" else 2, dim=1).max().item()


def images_in(dtype: torch.dtype, seed: int) -> Tensor:
    return torch.rand(6, 1, 4, 4, generator=seeded(seed)).to(dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=25, deadline=None)
@given(eps=radii, seed=st.integers(0, 1000))
def test_attacks_stay_in_the_ball(name: str, dtype: torch.dtype, eps: float, seed: int) -> None:
    with initial_weights(seed):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).to(dtype)
    images, labels = images_in(dtype, seed), torch.arange(6) % 3
    found = ATTACKS[name](eps)(model, images, labels, seeded(seed))
    assert found.dtype == dtype
    assert 0 <= found.min() <= found.max() <= 1
    norm = "l2" if name.endswith("L2") else "linf"
    assert distance(found, images, norm) <= eps
    if eps > 0.1:  # less may be lost in rounding
        assert (found != images).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("dtype", HALVES)
@given(eps=radii, seed=st.integers(0, 1000))
def test_rounding_costs_at_most_a_digit(
    norm: str, dtype: torch.dtype, eps: float, seed: int
) -> None:
    """A pixel of the result is one of the two half floats around what was found."""
    images = images_in(dtype, seed)
    centres = images.double()
    offset = torch.rand(images.shape, generator=seeded(seed + 1), dtype=torch.float64) * 2 - 1
    length = offset.flatten(1).norm(torch.inf if norm == "linf" else 2, dim=1)
    exact = centres + eps * offset / length.view(-1, 1, 1, 1)
    exact = exact.clamp(0, 1)
    found = rounded_inside(exact.float(), images, eps, norm)
    assert distance(found, images, norm) <= eps
    digit = torch.finfo(dtype).eps * exact.clamp(min=torch.finfo(dtype).tiny)
    assert ((found.double() - exact).abs() <= 1.001 * digit + 1e-7).all()


def test_what_bfloat16_once_left_the_ball_by() -> None:
    """The nearest bfloat16 of 0.5 + 0.1 is 0.6016: by 0.0016 too far."""
    images = torch.full((1, 1, 1, 1), 0.5).bfloat16()
    assert (images.float() + 0.1).bfloat16().item() - 0.5 > 0.1016 - 1e-4
    assert rounded_inside(images.float() + 0.1, images, 0.1, "linf").item() == 0.59765625
