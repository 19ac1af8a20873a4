"""Train two small networks in the page, side by side, on points in the plane."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import traitlets

from robustnb.checks import check_whole
from robustnb.defenses.bayesian import ScaleMixturePrior
from robustnb.widgets.pictures import stand_in
from robustnb.widgets.plane_networks import DEFENCES, HALF, SETTINGS
from robustnb.widgets.playground_still import STILL_STEPS, drawn, trained_still
from robustnb.widgets.settings import Number, Whole, as_python, check_choice, check_number
from robustnb.widgets.static import StaticWidget

SETS = ("moons", "circles", "XOR", "blobs", "own")
MOST_STEPS = 600
NUM_POINTS = 60
LIMITS = {
    "lr": (1e-4, 0.1),
    "l2": (0, 1),
    "sigma": (0, 5),
    "rho_init": (-20, 3),
    "complexity_weight": (0, 1),
    "bang_eps": (0, 1),
    "units": (2, 32),
    "temperature": (0.01, 10),
    "winner_weight": (0, 1),
    "alpha_init": (0, 2),
    "num_points": (2, 200),
}

Points = str | Sequence[tuple[float, float, int]]


class Playground(StaticWidget):
    """Train two networks (FC-32-32-2) in the page, from the same weights and on the same points.

    `defences` names the two, of DEFENCES. `points` is one of SETS, or a list of (x, y, class) with
    x and y from -2 to 2 and a class of 0 or 1; `eps` is the radius of the balls around them, in
    `norm` ("linf" draws squares, "l2" discs). Other numbers are those of SETTINGS, such as `sigma`,
    and `num_points` of a generated set. `left`, `right`, `points`, `own`, `norm`, `eps`, `seed`,
    `step` and `speed` (steps a frame) may be set and observed. Raises TraitError or ValueError for
    what cannot be shown.
    """

    _module = "playground.js"
    _shared = ("points", "left", "right", "norm", "eps", "seed", "step", "speed", "own")

    defences = traitlets.List(traitlets.Unicode(), list(DEFENCES)).tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    left = traitlets.Unicode().tag(sync=True)
    right = traitlets.Unicode().tag(sync=True)
    points = traitlets.Unicode().tag(sync=True)
    own = traitlets.Unicode().tag(sync=True)
    norm = traitlets.Unicode("linf").tag(sync=True)
    eps = Number(0.3).tag(sync=True)
    seed = Whole(0).tag(sync=True)
    step = Whole(0).tag(sync=True)
    speed = Whole(1).tag(sync=True)

    def __init__(
        self,
        defences: Sequence[str] = ("plain", "PGD training"),
        *,
        points: Points = "moons",
        **options: Any,
    ) -> None:
        if isinstance(defences, str) or len(defences) != 2:
            raise ValueError(f"defences is {defences!r}: it must name two, one for each network.")
        numbers = {name: as_python(options.pop(name)) for name in LIMITS if name in options}
        for name, value in numbers.items():
            check_number(name, value, *LIMITS[name])
            if name in ("num_points", "units"):
                check_whole(1, **{name: value})
        settings = {**SETTINGS, "num_points": NUM_POINTS, **numbers}
        if 32 % settings["units"]:
            raise ValueError(f"units is {settings['units']}: it must divide the 32 neurons.")
        super().__init__(
            settings={**settings, "prior": asdict(ScaleMixturePrior())},
            left=defences[0],
            right=defences[1],
            **({"points": points} if isinstance(points, str) else _own(points)),
            **options,
        )

    @traitlets.validate("left", "right", "points", "own", "norm", "eps", "seed", "step", "speed")
    def _check(self, proposal: Mapping[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        choices = {
            **dict.fromkeys(("left", "right"), tuple(DEFENCES)),
            **{"points": SETS, "norm": ("linf", "l2"), "speed": (1, 4, 16)},
        }
        most = {"eps": 0.5, "seed": 2**32 - 1, "step": MOST_STEPS}
        if name in choices:
            check_choice(name, value, choices[name])
        elif name in most:
            check_number(name, value, 0, most[name])
        elif not re.fullmatch(r"([ab]-?\d+,-?\d+)*", value):
            raise traitlets.TraitError(
                f"own is {value!r}: it must be points in hundredths, such as 'a120,-50b-30,40'."
            )
        return value

    def fallback(self) -> str:
        """Return both networks after training by torch, and in words how many balls are whole."""
        numbers = tuple((name, self.settings[name]) for name in (*SETTINGS, "num_points"))
        shown: Any = (self.points, self.own, self.seed, self.eps, self.norm, numbers)
        stills = [trained_still(defence, *shown) for defence in (self.left, self.right)]
        ball = f"with balls of radius {self.eps:g} in {'L∞' if self.norm == 'linf' else 'L2'}"
        return stand_in(drawn(stills), f"After {STILL_STEPS} steps, {ball}.")

    def __repr__(self) -> str:
        return (
            f"<{self.left} and {self.right} on {self.points}, eps {self.eps:g}, step {self.step}>"
        )


def _own(points: Sequence[tuple[float, float, int]]) -> dict[str, str]:
    """Write points (x, y, class) as the page keeps them: "a120,-50" is (1.2, -0.5) of class 0."""
    for point in points:
        if not _is_point(point):
            raise ValueError(
                f"points holds {point!r}: a point is (x, y, class) with x and y from -2 to 2 and a "
                "class of 0 or 1."
            )
    written = (f"{'ab'[int(label)]}{round(100 * x)},{round(100 * y)}" for x, y, label in points)
    return {"points": "own", "own": "".join(written)}


def _is_point(point: Sequence[float]) -> bool:
    if len(point) != 3:
        return False
    x, y, label = point
    return max(abs(x), abs(y)) <= HALF and label in (0, 1)
