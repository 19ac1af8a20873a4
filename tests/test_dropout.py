"""Dropout as torch's, with a generator of its own."""

import pytest
import torch

from robustnb.dropout import Dropout
from robustnb.randomness import noise_from, seeded


def test_dropout_is_that_of_torch_with_a_generator_of_its_own() -> None:
    dropout, x = Dropout(0.3).double(), 1 + torch.rand(100, 1000, dtype=torch.float64)
    with noise_from(dropout, seeded(1)):
        first = dropout(x)
        second = dropout(x)
    dropped = first == 0
    assert dropped.double().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(first[~dropped], x[~dropped] / 0.7)
    assert not torch.equal(first, second)
    with noise_from(dropout, seeded(1)):
        assert torch.equal(dropout(x), first)
    assert dropout.eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x)


def test_the_probability_is_shown_and_checked() -> None:
    assert repr(Dropout(0.25)) == "Dropout(p=0.25)"
    with pytest.raises(ValueError, match=r"p is 1\.0"):
        Dropout(1.0)
