"""The tables about BANG at a tiny protocol, against the same cells computed step by step."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.line_search import HotCold
from robustnb.data import load
from robustnb.experiments import bang as paper
from robustnb.experiments import bang_attacks as strong
from robustnb.experiments import bang_pieces as work
from robustnb.experiments import bang_tables as tables
from robustnb.experiments import bang_training as training
from robustnb.experiments.bang_training import Network, Training
from robustnb.models import predict
from robustnb.randomness import seeded
from robustnb.results import Row, published

B1 = paper.LENETS[3]
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
STUDY = tables.Study(
    TRAINING,
    (tables.PLAIN, tables.OTHER, B1),
    B1,
    stds=(100.0,),
    grid=paper.coarse((1.0,), (0.8,)),
    num_images=20,
    num_similar=3,
    copies=2,
    per_class=3,
    num_attacked=10,
    eps=(0.2,),
    steps=2,
    restarts=1,
    queries=5,
)
C0 = paper.CIFAR_NETWORKS[2]
SECOND = replace(
    STUDY,
    training=replace(TRAINING, iterations=4, stages=(4,), decay="steps", misclassified=0.5),
    networks=(tables.PLAIN, tables.OTHER, C0),
    balanced=C0,
    grid=(),
)
TINY = paper.Protocol(STUDY, SECOND)
Key = tuple[str, str, str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let the profile smoke be the tiny protocol, with a cache of its own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(folder))
        patch.setitem(paper.PROTOCOLS, "smoke", TINY)
        patch.setattr(work, "REPEATS", 2)
        yield folder


@pytest.fixture(scope="module")
def rows(cache: Path) -> list[Row]:
    """Return all rows of one seed."""
    return paper.measure("smoke", (1,), jobs=1, progress=False)


@pytest.fixture(scope="module")
def cells(rows: list[Row]) -> dict[Key, float]:
    return {key(row): row["value"] for row in rows}


def key(row: Row) -> Key:
    return row["table"], row["row"], row["column"]


def network(which: Network) -> nn.Module:
    return training.trained(TRAINING, which, 1).model


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


# The training


def test_every_image_is_seen_once_before_any_is_seen_again() -> None:
    order = training._order(7, 17, seeded(0))
    assert len(order) == 17
    assert order[:7].sort().values.tolist() == order[7:14].sort().values.tolist() == list(range(7))
    assert len(set(order[14:].tolist())) == 3


def test_a_network_takes_exactly_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        sizes.append(len(images))
        return F.cross_entropy(model(images), labels)

    monkeypatch.setattr(training, "cross_entropy", counted)
    odd = replace(TRAINING, iterations=10, stages=(4, 10))
    found = training.train(odd, tables.PLAIN, 0)
    assert sizes == 10 * [32]
    assert [row["iteration"] for row in found.history] == [4, 8, 10]
    assert list(found.weights) == [4, 10]
    last, model = found.at(10).state_dict(), found.model.state_dict()
    assert all(torch.equal(last[name], model[name]) for name in model)
    assert any(not torch.equal(found.at(4).state_dict()[name], model[name]) for name in model)


def test_the_learning_rates_fall_as_the_paper_says() -> None:
    model = training.build(TRAINING, load("digits"))
    for decay, after, expected in (
        ("inverse", 1_000, 0.01 * 1.1**-0.75),
        ("steps", 17_999, 0.01),
        ("steps", 18_000, 0.001),
        ("steps", 19_000, 0.0001),
    ):
        optimizer = training.caffe_sgd(model, 0.01)
        schedule = training._decay(replace(TRAINING, iterations=20_000, decay=decay), optimizer)
        for _ in range(after):
            optimizer.step()
            schedule.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        assert optimizer.param_groups[1]["lr"] == pytest.approx(2 * expected)


def test_the_second_plain_network_differs_by_its_seed_alone() -> None:
    arguments = {
        network.label: training.network_piece(TRAINING, network, 3).arguments
        for network in paper.LENETS
    }
    assert arguments["R0"] == (TRAINING, Network(""), 6)
    assert arguments["R1"] == (TRAINING, Network(""), 7)
    assert arguments["B1"] == (TRAINING, Network("", 1.0, 0.815), 6)


def test_the_colour_network_sees_pixels_less_their_mean() -> None:
    digits = load("digits")
    model = training.build(replace(TRAINING, network="CIFAR-10 quick"), digits)
    mean = digits.split("train")[0].mean(0)
    torch.testing.assert_close(model[0](mean[None]), torch.zeros(1, 1, 28, 28))
    assert model(digits.images[:2]).shape == (2, 10)


def test_differences_to_the_label_change_no_gradient_but_for_rounding() -> None:
    model, (images, labels) = nn.Linear(5, 4).double(), (torch.rand(6, 5), torch.arange(6) % 4)
    usual = F.cross_entropy(model(images.double()), labels)
    relative = F.cross_entropy(training.Relative(model, labels)(images.double()), labels)
    for one, other in zip(
        torch.autograd.grad(usual, model.parameters()),
        torch.autograd.grad(relative, model.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("exact", "balanced"), [(False, False), (True, True)])
def test_what_float32_rounds_away_is_what_moves_all_logits(exact: bool, balanced: bool) -> None:
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.copy_(torch.eye(4) * 30)
        model.bias.zero_()
    images, labels = torch.eye(4) * torch.tensor([[0.1], [1.0], [1.0], [1.0]]), torch.arange(4)
    loss = training._loss(TRAINING, Network("B", 1.0, 0.8, exact))
    loss(model, images, labels).backward()
    assert model.bias.grad is not None
    share = model.bias.grad.sum().abs() / model.bias.grad.abs().sum()
    assert (share.item() < 1e-6) == balanced


# The printed tables


def test_the_paper_s_protocol_fills_its_112_cells() -> None:
    found = work.Searched(torch.ones(4).bool(), torch.ones(4), torch.ones(2), 1.0)
    filled = set()
    for number, study in paper.PROTOCOLS["paper"].studies.items():
        pieces = paper.PRINTED.pieces(study, 0)
        answers = {
            place: work.Attacked(torch.ones(4), 1.0) if place[1] == "accuracy" else found
            for place in pieces
        }
        filled |= {(number, c.row, c.column) for c in paper.PRINTED.cells(study, answers)}
    assert filled == {key(cell) for cell in published(paper.PAPER)}


def test_every_row_of_the_printed_tables_is_published(cells: dict[Key, float]) -> None:
    ours = {place for place in cells if place[0] in "12"}
    assert ours <= {key(cell) for cell in published(paper.PAPER)}
    assert {row for table, row, _ in ours if table == "2"} == {"R0", "R1", C0.name}


def test_accuracy_is_the_share_of_right_answers(cells: dict[Key, float]) -> None:
    images, labels = load("digits").split("test")
    for which in STUDY.networks:
        right = sum(
            int(row.argmax()) == label
            for row, label in zip(network(which)(images), labels.tolist(), strict=True)
        )
        assert cells["1", which.name, "accuracy"] == pytest.approx(100 * right / len(labels))


@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
def test_fgs_walks_along_the_sign_of_the_gradient(cells: dict[Key, float], loss: str) -> None:
    for which in (tables.PLAIN, B1):
        rate, size = searched(which, loss)
        assert cells["fgs", f"{loss}: success", which.name] == pytest.approx(rate)
        assert cells["fgs", f"{loss}: Linf", which.name] == pytest.approx(size)
        if loss == "cross-entropy":
            assert cells["1", which.name, "FGS rate"] == pytest.approx(rate)
            assert cells["1", which.name, "FGS Linf"] == pytest.approx(size)


def test_hot_cold_is_asked_image_by_image(cells: dict[Key, float]) -> None:
    for row, attack in tables.HOT_COLD.items():
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
    nothing = work.Searched(torch.zeros(4).bool(), torch.zeros(4), torch.empty(0), 1.0)
    found = list(tables.printed_cells(STUDY, {("R0", "FGS"): nothing}))
    assert [(cell.column, cell.value) for cell in found] == [("FGS rate", 0.0)]


# Our own tables


def test_certain_images_are_failures_as_the_authors_count() -> None:
    study = replace(STUDY, networks=())
    (name,) = (network.name for network in study.dissected)
    success = torch.tensor([True, True, True, False])
    sizes = torch.tensor([10.0, 20.0, 60.0, 0.0])
    answer = work.Searched(success, sizes, torch.empty(0), 1.0)
    certain, blank = torch.tensor([False, False, True, True]), torch.tensor([False] * 3 + [True])
    found: dict[tuple[str, str], object] = {(name, variant): answer for variant in tables.FGS}
    found[name, "health"] = work.Health(blank, certain, {}, 1.0)
    values = {cell.row: cell.value for cell in tables.fgs_cells(study, found)}
    assert values["cross-entropy: success"] == 75
    assert values["cross-entropy: Linf"] == 30
    assert values[f"{tables.COUNTED}: success"] == 50
    assert values[f"{tables.COUNTED}: Linf"] == 15
    assert values[tables.BLANK] == 100
    everything = replace(answer, found=torch.ones(4).bool())
    found |= {(name, variant): everything for variant in tables.FGS}
    assert tables.BLANK not in {cell.row for cell in tables.fgs_cells(study, found)}


def test_gradients_are_those_of_the_network(cells: dict[Key, float]) -> None:
    margins = []
    for image, label in right_images(B1):
        logits = network(B1)(image)[0].tolist()
        truth = logits.pop(int(label))
        margins.append(truth - max(logits))
    margins.sort()
    median = margins[len(margins) // 2]  # the upper one of two
    assert cells["gradients", "median margin", B1.name] == pytest.approx(median, rel=1e-4)


def test_the_worst_case_is_taken_for_each_image() -> None:
    pieces = strong.worst_pieces(STUDY, 1)
    rights = [[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]]
    answers = {
        place: work.Attacked(torch.tensor(rights[number % 4]).bool(), 1.0)
        for number, place in enumerate(pieces)
    }
    values = {(c.row, c.column): c.value for c in strong.worst_cells(STUDY, answers)}
    assert values["worst case, eps=0.2", "R0"] == 25
    assert values[f"{strong.ELSEWHERE}, eps=0.2", "R0"] == 75


def test_perturbations_are_transferred_from_the_other_plain_network(
    cells: dict[Key, float],
) -> None:
    images, labels = (part[:10] for part in load("digits").split("test"))
    attack = strong.strong_attacks(STUDY, 0.2)["PGD, margin"]
    moved = attack(network(tables.OTHER), images, labels, seeded(1_001))
    for which in STUDY.pair:
        right = 100 * (network(which)(moved).argmax(1) == labels).float().mean().item()
        row = f"{strong.ELSEWHERE}, eps=0.2"
        assert cells["worst case", row, which.name] == pytest.approx(right)


def test_noise_is_counted_on_images_that_all_read_rightly(cells: dict[Key, float]) -> None:
    images, labels = load("digits").split("test")
    stages = [
        training.trained(TRAINING, which, 1).at(iteration)
        for which in STUDY.pair
        for iteration in TRAINING.stages
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


def test_a_step_is_compared_with_a_plain_one(cells: dict[Key, float]) -> None:
    balanced, plain = (cells["cost", "training step", c] for c in (B1.name, "R0"))
    assert cells["cost", "training step", "ratio"] == pytest.approx(balanced / plain)


def test_the_grid_has_the_columns_of_the_printed_table(cells: dict[Key, float]) -> None:
    columns = {column for table, _, column in cells if table == "grid"}
    assert columns == {cell["column"] for cell in published(paper.PAPER, "1")}
    assert {row for table, row, _ in cells if table == "grid"} == {"grid beta=1.00 epsilon=0.800"}


# The rows


def test_our_tables_say_when_they_are_about_cifar10(cells: dict[Key, float]) -> None:
    names = {table for table, _, _ in cells}
    own = {"gradients", "fgs", "hot-cold", "worst case", "random noise", "cost"}
    assert names == {"1", "2", "grid"} | own | {f"{name}, CIFAR-10" for name in own}


def test_a_row_says_what_its_value_depends_on(rows: list[Row]) -> None:
    found = {key(row): row for row in rows}
    fgs = found["fgs", "margin: success", B1.name]
    assert fgs["settings"]["training"]["iterations"] == 12
    assert fgs["settings"]["attack"] == {"loss": "margin", "double": False, "scale": 1.0}
    assert fgs["num_images"] == 20
    worst = found["worst case", "worst case, eps=0.2", "R0"]["settings"]["attacks"]
    assert set(worst) == {*strong.strong_attacks(STUDY, 0.2), strong.ELSEWHERE}
    assert found["random noise", "iteration 12, std 100", "R0"]["settings"]["copies"] == 2
    assert all(row["dataset"] == "digits" and row["seeds"] == [1] for row in rows)


def test_tables_can_be_chosen(cache: Path, rows: list[Row]) -> None:
    some = paper.measure("smoke", (1,), ["gradients", "1"], jobs=1, progress=False)
    assert [key(row)[0] for row in some] == sorted((key(row)[0] for row in some), reverse=True)
    assert {row["table"] for row in some} == {"1", "gradients"}
    whole = {key(row): row["value"] for row in rows}
    assert all(whole[key(row)] == row["value"] for row in some)


def test_a_run_that_was_stopped_goes_on(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))
    trainings, calls = training.train, []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(paper.STAGES, "measuring", stop)
        with pytest.raises(KeyboardInterrupt):
            paper.measure("smoke", (1,), ["gradients"], jobs=1, progress=False)
    monkeypatch.setattr(training, "fit", lambda *a, **k: calls.append(trainings))
    again = paper.measure("smoke", (1,), ["gradients"], jobs=1, progress=False)
    assert not calls  # nothing was trained anew
    assert {key(row): row["value"] for row in again} == {
        key(row): row["value"] for row in rows if row["table"] == "gradients"
    }


def test_bad_input_is_named_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^'quick' is no profile: it must be one of smoke, lap"):
        paper.measure("quick")
    with pytest.raises(ValueError, match=r"^'3' is no table: it must be one of 1, gradients, fgs"):
        paper.measure("smoke", tables=["3"])
