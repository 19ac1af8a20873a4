"""What a defence is to the comparison: its name, what it does, how it was attacked and trained."""

from collections.abc import Callable
from dataclasses import dataclass

from robustnb.attacks.common import Attack
from robustnb.papers.comparison.task import Task, Trained


@dataclass(frozen=True)
class Defense:
    """Say what a defence does, and how its own paper attacked it.

    `sentence` says in plain words what it does, and `differs` in which way it is trained otherwise
    than the rest; one that is trained on attacked images is `adversarial`. `attack` gives the
    attack of the paper within the task's radius, and `attacked` says in words what it is; a paper
    that attacks nothing has None. Where the attack was made on another network, it is
    `transferred`. `train` is a function of a module, and gets a seed.
    """

    title: str
    sentence: str
    source: str
    attack: Callable[[Task], Attack] | None
    attacked: str
    train: Callable[[Task, int], Trained]
    transferred: bool = False
    adversarial: bool = False
    differs: str = ""
