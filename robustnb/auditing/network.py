"""The network under audit: any module, asked for logits, its passes counted."""

from collections.abc import Callable, Hashable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from robustnb.checks import check_network, logits_of
from robustnb.models import evaluating
from robustnb.randomness import noise_from, seeded

# Which part of a network's answer are the logits: a key, an index, or a function of the answer.
Output = Callable[[Any], Tensor] | Hashable
ROUNDING = 1e-5  # of the largest logit: what adding up in another order may change


class Network(nn.Module):
    """Ask a network for its logits, wherever they are in its answer, and count its passes."""

    def __init__(self, model: nn.Module, output: Output | None = None) -> None:
        super().__init__()
        check_network(model)
        self.model, self.output, self.passes = model, output, 0

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes); each image counts as one pass."""
        self.passes += len(images)
        answer: Any = self.model(images)
        if self.output is None:
            return _told_if_hidden(answer)
        return _part(answer, self.output)

    def device(self) -> torch.device:
        """Return where the network is: where its first weight or buffer is."""
        first = next(chain(self.model.parameters(), self.model.buffers()), None)
        return torch.device("cpu") if first is None else first.device


def asked(network: nn.Module, images: Tensor, seed: int) -> Tensor:
    """Return the logits (N, classes) of one pass whose noise is drawn from `seed`."""
    with evaluating(network), noise_from(network, seeded(seed, images.device)), torch.no_grad():
        return logits_of(network, images)


def differ(one: Tensor, other: Tensor) -> Tensor:
    """Return which images (N,) have other logits (N, classes), beyond rounding."""
    scale = one[one.isfinite()].abs().max() if one.isfinite().any() else one.new_ones(())
    apart = (one - other).abs().nan_to_num(0)  # where both are minus infinity
    return (apart > ROUNDING * scale).any(1)


def _told_if_hidden(answer: Any) -> Any:
    if isinstance(answer, tuple | list | dict):
        names = list(answer) if isinstance(answer, dict) else list(range(len(answer)))
        raise ValueError(
            f"the network returns a {type(answer).__name__}: say which part are the logits by "
            f"output=, one of {', '.join(map(repr, names))}, or a function of the answer."
        )
    return answer


def _part(answer: Any, output: Output) -> Tensor:
    if callable(output):
        chosen: Tensor = output(answer)
        return chosen
    try:
        part: Tensor | None = None if isinstance(answer, Tensor) else answer[output]
    except (KeyError, IndexError, TypeError):
        part = None
    if part is None:
        held = f" with {', '.join(map(repr, answer))}" if isinstance(answer, dict) else ""
        raise ValueError(
            f"output is {output!r}: the network returns a {type(answer).__name__}{held}, which has "
            "no such part."
        )
    return part
