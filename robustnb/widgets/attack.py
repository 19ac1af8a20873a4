"""Attack trained networks in the page: drag eps, and see what each of them answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import traitlets
from torch import Tensor, nn

from robustnb import plots
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.checks import check_images
from robustnb.randomness import seeded, stochastic_layers
from robustnb.widgets.network import DType, NotInPage, describe, round_trip, rounded
from robustnb.widgets.network_sets import NetworkSets
from robustnb.widgets.pictures import (
    OWN_SHAPE,
    device_of,
    drawn_probabilities,
    picture_traits,
    read_picture,
    stand_in,
)
from robustnb.widgets.plain import plain
from robustnb.widgets.settings import Number, Whole, check_choice, check_number, slider_values

ATTACKS = ("FGSM", "PGD", "minimum norm")
EPS_VALUES = tuple(round(0.01 * step, 2) for step in range(31))


class Setting(NamedTuple):
    """What the controls of an AttackExplorer choose."""

    drawing: str
    image: int
    attack: str
    target: str
    eps: float
    seed: int


class AttackExplorer(NetworkSets):
    """Attack one of several trained networks, and show what all of them say to the picture.

    `models` is a network or a dict of networks by their names, side by side. If all are of layers
    that `robustnb.widgets.network.KINDS` lists, they run in the page, weights rounded to `dtype`;
    otherwise the kernel computes each answer, and a page without one shows a picture. `images`
    (N, C, H, W) are in [0, 1], kept in steps of 1/255, and `labels` (N,) their classes, called
    `classes`. `target` names the network whose gradient is used. PGD takes `steps` of eps / 4. A
    stochastic network answers with the mean of `num_samples` draws, and its gradient is the mean of
    `eot_samples`. `eps`, `attack`, `image` (an index), `target` and `seed` may be set and observed;
    `eps_values` are those of the slider. With `own`, readers may draw a digit, which is the image
    after the last; its class is what the first network says of it, and `drawing` holds it as
    `robustnb.widgets.pictures.read_picture` reads it. Raises ValueError for what cannot be shown.
    """

    _module = "attack.js"
    _of_networks = ("networks",)
    _shared = ("drawing", "image", "attack", "target", "eps", "seed")

    networks = traitlets.List(traitlets.Dict()).tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    labels = traitlets.List(Whole()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    eps_values = traitlets.List(Number()).tag(sync=True)
    steps = Whole(10, min=1).tag(sync=True)
    num_samples = Whole(100, min=1).tag(sync=True)
    eot_samples = Whole(10, min=1).tag(sync=True)
    own = traitlets.Bool(False).tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)
    image = Whole(0).tag(sync=True)
    attack = traitlets.Unicode("FGSM").tag(sync=True)
    target = traitlets.Unicode().tag(sync=True)
    eps = Number(0.1).tag(sync=True)
    seed = Whole(0).tag(sync=True)
    _missing_layer = traitlets.Unicode().tag(sync=True)

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
        if not isinstance(models, nn.Module | Mapping):
            raise ValueError(
                f"models is a {type(models).__name__}: it must be a network, or a dict of networks "
                "by their names."
            )
        check_images(images, labels)
        named = {"network": models} if isinstance(models, nn.Module) else dict(models)
        if not named:
            raise ValueError("There is no network: AttackExplorer takes one at least.")
        if traits.get("own") and images.shape[1:] != OWN_SHAPE:
            raise ValueError(
                f"images have shape {tuple(images.shape)}: a digit of one's own goes with "
                "those of (N, 1, 28, 28)."
            )
        pictures, blobs = picture_traits(named.values(), images, labels, classes)
        self._images = round_trip(images, "uint8")
        try:
            described = {n: describe(m, tuple(images.shape[1:]), dtype) for n, m in named.items()}
            self._shown = {name: rounded(model, dtype) for name, model in named.items()}
        except NotInPage as unknown:
            described, traits["_missing_layer"] = {}, unknown.layer
            self._shown = {name: plain(model).float() for name, model in named.items()}
        for _, texts in described.values():
            blobs |= texts
        networks = {name: described[name].network if described else {} for name in named}
        super().__init__(
            networks=[{"name": name, "network": network} for name, network in networks.items()],
            blobs=blobs,
            eps_values=slider_values("eps_values", eps_values, 0, 1),
            target=next(iter(named)) if target is None else target,
            **pictures,
            **traits,
        )
        self.on_msg(self._reply)

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

    def _needs_kernel(self) -> bool:
        return self._missing_layer != ""

    def fallback(self) -> str:
        """Return the attacked picture and all answers as an inline SVG, and in words."""
        attacked, label, probabilities = self._answers(self._setting())
        truth = self.classes[label]
        drawing = plots.answers(attacked[0], probabilities, list(self.classes), truth)
        how = "" if self.attack == "minimum norm" else f" at ε = {self.eps:g}"
        needed = "JavaScript"
        if self._needs_kernel():
            needed = f"Jupyter, since {self._missing_layer} cannot run in the page"
        return stand_in(drawing, f"{self.attack}{how} with the gradient of {self.target}.", needed)

    def answers(self, **changes: Any) -> dict[str, Tensor]:
        """Return the probabilities (K,) that each network gives the attacked picture.

        At the present setting but for `changes` of `drawing`, `image`, `attack`, `target`, `eps` or
        `seed`, which the explorer itself does not keep. Raises TypeError for any other name.
        """
        if unknown := sorted(changes.keys() - set(Setting._fields)):
            raise TypeError(
                f"there is no {unknown[0]!r}: answers takes {', '.join(Setting._fields)}."
            )
        return self._answers(self._setting()._replace(**changes))[2]

    def _setting(self) -> Setting:
        return Setting(self.drawing, self.image, self.attack, self.target, self.eps, self.seed)

    def _reply(self, _: object, content: Mapping[str, Any], __: object) -> None:
        """Send the page the answers at the setting that it asks about, or why there are none."""
        try:
            attacked, label, probabilities = self._answers(Setting(**content["setting"]))
        except Exception as error:  # the page waits for whatever there is to say
            self.send({"setting": content["setting"], "error": str(error)})
            return
        answers = [shares.tolist() for shares in probabilities.values()]
        found = {"attacked": attacked.flatten().tolist(), "truth": label, "answers": answers}
        self.send({"setting": content["setting"], **found})

    def _answers(self, setting: Setting) -> tuple[Tensor, int, dict[str, Tensor]]:
        """Return the attacked image (1, C, H, W), its class, and each network's probabilities."""
        model = self._shown[setting.target]
        with torch.random.fork_rng():  # for layers that take no generator
            torch.manual_seed(setting.seed)
            image, label = self._chosen(setting)
            images = image[None].to(device_of(model))
            labels = torch.tensor([label], device=images.device)
            generator = seeded(setting.seed, images.device)
            attacked = self._attack(setting)(model, images, labels, generator)
            probabilities = {
                name: self._answer(each, attacked[0], setting.seed + 1)
                for name, each in self._shown.items()
            }
        return attacked.cpu(), label, probabilities

    def _chosen(self, setting: Setting) -> tuple[Tensor, int]:
        """Return the chosen image (C, H, W) and its class."""
        if setting.image < len(self.labels) or not setting.drawing:
            index = min(setting.image, len(self.labels) - 1)
            return self._images[index], self.labels[index]
        drawn = read_picture(setting.drawing)
        first = next(iter(self._shown.values()))
        return drawn, int(self._answer(first, drawn, setting.seed + 1).argmax())

    def _answer(self, model: nn.Module, image: Tensor, seed: int) -> Tensor:
        """Return the class probabilities, of a stochastic network the mean over its draws."""
        draws = self.num_samples if stochastic_layers(model) else 1
        return drawn_probabilities(model, image, draws, seed).mean(0)

    def _attack(self, setting: Setting) -> Callable[..., Tensor]:
        if setting.attack == "FGSM":
            return FGSM(setting.eps, self.eot_samples)
        if setting.attack == "PGD":
            return PGD(setting.eps, setting.eps / 4, self.steps, eot_samples=self.eot_samples)
        return MinimumNorm()

    def __repr__(self) -> str:
        return f"<{self.attack} on {self.target}, eps {self.eps:g}, image {self.image}>"
