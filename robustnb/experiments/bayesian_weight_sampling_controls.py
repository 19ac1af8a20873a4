"""The controls that Zhang & Chen (2020) leave out: is it the weights' diversity or the training?

Plain networks get the variational network's step, its initial weights, or both; variational ones
lose their noise at test time; and the attacked networks train with the variational step too.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from robustnb.defenses.bayesian import BayesianLinear, mean_network
from robustnb.experiments.bayesian_weight_sampling_pieces import (
    DEFENDER,
    PIXEL_RANGE,
    TABLE_RHO_INIT,
    Evaluated,
    Protocol,
    Trained,
    Training,
    bayesian_column,
    bayesian_network,
    evaluate_pass,
    evaluated_pieces,
    num_weights,
    perturbed_piece,
    plain_piece,
    train_network,
    variational_network,
)
from robustnb.experiments.pieces import Piece, result
from robustnb.models import fully_connected
from robustnb.training import RegularizedCrossEntropy, score_accuracy

MEAN_WEIGHTS = "mean weights"
PAPER_TRAINING = "plain, as in the paper"
Initialisation = Literal["pytorch", "variational"]
# Lambdas of the controls: none, and the one of the paper's best plain network.
STRENGTHS = ("0", "1e-2")


@dataclass(frozen=True)
class Control:
    """A plain network: how it trains, and whether from PyTorch's weights or variational means."""

    training: Training
    strength: str
    initialisation: Initialisation = "pytorch"


def controls(protocol: Protocol) -> dict[str, Control]:
    """Name the plain networks that share step, initial weights or both with the variational."""
    longer = variational_step(protocol)
    found: dict[str, Control] = {}
    for strength in STRENGTHS:
        note = "" if strength == "0" else f", lambda={strength}"
        made = partial(Control, strength=strength)
        found |= {
            f"plain, variational step{note}": made(longer),
            f"plain, variational initialisation{note}": made(
                protocol.plain, initialisation="variational"
            ),
            f"plain, both{note}": made(longer, initialisation="variational"),
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
        pruned=(),
        ensembles=(1, 10),
    )


def train_control(control: Control, seed: int) -> Trained:
    """Train a plain network of the defender's size from the variational network's means."""
    model = fully_connected(DEFENDER, scale=PIXEL_RANGE)
    copy_means(variational_network(TABLE_RHO_INIT, seed), model)
    loss = RegularizedCrossEntropy(float(control.strength))
    return train_network(control.training, model, loss, score_accuracy, seed)


def copy_means(variational: nn.Sequential, plain: nn.Sequential) -> None:
    """Make the weights and biases of `plain` the means of `variational`, of the same shape."""
    with torch.no_grad():
        for source, target in zip(variational, plain, strict=True):
            if isinstance(source, BayesianLinear) and isinstance(target, nn.Linear):
                target.weight.copy_(source.mu[:, :-1])
                target.bias.copy_(source.mu[:, -1])


def evaluate_control(protocol: Protocol, control: Control, seed: int) -> Evaluated:
    """Measure a control on clean images and on the protocol's perturbed ones."""
    return evaluate_pass(result(_trained(control, seed)).model, protocol, seed)


def evaluate_means(protocol: Protocol, rho_init: float, seed: int) -> Evaluated:
    """Measure a variational network whose weights stay at their means."""
    model = mean_network(bayesian_network(protocol, rho_init, seed).model)
    return evaluate_pass(model, protocol, seed)


def trained_pieces(protocol: Protocol, seed: int) -> list[Piece]:
    """Return what the controls train."""
    same = matched(protocol)
    return [_trained(control, seed) for control in controls(protocol).values()] + [
        plain_piece(same.plain, *source, seed) for source in same.sets.values()
    ]


def perturbed_pieces(protocol: Protocol, seed: int) -> list[Piece]:
    """Return what the controls perturb."""
    same = matched(protocol)
    return [perturbed_piece(same, name, seed) for name in same.sets]


def trained_control(protocol: Protocol, name: str, seed: int) -> nn.Module:
    """Return a trained control by its name."""
    trained: Trained = result(_trained(controls(protocol)[name], seed))
    return trained.model


def control_pieces(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Name the evaluation of each control on the paper's sets."""
    return _plain_pieces(protocol, controls(protocol), seed) | _mean_pieces(protocol, seed)


def matched_pieces(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Name the evaluation of each network and control on the sets of `matched`."""
    same = matched(protocol)
    known = _with_the_paper_s(protocol)
    drawn = evaluated_pieces(same, seed)
    bayesian = {column: drawn[column] for column in map(bayesian_column, same.rho_inits)}
    return bayesian | _mean_pieces(same, seed) | _plain_pieces(same, known, seed)


def _plain_pieces(protocol: Protocol, known: dict[str, Control], seed: int) -> dict[str, Piece]:
    return {
        name: Piece(evaluate_control, (protocol, control, seed)) for name, control in known.items()
    }


def _mean_pieces(protocol: Protocol, seed: int) -> dict[str, Piece]:
    return {
        mean_weights(rho_init): Piece(evaluate_means, (protocol, rho_init, seed))
        for rho_init in protocol.rho_inits
    }


def settings(protocol: Protocol, name: str) -> dict[str, Any]:
    """Return what the accuracies of a control, or of a variational network, depend on."""
    known = _with_the_paper_s(protocol)
    if name in known:
        return asdict(known[name])
    weights = "means" if name.startswith(MEAN_WEIGHTS) else "single draws"
    return {"training": asdict(protocol.bayesian), "weights": weights}


def _with_the_paper_s(protocol: Protocol) -> dict[str, Control]:
    return {PAPER_TRAINING: Control(protocol.plain, "0")} | controls(protocol)


def mean_weights(rho_init: float) -> str:
    """Return the name of the row of a variational network without its noise."""
    note = "" if rho_init == TABLE_RHO_INIT else f", rho_init={rho_init:g}"
    return f"{MEAN_WEIGHTS}{note}"


def _trained(control: Control, seed: int) -> Piece:
    if control.initialisation == "pytorch":
        return plain_piece(control.training, DEFENDER, control.strength, seed)
    return Piece(train_control, (control, seed), cost=num_weights(DEFENDER))
