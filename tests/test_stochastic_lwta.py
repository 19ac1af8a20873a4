"""Kaspar et al.'s tables at a tiny protocol, against the same cells computed step by step."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.black_box import Square
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.data import load
from robustnb.defenses.adversarial_training import Adversarial, InputNoise, Mixture
from robustnb.defenses.lwta import WinnerTakesAll, competitions
from robustnb.defenses.pni import coefficients
from robustnb.defenses.smoothing import certify
from robustnb.experiments import stochastic_lwta as paper
from robustnb.experiments import stochastic_lwta_attacks as attacks
from robustnb.experiments import stochastic_lwta_pieces as work
from robustnb.experiments import stochastic_lwta_tables as tables
from robustnb.experiments.stochastic_lwta_attacks import Answers, Elsewhere, NoiseOff
from robustnb.experiments.stochastic_lwta_pieces import LWTA, MIXED_NOISE, NETWORKS, TUNED, Through
from robustnb.experiments.stochastic_lwta_tables import WORST, Assault
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded
from robustnb.results import Row, published
from robustnb.training import cross_entropy

TRAINING = work.Training(
    *("digits", 8, "small CNN"),
    num_images=96,
    num_validation=20,
    schedule="one-cycle",
    batch_size=32,
    epochs=2,
    pgd=PGD(eps=0.1, alpha=0.1, steps=2),
    carlini_wagner=CarliniWagner(c=1.0, steps=2),
)
DEEPER = paper.Protocol(
    training=replace(TRAINING, epochs=1),
    strength=tables.Strength(
        num_attacked=5,
        draws=1,
        pgd=PGD(eps=0.1, alpha=0.1, steps=1),
        square=Square(eps=0.1, queries=2, eot_samples=1),
        eot_samples=(1, 2),
        few=1,
    ),
)
TINY = paper.Protocol(
    training=TRAINING,
    deep=DEEPER,
    strength=tables.Strength(
        num_images=30,
        num_attacked=20,
        draws=3,
        pgd=PGD(eps=0.1, alpha=0.05, steps=3),
        square=Square(eps=0.1, queries=5, eot_samples=2),
        eot_samples=(1, 2),
        few=2,
        temperatures=(0.01, 0.67),
        steps=(3, 5),
        constants=(1e-4, 1.0),
    ),
    timed="small CNN",
    batches=(1, 4),
    certified_draws=10,
)
Key = tuple[str, str, str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let the profile smoke be the tiny protocol, with a cache of its own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(folder))
        patch.setitem(paper.PROTOCOLS, "smoke", TINY)
        yield folder


@pytest.fixture(scope="module")
def rows(cache: Path) -> list[Row]:
    return paper.measure("smoke", jobs=1, progress=False)


@pytest.fixture(scope="module")
def cells(rows: list[Row]) -> dict[Key, float]:
    return {key(row): row["value"] for row in rows}


def key(row: Row) -> Key:
    return row["table"], row["row"], row["column"]


def of_table(cells: dict[Key, float], table: str) -> dict[tuple[str, ...], float]:
    return {place[1:]: value for place, value in cells.items() if place[0] == table}


def images_of_test(number: int) -> tuple[Tensor, Tensor]:
    images, labels = load("digits", splits="as_published").split("test")
    return F.adaptive_avg_pool2d(images[:number], 8), labels[:number]


def percent_right(logits: Tensor, labels: Tensor) -> float:
    right = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    return 100 * sum(right) / len(right)


def network(name: str) -> nn.Module:
    return work.network(TRAINING, name, 0)


def uphill(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sign of the input gradient of the loss, image by image."""
    signs = []
    for image, label in zip(images, labels, strict=True):
        inputs = image[None].clone().requires_grad_()
        F.cross_entropy(model(inputs), label[None]).backward()
        signs.append(inputs.grad[0].sign())
    return torch.stack(signs)


def test_tables_1_and_2_are_filled(cells: dict[Key, float]) -> None:
    ours = {place for place in cells if place[0] in "12"}
    assert ours == {key(cell) for cell in published(work.PAPER)}
    assert len(ours) == 36


@pytest.mark.parametrize("name", [work.REGULAR, "Smoothing, PGD, FGSM"])
def test_the_report_s_attacks_step_by_step(cells: dict[Key, float], name: str) -> None:
    model, (images, labels) = network(name), images_of_test(30)
    moved = images
    for _ in range(3):
        moved = moved + 0.01 * uphill(model, moved, labels)
        moved = moved.clamp(images - 0.3, images + 0.3).clamp(0, 1)
    leap = (images + 0.3 * uphill(model, images, labels)).clamp(0, 1)
    expected = {"natural accuracy": images, "PGD accuracy": moved, "FGSM accuracy": leap}
    for column, attacked in expected.items():
        found = cells["1", name, column]
        assert found == pytest.approx(percent_right(model(attacked), labels))


def test_a_stochastic_network_has_the_mean_over_its_draws(cells: dict[Key, float]) -> None:
    images, labels = images_of_test(30)
    for name in (LWTA, MIXED_NOISE):
        model = network(name)
        with noise_from(model, seeded(0)), torch.no_grad():
            draws = [percent_right(model(images), labels) for _ in range(3)]
        assert cells["1", name, "natural accuracy"] == pytest.approx(sum(draws) / 3, abs=1e-4)


def test_table_2_adds_up_two_accuracies(cells: dict[Key, float]) -> None:
    tasks = tables.table_2(TINY.strength)[LWTA, "PGD accuracy, L2 and Linf summed"].tasks
    assert [task.attack.norm for task in tasks] == ["l2", "linf"]
    shares = [attacks.ask(TRAINING, task, 0).shares.mean().item() for task in tasks]
    summed = cells["2", LWTA, "PGD accuracy, L2 and Linf summed"]
    assert summed == pytest.approx(100 * sum(shares), abs=1e-4)
    linf = cells["1", LWTA, "PGD accuracy"]
    assert linf == pytest.approx(100 * shares[1], abs=1e-4)


def test_the_worst_case_is_chosen_in_rehearsal_and_judged_on_other_draws() -> None:
    shares = torch.tensor([[1.0, 0.5, 0.0], [0.2, 0.8, 1.0]])
    rehearsed = torch.tensor([[0.9, 0.9, 0.1], [0.4, 0.7, 0.8]])
    answers = [Answers(*each, 1.0) for each in zip(shares, rehearsed, strict=True)]
    assert Assault(()).accuracy(answers) == pytest.approx(100 * (0.2 + 0.8 + 0.0) / 3)
    assert Assault((), summed=True).accuracy(answers) == pytest.approx(100 * (1.5 + 2.0) / 3)
    assert Assault(()).accuracy(answers[:1]) == pytest.approx(50)


def test_a_rehearsal_that_misleads_leaves_the_best_single_attack() -> None:
    shares = torch.tensor([[0.1, 0.2], [0.9, 0.8]])
    answers = [Answers(share, 1 - share, 1.0) for share in shares]
    assert Assault(()).accuracy(answers) == pytest.approx(15)


def test_the_deep_table_is_about_networks_of_its_own(
    rows: list[Row], cells: dict[Key, float]
) -> None:
    deep, usual = of_table(cells, paper.DEEP), of_table(cells, "attacks on LWTA")
    assert {column for _, column in deep} == {column for _, column in usual} - {work.SMOOTH_LWTA}
    settings = [row["settings"] for row in rows if row["table"] == paper.DEEP]
    assert {each["training"]["epochs"] for each in settings} == {1}
    model, (images, labels) = work.network(DEEPER.training, TUNED, 0), images_of_test(5)
    assert deep["none", TUNED] == pytest.approx(percent_right(model(images), labels))
    history = work.trained(DEEPER.training, LWTA, 0).history
    assert cells[paper.DEEP_LOSS, "epoch 1", LWTA] == history[0]["train_loss"]
    for table in (paper.DEEP, paper.DEEP_LOSS):
        assert not list(paper.TABLES[table].cells(replace(TINY, deep=None), 0))


@pytest.mark.parametrize("table", ["attacks on LWTA", paper.DEEP, "attacks on PNI"])
def test_no_attack_is_worse_than_the_worst_case(cells: dict[Key, float], table: str) -> None:
    found = of_table(cells, table)
    for row, column in found:
        assert found[WORST, column] <= found[row, column]


def test_a_rehearsal_has_draws_of_its_own(cache: Path) -> None:
    task = attacks.Task(LWTA, None, 30, 3)
    answers = attacks.ask(TRAINING, task, 0)
    assert not torch.equal(answers.shares, answers.rehearsed)
    quiet = attacks.ask(TRAINING, attacks.Task(TUNED, None, 30, 3), 0)
    assert torch.equal(quiet.shares, quiet.rehearsed)


def test_a_stand_in_serves_the_attack_alone() -> None:
    model = nn.Sequential(nn.Flatten(), WinnerTakesAll(2, "relaxed", 0.01))
    seen = []

    def probe(model: nn.Module, images: Tensor, *_: object) -> Tensor:
        seen.extend((layer.mode, layer.temperature) for layer in competitions(model))
        return images

    images, labels = images_of_test(2)
    Through(probe, "mean", 0.67)(model, images, labels)
    assert seen == [("mean", 0.67)]
    assert [(layer.mode, layer.temperature) for layer in competitions(model)] == [("relaxed", 0.01)]


def test_noise_is_switched_off_and_on_again(cells: dict[Key, float]) -> None:
    model, (images, labels) = network(MIXED_NOISE), images_of_test(20)
    before = [alpha.item() for alpha in coefficients(model).values()]
    with attacks.noise_off(model):
        quiet = predict(model, images)
        assert torch.equal(quiet, predict(model, images))
    assert [alpha.item() for alpha in coefficients(model).values()] == before
    assert not torch.equal(predict(model, images), predict(model, images))
    found = cells["attacks on PNI", "none", tables.NOISE_OFF]
    assert found == pytest.approx(percent_right(quiet, labels))
    seen = []
    NoiseOff(lambda net, x, *_: seen.append(predict(net, x)))(model, images, labels)
    assert torch.equal(seen[0], quiet)


def test_transfer_takes_what_fools_the_other_network(cells: dict[Key, float]) -> None:
    images, labels = images_of_test(20)
    found = TINY.strength.pgd(network(TUNED), images, labels, seeded(1_000))
    shares = attacks.shares_right(network(LWTA), found, labels, 3, 0)
    row = f"transfer from {TUNED}"
    measured = cells["attacks on LWTA", row, LWTA]
    assert measured == pytest.approx(100 * shares.mean().item(), abs=1e-4)


def test_networks_are_trained_as_their_names_say() -> None:
    generator = seeded(0)
    pgd, wagner = TRAINING.pgd, TRAINING.carlini_wagner
    mixed = (InputNoise(TRAINING.sigma), pgd, FGSM(pgd.eps), wagner)
    expected = {
        work.REGULAR: cross_entropy,
        work.NOISE: cross_entropy,
        work.SMOOTHING: Mixture(mixed[:1], generator=generator),
        "Smoothing, PGD": Mixture(mixed[:2], generator=generator),
        "Smoothing, PGD, FGSM": Mixture(mixed[:3], generator=generator),
        work.MIXED: Mixture(mixed, generator=generator),
        MIXED_NOISE: Mixture(mixed, generator=generator),
        LWTA: Adversarial(Through(pgd, "relaxed", 0.01), generator=generator),
        TUNED: Adversarial(pgd, generator=generator),
        work.SMOOTH_LWTA: Adversarial(Through(pgd, "mean", 0.01), generator=generator),
    }
    assert {name: work.loss(TRAINING, name, generator) for name in NETWORKS} == expected
    for name in NETWORKS:
        model = work.build(TRAINING, name)
        assert bool(coefficients(model)) == ("Noise Injection" in name)
        assert bool(competitions(model)) == ("LWTA" in name)


def test_a_trained_network_is_served_cold(cache: Path) -> None:
    hot, cold = (
        {(layer.mode, layer.temperature) for layer in competitions(model)}
        for model in (work.build(TRAINING, LWTA), network(LWTA))
    )
    assert (hot, cold) == ({("relaxed", 0.67)}, {("relaxed", 0.01)})


def test_the_report_s_network_is_that_of_section_4() -> None:
    training = paper.PROTOCOLS["paper"].training
    assert (training.dataset, training.epochs, training.lr) == ("cifar10", 30, 0.1)
    assert training.pgd == PGD(eps=8 / 255, alpha=0.007, steps=20)
    model = work.build(replace(training, dataset="digits"), LWTA)
    number = sum(parameter.numel() for parameter in model.parameters())
    assert number == 466_714 - 2 * 9 * 16  # of three colours, digits have one


def test_coefficients_are_those_of_each_epoch(cells: dict[Key, float]) -> None:
    found, model = of_table(cells, "coefficients"), network(MIXED_NOISE)
    assert found["epoch 0", f"{MIXED_NOISE}, mean"] == pytest.approx(0.25)
    last = [abs(alpha.item()) for alpha in coefficients(model).values()]
    expected = {"mean": sum(last) / len(last), "first layer": last[0], "last layer": last[-1]}
    for name, value in expected.items():
        assert found["epoch 2", f"{MIXED_NOISE}, {name}"] == pytest.approx(value)


def test_the_histogram_of_hand_made_answers() -> None:
    probabilities = torch.full((4, 10), 0.05)
    probabilities[range(4), [0, 1, 2, 3]] = torch.tensor([0.55, 0.35, 0.31, 1.0])
    answered = work.Answered(probabilities, torch.tensor([0, 1, 9, 9]), 4, 1.0)
    cells = {(row, column): value for row, column, value, _ in paper._histogram("net", answered)}
    filled = {place: value for place, value in cells.items() if value}
    assert filled == {
        ("0.3 to 0.4", "net, all images"): 50,
        ("0.5 to 0.6", "net, all images"): 25,
        ("0.9 to 1.0", "net, all images"): 25,
        ("0.3 to 0.4", "net, right answers"): 50,
        ("0.5 to 0.6", "net, right answers"): 50,
    }


def test_the_calibration_of_hand_made_answers() -> None:
    probabilities = torch.zeros(2, 10)
    probabilities[0, 0], probabilities[0, 1] = 0.8, 0.2
    probabilities[1, 2], probabilities[1, 3], probabilities[1, 4] = 0.4, 0.3, 0.3
    answered = work.Answered(probabilities, torch.tensor([0, 9]), 2, 1.0)
    cells = {column: value for _, column, value, _ in paper._calibration("net", answered)}
    assert cells == {
        "ECE": pytest.approx((0.2 + 0.4) / 2),
        "mean probability of the answer": pytest.approx(0.6),
        "mean probability of a class": pytest.approx(0.1),
        "answers above 0.5": 50,
    }


def test_certificates_are_those_of_right_answers(cells: dict[Key, float]) -> None:
    found = of_table(cells, "certificate")
    images, labels = images_of_test(20)
    classes, radii = certify(network(work.SMOOTHING), images, 0.12, n0=1, n=10, generator=seeded(0))
    for radius in paper.RADII:
        certain = [
            int(c) == int(y) and float(r) >= radius
            for c, y, r in zip(classes, labels, radii, strict=True)
        ]
        expected = 100 * sum(certain) / 20
        assert found[f"radius {radius:g}", work.SMOOTHING] == pytest.approx(expected)


def test_times_are_positive_and_say_their_unit(rows: list[Row]) -> None:
    found = [row for row in rows if row["table"] == "cost"]
    assert {row["column"] for row in found} == {"batch of 1", "batch of 4"}
    assert all(row["unit"] == "ms" and row["value"] > 0 for row in found)


@pytest.mark.parametrize(
    ("place", "num_images", "attack"),
    [
        (("1", LWTA, "natural accuracy"), 30, {}),
        (
            ("1", LWTA, "CW accuracy"),
            30,
            {"name": "CarliniWagner", "c": 1e-4, "kappa": 0.01, "steps": 50},
        ),
        (("attacks on LWTA", "PGD, mean mask", LWTA), 20, {"name": "Through", "mode": "mean"}),
        (("attacks on LWTA", f"transfer from {TUNED}", LWTA), 20, {"source": TUNED}),
    ],
)
def test_a_row_says_what_its_value_depends_on(
    rows: list[Row], place: Key, num_images: int, attack: dict[str, object]
) -> None:
    (row,) = [row for row in rows if key(row) == place]
    assert row["num_images"] == num_images
    assert row["digest"] == load("digits").digest
    assert row["settings"]["network"]["name"] == LWTA
    assert row["settings"]["training"]["epochs"] == 2
    (described,) = row["settings"]["attacks"]
    assert attack.items() <= described.items()


def test_an_attack_within_another_is_described_too() -> None:
    described = attacks.described(Through(FGSM(0.1), "mean", 0.67))
    assert described["attack"] == {
        "name": "FGSM", "eps": 0.1, "eot_samples": 1, "loss": "cross-entropy"
    }  # fmt: skip
    assert attacks.described(Elsewhere(TUNED, FGSM(0.1)))["source"] == TUNED


def test_an_interrupted_run_goes_on_and_gives_the_same_rows(
    cells: dict[Key, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))
    trained: list[str] = []
    train = work.train

    def interrupted(training: work.Training, name: str, seed: int) -> work.Trained:
        if len(trained) == 1:
            trained.append("interrupted")
            raise KeyboardInterrupt
        trained.append(name)
        return train(training, name, seed)

    interrupted.__module__, interrupted.__qualname__ = train.__module__, train.__qualname__
    monkeypatch.setattr(work, "train", interrupted)
    some = ["confidence", "calibration"]
    with pytest.raises(KeyboardInterrupt):
        paper.measure("smoke", tables=some, jobs=1, progress=False)
    rows = paper.measure("smoke", tables=some, jobs=1, progress=False)
    assert len(trained) == len(set(trained)) == 4 + 1
    assert {key(row): row["value"] for row in rows} == {
        place: value for place, value in cells.items() if place[0] in some
    }


def test_seeds_are_kept_side_by_side(cache: Path) -> None:
    rows = paper.measure("smoke", (0, 1), ["calibration"], jobs=1, progress=False)
    assert all(row["seeds"] == [0, 1] for row in rows)
    assert any(row["values"][0] != row["values"][1] for row in rows)


def test_named_tables_are_measured_alone(rows: list[Row]) -> None:
    alone = paper.measure("smoke", tables=["controls", "2"], jobs=1, progress=False)
    assert alone == [row for row in rows if row["table"] in ("controls", "2")]


def test_bad_input_is_named_in_one_sentence() -> None:
    sentence = r"^'quick' is no profile: it must be one of smoke, laptop, paper\.$"
    with pytest.raises(ValueError, match=sentence):
        paper.measure("quick")
    with pytest.raises(ValueError, match=r"^'3' is no table: it must be one of 1, 2, controls, "):
        paper.measure("smoke", tables=["1", "3"])
