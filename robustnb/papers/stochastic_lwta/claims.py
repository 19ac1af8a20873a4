"""The claims LWTA-1 to LWTA-6 decided from rows (Kaspar, Hicheur & Bourdrez 2024).

Beside the report's Table 1 they read tables of our own: "controls" (a network trained on PGD in
every minibatch, attacked as in Table 1), "attacks on LWTA" (the same with ", WRN-34-1" is about the
report's architecture) and "attacks on PNI" (within the ball of the training), "steps"
(more steps of the same PGD), "training eps" (Table 1 within the ball of the training),
"calibration" and "cost".
"""

from robustnb.papers.stochastic_lwta.protocols import LWTA, MIXED, MIXED_NOISE, REGULAR, TUNED
from robustnb.papers.stochastic_lwta.tables import DEEP, WITH_NOISE, WITHOUT_NOISE, WORST
from robustnb.verdicts import Finding, Measured, Quantity, claim, graded

MIXTURES = ("Smoothing, PGD", "Smoothing, PGD, FGSM", MIXED)
SINGLE = "PGD, EOT=1"
LONGER = "PGD, 10 steps"
WITHIN = "training eps"
CW = "CW accuracy"
ATTACKED = ("PGD accuracy", "FGSM accuracy", CW)

# What an accuracy may differ by, in points, before a claim takes notice.
TOLERANCE = 2.0
GUESSING = 10.0  # percent, with ten classes
MILLISECONDS = 166.0
SLOW = 1.5


@claim("LWTA-1")
def regular_training_is_not_robust(measured: Measured) -> Finding:
    """Ask whether PGD and FGSM push regular training below guessing."""
    natural, pgd, fgsm = (
        measured("1", REGULAR, f"{kind} accuracy") for kind in ("natural", "PGD", "FGSM")
    )
    reason = (
        f"of {natural}%, regular training keeps {pgd}% under PGD and {fgsm}% under FGSM, where "
        f"guessing has {GUESSING:g}%."
    )
    answer = graded(pgd.mean < GUESSING, fgsm.mean < GUESSING)
    return Finding(answer, reason, {"PGD": pgd.mean, "FGSM": fgsm.mean})


@claim("LWTA-2")
def mixtures_do_not_help_against_pgd(measured: Measured) -> Finding:
    """Subtract regular training from each mixture that has PGD in it, under PGD.

    Once at the report's sizes, three steps in a ball that ten times as many would not leave, and
    once within the ball of the training.
    """
    base = measured("1", REGULAR, "PGD accuracy")
    gains, within = (_gains_of_mixtures(measured, table) for table in ("1", WITHIN))
    most, most_within = (max(each, key=lambda gain: gain.mean) for each in (gains, within))
    tuned = measured("controls", TUNED, "PGD accuracy")
    longer = measured("steps", LONGER, MIXED) - measured("steps", LONGER, REGULAR)
    small = [gain.mean <= TOLERANCE for gain in (*gains, *within)]
    more = small[: len(gains)].count(False)
    reason = (
        f"under PGD {more} of {len(gains)} mixtures gain more than {TOLERANCE:g} points over the "
        f"{base}% of regular training, the best of them {most}, and within the ball of the "
        f"training {most_within}; with ten steps instead of three the mixture of all gains "
        f"{longer}. Training on PGD in every minibatch keeps {tuned}% with three."
    )
    numbers = {"gain": most.mean, "within": most_within.mean, "ten steps": longer.mean}
    numbers |= {"PGD training": tuned.mean}
    return Finding(graded(*small), reason, numbers)


@claim("LWTA-3")
def noise_injection_lifts_the_mixture(measured: Measured) -> Finding:
    """Subtract the mixture without noise, under each attack and under the worst of better ones.

    CW is told and decides nothing: on a network that rolls dice it keeps the luckiest draw.
    """
    lifts = {
        column: measured("1", MIXED_NOISE, column) - measured("1", MIXED, column)
        for column in ATTACKED
    }
    worst = measured("attacks on PNI", WORST, WITH_NOISE)
    worst -= measured("attacks on PNI", WORST, WITHOUT_NOISE)
    told = ", ".join(f"{column.split()[0]} {lift}" for column, lift in lifts.items())
    reason = (
        f"noise injection changes the mixture's accuracy by these points: {told}; under the worst "
        f"of our attacks, averaged gradients among them, by {worst}."
    )
    numbers = {name: lift.mean for name, lift in lifts.items()} | {WORST: worst.mean}
    deciding = (value for name, value in numbers.items() if name != CW)
    return Finding(graded(*(value > TOLERANCE for value in deciding)), reason, numbers)


@claim("LWTA-4")
def stochastic_lwta_is_best(measured: Measured) -> Finding:
    """Ask whether it tops Table 1, and whether that survives the attacks that suit it worst."""
    best = {column: _best(measured, column) for column in ("PGD accuracy", "CW accuracy")}
    single, worst, tuned = _under_attack(measured, "attacks on LWTA")
    reason = (
        f"in Table 1 the best is {_named(best)}; gradients of single draws leave Stochastic LWTA "
        f"{single}% within the ball of its training, the worst of our attacks (the strongest is "
        f"{_strongest(measured)}) {worst}%, and {tuned}% to a ReLU network trained on PGD."
    )
    tops = all(name == LWTA for name in best.values())
    unmasked = single.mean - worst.mean <= TOLERANCE
    survives = worst.mean > tuned.mean
    if measured.rows_of(DEEP):
        first, last, plain = _under_attack(measured, DEEP)
        reason = f"{reason[:-1]}; with the report's architecture {first}%, {last}% and {plain}%."
        survives &= last.mean > plain.mean
    answer = graded(tops, unmasked) if survives else "does not hold"
    numbers = {SINGLE: single.mean, WORST: worst.mean, "PGD training": tuned.mean}
    return Finding(answer, reason, numbers)


@claim("LWTA-5")
def it_is_rarely_confident(measured: Measured) -> Finding:
    """Look at the probability of the class that is answered: over all classes it is 0.1 anyway."""
    answered = measured("calibration", LWTA, "mean probability of the answer")
    average = measured("calibration", LWTA, "mean probability of a class")
    confident = measured("calibration", LWTA, "answers above 0.5")
    error = measured("calibration", LWTA, "ECE")
    reason = (
        f"the class that is answered has probability {answered} on average and more than 0.5 in "
        f"{confident}% of the answers (calibration error {error}); over all ten classes the mean "
        f"is {average}, as it is for any network."
    )
    answer = graded(answered.mean <= 0.2, confident.mean < 50)
    return Finding(answer, reason, {"answer": answered.mean, "above 0.5": confident.mean})


@claim("LWTA-6")
def inference_is_slow(measured: Measured) -> Finding:
    """Compare the time of one image with the report's, and with that of ReLU."""
    times = {
        (name, batch): measured("cost", name, f"batch of {batch}")
        for name in (LWTA, REGULAR)
        for batch in (1, 128)
    }
    one, plain = times[LWTA, 1].mean, times[REGULAR, 1].mean
    reason = (
        f"an image takes {times[LWTA, 1]} ms alone and {times[LWTA, 128]} ms in a batch of 128; "
        f"with ReLU {times[REGULAR, 1]} and {times[REGULAR, 128]} ms. Near the report's "
        f"{MILLISECONDS:g} ms is within a factor of 2, and slow is {SLOW} times ReLU, alone."
    )
    near = MILLISECONDS / 2 <= one <= 2 * MILLISECONDS
    return Finding(graded(near, one >= SLOW * plain), reason, {LWTA: one, "ReLU": plain})


def _gains_of_mixtures(measured: Measured, table: str) -> list[Quantity]:
    """Return by how much each mixture is above regular training under PGD."""
    base = measured(table, REGULAR, "PGD accuracy")
    return [measured(table, name, "PGD accuracy") - base for name in MIXTURES]


def _best(measured: Measured, column: str) -> str:
    """Name the row of Table 1 with the highest mean, the first of several."""
    found = {name: measured("1", name, column).mean for name in measured.printed_rows("1")}
    return max(found, key=lambda name: found[name])


def _under_attack(measured: Measured, table: str) -> tuple[Quantity, Quantity, Quantity]:
    """Return LWTA under gradients of single draws and at worst, and PGD training at worst."""
    single, worst = (measured(table, row, LWTA) for row in (SINGLE, WORST))
    return single, worst, measured(table, WORST, TUNED)


def _named(best: dict[str, str]) -> str:
    return " and ".join(f"{name} ({column.split()[0]})" for column, name in best.items())


def _strongest(measured: Measured) -> str:
    """Name the attack that leaves Stochastic LWTA least."""
    rows = [row for row in measured.rows_of("attacks on LWTA") if row != WORST]
    return min(rows, key=lambda row: measured("attacks on LWTA", row, LWTA).mean)
