"""The nearest image that fools a network, at any distance: Carlini & Wagner (2017) in L2."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.common import l2_norm, per_image
from robustnb.attacks.gradient import averaged_margin
from robustnb.checks import check_at_least, check_images, check_positive
from robustnb.metrics import margin
from robustnb.models import evaluating
from robustnb.randomness import noise_from

# At 1, as in the paper, atanh is infinite for black and white pixels and they cannot move. At the
# 0.999999 of the authors' code they move so slowly that 200 steps fool half as many MNIST images as
# with 0.9.
REACH = 0.9


@dataclass(frozen=True)
class CarliniWagner:
    """Minimise |x' - x|^2 + c * max(kappa - margin(x'), 0) over w by Adam, x' = (tanh(w) + 1) / 2.

    The margin is the largest wrong logit less the label's; unlike softmax it does not saturate.
    tanh keeps pixels in [0, 1] (Carlini & Wagner, section 5); here it is stretched a little and
    pixels are clipped, so that black and white ones can move. `kappa` is in logits, |.| is the
    Euclidean norm in pixel units of [0, 1], and `lr` is Adam's step in w.

    With `binary_search_steps` above 1 each image gets its own c. It starts at `c` and grows tenfold
    until the attack succeeds; after that it is the mean of the largest c that failed and the
    smallest that succeeded. The authors took 9 searches of 1000 `steps` from c = 0.001.

    The result is the closest image found whose margin exceeds `kappa`, or the image itself if there
    is none; an image whose margin exceeds it already stays as it is. An image is dropped from the
    batch when a tenth of the steps, and at least ten, have not lowered its sum. The margin is that
    of the mean logits of `eot_samples` passes, and its gradient is averaged over them; with more
    than one, no image is dropped, since a lower sum may be luck. On a stochastic network each step
    draws new noise, and the closest image may owe its success to it: judge it on fresh draws.
    """

    c: float = 1.0
    kappa: float = 0.0
    steps: int = 50
    lr: float = 0.01
    binary_search_steps: int = 1
    eot_samples: int = 1

    def __post_init__(self) -> None:
        check_positive(c=self.c, lr=self.lr)
        check_at_least(0, kappa=self.kappa)
        check_at_least(1, steps=self.steps, binary_search_steps=self.binary_search_steps)
        check_at_least(1, eot_samples=self.eot_samples)

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return adversarial images of the shape of `images` (N, C, H, W), all in [0, 1]."""
        check_images(images, labels)
        result = images.clone()
        with evaluating(model), noise_from(model, generator):
            margins = averaged_margin(model, images, labels, self.eot_samples)
            right = (margins <= self.kappa).nonzero().squeeze(1)
            if len(right):
                result[right] = self._search(model, images[right], labels[right])
        return result

    def _search(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the closest images over the values of c that are tried."""
        closest = _Closest(images)
        c = images.new_full((len(images),), self.c)
        failed, enough = torch.zeros_like(c), torch.full_like(c, torch.inf)
        for _ in range(self.binary_search_steps):
            succeeded = self._descend(model, images, labels, c, closest)
            enough = torch.where(succeeded, c, enough)
            failed = torch.where(succeeded, failed, c)
            c = torch.where(enough.isinf(), 10 * c, (failed + enough) / 2)
        return closest.found

    def _descend(
        self, model: nn.Module, images: Tensor, labels: Tensor, c: Tensor, closest: "_Closest"
    ) -> Tensor:
        """Minimise with one c each, offer what fools to `closest`, return which succeeded (N,)."""
        w = torch.atanh((2 * images.detach() - 1) * REACH)
        adam, active = torch.optim.Adam([w], lr=self.lr), torch.arange(len(w), device=w.device)
        lowest = torch.full_like(c, torch.inf)
        before, succeeded = lowest.clone(), torch.zeros_like(c, dtype=torch.bool)
        for step in range(1, self.steps + 1):
            tried, stretch = _pixels(w[active])
            margins, slope = _margin_and_slope(model, tried, labels[active], self.eot_samples)
            offset, weight = tried - images[active], c[active]
            lengths = l2_norm(offset)
            fooled = margins > self.kappa
            succeeded[active[fooled]] = True
            closest.offer(active[fooled], tried[fooled], lengths[fooled])
            value = lengths.square() + weight * (self.kappa - margins).clamp(min=0)
            lowest[active] = torch.minimum(lowest[active], value)
            pull = per_image(weight * ~fooled, images)
            w.grad = torch.zeros_like(w)
            w.grad[active] = (2 * offset - pull * slope) * stretch
            adam.step()
            if self.eot_samples == 1 and step % max(10, self.steps // 10) == 0:
                active = active[lowest[active] < 0.9999 * before[active]]
                before = lowest.clone()
                if not len(active):
                    break
        return succeeded


class _Closest:
    """The closest image found so far for each of `images`, and how far away it is."""

    def __init__(self, images: Tensor) -> None:
        self.found = images.clone()
        self.lengths = images.new_full((len(images),), torch.inf)

    def offer(self, rows: Tensor, images: Tensor, lengths: Tensor) -> None:
        """Take `images` for the rows where they are closer."""
        better = lengths < self.lengths[rows]
        self.found[rows[better]] = images[better]
        self.lengths[rows[better]] = lengths[better]


def _pixels(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images at `w`, and the derivative of each pixel before it is clipped."""
    bent = torch.tanh(w)
    return ((bent / REACH + 1) / 2).clamp(0, 1), (1 - bent.square()) / (2 * REACH)


def _margin_and_slope(
    model: nn.Module, images: Tensor, labels: Tensor, eot_samples: int
) -> tuple[Tensor, Tensor]:
    """Return the margin (N,) of the mean logits, and the mean of the margins' gradients."""
    inputs, slope = images.detach().requires_grad_(), torch.zeros_like(images)
    drawn = []
    for _ in range(eot_samples):
        with torch.enable_grad():
            logits = model(inputs)
            (gradient,) = torch.autograd.grad(margin(logits, labels).sum(), inputs)
        drawn.append(logits.detach())
        slope += gradient / eot_samples
    return margin(torch.stack(drawn).mean(0), labels), slope
