"""What decides the claims LWTA-1 to LWTA-6 (Kaspar, Hicheur & Bourdrez 2024), by `rules.csv`.

Beside the report's Table 1 they read tables of our own: "controls" (a network trained on PGD in
every minibatch, attacked as in Table 1), "attacks on LWTA" (the same with ", WRN-34-1" is about the
report's architecture) and "attacks on PNI" (within the ball of the training), "steps" (more steps
of the same PGD), "calibration" and "cost".
"""

from robustnb.deciding import Found
from robustnb.papers.stochastic_lwta.protocols import LWTA, MIXED, MIXED_NOISE, REGULAR, TUNED
from robustnb.papers.stochastic_lwta.tables import DEEP, WITH_NOISE, WITHOUT_NOISE, WORST
from robustnb.quantities import Quantity, cases
from robustnb.verdicts import Measured, claim

MIXTURES = ("Smoothing, PGD", "Smoothing, PGD, FGSM", MIXED)
SINGLE = "PGD, EOT=1"
LONGER = "PGD, 10 steps"
ATTACKED = ("PGD accuracy", "FGSM accuracy", "CW accuracy")


@claim("LWTA-1")
def regular_training_is_not_robust(measured: Measured) -> Found:
    """Find what PGD and FGSM leave of regular training."""
    left = cases(measured, {column: ("1", REGULAR, column) for column in ATTACKED[:2]})
    return Found({"attacks": left}, doubt=_doubt(measured, REGULAR))


@claim("LWTA-2")
def mixtures_do_not_help_against_pgd(measured: Measured) -> Found:
    """Subtract regular training from each mixture with PGD in it, and once after ten steps."""
    gains = {
        name: measured("1", name, ATTACKED[0]) - measured("1", REGULAR, ATTACKED[0])
        for name in MIXTURES
    }
    longer = measured("steps", LONGER, MIXED) - measured("steps", LONGER, REGULAR)
    gains["all of them, ten steps"] = longer
    tuned = measured("controls", TUNED, ATTACKED[0])
    told = f"Training on PGD in every minibatch keeps {tuned}% under three steps."
    return Found({"gains": gains}, told, _doubt(measured, REGULAR, *MIXTURES))


@claim("LWTA-3")
def noise_injection_lifts_the_mixture(measured: Measured) -> Found:
    """Subtract the mixture without noise, under each attack and under the worst of better ones."""
    lifts = {c: measured("1", MIXED_NOISE, c) - measured("1", MIXED, c) for c in ATTACKED}
    lifts[WORST] = measured("attacks on PNI", WORST, WITH_NOISE)
    lifts[WORST] -= measured("attacks on PNI", WORST, WITHOUT_NOISE)
    return Found({"lifts": lifts}, doubt=_doubt(measured, MIXED, MIXED_NOISE))


@claim("LWTA-4")
def stochastic_lwta_is_best(measured: Measured) -> Found:
    """Ask whether it tops Table 1, and whether that survives the attacks that suit it worst."""
    single, worst, tuned = _under_attack(measured, "attacks on LWTA")
    leads = {column: _lead(measured, column) for column in (ATTACKED[0], ATTACKED[2])}
    survives = {"ours": worst - tuned}
    if measured.rows_of(DEEP):
        _, last, plain = _under_attack(measured, DEEP)
        survives["the report's"] = last - plain
    told = f"Against it {_strongest(measured)} is the strongest."
    return Found(
        {"leads": leads, "masked": single - worst, "survives": survives},
        told,
        _doubt(measured, LWTA),
    )


@claim("LWTA-5")
def it_is_rarely_confident(measured: Measured) -> Found:
    """Look at the probability of the class that is answered: over all classes it is 0.1 anyway."""
    return Found(
        {
            "probability": measured("calibration", LWTA, "mean probability of the answer", whole=1),
            "confident": measured("calibration", LWTA, "answers above 0.5"),
        },
        "Over all ten classes the mean is 0.1 for any network.",
        _doubt(measured, LWTA),
    )


@claim("LWTA-6")
def inference_is_slow(measured: Measured) -> Found:
    """Divide the time of one image by that of a ReLU network of the same size."""
    times = {name: measured("cost", name, "batch of 1") for name in (LWTA, REGULAR)}
    told = (
        f"Alone, an image takes {times[LWTA]} ms and with ReLU {times[REGULAR]} ms; how near that "
        "is to the report's 166 ms is a matter of the machine."
    )
    return Found({"ratio": times[LWTA] / times[REGULAR]}, told)


def _doubt(measured: Measured, *names: str) -> str:
    """Say which of the networks has learned too little, if any has."""
    found = (measured.doubt("1", name, "natural accuracy") for name in names)
    return next(filter(None, found), "")


def _lead(measured: Measured, column: str) -> Quantity:
    """Subtract the best of the other rows of Table 1 from Stochastic LWTA."""
    others = [name for name in measured.printed_rows("1") if name != LWTA]
    best = max(others, key=lambda name: measured("1", name, column).mean)
    return measured("1", LWTA, column) - measured("1", best, column)


def _under_attack(measured: Measured, table: str) -> tuple[Quantity, Quantity, Quantity]:
    """Return LWTA under gradients of single draws and at worst, and PGD training at worst."""
    single, worst = (measured(table, row, LWTA) for row in (SINGLE, WORST))
    return single, worst, measured(table, WORST, TUNED)


def _strongest(measured: Measured) -> str:
    """Name the attack that leaves Stochastic LWTA least."""
    rows = [row for row in measured.rows_of("attacks on LWTA") if row != WORST]
    return min(rows, key=lambda row: measured("attacks on LWTA", row, LWTA).mean)
