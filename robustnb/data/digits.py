"""Handwritten digits that need no download: scikit-learn's, enlarged to the size of MNIST's."""

import torch

from robustnb.data.pictures import SEED, Pictures, interleave


def enlarged_digits() -> Pictures:
    """Return scikit-learn's 1,797 handwritten digits, enlarged bilinearly from 8×8 to 28×28."""
    from sklearn.datasets import load_digits  # here, as only this set should pay for the import

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float()[:, None] / 16
    large = torch.nn.functional.interpolate(small, size=28, mode="bilinear")
    order = interleave(bunch.target, SEED)
    pixels = (large * 255).round().to(torch.uint8).numpy()[order]
    return Pictures(pixels, bunch.target[order], tuple("0123456789"), round(len(order) * 6 / 7))
