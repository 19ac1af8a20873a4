"""Find the files of a data set in the reader's own folder, or download them."""

import os
from http.client import HTTPException
from pathlib import Path

from robustnb.data.dataset import DataError
from robustnb.data.originals import LAYOUTS
from robustnb.data.pictures import Reader
from robustnb.data.writing import draft_folder, move_into_place
from robustnb.files import cache_folder

TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def locate(name: str) -> tuple[Path, Reader]:
    """Return the folder of a data set and what reads it, after a download if need be."""
    given = os.environ.get("ROBUSTNB_DATA")
    root = Path(given).expanduser().resolve() if given else cache_folder() / "downloads"
    if given and not root.is_dir():
        raise DataError(f"ROBUSTNB_DATA is {given}, which is not a folder.")
    if not given and not (root / next(iter(LAYOUTS[name]))).is_dir():
        download(name, root)
    for layout, reader in LAYOUTS[name].items():
        if (root / layout).is_dir():
            return root / layout, reader
    raise DataError(
        f"{name} is not in ROBUSTNB_DATA, {given} (looked for {' and '.join(LAYOUTS[name])}): "
        "put it there, or unset ROBUSTNB_DATA to download it."
    )


def download(name: str, root: Path) -> None:
    """Download a data set and check its checksum; `root` then holds the whole of it or nothing."""
    layout = next(iter(LAYOUTS[name]))
    with draft_folder(root) as draft:
        try:
            fetch(name, draft)
        except (OSError, RuntimeError, EOFError, HTTPException) as error:
            raise DataError(why_not_downloaded(name, error)) from error
        move_into_place(draft / layout, root / layout)


def fetch(name: str, folder: Path) -> None:
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    if name == "mnist":
        datasets.MNIST(folder, download=True)
    elif name == "cifar10":
        datasets.CIFAR10(folder, download=True)
    else:
        download_and_extract_archive(
            TINY_IMAGENET_URL, folder, md5=TINY_IMAGENET_MD5, remove_finished=True
        )


def why_not_downloaded(name: str, error: Exception) -> str:
    if "corrupted" in str(error):  # torchvision's word for a wrong checksum
        return f"The download of {name} was cut short or altered (wrong checksum): try again."
    reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return (
        f"{name} cannot be downloaded ({reason}): try again with a network, or let ROBUSTNB_DATA "
        "name a folder that holds it."
    )
