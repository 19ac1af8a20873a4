"""The steps that tables share: trained networks, perturbed images and accuracies, as pieces."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from robustnb.models import fully_connected
from robustnb.papers.bayesian_weight_sampling.measuring import (
    accuracy_of_draws,
    accuracy_of_pass,
    perturb,
    pruned,
)
from robustnb.papers.bayesian_weight_sampling.protocols import Protocol
from robustnb.papers.bayesian_weight_sampling.training import (
    DEFENDER,
    Training,
    train_bayesian,
    train_plain,
)
from robustnb.papers.images import Images
from robustnb.papers.pieces import Piece


def plain(training: Training, name: str, strength: str, seed: int) -> Piece:
    """Train the plain network `name` with this lambda."""
    return Piece(train_plain, (training, name, float(strength), seed), num_weights(name))


def bayesian(training: Training, rho_init: float, seed: int) -> Piece:
    """Train the variational network that starts from this rho_init."""
    return Piece(train_bayesian, (training, rho_init, seed), 2 * num_weights(DEFENDER))


def num_weights(name: str) -> int:
    """Return the number of weights and biases of a network, by which costs go."""
    with torch.device("meta"):
        return sum(p.numel() for p in fully_connected(name).parameters())


def clean_images(protocol: Protocol) -> dict[str, Images]:
    """Name the images that no attack has changed by their split."""
    return {which: Images(protocol.dataset, which=which) for which in ("validation", "test")}


def images_to_perturb(protocol: Protocol) -> Images:
    """Return the test images that the perturbation sets are made of."""
    return Images(protocol.dataset, num_images=protocol.num_images)


def sources(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Train the network behind each perturbation set, such as "FC-10 lambda=0" (Table 2)."""
    return {name: plain(protocol.plain, *made_of, seed) for name, made_of in protocol.sets.items()}


def fooling(protocol: Protocol, networks: Mapping[str, Piece], seed: int) -> dict[str, Piece]:
    """Perturb the test images until each of some networks is fooled (eq. 5)."""
    arguments = protocol.attack, images_to_perturb(protocol), seed
    return {
        name: Piece(perturb, (network, *arguments), network.cost / 10)
        for name, network in networks.items()
    }


def perturbation_sets(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Return every set of perturbed images, by its name in Table 2."""
    return fooling(protocol, sources(protocol, seed), seed)


def passes(network: Piece, images: Mapping[str, Images | Piece]) -> dict[str, Piece]:
    """Measure a network that draws nothing on each set of images."""
    return {name: Piece(accuracy_of_pass, (network, found)) for name, found in images.items()}


def draws(
    network: Piece, images: Mapping[str, Images | Piece], sizes: Sequence[int], seed: int
) -> dict[str, Piece]:
    """Measure ensembles of a network's weight draws on each set of images.

    No two sets share draws: those of a set come after those of the sets before it.
    """
    most = max(sizes)
    cost = most * num_weights(DEFENDER) / 1_000
    return {
        name: Piece(accuracy_of_draws, (network, found, tuple(sizes), number * most, seed), cost)
        for number, (name, found) in enumerate(images.items())
    }


@dataclass(frozen=True)
class Evaluation:
    """A network by its name in the tables, what it depends on, and its accuracies as pieces.

    `size` is the number of weight draws in an ensemble.
    """

    name: str
    settings: dict[str, Any]
    clean: dict[str, Piece]
    perturbed: dict[str, Piece]
    size: int = 1


def evaluated_pass(
    protocol: Protocol, name: str, settings: dict[str, Any], network: Piece, seed: int
) -> Evaluation:
    """Evaluate a network that draws nothing."""
    clean, perturbed = clean_images(protocol), perturbation_sets(protocol, seed)
    return Evaluation(name, settings, passes(network, clean), passes(network, perturbed))


def evaluated_draws(
    protocol: Protocol, name: str, settings: dict[str, Any], network: Piece, seed: int
) -> Evaluation:
    """Evaluate a network whose weights are drawn."""
    clean, perturbed = clean_images(protocol), perturbation_sets(protocol, seed)
    found = draws(network, {**clean, **perturbed}, protocol.ensembles, seed)
    of_clean, of_perturbed = ({n: found[n] for n in part} for part in (clean, perturbed))
    return Evaluation(name, settings, of_clean, of_perturbed)


def standard_networks(protocol: Protocol, seed: int) -> list[Evaluation]:
    """Evaluate the plain networks of Tables 1 and 2."""
    settings = {"training": asdict(protocol.plain)}
    return [
        evaluated_pass(
            *(protocol, standard_name(strength), settings),
            plain(protocol.plain, DEFENDER, strength, seed),
            seed,
        )
        for strength in protocol.lambdas
    ]


def bayesian_networks(protocol: Protocol, seed: int) -> list[Evaluation]:
    """Evaluate single draws of the variational networks of Tables 1 and 2."""
    return [bayesian_network(protocol, rho_init, seed) for rho_init in protocol.rho_inits]


def bayesian_network(
    protocol: Protocol, rho_init: float, seed: int, removed: int = 0
) -> Evaluation:
    """Evaluate single draws of a variational network without `removed` percent of its weights."""
    network = bayesian(protocol.bayesian, rho_init, seed)
    if removed:
        network = Piece(pruned, (network, removed / 100))
    settings = drawn_settings(protocol)
    return evaluated_draws(protocol, bayesian_name(rho_init), settings, network, seed)


def ensemble_of(evaluation: Evaluation, size: int, name: str) -> Evaluation:
    """Return what ensembles of so many draws of a network give, under another name."""
    settings = evaluation.settings | {"ensemble": size}
    return replace(evaluation, name=name, settings=settings, size=size)


def drawn_settings(protocol: Protocol, size: int = 1) -> dict[str, Any]:
    """Return what the accuracy of ensembles of `size` weight draws depends on."""
    drawn = {"draws": max(protocol.ensembles), "ensemble": size}
    return {"training": asdict(protocol.bayesian)} | drawn


def standard_name(strength: str) -> str:
    """Return the name of a plain network in Tables 1 and 2."""
    return f"standard lambda={strength}"


def bayesian_name(rho_init: float) -> str:
    """Return the name of a variational network in Tables 1 and 2."""
    return f"bayesian rho_init={rho_init:g}"
