"""How networks stand up to attackers who know BANG."""

from torch import Tensor

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import PGD
from robustnb.devices import device
from robustnb.judging import Judged, attacker_draws, judge, passes
from robustnb.papers.bang.training import BATCH, Trained
from robustnb.papers.images import Images


def perturb(source: Trained, attack: PGD | Square, images: Images, seed: int) -> Tensor:
    """Attack the network `source`; return the perturbed images (N, C, H, W)."""
    return attack(source.model.to(device()), *images.load(), attacker_draws(seed)).cpu()


def withstand(trained: Trained, perturbed: Tensor, images: Images) -> Judged:
    """Judge a network by images that were perturbed on it or on another.

    The network is not random: one draw is enough.
    """
    _, labels = images.load()
    ask = passes(trained.model.to(device()), BATCH)
    return judge(ask, perturbed.to(device()), labels, draws=1, seed=0)
