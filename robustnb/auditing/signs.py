"""The warning signs of an audit: what is measured, the threshold, its source, and what to do."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

ATHALYE = "Athalye, Carlini & Wagner 2018"
CARLINI = "Carlini et al. 2019"
PINTOR = "Pintor et al. 2022"
CROCE = "Croce & Hein 2020"
ZIMMERMANN = "Zimmermann et al. 2022"
OURS = "; the threshold is this book's"


@dataclass(frozen=True)
class Rule:
    """Say when a sign is raised: beyond its threshold, or below it where `below`.

    A sign that is `alarming` means that the accuracy under attack may be far too high; another is
    a remark. `means` says what a raised sign means; {value} and {threshold} stand for numbers.
    """

    name: str
    threshold: float
    means: str
    advice: str
    source: str
    alarming: bool = True
    below: bool = False
    unit: Literal["%", " points", ""] = "%"

    def on(self, value: float, error: float = 0.0) -> "Sign":
        """Return the sign that a value is, whose standard error is `error`.

        A value with an error must pass its threshold by more than luck: a difference must be above
        twice its error, and what should not be below a threshold must be so by twice its error.
        """
        if self.below:
            threshold = self.threshold - 2 * error
            return Sign(self, value, threshold, value < threshold)
        threshold = max(self.threshold, 2 * error)
        return Sign(self, value, threshold, value > threshold)


@dataclass(frozen=True)
class Sign:
    """A number that was looked at, and whether it warns."""

    rule: Rule
    value: float
    threshold: float
    raised: bool

    @property
    def alarms(self) -> bool:
        """Tell whether it means that the accuracy under attack may be far too high."""
        return self.raised and self.rule.alarming

    @property
    def sentence(self) -> str:
        """Return what was found."""
        return self.rule.means.format(value=self._text(self.value))

    @property
    def limit(self) -> str:
        """Return the threshold as text."""
        return f"{'below' if self.rule.below else 'above'} {self._text(self.threshold)}"

    def _text(self, number: float) -> str:
        if not self.rule.unit:
            return f"{number:.2g}"
        return f"{100 * number:.1f}{self.rule.unit}"

    def as_dict(self) -> dict[str, Any]:
        """Return name, value, threshold and the rest as plain data."""
        rule = asdict(self.rule)
        kept = ("name", "source", "advice", "alarming", "below")
        found = {name: rule[name] for name in kept}
        return {**found, "value": self.value, "threshold": self.threshold, "says": self.sentence}


RANDOM = Rule(
    "random outputs",
    0.0,
    "Asked twice, the network gives {value} of the images other logits.",
    "Average gradients over draws (EOT), judge on draws of its own: this audit does.",
    f"{ATHALYE}, section 4.2",
    alarming=False,
)
HIDDEN = Rule(
    "hidden noise",
    0.0,
    "With all known generators set, {value} of the images still get other logits.",
    "Let the network draw from torch's global generator, or keep its own as an attribute.",
    f"{PINTOR}, indicator of unstable predictions",
    alarming=False,
)
PROBABILITIES = Rule(
    "outputs are probabilities",
    0.99,
    "For {value} of the images the outputs are from 0 to 1 and sum to 1.",
    "Return logits: a softmax of a softmax has small gradients, and they vanish near 0 and 1.",
    f"{CARLINI}{OURS}",
    alarming=False,
)
BATCH = Rule(
    "answers depend on the batch",
    0.01,
    "{value} of the images get other logits alone than in a batch: a layer uses the batch's "
    "statistics, or is in training mode.",
    "Call model.eval(), and let batch normalisation keep running statistics.",
    f"{CARLINI}{OURS}",
)
MISSING = Rule(
    "no gradient",
    0.0,
    "The logits have no gradient in the images: no attack along it was possible.",
    "Remove detach, no_grad and NumPy from the forward pass, or name a smooth stand_in=.",
    f"{ATHALYE}, section 4.1",
)
NOT_FINITE = Rule(
    "gradients not finite",
    0.0,
    "The gradient is NaN or infinite for {value} of the images.",
    "Look for roots, norms and logarithms at 0, and for overflow.",
    f"{ATHALYE}, section 4.3",
)
ZERO = Rule(
    "zero gradients",
    0.01,
    "The gradient of the margin is exactly 0 for {value} of the images, or of images near them.",
    "Look for rounding, steps and saturated units, and attack through a smooth stand_in=.",
    f"{PINTOR}, indicator of unavailable gradients{OURS}",
)
BLANK = Rule(
    "attacks fail where gradients are blank",
    0.01,
    "Of the images that no attack fooled, {value} have a gradient of exactly 0.",
    "Their robustness says nothing: attack them through a smooth stand_in=.",
    f"{PINTOR}, indicator of unavailable gradients{OURS}",
)
UNDERFLOW = Rule(
    "cross-entropy underflows",
    0.10,
    "For {value} of the images the gradient of the cross-entropy is exactly 0 in its type: the "
    "probability of the label is rounded to 1.",
    "Attack the margin or DLR, as this audit does; accuracy under cross-entropy alone misleads.",
    f"{CROCE}, section 4{OURS}",
    alarming=False,
)
SCALE = Rule(
    "attacks depend on the scale of the logits",
    0.02,
    "Once the logits are shifted and scaled, which changes no answer, the same attack on the "
    "cross-entropy leaves {value} less.",
    "Attack the margin or DLR, which no scale changes, as this audit does.",
    f"{CROCE}, section 4{OURS}",
    alarming=False,
    unit=" points",
)
DISAGREE = Rule(
    "gradients of draws disagree",
    0.5,
    "Two means of gradients over draws have a cosine of {value}.",
    'Average over more draws (effort="thorough"), or attack a stand-in without the noise.',
    f"{ATHALYE}, section 4.2{OURS}",
    below=True,
    unit="",
)
SINGLE = Rule(
    "one draw misleads the attack",
    0.02,
    "The same attack leaves {value} more with one draw a step than with means of draws.",
    "Believe no number of an attack that takes one draw a step (EOT 1).",
    f"{ATHALYE}, section 4.2{OURS}",
    alarming=False,
    unit=" points",
)
LUCK = Rule(
    "luck decides",
    0.05,
    "Under attack the answer to {value} of the images is right in some draws and wrong in others.",
    "Say what an attacker gets who may try again: the report has the share right in every draw.",
    f"{CARLINI}{OURS}",
    alarming=False,
)
ONE_STEP = Rule(
    "one step beats many",
    0.01,
    "One step leaves {value} less than many steps.",
    "Look for masked gradients, or for steps that are too small.",
    f"{ATHALYE}, section 3.1{OURS}",
    unit=" points",
)
NO_GRADIENT_BEATS = Rule(
    "black box beats white box",
    0.01,
    "Attacks without gradients leave {value} less than those along the gradient.",
    "The gradients are masked: attack through a smooth stand_in=, or from sources=.",
    f"{ATHALYE}, section 3.1{OURS}",
    unit=" points",
)
STAND_IN = Rule(
    "a stand-in beats the network's own gradients",
    0.02,
    "Gradients of a smooth stand-in leave {value} less than the network's own.",
    "The network's own gradients are masked: count the stand-in's attacks.",
    f"{ATHALYE}, section 4.1{OURS}",
    unit=" points",
)
LARGER = Rule(
    "a larger eps helps the defender",
    0.01,
    "With a larger eps the same attack leaves {value} more.",
    "Look for masked gradients, or for an attack that does not converge.",
    f"{CARLINI}{OURS}",
    unit=" points",
)
UNBOUNDED = Rule(
    "an unbounded attack fails",
    0.0,
    "Beyond what guessing gives, {value} withstand an attack that may change every pixel at will.",
    "The attack does not work on this network: no accuracy under it means anything.",
    f"{ATHALYE}, section 3.1; {PINTOR}, indicator of unconstrained attack failure",
    unit=" points",
)
STEPS = Rule(
    "steps have not converged",
    0.01,
    "The last doubling of the steps took {value} more.",
    "Try more steps (a higher effort): the accuracy would fall further.",
    f"{PINTOR}, indicator of incomplete optimization{OURS}",
    unit=" points",
)
RESTARTS = Rule(
    "restarts have not converged",
    0.01,
    "A second start took {value} more.",
    'Try more restarts (effort="thorough"): the accuracy would fall further.',
    f"{CARLINI}{OURS}",
    unit=" points",
)
LAST = Rule(
    "the last iterate is not the best",
    0.01,
    "PGD passes a fooling image and leaves it again for {value} of the images.",
    "Keep the best iterate, as this audit's attacks do.",
    f"{PINTOR}, indicator of silent success{OURS}",
    alarming=False,
)
EIGHT_BITS = Rule(
    "lost in 8 bits",
    0.05,
    "Of the images that fool, {value} no longer do as pictures of 8 bits.",
    "Say that the attack needs more than 8 bits, or round inside the attack.",
    f"{CARLINI}{OURS}",
    alarming=False,
)
ACTIVE = Rule(
    "the active test fails",
    0.95,
    "In copies of the network where a fooling image exists for certain, the attack finds {value}.",
    "The attack is too weak for this network: no accuracy under it means anything.",
    f"{ZIMMERMANN}{OURS}",
    below=True,
)
FAILED = Rule(
    "an attack broke off",
    0.0,
    "{value} of the attacks and trials broke off with an error; the report says with which.",
    "Mend what the error names, and audit again.",
    "this book",
)
RULES = tuple(rule for rule in list(globals().values()) if isinstance(rule, Rule))
