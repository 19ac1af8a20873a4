"""See which unit of each block wins, draw by draw, and what the network then says."""

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets
from torch import Tensor, nn

from robustnb import plots
from robustnb.defenses.lwta import MODES, competitions, winners_by
from robustnb.widgets.network import DType, describe, round_trip, rounded
from robustnb.widgets.pictures import drawn_probabilities, picture_traits, stand_in
from robustnb.widgets.settings import (
    Number,
    Whole,
    as_python,
    check_choice,
    check_number,
    slider_values,
)
from robustnb.widgets.static import StaticWidget

SHOWN_MODES = tuple(mode for mode in MODES if mode != "straight-through")  # forward, it is "sample"
TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.67, 1.0, 1.5, 2.0, 3.0, 5.0)


class WinnerExplorer(StaticWidget):
    """Light up the winners of every block of a network, and show its answers over many draws.

    `models` is a network with WinnerTakesAll layers, or a dict of such networks by their number of
    units in a block, which cannot change without training anew; layers are those that
    `robustnb.widgets.network` lists, weights rounded to `dtype`. `images` (N, C, H, W) are in
    [0, 1] and `labels` (N,) their classes. `units` (a key), `image` (an index), `mode` (of the
    mask), `temperature` (for the mode "relaxed") and `seed` may be set and observed; the answers
    are those of `num_samples` draws. Raises ValueError for what cannot be shown.
    """

    _module = "winner_takes_all.js"
    _shared = ("units", "image", "mode", "temperature", "seed")

    networks = traitlets.List(traitlets.Dict()).tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    labels = traitlets.List(Whole()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    temperatures = traitlets.List(Number()).tag(sync=True)
    num_samples = Whole(100, min=1).tag(sync=True)
    units = Whole().tag(sync=True)
    image = Whole(0).tag(sync=True)
    mode = traitlets.Unicode("sample").tag(sync=True)
    temperature = Number(0.67).tag(sync=True)
    seed = Whole(0).tag(sync=True)

    def __init__(
        self,
        models: nn.Module | Mapping[int, nn.Module],
        images: Tensor,
        labels: Tensor,
        *,
        classes: Sequence[str] | None = None,
        temperatures: Sequence[float] = TEMPERATURES,
        dtype: DType = "float16",
        **traits: Any,
    ) -> None:
        named = {_units(models): models} if isinstance(models, nn.Module) else models
        by_units = {as_python(units): model for units, model in named.items()}
        _check_units(by_units)
        shown, blobs = picture_traits(by_units.values(), images, labels, classes)
        networks = []
        for units, model in by_units.items():
            network, texts = describe(model, tuple(images.shape[1:]), dtype)
            networks.append({"units": units, "network": network})
            blobs |= texts
        self._rounded = {units: rounded(model, dtype) for units, model in by_units.items()}
        self._images = round_trip(images, "uint8")
        super().__init__(
            networks=networks,
            blobs=blobs,
            temperatures=slider_values("temperatures", temperatures, 1e-4, 1000),
            **shown,
            **{"units": next(iter(by_units)), **traits},
        )

    @traitlets.validate("units", "image", "mode", "temperature", "seed")
    def _check(self, proposal: Mapping[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name in ("units", "mode"):
            units = [each["units"] for each in self.networks]
            check_choice(name, value, units if name == "units" else SHOWN_MODES)
        else:
            most = {"image": len(self.labels) - 1, "seed": 2**32 - 1}.get(name, 1000)
            check_number(name, value, 1e-4 if name == "temperature" else 0, most)
        return value

    def fallback(self) -> str:
        """Return the answers of all draws as an inline SVG, and in words."""
        model, image = self._rounded[self.units], self._images[self.image]
        mode: Any = self.mode
        with winners_by(model, mode, self.temperature):
            probabilities = drawn_probabilities(model, image, self.num_samples, self.seed)
        truth = self.classes[self.labels[self.image]]
        drawing = plots.draws(probabilities, list(self.classes), truth)
        setting = f"Blocks of {self.units} units, mask {self.mode}, image {self.image + 1}."
        return stand_in(drawing, setting)

    def __repr__(self) -> str:
        return f"<winners of blocks of {self.units}, {self.mode}, image {self.image}>"


def _units(model: nn.Module) -> int:
    """Return the number of units in a block of `model`, the same in all its layers."""
    units = {layer.units for layer in competitions(model)}
    if len(units) != 1:
        found = "no blocks" if not units else f"blocks of {' and '.join(map(str, sorted(units)))}"
        raise ValueError(
            f"the network has {found}: WinnerExplorer takes networks whose "
            "WinnerTakesAll layers all have one number of units."
        )
    return units.pop()


def _check_units(by_units: Mapping[int, nn.Module]) -> None:
    if not by_units:
        raise ValueError("there is no network: WinnerExplorer takes one at least.")
    for units, model in by_units.items():
        if units != _units(model):
            raise ValueError(f"the network under {units} has blocks of {_units(model)} units.")
