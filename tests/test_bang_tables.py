"""The tables about BANG at a tiny protocol, against the same cells computed step by step."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import PGD
from robustnb.attacks.line_search import HotCold
from robustnb.data import load
from robustnb.judging import Judged
from robustnb.models import predict
from robustnb.papers.bang import own_tables, tables
from robustnb.papers.bang.measuring import Health, Searched, correct
from robustnb.papers.bang.protocols import (
    CIFAR_NETWORKS,
    LENETS,
    OTHER,
    PLAIN,
    PROTOCOLS,
    Network,
    Protocol,
    Study,
    coarse,
)
from robustnb.papers.bang.strong_attacks import perturb, withstand
from robustnb.papers.bang.tables import TABLES, measure, trained
from robustnb.papers.bang.training import Trained, Training, train
from robustnb.papers.pieces import Piece, key, pieces_in, result
from robustnb.randomness import seeded
from robustnb.results import Row, published

B1 = LENETS[3]
TRAINING = Training(
    "digits",
    "LeNet",
    iterations=12,
    batch_size=32,
    lr=0.01,
    weight_decay=5e-4,
    decay="inverse",
    misclassified=1.0,
    stages=(8, 12),
    every=4,
)
STUDY = Study(
    TRAINING,
    (PLAIN, OTHER, B1),
    B1,
    stds=(100.0,),
    grid=coarse((1.0,), (0.8,)),
    num_images=20,
    num_similar=3,
    copies=2,
    per_class=3,
    num_attacked=10,
    eps=(0.2,),
    steps=2,
    restarts=1,
    queries=5,
    repeats=2,
)
C0 = CIFAR_NETWORKS[2]
SECOND = replace(
    STUDY,
    training=replace(TRAINING, iterations=4, stages=(4,), decay="steps", misclassified=0.5),
    networks=(PLAIN, OTHER, C0),
    balanced=C0,
    grid=(),
)
TINY = Protocol("smoke", STUDY, SECOND)
Place = tuple[str, str, str]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Row]]:
    """Measure the tiny protocol with one seed, in a cache of its own."""
    names = ("1", *tables.OWN, "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield measure(TINY, (1,), names, jobs=1, progress=False)


@pytest.fixture(scope="module")
def cells(rows: list[Row]) -> dict[Place, float]:
    return {place(row): row["value"] for row in rows}


def place(row: Row) -> Place:
    return row["table"], row["row"], row["column"]


def training(which: Network) -> Trained:
    found: Trained = result(trained(TRAINING, which, 1))
    return found


def network(which: Network) -> nn.Module:
    return training(which).model


def right_images(which: Network) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one by one the images of the line searches that the network reads rightly."""
    model, (images, labels) = network(which), load("digits").split("test")
    for number in range(STUDY.num_images):
        image, label = images[number : number + 1], labels[number : number + 1]
        if model(image).argmax() == label:
            yield image, label


def first_step(model: nn.Module, image: Tensor, direction: Tensor, label: Tensor) -> int | None:
    """Return the first of 255 steps of a pixel each that changes the answer."""
    for step in range(1, 256):
        moved = (255 * image + step * direction).round().clamp(0, 255) / 255
        if model(moved).argmax() != label:
            return step
    return None


def searched(which: Network, gradient_of: str) -> tuple[float, float]:
    """Return success in percent and mean size in pixels of a sign search, image by image."""
    model, found, sizes = network(which), [], []
    for image, label in right_images(which):
        inputs = image.clone().requires_grad_()
        logits = model(inputs)
        if gradient_of == "margin":
            loss = logits.scatter(1, label[:, None], -torch.inf).amax() - logits[0, label[0]]
        else:
            loss = F.cross_entropy(logits, label)
        (gradient,) = torch.autograd.grad(loss, inputs)
        step = first_step(model, image, gradient.sign(), label)
        found.append(step is not None)
        if step is not None:
            moved = (255 * image + step * gradient.sign()).clamp(0, 255)
            sizes.append((moved - 255 * image).abs().max().item())
    return 100 * sum(found) / len(found), sum(sizes) / len(sizes)


# The printed tables


def test_the_paper_s_protocol_fills_its_112_cells() -> None:
    found = Searched(torch.ones(4).bool(), torch.ones(4), torch.ones(2))
    filled = {
        (table, cell.row, cell.column)
        for table in "12"
        for piece, cells in TABLES[table](PROTOCOLS["paper"], 0)
        for cell in cells(torch.ones(4) if piece.function is correct else found)
    }
    assert filled == {place(cell) for cell in published("bang")}


def test_every_row_of_the_printed_tables_is_published(cells: dict[Place, float]) -> None:
    ours = {place for place in cells if place[0] in "12"}
    assert ours <= {place(cell) for cell in published("bang")}
    assert {row for table, row, _ in ours if table == "2"} == {"R0", "R1", C0.name}


def test_accuracy_is_the_share_of_right_answers(cells: dict[Place, float]) -> None:
    images, labels = load("digits").split("test")
    for which in STUDY.networks:
        right = sum(
            int(row.argmax()) == label
            for row, label in zip(network(which)(images), labels.tolist(), strict=True)
        )
        assert cells["1", which.name, "accuracy"] == pytest.approx(100 * right / len(labels))


@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
def test_fgs_walks_along_the_sign_of_the_gradient(cells: dict[Place, float], loss: str) -> None:
    for which in (PLAIN, B1):
        rate, size = searched(which, loss)
        assert cells["fgs", f"{loss}: success", which.name] == pytest.approx(rate)
        assert cells["fgs", f"{loss}: Linf", which.name] == pytest.approx(size)
        if loss == "cross-entropy":
            assert cells["1", which.name, "FGS rate"] == pytest.approx(rate)
            assert cells["1", which.name, "FGS Linf"] == pytest.approx(size)


def test_hot_cold_is_asked_image_by_image(cells: dict[Place, float]) -> None:
    for row, attack in own_tables.HOT_COLD.items():
        model, sizes, number = network(B1), [], 0
        for image, label in right_images(B1):
            moved, number = attack(model, image, label), number + 1
            if model(moved).argmax() != label:
                sizes.append(255 * (moved - image).abs().max().item())
        success = 100 * len(sizes) / number
        assert cells["hot-cold", f"{row}: success", B1.name] == pytest.approx(success)
        if attack == HotCold():
            assert cells["1", B1.name, "HC1 rate"] == pytest.approx(success)
            assert cells["1", B1.name, "HC1 Linf"] == pytest.approx(sum(sizes) / len(sizes))


def test_an_attack_without_success_has_no_size() -> None:
    nothing = Searched(torch.zeros(4).bool(), torch.zeros(4), torch.empty(0))
    found = list(tables.attack_cells(STUDY, PLAIN, "FGS", nothing))
    assert [(cell.column, cell.value) for cell in found] == [("FGS rate", 0.0)]


# Our own tables


def test_certain_images_are_failures_as_the_authors_count() -> None:
    success = torch.tensor([True, True, True, False])
    answer = Searched(success, torch.tensor([10.0, 20.0, 60.0, 0.0]), torch.empty(0))
    certain, blank = torch.tensor([False, False, True, True]), torch.tensor([False] * 3 + [True])
    state = Health(blank, certain, {})
    values = {cell.row: cell.value for cell in own_tables.counted_cells(STUDY, B1, (answer, state))}
    assert values == {
        f"{own_tables.COUNTED}: success": 50,
        f"{own_tables.COUNTED}: Linf": 15,
        own_tables.BLANK: 100,
    }
    attack = own_tables.FGS["cross-entropy"]
    usual = own_tables.variant_cells(STUDY, B1, "cross-entropy", attack, answer)
    assert [cell.value for cell in usual] == [75, 30]
    everything = replace(answer, found=torch.ones(4).bool())
    found = own_tables.counted_cells(STUDY, B1, (everything, state))
    assert own_tables.BLANK not in {cell.row for cell in found}


def test_gradients_are_those_of_the_network(cells: dict[Place, float]) -> None:
    margins = []
    for image, label in right_images(B1):
        logits = network(B1)(image)[0].tolist()
        truth = logits.pop(int(label))
        margins.append(truth - max(logits))
    margins.sort()
    median = margins[len(margins) // 2]  # the upper one of two
    assert cells["gradients", "median margin", B1.name] == pytest.approx(median, rel=1e-4)


def test_the_worst_case_is_taken_for_each_image() -> None:
    names = own_tables.strong_attacks(STUDY, 0.2)
    shares = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]])
    answers = {
        name: (torch.empty(0), Judged(each, each)) for name, each in zip(names, shares, strict=True)
    }
    (worst,) = own_tables.worst_cells(STUDY, PLAIN, 0.2, answers)
    assert (worst.row, worst.value) == ("worst case, eps=0.2", 25)
    name = own_tables.TRANSFERRED
    (one,) = own_tables.strong_cells(STUDY, PLAIN, 0.2, name, answers[name])
    assert (one.row, one.value) == ("PGD, margin, on R1, eps=0.2", 75)


def test_perturbations_are_transferred_from_the_other_plain_network(
    cells: dict[Place, float],
) -> None:
    images, labels = (part[:10] for part in load("digits").split("test"))
    attack = own_tables.strong_attacks(STUDY, 0.2)["PGD, margin"]
    moved = attack(network(OTHER), images, labels, seeded(1_001))
    for which in STUDY.pair:
        right = 100 * (network(which)(moved).argmax(1) == labels).float().mean().item()
        row = f"{own_tables.TRANSFERRED}, eps=0.2"
        assert cells["worst case", row, which.name] == pytest.approx(right)


def test_noise_is_counted_on_images_that_all_read_rightly(cells: dict[Place, float]) -> None:
    images, labels = load("digits").split("test")
    stages = [
        training(which).at(iteration) for which in STUDY.pair for iteration in TRAINING.stages
    ]
    kept, seen = [], dict.fromkeys(range(10), 0)
    for number, label in enumerate(labels.tolist()):
        image = images[number : number + 1]
        if seen[label] < 3 and all(model(image).argmax() == label for model in stages):
            seen[label] += 1
            kept.append(number)
    generator = seeded(1)
    noises = [torch.randn(len(kept), 1, 28, 28, generator=generator) * 100 / 255 for _ in range(2)]
    for which in STUDY.pair:
        for clipped in (False, True):
            copies = torch.cat([images[kept] + noise for noise in noises])
            copies = copies.clamp(0, 1) if clipped else copies
            different = predict(network(which), copies).argmax(1) != labels[kept].repeat(2)
            row = f"iteration 12, std 100{', clipped' * clipped}"
            expected = 100 * different.float().mean().item()
            assert cells["random noise", row, which.name] == pytest.approx(expected)


def test_a_step_is_compared_with_a_plain_one(cells: dict[Place, float]) -> None:
    balanced, plain = (cells["cost", "training step", c] for c in (B1.name, "R0"))
    assert cells["cost", "training step", "ratio"] == pytest.approx(balanced / plain)


def test_the_grid_has_the_columns_of_the_printed_table(cells: dict[Place, float]) -> None:
    columns = {column for table, _, column in cells if table == "grid"}
    assert columns == {cell["column"] for cell in published("bang", "1")}
    assert {row for table, row, _ in cells if table == "grid"} == {"grid beta=1.00 epsilon=0.800"}


# The rows


def test_our_tables_say_when_they_are_about_cifar10() -> None:
    names = {name for name, table in TABLES.items() if list(table(TINY, 1))}
    own = {"gradients", "fgs", "hot-cold", "worst case", "random noise", "cost"}
    assert names == {"1", "2", "grid"} | own | {f"{name}, CIFAR-10" for name in own}


def test_a_row_says_what_its_value_depends_on(rows: list[Row]) -> None:
    found = {place(row): row for row in rows}
    fgs = found["fgs", "margin: success", B1.name]
    assert fgs["settings"]["training"]["iterations"] == 12
    assert fgs["settings"]["attack"] == {"loss": "margin", "double": False, "scale": 1.0}
    assert fgs["num_images"] == 20
    worst = found["worst case", "worst case, eps=0.2", "R0"]["settings"]["attacks"]
    assert set(worst) == set(own_tables.strong_attacks(STUDY, 0.2))
    assert found["random noise", "iteration 12, std 100", "R0"]["settings"]["copies"] == 2
    assert all(row["dataset"] == "digits" and row["seeds"] == [1] for row in rows)


def test_a_table_that_a_protocol_leaves_out_is_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"^'2' is no table at profile smoke: accepted are 1, grad"
    ):
        measure(replace(TINY, cifar10=None), tables=["2"])


# The pieces


def needed(value: object) -> Iterator[Piece]:
    """Yield the pieces in `value`, and those that they need."""
    for piece in pieces_in(value):
        yield piece
        yield from needed(piece.arguments)


def all_pieces(protocol: Protocol) -> dict[str, Piece]:
    """Return what all tables are computed from, by its key."""
    parts = [part for table in TABLES.values() for part in table(protocol, 0)]
    return {key(piece): piece for pieces, _ in parts for piece in needed(pieces)}


def new_pieces(**changes: object) -> list[Piece]:
    """Return what is to be computed after a change in the study of MNIST."""
    changed = all_pieces(replace(TINY, mnist=replace(STUDY, **changes)))  # type: ignore[arg-type]
    return [changed[k] for k in changed.keys() - all_pieces(TINY).keys()]


def test_each_network_is_trained_once_for_all_tables() -> None:
    pieces = list(all_pieces(TINY).values())
    assert len(pieces) == len(set(pieces))
    trainings = [piece.arguments for piece in pieces if piece.function is train]
    own, grid = (1.0, 0.815), (1.0, 0.8)
    assert {arguments[1:] for arguments in trainings if arguments[0] == TRAINING} == {
        (1.0, 0.0, False, 0),
        (1.0, 0.0, False, 1),
        (*own, False, 0),
        (*own, True, 0),
        (*grid, False, 0),
    }
    assert len(trainings) == 5 + 4


def test_the_second_plain_network_differs_by_its_seed_alone() -> None:
    arguments = {each.label: trained(TRAINING, each, 3).arguments for each in LENETS}
    assert arguments["R0"] == (TRAINING, 1.0, 0.0, False, 6)
    assert arguments["R1"] == (TRAINING, 1.0, 0.0, False, 7)
    assert arguments["B1"] == (TRAINING, 1.0, 0.815, False, 6)


def test_another_attack_computes_that_attack_alone() -> None:
    for change, kind in (({"steps": 3}, "PGD"), ({"queries": 6}, "Square")):
        found = new_pieces(**change)
        made = [piece for piece in found if piece.function is perturb]
        assert {type(piece.arguments[1]).__name__ for piece in made} == {kind}
        judged = [piece.arguments[1] for piece in found if piece.function is withstand]
        assert {key(piece) for piece in judged} == {key(piece) for piece in made}
        assert len(found) == len(made) + len(judged)


def test_what_was_transferred_is_made_once() -> None:
    """Both networks of the pair see the same images from R1."""
    (source,) = {key(trained(TRAINING, OTHER, 0))}
    made = [
        piece
        for piece in all_pieces(TINY).values()
        if piece.function is perturb and key(piece.arguments[0]) == source
    ]
    assert [type(piece.arguments[1]) for piece in made] == [PGD]


def test_fewer_images_for_one_test_leave_the_others_alone() -> None:
    functions = {
        change: {piece.function.__name__ for piece in new_pieces(**{change: 4})}
        for change in ("num_images", "num_similar", "copies", "num_attacked", "repeats")
    }
    assert functions == {
        "num_images": {"line_search", "health"},
        "num_similar": {"line_search"},
        "copies": {"add_noise"},
        "num_attacked": {"perturb", "withstand"},
        "repeats": {"step_seconds"},
    }
