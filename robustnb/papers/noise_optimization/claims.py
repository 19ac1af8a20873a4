"""What decides the claims NO-1 to NO-17 (Xiao, Zhang & Peng 2021), by the rules of `rules.csv`.

Beside the paper's Tables 3 to 6 they read tables of our own: `EOT` (the white box with gradients
averaged over the noise), `worst case` (of stronger attacks, per image), `theorems`, `cost`,
`convergence` and `saliency`.
"""

from collections.abc import Iterable, Sequence

from robustnb.deciding import Found
from robustnb.quantities import Cases, NotMeasured, Quantity, Undecided, cases, mean
from robustnb.verdicts import Measured, claim

# The table, the network without noise and the one with noise.
Architecture = tuple[str, str, str]

WHITE_BOX = ("white-box FGSM", "white-box L-BFGS", "white-box PGD")
CORRUPTIONS = ("gaussian noise", "impulse noise", "glass blur", "contrast")
BLACK_BOX = ("black-box FGSM", "black-box L-BFGS")
COLUMNS = ("clean", *WHITE_BOX, *CORRUPTIONS, *BLACK_BOX)
# The published code's L-BFGS hardly moves an image: what it leaves is no number of robustness.
COUNTED = ("white-box FGSM", "white-box PGD")
EOT = "EOT"
WORST = "worst case"
# Of each, the learned noise that is best in the paper.
RELU = ("3", "MLP ReLU", "MLPN ReLU")
SIGMOID = ("3", "MLP Sigmoid", "MLPN Sigmoid")
CNN = ("4", "CNN", "CNN-MLPN")
RESNET_18 = ("5", "ResNet18", "ResNet18-AN")
RESNET_34 = ("6", "ResNet34", "ResNet34-AN")
ARCHITECTURES = (RELU, SIGMOID, CNN, RESNET_18, RESNET_34)
ON_MNIST = ARCHITECTURES[:3]
# The same with noise of standard deviation 1.
FIXED = (
    ("3", "MLP ReLU", "MLP+ ReLU"),
    ("3", "MLP Sigmoid", "MLP+ Sigmoid"),
    ("4", "CNN", "CNN-MLP+"),
    ("4", "CNN", "CNN-A+"),
)
LEAST = 0.01  # an accuracy below it counts as this where a gain is relative to it
EPOCHS = 10  # after which the plain network's training loss is the goal


@claim("NO-1")
def gradient_is_delta_times_epsilon(measured: Measured) -> Found:
    """Compare delta times epsilon with autograd and with central differences."""
    ways = ("autograd", "central differences")
    keys = {way: ("theorems", "Theorem 1", f"relative error, {way}") for way in ways}
    return Found({"ways": cases(measured, keys)})


@claim("NO-2")
def gradient_is_unbiased(measured: Measured) -> Found:
    """Compare the mean gradient with the slope of the mean loss, in standard errors."""
    return Found({"z": measured("theorems", "Theorem 2", "z-score")})


@claim("NO-3")
def learned_noise_improves_clean_accuracy(measured: Measured) -> Found:
    """Find by how many points clean accuracy rises in each architecture."""
    before, after = (measured.printed("3", name, "clean") for name in RELU[1:])
    told = (
        f"The paper contradicts itself for the ReLU network, which falls from {before:.3f} to "
        f"{after:.3f} in its Table 3."
    )
    return Found({"architectures": _gains(measured, ARCHITECTURES, ("clean",))}, told)


@claim("NO-4")
def learned_noise_improves_white_box_accuracy(measured: Measured) -> Found:
    """Find the gains of three networks, with one draw a gradient and with the average."""
    return _white_box(measured, ON_MNIST)


@claim("NO-5")
def fixed_noise_costs_clean_accuracy(measured: Measured) -> Found:
    """Subtract the networks without noise from those with unit noise in every layer."""
    return Found({"architectures": _gains(measured, (FIXED[1], FIXED[3]), ("clean",))})


@claim("NO-6")
def learned_noise_improves_corrupted_accuracy(measured: Measured) -> Found:
    """Find what learned noise gains the sigmoid network under each corruption."""
    return Found({"corruptions": _gains(measured, (SIGMOID,), CORRUPTIONS)})


@claim("NO-7")
def learned_noise_improves_transferred_accuracy(measured: Measured) -> Found:
    """Find what learned noise gains the sigmoid network under each transferred attack."""
    return Found({"attacks": _gains(measured, (SIGMOID,), BLACK_BOX)})


@claim("NO-8")
def sigmoid_gains_more_than_relu(measured: Measured) -> Found:
    """Subtract the ReLU network's accuracy, and its gain, from the sigmoid network's."""

    def better(column: str) -> Quantity:
        return _gain(measured, ("3", RELU[2], SIGMOID[2]), column)

    def gains_more(column: str) -> Quantity:
        return _gain(measured, SIGMOID, column) - _gain(measured, RELU, column)

    keys = {column: (column,) for column in COLUMNS}
    return Found({"better": cases(better, keys), "gains more": cases(gains_more, keys)})


@claim("NO-9")
def noise_in_the_last_layers_is_better(measured: Measured) -> Found:
    """Subtract the network with noise in all layers from that with noise in the last ones."""
    return Found({"columns": _gains(measured, (("4", "CNN-AN", "CNN-MLPN"),), COLUMNS)})


@claim("NO-10")
def noise_costs_nearly_nothing(measured: Measured) -> Found:
    """Find how much longer a training step with noise takes, in each network.

    Not without a convolutional network, whose feature maps need the most noise.
    """
    measured("cost", "CNN-AN", "step over plain")
    times = cases(
        measured, {name: ("cost", name, "step over plain") for name in measured.rows_of("cost")}
    )
    return Found({"nearly none": times, "not much": times})


@claim("NO-11")
def learned_noise_converges_faster(measured: Measured) -> Found:
    """Find how many epochs before the plain network a loss is reached, and before unit noise."""
    goal = measured("convergence", RELU[1], f"epoch {EPOCHS}")
    learned, fixed = (_epochs_to(measured, name, goal) for name in (RELU[2], "MLP+ ReLU"))
    return Found({"than plain": learned * -1 + EPOCHS, "than unit noise": fixed - learned})


@claim("NO-12")
def noise_everywhere_is_best_on_cifar_10(measured: Measured) -> Found:
    """Find the relative gains, and how far they are above those of the other noisy networks."""
    table, base, best = RESNET_18
    found = _relative_gains(measured, RESNET_18)
    others = [name for name in measured.printed_rows(table) if name not in (base, best)]
    own = _relative_gain(measured, table, base, best)
    leads = cases(
        lambda name: own - _relative_gain(measured, table, base, name),
        {name: (name,) for name in others},
    )
    return Found({**found, "best": leads}, doubt=_doubt(measured, base, best))


@claim("NO-13")
def noise_helps_on_tiny_imagenet(measured: Measured) -> Found:
    """Find the relative gains."""
    return Found(_relative_gains(measured, RESNET_34), doubt=_doubt(measured, *RESNET_34[1:]))


@claim("NO-14")
def saliency_maps_are_clearer(measured: Measured) -> Found:
    """Find by how much sooner maps with learned noise find the pixels that matter.

    Their deletion costs the score sooner, so that the area under its curve is smaller; their
    insertion brings it back sooner, so that it is larger.
    """

    def sooner(base: str, best: str, area: str) -> Quantity:
        _check_learned(measured, base, best)
        sign = -1 if area == "deletion" else 1
        found = (measured("saliency", name, f"{area} area") for name in (best, base))
        return (next(found) - next(found)) * sign

    keys = {
        f"{best}, {area}": (base, best, area)
        for _, base, best in ARCHITECTURES
        for area in ("deletion", "insertion")
    }
    return Found({"curves": cases(sooner, keys)})


@claim("NO-15")
def learned_noise_is_better_than_fixed(measured: Measured) -> Found:
    """Subtract the networks with unit noise from those with learned noise, white-box."""
    pairs = [
        (table, fixed, learned)
        for (table, _, fixed), (_, _, learned) in zip(FIXED[:3], ON_MNIST, strict=True)
    ]
    return _white_box(measured, pairs)


@claim("NO-16")
def fixed_noise_improves_white_box_accuracy(measured: Measured) -> Found:
    """Subtract the networks without noise from those with unit noise, white-box."""
    return _white_box(measured, FIXED)


@claim("NO-17")
def fixed_noise_costs_corrupted_accuracy(measured: Measured) -> Found:
    """Subtract the networks without noise from those with unit noise, under corruptions."""
    return Found({"corruptions": _gains(measured, FIXED, CORRUPTIONS)})


def _white_box(measured: Measured, architectures: Sequence[Architecture]) -> Found:
    """Find the gains under two attacks, with one draw a gradient and with the average."""
    averaged = [(EOT, base, best) for _, base, best in architectures]
    return Found(
        {
            "one draw": _gains(measured, architectures, COUNTED),
            "averaged": _gains(measured, averaged, COUNTED),
        }
    )


def _gain(measured: Measured, architecture: Architecture, column: str) -> Quantity:
    """Return by how many points of percent the second network is above the first."""
    table, base, best = architecture
    _check_learned(measured, base, best)
    return (measured(table, best, column) - measured(table, base, column)) * 100


def _gains(
    measured: Measured, architectures: Iterable[Architecture], columns: Sequence[str]
) -> Cases:
    """Return the gain of each architecture in each column."""
    keys = {
        _case(architecture, column, len(columns)): (architecture, column)
        for architecture in architectures
        for column in columns
    }
    return cases(lambda *key: _gain(measured, *key), keys)


def _case(architecture: Architecture, column: str, columns: int) -> str:
    return architecture[2] if columns == 1 else f"{architecture[2]}, {column}"


def _check_learned(measured: Measured, *names: str) -> None:
    """Raise Undecided for a network whose clean accuracy is too far below the printed one."""
    if doubt := _doubt(measured, *names):
        raise Undecided(doubt)


def _doubt(measured: Measured, *names: str) -> str:
    """Say which of the networks has learned too little, if any has."""
    tables = {name: table for table in "3456" for name in measured.printed_rows(table)}
    return next(filter(None, (measured.doubt(tables[n], n, "clean") for n in names)), "")


def _relative_gains(measured: Measured, architecture: Architecture) -> dict[str, Quantity | Cases]:
    """Return the mean relative gain with one draw and averaged, and the gain at the worst."""
    table, base, best = architecture
    return {
        "one draw": _relative_gain(measured, table, base, best),
        "averaged": _relative_gain(measured, EOT, base, best),
        "worst": (measured(WORST, best, WORST) - measured(WORST, base, WORST)) * 100,
    }


def _relative_gain(measured: Measured, table: str, base: str, best: str) -> Quantity:
    """Return the mean over three attacks of the relative gains, in percent."""

    def relative(column: str) -> Quantity:
        before, after = measured(table, base, column), measured(table, best, column)
        least = Quantity({seed: max(value, LEAST) for seed, value in before.by_seed.items()})
        return (after - before) / least * 100

    return mean(map(relative, WHITE_BOX))


def _epochs_to(measured: Measured, name: str, goal: Quantity) -> Quantity:
    """Return the first epoch whose training loss is no larger than the goal, for each seed.

    Where there is none, one more than there are epochs.
    """
    losses = [measured("convergence", name, "epoch 1")]
    while True:
        try:
            losses.append(measured("convergence", name, f"epoch {len(losses) + 1}"))
        except NotMeasured:
            break
    seeds = (losses[0] - goal).by_seed
    return Quantity({seed: _first(losses, seed, goal.by_seed[seed]) for seed in seeds})


def _first(losses: Sequence[Quantity], seed: int, goal: float) -> float:
    reached = [epoch for epoch, loss in enumerate(losses, 1) if loss.by_seed[seed] <= goal]
    return float(reached[0] if reached else len(losses) + 1)
