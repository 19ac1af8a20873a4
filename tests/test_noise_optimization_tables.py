"""Xiao, Zhang & Peng's tables at a tiny protocol, against the same cells computed step by step."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import FGSM
from robustnb.attacks.lbfgs import LBFGS, BatchLBFGS
from robustnb.corruptions import CORRUPTIONS, corrupt
from robustnb.data import load
from robustnb.defenses.noise import noise_layers
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.papers.noise_optimization import own_tables, parts
from robustnb.papers.noise_optimization.measuring import in_batches, used
from robustnb.papers.noise_optimization.protocols import PROTOCOLS, Protocol, Study
from robustnb.papers.noise_optimization.published_code import CHANGE, MEAN, STD
from robustnb.papers.noise_optimization.tables import TABLES, measure
from robustnb.papers.noise_optimization.training import Trained, Training, train
from robustnb.papers.pieces import Piece, key, pieces_in, result
from robustnb.randomness import noise_from, seeded
from robustnb.results import Row, published

PAPER = "noise-optimization"
PLAIN, FIXED, LEARNED = "MLP Sigmoid", "MLP+ Sigmoid", "MLPN Sigmoid"
SMALL: dict[str, Any] = {"num_images": 30, "num_attacked": 12, "num_worst": 6, "eot_samples": 2}
SMALL |= {"queries": 5, "draws": 3, "copies": 500, "timed": 2}
DIGITS = Training("digits", epochs=2, batch_size=64, num_images=300)
STUDY = replace(PROTOCOLS["paper"].study("3"), training=DIGITS, **SMALL)
TINY = Protocol("smoke", (STUDY,))
Place = tuple[str, str, str]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Measure on the processor, with a cache that the tests of this file share."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(folder))
        patch.delenv("ROBUSTNB_DEVICE", raising=False)
        yield folder


@pytest.fixture(scope="module")
def cells(cache: Path) -> dict[Place, Row]:
    """Return the rows of one seed."""
    return by_place(measure(TINY, jobs=1, progress=False))


def by_place(rows: list[Row]) -> dict[Place, Row]:
    return {place(row): row for row in rows}


def place(row: Row) -> Place:
    return row["table"], row["row"], row["column"]


def seed_0(cells: dict[Place, Row], *names: str) -> float:
    table, row, column = names
    return float(cells[table, row, column]["values"][0])


def trained(name: str, seed: int = 0, study: Study = STUDY) -> Trained:
    found: Trained = result(parts.trained(study, name, seed))
    return found


def model_of(name: str, seed: int = 0, study: Study = STUDY) -> nn.Module:
    return used(trained(name, seed, study))


def share_right(logits: Tensor, labels: Tensor) -> float:
    right = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    return sum(right) / len(right)


def first(number: int = 30) -> tuple[Tensor, Tensor]:
    return load("digits", splits="at_random").split("test", number)


def looped(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the mean over three single passes, drawn one after the other."""
    with noise_from(model, seeded(0)), torch.no_grad():
        return sum(share_right(model(images), labels) for _ in range(3)) / 3


def test_the_paper_s_protocol_fills_its_210_cells() -> None:
    """With other images, which cells do not depend on."""
    studies = tuple(
        replace(study, training=replace(study.training, dataset="digits"))
        for study in PROTOCOLS["paper"].studies
    )
    filled = [
        (table, cell.row, cell.column)
        for table in ("3", "4", "5", "6")
        for _, cells_of in TABLES[table](Protocol("paper", studies), 0)
        for cell in cells_of(0.5)
    ]
    assert len(filled) == len(set(filled)) == 210
    assert set(filled) == {place(cell) for cell in published(PAPER)}


def test_every_published_cell_of_the_table_is_measured(cells: dict[Place, Row]) -> None:
    ours = {cell for cell in cells if cell[0] == "3"}
    assert ours == {place(cell) for cell in published(PAPER, "3")}
    noisy = {cell[1:] for cell in ours if cell[1] in STUDY.noisy}
    assert {cell[1:] for cell in cells if cell[0] == "noise off"} == noisy


def test_a_plain_network_is_asked_once(cells: dict[Place, Row]) -> None:
    model, (images, labels) = model_of(PLAIN), first()
    assert seed_0(cells, "3", PLAIN, "clean") == pytest.approx(share_right(model(images), labels))
    attacked = FGSM(0.1)(model, images, labels)
    expected = share_right(model(attacked), labels)
    assert seed_0(cells, "3", PLAIN, "white-box FGSM") == pytest.approx(expected)


def test_another_source_shares_no_seed_with_its_target(cells: dict[Place, Row]) -> None:
    source, same = (model_of(STUDY.surrogate, seed) for seed in (own_tables.ANOTHER_SEED, 0))
    for ours, theirs in zip(source.parameters(), same.parameters(), strict=True):
        assert not torch.equal(ours, theirs)
    images, labels = first()
    attacked = FGSM(0.1)(source, images, labels)
    expected = share_right(model_of(PLAIN)(attacked), labels)
    assert seed_0(cells, "another seed", PLAIN, "black-box FGSM") == pytest.approx(expected)


def test_both_readings_of_lbfgs_image_by_image(cells: dict[Place, Row]) -> None:
    model, (images, labels) = model_of("MLP ReLU"), first(6)
    least = [LBFGS()(model, *one) for one in zip(images.split(1), labels.split(1), strict=True)]
    lengths = [(found[0] - image).norm() for found, image in zip(least, images, strict=True)]
    moved = torch.stack([length for length in lengths if length > 0])
    found = seed_0(cells, "L-BFGS", "MLP ReLU", "Szegedy et al.: median L2")
    assert found == pytest.approx(moved.median().item(), rel=1e-3)
    accuracy = seed_0(cells, "L-BFGS", "MLP ReLU", "Szegedy et al.: accuracy")
    assert accuracy == pytest.approx(share_right(model(torch.cat(least)), labels))
    alone = [
        STUDY.lbfgs(model, image[None], label[None])
        for image, label in zip(images, labels, strict=True)
    ]
    expected = share_right(model(torch.cat(alone)), labels)
    column = "the code's, batches of one: accuracy"
    assert seed_0(cells, "L-BFGS", "MLP ReLU", column) == pytest.approx(expected)


def test_a_noisy_network_has_the_mean_over_its_draws(cells: dict[Place, Row]) -> None:
    model, split = model_of(LEARNED), first()
    assert seed_0(cells, "3", LEARNED, "clean") == pytest.approx(looped(model, *split))
    attacked = FGSM(0.1)(model, *split, seeded(1_000))
    expected = looped(model, attacked, split[1])
    assert seed_0(cells, "3", LEARNED, "white-box FGSM") == pytest.approx(expected)


def test_noise_off_is_the_network_without_its_noise(cells: dict[Place, Row]) -> None:
    model, (images, labels) = model_of(LEARNED), first()
    assert isinstance(model, nn.Sequential)
    silent = nn.Sequential(*[m for m in model if m not in noise_layers(model)])
    expected = share_right(silent(images), labels)
    assert seed_0(cells, "noise off", LEARNED, "clean") == pytest.approx(expected)
    attacked = FGSM(0.1)(silent, images, labels)
    expected = share_right(silent(attacked), labels)
    assert seed_0(cells, "noise off", LEARNED, "white-box FGSM") == pytest.approx(expected)


def test_a_network_s_noise_goes_on_again() -> None:
    found = trained(LEARNED)
    for noise in (False, True):
        model = used(found, noise)
        assert all(layer.at_inference == noise for layer in noise_layers(model))


@pytest.mark.parametrize("corruption", ["gaussian noise", "contrast"])
def test_a_corruption_is_the_mean_of_five_severities(
    cells: dict[Place, Row], corruption: str
) -> None:
    model, (images, labels), generator = model_of(PLAIN), first(), seeded(2_000)
    shares = [
        share_right(model(corrupt(corruption, images, severity, generator)), labels)
        for severity in (1, 2, 3, 4, 5)
    ]
    assert seed_0(cells, "3", PLAIN, corruption) == pytest.approx(sum(shares) / 5)


def test_black_box_images_are_made_against_the_attacker_s_network(
    cells: dict[Place, Row],
) -> None:
    source, (images, labels) = model_of("source MLP"), first()
    found = FGSM(0.1)(source, images, labels)
    for name in (PLAIN, "MLP ReLU"):
        expected = share_right(model_of(name)(found), labels)
        assert seed_0(cells, "3", name, "black-box FGSM") == pytest.approx(expected)


def test_gradients_are_averaged_over_the_noise_where_there_is_some(
    cells: dict[Place, Row],
) -> None:
    model, (images, labels) = model_of(LEARNED), first(12)
    found = FGSM(0.1, eot_samples=2)(model, images, labels, seeded(1_000))
    expected = looped(model, found, labels)
    assert seed_0(cells, "EOT", LEARNED, "white-box FGSM") == pytest.approx(expected)
    samples = {
        name: cells["EOT", name, "white-box PGD"]["settings"]["eot_samples"]
        for name in STUDY.networks
    }
    assert samples == {name: 2 if name in STUDY.noisy else 1 for name in STUDY.networks}


def test_the_worst_case_is_no_better_than_any_attack(cells: dict[Place, Row]) -> None:
    for name in STUDY.networks:
        shares = {c: cell["values"][0] for (t, r, c), cell in cells.items()
                  if (t, r) == ("worst case", name)}  # fmt: skip
        assert len(shares) == 5
        assert shares.pop(own_tables.WORST) <= min(shares.values())


def test_attacks_on_many_images_are_made_in_batches() -> None:
    model, split = model_of(PLAIN), first()
    found = in_batches(FGSM(0.1), model, split, seed=0, batch=8)
    assert torch.equal(found, FGSM(0.1)(model, *split))


def test_training_is_recorded_by_epoch(cells: dict[Place, Row]) -> None:
    for layer in (1, 2, 3):
        levels = [seed_0(cells, "sigma", f"{LEARNED}, layer {layer}", f"epoch {e}") for e in (0, 1)]
        assert levels[0] == 1
        assert levels[1] != 1
    assert not [row for table, row, _ in cells if table == "sigma" and "+" in row]
    found = trained(LEARNED)
    last = [layer.sigma.detach().abs().mean().item() for layer in noise_layers(found.model)]
    assert last == pytest.approx(found.sigmas[-1])
    losses = [seed_0(cells, "convergence", LEARNED, f"epoch {epoch}") for epoch in (1, 2)]
    assert losses == [row["train_loss"] for row in found.history]


def test_fixed_noise_is_not_learned() -> None:
    for layer in noise_layers(trained(FIXED).model):
        assert (layer.sigma == 1).all()


def test_the_theorems_hold_to_rounding(cells: dict[Place, Row]) -> None:
    relative = "relative error"
    assert seed_0(cells, "theorems", "Theorem 1", f"{relative}, autograd") < 1e-10
    assert seed_0(cells, "theorems", "Theorem 1", f"{relative}, central differences") < 1e-6
    assert 0 <= seed_0(cells, "theorems", "Theorem 2", "z-score") < 5


def test_the_code_s_sigmoid_network_is_the_one_with_fixed_noise(cells: dict[Place, Row]) -> None:
    for column in ("clean", "white-box FGSM", "white-box PGD"):
        coded = seed_0(cells, "published code", own_tables.CODED, column)
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
        (("published code", f"{LEARNED}, sigma gradient without its sign", "clean"), 30,
         "accuracy in [0,1]", {"sigma_init", "optimizer", "draws"}),
    ],
)  # fmt: skip
def test_a_row_says_what_its_value_depends_on(
    cells: dict[Place, Row], place: Place, num_images: int, unit: str, settings: set[str]
) -> None:
    row = cells[place]
    assert (row["num_images"], row["unit"]) == (num_images, unit)
    assert set(row["settings"]) == settings | {"training"}


def test_seeds_differ_and_are_kept_side_by_side() -> None:
    protocol = Protocol("smoke", (replace(STUDY, networks=(PLAIN,)),))
    for row in measure(protocol, (0, 1), ["convergence"], jobs=1, progress=False):
        assert row["seeds"] == [0, 1]
        assert row["values"][0] != row["values"][1]


# What a result depends on.


def keys(table: str, protocol: Protocol = TINY) -> list[tuple[str, ...]]:
    """Return the keys of each part of a table."""
    return [tuple(map(key, pieces_in(needed))) for needed, _ in TABLES[table](protocol, 0)]


def changed(table: str, **changes: Any) -> set[int]:
    """Return the numbers of the parts that are computed anew when a field of the study changes."""
    protocol = Protocol("smoke", (replace(STUDY, **changes),))
    pairs = zip(keys(table), keys(table, protocol), strict=True)
    return {number for number, (one, other) in enumerate(pairs) if one != other}


def every(columns: set[int], of: int, rows: int = 6) -> set[int]:
    return {row * of + column for row in range(rows) for column in columns}


def test_a_changed_attack_is_computed_anew_and_nothing_else() -> None:
    assert changed("3", fgsm=FGSM(0.2)) == every({1, 8}, of=10)
    assert changed("EOT", fgsm=FGSM(0.2)) == every({0}, of=3)
    for table in ("worst case", "L-BFGS", "convergence", "saliency", "theorems"):
        assert not changed(table, fgsm=FGSM(0.2))


def test_queries_count_for_square_alone() -> None:
    assert changed("worst case", queries=6) == every({2, 4}, of=5)  # and for the worst case
    for table in TABLES.keys() - {"worst case"}:
        assert not changed(table, queries=6)


def test_draws_count_for_networks_with_noise_alone() -> None:
    assert changed("3", draws=4) == set(range(20, 60))
    assert not changed("noise off", draws=4)


def needed(value: Any) -> Iterator[Piece]:
    """Yield the pieces in `value`, and those in their arguments."""
    for piece in pieces_in(value):
        yield from (piece, *needed(piece.arguments))


def test_each_network_is_trained_once_for_all_tables() -> None:
    parts = chain.from_iterable(table(TINY, 0) for table in TABLES.values())
    found = needed([pieces for pieces, _ in parts])
    trainings = {key(piece) for piece in found if piece.function is train}
    assert len(trainings) == len(STUDY.networks) + 2  # and the attacker's, from two seeds


# Tables 5 and 6, and tables that are not there.


def test_the_resnets_go_through_the_same_mill() -> None:
    """With a handful of generated pictures and very narrow networks."""
    few: dict[str, Any] = {"num_images": 4, "draws": 1, "lbfgs": BatchLBFGS(lr=0.05, steps=2)}
    sizes: dict[str, Any] = {"epochs": 1, "batch_size": 8, "num_images": 8, "width": 2}
    five, six = (
        replace(study, training=replace(study.training, dataset=dataset, **sizes), **few)
        for study, dataset in zip(
            PROTOCOLS["paper"].studies[2:], ("shapes", "shapes-2"), strict=True
        )
    )
    six = replace(six, networks=("ResNet34", "ResNet34-AN"))
    colour = Protocol("smoke", (five, six))
    found = by_place(measure(colour, (0,), ["5", "6", "published code"], jobs=1, progress=False))
    printed = [place(cell) for cell in published(PAPER) if cell["table"] in "56"]
    expected = {place for place in printed if place[1] in (*five.networks, *six.networks)}
    assert {place for place in found if place[0] in "56"} == expected
    model, (images, labels) = model_of("ResNet18", study=five), five.images(4).load()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    clamped = ((images - mean) / std).clamp(0, 1) * std + mean
    row = "published code", "ResNet18, normalised and clamped"
    assert seed_0(found, *row, "clean") == pytest.approx(accuracy(predict(model, clamped), labels))
    change = seed_0(found, *row, CHANGE)
    assert change == pytest.approx((clamped - images).abs().mean().item())
    assert set(CORRUPTIONS) < {column for table, _, column in found if table == "6"}


def test_a_table_whose_networks_are_not_there_is_refused() -> None:
    sentence = "'5' is no table at profile smoke: accepted are 3, noise off, another seed, EOT, "
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        measure(TINY, tables=["5"])
    sentence = "'5' has no networks at profile smoke: accepted are 3."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        TINY.study("5")
