"""The figures draw what the rows say, beside Tables 2 to 4, and so does their alt text."""

import math
from typing import Any

import numpy as np
import pytest
from drawn import axes_of, points, spreads, ticks

from robustnb.papers.bayesian_weight_sampling import figures
from robustnb.papers.bayesian_weight_sampling.claims import SETS
from robustnb.quantities import Quantity
from robustnb.results import Row, make_row, over_seeds, published
from robustnb.stored import Stored

PAPER = "bayesian-weight-sampling"
RHOS = ["-30", "-10", "-4", "-3", "-2.5", "-2", "-1.5"]
CELLS = {(c["table"], c["row"], c["column"]): c["value"] for c in published(PAPER)}


def measure(table: str, row: str, column: str, value: float, seed: int = 0) -> Row:
    rest: dict[str, Any] = {"num_images": 1, "profile": "smoke", "seconds": 0.0}
    rest |= {"dataset": "digits", "digest": "ab", "seed": seed, "unit": "%"}
    return make_row(PAPER, table, row, column, value, settings={"sets": SETS}, **rest)


def stored(rows: list[Row]) -> Stored:
    return Stored(PAPER, over_seeds(rows))


def test_the_curve_over_rho_has_both_lines_and_the_plain_networks() -> None:
    columns = [f"bayesian rho_init={rho}" for rho in RHOS]
    rows = [measure("2", "average", c, 80.0 + i + 2 * s, s) for i, c in enumerate(columns)
            for s in (0, 1)]  # fmt: skip
    rows += [measure("2", "average", "standard lambda=0", 70.25)]
    rows += [measure("2", "average", "standard lambda=1", 60.0)]
    drawing = figures.accuracy_over_rho(stored(rows))
    (axes,) = axes_of(drawing)
    assert [tick.partition("\n")[0] for tick in ticks(axes)] == RHOS
    sigmas = [float(tick.partition("\n")[2]) for tick in ticks(axes)]
    assert sigmas == pytest.approx([np.logaddexp(0, float(rho)) for rho in RHOS], rel=0.05)
    paper = [CELLS["2", "average", column] for column in columns]
    assert points(axes, "paper") == list(enumerate(paper))
    assert points(axes, "ours") == [(i, 81.0 + i) for i in range(7)]
    assert spreads(axes, "ours") == pytest.approx([math.sqrt(2)] * 7)
    lines = {
        line.get_label(): line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2
    }
    assert lines["best plain (lambda=1e-2), paper"] == 67.78
    assert lines["best plain (lambda=0), ours"] == 70.25
    assert "paper: rho_init=-30 81.01%" in drawing.alt
    assert "ours: rho_init=-30 81.00 ± 1.41%" in drawing.alt
    assert "Best plain (lambda=0), ours: 70.25%" in drawing.alt


def test_curves_of_nothing_measured_show_the_paper_alone() -> None:
    rows = [measure("2", SETS[0], "bayesian rho_init=-3", 80.0)]
    drawing = figures.accuracy_over_rho(stored(rows))
    (axes,) = axes_of(drawing)
    assert len(axes.containers) == 1
    assert "ours: not measured" in drawing.alt


def test_a_gap_in_the_rows_is_a_gap_in_the_curve() -> None:
    rows = [measure("3", "average", f"ensemble N={n}", 80.0 + n) for n in (1, 10)]
    drawing = figures.ensemble_curve(stored(rows))
    (axes,) = axes_of(drawing)
    assert ticks(axes) == ["1", "5", "10", "25", "100"]
    assert points(axes, "ours") == [(0, 81.0), (2, 90.0)]
    assert [y for _, y in points(axes, "paper")] == [83.21, 87.18, 87.86, 88.14, 88.28]
    assert "N=100 88.28%; ours: N=1 81.00%, N=10 90.00%." in drawing.alt


def test_the_pruning_curve_starts_at_the_unpruned_ensemble() -> None:
    rows = [measure("4", "average", "pruned 50%", 87.0)]
    rows += [measure("3", "average", "ensemble N=100", 88.0)]
    rows += [measure("unpruned", "original test", "ensemble N=100", 97.5)]
    drawing = figures.pruning_curve(stored(rows))
    (axes,) = axes_of(drawing)
    assert ticks(axes) == ["0%", "25%", "50%", "75%", "90%", "95%", "98%"]
    assert points(axes, "perturbed, ours") == [(0, 88.0), (2, 87.0)]
    assert points(axes, "clean, ours") == [(0, 97.5)]
    assert points(axes, "perturbed, paper")[:2] == [(0, 88.28), (1, 84.26)]
    assert points(axes, "clean, paper")[0] == (1, 97.35)
    assert "perturbed, ours: 0% 88.00%, 50% 87.00%" in drawing.alt


def test_an_average_over_fewer_sets_stands_beside_the_printed_cells_of_these() -> None:
    column, few = "bayesian rho_init=-3", SETS[:2]
    row = measure("2", "average", column, 80.0) | {"settings": {"sets": few}}
    (axes,) = axes_of(figures.accuracy_over_rho(stored([row])))
    expected = sum(CELLS["2", name, column] for name in few) / 2
    assert dict(points(axes, "paper"))[RHOS.index("-3")] == pytest.approx(expected)


def test_dots_are_in_order_with_their_spreads() -> None:
    found = {
        "high": Quantity({0: 2.5, 1: 3.5}),
        "low": Quantity({0: 1.0}),
        "middle": Quantity({0: 1.75, 1: 2.25}),
    }
    drawing = figures.dots("Some title", found, "share (%)")
    (axes,) = axes_of(drawing)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["low", "middle", "high"]
    drawn = [tuple(map(float, bars.lines[0].get_xydata()[0])) for bars in axes.containers]
    assert drawn == [(1, 0), (2, 1), (3, 2)]
    assert drawing.alt == (
        "Some title, from the least to the greatest: low 1.00%, middle 2.00 ± 0.35%, "
        "high 3.00 ± 0.71%."
    )


CONTROLS = [
    measure("2", "average", "bayesian rho_init=-30", 70.0),
    measure("2", "average", "bayesian rho_init=-3", 80.0),
    measure("2", "average", "bayesian rho_init=-2", 75.0),
    measure("2", "average", "standard lambda=0", 60.0),
    measure("controls", "plain, both", "test", 99.0),
    measure("controls", "plain, both", "average over 12 sets", 65.0),
    measure("controls", "mean weights", "average over 12 sets", 78.0),
    measure("controls", "mean weights, rho_init=-30", "average over 12 sets", 71.0),
]


def test_networks_without_noise_stand_among_those_with_it() -> None:
    (axes,) = axes_of(figures.controls(stored(CONTROLS)))
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "standard lambda=0",
        "plain, both",
        "bayesian rho_init=-30",
        "mean weights",
        "bayesian rho_init=-3",
    ]


def test_noise_at_test_time_has_a_line_with_it_and_one_without() -> None:
    (axes,) = axes_of(figures.noise_at_test_time(stored(CONTROLS)))
    assert ticks(axes) == RHOS
    assert points(axes, "one draw") == [(0, 70.0), (3, 80.0), (5, 75.0)]
    assert points(axes, "mean weights") == [(0, 71.0), (3, 78.0)]
