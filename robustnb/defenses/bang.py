"""Gradients balanced within each batch: BANG (Rozsa, Günther & Boult 2016)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def balancing(norms: Tensor, eps: float | Tensor) -> Tensor:
    """Return the factors eta (N,) of gradients with these norms kappa (N,) (eqs. 3 and 4).

    eta_i = (max kappa / kappa_i) ** rho_i with rho_i = eps * (1 - kappa_i / max kappa). `eps` may
    hold one value per example. A gradient of zero has no direction and keeps the factor 1.
    """
    largest = norms.max()
    rho = eps * (1 - norms / largest)
    # In log space: the ratio of norms can be more than a float32 holds.
    eta = torch.exp(rho * (largest.log() - norms.log()))
    return torch.where(norms > 0, eta, 1.0)


@dataclass(frozen=True)
class BANG:
    """Compute the cross-entropy of a minibatch; its backward pass balances weight gradients.

    In every linear and convolutional layer, the gradient of each example in the weights and biases
    is multiplied by its eta of eqs. (3) and (4) and by `beta` (eq. 6). The gradient that flows on
    to the layer below stays as it was. With `eps` of 0 and `beta` of 1 it is ordinary training.
    The eps of a misclassified example is multiplied by `misclassified`: 1 in the paper, 0.5 in the
    authors' code for CIFAR-10. A layer that a pass uses twice is balanced in each use.
    """

    eps: float = 0.815
    beta: float = 1.0
    misclassified: float = 1.0

    def __post_init__(self) -> None:
        if not all(number >= 0 for number in (self.eps, self.beta, self.misclassified)):
            raise ValueError(f"{self} cannot balance: each of its numbers must be at least 0.")

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy; its `backward()` fills in the balanced gradients."""
        balance = _Balance(self)
        with watching(model, balance.attach, balance.detach):
            logits = model(images)
        balance.eps = torch.full_like(logits[:, 0], self.eps)
        balance.eps[logits.argmax(1) != labels] *= self.misclassified
        return F.cross_entropy(logits, labels)


class _Balance:
    """What the layers of one pass share: beta, and eps for each example once it is known."""

    def __init__(self, settings: BANG) -> None:
        self.beta = settings.beta
        self.eps: float | Tensor = settings.eps
        self.below: list[Tensor] = []

    def detach(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Return the input of `layer` cut from the layers below, which may use the same weights."""
        self.below.append(x)
        return x.detach().requires_grad_(x.requires_grad) if _trainable(layer) else x

    def attach(self, layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """Return the output of `layer`, whose gradients in its weights will be balanced."""
        below, weights = self.below.pop(), _trainable(layer)
        if not weights or not output.requires_grad:
            return output
        result: Tensor = _Balanced.apply(self, (x, output), output.detach(), below, *weights)
        return result

    def scale(self, gradient: Tensor) -> Tensor:
        """Multiply the gradient (N, ...) of a layer's output by beta * eta (eq. 6)."""
        # Not flatten(1).norm(dim=1), which copies gradients whose channels lie last in memory.
        norms = torch.linalg.vector_norm(gradient, dim=tuple(range(1, gradient.dim())))
        factors = self.beta * balancing(norms, self.eps)
        return gradient * factors.view(-1, *[1] * (gradient.dim() - 1))


def _trainable(layer: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in layer.parameters() if weight.requires_grad]


class _Balanced(torch.autograd.Function):
    """Return a layer's output; send back one gradient to its input and another to its weights.

    `graph` holds the input that the layer got and what it made of it. Both gradients go through
    this graph, so that it works for any layer and no pass is repeated.
    """

    @staticmethod
    def forward(
        ctx: Any,
        balance: _Balance,
        graph: tuple[Tensor, Tensor],
        output: Tensor,
        below: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        ctx.balance, ctx.graph, ctx.weights = balance, graph, weights
        ctx.mark_dirty(output)  # so that an activation in place may follow
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, output), into_x = ctx.graph, None
        if ctx.needs_input_grad[3]:
            (into_x,) = torch.autograd.grad(output, x, gradient, retain_graph=True)
        into_weights = torch.autograd.grad(output, ctx.weights, ctx.balance.scale(gradient))
        return None, None, None, into_x, *into_weights


@contextmanager
def watching(
    model: nn.Module,
    see: Callable[[nn.Module, Tensor, Tensor], Tensor | None],
    prepare: Callable[[nn.Module, Tensor], Tensor] = lambda _, x: x,
) -> Iterator[dict[str, nn.Module]]:
    """Call `see(layer, input, output)` on each pass of a linear or convolutional layer.

    What `see` returns, unless None, replaces the output, and what `prepare(layer, input)` returns
    the input. Yields the layers by their names.
    """
    layers: dict[str, nn.Module] = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, LAYERS)
    }
    if not layers:
        raise ValueError("the network has no linear or convolutional layer to balance.")
    with ExitStack() as stack:
        for layer in layers.values():
            before = layer.register_forward_pre_hook(lambda own, xs: (prepare(own, xs[0]), *xs[1:]))
            after = layer.register_forward_hook(lambda own, xs, y: see(own, xs[0], y))
            stack.callback(before.remove)
            stack.callback(after.remove)
        yield layers


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the norm of each example's gradient (N,) in the output of each layer (eq. 2).

    The gradient is that of the cross-entropy of one pass. Keys are the names of the linear and
    convolutional layers, in the network's order, and "name (2)" for the second use of a layer.
    Gradients stored in the network are not touched.
    """
    outputs: dict[nn.Module, list[Tensor]] = {}

    def keep(layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        outputs.setdefault(layer, []).append(output)
        return output.clone()  # which an activation in place may change

    with watching(model, keep) as layers:
        loss = F.cross_entropy(model(images), labels, reduction="sum")
    asked = {
        name if use == 1 else f"{name} ({use})": output
        for name, layer in layers.items()
        for use, output in enumerate(outputs.get(layer, []), 1)
    }
    kappas = torch.autograd.grad(loss, list(asked.values()))
    return {name: k.flatten(1).norm(dim=1) for name, k in zip(asked, kappas, strict=True)}
