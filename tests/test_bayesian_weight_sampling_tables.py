"""Zhang & Chen's tables at a tiny protocol, against the same cells computed step by step."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import PGD
from robustnb.data import load
from robustnb.defenses.bayesian import mean_network
from robustnb.papers.bayesian_weight_sampling import parts
from robustnb.papers.bayesian_weight_sampling.control_tables import AS_CHOSEN
from robustnb.papers.bayesian_weight_sampling.measuring import accuracy_of_draws, perturb
from robustnb.papers.bayesian_weight_sampling.protocols import PROTOCOLS, Protocol
from robustnb.papers.bayesian_weight_sampling.tables import TABLES, measure
from robustnb.papers.bayesian_weight_sampling.training import Training, train_bayesian
from robustnb.papers.pieces import Piece, is_kept, key, pieces_in, resolved, result
from robustnb.pruning import prune
from robustnb.randomness import noise_from, seeded
from robustnb.results import Row, published

PAPER = "bayesian-weight-sampling"
TINY = Protocol(
    "smoke",
    plain=Training("digits", lr=1e-2, batch_size=64, epochs=2),
    bayesian=Training("digits", lr=1e-4, batch_size=128, epochs=1),
    rho_inits=(-30.0, -3.0),
    lambdas=("0", "1e-2"),
    sources=("FC-10",),
    pruned=(50,),
    ensembles=(1, 5),
    num_images=40,
    white_box=PGD(eps=0.05, alpha=0.02, steps=3),
    eot_samples=(1, 2),
    num_attacked=20,
    alphas=(0.025, 0.1),
    queries=5,
)
SETS = ("FC-10 lambda=0", "FC-10 lambda=1e-2")
BAYESIAN = "bayesian rho_init=-3"
CONTROL = "plain, variational initialisation"
Key = tuple[str, str, str]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the tests of this file share what they compute, and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def rows(_cache: None) -> list[Row]:
    """Return the rows of two seeds."""
    return measure(TINY, (0, 1), jobs=1, progress=False)


@pytest.fixture(scope="module")
def cells(rows: list[Row]) -> dict[Key, Row]:
    return {place(row): row for row in rows}


def place(row: Row) -> Key:
    return row["table"], row["row"], row["column"]


def seed_0(cells: dict[Key, Row], *names: str) -> float:
    table, row, column = names
    return float(cells[table, row, column]["values"][0])


def plain_network(strength: str) -> nn.Module:
    model: nn.Module = result(parts.plain(TINY.plain, "FC-100-100-10", strength, 0)).model
    return model


def bayesian_network(rho_init: float) -> nn.Module:
    model: nn.Module = result(parts.bayesian(TINY.bayesian, rho_init, 0)).model
    return model


@cache
def perturbed_images(name: str) -> Tensor:
    images: Tensor = result(parts.perturbation_sets(TINY, 0)[name]).images
    return images


def percent_right(logits: Tensor, labels: Tensor) -> float:
    right = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    return 100 * sum(right) / len(right)


def looped_draws(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return probabilities (5, N, 10) of single passes, and labels, for all images in turn."""
    dataset, generator = load("digits"), seeded(0)
    images = {name: dataset.split(name) for name in ("validation", "test")}
    labels = dataset.split("test", 40)[1]
    images |= {name: (perturbed_images(name), labels) for name in SETS}
    with noise_from(model, generator), torch.no_grad():
        return {
            name: (torch.stack([model(x).softmax(1) for _ in range(5)]), y)
            for name, (x, y) in images.items()
        }


def test_the_paper_s_protocol_fills_its_320_cells() -> None:
    protocol = PROTOCOLS["paper"]
    sizes = dict.fromkeys(protocol.ensembles, 0.5)
    filled = [
        (table, cell.row, cell.column)
        for table in "1234"
        for pieces, cells in TABLES[table](replace(protocol, plain=TINY.plain), 0)
        for cell in cells(resolved(pieces, lambda _: sizes))
    ]
    assert len(filled) == len(set(filled)) == 320
    assert set(filled) == {place(cell) for cell in published(PAPER)}


def test_every_row_of_the_paper_s_tables_is_published(cells: dict[Key, Row]) -> None:
    ours = {cell for cell in cells if cell[0] in "1234"}
    assert ours < {place(cell) for cell in published(PAPER)}
    # 4 networks, clean on 2 splits; 2 sets and their average; 2 ensembles; 1 pruned network.
    assert len(ours) == 4 * 2 + 4 * 3 + 2 * 3 + (2 + 3)


def test_standard_networks_are_read_off_the_perturbed_images(cells: dict[Key, Row]) -> None:
    labels = load("digits").split("test", 40)[1]
    for strength in TINY.lambdas:
        model, column = plain_network(strength), f"standard lambda={strength}"
        for name in SETS:
            expected = percent_right(model(perturbed_images(name)), labels)
            assert seed_0(cells, "2", name, column) == pytest.approx(expected)
        for split in ("validation", "test"):
            images, truth = load("digits").split(split)
            expected = percent_right(model(images), truth)
            assert seed_0(cells, "1", split, column) == pytest.approx(expected)


def test_bayesian_networks_have_the_mean_over_single_draws(cells: dict[Key, Row]) -> None:
    for rho_init in TINY.rho_inits:
        found = looped_draws(bayesian_network(rho_init))
        for name, (draws, labels) in found.items():
            expected = sum(percent_right(draw, labels) for draw in draws) / 5
            table, column = "2" if name in SETS else "1", f"bayesian rho_init={rho_init:g}"
            assert seed_0(cells, table, name, column) == pytest.approx(expected)


def test_ensembles_average_the_probabilities(cells: dict[Key, Row]) -> None:
    found = looped_draws(bayesian_network(-3.0))
    for name, (draws, labels) in found.items():
        table, row = ("3", name) if name in SETS else ("unpruned", f"original {name}")
        expected = percent_right(draws.mean(0), labels)
        assert seed_0(cells, table, row, "ensemble N=5") == pytest.approx(expected)


def test_pruned_networks_are_measured_as_ensembles(cells: dict[Key, Row]) -> None:
    found = looped_draws(prune(bayesian_network(-3.0), 0.5))
    for name, (draws, labels) in found.items():
        row = name if name in SETS else f"original {name}"
        expected = percent_right(draws.mean(0), labels)
        assert seed_0(cells, "4", row, "pruned 50%") == pytest.approx(expected)


def test_average_is_the_mean_of_the_sets(cells: dict[Key, Row]) -> None:
    averages = [(table, column) for table, row, column in cells if row == "average"]
    assert len(averages) == 4 + 2 + 1
    for table, column in averages:
        values = [cells[table, name, column]["value"] for name in SETS]
        assert cells[table, "average", column]["value"] == pytest.approx(sum(values) / 2)


def test_an_ensemble_of_one_is_the_network_of_table_2(cells: dict[Key, Row]) -> None:
    for name in (*SETS, "average"):
        single = cells["3", name, "ensemble N=1"]
        assert single["values"] == cells["2", name, BAYESIAN]["values"]


def test_perturbed_images_fool_their_own_network_and_spare_lost_ones(
    cells: dict[Key, Row],
) -> None:
    clean, labels = load("digits").split("test", 40)
    for name, source in parts.sources(TINY, 0).items():
        trained, made = result(source).model, perturbed_images(name)
        assert seed_0(cells, "distortion", name, "accuracy") == 0
        assert percent_right(trained(made), labels) == 0
        lost = trained(clean).argmax(1) != labels
        assert 0 < lost.sum() < 40
        unchanged = (made == clean).flatten(1).all(1)
        assert torch.equal(unchanged, lost)
        pixels = 2 * (made - clean).flatten(1)  # on the paper's scale of 0..2
        expected = pixels.square().mean(1).sqrt().mean().item()
        measured = seed_0(cells, "distortion", name, "mean distortion")
        assert measured == pytest.approx(expected, rel=1e-5)


def test_every_network_is_attacked_itself(cells: dict[Key, Row]) -> None:
    expected = {("PGD EOT=1", f"standard lambda={strength}") for strength in TINY.lambdas}
    for rho_init in TINY.rho_inits:
        for row in ("PGD EOT=1", "PGD EOT=2"):
            column = f"bayesian rho_init={rho_init:g}"
            expected |= {(row, column), (f"{row}, ensemble N=5", column)}
    attacked = {cell[1:]: row for cell, row in cells.items() if cell[0] == "white-box"}
    assert set(attacked) == expected
    images, labels = load("digits").split("test", 20)
    unharmed = percent_right(plain_network("0")(images), labels)
    assert attacked["PGD EOT=1", "standard lambda=0"]["values"][0] < unharmed


def test_mean_weights_are_read_off_the_same_sets(cells: dict[Key, Row]) -> None:
    model = mean_network(bayesian_network(-3.0))
    labels = load("digits").split("test", 40)[1]
    accuracies = [percent_right(model(perturbed_images(name)), labels) for name in SETS]
    measured = seed_0(cells, "controls", "mean weights", "average over 2 sets")
    assert measured == pytest.approx(sum(accuracies) / 2)


def test_the_attack_s_own_step_gives_the_averages_of_table_2(cells: dict[Key, Row]) -> None:
    row = f"alpha={TINY.attack.alpha:g}"
    for strength in TINY.lambdas:
        column = f"standard lambda={strength}"
        averages = cells["attack step", row, column], cells["2", "average", column]
        assert averages[0]["values"] == averages[1]["values"]


def test_our_reading_is_that_of_table_2(cells: dict[Key, Row]) -> None:
    measured = seed_0(cells, "choices", AS_CHOSEN, "average over 2 sets")
    assert measured == seed_0(cells, "2", "average", BAYESIAN)


def test_every_network_is_asked_about_images_that_fool_the_other_kind(
    cells: dict[Key, Row],
) -> None:
    columns = {column for table, _, column in cells if table == "other kind"}
    assert columns == {column for table, _, column in cells if table == "worst case"}
    (made,) = (piece for piece in pieces(TINY, ["other kind"]) if piece.function is perturb)
    images, labels = result(made).load()
    assert percent_right(result(made.arguments[0]).model(images), labels) == 0
    expected = percent_right(plain_network("0")(images), labels)
    measured = seed_0(cells, "other kind", "average over 1 sets", "standard lambda=0")
    assert measured == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["", ", ensemble N=5"])
def test_the_worst_case_is_no_better_than_any_attack(cells: dict[Key, Row], kind: str) -> None:
    found = {(row, column): cell for (t, row, column), cell in cells.items() if t == "worst case"}
    columns = {column for _, column in found}
    plain = {f"standard lambda={strength}" for strength in TINY.lambdas}
    assert columns == {"bayesian rho_init=-30", BAYESIAN, CONTROL} | plain
    for column in columns:
        accuracies = {row: cell["values"][0] for (row, c), cell in found.items() if c == column}
        attacks = [row for row in accuracies if row.endswith("N=5") == bool(kind)]
        assert len(attacks) == 5
        assert accuracies[f"worst case{kind}"] <= min(accuracies[row] for row in attacks)


@pytest.mark.parametrize(
    ("place", "num_images", "settings"),
    [
        (("1", "validation", "standard lambda=0"), 257, {"training"}),
        (("1", "test", BAYESIAN), 257, {"training", "draws", "ensemble"}),
        (("2", SETS[0], "standard lambda=0"), 40, {"training", "attack", "attacked"}),
        (
            ("3", "average", "ensemble N=5"),
            40,
            {"training", "attack", "attacked", "draws", "ensemble", "sets"},
        ),
        (("white-box", "PGD EOT=2", BAYESIAN), 20, {"training", "attack", "draws", "ensemble"}),
        (("distortion", SETS[0], "mean distortion"), 40, {"attack", "attacked"}),
        (("controls", "plain, both", "test"), 257, {"training", "strength", "initialisation"}),
        (
            ("controls", "mean weights", "average over 2 sets"),
            40,
            {"training", "weights", "attack", "attacked", "sets"},
        ),
        (("worst case", "worst case", BAYESIAN), 20, {"attacks", "draws"}),
    ],
)
def test_a_row_says_what_its_value_depends_on(
    cells: dict[Key, Row], place: Key, num_images: int, settings: set[str]
) -> None:
    row = cells[place]
    assert row["num_images"] == num_images
    assert set(row["settings"]) == settings
    assert row["dataset"] == "digits"
    assert row["digest"] == load("digits").digest
    assert row["seconds"] > 0


def test_settings_tell_the_networks_and_attacks_apart(cells: dict[Key, Row]) -> None:
    standard = cells["2", SETS[0], "standard lambda=0"]["settings"]
    pruned = cells["4", SETS[0], "pruned 50%"]["settings"]
    assert standard["training"] == standard["attacked"] == pruned["attacked"]
    assert (standard["training"]["lr"], pruned["training"]["lr"]) == (1e-2, 1e-4)
    assert pruned["attack"]["clip"] is False
    assert (pruned["draws"], pruned["ensemble"]) == (5, 5)
    assert cells["white-box", "PGD EOT=2", BAYESIAN]["settings"]["attack"]["eot_samples"] == 2


def test_seeds_differ_and_are_kept_side_by_side(rows: list[Row]) -> None:
    several = [row for row in rows if row["table"] != "choices"]
    assert all(row["seeds"] == [0, 1] and len(row["values"]) == 2 for row in several)
    assert all(row["seeds"] == [0] for row in rows if row not in several)
    drawn = [row for row in rows if row["column"].startswith("bayesian")]
    assert sum(row["values"][0] != row["values"][1] for row in drawn) > len(drawn) / 2


def test_a_clean_cache_and_more_threads_give_the_same_rows(
    cells: dict[Key, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = measure(TINY, (0,), ["2", "white-box"], jobs=1, progress=False)
    finally:
        torch.set_num_threads(threads)
    assert again
    for row in again:
        assert row["value"] == cells[place(row)]["values"][0]


# What is computed again when a protocol changes.


def needed(value: Any) -> Iterator[Piece]:
    """Yield the pieces in a value and those that they need."""
    for piece in pieces_in(value):
        yield piece
        yield from needed(piece.arguments)


def pieces(protocol: Protocol, tables: Iterable[str] = TABLES) -> set[Piece]:
    """Return all pieces that tables need for seed 0."""
    return {piece for n in tables for found, _ in TABLES[n](protocol, 0) for piece in needed(found)}


def functions(found: Iterable[Piece]) -> set[str]:
    return {piece.function.__name__ for piece in found}


def test_each_piece_has_a_key_and_is_computed_by_one_run(rows: list[Row]) -> None:
    found = pieces(TINY)
    assert len({key(piece) for piece in found}) == len(found)
    assert all(map(is_kept, found))


def test_one_training_serves_all_tables() -> None:
    users = []
    for name in TABLES:
        trained = [p for p in pieces(TINY, [name]) if p.function is train_bayesian]
        users += [piece for piece in trained if piece.arguments[1] == -3.0]
    assert len(users) > 8
    assert len(set(users)) == 1


def test_another_step_of_pgd_makes_pgd_anew_alone() -> None:
    changed = replace(TINY, white_box=replace(TINY.white_box, alpha=0.01))
    new = pieces(changed) - pieces(TINY)
    assert functions(new) == {"perturb", "accuracy_of_pass", "accuracy_of_draws", "answers"}
    attacks = {piece.arguments[1] for piece in new if piece.function is perturb}
    assert attacks
    assert all(isinstance(attack, PGD) for attack in attacks)
    kept = ("1", "2", "3", "4", "unpruned", "distortion", "controls", "attack step", "other kind")
    assert pieces(changed, kept) == pieces(TINY, kept)


def test_more_queries_make_the_search_anew_alone() -> None:
    new = pieces(replace(TINY, queries=6)) - pieces(TINY)
    assert {piece.arguments[1].queries for piece in new if piece.function is perturb} == {6}
    assert functions(new) == {"perturb", "answers"}


def test_another_attack_keeps_what_is_clean() -> None:
    changed = replace(TINY, attack=replace(TINY.attack, c=0.1))
    assert pieces(changed, ["1", "unpruned"]) == pieces(TINY, ["1", "unpruned"])
    assert not pieces(changed, ["distortion"]) & {
        piece for piece in pieces(TINY) if piece.function is perturb
    }


def test_another_lambda_trains_attacks_and_measures_its_own_sets_alone() -> None:
    new = pieces(replace(TINY, lambdas=("0", "1")), ["2"]) - pieces(TINY, ["2"])
    trained = [piece for piece in new if piece.function.__name__ == "train_plain"]
    assert sorted(piece.arguments[1:3] for piece in trained) == [
        ("FC-10", 1.0),
        ("FC-100-100-10", 1.0),
    ]
    assert len([piece for piece in new if piece.function is perturb]) == 1
    asked = [piece for piece in new if piece.function is accuracy_of_draws]
    assert len(asked) == len(TINY.rho_inits)


def test_another_rho_init_leaves_the_others() -> None:
    more = replace(TINY, rho_inits=(*TINY.rho_inits, -2.0))
    assert pieces(TINY, "1234") < pieces(more, "1234")
