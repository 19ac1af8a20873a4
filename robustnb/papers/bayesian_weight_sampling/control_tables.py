"""The controls that Zhang & Chen (2020) leave out, and other readings of what they leave open.

Plain networks get the variational network's step, its initial weights, or both; variational ones
lose their noise at test time; the attacked networks take the variational step too; the attack's
step has another length; and the training is read in other ways.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from statistics import fmean

from robustnb.papers.bayesian_weight_sampling.cells import (
    BySize,
    summary_cells,
    transferred,
)
from robustnb.papers.bayesian_weight_sampling.controls import Control, train_from_means
from robustnb.papers.bayesian_weight_sampling.measuring import at_means
from robustnb.papers.bayesian_weight_sampling.parts import (
    Evaluation,
    bayesian,
    bayesian_network,
    bayesian_networks,
    evaluated_draws,
    evaluated_pass,
    num_weights,
    plain,
    standard_networks,
)
from robustnb.papers.bayesian_weight_sampling.protocols import TABLE_RHO_INIT, Protocol
from robustnb.papers.bayesian_weight_sampling.readings import (
    Reading,
    rho_of_variance,
    train_reading,
)
from robustnb.papers.bayesian_weight_sampling.training import DEFENDER, Training
from robustnb.papers.images import Images
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part

MEAN_WEIGHTS = "mean weights"
PAPER_TRAINING = "plain, as in the paper"
AS_CHOSEN = "as chosen"
# Lambdas of the controls: none, and the one of the paper's best plain network.
STRENGTHS = ("0", "1e-2")
FEW_IMAGES = 1_000  # of each set that is made with another step
FEW_DRAWS = (1, 10)


def without_diversity(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the controls on the paper's sets: plain networks, and mean weights at test time."""
    for network in [
        *evaluated_controls(protocol, controls(protocol), seed),
        *evaluated_means(protocol, seed),
    ]:
        yield summary(protocol, network)


def matched_targets(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield every network on sets made against networks that take the variational step."""
    same = matched(protocol)
    known = {PAPER_TRAINING: Control(protocol.plain, "0")} | controls(protocol)
    settings = {"training": asdict(protocol.bayesian), "weights": "single draws"}
    for network in [
        *(replace(network, settings=settings) for network in bayesian_networks(same, seed)),
        *evaluated_means(same, seed),
        *evaluated_controls(same, known, seed),
    ]:
        attacked = network.settings | {"attacked": asdict(same.plain)}
        yield summary(same, replace(network, settings=attacked))


def attack_step(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the averages of Table 2 for attacks whose steps have another length."""
    for alpha in protocol.alphas:
        other = with_step(protocol, alpha)
        for network in standard_networks(other, seed) + bayesian_networks(other, seed):
            yield network.perturbed, partial(step_cells, other, network.name)


def step_cells(protocol: Protocol, column: str, found: Mapping[str, BySize]) -> Iterator[Cell]:
    """Yield the average over the sets of an attack with another step."""
    settings = transferred(protocol) | {"sets": list(found), "draws": max(FEW_DRAWS)}
    average = 100 * fmean(each[1] for each in found.values())
    row, on = f"alpha={protocol.attack.alpha:g}", (protocol.dataset, protocol.num_images)
    yield Cell(row, column, average, "%", *on, settings)


def other_readings(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield what other readings of the variational training give.

    They differ by so much that one seed shows it.
    """
    if seed != 0:
        return
    fewer = replace(protocol, ensembles=FEW_DRAWS)
    for name, reading in readings(protocol).items():
        if name == AS_CHOSEN:
            ours = bayesian_network(protocol, reading.rho_init, seed)
            network = replace(ours, name=name, settings=asdict(reading))
        else:
            trained = Piece(train_reading, (reading, seed), 2 * num_weights(DEFENDER))
            network = evaluated_draws(fewer, name, asdict(reading), trained, seed)
        yield summary(protocol, network)


def summary(protocol: Protocol, network: Evaluation) -> Part:
    """Return the part of a table whose rows are networks."""
    return (network.clean["test"], network.perturbed), partial(summary_cells, protocol, network)


def controls(protocol: Protocol) -> dict[str, Control]:
    """Name the plain networks that share step, initial weights or both with the variational."""
    longer = variational_step(protocol)
    found: dict[str, Control] = {}
    for strength in STRENGTHS:
        note = "" if strength == "0" else f", lambda={strength}"
        found |= {
            f"plain, variational step{note}": Control(longer, strength),
            f"plain, variational initialisation{note}": Control(
                protocol.plain, strength, "variational"
            ),
            f"plain, both{note}": Control(longer, strength, "variational"),
        }
    return found


def variational_step(protocol: Protocol) -> Training:
    """Return the plain training whose steps are as long as the variational network's.

    Its loss is a sum over the minibatch where the plain one's is a mean.
    """
    lr = protocol.bayesian.lr * protocol.bayesian.batch_size
    return replace(protocol.plain, lr=lr)


def matched(protocol: Protocol) -> Protocol:
    """Return the protocol whose attacked networks take the variational network's step.

    Of the variational networks it has the one without noise and the one of Tables 3 and 4; of the
    attacked ones the two that train in minutes.
    """
    return replace(
        protocol,
        plain=variational_step(protocol),
        rho_inits=(min(protocol.rho_inits), TABLE_RHO_INIT),
        sources=protocol.sources[:2],
        lambdas=("0",),
        ensembles=FEW_DRAWS,
    )


def with_step(protocol: Protocol, alpha: float) -> Protocol:
    """Return the protocol whose attack takes steps of another length, on fewer images."""
    return replace(
        protocol,
        attack=replace(protocol.attack, alpha=alpha),
        num_images=min(FEW_IMAGES, protocol.num_images),
        ensembles=FEW_DRAWS,
    )


def readings(protocol: Protocol) -> dict[str, Reading]:
    """Name our reading of how the network of Table 3 is trained, and those that we did not take.

    The complexity is divided by the number of minibatches, except where it is charged over images.
    """
    ours = protocol.bayesian
    faster = replace(ours, lr=10 * ours.lr)
    images, _ = Images(ours.dataset, which="train").load()
    return {
        AS_CHOSEN: Reading(ours),
        "ten times the learning rate": Reading(faster),
        "mean likelihood, complexity over images": Reading(faster, "mean", 1 / len(images)),
        "mean likelihood, complexity over minibatches": Reading(faster, "mean"),
        "PyTorch's initial weights": Reading(ours, initialisation="pytorch"),
        "softplus(rho) is the variance": Reading(ours, rho_init=rho_of_variance(TABLE_RHO_INIT)),
    }


def evaluated_controls(
    protocol: Protocol, known: Mapping[str, Control], seed: int
) -> Iterator[Evaluation]:
    """Evaluate plain networks of the defender's size on the protocol's sets."""
    for name, control in known.items():
        yield evaluated_pass(protocol, name, asdict(control), trained(control, seed), seed)


def trained(control: Control, seed: int) -> Piece:
    """Train a control; the one from PyTorch's weights is a plain network like any other."""
    if control.initialisation == "pytorch":
        return plain(control.training, DEFENDER, control.strength, seed)
    arguments = control.training, float(control.strength), seed
    return Piece(train_from_means, arguments, num_weights(DEFENDER))


def evaluated_means(protocol: Protocol, seed: int) -> Iterator[Evaluation]:
    """Evaluate the variational networks whose weights stay at their means."""
    settings = {"training": asdict(protocol.bayesian), "weights": "means"}
    for rho_init in protocol.rho_inits:
        network = Piece(at_means, (bayesian(protocol.bayesian, rho_init, seed),))
        yield evaluated_pass(protocol, mean_weights(rho_init), settings, network, seed)


def mean_weights(rho_init: float) -> str:
    """Return the name of the row of a variational network without its noise."""
    note = "" if rho_init == TABLE_RHO_INIT else f", rho_init={rho_init:g}"
    return f"{MEAN_WEIGHTS}{note}"
