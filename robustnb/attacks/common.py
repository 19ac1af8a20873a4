"""What attacks share: how they are called, their norms, and one number for each image."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from robustnb.attacks.rounding import rounded_inside
from robustnb.checks import check_at_least, check_images, check_labels
from robustnb.models import evaluating, predict
from robustnb.randomness import noise_from

Attack = Callable[[nn.Module, Tensor, Tensor, torch.Generator | None], Tensor]
Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = get_args(Norm)


class CheckedAttack:
    """Check what an attack is called with, and hand it over so that `_found` can compute with it.

    `_found` gets a network in evaluation mode that draws from the generator, and images that are
    contiguous, so that draws do not depend on their layout in memory, that follow no graph and lie
    in [0, 1]. Half floats become float32, which small steps need; the network is asked in its own
    type.
    """

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return adversarial images of the shape and type of `images` (N, C, H, W), in [0, 1].

        Raises ValueError for images, labels (N,) or a network that cannot be attacked.
        """
        check_images(images, labels)
        if not isinstance(generator, torch.Generator | None):
            raise ValueError(
                f"generator has the type {type(generator).__name__}: it takes a torch.Generator or "
                "None."
            )
        # Nothing has a gradient under torch.inference_mode, nor what was made there.
        with torch.inference_mode(False), evaluating(model), noise_from(model, generator):
            within = images.detach().clamp(0, 1).contiguous()
            if torch.finfo(images.dtype).bits < 32:
                model, within = _InOwnType(model, images.dtype), within.float()
            found = self._found(model, within, labels.clone(), generator)
        return self._in_type_of(images.detach().clamp(0, 1), found.detach())

    def _in_type_of(self, images: Tensor, found: Tensor) -> Tensor:
        """Return what was found in the type of the images, within the ball if there is one."""
        eps = getattr(self, "eps", None)
        if eps is None or found.dtype == images.dtype:
            return found.to(images.dtype)
        return rounded_inside(found, images, eps, getattr(self, "norm", "linf"))

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        raise NotImplementedError


class _InOwnType(nn.Module):
    """Ask a network of half floats about images in float32, as they are once they are rounded."""

    like: Tensor

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_own_type = model
        self.register_buffer("like", torch.empty(0, dtype=dtype))  # a buffer follows .double()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.in_own_type(images.to(self.like.dtype))
        return logits


def check_eps(eps: float, norm: Norm = "linf") -> None:
    """Raise ValueError unless `eps` is at least 0, and in "linf" at most 1."""
    check_at_least(0, eps=eps)
    if norm == "linf" and eps > 1:
        raise ValueError(
            f"eps is {eps}: it must be at most 1 in Linf, as pixels are from 0 to 1; divide by 255 "
            "what is in steps of 8-bit pixels."
        )


def runner_up(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the class (N,) with the largest logit (N, classes) that is not the label's."""
    check_labels(logits, labels)
    return logits.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1)


def fools_in_8_bits(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return whether the network misreads each image (N,) once its pixels are rounded to 8 bits.

    A nearest image that fools often does not survive being stored as a picture.
    """
    check_images(images, labels)
    with noise_from(model, generator):
        logits = predict(model, (255 * images).round() / 255)
    check_labels(logits, labels)
    return logits.argmax(1) != labels


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """View one value for each image (N,) as (N, 1, 1, 1), which broadcasts to `images`."""
    return values.view(-1, *[1] * (images.dim() - 1))


def l2_norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm (N,) of each of N images or perturbations."""
    return x.flatten(1).norm(dim=1)


def divided_by_largest(x: Tensor) -> Tensor:
    """Scale each of N gradients so that its largest element is 1 or -1; one of all zeros stays."""
    largest = x.flatten(1).abs().amax(1).clamp(min=torch.finfo(x.dtype).tiny)
    return x / per_image(largest, x)
