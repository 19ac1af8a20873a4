"""Attack trained networks in the page: drag eps, and see what each of them answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor, nn

from robustnb import plots
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.randomness import seeded, stochastic_layers
from robustnb.widgets.network import DType, describe, round_trip, rounded
from robustnb.widgets.pictures import (
    OWN_SHAPE,
    check_choice,
    check_number,
    drawn_probabilities,
    picture_traits,
    read_picture,
    stand_in,
)
from robustnb.widgets.static import StaticWidget

ATTACKS = ("FGSM", "PGD", "minimum norm")
EPS_VALUES = tuple(round(0.01 * step, 2) for step in range(31))


class AttackExplorer(StaticWidget):
    """Attack one of several trained networks, and show what all of them say to the picture.

    `models` is a network or a dict of networks by their names, side by side; each is of layers that
    `robustnb.widgets.network.KINDS` lists and has its weights rounded to `dtype`. `images` (N, C,
    H, W) are in [0, 1], kept in steps of 1/255, and `labels` (N,) their classes, called `classes`.
    `target` names the network whose gradient is used. PGD takes `steps` of eps / 4. A stochastic
    network answers with the mean of `num_samples` draws, and its gradient is the mean of
    `eot_samples`. `eps`, `attack`, `image` (an index), `target` and `seed` may be set and observed;
    `eps_values` are those of the slider. With `own`, readers may draw a digit, which is the image
    after the last; its class is what the first network says of it, and `drawing` holds it as
    `robustnb.widgets.pictures.read_picture` reads it. Raises ValueError for what cannot be shown.
    """

    _module = "attack.js"
    _shared = ("drawing", "image", "attack", "target", "eps", "seed")

    networks = traitlets.List(traitlets.Dict()).tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    eps_values = traitlets.List(traitlets.Float()).tag(sync=True)
    steps = traitlets.Int(10, min=1).tag(sync=True)
    num_samples = traitlets.Int(100, min=1).tag(sync=True)
    eot_samples = traitlets.Int(10, min=1).tag(sync=True)
    own = traitlets.Bool(False).tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)
    image = traitlets.Int(0).tag(sync=True)
    attack = traitlets.Unicode("FGSM").tag(sync=True)
    target = traitlets.Unicode().tag(sync=True)
    eps = traitlets.Float(0.1).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        models: nn.Module | Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor,
        *,
        classes: Sequence[str] | None = None,
        target: str | None = None,
        eps_values: Sequence[float] = EPS_VALUES,
        dtype: DType = "float16",
        **traits: Any,
    ) -> None:
        named = {"network": models} if isinstance(models, nn.Module) else dict(models)
        if not named:
            raise ValueError("There is no network: AttackExplorer takes one at least.")
        if traits.get("own") and images.shape[1:] != OWN_SHAPE:
            raise ValueError(
                f"images have shape {tuple(images.shape)}: a digit of one's own goes with "
                "those of (N, 1, 28, 28)."
            )
        self._rounded = {name: rounded(model, dtype) for name, model in named.items()}
        pictures, blobs = picture_traits(self._rounded.values(), images, labels, classes)
        self._images = round_trip(images, "uint8")
        networks = []
        for name, model in named.items():
            network, texts = describe(model, tuple(images.shape[1:]), dtype)
            networks.append({"name": name, "network": network})
            blobs |= texts
        super().__init__(
            networks=networks,
            blobs=blobs,
            eps_values=[float(value) for value in eps_values],
            target=next(iter(named)) if target is None else target,
            **pictures,
            **traits,
        )

    @traitlets.validate("attack", "target")
    def _check_choice(self, proposal: Mapping[str, Any]) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        networks = [each["name"] for each in self.networks]
        check_choice(name, value, ATTACKS if name == "attack" else networks)
        return value

    @traitlets.validate("image", "eps", "seed")
    def _check_number(self, proposal: Mapping[str, Any]) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        last = len(self.labels) - 1 + bool(self.drawing)
        most = {"image": last, "eps": 1, "seed": 2**32 - 1}[name]
        check_number(name, value, 0, most)
        return value

    @traitlets.validate("drawing")
    def _check_drawing(self, proposal: Mapping[str, Any]) -> str:
        text: str = proposal["value"]
        if text and not self.own:
            raise traitlets.TraitError("a drawing needs an explorer with own=True.")
        if text:
            read_picture(text)
        return text

    def fallback(self) -> str:
        """Return the attacked picture and all answers as an inline SVG, and in words."""
        attacked, label, probabilities = self._answers()
        truth = self.classes[label]
        drawing = plots.answers(attacked[0], probabilities, list(self.classes), truth)
        how = "" if self.attack == "minimum norm" else f" at ε = {self.eps:g}"
        return stand_in(drawing, f"{self.attack}{how} with the gradient of {self.target}.")

    def _answers(self) -> tuple[Tensor, int, dict[str, Tensor]]:
        """Return the attacked image (1, C, H, W), its class, and each network's probabilities."""
        image, label = self._chosen()
        attack, labels = self._attack(), torch.tensor([label])
        attacked = attack(self._rounded[self.target], image[None], labels, seeded(self.seed))
        probabilities = {
            name: self._answer(model, attacked[0]) for name, model in self._rounded.items()
        }
        return attacked, label, probabilities

    def _chosen(self) -> tuple[Tensor, int]:
        """Return the chosen image (C, H, W) and its class."""
        if self.image < len(self.labels):
            return self._images[self.image], self.labels[self.image]
        drawn = read_picture(self.drawing)
        first = next(iter(self._rounded.values()))
        return drawn, int(self._answer(first, drawn).argmax())

    def _answer(self, model: nn.Module, image: Tensor) -> Tensor:
        """Return the class probabilities, of a stochastic network the mean over its draws."""
        draws = self.num_samples if stochastic_layers(model) else 1
        return drawn_probabilities(model, image, draws, self.seed + 1).mean(0)

    def _attack(self) -> Callable[..., Tensor]:
        if self.attack == "FGSM":
            return FGSM(self.eps, self.eot_samples)
        if self.attack == "PGD":
            return PGD(self.eps, self.eps / 4, self.steps, eot_samples=self.eot_samples)
        return MinimumNorm()

    def __repr__(self) -> str:
        return f"<{self.attack} on {self.target}, eps {self.eps:g}, image {self.image}>"
