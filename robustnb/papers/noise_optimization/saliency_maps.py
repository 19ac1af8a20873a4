"""Whether the saliency maps of Xiao, Zhang & Peng (2021) show the pixels that matter."""

import torch

from robustnb.devices import device
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization.measuring import used
from robustnb.papers.noise_optimization.training import Trained
from robustnb.randomness import seeded
from robustnb.saliency import area_under, deletion_curve, insertion_curve, smooth_grad

# Noisy copies of an image that a map is averaged over, and the level of their noise.
NUM_SAMPLES, SIGMA = 25, 0.15


def saliency_areas(trained: Trained, images: Images, seed: int) -> dict[str, float]:
    """Return the areas under the deletion and insertion curves of a network's maps (eq. 8).

    The curves are of the label's mean probability over that of the whole images: else a network
    that is unsure of every image would have the smaller areas for that alone.
    """
    model, (pictures, labels) = used(trained), images.load()
    split = model, pictures, labels
    maps = smooth_grad(
        *split, sigma=SIGMA, num_samples=NUM_SAMPLES, generator=seeded(seed, device())
    )
    deletion, insertion = (
        curve(*split, maps, generator=seeded(seed, device())).mean(0)
        for curve in (deletion_curve, insertion_curve)
    )
    curves = torch.stack([deletion / deletion[0], insertion / insertion[-1]])
    return dict(zip(("deletion area", "insertion area"), area_under(curves).tolist(), strict=True))
