"""What the chapter on BANG asks before it shows, with the answers of its rows and networks."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from robustnb.attacks.predictions import Answers
from robustnb.defenses.bang import balancing
from robustnb.models import predict
from robustnb.papers.bang.figures import Networks, noisy
from robustnb.papers.bang.protocols import PLAIN
from robustnb.plots.lines import Series
from robustnb.predictions import Asked, placed
from robustnb.stored import Stored


def short_gradients(lengths: Mapping[str, Tensor], iterations: int) -> Asked:
    """Ask which of two networks, plain and BANG, has the shorter gradients (N,) by their median."""
    return {
        "question": f"After {iterations} iterations most digits are read rightly. In which network "
        "are their gradients shorter: in the plain one, which does not listen to short gradients, "
        "or in the one with BANG, which does?",
        "choices": {
            "plain": "Its short gradients hardly move the weights, so they might shrink unseen. "
            "But a gradient shrinks while its digit is pushed deeper into its class, and a short "
            "gradient hardly pushes.",
            "BANG": "A digit that keeps its say is pushed on, deeper and deeper into its class. "
            "Its loss falls, and its gradient with it.",
        },
        "answer": min(lengths, key=lambda name: lengths[name].median().item()),
        "told": "; ".join(f"{name}: {_spread(each)}" for name, each in lengths.items()) + ".",
        "see": "the figure, at its last stage",
    }


def _spread(lengths: Tensor) -> str:
    most, median = lengths.max().item(), lengths.median().item()
    if median == 0:
        return f"the longest is {most:.1g}, and the median is rounded to 0"
    times = float(f"{most / median:.1g}")
    return f"the longest is about {times:,.0f} times as long as the median ({median:.1g})"


def longest_gradient(norms: Tensor, eps: float) -> Asked:
    """Ask what BANG with this ε makes of the longest gradient, of lengths (N,)."""
    after = balancing(norms, eps) * norms
    longest = int(norms.argmax())
    shares = [(each[longest] / each.sum()).item() for each in (norms, after)]
    alike = (balancing(norms, 1.0) * norms / norms.max())[norms > 0].min().item()
    change = (after[longest] / norms[longest]).item() - 1
    choices = {
        "shorter": "Its part in the sum becomes smaller. But nothing is taken from it: the others "
        "are stretched.",
        "as long as before": "It is the measure of all, so that its ρ is 0 and its factor η is 1. "
        "Only the others are stretched.",
        "longer": "The whole update becomes longer. That comes from the short gradients alone.",
    }
    return {
        "question": f"At ε = {eps:g} and β = 1, what becomes of the longest gradient of all?",
        "choices": choices,
        "answer": placed(change, choices, -1e-6, 1e-6),
        "told": f"Its share of the sum of all lengths goes from {shares[0]:.1%} to "
        f"{shares[1]:.1%}. Even at ε = 1 the lengths are not all the same: of those that are not "
        f"0, the shortest is then {alike:.2f} of the longest. β multiplies them all, so that it "
        "changes no share.",
        "see": "the explorable, at layer ip2",
    }


def fgs_with_margin(stored: Stored, name: str) -> Asked:
    """Ask how FGS with the margin does on the network `name` with BANG."""
    (rate, size), (other, usual) = (
        [stored.value("fgs", f"margin: {kind}", column) for kind in ("success", "Linf")]
        for column in (name, PLAIN.name)
    )
    choices = {
        "mostly failure": "So the paper counts it for the cross-entropy. But there the loss was "
        "rounded away, and the margin is not.",
        "success with shorter steps": "The paper's steps on BANG networks are short. But they "
        "are those of the few weak images that were left.",
        "success with steps about as long": "The boundary may be where it always "
        "was. The margin can tell, since nothing of it is rounded away.",
        "success with longer steps": "A robust network would need longer steps, since its "
        "boundary would be farther away.",
    }
    ratio = size / usual if rate >= 50 else 0.0
    return {
        "question": "FGS follows the margin now. How does it do on the BANG network, beside the "
        "plain one?",
        "choices": choices,
        "answer": placed(ratio, choices, 0.0, 1 / 1.25, 1.25),
        "told": f"FGS with the margin fools BANG with {rate:.2f}% of its images, at {size:.1f} of "
        f"255 on average, and the plain network with {other:.2f}% at {usual:.1f}.",
        "see": "the table",
    }


def louder_logits(lines: Mapping[str, Series], factors: Sequence[float]) -> Asked:
    """Ask what the largest factor does to FGS; `lines` are those of `figures.multiplied`."""
    places = [0, list(factors).index(1.0), len(factors) - 1]
    rates = {
        name: [_percent(lines[f"fooled by FGS, {name}"], place) for place in places]
        for name in ("plain", "BANG")
    }
    gain = rates["plain"][2] - rates["plain"][1]
    choices = {
        "fewer": "Such a factor brings p to 1 in float32. The gradient is then blank, or points "
        "the wrong way. No image is safer for it.",
        "about as many": "No answer to any image changes, and no boundary moves. The sign of a "
        "gradient would stay as well, if nothing were rounded.",
        "more": "Louder logits are steeper. But FGS takes the sign of the gradient, and a factor "
        "makes no sign larger.",
    }
    told = "; ".join(
        f"{name} {', '.join(f'{rate:.0f}%' for rate in each)}" for name, each in rates.items()
    )
    named = ", ".join(f"{factors[place]:g}" for place in places)
    return {
        "question": f"All logits are multiplied by {factors[-1]:g}. How many of the plain "
        "network's digits will FGS fool, beside those that it fools without a factor?",
        "choices": choices,
        "answer": placed(gain, choices, -10, 10),
        "told": f"At the factors {named} FGS fools these shares: {told}.",
        "see": "the curves",
    }


def _percent(line: Series, place: int) -> float:
    point = line[place]
    assert point is not None  # no place of these lines is left out
    return point[0]


def shifted_logits(stored: Stored, name: str, exact: str) -> Asked:
    """Ask what hot/cold needs on R0 with 300 subtracted; `name` and `exact` are columns."""
    weights = "the paper's weights"
    before, after = (
        stored.value("hot-cold", f"{weights}{shift}: Linf", PLAIN.name)
        for shift in ("", ", logits - 300")
    )
    unit = [stored.value("hot-cold", "unit weights: Linf", n) for n in (PLAIN.name, name)]
    balanced, rounded = (stored.value("hot-cold", f"{weights}: Linf", n) for n in (name, exact))
    choices = {
        "less far": "It might look as if the label had less to lose. But a network reads only "
        "the differences of its logits.",
        "about as far": "No answer changes, so that no boundary moves. But ω is made of the "
        "logits themselves, and not of their differences.",
        "much farther": "ω is −h for the label. Where h is far below 0, HC1 walks towards the "
        "label, and has to go far before the answer changes.",
    }
    return {
        "question": "We subtract 300 from all logits of the plain network before ω is made. No "
        "answer changes. How far will HC1 have to move its pixels?",
        "choices": choices,
        "answer": placed(after / before, choices, 1 / 1.25, 1.25),
        "told": f"R0 needs {before:.1f} of 255, and with 300 subtracted {after:.1f}. With weights "
        f"of 1 and −1, R0 needs {unit[0]:.1f} and BANG {unit[1]:.1f}. With the paper's weights "
        f"BANG needs {balanced:.1f}, and with an exact gradient {rounded:.1f}.",
        "see": "the table",
    }


def hidden_by_the_gradient(answers: Answers, labels: Tensor, eps: float) -> Asked:
    """Ask on how many images BANG's own gradient fails where the plain network's fools it.

    `answers(image, target, eps)` gives what each network says, for the places of `labels` (N,).
    """
    fooled = {
        target: [
            int(answers(image=image, target=target, eps=eps)["BANG"].argmax()) != label
            for image, label in enumerate(labels.tolist())
        ]
        for target in ("plain", "BANG")
    }
    number = sum(a and not b for a, b in zip(fooled["plain"], fooled["BANG"], strict=True))
    plain, own = (sum(fooled[target]) for target in ("plain", "BANG"))
    return {
        "question": f"PGD at ε = {eps:g}: on how many of the {len(labels)} digits does BANG's own "
        "gradient leave BANG right, while the plain network's gradient fools it?",
        "choices": {
            "below": "An attacker who has the network in hand should not do worse than one who "
            "has another. It is different where its loss is rounded away.",
            "near": "Where BANG's own gradient is blank, the plain network's can still show a "
            "way out.",
            "above": "The plain network's gradient does not carry over everywhere, and BANG's "
            "own is not blank everywhere.",
        },
        "answer": number,
        "within": 1,
        "told": f"At this ε the plain network's gradient fools BANG on {plain} of "
        f"{len(labels)} digits, and BANG's own gradient on {own}.",
        "see": "the explorable",
    }


def read_under_noise(
    networks: Networks, image: Tensor, label: Tensor, stds: Sequence[float]
) -> Asked:
    """Ask up to which of `stds` (0 to 255) of noise the plain network reads an image (1, ...)."""
    plain, balanced = (_read_up_to(networks[n], image, label, stds) for n in ("plain", "BANG"))
    return {
        "question": "Noise is added to a digit that is not shown yet. Up to which standard "
        f"deviation, from {stds[0]} to {stds[-1]}, will the plain network read it?",
        "choices": {
            "below": "An attack needs far less. But noise goes in a random direction, and most "
            "of its changes cancel.",
            "near": "Noise has to be strong, since most of its changes cancel.",
            "above": "You may read the digit for longer than this network. It has never seen "
            "noise in training.",
        },
        "answer": plain,
        "within": stds[1] - stds[0],
        "told": f"The plain network reads this digit up to {plain:g}, and BANG up to {balanced:g}. "
        "Up to where do you?",
        "see": "the digit",
    }


def _read_up_to(model: nn.Module, image: Tensor, label: Tensor, stds: Sequence[float]) -> float:
    """Return the last of `stds` before the first at which the answer is wrong."""
    last = 0.0
    for std in stds:
        if predict(model, noisy(image, std)).argmax(1).item() != label.item():
            break
        last = float(std)
    return last
