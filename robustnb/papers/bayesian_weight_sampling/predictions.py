"""What the chapter on drawn weights asks before it shows it, and what came out."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from robustnb.defenses.bayesian import mean_network, sample_logits
from robustnb.metrics import accuracy
from robustnb.papers.bayesian_weight_sampling import margins
from robustnb.papers.bayesian_weight_sampling.parts import bayesian_name
from robustnb.predictions import Asked
from robustnb.pruning import prune
from robustnb.quantities import Quantity
from robustnb.randomness import seeded

DRAWS = 100
QUIET, LOUD = -30.0, -2.0
RATES = tuple(step / 20 for step in range(1, 20))


def worth_of_draws(models: Mapping[float, nn.Module], images: Tensor, labels: Tensor) -> Asked:
    """Ask at which of two rho_init the mean of many draws reads a point more than one draw."""
    found = {rho: _one_and_many(models[rho], images, labels) for rho in (QUIET, LOUD)}
    gains = {rho: many - one >= 0.01 for rho, (one, many, _) in found.items()}
    told = (
        f"At {rho:g} one draw reads {one:.1%} and the mean of {DRAWS} reads {many:.1%}; two draws "
        f"give the same answer for {same:.0%} of the digits."
        for rho, (one, many, same) in found.items()
    )
    return {
        "question": "Where will the mean of many draws read more of these digits than a single "
        f"draw does, by a point or more: at rho_init {QUIET:g} or at {LOUD:g}?",
        "choices": {
            f"at {QUIET:g}": "The mean of many is often better than one. But it can only be "
            "where the many differ, and here σ is smaller than the last digit of a weight.",
            f"at {LOUD:g}": "Draws that lie far apart make mistakes of their own. A mean takes "
            "out what is a draw's own, and keeps the mistakes that all of them make.",
            "at both": "That asks for draws that differ at both ends. The table of σ above says "
            "how far apart they are.",
            "at neither": "Where draws are all alike there is nothing to average. Where they "
            "differ, a mean can still be wrong together with them.",
        },
        "answer": {
            (True, True): "at both",
            (True, False): f"at {QUIET:g}",
            (False, True): f"at {LOUD:g}",
            (False, False): "at neither",
        }[gains[QUIET], gains[LOUD]],
        "told": " ".join(told),
        "see": "the explorable",
    }


def _one_and_many(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Return the accuracy of a draw, of the mean of all, and how often two draws agree."""
    drawn = sample_logits(model, images, DRAWS, seeded(0)).softmax(-1)
    one = sum(accuracy(each, labels) for each in drawn) / DRAWS
    answers = drawn.argmax(-1)
    same = (answers[1:] == answers[:-1]).float().mean().item()
    return one, accuracy(drawn.mean(0), labels), same


def longer_in_hold(beliefs: Mapping[float, Mapping[str, Tensor]], label: int | Tensor) -> Asked:
    """Ask whether the plain network or the Bayesian one misreads an image at a weaker attack.

    `beliefs` has the probabilities (classes) of the two, in this order, by the strength.
    """
    plain, noisy = (
        next((e for e, both in beliefs.items() if [*both.values()][k].argmax() != label), None)
        for k in (0, 1)
    )
    names = "the plain network", "the Bayesian network"
    sooner, later = ((math.inf if eps is None else eps) for eps in (plain, noisy))
    told = (
        f"T{name[1:]} reads it rightly at all strengths of the slider."
        if eps is None
        else f"T{name[1:]} is wrong from eps {eps:.2f} on."
        for name, eps in zip(names, (plain, noisy), strict=True)
    )
    return {
        "question": "Which of the two changes its mind at the smaller eps? And at which?",
        "choices": {
            names[0]: "The attack follows the gradient of the plain network, so that each pixel "
            "goes where it harms this one. What harms one network often harms another, though "
            "less.",
            names[1]: "A network that is asked with noise is less sure of each answer, and may "
            "fall to less. But the attack was not made for it.",
            "neither before the other": "Networks that learned the same digits share weak "
            "places, so that an attack on one is an attack on the other. How much of it carries "
            "over is what this chapter measures.",
        },
        "answer": (
            names[0]
            if sooner < later
            else names[1]
            if later < sooner
            else "neither before the other"
        ),
        "told": " ".join(told) + " It is one digit: averages over many come below.",
        "see": "the slider",
    }


def prunable(model: nn.Module, images: Tensor, labels: Tensor) -> Asked:
    """Ask which share of the weights can go before 5 in 100 images more are misread."""
    read = {rate: _pruned(model, images, labels, rate) for rate in (0.0, *RATES)}
    enough = (rate for rate in RATES if read[rate][0] <= read[0.0][0] - 0.05)
    rate = next(enough, 1.0)
    least, between, most = "less than a third", "a third to two thirds", "more than two thirds"
    told = (
        f"With {rate:.0%} removed the mean weights read {still:.1%}, the mean of ten draws "
        f"{drawn:.1%}."
        for rate, (still, drawn) in read.items()
        if rate in (0.0, 0.5, 0.75, 0.9)
    )
    return {
        "question": "The noisiest weights go first. What share can go before the mean weights "
        "read 5 in 100 of these digits fewer? Does it matter whether the rest still draws?",
        "choices": {
            least: "All weights were trained together, so that each may be missed. But many have "
            "a mean that is small beside their noise: in training the others had to do without "
            "them.",
            between: "A ranking tells which weights say least. It does not tell how many of them "
            "say something that no other weight does.",
            most: "Networks are often far larger than they must be. Then the ranking has many "
            "weights to take before one is missed.",
        },
        "answer": least if rate < 1 / 3 else between if rate <= 2 / 3 else most,
        "told": " ".join(told),
        "see": "the slider",
    }


def _pruned(model: nn.Module, images: Tensor, labels: Tensor, rate: float) -> tuple[float, float]:
    """Return the accuracy of the mean weights that are left, and of the mean of ten draws."""
    left = prune(model, rate)
    still = sample_logits(mean_network(left), images, 1, seeded(0))[0]
    drawn = sample_logits(left, images, 10, seeded(0)).softmax(-1).mean(0)
    return accuracy(still, labels), accuracy(drawn, labels)


def highest(averages: Mapping[str, Quantity], controls: Mapping[str, Quantity]) -> Asked:
    """Ask what scores highest: a draw at rho_init -3, its mean weights, or a plain control."""
    control = margins.best("plain", controls)
    noisy, means = "the Bayesian network, one draw", "its mean weights, without noise"
    plain = "the best plain control"
    found = {
        noisy: averages[bayesian_name(-3)].mean,
        means: controls["mean weights"].mean,
        plain: controls[control].mean,
    }
    return {
        "question": "What reads most of the perturbed digits: the Bayesian network at rho_init "
        "-3, its mean weights, or the best of the plain networks? Does the noise at test time "
        "help?",
        "choices": {
            noisy: "The paper credits the diversity of the weights, and only this network has "
            "any when it is asked. But its noise costs it answers on every image, perturbed or "
            "not.",
            means: "Training has met the noise, and the answer is not disturbed by it. If "
            "training is what helps, this network has all of it.",
            plain: "Longer steps and larger initial weights make another network, and a "
            "perturbation made for small weights may not carry over. No noise is needed for "
            "that.",
        },
        "answer": max(found, key=lambda name: found[name]),
        "told": f"One draw reads {found[noisy]:.2f}% on average, its mean weights "
        f"{found[means]:.2f}%. The best plain control ({control.removeprefix('plain, ')}) reads "
        f"{found[plain]:.2f}%.",
        "see": "the figure",
    }


def lit_rim(maps: Mapping[str, Tensor], black: Tensor) -> Asked:
    """Ask whose saliency maps (N, H, W) have light where all training images are black (H, W).

    `maps` has those of the plain network and of the Bayesian one, in this order.
    """
    shares = [(m.mean(0)[black].mean() / m.mean()).item() for m in maps.values()]
    labels = "the plain network", "the Bayesian network", "neither of them"
    return {
        "question": "Some pixels at the rim are black in every training image. Whose maps will "
        "have more light there? (Neither, if both have less than a tenth of their mean.)",
        "choices": {
            labels[0]: "No data reaches the weights behind such pixels. Here they stay as they "
            "began, which is not 0, so that some light there is no error of the map.",
            labels[1]: "Nothing but the prior and the noise moves the weights behind such "
            "pixels, and they began larger than in the plain network.",
            labels[2]: "A pixel that never tells anything should count for nothing. But no "
            "gradient of the data takes its weights to 0: one that is always black has none.",
        },
        "answer": labels[2] if max(shares) < 0.1 else labels[shares.index(max(shares))],
        "told": f"{black.sum()} pixels are black in all training images. The plain network's "
        f"maps have {shares[0]:.2f} of their mean brightness there, the Bayesian network's "
        f"{shares[1]:.2f}.",
        "see": "the maps",
    }
