"""The lengths of gradients as they are drawn."""

from drawn import axes_of

from robustnb.papers.bang.figures import ranked


def test_lengths_are_ranked_and_those_below_the_axis_are_told() -> None:
    lengths = {"one": [0.1, 1.0, 0.0], "other": [2.0, 3.0]}
    drawing = ranked("Some title", lengths, "length", (1e-3, 10.0))
    (axes,) = axes_of(drawing)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"one": [[1, 1.0], [2, 0.1]], "other": [[1, 3.0], [2, 2.0]]}
    assert (axes.get_yscale(), axes.get_ylim()) == ("log", (1e-3, 10.0))
    assert drawing.alt == "Some title: one from 1 to 0, 1 below the axis; other from 3 to 2."
