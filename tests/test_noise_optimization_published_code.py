"""What the published code of Xiao, Zhang & Peng does otherwise, against a few lines by hand."""

import pytest
import torch

from robustnb.papers.noise_optimization import published_code as code
from robustnb.papers.noise_optimization.training import Training, train
from robustnb.randomness import seeded

DIGITS = Training("digits", epochs=2, batch_size=64, num_images=300)
PLAIN = "MLP Sigmoid"


def test_the_code_s_gradient_lacks_a_sign() -> None:
    for signed in (True, False):
        layer = code.CodedNoise(3, signed=signed)
        layer.sigma.data = torch.tensor([-0.5, 0.5, -2.0])
        layer.generator = seeded(0)
        out = layer(torch.zeros(1, 3))
        epsilon = torch.randn(1, 3, generator=seeded(0))
        torch.testing.assert_close(out, torch.tensor([0.5, 0.5, 2.0]) * epsilon)
        out.sum().backward()
        sign = torch.tensor([-1.0, 1.0, -1.0]) if signed else torch.ones(3)
        torch.testing.assert_close(layer.sigma.grad, (sign * epsilon).squeeze(0))


def test_epoch_by_epoch_is_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "ENOUGH", 1.1)
    monkeypatch.setattr(code, "MOST_EPOCHS", 2)
    stepwise, at_once = code.train_until_enough(DIGITS, PLAIN, 0), train(DIGITS, PLAIN, 0)
    for one, two in zip(stepwise.model.parameters(), at_once.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_training_stops_when_the_test_set_is_read_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "ENOUGH", 0.0)
    assert len(code.train_until_enough(DIGITS, PLAIN, 0).history) == 1
