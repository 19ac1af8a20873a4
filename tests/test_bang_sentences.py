"""What the chapter on BANG shows and says of rows, on rows made by hand."""

from typing import Any

import pytest
import torch
from drawn import axes_of, points, spreads, ticks
from hand_made import row

from robustnb.metrics import wilson_interval
from robustnb.papers.bang import row_figures, sentences
from robustnb.results import over_seeds, printed
from robustnb.stored import Stored

B1, EXACT = "B1 beta=1.00 epsilon=0.815", "B1 beta=1.00 epsilon=0.815, exact gradient"
C0 = "B0 beta=0.40 epsilon=0.855"
COLUMNS = {"plain": "R0", "BANG": B1}
COUNTED = "cross-entropy, p = 1 counted as failed"
CERTAIN = "probabilities of the label that are 1"


def stored(cells: dict[tuple[str, str, str], Any], iterations: int = 7) -> Stored:
    """Return the rows of cells; a list is of one value per seed."""
    changes = {"settings": {"training": {"iterations": iterations}}, "num_images": 50}
    rows = [
        row("bang", place, number, seed, "laptop") | changes | {"dataset": "cifar10"}
        for place, value in cells.items()
        for seed, number in enumerate(value if isinstance(value, list) else [value])
    ]
    return Stored("bang", over_seeds(rows))


NOISE = stored(
    {
        ("random noise", f"iteration {iteration}, std {std}{note}", name): [n, n + 2.0]
        for n, (iteration, std, note, name) in enumerate(
            (iteration, std, note, name)
            for iteration in (5, 10)
            for std in (20, 40)
            for note in ("", ", clipped")
            for name in ("R0", B1)
        )
    }
)


def test_noise_is_drawn_at_the_end_and_over_training() -> None:
    (axes,) = axes_of(row_figures.after_noise(NOISE, "random noise", COLUMNS))
    assert ticks(axes) == ["20", "40"]
    assert points(axes, "plain") == [(0, 9), (1, 13)]
    assert points(axes, "BANG, clipped") == [(0, 12), (1, 16)]
    assert spreads(axes, "plain") == pytest.approx([2**0.5, 2**0.5])
    drawing = row_figures.noise_over_training(NOISE, "random noise", COLUMNS)
    (axes,) = axes_of(drawing)
    assert ticks(axes) == ["5", "10"]
    assert points(axes, "BANG") == [(0, 6), (1, 14)]
    assert drawing.alt.startswith("Answers changed by noise of std 40.")
    told = sentences.strongest_noise(NOISE, B1)
    assert "of standard deviation 40, 13.0% of the answers change on R0 and 14.0% on B1." in told


def test_a_grid_has_a_row_for_each_epsilon_and_a_column_for_each_beta() -> None:
    names = ("grid beta=1.00 epsilon=0.800", "grid beta=1.30 epsilon=0.800")
    cells: dict[tuple[str, str, str], Any] = {
        ("grid", name, column): 97.128 + n
        for n, name in enumerate(names)
        for column in ("accuracy", "FGS rate")
    }
    found = row_figures.grid(stored(cells), "grid", "accuracy", "Accuracy (%)")
    assert found.text.splitlines() == [
        "Accuracy (%) after 7 iterations; profile laptop, cifar10, 1 seed",
        "epsilon=0.800, beta=1.00: 97.13",
        "epsilon=0.800, beta=1.30: 98.13",
    ]


def test_a_tenth_of_the_digits_has_its_part_of_all_lengths() -> None:
    lengths = {"plain": torch.tensor([5.0] + 19 * [0.5])}
    assert sentences.told_lengths(lengths, 80) == (
        "After 80 iterations, plain: a tenth of the digits has 38% of the sum of all lengths, "
        "and the median is 0.5."
    )


def test_fgs_is_told_by_both_ways_to_count() -> None:
    found = stored(
        {
            ("1", "R0", "FGS rate"): 91.04,
            ("1", B1, "FGS rate"): 82.04,
            ("gradients", CERTAIN, B1): 73.04,
            ("gradients", "input gradients that are 0", B1): 64.04,
            ("fgs", f"{COUNTED}: success", B1): 55.04,
        }
    )
    told = sentences.fgs_success(found, B1)
    for part in (
        "fools B1 with 82.0% of its images (R0: 91.0%), where the paper has "
        f"{printed('bang', '1', B1, 'FGS rate')}%",
        "for 73.0% of the images the probability",
        "55.0% are left",
        "64.0% of the input gradients are 0",
    ):
        assert part in told


def test_fgs_with_the_margin_is_told_with_sizes() -> None:
    found = stored(
        {
            ("fgs", "margin: success", B1): 91.04,
            ("fgs", "margin: Linf", B1): 82.04,
            ("fgs", "margin: success", "R0"): 73.04,
            ("fgs", "margin: Linf", "R0"): 64.04,
            ("fgs", f"{COUNTED}: Linf", B1): 5.04,
        }
    )
    told = sentences.fgs_with_margin(found, B1)
    for part in (
        "91.0% of the BANG network's images at a mean of 82.0 pixels",
        "73.0% of the plain one's at 64.0",
        f"({printed('bang', '1', B1, 'FGS Linf')})",
        "take 5.0.",
    ):
        assert part in told


def test_hot_cold_without_a_success_has_no_size() -> None:
    found = stored(
        {
            ("hot-cold", "the paper's weights: Linf", "R0"): 115.2,
            ("hot-cold", "the paper's weights: Linf", B1): 203.7,
            ("hot-cold", "unit weights: Linf", "R0"): 108.7,
            ("gradients", "mean logit of the label", "R0"): 14.4,
            ("gradients", "mean logit of the label", EXACT): 55.4,
        }
    )
    names = {"R0": "R0", "B1": B1, "the exact one": EXACT}
    assert sentences.hot_cold_sizes(found, names) == (
        "HC1 needs, in pixels: with the paper's weights 115 on R0, 204 on B1; with unit weights "
        "109 on R0. Mean logits of the label: 14 on R0, 55 on the exact one."
    )


def test_the_worst_case_is_told_with_its_interval() -> None:
    places = [("worst case", "worst case, eps=0.1", name) for name in ("R0", B1)]
    other = ("worst case", "PGD, margin, eps=0.1", "R0")
    low, high = (100 * end for end in wilson_interval(0.4, 50))
    assert sentences.at_worst(stored({places[0]: 40, places[1]: 0, other: 50}), "worst case") == (
        "At the worst of all, with the 95% interval over 50 images: "
        f"R0 at 0.1: 40.0% ({low:.1f} to {high:.1f}); B1 at 0.1: 0.0% (0.0 to 7.1)."
    )


def test_both_losses_are_told_at_each_epsilon() -> None:
    cells: dict[tuple[str, str, str], Any] = {
        ("worst case", f"PGD, {loss}, eps={eps}", name): number
        for number, (eps, name, loss) in enumerate(
            (eps, name, loss)
            for eps in ("0.1", "2/255")
            for name in ("R0", B1)
            for loss in ("cross-entropy", "margin")
        )
    }
    told = sentences.two_losses(stored(cells), "worst case", {"R0": "R0", "BANG": B1})
    assert told == (
        "Right answers under PGD with the cross-entropy and with the margin: at ε = 0.1 "
        "R0 0.0% and 1.0%, BANG 2.0% and 3.0%; at ε = 2/255 R0 4.0% and 5.0%, BANG 6.0% and 7.0%."
    )


def test_the_length_of_a_training_is_that_of_its_rows() -> None:
    cells = {
        ("2", "R0", "accuracy"): 70.0,
        ("gradients", CERTAIN, B1): 97.6,
        ("gradients, CIFAR-10", CERTAIN, C0): 23.4,
    }
    found = stored(cells, iterations=4_000)
    expected = "Measured at profile laptop (4000 iterations; the paper has 20,000)."
    assert sentences.length_of_training(found) == expected
    told = sentences.underflowed(found, C0, B1)
    assert told.startswith(
        "After 4,000 iterations the probability of the label is exactly 1 for 23%"
    )
    assert "that B0 reads rightly; on MNIST, after 4,000, that is 98%." in told
