"""A chapter: its notebook, its executed copy, and the record of what went into that."""

import glob
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from robustnb.publishing.errors import BookError
from robustnb.publishing.notebook import (
    Notebook,
    code_cells,
    drop_progress_bars,
    drop_traces,
    read_notebook,
    share_texts,
    tags,
    write_notebook,
)
from robustnb.results import device_name
from robustnb.signatures import is_unchanged, noted

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Chapter:
    """A notebook, and the folder where its executed copy lies."""

    source: Path
    folder: Path
    profile: str
    # The process that builds it: what an earlier one may still write is never taken for its own.
    builder: int = field(default_factory=os.getpid, compare=False)

    @property
    def name(self) -> str:
        """Return the name of the notebook without its suffix."""
        return self.source.stem

    @property
    def executed(self) -> Path:
        """Return the path of the executed copy."""
        return self.folder / f"{self.name}.ipynb"

    @property
    def partial(self) -> Path:
        """Return the path of the copy that is being executed."""
        return self.folder / f"{self.name}.{self.builder}.partial.ipynb"

    @property
    def log(self) -> Path:
        """Return the path of what the kernel and its processes print to no cell."""
        return self.folder / f"{self.name}.log"

    @property
    def read_log(self) -> Path:
        """Return the path of the file in which the folders of data that are read are noted."""
        return self.folder / f"{self.name}.{self.builder}.folders"

    def clear(self) -> None:
        """Delete what earlier builds left half done."""
        for ending in ("partial.ipynb", "folders"):
            for left in self.folder.glob(f"{glob.escape(self.name)}.*.{ending}"):
                left.unlink(missing_ok=True)

    @cached_property
    def digest(self) -> str:
        """Return a digest of what goes into the chapter, as it was when first asked for.

        Of the folders of data that it reads, which are known once it was executed, the record has
        the signatures.
        """
        book = self.source.parent
        data = [
            file
            for name in ("results", "published", "weights")
            for file in (book / name).rglob("[!.]*")  # not the locks of rows
        ]
        code = [file for file in PACKAGE.rglob("*") if file.suffix in {".py", ".js", ".css"}]
        versions = (platform.python_version(), version("torch"))
        return fingerprint([self.source, *data, *code], self.profile, versions, _data_sets())

    def record(self) -> dict[str, Any]:
        """Return what was noted when the chapter was executed; nothing if it was not yet.

        Nor is it if the executed copy is not as it was stored.
        """
        try:
            notebook = read_notebook(self.executed)
            record: dict[str, Any] = notebook["metadata"]["robustnb"]
            is_whole = record.get("content", "") in ("", _content(notebook))
        except (OSError, ValueError, KeyError, AttributeError, RecursionError):
            return {}
        return record if is_whole else {}

    def is_current(self) -> bool:
        """Tell whether nothing has changed since the chapter was executed."""
        record = self.record()
        return record.get("digest") == self.digest and all(
            is_unchanged(folder, known) for folder, known in record["folders"]
        )

    def keep(self, seconds: float) -> None:
        """Store the copy that was executed in `seconds` with a record of how it came about."""
        notebook = read_notebook(self.partial)
        drop_traces(notebook)
        drop_progress_bars(notebook)
        share_texts(notebook)
        # What was edited after the digest was taken, and before it was executed, is not current.
        is_of_source = _sources(notebook) == _sources(read_notebook(self.source))
        notebook["metadata"]["robustnb"] = {
            "digest": self.digest if is_of_source else None,
            "dataset": self._dataset(notebook),
            "folders": noted(self.read_log),
            "seconds": round(seconds, 1),
            "hardware": device_name(),
            "python": platform.python_version(),
            "torch": version("torch"),
            "date": date.today().isoformat(),
        }
        notebook["metadata"]["robustnb"]["content"] = _content(notebook)
        write_notebook(self.executed, notebook)
        self.partial.unlink()
        self.read_log.unlink(missing_ok=True)

    def _dataset(self, notebook: Notebook) -> list[str]:
        """Return the line of each data set that the executed notebook shows."""
        shown = [cell for cell in code_cells(notebook) if "dataset" in tags(cell)]
        outputs = [output for cell in shown for output in cell["outputs"]]
        lines = ["".join(o["data"]["text/plain"]).strip() for o in outputs if "data" in o]
        if not lines:
            raise BookError(
                f'The cell tagged "dataset" of chapter {self.name} shows nothing: '
                "end it with the data set."
            )
        return lines


def _content(notebook: Notebook) -> str:
    """Return a digest of an executed notebook, but for the place in which this is noted."""
    metadata = notebook["metadata"]
    record = {k: v for k, v in metadata["robustnb"].items() if k != "content"}
    known = notebook | {"metadata": metadata | {"robustnb": record}}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _sources(notebook: Notebook) -> list[str]:
    return ["".join(cell["source"]) for cell in code_cells(notebook)]


def check(notebook: Path) -> None:
    """Raise BookError unless the notebook takes a profile and shows its data set."""
    try:
        cells = code_cells(read_notebook(notebook))
    except ValueError as error:
        raise BookError(f"Chapter {notebook.stem} cannot be read: {error}.") from error
    parameters = [cell for cell in cells if "parameters" in tags(cell)]
    if not any(re.search(r"^profile\b", "".join(c["source"]), re.MULTILINE) for c in parameters):
        raise BookError(
            f'Chapter {notebook.stem} needs a code cell tagged "parameters" with '
            'the line profile = "smoke".'
        )
    if not any("dataset" in tags(cell) for cell in cells):
        raise BookError(
            f'Chapter {notebook.stem} needs a code cell tagged "dataset" that shows its data set.'
        )


def fingerprint(files: Iterable[Path], *facts: object) -> str:
    """Return a digest of the names and bytes of `files`, folders among them aside, and `facts`."""
    sha = hashlib.sha256(repr(facts).encode())
    for file in sorted(file for file in files if file.is_file()):
        sha.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()


def duration(seconds: float) -> str:
    """Return a number of seconds in words: '12 s', '3 min 05 s', '2 h 10 min'."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _data_sets() -> list[str]:
    """Return where ROBUSTNB_DATA is, and the names of the folders in which a data set may lie."""
    given = os.environ.get("ROBUSTNB_DATA")
    if not given:
        return []
    root = Path(given).expanduser().resolve()
    found = [path for depth in ("[!.]*", "[!.]*/[!.]*") for path in root.glob(depth)]
    return [str(root), *sorted(str(path) for path in found if path.is_dir())]
