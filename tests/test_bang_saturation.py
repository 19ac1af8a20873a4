"""Saturation against the rounding of float32 worked out by hand."""

import pytest
import torch
from torch import Tensor, nn

from robustnb.papers.bang import saturation
from robustnb.papers.bang.saturation import blank, certain, gradient_health


def two_logits(offset: float = 0.0) -> nn.Sequential:
    """Build logits (offset + 500 x, offset - 500 x) of an image of one pixel x."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    model[1].weight.data = torch.tensor([[500.0], [-500.0]])
    model[1].bias.data.fill_(offset)
    return model


def with_margins(*margins: float) -> tuple[Tensor, Tensor]:
    images = torch.tensor(margins).view(-1, 1, 1, 1) / 1000
    return images, torch.zeros(len(margins), dtype=torch.long)


def test_float32_rounds_to_certainty_at_24_bits_and_to_zero_at_149() -> None:
    # 1 + e^-m rounds to 1 from m = 24 ln 2 = 16.6 on; e^-m itself to 0 from 149 ln 2 = 103.3 on.
    split = with_margins(1.0, 16.0, 17.5, 80.0, 110.0, 200.0)
    assert certain(two_logits(), *split).tolist() == [False, False, True, True, True, True]
    assert blank(two_logits(), *split).tolist() == [False, False, False, False, True, True]


@pytest.mark.parametrize("batch", [1, 250])
def test_the_numbers_of_known_logits(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "BATCH", batch)
    health = gradient_health(two_logits(-50.0), *with_margins(4.0, 20.0, 110.0))
    assert health == pytest.approx(
        {
            "zero_gradients": 1 / 3,
            "certain": 2 / 3,
            "median_margin": 20.0,
            "mean_label_logit": (2 + 10 + 55) / 3 - 50,
            "mean_largest_logit": (52 + 60 + 105) / 3,
        }
    )


def test_a_network_keeps_its_mode() -> None:
    model = two_logits().train()
    gradient_health(model, *with_margins(1.0))
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
