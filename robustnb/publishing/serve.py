"""Serve a folder of pages on this machine, and nothing beside it."""

import io
import re
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

# A page of another site may have its own name lead here, and then read what is served.
_OWN_NAME = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)


def server_of(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the files in `folder` at localhost; port 0 takes any that is free.

    Raises OSError where the port cannot be used.
    """
    handler = partial(_Pages, directory=str(folder.resolve()))
    return ThreadingHTTPServer(("localhost", port), handler)


class _Pages(SimpleHTTPRequestHandler):
    """A handler that does not log every request, and follows no link out of its folder."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Answer a request whose host and path are of this server's own."""
        if not _OWN_NAME.fullmatch(self.headers.get("Host", "localhost")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "The host must be localhost")
            return None
        path = self.translate_path(self.path)
        if "\0" in path or not Path(path).resolve().is_relative_to(self.directory):
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None
        return super().send_head()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
