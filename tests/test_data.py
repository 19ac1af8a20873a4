"""Every data set and every mishap: against pixels made by hand and against other libraries."""

import errno
import functools
import gzip
import hashlib
import os
import pickle
import shutil
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from torchvision import datasets
from torchvision.transforms.functional import to_tensor

from robustnb import cache, data, folder, shapes
from robustnb.data import PARTITIONS, DataError, Dataset, first_classes, load

REAL = Path(os.environ.get("ROBUSTNB_DATA", "no real data"))
NAMES = ("mnist", "cifar10", "tiny-imagenet")
Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give every test a cache of its own, gone afterwards, and no data of the reader's."""
    monkeypatch.delenv("ROBUSTNB_DATA", raising=False)
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # a real set's takes a gigabyte


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


def failure(name: object, splits: str | None = None) -> str:
    """Return the one sentence with which loading fails."""
    with pytest.raises(DataError) as caught:
        load(str(name), splits)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# What is embedded.


def test_digits_are_scikit_learns_enlarged_bilinearly() -> None:
    digits = load("digits")
    bunch = load_digits()
    order = folder.interleave(bunch.target, folder.SEED)
    assert sorted(order) == list(range(1797))
    source = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    weights = np.stack([np.interp(source, np.arange(8), row) for row in np.eye(8)], axis=1)
    expected = weights @ (bunch.images[order] / 16) @ weights.T
    np.testing.assert_allclose(digits.images[:, 0], expected, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(digits.labels, bunch.target[order])
    assert digits.images.dtype == torch.float32
    assert digits.labels.dtype == torch.int64


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


# Splits.


def published(name: str, size: int, train_size: int) -> Dataset:
    train, test = torch.arange(size).tensor_split([train_size])
    images = torch.zeros(1, 1, 1, 1).expand(size, 1, 1, 1)
    labels = torch.arange(size)
    return Dataset(name, images, labels, ("0",), "", {"train": train, "test": test})


@given(
    paper=st.sampled_from(list(PARTITIONS)),
    name=st.sampled_from([*NAMES, "shapes"]),
    size=st.integers(7, 500),
    share=st.floats(0.5, 0.95),
)
def test_splits_are_disjoint_covering_sorted_and_deterministic(
    paper: str, name: str, size: int, share: float
) -> None:
    dataset = published(name, size, int(size * share))
    splits = PARTITIONS[paper](dataset)
    everything = torch.cat(list(splits.values()))
    assert torch.equal(everything.sort().values, torch.arange(size))
    for split, again in zip(splits.values(), PARTITIONS[paper](dataset).values(), strict=True):
        assert torch.equal(split, again)
        assert torch.equal(split, split.sort().values)
    if paper != "noise-optimization":
        assert torch.equal(splits["test"], dataset.splits["test"])


@pytest.mark.parametrize(
    ("paper", "name", "sizes"),
    [
        ("bayesian-weight-sampling", "mnist", (50_000, 10_000, 10_000)),
        ("noise-optimization", "mnist", (50_000, 10_000, 10_000)),
        ("noise-optimization", "cifar10", (40_000, 10_000, 10_000)),
        ("noise-optimization", "tiny-imagenet", (91_667, 9_166, 9_167)),
        ("bang", "mnist", (60_000, 10_000)),
        ("bang", "cifar10", (50_000, 10_000)),
        ("stochastic-lwta", "cifar10", (50_000, 10_000)),
    ],
)
def test_split_sizes_are_the_papers(paper: str, name: str, sizes: tuple[int, ...]) -> None:
    total, test = {"mnist": (70_000, 10_000), "cifar10": (60_000, 10_000)}.get(
        name, (110_000, 10_000)
    )
    splits = PARTITIONS[paper](published(name, total, total - test))
    assert tuple(len(part) for part in splits.values()) == sizes


def test_held_out_images_are_the_last_of_the_training_file() -> None:
    splits = PARTITIONS["bayesian-weight-sampling"](published("mnist", 70_000, 60_000))
    assert torch.equal(splits["train"], torch.arange(50_000))
    assert torch.equal(splits["validation"], torch.arange(50_000, 60_000))


def test_a_random_split_is_random() -> None:
    train = PARTITIONS["noise-optimization"](published("mnist", 70_000, 60_000))["train"]
    assert abs((train < 35_000).float().mean() - 0.5) < 0.01


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.none() | st.integers(0, 9))
def test_interleaving_keeps_every_stretch_in_proportion(
    values: list[int], seed: int | None
) -> None:
    labels = np.array(values)
    order = folder.interleave(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    classes = np.unique(labels)
    seen = np.cumsum(labels[order][:, None] == classes, axis=0)
    fair = np.arange(1, len(labels) + 1)[:, None] * np.mean(labels[:, None] == classes, axis=0)
    assert np.abs(seen - fair).max() <= 1 + len(classes) / 2
    if seed is None:
        for label in classes:
            assert (np.diff(order[labels[order] == label]) > 0).all()


def test_a_split_that_is_a_range_is_no_copy() -> None:
    dataset = load("digits")
    images, labels = dataset.split("validation")
    first = dataset.splits["validation"][0]
    assert images.data_ptr() == dataset.images[first].data_ptr()
    assert labels.data_ptr() == dataset.labels[first].data_ptr()


@pytest.mark.parametrize("paper", PARTITIONS)
def test_first_classes_keep_their_images_in_their_splits(paper: str) -> None:
    whole = load("shapes", paper)
    some = first_classes(whole, 3)
    assert (some.name, some.classes) == ("shapes-3", whole.classes[:3])
    assert len(some.images) == len(some.labels) == sum(map(len, some.splits.values()))
    for which in whole.splits:
        images, labels = whole.split(which)
        few, their_labels = some.split(which)
        assert torch.equal(few, images[labels < 3])
        assert torch.equal(their_labels, labels[labels < 3])


def test_first_classes_are_loaded_by_name(given_folder: Path) -> None:
    make_own(given_folder / "mnist", per_class=20)
    assert load("mnist-2").classes == ("ant", "bee")
    assert load("mnist-3").images.shape == load("mnist").images.shape
    for number in (0, 1, 4):
        assert failure(f"mnist-{number}").endswith("of mnist: accepted are 2 to 3 classes.")


def test_a_random_split_is_what_its_indices_say() -> None:
    dataset = load("digits", "noise-optimization")
    images, labels = dataset.split("test")
    assert torch.equal(images, torch.stack([dataset.images[i] for i in dataset.splits["test"]]))
    assert torch.equal(labels, dataset.labels[dataset.splits["test"]])


def test_unknown_splits_and_partitions_are_named() -> None:
    assert failure("digits", "bag") == (
        "No partition is called 'bag': accepted are bayesian-weight-sampling, noise-optimization, "
        "bang, stochastic-lwta."
    )
    with pytest.raises(DataError, match=r"no split 'validation' here: accepted are train, test\."):
        load("digits", "bang").split("validation")


def test_a_dataset_tells_its_name_shape_splits_and_digest() -> None:
    digits = load("digits")
    assert str(digits) == repr(digits)
    assert str(digits) == (
        "digits: 1,797 images of 1×28×28 in 10 classes; "
        f"train 1,283, validation 257, test 257; digest {digits.digest}"
    )
    assert str(digits) in digits._repr_html_()


# Folders of images.


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


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own", per_class=1)
    assert failure(own) == "own has too few images for a validation split."


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    assert "(did you mean 'mnist'?): accepted are digits, shapes, mnist," in failure("minst")
    assert "did you mean 'cifar10'?" in failure("CIFAR-10")
    assert "did you mean 'tiny-imagenet'?" in failure("tinyimagenet")
    assert "did you mean" not in failure(tmp_path / "nowhere")


# The cache.


def test_a_second_load_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_own(tmp_path / "own")
    first = load(own)
    monkeypatch.setattr(folder, "decode_all", None)
    second = load(own)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert str(first) == str(second)


def test_a_changed_file_is_noticed_and_the_old_entry_goes(
    tmp_path: Path, cache_folder: Path
) -> None:
    own = make_own(tmp_path / "own")
    before = load(own)
    save(noise(5, 4, 3, seed=99), own / "ant/0.png")
    after = load(own)
    assert before.digest != after.digest
    assert len(list(cache_folder.glob("own/*"))) == 1


def test_equal_names_of_different_folders_live_side_by_side(
    tmp_path: Path, cache_folder: Path
) -> None:
    parts = (("here", 7), ("there", 8))
    digests = {load(make_own(tmp_path / part / "own", size)).digest for part, size in parts}
    assert len(digests) == 2


def test_what_is_written_into_images_never_reaches_the_cache(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    spoilt = load(own)
    before = spoilt.images.clone()
    spoilt.images.zero_()
    assert torch.equal(load(own).images, before)


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "about.json"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, cache_folder: Path, file: str) -> None:
    own = make_own(tmp_path / "own")
    before = load(own)
    expected = before.images.clone()
    (entry,) = cache_folder.glob("own/*")
    whole = (entry / file).read_bytes()
    (entry / file).unlink()
    for damage in (whole[:-9], b""):
        (entry / file).write_bytes(damage)
        assert torch.equal(load(own).images, expected)
        assert (entry / file).read_bytes() == whole


def test_an_interrupted_or_failed_write_leaves_nothing(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_own(tmp_path / "own")
    write = cache.write_images

    def write_and_stop(error: BaseException, pixels: Pixels, path: Path) -> None:
        write(pixels, path)
        raise error

    full = OSError(errno.ENOSPC, "No space left on device")
    for error in (KeyboardInterrupt(), full):
        monkeypatch.setattr(cache, "write_images", functools.partial(write_and_stop, error))
        with pytest.raises((KeyboardInterrupt, DataError)) as caught:
            load(own)
        assert not files_below(cache_folder)
    assert "cannot be written (No space left on device)" in str(caught.value)
    monkeypatch.setattr(cache, "write_images", write)
    assert len(load(own).labels) == 21


def test_two_processes_may_decode_at_once(tmp_path: Path) -> None:
    pictures = folder.read_class_folders(make_own(tmp_path / "own"))
    for _ in range(2):
        cache.store(pictures, tmp_path / "cache/own/entry")
    assert len(cache.recall(tmp_path / "cache/own/entry").labels) == 21
    assert [path.name for path in (tmp_path / "cache/own").iterdir()] == ["entry"]


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROBUSTNB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.cache_folder() == (Path.home() / ".cache/robustnb").resolve()
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.cache_folder() == Path("/elsewhere/robustnb").resolve()


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path, cache_folder: Path) -> None:
    cache_folder.write_text("")
    assert failure("mnist").startswith(f"The cache folder {cache_folder / 'downloads'} cannot")
    assert failure(make_own(tmp_path / "own")).startswith(
        f"The cache folder {cache_folder / 'own'} cannot be written"
    )


def test_a_large_set_is_written_in_blocks(tmp_path: Path) -> None:
    pixels = noise(5000, 3, 2, 1).transpose(0, 1, 3, 2)
    cache.write_images(pixels, tmp_path / "images.npy")
    expected = torch.from_numpy(pixels.copy()).float().div(255)
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "images.npy")), expected)


# Sets from elsewhere, in small.


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


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take the small CIFAR-10 for the real one."""
    make_cifar10(tmp_path / "model")
    batches = tmp_path / "model/cifar-10-batches-py"
    sums = {name: [name, md5(batches / name)] for name in (*CIFAR10_LABELS, "batches.meta")}
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"][1]}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [sums["data_batch_1"]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [sums["test_batch"]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)


@pytest.fixture
def given_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "given"
    root.mkdir()
    monkeypatch.setenv("ROBUSTNB_DATA", str(root))
    return root


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
    from_batches = load("cifar10", "stochastic-lwta")
    assert from_batches.split("test")[1].tolist() == [0, 1, 2]
    third = cifar10_pixels("test_batch")[2] / 255
    np.testing.assert_allclose(from_batches.split("test")[0][0], third, atol=1e-7)
    shutil.rmtree(given_folder / "cifar-10-batches-py")
    for batch, part in (("data_batch_1", "train"), ("test_batch", "test")):
        for i, label in enumerate(CIFAR10_LABELS[batch]):
            pixels = cifar10_pixels(batch)[i].transpose(1, 2, 0)
            path = given_folder / "cifar10" / part / CIFAR10_CLASSES[label] / f"{i}.png"
            save(pixels, path)
    from_folders = load("cifar10", "stochastic-lwta")
    assert torch.equal(from_folders.images, from_batches.images)
    assert str(from_folders) == str(from_batches)
    assert from_folders.classes == from_batches.classes == CIFAR10_CLASSES


def test_tiny_imagenets_validation_images_are_the_test_part(given_folder: Path) -> None:
    make_tiny_imagenet(given_folder)
    dataset = load("tiny-imagenet", "bang")
    assert dataset.classes == ("goldfish", "toad")
    assert [len(part) for part in dataset.splits.values()] == [12, 2]
    images, labels = dataset.split("test")
    assert labels.tolist() == [0, 1]
    for label in labels:
        path = given_folder / f"tiny-imagenet-200/val/images/val_{label}.JPEG"
        assert torch.equal(images[label], to_tensor(Image.open(path).convert("RGB")))


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


def test_a_given_folder_that_lacks_the_set_says_what_was_looked_for(
    given_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failure("mnist") == (
        f"mnist is not in ROBUSTNB_DATA, {given_folder} (looked for MNIST/raw and mnist): "
        "put it there, or unset ROBUSTNB_DATA to download it."
    )
    monkeypatch.setenv("ROBUSTNB_DATA", str(given_folder / "nowhere"))
    nowhere = given_folder / "nowhere"
    assert failure("mnist") == f"ROBUSTNB_DATA is {nowhere}, which is not a folder."


# Downloads, from a server on this machine.


class Cut(SimpleHTTPRequestHandler):
    """Serve files, only half of each while `broken` is set."""

    broken = False

    def copyfile(self, source: object, outputfile: object) -> None:
        whole = source.read()  # type: ignore[attr-defined]
        outputfile.write(whole[: len(whole) // 2] if type(self).broken else whole)  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder in place of the sets' own addresses, and return it."""
    served = tmp_path / "served"
    served.mkdir()
    monkeypatch.setattr(Cut, "broken", False)
    handler = functools.partial(Cut, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        redirect(f"http://127.0.0.1:{running.server_port}/", monkeypatch)
        yield served
        running.shutdown()


def redirect(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}cifar-10-python.tar.gz")
    monkeypatch.setattr(data, "TINY_IMAGENET_URL", f"{address}tiny-imagenet-200.zip")


def publish(name: str, served: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Pack the small version of a set, with its checksums, as its authors do."""
    source = served.parent / "packed"
    MAKERS[name](source)
    if name == "mnist":
        archives = [served / f"{file.name}.gz" for file in files_below(source)]
        for archive in archives:
            file = source / "MNIST/raw" / archive.stem
            archive.write_bytes(gzip.compress(file.read_bytes()))
        sums = [(archive.name, md5(archive)) for archive in archives]
        monkeypatch.setattr(datasets.MNIST, "resources", sums)
        return archives
    if name == "cifar10":
        archive = served / "cifar-10-python.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(source / "cifar-10-batches-py", "cifar-10-batches-py")
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
        return [archive]
    archive = served / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in files_below(source):
            zipped.write(file, file.relative_to(source))
    monkeypatch.setattr(data, "TINY_IMAGENET_MD5", md5(archive))
    return [archive]


@pytest.mark.usefixtures("small_cifar10")
@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_downloaded_once(
    name: str, server: Path, monkeypatch: pytest.MonkeyPatch, given_folder: Path
) -> None:
    MAKERS[name](given_folder)
    expected = str(load(name))
    monkeypatch.delenv("ROBUSTNB_DATA")
    archives = publish(name, server, monkeypatch)
    assert str(load(name)) == expected
    for archive in archives:
        archive.unlink()
    assert str(load(name)) == expected


def cut_short(archives: list[Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    monkeypatch.setattr(Cut, "broken", True)
    return lambda: monkeypatch.setattr(Cut, "broken", False)


def alter(archives: list[Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    whole = archives[0].read_bytes()
    archives[0].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return lambda: archives[0].write_bytes(whole)


@pytest.mark.usefixtures("small_cifar10")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("harm", [cut_short, alter])
def test_a_harmed_download_leaves_nothing_and_can_be_tried_again(
    name: str,
    harm: Callable[..., Callable[[], object]],
    server: Path,
    monkeypatch: pytest.MonkeyPatch,
    cache_folder: Path,
) -> None:
    mend = harm(publish(name, server, monkeypatch), monkeypatch)
    sentence = f"The download of {name} was cut short or altered (wrong checksum): try again."
    assert failure(name) == sentence
    assert not files_below(cache_folder)
    mend()
    assert len(load(name, "bang").labels) > 0


@pytest.mark.parametrize("name", NAMES)
def test_no_network_is_said_plainly(
    name: str, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Cut) as closed:
        port = closed.server_port
    redirect(f"http://127.0.0.1:{port}/", monkeypatch)
    sentence = failure(name)
    assert sentence.startswith(f"{name} cannot be downloaded (<urlopen error")
    assert "let ROBUSTNB_DATA name a folder that holds it" in sentence
    assert not files_below(cache_folder)


# The real sets, where they are at hand.


def real(path: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (REAL / path).is_dir(), reason=f"no {path} in ROBUSTNB_DATA")


@real("MNIST/raw")
def test_real_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_DATA", str(REAL))
    dataset = load("mnist", "bang")
    for split in ("train", "test"):
        oracle = datasets.MNIST(REAL, train=split == "train")
        images, labels = dataset.split(split)
        assert torch.equal((images[:, 0] * 255).round().byte(), oracle.data)
        assert torch.equal(labels, oracle.targets)


@real("cifar10")
def test_real_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_DATA", str(REAL))
    dataset = load("cifar10", "stochastic-lwta")
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
    dataset = load("tiny-imagenet", "bang")
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
