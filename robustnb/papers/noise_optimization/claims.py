"""The claims NO-1 to NO-14 decided from rows (Xiao, Zhang & Peng 2021).

Beside the paper's Tables 3 to 6 they read tables of our own: `EOT` (the white box with gradients
averaged over the noise), `worst case` (of stronger attacks, per image), `theorems`, `cost`,
`convergence` and `saliency`. One accuracy is better than another if the mean difference exceeds its
spread over seeds. A claim about several tables is decided from some of them only where the others
could not change the answer.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from robustnb.verdicts import (
    Answer,
    Finding,
    Measured,
    NotMeasured,
    Quantity,
    Undecided,
    claim,
    graded,
)

# The table, the network without noise and the one with noise.
Architecture = tuple[str, str, str]
Number = TypeVar("Number", Quantity, float)

ANSWERS: tuple[Answer, ...] = ("does not hold", "holds in part", "holds")
WHITE_BOX = ("white-box FGSM", "white-box L-BFGS", "white-box PGD")
CORRUPTIONS = ("gaussian noise", "impulse noise", "glass blur", "contrast")
BLACK_BOX = ("black-box FGSM", "black-box L-BFGS")
COLUMNS = ("clean", *WHITE_BOX, *CORRUPTIONS, *BLACK_BOX)
EOT = "EOT"
WORST = "worst case"
# Of each, the learned noise that is best in the paper.
RELU = ("3", "MLP ReLU", "MLPN ReLU")
SIGMOID = ("3", "MLP Sigmoid", "MLPN Sigmoid")
CNN = ("4", "CNN", "CNN-MLPN")
RESNET_18 = ("5", "ResNet18", "ResNet18-AN")
RESNET_34 = ("6", "ResNet34", "ResNet34-AN")
ARCHITECTURES = (RELU, SIGMOID, CNN, RESNET_18, RESNET_34)
EXACT = 1e-6  # the relative error that central differences have in float64
LARGEST_Z = 4.0
NEARLY_NONE, MUCH = 1.1, 1.5  # times the step without noise
LEAST = 0.01  # an accuracy below it counts as this where a gain is relative to it
TRAINED = 0.1  # the clean accuracy below which a network has learned too little to be judged
GAIN_TOLERANCE = 10.0  # points by which a relative gain may miss the printed one


@claim("NO-1")
def gradient_is_delta_times_epsilon(measured: Measured) -> Finding:
    """Compare delta times epsilon with autograd and with central differences."""
    errors = [
        max(measured("theorems", "Theorem 1", f"relative error, {way}").by_seed.values())
        for way in ("autograd", "central differences")
    ]
    reason = (
        f"delta times epsilon differs from autograd by {errors[0]:.1e} and from central "
        f"differences by {errors[1]:.1e} of the largest gradient, where rounding allows {EXACT:g}."
    )
    numbers = dict(zip(("autograd", "central differences"), errors, strict=True))
    return Finding(graded(*(error < EXACT for error in errors)), reason, numbers)


@claim("NO-2")
def gradient_is_unbiased(measured: Measured) -> Finding:
    """Compare the mean gradient with the slope of the mean loss, in standard errors."""
    found = measured("theorems", "Theorem 2", "z-score").by_seed.values()
    near, worst = sum(z < LARGEST_Z for z in found), max(found)
    reason = (
        f"the mean gradient is at most {worst:.2f} standard errors from the slope of the mean "
        f"loss, where up to {LARGEST_Z:g} is chance."
    )
    return Finding(answer_for(near, len(found)), reason, {"z": worst})


@claim("NO-3")
def learned_noise_improves_clean_accuracy(measured: Measured) -> Finding:
    """Count the architectures whose clean accuracy rises."""
    trained = _of_trained(measured)
    count = count_won(trained, ((*each, "clean") for each in ARCHITECTURES))
    before, after = (measured.printed("3", name, "clean") for name in RELU[1:])
    try:
        here = f"changes by {_points(gain(trained, RELU, 'clean'))} points"
    except NotMeasured:
        here = "is not measured"
    reason = (
        f"clean accuracy rises in {count} architectures; the paper contradicts itself for the ReLU "
        f"network, which falls from {before:.3f} to {after:.3f} in its Table 3 and here {here}."
    )
    return Finding(settled(count), reason, {"architectures": count.won})


@claim("NO-4")
def learned_noise_improves_white_box_accuracy(measured: Measured) -> Finding:
    """Count attacks on two architectures, with one draw a gradient and with the average."""
    cells = [(*each, column) for each in (SIGMOID, CNN) for column in WHITE_BOX]
    single = count_won(measured, cells)
    average = count_won(measured, ((EOT, *cell[1:]) for cell in cells))
    reason = (
        f"accuracy rises in {single} attacks with the gradient of one draw and in {average} with "
        "the gradient averaged over the noise."
    )
    numbers: dict[str, float] = {"one draw": single.won, "averaged": average.won}
    return Finding(settled(single, average), reason, numbers)


@claim("NO-5")
def fixed_noise_costs_clean_accuracy(measured: Measured) -> Finding:
    """Compare the networks without noise with those of unit noise in every layer."""
    pairs = (("3", "MLP+ Sigmoid", "MLP Sigmoid"), ("4", "CNN-A+", "CNN"))
    count = count_won(measured, ((*pair, "clean") for pair in pairs))
    reason = f"unit noise lowers clean accuracy in {count} architectures."
    return Finding(settled(count), reason, {"architectures": count.won})


@claim("NO-6")
def learned_noise_improves_corrupted_accuracy(measured: Measured) -> Finding:
    """Count the corruptions under which learned noise makes the sigmoid network better."""
    return _columns(measured, CORRUPTIONS, "corruptions")


@claim("NO-7")
def learned_noise_improves_transferred_accuracy(measured: Measured) -> Finding:
    """Count the transferred attacks under which learned noise makes the sigmoid network better."""
    return _columns(measured, BLACK_BOX, "transferred attacks")


@claim("NO-8")
def sigmoid_gains_more_than_relu(measured: Measured) -> Finding:
    """Count the columns in which the sigmoid network's gain, and its accuracy, is the larger."""
    gains = sum(is_better(gain(measured, SIGMOID, c), gain(measured, RELU, c)) for c in COLUMNS)
    better = count_won(measured, (("3", RELU[2], SIGMOID[2], c) for c in COLUMNS))
    printed = measured.printed
    paper = sum(gain(printed, SIGMOID, c) > gain(printed, RELU, c) for c in COLUMNS)
    reason = (
        f"the sigmoid network gains more in {gains} of 10 columns and is the better one in "
        f"{better}; in the paper's own Table 3 it is better in all and gains more in {paper}."
    )
    answer = graded(2 * gains > len(COLUMNS), 2 * better.won > len(COLUMNS))
    if answer == "holds" and gains + better.won < 2 * len(COLUMNS):
        answer = "holds in part"
    return Finding(answer, reason, {"gains more": gains, "better": better.won})


@claim("NO-9")
def noise_in_the_last_layers_is_better(measured: Measured) -> Finding:
    """Count the columns in which noise only in the fully connected layers is better."""
    cells = [("4", "CNN-AN", "CNN-MLPN", column) for column in COLUMNS]
    count = count_won(measured, cells)
    paper = sum(gain(measured.printed, cell[:3], cell[3]) > 0 for cell in cells)
    reason = (
        f"noise only in the fully connected layers is better in {count} columns; in the paper's "
        f"own Table 4 it is in {paper}."
    )

    def as_in_the_paper(won: int, total: int) -> Answer:
        return "holds" if won >= paper else answer_for(won, total)

    return Finding(settled(count, grade=as_in_the_paper), reason, {"columns": count.won})


@claim("NO-10")
def noise_costs_nearly_nothing(measured: Measured) -> Finding:
    """Compare the longest training step with noise with the step without.

    Not without a convolutional network, whose feature maps need the most noise.
    """
    names = dict.fromkeys(("CNN-AN", *measured.rows_of("cost")))
    times = {name: measured("cost", name, "step over plain") for name in names}
    longest = max(times, key=lambda name: times[name].mean)
    reason = (
        f"a training step takes up to {times[longest]} times as long as without noise "
        f"({longest}, of {len(times)} networks), where up to {NEARLY_NONE:g} is nearly none and "
        f"more than {MUCH:g} is much."
    )
    worst = times[longest].mean
    answer = graded(worst <= MUCH, worst <= NEARLY_NONE)
    return Finding(answer, reason, {"times": worst})


@claim("NO-11")
def learned_noise_converges_faster(measured: Measured) -> Finding:
    """Ask in which epoch each ReLU network reaches the plain one's loss after ten epochs."""
    goal = measured("convergence", RELU[1], "epoch 10").mean
    learned, fixed = (_epochs_to(measured, name, goal) for name in (RELU[2], "MLP+ ReLU"))
    reason = (
        f"the plain network's training loss after 10 epochs, {goal:.3f}, is reached with learned "
        f"noise {_in_words(learned)} and with unit noise {_in_words(fixed)}."
    )
    numbers = {"goal": goal} | ({"epochs": float(learned)} if learned else {})
    if learned is None or learned >= 10:
        return Finding("does not hold", reason, numbers)
    fastest = fixed is None or learned <= fixed
    return Finding("holds" if fastest else "holds in part", reason, numbers)


@claim("NO-12")
def noise_everywhere_is_best_on_cifar_10(measured: Measured) -> Finding:
    """Average the relative gains, see whether the worst case has one, and which network is best."""
    return _relative_gains(measured, RESNET_18, is_best=True)


@claim("NO-13")
def noise_helps_on_tiny_imagenet(measured: Measured) -> Finding:
    """Average the relative gains under three attacks, and see whether the worst case has one."""
    return _relative_gains(measured, RESNET_34, is_best=False)


@claim("NO-14")
def saliency_maps_are_clearer(measured: Measured) -> Finding:
    """Count the networks with learned noise whose maps find the pixels that matter sooner."""
    trained, pairs = _of_trained(measured), [each[1:] for each in ARCHITECTURES]
    deletion = count_won(
        trained, (("saliency", best, base, "deletion area") for base, best in pairs)
    )
    insertion = count_won(
        trained, (("saliency", base, best, "insertion area") for base, best in pairs)
    )
    reason = (
        "deleting the most salient pixels first costs the score sooner with learned noise in "
        f"{deletion} networks ({', '.join(best for _, best, _, _ in deletion.is_won)}), and "
        f"inserting them brings it back sooner in {insertion}."
    )
    numbers: dict[str, float] = {"deletion": deletion.won, "insertion": insertion.won}
    together = Count(deletion.is_won | insertion.is_won, deletion.missing + insertion.missing)
    return Finding(settled(together), reason, numbers)


@dataclass(frozen=True)
class Count:
    """Comparisons (table, base, better, column), which of them are won, and why others are open."""

    is_won: dict[tuple[str, str, str, str], bool]
    missing: list[NotMeasured]

    @property
    def won(self) -> int:
        """Return how many comparisons are won."""
        return sum(self.is_won.values())

    @property
    def total(self) -> int:
        """Return how many comparisons there are."""
        return len(self.is_won) + len(self.missing)

    def __str__(self) -> str:
        """Say how many are won, of those that were measured."""
        more = f" ({len(self.missing)} more open)" if self.missing else ""
        return f"{self.won} of {len(self.is_won)}{more}"


def count_won(
    look_up: Callable[[str, str, str], Quantity], cells: Iterable[tuple[str, str, str, str]]
) -> Count:
    """Count the cells (table, base, better, column) where the second network is the better."""
    count = Count({}, [])
    for table, base, better, column in cells:
        try:
            won = is_better(look_up(table, better, column), look_up(table, base, column))
            count.is_won[table, base, better, column] = won
        except NotMeasured as error:
            count.missing.append(error)
    if not count.is_won:
        raise count.missing[0]
    return count


def answer_for(won: int, total: int) -> Answer:
    """Hold if all are won, in part from half of them on."""
    if won == total:
        return "holds"
    return "holds in part" if won and 2 * won >= total else "does not hold"


def settled(*counts: Count, grade: Callable[[int, int], Answer] = answer_for) -> Answer:
    """Return the worst of the answers, unless what is missing could change it."""
    least = min((grade(c.won, c.total) for c in counts), key=ANSWERS.index)
    most = min((grade(c.won + len(c.missing), c.total) for c in counts), key=ANSWERS.index)
    if least == most:
        return least
    missing = [error for count in counts for error in count.missing]
    kind = Undecided if all(isinstance(error, Undecided) for error in missing) else NotMeasured
    others = f" And {len(missing) - 1} more, which could change the answer."
    raise kind(f"{missing[0]}{others if len(missing) > 1 else ''}")


def is_better(one: Quantity, other: Quantity) -> bool:
    """Tell whether the mean difference exceeds its spread over seeds."""
    difference = one - other
    return difference.mean > (difference.spread or 0)


def gain(
    look_up: Callable[[str, str, str], Number], architecture: Architecture, column: str
) -> Number:
    """Return by how much the second network is above the first."""
    table, base, better = architecture
    return look_up(table, better, column) - look_up(table, base, column)


def _columns(measured: Measured, columns: Sequence[str], kind: str) -> Finding:
    """Count the columns in which learned noise improves the sigmoid network."""
    count = count_won(measured, ((*SIGMOID, column) for column in columns))
    gains = [100 * gain(measured, SIGMOID, column).mean for column in columns]
    told = ", ".join(f"{c} {points:+.1f}" for c, points in zip(columns, gains, strict=True))
    reason = f"accuracy of {SIGMOID[2]} rises under {count} {kind} (in points: {told})."
    return Finding(settled(count), reason, dict(zip(columns, gains, strict=True)))


def _relative_gains(measured: Measured, architecture: Architecture, *, is_best: bool) -> Finding:
    """Decide a claim of a relative gain, and with `is_best` that no other network has a larger one.

    Nothing holds, not even in part, without a gain at the worst of the stronger attacks.
    """
    table, base, best = architecture
    for name in (base, best):
        _of_trained(measured)(table, name, "clean")
    single, average = (_relative_gain(measured, where, base, best) for where in (table, EOT))
    claimed = fmean(
        100 * gain(measured.printed, architecture, c) / measured.printed(table, base, c)
        for c in WHITE_BOX
    )
    before, after = (measured(WORST, name, WORST) for name in (base, best))
    reason = (
        f"{best} changes the accuracy of {base} under the three attacks by {single:+.0f}% on "
        f"average with the gradient of one draw and by {average:+.0f}% with the gradient averaged "
        f"over the noise, where {claimed:.0f}% is claimed; at the worst of four stronger attacks "
        f"it is {after.mean:.3f} instead of {before.mean:.3f}."
    )
    numbers = {"one draw": single, "averaged": average}
    as_claimed = min(single, average) >= claimed - GAIN_TOLERANCE
    if is_best:
        others = (name for name in measured.printed_rows(table) if name != base)
        gains = {name: _relative_gain(measured, table, base, name) for name in others}
        largest = max(gains, key=lambda name: gains[name])
        reason = f"{reason[:-1]}. With one draw {largest} gains the most ({gains[largest]:+.0f}%)."
        as_claimed = as_claimed and largest == best
    if min(single, average) <= 0 or not is_better(after, before):
        return Finding("does not hold", reason, numbers)
    return Finding("holds" if as_claimed else "holds in part", reason, numbers)


def _relative_gain(measured: Measured, table: str, base: str, best: str) -> float:
    """Return the mean over three attacks of the relative gains, in percent."""
    return fmean(_relative(measured(table, base, c), measured(table, best, c)) for c in WHITE_BOX)


def _of_trained(measured: Measured) -> Callable[[str, str, str], Quantity]:
    """Look up cells of the networks that claims are about; one that has hardly learned is open."""

    home = {name: table for table, *names in ARCHITECTURES for name in names}

    def look_up(table: str, row: str, column: str) -> Quantity:
        clean = measured(home[row], row, "clean").mean
        if clean < TRAINED:
            raise Undecided(
                f"{row} has learned too little to be judged: it gives the right answer to "
                f"{clean:.1%} of clean images, and {TRAINED:.0%} are needed."
            )
        return measured(table, row, column)

    return look_up


def _relative(base: Quantity, best: Quantity) -> float:
    """Return by how many percent the mean rises, relative to no less than LEAST."""
    return 100 * (best - base).mean / max(base.mean, LEAST)


def _points(shares: Quantity) -> Quantity:
    """Return a difference of accuracies in [0, 1] in points of percent."""
    return Quantity({seed: 100 * value for seed, value in shares.by_seed.items()})


def _epochs_to(measured: Measured, name: str, goal: float) -> int | None:
    """Return the first epoch whose training loss is no larger than `goal`."""
    epoch = 0
    while True:
        epoch += 1
        try:
            loss = measured("convergence", name, f"epoch {epoch}").mean
        except NotMeasured:
            if epoch == 1:
                raise
            return None
        if loss <= goal:
            return epoch


def _in_words(epoch: int | None) -> str:
    return "never" if epoch is None else f"in epoch {epoch}"
