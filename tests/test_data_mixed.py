"""Folders that hold a little of something else: one picture in colour, a folder named x.png."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from image_folders import make_own, noise, save

from robustnb.data import load


@pytest.mark.parametrize("channels", [3, 4], ids=["RGB", "RGBA"])
def test_one_picture_in_colour_among_grey_ones_is_told(tmp_path: Path, channels: int) -> None:
    own = make_own(tmp_path / "own", colour=False)
    save(noise(5, 4, channels, seed=9), own / "ant/bright.png")
    for _ in ("decoded", "kept"):
        with pytest.warns(UserWarning, match="^own has 3 channels, as colour is in 1 file") as told:
            dataset = load(own)
        assert dataset.images.shape == (22, 3, 5, 4)
        assert str(dataset).endswith("; 3 channels, as colour is in 1 file (ant/bright.png)")
        assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize("colour", [True, False])
def test_a_set_of_one_kind_and_a_few_grey_photographs_are_usual(
    tmp_path: Path, colour: bool
) -> None:
    own = make_own(tmp_path / "own", colour=colour)
    if colour:
        save(noise(5, 4), own / "ant/old.png")
    with warnings.catch_warnings(action="error"):
        dataset = load(own)
    assert dataset.images.shape[1] == (3 if colour else 1)
    assert "channels" not in str(dataset)


def test_a_folder_named_as_a_picture_is_read_or_told(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    save(noise(5, 4, 3, seed=50), own / "ant/read.png/0.png")
    save(noise(5, 4, 3), own / "ant/hidden.png/.0.png")
    (own / "bee/hollow.png/inside.png").mkdir(parents=True)
    (own / "cat/words.png").mkdir()
    (own / "cat/words.png/0.txt").write_text("none")
    told = "4 files (ant/hidden.png, bee/hollow.png, bee/hollow.png/inside.png, …)"
    assert told in str(load(own))
    assert len(load(own).labels) == 22


def test_a_folder_of_pictures_beside_the_classes_is_a_class_and_shown(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    make_own(tmp_path / "other")
    (tmp_path / "other/ant").rename(own / "x.png")
    dataset = load(own)
    assert str(dataset).endswith("ant 7, bee 7, cat 7, x.png 7")
    assert np.bincount(dataset.labels.numpy()).tolist() == [7] * 4
