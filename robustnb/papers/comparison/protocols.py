"""What is trained and measured for the comparison, at each profile."""

from dataclasses import dataclass, field

from robustnb.papers.comparison.task import Task
from robustnb.papers.images import Images


@dataclass(frozen=True)
class Protocol:
    """Say for which task defences are trained, and how they are attacked.

    `effort` is the audit's. It and the attacks of the papers are about the first `num_images` test
    images, certificates about `num_certified`, each with so many noisy `copies`. What is proved is
    shown at the `radius` in L2. `only` names the files of the defences that are measured; all
    unless given.
    """

    profile: str = "paper"
    task: Task = field(default_factory=Task)
    effort: str = "standard"
    num_images: int = 1_000
    num_certified: int = 500
    copies: int = 1_000
    radius: float = 0.5
    only: tuple[str, ...] = ()

    @property
    def images(self) -> Images:
        """Name the test images that are attacked."""
        return self.task.images("test", self.num_images)


PROTOCOLS = {
    "smoke": Protocol(
        "smoke",
        Task("mnist-5k", epochs=8, batch_size=64, lr=2e-3),
        effort="quick",
        num_images=100,
        num_certified=50,
        copies=200,
    ),
    "laptop": Protocol("laptop", Task(epochs=5), num_certified=200),
    "paper": Protocol(),
}
