"""Data that are mixed up or out of reach: one sentence, or they are loaded all the same."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_folders import failure, make_mnist, make_own, noise

from robustnb.data import load, writing

pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.fixture
def raw(given_folder: Path) -> Path:
    make_mnist(given_folder)
    return given_folder / "MNIST/raw"


def test_training_images_in_place_of_the_test_images_are_told(raw: Path) -> None:
    shutil.copy(raw / "train-images-idx3-ubyte", raw / "t10k-images-idx3-ubyte")
    assert "t10k-images-idx3-ubyte has 12 images, and t10k-labels-idx1-ubyte 2" in failure("mnist")
    shutil.copy(raw / "train-labels-idx1-ubyte", raw / "t10k-labels-idx1-ubyte")
    assert failure("mnist").startswith(f"The test images in {raw} are the training images: replace")


def test_labels_beyond_the_classes_and_too_few_are_told(raw: Path) -> None:
    labels = raw / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1] + b"\x0b")
    assert failure("mnist") == f"{labels} has the label 11: those of MNIST are 0 to 9."
    header = np.array([2049, 11], dtype=">i4").tobytes()
    labels.write_bytes(header + whole[8:-1])
    assert "has 12 images, and train-labels-idx1-ubyte 11 labels: replace" in failure("mnist")
    labels.write_bytes(whole[:-1])
    assert failure("mnist").startswith(f"The MNIST files in {raw.parents[1]} are damaged")


def test_what_older_versions_of_torchvision_made_of_the_files_is_passed_over(raw: Path) -> None:
    expected = load("mnist").images.clone()
    processed = raw.with_name("processed")
    processed.mkdir()
    other = (torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    for name in ("training.pt", "test.pt"):
        torch.save(other, processed / name)
    shutil.rmtree(Path(os.environ["ROBUSTNB_CACHE"]))
    assert torch.equal(load("mnist").images, expected)


def test_pipes_and_links_to_themselves_do_not_stop_a_folder(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    os.mkfifo(own / "ant/pipe")
    os.mkfifo(own / "ant/pipe.png")
    (own / "bee/round.png").symlink_to(own / "bee/round.png")
    (own / "cat/up").symlink_to(own)
    dataset = load(own)
    assert len(dataset.labels) == 21
    assert "3 files (ant/pipe, ant/pipe.png, bee/round.png)" in str(dataset)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_cache_that_may_only_be_read_still_loads_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    own = make_own(tmp_path / "own")

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(writing.tempfile, "TemporaryDirectory", read_only)
    with pytest.warns(UserWarning, match=rf"cannot be written \({os.strerror(code)}\).* each load"):
        dataset = load(own)
    first = torch.from_numpy(noise(5, 4, 3, seed=0)).permute(2, 0, 1) / 255
    assert any(torch.equal(image, first) for image in dataset.images)
    monkeypatch.undo()
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    assert str(load(own)) == str(dataset)
