"""A bit that flips in a cache is noticed: what was kept is made again, and that is said."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import make_own
from torch import Tensor, nn

from robustnb.data import load
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit

TRAIN = (torch.rand(40, 1, 4, 4, generator=seeded(0)), torch.arange(40) % 3)


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.usefixtures("cache_folder")
def test_decoded_images_are_decoded_again(tmp_path: Path, cache_folder: Path) -> None:
    own, rng = make_own(tmp_path / "own"), random.Random(0)
    before = load(own)
    expected, shown = before.images.clone(), str(before)
    for _ in range(40):
        (entry,) = cache_folder.glob("own/*")
        flip(rng.choice(list(entry.iterdir())), rng)
        with pytest.warns(UserWarning, match=r"is damaged: the images of .*own are decoded again"):
            after = load(own)
        assert torch.equal(after.images, expected)
        assert str(after) == shown


def train(checkpoint: Path | None, epochs: int) -> tuple[Tensor, list[dict[str, float]]]:
    with initial_weights(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters())
    settings: dict[str, Any] = {"patience": None, "keep": "last", "progress": False}
    history = fit(
        model,
        TRAIN,
        TRAIN,
        optimizer=optimizer,
        epochs=epochs,
        checkpoint=checkpoint,
        generator=seeded(1),
        **settings,
    )
    return model[1].weight, [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def test_a_damaged_checkpoint_starts_anew(tmp_path: Path) -> None:
    path, rng = tmp_path / "run.safetensors", random.Random(0)
    weights, history = train(None, 2)
    for _ in range(40):
        path.unlink(missing_ok=True)
        train(path, 1)
        flip(path, rng)
        damaged = path.read_bytes()
        with pytest.warns(UserWarning, match=r"run.safetensors is damaged: the training starts"):
            found, after = train(path, 2)
        assert torch.equal(found, weights)
        assert after == history
        assert (tmp_path / "run.safetensors.damaged").read_bytes() == damaged
    found, after = train(path, 2)  # the one that was written then is whole
    assert torch.equal(found, weights)


@pytest.mark.parametrize("content", [b"", b"a network of torch.save", bytes(100)])
def test_a_file_of_another_kind_is_put_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"starts anew, and what was there is now model\.pt\.dam"):
        train(path, 1)
    assert (tmp_path / "model.pt.damaged").read_bytes() == content
