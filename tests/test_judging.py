"""Judging against closed forms: who chooses on the draws that count is promised too little."""

import pytest
import torch
from torch import Tensor, nn

from robustnb.judging import Judged, ensemble, judge, passes, single_draws, worst_case
from robustnb.randomness import seeded


class Coin(nn.Module):
    """Say class 0 with probability p, whatever the image."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None
        self.asked = 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        says_one = torch.rand(len(images), generator=self.generator) >= self.p
        return nn.functional.one_hot(says_one.long(), 2).float()


IMAGES, LABELS = torch.zeros(4_000, 1, 1, 1), torch.zeros(4_000, dtype=torch.int64)


def test_choosing_among_equal_attacks_wins_nothing() -> None:
    """Twelve attacks that do the same leave p; the least of their means of 5 draws is far below."""
    judged = [judge(passes(Coin(0.5)), IMAGES, LABELS, 5, seed) for seed in range(12)]
    assert worst_case(judged) == pytest.approx(0.5, abs=0.02)
    on_what_counts = torch.stack([each.shares for each in judged]).amin(0).mean()
    assert on_what_counts < 0.25


def test_the_better_attack_is_found_for_each_image() -> None:
    odd = torch.arange(4_000) % 2 == 1

    def asked(right: Tensor) -> Judged:
        def ask(images: Tensor, draws: int, generator: torch.Generator) -> Tensor:
            drawn = torch.rand(draws, len(images), generator=generator) < right
            return nn.functional.one_hot((~drawn).long(), 2).float()

        return judge(ask, IMAGES, LABELS, 20, seed=0)

    one, other = asked(torch.where(odd, 0.9, 0.2)), asked(torch.where(odd, 0.2, 0.9))
    assert worst_case([one]) == pytest.approx(0.55, abs=0.02)
    assert worst_case([one, other]) == pytest.approx(0.2, abs=0.02)


def test_one_attack_for_all_images_counts_too() -> None:
    """A rehearsal that misleads for every image leaves no more than the best single attack."""
    good = Judged(torch.zeros(10), torch.ones(10))
    bad = Judged(torch.ones(10), torch.zeros(10))
    assert worst_case([good, bad]) == 0


def test_without_randomness_one_answer_counts_and_images_are_judged_by_their_worst() -> None:
    network = Coin(1.0)
    judged = judge(passes(network), IMAGES, LABELS, 1, seed=0)
    assert network.asked == len(IMAGES)
    assert torch.equal(judged.shares, judged.rehearsed)
    one, other = (
        Judged(x, x) for x in (torch.tensor([1.0, 0, 1, 1]), torch.tensor([0, 1.0, 1, 1]))
    )
    assert worst_case([one, other]) == 0.5


def test_the_draws_that_count_are_those_of_the_seed_and_not_the_rehearsal_s() -> None:
    first, again, other = (judge(passes(Coin(0.5)), IMAGES, LABELS, 3, s) for s in (0, 0, 1))
    assert torch.equal(first.shares, again.shares)
    assert torch.equal(first.rehearsed, again.rehearsed)
    assert not torch.equal(first.shares, other.shares)
    assert not torch.equal(first.shares, first.rehearsed)


def test_draws_count_singly_or_as_an_ensemble() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])  # three draws of one image
    label = torch.tensor([0])
    assert single_draws(logits, label).item() == pytest.approx(1 / 3)
    mean = logits.softmax(-1).mean(0)[0]
    assert ensemble(logits, label).item() == float(mean[0] > mean[1]) == 0.0
    assert ensemble(2 * logits, label).item() == 0.0
    assert ensemble(logits[:2], label).item() == 1.0


def test_the_network_s_own_generators_are_given_back() -> None:
    network, own = Coin(0.5), seeded(7)
    network.generator = own
    judge(passes(network), IMAGES, LABELS, 2, seed=0)
    assert network.generator is own
