"""See how BANG shares out one batch's update among its examples."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import torch
import traitlets
from torch import Tensor

from robustnb.defenses.bang import balancing
from robustnb.drawing import Drawing
from robustnb.widgets.pictures import stand_in
from robustnb.widgets.settings import Number, check_choice, check_number
from robustnb.widgets.static import StaticWidget


class BangExplorer(StaticWidget):
    """Balance the gradients of one batch by BANG's eqs. (3) to (6), layer by layer.

    `gradient_norms` holds for each layer, by its name, the norm of every example's gradient (N,) in
    that layer's output, as `robustnb.defenses.bang.gradient_norms` returns them for a batch.
    `layer` (a name), `eps` and `beta` may be set and observed. Raises ValueError for norms that are
    none.
    """

    _module = "bang.js"
    _shared = ("layer", "eps", "beta")

    norms = traitlets.List(traitlets.Dict()).tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    eps = Number(0.815).tag(sync=True)
    beta = Number(1.0).tag(sync=True)

    def __init__(self, gradient_norms: Mapping[str, Tensor], **traits: Any) -> None:
        if not gradient_norms:
            raise ValueError("there are no norms: BangExplorer takes those of one layer at least.")
        for name, norms in gradient_norms.items():
            _check_norms(name, norms)
        super().__init__(
            norms=[
                {"layer": name, "norms": norms.double().tolist()}
                for name, norms in gradient_norms.items()
            ],
            **{"layer": next(iter(gradient_norms)), **traits},
        )

    @traitlets.validate("layer", "eps", "beta")
    def _check(self, proposal: Mapping[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "layer":
            check_choice(name, value, [each["layer"] for each in self.norms])
        else:
            check_number(name, value, 0, {"eps": 1, "beta": 2}[name])
        return value

    def fallback(self) -> str:
        """Return the norms before and after as an inline SVG, and in words how they are shared."""
        before = self._chosen().sort(descending=True).values
        after = self.beta * balancing(before, self.eps) * before
        figure, axes = plt.subplots(figsize=(5, 2.8))
        places = range(1, len(before) + 1)
        for values, name in ((before, "plain"), (after, "with BANG")):
            axes.plot(places, values / before.max(), "o", markersize=4, label=name)
        axes.set(xlabel="examples, largest gradient first", ylabel="length of gradient")
        axes.set_yscale("log")
        axes.legend()
        alt = (
            f"The {_tenth(before)} largest of {len(before)} gradients make up "
            f"{_share_of_tenth(before):.0%} of the sum of all lengths; "
            f"with BANG {_share_of_tenth(after):.0%}."
        )
        setting = f"Layer {self.layer} at ε = {self.eps:g} and β = {self.beta:g}."
        return stand_in(Drawing(figure, alt), setting)

    def _chosen(self) -> Tensor:
        (norms,) = (each["norms"] for each in self.norms if each["layer"] == self.layer)
        return torch.tensor(norms, dtype=torch.float64)

    def __repr__(self) -> str:
        return f"<BANG on layer {self.layer}, eps {self.eps:g}, beta {self.beta:g}>"


def _check_norms(name: str, norms: Tensor) -> None:
    if norms.dim() != 1 or len(norms) < 2 or not (norms.isfinite() & (norms >= 0)).all():
        raise ValueError(
            f"the norms of {name} have shape {tuple(norms.shape)}: they must be one finite number "
            "of at least 0 for each of two examples or more."
        )
    if not norms.any():
        raise ValueError(f"the norms of {name} are all 0: there is nothing to balance.")


def _tenth(lengths: Tensor) -> int:
    return max(1, round(len(lengths) / 10))


def _share_of_tenth(lengths: Tensor) -> float:
    total = lengths.sum().item()
    largest: float = lengths.sort(descending=True).values[: _tenth(lengths)].sum().item()
    return largest / total if total else 0.0
