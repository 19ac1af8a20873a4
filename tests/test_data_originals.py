"""MNIST, CIFAR-10 and Tiny-ImageNet in small, in the files that their authors publish."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import (
    CIFAR10_CLASSES,
    CIFAR10_LABELS,
    cifar10_pixels,
    failure,
    files_below,
    make_cifar10,
    make_mnist,
    make_tiny_imagenet,
    save,
)
from PIL import Image
from torchvision import datasets
from torchvision.transforms.functional import to_tensor

from robustnb.data import load

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_mnist_is_what_torchvision_reads(given_folder: Path) -> None:
    make_mnist(given_folder)
    dataset = load("mnist")
    for split, train, rows in (
        ("train", True, slice(10)),
        ("validation", True, slice(10, None)),
        ("test", False, slice(None)),
    ):
        oracle = datasets.MNIST(given_folder, train=train)
        images, labels = dataset.split(split)
        assert torch.equal(images, oracle.data[rows, None] / 255)
        assert torch.equal(labels, oracle.targets[rows])


@pytest.mark.usefixtures("small_cifar10")
def test_cifar10_is_the_same_from_batches_and_from_class_folders(given_folder: Path) -> None:
    make_cifar10(given_folder)
    from_batches = load("cifar10", "as_published")
    assert from_batches.split("test")[1].tolist() == [0, 1, 2]
    third = cifar10_pixels("test_batch")[2] / 255
    np.testing.assert_allclose(from_batches.split("test")[0][0], third, atol=1e-7)
    shutil.rmtree(given_folder / "cifar-10-batches-py")
    for batch, part in (("data_batch_1", "train"), ("test_batch", "test")):
        for i, label in enumerate(CIFAR10_LABELS[batch]):
            pixels = cifar10_pixels(batch)[i].transpose(1, 2, 0)
            path = given_folder / "cifar10" / part / CIFAR10_CLASSES[label] / f"{i}.png"
            save(pixels, path)
    from_folders = load("cifar10", "as_published")
    assert torch.equal(from_folders.images, from_batches.images)
    assert str(from_folders) == str(from_batches)
    assert from_folders.classes == from_batches.classes == CIFAR10_CLASSES


def test_tiny_imagenets_validation_images_are_the_test_part(given_folder: Path) -> None:
    make_tiny_imagenet(given_folder)
    dataset = load("tiny-imagenet", "as_published")
    assert dataset.classes == ("goldfish", "toad")
    assert [len(part) for part in dataset.splits.values()] == [12, 2]
    images, labels = dataset.split("test")
    assert labels.tolist() == [0, 1]
    for label in labels:
        path = given_folder / f"tiny-imagenet-200/val/images/val_{label}.JPEG"
        assert torch.equal(images[label], to_tensor(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("inner", ["", "images"])
def test_sorted_validation_images_are_read_as_those_with_annotations(
    given_folder: Path, inner: str
) -> None:
    make_tiny_imagenet(given_folder)
    expected = str(load("tiny-imagenet"))
    validation = given_folder / "tiny-imagenet-200/val"
    for line in (validation / "val_annotations.txt").read_text().splitlines():
        name, wordnet_id = line.split("\t")[:2]
        (validation / wordnet_id / inner).mkdir(parents=True)
        (validation / f"images/{name}").rename(validation / wordnet_id / inner / name)
    (validation / "val_annotations.txt").unlink()
    assert str(load("tiny-imagenet")) == expected
    (validation / "images").rmdir()
    assert str(load("tiny-imagenet")) == expected


def test_missing_annotations_are_named(given_folder: Path, cache_folder: Path) -> None:
    make_tiny_imagenet(given_folder)
    annotations = given_folder / "tiny-imagenet-200/val/val_annotations.txt"
    whole = annotations.read_text()
    missing = f"{annotations} has no label of a known class for val_1.JPEG."
    first, second = whole.splitlines()
    for damaged in (first, f"{first}\nval_1.JPEG", f"{first}\n{second.replace('n02', 'n77')}"):
        annotations.write_text(damaged)
        assert failure("tiny-imagenet") == missing
    annotations.unlink()
    assert failure("tiny-imagenet").startswith(f"{annotations} is missing")
    assert not files_below(cache_folder)
    annotations.write_text(whole)
    assert len(load("tiny-imagenet").labels) == 14


def test_damaged_originals_are_named(given_folder: Path, cache_folder: Path) -> None:
    make_mnist(given_folder)
    images = given_folder / "MNIST/raw/train-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-100])
    assert failure("mnist").startswith(f"The MNIST files in {given_folder} are damaged")
    images.unlink()
    assert failure("mnist").startswith(f"The MNIST files in {given_folder} are damaged")
    make_cifar10(given_folder)  # whose checksums are not the real one's
    assert failure("cifar10").startswith(f"The CIFAR10 files in {given_folder} are damaged")
    assert not files_below(cache_folder)
    images.write_bytes(whole)
    assert len(load("mnist").labels) == 14
