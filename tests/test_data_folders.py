"""Folders of images: what is read, in which order, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import failure, files_below, make_own, noise, save
from PIL import Image
from torchvision.transforms.functional import to_tensor

from robustnb.data import load

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_own_images_come_back_as_they_are(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    dataset = load(own)
    assert dataset.name == "own"
    assert dataset.classes == ("ant", "bee", "cat")
    assert {split: len(part) for split, part in dataset.splits.items()} == {
        "train": 15,
        "validation": 3,
        "test": 3,
    }
    expected = {
        (to_tensor(Image.open(path)).numpy().tobytes(), path.parent.name)
        for path in files_below(own)
    }
    found = zip(dataset.images, dataset.labels, strict=True)
    assert {(image.numpy().tobytes(), dataset.classes[label]) for image, label in found} == expected


def test_own_images_are_shuffled_but_balanced(tmp_path: Path) -> None:
    dataset = load(make_own(tmp_path / "own", per_class=70))
    for split in dataset.splits:
        assert len(set(torch.bincount(dataset.split(split)[1]).tolist())) == 1
    images, labels = dataset.split("train")
    ants = {image.numpy().tobytes() for image in images[labels == 0]}
    first_ants = {to_tensor(noise(5, 4, 3, seed=i)).numpy().tobytes() for i in range(50)}
    assert len(ants) == len(first_ants)
    assert ants != first_ants


def test_own_train_and_test_folders_are_kept(tmp_path: Path) -> None:
    make_own(tmp_path / "own/train", per_class=6)
    make_own(tmp_path / "own/test", per_class=2)
    dataset = load(tmp_path / "own")
    assert [len(part) for part in dataset.splits.values()] == [15, 3, 6]
    # Interleaved: the first image of every class, then the second.
    assert dataset.split("test")[1].tolist() == [0, 1, 2, 0, 1, 2]
    second_bee = noise(5, 4, 3, seed=101).transpose(2, 0, 1)
    np.testing.assert_allclose(dataset.split("test")[0][4], second_bee / 255, atol=1e-7)


def test_gray_images_keep_one_channel_only_if_all_are_gray(tmp_path: Path) -> None:
    gray = make_own(tmp_path / "gray", colour=False)
    assert load(gray).images.shape == (21, 1, 5, 4)
    save(noise(5, 4, 3, seed=9), gray / "ant/colourful.png")
    images = load(gray).images
    assert images.shape == (22, 3, 5, 4)
    assert (images[:, 0] == images[:, 1]).flatten(1).all(1).sum() == 21


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
def test_images_of_every_8_bit_mode_are_read(tmp_path: Path, mode: str) -> None:
    own = make_own(tmp_path / "own")
    image = Image.fromarray(noise(5, 4, 3)).convert(mode)
    image.save(own / "ant" / ("x.tiff" if mode == "CMYK" else "x.png"))
    expected = to_tensor(image.convert("RGB"))
    assert any(torch.equal(image, expected) for image in load(own).images)


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    (own / "ant/notes.txt").write_text("six legs")
    (own / "ant/._0.png").write_text("left by a file manager")
    (own / ".hidden").mkdir()
    assert len(load(own).labels) == 21


def test_a_deep_image_is_refused(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    deep = own / "bee/deep.png"
    Image.fromarray(np.full((5, 4), 40_000, dtype=np.uint16)).save(deep)
    assert failure(own) == f"The image {deep} has more than 8 bits a channel: save it with 8."


def test_a_corrupt_image_is_named(tmp_path: Path, cache_folder: Path) -> None:
    own = make_own(tmp_path / "own")
    broken = own / "bee/3.png"
    whole = broken.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"not an image"):
        broken.write_bytes(damage)
        assert failure(own) == f"The image {broken} is damaged, or of an unknown kind."
        assert not files_below(cache_folder)
    broken.write_bytes(whole)
    assert len(load(own).labels) == 21


def test_mixed_sizes_name_one_file_of_each(tmp_path: Path, cache_folder: Path) -> None:
    own = make_own(tmp_path / "own")
    odd = save(noise(6, 7, 3), own / "bee/odd.png")
    sentence = failure(own)
    assert sentence.startswith("All images must have one size, but ")
    assert "is 4×5 and" in sentence
    assert f"{odd} is 7×6" in sentence
    assert not files_below(cache_folder)


def test_folders_that_hold_no_classes_are_named(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    needs = f"{own} needs two class folders or more (own/<class>/*.png), and holds"
    assert failure(own) == f"{needs} none."
    (own / "ant").mkdir()
    assert failure(own) == f"{needs} 1."
    make_own(own)
    shutil.rmtree(own / "bee")
    (own / "bee").mkdir()
    assert failure(own).startswith(f"The class folder {own / 'bee'} holds no image")


def test_a_link_that_leads_nowhere_is_no_image(tmp_path: Path) -> None:
    own = tmp_path / "own"
    make_own(own)
    images = len(load(str(own)).images)
    (own / "lost").symlink_to(tmp_path / "nowhere")
    assert len(load(str(own)).images) == images


def test_train_and_test_must_match(tmp_path: Path) -> None:
    own = tmp_path / "own"
    make_own(own / "train")
    assert failure(own).startswith(f"{own / 'test'} needs two class folders")
    make_own(own / "test")
    (own / "test/dog").mkdir()
    assert failure(own).startswith("The class dog is in only one of")
    (own / "test/dog").rmdir()
    (own / "val").mkdir()
    assert failure(own).startswith(f"{own / 'val'} lies beside the folder train")
