"""Downloads from a server on this machine: once, whole or not at all."""

import functools
import gzip
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from image_folders import MAKERS, NAMES, failure, files_below, md5
from torchvision import datasets

from robustnb.data import downloads, load

pytestmark = pytest.mark.usefixtures("cache_folder")


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
    monkeypatch.setattr(downloads, "TINY_IMAGENET_URL", f"{address}tiny-imagenet-200.zip")


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
    monkeypatch.setattr(downloads, "TINY_IMAGENET_MD5", md5(archive))
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
    assert len(load(name, "as_published").labels) > 0


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
