"""Attackers who know that a network is noisy, and how they are judged."""

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import PGD
from robustnb.judging import Judged, judge, passes
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization.measuring import in_batches, used
from robustnb.papers.noise_optimization.training import TOGETHER, Trained


def judge_attacked(
    trained: Trained, source: Trained, attack: PGD | Square, images: Images, draws: int, seed: int
) -> Judged:
    """Judge a network by images that are attacked on `source`: itself, or the attacker's own."""
    pictures, labels = images.load()
    found = in_batches(attack, used(source), (pictures, labels), seed)
    return judge(passes(used(trained), TOGETHER), found, labels, draws, seed)
