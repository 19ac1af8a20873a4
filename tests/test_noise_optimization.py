"""Xiao, Zhang & Peng's tables at a tiny protocol, against the same cells computed step by step."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import FGSM
from robustnb.attacks.lbfgs import LBFGS, BatchLBFGS
from robustnb.corruptions import CORRUPTIONS, corrupt
from robustnb.data import load
from robustnb.defenses.noise import noise_layers
from robustnb.experiments import noise_optimization as paper
from robustnb.experiments import noise_optimization_checks as checks
from robustnb.experiments import noise_optimization_pieces as work
from robustnb.experiments import noise_optimization_published_code as code
from robustnb.experiments import noise_optimization_tables as tables
from robustnb.experiments import noise_optimization_training as training
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded
from robustnb.results import Row, published

SMALL = {"num_images": 30, "num_attacked": 12, "num_worst": 6, "eot_samples": 2, "queries": 5}
SMALL |= {"draws": 3, "copies": 500, "timed": 2}
DIGITS = training.Training("digits", epochs=2, batch_size=64, num_images=300)
TINY = replace(paper.PROTOCOLS["paper"]["3"], training=DIGITS, **SMALL)
PLAIN, FIXED, LEARNED = "MLP Sigmoid", "MLP+ Sigmoid", "MLPN Sigmoid"
Key = tuple[str, str, str]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let the profile smoke be the tiny protocol, on the processor, with a cache of its own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(folder))
        patch.setitem(paper.PROTOCOLS, "smoke", {"3": TINY})
        for module in (training, work, checks, code, paper):
            patch.setattr(module, "DEVICE", torch.device("cpu"))
        yield folder


measure = functools.partial(paper.measure, "smoke", jobs=1, progress=False)


@pytest.fixture(scope="module")
def rows(cache: Path) -> list[Row]:
    """Return the rows of one seed."""
    return measure()


@pytest.fixture(scope="module")
def cells(rows: list[Row]) -> dict[Key, Row]:
    return {key(row): row for row in rows}


def key(row: Row) -> Key:
    return row["table"], row["row"], row["column"]


def seed_0(cells: dict[Key, Row], *names: str) -> float:
    table, row, column = names
    return float(cells[table, row, column]["values"][0])


def share_right(logits: Tensor, labels: Tensor) -> float:
    right = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    return sum(right) / len(right)


def first(number: int = 30) -> tuple[Tensor, Tensor]:
    images, labels = load("digits", splits="at_random").split("test")
    return images[:number], labels[:number]


def looped(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the mean over three single passes, drawn one after the other."""
    with noise_from(model, seeded(0)), torch.no_grad():
        return sum(share_right(model(images), labels) for _ in range(3)) / 3


def test_the_paper_s_protocol_fills_its_210_cells() -> None:
    filled = []
    for study in paper.PROTOCOLS["paper"].values():
        answer = work.Shares(dict.fromkeys(study.everyone, 0.5), 1.0)
        found = dict.fromkeys(tables.printed_pieces(study, 0), answer)
        filled += [(study.table, c.row, c.column) for c in tables.printed_cells(study, found)]
    assert len(filled) == len(set(filled)) == 210
    assert set(filled) == {key(cell) for cell in published(paper.PAPER)}


def test_every_published_cell_of_the_table_is_measured(cells: dict[Key, Row]) -> None:
    ours = {cell for cell in cells if cell[0] == "3"}
    assert ours == {key(cell) for cell in published(paper.PAPER, "3")}
    noisy = {cell[1:] for cell in ours if cell[1] in TINY.noisy}
    assert {cell[1:] for cell in cells if cell[0] == "noise off"} == noisy


def test_a_plain_network_is_asked_once(cells: dict[Key, Row]) -> None:
    model, (images, labels) = work.asked(TINY, PLAIN, 0), first()
    assert seed_0(cells, "3", PLAIN, "clean") == pytest.approx(share_right(model(images), labels))
    attacked = FGSM(0.1)(model, images, labels)
    expected = share_right(model(attacked), labels)
    assert seed_0(cells, "3", PLAIN, "white-box FGSM") == pytest.approx(expected)


def test_a_stranger_shares_no_seed_with_its_target(cells: dict[Key, Row]) -> None:
    source, same = (work.asked(TINY, TINY.surrogate, seed) for seed in (work.stranger(0), 0))
    for ours, theirs in zip(source.parameters(), same.parameters(), strict=True):
        assert not torch.equal(ours, theirs)
    images, labels = first()
    attacked = FGSM(0.1)(source, images, labels)
    expected = share_right(work.asked(TINY, PLAIN, 0)(attacked), labels)
    assert seed_0(cells, "another seed", PLAIN, "black-box FGSM") == pytest.approx(expected)


def test_both_readings_of_lbfgs_image_by_image(cells: dict[Key, Row]) -> None:
    model, (images, labels) = work.asked(TINY, "MLP ReLU", 0), first(6)
    least = [LBFGS()(model, *one) for one in zip(images.split(1), labels.split(1), strict=True)]
    lengths = [(found[0] - image).norm() for found, image in zip(least, images, strict=True)]
    moved = torch.stack([length for length in lengths if length > 0])
    found = seed_0(cells, "L-BFGS", "MLP ReLU", "Szegedy et al.: median L2")
    assert found == pytest.approx(moved.median().item(), rel=1e-3)
    accuracy = seed_0(cells, "L-BFGS", "MLP ReLU", "Szegedy et al.: accuracy")
    assert accuracy == pytest.approx(share_right(model(torch.cat(least)), labels))
    alone = [
        TINY.lbfgs(model, image[None], label[None])
        for image, label in zip(images, labels, strict=True)
    ]
    expected = share_right(model(torch.cat(alone)), labels)
    column = "the code's, batches of one: accuracy"
    assert seed_0(cells, "L-BFGS", "MLP ReLU", column) == pytest.approx(expected)


def test_a_noisy_network_has_the_mean_over_its_draws(cells: dict[Key, Row]) -> None:
    model, split = work.asked(TINY, LEARNED, 0), first()
    assert seed_0(cells, "3", LEARNED, "clean") == pytest.approx(looped(model, *split))
    attacked = FGSM(0.1)(model, *split, seeded(1_000))
    expected = looped(model, attacked, split[1])
    assert seed_0(cells, "3", LEARNED, "white-box FGSM") == pytest.approx(expected)


def test_noise_off_is_the_network_without_its_noise(cells: dict[Key, Row]) -> None:
    model, (images, labels) = work.asked(TINY, LEARNED, 0), first()
    silent = nn.Sequential(*[m for m in model if m not in noise_layers(model)])
    expected = share_right(silent(images), labels)
    assert seed_0(cells, "noise off", LEARNED, "clean") == pytest.approx(expected)
    attacked = FGSM(0.1)(silent, images, labels)
    expected = share_right(silent(attacked), labels)
    assert seed_0(cells, "noise off", LEARNED, "white-box FGSM") == pytest.approx(expected)


@pytest.mark.parametrize("corruption", ["gaussian noise", "contrast"])
def test_a_corruption_is_the_mean_of_five_severities(
    cells: dict[Key, Row], corruption: str
) -> None:
    model, (images, labels), generator = work.asked(TINY, PLAIN, 0), first(), seeded(2_000)
    shares = [
        share_right(model(corrupt(corruption, images, severity, generator)), labels)
        for severity in (1, 2, 3, 4, 5)
    ]
    assert seed_0(cells, "3", PLAIN, corruption) == pytest.approx(sum(shares) / 5)


def test_black_box_images_are_made_against_the_attacker_s_network(cells: dict[Key, Row]) -> None:
    source, (images, labels) = work.trained(TINY, "source MLP", 0).model, first()
    found = FGSM(0.1)(source, images, labels)
    for name in (PLAIN, "MLP ReLU"):
        expected = share_right(work.asked(TINY, name, 0)(found), labels)
        assert seed_0(cells, "3", name, "black-box FGSM") == pytest.approx(expected)


def test_gradients_are_averaged_over_the_noise_where_there_is_some(cells: dict[Key, Row]) -> None:
    model, (images, labels) = work.asked(TINY, LEARNED, 0), first(12)
    found = FGSM(0.1, eot_samples=2)(model, images, labels, seeded(1_000))
    expected = looped(model, found, labels)
    assert seed_0(cells, "EOT", LEARNED, "white-box FGSM") == pytest.approx(expected)
    samples = {
        name: cells["EOT", name, "white-box PGD"]["settings"]["eot_samples"] for name in TINY.names
    }
    assert samples == {name: 1 if name in work.PLAIN else 2 for name in TINY.names}


def test_the_worst_case_is_no_better_than_any_attack(cells: dict[Key, Row]) -> None:
    for name in TINY.names:
        shares = {c: cell["values"][0] for (t, r, c), cell in cells.items()
                  if (t, r) == ("worst case", name)}  # fmt: skip
        assert len(shares) == 5
        assert shares.pop(checks.WORST) <= min(shares.values())


def test_attacks_on_many_images_are_made_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "BATCH", 8)
    model, split = work.asked(TINY, PLAIN, 0), first()
    found, labels = work.in_batches(FGSM(0.1), model, split, 0)
    assert torch.equal(found, FGSM(0.1)(model, *split))
    assert labels is split[1]


def test_training_is_recorded_by_epoch(cells: dict[Key, Row]) -> None:
    for layer in (1, 2, 3):
        levels = [seed_0(cells, "sigma", f"{LEARNED}, layer {layer}", f"epoch {e}") for e in (0, 1)]
        assert levels[0] == 1
        assert levels[1] != 1
    assert not [row for table, row, _ in cells if table == "sigma" and "+" in row]
    trained = work.trained(TINY, LEARNED, 0)
    last = [layer.sigma.detach().abs().mean().item() for layer in noise_layers(trained.model)]
    assert last == pytest.approx(trained.sigmas[-1])
    losses = [seed_0(cells, "convergence", LEARNED, f"epoch {epoch}") for epoch in (1, 2)]
    assert losses == [row["train_loss"] for row in trained.history]


def test_steps_of_sgd_shrink_and_steps_of_adam_do_not() -> None:
    model = nn.Linear(2, 2)
    sgd = replace(DIGITS, lr=1.0, momentum=0.9, decay_every=2)
    optimizer = training.optimizer_for(sgd, model)
    schedule = training.schedule_for(sgd, optimizer, 130)  # three minibatches of 64 an epoch
    assert isinstance(optimizer, torch.optim.SGD)
    assert schedule is not None
    rates = []
    for _ in range(12):
        rates += [optimizer.param_groups[0]["lr"]]
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1.0] * 6 + [0.8] * 6)
    assert training.schedule_for(DIGITS, optimizer, 130) is None


def test_fixed_noise_is_not_learned() -> None:
    for layer in noise_layers(work.trained(TINY, FIXED, 0).model):
        assert (layer.sigma == 1).all()


def test_the_theorems_hold_to_rounding(cells: dict[Key, Row]) -> None:
    relative = "relative error"
    assert seed_0(cells, "theorems", "Theorem 1", f"{relative}, autograd") < 1e-10
    assert seed_0(cells, "theorems", "Theorem 1", f"{relative}, central differences") < 1e-6
    assert 0 <= seed_0(cells, "theorems", "Theorem 2", "z-score") < 5


def test_delta_times_epsilon_by_hand() -> None:
    """One linear layer: delta = softmax - one-hot, epsilon from the same generator."""
    model, (images, labels) = work.asked(TINY, LEARNED, 0).double(), first(5)
    images = images.double()
    found = checks.pathwise(model, (images, labels), seed=3)
    generator = seeded(3)
    noise = [torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (100, 50, 10)]
    with noise_from(model, seeded(3)), torch.no_grad():
        delta = model(images).softmax(1) - F.one_hot(labels, 10)
    torch.testing.assert_close(found[-1], delta * noise[-1])


def test_a_slope_that_is_off_has_a_large_z_score(monkeypatch: pytest.MonkeyPatch) -> None:
    right = checks.pathwise
    monkeypatch.setattr(
        checks, "pathwise", lambda *args, **seed: [1 + found for found in right(*args, **seed)]
    )
    assert checks.theorems(TINY, LEARNED, 0).z_score > 10


def test_the_code_s_gradient_lacks_a_sign() -> None:
    for signed in (True, False):
        layer = code.CodedNoise(3, signed=signed)
        layer.sigma.data = torch.tensor([-0.5, 0.5, -2.0])
        layer.generator = seeded(0)
        out = layer(torch.zeros(1, 3))
        epsilon = torch.randn(1, 3, generator=seeded(0))
        torch.testing.assert_close(out, torch.tensor([0.5, 0.5, 2.0]) * epsilon)
        out.sum().backward()
        sign = torch.tensor([-1.0, 1.0, -1.0]) if signed else torch.ones(3)
        torch.testing.assert_close(layer.sigma.grad, (sign * epsilon).squeeze(0))


def test_epoch_by_epoch_is_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "ENOUGH", 1.1)
    monkeypatch.setattr(code, "MOST_EPOCHS", 2)
    stepwise, at_once = code.train_until_enough(DIGITS, PLAIN, 0), work.trained(TINY, PLAIN, 0)
    for one, two in zip(stepwise.model.parameters(), at_once.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_training_stops_when_the_test_set_is_read_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "ENOUGH", 0.0)
    assert len(code.train_until_enough(DIGITS, PLAIN, 0).history) == 1


def test_the_code_s_sigmoid_network_is_the_one_with_fixed_noise(cells: dict[Key, Row]) -> None:
    for column in ("clean", "white-box FGSM", "white-box PGD"):
        coded = seed_0(cells, "published code", code.CODED, column)
        assert coded == seed_0(cells, "noise off", FIXED, column)
        unchanged = seed_0(cells, "published code", LEARNED, column)
        assert unchanged == seed_0(cells, "3", LEARNED, column)


@pytest.mark.parametrize(
    ("place", "num_images", "unit", "settings"),
    [
        (("3", PLAIN, "clean"), 30, "accuracy in [0,1]", set()),
        (("3", LEARNED, "white-box PGD"), 30, "accuracy in [0,1]", {"draws", "attack", "batch"}),
        (("3", PLAIN, "glass blur"), 30, "accuracy in [0,1]", {"severities", "constants"}),
        (("3", PLAIN, "black-box FGSM"), 30, "accuracy in [0,1]", {"attack", "batch", "source"}),
        (("noise off", LEARNED, "clean"), 30, "accuracy in [0,1]", {"noise at inference"}),
        (("worst case", LEARNED, "worst case"), 6, "accuracy in [0,1]",
         {"attacks", "source", "draws"}),
        (("saliency", LEARNED, "deletion area"), 6, "area under the curve",
         {"num_samples", "sigma"}),
        (("theorems", "Theorem 2", "z-score"), 1, "standard errors",
         {"network", "dtype", "draws"}),
        (("published code", code.UNSIGNED, "clean"), 30, "accuracy in [0,1]",
         {"sigma_init", "optimizer", "draws"}),
    ],
)  # fmt: skip
def test_a_row_says_what_its_value_depends_on(
    cells: dict[Key, Row], place: Key, num_images: int, unit: str, settings: set[str]
) -> None:
    row = cells[place]
    assert (row["num_images"], row["unit"]) == (num_images, unit)
    assert set(row["settings"]) == settings | {"training"}
    assert row["dataset"] == "digits"
    assert row["seconds"] > 0


def test_seeds_differ_and_are_kept_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "TABLES", {"convergence": tables.TABLES["convergence"]})
    for row in measure((0, 1)):
        assert row["seeds"] == [0, 1]
        assert row["values"][0] != row["values"][1]


def test_a_run_that_was_stopped_goes_on_to_the_same_rows(
    cells: dict[Key, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))
    trainings, fit = [], training.fit

    def killed_at_the_third(*args: object, **options: object) -> object:
        trainings.append(1)
        if len(trainings) == 3:
            raise KeyboardInterrupt
        return fit(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "fit", killed_at_the_third)
    monkeypatch.setattr(paper, "TABLES", {tables.PRINTED: tables.TABLES[tables.PRINTED]})
    with pytest.raises(KeyboardInterrupt):
        measure((0,))
    again = measure((0,))
    assert len(trainings) == 3 + 8 - 2 + 2  # two were kept, and two are trained by the code's way
    assert {key(row): row["value"] for row in again} == {
        place: cells[place]["values"][0] for place in cells if place[0] == "3"
    }


@pytest.fixture
def colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Tables 5 and 6 be about a handful of generated pictures and very narrow networks."""
    few = {"num_images": 4, "draws": 1, "lbfgs": BatchLBFGS(lr=0.05, steps=2)}
    sizes = {"epochs": 1, "batch_size": 8, "num_images": 8, "width": 2}
    studies = {}
    for table, dataset in (("5", "shapes"), ("6", "shapes-2")):
        study = paper.PROTOCOLS["paper"][table]
        small = replace(study.training, dataset=dataset, **sizes)
        studies[table] = replace(study, training=small, **few)
    monkeypatch.setitem(paper.PROTOCOLS, "smoke", studies)
    monkeypatch.setitem(work.NETWORKS, "6", ("ResNet34", "ResNet34-AN"))
    kept = (tables.PRINTED, "published code")
    monkeypatch.setattr(paper, "TABLES", {name: tables.TABLES[name] for name in kept})


@pytest.mark.usefixtures("colour")
def test_the_resnets_go_through_the_same_mill() -> None:
    found = {key(row): row for row in measure((0,))}
    printed = [key(cell) for cell in published(paper.PAPER) if cell["table"] in "56"]
    expected = {place for place in printed if place[1] in work.NETWORKS[place[0]]}
    assert {place for place in found if place[0] in "56"} == expected
    study = paper.PROTOCOLS["smoke"]["5"]
    model, (images, labels) = work.asked(study, "ResNet18", 0), work.first_test_images(study)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (code.MEAN, code.STD))
    clamped = ((images - mean) / std).clamp(0, 1) * std + mean
    row = "published code", "ResNet18, normalised and clamped"
    expected = accuracy(predict(model, clamped), labels)
    assert seed_0(found, *row, "clean") == pytest.approx(expected)
    change = seed_0(found, *row, code.CHANGE)
    assert change == pytest.approx((clamped - images).abs().mean().item())
    assert set(CORRUPTIONS) < {column for table, _, column in found if table == "6"}


def test_bad_input_is_named_in_one_sentence() -> None:
    sentence = r"^'quick' is no profile: it must be one of smoke, laptop, paper\.$"
    with pytest.raises(ValueError, match=sentence):
        paper.measure("quick")
    with pytest.raises(ValueError, match=r"^'7' is no table of profile smoke: accepted are 3\.$"):
        paper.measure("smoke", tables=["7"])
