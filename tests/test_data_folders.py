"""Folders of images: what is read, in which order, and what is refused."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import failure, files_below, make_own, noise, save
from PIL import Image
from torchvision.transforms.functional import to_tensor

from robustnb.data import load
from robustnb.data.dataset import DataError
from robustnb.data.folders import natural_order

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


def test_the_digest_is_of_the_pixels_and_labels_in_their_order(tmp_path: Path) -> None:
    """Stored results are kept under it, so that it must not move."""
    make_own(tmp_path / "own/train", per_class=6)
    make_own(tmp_path / "own/test", per_class=2)
    images = [(label, i) for size in (6, 2) for i in range(size) for label in range(3)]
    pixels = [noise(5, 4, 3, seed=100 * label + i).transpose(2, 0, 1) for label, i in images]
    labels = np.array([label for label, _ in images], dtype="<i8")
    hashed = hashlib.sha256(np.stack(pixels).tobytes() + labels.tobytes())
    assert load(tmp_path / "own").digest == hashed.hexdigest()[:12]


def test_gray_images_keep_one_channel_only_if_all_are_gray(tmp_path: Path) -> None:
    gray = make_own(tmp_path / "gray", colour=False)
    assert load(gray).images.shape == (21, 1, 5, 4)
    save(noise(5, 4, 3, seed=9), gray / "ant/colourful.png")
    with pytest.warns(UserWarning, match="gray has 3 channels"):
        images = load(gray).images
    assert images.shape == (22, 3, 5, 4)
    assert (images[:, 0] == images[:, 1]).flatten(1).all(1).sum() == 21


def test_mixed_sizes_name_one_file_of_each(tmp_path: Path, cache_folder: Path) -> None:
    own = make_own(tmp_path / "own")
    odd = save(noise(6, 7, 3), own / "bee/odd.png")
    sentence = failure(own)
    assert sentence.startswith("All images must have one size, but ")
    assert "is 4×5 and" in sentence
    assert f"{odd} is 7×6" in sentence
    assert sentence.endswith("size=4, or another, lets load resize and crop them.")
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
    (own / "more").mkdir()
    assert failure(own).startswith(f"{own / 'more'} lies beside the folder train")
    (own / "more").rmdir()
    (own / "val").mkdir()
    assert failure(own).startswith(f"{own / 'val'} needs two class folders")


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("Train", "Val", "Test"), ("training", "valid", "TESTING"), ("TRAIN", "Validation", "test")],
)
def test_parts_are_known_by_their_usual_names(
    tmp_path: Path, train: str, validation: str, test: str
) -> None:
    for part, per_class in ((train, 6), (validation, 1), (test, 2)):
        make_own(tmp_path / "own" / part, per_class)
    sizes = {"train": 18, "validation": 3, "test": 6}
    for rule in ("held_out", "as_published"):
        dataset = load(tmp_path / "own", rule)
        assert dataset.classes == ("ant", "bee", "cat")
        assert {split: len(part) for split, part in dataset.splits.items()} == sizes
        first_ant = to_tensor(noise(5, 4, 3))
        for split in sizes:
            assert torch.equal(dataset.split(split)[0][0], first_ant)
    assert sum(len(part) for part in load(tmp_path / "own", "at_random").splits.values()) == 27


def test_without_test_val_is_the_test_part_and_that_is_said(tmp_path: Path) -> None:
    make_own(tmp_path / "own/train", 6)
    make_own(tmp_path / "own/val", 2)
    dataset = load(tmp_path / "own")
    assert [len(part) for part in dataset.splits.values()] == [15, 3, 6]
    assert str(dataset).endswith("; val is the test part")


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for part in ("train", "Training", "test"):
        make_own(own / part)
    assert failure(own) == (f"{own} has both Training and train, which mean the same: join them.")


def test_a_test_part_alone_is_no_data_set(tmp_path: Path) -> None:
    own = tmp_path / "own"
    make_own(own / "test")
    make_own(own / "val")
    assert failure(own).startswith(f"{own / 'train'} needs two class folders or more")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    (own / "ant").rename(own / "train")
    assert load(own).classes == ("bee", "cat", "train")


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    for number in (*range(12), "x2", "x10", "Zebra"):
        for i in range(7):
            save(noise(5, 4, seed=i), tmp_path / f"own/{number}/{i}.png")
    numbers = [str(number) for number in range(12)]
    dataset = load(tmp_path / "own")
    assert list(dataset.classes) == [*numbers, "Zebra", "x2", "x10"]
    assert f"; {', '.join(f'{name} 7' for name in dataset.classes)}" in str(dataset)


def test_natural_order_is_the_usual_one_but_for_the_value_of_numbers() -> None:
    usual = ["", "n01443537", "n01629819", "a-1", "a1", "a 1", "Z", "_x", "ä", "a1b", "a1-b", "a"]
    assert sorted(usual, key=natural_order) == sorted(usual)
    assert sorted(["a10b", "a9", "a09", "a2"], key=natural_order) == ["a2", "a09", "a9", "a10b"]


def test_many_classes_are_described_by_the_first(tmp_path: Path) -> None:
    for number in range(23):
        for i in range(7):
            save(noise(2, 2, seed=i), tmp_path / f"own/{number}/{i}.png")
    assert str(load(tmp_path / "own")).endswith("18 7, 19 7, and 3 more classes")


# What is left out, and said to be.


def test_the_description_counts_classes_and_what_was_left_out(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    save(noise(5, 4, 3, seed=9), own / "bee/7.png")
    dataset = load(own)
    shown = f"train 16, validation 3, test 3; digest {dataset.digest}; ant 7, bee 8, cat 7"
    assert str(dataset) == f"own: 22 images of 3×5×4 in 3 classes; {shown}"
    assert repr(dataset) == str(dataset)
    save(noise(5, 4, 3), own / "stray.png")
    (own / "ant/notes.txt").write_text("six legs")
    left_out = "; left out as no image or in no class folder 2 files (ant/notes.txt, stray.png)"
    assert str(load(own)).endswith(shown + left_out)
    for name in ("a.heic", "b.svg", "c.pdf"):
        (own / f"cat/{name}").write_text("")
    assert "5 files (ant/notes.txt, cat/a.heic, cat/b.svg, …)" in str(load(own))


def test_what_lies_beside_the_classes_of_a_part_is_left_out(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for part in ("train", "test"):
        make_own(own / part)
    save(noise(5, 4, 3), own / "test/stray.png")
    assert "left out as no image or in no class folder 1 file (test/stray.png)" in str(load(own))


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    before = str(load(own))
    (own / "ant/._0.png").write_text("left by a file manager")
    (own / ".hidden").mkdir()
    save(noise(5, 4, 3), own / "ant/.thumbnails/0.png")
    assert str(load(own)) == before


def test_a_folder_named_like_an_image_is_none(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    save(noise(5, 4, 3, seed=50), own / "ant/more.png/0.png")
    assert len(load(own).labels) == 22


# Symbolic links.


@pytest.mark.parametrize("linked", ["own", "own/ant", "own/train", "own/train/ant/deeper"])
def test_a_changed_picture_behind_a_link_is_seen(tmp_path: Path, linked: str) -> None:
    root = make_own(tmp_path / "own")
    if "train" in linked:
        shutil.rmtree(root)
        make_own(root / "train")
        make_own(root / "test")
        save(noise(5, 4, 3, seed=9), root / "train/ant/deeper/0.png")
    (tmp_path / "elsewhere").mkdir()
    target = (tmp_path / linked).rename(tmp_path / "elsewhere/folder")
    (tmp_path / linked).symlink_to(target)
    before = load(tmp_path / "own")
    old = before.images.clone()
    path = sorted(target.rglob("*.png"))[0]
    new = noise(5, 4, 3, seed=77)
    save(new, path)
    after = load(tmp_path / "own")
    assert after.digest != before.digest
    assert len(after.images) == len(old) == (43 if "train" in linked else 21)
    assert any(torch.equal(image, to_tensor(new)) for image in after.images)


def test_links_that_lead_back_are_passed_over(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    before = str(load(own))
    (own / "ant/up").symlink_to(own)
    (own / "ant/further up").symlink_to(tmp_path.parent)
    (own / "bee/again").symlink_to(own / "bee")
    (own / "bee/itself").symlink_to(own / "bee/itself")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/back").symlink_to(own / "cat")
    (own / "cat/round").symlink_to(tmp_path / "other")
    assert str(load(own)) == before


def test_two_links_to_one_folder_are_both_read(tmp_path: Path) -> None:
    make_own(tmp_path / "source")
    (tmp_path / "own").mkdir()
    for part in ("train", "test"):
        (tmp_path / "own" / part).symlink_to(tmp_path / "source")
    assert len(load(tmp_path / "own").labels) == 42


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_own(tmp_path / "own")

    def scandir(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("robustnb.signatures.os.scandir", scandir)
    assert failure(own) == f"{own} cannot be read (Permission denied)."


# Names, paths and sizes.


def test_a_path_is_a_folder_and_a_name_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_own(Path("digits"))
    for folder in (Path("digits"), "./digits", str(tmp_path / "digits")):
        assert load(folder).classes == ("ant", "bee", "cat")
    assert len(load("digits").classes) == 10
    make_own(Path("mnist-2"))
    assert load(Path("mnist-2")).classes == ("ant", "bee", "cat")


def test_a_way_up_from_behind_a_link_is_the_system_s(tmp_path: Path) -> None:
    make_own(tmp_path / "far/own", per_class=8)
    make_own(tmp_path / "own")
    (tmp_path / "far/inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far/inner")
    dataset = load(f"{tmp_path}/link/../own")
    assert (dataset.name, len(dataset.labels)) == ("own", 24)


@pytest.mark.parametrize("name", ["", 5, None])
def test_what_is_no_name_is_refused(name: object) -> None:
    assert failure(name).startswith(
        f"{name!r} names no data: accepted are mnist-5k, digits, shapes, mnist,"
    )


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "own"), "zip", make_own(tmp_path / "own")))
    assert failure(archive) == (
        f"{archive} is a file: unpack it, if it is an archive, and give the path of the folder."
    )


def test_umlauts_and_spaces_may_stand_in_every_name(tmp_path: Path) -> None:
    own = make_own(tmp_path / "Über uns/größte Fotos")
    (own / "ant").rename(own / "Ameise, groß & 'rot' 蚁")
    (own / "bee/0.png").rename(own / "bee/die süße Biene.PNG")
    dataset = load(own)
    assert dataset.name == "größte Fotos"
    assert dataset.classes[0] == "Ameise, groß & 'rot' 蚁"
    assert str(load(own)) == str(dataset)
    assert len(dataset.labels) == 21


def test_size_crops_at_the_centre(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")  # 5 high and 4 wide
    wide = noise(4, 8, 3, seed=9)
    save(wide, own / "ant/wide.png")
    images = load(own, size=4).images
    assert images.shape == (22, 3, 4, 4)
    assert any(torch.equal(image, to_tensor(wide[:, 2:6])) for image in images)


def test_size_resizes_without_aliasing(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    ramp = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (24, 1))  # 24 high and 48 wide
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (24, 24))
    for path in own.rglob("*.png"):
        save(ramp, path)
    save(stripes, own / "ant/0.png")
    dataset = load(own, size=(4, 8))
    assert dataset.images.shape == (21, 1, 4, 8)
    means = torch.from_numpy(ramp[:4].reshape(4, 8, 6).mean(2) / 255).float()
    is_ramp = (dataset.images[:, 0, :, 0] < 0.2).all(1)
    assert is_ramp.sum() == 20
    inside = (dataset.images[is_ramp, 0] - means)[..., 1:-1]
    assert inside.abs().max() < 0.01  # bicubic filters keep a straight line
    assert (dataset.images[~is_ramp] - 0.5).abs().max() < 0.06


def test_each_size_is_kept_apart(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    sizes = (None, 3, (3, 2), 3, np.int64(6))
    shapes = [tuple(load(own, size=size).images.shape[2:]) for size in sizes]
    assert shapes == [(5, 4), (3, 3), (3, 2), (3, 3), (6, 6)]


def test_what_only_looks_like_a_picture_is_counted(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    (own / "ant/gone.png").symlink_to(tmp_path / "nowhere.png")
    (own / "ant/folder.png").mkdir()
    os.mkfifo(own / "bee/pipe.png")
    (own / "bee/.hidden").symlink_to(tmp_path / "nowhere.png")
    dataset = load(own)
    assert len(dataset.labels) == 21
    named = "3 files (ant/folder.png, ant/gone.png, bee/pipe.png)"
    assert f"left out as no image or in no class folder {named}" in str(dataset)


@pytest.mark.parametrize("size", [0, -1, 2.5, "32", True, (3,), (3, 0), (1, 2, 3)])
def test_a_size_is_one_or_two_positive_integers(tmp_path: Path, size: object) -> None:
    assert failure(make_own(tmp_path / "own"), size=size) == (
        f"size is {size!r}: accepted are a positive integer, two of them for height and width, "
        "or None."
    )


def test_a_path_that_is_named_as_a_built_in_set_says_how_to_load_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^There is no folder digits: .* load\('digits'\), a text"):
        load(Path("digits"))


def test_a_built_in_set_keeps_its_size() -> None:
    assert failure("digits", size=8) == (
        "digits has a size of its own: size is for folders of your own images."
    )
