"""What the chapter on learned noise says of its rows, with the numbers of these rows."""

from collections.abc import Callable, Iterable

from robustnb.papers.noise_optimization.figures import Pairs
from robustnb.results import Row

Value = Callable[[str, str, str], float]  # of a cell, by table, row and column


def what_is_shown(profile: str, rows: Iterable[Row]) -> str:
    """Tell at which profile a page trained, and of which profiles and data sets it shows rows."""
    data: dict[str, set[str]] = {}
    for row in rows:
        data.setdefault(row["profile"], set()).add(row["dataset"])
    told = (f"rows of profile {name} ({', '.join(sorted(found))})" for name, found in data.items())
    return f"This page trained at profile {profile}; tables and verdicts show {', '.join(told)}."


def last_losses(rows: Iterable[Row], network: str) -> str:
    """Tell the training losses of a network and its noisy variants after the last epoch.

    And, where there are 20 classes, what a loss of log 20 means.
    """
    last = {row["row"]: row for row in rows if row["row"].startswith(network)}
    told = "; ".join(f"{name} {row['value']:.2f}" for name, row in last.items())
    few = any(row["dataset"] == "tiny-imagenet-20" for row in last.values())
    return f"Training loss of these ResNets after the last epoch, in nats: {told}." + (
        " Guessing among 20 classes costs log 20 = 3.00: a network that ends near it or above has "
        "learned nothing. No attack harms it, since it always says the same; that is no "
        "robustness." * few
    )


def left_by_lbfgs(value: Value) -> str:
    """Tell what L-BFGS leaves of the noisy perceptrons with their noise and without."""
    where = {"with its noise": "3", "without": "noise off"}
    told = (
        f"{name} "
        + " and ".join(
            f"{value(table, name, 'white-box L-BFGS'):.3f} {how}" for how, table in where.items()
        )
        for name in ("MLP+ ReLU", "MLP+ Sigmoid", "MLPN ReLU", "MLPN Sigmoid")
    )
    return f"What L-BFGS leaves of the noisy networks: {'; '.join(told)}."


def added_by_noise(value: Value) -> str:
    """Tell what learned noise adds under attack, by the gradient of one pass and averaged."""
    told = []
    for kind in ("ReLU", "Sigmoid"):
        for column in ("white-box FGSM", "white-box PGD"):
            one, averaged = (
                100 * (value(table, f"MLPN {kind}", column) - value(table, f"MLP {kind}", column))
                for table in ("3", "EOT")
            )
            attack = column.removeprefix("white-box ")
            told.append(f"{attack} on {kind} {one:+.1f} and {averaged:+.1f}")
    return (
        "What learned noise adds to the accuracy of the perceptron, in points, with one pass a "
        f"gradient and averaged (on fewer images): {'; '.join(told)}."
    )


def changed_by_source(pairs: Pairs) -> str:
    """Tell how a source with a seed of its own changes what transferred attacks leave."""
    gaps = [100 * (own - same) for same, own in pairs.values()]
    told = []
    for kind in ("ReLU", "Sigmoid"):
        plain, noisy = (pairs[f"{network} {kind}", "black-box FGSM"] for network in ("MLP", "MLPN"))
        same, own = (100 * (after - before) for before, after in zip(plain, noisy, strict=True))
        told.append(f"{kind} {same:+.1f} and {own:+.1f}")
    return (
        f"A seed of its own changes the accuracies by {min(gaps):+.1f} to {max(gaps):+.1f} points, "
        f"on average by {sum(gaps) / len(gaps):+.1f}. What learned noise adds under transferred "
        f"FGSM, with the targets' seed and with another: {'; '.join(told)}. (Another source is "
        "another attack, too: small differences mean little.)"
    )
