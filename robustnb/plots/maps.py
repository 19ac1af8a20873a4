"""The colours of maps: of what has a sign, and of what has none; the pages have the same."""

from matplotlib.colors import LinearSegmentedColormap, to_rgba

from robustnb.plots.canvas import BLUE, VERMILION

# From none to most, in even steps of lightness; colours.js of the explorables has these too.
HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#0c0c1e", "#522e77", "#d33d70", "#fb9d57", "#fff3be"]
)
# Vermilion is less, blue is more; the weaker, the more one sees the page through it.
SIGNED = LinearSegmentedColormap.from_list(
    "signed",
    [
        (0.0, to_rgba(VERMILION, 1)),
        (0.5, to_rgba(VERMILION, 0)),
        (0.5, to_rgba(BLUE, 0)),
        (1.0, to_rgba(BLUE, 1)),
    ],
)
