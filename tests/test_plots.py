"""What the figures draw is what the rows say, and so is their alt text."""

import numpy as np
import pytest
from drawn import axes_of, points, spreads, ticks
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet

from robustnb import plots
from robustnb.plots.canvas import COLOURS, GREY

# Lines


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


def test_slopes_go_from_the_first_value_to_the_second() -> None:
    panels = {
        "one": {"defended": (80.0, 20.0), "plain": (60.0, 30.0)},
        "two": {"defended": (50.0, 50.0)},
        "three": {"defended": (1.0, 0.0), "plain": (2.0, 0.0)},
    }
    drawing = plots.slopes("What is left", panels, ("before", "after"), "accuracy (%)")
    shown = axes_of(drawing)
    for axes, (name, lines) in zip(shown[:3], panels.items(), strict=True):
        assert axes.get_title() == name
        assert ticks(axes) == ["before", "after"]
        for line, (label, values) in zip(axes.lines, lines.items(), strict=True):
            assert line.get_label() == label
            assert line.get_ydata() == pytest.approx(values)
        assert axes.lines[-1].get_color() == GREY
    assert not shown[3].get_visible()
    assert drawing.alt.startswith("What is left: defended 80%, then 20%; plain 60%, then 30%;")


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
    panels = axes_of(drawing)[:4]
    shown = [axes.images[0] for axes in panels]
    assert shown[0].get_array().tolist() == digit[0].tolist()
    assert shown[1].get_array().shape == (4, 4, 3)
    assert shown[0].get_clim() == (0, 1)
    assert shown[2].get_clim() == shown[3].get_clim() == pytest.approx((-0.3, 0.3))
    assert {image.get_interpolation() for image in shown} == {"none"}
    assert panels[2].texts[0].get_text() == "r\n0.05"
    assert drawing.alt == "4 images: a 3, an 8; r 0.05, r 0.30."


@pytest.mark.parametrize("columns", [1, 3, 5, 6])
def test_letters_of_images_are_legible_on_a_phone(columns: int) -> None:
    drawing = plots.images([[np.zeros((2, 2))] * columns] * 2, [["Bayesian"] * columns] * 2)
    letters = min(text.get_fontsize() for axes in axes_of(drawing) for text in axes.texts)
    assert letters * min(1, 358 / (72 * drawing.box().width)) >= 9.95  # pixels at 390 less margins


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
    with pytest.raises(ValueError, match=r"shape \(2,\): .* \(draws, 2 classes\)"):
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
    many = np.random.default_rng(0).uniform(-1, 1, (998, 2))
    drawing = plots.boundaries(many, np.arange(998) % 2, SIDE, {"one": lines_at(0)})
    dots, crosses = strokes(axes_of(drawing)[0])
    assert len(dots) == len(crosses) / 2 == 100
    assert len(drawing.svg()) < 30_000
    assert "998 points" in drawing.alt


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


@pytest.mark.parametrize("colour", [*COLOURS, GREY])
@pytest.mark.parametrize("page", ["#ffffff", "#14181e"])
def test_line_colours_stand_out_on_white_and_on_dark(colour: str, page: str) -> None:
    assert _contrast(colour, page) >= 3
