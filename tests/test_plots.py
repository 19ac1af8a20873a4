"""What the figures draw is what the rows say, and so is their alt text."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.contour import ContourSet

from robustnb import plots
from robustnb.drawing import Drawing
from robustnb.results import Row, compare, make_row, published

PAPER = "bayesian-weight-sampling"
RHOS = ["-30", "-10", "-4", "-3", "-2.5", "-2", "-1.5"]
CELLS = {(c["table"], c["row"], c["column"]): c["value"] for c in published(PAPER)}


def measure(table: str, row: str, column: str, value: float, seed: int = 0) -> Row:
    rest: dict[str, Any] = {"num_images": 1, "profile": "smoke", "settings": {}, "seconds": 0.0}
    rest |= {"dataset": "digits", "digest": "ab", "seed": seed, "unit": "%"}
    return make_row(PAPER, table, row, column, value, **rest)


def axes_of(drawing: Drawing) -> list[Axes]:
    return list(drawing.figure.axes)


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    """Return the points of the curve with that label in the legend."""
    (bars,) = [c for c in axes.containers if c.get_label() == label]
    assert isinstance(bars, ErrorbarContainer)
    return [(float(x), float(y)) for x, y in bars.lines[0].get_xydata()]


def spreads(axes: Axes, label: str) -> list[float]:
    (bars,) = [c for c in axes.containers if c.get_label() == label]
    segments = bars.lines[2][0].get_segments()
    return [float(segment[1][1] - segment[0][1]) / 2 for segment in segments]


def ticks(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_xticklabels()]


# Any lines and any dots


def test_lines_are_drawn_where_there_are_values() -> None:
    lines = {"one": [(1.0, None), None, (3.0, 0.5)], "other": [None, (2.0, 0.25), None]}
    drawing = plots.curves("Some title", ["a", "b", "c"], lines, "place", "value")
    (axes,) = axes_of(drawing)
    assert ticks(axes) == ["a", "b", "c"]
    assert points(axes, "one") == [(0, 1), (2, 3)]
    assert spreads(axes, "one") == [0, 0.5]
    assert points(axes, "other") == [(1, 2)]
    assert drawing.alt == ("Some title. one: a 1.00%, c 3.00 ± 0.50%; other: b 2.00 ± 0.25%.")
    without = plots.curves("Some title", ["a"], {"one": [(0.5, None)]}, "place", "value", unit="")
    assert without.alt == "Some title. one: a 0.50."


def test_dots_are_in_order_with_their_spreads() -> None:
    values = {"high": (3.0, 0.5), "low": (1.0, None), "middle": (2.0, 0.25)}
    cells = {name: {"value": value, "spread": spread} for name, (value, spread) in values.items()}
    drawing = plots.dots("Some title", cells, "share (%)")
    (axes,) = axes_of(drawing)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["low", "middle", "high"]
    drawn = [tuple(map(float, bars.lines[0].get_xydata()[0])) for bars in axes.containers]
    assert drawn == [(1, 0), (2, 1), (3, 2)]
    assert drawing.alt == (
        "Some title, from the least to the greatest: low 1.00%, middle 2.00 ± 0.25%, "
        "high 3.00 ± 0.50%."
    )


def test_lengths_are_ranked_and_those_below_the_axis_are_told() -> None:
    lengths = {"one": [0.1, 1.0, 0.0], "other": [2.0, 3.0]}
    drawing = plots.ranked("Some title", lengths, "length", (1e-3, 10.0))
    (axes,) = axes_of(drawing)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"one": [[1, 1.0], [2, 0.1]], "other": [[1, 3.0], [2, 2.0]]}
    assert (axes.get_yscale(), axes.get_ylim()) == ("log", (1e-3, 10.0))
    assert drawing.alt == "Some title: one from 1 to 0, 1 below the axis; other from 3 to 2."


# Published and ours


def test_the_heat_maps_hold_published_ours_and_difference() -> None:
    rows = [measure("1", "test", "bayesian rho_init=-3", value, seed) for seed, value in
            enumerate([96.0, 97.0])]  # fmt: skip
    rows += [measure("1", "validation", "standard lambda=1", 93.0)]
    drawing = plots.comparison(compare(PAPER, "1", rows, "smoke"), "Table 1")
    paper, ours, difference = (axes.collections[0].get_array() for axes in axes_of(drawing))
    assert paper.shape == (2, 11)
    assert paper[1].tolist() == [
        CELLS["1", "test", c] for c in dict.fromkeys(c["column"] for c in published(PAPER, "1"))
    ]
    assert ours.count() == difference.count() == 2
    assert (ours[1, 3], ours[0, 10]) == (96.5, 93.0)
    assert difference[1, 3] == pytest.approx(96.5 - 97.12)
    low, high = axes_of(drawing)[2].collections[0].get_clim()
    assert -low == high == pytest.approx(93.0 - 91.44)
    words = [text.get_text() for text in axes_of(drawing)[2].texts]
    assert sorted(words) == sorted(["-0.62", "+1.56"] + 20 * ["–"])
    assert "2 of 22 published cells measured, 1.09 from the published value" in drawing.alt
    assert "+1.56 at validation, standard lambda=1 (published 91.44, ours 93.00)" in drawing.alt


def test_a_heat_map_of_nothing_is_all_dashes() -> None:
    drawing = plots.comparison(compare(PAPER, "3", [], "smoke"), "Table 3")
    assert drawing.alt == "Table 3: 0 of 65 published cells measured."
    assert "Table 3" in drawing.svg()
    assert [text.get_text() for text in axes_of(drawing)[1].texts] == ["–"] * 65


def test_the_curve_over_rho_has_both_lines_and_the_plain_networks() -> None:
    columns = [f"bayesian rho_init={rho}" for rho in RHOS]
    rows = [measure("2", "average", c, 80.0 + i + 2 * s, s) for i, c in enumerate(columns)
            for s in (0, 1)]  # fmt: skip
    rows += [measure("2", "average", "standard lambda=0", 70.25)]
    rows += [measure("2", "average", "standard lambda=1", 60.0)]
    drawing = plots.accuracy_over_rho(rows, published(PAPER))
    (axes,) = axes_of(drawing)
    assert ticks(axes) == RHOS
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
    drawing = plots.accuracy_over_rho([], published(PAPER))
    (axes,) = axes_of(drawing)
    assert len(axes.containers) == 1
    assert "ours: not measured" in drawing.alt


def test_a_gap_in_the_rows_is_a_gap_in_the_curve() -> None:
    rows = [measure("3", "average", f"ensemble N={n}", 80.0 + n) for n in (1, 10)]
    drawing = plots.ensemble_curve(rows, published(PAPER))
    (axes,) = axes_of(drawing)
    assert ticks(axes) == ["1", "5", "10", "25", "100"]
    assert points(axes, "ours") == [(0, 81.0), (2, 90.0)]
    assert [y for _, y in points(axes, "paper")] == [83.21, 87.18, 87.86, 88.14, 88.28]
    assert "N=100 88.28%; ours: N=1 81.00%, N=10 90.00%." in drawing.alt


def test_the_pruning_curve_starts_at_the_unpruned_ensemble() -> None:
    rows = [measure("4", "average", "pruned 50%", 87.0)]
    rows += [measure("3", "average", "ensemble N=100", 88.0)]
    rows += [measure("unpruned", "original test", "ensemble N=100", 97.5)]
    drawing = plots.pruning_curve(rows, published(PAPER))
    (axes,) = axes_of(drawing)
    assert ticks(axes) == ["0%", "25%", "50%", "75%", "90%", "95%", "98%"]
    assert points(axes, "perturbed, ours") == [(0, 88.0), (2, 87.0)]
    assert points(axes, "clean, ours") == [(0, 97.5)]
    assert points(axes, "perturbed, paper")[:2] == [(0, 88.28), (1, 84.26)]
    assert points(axes, "clean, paper")[0] == (1, 97.35)
    assert "perturbed, ours: 0% 88.00%, 50% 87.00%" in drawing.alt


# Training, images, probabilities


def test_the_training_curve_is_the_history() -> None:
    history = [
        {"epoch": float(i + 1), "train_loss": loss, "validation_accuracy": accuracy}
        for i, (loss, accuracy) in enumerate([(2.0, 0.5), (1.0, 0.9), (0.5, 0.875)])
    ]
    drawing = plots.training_curve(history)
    above, below = axes_of(drawing)
    assert above.lines[0].get_xydata().tolist() == [[1, 2.0], [2, 1.0], [3, 0.5]]
    assert below.lines[0].get_ydata().tolist() == pytest.approx([50.0, 90.0, 87.5])
    assert "3 epochs: the loss goes from 2 to 0.5" in drawing.alt
    assert "50.00% to 87.50%, at best 90.00% in epoch 2" in drawing.alt
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.training_curve([])


def test_images_keep_their_pixels_and_signed_ones_are_symmetric() -> None:
    digit = np.linspace(0, 1, 16).reshape(1, 4, 4)
    colour = np.linspace(0, 1, 48).reshape(3, 4, 4)
    small, large = 0.1 * (digit - 0.5), -0.4 * (digit - 0.75)
    drawing = plots.images(
        [[digit, colour], [small, large]], [["a 3", "an 8"], ["r\n0.05", "r\n0.30"]]
    )
    shown = [axes.images[0] for axes in axes_of(drawing)]
    assert shown[0].get_array().tolist() == digit[0].tolist()
    assert shown[1].get_array().shape == (4, 4, 3)
    assert shown[0].get_clim() == (0, 1)
    assert shown[2].get_clim() == shown[3].get_clim() == pytest.approx((-0.3, 0.3))
    assert {image.get_interpolation() for image in shown} == {"none"}
    assert [axes.texts[0].get_text() for axes in axes_of(drawing)][2] == "r\n0.05"
    assert drawing.alt == "4 images: a 3, an 8; r 0.05, r 0.30."


def test_a_map_without_a_limit_is_shown_up_to_its_maximum() -> None:
    drawing = plots.images([[np.full((2, 2), 0.25)]], [["map"]], limit=None)
    assert axes_of(drawing)[0].images[0].get_clim() == (0, 0.25)


def test_wrong_grids_of_images_get_one_sentence() -> None:
    with pytest.raises(ValueError, match="needs a caption"):
        plots.images([[np.zeros((2, 2))]], [["one", "two"]])
    with pytest.raises(ValueError, match=r"not \(2, 2, 2\)"):
        plots.images([[np.zeros((2, 2, 2))]], [["one"]])


def test_bars_are_the_probabilities_and_the_true_class_is_marked() -> None:
    networks = {"plain": [0.1, 0.7, 0.2], "Bayesian": [0.25, 0.25, 0.5]}
    drawing = plots.probabilities(networks, ["cat", "dog", "cow"], "cow")
    (axes,) = axes_of(drawing)
    heights = {bars.get_label(): [b.get_height() for b in bars] for bars in axes.containers}
    assert heights == networks
    assert [text.get_position()[0] for text in axes.texts] == [2]
    assert ticks(axes) == ["cat", "dog", "cow"]
    assert "plain says dog (0.70), cow (0.20); Bayesian says cow (0.50)." in drawing.alt
    with pytest.raises(ValueError, match="'hen' is no class"):
        plots.probabilities(networks, ["cat", "dog", "cow"], "hen")


def test_an_image_stands_beside_the_bars() -> None:
    networks = {"plain": [0.1, 0.7, 0.2], "Bayesian": [0.25, 0.25, 0.5]}
    classes = ["cat", "dog", "cow"]
    picture = np.linspace(0, 1, 16).reshape(1, 4, 4)
    drawing = plots.answers(picture, networks, classes, "cow")
    left, right = axes_of(drawing)
    assert left.images[0].get_array().tolist() == picture[0].tolist()
    assert left.images[0].get_clim() == (0, 1)
    assert left.images[0].get_interpolation() == "none"
    heights = {bars.get_label(): [b.get_height() for b in bars] for bars in right.containers}
    assert heights == networks
    assert plots.probabilities(networks, classes, "cow").alt == drawing.alt


def strokes(axes: Axes) -> list[np.ndarray]:
    """Return the ends of the strokes (strokes, 2, 2) of each group of dots or crosses."""
    paths = [patch.get_path() for patch in axes.patches if not patch.get_fill()]
    return [path.vertices.reshape(-1, 2, 2) for path in paths]


@given(st.integers(1, 120), st.integers(2, 12), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_bars_are_means_and_dots_the_first_hundred_draws(
    size: int, classes: int, seed: int
) -> None:
    answers = np.random.default_rng(seed).dirichlet(np.ones(classes), size)
    names = [str(k) for k in range(classes)]
    drawing = plots.draws(answers, names, "1")
    (axes,) = axes_of(drawing)
    assert [bar.get_height() for bar in axes.containers[0]] == pytest.approx(answers.mean(0))
    (dots,) = strokes(axes)
    assert (dots[:, 0] == dots[:, 1]).all()
    for k in range(classes):
        drawn = {round(y, 2) for x, y in dots[:, 0] if abs(x - k) <= 0.4}
        assert drawn == {round(y, 2) for y in answers[:100, k].round(2).tolist()}
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, classes - 0.5), (0, 1))


def test_the_votes_of_the_draws_are_told() -> None:
    answers = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]
    drawing = plots.draws(answers, ["3", "8"], "8")
    assert (
        "true class is 8. The mean of 3 draws says 3 (0.60); single draws: 2 say 3, 1 says 8."
        in (drawing.alt)
    )
    scattered = plots.draws(np.eye(5)[[0, 0, 1, 2, 3, 4]], list("abcde"), "a")
    assert "single draws: 2 say a, 1 says b, 1 says c, 2 say another." in scattered.alt
    assert "The mean of 1 draw says 8 (0.80)" in plots.draws(answers[1:2], ["3", "8"], "8").alt
    with pytest.raises(ValueError, match="'5' is no class"):
        plots.draws(answers, ["3", "8"], "5")
    with pytest.raises(ValueError, match=r"\(draws, 2 classes\) .* not \(2,\)"):
        plots.draws(answers[0], ["3", "8"], "8")


# Two classes in the plane


SIDE = np.linspace(-1, 1, 41)


def lines_at(*heights: float) -> np.ndarray:
    """Return the logits of draws that say class 1 above a height, for inputs (x, y)."""
    y = np.tile(SIDE, 41)
    return np.stack([np.stack([0 * y, y - height], axis=-1) for height in heights])


def test_each_draw_has_its_boundary_and_disagreement_is_shaded() -> None:
    points, labels = np.random.default_rng(0).uniform(-1, 1, (30, 2)), np.arange(30) % 2
    surfaces = {"one": lines_at(0.51), "two": lines_at(-0.51, 0.51), "none": lines_at(7.0)}
    drawing = plots.boundaries(points, labels, SIDE, surfaces)
    found = []
    for axes in axes_of(drawing):
        contours = [c for c in axes.collections if isinstance(c, ContourSet)]
        found.append([c.get_paths()[0].vertices[:, 1].mean() for c in contours])
    assert [pytest.approx(heights) for heights in ([0.51], [-0.51, 0.51], [])] == found
    shades = [axes.images[0].get_array()[..., 3] for axes in axes_of(drawing)]
    assert shades[0].max() == shades[2].max() == 0
    between = np.abs(SIDE) < 0.51
    assert (shades[1][between] > 0).all()
    assert (shades[1][~between] == 0).all()
    assert "two classes of 30 points" in drawing.alt
    assert "one: 1 draw, differing on 0% of the plane" in drawing.alt
    assert f"two: 2 draws, differing on {between.mean():.0%} of the plane" in drawing.alt


def test_the_classes_are_dots_and_crosses() -> None:
    points, labels = np.random.default_rng(0).uniform(-1, 1, (9, 2)), np.arange(9) % 2
    drawing = plots.boundaries(points, labels, SIDE, {"one": lines_at(0)})
    dots, crosses = strokes(axes_of(drawing)[0])
    assert (dots[:, 0] == dots[:, 1]).all()
    assert dots[:, 0].tolist() == points[::2].tolist()
    assert crosses.mean(1)[::2] == pytest.approx(points[1::2])
    assert crosses.mean(1)[1::2] == pytest.approx(points[1::2])
    many = np.random.default_rng(0).uniform(-1, 1, (999, 2))
    drawing = plots.boundaries(many, np.arange(999) % 2, SIDE, {"one": lines_at(0)})
    assert len(drawing.svg()) < 30_000
    assert "999 points" in drawing.alt


def test_wrong_surfaces_get_one_sentence() -> None:
    points, labels = np.zeros((3, 2)), np.array([0, 1, 1])
    with pytest.raises(ValueError, match=r"logits of 'one' have shape \(1681, 2\): .* 1681, 2\)"):
        plots.boundaries(points, labels, SIDE, {"one": lines_at(0)[0]})
    with pytest.raises(ValueError, match="two classes, not 3"):
        plots.boundaries(points, np.arange(3), SIDE, {"one": lines_at(0)})


# Calibration


def test_the_reliability_diagram_states_the_calibration_error() -> None:
    rows = [
        {"confidence": 0.5, "accuracy": 0.25, "share": 0.4},
        {"confidence": 0.9, "accuracy": 1.0, "share": 0.6},
    ]
    drawing = plots.reliability({"plain": rows, "perfect": [rows[0] | {"accuracy": 0.5}]})
    (axes,) = axes_of(drawing)
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["plain, ECE 0.160"] == [[0.5, 0.25], [0.9, 1.0]]
    assert "perfect, ECE 0.000" in lines
    assert "plain has an expected calibration error of 0.160" in drawing.alt


# Legible in light and dark


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", [*plots.COLOURS, plots.GREY])
@pytest.mark.parametrize("page", ["#ffffff", "#14181e"])
def test_line_colours_stand_out_on_white_and_on_dark(colour: str, page: str) -> None:
    assert _contrast(colour, page) >= 3


@pytest.mark.parametrize("colours", [plots.HIGHER, plots.SIGNED])
def test_dark_numbers_read_on_every_cell_of_a_heat_map(colours: Colormap) -> None:
    cells = [to_hex(colours(place)) for place in np.linspace(0, 1, 11)]
    assert min(_contrast("#222222", cell) for cell in cells) >= 4.5
