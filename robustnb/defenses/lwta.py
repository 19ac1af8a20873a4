"""Units that compete in blocks, each with one random winner: stochastic local winner-takes-all.

Section 4 of Kaspar, Hicheur & Bourdrez (2024), who take it from Panousis, Chatzis & Theodoridis
(2021); the prior on connections is that of their earlier paper (2019).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Mode = Literal["sample", "relaxed", "mean", "argmax", "straight-through"]
MODES: tuple[Mode, ...] = get_args(Mode)
EULER_GAMMA = 0.5772156649015329


class WinnerTakesAll(nn.Module):
    """Let the units of each block compete, and pass on their outputs times a mask (section 4).

    A block is `units` neighbouring features (N, B * units) or channels (N, B * units, H, W), which
    compete at each position on their own. The winner of a block with pre-activations h is drawn
    from softmax(h), anew for each example and in evaluation mode too. `mode` says what the mask is:

    - "sample": 1 for the winner and 0 for the others, a constant to back-propagation;
    - "straight-through": the same numbers, with the gradient of "relaxed";
    - "relaxed": softmax((h + Gumbel noise) / temperature), the authors' code at 0.67 in training
      and 0.01 in tests;
    - "mean": softmax(h), the winner's probabilities;
    - "argmax": 1 for the largest h.
    """

    def __init__(
        self, units: int = 2, mode: Mode = "straight-through", temperature: float = 0.67
    ) -> None:
        super().__init__()
        _check(units, mode, temperature)
        self.units, self.mode, self.temperature = units, mode, temperature
        self.generator: torch.Generator | None = None
        self.divergence: Tensor | None = None

    def forward(self, h: Tensor) -> Tensor:
        """Return `h` times the mask, in its shape; in training, keep the KL term."""
        if h.shape[1] % self.units:
            raise ValueError(f"{h.shape[1]} features do not divide into blocks of {self.units}.")
        blocks = h.unflatten(1, (-1, self.units))
        if self.training:
            self.divergence = winner_divergence(blocks).mean()
        return (self.mask(blocks) * blocks).flatten(1, 2)

    def mask(self, blocks: Tensor) -> Tensor:
        """Return the mask of pre-activations (N, B, units, ...), in their shape."""
        if self.mode == "mean":
            return blocks.softmax(2)
        if self.mode == "argmax":
            return _one_hot(blocks)
        competing = blocks + self._gumbel(blocks)
        only_value = self.mode == "straight-through" and not torch.is_grad_enabled()
        if self.mode == "sample" or only_value:
            return _one_hot(competing)
        relaxed = (competing / self.temperature).softmax(2)
        if self.mode == "relaxed":
            return relaxed
        # In this order the forward pass is exactly 0 or 1.
        return _one_hot(competing) + (relaxed - relaxed.detach())

    def _gumbel(self, blocks: Tensor) -> Tensor:
        """Draw the noise with which the largest sum wins with probability softmax(h)."""
        # Not exponential_, which takes four times as long as all of this.
        tiny = torch.finfo(blocks.dtype).eps
        uniform = torch.empty_like(blocks).uniform_(tiny, 1 - tiny, generator=self.generator)
        return uniform.log_().neg_().log_().neg_()

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies keep: not the divergence, which belongs to one pass."""
        return vars(self) | {"divergence": None}

    def extra_repr(self) -> str:
        """Show the fields when the network is printed."""
        return f"units={self.units}, mode={self.mode!r}, temperature={self.temperature:g}"


def _check(units: int, mode: str, temperature: float) -> None:
    if units < 1 or not temperature > 0:
        raise ValueError(
            f"units is {units} and temperature {temperature}: "
            "a block has at least 1 unit, and the temperature is above 0."
        )
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: it must be one of {', '.join(MODES)}.")


def _one_hot(scores: Tensor) -> Tensor:
    # Not argmax, which takes several times as long along a dimension in the middle.
    return torch.zeros_like(scores).scatter(2, scores.max(2, keepdim=True).indices, 1.0)


def winner_divergence(blocks: Tensor) -> Tensor:
    """Return sum over blocks of KL(q(xi) || p(xi)), in nats, for each example (N,).

    q is softmax over the units of pre-activations (N, B, units, ...) and p is uniform. This is the
    expectation over winners of section 4's log q(xi) - log p(xi), so that no draw adds noise.
    """
    log_q = blocks.log_softmax(2)
    return (log_q.exp() * (log_q + math.log(blocks.shape[2]))).flatten(1).sum(1)


def competitions(model: nn.Module) -> list[WinnerTakesAll]:
    """Return the winner-takes-all layers of `model` in the order of its passes."""
    return [module for module in model.modules() if isinstance(module, WinnerTakesAll)]


@contextmanager
def winners_by(model: nn.Module, mode: Mode, temperature: float | None = None) -> Iterator[None]:
    """Set the mask of every winner-takes-all layer to `mode` and `temperature` inside the block.

    An attacker may so take gradients through another mask than the one that is defended.
    """
    layers = competitions(model)
    before = [(layer.mode, layer.temperature) for layer in layers]
    for layer in layers:
        _check(layer.units, mode, layer.temperature if temperature is None else temperature)
        layer.mode = mode
        layer.temperature = layer.temperature if temperature is None else temperature
    try:
        yield
    finally:
        for layer, (old_mode, old_temperature) in zip(layers, before, strict=True):
            layer.mode, layer.temperature = old_mode, old_temperature


class IndianBuffet(nn.Module):
    """Switch connections on and off, under a prior that wants few (Panousis et al. 2019).

    A connection z from input j to block k is on with the posterior probability sigmoid(logits) and
    the prior probability pi_k = u_1 * ... * u_k, u ~ Beta(alpha, 1): the stick-breaking form of the
    Indian buffet process. q(u) is Kumaraswamy(a, b). In training, z is relaxed (binary concrete at
    `temperature`); in evaluation it is 0 or 1, and 0 where its probability is at most `cut_off`.
    """

    def __init__(
        self,
        inputs: int,
        blocks: int,
        *,
        alpha: float = 1.0,
        temperature: float = 0.67,
        cut_off: float = 0.01,
    ) -> None:
        super().__init__()
        self.alpha, self.temperature, self.cut_off = alpha, temperature, cut_off
        self.logits = nn.Parameter(torch.empty(inputs, blocks).uniform_(4, 5))
        self.log_a = nn.Parameter(torch.zeros(blocks))
        self.log_b = nn.Parameter(torch.zeros(blocks))
        self.generator: torch.Generator | None = None
        self.divergence: Tensor | None = None

    def forward(self) -> Tensor:
        """Draw the connections (inputs, blocks); in training, keep the KL term."""
        noise = torch.logit(self._uniform(self.logits))
        if self.training:
            self.divergence = self.sample_divergence()
            return torch.sigmoid((self.logits + noise) / self.temperature)
        probability = torch.sigmoid(self.logits)
        return (self.logits + noise > 0).to(noise.dtype) * (probability > self.cut_off)

    def sample_divergence(self) -> Tensor:
        """Return KL(q(z) || p(z | u)) + KL(q(u) || p(u)) in nats, for one draw of u from q."""
        a, b = self.log_a.exp(), self.log_b.exp()
        log_pi = _log_kumaraswamy(self._uniform(a), a, b).cumsum(0)
        sticks = kumaraswamy_divergence(a, b, self.alpha).sum()
        return bernoulli_divergence(self.logits, log_pi).sum() + sticks

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies keep: not the divergence, which belongs to one pass."""
        return vars(self) | {"divergence": None}

    def _uniform(self, like: Tensor) -> Tensor:
        tiny = torch.finfo(like.dtype).eps
        return torch.empty_like(like).uniform_(tiny, 1 - tiny, generator=self.generator)


def _log_kumaraswamy(uniform: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return log u for u ~ Kumaraswamy(a, b), by the inverse of its distribution function."""
    return torch.log(-torch.expm1(uniform.log() / b)) / a


def kumaraswamy_divergence(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """Return KL(Kumaraswamy(a, b) || Beta(alpha, 1)) in nats, which has a closed form."""
    mean_log = -(EULER_GAMMA + torch.digamma(b) + 1 / b) / a
    return (a - alpha) * mean_log + torch.log(a * b / alpha) - (b - 1) / b


def bernoulli_divergence(logits: Tensor, log_pi: Tensor) -> Tensor:
    """Return KL(Bernoulli(sigmoid(logits)) || Bernoulli(pi)) in nats, element by element."""
    on = torch.sigmoid(logits)
    # A stick of 1 - 1e-20 rounds to 1, under which "off" would be impossible.
    log_pi = log_pi.clamp(max=-torch.finfo(log_pi.dtype).eps)
    log_not_pi = torch.log(-torch.expm1(log_pi))
    return on * (F.logsigmoid(logits) - log_pi) + (1 - on) * (F.logsigmoid(-logits) - log_not_pi)


class BuffetLinear(nn.Linear):
    """Multiply a linear layer's weights by connections z that an Indian buffet process governs.

    Input j reaches all units of block k or none: h_bu = sum_j w_jbu z_jb x_j. Stands before
    `WinnerTakesAll(units)`; `buffet` goes to IndianBuffet.
    """

    def __init__(
        self, in_features: int, out_features: int, units: int = 2, **buffet: float
    ) -> None:
        super().__init__(in_features, out_features)
        blocks = _num_blocks(out_features, units)
        self.units, self.connections = units, IndianBuffet(in_features, blocks, **buffet)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_features) to (N, out_features) with connections drawn for this pass."""
        z = self.connections().T.repeat_interleave(self.units, 0)
        return F.linear(x, z * self.weight, self.bias)


class BuffetConv2d(nn.Conv2d):
    """Multiply each block of a convolution's kernels by one z, which keeps or drops the block.

    Arguments are those of nn.Conv2d; `units` and `buffet` as in BuffetLinear.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        units: int = 2,
        stride: int = 1,
        padding: int = 0,
        **buffet: float,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding)
        blocks = _num_blocks(out_channels, units)
        self.units, self.connections = units, IndianBuffet(1, blocks, **buffet)

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W') with kernels drawn for it."""
        z = self.connections()[0].repeat_interleave(self.units)
        return self._conv_forward(input, z[:, None, None, None] * self.weight, self.bias)


def _num_blocks(outputs: int, units: int) -> int:
    if units < 1 or outputs % units:
        raise ValueError(f"{outputs} outputs do not divide into blocks of {units}.")
    return outputs // units


@dataclass(frozen=True)
class NegativeELBO:
    """Compute the negative ELBO of a minibatch from one pass, per example and in nats (section 4).

    It is the mean over examples of cross-entropy + KL of the winners, plus the KL of the
    connections, which all examples share, divided by `num_images` of the training set. Both weights
    are 1 in the ELBO; the authors' code leaves the KL of the winners out (`winner_weight` 0).
    """

    num_images: int
    winner_weight: float = 1.0
    connection_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.num_images < 1:
            raise ValueError(f"num_images is {self.num_images}: it must be at least 1.")

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of one draw of all winners and connections, in training mode."""
        with _summed_divergences(model):
            loss = F.cross_entropy(model(images), labels)
        winners = take_divergence(model, WinnerTakesAll)
        connections = take_divergence(model, IndianBuffet) / self.num_images
        return loss + self.winner_weight * winners + self.connection_weight * connections


@contextmanager
def _summed_divergences(model: nn.Module) -> Iterator[None]:
    """Let a layer that one pass uses several times keep the sum of their KL terms."""
    totals: dict[nn.Module, Tensor] = {}

    def add(layer: nn.Module, *_: object) -> None:
        if isinstance(layer.divergence, Tensor):
            totals[layer] = totals.get(layer, 0) + layer.divergence
            layer.divergence = totals[layer]

    kinds = WinnerTakesAll | IndianBuffet
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def take_divergence(model: nn.Module, kind: type[WinnerTakesAll] | type[IndianBuffet]) -> Tensor:
    """Return the KL terms of the last pass in training mode, summed over the layers of `kind`.

    The layers then forget them; without such layers the sum is 0.
    """
    layers = [module for module in model.modules() if isinstance(module, kind)]
    divergences = [layer.divergence for layer in layers if layer.divergence is not None]
    if len(divergences) < len(layers):
        raise ValueError(
            "The divergence is that of a pass in training mode: "
            "call model.train() and then the model."
        )
    for layer in layers:
        layer.divergence = None
    return torch.stack(divergences).sum() if layers else torch.zeros(())
