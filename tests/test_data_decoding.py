"""Single image files: of every kind that Pillow decodes, upright, on white, or refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import Pixels, failure, files_below, make_own, noise, save
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from robustnb.data import load
from robustnb.data.decoding import prepared

pytestmark = pytest.mark.usefixtures("cache_folder")


def holds(images: Tensor, expected: Tensor) -> bool:
    return any(torch.equal(image, expected) for image in images)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
def test_images_of_every_8_bit_mode_are_read(tmp_path: Path, mode: str) -> None:
    own = make_own(tmp_path / "own")
    image = Image.fromarray(noise(5, 4, 3)).convert(mode)
    image.save(own / "ant" / ("x.tiff" if mode == "CMYK" else "x.png"))
    assert holds(load(own).images, to_tensor(image.convert("RGB")))


@pytest.mark.parametrize(
    "name",
    [
        *("x.gif", "x.jfif", "x.jpe", "x.JPG", "x.avif", "x.jp2", "x.bmp", "x.webp", "x.tif"),
        *("x.ico", "x.tga", "x.pcx", "x.qoi", "x.sgi", "x.dib", "x.apng", "x.ppm"),
    ],
)
def test_every_kind_that_pillow_decodes_is_loaded(tmp_path: Path, name: str) -> None:
    own = make_own(tmp_path / "own")
    path = save(noise(5, 4, 3, seed=9), own / "ant" / name)
    dataset = load(own)
    assert len(dataset.labels) == 22
    assert holds(dataset.images, to_tensor(Image.open(path).convert("RGB")))
    assert "left out" not in str(dataset)


def test_an_image_is_known_without_its_suffix(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    (own / "ant/0.png").rename(own / "ant/0")
    (own / "ant/1.png").rename(own / "ant/1.png.bak")
    assert len(load(own).labels) == 21


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_white_ink_is_drawn_on_black(mode: str) -> None:
    image, mark = Image.new(mode, (5, 4)), (255,) * len(mode)
    image.putpixel((2, 1), mark)
    flat = np.atleast_3d(np.asarray(prepared(image, None)))[..., 0]
    assert np.argwhere(flat == 255).tolist() == [[1, 2]]
    assert (flat == 0).sum() == 19


def test_a_picture_without_ink_is_white() -> None:
    assert np.asarray(prepared(Image.new("RGBA", (5, 4)), None)).min() == 255


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "gray", "rgb"])
def test_transparent_ink_is_drawn_on_white(tmp_path: Path, mode: str) -> None:
    own = make_own(tmp_path / "own", colour=mode not in ("LA", "gray"))
    path = own / "ant/ink.png"
    if mode == "P":  # the second colour of the palette is transparent
        image = Image.new("P", (4, 5))
        image.putpalette([10, 20, 30, 0, 0, 0])
        image.putpixel((1, 2), 1)
        image.save(path, transparency=1)
        expected = np.full((5, 4, 3), (10, 20, 30))
        expected[2, 1] = 255
    elif mode == "gray" or mode == "rgb":  # one colour stands for nothing
        shape = (5, 4) if mode == "gray" else (5, 4, 3)
        Image.fromarray(np.zeros(shape, np.uint8)).save(
            path, transparency=0 if mode == "gray" else (0, 0, 0)
        )
        expected = np.full(shape, 255)
    else:
        ink, opacity = noise(5, 4, len(mode) - 1, seed=8), noise(5, 4, 1, seed=9)
        opacity[:2] = np.array([0, 255], np.uint8)[:, None, None]
        Image.fromarray(np.concatenate([ink, opacity], 2)).save(path)
        share = opacity / 255
        expected = (ink * share + 255 * (1 - share)).squeeze()
    wanted = torch.from_numpy(np.atleast_3d(expected).transpose(2, 0, 1) / 255).float()
    off = min((image - wanted).abs().max().item() for image in load(own).images)
    assert off <= 1 / 255
    if mode in ("P", "gray", "rgb"):
        assert off < 1e-6


def upright(orientation: int, pixels: Pixels) -> Pixels:
    """Return what the EXIF standard says is seen: the edges at which row and column 0 lie."""
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(pixels, 1),
    }
    return turned[orientation].copy()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_images_are_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    own = make_own(tmp_path / "own")
    pixels = noise(4, 4, 3, seed=9)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in files_below(own):
        path.unlink()
        options = {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(pixels).save(path.with_suffix(f".{suffix}"), exif=exif, **options)
    assert torch.equal(load(own).images[0], to_tensor(upright(orientation, pixels)))


def test_a_turned_image_has_turned_sides(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(4, 5, 3)).save(own / "ant/0.png", exif=exif)
    assert load(own).images.shape == (21, 3, 5, 4)


@pytest.mark.parametrize("name", ["x.gif", "x.tif", "x.webp"])
def test_only_the_first_page_is_taken_and_that_is_said(tmp_path: Path, name: str) -> None:
    own = make_own(tmp_path / "own")
    pages = [Image.fromarray(np.full((5, 4, 3), level, np.uint8)) for level in (0, 100, 200)]
    options = {"lossless": True} if name == "x.webp" else {}
    pages[0].save(own / "ant" / name, save_all=True, append_images=pages[1:], **options)
    dataset = load(own)
    assert len(dataset.labels) == 22
    assert holds(dataset.images, torch.zeros(3, 5, 4))
    assert str(dataset).endswith(f"; only the first page taken of 1 file (ant/{name})")
    assert str(load(own)) == str(dataset)


# What is refused.


@pytest.mark.parametrize(
    "name", ["1.png", "1.tiff", "1.pgm", "3.png", "3.tiff", "3.ppm", "4.png", "4.tiff"]
)
def test_more_than_8_bits_are_refused(tmp_path: Path, name: str) -> None:
    cv2 = pytest.importorskip("cv2")  # as Pillow writes no colours of 16 bits
    own = make_own(tmp_path / "own")
    deep = own / "bee" / name
    pixels = np.full((5, 4, int(name[0])), 40_000, dtype=np.uint16)
    assert cv2.imwrite(str(deep), pixels)
    assert failure(own) == f"The image {deep} has more than 8 bits a channel: save it with 8."


def test_16_bits_a_pixel_are_not_16_a_channel(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    path = own / "ant/x.bmp"
    save(noise(5, 4, 3, seed=9), path)
    header = bytearray(path.read_bytes()[:54])
    header[28:30] = (16).to_bytes(2, "little")  # bits a pixel
    rows = noise(5, 4, 2, seed=9).tobytes()
    path.write_bytes(bytes(header) + rows)
    assert holds(load(own).images, to_tensor(Image.open(path).convert("RGB")))


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


@pytest.mark.parametrize("suffix", ["jpg", "gif", "webp", "tif", "avif", "bmp"])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str) -> None:
    own = make_own(tmp_path / "own")
    broken = save(noise(50, 40, 3), own / f"bee/x.{suffix}")
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    assert failure(own, size=4) == f"The image {broken} is damaged, or of an unknown kind."


def test_a_huge_image_has_a_sentence_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_own(tmp_path / "own")
    huge = save(noise(50, 40, 3), own / "bee/huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    assert failure(own, size=4) == (
        f"The image {huge} has more than 1,800 pixels, which Pillow takes for an attack: "
        "make it smaller."
    )


def test_no_warning_of_pillow_reaches_the_reader(tmp_path: Path) -> None:
    own = make_own(tmp_path / "own")
    palette = Image.fromarray(noise(5, 4, 3)).quantize(4)
    palette.save(own / "ant/x.png", transparency=bytes([0, 100, 200, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(own)


def test_the_oracle_of_upright_images_is_pillows_too() -> None:
    image = Image.fromarray(noise(4, 5, 3))
    for orientation in range(1, 9):
        image.getexif()[0x0112] = orientation
        assert np.array_equal(
            np.asarray(ImageOps.exif_transpose(image)), upright(orientation, np.asarray(image))
        )
