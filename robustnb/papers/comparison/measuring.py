"""How a defence is measured: attacked as in its paper, audited, certified and timed."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustnb.attacks.common import Attack
from robustnb.auditing.audit import audit
from robustnb.corruptions import CORRUPTIONS, corrupt
from robustnb.defenses.smoothing import certify
from robustnb.devices import device
from robustnb.judging import Judged, attacker_draws, judge, passes
from robustnb.papers.comparison.networks import Smoothed
from robustnb.papers.comparison.task import Trained
from robustnb.papers.images import Images
from robustnb.papers.timing import median_seconds
from robustnb.randomness import seeded

DRAWS = 10  # over which answers are averaged, which for most networks are random
SEVERITY = 5  # of corruptions, the strongest
BATCH, REPEATS = 500, 11  # of what is timed


def audited(
    network: Trained, source: Trained, images: Images, eps: float, effort: str, seed: int
) -> dict[str, Any]:
    """Audit a network within `eps` in Linf, and return the report as plain data."""
    model, other = network.model.to(device()), source.model.to(device())
    report = audit(
        *(model, *images.load(), eps),
        effort=effort,
        sources=[other],
        seed=seed,
        progress=False,
    )
    return report.as_dict()


def attacked(
    network: Trained, attack: Attack, source: Trained | None, images: Images, seed: int
) -> Judged:
    """Attack a network as its paper does, or `source` in its place, and judge it."""
    model = network.model.to(device())
    under_attack = model if source is None else source.model.to(device())
    pictures, labels = images.load()
    found = attack(under_attack, pictures, labels, attacker_draws(seed))
    return _judged(model, found, labels, seed)


def corrupted(network: Trained, images: Images, seed: int) -> dict[str, Judged]:
    """Judge a network on each corruption at its strongest."""
    model = network.model.to(device())
    pictures, labels = images.load()
    return {
        name: _judged(
            *(model, corrupt(name, pictures, SEVERITY, seeded(seed, device())), labels, seed)
        )
        for name in CORRUPTIONS
    }


def _judged(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Judged:
    return judge(passes(model), images, labels, DRAWS, seed)


@dataclass(frozen=True)
class Certified:
    """Whether the right answer to each image (N,) is proved, and within which radius (N,) in L2."""

    right: Tensor
    radii: Tensor


def certified(network: Trained, images: Images, copies: int, seed: int) -> Certified | None:
    """Certify a smoothed network (Cohen et al. 2019); None where nothing can be proved."""
    model = network.model.to(device())
    if not isinstance(model, Smoothed):
        return None
    pictures, labels = images.load()
    classes, radii = certify(
        *(model.base, pictures, model.sigma),
        n0=max(copies // 10, 1),
        n=copies,
        generator=seeded(seed, device()),
    )
    return Certified((classes == labels).cpu(), radii.cpu())


def inference(network: Trained, plain: Trained, images: Images) -> float:
    """Return how many times as long as the plain network's the answers of a network take."""
    pictures, _ = images.load()
    models = [each.model.to(device()) for each in (network, plain)]
    with torch.no_grad():
        own, other = median_seconds([partial(m, pictures[:BATCH]) for m in models], REPEATS)
    return own / other
