"""The training loop: it learns, stops, resumes to the same bits, and names what went wrong."""

from functools import partial
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, StepLR

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
    "by a function": partial(LambdaLR, lr_lambda=lambda step: 0.5 ** (step // 15)),
}


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


def test_a_foreign_or_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path, model = tmp_path / "run.safetensors", network()
    quiet(model, optimizer=sgd(model), epochs=1, checkpoint=path)
    other = fully_connected("FC-8-4", in_features=16)
    with pytest.raises(ValueError, match=r"run\.safetensors is no checkpoint of this network"):
        quiet(other, optimizer=sgd(other), checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="delete it to start anew"):
        quiet(model, optimizer=sgd(model), checkpoint=path)


def test_divergence_names_the_step_and_the_likely_cause() -> None:
    model = network()
    with pytest.raises(TrainingDiverged, match=r"at step \d+; .*learning rate \(1e\+20\)"):
        quiet(model, optimizer=sgd(model, 1e20))
    images = TRAIN[0].clone()
    images[5] = float("nan")
    with pytest.raises(TrainingDiverged, match="pixels that are not finite"):
        fit(network(), (images, TRAIN[1]), VALIDATION, optimizer=sgd(model), progress=False)


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
        (lambda: quiet(network(), optimizer=None, epochs=0), "epochs 0"),
        (lambda: RegularizedCrossEntropy(0.1)(nn.Flatten(), TRAIN[0], TRAIN[1]), "no nn.Linear"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
