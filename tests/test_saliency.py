"""Saliency maps against captum, and curves of deletion and insertion worked out by hand."""

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustnb.defenses.noise import noisy_linear
from robustnb.models import fully_connected, predict
from robustnb.randomness import seeded
from robustnb.saliency import area_under, deletion_curve, insertion_curve, smooth_grad


@pytest.mark.parametrize("squared", [True, False])
def test_smooth_grad_is_captum_s(squared: bool) -> None:
    torch.manual_seed(0)
    model = fully_connected("FC-16-4", in_features=12).eval()
    images, labels = torch.rand(5, 3, 2, 2), torch.arange(5) % 4
    settings_ = {"num_samples": 4000, "squared": squared}
    ours = smooth_grad(model, images, labels, **settings_, generator=seeded(0))
    tunnel = NoiseTunnel(Saliency(model))
    theirs = tunnel.attribute(
        images,
        nt_type="smoothgrad_sq" if squared else "smoothgrad",
        nt_samples=4000,
        stdevs=0.15,
        target=labels,
        abs=False,
    ).sum(1)
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.01)


def test_smooth_grad_of_a_linear_network_is_its_weights() -> None:
    model = fully_connected("FC-3", in_features=4)
    maps = smooth_grad(model, torch.rand(3, 1, 2, 2), torch.arange(3), squared=False)
    torch.testing.assert_close(maps, model[2].weight.detach().view(3, 2, 2))


def linear(weights: Tensor) -> nn.Sequential:
    """Return a network with the logits (w x, 0): class 0 has the probability sigmoid(w x)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(weights.numel(), 2, bias=False))
    model[1].weight.data = torch.stack([weights.flatten(), 0 * weights.flatten()])
    return model


def in_order(maps: Tensor, values: Tensor) -> Tensor:
    """Return the values (H * W) of the pixels from the highest of the map to the lowest."""
    return values.flatten()[maps.flatten().argsort(descending=True)]


def test_curves_of_a_linear_network_are_cumulative_sums() -> None:
    """Its score loses, or gains, w_i (x_i - b_i) with the pixel i."""
    weights, image, baseline = (torch.randn(3, 4, generator=seeded(k)).abs() for k in range(3))
    image, maps = image / 5, weights * image
    model, pictures, labels = linear(weights), image.view(1, 1, 3, 4), torch.tensor([0])
    gains = in_order(maps, weights * (image - baseline / 5)).cumsum(0)
    gains = torch.cat([torch.zeros(1), gains])
    arguments = {"steps": 12, "baseline": baseline.view(1, 1, 3, 4) / 5}
    deleted = deletion_curve(model, pictures, labels, maps.unsqueeze(0), **arguments)
    inserted = insertion_curve(model, pictures, labels, maps.unsqueeze(0), **arguments)
    torch.testing.assert_close(deleted[0], torch.sigmoid((weights * image).sum() - gains))
    empty = (weights * baseline).sum() / 5
    torch.testing.assert_close(inserted[0], torch.sigmoid(empty + gains))


def test_the_best_map_of_a_linear_network_has_the_least_and_the_largest_area() -> None:
    weights = torch.randn(4, 4, generator=seeded(0))
    image, labels = torch.rand(1, 1, 4, 4, generator=seeded(1)), torch.tensor([0])
    maps = torch.rand(500, 4, 4, generator=seeded(2))
    maps[0] = weights * image[0, 0]
    copies = {"images": image.expand(500, -1, -1, -1), "labels": labels.expand(500), "maps": maps}
    deletion = area_under(deletion_curve(linear(weights), **copies, steps=16))
    insertion = area_under(insertion_curve(linear(weights), **copies, steps=16))
    assert deletion.argmin() == 0
    assert insertion.argmax() == 0


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 40), seed=st.integers(0, 1000))
def test_curves_run_from_one_end_to_the_other(steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = fully_connected("FC-8-3", in_features=24)
    images, labels = torch.rand(5, 2, 3, 4, generator=seeded(seed)), torch.arange(5) % 3
    maps = torch.rand(5, 3, 4, generator=seeded(seed + 1)).round(decimals=1)  # with ties
    deleted, inserted = (
        curve(model, images, labels, maps, steps=steps, baseline=0.5)
        for curve in (deletion_curve, insertion_curve)
    )
    full, empty = (
        predict(model, x).softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
        for x in (images, torch.full_like(images, 0.5))
    )
    assert deleted.shape == inserted.shape == (5, steps + 1)
    torch.testing.assert_close(deleted[:, 0], full)
    torch.testing.assert_close(deleted[:, -1], empty)
    torch.testing.assert_close(inserted[:, 0], empty)
    torch.testing.assert_close(inserted[:, -1], full)


def test_area_under_a_line_and_a_step() -> None:
    line = torch.linspace(1, 0, 11).unsqueeze(0)
    step = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]])
    assert area_under(line).item() == pytest.approx(0.5)
    assert area_under(step).item() == pytest.approx(0.375)


def test_a_stochastic_network_draws_from_the_generator_it_is_given() -> None:
    model = fully_connected("FC-8-3", in_features=4, layer=noisy_linear)
    images, labels = torch.rand(5, 1, 2, 2, generator=seeded(0)), torch.arange(5) % 3
    maps = smooth_grad(model, images, labels, generator=seeded(1))
    again = smooth_grad(model, images, labels, generator=seeded(1))
    assert torch.equal(maps, again)
    curves = [
        deletion_curve(model, images, labels, maps, steps=4, generator=seeded(seed))
        for seed in (2, 2, 3)
    ]
    assert torch.equal(curves[0], curves[1])
    assert not torch.equal(curves[0], curves[2])


def test_inference_mode_and_images_with_a_gradient_change_nothing() -> None:
    torch.manual_seed(0)
    model, images = fully_connected("FC-8-3", in_features=4), torch.rand(5, 1, 2, 2)
    labels = torch.arange(5) % 3
    expected = smooth_grad(model, images, labels, generator=seeded(1))
    with torch.inference_mode():
        inside = smooth_grad(model, images * 1, labels * 1, generator=seeded(1))
    followed = images.clone().requires_grad_()
    assert torch.equal(inside, expected)
    maps = smooth_grad(model, followed, labels, generator=seeded(1))
    assert torch.equal(maps, expected)
    assert not maps.requires_grad
    assert not deletion_curve(model, followed, labels, maps).requires_grad


def test_a_network_that_works_in_place_changes_no_image() -> None:
    torch.manual_seed(0)
    plain, images = fully_connected("FC-8-3", in_features=4), torch.rand(3, 1, 2, 2)
    model, original = nn.Sequential(nn.ReLU(inplace=True), plain), images.clone()
    maps = smooth_grad(model, images, torch.arange(3), sigma=0.0)
    assert torch.equal(maps, smooth_grad(plain, images, torch.arange(3), sigma=0.0))
    deletion_curve(model, images, torch.arange(3), maps, baseline=images)
    assert torch.equal(images, original)


IMAGES, LABELS = torch.rand(2, 1, 2, 3), torch.zeros(2, dtype=torch.long)
MODEL = fully_connected("FC-3", in_features=6)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: smooth_grad(MODEL, IMAGES, LABELS, sigma=-1), "sigma is -1"),
        (lambda: smooth_grad(MODEL, IMAGES, LABELS, num_samples=0), "num_samples is 0"),
        (lambda: smooth_grad(MODEL, IMAGES, LABELS, sigma=float("nan")), "sigma is nan"),
        (lambda: smooth_grad(MODEL, 255 * IMAGES, LABELS), r"they must be in \[0, 1\]"),
        (lambda: smooth_grad(MODEL, IMAGES, LABELS + 3), "largest label is 3 for 3 classes"),
        (lambda: deletion_curve(MODEL, IMAGES, LABELS + 3, IMAGES[:, 0]), "largest label is 3"),
        (lambda: insertion_curve(MODEL, 255 * IMAGES, LABELS, IMAGES[:, 0]), "pixels range from"),
        (lambda: smooth_grad(MODEL, IMAGES, LABELS[:1]), "one label per image"),
        (lambda: smooth_grad(MODEL, IMAGES[0], LABELS[:1]), r"images have shape \(1, 2, 3\)"),
        (lambda: deletion_curve(MODEL, IMAGES, LABELS[:1], IMAGES[:, 0]), "one label per image"),
        (lambda: deletion_curve(MODEL, IMAGES, LABELS, IMAGES[:, 0], steps=0), "steps is 0"),
        (lambda: insertion_curve(MODEL, IMAGES, LABELS, IMAGES), r"\(2, 1, 2, 3\).*one map"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
