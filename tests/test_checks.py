"""The checks that everything shares: what is refused, with which sentence, and what is not."""

import math
import warnings
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.checks import (
    NotFinite,
    check_at_least,
    check_finite,
    check_images,
    check_labels,
    check_logits,
    check_one_of,
    check_positive,
    check_whole,
    logits_of,
)
from robustnb.metrics import accuracy, margin, reliability
from robustnb.models import predict

IMAGES = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])


class Answers(nn.Module):
    """A network that answers with a function of its images."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(images)


def three(images: Tensor) -> Tensor:
    """Return the first three pixels, less 2, as logits."""
    return images.flatten(1)[:, :3] - 2


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1.0])
def test_settings_that_are_no_numbers_of_their_range_are_named(wrong: float) -> None:
    for check in (check_positive, lambda **settings: check_at_least(0, **settings)):
        with pytest.raises(ValueError, match=f"^alpha is {wrong}: it must be "):
            check(eps=0.5, alpha=wrong)
        check(eps=0.5, alpha=np.float32(0.1), kappa=torch.tensor(1.0))
    if not math.isfinite(wrong):
        with pytest.raises(ValueError, match=f"^shift is {wrong}: it must be a finite number"):
            check_finite(shift=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, 2.0, "2", math.nan])
def test_counts_are_whole(wrong: Any) -> None:
    with pytest.raises(ValueError, match=rf"^steps is '?{wrong}'?: it must be "):
        check_whole(1, steps=wrong)
    check_whole(1, steps=np.int64(1))


def test_words_are_listed() -> None:
    with pytest.raises(ValueError, match=r"^norm is 'l7': it must be one of linf, l2\.$"):
        check_one_of(("linf", "l2"), norm="l7")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_rounding_error_is_no_other_scale(dtype: torch.dtype) -> None:
    mean, std = torch.tensor(0.4914, dtype=dtype), torch.tensor(0.2023, dtype=dtype)
    pixels = torch.arange(256, dtype=dtype) / 255
    check_images((((pixels - mean) / std) * std + mean).view(4, 1, 8, 8), LABELS)
    check_images(torch.full((4, 1, 1, 1), 1.0000001, dtype=dtype))
    for beyond in (-0.02, 1.02, 255.0, math.nan):
        with pytest.raises(ValueError, match=r"^pixels range from .*: they must be in \[0, 1\]"):
            check_images(torch.full((4, 1, 1, 1), beyond, dtype=dtype), LABELS)


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (IMAGES[0], LABELS[:1], r"images have shape \(1, 2, 2\): they must be a batch \(N, C, H,"),
        (IMAGES[0], LABELS[0], r"images have shape \(1, 2, 2\)"),
        (IMAGES.numpy(), LABELS, "images are of the type ndarray: they must be a tensor"),
        (IMAGES, LABELS.numpy(), "labels are of the type ndarray: they must be a tensor"),
        (IMAGES, LABELS.tolist(), "labels are of the type list: they must be a tensor"),
        ((255 * IMAGES).byte(), LABELS, "images are torch.uint8: they must be of a floating type"),
        (IMAGES, LABELS[:3], r"labels have shape \(3,\) for 4 images: it takes one label per im"),
        (IMAGES, LABELS.int(), "labels are torch.int32: they must be torch.int64"),
        (IMAGES, LABELS.float(), "labels are torch.float32: they must be torch.int64"),
        (IMAGES, LABELS - 1, "the smallest label is -1: classes count from 0"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(
    images: Any, labels: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        check_images(images, labels)


@pytest.mark.parametrize("measure", [check_labels, accuracy, margin, reliability])
@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (torch.tensor([0, 3]), "the largest label is 3 for 3 classes: labels go from 0 to 2."),
        (torch.tensor([-1, 0]), "the smallest label is -1"),
        (torch.tensor([0]), r"labels have shape \(1,\) for logits of shape \(2, 3\)"),
        (torch.tensor([0, 1]).int(), "labels are torch.int32"),
        (np.array([0, 1]), "labels are of the type ndarray"),
    ],
)
def test_labels_are_classes_of_the_logits(
    measure: Callable[..., Any], labels: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        measure(torch.full((2, 3), 0.3), labels)
    with pytest.raises(ValueError, match="two classes or more"):
        measure(torch.full((2, 1), 0.3), torch.tensor([0, 0]))


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_logits_that_are_not_numbers_are_counted_by_image(value: float, word: str) -> None:
    logits = torch.zeros(4, 3)
    logits[1, 2] = logits[3, 0] = value
    draws, sentence = torch.stack([logits, torch.zeros(4, 3)]), f"are {word} for 2 of 4 images"
    for measure, wrong in ((accuracy, logits), (margin, logits), (accuracy, draws)):
        with pytest.raises(NotFinite, match=f"^the network's logits {sentence}"):
            measure(wrong, LABELS)
    with pytest.raises(NotFinite, match=sentence):
        predict(Answers(lambda _: logits), IMAGES)


def test_a_class_may_be_ruled_out() -> None:
    ruled_out = torch.tensor([[0.0, -math.inf]])
    check_logits(ruled_out)
    assert margin(ruled_out, torch.tensor([0])).item() == -math.inf
    assert torch.equal(logits_of(Answers(lambda _: ruled_out), IMAGES[:1]), ruled_out)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda x: (three(x), x), r"the network returns a tuple: it must return logits \(N, clas"),
        (lambda x: {"logits": three(x)}, "the network returns a dict: "),
        (lambda x: namedtuple("Output", "logits")(three(x)), "the network returns a Output: "),
        (lambda x: three(x)[:, 0], "the network returns one number for each image: there must be"),
        (lambda x: three(x)[:, :1], "the network returns one number for each image: there must be"),
        (lambda x: three(x).flatten(), r"the network returns the shape \(12,\) for 4 images"),
        (lambda x: x, r"the network returns the shape \(4, 1, 2, 2\) for 4 images"),
        (lambda x: three(x).argmax(1, True).expand(4, 2), "the network returns torch.int64"),
    ],
)
def test_an_answer_that_is_no_logits_is_refused(answer: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        logits_of(Answers(answer), IMAGES)


def test_one_image_is_no_batch() -> None:
    for ask in (logits_of, predict):
        with pytest.raises(ValueError, match=r"^images have shape \(1, 2, 2\): they must be a bat"):
            ask(Answers(three), IMAGES[0])


def test_no_images_have_no_logits() -> None:
    assert logits_of(Answers(three), IMAGES[:0]).shape == (0, 3)
    assert predict(Answers(three), IMAGES[:0]).shape == (0, 3)


def test_a_network_that_works_in_place_changes_its_copy() -> None:
    def halved(images: Tensor) -> Tensor:
        return three(images.mul_(0.5))

    original = IMAGES.clone()
    for ask in (logits_of, predict):
        assert torch.equal(ask(Answers(halved), IMAGES), three(original / 2))
        assert torch.equal(IMAGES, original)
    followed = IMAGES.clone().requires_grad_()
    logits_of(Answers(halved), followed).sum().backward()
    assert followed.grad is not None
    assert torch.equal(followed.grad.flatten(1), torch.tensor([[0.5, 0.5, 0.5, 0.0]]).expand(4, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_logits_of_half_a_float_are_computed_with_in_float32(dtype: torch.dtype) -> None:
    assert logits_of(Answers(three), IMAGES.to(dtype)).dtype == torch.float32
    assert logits_of(Answers(three), IMAGES.double()).dtype == torch.float64


def test_probabilities_are_warned_of_once_with_their_numbers() -> None:
    model = Answers(lambda x: torch.tensor([[0.25, 0.75], [0.125, 0.875]]))
    with pytest.warns(UserWarning, match=r"for 2 images are all from 0.125 to 0.875 and sum to 1"):
        logits_of(model, IMAGES[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits_of(model, IMAGES[:2])
        for answer in (
            lambda x: three(x).log_softmax(1),
            lambda x: torch.tensor([[0.25, 0.75], [0.125, 0.9]]),
            lambda x: torch.tensor([[-0.25, 1.25], [0.125, 0.875]]),
            lambda x: torch.zeros(2, 2),
        ):
            logits_of(Answers(answer), IMAGES[:2])


@pytest.mark.parametrize(
    "attack",
    [FGSM(0.1), PGD(0.1, 0.02, 3), PGD(1.0, 0.2, 3, norm="l2"), MinimumNorm(), CarliniWagner()],
    ids=str,
)
def test_a_gradient_that_is_nan_is_no_robustness(attack: Attack) -> None:
    def rooted(images: Tensor) -> Tensor:
        return three(images) + torch.sqrt(0 * images).flatten(1).sum(1, keepdim=True)

    assert predict(Answers(rooted), IMAGES).isfinite().all()
    with pytest.raises(NotFinite, match=r"the gradient of the logits is NaN for \d of \d images"):
        attack(Answers(rooted), IMAGES, LABELS, None)
