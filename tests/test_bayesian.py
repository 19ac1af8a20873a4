"""The variational layer against closed forms, autograd and finite differences."""

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from robustnb.defenses.bayesian import (
    BayesianLinear,
    NegativeELBO,
    ScaleMixturePrior,
    bayesian_layers,
    mean_network,
    sample_logits,
    take_complexity,
)
from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.models import fully_connected
from robustnb.randomness import noise_from, seeded

PRIOR = ScaleMixturePrior()


def layer(rho_init: float, prior: ScaleMixturePrior | None = None) -> BayesianLinear:
    torch.manual_seed(0)
    one = BayesianLinear(5, 4, prior=prior).double()
    one.rho.data.fill_(rho_init)  # in double precision, for the finite differences
    return one


def network(rho_init: float = -3.0, name: str = "FC-7-3") -> nn.Sequential:
    torch.manual_seed(0)
    return fully_connected(name, in_features=6, layer=partial(BayesianLinear, rho_init=rho_init))


def mixture(prior: ScaleMixturePrior) -> MixtureSameFamily:
    sigmas = torch.tensor([prior.sigma1, prior.sigma2], dtype=torch.float64)
    shares = torch.tensor([prior.pi, 1 - prior.pi], dtype=torch.float64)
    return MixtureSameFamily(Categorical(shares), Normal(torch.zeros_like(sigmas), sigmas))


@pytest.mark.parametrize("rho", [-30, -10, -4, -3, -2.5, -2, -1.5])
def test_sigma_is_the_softplus_of_rho(rho: float) -> None:
    sigma = BayesianLinear(5, 4, rho_init=rho).sigma
    torch.testing.assert_close(sigma, torch.full((4, 6), math.log1p(math.exp(rho))))


def test_prior_is_torch_s_mixture() -> None:
    weights = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    torch.testing.assert_close(PRIOR.log_prob(weights), mixture(PRIOR).log_prob(weights))
    assert PRIOR.std == pytest.approx(mixture(PRIOR).variance.sqrt().item())


def test_prior_is_finite_far_out_in_float32() -> None:
    weights = torch.tensor([6.0, 40.0, -300.0], requires_grad=True)
    PRIOR.log_prob(weights).sum().backward()
    assert torch.isfinite(PRIOR.log_prob(weights)).all()
    assert weights.grad is not None
    torch.testing.assert_close(weights.grad, -weights.detach() / PRIOR.sigma1**2)


@pytest.mark.parametrize("rho_init", [-30.0, -10.0, -3.0, -1.5, 0.5])
def test_complexity_and_gradients_are_autograd_s(rho_init: float) -> None:
    one = layer(rho_init)
    one.generator = seeded(1)
    weights = one.draw()
    assert one.complexity is not None
    (0.3 * one.complexity + weights.pow(3).sum()).backward()

    mu, rho = (p.detach().clone().requires_grad_() for p in (one.mu, one.rho))
    epsilon = torch.randn(mu.shape, generator=seeded(1), dtype=torch.float64)
    plain = mu + F.softplus(rho) * epsilon
    log_q = -F.softplus(rho).log() - epsilon**2 / 2 - 0.5 * math.log(2 * math.pi)
    complexity = (log_q - PRIOR.log_prob(plain)).sum()
    (0.3 * complexity + plain.pow(3).sum()).backward()

    torch.testing.assert_close(one.complexity, complexity)
    torch.testing.assert_close(one.mu.grad, mu.grad)
    torch.testing.assert_close(one.rho.grad, rho.grad)


def test_gradient_in_rho_is_a_central_difference() -> None:
    def loss(rho: float) -> Tensor:
        one = layer(rho)
        one.generator = seeded(3)
        weights = one.draw()
        assert one.complexity is not None
        total: Tensor = one.complexity + weights.square().sum()
        total.backward()
        gradient = one.rho.grad
        assert gradient is not None
        return torch.stack([total.detach(), gradient.sum()])

    step = 1e-5
    difference = (loss(-2 + step)[0] - loss(-2 - step)[0]) / (2 * step)
    torch.testing.assert_close(loss(-2.0)[1], difference, rtol=1e-6, atol=1e-6)


def test_mean_complexity_is_the_kl_in_closed_form() -> None:
    """With both components of the prior alike it is one Gaussian, whose KL is known."""
    one = layer(-1.0, ScaleMixturePrior(0.5, 0.4, 0.4))
    one.generator = seeded(0)
    draws = []
    for _ in range(20_000):
        one.draw()
        assert one.complexity is not None
        draws.append(one.complexity.item())
    posterior = Normal(one.mu.detach(), one.sigma.detach())
    exact = kl_divergence(posterior, Normal(torch.zeros(()).double(), 0.4)).sum().item()
    samples = torch.tensor(draws)
    z_score = (samples.mean() - exact) / (samples.std() / len(draws) ** 0.5)
    assert abs(z_score) < 4


def test_initial_mu_is_a_gaussian_cut_at_two_standard_deviations() -> None:
    torch.manual_seed(0)
    mu = BayesianLinear(400, 400).mu
    assert mu.abs().max() <= 2 * PRIOR.std
    # The standard deviation of a unit Gaussian cut at +-2 is 0.8796.
    assert mu.std().item() == pytest.approx(0.8796 * PRIOR.std, rel=0.01)


def test_without_noise_the_layer_is_linear() -> None:
    one, x = layer(-30.0).float().eval(), torch.randn(3, 5)
    torch.testing.assert_close(one(x), F.linear(x, one.mu[:, :-1], one.mu[:, -1]))
    wide = layer(0.0).eval()
    fixed = mean_network(wide)
    torch.testing.assert_close(
        fixed(x.double()), F.linear(x.double(), wide.mu[:, :-1], wide.mu[:, -1])
    )
    assert wide.sigma.min() > 0.6


@settings(max_examples=20, deadline=None)
@given(
    num_samples=st.integers(1, 7),
    chunk=st.integers(1, 4),
    images=st.integers(1, 5),
    batch_size=st.integers(1, 6),
)
def test_many_draws_are_a_loop_of_single_passes(
    num_samples: int, chunk: int, images: int, batch_size: int
) -> None:
    model, x = network(name="FC-7-6-3").eval(), torch.rand(images, 1, 2, 3)
    many = sample_logits(model, x, num_samples, seeded(5), chunk, batch_size)
    with noise_from(model, seeded(5)), torch.no_grad():
        loop = torch.stack([model(x) for _ in range(num_samples)])
    torch.testing.assert_close(many, loop, rtol=1e-5, atol=1e-5)


def test_sequences_go_through_the_same_draw_as_their_single_steps() -> None:
    one, x = layer(-1.0).float(), torch.randn(3, 6, 5)
    with noise_from(one, seeded(5)):
        together = one(x)
    with noise_from(one, seeded(5)):
        rows = one(x.flatten(0, 1))
    assert torch.equal(together.flatten(0, 1), rows)
    together.sum().backward()
    assert one.mu.grad.ne(0).any()


def test_a_copy_after_a_pass_in_training_mode_leaves_the_complexity_behind() -> None:
    model, x = network().train(), torch.rand(2, 1, 2, 3)
    model(x)
    for other in (copy.deepcopy(model), AveragedModel(model).module):
        assert [layer.complexity for layer in bayesian_layers(other)] == [None, None]
        assert torch.equal(other[2].mu, model[2].mu)
        other[2].mu.data.zero_()
    assert model[2].mu.ne(0).any()
    average, before = AveragedModel(model), model[2].mu.detach().clone()
    average.update_parameters(model)
    model[2].mu.data += 1
    average.update_parameters(model)
    torch.testing.assert_close(average.module[2].mu, before + 0.5)
    assert take_complexity(model).requires_grad


def test_one_draw_serves_the_whole_batch_and_evaluation_mode_stays_random() -> None:
    model, image = network(0.0).eval(), torch.rand(1, 1, 2, 3)
    same = model(image.expand(4, -1, -1, -1))
    torch.testing.assert_close(same, same[:1].expand_as(same))
    assert not torch.equal(model(image), model(image))


@pytest.mark.parametrize(("likelihood", "reduction"), [("sum", "sum"), ("mean", "mean")])
def test_negative_elbo_adds_its_share_of_the_complexity(likelihood, reduction) -> None:
    model, x, y = network(), torch.rand(8, 1, 2, 3), torch.arange(8) % 3
    with noise_from(model, seeded(1)):
        loss = NegativeELBO(num_batches=10, likelihood=likelihood)(model, x, y)
    with noise_from(model, seeded(1)):
        expected = F.cross_entropy(model(x), y, reduction=reduction) + take_complexity(model) / 10
    torch.testing.assert_close(loss, expected)
    with noise_from(model, seeded(1)):
        unweighted = NegativeELBO(10, likelihood, complexity_weight=0.0)(model, x, y)
    with noise_from(model, seeded(1)):
        torch.testing.assert_close(unweighted, F.cross_entropy(model(x), y, reduction=reduction))


class Own(nn.Module):
    """What a reader writes, whose softmax would run over images instead of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = BayesianLinear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).log_softmax(1)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: NegativeELBO(0), "num_batches is 0"),
        (lambda: NegativeELBO(3, "median"), "'median'"),  # type: ignore[arg-type]
        (lambda: ScaleMixturePrior(pi=1.0), "0 < pi < 1"),
        (lambda: ScaleMixturePrior(sigma1=0.1, sigma2=0.2), "sigma1 >= sigma2"),
        (lambda: sample_logits(nn.Flatten(), torch.rand(1, 4), 2), "no Bayesian layers"),
        (
            lambda: sample_logits(
                nn.Sequential(BayesianLinear(4, 4), WinnerTakesAll(2)), torch.rand(1, 4), 2
            ),
            "WinnerTakesAll cannot be asked for many draws at once",
        ),
        (lambda: sample_logits(Own(), torch.rand(1, 4), 2), "Own cannot be asked for many"),
        (
            lambda: sample_logits(
                nn.Sequential(nn.Flatten(), BayesianLinear(4, 4), nn.Flatten()),
                *(torch.rand(1, 4), 2),
            ),
            "Flatten behind a Bayesian layer",
        ),
        (
            lambda: sample_logits(nn.Sequential(BayesianLinear(4, 4)), torch.rand(2, 3, 4), 2),
            r"shape \(2, 3, 4\) and no Flatten before the first Bayesian layer",
        ),
        (lambda: sample_logits(network(), torch.rand(1, 1, 2, 3), 0), "num_samples is 0"),
        (lambda: take_complexity(network()), "training mode"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
