"""Remove the noisiest weights of a Bayesian network, and see how long it keeps its accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from matplotlib.figure import Figure
from torch import Tensor, nn

from robustnb.defenses.bayesian import bayesian_layers, mean_network, sample_logits
from robustnb.drawing import Drawing
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.pruning import prune, signal_to_noise
from robustnb.randomness import noise_from, seeded
from robustnb.widgets.network import DType, describe, round_trip, rounded
from robustnb.widgets.network_sets import NetworkSets
from robustnb.widgets.pictures import picture_traits, stand_in
from robustnb.widgets.settings import Number, Whole, check_choice, check_number, slider_values

RATES = (*(round(0.05 * step, 2) for step in range(20)), 0.98, 0.99, 1.0)
SAMPLE_CHOICES = (0, 10)


class PruningExplorer(NetworkSets):
    """Prune a network by |mu| / sigma in the page, and count how many images stay right.

    `model` has BayesianLinear layers, its weights rounded to `dtype`; `images` (N, C, H, W) in
    [0, 1] with their `labels` (N,) are a few hundred. `rate` (0 to 1) is the share removed, one of
    `rates` on the slider; with `num_samples` of 0 the mean weights answer, else the mean
    probabilities of so many draws (0 or 10). Both may be set and observed. A removed weight is
    0 and has no noise, as in `robustnb.pruning.prune`. Raises ValueError for what cannot be shown.
    """

    _module = "pruning.js"
    _of_networks = ("network",)
    _shared = ("rate", "num_samples")

    network = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    labels = traitlets.List(Whole()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rates = traitlets.List(Number()).tag(sync=True)
    sample_choices = traitlets.List(Whole(), list(SAMPLE_CHOICES)).tag(sync=True)
    rate = Number(0.5).tag(sync=True)
    num_samples = Whole(0).tag(sync=True)

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        rates: Sequence[float] = RATES,
        dtype: DType = "float16",
        **traits: Any,
    ) -> None:
        if not bayesian_layers(model):
            raise ValueError(
                "the network has no BayesianLinear layer: "
                "PruningExplorer takes one whose weights have a mean and a sigma."
            )
        shown, blobs = picture_traits([model], images, labels, None)
        network, texts = describe(model, tuple(images.shape[1:]), dtype)
        self._rounded = rounded(model, dtype)
        self._images, self._labels = round_trip(images, "uint8"), labels
        super().__init__(
            network=network,
            blobs=blobs | texts,
            rates=slider_values("rates", [0.0, *rates, traits.get("rate", 0.5)], 0, 1),
            **shown,
            **traits,
        )

    @traitlets.validate("rate", "num_samples")
    def _check(self, proposal: Mapping[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "rate":
            check_number(name, value, 0, 1)
        else:
            check_choice(name, value, self.sample_choices)
        return value

    def fallback(self) -> str:
        """Return the ratios and the cut as an inline SVG, and in words what the rest still can."""
        return stand_in(_histogram(self._rounded, self.rate), self._told())

    def _told(self) -> str:
        pruned = prune(self._rounded, self.rate)
        if self.num_samples:
            draws = sample_logits(pruned, self._images, self.num_samples, seeded(0))
            answers, who = draws.softmax(-1).mean(0), f"The mean of {self.num_samples} draws is"
        else:
            means = mean_network(pruned)
            with noise_from(means, seeded(0)):  # which counts for nothing, but is drawn
                answers, who = predict(means, self._images), "The mean weights are"
        share = accuracy(answers, self._labels)
        return f"{who} right on {share:.0%} of {len(self._labels)} images."

    def __repr__(self) -> str:
        return f"<{self.rate:.0%} of the weights removed>"


def _histogram(model: nn.Module, rate: float) -> Drawing:
    ratios = signal_to_noise(model).detach().double().numpy()
    removed = round(rate * len(ratios))
    seen = ratios[np.isfinite(ratios) & (ratios > 0)]
    figure = Figure(figsize=(5, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.hist(np.log10(seen), bins=60, color="grey", alpha=0.6)
    if 0 < removed <= len(ratios):
        cut = np.sort(ratios)[removed - 1]
        axes.axvline(np.log10(max(cut, seen.min())), color="black")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="log10 of |μ| / σ", ylabel="weights")
    alt = f"Of {len(ratios)} weights, the {removed} with the smallest |μ| / σ are removed."
    return Drawing(figure, alt)
