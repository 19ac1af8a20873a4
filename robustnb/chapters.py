"""Execute the chapters: several at once, and each only if something that goes into it changed."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from robustnb.files import write_whole
from robustnb.results import device_name

Notebook = dict[str, Any]
Say = Callable[[str], object]

PACKAGE = Path(__file__).resolve().parent
# The longest that one cell may take at each profile, in seconds.
TIMEOUTS = {"smoke": 600, "laptop": 2 * 3600, "paper": 7 * 24 * 3600}
HEARTBEAT = 30.0

_KERNEL_CONFIG = """\
c = get_config()
c.IPKernelApp.log_level = 40  # else its greeting lands in the page
c.HistoryManager.enabled = False
"""
# What a widget's HTML shares with others (robustnb/widgets/static.py): its id is its content's.
_SHARED_TEXT = re.compile(
    r'<(style|script type="text/plain") id="(robustnb-[0-9a-f]+)">.*?</(?:style|script)>', re.DOTALL
)
_FRAME = re.compile(r"^File (\S+?):(\d+)", re.MULTILINE)
_NO_ANSWER = re.compile(r"^nbclient\.exceptions\.(?:\w+): (.*)$", re.MULTILINE)


class BookError(click.ClickException):
    """The book cannot be built; the message says what was wrong and where."""


@dataclass(frozen=True)
class Chapter:
    """A notebook, and the folder where its executed copy lies."""

    source: Path
    folder: Path
    profile: str

    @property
    def name(self) -> str:
        """Return the name of the notebook without its suffix."""
        return self.source.stem

    @property
    def executed(self) -> Path:
        """Return the path of the executed copy."""
        return self.folder / f"{self.name}.ipynb"

    @cached_property
    def digest(self) -> str:
        """Return a digest of all that goes into the chapter."""
        book = self.source.parent
        data = [file for name in ("results", "published") for file in (book / name).rglob("*")]
        code = [file for file in PACKAGE.rglob("*") if file.suffix in {".py", ".js", ".css"}]
        versions = (platform.python_version(), version("torch"))
        return fingerprint([self.source, *data, *code], self.profile, versions, _real_data())

    def record(self) -> dict[str, Any]:
        """Return what was noted when the chapter was executed; nothing if it was not yet."""
        if not self.executed.exists():
            return {}
        record: dict[str, Any] = read_notebook(self.executed)["metadata"].get("robustnb", {})
        return record

    def is_current(self) -> bool:
        """Tell whether nothing has changed since the chapter was executed."""
        return bool(self.record().get("digest") == self.digest)


@dataclass
class _Run:
    """A papermill process that executes a chapter."""

    chapter: Chapter
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def stop(self) -> None:
        """End the process; papermill takes its kernel with it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def execute(chapters: Sequence[Chapter], say: Say = click.echo) -> None:
    """Execute those of `chapters` that are not current, as many at once as there are cores.

    Prints a line as each starts and ends, and one every half minute between. Raises BookError,
    with the chapter, the cell and the exception, as soon as one fails; the others are stopped.
    """
    for chapter in chapters:
        check(chapter.source)
    waiting = [chapter for chapter in chapters if not chapter.is_current()]
    for chapter in chapters:
        if chapter not in waiting:
            say(f"{chapter.name}: unchanged, executed in {duration(chapter.record()['seconds'])}")
    at_once = min(os.cpu_count() or 1, len(waiting))
    running: list[_Run] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                say(f"{waiting[0].name}: executing at profile {waiting[0].profile}")
                running.append(_start(waiting.pop(0), at_once))
            time.sleep(0.1)
            running = [run for run in running if not _is_done(run, say)]
    finally:
        for run in running:
            run.stop()


def check(notebook: Path) -> None:
    """Raise BookError unless the notebook takes a profile and shows its data set."""
    cells = [cell for cell in read_notebook(notebook)["cells"] if cell["cell_type"] == "code"]
    parameters = [cell for cell in cells if "parameters" in _tags(cell)]
    if not any(re.search(r"^profile\b", "".join(c["source"]), re.MULTILINE) for c in parameters):
        raise BookError(
            f'Chapter {notebook.stem} needs a code cell tagged "parameters" with '
            'the line profile = "smoke".'
        )
    if not any("dataset" in _tags(cell) for cell in cells):
        raise BookError(
            f'Chapter {notebook.stem} needs a code cell tagged "dataset" that shows its data set.'
        )


def require(kind: str, name: str, accepted: Collection[str]) -> None:
    """Raise BookError, with the accepted names, unless `name` is among them."""
    if name not in accepted:
        raise BookError(f"Unknown {kind} {name!r}: use one of {', '.join(accepted)}.")


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


def read_notebook(path: Path) -> Notebook:
    """Return a notebook as the dict that its file holds."""
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def write_notebook(path: Path, notebook: Notebook) -> None:
    """Write a notebook to `path`, whole or not at all."""
    write_whole(path, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")


def _start(chapter: Chapter, at_once: int) -> _Run:
    chapter.folder.mkdir(parents=True, exist_ok=True)
    ipython = chapter.folder.parent / "ipython"
    (ipython / "profile_default").mkdir(parents=True, exist_ok=True)
    write_whole(ipython / "profile_default" / "ipython_kernel_config.py", _KERNEL_CONFIG)
    # Progress bars belong in a terminal, not on a page.
    environment = os.environ | {"IPYTHONDIR": str(ipython), "TQDM_DISABLE": "1"}
    if at_once > 1:
        # Two processes at least, so that no core is idle when the other chapters are done.
        processes = max(2, (os.cpu_count() or 1) // at_once)
        environment |= {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": str(processes)}
    command = [sys.executable, "-m", "papermill", str(chapter.source), str(_partial(chapter))]
    command += ["-p", "profile", chapter.profile, "--cwd", str(chapter.source.parent)]
    command += ["--kernel", "python3", "--language", "python"]
    command += ["--no-progress-bar", "--execution-timeout", str(TIMEOUTS[chapter.profile])]
    _partial(chapter).unlink(missing_ok=True)
    with _log(chapter).open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches it through stop() alone
        )
    return _Run(chapter, process)


def _is_done(run: _Run, say: Say) -> bool:
    code = run.process.poll()
    if code is None:
        if time.monotonic() - run.said > HEARTBEAT:
            run.said = time.monotonic()
            say(f"{run.chapter.name}: {_progress(run.chapter)}{duration(run.seconds)}")
        return False
    if code != 0:
        raise BookError(_failure(run.chapter))
    _keep(run.chapter, run.seconds)
    say(f"{run.chapter.name}: executed in {duration(run.seconds)}")
    return True


def _keep(chapter: Chapter, seconds: float) -> None:
    """Store the executed notebook with a record of how it came about, and without widget state."""
    notebook = read_notebook(_partial(chapter))
    for noise in ("widgets", "papermill"):
        notebook["metadata"].pop(noise, None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        if "injected-parameters" in _tags(cell):
            cell["metadata"]["tags"].append("remove-cell")
    share_texts(notebook)
    notebook["metadata"]["robustnb"] = {
        "digest": chapter.digest,
        "dataset": _dataset(notebook, chapter),
        "seconds": round(seconds, 1),
        "hardware": device_name(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "date": date.today().isoformat(),
    }
    write_notebook(chapter.executed, notebook)
    _partial(chapter).unlink()


def share_texts(notebook: Notebook) -> None:
    """Drop, from the outputs that a page shows, the second copies of what widgets share."""
    seen: set[str] = set()

    def first_copy(match: re.Match[str]) -> str:
        known = match[2] in seen
        seen.add(match[2])
        return "" if known else match[0]

    for cell in notebook["cells"]:
        if {"remove-cell", "remove-output", "remove_cell", "remove_output"} & set(_tags(cell)):
            continue
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data["text/html"] = _SHARED_TEXT.sub(first_copy, "".join(data["text/html"]))


def _dataset(notebook: Notebook, chapter: Chapter) -> list[str]:
    """Return the line of each data set that the chapter shows."""
    outputs = [o for c in notebook["cells"] if "dataset" in _tags(c) for o in c.get("outputs", [])]
    lines = ["".join(o["data"]["text/plain"]).strip() for o in outputs if "data" in o]
    if not lines:
        raise BookError(
            f'The cell tagged "dataset" of chapter {chapter.name} shows nothing: '
            "end it with the data set."
        )
    return lines


def _progress(chapter: Chapter) -> str:
    started, total = _started(chapter)
    return f"cell {len(started)} of {total}, " if started else ""


def _started(chapter: Chapter) -> tuple[list[Notebook], int]:
    """Return the code cells of the chapter that have been started, and how many it has."""
    try:
        cells = read_notebook(_partial(chapter))["cells"]
    except (ValueError, OSError):  # papermill is writing it, or has not begun
        return [], 0
    own = [
        cell
        for cell in cells
        if cell["cell_type"] == "code" and "injected-parameters" not in _tags(cell)
    ]
    started = [c for c in own if c["metadata"].get("papermill", {}).get("start_time")]
    return started, len(own)


def _failure(chapter: Chapter) -> str:
    log = _log(chapter).read_text(encoding="utf-8", errors="replace").strip()
    place = f"Chapter {chapter.name} failed at profile {chapter.profile}"
    started, _ = _started(chapter)
    if not started:
        return f"{place} before its first cell:\n{_last_words(log)}"
    first = "".join(started[-1]["source"]).strip().partition("\n")[0]
    errors = [o for o in started[-1]["outputs"] if o["output_type"] == "error"]
    what = _exception(errors[0], chapter) if errors else _last_words(log)
    return f"{place}, in code cell {len(started)}, which begins\n    {first}\n{what}"


def _exception(error: Notebook, chapter: Chapter) -> str:
    """Return the exception in a line or two, with the deepest file of ours that it came through."""
    if error["ename"] == "KeyboardInterrupt":  # how papermill ends a cell
        return f"It took longer than {duration(TIMEOUTS[chapter.profile])}, so it was stopped."
    message = f"{error['ename']}: {error['evalue']}"
    frames = _FRAME.findall(click.unstyle("\n".join(error["traceback"])))
    ours = [(path, line) for path, line in frames if Path(path).is_relative_to(PACKAGE)]
    if not ours:
        return message
    path, line = ours[-1]
    return f"{message}\n(raised in {Path(path).relative_to(PACKAGE.parent)}, line {line})"


def _last_words(log: str) -> str:
    return (_NO_ANSWER.findall(log) or log.splitlines() or ["papermill gave no reason."])[-1]


def _real_data() -> list[tuple[str, int, int]]:
    """Return what identifies the folder of real data: the names, sizes and dates of its files."""
    folder = os.environ.get("ROBUSTNB_DATA")
    if not folder:
        return []
    depths = ("[!.]*", "[!.]*/[!.]*", "[!.]*/[!.]*/[!.]*")
    found = [path for depth in depths for path in Path(folder).glob(depth)]
    return sorted((str(path.relative_to(folder)), *_size_and_date(path)) for path in found)


def _size_and_date(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_size, status.st_mtime_ns) if path.is_file() else (0, 0)


def _tags(cell: Notebook) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def _partial(chapter: Chapter) -> Path:
    return chapter.folder / f"{chapter.name}.partial.ipynb"


def _log(chapter: Chapter) -> Path:
    return chapter.folder / f"{chapter.name}.log"
