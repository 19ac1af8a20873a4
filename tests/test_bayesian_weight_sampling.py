"""Zhang & Chen's tables at a tiny protocol, against the same cells computed step by step."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustnb.data import load
from robustnb.defenses.bayesian import mean_network
from robustnb.experiments import bayesian_weight_sampling as paper
from robustnb.experiments import bayesian_weight_sampling_choices as choices
from robustnb.experiments import bayesian_weight_sampling_pieces as work
from robustnb.experiments.pieces import result
from robustnb.pruning import prune
from robustnb.randomness import noise_from, seeded
from robustnb.results import Row, published

TINY = work.Protocol(
    plain=work.Training("digits", lr=1e-2, batch_size=32, epochs=2),
    bayesian=work.Training("digits", lr=1e-4, batch_size=32, epochs=1),
    rho_inits=(-30.0, -3.0),
    lambdas=("0", "1e-2"),
    sources=("FC-10",),
    pruned=(50,),
    ensembles=(1, 5),
    num_images=40,
    eot_samples=(1, 2),
    num_attacked=20,
)
SETS = ("FC-10 lambda=0", "FC-10 lambda=1e-2")
BAYESIAN = "bayesian rho_init=-3"
CONTROL = "plain, variational initialisation"
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
    """Return the rows of two seeds."""
    return paper.measure("smoke", (0, 1), jobs=1, progress=False)


@pytest.fixture(scope="module")
def cells(rows: list[Row]) -> dict[Key, Row]:
    return {key(row): row for row in rows}


def key(row: Row) -> Key:
    return row["table"], row["row"], row["column"]


def seed_0(cells: dict[Key, Row], *names: str) -> float:
    table, row, column = names
    return float(cells[table, row, column]["values"][0])


def percent_right(logits: Tensor, labels: Tensor) -> float:
    right = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    return 100 * sum(right) / len(right)


def looped_draws(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return probabilities (5, N, 10) of single passes, and labels, for all images in turn."""
    dataset, generator = load("digits"), seeded(0)
    images = {name: dataset.split(name) for name in ("validation", "test")}
    labels = dataset.split("test")[1][:40]
    images |= {name: (work.perturbation_set(TINY, name, 0).images, labels) for name in SETS}
    with noise_from(model, generator), torch.no_grad():
        return {
            name: (torch.stack([model(x).softmax(1) for _ in range(5)]), y)
            for name, (x, y) in images.items()
        }


def test_the_paper_s_protocol_fills_its_320_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = paper.PROTOCOLS["paper"]
    sizes = dict.fromkeys(protocol.ensembles, 0.5)
    names = ("validation", "test", *protocol.sets)
    found = work.Evaluated({name: sizes for name in names}, seconds=1.0)
    monkeypatch.setattr(paper, "evaluated", lambda *_: found)
    filled = [(t, c.row, c.column) for t in "1234" for c in paper.TABLES[t](protocol, 0)]
    assert len(filled) == len(set(filled)) == 320
    assert set(filled) == {key(cell) for cell in published(paper.PAPER)}


def test_every_row_of_the_paper_s_tables_is_published(cells: dict[Key, Row]) -> None:
    ours = {cell for cell in cells if cell[0] in "1234"}
    assert ours < {key(cell) for cell in published(paper.PAPER)}
    # 4 networks, clean on 2 splits; 2 sets and their average; 2 ensembles; 1 pruned network.
    assert len(ours) == 4 * 2 + 4 * 3 + 2 * 3 + (2 + 3)


def test_standard_networks_are_read_off_the_perturbed_images(cells: dict[Key, Row]) -> None:
    labels = load("digits").split("test")[1][:40]
    for strength in TINY.lambdas:
        model, column = work.plain_network(TINY, strength, 0).model, f"standard lambda={strength}"
        for name in SETS:
            logits = model(work.perturbation_set(TINY, name, 0).images)
            expected = percent_right(logits, labels)
            assert seed_0(cells, "2", name, column) == pytest.approx(expected)
        for split in ("validation", "test"):
            images, truth = load("digits").split(split)
            expected = percent_right(model(images), truth)
            assert seed_0(cells, "1", split, column) == pytest.approx(expected)


def test_bayesian_networks_have_the_mean_over_single_draws(cells: dict[Key, Row]) -> None:
    for rho_init in TINY.rho_inits:
        found = looped_draws(work.bayesian_network(TINY, rho_init, 0).model)
        for name, (draws, labels) in found.items():
            expected = sum(percent_right(draw, labels) for draw in draws) / 5
            table, column = "2" if name in SETS else "1", f"bayesian rho_init={rho_init:g}"
            assert seed_0(cells, table, name, column) == pytest.approx(expected)


def test_ensembles_average_the_probabilities(cells: dict[Key, Row]) -> None:
    found = looped_draws(work.bayesian_network(TINY, -3.0, 0).model)
    for name, (draws, labels) in found.items():
        table, row = ("3", name) if name in SETS else ("unpruned", f"original {name}")
        expected = percent_right(draws.mean(0), labels)
        assert seed_0(cells, table, row, "ensemble N=5") == pytest.approx(expected)


def test_pruned_networks_are_measured_as_ensembles(cells: dict[Key, Row]) -> None:
    found = looped_draws(prune(work.bayesian_network(TINY, -3.0, 0).model, 0.5))
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


def test_ensemble_accuracy_of_hand_made_draws() -> None:
    # Probabilities of class 1 by draw and image; the labels are 1, 1, 0.
    ones = torch.tensor([[0.9, 0.4, 0.4], [0.4, 0.4, 0.9], [0.2, 0.9, 0.2], [0.4, 0.4, 0.6]])
    draws, labels = torch.stack([1 - ones, ones], 2), torch.tensor([1, 1, 0])
    # Single draws: 2, 0, 2 and 0 of 3 images right.
    assert work.ensemble_accuracy(draws, labels, 1) == pytest.approx(4 / 12)
    # Means of two: 0.65, 0.4, 0.65 has one right; 0.3, 0.65, 0.4 has two.
    assert work.ensemble_accuracy(draws, labels, 2) == pytest.approx(3 / 6)
    # The mean of four: 0.475, 0.525, 0.525 has one right; a vote of the four would have none.
    assert work.ensemble_accuracy(draws, labels, 4) == pytest.approx(1 / 3)


def test_perturbed_images_fool_their_own_network_and_spare_lost_ones(
    cells: dict[Key, Row],
) -> None:
    clean, labels = (part[:40] for part in load("digits").split("test"))
    for name, (network, strength) in TINY.sets.items():
        trained = result(work.plain_piece(TINY.plain, network, strength, 0)).model
        made = work.perturbation_set(TINY, name, 0)
        assert seed_0(cells, "distortion", name, "accuracy") == 0
        assert percent_right(trained(made.images), labels) == 0
        lost = trained(clean).argmax(1) != labels
        assert 0 < lost.sum() < 40
        unchanged = (made.images == clean).flatten(1).all(1)
        assert torch.equal(unchanged, lost)
        pixels = 2 * (made.images - clean).flatten(1)  # on the paper's scale of 0..2
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
    images, labels = (part[:20] for part in load("digits").split("test"))
    model = work.plain_network(TINY, "0", 0).model
    spared = percent_right(model(images), labels)
    assert attacked["PGD EOT=1", "standard lambda=0"]["values"][0] < spared


def test_mean_weights_are_read_off_the_same_sets(cells: dict[Key, Row]) -> None:
    model = mean_network(work.bayesian_network(TINY, -3.0, 0).model)
    labels = load("digits").split("test")[1][:40]
    shares = [
        percent_right(model(work.perturbation_set(TINY, name, 0).images), labels) for name in SETS
    ]
    measured = seed_0(cells, "controls", "mean weights", "average over 2 sets")
    assert measured == pytest.approx(sum(shares) / 2)


def test_the_attack_s_own_step_gives_the_averages_of_table_2(cells: dict[Key, Row]) -> None:
    row = f"alpha={TINY.attack.alpha:g}"
    for strength in TINY.lambdas:
        column = f"standard lambda={strength}"
        averages = cells["attack step", row, column], cells["2", "average", column]
        assert averages[0]["values"] == averages[1]["values"]


def test_our_reading_is_that_of_table_2(cells: dict[Key, Row]) -> None:
    measured = seed_0(cells, "choices", choices.AS_CHOSEN, "average over 2 sets")
    assert measured == seed_0(cells, "2", "average", BAYESIAN)


@pytest.mark.parametrize("kind", ["", ", ensemble N=5"])
def test_the_worst_case_is_no_better_than_any_attack(cells: dict[Key, Row], kind: str) -> None:
    found = {(row, column): cell for (t, row, column), cell in cells.items() if t == "worst case"}
    columns = {column for _, column in found}
    plain = {f"standard lambda={strength}" for strength in TINY.lambdas}
    assert columns == {"bayesian rho_init=-30", BAYESIAN, CONTROL} | plain
    for column in columns:
        shares = {row: cell["values"][0] for (row, c), cell in found.items() if c == column}
        attacks = [row for row in shares if row.endswith("N=5") == bool(kind)]
        assert len(attacks) == 5
        assert shares[f"worst case{kind}"] <= min(shares[row] for row in attacks)


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
    assert all(row["seeds"] == [choices.SEED] for row in rows if row not in several)
    drawn = [row for row in rows if row["column"].startswith("bayesian")]
    assert sum(row["values"][0] != row["values"][1] for row in drawn) > len(drawn) / 2


def test_a_clean_cache_and_more_threads_give_the_same_rows(
    cells: dict[Key, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = paper.measure("smoke", (0,), jobs=1, progress=False)
    finally:
        torch.set_num_threads(threads)
    assert {key(row): row["value"] for row in again} == {
        place: row["values"][0] for place, row in cells.items()
    }


def test_a_table_can_be_measured_alone(rows: list[Row]) -> None:
    alone = paper.measure("smoke", (0, 1), ["2"], progress=False)
    assert alone == [row for row in rows if row["table"] == "2"]


def test_bad_input_is_named_in_one_sentence() -> None:
    sentence = r"^'quick' is no profile: it must be one of smoke, laptop, paper\.$"
    with pytest.raises(ValueError, match=sentence):
        paper.measure("quick")
    with pytest.raises(ValueError, match=r"^'5' is no table: it must be one of 1, 2, 3, 4, unpr"):
        paper.measure("smoke", tables=["5"])
