"""Bounds by intervals and by CROWN: they hold, closed forms, brute force, and which is tighter."""

import copy

import pytest
import torch
from certifiable import batch, convolutional, corners, dense, points
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.gradient import PGD
from robustnb.certificates import crown, intervals
from robustnb.certificates.boxes import Box
from robustnb.defenses.pni import PNILinear
from robustnb.metrics import margin
from robustnb.models import Scale, predict
from robustnb.randomness import seeded

ROUNDING = 1e-10
METHODS = {"intervals": intervals, "crown": crown}
NETWORKS = {
    "dense": (dense(12, 10, 8, 4), (3, 2, 2)),
    "wild": (dense(12, 10, 10, 10, 3, seed=1, gain=3.0), (3, 2, 2)),
    "convolutional": (convolutional(), (2, 6, 6)),
    "with maxima": (convolutional(nn.MaxPool2d(2, stride=1)), (2, 6, 6)),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
both = pytest.mark.parametrize(
    ("method", "name"),
    [(m, n) for m in METHODS for n in NETWORKS if (m, n) != ("crown", "with maxima")],
)


def outputs_of(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the images and what each layer makes of them, in float64."""
    outputs = [images.double()]
    with torch.no_grad():
        for layer in flat(copy.deepcopy(model).double()):
            outputs.append(layer(outputs[-1]))
    return outputs


def flat(model: nn.Module) -> list[nn.Module]:
    is_one = not isinstance(model, nn.Sequential)
    return [model] if is_one else [layer for part in model for layer in flat(part)]


def contains(box: Box, values: Tensor) -> bool:
    """Tell whether bounds (N, ...) hold for values (count, N, ...)."""
    return bool((values >= box.lower - ROUNDING).all() and (values <= box.upper + ROUNDING).all())


@both
@pytest.mark.parametrize("eps", [0.01, 0.1, 0.5])
def test_bounds_hold_on_10_000_random_points(method: str, name: str, eps: float) -> None:
    model, shape = NETWORKS[name]
    images, labels = batch(model, *shape, count=5)
    drawn = points(images, eps, 2_000)
    found = outputs_of(model, drawn.flatten(0, 1))
    boxes = METHODS[method].layer_bounds(model, images, eps)
    assert len(boxes) == len(found)
    for box, values in zip(boxes, found, strict=True):
        assert box.lower.dtype == torch.float64
        assert contains(box, values.unflatten(0, drawn.shape[:2]))
    logits = found[-1].unflatten(0, drawn.shape[:2])
    differences = logits.gather(2, labels.expand(2_000, 5).unsqueeze(2)) - logits
    bounds = METHODS[method].margin_bounds(model, images, labels, eps)
    assert (differences >= bounds - ROUNDING).all()
    assert (bounds.gather(1, labels.unsqueeze(1)).abs() < ROUNDING).all()


@both
@pytest.mark.parametrize("eps", [0.03, 0.2])
def test_bounds_hold_at_attacked_images(method: str, name: str, eps: float) -> None:
    model, shape = copy.deepcopy(NETWORKS[name][0]).double(), NETWORKS[name][1]
    images, labels = batch(model.float(), *shape)
    model, images = model.double(), images.double()
    bounds = METHODS[method].smallest_margin(model, images, labels, eps)
    for attack in (
        PGD(eps, eps / 4, 20, restarts=3, loss="margin"),
        APGD(eps, 30, loss="margin", early_stop=False),
    ):
        attacked = attack(model, images, labels, seeded(0))
        margins = -margin(predict(model, attacked), labels)
        assert (margins >= bounds - ROUNDING).all()
        fooled = margins < 0
        assert not (METHODS[method].certified(model, images, labels, eps) & fooled).any()


@every_method
def test_on_a_linear_network_bounds_are_those_at_the_corners(method) -> None:
    """A linear function is largest at a corner, so that all 2^6 of them are an oracle."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), Scale(-3.0), nn.Linear(6, 4))
    images, labels = batch(model, 1, 2, 3)
    box = intervals.logit_bounds(model, images, 0.3)
    margins = method.margin_bounds(model, images, labels, 0.3)
    for index, label in enumerate(labels):
        logits = outputs_of(model, corners(images[[index]], 0.3))[-1]
        torch.testing.assert_close(box.lower[index], logits.amin(0))
        torch.testing.assert_close(box.upper[index], logits.amax(0))
        torch.testing.assert_close(margins[index], (logits[:, [label]] - logits).amin(0))


def test_crown_is_exact_on_linear_layers_in_a_row_where_intervals_are_not() -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(6, 9), nn.Linear(9, 9), nn.Linear(9, 3)]
    model = nn.Sequential(*layers)
    images, labels = batch(model, 1, 2, 3)
    exact = torch.stack(
        [
            -margin(outputs_of(model, all_)[-1], label.expand(len(all_))).amax()
            for all_, label in zip([corners(x[None], 0.1) for x in images], labels, strict=True)
        ]
    )
    torch.testing.assert_close(crown.smallest_margin(model, images, labels, 0.1), exact)
    assert (intervals.smallest_margin(model, images, labels, 0.1) < exact - 0.01).all()


@every_method
def test_units_that_keep_their_sign_are_exact_for_crown(method) -> None:
    """One ReLU is always on and one always off: what is left is a linear network."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    model[1].weight.data = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    model[1].bias.data = torch.tensor([3.0, -3.0])
    model[3].weight.data = torch.tensor([[1.0, 5.0], [0.0, 7.0]])
    model[3].bias.data = torch.zeros(2)
    image, label = torch.tensor([[[[0.5, 0.5]]]]), torch.tensor([0])
    found = method.smallest_margin(model, image, label, 0.25)  # x_1 - x_2 + 3 at its least
    assert found.item() == pytest.approx(2.5)


def test_crown_s_line_below_a_relu_does_not_make_it_looser_than_intervals() -> None:
    """With z in [-0.4, 0.6] the line below ReLU(z) is z, down to -0.4; intervals know of 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2))
    model[1].weight.data = torch.tensor([[1.0, 0.0]])
    model[1].bias.data = torch.tensor([-0.4])
    model[3].weight.data = torch.tensor([[1.0], [0.0]])
    model[3].bias.data = torch.zeros(2)
    image, label = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    for method in METHODS.values():
        assert method.smallest_margin(model, image, label, 0.5).item() == pytest.approx(0, abs=1e-6)


@settings(max_examples=40)
@given(
    widths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    eps=st.floats(0, 1),
    gain=st.floats(0.1, 5),
    seed=st.integers(0, 99),
)
def test_crown_is_never_looser_than_intervals(
    widths: list[int], eps: float, gain: float, seed: int
) -> None:
    model = dense(4, *widths, 3, seed=seed, gain=gain)
    images, labels = batch(model, 1, 2, 2, seed=seed)
    tight, loose = (m.margin_bounds(model, images, labels, eps) for m in (crown, intervals))
    assert (tight >= loose - ROUNDING * (1 + loose.abs())).all()
    pairs = zip(*(m.layer_bounds(model, images, eps) for m in (crown, intervals)), strict=True)
    for tight_box, loose_box in pairs:
        slack = ROUNDING * (1 + loose_box.lower.abs() + loose_box.upper.abs())
        assert (tight_box.lower >= loose_box.lower - slack).all()
        assert (tight_box.upper <= loose_box.upper + slack).all()


def test_crown_is_much_tighter_on_a_deep_network() -> None:
    model = dense(12, 10, 10, 10, 3)
    images, labels = batch(model, 3, 2, 2)
    tight, loose = (m.smallest_margin(model, images, labels, 0.1) for m in (crown, intervals))
    assert (tight > loose + 0.05).all()


@settings(max_examples=25)
@given(
    channels=st.sampled_from([(1, 1, 1), (2, 3, 1), (2, 4, 2)]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["zeros", "reflect", "circular"]),
    eps=st.floats(0, 1),
    pool=st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AvgPool2d(2, padding=1)]),
)
def test_intervals_hold_for_convolutions_and_pools_of_all_shapes(
    channels: tuple[int, int, int],
    kernel: int,
    stride: int,
    padding: int,
    mode: str,
    eps: float,
    pool: nn.Module,
) -> None:
    inputs, outputs, groups = channels
    assume(5 + 2 * padding - kernel >= stride)
    torch.manual_seed(0)
    convolution = nn.Conv2d(
        inputs, outputs, kernel, stride, padding, groups=groups, padding_mode=mode
    )
    front = nn.Sequential(convolution, nn.ReLU(), pool, nn.Flatten())
    images = torch.rand(2, inputs, 5, 5, generator=seeded(0))
    model = nn.Sequential(front, nn.Linear(front(images).shape[1], 2))
    drawn = points(images, eps, 100)
    found = outputs_of(model, drawn.flatten(0, 1))
    for method in (intervals, crown) if isinstance(pool, nn.AvgPool2d) else (intervals,):
        boxes = method.layer_bounds(model, images, eps)
        for box, values in zip(boxes, found, strict=True):
            assert contains(box, values.unflatten(0, drawn.shape[:2]))


def as_linear(layer: nn.Module, shape: tuple[int, ...]) -> nn.Linear:
    """Return a layer as a matrix, whose columns are its answers to images of one pixel."""
    size = int(torch.tensor(shape).prod())
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        pixels = torch.eye(size, dtype=torch.float64).view(size, *shape)
        matrix = nn.Linear(size, len(bias)).double()
        matrix.weight.copy_((layer(pixels).flatten(1) - bias).T)
        matrix.bias.copy_(bias)
    return matrix


@every_method
def test_a_convolution_has_the_bounds_of_its_matrix(method) -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 4, 2, groups=1)
    last = nn.Linear(16, 3)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), last).double()
    images, labels = batch(model.float(), 2, 6, 6)
    model = model.double()
    matrices = [as_linear(first, (2, 6, 6)), nn.ReLU(), as_linear(second, (3, 3, 3)), nn.ReLU()]
    flat_model = nn.Sequential(nn.Flatten(), *matrices, last)
    found = method.margin_bounds(model, images, labels, 0.05)
    torch.testing.assert_close(found, method.margin_bounds(flat_model, images, labels, 0.05))


@every_method
def test_bounds_without_a_radius_are_the_logits(method) -> None:
    model, shape = NETWORKS["convolutional"]
    images, labels = batch(model, *shape)
    logits = outputs_of(model, images)[-1]
    box = method.layer_bounds(model, images, 0.0)[-1]
    torch.testing.assert_close(box.lower, logits)
    torch.testing.assert_close(box.upper, logits)
    found = method.smallest_margin(model, images, labels, 0.0)
    torch.testing.assert_close(found, -margin(logits, labels))


@every_method
def test_no_pixel_leaves_0_to_1(method) -> None:
    model, shape = NETWORKS["dense"]
    images, labels = batch(model, *shape)
    pixels = method.layer_bounds(model, images, 1.0)[0]
    assert torch.equal(pixels.lower, torch.zeros_like(images).double())
    assert torch.equal(pixels.upper, torch.ones_like(images).double())
    grey = torch.full_like(images, 0.5)  # whose box at 0.5 is the same
    one, other = (
        method.margin_bounds(model, *x, eps)
        for *x, eps in [(images, labels, 1.0), (grey, labels, 0.5)]
    )
    torch.testing.assert_close(one, other)


def test_folding_the_margin_into_the_last_layer_is_tighter_than_two_logits() -> None:
    model, shape = NETWORKS["dense"]
    images, labels = batch(model, *shape)
    box = intervals.logit_bounds(model, images, 0.1)
    apart = box.lower.gather(1, labels.unsqueeze(1)) - box.upper
    others = torch.ones_like(apart).scatter(1, labels.unsqueeze(1), 0).bool()
    folded = intervals.margin_bounds(model, images, labels, 0.1)
    gained = folded[others] - apart[others]
    assert (gained >= -ROUNDING).all()  # nothing where two rows share no sign
    assert (gained > 0.01).float().mean() > 0.5


def test_crown_computes_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, shape = NETWORKS["convolutional"]
    images, labels = batch(model, *shape)
    whole = crown.margin_bounds(model, images, labels, 0.1)
    monkeypatch.setattr(crown, "ELEMENTS", 1)
    torch.testing.assert_close(crown.margin_bounds(model, images, labels, 0.1), whole)


@every_method
def test_the_network_stays_as_it_was_also_in_inference_mode(method) -> None:
    model = copy.deepcopy(NETWORKS["convolutional"][0]).train()
    images, labels = batch(model, 2, 6, 6)
    before = copy.deepcopy(model.state_dict())
    found = method.margin_bounds(model, images, labels, 0.1)
    assert not found.requires_grad
    with torch.inference_mode():
        again = method.margin_bounds(model, images.clone(), labels.clone(), 0.1)
    torch.testing.assert_close(again.clone(), found)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert method.certified(model, images[:0], labels[:0], 0.1).shape == (0,)


def with_hook() -> nn.Module:
    model = dense(12, 4, 3)
    model[2].register_forward_hook(lambda *_: None)
    return model


class Doubled(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@every_method
@pytest.mark.parametrize(
    ("model", "named"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Tanh()), "has a Tanh: .* Linear, Conv2d"),
        (nn.Sequential(nn.Flatten(), PNILinear(12, 3)), "has a PNILinear"),
        (Doubled(nn.Flatten(), nn.Linear(12, 3)), "has a Doubled"),
        (with_hook(), "has a Linear with a hook"),
        (nn.Sequential(), "has no layer"),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 1)), "two classes"),
    ],
)
def test_a_network_that_is_not_taken_is_named(method, model: nn.Module, named: str) -> None:
    images, labels = torch.rand(2, 3, 2, 2), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=named):
        method.margin_bounds(model, images, labels, 0.1)


@every_method
@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"eps": 8.0}, "divide by 255"),
        ({"eps": -0.1}, "eps is -0.1"),
        ({"images": torch.full((2, 3, 2, 2), 3.0)}, "pixels range"),
        ({"labels": torch.tensor([0, 9])}, "the largest label is 9"),
        ({"labels": torch.tensor([0])}, "one label per image"),
    ],
)
def test_wrong_input_is_named(method, changed: dict, named: str) -> None:
    given = {"images": torch.rand(2, 3, 2, 2), "labels": torch.tensor([0, 1]), "eps": 0.1}
    with pytest.raises(ValueError, match=named):
        method.certified(dense(12, 4, 3), **given | changed)


def test_what_one_bound_takes_and_the_other_does_not_is_named() -> None:
    model, shape = NETWORKS["with maxima"]
    images, labels = batch(model, *shape)
    with pytest.raises(ValueError, match="has a MaxPool2d: this bound takes"):
        crown.certified(model, images, labels, 0.1)
    ends_so = nn.Sequential(model, nn.ReLU())
    with pytest.raises(ValueError, match="the last layer is a ReLU: it must be"):
        intervals.certified(ends_so, images, labels, 0.1)
