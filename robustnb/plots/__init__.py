"""Figures from rows, never from models; each is a Drawing whose alt text is made from its data."""

from robustnb.plots.accuracies import accuracies
from robustnb.plots.class_probabilities import answers, draws, probabilities
from robustnb.plots.dumbbells import dumbbells
from robustnb.plots.lines import curves, reliability, training_curve
from robustnb.plots.pictures import images
from robustnb.plots.plane import boundaries
from robustnb.plots.slopes import slopes

__all__ = [
    "accuracies",
    "answers",
    "boundaries",
    "curves",
    "draws",
    "dumbbells",
    "images",
    "probabilities",
    "reliability",
    "slopes",
    "training_curve",
]
