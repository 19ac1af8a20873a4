"""What the chapter on attacks asks before it shows, with the answers of its own numbers."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from robustnb.predictions import Asked, placed

Answers = Callable[..., Mapping[str, Tensor]]  # see AttackExplorer.answers


def transferred_curve(left: Mapping[str, float], eps: float) -> Asked:
    """Ask where the curve of a transferred attack runs; `left` is in percent, by attack.

    Of these "random noise" comes first and the strongest attack last.
    """
    noise, own = next(iter(left.values())), list(left.values())[-1]
    choices = {
        "near that of random noise": "Its attacker has never seen this network. But both "
        "networks have learned the same digits.",
        "about halfway": "Some of the harm may get lost on the way. How much, depends on how "
        "alike the two networks are.",
        "near that of PGD": "Networks that have learned the same digits often look at the same "
        "pixels. What fools one then fools the other.",
    }
    lost = (noise - left["transfer"]) / max(noise - own, 1.0)
    told = ", ".join(f"{kind} {share:.1f}%" for kind, share in left.items())
    return {
        "question": "Which attack will be the strongest, and which the weakest? And where will "
        "the curve of a transferred attack run?",
        "choices": choices,
        "answer": placed(lost, choices, 1 / 3, 2 / 3),
        "told": f"At ε = {eps:g} these are left: {told}.",
        "see": "the curves",
    }


def fooled_together(
    answers: Answers, names: Sequence[str], label: int, eps_values: Sequence[float]
) -> Asked:
    """Ask how many of `names` are wrong at the ε at which the gradient of the first fools it.

    `answers(target, eps)` gives what each says to an image of class `label`.
    """

    def fooled(target: str, eps: float) -> list[str]:
        said = answers(target=target, eps=eps)
        return [name for name in names if int(said[name].argmax()) != label]

    first: dict[str, float] = {}
    for name in names:
        found = (eps for eps in eps_values if name in fooled(name, eps))
        if (eps := next(found, None)) is not None:
            first[name] = eps
    plain, *others = names
    wrong = len(set(fooled(plain, first.get(plain, eps_values[-1]))) & set(others))
    choices = {
        "none or one": "Each network looks at a digit in its own way. So this says little of how "
        "robust they are: take their own gradients, too.",
        "two": "Some of what fools one network carries over, and some does not.",
        "all three": "All have learned the same digits. But each was trained in another way, and "
        "that can be enough to part them.",
    }
    needed = ", ".join(f"{name} {eps:g}" for name, eps in first.items())
    return {
        "question": f"FGSM follows the gradient of the {plain} network until this network is "
        "wrong. How many of the other three are wrong at that ε?",
        "choices": choices,
        "answer": placed(wrong, choices, 1, 2),
        "told": f"Along its own gradient, each is wrong from this ε on: {needed}.",
        "see": "the networks in this page",
    }


def useless_gradients(left: Mapping[tuple[str, str], float], names: Sequence[str]) -> Asked:
    """Ask what PGD leaves of two defences of the first of `names`; `left` has shares of 1."""
    plain, *defended = names
    gain = sum(left["PGD", name] - left["PGD", plain] for name in defended) / len(defended)
    choices = {
        "fewer": "Louder answers may look like steeper slopes. But PGD takes the sign of a "
        "gradient, which no factor changes, and 0 has none.",
        "about as many": "What was learned is the same, so that would be fair. But PGD can only "
        "do as much as its gradient tells.",
        "more": "PGD stands still where its gradient is 0, however easily the network could be "
        "fooled.",
    }
    by_pgd, carried = (
        ", ".join(f"{name} {left[kind, name]:.1%}" for name in names)
        for kind in ("PGD", "transfer")
    )
    return {
        "question": "FGSM and PGD now attack both of them. Will PGD leave more right answers than "
        f"on the {plain} network, or fewer? And the transferred attack?",
        "choices": choices,
        "answer": placed(gain, choices, -0.05, 0.05),
        "told": f"Left by PGD: {by_pgd}; by the transferred attack: {carried}.",
        "see": "the table",
    }


def beaten_by_the_margin(losses: Mapping[str, tuple[float, float]]) -> Asked:
    """Ask with which idea the margin leaves least beside the cross-entropy (both in percent)."""
    most = max(losses, key=lambda idea: losses[idea][0] - losses[idea][1])
    usual, margin = losses[most]
    return {
        "question": "With which of the four does PGD along the margin beat PGD along the "
        "cross-entropy most?",
        "choices": {
            "weights drawn anew": "Chance hides a gradient from a single draw. The mean of many "
            "draws brings it back, for either loss.",
            "learned noise": "Noise on neurons can be averaged away like noise on weights.",
            "an equal say": "Such a network becomes so sure that float32 rounds its loss to 0. "
            "The margin has no softmax that could be rounded.",
            "winners by lot": "PGD looks at the mean of the lots here, so that little is left to "
            "chance. What the lots hide, its chapter tells.",
        },
        "answer": most,
        "told": f"There PGD leaves {usual:.1f}%, and with the margin {margin:.1f}%.",
        "see": "the table",
    }
