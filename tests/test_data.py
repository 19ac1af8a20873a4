"""What is loaded: found by name, divided into splits, and the same as in other libraries."""

import os
from pathlib import Path

import pytest
import torch
from image_folders import failure, make_own, noise, save
from PIL import Image
from torchvision import datasets
from torchvision.transforms.functional import to_tensor

from robustnb.data import DataError, load
from robustnb.data.splits import RULES

pytestmark = pytest.mark.usefixtures("cache_folder")
REAL = Path(os.environ.get("ROBUSTNB_DATA", "no real data"))


def test_a_split_that_is_a_range_is_no_copy() -> None:
    dataset = load("digits")
    images, labels = dataset.split("validation")
    first = dataset.splits["validation"][0]
    assert images.data_ptr() == dataset.images[first].data_ptr()
    assert labels.data_ptr() == dataset.labels[first].data_ptr()


def test_a_random_split_is_what_its_indices_say() -> None:
    dataset = load("digits", "at_random")
    images, labels = dataset.split("test")
    assert torch.equal(images, torch.stack([dataset.images[i] for i in dataset.splits["test"]]))
    assert torch.equal(labels, dataset.labels[dataset.splits["test"]])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("number", [1, 7, 10_000])
def test_the_first_images_of_a_split_are_those_of_the_whole(rule: str, number: int) -> None:
    dataset = load("digits", rule)
    for which in dataset.splits:
        images, labels = dataset.split(which, number)
        for few, whole in zip((images, labels), dataset.split(which), strict=True):
            assert torch.equal(few, whole[:number])


def test_the_first_images_of_a_random_split_are_copied_alone() -> None:
    images, _ = load("digits", "at_random").split("train", 7)
    assert images.untyped_storage().nbytes() == images.nbytes


@pytest.mark.parametrize("number", [0, -1, 2.5, "7"])
def test_a_number_of_images_is_a_positive_integer(number: object) -> None:
    with pytest.raises(DataError) as caught:
        load("digits").split("test", number)
    assert str(caught.value) == (
        f"num_images is {number!r}: accepted are integers of at least 1, or None."
    )


def test_unknown_splits_and_rules_are_named() -> None:
    assert failure("digits", "bag") == (
        "'bag' is no rule for splits: accepted are held_out, at_random, as_published."
    )
    with pytest.raises(DataError, match=r"no split 'validation' here: accepted are train, test\."):
        load("digits", "as_published").split("validation")


def test_a_dataset_tells_its_name_shape_splits_and_digest() -> None:
    digits = load("digits")
    assert str(digits) == repr(digits)
    assert str(digits) == (
        "digits: 1,797 images of 1×28×28 in 10 classes; "
        f"train 1,283, validation 257, test 257; digest {digits.digest}"
    )
    assert str(digits) in digits._repr_html_()


def test_first_classes_are_loaded_by_name(given_folder: Path) -> None:
    make_own(given_folder / "mnist", per_class=20)
    assert load("mnist-2").classes == ("ant", "bee")
    assert load("mnist-3").images.shape == load("mnist").images.shape
    for number in (0, 1, 4):
        assert failure(f"mnist-{number}").endswith("of mnist: accepted are 2 to 3 classes.")


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own", per_class=1)
    assert failure(own) == "own has too few images for a validation split."


def test_first_classes_without_an_image_in_a_split_are_refused(given_folder: Path) -> None:
    make_own(given_folder / "mnist", per_class=1)
    for i in range(20):  # so that the last sixth holds nothing else
        save(noise(5, 4, 3, seed=i), given_folder / f"mnist/cat/more {i}.png")
    assert load("mnist-3").split("validation")[1].unique().tolist() == [2]
    assert failure("mnist-2") == "mnist-2 has too few images for a validation split."


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    assert "(did you mean 'mnist'?): accepted are mnist-5k, digits, shapes," in failure("minst")
    assert "did you mean 'cifar10'?" in failure("CIFAR-10")
    assert "did you mean 'tiny-imagenet'?" in failure("tinyimagenet")
    assert "did you mean" not in failure(tmp_path / "nowhere")


# The real sets, where they are at hand.


def real(path: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (REAL / path).is_dir(), reason=f"no {path} in ROBUSTNB_DATA")


@real("MNIST/raw")
def test_real_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_DATA", str(REAL))
    dataset = load("mnist", "as_published")
    assert dataset.digest == "b3fe36794a3a"  # as in the rows of book/results
    for split in ("train", "test"):
        oracle = datasets.MNIST(REAL, train=split == "train")
        images, labels = dataset.split(split)
        assert torch.equal((images[:, 0] * 255).round().byte(), oracle.data)
        assert torch.equal(labels, oracle.targets)


@real("MNIST/raw")
def test_mnist_5k_is_part_of_the_first_training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_DATA", str(REAL))
    known = {image.numpy().tobytes() for image in load("mnist", "as_published").images[:5_848]}
    images = load("mnist-5k").images
    assert len({image.numpy().tobytes() for image in images} & known) == len(images)


@real("cifar10")
def test_real_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_DATA", str(REAL))
    dataset = load("cifar10", "as_published")
    assert dataset.digest == "19365f42518f"  # as in the rows of book/results
    classes = "airplane automobile bird cat deer dog frog horse ship truck"
    assert dataset.classes == tuple(classes.split())
    assert dataset.images.shape == (60_000, 3, 32, 32)
    for split, size in (("train", 5_000), ("test", 1_000)):
        labels = dataset.split(split)[1]
        assert torch.bincount(labels).tolist() == [size] * 10
    # The well-known channel means of the training images.
    means = dataset.split("train")[0].mean((0, 2, 3))
    torch.testing.assert_close(means, torch.tensor([0.4914, 0.4822, 0.4465]), atol=1e-4, rtol=0)


@real("tiny-imagenet-200")
def test_real_tiny_imagenet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_DATA", str(REAL))
    dataset = load("tiny-imagenet", "as_published")
    assert dataset.images.shape[1:] == (3, 64, 64)
    assert len(set(dataset.classes)) == 200
    train, test = (
        torch.bincount(dataset.split(split)[1], minlength=200) for split in ("train", "test")
    )
    assert train.min() == train.max()
    assert test.min() == test.max()
    assert (int(train[0]), int(test[0])) in {(100, 25), (500, 50)}  # the subset, or all of it
    if train[0] == 100:
        files = (REAL / "tiny-imagenet-200").rglob("*.JPEG")
        assert sum(Image.open(file).mode == "L" for file in files) == 427
    images, labels = dataset.split("test")
    annotations = (REAL / "tiny-imagenet-200/val/val_annotations.txt").read_text()
    assert "val_0.JPEG\tn03444034" in annotations
    first = to_tensor(Image.open(REAL / "tiny-imagenet-200/val/images/val_0.JPEG").convert("RGB"))
    (row,) = (images == first).flatten(1).all(1).nonzero()
    assert dataset.classes[labels[row]] == "go-kart"
