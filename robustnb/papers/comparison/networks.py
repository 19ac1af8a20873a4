"""Networks that answer by a vote: over weight draws made once, or over noisy copies of an image."""

import torch
from torch import Tensor, nn

from robustnb.defenses.bayesian import NO_BAYESIAN_LAYERS, BayesianLinear, bayesian_layers
from robustnb.randomness import noise_from, seeded


class Ensemble(nn.Module):
    """Average the probabilities of networks that are always the same."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities (N, classes)."""
        found = torch.stack([member(images) for member in self.members])
        return found.log_softmax(-1).logsumexp(0) - torch.tensor(len(found)).log()


def drawn(model: nn.Module, number: int, seed: int) -> Ensemble:
    """Draw the weights of a Bayesian network `number` times, and keep the networks."""
    if not bayesian_layers(model):
        raise ValueError(NO_BAYESIAN_LAYERS)
    model.eval()
    with noise_from(model, seeded(seed)), torch.no_grad():
        return Ensemble([_one_draw(model) for _ in range(number)]).eval()


def _one_draw(model: nn.Module) -> nn.Module:
    """Return the layers of a network in sequence, each Bayesian one with a draw of its weights."""
    layers = (
        _fixed(each) if isinstance(each, BayesianLinear) else each for each in model.children()
    )
    return nn.Sequential(*layers)


def _fixed(layer: BayesianLinear) -> nn.Linear:
    weights = layer.draw()
    fixed = nn.Linear(weights.shape[1] - 1, weights.shape[0])
    fixed.weight.data, fixed.bias.data = weights[:, :-1].contiguous(), weights[:, -1].contiguous()
    return fixed


class Smoothed(nn.Module):
    """Average the probabilities of `base` over `copies` of an image with noise N(0, sigma^2).

    Noise is drawn anew on each pass (Cohen, Rosenfeld & Kolter 2019).
    """

    def __init__(self, base: nn.Module, sigma: float, copies: int) -> None:
        super().__init__()
        self.base, self.sigma, self.copies = base, sigma, copies
        self.generator: torch.Generator | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities (N, classes)."""
        many = images.repeat(self.copies, *[1] * (images.dim() - 1))
        noise = torch.empty_like(many).normal_(generator=self.generator)
        found: Tensor = self.base(many + self.sigma * noise)
        logs = found.log_softmax(-1).unflatten(0, (self.copies, -1))
        return logs.logsumexp(0) - torch.tensor(self.copies).log()

    def extra_repr(self) -> str:
        """Show noise and number of copies when the network is printed."""
        return f"sigma={self.sigma:g}, copies={self.copies}"
