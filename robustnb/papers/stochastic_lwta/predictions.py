"""What the chapter on drawn winners asks before it shows it, and what came out."""

import math

import torch
from torch import Tensor, nn

from robustnb.defenses.lwta import competitions
from robustnb.models import predict
from robustnb.papers.stochastic_lwta.protocols import LWTA, REGULAR, SMOOTHING
from robustnb.papers.stochastic_lwta.tables import WORST
from robustnb.papers.stochastic_lwta.training import COLD
from robustnb.predictions import Asked
from robustnb.randomness import noise_from, seeded
from robustnb.stored import Stored

FLAT = 1e-3  # the lowest slope that the figure shows


def changed_winners(model: nn.Module, image: Tensor) -> Asked:
    """Ask how many of 100 blocks change their winner for an image (1, C, H, W) drawn again."""
    winners = _winners(model, image.expand(200, *image.shape[1:]))
    changed = 100 * (winners[1:] != winners[:-1]).float().mean().item()
    return {
        "question": "The first digit below is drawn again. Of 100 blocks of two, how many get "
        "another winner?",
        "choices": {
            "below": "In many blocks the values lie far apart, and then the same neuron wins "
            "nearly each time. But where they are close, the block tosses a coin.",
            "near": "It is between none and the half that tosses of a fair coin would change: "
            "training makes values differ, but not everywhere.",
            "above": "Tosses of a fair coin would change half of the winners. Values that differ "
            "load the coin, so that it is fewer.",
        },
        "answer": round(changed, 1),
        "within": 5,
        "told": f"From one draw to the next {changed:.0f} of 100 winners change, on average over "
        "200 draws. All others stay, and with them most of what the network passes on.",
        "see": "the winners",
    }


def _winners(model: nn.Module, images: Tensor) -> Tensor:
    """Return which unit wins in each block (N, blocks), of all layers, in one draw an image."""
    found = []

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        found.append((output.unflatten(1, (-1, layer.units)) != 0).int().argmax(2))

    hooks = [layer.register_forward_hook(keep) for layer in competitions(model)]
    with noise_from(model, seeded(0, images.device)):
        predict(model, images)
    for hook in hooks:
        hook.remove()
    return torch.cat(found, 1)


def cold_slope(temperature: float = COLD) -> Asked:
    """Ask what the slope of a cold mask tells, over the range of values that the figure shows."""
    values = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    flat = {
        name: _flat(values + shift, by)
        for name, shift, by in (("draw", 0.2, temperature), ("mean", 0.0, 1.0))
    }
    return {
        "question": f"At temperature {temperature}, what does the slope of one draw's mask tell "
        "an attacker who asks which way to push the value?",
        "choices": {
            "the right way, nearly everywhere": "The mask never falls where the value rises, so "
            "that its slope never has the wrong sign. But a slope can be too small to tell "
            "anything beside others.",
            "the wrong way, nearly everywhere": "No draw can do that: the mask rises with the "
            "value at any temperature, and its slope is never below 0.",
            "nothing, nearly everywhere": "Dividing by a low temperature makes the mask a step. "
            "A step has its whole rise in one place, and is flat in all others.",
        },
        "answer": f"{'nothing' if flat['draw'] > 0.5 else 'the right way'}, nearly everywhere",
        "told": f"The slope is below {FLAT} over {flat['draw']:.0%} of the range from -3 to 3, "
        f"and {1 / (4 * temperature):.0f} at its highest. The mean mask's is below {FLAT} over "
        f"{flat['mean']:.0%} of it.",
        "see": "the slider",
    }


def _flat(values: Tensor, temperature: float) -> float:
    mask = torch.sigmoid(values / temperature)
    return (mask * (1 - mask) / temperature < FLAT).double().mean().item()


def catching_up(stored: Stored) -> Asked:
    """Ask after how many steps of 0.01 PGD leaves the LWTA network no more than FGSM does."""
    left = {name: found.mean for name, found in stored.down("steps", LWTA).items()}
    steps = {
        int(name.removeprefix("PGD, ").removesuffix(" steps")): share
        for name, share in left.items()
        if name.startswith("PGD, ") and name.endswith(" steps")
    }
    caught = next((n for n in sorted(steps) if steps[n] <= left["FGSM"]), None)
    most, more = max(steps), f"more than {max(steps)}"
    last = stored.across("steps", f"PGD, {most} steps")
    told = ", ".join(f"{share:.1f}% after {n}" for n, share in steps.items())
    best = max(found.mean for found in last.values())
    choices = {f"{n}": _reach(n) for n in sorted(steps)}
    choices[more] = (
        f"{most} steps of 0.01 go {most / 100:.2f} far at most. An attack that needs more than "
        "that has to turn round often, or follows gradients that tell it little."
    )
    return {
        "question": "After how many steps of 0.01 has PGD caught up with FGSM on Stochastic LWTA? "
        "Which networks are left then?",
        "choices": choices,
        "answer": more if caught is None else f"{caught}",
        "told": f"FGSM leaves {left['FGSM']:.1f}% of the answers right. PGD leaves {told} steps. "
        f"After {most} steps the best of all networks has {best:.1f}%.",
        "see": "the table",
    }


def _reach(steps: int) -> str:
    if steps < 30:
        return (
            f"A pixel goes {steps / 100:.2f} far at most, where FGSM goes 0.3. PGD makes up for a "
            "part of that, since it looks at the gradient anew at each step."
        )
    return (
        "From 30 steps on a pixel can go as far as with FGSM. Who thinks of the radius alone would "
        "say this."
    )


def averaging(stored: Stored) -> Asked:
    """Ask whether gradients averaged over fifty draws find what a single draw's do not."""
    left = {name: found.mean for name, found in stored.down("attacks on LWTA", LWTA).items()}
    samples = sorted(int(name[9:]) for name in left if name.startswith("PGD, EOT="))
    one, many = (left[f"PGD, EOT={n}"] for n in (samples[0], samples[-1]))
    missed, worst = one - many, left[WORST]
    share = missed / (one - worst) if one > worst else 0.0
    return {
        "question": f"EOT is the usual answer to a network that rolls dice. Will {samples[-1]} "
        "draws find what one does not?",
        "choices": {
            "yes, nearly all of it": "The average over enough draws is the gradient of the mean "
            "answer, so that in the end nothing can hide. How many draws are enough depends on "
            "how far they scatter.",
            "a part of it": "Averages get better with the root of their number only. Where a "
            "few draws have slopes that drown the others, that is slow.",
            "no, nearly nothing": "So it would be if the gradients of draws were 0 everywhere. "
            "Some blocks are in their gap at each draw, and there is something to average.",
        },
        "answer": (
            "no, nearly nothing"
            if share < 0.1
            else "yes, nearly all of it"
            if share > 0.9
            else "a part of it"
        ),
        "told": f"One draw leaves {one:.1f}%, {samples[-1]} leave {many:.1f}%. The mean mask "
        f"leaves {left['PGD, mean mask']:.1f}%, and the worst case of all attacks {worst:.1f}%.",
        "see": "the table",
    }


def proved(stored: Stored) -> Asked:
    """Ask which network has more certified answers: the one trained with noise or without."""
    noisy, plain = (stored.down("certificate", name) for name in (SMOOTHING, REGULAR))
    ahead = {noisy[radius].mean - plain[radius].mean for radius in noisy}
    radius = list(noisy)[-1]
    how = stored.rows("certificate")[0]["settings"]["training"]
    side = how["side"] or 32
    length = 8 / 255 * math.sqrt(3 * side * side)
    return {
        "question": "Which network will have more answers proved, the one that has met the "
        "noise in training or the one that has not? And how far, in L2, does a change of 8/255 "
        "in each value of such a picture go?",
        "choices": {
            SMOOTHING: "The proof asks what most noisy copies of a picture are taken for. A "
            "network that has met such copies should read more of them.",
            REGULAR: "It has spent all its training on clean pictures, and may read these "
            "better. But the proof never shows it a clean picture.",
            "each at some radius": "A small radius needs many right answers, a large one needs "
            "sure answers. These two need not come together.",
        },
        "answer": (
            SMOOTHING
            if min(ahead) >= 0 and max(ahead) > 0
            else REGULAR
            if max(ahead) <= 0
            else "each at some radius"
        ),
        "told": f"At {radius} {noisy[radius].mean:.1f}% of the answers of {SMOOTHING} are right "
        f"and proved, and {plain[radius].mean:.1f}% of those of {REGULAR}. The change of 8/255 "
        f"in each value is {length:.2f} long.",
        "see": "the curve",
    }
