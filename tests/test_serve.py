"""The server of the pages answers for its own folder and its own name alone."""

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from robustnb.publishing.serve import server_of


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Serve a folder with links that stay in it and links that lead out of it."""
    pages = tmp_path / "html"
    (pages / "book").mkdir(parents=True)
    (pages / "index.html").write_text("front")
    (pages / "book/waves.html").write_text("waves")
    (pages / "book/inside.html").symlink_to(pages / "index.html")
    (tmp_path / "secret.txt").write_text("secret")
    (pages / "outside.txt").symlink_to(tmp_path / "secret.txt")
    (pages / "up").symlink_to(tmp_path)
    (tmp_path / "html-of-others").mkdir()
    (tmp_path / "html-of-others/a.txt").write_text("secret")
    (pages / "others").symlink_to(tmp_path / "html-of-others")
    server = server_of(pages, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def answer(port: int, path: str, host: str = "localhost") -> tuple[int, str]:
    connection = http.client.HTTPConnection("localhost", port)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    found = connection.getresponse()
    said = found.read().decode()
    connection.close()
    return found.status, said


@pytest.mark.parametrize(
    ("path", "said"),
    [("/", "front"), ("/book/waves.html?a=1", "waves"), ("/book/inside.html", "front")],
)
def test_pages_are_served(port: int, path: str, said: str) -> None:
    assert answer(port, path) == (200, said)


@pytest.mark.parametrize(
    "path",
    [
        "/outside.txt",
        "/up/secret.txt",
        "/up/",
        "/others/a.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/book/../../secret.txt",
        "/none.html",
        "/%00",
        "/index.html%00.txt",
    ],
)
def test_nothing_beside_the_folder_is_served(port: int, path: str) -> None:
    status, said = answer(port, path)
    assert status == 404
    assert "secret" not in said
    assert answer(port, "/") == (200, "front")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_its_own_names_are_answered(port: int, host: str) -> None:
    assert answer(port, "/", host) == (200, "front")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1.nip.io"]
)
def test_a_name_that_another_site_leads_here_is_not(port: int, host: str) -> None:
    status, said = answer(port, "/", host)
    assert status == 421
    assert "front" not in said
