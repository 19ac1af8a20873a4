"""The training loop: it learns, stops, resumes to the same bits, and names what went wrong."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, MultiStepLR, SequentialLR, StepLR
from torch.utils.data import DataLoader, TensorDataset

from robustnb import training
from robustnb.defenses.bayesian import BayesianLinear, NegativeELBO
from robustnb.metrics import accuracy
from robustnb.models import evaluating, fully_connected, predict
from robustnb.randomness import noise_from, seeded, stochastic_layers
from robustnb.training import RegularizedCrossEntropy, TrainingDiverged, cross_entropy, fit

Split = tuple[Tensor, Tensor]


def quarters(count: int, seed: int) -> Split:
    """Images whose label is the brightest quarter."""
    images = torch.rand(count, 1, 4, 4, generator=seeded(seed))
    return images, nn.functional.avg_pool2d(images, 2).flatten(1).argmax(1)


TRAIN, VALIDATION = quarters(300, 0), quarters(200, 1)


def network(bayesian: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layer = partial(BayesianLinear, rho_init=-4.0) if bayesian else nn.Linear
    return fully_connected("FC-16-4", in_features=16, layer=layer)


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr, momentum=0.9)


quiet = partial(fit, train=TRAIN, validation=VALIDATION, batch_size=32, progress=False)


def test_a_linear_network_learns_as_well_as_an_independent_library() -> None:
    torch.manual_seed(0)
    model = fully_connected("FC-4", in_features=16)
    quiet(model, optimizer=torch.optim.Adam(model.parameters(), 0.05), epochs=60, patience=None)
    theirs = LogisticRegression(C=1e3, max_iter=2000).fit(TRAIN[0].flatten(1).numpy(), TRAIN[1])
    expected = theirs.score(VALIDATION[0].flatten(1).numpy(), VALIDATION[1].numpy())
    assert accuracy(predict(model, VALIDATION[0]), VALIDATION[1]) >= expected - 0.03


def test_early_stopping_keeps_the_best_weights() -> None:
    model, scores = network(), iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    seen: list[Tensor] = []

    def score(model: nn.Module, images: Tensor, labels: Tensor) -> float:
        seen.append(model[2].weight.detach().clone())
        return next(scores)

    history = quiet(model, optimizer=sgd(model), score=score, patience=3)
    assert [row["validation_accuracy"] for row in history] == [0.1, 0.5, 0.4, 0.3, 0.2]
    assert torch.equal(model[2].weight, seen[1])
    assert not model.training


@pytest.mark.parametrize("bayesian", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_interrupted_run_ends_with_the_same_bits(
    tmp_path: Path, bayesian: bool, optimizer: str
) -> None:
    def run(epochs: int, checkpoint: Path | None) -> tuple[nn.Module, list]:
        model = network(bayesian)
        make = sgd if optimizer == "sgd" else torch.optim.Adam
        loss = NegativeELBO(10, "mean") if bayesian else cross_entropy
        steps = make(model.parameters() if optimizer == "adam" else model)
        history = quiet(
            model,
            optimizer=steps,
            loss=loss,
            epochs=epochs,
            patience=None,
            checkpoint=checkpoint,
            generator=seeded(3),
        )
        return model, history

    whole, expected = run(6, None)
    path = tmp_path / "run.safetensors"
    run(2, path)
    resumed, history = run(6, path)
    assert untimed(history) == untimed(expected)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    # A finished run is found finished.
    again, same = run(6, path)
    assert same == history
    assert torch.equal(
        again.state_dict()["2.weight" if not bayesian else "2.mu"],
        whole.state_dict()["2.weight" if not bayesian else "2.mu"],
    )


def test_layers_that_know_no_generator_draw_the_same_after_a_stop(tmp_path: Path) -> None:
    def run(epochs: int, checkpoint: Path | None) -> Tensor:
        model = nn.Sequential(nn.Flatten(), nn.Dropout(), network()[2:])
        torch.manual_seed(epochs)  # what others have drawn before is no matter
        before = torch.get_rng_state()
        quiet(model, optimizer=sgd(model), epochs=epochs, patience=None, checkpoint=checkpoint)
        assert torch.equal(torch.get_rng_state(), before)
        return model[2][0].weight

    path = tmp_path / "run.safetensors"
    run(2, path)
    assert torch.equal(run(4, path), run(4, None))


def untimed(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the history without its seconds, which are never the same."""
    assert all(row["seconds"] > 0 for row in history)
    return [{name: row[name] for name in row if name != "seconds"} for row in history]


# Halve the learning rate every 15 minibatches, in the middle of an epoch of 10.
HALVING = {
    "in steps": partial(StepLR, step_size=15, gamma=0.5),
    "at milestones": partial(MultiStepLR, milestones=[15, 30], gamma=0.5),
    "in a sequence": lambda optimizer: SequentialLR(
        optimizer,
        [ConstantLR(optimizer, 1.0), MultiStepLR(optimizer, [10, 25], 0.5)],
        milestones=[5],
    ),
    "by a function": partial(LambdaLR, lr_lambda=lambda step: 0.5 ** (step // 15)),
}


def test_a_checkpoint_of_more_epochs_than_are_asked_for_is_refused(tmp_path: Path) -> None:
    def run(epochs: int) -> int:
        model = network()
        path = tmp_path / "run.safetensors"
        return len(quiet(model, optimizer=sgd(model), epochs=epochs, checkpoint=path))

    assert [run(2), run(2)] == [2, 2]
    with pytest.raises(ValueError, match="has 2 epochs already, more than epochs=1"):
        run(1)


class Jittered(nn.Module):
    """Add noise from a generator of NumPy's that is the module's own."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, images: Tensor) -> Tensor:
        return images + 0.1 * self.rng.standard_normal()


def test_noise_of_a_networks_own_generator_resumes_to_the_same_bits(tmp_path: Path) -> None:
    def run(epochs: int, path: Path) -> Tensor:
        model = nn.Sequential(Jittered(), network())
        quiet(model, optimizer=sgd(model), epochs=epochs, patience=None, checkpoint=path)
        return model[1][2].weight.detach()

    run(1, tmp_path / "a")
    assert torch.equal(run(3, tmp_path / "a"), run(3, tmp_path / "b"))


@pytest.mark.parametrize("halving", HALVING.values(), ids=HALVING)
def test_a_schedule_counts_minibatches_and_resumes(tmp_path: Path, halving) -> None:
    def run(epochs: int, checkpoint: Path | None) -> tuple[Tensor, float]:
        model = network()
        steps = sgd(model)
        quiet(
            model,
            optimizer=steps,
            scheduler=halving(steps),
            epochs=epochs,
            patience=None,
            checkpoint=checkpoint,
        )
        return model[2].weight.detach(), steps.param_groups[0]["lr"]

    weight, rate = run(4, None)
    assert rate == 0.05 * 0.5 ** (40 // 15)
    run(1, tmp_path / "run.safetensors")
    resumed, same_rate = run(4, tmp_path / "run.safetensors")
    assert same_rate == rate
    assert torch.equal(resumed, weight)


def test_the_history_has_what_a_watcher_says_of_the_network_after_each_epoch() -> None:
    model, seen = network(), []

    def watch(watched: nn.Module) -> dict[str, float]:
        assert watched is model
        seen.append(model[2].weight.abs().mean().item())
        return {"size": seen[-1]}

    history = quiet(model, optimizer=sgd(model), epochs=3, patience=None, keep="last", watch=watch)
    assert [row["size"] for row in history] == seen
    assert seen[-1] == model[2].weight.abs().mean().item() != seen[0]


def test_the_last_weights_are_kept_on_request() -> None:
    model, scores = network(), iter([0.9, 0.1])
    seen: list[Tensor] = []

    def score(model: nn.Module, images: Tensor, labels: Tensor) -> float:
        seen.append(model[2].weight.detach().clone())
        return next(scores)

    quiet(model, optimizer=sgd(model), score=score, epochs=2, patience=None, keep="last")
    assert torch.equal(model[2].weight, seen[1])
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(("every", "expected"), [(0.0, [1, 2, 3]), (1e6, [3])])
def test_epochs_that_follow_fast_are_saved_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float, expected: list[int]
) -> None:
    saved, save = [], training.Run.save
    monkeypatch.setattr(training, "SAVE_EVERY", every)
    monkeypatch.setattr(
        training.Run, "save", lambda run, path: (saved.append(len(run.history)), save(run, path))
    )
    model = network()
    quiet(model, optimizer=sgd(model), epochs=3, checkpoint=tmp_path / "run.safetensors")
    assert saved == expected


def test_moments_are_laid_out_in_memory_as_their_weights(tmp_path: Path) -> None:
    def run() -> tuple[nn.Module, torch.optim.Optimizer]:
        layers = nn.Conv2d(1, 3, 2), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.Linear(8, 4)
        model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters())
        quiet(model, optimizer=optimizer, epochs=1, checkpoint=tmp_path / "run.safetensors")
        return model, optimizer

    run()
    model, optimizer = run()
    moments = optimizer.state[model[1].weight]["exp_avg"]
    assert moments.stride() == model[1].weight.stride()
    assert not moments.is_contiguous()
    assert moments.any()


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "run.safetensors"
    model = network()
    quiet(model, optimizer=sgd(model), epochs=1, checkpoint=path)
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        quiet(model, optimizer=sgd(model), epochs=2, checkpoint=path)
    assert path.read_bytes() == before


def with_tanh(model: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*(nn.Tanh() if isinstance(layer, nn.ReLU) else layer for layer in model))


def raised(number: float) -> training.Loss:
    """Return a loss as one writes it in a cell: its name says nothing of the number."""
    return lambda model, images, labels: cross_entropy(model, images, labels) + number


def edited(code: str) -> training.Loss:
    """Return the function `loss` that a notebook defines by this code."""
    cell: dict[str, Any] = {"__name__": "__main__", "cross_entropy": cross_entropy}
    exec(code, cell)
    return cell["loss"]


WRITTEN = "WEIGHT = 1.0\ndef loss(model, x, y):\n    return WEIGHT * cross_entropy(model, x, y)"
# What another training may differ in: settings of the first, those of the second, the words.
OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "pixels": ({}, {"train": (TRAIN[0].flip(3), TRAIN[1])}, "training set"),
    "labels": ({}, {"train": (TRAIN[0], TRAIN[1].flip(0))}, "training set"),
    "fewer": ({}, {"train": (TRAIN[0][:200], TRAIN[1][:200])}, "training set"),
    "validation": ({}, {"validation": TRAIN}, "validation set"),
    "activation": ({}, {"model": with_tanh(network())}, "network"),
    "loss": ({}, {"loss": RegularizedCrossEntropy(0.1)}, "loss"),
    "strength": (
        {"loss": RegularizedCrossEntropy(0.2)},
        {"loss": RegularizedCrossEntropy(0.1)},
        "loss",
    ),
    "a partial": ({"loss": partial(cross_entropy)}, {}, "loss"),
    "closure": ({"loss": raised(1.0)}, {"loss": raised(2.0)}, "loss"),
    "code": (
        {"loss": edited(WRITTEN)},
        {"loss": edited(WRITTEN.replace("WEIGHT *", "2 *"))},
        "loss",
    ),
    "a value in a cell": (
        {"loss": edited(WRITTEN)},
        {"loss": edited(WRITTEN.replace("1.0", "3.0"))},
        "loss",
    ),
    "score": ({}, {"score": lambda *_: 0.5}, "score"),
    "optimizer": ({}, {"steps": torch.optim.Adam}, "optimizer"),
    "learning rate": ({}, {"steps": partial(torch.optim.SGD, lr=0.01, momentum=0.9)}, "optimizer"),
    "schedule": ({"decay": partial(StepLR, step_size=5)}, {}, "scheduler"),
    "step size": (
        {"decay": partial(StepLR, step_size=5)},
        {"decay": partial(StepLR, step_size=6)},
        "scheduler",
    ),
    "batch": ({}, {"batch_size": 16}, "batch size"),
}


def settle(path: Path, settings: dict[str, Any]) -> None:
    """Train for an epoch with these settings in the place of the usual ones."""
    usual = {"model": network(), "steps": sgd_steps, "decay": lambda _: None}
    model, steps, decay = (settings.get(name, usual[name]) for name in usual)
    rest = {name: value for name, value in settings.items() if name not in usual}
    optimizer = steps(model.parameters())
    given = {"optimizer": optimizer, "scheduler": decay(optimizer), "checkpoint": path}
    quiet(model, epochs=1, **(given | rest))


sgd_steps = partial(torch.optim.SGD, lr=0.05, momentum=0.9)


@pytest.mark.parametrize(("first", "second", "differs"), OTHERS.values(), ids=OTHERS)
def test_a_checkpoint_of_another_training_is_refused(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], differs: str
) -> None:
    path = tmp_path / "run.safetensors"
    settle(path, first)
    settle(path, first)  # the same again is found finished
    with pytest.raises(ValueError, match=f"run.safetensors is of .* a different {differs}") as told:
        settle(path, second)
    assert str(told.value).count("different") == 1 + (differs == "scheduler" and not second)
    assert str(told.value).endswith("delete it to start anew, or give another path.")


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"is no checkpoint .*: delete it to start anew, or"):
        settle(path, {})


def test_other_images_for_each_epoch_may_be_announced(tmp_path: Path) -> None:
    path, new = tmp_path / "run.safetensors", (TRAIN[0].flip(3), TRAIN[1])
    settle(path, {"same_images": False})
    model = network()
    rest = {"optimizer": sgd(model), "checkpoint": path, "same_images": False}
    assert len(quiet(model, train=new, epochs=2, **rest)) == 2


def test_a_checkpoint_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = network()
    quiet(model, optimizer=sgd(model), epochs=1, checkpoint="~/run.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


# --- what it takes


@pytest.mark.parametrize(
    "change",
    [
        lambda images, labels: (images, labels.int()),
        lambda images, labels: (images, labels.byte()),
        lambda images, labels: (images.numpy(), labels.numpy()),
        lambda images, labels: [images.numpy().astype(np.float64), labels.tolist()],
    ],
    ids=["int32", "bytes", "numpy", "float64"],
)
def test_arrays_and_other_integers_train_the_same_network(
    change: Callable[[Tensor, Tensor], Any],
) -> None:
    one, other = network(), network()
    quiet(one, optimizer=sgd(one), epochs=2)
    splits = {"train": change(*TRAIN), "validation": change(*VALIDATION)}
    quiet(other, optimizer=sgd(other), epochs=2, **splits)
    assert torch.equal(one[2].weight, other[2].weight)


def test_a_loader_is_told_how_it_becomes_tensors() -> None:
    dataset = TensorDataset(*TRAIN)
    for given in (dataset, DataLoader(dataset, 64)):
        with pytest.raises(ValueError, match=f"^train is a {type(given).__name__}: ") as told:
            quiet(network(), train=given, optimizer=None)
        code = str(told.value).split("`")[1]
        found: dict[str, Any] = {"torch": torch, "DataLoader": DataLoader, "train": given}
        exec(code, found)
        assert torch.equal(found["images"], TRAIN[0])
        assert torch.equal(found["labels"], TRAIN[1])


def test_looking_at_the_classes_draws_nothing_that_training_draws() -> None:
    def trained(**settings: Any) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(), BayesianLinear(16, 4), nn.BatchNorm1d(4))
        model[2].generator = seeded(5)
        before = torch.get_rng_state()
        quiet(model, optimizer=sgd(model), epochs=2, **settings)
        assert torch.equal(torch.get_rng_state(), before)
        return model

    unasked = trained(loss=lambda *batch: cross_entropy(*batch), score=lambda *_: 0.5)
    asked = trained(score=lambda *_: 0.5)
    assert torch.equal(asked[2].mu, unasked[2].mu)
    assert torch.equal(asked[3].running_mean, unasked[3].running_mean)


def spoiled(count: int) -> Tensor:
    images = VALIDATION[0].clone()
    images[:count, 0, 0, 0] = math.nan
    return images


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"train": (TRAIN[0], TRAIN[1] + 1)}, "the largest label is 4 for 4 classes"),
        ({"validation": (VALIDATION[0], VALIDATION[1] - 1)}, "the smallest label is -1"),
        ({"train": (TRAIN[0], TRAIN[1].float())}, "labels are torch.float32"),
        ({"validation": (spoiled(3), VALIDATION[1])}, "3 of 200 validation images have pixels th"),
        ({"train": ((TRAIN[0] * 255).byte(), TRAIN[1])}, "train images are torch.uint8: .*/ 255"),
        ({"train": TRAIN[0]}, "train is no pair"),
        ({"score": lambda *_: math.nan}, "the score on the validation set is NaN"),
        ({"optimizer": sgd(network())}, "the optimizer holds no weights of this network"),
        ({"scheduler": StepLR(sgd(network()), 1)}, "the scheduler is of another optimizer"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(16, 1))}, "one number for each image"),
    ],
)
def test_what_cannot_be_trained_is_named(settings: dict[str, Any], named: str) -> None:
    model = settings.get("model", network())
    rest = {"model": model, "optimizer": sgd(model)} | settings
    with pytest.raises(ValueError, match=named):
        quiet(**rest)


def test_divergence_names_the_step_and_the_likely_cause() -> None:
    model = network()
    with pytest.raises(TrainingDiverged, match=r"at step \d+; .*learning rate \(1e\+20\)"):
        quiet(model, optimizer=sgd(model, 1e20))
    model = network()
    with torch.no_grad():
        model[2].bias[0] = 1e38
    with pytest.raises(TrainingDiverged, match=r"at step 1; .*the initial weights or the loss"):
        quiet(model, optimizer=sgd(model), loss=lambda *batch: cross_entropy(*batch) * 1e30)


def test_the_same_generator_gives_the_same_network() -> None:
    one, other = network(bayesian=True), network(bayesian=True)
    for model in (one, other):
        loss = NegativeELBO(10, "mean")
        quiet(model, optimizer=sgd(model), loss=loss, epochs=2, generator=seeded(9))
    assert torch.equal(one[2].mu, other[2].mu)


def test_regularisation_divides_by_the_units_of_each_layer() -> None:
    model, (images, labels) = network(), TRAIN
    squares = [model[2].weight.square().sum() / 16, model[4].weight.square().sum() / 4]
    expected = cross_entropy(model, images, labels) + 0.1 * sum(squares)
    torch.testing.assert_close(RegularizedCrossEntropy(0.1)(model, images, labels), expected)


def test_evaluating_restores_every_module_s_own_mode() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval()).train()
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model] == [True, False]


def test_a_part_called_generator_draws_nothing() -> None:
    model = nn.Module()
    model.generator = nn.Linear(2, 2)
    assert stochastic_layers(model) == []
    with noise_from(model, seeded(0)):
        assert isinstance(model.generator, nn.Linear)


def test_noise_from_hands_the_generator_back() -> None:
    model, before = network(bayesian=True), seeded(0)
    model[2].generator = before
    with noise_from(model, seeded(1)):
        assert model[2].generator is not before
    assert model[2].generator is before
    assert model[4].generator is None
    with noise_from(model, None):
        assert model[2].generator is before


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: fully_connected("RNN-3"), "'RNN-3' is no network"),
        (lambda: fully_connected("FC-10-0"), "'FC-10-0' is no network"),
        (lambda: fit(network(), (TRAIN[0], TRAIN[1][:3]), VALIDATION, optimizer=None), "3 labels"),
        (lambda: fit(network(), TRAIN, (TRAIN[0][:0], TRAIN[1][:0]), optimizer=None), "validation"),
        (lambda: quiet(network(), optimizer=None, epochs=0), "epochs is 0"),
        (lambda: quiet(network(), optimizer=None, batch_size=1.5), "batch_size is 1.5"),
        (lambda: quiet(network(), optimizer=None, patience=-1), "patience is -1"),
        (lambda: quiet(network(), optimizer=None, patience=math.nan), "patience is nan"),
        (lambda: quiet(network(), optimizer=None, keep="foo"), "keep is 'foo': .* best, last"),
        (lambda: RegularizedCrossEntropy(0.1)(nn.Flatten(), TRAIN[0], TRAIN[1]), "no nn.Linear"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
