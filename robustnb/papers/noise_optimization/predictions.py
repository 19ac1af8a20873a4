"""What the chapter on learned noise asks before it shows it, and what came out."""

from collections.abc import Sequence

from torch import Tensor, nn

from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.papers.noise_optimization.figures import answer_under_attack, times_noise
from robustnb.predictions import Asked
from robustnb.randomness import noise_from, seeded
from robustnb.stored import Stored

LEARNED = ("MLPN ReLU", "MLPN Sigmoid")
LAYERS = (1, 2, 3)
MULTIPLES = (2, 4, 8, 16, 32, 64)
PASSES = 10


def quietest_layer(stored: Stored) -> Asked:
    """Ask in which layer of the two perceptrons noise shrinks the fastest at first."""
    last = [row["column"] for row in stored.rows("sigma") if row["row"].startswith(LEARNED[0])][-1]
    early, late = (_quietest(stored, epoch) for epoch in ("epoch 1", last))
    (layer, _), (other, _) = early.values()
    same = {1: "the first in both", 2: "the second in both", 3: "the third in both"}
    told = (
        f"After {epoch} the lowest mean level is in layer {first} of MLPN ReLU ({low:.3f}) and in "
        f"layer {second} of MLPN Sigmoid ({lower:.3f})."
        for epoch, ((first, low), (second, lower)) in (
            ("epoch 1", early.values()),
            (last, late.values()),
        )
    )
    loudest = max(_level(stored, name, k, last) for name in LEARNED for k in LAYERS)
    return {
        "question": "The noise starts at σ = 1 everywhere. In which layer has it shrunk the most "
        "after one epoch, in MLPN ReLU and in MLPN Sigmoid? And what will be left in the end?",
        "choices": {
            same[1]: "Noise of the first layer passes through all that follow, so that it may "
            "harm the most. But the gradient asks how the loss curves there, not how far away it "
            "is.",
            same[2]: "The second layer has no place of its own in the formula: any layer before "
            "the last may have the strongest curvature, and it differs between networks.",
            same[3]: "In the last layer the slope is always positive, since cross-entropy is "
            "convex in the logits. That says that the noise falls there, not that it falls the "
            "fastest.",
            "not the same in both": "The speed hangs on the curvature behind each layer, and "
            "the activation has a say in it. The formula gives no order of the layers.",
        },
        "answer": same[layer] if layer == other else "not the same in both",
        "told": f"{' '.join(told)} No layer of the two has more than {loudest:.3f} left then.",
        "see": "the noise levels over the epochs",
    }


def _quietest(stored: Stored, epoch: str) -> dict[str, tuple[int, float]]:
    """Return the layer with the lowest mean level, and this level, by network."""
    found = {}
    for name in LEARNED:
        level, layer = min((_level(stored, name, k, epoch), k) for k in LAYERS)
        found[name] = layer, level
    return found


def _level(stored: Stored, name: str, layer: int, epoch: str) -> float:
    return stored.value("sigma", f"{name}, layer {layer}", epoch)


def harmful_multiple(model: nn.Module, images: Tensor, labels: Tensor) -> Asked:
    """Ask by how much noise must be multiplied until 5 in 100 images more are misread."""
    read = {times: _read(model, images, labels, times) for times in (0, 1, *MULTIPLES)}
    enough = next((times for times in MULTIPLES if read[times] <= read[0] - 0.05), MULTIPLES[-1])
    labels_by_most = {4: "two to four", 16: "eight to sixteen", 64: "thirty or more"}
    told = ", ".join(f"{share:.1%} at {times}" for times, share in read.items() if times)
    return {
        "question": "By how much must the learned noise be multiplied until the network reads 5 "
        "in 100 digits fewer than without noise?",
        "choices": {
            labels_by_most[4]: "That would be so if training had kept as much noise as the "
            "network can bear. No term of the loss asks it to.",
            labels_by_most[16]: "Training has met the noise at σ = 1 and made weights that can "
            "bear some. How much it has left of it is another matter.",
            labels_by_most[64]: "Training on clean images only makes noise smaller, and goes on "
            "long after it has stopped to matter. What is left can be a small part of what the "
            "network bears.",
        },
        "answer": next(label for most, label in labels_by_most.items() if enough <= most),
        "told": f"Without noise it reads {read[0]:.1%} of these digits, with multiples of it "
        f"{told} times.",
        "see": "the explorable",
    }


def _read(model: nn.Module, images: Tensor, labels: Tensor, times: float) -> float:
    scaled = times_noise(model, times)
    with noise_from(scaled, seeded(0, images.device)):
        found = [accuracy(predict(scaled, images), labels) for _ in range(PASSES)]
    return sum(found) / PASSES


def helpful_noise(
    model: nn.Module,
    image: Tensor,
    label: Tensor,
    strengths: Sequence[float],
    multiples: Sequence[float],
) -> Asked:
    """Ask whether more noise, or none, helps an image (1, C, H, W) where FGSM has won.

    The strength is the first of `strengths` at which the network is wrong, or the last.
    """

    def belief(eps: float, times: float) -> float:
        return answer_under_attack(model, image, label, eps, times)[1][label].item()

    def is_wrong(eps: float) -> bool:
        return bool(answer_under_attack(model, image, label, eps, 1.0)[1].argmax() != label)

    eps = next(filter(is_wrong, strengths), strengths[-1])
    beliefs = {times: belief(eps, times) for times in multiples}
    helps = {times for times, found in beliefs.items() if found > belief(eps, 1.0) + 0.1}
    up, off = any(times > 1 for times in helps), 0 in helps
    told = ", ".join(f"{found:.0%} at {times:g}" for times, found in beliefs.items())
    return {
        "question": f"Under FGSM at eps {eps}, what helps the noisy network: to turn its noise "
        "up, or to turn it off? (It helps if the right class gets 10 points more.)",
        "choices": {
            "turning it up": "Much noise makes the gradient of one pass a poor guide. It makes "
            "the answer a poor one as well. The question is which of the two goes first.",
            "turning it off": "Noise costs accuracy, so that a network may answer better without "
            "it. But then its gradient is exact, for the attacker too.",
            "both": "Each takes something from the attacker's way. Both can only help if neither "
            "the exact gradient nor the scattered answer costs more than that.",
            "neither": "Without noise the gradient is exact, and with far more of it the answer "
            "is scattered. Both are true, and still one effect can outweigh the other.",
        },
        "answer": {
            (True, True): "both",
            (True, False): "turning it up",
            (False, True): "turning it off",
            (False, False): "neither",
        }[up, off],
        "told": f"At eps {eps} the right class gets, by the multiple of the noise: {told}. "
        "The attacker has the same noise, and follows the gradient of one pass. One who averages "
        "over many passes comes further below.",
        "see": "the two sliders",
    }
