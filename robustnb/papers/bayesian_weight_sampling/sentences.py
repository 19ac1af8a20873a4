"""What the chapter on Bayesian weights says of its rows, with the numbers of these rows."""

from collections.abc import Mapping

from torch import Tensor

from robustnb.metrics import entropy
from robustnb.papers.bayesian_weight_sampling import margins
from robustnb.stored import Stored

AT_3 = "bayesian rho_init=-3"


def lead(stored: Stored) -> str:
    """Tell how far the best Bayesian network, and the one without noise, lead the best other."""
    averages = stored.across("2", "average")
    silent = averages["bayesian rho_init=-30"] - averages[margins.best("standard", averages)]
    return (
        f"The best Bayesian network is {margins.lead(averages).mean:.1f} points above the best "
        f"ordinary one; the network without noise is {silent.mean:.1f} points above it."
    )


def lead_over_controls(stored: Stored) -> str:
    """Tell what is left of the lead at rho_init -3 over the strongest control."""
    averages, controls = stored.across("2", "average"), margins.controls(stored)
    base, control = margins.best("standard", averages), margins.best("plain", controls)
    ours = averages[AT_3]
    margin, left = ours - averages[base], ours - controls[control]
    return (
        f"At `rho_init` −3 the margin over the best plain network ({base}) is {margin} points "
        f"({len(margin.by_seed)} seeds, paired). Against the strongest control ({control}) {left} "
        f"are left, against its own mean weights {ours - controls['mean weights']} "
        f"({len(left.by_seed)} seeds)."
    )


def worth_of_noise(stored: Stored) -> str:
    """Tell what training and asking with noise are each worth at rho_init -3."""
    controls = margins.controls(stored)
    means, control = controls["mean weights"], margins.best("plain", controls)
    ours = stored.across("2", "average")[AT_3]
    return (
        "At `rho_init` −3, training with noise is worth "
        f"{means - controls['mean weights, rho_init=-30']} points over the mean weights at −30, "
        f"and {means - controls[control]} over the strongest control; asking with noise is worth "
        f"{ours - means}."
    )


def lead_at_matched_targets(stored: Stored) -> str:
    """Tell the lead at rho_init -3 over plain networks whose targets have longer steps."""
    matched = stored.down("matched targets", "average over 2 sets")
    told = "; ".join(
        f"*{name}* {matched[AT_3] - other}"
        for name, other in matched.items()
        if name.startswith("plain")
    )
    return f"The lead of the Bayesian network at `rho_init` −3 there, in points: {told}."


def lead_by_step(stored: Stored) -> str:
    """Tell the best Bayesian network's lead at each step of the attack."""
    alphas = dict.fromkeys(row["row"] for row in stored.rows("attack step"))
    leads = {alpha: margins.lead(stored.across("attack step", alpha)).mean for alpha in alphas}
    told = ", ".join(f"{gap:.1f} at {alpha}" for alpha, gap in leads.items())
    return (
        f"The best Bayesian network's lead over the best plain one, in points: {told}. The paper "
        "has 15.4."
    )


def entropies(answers: Mapping[str, Tensor], labels: Tensor) -> str:
    """Tell the mean entropy of right and of wrong answers; probabilities are (N, classes)."""
    told = []
    for name, found in answers.items():
        right = found.argmax(1) == labels
        means = (entropy(found[which]).mean() for which in (right, ~right))
        told.append(f"{name} " + " and ".join(f"{mean:.2f}" for mean in means))
    return (
        f"The mean entropy of an answer, in nats, where it is right and where it is wrong: "
        f"{'; '.join(told)}. A network that knows its limits has a second number well above the "
        "first."
    )


def best_at_their_worst(stored: Stored) -> str:
    """Tell what the best network of each kind keeps under the attack that leaves it least."""
    told = []
    for kind in ("bayesian", "standard"):
        row = margins.best_at_worst(kind, stored.rows("white-box"))
        low, high = stored.interval("white-box", row["row"], row["column"])
        told.append(
            f"{row['column']} keeps {row['value']:.1f}% (95% interval over images: {low:.1f} to "
            f"{high:.1f}%)"
        )
    return f"The best of each kind, at its worst: {'; '.join(told)}."


def at_worst(stored: Stored) -> str:
    """Tell the worst of all attacks, and what the control with the same first weights keeps."""
    left = stored.across("worst case", "worst case")
    told = "; ".join(f"{name} {found.mean:.1f}%" for name, found in left.items())
    averages, name = stored.across("2", "average"), "plain, variational initialisation"
    return (
        f"At the worst of all four, per image: {told}. The control with the variational network's "
        f"initial weights, *{name}*, keeps {margins.controls(stored)[name].mean:.1f}% under "
        "transferred perturbations, where the best plain network of the paper's kind keeps "
        f"{averages[margins.best('standard', averages)].mean:.1f}%."
    )


def below_clean(stored: Stored) -> str:
    """Tell how far targets of the other kind take each network below its clean accuracy."""
    clean = stored.across("1", "test") | stored.down("controls", "test")
    other = stored.across("other kind", "average over 2 sets")
    told = "; ".join(
        f"*{name}* {clean[name] - found}" for name, found in other.items() if name in clean
    )
    return f"Below the accuracy on clean images, in points: {told}."
