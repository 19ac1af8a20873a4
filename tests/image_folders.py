"""Images and data sets made by hand, in the layouts in which they come."""

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustnb.data import DataError, load

NAMES = ("mnist", "cifar10", "tiny-imagenet")
Pixels = NDArray[np.uint8]


def files_below(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(pixels: Pixels, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_own(root: Path, per_class: int = 7, colour: bool = True) -> Path:
    for label, name in enumerate(("ant", "bee", "cat")):
        for i in range(per_class):
            pixels = noise(*((5, 4, 3) if colour else (5, 4)), seed=100 * label + i)
            save(pixels, root / name / f"{i}.png")
    return root


def failure(name: object, splits: str = "held_out", size: object = None) -> str:
    """Return the one sentence with which loading fails."""
    with pytest.raises(DataError) as caught:
        load(str(name) if isinstance(name, Path) else name, splits, size)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def make_mnist(root: Path) -> None:
    raw = root / "MNIST/raw"
    raw.mkdir(parents=True)
    for part, size in (("train", 12), ("t10k", 2)):
        labels = np.arange(size, dtype=np.uint8) % 10
        images = noise(size, 28, 28, seed=size)
        header = struct.pack(">IIII", 2051, size, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 2049, size)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


CIFAR10_CLASSES = ("airplane", "automobile", "bird")
CIFAR10_LABELS = {"data_batch_1": [2, 0, 0, 1, 0, 2, 0], "test_batch": [1, 2, 0]}


def cifar10_pixels(batch: str) -> Pixels:
    return noise(len(CIFAR10_LABELS[batch]), 3, 32, 32, seed=len(batch))


def make_cifar10(root: Path) -> None:
    batches = root / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for batch, labels in CIFAR10_LABELS.items():
        rows = cifar10_pixels(batch).reshape(len(labels), -1)
        (batches / batch).write_bytes(pickle.dumps({"data": rows, "labels": labels}))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10_CLASSES)}))


def make_tiny_imagenet(root: Path) -> None:
    top = root / "tiny-imagenet-200"
    annotations = []
    for label, wordnet_id in enumerate(("n01", "n02")):
        for i in range(6):
            pixels = noise(64, 64, 3, seed=10 * label + i)
            save(pixels, top / f"train/{wordnet_id}/images/{wordnet_id}_{i}.JPEG")
        (top / f"train/{wordnet_id}/{wordnet_id}_boxes.txt").write_text("")
        save(noise(64, 64, seed=label), top / f"val/images/val_{label}.JPEG")
        annotations.append(f"val_{label}.JPEG\t{wordnet_id}\t0\t0\t62\t62\n")
    (top / "val/val_annotations.txt").write_text("".join(annotations))
    (top / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\ttoad\n")


MAKERS = {"mnist": make_mnist, "cifar10": make_cifar10, "tiny-imagenet": make_tiny_imagenet}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
