"""The claims BANG-1 to BANG-8 decided from rows (Rozsa, Günther & Boult 2016).

Beside the paper's two tables they read tables of our own, those about CIFAR-10 under the name with
", CIFAR-10": `fgs`, `hot-cold`, `random noise` (rows "iteration 10000, std 100" and the like) and
`cost` (row "training step", column "ratio").
"""

import re
from contextlib import suppress

from robustnb.verdicts import Answer, Finding, Measured, NotMeasured, Quantity, claim, graded

PLAIN = "R0"
COUNTED = "cross-entropy, p = 1 counted as failed: success"
MARGIN = "margin: success"
BLANK = "failures with a blank gradient"
# Points of accuracy, which on 10,000 images are ten: what counts as the same.
SAME_ACCURACY = 0.1
# The largest FGS success rate that Table 1 prints for BANG is 4.45%, and Table 2 45.94%.
LOW_RATE = {"1": 5.0, "2": 50.0}
ALMOST_EVERY = 90.0
TRAINED_WITHIN = 2.0  # points below the paper's accuracy at which a training is as long as its own
NEGLIGIBLE, MODERATE = 1.25, 1.5


@claim("BANG-1")
def accuracy_is_kept(measured: Measured) -> Finding:
    """Subtract R0's accuracy from that of each network with BANG (and of R1, plain as well)."""
    gaps = _gaps(measured, "1")
    kept = sum(gap.mean >= -SAME_ACCURACY for gap in gaps.values())
    told = ", ".join(f"{_label(name)} {gap}" for name, gap in gaps.items())
    reason = (
        f"of {len(gaps)} networks with BANG {kept} are at most {SAME_ACCURACY} points below R0 "
        f"with the same seeds (differences in points: {told}{_other_plain(measured)})."
    )
    lowest = min(gap.mean for gap in gaps.values())
    numbers = {"kept": kept, "networks": len(gaps), "lowest": lowest}
    return Finding(_share(kept, len(gaps)), reason, numbers)


@claim("BANG-2")
def fgs_success_falls(measured: Measured) -> Finding:
    """Ask for the success of FGS, as the authors seem to count, and without saturation."""
    return _fgs(measured, "1", "")


@claim("BANG-3")
def failures_are_blank_gradients(measured: Measured) -> Finding:
    """Ask how many failures of FGS have a gradient of 0, by both ways to count them.

    BANG-2 counts every image with p = 1 as a failure, whatever its gradient; at most the same
    blank gradients are among those.
    """
    name = _compared(measured, "1")
    margin = measured("fgs", MARGIN, name)
    if measured("1", name, "FGS rate").mean == 100:
        reason = f"FGS never fails on {_label(name)}: there is no failure to explain."
        return Finding("does not hold", reason, {"margin": margin.mean})
    blank = measured("fgs", BLANK, name)
    failures, counted = (
        100 - rate.mean
        for rate in (measured("1", name, "FGS rate"), measured("fgs", COUNTED, name))
    )
    of_counted = blank.mean * failures / counted if counted else 0.0
    reason = (
        f"on {_label(name)}, {blank}% of the failures have an input gradient of exactly 0, or "
        f"{of_counted:.1f}% if a probability of exactly 1 counts as a failure; with a loss that "
        f"does not saturate FGS succeeds with {margin}% of all images."
    )
    shares = blank.mean, of_counted
    answer: Answer = "holds" if min(shares) >= ALMOST_EVERY else "holds in part"
    answer = "does not hold" if max(shares) < 50 else answer
    numbers = {"blank": blank.mean, "blank of counted": of_counted, "margin": margin.mean}
    return Finding(answer, reason, numbers)


@claim("BANG-4")
def hot_cold_images_become_visible(measured: Measured) -> Finding:
    """Compare the size of HC1's perturbations, and those of hot/cold with unit weights."""
    name = _compared(measured, "1")
    printed = measured("1", name, "HC1 Linf") - measured("1", PLAIN, "HC1 Linf")
    similar = measured("1", name, "HC1 PASS") - measured("1", PLAIN, "HC1 PASS")
    row = "unit weights: Linf"
    unit = measured("hot-cold", row, name) - measured("hot-cold", row, PLAIN)
    claimed = measured.printed("1", name, "HC1 Linf") - measured.printed("1", PLAIN, "HC1 Linf")
    reason = (
        f"{_label(name)} changes Linf by {printed} pixels and PASS by {similar}, where the paper's "
        f"Linf changes by {claimed:.2f}; with weights of 1 and -1, which no offset of the logits "
        f"can turn round, it changes by {unit}."
    )
    answer = graded(printed.mean >= claimed / 2, unit.mean >= claimed / 2)
    return Finding(answer, reason, {"printed": printed.mean, "unit weights": unit.mean})


@claim("BANG-5")
def noise_changes_few_labels(measured: Measured) -> Finding:
    """Compare both networks under noise of standard deviation 100 at the end of training."""
    return _noise(measured, "1", "", std=100, claimed=(20.0, 3.0))


@claim("BANG-6")
def fgs_success_falls_on_cifar10(measured: Measured) -> Finding:
    """Ask the same of CIFAR-10, at equal accuracy.

    What BANG does to FGS grows with training, so that a shorter one than the paper's cannot refute.
    """
    finding = _fgs(measured, "2", ", CIFAR-10")
    gap = _gaps(measured, "2")[_compared(measured, "2")]
    short = _short_of_the_paper(measured)
    reason = f"{finding.reason[:-1]}; accuracy differs by {gap} points."
    answer = "holds in part" if finding.answer == "holds" and gap.mean < -1 else finding.answer
    if answer != "holds" and short > TRAINED_WITHIN:
        answer = "undecided"
        reason = f"{reason[:-1]}. R0 is {short:.1f} points short of the paper's accuracy."
    return Finding(answer, reason, finding.numbers | {"accuracy": gap.mean})


@claim("BANG-7")
def noise_changes_fewer_labels_on_cifar10(measured: Measured) -> Finding:
    """Compare both networks under noise of standard deviation 40 at the end of training.

    After a shorter training than the paper's it holds in part at most.
    """
    finding = _noise(measured, "2", ", CIFAR-10", std=40, claimed=(46.0, 39.1))
    short = _short_of_the_paper(measured)
    if finding.answer != "holds" or short <= TRAINED_WITHIN:
        return finding
    reason = f"{finding.reason[:-1]}; R0 is {short:.1f} points short of the paper's accuracy."
    return finding._replace(answer="holds in part", reason=reason)


@claim("BANG-8")
def overhead_is_negligible(measured: Measured) -> Finding:
    """Divide the time of a training step with BANG by that of a plain one."""
    ratio = measured("cost", "training step", "ratio")
    reason = f"a training step with BANG takes {ratio} times as long as a plain one."
    answer = graded(ratio.mean <= MODERATE, ratio.mean <= NEGLIGIBLE)
    return Finding(answer, reason, {"ratio": ratio.mean})


def _fgs(measured: Measured, table: str, where: str) -> Finding:
    name = _compared(measured, table)
    plain, balanced = (measured(table, network, "FGS rate") for network in (PLAIN, name))
    counted, margin = (measured(f"fgs{where}", row, name) for row in (COUNTED, MARGIN))
    low = LOW_RATE[table]
    reason = (
        f"FGS succeeds with {plain}% of R0's images and {balanced}% of those of {_label(name)}, or "
        f"{counted}% if a probability of exactly 1 counts as a failure; with a loss that does not "
        f"saturate it is {margin}%."
    )
    falls = counted.mean <= low
    answer = graded(falls, falls and max(balanced.mean, margin.mean) <= low)
    numbers = {"R0": plain.mean, "BANG": balanced.mean}
    return Finding(answer, reason, numbers | {"counted": counted.mean, "margin": margin.mean})


def _noise(
    measured: Measured, table: str, where: str, std: int, claimed: tuple[float, float]
) -> Finding:
    """Hold where at least half of the claimed fall is found, in part where it exceeds its spread.

    The text says that noise is added, and nothing of clipping; both are told.
    """
    row, name = _last(measured, f"random noise{where}", std), _compared(measured, table)
    plain, balanced = (measured(f"random noise{where}", row, network) for network in (PLAIN, name))
    fall = plain - balanced
    clipped = [measured(f"random noise{where}", f"{row}, clipped", n) for n in (PLAIN, name)]
    reason = (
        f"noise of std {std} changes {plain}% of R0's answers and {balanced}% of those of "
        f"{_label(name)}, where the paper has {claimed[0]:g}% and {claimed[1]:g}%; with pixels "
        f"clipped to 0 to 255 it is {clipped[0]}% and {clipped[1]}%."
    )
    half = fall.mean >= (claimed[0] - claimed[1]) / 2
    answer = graded(fall.mean > (fall.spread or 0), half)
    return Finding(answer, reason, {"R0": plain.mean, "BANG": balanced.mean, "fall": fall.mean})


def _other_plain(measured: Measured) -> str:
    """Tell how far the second plain network is from R0: what another training changes."""
    with suppress(NotMeasured):
        gap = measured("1", "R1", "accuracy") - measured("1", PLAIN, "accuracy")
        return f"; R1, plain as well, {gap}"
    return ""


def _short_of_the_paper(measured: Measured) -> float:
    """Return by how many points the plain CIFAR-10 network is below the paper's."""
    return measured.printed("2", PLAIN, "accuracy") - measured("2", PLAIN, "accuracy").mean


def _last(measured: Measured, table: str, std: int) -> str:
    """Return the row of the last iteration at this noise."""
    names = [re.fullmatch(rf"iteration (\d+), std {std}", row) for row in measured.rows_of(table)]
    iterations = [int(match[1]) for match in names if match]
    if not iterations:
        raise NotMeasured(f"Not measured yet: table {table}, std {std}.")
    return f"iteration {max(iterations)}, std {std}"


def _compared(measured: Measured, table: str) -> str:
    """Return the network that the paper compares with R0: B1 on MNIST, B0 on CIFAR-10."""
    label = {"1": "B1", "2": "B0"}[table]
    return next(name for name in _balanced(measured, table) if _label(name) == label)


def _gaps(measured: Measured, table: str) -> dict[str, Quantity]:
    """Return by how much the accuracy of each measured network with BANG exceeds that of R0."""
    plain = measured(table, PLAIN, "accuracy")
    gaps: dict[str, Quantity] = {}
    for name in _balanced(measured, table):
        with suppress(NotMeasured):
            gaps[name] = measured(table, name, "accuracy") - plain
    if not gaps:
        raise NotMeasured(f"Not measured yet: table {table}, any network with BANG.")
    return gaps


def _balanced(measured: Measured, table: str) -> list[str]:
    """Return the names of the networks with BANG in a printed table."""
    return [name for name in measured.printed_rows(table) if name.startswith("B")]


def _label(name: str) -> str:
    return name.partition(" ")[0]


def _share(number: int, of: int) -> Answer:
    if number == of:
        return "holds"
    return "holds in part" if number > of / 2 else "does not hold"
