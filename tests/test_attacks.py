"""Attacks: budgets and ranges always, exact answers by hand, an independent library's numbers.

And what all attacks do alike: any network, any layout and type of images, or one sentence.
"""

import copy
import warnings
from functools import partial

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from robustnb.attacks.black_box import RandomNoise, Square, Transfer
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import fools_in_8_bits
from robustnb.attacks.gradient import FGSM, PGD, averaged_gradient
from robustnb.attacks.lbfgs import LBFGS, BatchLBFGS
from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.attacks.minimal import MinimumNorm
from robustnb.checks import NotFinite
from robustnb.defenses.adversarial_training import InputNoise
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.metrics import accuracy, margin
from robustnb.models import fully_connected, predict
from robustnb.randomness import noise_from, seeded

PLAIN = "plain"
MODELS = (PLAIN, "bayesian")


def network(kind: str, name: str = "FC-16-4") -> nn.Sequential:
    torch.manual_seed(0)
    layer = nn.Linear if kind == PLAIN else partial(BayesianLinear, rho_init=-2.0)
    return fully_connected(name, in_features=12, scale=4.0, layer=layer)


def batch(count: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 2, 2, generator=seeded(seed))
    return images, torch.arange(count) % 4


ZEROS = torch.zeros(2, dtype=torch.long)


def attacks(eps: float) -> list:
    return [
        FGSM(eps),
        FGSM(eps, eot_samples=3, loss="margin"),
        PGD(eps, alpha=eps / 3, steps=5),
        PGD(eps, alpha=eps, steps=3, restarts=2, loss="margin"),
        PGD(eps, alpha=eps / 2, steps=4, random_start=False, norm="l2"),
        PGD(eps, alpha=eps / 2, steps=4, restarts=2, norm="l2", eot_samples=2),
    ]


class Rounded(nn.Module):
    """Round images to whole numbers, which has the gradient 0."""

    def forward(self, images: Tensor) -> Tensor:
        return images.round()


@pytest.mark.parametrize("index", range(6))
def test_a_gradient_that_is_0_for_all_images_is_told_once(index: int) -> None:
    model = nn.Sequential(Rounded(), network(PLAIN))
    with pytest.warns(UserWarning, match="exactly 0 for all 40 images"):
        attacks(0.1)[index](model, *batch())
    with warnings.catch_warnings(action="error"):
        attacks(0.1)[index](model, *batch())


def test_a_gradient_that_is_0_for_some_images_is_not_told() -> None:
    def gated(images: Tensor) -> Tensor:
        return images * (torch.arange(len(images)) > 20).view(-1, 1, 1, 1)

    model = network(PLAIN)
    model.register_forward_pre_hook(lambda _, given: (gated(given[0]),))
    with warnings.catch_warnings(action="error"):
        found = FGSM(0.1)(model, *batch())
    assert torch.equal(found[:20], batch()[0][:20])


@settings(max_examples=15, deadline=None)
@given(
    eps=st.floats(0, 1),
    kind=st.sampled_from(MODELS),
    index=st.integers(0, len(attacks(1.0)) - 1),
    seed=st.integers(0, 1000),
)
def test_budget_and_valid_range_are_kept(eps: float, kind: str, index: int, seed: int) -> None:
    (images, labels), attack = batch(10, seed), attacks(eps)[index]
    found = attack(network(kind), images, labels, seeded(seed))
    offset = (found - images).flatten(1)
    norm = 2 if getattr(attack, "norm", "linf") == "l2" else float("inf")
    assert offset.norm(norm, dim=1).max() <= eps + 1e-5
    assert found.min() >= 0
    assert found.max() <= 1


@settings(max_examples=10, deadline=None)
@given(kind=st.sampled_from(MODELS), alpha=st.floats(0.01, 1), seed=st.integers(0, 1000))
def test_minimum_norm_keeps_the_valid_range(kind: str, alpha: float, seed: int) -> None:
    images, labels = batch(10, seed)
    found = MinimumNorm(alpha=alpha, steps=20)(network(kind), images, labels, seeded(seed))
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("index", range(len(attacks(0.0))))
@pytest.mark.parametrize("kind", MODELS)
def test_eps_0_changes_nothing(kind: str, index: int) -> None:
    images, labels = batch()
    model = network(kind)
    found = attacks(0.0)[index](model, images, labels, seeded(0))
    assert torch.equal(found, images)
    with noise_from(model, seeded(7)):
        clean = predict(model, images)
    with noise_from(model, seeded(7)):
        assert accuracy(predict(model, found), labels) == accuracy(clean, labels)


@pytest.mark.parametrize("attack", [*attacks(0.1), MinimumNorm()])
@pytest.mark.parametrize("kind", MODELS)
def test_mode_weights_and_gradients_stay_as_they_were(kind: str, attack) -> None:
    images, labels = batch()
    model = nn.Sequential(network(kind), nn.Dropout(0.5).eval(), nn.Dropout(0.5)).train()
    model[1].eval()
    nn.functional.cross_entropy(model(images), labels).backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() if p.grad is not None else None for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    original = images.clone()
    attack(model, images, labels)
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(images, original)
    assert not images.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
        assert parameter.requires_grad


def test_fgsm_by_hand() -> None:
    """Two classes, logits (x, -x): the loss of class 0 grows as x falls."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0], [-1.0]])
    images, labels = torch.tensor([0.5, 0.5, 0.05]).view(3, 1, 1, 1), torch.tensor([0, 1, 0])
    found = FGSM(eps=0.1)(model, images, labels).flatten()
    torch.testing.assert_close(found, torch.tensor([0.4, 0.6, 0.0]))


def test_averaged_gradient_is_the_gradient_of_the_expected_loss() -> None:
    """With noisy weights and a linear loss, the mean gradient is the mean weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), BayesianLinear(4, 2, rho_init=-2.0)).eval()
    images, labels = torch.rand(1, 1, 2, 2), torch.tensor([0])
    gradient = averaged_gradient(model, images, labels, "margin", eot_samples=4000).flatten()
    mu, sigma = model[1].mu[:, :-1], model[1].sigma[:, :-1]
    z_scores = (gradient - (mu[1] - mu[0])) / ((sigma[0] ** 2 + sigma[1] ** 2) / 4000).sqrt()
    assert z_scores.abs().max() < 4.5


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small network that has learned which quarter of the images is brightest."""
    images = torch.rand(600, 1, 4, 4, generator=seeded(1))
    labels = nn.functional.avg_pool2d(images, 2).flatten(1).argmax(1)
    torch.manual_seed(0)
    model = fully_connected("FC-64-4", in_features=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval(), images, labels


@pytest.mark.parametrize("eps", [0.02, 0.05, 0.1])
def test_fgsm_is_foolbox_s(trained, eps: float) -> None:
    model, images, labels = trained
    theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, expected, _ = theirs(bounded, images, labels, epsilons=eps)
    torch.testing.assert_close(FGSM(eps)(model, images, labels), expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_is_foolbox_s(trained, norm: str) -> None:
    model, images, labels = trained
    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    eps = 0.1 if norm == "linf" else 0.4
    theirs = kind(abs_stepsize=eps / 4, steps=10, random_start=False)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, expected, _ = theirs(bounded, images, labels, epsilons=eps)
    ours = PGD(eps, alpha=eps / 4, steps=10, random_start=False, norm=norm)(model, images, labels)
    difference = accuracy(predict(model, ours), labels) - accuracy(predict(model, expected), labels)
    assert abs(difference) <= 0.01
    close = torch.isclose(ours, expected, atol=1e-4).flatten(1).all(1)
    assert close.float().mean() > 0.95  # a step that lands on a kink of the ReLU may go either way


def test_more_restarts_are_stronger(trained) -> None:
    """With steps too short to forget where they began, by the margin that the attack maximises."""
    model, images, labels = trained
    attacks = [PGD(0.05, 0.002, 3, restarts) for restarts in (1, 3, 6)]
    found = [attack(model, images, labels, seeded(0)) for attack in attacks]
    margins = [margin(predict(model, images), labels).mean() for images in found]
    assert margins[0] < margins[1] < margins[2]


@pytest.mark.parametrize(("norm", "dimensions"), [("linf", 1), ("l2", 12)])
def test_the_random_start_is_uniform_in_the_ball(norm: str, dimensions: int) -> None:
    """The share of a ball within a radius r is (r / eps) to the power of its dimensions."""
    images = torch.full((4_000, 3, 2, 2), 0.5)
    start = PGD(0.2, 0.0, 1, norm=norm)  # type: ignore[arg-type]
    found = start(network(PLAIN), images, torch.zeros(len(images), dtype=torch.long), seeded(0))
    offset = (found - images).flatten(1)
    radii = offset.abs().flatten() if norm == "linf" else offset.norm(dim=1)
    volumes = (radii / 0.2).clamp(max=1) ** dimensions
    assert stats.kstest(volumes.numpy(), "uniform").pvalue > 1e-3
    assert abs(offset.mean().item()) < 0.005


def test_l2_steps_have_their_length_however_small_the_gradient() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    model[1].weight.data = torch.tensor([[4.8], [-4.8]]).expand(2, 12).clone()
    image, label = torch.full((1, 3, 2, 2), 0.5), torch.tensor([0])
    slope = averaged_gradient(model, image, label, "cross-entropy", 1)
    assert slope.abs().max() > 0 == slope.norm()  # its squares underflow
    found = PGD(1.0, 0.01, 1, random_start=False, norm="l2")(model, image, label)
    assert (found - image).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_an_unbounded_attack_leaves_nothing(trained) -> None:
    model, images, labels = trained
    found = PGD(1.0, 0.1, 40)(model, images, labels, seeded(0))
    assert accuracy(predict(model, found), labels) == 0.0


def test_minimum_norm_fools_and_leaves_what_is_fooled_alone(trained) -> None:
    model, images, _ = trained
    wrong = predict(model, images).argmax(1)
    wrong[:300] = (wrong[:300] + 1) % 4  # labels that the network already contradicts
    # Small steps: this network is steep, and a long step lands far behind the boundary.
    found = MinimumNorm(alpha=2e-4, steps=1000)(model, images, wrong)
    assert torch.equal(found[:300], images[:300])
    assert accuracy(predict(model, found), wrong) == 0.0
    # Foolbox's DeepFool aims at the same boundary: ours must not be much farther away.
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    deepfool = foolbox.attacks.L2DeepFoolAttack(steps=50, overshoot=0.02)
    _, expected, fooled = deepfool(bounded, images[300:], wrong[300:], epsilons=None)
    ours = (found[300:] - images[300:]).flatten(1).norm(dim=1)[fooled]
    theirs = (expected - images[300:]).flatten(1).norm(dim=1)[fooled]
    assert ours.mean() <= 1.3 * theirs.mean()


def test_minimum_norm_step_by_hand() -> None:
    """Two classes, logits (x, 0), target 1: cross-entropy is log(1 + e^x), its slope sigmoid(x)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0], [0.0]])
    image, label = torch.tensor([[[[0.5]]]]), torch.tensor([0])
    found = MinimumNorm(c=0.3, alpha=0.1, steps=2, clip=False)(model, image, label)
    first = 0.5 - 0.1 * torch.sigmoid(torch.tensor(0.5))
    second = first - 0.1 * (torch.sigmoid(first) - 0.3)  # |r| points away from 0.5
    torch.testing.assert_close(found.squeeze(), second)


def test_no_images_are_attacked() -> None:
    images, labels = batch(2)
    for attack in (FGSM(0.1), PGD(0.1, 0.1, 2), PGD(0.1, 0.1, 2, norm="l2"), MinimumNorm()):
        assert attack(network(PLAIN), images[:0], labels[:0]).shape == (0, *images.shape[1:])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: FGSM(-0.1), "eps is -0.1"),
        (lambda: FGSM(None), "eps is None: it must be a number"),
        (lambda: PGD("8", 0.1, 10), "eps is '8': it must be a number"),
        (lambda: PGD(0.1, [1], 10), r"alpha is \[1\]: it must be a number"),
        (lambda: FGSM(float("nan")), "eps is nan"),
        (lambda: FGSM(0.1)(network(PLAIN), torch.full((2, 3, 2, 2), torch.nan), ZEROS), "from nan"),
        (lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 3, 2, 2), ZEROS - 100), "label is -100"),
        (lambda: FGSM(0.1, eot_samples=0), "eot_samples is 0"),
        (lambda: FGSM(0.1, loss="hinge"), "'hinge'"),  # type: ignore[arg-type]
        (lambda: PGD(0.1, 0.1, 0), "steps is 0"),
        (lambda: PGD(0.1, float("nan"), 1), "alpha is nan"),
        (lambda: PGD(0.1, 0.1, 1, norm="l7"), "'l7'"),  # type: ignore[arg-type]
        (lambda: MinimumNorm(alpha=0), "alpha is 0"),
        (
            lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 3, 2, 2) * 255, torch.zeros(2)),
            "in \\[0, 1",
        ),
        (
            lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 3, 2, 2), torch.zeros(3)),
            "one label per",
        ),
        (
            lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 1, 4, 4), torch.zeros(2)),
            "labels are torch.float32",
        ),
        (
            lambda: FGSM(0.1)(network(PLAIN), ZEROS.view(2, 1, 1, 1), ZEROS),
            "images are torch.int64",
        ),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()


# What all attacks do alike.

BY_GRADIENT = (
    FGSM(0.1),
    PGD(0.1, 0.05, 3),
    PGD(0.3, 0.1, 3, 2, norm="l2", loss="margin"),
    MinimumNorm(alpha=0.1, steps=10),
    CarliniWagner(steps=10, lr=0.1),
    LBFGS(steps=5, searches=3),
    BatchLBFGS(0.5, 3),
    FastGradientSign(),
    FastGradientSign(double=True),
    HotCold(),
)
BY_LOGITS = (RandomNoise(0.1, restarts=2), RandomNoise(0.3, norm="l2"), Square(0.1, queries=20))
MADE = network(PLAIN)
by_gradient = pytest.mark.parametrize("attack", BY_GRADIENT, ids=str)
every = pytest.mark.parametrize("attack", BY_GRADIENT + BY_LOGITS, ids=str)


def right(count: int = 20) -> tuple[Tensor, Tensor]:
    """Return images and the labels that the plain network gives them: all are attacked."""
    images, _ = batch(count)
    return images, predict(network(PLAIN), images).argmax(1)


class Answers(nn.Module):
    """A network whose logits are changed by a function."""

    def __init__(self, model: nn.Module, change) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, images: Tensor):
        return self.change(self.model(images))


def with_nan(logits: Tensor) -> Tensor:
    return logits.masked_fill(torch.arange(len(logits)).unsqueeze(1) % 7 == 6, torch.nan)


@every
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (with_nan, "^the network's logits are NaN for 2 of 20 images"),
        (lambda h: (h, h), "^the network returns a tuple: it must return logits"),
        (lambda h: {"logits": h}, "^the network returns a dict"),
        (lambda h: h[:, 0], "^the network returns one number for each image"),
        (lambda h: h[:, :1], "^the network returns one number for each image"),
        (lambda h: h[:, :2], "^the largest label is 3 for 2 classes"),
    ],
)
def test_an_answer_without_meaning_is_one_sentence(attack, change, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        attack(Answers(network(PLAIN), change), *batch(20), seeded(0))


@every
def test_what_is_no_batch_of_images_is_one_sentence(attack) -> None:
    images, labels = right()
    for wrong_images, wrong_labels, sentence in (
        (images[0], labels[:1], r"^images have shape \(3, 2, 2\): they must be a batch"),
        (images.numpy(), labels, "^images are of the type ndarray"),
        (images, labels.numpy(), "^labels are of the type ndarray"),
        (images, labels.int(), "^labels are torch.int32"),
        (255 * images, labels, r"in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=sentence):
            attack(network(PLAIN), wrong_images, wrong_labels)
    with pytest.raises(ValueError, match=r"^the network is a function: it must\b"):
        attack(lambda x: x, images, labels)


@by_gradient
@pytest.mark.parametrize("cut", [Tensor.detach, lambda h: h.detach().requires_grad_()])
def test_a_network_without_a_gradient_is_one_sentence(attack, cut) -> None:
    with pytest.raises(ValueError, match=r"^the network's logits have no gradient\b"):
        attack(Answers(network(PLAIN), cut), *right())


@pytest.mark.parametrize("attack", BY_LOGITS, ids=str)
def test_attacks_by_logits_need_no_gradient(attack) -> None:
    images, labels = right()
    found = attack(Answers(network(PLAIN), Tensor.detach), images, labels, seeded(0))
    assert torch.equal(found, attack(network(PLAIN), images, labels, seeded(0)))


@every
def test_inference_mode_changes_nothing(attack) -> None:
    images, labels = right()
    expected = attack(network(PLAIN), images, labels, seeded(0))
    with torch.inference_mode():
        inside = attack(MADE, images * 1, labels * 1, seeded(0))
    assert torch.equal(inside, expected)
    with torch.no_grad():
        assert torch.equal(attack(MADE, images, labels, seeded(0)), expected)


@pytest.mark.parametrize("attack", [a for a in BY_GRADIENT if not getattr(a, "double", False)])
def test_a_network_made_under_inference_mode_is_one_sentence(attack) -> None:
    with torch.inference_mode():
        made = network(PLAIN)
    with pytest.raises(ValueError, match=r"^the network was made under torch\.inference_mode"):
        attack(made, *right())


@every
def test_images_with_a_gradient_come_back_without_one(attack) -> None:
    images, labels = right()
    found = attack(network(PLAIN), images.clone().requires_grad_(), labels, seeded(0))
    assert not found.requires_grad
    assert torch.equal(found, attack(network(PLAIN), images, labels, seeded(0)))


@every
def test_the_layout_in_memory_changes_nothing(attack) -> None:
    """Neither channels last, nor images that are a transposed or a strided view."""
    images, labels = right()
    expected = attack(network(PLAIN), images, labels, seeded(0))
    for view in (
        images.contiguous(memory_format=torch.channels_last),
        images.transpose(2, 3).contiguous().transpose(2, 3),
        images.repeat_interleave(2, 3)[..., ::2],
    ):
        assert torch.equal(attack(network(PLAIN), view, labels, seeded(0)), expected)


class InPlace(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mul_(0.5)


class Halved(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 0.5 * images


@every
@pytest.mark.parametrize(
    ("first", "same"), [(nn.ReLU(inplace=True), nn.ReLU()), (InPlace(), Halved())]
)
def test_a_network_that_works_in_place_changes_no_image(attack, first, same) -> None:
    images, labels = right()
    original, model = images.clone(), network(PLAIN)
    found = attack(nn.Sequential(first, model), images, labels, seeded(0))
    assert torch.equal(images, original)
    assert torch.equal(found, attack(nn.Sequential(same, model), images, labels, seeded(0)))


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_another_type_come_back_in_it(attack, dtype: torch.dtype) -> None:
    images, labels = right()
    model, images = network(PLAIN).to(dtype), images.to(dtype)
    labels = predict(model, images).argmax(1)
    found = attack(model, images, labels, seeded(0))
    assert found.dtype == dtype
    assert 0 <= found.min() <= found.max() <= 1
    if attack in BY_GRADIENT:
        before, after = (margin(predict(model, x), labels).mean() for x in (images, found))
        assert after > before


@every
def test_autocast_and_frozen_layers_are_attacked(attack) -> None:
    images, labels = right()
    model = network(PLAIN).requires_grad_(False)
    assert torch.equal(
        attack(model, images, labels, seeded(0)), attack(MADE, images, labels, seeded(0))
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attack(MADE, images, labels, seeded(0))
    assert found.dtype == torch.float32
    assert 0 <= found.min() <= found.max() <= 1


@every
def test_a_rounding_error_outside_the_range_is_inside_after(attack) -> None:
    images, labels = right()
    images[:, 0, 0, 0], images[:, 0, 0, 1] = 1.0000001, -1e-7
    found = attack(network(PLAIN), images, labels, seeded(0))
    assert 0 <= found.min() <= found.max() <= 1
    clean = images.clamp(0, 1)
    assert torch.equal(found, attack(network(PLAIN), clean, labels, seeded(0)))


@every
def test_draws_from_the_global_generator_are_those_of_the_generator(attack) -> None:
    model = Answers(network(PLAIN), lambda h: h + torch.randn_like(h))
    images, labels = right()
    before = torch.get_rng_state()
    first, again, other = (attack(model, images, labels, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    if type(attack) not in (FGSM, FastGradientSign):  # whose signs may be the same
        assert not torch.equal(first, other)


def test_carlini_wagner_finds_in_half_precision_what_it_finds_in_float32(trained) -> None:
    """Adam's step is 0 or infinite where squares of gradients underflow."""
    model, images, labels = trained
    attack = CarliniWagner(c=1.0, steps=100)
    lengths = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        network_, pictures = copy.deepcopy(model).to(dtype), images[:100].to(dtype)
        found = attack(network_, pictures, labels[:100])
        fooled = predict(network_, found).argmax(1) != labels[:100]
        assert fooled.float().mean() > 0.9
        lengths.append((found - pictures).float().flatten(1).norm(dim=1).median().item())
    assert lengths[1] == pytest.approx(lengths[0], rel=0.02)
    assert lengths[2] == pytest.approx(lengths[0], rel=0.2)


def test_batches_that_overflow_end_and_networks_of_nan_do_not() -> None:
    images, labels = right()
    with pytest.raises(NotFinite):
        BatchLBFGS(0.5, 3)(Answers(network(PLAIN), with_nan), images, labels)
    found = BatchLBFGS(1e38, 6)(network(PLAIN), images, labels)
    assert 0 <= found.min() <= found.max() <= 1


def test_8_bits_by_hand() -> None:
    """The class is 1 from a brightness of 127.6 / 255 on: 127 is below and 128 above."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    model[1].weight.data = torch.tensor([[0.0], [1.0]])
    model[1].bias.data = torch.tensor([127.6 / 255, 0.0])
    images = torch.tensor([127.7, 127.4, 128.4, 126.6]).view(4, 1, 1, 1) / 255
    expected = torch.tensor([True, False, True, False])
    assert torch.equal(fools_in_8_bits(model, images, torch.zeros(4).long()), expected)
    assert torch.equal(fools_in_8_bits(model, images, torch.ones(4).long()), ~expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda eps: FGSM(eps),
        lambda eps: PGD(eps, 0.1, 10),
        lambda eps: Square(eps),
        lambda eps: RandomNoise(eps),
        lambda eps: Transfer(nn.Identity(), FGSM(eps)),
    ],
)
def test_eps_is_in_pixel_units(call) -> None:
    call(1)
    PGD(2.0, 0.1, 1, norm="l2")
    RandomNoise(2.0, norm="l2")
    for eps in (8, 1.5):
        with pytest.raises(ValueError, match=f"^eps is {eps}: it must be at most 1 in Linf"):
            call(eps)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: FGSM(x), "eps"),
        (lambda x: PGD(0.1, x, 10), "alpha"),
        (lambda x: PGD(x, 0.1, 10, norm="l2"), "eps"),
        (lambda x: CarliniWagner(c=x), "c"),
        (lambda x: CarliniWagner(kappa=x), "kappa"),
        (lambda x: CarliniWagner(lr=x), "lr"),
        (lambda x: LBFGS(c=x), "c"),
        (lambda x: BatchLBFGS(x, 3), "lr"),
        (lambda x: FastGradientSign(scale=x), "scale"),
        (lambda x: HotCold(shift=-abs(x) if x == x else x), "shift"),
        (lambda x: MinimumNorm(alpha=x), "alpha"),
        (lambda x: MinimumNorm(c=x), "c"),
        (lambda x: RandomNoise(x, norm="l2"), "eps"),
        (lambda x: Square(x), "eps"),
        (lambda x: Square(0.1, p_init=x), "p_init"),
        (lambda x: InputNoise(x), "sigma"),
    ],
)
def test_settings_that_are_no_number_are_named(call, name: str, wrong: float) -> None:
    if name == "shift" and wrong == -1.0:
        return
    with pytest.raises(ValueError, match=f"^{name} is -?{str(wrong).strip('-')}: it must be "):
        call(wrong)


def test_input_noise_takes_images_in_the_range_of_all_attacks() -> None:
    with pytest.raises(ValueError, match=r"^pixels range from .* they must be in \[0, 1\]"):
        InputNoise(0.1)(network(PLAIN), 255 * batch()[0], batch()[1])
