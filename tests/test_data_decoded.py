"""Decoded images on the disk: kept once, renewed when files change, never left half written."""

import errno
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import Pixels, failure, files_below, make_own, noise, save

from robustnb import files
from robustnb.data import DataError, decoded, folders, load

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_a_second_load_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_own(tmp_path / "own")
    first = load(own)
    monkeypatch.setattr(folders, "decode_all", None)
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


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "about.json", "sha256"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, cache_folder: Path, file: str) -> None:
    own = make_own(tmp_path / "own")
    before = load(own)
    expected = before.images.clone()
    (entry,) = cache_folder.glob("own/*")
    whole = (entry / file).read_bytes()
    (entry / file).unlink()
    for damage in (whole[:-9], b""):
        (entry / file).write_bytes(damage)
        with pytest.warns(UserWarning, match="is damaged: the images of .*own are decoded again"):
            assert torch.equal(load(own).images, expected)
        assert (entry / file).read_bytes() == whole


def test_an_interrupted_or_failed_write_leaves_nothing(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_own(tmp_path / "own")
    write = decoded.write_images

    def write_and_stop(error: BaseException, pixels: Pixels, path: Path) -> None:
        write(pixels, path)
        raise error

    full = OSError(errno.ENOSPC, "No space left on device")
    for error in (KeyboardInterrupt(), full):
        monkeypatch.setattr(decoded, "write_images", functools.partial(write_and_stop, error))
        with pytest.raises((KeyboardInterrupt, DataError)) as caught:
            load(own)
        assert not files_below(cache_folder)
    assert "cannot be written (No space left on device)" in str(caught.value)
    monkeypatch.setattr(decoded, "write_images", write)
    assert len(load(own).labels) == 21


def test_two_processes_may_decode_at_once(tmp_path: Path) -> None:
    pictures = folders.read_class_folders(make_own(tmp_path / "own"))
    for _ in range(2):
        decoded.write_entry(pictures, tmp_path / "cache/own/entry")
    assert len(decoded.read_entry(tmp_path / "cache/own/entry").labels) == 21
    assert [path.name for path in (tmp_path / "cache/own").iterdir()] == ["entry"]


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROBUSTNB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert files.cache_folder() == (Path.home() / ".cache/robustnb").resolve()
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert files.cache_folder() == Path("/elsewhere/robustnb").resolve()


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path, cache_folder: Path) -> None:
    cache_folder.write_text("")
    assert failure("mnist").startswith(f"The cache folder {cache_folder / 'downloads'} cannot")
    assert failure(make_own(tmp_path / "own")).startswith(
        f"The cache folder {cache_folder / 'own'} cannot be written"
    )


def test_a_large_set_is_written_in_blocks(tmp_path: Path) -> None:
    pixels = noise(5000, 3, 2, 1).transpose(0, 1, 3, 2)
    decoded.write_images(pixels, tmp_path / "images.npy")
    expected = torch.from_numpy(pixels.copy()).float().div(255)
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "images.npy")), expected)
