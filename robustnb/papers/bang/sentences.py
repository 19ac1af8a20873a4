"""What the chapter on BANG says of its rows, with the numbers of these rows."""

from collections.abc import Mapping
from contextlib import suppress

from torch import Tensor

from robustnb import results
from robustnb.papers.bang.own_tables import COUNTED
from robustnb.papers.bang.protocols import PLAIN
from robustnb.papers.bang.row_figures import noise_tested
from robustnb.quantities import NotMeasured
from robustnb.stored import Stored

CERTAIN = "probabilities of the label that are 1"


def told_lengths(lengths: Mapping[str, Tensor], iterations: int) -> str:
    """Tell how unequal the lengths (N,) of each network's gradients are."""
    told = "; ".join(
        f"{name}: a tenth of the digits has "
        f"{each.sort().values[-len(each) // 10 :].sum() / each.sum():.0%} of the sum of all "
        f"lengths, and the median is {each.median():.1g}"
        for name, each in lengths.items()
    )
    return f"After {iterations} iterations, {told}."


def fgs_success(stored: Stored, name: str) -> str:
    """Tell how FGS succeeds on the network `name` with BANG, by both ways to count."""
    plain, rate = (stored.value("1", row, "FGS rate") for row in (PLAIN.name, name))
    paper = results.printed(stored.paper, "1", name, "FGS rate", stored.folder)
    certain, zero = (
        stored.value("gradients", row, name) for row in (CERTAIN, "input gradients that are 0")
    )
    counted = stored.value("fgs", f"{COUNTED}: success", name)
    return (
        f"Our FGS, in torch and float32, fools {_label(name)} with {rate:.1f}% of its images "
        f"(R0: {plain:.1f}%), where the paper has {paper:.2f}%. But for {certain:.1f}% of the "
        "images the probability of the label is *exactly 1*. If those count as failures, "
        f"{counted:.1f}% are left. In torch, {zero:.1f}% of the input gradients are 0 in every "
        "pixel."
    )


def fgs_with_margin(stored: Stored, name: str) -> str:
    """Tell how FGS with the margin succeeds, and where the paper's short steps come from."""
    (rate, size), (other, usual) = (
        [stored.value("fgs", f"margin: {kind}", column) for kind in ("success", "Linf")]
        for column in (name, PLAIN.name)
    )
    paper = results.printed(stored.paper, "1", name, "FGS Linf", stored.folder)
    few = stored.value("fgs", f"{COUNTED}: Linf", name)
    return (
        f"With the margin, FGS succeeds with {rate:.1f}% of the BANG network's images at a mean "
        f"of {size:.1f} pixels, and with {other:.1f}% of the plain one's at {usual:.1f}. The "
        f"paper's short steps on BANG networks ({paper:.2f}) are those of the few images whose "
        f"loss has not underflowed: the weakest. Ours of that kind take {few:.1f}."
    )


def hot_cold_sizes(stored: Stored, names: Mapping[str, str]) -> str:
    """Tell what hot/cold needs with both weights, and the logits of the label.

    `names` are columns of the tables, by what the sentence calls them.
    """
    sizes = (
        f"with {row} {_listed(stored, 'hot-cold', f'{row}: Linf', names)}"
        for row in ("the paper's weights", "unit weights")
    )
    logits = _listed(stored, "gradients", "mean logit of the label", names)
    return f"HC1 needs, in pixels: {'; '.join(sizes)}. Mean logits of the label: {logits}."


def _listed(stored: Stored, table: str, row: str, names: Mapping[str, str]) -> str:
    told = []
    for short, name in names.items():
        with suppress(NotMeasured):  # an attack that never succeeds has no size
            told.append(f"{stored.value(table, row, name):.0f} on {short}")
    return ", ".join(told)


def at_worst(stored: Stored, table: str) -> str:
    """Tell what is left of each network at the worst of all attacks, with intervals."""
    found = [row for row in stored.rows(table) if row["row"].startswith("worst case")]
    told = []
    for row in found:
        low, high = stored.interval(table, row["row"], row["column"])
        where = f"{_label(row['column'])} at {row['row'].partition('=')[2]}"
        told.append(f"{where}: {row['value']:.1f}% ({low:.1f} to {high:.1f})")
    number = found[0]["num_images"]
    return f"At the worst of all, with the 95% interval over {number} images: {'; '.join(told)}."


def two_losses(stored: Stored, table: str, names: Mapping[str, str]) -> str:
    """Tell what PGD leaves with either loss; `names` are columns, by what they are called."""
    told = []
    for eps in dict.fromkeys(row["row"].partition("=")[2] for row in stored.rows(table)):
        rows = [f"PGD, {loss}, eps={eps}" for loss in ("cross-entropy", "margin")]
        left = {
            short: " and ".join(f"{stored.value(table, row, name):.1f}%" for row in rows)
            for short, name in names.items()
        }
        told.append(f"at ε = {eps} {', '.join(map(' '.join, left.items()))}")
    return f"Right answers under PGD with the cross-entropy and with the margin: {'; '.join(told)}."


def strongest_noise(stored: Stored, name: str) -> str:
    """Tell how many answers the strongest noise changes at the end of training on MNIST."""
    iterations, stds = noise_tested(stored, "random noise")
    row = f"iteration {iterations[-1]}, std {stds[-1]}"
    plain, balanced = (stored.value("random noise", row, n) for n in (PLAIN.name, name))
    return (
        f"At the strongest noise, of standard deviation {stds[-1]}, {plain:.1f}% of the answers "
        f"change on R0 and {balanced:.1f}% on {_label(name)}. The paper reads 20% and 3% off its "
        "figure."
    )


def length_of_training(stored: Stored) -> str:
    """Tell for how many iterations the networks of Table 2 were trained."""
    profile, number = stored.rows("2")[0]["profile"], _iterations(stored, "2")
    return f"Measured at profile {profile} ({number} iterations; the paper has 20,000)."


def underflowed(stored: Stored, on_cifar10: str, on_mnist: str) -> str:
    """Tell for how many images the loss has underflowed, on either data set."""
    first, second = (
        stored.value(table, CERTAIN, name)
        for table, name in (("gradients", on_mnist), ("gradients, CIFAR-10", on_cifar10))
    )
    return (
        f"After {_iterations(stored, '2'):,} iterations the probability of the label is exactly 1 "
        f"for {second:.0f}% of the images that {_label(on_cifar10)} reads rightly; on MNIST, after "
        f"{_iterations(stored, 'gradients'):,}, that is {first:.0f}%. The fewer losses have "
        "underflowed, the fewer directions FGS lacks."
    )


def _iterations(stored: Stored, table: str) -> int:
    return int(stored.rows(table)[0]["settings"]["training"]["iterations"])


def _label(name: str) -> str:
    return name.partition(" ")[0]
