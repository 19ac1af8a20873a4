"""What is measured of weight draws, on draws made by hand."""

import pytest
import torch
from torch import nn

from robustnb.judging import single_draws
from robustnb.models import fully_connected
from robustnb.papers.bayesian_weight_sampling import measuring
from robustnb.papers.bayesian_weight_sampling.training import Trained, variational_network
from robustnb.randomness import noise_from, seeded


def test_ensemble_accuracy_of_hand_made_draws() -> None:
    # Probabilities of class 1 by draw and image; the labels are 1, 1, 0.
    ones = torch.tensor([[0.9, 0.4, 0.4], [0.4, 0.4, 0.9], [0.2, 0.9, 0.2], [0.4, 0.4, 0.6]])
    draws, labels = torch.stack([1 - ones, ones], 2), torch.tensor([1, 1, 0])
    # Single draws: 2, 0, 2 and 0 of 3 images right.
    assert measuring.ensemble_accuracy(draws, labels, 1) == pytest.approx(4 / 12)
    # Means of two: 0.65, 0.4, 0.65 has one right; 0.3, 0.65, 0.4 has two.
    assert measuring.ensemble_accuracy(draws, labels, 2) == pytest.approx(3 / 6)
    # The mean of four: 0.475, 0.525, 0.525 has one right; a vote of the four would have none.
    assert measuring.ensemble_accuracy(draws, labels, 4) == pytest.approx(1 / 3)


def test_draws_that_are_skipped_are_those_of_passes() -> None:
    model, images = variational_network(-3.0, seed=1), torch.rand(4, 1, 28, 28)
    model.eval()
    passed, skipped = seeded(0), seeded(0)
    with torch.no_grad(), noise_from(model, passed):
        for _ in range(3):
            model(images)
    measuring.skip_draws(model, 3, skipped)
    assert torch.equal(passed.get_state(), skipped.get_state())


@pytest.mark.parametrize("draws", [1, 4])
def test_answers_are_those_of_passes_on_draws_of_the_seed(draws: int) -> None:
    noisy = variational_network(-2.0, seed=1)
    model: nn.Module = noisy if draws > 1 else fully_connected("FC-10")
    shown = measuring.Perturbed(torch.rand(30, 1, 28, 28), torch.arange(30) % 10)
    found = measuring.answers(Trained(model, []), shown, draws, seed=5)
    model.eval()
    with torch.no_grad(), noise_from(model, seeded(5)):
        logits = torch.stack([model(shown.images) for _ in range(draws)])
    torch.testing.assert_close(found.single.shares, single_draws(logits, shown.labels))
    together = logits.softmax(-1).mean(0).argmax(-1) == shown.labels
    assert torch.equal(found.ensemble.shares.bool(), together)
    assert torch.equal(found.single.rehearsed, found.single.shares) == (draws == 1)
