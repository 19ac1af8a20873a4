"""What the chapter on learned noise says of its rows, with the numbers of these rows."""

from robustnb.papers.noise_optimization.figures import Pairs
from robustnb.results import read_rows
from robustnb.stored import Stored


def what_is_shown(profile: str, stored: Stored) -> str:
    """Tell at which profile a page trained, and of which profiles and data sets it shows rows."""
    data: dict[str, set[str]] = {}
    for row in stored.own or read_rows(stored.paper, folder=stored.folder):
        data.setdefault(row["profile"], set()).add(row["dataset"])
    told = (f"rows of profile {name} ({', '.join(sorted(found))})" for name, found in data.items())
    rest = "; of tables that these lack, the stored rows" if stored.own else ""
    shown = f"tables and verdicts show {', '.join(told)}{rest}"
    return f"This page trained at profile {profile}; {shown}."


def last_levels(stored: Stored, network: str) -> str:
    """Tell the mean |sigma| of each layer after the last epoch, of networks so called."""
    last = {row["row"]: row for row in stored.rows("sigma") if row["row"].startswith(network)}
    told = (f"{name} ({row['profile']}) {row['value']:.3f}" for name, row in last.items())
    return f"The mean level began at 1 and ended at: {', '.join(told)}."


def levels_that_stay(stored: Stored, network: str, least: float = 0.5) -> str:
    """Tell which layers of a network keep half of their first mean |sigma| of 1, or more."""
    last = {row["row"]: row for row in stored.rows("sigma") if row["row"].startswith(f"{network},")}
    kept = [
        f"{name.partition(', ')[2]} {row['value']:.2f}"
        for name, row in last.items()
        if row["value"] >= least
    ]
    where = " and ".join(dict.fromkeys(row["profile"] for row in last.values()))
    return (
        f"Of the {len(last)} fully connected layers of {network}, {len(kept)} keep a mean level of "
        f"{least:g} or more (profile {where}): {', '.join(kept) or 'none'}."
    )


def last_losses(stored: Stored, network: str) -> str:
    """Tell the training losses of a network and its noisy variants after the last epoch.

    And, where there are 20 classes, what a loss of log 20 means.
    """
    rows = (row for row in stored.rows("convergence") if row["row"].startswith(network))
    last = {row["row"]: row for row in rows}
    told = "; ".join(f"{n} ({row['profile']}) {row['value']:.2f}" for n, row in last.items())
    few = any(row["dataset"] == "tiny-imagenet-20" for row in last.values())
    return f"Training loss of these ResNets after the last epoch, in nats: {told or 'not run'}." + (
        " Guessing among 20 classes costs log 20 = 3.00: a network that ends near it or above has "
        "learned nothing. No attack harms it, since it always says the same; that is no "
        "robustness." * few
    )


def left_by_lbfgs(stored: Stored) -> str:
    """Tell what L-BFGS leaves of the noisy perceptrons with their noise and without."""
    told = []
    for name in ("MLP+ ReLU", "MLP+ Sigmoid", "MLPN ReLU", "MLPN Sigmoid"):
        on, off = (stored.value(table, name, "white-box L-BFGS") for table in ("3", "noise off"))
        told.append(f"{name} {on:.3f} with its noise and {off:.3f} without")
    return f"What L-BFGS leaves of the noisy networks: {'; '.join(told)}."


def added_by_noise(stored: Stored) -> str:
    """Tell what learned noise adds under attack, by the gradient of one pass and averaged."""
    told = []
    for kind in ("ReLU", "Sigmoid"):
        for attack in ("FGSM", "PGD"):
            one, averaged = (_added(stored, table, kind, attack) for table in ("3", "EOT"))
            told.append(f"{attack} on {kind} {one:+.1f} and {averaged:+.1f}")
    return (
        "What learned noise adds to the accuracy of the perceptron, in points, with one pass a "
        f"gradient and averaged (on fewer images): {'; '.join(told)}."
    )


def _added(stored: Stored, table: str, kind: str, attack: str) -> float:
    column = f"white-box {attack}"
    noisy, plain = (stored.value(table, f"{net} {kind}", column) for net in ("MLPN", "MLP"))
    return 100 * (noisy - plain)


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
