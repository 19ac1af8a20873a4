"""What decides the claims BANG-1 to BANG-11 (Rozsa, Günther & Boult 2016), by `rules.csv`.

Beside the paper's two tables they read tables of our own, those about CIFAR-10 under the name with
", CIFAR-10": `fgs`, `hot-cold`, `random noise` (rows "iteration 10000, std 100" and the like),
`worst case` (rows "worst case, eps=0.1" and the like) and `cost` (row "training step", column
"ratio").
"""

import re

from robustnb.deciding import Found
from robustnb.quantities import Cases, NotMeasured, Quantity, cases
from robustnb.verdicts import Measured, claim

PLAIN = "R0"
COUNTED = "cross-entropy, p = 1 counted as failed: success"
MARGIN = "margin: success"
BLANK = "failures with a blank gradient"
WORST = "worst case, eps="
OF_CIFAR10 = ", CIFAR-10"


@claim("BANG-1")
def accuracy_is_kept(measured: Measured) -> Found:
    """Subtract R0's accuracy from that of each network with BANG."""
    networks = {_label(name): ("1", name, "accuracy") for name in _balanced(measured, "1")}
    plain = measured("1", PLAIN, "accuracy")
    return Found({"networks": cases(lambda *cell: measured(*cell) - plain, networks)})


@claim("BANG-2")
def fgs_success_falls(measured: Measured) -> Found:
    """Find the success of FGS as the paper defines it, and by how much it falls."""
    return _fgs(measured, "1", "")


@claim("BANG-3")
def failures_are_blank_gradients(measured: Measured) -> Found:
    """Find, for each network with BANG, how many failures of FGS have a gradient of 0."""
    networks = {_label(name): ("fgs", BLANK, name) for name in _balanced(measured, "1")}
    margin = measured("fgs", MARGIN, _compared(measured, "1"))
    told = f"With a loss that does not saturate FGS succeeds with {margin}% of B1's images."
    return Found({"networks": cases(measured, networks)}, told)


@claim("BANG-4")
def hot_cold_images_become_visible(measured: Measured) -> Found:
    """Compare HC1's perturbations, and those of hot/cold with weights of 1 and -1.

    No offset of the logits can turn these weights round.
    """
    name = _compared(measured, "1")
    cells = {"Linf": ("1", "HC1 Linf"), "PASS": ("1", "HC1 PASS")}
    contrasts = {
        key: measured(table, name, column) - measured(table, PLAIN, column)
        for key, (table, column) in cells.items()
    }
    unit = "hot-cold", "unit weights: Linf"
    contrasts["unit weights"] = measured(*unit, name) - measured(*unit, PLAIN)
    return Found(contrasts)


@claim("BANG-5")
def noise_changes_few_labels(measured: Measured) -> Found:
    """Compare both networks under noise of standard deviation 100 at the end of training."""
    return _noise(measured, "1", "", std=100)


@claim("BANG-6")
def fgs_success_falls_on_cifar10(measured: Measured) -> Found:
    """Ask the same of CIFAR-10, at equal accuracy."""
    name, found = _compared(measured, "2"), _fgs(measured, "2", OF_CIFAR10)
    gap = measured("2", name, "accuracy") - measured("2", PLAIN, "accuracy")
    return found._replace(contrasts={**found.contrasts, "accuracy": gap}, doubt=_doubt(measured))


@claim("BANG-7")
def noise_changes_fewer_labels_on_cifar10(measured: Measured) -> Found:
    """Compare both networks under noise of standard deviation 40 at the end of training."""
    return _noise(measured, "2", OF_CIFAR10, std=40)._replace(doubt=_doubt(measured))


@claim("BANG-8")
def overhead_is_negligible(measured: Measured) -> Found:
    """Divide the time of a training step with BANG by that of a plain one."""
    return Found({"ratio": measured("cost", "training step", "ratio")})


@claim("BANG-9")
def noise_changes_fewer_labels_throughout(measured: Measured) -> Found:
    """Subtract both networks under noise of standard deviation 100 at every stage of training."""
    stages = [row for _, row in _stages(measured, "random noise", 100)]
    keys = {row.partition(",")[0]: (row,) for row in stages}
    return Found({"stages": cases(lambda row: _fall(measured, "1", "", row), keys)})


@claim("BANG-10")
def bang_resists_perturbations(measured: Measured) -> Found:
    """Subtract the worst cases of B1 and R0 at every size of perturbation."""
    return Found({"sizes": _worst_cases(measured, "1", "")})


@claim("BANG-11")
def bang_resists_perturbations_on_cifar10(measured: Measured) -> Found:
    """Subtract the worst cases of B0 and R0 at every size of perturbation."""
    return Found({"sizes": _worst_cases(measured, "2", OF_CIFAR10)}, doubt=_doubt(measured))


def _fgs(measured: Measured, table: str, where: str) -> Found:
    name = _compared(measured, table)
    plain, balanced = (measured(table, network, "FGS rate") for network in (PLAIN, name))
    counted, margin = (measured(f"fgs{where}", row, name) for row in (COUNTED, MARGIN))
    told = (
        f"If a probability of exactly 1 counts as a failure, as the paper's tool seems to count, "
        f"it is {counted}%; with a loss that does not saturate, {margin}%."
    )
    return Found({"rate": balanced, "fall": plain - balanced}, told)


def _noise(measured: Measured, table: str, where: str, std: int) -> Found:
    """Compare both networks at the last stage; the text says nothing of clipping: both are told."""
    (_, row), name = max(_stages(measured, f"random noise{where}", std)), _compared(measured, table)
    plain, clipped = (
        [measured(f"random noise{where}", each, n) for n in (PLAIN, name)]
        for each in (row, f"{row}, clipped")
    )
    told = (
        f"It is {plain[0]}% of R0's answers; with pixels clipped to 0 to 255, {clipped[0]}% and "
        f"{clipped[1]}%."
    )
    return Found({"fall": plain[0] - plain[1], "level": plain[1]}, told)


def _fall(measured: Measured, table: str, where: str, row: str) -> Quantity:
    plain, balanced = PLAIN, _compared(measured, table)
    return measured(f"random noise{where}", row, plain) - measured(
        f"random noise{where}", row, balanced
    )


def _worst_cases(measured: Measured, table: str, where: str) -> Cases:
    table, name = f"worst case{where}", _compared(measured, table)
    rows = [row for row in measured.rows_of(table) if row.startswith(WORST)]
    keys = {row.removeprefix("worst case, "): (row,) for row in rows or [f"{WORST}0.1"]}
    return cases(lambda row: measured(table, row, name) - measured(table, row, PLAIN), keys)


def _doubt(measured: Measured) -> str:
    """Doubt a short training on CIFAR-10, as what BANG does grows with training."""
    return measured.doubt("2", PLAIN, "accuracy")


def _stages(measured: Measured, table: str, std: int) -> list[tuple[int, str]]:
    """Return the iterations at which noise was added, each with its row."""
    names = [re.fullmatch(rf"iteration (\d+), std {std}", row) for row in measured.rows_of(table)]
    stages = [(int(match[1]), match[0]) for match in names if match]
    if not stages:
        raise NotMeasured(f"Not measured yet: table {table}, std {std}.")
    return stages


def _compared(measured: Measured, table: str) -> str:
    """Return the network that the paper compares with R0: B1 on MNIST, B0 on CIFAR-10."""
    label = {"1": "B1", "2": "B0"}[table]
    return next(name for name in _balanced(measured, table) if _label(name) == label)


def _balanced(measured: Measured, table: str) -> list[str]:
    """Return the names of the networks with BANG in a printed table."""
    return [name for name in measured.printed_rows(table) if name.startswith("B")]


def _label(name: str) -> str:
    return name.partition(" ")[0]
