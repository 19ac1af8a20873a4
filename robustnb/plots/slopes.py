"""What is left of an accuracy when the attacker changes: a line from one to the other."""

from collections.abc import Mapping

from robustnb.drawing import Drawing
from robustnb.plots.canvas import COLOURS, GREY, MARKERS, WIDTH, new_axes


def slopes(
    title: str,
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    ends: tuple[str, str],
    ylabel: str,
) -> Drawing:
    """Draw a panel for each comparison: lines from a first value to a second one, in percent.

    The last line of each panel, with which the others are compared, is grey.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = new_axes(rows, columns, size=(WIDTH, 2.8 * rows))
    told = []
    for index, (axis, (name, lines)) in enumerate(zip(axes, panels.items(), strict=False)):
        colours = (*COLOURS[: len(lines) - 1], GREY)
        for (label, values), colour, marker in zip(lines.items(), colours, MARKERS, strict=False):
            axis.plot((0, 1), values, color=colour, marker=marker, label=label)
            told.append(f"{label} {values[0]:.0f}%, then {values[1]:.0f}%")
        axis.set_title(name, fontsize="medium")
        axis.set(xlim=(-0.2, 1.2), ylim=(0, 100), xticks=(0, 1), xticklabels=ends)
        axis.legend(frameon=False)
        if index % columns == 0:
            axis.set_ylabel(ylabel)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return Drawing(figure, f"{title}: {'; '.join(told)}.")
