"""A trained network as a page can hold it: what each layer is, and its weights as short texts."""

import base64
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robustnb.defenses.bayesian import BayesianLinear
from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.defenses.noise import GaussianNoise
from robustnb.dropout import Dropout
from robustnb.models import Scale
from robustnb.randomness import noise_from, seeded
from robustnb.widgets.plain import plain

DType = Literal["float32", "float16", "int8", "uint8"]


class NotInPage(ValueError):
    """A layer is none that network.js has; `layer` is what it is called."""

    def __init__(self, layer: str, needed: str) -> None:
        super().__init__(f"{layer} cannot run in the page: {needed}.")
        self.layer = layer


class Blob(NamedTuple):
    """A tensor for the page: `spec` says what it is, `texts` holds its numbers by their digest."""

    spec: dict[str, Any]
    texts: dict[str, str]


class Described(NamedTuple):
    """A network for the page: `network` is what network.js loads, `blobs` the texts it names."""

    network: dict[str, Any]
    blobs: dict[str, str]


def tensor_blob(tensor: Tensor, dtype: DType = "float16") -> Blob:
    """Write a tensor as base64 text, which `decodeTensor` of network.js reads.

    "int8" has one scale for each row of a matrix (each output of a convolution) and falls back to
    "float16" for vectors; "uint8" is for images in [0, 1], in steps of 1/255. Raises ValueError if
    a number does not fit.
    """
    values = tensor.detach().cpu().float().contiguous()
    stored, scale = _stored(values, dtype)
    written = str(stored.dtype).removeprefix("torch.")
    spec: dict[str, Any] = {"shape": list(values.shape), "dtype": written, "scale": None}
    texts: dict[str, str] = {}
    if scale is not None:
        spec["scale"], texts = tensor_blob(scale, "float32")
    text = base64.b64encode(stored.numpy().tobytes()).decode()
    spec["blob"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Blob(spec, texts | {spec["blob"]: text})


def _stored(values: Tensor, dtype: DType) -> tuple[Tensor, Tensor | None]:
    """Return the numbers as they are written and, for "int8", the scale of each row."""
    if dtype == "float32":
        return values, None
    if dtype == "uint8":
        _require(bool(((values >= 0) & (values <= 1)).all()), values, "uint8", "between 0 and 1")
        return (values * 255).round().to(torch.uint8), None
    if dtype == "float16" or (dtype == "int8" and values.dim() < 2):
        half = values.half()
        _require(bool((half.isfinite() == values.isfinite()).all()), values, "float16", "to 65504")
        return half, None
    if dtype == "int8":
        _require(bool(values.isfinite().all()), values, "int8", "that are finite")
        scale = (values.flatten(1).abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        return (values / _per_row(scale, values)).round().to(torch.int8), scale
    raise ValueError(f"dtype is {dtype!r}: it must be float32, float16, int8 or uint8.")


def _require(fits: bool, values: Tensor, dtype: str, accepted: str) -> None:
    if not fits:
        low, high = values.min().item(), values.max().item()
        raise ValueError(
            f"Numbers from {low:g} to {high:g} cannot be stored as {dtype}: "
            f"it takes numbers {accepted}."
        )


def _per_row(scale: Tensor, values: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (values.dim() - 1))


def round_trip(tensor: Tensor, dtype: DType = "float16") -> Tensor:
    """Return the tensor with the numbers that the page gets."""
    stored, scale = _stored(tensor.detach().cpu().float(), dtype)
    if scale is not None:
        return stored * _per_row(scale, stored)
    return stored / 255 if dtype == "uint8" else stored.float()


@dataclass(frozen=True)
class Kind:
    """Name a layer as network.js does, its tensors to be rounded, and its other settings."""

    name: str
    tensors: tuple[str, ...] = ()
    settings: Callable[[Any], dict[str, Any]] = lambda layer: {}


def _settings_of_convolution(layer: nn.Conv2d) -> dict[str, Any]:
    usual = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    _check(layer, usual and not isinstance(layer.padding, str), "groups=1, dilation=1 and zeros")
    return {"stride": list(layer.stride), "padding": list(layer.padding)}


def _settings_of_pooling(layer: nn.MaxPool2d | nn.AvgPool2d) -> dict[str, Any]:
    usual = _pair(layer.padding) == [0, 0] and _pair(getattr(layer, "dilation", 1)) == [1, 1]
    _check(layer, usual and not getattr(layer, "divisor_override", None), "no padding or dilation")
    size, stride = _pair(layer.kernel_size), _pair(layer.stride)
    return {"size": size, "stride": stride, "ceil": layer.ceil_mode}


def _settings_of_flatten(layer: nn.Flatten) -> dict[str, Any]:
    _check(layer, (layer.start_dim, layer.end_dim) == (1, -1), "start_dim=1 and end_dim=-1")
    return {}


def _settings_of_scale(layer: Scale) -> dict[str, Any]:
    return {"factor": [layer.factor], "shift": [0.0]}


def _settings_of_normalize(layer: Any) -> dict[str, Any]:
    mean, std = (np.atleast_1d(np.asarray(x, dtype=float)) for x in (layer.mean, layer.std))
    return {"factor": (1 / std).tolist(), "shift": (-mean / std).tolist()}


def _settings_of_batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> dict[str, Any]:
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise NotInPage(str(layer), "it needs track_running_stats=True")
    factor = (variance.double() + layer.eps).rsqrt()
    factor = factor * layer.weight.double() if layer.affine else factor
    shift = -mean.double() * factor + (layer.bias.double() if layer.affine else 0)
    return {"factor": factor.tolist(), "shift": shift.tolist()}


def _settings_of_competition(layer: WinnerTakesAll) -> dict[str, Any]:
    return {"units": layer.units, "mode": layer.mode, "temperature": layer.temperature}


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _check(layer: nn.Module, usual: bool, needed: str) -> None:
    if not usual:
        raise NotInPage(str(layer), f"it needs {needed}")


KINDS: dict[type[nn.Module], Kind] = {
    nn.Linear: Kind("linear", ("weight", "bias")),
    nn.Conv2d: Kind("convolution", ("weight", "bias"), _settings_of_convolution),
    nn.ReLU: Kind("relu"),
    nn.Sigmoid: Kind("sigmoid"),
    nn.Tanh: Kind("tanh"),
    nn.MaxPool2d: Kind("max pooling", (), _settings_of_pooling),
    nn.AvgPool2d: Kind("average pooling", (), _settings_of_pooling),
    nn.Flatten: Kind("flatten", (), _settings_of_flatten),
    nn.BatchNorm1d: Kind("affine", (), _settings_of_batch_norm),
    nn.BatchNorm2d: Kind("affine", (), _settings_of_batch_norm),
    Scale: Kind("affine", (), _settings_of_scale),
    BayesianLinear: Kind("gaussian weights", ("mu", "rho")),
    GaussianNoise: Kind("gaussian noise", ("sigma",)),
    WinnerTakesAll: Kind("winner takes all", (), _settings_of_competition),
}
NORMALIZE = Kind("affine", (), _settings_of_normalize)
WITHOUT_EFFECT = (nn.Identity, nn.Dropout, nn.Dropout2d, Dropout)  # in evaluation mode


def _kinds() -> dict[type[nn.Module], Kind]:
    """Return KINDS, and torchvision's Normalize if anyone has imported that: it takes seconds."""
    vision = sys.modules.get("torchvision.transforms")
    return KINDS if vision is None else KINDS | {vision.Normalize: NORMALIZE}


def describe(model: nn.Module, input_shape: tuple[int, ...], dtype: DType = "float16") -> Described:
    """Describe a network in evaluation mode for network.js, its weights rounded to `dtype`.

    `input_shape` is that of one image, (C, H, W). Weights are those that the layers use: after
    normalisation, pruning and other parametrisations. Raises NotInPage naming the first layer that
    the page cannot run, and ValueError for weights that `dtype` cannot hold.
    """
    blobs: dict[str, str] = {}
    descriptions = []
    model = plain(model).cpu().float()
    for layer in _layers(model):
        kind = _kinds()[type(layer)]
        description = {"kind": kind.name, **kind.settings(layer)}
        for name, tensor in _tensors(layer):
            description[name], texts = tensor_blob(tensor, dtype)
            blobs |= texts
        descriptions.append(description)
    _check_shapes(model, input_shape)
    return Described({"input": list(input_shape), "layers": descriptions}, blobs)


def _check_shapes(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Pass an image through, since torch accepts a missing Flatten and the page does not."""
    values = torch.zeros(1, *input_shape)
    with torch.no_grad(), noise_from(model, seeded(0)):
        for layer in _layers(model):
            if isinstance(layer, nn.Linear | BayesianLinear):
                _check(layer, values.dim() == 2, "a Flatten before it")
            values = layer(values)


def rounded(model: nn.Module, dtype: DType = "float16") -> nn.Module:
    """Return a copy of `model` in evaluation mode, on the CPU, with the weights of the page."""
    shown = plain(model).cpu().float()
    for layer in _layers(shown):
        for _, tensor in _tensors(layer):
            tensor.data.copy_(round_trip(tensor, dtype))
    return shown


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers in the order of a pass, those without effect left out."""
    if model._forward_hooks or model._forward_pre_hooks:
        raise NotInPage(f"{type(model).__name__} with hooks", "they are Python's")
    if type(model) is nn.Sequential:
        for child in model:
            yield from _layers(child)
    elif type(model) in _kinds():
        if getattr(model, "at_inference", True):  # noise may be for training alone
            yield model
    elif not isinstance(model, WITHOUT_EFFECT):
        known = ", ".join(kind.__name__ for kind in (*_kinds(), *WITHOUT_EFFECT))
        needed = f"it must be one of {known}, or a Sequential of these"
        raise NotInPage(type(model).__name__, needed)


def _tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the value of what is rounded; a layer without a bias has none."""
    for name in _kinds()[type(layer)].tensors:
        tensor = getattr(layer, name)
        if tensor is not None:
            yield name, tensor
