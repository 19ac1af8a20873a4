"""What decides the claims BWS-1 to BWS-16 (Zhang & Chen 2020), by the rules of `rules.csv`.

Beside the paper's four tables they read tables of our own: `distortion` (a row for each
perturbation set, column "mean distortion", inputs scaled to 0..2), `unpruned` (row "original
test", column "ensemble N=100"), `attack step` and `controls` (rows "plain, ..." and "mean weights",
column "average over 12 sets").
"""

from collections.abc import Iterable, Sequence
from itertools import product

from robustnb.deciding import Found
from robustnb.quantities import Cases, NotMeasured, Quantity, cases, mean
from robustnb.verdicts import Measured, claim

RHOS = ("-30", "-10", "-4", "-3", "-2.5", "-2", "-1.5")
LAMBDAS = ("0", "1e-4", "1e-2", "1")
BAYESIAN = tuple(f"bayesian rho_init={rho}" for rho in RHOS)
STANDARD = tuple(f"standard lambda={strength}" for strength in LAMBDAS)
SOURCES = ("FC-10", "FC-200-200-10", "FC-1200-1200-10")
SETS = tuple(f"{source} lambda={strength}" for source, strength in product(SOURCES, LAMBDAS))
PAPERS_OWN = ("bayesian rho_init=-3", "standard lambda=1e-2")  # the best in its Table 2
OVER_SETS = "average over 12 sets"
NOISELESS, INTERIOR, NOISIEST = BAYESIAN[0], BAYESIAN[2:4], BAYESIAN[-1]


@claim("BWS-1")
def clean_accuracy_falls(measured: Measured) -> Found:
    """Find the slope over the seven rho_init, and how far the two ends are from the paper's."""
    ours = [measured("1", "test", column) for column in BAYESIAN]
    first, last = (
        measured("1", "test", column) - measured.printed("1", "test", column)
        for column in (NOISELESS, NOISIEST)
    )
    return Found({"slope": _slope(ours), "first": first, "last": last})


@claim("BWS-2")
def clean_accuracy_is_slightly_lower(measured: Measured) -> Found:
    """Subtract the best standard test accuracy from the best Bayesian one."""
    return Found({"gap": _lead(measured, "1", "test")}, _named(measured, "1", "test"))


@claim("BWS-3")
def distortion_is_small(measured: Measured) -> Found:
    """Find the mean distortion of each perturbation set."""
    keys = {name: ("distortion", name, "mean distortion") for name in SETS}
    return Found({"sets": cases(measured, keys)})


@claim("BWS-4")
def concave_in_rho(measured: Measured) -> Found:
    """Subtract both ends, and the best of the other rho_init, from the better of -4 and -3."""
    top = _best(measured, "2", "average", INTERIOR)
    others = _best(measured, "2", "average", set(BAYESIAN[1:-1]) - set(INTERIOR))
    contrasts = {
        name: measured("2", "average", top) - measured("2", "average", other)
        for name, other in {"start": NOISELESS, "end": NOISIEST, "others": others}.items()
    }
    return Found(contrasts, f"Of the two {_setting(top)} is the better one.")


@claim("BWS-5")
def beats_the_best_standard(measured: Measured) -> Found:
    """Find the lead over the twelve sets, and at every step of the minimal attack."""
    steps = measured.rows_of("attack step") or ["alpha=0.05"]
    leads = cases(
        lambda step: _lead(measured, "attack step", step), {step: (step,) for step in steps}
    )
    lead = _lead(measured, "2", "average")
    own = measured("2", "average", PAPERS_OWN[0]) - measured("2", "average", PAPERS_OWN[1])
    told = (
        f"{_named(measured, '2', 'average')} With the paper's own choice, rho_init=-3 and "
        f"lambda=1e-2, it is {own}. The paper does not print the step of its attack."
    )
    return Found({"lead": lead, "steps": leads, "signs": leads}, told)


@claim("BWS-6")
def wins_every_set(measured: Measured) -> Found:
    """Find the lead of the best Bayesian network over the best standard one on each set."""
    leads = cases(lambda name: _lead(measured, "2", name), {name: (name,) for name in SETS})
    noiseless = cases(
        lambda name: _over_standard(measured, name, NOISELESS), {name: (name,) for name in SETS}
    )
    told = (
        f"By means alone, the best Bayesian network is above on {_above(leads)} sets, and the one "
        f"without noise (rho_init=-30) on {_above(noiseless)}. "
        f"The paper's own Table 2 shows {_sets_won_in_print(measured)} of 12."
    )
    return Found({"sets": leads}, told)


def _above(leads: Cases) -> int:
    return sum(isinstance(lead, Quantity) and lead.mean > 0 for lead in leads.values())


@claim("BWS-7")
def regularization_buys_little(measured: Measured) -> Found:
    """Subtract the average of lambda=0 from that of the best lambda."""
    best = _best(measured, "2", "average", STANDARD[1:])
    gain = measured("2", "average", best) - measured("2", "average", STANDARD[0])
    return Found({"gain": gain}, f"The best one is {_setting(best)}.")


@claim("BWS-8")
def ensemble_adds_five_points(measured: Measured) -> Found:
    """Subtract the average of one weight sample from that of an ensemble of 100."""
    one, many = (measured("3", "average", f"ensemble N={size}") for size in (1, 100))
    return Found({"gain": many - one})


@claim("BWS-9")
def half_the_weights_are_free(measured: Measured) -> Found:
    """Compare half the weights with the unpruned ensemble of 100, clean and perturbed."""
    whole = {
        "clean": ("original test", measured("unpruned", "original test", "ensemble N=100")),
        "perturbed": ("average", measured("3", "average", "ensemble N=100")),
    }
    changes = {
        name: measured("4", row, "pruned 50%") - unpruned for name, (row, unpruned) in whole.items()
    }
    return Found({"kinds": changes}, _four_points(measured))


@claim("BWS-10")
def a_quarter_of_the_weights_wins(measured: Measured) -> Found:
    """Subtract the best standard network from the one without 75% of its weights."""
    best = _best(measured, "2", "average", STANDARD)
    return Found(
        {"lead": measured("4", "average", "pruned 75%") - measured("2", "average", best)},
        f"The best standard one is {_setting(best)}.",
    )


@claim("BWS-11")
def diversity_explains_the_margin(measured: Measured) -> Found:
    """Find what is left of the lead against networks without diversity, less half of the lead."""
    best = _best(measured, "2", "average", BAYESIAN)
    bayesian, lead = measured("2", "average", best), _lead(measured, "2", "average")
    control, plain = _strongest_plain(measured)
    without = {control: plain, "its own mean weights": _mean_weights(measured, best)}
    left = {name: bayesian - other for name, other in without.items()}
    told = " and ".join(f"{quantity} against {name}" for name, quantity in left.items())
    return Found(
        {"lead": lead, "left": {name: each - lead * 0.5 for name, each in left.items()}},
        f"The best Bayesian network is {_setting(best)}. Its lead in points is {told}.",
    )


@claim("BWS-12")
def ensemble_beats_the_best_standard(measured: Measured) -> Found:
    """Subtract the best standard network from an ensemble of 100 weight samples."""
    best = _best(measured, "2", "average", STANDARD)
    ensemble = measured("3", "average", "ensemble N=100")
    return Found({"lead": ensemble - measured("2", "average", best)})


@claim("BWS-13")
def pruned_network_is_smaller(measured: Measured) -> Found:
    """Count the numbers that are stored of a network without 75% of its weights.

    A weight that is left has a mean and a standard deviation, where a plain one is one number.
    """
    pruned = measured("4", "original test", "pruned 75%")
    return Found({"saved": Quantity({seed: 100 - 2 * (100 - 75.0) for seed in pruned.by_seed})})


@claim("BWS-14")
def larger_lambda_makes_harder_sets(measured: Measured) -> Found:
    """Subtract the mean accuracy of all networks on the set of lambda=0 from that of lambda=1."""

    def change(source: str) -> Quantity:
        least, most = (f"{source} lambda={strength}" for strength in ("0", "1"))
        networks = BAYESIAN + STANDARD
        return mean(measured("2", most, name) - measured("2", least, name) for name in networks)

    return Found({"sources": cases(change, {source: (source,) for source in SOURCES})})


@claim("BWS-15")
def diversity_in_training_helps(measured: Measured) -> Found:
    """Subtract the network trained without noise from the one trained with it.

    Once with its mean weights, so that nothing is random when it counts, and once as it is.
    """
    best = _best(measured, "2", "average", INTERIOR)
    noiseless = measured("2", "average", NOISELESS)
    return Found(
        {
            "mean weights": _mean_weights(measured, best) - noiseless,
            "one sample": measured("2", "average", best) - noiseless,
        },
        f"The network with noise is {_setting(best)}.",
    )


@claim("BWS-16")
def strong_regularization_costs_accuracy(measured: Measured) -> Found:
    """Subtract the clean accuracy of lambda=0 from those of lambda=1e-2 and lambda=1."""
    none, weak, strong = (measured("1", "test", STANDARD[place]) for place in (0, 2, 3))
    return Found({"weak": weak - none, "strong": strong - none})


def _best(measured: Measured, table: str, row: str, columns: Iterable[str]) -> str:
    """Name the column with the highest mean."""
    return max(sorted(columns), key=lambda column: measured(table, row, column).mean)


def _lead(measured: Measured, table: str, row: str) -> Quantity:
    """Subtract the best standard column from the best Bayesian one."""
    bayesian, standard = (_best(measured, table, row, each) for each in (BAYESIAN, STANDARD))
    return measured(table, row, bayesian) - measured(table, row, standard)


def _over_standard(measured: Measured, row: str, column: str) -> Quantity:
    return measured("2", row, column) - measured("2", row, _best(measured, "2", row, STANDARD))


def _named(measured: Measured, table: str, row: str) -> str:
    bayesian, standard = (
        _setting(_best(measured, table, row, each)) for each in (BAYESIAN, STANDARD)
    )
    return f"The best are {bayesian} and {standard}."


def _sets_won_in_print(measured: Measured) -> int:
    def best(name: str, columns: Sequence[str]) -> float:
        return max(measured.printed("2", name, column) for column in columns)

    return sum(best(name, BAYESIAN) > best(name, STANDARD) for name in SETS)


def _strongest_plain(measured: Measured) -> tuple[str, Quantity]:
    names = [row for row in measured.rows_of("controls") if row.startswith("plain")]
    if "plain, both" not in names:
        raise NotMeasured(f"Not measured yet: table controls, plain, both, {OVER_SETS}.")
    controls = {name: measured("controls", name, OVER_SETS) for name in names}
    strongest = max(controls, key=lambda name: controls[name].mean)
    return f"'{strongest}'", controls[strongest]


def _mean_weights(measured: Measured, column: str) -> Quantity:
    """Return the average of a Bayesian network's mean weights, without sampling."""
    of_paper = column == PAPERS_OWN[0]
    row = "mean weights" if of_paper else f"mean weights, {_setting(column)}"
    return measured("controls", row, OVER_SETS)


def _four_points(measured: Measured) -> str:
    half = measured.printed("4", "average", "pruned 50%")
    one, hundred = (measured.printed("3", "average", f"ensemble N={size}") for size in (1, 100))
    return (
        f"The paper's {half:.2f}% at 50% is {hundred - half:.2f} points below its own unpruned "
        f"{hundred:.2f}% (Table 3) and near its {one:.2f}% for N=1, as if Table 4 had been "
        "measured with one weight sample."
    )


def _slope(values: Sequence[Quantity]) -> Quantity:
    """Return the slope of the least squares line over the places 0, 1, 2 and so on."""
    middle = (len(values) - 1) / 2
    weights = [place - middle for place in range(len(values))]
    scale = len(values) / sum(weight**2 for weight in weights)
    return mean(value * (scale * w) for value, w in zip(values, weights, strict=True))


def _setting(column: str) -> str:
    return column.split(" ", 1)[1]
