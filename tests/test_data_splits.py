"""How images are divided and ordered: the rules of the splits, and the order in a folder."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_folders import NAMES

from robustnb.data import Dataset, load
from robustnb.data.pictures import interleave
from robustnb.data.splits import RULES, first_classes


def published(name: str, size: int, train_size: int) -> Dataset:
    train, test = torch.arange(size).tensor_split([train_size])
    images = torch.zeros(1, 1, 1, 1).expand(size, 1, 1, 1)
    labels = torch.arange(size)
    return Dataset(name, images, labels, ("0",), "", {"train": train, "test": test})


@given(
    rule=st.sampled_from(list(RULES)),
    name=st.sampled_from([*NAMES, "shapes"]),
    size=st.integers(7, 500),
    share=st.floats(0.5, 0.95),
)
def test_splits_are_disjoint_covering_sorted_and_deterministic(
    rule: str, name: str, size: int, share: float
) -> None:
    dataset = published(name, size, int(size * share))
    splits = RULES[rule](dataset)
    everything = torch.cat(list(splits.values()))
    assert torch.equal(everything.sort().values, torch.arange(size))
    for split, again in zip(splits.values(), RULES[rule](dataset).values(), strict=True):
        assert torch.equal(split, again)
        assert torch.equal(split, split.sort().values)
    if rule != "at_random":
        assert torch.equal(splits["test"], dataset.splits["test"])


@pytest.mark.parametrize(
    ("rule", "name", "sizes"),
    [
        ("held_out", "mnist", (50_000, 10_000, 10_000)),
        ("held_out", "mnist-5k", (4_000, 500, 500)),
        ("at_random", "mnist", (50_000, 10_000, 10_000)),
        ("at_random", "mnist-5k", (4_000, 500, 500)),
        ("at_random", "cifar10", (40_000, 10_000, 10_000)),
        ("at_random", "tiny-imagenet", (91_667, 9_166, 9_167)),
        ("as_published", "mnist", (60_000, 10_000)),
        ("as_published", "cifar10", (50_000, 10_000)),
    ],
)
def test_split_sizes_are_the_papers(rule: str, name: str, sizes: tuple[int, ...]) -> None:
    total, test = {
        "mnist": (70_000, 10_000),
        "mnist-5k": (5_000, 500),
        "cifar10": (60_000, 10_000),
        "tiny-imagenet": (110_000, 10_000),
    }[name]
    splits = RULES[rule](published(name, total, total - test))
    assert tuple(len(part) for part in splits.values()) == sizes


def test_held_out_images_are_the_last_of_the_training_file() -> None:
    splits = RULES["held_out"](published("mnist", 70_000, 60_000))
    assert torch.equal(splits["train"], torch.arange(50_000))
    assert torch.equal(splits["validation"], torch.arange(50_000, 60_000))


def test_a_random_split_is_random() -> None:
    train = RULES["at_random"](published("mnist", 70_000, 60_000))["train"]
    assert abs((train < 35_000).float().mean() - 0.5) < 0.01


@pytest.mark.parametrize("rule", RULES)
def test_first_classes_keep_their_images_in_their_splits(rule: str) -> None:
    whole = load("shapes", rule)
    some = first_classes(whole, 3)
    assert (some.name, some.classes) == ("shapes-3", whole.classes[:3])
    assert len(some.images) == len(some.labels) == sum(map(len, some.splits.values()))
    for which in whole.splits:
        images, labels = whole.split(which)
        few, their_labels = some.split(which)
        assert torch.equal(few, images[labels < 3])
        assert torch.equal(their_labels, labels[labels < 3])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.none() | st.integers(0, 9))
def test_interleaving_keeps_every_stretch_in_proportion(
    values: list[int], seed: int | None
) -> None:
    labels = np.array(values)
    order = interleave(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    classes = np.unique(labels)
    seen = np.cumsum(labels[order][:, None] == classes, axis=0)
    fair = np.arange(1, len(labels) + 1)[:, None] * np.mean(labels[:, None] == classes, axis=0)
    assert np.abs(seen - fair).max() <= 1 + len(classes) / 2
    if seed is None:
        for label in classes:
            assert (np.diff(order[labels[order] == label]) > 0).all()
