"""Attacks along the gradient of a smooth network that stands in for the one that is attacked.

Backward pass differentiable approximation (BPDA; Athalye, Carlini & Wagner 2018, section 4.1): what
has no gradient, or hides it, is replaced in the backward pass alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from robustnb.attacks.common import Attack
from robustnb.attacks.straight_through import StraightThrough, straight
from robustnb.checks import check_network
from robustnb.defenses.lwta import winners_by
from robustnb.random_sources import random_sources, seeded_sources


@dataclass(frozen=True)
class BPDA:
    """Make `attack` along the gradient of a stand-in, with the answers of the true network.

    The stand-in is made by Smooth, with its `means`, unless one is given: a network that takes the
    same images and returns as many logits.
    """

    attack: Attack
    stand_in: nn.Module | None = None
    means: bool = True

    def __post_init__(self) -> None:
        if self.stand_in is not None:
            check_network(self.stand_in)
        if not isinstance(self.means, bool):
            raise ValueError(f"means is {self.means!r}: it must be True or False.")

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return what the attack finds, of the shape of `images` (N, C, H, W)."""
        check_network(model)
        stand_in = Smooth(model, self.means) if self.stand_in is None else self.stand_in
        return self.attack(BackwardThrough(model, stand_in), images, labels, generator)


class BackwardThrough(nn.Module):
    """Answer as `model` does, to the last bit, with the gradient of `stand_in`.

    What both draw at random is the same, as far as both draw alike.
    """

    def __init__(self, model: nn.Module, stand_in: nn.Module) -> None:
        super().__init__()
        self.model, self.stand_in = model, stand_in

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of `model`."""
        if not (torch.is_grad_enabled() and images.requires_grad):
            return self.model(images)
        sources = random_sources(self, images.device)
        begun = [source.read() for source in sources]
        with torch.no_grad():
            answer = self.model(images.clone())
        with seeded_sources(sources, begun):
            slope = self.stand_in(images.clone())
        if not isinstance(answer, Tensor):  # whoever asked finds fault with it
            return answer
        if not isinstance(slope, Tensor) or slope.shape != answer.shape:
            is_tensor = isinstance(slope, Tensor)
            found = f"the shape {tuple(slope.shape)}" if is_tensor else f"a {type(slope).__name__}"
            raise ValueError(
                f"the stand-in returns {found} for {len(images)} images, and the network the shape "
                f"{tuple(answer.shape)}: both must return logits of the same classes."
            )
        return straight(slope, answer)


class Smooth(nn.Module):
    """Answer as a smooth network near `model`, with its weights, which nothing changes.

    Steps get the slope of a line (see StraightThrough), and custom functions whose gradient is 0
    that of the identity. With `means`, Gaussian noise is off, also that on weights, so is dropout,
    and winner-takes-all layers mask by the winners' chances. What else is random, such as a
    transform of the images, is drawn as `model` draws it.

    Where most of the first images then still have no gradient, `detach`, `no_grad` and comparisons
    are seen through as well, and modules that return what has the shape of their input are taken
    for the identity if they have no gradient. `everything` says so beforehand, yes or no.
    """

    def __init__(
        self, model: nn.Module, means: bool = True, everything: bool | None = None
    ) -> None:
        super().__init__()
        check_network(model)
        self.model, self.means, self.everything = model, means, everything

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        if self.everything is None and torch.is_grad_enabled() and images.requires_grad:
            self.everything = self._is_blank(images.detach())
        return self._passed(images, bool(self.everything))

    def _is_blank(self, images: Tensor) -> bool:
        """Tell whether most images have no gradient; what is drawn for it is drawn again."""
        sources = random_sources(self, images.device)
        inputs = images.clone().requires_grad_()
        with seeded_sources(sources, [source.read() for source in sources]):
            gradient = _gradient(self._passed(inputs, False), inputs)
        if gradient is None:
            return True
        return bool((~gradient.flatten(1).any(1)).float().mean() > 0.5)

    def _passed(self, images: Tensor, everything: bool) -> Tensor:
        try:
            with ExitStack() as stack:
                if self.means:
                    stack.enter_context(winners_by(self.model, "mean"))
                for module in self.model.modules() if everything else ():
                    hook = module.register_forward_hook(_as_identity)
                    stack.callback(hook.remove)
                stack.enter_context(StraightThrough(self.means, everything))
                answer = self.model(images)
        except (RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(
                f"no smooth stand-in can be made of the network, as torch says: {reason}; give one "
                "as stand_in."
            ) from error
        if isinstance(answer, Tensor):
            _open_blank_functions(answer)
        return answer


def _as_identity(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor | None:
    """Give what a module returns the gradient of the identity, where it has none."""
    x = inputs[0] if inputs else None
    if type(module).__module__.startswith("torch.") or not isinstance(x, Tensor):
        return None
    if not x.requires_grad or getattr(output, "shape", None) != x.shape:
        return None
    gradient = _gradient(output, x)
    blank = gradient is None or not gradient.any()
    return straight(x, output) if blank and output.is_floating_point() else None


def _gradient(answer: Any, inputs: Tensor) -> Tensor | None:
    """Return the gradient of a weighted sum of an answer, in which no two parts cancel out."""
    if not isinstance(answer, Tensor) or not answer.requires_grad:
        return None
    weights = torch.linspace(1, 2, answer.numel(), dtype=answer.dtype, device=answer.device)
    total = (answer.flatten() * weights).sum()
    (gradient,) = torch.autograd.grad(total, inputs, retain_graph=True, allow_unused=True)
    return gradient


def _open_blank_functions(answer: Tensor) -> None:
    """Let custom functions behind an answer, if their gradient is 0, pass on what they get."""
    for node in _nodes(answer.grad_fn):
        if isinstance(node, BackwardCFunction):
            node.register_hook(_passed_on)


def _passed_on(found: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[Any, ...] | None:
    first = found[0] if found else None
    if not isinstance(first, Tensor) or given[0] is None or first.shape != given[0].shape:
        return None
    return None if first.any() else (given[0], *found[1:])


def _nodes(last: Any) -> Iterator[Any]:
    seen, waiting = set(), [last]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
            yield node
