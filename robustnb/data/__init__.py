"""Load the data sets of the book, or a folder of your own images, in named splits."""

from robustnb.data.dataset import DataError, Dataset
from robustnb.data.loading import load

__all__ = ["DataError", "Dataset", "load"]
