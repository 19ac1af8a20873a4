"""Kaspar et al.'s tables at a tiny protocol, against the same cells computed step by step."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.black_box import Square
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.data import load
from robustnb.defenses.pni import coefficients
from robustnb.defenses.smoothing import certify
from robustnb.models import predict
from robustnb.papers.pieces import Piece, key, pieces_in, result
from robustnb.papers.stochastic_lwta.attacks import Elsewhere, described
from robustnb.papers.stochastic_lwta.measuring import Answers, noise_off
from robustnb.papers.stochastic_lwta.own_tables import RADII, confidence_cells, histogram
from robustnb.papers.stochastic_lwta.parts import trained
from robustnb.papers.stochastic_lwta.protocols import (
    LWTA,
    MIXED,
    MIXED_NOISE,
    NETWORKS,
    PROTOCOLS,
    REGULAR,
    SMOOTH_LWTA,
    SMOOTHING,
    TUNED,
    Protocol,
    Strength,
    TrainingAttacks,
)
from robustnb.papers.stochastic_lwta.stand_in import Through
from robustnb.papers.stochastic_lwta.tables import (
    DEEP,
    DEEP_LOSS,
    NOISE_OFF,
    TABLES,
    WORST,
    Case,
    judged,
    measure,
)
from robustnb.papers.stochastic_lwta.training import Training, train
from robustnb.papers.tables import Cell
from robustnb.randomness import noise_from, seeded
from robustnb.results import Row, published

TRAINING = Training(
    *("digits", 8, "small CNN"),
    num_images=96,
    num_validation=20,
    schedule="one-cycle",
    batch_size=32,
    epochs=2,
)
ATTACKS = TrainingAttacks(PGD(eps=0.1, alpha=0.1, steps=2), CarliniWagner(c=1.0, steps=2))
DEEPER = Protocol(
    "smoke",
    training=replace(TRAINING, epochs=1),
    training_attacks=ATTACKS,
    strength=Strength(
        num_attacked=5,
        draws=1,
        pgd=PGD(eps=0.1, alpha=0.1, steps=1),
        square=Square(eps=0.1, queries=2, eot_samples=1),
        eot_samples=(1, 2),
        few=1,
    ),
)
TINY = Protocol(
    "smoke",
    training=TRAINING,
    training_attacks=ATTACKS,
    strength=Strength(
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
    deep=DEEPER,
)
# One of each kind: the others have other attacks or networks.
ATTACKED = ("attacks on LWTA", DEEP, "attacks on PNI")
MEASURED = ("1", "2", *ATTACKED, DEEP_LOSS, "cost", "coefficients", "certificate")
Key = tuple[str, str, str]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Row]]:
    """Measure the tiny protocol in a cache of its own, which the tests of this file then use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield measure(TINY, tables=MEASURED, jobs=1, progress=False)


@pytest.fixture(scope="module")
def cells(rows: list[Row]) -> dict[Key, float]:
    return {place(row): row["value"] for row in rows}


def place(row: Row) -> Key:
    return row["table"], row["row"], row["column"]


def of_table(cells: dict[Key, float], table: str) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in cells.items() if key[0] == table}


def images_of_test(number: int) -> tuple[Tensor, Tensor]:
    images, labels = load("digits", "as_published").split("test")
    return F.adaptive_avg_pool2d(images[:number], 8), labels[:number]


def percent_right(logits: Tensor, labels: Tensor) -> float:
    right = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    return 100 * sum(right) / len(right)


def network(name: str, protocol: Protocol = TINY) -> nn.Module:
    return result(trained(protocol, name, 0)).model


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
    assert ours == {place(cell) for cell in published("stochastic-lwta")}
    assert len(ours) == 36


@pytest.mark.parametrize("name", [REGULAR, "Smoothing, PGD, FGSM"])
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
    pgd = PGD(eps=0.3, alpha=0.01, steps=3, random_start=False)
    cases = [Case(LWTA, replace(pgd, norm=norm), 30) for norm in ("l2", "linf")]
    kept = [result(judged(TINY, case, 0)).shares.mean().item() for case in cases]
    summed = cells["2", LWTA, "PGD accuracy, L2 and Linf summed"]
    assert summed == pytest.approx(100 * sum(kept), abs=1e-4)
    assert cells["1", LWTA, "PGD accuracy"] == pytest.approx(100 * kept[1], abs=1e-4)


def test_the_deep_table_is_about_networks_of_its_own(
    rows: list[Row], cells: dict[Key, float]
) -> None:
    deep, usual = of_table(cells, DEEP), of_table(cells, "attacks on LWTA")
    assert {column for _, column in deep} == {column for _, column in usual} - {SMOOTH_LWTA}
    settings = [row["settings"] for row in rows if row["table"] == DEEP]
    assert {each["training"]["epochs"] for each in settings} == {1}
    model, (images, labels) = network(TUNED, DEEPER), images_of_test(5)
    assert deep["none", TUNED] == pytest.approx(percent_right(model(images), labels))
    history = result(trained(DEEPER, LWTA, 0)).history
    assert cells[DEEP_LOSS, "epoch 1", LWTA] == history[0]["train_loss"]


@pytest.mark.parametrize("table", [DEEP, DEEP_LOSS])
def test_no_table_is_about_deep_networks_where_there_are_none(table: str) -> None:
    assert not list(TABLES[table](replace(TINY, deep=None), 0))


@pytest.mark.parametrize("table", ATTACKED)
def test_no_attack_is_worse_than_the_worst_case(cells: dict[Key, float], table: str) -> None:
    found = of_table(cells, table)
    for row, column in found:
        assert found[WORST, column] <= found[row, column]


def test_the_noise_is_off_in_a_column(cells: dict[Key, float]) -> None:
    model, (images, labels) = network(MIXED_NOISE), images_of_test(20)
    with noise_off(model):
        expected = percent_right(predict(model, images), labels)
    assert cells["attacks on PNI", "none", NOISE_OFF] == pytest.approx(expected)


def test_coefficients_are_those_of_each_epoch(cells: dict[Key, float]) -> None:
    found, model = of_table(cells, "coefficients"), network(MIXED_NOISE)
    assert found["epoch 0", f"{MIXED_NOISE}, mean"] == pytest.approx(0.25)
    last = [abs(alpha.item()) for alpha in coefficients(model).values()]
    expected = {"mean": sum(last) / len(last), "first layer": last[0], "last layer": last[-1]}
    for name, value in expected.items():
        assert found["epoch 2", f"{MIXED_NOISE}, {name}"] == pytest.approx(value)


def on_digits(row: str, column: str, value: float, unit: str, **more: Any) -> Cell:
    return Cell(row, column, value, unit, "digits", **more)


def test_the_histogram_of_hand_made_answers() -> None:
    probabilities = torch.full((4, 10), 0.05)
    probabilities[range(4), [0, 1, 2, 3]] = torch.tensor([0.55, 0.35, 0.31, 1.0])
    found = Answers(probabilities, torch.tensor([0, 1, 9, 9]))
    cells = list(histogram("net", on_digits, found))
    assert {cell.num_images for cell in cells} == {4}
    assert {(cell.row, cell.column): cell.value for cell in cells if cell.value} == {
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
    found = Answers(probabilities, torch.tensor([0, 9]))
    assert {cell.column: cell.value for cell in confidence_cells("net", on_digits, found)} == {
        "ECE": pytest.approx((0.2 + 0.4) / 2),
        "mean probability of the answer": pytest.approx(0.6),
        "mean probability of a class": pytest.approx(0.1),
        "answers above 0.5": 50,
    }


def test_certificates_are_those_of_right_answers(cells: dict[Key, float]) -> None:
    found = of_table(cells, "certificate")
    images, labels = images_of_test(20)
    classes, radii = certify(network(SMOOTHING), images, 0.12, n0=1, n=10, generator=seeded(0))
    for radius in RADII:
        certain = [
            int(c) == int(y) and float(r) >= radius
            for c, y, r in zip(classes, labels, radii, strict=True)
        ]
        expected = 100 * sum(certain) / 20
        assert found[f"radius {radius:g}", SMOOTHING] == pytest.approx(expected)


def test_times_are_positive_and_say_their_unit(rows: list[Row]) -> None:
    found = [row for row in rows if row["table"] == "cost"]
    assert {row["column"] for row in found} == {"batch of 1", "batch of 4"}
    assert all(row["unit"] == "ms" and row["value"] > 0 for row in found)


@pytest.mark.parametrize(
    ("where", "num_images", "attack"),
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
    rows: list[Row], where: Key, num_images: int, attack: dict[str, object]
) -> None:
    (row,) = [row for row in rows if place(row) == where]
    assert row["num_images"] == num_images
    assert row["digest"] == load("digits").digest
    assert row["settings"]["network"]["name"] == LWTA
    assert row["settings"]["training"]["epochs"] == 2
    assert row["settings"]["training"]["sigma"] == 0.12
    (described,) = row["settings"]["attacks"]
    assert attack.items() <= described.items()


def test_an_attack_within_another_is_described_too() -> None:
    found = described(Through(FGSM(0.1), "mean", 0.67))
    assert found["attack"] == {
        "name": "FGSM", "eps": 0.1, "eot_samples": 1, "loss": "cross-entropy"
    }  # fmt: skip
    assert described(Elsewhere(TUNED, FGSM(0.1)))["source"] == TUNED


def pieces(protocol: Protocol, tables: Collection[str] = TABLES) -> dict[str, Piece]:
    """Return all pieces of some tables, those that others need among them, by their keys."""
    needed = [part for table in tables for part, _ in TABLES[table](protocol, 0)]
    return {key(piece): piece for piece in within(needed)}


def within(needed: object) -> Iterable[Piece]:
    for piece in pieces_in(needed):
        yield piece
        yield from within(piece.arguments)


def new(changed: Protocol) -> list[Piece]:
    """Return the pieces that the changed protocol does not share with the tiny one."""
    known = pieces(TINY)
    return [piece for key, piece in pieces(changed).items() if key not in known]


def test_each_training_is_one_piece_of_all_tables() -> None:
    trainings = [piece for piece in pieces(TINY).values() if piece.function is train]
    assert len(trainings) == len(NETWORKS) + len({LWTA, TUNED, REGULAR})  # these deeper as well


def test_table_2_shares_its_pieces_with_table_1() -> None:
    (alone,) = pieces(TINY, ["2"]).keys() - pieces(TINY, ["1"]).keys()
    assert pieces(TINY, ["2"])[alone].arguments[1].norm == "l2"


def test_another_attack_is_another_piece_and_nothing_else_is() -> None:
    square = replace(TINY.strength.square, queries=7)
    changed = new(replace(TINY, strength=replace(TINY.strength, square=square)))
    assert {piece.arguments[1] for piece in changed} == {square}


def test_more_draws_concern_stochastic_networks_alone() -> None:
    changed = new(replace(TINY, strength=replace(TINY.strength, draws=7)))
    networks = {piece.arguments[0].arguments[1] for piece in changed}
    assert networks == {net for net in NETWORKS.values() if net.is_stochastic}


def test_an_attack_in_training_concerns_the_networks_that_meet_it() -> None:
    longer = replace(ATTACKS, carlini_wagner=CarliniWagner(c=1.0, steps=3))
    changed = new(replace(TINY, training_attacks=longer))
    trainings = {piece.arguments[1] for piece in changed if piece.function is train}
    assert trainings == {NETWORKS[MIXED], NETWORKS[MIXED_NOISE]}


def test_a_changed_strength_keeps_every_training() -> None:
    changed = new(replace(PROTOCOLS["smoke"], training=TRAINING, training_attacks=ATTACKS))
    assert not [piece for piece in changed if piece.function is train]
