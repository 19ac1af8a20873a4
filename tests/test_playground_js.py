"""Training in the page: gradients, steps and attacks are torch's, with the same draws."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pages import add_functions
from playwright.sync_api import Page
from torch import Tensor, nn

from robustnb.attacks import gradient as gradient_attacks
from robustnb.defenses.bayesian import BayesianLinear, ScaleMixturePrior
from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.randomness import seeded
from robustnb.widgets.plane_networks import DEFENCES, HALF, SETTINGS, defended
from robustnb.widgets.static import HERE

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

WIDTHS = (2, 12, 6, 2)  # 12 and 6 divide into blocks of two and of three
NUM_POINTS, EPS, STEPS = 12, 0.3, 6
CLOSE = 1e-4

# `numbers` are handed out one after the other, whether uniform or normal.
STEP = """([defence, settings, starts, x, labels, numbers, steps]) => {
  let next = 0;
  const take = () => numbers[next++];
  const random = { uniform: take, normal: take };
  const weights = starts.map(({ size, weights, bias }) =>
    ({ size, weights: Float64Array.from(weights), bias: Float64Array.from(bias) }));
  const network = buildDefence(defence, weights, settings);
  const step = trainer(network, random, settings);
  const parameters = network.layers.flatMap((layer) => layer.parameters);
  const losses = [];
  let gradients = null;
  for (let i = 0; i < steps; i++) {
    losses.push(step(Float64Array.from(x), Uint8Array.from(labels)));
    gradients ??= parameters.map(({ gradient }) => Array.from(gradient));
  }
  const values = parameters.map(({ value }) => Array.from(value));
  return { names: parameters.map(({ name }) => name), gradients, values, losses };
}"""

# Trains a session, and says which points and balls are right, and what the network has become.
MEASURED = """([defence, settings, step]) => {
  const session = startSession([defence], settings);
  for (const _ of trainTo(session, step));
  const [{ network, measured }] = session.sides;
  return {
    points: Array.from(session.points),
    labels: Array.from(session.labels),
    weights: network.layers.flatMap(({ parameters }) => parameters.map(({ value }) => [...value])),
    measured,
    places: ballPlaces(settings.norm),
  };
}"""


@pytest.fixture(scope="module")
def page(visit: Visit) -> Iterator[Page]:
    with visit("about:blank") as blank:
        add_functions(blank, HERE / "session.js")
        yield blank


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Let torch's layers draw from a list, in its order, as the page does."""
    given = torch.rand(20_000, generator=seeded(3), dtype=torch.float64) * 0.98 + 0.01
    place = itertools.count()

    def take(shape: Any) -> Tensor:
        size = torch.Size(shape)
        return torch.stack([given[next(place)] for _ in range(size.numel())]).view(size)

    def gumbel(_: WinnerTakesAll, blocks: Tensor) -> Tensor:
        # A block's units lie together, in the page as in torch.
        return -(-take(blocks.shape).log()).log()

    def in_ball(images: Tensor, eps: float, norm: str, _: Any) -> Tensor:
        uniform = take(images.flatten(1).shape)
        if norm == "linf":
            return (eps * (2 * uniform - 1)).view(images.shape)
        radius, angle = eps * uniform[:, :1].sqrt(), 2 * torch.pi * uniform[:, 1:]
        return (radius * torch.cat([angle.cos(), angle.sin()], 1)).view(images.shape)

    monkeypatch.setattr(torch, "randn", lambda shape, **_: take(shape))
    monkeypatch.setattr(WinnerTakesAll, "_gumbel", gumbel)
    monkeypatch.setattr(gradient_attacks, "in_ball", in_ball)
    return given


def page_settings(norm: str = "linf", **changed: float) -> dict[str, Any]:
    prior = asdict(ScaleMixturePrior())
    return SETTINGS | changed | {"eps": EPS, "norm": norm, "prior": prior}


def starts() -> list[dict[str, Any]]:
    """Return the first weights of each layer for the page."""
    generator = seeded(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5

    return [
        {
            "size": {"inputs": inputs, "outputs": outputs},
            "weights": 2 * uniform(outputs, inputs),
            "bias": uniform(outputs),
        }
        for inputs, outputs in itertools.pairwise(WIDTHS)
    ]


def with_weights(model: nn.Module, given: list[dict[str, Any]]) -> nn.Module:
    """Give a network in torch the weights of the page, in double precision."""
    model.double()
    linear = [m for m in model.modules() if isinstance(m, nn.Linear | BayesianLinear)]
    for layer, start in zip(linear, given, strict=True):
        if isinstance(layer, BayesianLinear):
            layer.mu.data.copy_(torch.cat([start["weights"], start["bias"][:, None]], 1))
        else:
            layer.weight.data.copy_(start["weights"])
            layer.bias.data.copy_(start["bias"])
    return model


def trained(model: nn.Module) -> list[Tensor]:
    """Return what is trained, in the page's order too: a layer's weights, then its noise."""
    return [each for each in model.parameters() if each.requires_grad]


def points() -> tuple[Tensor, Tensor]:
    x = torch.rand(NUM_POINTS, 2, generator=seeded(1), dtype=torch.float64) * 3 - 1.5
    return x, torch.randint(2, (NUM_POINTS,), generator=seeded(2))


def as_lists(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    flat = lambda value: value.flatten().tolist() if isinstance(value, Tensor) else value  # noqa: E731
    return [{name: flat(value) for name, value in each.items()} for each in given]


# What the others add to it, the page does not compute.
ONLY_CROSS_ENTROPY = DEFENCES.keys() - {"L2", "Bayesian weights", "winner takes all"}
CASES: dict[str, tuple[str, dict[str, float]]] = {name: (name, {}) for name in DEFENCES} | {
    "winners with their cost": ("winner takes all", {"winner_weight": 0.7}),
    "blocks of three": ("winner takes all", {"winner_weight": 0.2, "units": 3}),
    "wide weights": ("Bayesian weights", {"rho_init": 0.5, "complexity_weight": 0.3}),
    "narrow weights": ("Bayesian weights", {"rho_init": -8.0, "complexity_weight": 0.02}),
    "strong decay": ("L2", {"l2": 0.5}),
    "BANG at 1": ("BANG", {"bang_eps": 1.0}),
}


def check_steps(
    page: Page, numbers: Tensor, defence: str, norm: str = "linf", **changed: float
) -> None:
    """Compare the first gradients, and the weights after some steps, with those of torch."""
    given, (x, labels) = starts(), points()
    made = defended(defence, EPS, norm, WIDTHS, SETTINGS | changed)
    model = with_weights(made.model, given).train()
    optimizer = made.optimizer(model)
    images = ((x + HALF) / (2 * HALF)).view(-1, 1, 1, 2)
    points_given = [x.flatten().tolist(), labels.tolist()]
    settings = page_settings(norm, **changed)
    arguments = [defence, settings, as_lists(given), *points_given, numbers.tolist(), STEPS]
    found = page.evaluate(STEP, arguments)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = made.loss(model, images, labels)
        loss.backward()
        if defence in ONLY_CROSS_ENTROPY:
            assert found["losses"][step] == pytest.approx(loss.item(), abs=CLOSE)
        if step == 0:
            gradients = [each.grad for each in trained(model)]
            for name, ours, theirs in zip(
                found["names"], found["gradients"], gradients, strict=True
            ):
                assert theirs is not None
                assert_close(name, ours, theirs)
        optimizer.step()
    for name, ours, theirs in zip(found["names"], found["values"], trained(model), strict=True):
        assert_close(name, ours, theirs.detach())


def assert_close(name: str, ours: list[float], theirs: Tensor) -> None:
    largest = theirs.abs().max()
    assert largest > 0, f"{name} is all zeros: nothing is compared"
    difference = (torch.tensor(ours, dtype=torch.float64) - theirs.flatten()).abs().max()
    assert difference <= CLOSE * largest.clamp(max=1), name


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_steps_are_torchs(page: Page, numbers: Tensor, case: str) -> None:
    defence, changed = CASES[case]
    check_steps(page, numbers, defence, **changed)


@pytest.mark.parametrize("defence", ["FGSM training", "PGD training"])
def test_attacks_inside_discs_are_torchs(page: Page, numbers: Tensor, defence: str) -> None:
    check_steps(page, numbers, defence, "l2")


# --- what is measured


def in_torch(weights: list[list[float]]) -> nn.Module:
    """Return the plain network with the weights that the page has trained."""
    model = defended("plain", EPS).model.double()
    for own, given in zip(model.parameters(), weights, strict=True):
        own.data.copy_(torch.tensor(given, dtype=torch.float64).view_as(own))
    return model[1:]


def inside(norm: str, side: int) -> Tensor:
    """Return places (K, 2) of a ball of radius 1 on a grid of its own."""
    ticks = torch.linspace(-1, 1, side, dtype=torch.float64)
    square = torch.cartesian_prod(ticks, ticks)
    return square if norm == "linf" else square[square.norm(dim=1) <= 1]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_right_points_and_whole_balls_are_those_of_torch(page: Page, norm: str) -> None:
    settings = page_settings(norm) | {"points": "moons", "own": "", "num_points": 60, "seed": 1}
    found = page.evaluate(MEASURED, ["plain", settings, 100])
    model, labels = in_torch(found["weights"]), torch.tensor(found["labels"])
    points = torch.tensor(found["points"], dtype=torch.float64).view(-1, 2)

    def whole(places: Tensor) -> Tensor:
        balls = points[:, None] + EPS * places
        return (model(balls).argmax(-1) == labels[:, None]).all(1)

    places = torch.tensor(found["places"], dtype=torch.float64)
    measured = found["measured"]
    assert measured["rightPoints"] == (model(points).argmax(1) == labels).tolist()
    assert measured["rightBalls"] == whole(places).tolist()
    assert 0 < measured["robust"] < measured["clean"] == 1
    # The worst case is exact up to the grid: a far finer one finds hardly anything more.
    finer = whole(inside(norm, 61)).double().mean().item()
    assert finer <= measured["robust"] + 1e-9
    assert measured["robust"] - finer <= 0.05


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_places_of_a_ball_reach_its_edge_and_no_farther(page: Page, norm: str) -> None:
    places = torch.tensor(page.evaluate("(norm) => ballPlaces(norm)", norm), dtype=torch.float64)
    order = torch.inf if norm == "linf" else 2
    distances = torch.linalg.vector_norm(places, order, dim=1)
    assert len(torch.unique(places.mul(1e6).round(), dim=0)) == len(places) == 49
    assert places[0].tolist() == [0, 0]
    assert distances.max() <= 1 + 1e-12
    assert (distances > 1 - 1e-12).sum() == 24
    if norm == "linf":
        corners = torch.tensor([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])
        assert all((places == corner).all(1).any() for corner in corners)


@pytest.mark.parametrize("kind", ["moons", "circles", "XOR", "blobs"])
def test_sets_of_points_are_balanced_and_follow_their_seed(page: Page, kind: str) -> None:
    draw = """([kind, seed]) => {
      const { points, labels } = pointSet(kind, "", 200, seed);
      return [[...points], [...labels]];
    }"""
    points, labels = map(torch.tensor, page.evaluate(draw, [kind, 3]))
    assert points.view(-1, 2).abs().max() <= HALF
    assert labels.sum() == 100
    assert torch.equal(points, torch.tensor(page.evaluate(draw, [kind, 3])[0]))
    assert not torch.equal(points, torch.tensor(page.evaluate(draw, [kind, 4])[0]))


def test_what_two_networks_share_is_the_same(page: Page) -> None:
    settings = page_settings() | {"points": "XOR", "own": "", "num_points": 30, "seed": 2}
    alike = """([settings]) => {
      const session = startSession(["plain", "L2", "plain"], { ...settings, l2: 0 });
      for (const _ of trainTo(session, 60));
      return session.sides.map(({ records }) => records);
    }"""
    first, second, third = page.evaluate(alike, [settings])
    assert first == second == third
    assert [row["step"] for row in first] == [0, 25, 50]


def test_leaving_at_any_yield_changes_nothing(page: Page) -> None:
    settings = page_settings() | {"points": "moons", "own": "", "num_points": 30, "seed": 2}
    # Enough yields for one measurement, which begins anew if it is left.
    broken_off = """([settings, every]) => {
      const session = startSession(["PNI", "PGD training"], settings);
      while (session.step < 60) {
        const steps = trainTo(session, 60);
        for (let i = 0; i < every && !steps.next().done; i++);
      }
      for (const _ of trainTo(session, 60));
      return session.sides.map(({ records }) => records);
    }"""
    assert page.evaluate(broken_off, [settings, 97]) == page.evaluate(broken_off, [settings, 1e9])
