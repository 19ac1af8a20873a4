"""Winner takes all against softmax, finite differences, torch.distributions and Monte Carlo."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Beta, Categorical, Kumaraswamy, kl_divergence
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from robustnb.attacks.gradient import FGSM
from robustnb.defenses.lwta import (
    MODES,
    BuffetConv2d,
    BuffetLinear,
    IndianBuffet,
    Mode,
    NegativeELBO,
    WinnerTakesAll,
    bernoulli_divergence,
    kumaraswamy_divergence,
    take_divergence,
    winner_divergence,
    winners_by,
)
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded

SHAPES = ((5, 12), (3, 12, 4, 4))


def network(mode: Mode = "straight-through") -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *[nn.Conv2d(1, 6, 3), WinnerTakesAll(3, mode), nn.Flatten()],
        *[BuffetLinear(24, 8), WinnerTakesAll(2, mode), nn.Linear(8, 3)],
    )


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, 4, 4, generator=seeded(0)), torch.arange(count) % 3


def random_h(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(0), dtype=dtype)


@pytest.mark.parametrize("mode", ["sample", "straight-through"])
@pytest.mark.parametrize("units", [2, 3, 4])
def test_winners_come_as_often_as_softmax_says(mode: Mode, units: int) -> None:
    layer, draws = WinnerTakesAll(units, mode), 40_000
    layer.generator = seeded(1)
    h = random_h((1, 12))
    winners = layer.mask(h.unflatten(1, (-1, units)).expand(draws, -1, -1)).sum(0)
    expected = draws * h.view(-1, units).softmax(1)
    for counts, wanted in zip(winners, expected, strict=True):
        assert chisquare(counts, wanted).pvalue > 1e-4


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    shape=st.sampled_from(SHAPES),
    units=st.sampled_from([1, 2, 3, 4, 6, 12]),
    temperature=st.floats(0.05, 5),
    training=st.booleans(),
)
def test_masks_share_one_winner_among_the_units_of_a_block(
    mode, shape, units, temperature, training
) -> None:
    layer, h = WinnerTakesAll(units, mode, temperature).train(training), random_h(shape)
    mask = layer.mask(h.unflatten(1, (-1, units)))
    torch.testing.assert_close(mask.sum(2), torch.ones_like(mask.sum(2)))
    y = layer(h)
    assert y.shape == h.shape
    if mode in ("sample", "argmax", "straight-through"):
        alive = (y != 0).unflatten(1, (-1, units)).sum(2)
        assert (alive == 1).all()
        assert torch.equal(y[y != 0], h[y != 0])
    if mode == "argmax":
        assert torch.equal(y.unflatten(1, (-1, units)).sum(2), h.unflatten(1, (-1, units)).amax(2))


def test_blocks_are_neighbours() -> None:
    h = torch.tensor([[3.0, 1.0, 2.0, 5.0]])
    assert WinnerTakesAll(2, "argmax")(h).tolist() == [[3, 0, 0, 5]]


def test_positions_of_a_feature_map_compete_on_their_own() -> None:
    h = random_h((1, 4, 2, 2))
    for mode in ("mean", "argmax"):
        layer = WinnerTakesAll(2, mode)  # type: ignore[arg-type]
        single = [layer(h[..., i : i + 1, j : j + 1]) for i in range(2) for j in range(2)]
        torch.testing.assert_close(layer(h), torch.cat(single, 2).view(1, 4, 2, 2))


def gradient(mode: Mode, h: Tensor, seed: int = 1, temperature: float = 0.67) -> Tensor:
    layer = WinnerTakesAll(3, mode, temperature)
    layer.generator = seeded(seed)
    inputs = h.clone().requires_grad_()
    layer(inputs).pow(2).sum().backward()
    assert inputs.grad is not None
    return inputs.grad


@pytest.mark.parametrize("mode", ["relaxed", "mean"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_central_differences(mode: Mode, shape: tuple[int, ...]) -> None:
    h, step = random_h(shape), 1e-6

    def loss(values: Tensor) -> float:
        layer = WinnerTakesAll(3, mode)
        layer.generator = seeded(1)
        return layer(values).pow(2).sum().item()

    found = gradient(mode, h).flatten()
    for place in range(0, h.numel(), 11):
        move = torch.zeros(h.numel(), dtype=h.dtype)
        move[place] = step
        move = move.view(shape)
        difference = (loss(h + move) - loss(h - move)) / (2 * step)
        assert found[place].item() == pytest.approx(difference, rel=1e-5, abs=1e-7)


def test_a_sampled_mask_is_a_constant_and_straight_through_adds_the_relaxed_slope() -> None:
    h = random_h((5, 12))
    layer = WinnerTakesAll(3, "sample")
    layer.generator = seeded(1)
    blocks = h.unflatten(1, (-1, 3))
    mask = layer.mask(blocks)
    torch.testing.assert_close(gradient("sample", h), (2 * mask * blocks).flatten(1))
    layer.mode, layer.generator = "relaxed", seeded(1)
    inputs = blocks.clone().requires_grad_()
    (layer.mask(inputs) * (2 * mask * blocks) * blocks).sum().backward()
    expected = (2 * mask * blocks + inputs.grad).flatten(1)
    torch.testing.assert_close(gradient("straight-through", h), expected)


def test_modes_that_draw_agree_on_the_winner_and_cold_relaxation_is_a_sample() -> None:
    outputs = {}
    for mode in ("sample", "straight-through", "relaxed"):
        layer = WinnerTakesAll(3, mode, temperature=1e-4)  # type: ignore[arg-type]
        layer.generator = seeded(5)
        outputs[mode] = layer(random_h((4, 12)))
    assert torch.equal(outputs["sample"], outputs["straight-through"])
    torch.testing.assert_close(outputs["relaxed"], outputs["sample"])


def test_winners_by_changes_the_mode_inside_the_block_only() -> None:
    model, (x, _) = network().eval(), batch()
    with winners_by(model, "relaxed", 0.01):
        assert {(m.mode, m.temperature) for m in (model[1], model[4])} == {("relaxed", 0.01)}
    assert {(m.mode, m.temperature) for m in (model[1], model[4])} == {("straight-through", 0.67)}
    with winners_by(model, "mean"):
        assert model[1].temperature == 0.67
        model[3].connections.cut_off = 1.0  # no connection is left, and no chance
        assert torch.equal(model(x), model(x))


def test_winner_divergence_is_torch_s_and_the_mean_of_section_4() -> None:
    blocks = 2 * random_h((7, 4, 3))
    q = Categorical(logits=blocks)
    uniform = Categorical(torch.full_like(blocks, 1 / 3))
    exact = kl_divergence(q, uniform).sum(1)
    torch.testing.assert_close(winner_divergence(blocks), exact)
    torch.manual_seed(0)
    winners = q.sample((20_000,))
    single = (q.log_prob(winners) - uniform.log_prob(winners)).sum(2)
    z_scores = (single.mean(0) - exact) / (single.std(0) / 20_000**0.5)
    assert z_scores.abs().max() < 4.5
    maps = random_h((2, 2, 3, 4, 4))
    per_place = [winner_divergence(maps[..., i, j]) for i in range(4) for j in range(4)]
    torch.testing.assert_close(winner_divergence(maps), torch.stack(per_place).sum(0))


def test_kumaraswamy_divergence_is_the_mean_of_log_densities() -> None:
    torch.manual_seed(0)
    a, b = torch.tensor([0.7, 1.0, 2.1, 6.0]).double(), torch.tensor([1.3, 1.0, 0.8, 3.0]).double()
    for alpha in (1.0, 2.5):
        q, p = Kumaraswamy(a, b), Beta(torch.tensor(alpha).double(), torch.ones(()).double())
        draws = q.sample((200_000,)).clamp(1e-12, 1 - 1e-12)
        single = q.log_prob(draws) - p.log_prob(draws)
        exact = kumaraswamy_divergence(a, b, alpha)
        z_scores = (single.mean(0) - exact) / (single.std(0) / 200_000**0.5 + 1e-12)
        assert z_scores.abs().max() < 4.5
        assert (exact >= -1e-9).all()
    torch.testing.assert_close(kumaraswamy_divergence(a, torch.ones_like(a), 1.0)[1].item(), 0.0)


def test_bernoulli_divergence_is_torch_s() -> None:
    logits, pi = 3 * random_h((5, 4)), torch.tensor([0.9, 0.5, 0.1, 1e-6]).double()
    expected = kl_divergence(TorchBernoulli(logits=logits), TorchBernoulli(pi.expand(5, 4)))
    torch.testing.assert_close(bernoulli_divergence(logits, pi.log()), expected)
    assert bernoulli_divergence(logits, torch.zeros(4).double()).isfinite().all()


def test_sticks_are_draws_from_kumaraswamy() -> None:
    buffet = IndianBuffet(1, 3).double()
    buffet.log_a.data, buffet.log_b.data = random_h((2, 3))
    buffet.generator = seeded(0)
    probability = torch.sigmoid(buffet.logits.detach())
    # Seen through KL(q(z) || p(z | u)), the only thing that the sticks are drawn for.
    found = torch.stack([buffet.sample_divergence().detach() for _ in range(4000)])
    torch.manual_seed(0)
    a, b = buffet.log_a.detach().exp(), buffet.log_b.detach().exp()
    pi = Kumaraswamy(a, b).sample((40_000,)).cumprod(1)
    on = TorchBernoulli(probability.expand_as(pi))
    given_pi = kl_divergence(on, TorchBernoulli(pi)).sum(1)
    expected = given_pi.mean() + kumaraswamy_divergence(a, b, 1.0).sum()
    error = (found.var() / len(found) + given_pi.var() / len(given_pi)).sqrt()
    assert abs(found.mean() - expected) < 4.5 * error


def test_connections_come_as_often_as_their_probability_and_rare_ones_never() -> None:
    buffet = IndianBuffet(1, 4).eval()
    buffet.logits.data = torch.logit(torch.tensor([[0.005, 0.3, 0.7, 0.95]]))
    buffet.generator = seeded(0)
    draws = torch.stack([buffet()[0] for _ in range(4000)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert draws[:, 0].sum() == 0
    expected = torch.tensor([0.3, 0.7, 0.95])
    error = (expected * (1 - expected) / 4000).sqrt()
    assert ((draws[:, 1:].mean(0) - expected).abs() < 4.5 * error).all()


def test_relaxed_connections_are_torch_s_binary_concrete() -> None:
    buffet = IndianBuffet(20_000, 1, temperature=0.67).double().train()
    buffet.logits.data.fill_(0.4)
    buffet.generator = seeded(0)
    draws = buffet().detach().flatten()
    torch.manual_seed(0)
    concrete = torch.distributions.RelaxedBernoulli(torch.tensor(0.67).double(), logits=0.4)
    other = concrete.sample((20_000,))
    for power in (1, 2):
        one, two = draws**power, other**power
        assert abs(one.mean() - two.mean()) < 4.5 * ((one.var() + two.var()) / 20_000).sqrt()


def test_a_connection_reaches_a_whole_block() -> None:
    layer = BuffetLinear(5, 6, units=3).eval()
    layer.connections.logits.data.fill_(50.0)
    layer.connections.logits.data[2, 1] = -50.0
    weight = layer.weight.detach().clone()
    weight[3:, 2] = 0
    x = random_h((4, 5), torch.float32)
    torch.testing.assert_close(layer(x), F.linear(x, weight, layer.bias))


def test_a_connection_switches_a_block_of_kernels() -> None:
    layer = BuffetConv2d(2, 6, 3, units=2, stride=2, padding=1).eval()
    layer.connections.logits.data = torch.tensor([[50.0, -50.0, 50.0]])
    weight = layer.weight.detach().clone()
    weight[2:4] = 0
    x = random_h((2, 2, 5, 5), torch.float32)
    expected = F.conv2d(x, weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("winner_weight", [1.0, 0.0])
def test_negative_elbo_is_cross_entropy_and_its_two_divergences(winner_weight: float) -> None:
    model, (x, y) = network().train(), batch()
    with noise_from(model, seeded(2)):
        loss = NegativeELBO(num_images=50, winner_weight=winner_weight)(model, x, y)
    with noise_from(model, seeded(2)):
        hidden = model[0](x)
        winners = winner_divergence(hidden.unflatten(1, (-1, 3))).mean()
        middle = model[3](model[2](model[1](hidden)))
        winners = winners + winner_divergence(middle.unflatten(1, (-1, 2))).mean()
        connections = model[3].connections.divergence
        error = F.cross_entropy(model[5](model[4](middle)), y)
    torch.testing.assert_close(loss, error + winner_weight * winners + connections / 50)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_divergences_of_a_layer_that_a_pass_uses_twice_are_summed() -> None:
    torch.manual_seed(0)
    first, second, shared = nn.Linear(4, 6), nn.Linear(6, 6), WinnerTakesAll(2)
    model = nn.Sequential(first, shared, second, shared).train()
    x, y = torch.rand(5, 4), torch.arange(5)
    for _ in range(2):  # a pass does not count in the next
        with noise_from(model, seeded(1)):
            loss = NegativeELBO(num_images=50)(model, x, y)
    with noise_from(model, seeded(1)):
        one, answer = first(x), model(x)
    with noise_from(model, seeded(1)):
        other = second(shared(one))
    winners = [winner_divergence(h.unflatten(1, (-1, 2))).mean() for h in (one, other)]
    torch.testing.assert_close(loss, F.cross_entropy(answer, y) + sum(winners))
    assert copy.deepcopy(model)[1].divergence is None


def test_it_learns_by_the_elbo() -> None:
    model = network()
    x = torch.rand(64, 1, 4, 4, generator=seeded(0))
    y = 2 * (x[:, 0, :, :2].mean((1, 2)) > x[:, 0, :, 2:].mean((1, 2))).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loss = NegativeELBO(num_images=10_000, winner_weight=0.01)
    with noise_from(model, seeded(0)):
        for _ in range(200):
            optimizer.zero_grad()
            loss(model.train(), x, y).backward()
            optimizer.step()
        assert (predict(model, x).argmax(1) == y).float().mean() > 0.85


def test_it_draws_from_the_generator_it_is_given_and_stays_random() -> None:
    model, (x, y) = network(), batch()
    runs = []
    for _ in range(2):
        with noise_from(model, seeded(3)):
            runs.append(predict(model, x))
    assert torch.equal(*runs)
    assert not torch.equal(predict(model, x), predict(model, x))
    assert torch.equal(*[FGSM(0.1)(model, x, y, seeded(4)) for _ in range(2)])


def test_a_copy_after_a_pass_in_training_mode_leaves_the_divergence_behind() -> None:
    model = network().train()
    model(batch()[0])
    for other in (copy.deepcopy(model), AveragedModel(model).module):
        assert [other[n].divergence for n in (1, 4)] == [None, None]
        assert other[3].connections.divergence is None
        assert torch.equal(other[3].weight, model[3].weight)
    assert take_divergence(model, IndianBuffet).requires_grad


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: WinnerTakesAll(0), "units is 0"),
        (lambda: WinnerTakesAll(temperature=0.0), "temperature 0.0"),
        (lambda: WinnerTakesAll(temperature=math.nan), "temperature nan"),
        (lambda: WinnerTakesAll(mode="hard"), "mode is 'hard'"),  # type: ignore[arg-type]
        (lambda: WinnerTakesAll(4)(torch.zeros(2, 6)), "6 features do not divide"),
        (lambda: BuffetLinear(3, 5, 2), "5 outputs do not divide"),
        (lambda: NegativeELBO(0), "num_images is 0"),
        (lambda: take_divergence(network(), WinnerTakesAll), "training mode"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
