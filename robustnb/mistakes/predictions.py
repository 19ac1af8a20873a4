"""What the chapter on mistakes asks before it shows."""

from collections.abc import Mapping

from robustnb.predictions import Asked, placed

WHY = {
    "ε on another scale": "An ε of 0.1 is half as much where white is 2. Half an ε helps the "
    "network, but much of the attack is left.",
    "one draw": "The gradient of one draw is mostly noise. But the steps of an attack add up, and "
    "some of the noise cancels.",
    "saturated loss": "Where the loss is exactly 0, its gradient is 0. The attack then does not "
    "move at all.",
    "chosen on test": "The best of twenty networks owes some of its rank to luck. How much "
    "depends on the number of images.",
}


def largest_lie(numbers: Mapping[str, tuple[float, float]]) -> Asked:
    """Ask which of four mistakes changes the accuracy most; `numbers` has wrong and right."""
    sizes = {name: abs(numbers[name][0] - numbers[name][1]) for name in WHY}
    told = ", ".join(
        f"{name} {100 * numbers[name][0]:.0f}% instead of {100 * numbers[name][1]:.0f}%"
        for name in WHY
    )
    return {
        "question": "Each of these four mistakes makes a network look more robust than it is. "
        "Which one changes the number most?",
        "choices": dict(WHY),
        "answer": max(sizes, key=sizes.__getitem__),
        "told": f"Right answers under attack: {told}.",
        "see": "the nine numbers",
    }


def which_way(wrong: float, right: float) -> Asked:
    """Ask on which side of the right number the ninth mistake falls, both from 0 to 1."""
    choices = {
        "too low": "The attacker knows which draws will count, and takes for each image the attack "
        "that happens to win there. No attacker has this knowledge.",
        "about right": "Each of the ten attacks is fair. But the choice among them is not: it has "
        "seen the result.",
        "too high": "The eight mistakes before this one help the network. This one helps the "
        "attacker.",
    }
    return {
        "question": "Ten attacks were run. For each image the one counts that did most harm on the "
        "draws of the report. Is the number that comes out too low, about right or too high?",
        "choices": choices,
        "answer": placed(wrong - right, choices, -0.02, 0.02),
        "told": f"On the draws that counted, {wrong:.1%} of the answers are right. If the attacks "
        f"are chosen on other draws, {right:.1%} are.",
        "see": "the switch",
    }
