"""Networks in the page: the same answers and gradients as torch's, in a real browser."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import IN_PAGE, add_functions
from playwright.sync_api import Page
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torchvision.transforms import Normalize

from robustnb.defenses.bayesian import BayesianLinear, bayesian_layers, mean_network, sample_logits
from robustnb.defenses.lwta import MODES, WinnerTakesAll, competitions
from robustnb.defenses.noise import GaussianNoise, noise_layers, noisy_linear
from robustnb.metrics import margin
from robustnb.models import Scale, fully_connected
from robustnb.randomness import initial_weights, seeded
from robustnb.widgets.network import describe, round_trip, rounded, tensor_blob

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

PASS = """([{ network, blobs }, image, label, numbers, scale]) => {
  const loaded = loadNetwork(network, blobs);
  const random = numbers && listed(numbers);
  const { logits, trace } = forward(loaded, Float32Array.from(image), random, scale);
  const pulled = (into) => Array.from(inputGradient(loaded, trace, into(logits, label)));
  return [
    Array.from(logits),
    Array.from(softmax(logits)),
    pulled(crossEntropyGradient),
    pulled(marginGradient),
  ];
}"""
SAMPLE = """([{ network, blobs }, image, count, seed]) =>
  sampleLogits(
    loadNetwork(network, blobs), Float32Array.from(image), count, randomGenerator(seed),
  ).map((logits) => Array.from(logits))"""


@pytest.fixture(scope="module")
def page(visit: Visit) -> Iterator[Page]:
    with visit("about:blank") as blank:
        add_functions(blank, IN_PAGE)
        yield blank


def in_page(model: nn.Module, shape: tuple[int, ...], dtype: Any = "float16") -> dict[str, Any]:
    network, blobs = describe(model, shape, dtype)
    return {"network": network, "blobs": blobs}


def check_same(
    page: Page,
    model: nn.Module,
    shape: tuple[int, ...],
    dtype: Any = "float16",
    numbers: Tensor | None = None,
    seed: int = 0,
    **scale: Any,
) -> None:
    """Compare logits, probabilities and both input gradients with those of torch."""
    image, label = torch.rand(shape, generator=seeded(seed)), seed % 3
    listed = None if numbers is None else numbers.tolist()
    arguments = [in_page(model, shape, dtype), image.flatten().tolist(), label, listed, scale]
    logits, probabilities, *gradients = page.evaluate(PASS, arguments)
    inputs = image[None].requires_grad_()
    expected = rounded(model, dtype)(inputs)
    assert_close(logits, expected)
    assert_close(probabilities, expected.softmax(1))
    labels = torch.tensor([label])
    for found, loss in zip(gradients, (F.cross_entropy, margin), strict=True):
        (gradient,) = torch.autograd.grad(loss(expected, labels).sum(), inputs, retain_graph=True)
        assert_close(found, gradient)


def assert_close(found: list[float], expected: Tensor) -> None:
    difference = torch.tensor(found) - expected.detach().flatten()
    assert difference.abs().max() <= 1e-4 * expected.detach().abs().max().clamp(max=1)


def built(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with initial_weights(seed):
        return make().eval()


def head(*features: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(features)), 5))


def trained_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    for tensor in (norm.running_mean, norm.weight, norm.bias):
        assert isinstance(tensor, Tensor)
        nn.init.normal_(tensor)
    assert norm.running_var is not None
    nn.init.uniform_(norm.running_var, 0.1, 2)
    return norm


# --- every layer


def lenet() -> nn.Module:
    features = [nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Conv2d(4, 6, 5, padding=2), nn.MaxPool2d(2)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(216, 20), nn.ReLU(), nn.Linear(20, 5))


DETERMINISTIC: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: head(7), (7,)),
    "without bias": (lambda: nn.Linear(7, 3, bias=False), (7,)),
    "one row of the book": (lambda: fully_connected("FC-30-20-10", scale=2.0), (1, 28, 28)),
    "sigmoid": (lambda: nn.Sequential(nn.Linear(7, 9), nn.Sigmoid(), nn.Linear(9, 4)), (7,)),
    "tanh": (lambda: nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 4)), (7,)),
    "LeNet": (lenet, (1, 28, 28)),
    "scale": (lambda: nn.Sequential(Scale(3.5), head(2, 3, 3)), (2, 3, 3)),
    "normalize": (
        lambda: nn.Sequential(Normalize((0.4, 0.5), (0.2, 0.3)), head(2, 3, 3)),
        (2, 3, 3),
    ),
    "batch norm of channels": (
        lambda: nn.Sequential(trained_norm(nn.BatchNorm2d(3)), head(3, 4, 5)),
        (3, 4, 5),
    ),
    "batch norm of features": (
        lambda: nn.Sequential(trained_norm(nn.BatchNorm1d(6)), nn.Linear(6, 4)),
        (6,),
    ),
    "without effect": (
        lambda: nn.Sequential(nn.Identity(), nn.Linear(5, 5), nn.Dropout(), nn.ReLU()),
        (5,),
    ),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(nn.Linear(5, 6), nn.ReLU()), nn.Linear(6, 4)),
        (5,),
    ),
}


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_layer_gives_torchs_numbers(page: Page, name: str) -> None:
    make, shape = DETERMINISTIC[name]
    for seed, dtype in enumerate(("float32", "float16", "int8")):
        check_same(page, built(make, seed), shape, dtype, seed=seed)


def test_windows_of_any_size_give_torchs_numbers(page: Page) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        size, stride = ([data.draw(st.integers(1, 4)) for _ in "hw"] for _ in range(2))
        padding = [data.draw(st.integers(0, 2)) for _ in "hw"]
        shape = tuple(data.draw(st.integers(least, least + 6)) for least in (1, *size))
        ceil = data.draw(st.booleans())
        layers: list[Callable[[], nn.Module]] = [
            lambda: nn.Conv2d(shape[0], 2, size, stride, padding),
            lambda: nn.MaxPool2d(size, stride, ceil_mode=ceil),
            lambda: nn.AvgPool2d(size, stride, ceil_mode=ceil),
        ]
        layer = built(data.draw(st.sampled_from(layers)))
        features = layer(torch.zeros(1, *shape)).numel()
        check_same(page, nn.Sequential(layer, built(lambda: head(features))), shape)

    check()


# --- stochastic layers


def drawn(layer: BayesianLinear, x: Tensor, noise: Tensor) -> Tensor:
    """Draw a layer's outputs, instead of its weights, from the same Gaussians."""
    mean = F.linear(x, layer.mu[:, :-1], layer.mu[:, -1])
    variance = layer.sigma.square()
    return mean + noise * F.linear(x.square(), variance[:, :-1], variance[:, -1]).sqrt()


def test_gaussian_weights_with_the_same_noise(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    make = lambda: fully_connected("FC-30-20-10", layer=BayesianLinear)  # noqa: E731
    noise = torch.randn(60, generator=seeded(0))
    parts = itertools.cycle(noise.split([30, 20, 10]))
    monkeypatch.setattr(BayesianLinear, "forward", lambda layer, x: drawn(layer, x, next(parts)))
    check_same(page, built(make), (1, 28, 28), numbers=noise)


@pytest.mark.parametrize("rho", [-3.0, -30.0])
def test_gaussian_weights_without_noise_are_the_means(page: Page, rho: float) -> None:
    model = built(lambda: BayesianLinear(12, 4, rho_init=rho))
    image = torch.rand(12, generator=seeded(0))
    found = page.evaluate(PASS, [in_page(model, (12,)), image.tolist(), 0, None, {}])[0]
    assert_close(found, mean_network(rounded(model))(image[None]))


def test_a_scale_of_sigma_scales_the_noise(page: Page) -> None:
    model, image = built(lambda: BayesianLinear(12, 4)), torch.rand(12, generator=seeded(0))
    noise = torch.randn(4, generator=seeded(1))
    arguments = [in_page(model, (12,)), image.tolist(), 0, noise.tolist(), {"sigma": 2.5}]
    same = rounded(model)
    assert isinstance(same, BayesianLinear)
    assert_close(page.evaluate(PASS, arguments)[0], drawn(same, image[None], 2.5 * noise))


def noisy() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), GaussianNoise(3, 4, 4), nn.ReLU(), nn.Flatten(), noisy_linear(48, 5)
    )
    for layer in noise_layers(model):
        nn.init.uniform_(layer.sigma, 0, 1)
    return model


def test_noise_with_the_same_numbers(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = torch.randn(53, generator=seeded(0))
    first, second = numbers.split([48, 5])
    parts = itertools.cycle([first.view(1, 3, 4, 4), second.view(1, 5)])
    monkeypatch.setattr(torch, "randn", lambda shape, **_: next(parts))
    check_same(page, built(noisy), (1, 6, 6), numbers=numbers)


def test_noise_that_is_off_at_inference_is_left_out(page: Page) -> None:
    make = lambda: noisy_linear(6, 4, at_inference=False)  # noqa: E731
    check_same(page, built(make), (6,), numbers=torch.full((4,), 9.0))


@pytest.mark.parametrize("units", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_competitions_with_the_same_numbers(
    page: Page, monkeypatch: pytest.MonkeyPatch, mode: Any, units: int
) -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 6, 3),
            WinnerTakesAll(units, mode, 0.5),
            nn.Flatten(),
            nn.Linear(54, 6),
            WinnerTakesAll(units, mode, 0.5),
            nn.Linear(6, 4),
        )

    numbers = torch.rand(60, generator=seeded(0)) * 0.98 + 0.01
    # The page goes through block after block, all units of one at one position together.
    first = numbers[:54].view(1, 6 // units, 3, 3, units).movedim(-1, 2)
    parts = itertools.cycle([first, numbers[54:].view(1, 6 // units, units)])
    monkeypatch.setattr(
        WinnerTakesAll, "_gumbel", lambda layer, blocks: -torch.log(-torch.log(next(parts)))
    )
    check_same(page, built(make), (1, 5, 5), numbers=numbers)


def test_without_random_numbers_competitions_take_their_mean(page: Page) -> None:
    model = built(lambda: nn.Sequential(nn.Linear(7, 6), WinnerTakesAll(2), nn.Linear(6, 4)))
    expected = rounded(model)
    for layer in competitions(expected):
        layer.mode = "mean"
    image = torch.rand(7, generator=seeded(0))
    found = page.evaluate(PASS, [in_page(model, (7,)), image.tolist(), 0, None, {}])[0]
    assert_close(found, expected(image[None]))
    for layer in competitions(expected):
        layer.mode = "argmax"
    found = page.evaluate(
        PASS, [in_page(model, (7,)), image.tolist(), 0, None, {"mode": "argmax"}]
    )[0]
    assert_close(found, expected(image[None]))


# --- random numbers


def test_the_generator_gives_uniform_and_normal_numbers(page: Page) -> None:
    uniform, normal = page.evaluate(
        """() => {
          const random = randomGenerator(7);
          const numbers = (draw) => Array.from({ length: 100000 }, draw);
          return [numbers(random.uniform), numbers(random.normal)];
        }"""
    )
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    assert stats.kstest(normal, "norm").pvalue > 0.01
    assert abs(np.mean(normal)) < 4 / np.sqrt(len(normal))
    assert abs(np.var(normal) - 1) < 4 * np.sqrt(2 / len(normal))
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(normal[lag:], normal[:-lag])[0, 1]) < 4 / np.sqrt(len(normal))


def test_a_seed_gives_its_own_numbers_again(page: Page) -> None:
    draw = "(seed) => Array.from({ length: 5 }, randomGenerator(seed).normal)"
    draws = [tuple(page.evaluate(draw, seed)) for seed in (0, 1, 2, 0)]
    assert draws[0] == draws[3]
    assert len(set(draws)) == 3


def test_the_generator_is_the_published_one(page: Page) -> None:
    """Compare with xoshiro128** and the finaliser of MurmurHash3, written in whole numbers."""
    found = page.evaluate("Array.from({ length: 20 }, randomGenerator(5).uniform)")
    assert found == [(word + 0.5) / 2**32 for word in xoshiro(5, 20)]


def xoshiro(seed: int, count: int) -> list[int]:
    def rotate(word: int, by: int) -> int:
        return ((word << by) | (word >> (32 - by))) % 2**32

    def mix(word: int) -> int:
        word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
        word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
        return word ^ word >> 16

    s = [mix((seed + (i + 1) * 0x9E3779B9) % 2**32) for i in range(4)]
    words = []
    for _ in range(count):
        words.append(rotate(s[1] * 5 % 2**32, 7) * 9 % 2**32)
        t = (s[1] << 9) % 2**32
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 11)
    return words


def test_drawn_outputs_are_distributed_as_those_of_drawn_weights(page: Page) -> None:
    make = lambda: fully_connected("FC-12-8-4", in_features=36, layer=BayesianLinear)  # noqa: E731
    model = rounded(built(make))
    for layer in bayesian_layers(model):
        nn.init.uniform_(layer.rho, -3, -1)
    image = torch.rand(1, 6, 6, generator=seeded(0))
    count = 4000
    arguments = [in_page(model, (1, 6, 6), "float32"), image.flatten().tolist(), count, 3]
    found = np.array(page.evaluate(SAMPLE, arguments))
    expected = sample_logits(model, image[None], count, seeded(1))[:, 0].numpy()
    assert np.isfinite(found).all()
    for column in range(4):
        assert stats.ks_2samp(found[:, column], expected[:, column]).pvalue > 0.001
    error = expected.std(0) / np.sqrt(count)
    assert (np.abs(found.mean(0) - expected.mean(0)) < 6 * error).all()
    spread = np.abs(np.cov(found.T) - np.cov(expected.T)) / np.outer(*[expected.std(0)] * 2)
    assert spread.max() < 8 / np.sqrt(count)


def test_samples_are_passes_with_one_generator(page: Page) -> None:
    model = built(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), BayesianLinear(8, 4)))
    image = torch.rand(6, generator=seeded(0)).tolist()
    sampled, single = page.evaluate(
        """([{ network, blobs }, image]) => {
          const loaded = loadNetwork(network, blobs);
          const values = Float32Array.from(image);
          const random = randomGenerator(2);
          const pass = () => Array.from(forward(loaded, values, random).logits);
          const sampled = sampleLogits(loaded, values, 5, randomGenerator(2));
          return [sampled.map((logits) => Array.from(logits)), Array.from({ length: 5 }, pass)];
        }""",
        [in_page(model, (6,)), image],
    )
    assert sampled == single


def test_a_network_without_noise_gives_one_answer(page: Page) -> None:
    found = page.evaluate(SAMPLE, [in_page(built(lambda: head(6)), (6,)), [0.5] * 6, 3, 0])
    assert found[0] == found[1] == found[2]


def test_mean_probabilities_are_those_of_the_ensemble(page: Page) -> None:
    logits = torch.randn(9, 5, generator=seeded(0))
    found = page.evaluate("(l) => Array.from(meanProbabilities(l))", logits.tolist())
    assert_close(found, logits.softmax(1).mean(0))


# --- tensors


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 3, 2)])
def test_a_tensor_arrives_as_it_was_rounded(page: Page, shape: tuple[int, ...], dtype: Any) -> None:
    tensor = torch.randn(shape, generator=seeded(0))
    tensor = tensor.sigmoid() if dtype == "uint8" else tensor * 10
    spec, texts = tensor_blob(tensor, dtype)
    found = page.evaluate("([s, b]) => Array.from(decodeTensor(s, b))", [spec, texts])
    assert torch.tensor(found).equal(round_trip(tensor, dtype).flatten())


def test_every_half_is_read_exactly(page: Page) -> None:
    halves = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    halves = halves[~halves.isnan()]
    spec, texts = tensor_blob(halves)
    found = page.evaluate("([s, b]) => decodeTensor(s, b).map(x => x).join()", [spec, texts])
    assert [float(text) for text in found.split(",")] == halves.tolist()


def test_rounding_is_as_fine_as_its_bits() -> None:
    weights = torch.randn(20, 30, generator=seeded(0)) * torch.logspace(-2, 2, 20)[:, None]
    largest = weights.abs().amax(1, keepdim=True)
    smallest = 2**-25  # half a step of the smallest numbers
    half = (round_trip(weights, "float16") - weights).abs()
    assert (half <= (weights.abs() * 2**-11).clamp(min=smallest)).all()
    assert ((round_trip(weights, "int8") - weights).abs() <= largest / 127 / 2 * 1.001).all()
    assert round_trip(torch.zeros(2, 2), "int8").equal(torch.zeros(2, 2))


def test_rounding_leaves_the_model_alone_and_changes_nothing_twice() -> None:
    model = built(lambda: fully_connected("FC-9-4", layer=BayesianLinear))
    before = [parameter.clone() for parameter in model.parameters()]
    once = rounded(model)
    assert all(map(torch.equal, before, model.parameters()))
    assert all(map(torch.equal, once.parameters(), rounded(once).parameters()))
    assert describe(once, (1, 28, 28)) == describe(model, (1, 28, 28))


def test_a_model_is_rounded_in_the_midst_of_its_training() -> None:
    model = fully_connected("FC-9-4", layer=BayesianLinear)
    model(torch.rand(2, 1, 28, 28)).sum().backward()
    assert [layer.complexity for layer in bayesian_layers(rounded(model))] == [None, None]
    assert all(layer.complexity is not None for layer in bayesian_layers(model))


def test_equal_tensors_share_one_text() -> None:
    layer = built(lambda: nn.Linear(4, 4))
    network, blobs = describe(nn.Sequential(layer, nn.ReLU(), layer), (4,))
    assert len(blobs) == 2
    json.dumps(network)


def pruned_twice(layer: nn.Module) -> nn.Module:
    prune.l1_unstructured(layer, "weight", 0.5)
    prune.random_unstructured(layer, "weight", 0.3)
    return prune.random_unstructured(layer, "bias", 0.3)


# Layers that compute their weights on each pass, by hooks or by parametrisations.
COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": nn.utils.weight_norm,
    "spectral norm": nn.utils.spectral_norm,
    "pruning": pruned_twice,
    "parametrised weight norm": nn.utils.parametrizations.weight_norm,
    "parametrised spectral norm": nn.utils.parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", COMPUTED)
def test_weights_are_those_that_a_layer_computes(page: Page, kind: str) -> None:
    change = COMPUTED[kind]
    with initial_weights(3):
        layers = change(nn.Conv2d(1, 3, 3)), nn.ReLU(), nn.Flatten(), change(nn.Linear(48, 4))
        model = nn.Sequential(*layers).train()
    images = torch.rand(5, 1, 6, 6, generator=seeded(0))
    model(images).sum().backward()
    with torch.no_grad():
        for weights in model.parameters():
            weights -= 0.1 * weights.grad
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shown = rounded(model, "float32")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    torch.testing.assert_close(shown(images), model.eval()(images))
    check_same(page, model, (1, 6, 6))


def hooked() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda _, __, output: output + 1)
    return nn.Sequential(layer, nn.ReLU())


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (hooked(), (3,), "Linear with hooks cannot run in the page"),
        (nn.LSTM(3, 4), (3,), "LSTM cannot run in the page: it must be one of Linear, Conv2d, ReL"),
        (nn.Sequential(nn.Linear(3, 3), nn.GELU()), (3,), "GELU cannot run in the page: it must b"),
        (nn.Conv2d(2, 2, 3, groups=2), (2, 3, 3), "groups=2) cannot run in the page: it needs gro"),
        (nn.MaxPool2d(2, padding=1), (1, 4, 4), "cannot run in the page: it needs no padding or d"),
        (nn.Flatten(2), (2, 3, 3), "Flatten(start_dim=2, end_dim=-1) cannot run in the page: it n"),
        (nn.BatchNorm1d(3, track_running_stats=False), (3,), "it needs track_running_stats=True."),
        (nn.Linear(3, 4), (1, 3, 3), "cannot run in the page: it needs a Flatten before it."),
    ],
)
def test_what_the_page_cannot_run_is_named(
    model: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        describe(model, shape)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([1e6, 2.0], "float16", "Numbers from 2 to 1e+06 cannot be stored as float16"),
        ([[1.0, torch.inf]], "int8", "cannot be stored as int8: it takes numbers that are finite"),
        ([-1.0, 0.5], "uint8", "cannot be stored as uint8: it takes numbers between 0 and 1."),
        ([1.0], "float8", "dtype is 'float8': it must be float32, float16, int8 or uint8."),
    ],
)
def test_numbers_that_do_not_fit_are_refused(values: Any, dtype: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tensor_blob(torch.tensor(values), dtype)
