"""The comparison of defences: each is trained and answers, and is measured as it says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustnb.data import load
from robustnb.defenses.bayesian import sample_logits
from robustnb.models import predict
from robustnb.papers.comparison import defenses as folder
from robustnb.papers.comparison.defenses import bayesian, defenses
from robustnb.papers.comparison.measuring import attacked, certified, corrupted
from robustnb.papers.comparison.networks import Ensemble, Smoothed, drawn
from robustnb.papers.comparison.protocols import PROTOCOLS
from robustnb.papers.comparison.tables import TABLES, measure, measured
from robustnb.papers.comparison.task import Task, Trained
from robustnb.randomness import noise_from, seeded

TINY = Task("mnist-5k", epochs=1, batch_size=100, lr=5e-3, eps=0.05)
NAMES = tuple(defenses())


def images_of(number: int = 20) -> tuple[Tensor, Tensor]:
    return load("mnist-5k").split("test", number)


@pytest.mark.parametrize("name", NAMES)
def test_a_defense_is_trained_to_answer_with_logits(name: str) -> None:
    found = defenses()[name].train(TINY, 0)
    images, labels = images_of(200)
    logits = predict(found.model, images)
    assert logits.shape == (200, 10)
    assert logits.isfinite().all()
    assert (logits.argmax(1) == labels).float().mean() > 0.3  # and learns a little, in 40 steps
    assert len(found.history) == 1
    assert found.seconds > 0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_told_of_a_defense_is_a_plain_sentence(name: str) -> None:
    defense = defenses()[name]
    for sentence in filter(None, (defense.sentence, defense.differs)):
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
        assert sentence.count(".") == 1  # one thought
    assert defense.title
    assert defense.source
    assert defense.attacked


def test_the_files_of_the_folder_are_the_defenses_and_plain_is_first() -> None:
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(NAMES) == files
    assert NAMES[0] == "plain"


def test_a_file_without_a_defense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(bayesian, "DEFENSE")
    with pytest.raises(ValueError, match=r"^defenses/bayesian\.py has no DEFENSE = Defense"):
        defenses()


def test_the_attacks_of_the_papers_stay_within_the_radius() -> None:
    images, labels = images_of()
    model = TINY.untrained(0)
    for defense in defenses().values():
        if defense.attack is not None:
            found = defense.attack(TINY)(model, images, labels, seeded(0))
            assert (found - images).abs().max() <= TINY.eps + 1e-6


# --- networks that vote


def test_an_ensemble_of_draws_is_the_mean_of_as_many_passes() -> None:
    model = bayesian.train(TINY, 0).model
    images, _ = images_of()
    expected = sample_logits(model, images, 3, seeded(5)).softmax(-1).mean(0)
    found = predict(drawn(model, 3, seed=5), images).softmax(-1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_an_ensemble_needs_a_bayesian_network() -> None:
    with pytest.raises(ValueError, match="no Bayesian layers"):
        drawn(TINY.untrained(0), 3, seed=0)


def test_an_ensemble_of_one_network_is_this_network() -> None:
    model, (images, _) = TINY.untrained(0), images_of()
    found = predict(Ensemble([model, model]), images)
    assert torch.allclose(found, predict(model, images).log_softmax(-1), atol=1e-5)


def test_copies_without_noise_vote_for_what_the_network_says() -> None:
    model, (images, _) = TINY.untrained(0), images_of()
    found = predict(Smoothed(model, 0.0, 3), images)
    assert torch.allclose(found, predict(model, images).log_softmax(-1), atol=1e-5)


def test_each_noisy_copy_has_noise_of_its_own() -> None:
    """The logit of a copy is the mean pixel; the mean over many is near the clean one."""
    images = torch.full((1, 1, 8, 8), 0.5)

    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            mean = images.flatten(1).mean(1, keepdim=True)
            return torch.cat([mean, torch.zeros_like(mean)], 1)

    def answer(copies: int) -> Tensor:
        smoothed = Smoothed(Mean(), 1.0, copies)
        with noise_from(smoothed, seeded(0)):
            return predict(smoothed, images.expand(500, -1, -1, -1)).softmax(1)[:, 0]

    one, many = answer(1), answer(16)
    assert many.mean().item() == pytest.approx(one.mean().item(), abs=0.01)
    assert many.std().item() == pytest.approx(
        one.std().item() / 4, rel=0.2
    )  # as of 16 independent ones


# --- measuring


class Constant(nn.Module):
    """Answer 3 to everything."""

    def forward(self, images: Tensor) -> Tensor:
        flat = 0 * images.flatten(1)[:, :1]
        return flat + 5 * nn.functional.one_hot(torch.tensor(3), 10)


@pytest.fixture
def constant() -> Trained:
    return Trained(Constant(), [])


def share_of_threes(number: int) -> float:
    return (images_of(number)[1] == 3).float().mean().item()


def test_what_answers_the_same_to_all_is_right_as_often_as_its_class(constant: Trained) -> None:
    images = TINY.images("test", 100)
    attack = defenses()["plain"].attack
    assert attack is not None
    judged = attacked(constant, attack(TINY), Trained(TINY.untrained(0), []), images, 0)
    assert judged.shares.mean().item() == pytest.approx(share_of_threes(100))
    for found in corrupted(constant, images, 0).values():
        assert found.shares.mean().item() == pytest.approx(share_of_threes(100))


def test_a_vote_that_never_changes_is_proved_as_far_as_the_copies_allow(constant: Trained) -> None:
    smoothed = Trained(Smoothed(constant.model, 0.5, 4), [])
    found = certified(smoothed, TINY.images("test", 10), 100, 0)
    assert found is not None
    # 100 of 100 copies: p >= 0.001 ** (1 / 100)
    expected = 0.5 * torch.special.ndtri(torch.tensor(0.001 ** (1 / 100))).item()
    assert found.radii.tolist() == pytest.approx([expected] * 10, rel=1e-4)
    assert found.right.float().mean().item() == pytest.approx(share_of_threes(10))
    assert certified(constant, TINY.images("test", 10), 100, 0) is None


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTNB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.usefixtures("cache")
def test_a_protocol_is_about_all_defenses_or_some_and_its_rows_say_so() -> None:
    smoke = PROTOCOLS["smoke"]
    assert len(list(measured(smoke))) == len(NAMES)
    small = replace(smoke, task=TINY, num_images=10, num_certified=2, copies=20)
    two = replace(small, only=("plain", "smoothing"))
    rows = measure(two, [0, 1], jobs=1, progress=False)
    assert {row["table"] for row in rows} == set(TABLES)
    assert {row["row"] for row in rows} == {"No defence", "Randomised smoothing"}
    found = {(row["row"], row["column"]): row for row in rows if row["table"] == "side by side"}
    assert ("No defence", "proved in L2 0.5") not in found
    assert ("Randomised smoothing", "proved in L2 0.5") in found
    assert ("Randomised smoothing", "as its paper attacks") not in found
    for name in ("No defence", "Randomised smoothing"):
        worst = found[name, "worst case"]
        assert worst["seeds"] == [0, 1]
        assert worst["settings"]["task"]["eps"] == TINY.eps
        attacks = [r["value"] for r in rows if r["table"] == "attacks" and r["row"] == name]
        assert worst["value"] <= min(attacks) + 1e-9
        low, high = (found[name, f"worst case, {end}"]["value"] for end in ("from", "to"))
        assert low <= worst["value"] <= high
    cost = {(r["row"], r["column"]): r["value"] for r in rows if r["table"] == "cost"}
    assert cost["No defence", "training"] == 1
    assert cost["Randomised smoothing", "an answer"] > cost["No defence", "an answer"]
