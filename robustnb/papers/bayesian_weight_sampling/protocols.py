"""What is trained, attacked and measured of Zhang & Chen (2020), at each profile."""

from dataclasses import dataclass
from itertools import product

from robustnb.attacks.gradient import PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.papers.bayesian_weight_sampling.training import Training

PLAIN = Training("mnist", lr=1e-3)
BAYESIAN = Training("mnist", lr=1e-4)
UNCLIPPED = MinimumNorm(clip=False)
WHITE_BOX = PGD(eps=0.05, alpha=0.01, steps=20)  # 0.1 on the paper's scale of 0..2
TABLE_RHO_INIT = -3.0  # Tables 3 and 4 are about the network that is best in Table 2


@dataclass(frozen=True)
class Protocol:
    """Say what is trained, attacked and measured; the defaults are the paper's.

    What the paper leaves open is decided here without a look at any transfer result: the ELBO is
    scaled as Blundell et al. (2015) do, under which the paper's learning rate of 0.001 leaves its
    own initialisation at chance, so the variational networks get a tenth of it; perturbed pixels
    are not clipped, since eq. (5) has no box. What follows `ensembles` and `num_images` is not in
    the paper: `alphas` are other steps of `attack`, `worst_case_rho_inits` the variational networks
    that meet several attacks, and `queries` those of the one without gradients.
    """

    profile: str = "paper"
    plain: Training = PLAIN
    bayesian: Training = BAYESIAN
    attack: MinimumNorm = UNCLIPPED
    rho_inits: tuple[float, ...] = (-30.0, -10.0, -4.0, -3.0, -2.5, -2.0, -1.5)
    lambdas: tuple[str, ...] = ("0", "1e-4", "1e-2", "1")
    sources: tuple[str, ...] = ("FC-10", "FC-200-200-10", "FC-1200-1200-10")
    pruned: tuple[int, ...] = (25, 50, 75, 90, 95, 98)
    ensembles: tuple[int, ...] = (1, 5, 10, 25, 100)
    num_images: int = 10_000
    white_box: PGD = WHITE_BOX
    eot_samples: tuple[int, ...] = (1, 10, 100)
    num_attacked: int = 1_000
    alphas: tuple[float, ...] = (0.0125, 0.025, 0.05, 0.1, 0.25)
    worst_case_rho_inits: tuple[float, ...] = (-30.0, -3.0, -2.0)
    queries: int = 500

    @property
    def dataset(self) -> str:
        """Return the name of the data set that all of it is about."""
        return self.plain.dataset

    @property
    def sets(self) -> dict[str, tuple[str, str]]:
        """Return the network and lambda behind each perturbation set, by the set's name."""
        sources = product(self.sources, self.lambdas)
        return {f"{name} lambda={strength}": (name, strength) for name, strength in sources}


PROTOCOLS = {
    "smoke": Protocol(
        "smoke",
        plain=Training("mnist-5k", lr=1e-2, batch_size=32, epochs=8, patience=8),
        bayesian=Training("mnist-5k", lr=1e-4, epochs=14, patience=14),
        lambdas=("0",),
        sources=("FC-10", "FC-200-200-10"),
        num_images=200,
        white_box=PGD(eps=0.05, alpha=0.02, steps=10),
        eot_samples=(1, 10),
        num_attacked=200,
        queries=50,
    ),
    "laptop": Protocol(
        "laptop",
        plain=Training("mnist", lr=1e-3, epochs=12),
        bayesian=Training("mnist", lr=1e-4, epochs=12),
        lambdas=("0", "1e-2"),
        num_images=2_000,
        sources=("FC-10", "FC-200-200-10"),
        eot_samples=(1, 10),
        num_attacked=500,
    ),
    "paper": Protocol(),
}
