"""Audit a network: attack it as one who knows it would, and look for signs that this misleads."""

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustnb.attacks.common import NORMS, Norm, check_eps
from robustnb.auditing.efforts import EFFORTS
from robustnb.auditing.network import Network, Output
from robustnb.auditing.outcome import worst_of
from robustnb.auditing.report import Report
from robustnb.auditing.subject import subject
from robustnb.auditing.work import Work
from robustnb.checks import (
    check_images,
    check_network,
    check_one_of,
    check_positive,
    check_whole,
)
from robustnb.models import evaluating

Images = Tensor | Iterable[tuple[Tensor, Tensor]]
# What the report says in its own words.
TOLD = ("The gradient is exactly 0", "The network's outputs for", "The network answers")


def audit(
    model: nn.Module,
    images: Images,
    labels: Tensor | None = None,
    eps: float | None = None,
    norm: Norm = "linf",
    effort: str = "standard",
    *,
    output: Output | None = None,
    sources: Sequence[nn.Module] = (),
    stand_in: nn.Module | None = None,
    seed: int = 0,
    batch_size: int = 500,
    progress: bool = True,
) -> Report:
    """Attack a network in many ways, take the worst case, and look for signs that it misleads.

    `images` (N, C, H, W) in [0, 1] have int64 `labels` (N,); or `images` are batches of both, as
    from a DataLoader. `eps` bounds the perturbation in `norm`, in pixel units of [0, 1]. `effort`
    is "quick", "standard" or "thorough". The network may be random, also without a generator that
    is handed in, and may return more than logits: `output` is then the key or index of the logits,
    or a function of the answer. Attacks are also made on `sources`, other networks for the same
    task, and by the gradients of `stand_in`, a smooth network close to this one.

    The network is attacked where it is, in evaluation mode, in batches of `batch_size`; its mode,
    weights and gradients stay as they were. Ctrl-C ends the audit with a report of what was done.
    Raises ValueError for what cannot be audited.
    """
    network = Network(model, output)
    _check(effort, norm, sources, stand_in, seed, batch_size)
    images, labels, eps = _given(images, labels, eps, norm, network.device())
    begun = time.perf_counter()
    with _told_in_the_report(), evaluating(model), torch.inference_mode(False):
        what = subject(network, images, labels, eps, norm, effort, batch_size, seed)
        work = Work(what, sources, stand_in, progress)
        work.run()
    outcomes = list(work.outcomes.values())
    if not outcomes:
        raise ValueError(f"no attack could be made: {next(iter(work.failures.values()))}")
    worst, which = worst_of(outcomes)
    return Report(
        network=type(model).__name__,
        eps=eps,
        norm=norm,
        effort=effort,
        clean_right=what.clean,
        attacks=outcomes,
        worst_right=worst,
        chosen=which,
        failures=work.failures,
        signs=work.signs,
        seconds=time.perf_counter() - begun,
        passes=network.passes,
        interrupted=work.interrupted,
    )


def _check(
    effort: str,
    norm: Norm,
    sources: Sequence[nn.Module],
    stand_in: nn.Module | None,
    seed: int,
    batch_size: int,
) -> None:
    check_one_of(EFFORTS, effort=effort)
    check_one_of(NORMS, norm=norm)
    check_whole(0, seed=seed)
    check_whole(1, batch_size=batch_size)
    if isinstance(sources, nn.Module):
        raise ValueError("sources is one network: it takes a list, as in sources=[network].")
    for other in (*sources, *(() if stand_in is None else (stand_in,))):
        check_network(other)


def _given(
    images: Images, labels: Tensor | None, eps: float | None, norm: Norm, device: torch.device
) -> tuple[Tensor, Tensor, float]:
    """Return images and labels as tensors on a device, and the radius, all checked."""
    if eps is None:
        raise ValueError("eps is missing: say how far each pixel may move, such as eps=8/255.")
    check_eps(eps, norm)
    check_positive(eps=eps)
    if labels is None:
        images, labels = _collected(images)
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images are of the type {type(images).__name__} and labels are given: images must "
            "then be a tensor (N, C, H, W); leave labels out for batches of both."
        )
    check_images(images, labels)
    if not len(images):
        raise ValueError("there are no images: an audit needs some that the network reads rightly.")
    return images.to(device), labels.to(device), float(eps)


def _collected(batches: Images) -> tuple[Tensor, Tensor]:
    """Return the images and labels of all batches."""
    if isinstance(batches, Tensor):
        raise ValueError("labels are missing: there must be one for each image (N,), int64.")
    images, labels = [], []
    for number, pair in enumerate(batches):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(
                f"batch {number} is a {type(pair).__name__}: without labels, images must be "
                "batches of (images, labels), as a DataLoader gives them."
            )
        check_images(*pair)
        images.append(pair[0])
        labels.append(pair[1])
    if not images:
        raise ValueError("there are no batches: an audit needs images with their labels.")
    return torch.cat(images), torch.cat(labels)


@contextmanager
def _told_in_the_report() -> Iterator[None]:
    """Keep silent about what the report says."""
    with warnings.catch_warnings():
        for beginning in TOLD:
            warnings.filterwarnings("ignore", beginning)
        yield
