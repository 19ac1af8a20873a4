"""See the noise of each neuron, and what the network says with more or less of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray
from torch import Tensor, nn

from robustnb import plots
from robustnb.defenses.noise import noise_layers
from robustnb.drawing import Drawing
from robustnb.widgets.network import DType, describe, round_trip, rounded
from robustnb.widgets.network_sets import NetworkSets
from robustnb.widgets.pictures import drawn_probabilities, picture_traits, stand_in
from robustnb.widgets.settings import Number, Whole, check_number, slider_values

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)


class SigmaExplorer(NetworkSets):
    """Multiply the noise of a network, and see its accuracy and one image's answers.

    `model` has GaussianNoise that is on at inference, and layers that `robustnb.widgets.network`
    lists; its weights are rounded to `dtype`. `images` (N, C, H, W) in [0, 1] with their `labels`
    (N,) are those of the accuracy, a few hundred; the first `num_choices` can be picked, and get
    `num_samples` draws. `scale` (a multiple of every sigma), `image` (an index) and `seed` may be
    set and observed; `scales` are those of the slider. Raises ValueError for what cannot be shown.
    """

    _module = "sigma.js"
    _of_networks = ("network",)
    _shared = ("scale", "image", "seed")

    network = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    labels = traitlets.List(Whole()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    scales = traitlets.List(Number()).tag(sync=True)
    num_choices = Whole(8, min=1).tag(sync=True)
    num_samples = Whole(100, min=1).tag(sync=True)
    scale = Number(1.0).tag(sync=True)
    image = Whole(0).tag(sync=True)
    seed = Whole(0).tag(sync=True)

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        classes: Sequence[str] | None = None,
        scales: Sequence[float] = SCALES,
        dtype: DType = "float16",
        **traits: Any,
    ) -> None:
        if not any(layer.at_inference for layer in noise_layers(model)):
            raise ValueError(
                "the network has no noise at inference: "
                "SigmaExplorer takes one with GaussianNoise(..., at_inference=True)."
            )
        shown, blobs = picture_traits([model], images, labels, classes)
        network, texts = describe(model, tuple(images.shape[1:]), dtype)
        self._rounded, self._images = rounded(model, dtype), round_trip(images, "uint8")
        super().__init__(
            network=network,
            blobs=blobs | texts,
            scales=slider_values("scales", [1.0, *scales], 0, 1000),
            **shown,
            **traits,
        )

    @traitlets.validate("scale", "image", "seed")
    def _check(self, proposal: Mapping[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        choices = min(self.num_choices, len(self.labels))
        most = {"scale": self.scales[-1], "image": choices - 1, "seed": 2**32 - 1}[name]
        check_number(name, value, 0, most)
        return value

    def fallback(self) -> str:
        """Return the noise as heat maps, and in words what the network says."""
        model = self._scaled()
        probabilities = drawn_probabilities(
            model, self._images[self.image], self.num_samples, self.seed
        )
        answers = Counter(probabilities.argmax(1).tolist()).most_common()
        said = ", ".join(f"{self.classes[answer]} in {count}" for answer, count in answers)
        truth = self.classes[self.labels[self.image]]
        setting = f"At {self.scale:g} times its noise, image {self.image + 1} is {said}"
        draws = f"of {self.num_samples} draws. True class: {truth}."
        return stand_in(_heat_maps(model), f"{setting} {draws}")

    def _scaled(self) -> nn.Module:
        model = rounded(self._rounded, "float32")
        for layer in noise_layers(model):
            layer.sigma.data *= self.scale
        return model

    def __repr__(self) -> str:
        return f"<noise times {self.scale:g}, image {self.image}>"


def _heat_maps(model: nn.Module) -> Drawing:
    """Draw the noise of each layer, one square per neuron, on one scale."""
    sigmas = [layer.sigma.detach().abs().numpy() for layer in noise_layers(model)]
    names = [f"noise {number}" for number in range(1, len(sigmas) + 1)]
    most = max(sigma.max() for sigma in sigmas)
    tiles = [_tiled(sigma) for sigma in sigmas]
    figure = plots.images([tiles], [names], maps=1, limit=most, scale="σ").figure
    texts = [
        f"σ of {name} from {sigma.min():.3g} to {sigma.max():.3g}"
        for name, sigma in zip(names, sigmas, strict=True)
    ]
    return Drawing(figure, f"The noise of each neuron: {', '.join(texts)}.")


def _tiled(sigma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put neurons, or the maps (H, W) of channels, side by side in rows; NaN fills the last."""
    height, width = sigma.shape[1:] if sigma.ndim == 3 else (1, 1)
    columns = int(np.ceil(np.sqrt(len(sigma))))
    rows = -(-len(sigma) // columns)
    tiles = np.full((rows * columns, height, width), np.nan, dtype=np.float32)
    tiles[: len(sigma)] = sigma.reshape(-1, height, width)
    in_rows = tiles.reshape(rows, columns, height, width).swapaxes(1, 2)
    return in_rows.reshape(rows * height, columns * width)
