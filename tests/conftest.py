"""What the tests share: one thread a process, the order, folders for data sets, the built book."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Sums differ in their last digit with the number of threads, here and in what the tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings
from image_folders import CIFAR10_LABELS, make_cifar10, md5

from robustnb.publishing.build import build

# The files that take longest, in their order. The first builds the book while others go on.
LONGEST = ("test_chapters", "test_publishing")

# How long an example takes depends on what else the machine does.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, and end with those that wait for the book: no core is idle."""
    waiting = {item.path for item in items if "built_book" in getattr(item, "fixturenames", ())}

    def turn(item: pytest.Item) -> int:
        name = item.path.stem
        return LONGEST.index(name) if name in LONGEST else len(LONGEST) + (item.path in waiting)

    items.sort(key=turn)


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a cache of its own, gone afterwards, and no data of the reader's."""
    monkeypatch.delenv("ROBUSTNB_DATA", raising=False)
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # a real set's takes a gigabyte


@pytest.fixture
def given_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let ROBUSTNB_DATA name an empty folder, and return it."""
    root = tmp_path / "given"
    root.mkdir()
    monkeypatch.setenv("ROBUSTNB_DATA", str(root))
    return root


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take the small CIFAR-10 for the real one."""
    make_cifar10(tmp_path / "model")
    batches = tmp_path / "model/cifar-10-batches-py"
    sums = {name: [name, md5(batches / name)] for name in (*CIFAR10_LABELS, "batches.meta")}
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"][1]}
    monkeypatch.setattr("torchvision.datasets.CIFAR10.train_list", [sums["data_batch_1"]])
    monkeypatch.setattr("torchvision.datasets.CIFAR10.test_list", [sums["test_batch"]])
    monkeypatch.setattr("torchvision.datasets.CIFAR10.meta", meta)


@pytest.fixture(scope="session")
def built_book() -> Path:
    """Build the book at smoke, or find it built, and return the folder of its pages."""
    return build("smoke").parent
