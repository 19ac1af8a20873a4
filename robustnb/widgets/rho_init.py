"""Draw the weights of Bayesian networks again and again, and see when the average settles."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor, nn

from robustnb import plots
from robustnb.defenses.bayesian import bayesian_layers, sample_logits
from robustnb.metrics import accuracy
from robustnb.randomness import seeded
from robustnb.widgets.network import DType, describe, round_trip, rounded
from robustnb.widgets.network_sets import NetworkSets
from robustnb.widgets.pictures import drawn_probabilities, picture_traits, stand_in
from robustnb.widgets.settings import Number, Whole, as_python, check_choice, check_number

SAMPLE_CHOICES = (1, 2, 3, 5, 10, 20, 50, 100)


class RhoExplorer(NetworkSets):
    """Show the weight draws of networks trained from different rho_init, and their average.

    `models` maps each rho_init to its trained network, all with BayesianLinear layers; the weights
    are rounded to `dtype`. `images` (N, C, H, W) in [0, 1] with their `labels` (N,) are those of
    the accuracy, which is computed here with `num_samples` draws for each of `sample_choices`; the
    first `num_choices` images can be picked. `rho_init`, `num_samples`, `image` (an index) and
    `seed` may be set and observed. Raises ValueError for what cannot be shown.
    """

    _module = "rho_init.js"
    _of_networks = ("networks", "accuracies")
    _shared = ("rho_init", "num_samples", "image", "seed")

    networks = traitlets.List(traitlets.Dict()).tag(sync=True)
    accuracies = traitlets.List(traitlets.List(Number())).tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    labels = traitlets.List(Whole()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sample_choices = traitlets.List(Whole(min=1)).tag(sync=True)
    num_choices = Whole(8, min=1).tag(sync=True)
    rho_init = Number().tag(sync=True)
    num_samples = Whole(10).tag(sync=True)
    image = Whole(0).tag(sync=True)
    seed = Whole(0).tag(sync=True)

    def __init__(
        self,
        models: Mapping[float, nn.Module],
        images: Tensor,
        labels: Tensor,
        *,
        classes: Sequence[str] | None = None,
        sample_choices: Sequence[int] = SAMPLE_CHOICES,
        dtype: DType = "float16",
        **traits: Any,
    ) -> None:
        ordered = _in_order(models)
        shown, blobs = picture_traits(ordered.values(), images, labels, classes)
        self._rounded = {rho_init: rounded(model, dtype) for rho_init, model in ordered.items()}
        self._images = round_trip(images, "uint8")
        counts = sorted(set(map(as_python, [*sample_choices, traits.get("num_samples", 10)])))
        networks = []
        for rho_init, model in ordered.items():
            network, texts = describe(model, tuple(images.shape[1:]), dtype)
            networks.append({"rho_init": rho_init, "network": network})
            blobs |= texts
        super().__init__(
            networks=networks,
            accuracies=[
                _ensemble_accuracies(model, self._images, labels, counts)
                for model in self._rounded.values()
            ],
            blobs=blobs,
            sample_choices=counts,
            **{"rho_init": next(iter(ordered))} | shown | traits,
        )

    @traitlets.validate("rho_init", "num_samples", "image", "seed")
    def _check(self, proposal: Mapping[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "rho_init":
            check_choice(name, value, [network["rho_init"] for network in self.networks])
        elif name == "num_samples":
            check_choice(name, value, self.sample_choices)
        else:
            choices = min(self.num_choices, len(self.labels))
            check_number(name, value, 0, choices - 1 if name == "image" else 2**32 - 1)
        return value

    def fallback(self) -> str:
        """Return the draws and their mean as an inline SVG, and in words what they say."""
        probabilities = drawn_probabilities(
            self._rounded[self.rho_init], self._images[self.image], self.num_samples, self.seed
        )
        truth = self.classes[self.labels[self.image]]
        drawing = plots.draws(probabilities, self.classes, truth)
        return stand_in(drawing, f"Image {self.image + 1} at rho_init {self.rho_init:g}.")

    def __repr__(self) -> str:
        return f"<{self.num_samples} draws at rho_init {self.rho_init:g} of image {self.image}>"


def _in_order(models: Mapping[float, nn.Module]) -> dict[float, nn.Module]:
    if not models:
        raise ValueError("models is empty: RhoExplorer takes a network for each rho_init.")
    for rho_init, model in models.items():
        if not bayesian_layers(model):
            raise ValueError(
                f"the network of rho_init {rho_init:g} has no BayesianLinear layer: "
                "RhoExplorer takes networks that draw their weights."
            )
    return {float(rho_init): models[rho_init] for rho_init in sorted(models)}


def _ensemble_accuracies(
    model: nn.Module, images: Tensor, labels: Tensor, counts: Sequence[int]
) -> list[float]:
    """Return the accuracy of the mean probabilities of the first draws, for each number of them."""
    logits = sample_logits(model, images, max(counts), seeded(0))
    sums = logits.softmax(-1).cumsum(0)
    return [accuracy(torch.log(sums[count - 1]), labels) for count in counts]
