"""How alike two images look: PASS (Rozsa, Rudd & Boult 2016).

It needs OpenCV and scikit-image, the extra "similarity" of this package.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Picture = npt.NDArray[np.float32]  # (H, W, C), pixels from 0 to 255

WINDOW = 11  # pixels: a Gaussian of sigma 1.5, which structural similarity looks through


def psychometric_similarity(images: Tensor, originals: Tensor, align: bool = True) -> Tensor:
    """Return how alike each image and its original (N, C, H, W) look (N,): 1 means identical.

    The perceptual adversarial similarity score (PASS): each image is aligned to its original by the
    homography with the largest enhanced correlation coefficient (Evangelidis & Psarakis 2008), then
    compared by the mean structural similarity (Wang et al. 2004). An image is compared as it is if
    the search for a homography does not converge, with `align=False`, and if it is smaller than the
    window of 11 pixels.

    The paper names no constants. Here they are Wang's, K1 = 0.01 and K2 = 0.03 for pixels from 0 to
    255. The mean is over all pixels, with the image mirrored at its edges. Wang's mean over windows
    within the image leaves out most of the background, and gives FGS on MNIST a far higher score
    than the paper prints.
    """
    if images.shape != originals.shape or images.dim() != 4:
        raise ValueError(
            f"images have shape {tuple(images.shape)} and originals {tuple(originals.shape)}: "
            "both must be (N, C, H, W), and the same."
        )
    align = align and min(images.shape[2:]) >= WINDOW
    pairs = zip(_pictures(images), _pictures(originals), strict=True)
    scores = [_structural_similarity(_aligned(*p) if align else p[0], p[1]) for p in pairs]
    return torch.tensor(scores, dtype=torch.float32)


def _pictures(images: Tensor) -> Picture:
    return (255 * images.detach().cpu().float()).permute(0, 2, 3, 1).numpy()


def _aligned(picture: Picture, original: Picture) -> Picture:
    """Return `picture` warped onto `original`, or as it is if no homography is found."""
    import cv2

    gray, template = picture.mean(2), original.mean(2)
    start = np.eye(3, dtype=np.float32)
    try:
        # By default it blurs both images over 5 pixels and stops after 50 iterations at most.
        _, homography = cv2.findTransformECC(template, gray, start, cv2.MOTION_HOMOGRAPHY)
    except cv2.error:
        return picture
    flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    size = gray.shape[::-1]
    warped = cv2.warpPerspective(picture, homography, size, flags=flags, borderMode=border)
    return np.asarray(warped, np.float32).reshape(picture.shape)  # OpenCV drops a single channel


def _structural_similarity(picture: Picture, original: Picture) -> float:
    from skimage.metrics import structural_similarity

    compare: Callable[..., tuple[float, Picture]] = structural_similarity
    _, everywhere = compare(
        picture.astype(np.float64),
        original.astype(np.float64),
        win_size=1,  # it would crop the edges; the window itself is made from sigma
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
        full=True,
    )
    return float(everywhere.mean())
