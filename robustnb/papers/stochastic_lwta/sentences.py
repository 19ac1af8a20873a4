"""What the chapter on stochastic LWTA says of its rows, with the numbers of these rows."""

import torch

from robustnb.defenses.smoothing import lower_bound
from robustnb.papers.stochastic_lwta.protocols import LWTA, MIXED, REGULAR, SMOOTH_LWTA, TUNED
from robustnb.papers.stochastic_lwta.tables import WORST
from robustnb.stored import Stored

ATTACKS = "attacks on LWTA"


def what_is_shown(profile: str, stored: Stored) -> str:
    """Tell at which profile a page trained, and what Table 1 was measured on."""
    first = stored.rows("1")[0]
    how = first["settings"]["training"]
    size = f" at {how['side']}×{how['side']}" if how["side"] else ""
    return (
        f"This page trained at profile {profile}; Table 1 below was measured\n"
        f"at profile {first['profile']}: a {how['architecture']} on "
        f"{first['dataset']}{size}, {len(first['seeds'])} seed(s)."
    )


def coefficients(stored: Stored) -> str:
    """Tell the noise coefficients before the training and at its end."""
    shown = stored.rows("coefficients")
    end = {row["column"]: row["value"] for row in shown}  # of the last epoch
    told = "; ".join(
        f"*{row['column']}* from {row['value']:.3f} to {end[row['column']]:.3f}"
        for row in shown
        if row["row"] == "epoch 0"
    )
    return f"From before the training to its end: {told}."


def after_other_trainings(stored: Stored) -> str:
    """Tell what each training keeps under the PGD that stays where training was."""
    mixed, tuned, regular, lwta = (
        stored.value("training eps", name, "PGD accuracy") for name in (MIXED, TUNED, REGULAR, LWTA)
    )
    return (
        f"Under this PGD the report's mixture of attacks keeps {mixed:.1f}%, PGD in every "
        f"minibatch {tuned:.1f}% and regular training {regular:.1f}%. Stochastic LWTA keeps "
        f"{lwta:.1f}%."
    )


def strongest_attack(stored: Stored) -> str:
    """Tell what single draws, means of draws and the strongest attack leave of LWTA."""
    rows = stored.rows(ATTACKS)
    left = {row["row"]: row["value"] for row in rows if row["column"] == LWTA}
    worst = left.pop(WORST)
    del left["none"]
    eot = [name for name in left if name.startswith("PGD, EOT=")]
    strongest = min(left, key=left.__getitem__)
    return (
        f"A single draw's gradients leave {left[eot[0]]:.1f}%, {eot[-1][5:]} leaves "
        f"{left[eot[-1]]:.1f}%. The strongest attack is *{strongest}*: {left[strongest]:.1f}%. The "
        f"worst case, image by image, is {worst:.1f}%, for PGD adversarial training "
        f"{stored.value(ATTACKS, WORST, TUNED):.1f}%."
    )


def usual_measures(stored: Stored, table: str) -> str:
    """Tell what the usual attacks leave of LWTA in a table, and what the mean mask does."""
    clean, single, many, mean, worst = (
        stored.value(table, row, LWTA)
        for row in ("none", "PGD, EOT=1", "PGD, EOT=50", "PGD, mean mask", WORST)
    )
    return (
        f"Of {clean:.1f}%, the gradients of single draws leave {single:.1f}% and those of fifty "
        f"{many:.1f}%: by the usual measures a nearly perfect defence. The same PGD through the "
        f"mean mask leaves {mean:.1f}%, the worst of all {worst:.1f}%. PGD adversarial training of "
        f"the same network with ReLU keeps {stored.value(table, WORST, TUNED):.1f}% at worst."
    )


def worst_cases(stored: Stored) -> str:
    """Tell the worst cases with their intervals, and what the clean images have."""
    number = stored.rows(ATTACKS)[0]["num_images"]
    told = "; ".join(_kept(stored, name) for name in (LWTA, SMOOTH_LWTA, TUNED))
    return (
        f"The worst case, with its 95% interval over {number} images, and what the clean images "
        f"have: {told}."
    )


def _kept(stored: Stored, name: str) -> str:
    low, high = stored.interval(ATTACKS, WORST, name)
    worst, clean = (stored.value(ATTACKS, row, name) for row in (WORST, "none"))
    return f"*{name}* {worst:.1f}% ({low:.0f} to {high:.0f}) of {clean:.1f}%"


def worst_of_noise_injection(stored: Stored) -> str:
    """Tell the worst case of each network with noise injection."""
    told = "; ".join(
        f"*{row['column']}* {row['value']:.1f}%"
        for row in stored.rows("attacks on PNI")
        if row["row"] == WORST
    )
    return f"At the worst of these attacks, image by image: {told}."


def provable(stored: Stored) -> str:
    """Tell which radius the draws of the certificate can prove at most."""
    how = stored.rows("certificate")[0]["settings"]
    sigma, draws = how["training"]["sigma"], how["draws"]
    side = how["training"]["side"] or 32
    bound = lower_bound(torch.tensor(draws), draws, alpha=0.001)
    return (
        f"Noise of standard deviation {sigma}, {draws} draws for each picture; a proof is wrong "
        "with a probability of 0.1% at most. Not even a network that gives the same answer to all "
        f"of them could have more than {sigma * torch.special.ndtri(bound).item():.2f} proved. "
        f"8/255 in every pixel of a {side}×{side} picture is "
        f"{8 / 255 * (3 * side * side) ** 0.5:.2f} in L2."
    )
