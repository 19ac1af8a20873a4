"""A tiny book: built, built again, stopped, and what turns a build red."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from robustnb.publishing import execute
from robustnb.publishing.book import ROOT, Book
from robustnb.publishing.build import build
from robustnb.publishing.chapter import Chapter, duration, fingerprint
from robustnb.publishing.errors import BookError
from robustnb.publishing.notebook import read_notebook

# A data set that takes no time to load.
DATA = """\
class Data:
    def __repr__(self):
        return "dots: 1,234 images of 1×1×1; digest 0"
Data()"""


def cell(source: str, *tags: str) -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": list(tags)})


def write_chapter(root: Path, name: str, *cells: nbformat.NotebookNode) -> Path:
    """Write a chapter that says what a chapter must, and then has `cells`."""
    start = [
        new_markdown_cell(f"# {name}\n\nIts question."),
        cell('profile = "smoke"', "parameters", "remove-cell"),
        cell(DATA, "dataset"),
    ]
    notebook = new_notebook(cells=[*start, *cells])
    path = root / "book" / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return the root of a book with a front page and this project's configuration."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book/intro.md").write_text("# Front\n\n<!-- chapters -->\n")
    (tmp_path / "book/references.bib").touch()
    shutil.copy(ROOT / "_config.yml", tmp_path)
    contents(tmp_path)
    return tmp_path


def contents(root: Path, *names: str) -> None:
    files = "".join(f"- file: book/{name}\n" for name in names)
    chapters = f"chapters:\n{files}" if names else ""
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\n{chapters}")


def complaint(root: Path, only: str | None = None) -> str:
    with pytest.raises(BookError) as raised:
        build(only=only, root=root)
    return raised.value.message


def test_a_book_is_built_once_and_kept_when_the_next_build_fails(tiny: Path) -> None:
    said: list[str] = []
    write_chapter(tiny, "waves", cell("print(profile)"))
    contents(tiny, "waves")
    page = build(root=tiny, say=said.append)
    assert page.exists()
    assert [line.rpartition(" in ")[0] for line in said if " in " in line] == [
        "waves: executed",
        "pages: rendered",
    ]
    assert "1,234 images" in (page.parent / "book/waves.html").read_text()
    assert "1,234 images" in (page.parent / "book/intro.html").read_text()
    before = (page.parent / ".digest").stat().st_mtime_ns

    said.clear()
    build(root=tiny, say=said.append)
    assert [line.partition(",")[0] for line in said] == ["waves: unchanged", "pages: unchanged"]

    write_chapter(tiny, "waves", cell("1 / 0"))
    assert "ZeroDivisionError" in complaint(tiny)
    assert (page.parent / ".digest").stat().st_mtime_ns == before
    kept = read_notebook(tiny / "_build/smoke/chapters/waves.ipynb")["cells"]
    assert "".join(kept[-1]["outputs"][0]["text"]) == "smoke\n"


def test_a_chapter_with_an_error_names_chapter_cell_and_exception(tiny: Path) -> None:
    source = "# Why?\nfrom robustnb.results import published\npublished('bong')"
    write_chapter(tiny, "waves", cell("fine = 1"), cell(source))
    contents(tiny, "waves")
    message = complaint(tiny)
    assert "waves failed at profile smoke, in code cell 4, which begins\n    # Why?" in message
    assert "ValueError: 'bong' is no paper: did you mean 'bang'?" in message
    assert "(raised in robustnb/results.py, line " in message
    assert len(message.splitlines()) <= 5
    assert not (tiny / "_build/smoke/html").exists()


def test_a_slider_whose_picture_fails_turns_the_build_red(tiny: Path) -> None:
    source = """
    import matplotlib.pyplot as plt
    from robustnb.drawing import Drawing
    from robustnb.widgets import sweep
    def draw(eps):
        return Drawing(plt.figure(figsize=(1 / (eps - 0.2), 1)), f"At {eps}")
    sweep(draw, eps=[0.3, 0.2])
    """
    lines = [line.removeprefix("    ") for line in source.strip("\n").splitlines()]
    write_chapter(tiny, "waves", cell("\n".join(lines)))
    contents(tiny, "waves")
    assert "ZeroDivisionError" in complaint(tiny)


# Notes the processes of its chapter: the worker, the kernel, and one that the kernel started.
WAITS = """\
import os, pathlib, subprocess, sys, time
own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
place = pathlib.Path({place!r})
place.with_suffix(".part").write_text(f"{{os.getppid()}} {{os.getpid()}} {{own.pid}}")
place.with_suffix(".part").rename(place)"""


def write_waiting_chapter(root: Path, name: str) -> Path:
    """Write a chapter that waits for 5 minutes; return the file that it notes its processes in."""
    place = root / f"{name}.processes"
    write_chapter(root, name, cell(WAITS.format(place=str(place))), cell("time.sleep(300)"))
    return place


def wait_for(*places: Path) -> None:
    until = time.monotonic() + 300
    while not all(place.exists() for place in places):
        assert time.monotonic() < until, f"{places} did not come"
        time.sleep(0.1)


def are_gone(*places: Path) -> bool:
    return all(is_gone(int(process)) for place in places for process in place.read_text().split())


def is_gone(process: int) -> bool:
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_one_failing_chapter_stops_the_others(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    started = write_waiting_chapter(tiny, "slow")
    wait = (
        f"import pathlib, time\nwhile not pathlib.Path({str(started)!r}).exists(): time.sleep(0.1)"
    )
    write_chapter(tiny, "broken", cell(wait), cell("raise SystemError('no')"))
    contents(tiny, "slow", "broken")
    assert "SystemError: no" in complaint(tiny)
    assert are_gone(started)
    assert not list((tiny / "_build/smoke/chapters").glob("slow.ipynb"))


# What `robustnb book` does, for the book in another folder.
BUILDING = """\
import functools, pathlib, sys
from robustnb.cli import main
from robustnb.publishing import build
build.build = functools.partial(build.build, root=pathlib.Path(sys.argv[1]))
main(["book"])"""


# A terminal sends Ctrl-C to all processes, `kill` its signal to one.
@pytest.mark.parametrize(
    ("send", "end", "code", "last_words"),
    [(os.killpg, signal.SIGINT, 1, "Aborted!"), (os.kill, signal.SIGTERM, 143, "")],
    ids=["ctrl-c", "kill"],
)
def test_a_stopped_build_leaves_no_process(
    tiny: Path, send: Callable[[int, int], None], end: int, code: int, last_words: str
) -> None:
    started = [write_waiting_chapter(tiny, name) for name in ("one", "two")]
    contents(tiny, "one", "two")
    with subprocess.Popen(
        [sys.executable, "-c", BUILDING, str(tiny)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as building:
        try:
            wait_for(*started)
            send(building.pid, end)
            _, complaint = building.communicate(timeout=180)
        finally:
            building.terminate()
    assert (building.returncode, complaint.strip()) == (code, last_words)
    assert are_gone(*started)


def test_a_kernel_that_dies_is_one_sentence(tiny: Path) -> None:
    write_chapter(tiny, "waves", cell("import os"), cell("os._exit(1)"))
    contents(tiny, "waves")
    assert complaint(tiny) == (
        "Chapter waves failed at profile smoke, in code cell 4, which begins\n    os._exit(1)\n"
        "The kernel died, as it does when memory runs out."
    )


def test_a_process_that_is_killed_is_one_sentence(tiny: Path) -> None:
    write_chapter(tiny, "waves", cell("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"))
    contents(tiny, "waves")
    assert complaint(tiny) == (
        "A process that executed one of waves was ended, as happens when memory runs out."
    )


def test_a_build_tells_how_far_it_is(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "HEARTBEAT", 0.2)
    said: list[str] = []
    write_chapter(tiny, "waves", cell("import time; time.sleep(2)"), cell("time.sleep(2)"))
    contents(tiny, "waves")
    build(root=tiny, say=said.append)
    assert said[0] == "waves: executing at profile smoke"
    assert any(re.fullmatch(r"waves: cell 3 of 4, \d+ s", line) for line in said)
    assert any(re.fullmatch(r"waves: cell 4 of 4, \d+ s", line) for line in said)
    assert said[-3].startswith("waves: executed in ")


def test_a_cell_that_never_ends_is_stopped(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(execute.TIMEOUTS, "smoke", 5)
    write_chapter(tiny, "waves", cell("while True: pass"))
    contents(tiny, "waves")
    message = complaint(tiny)
    assert message.endswith("    while True: pass\nIt took longer than 5 s, so it was stopped.")


def test_a_warning_stays_an_error_when_nothing_changes(tiny: Path) -> None:
    (tiny / "book/intro.md").write_text("# Front\n\nSee {ref}`nowhere`.\n")
    for message in (complaint(tiny), complaint(tiny)):
        assert "count as errors:\nbook/intro.md:3: WARNING: undefined label: 'nowhere'" in message


def test_a_missing_page_is_named(tiny: Path) -> None:
    contents(tiny, "waves")
    assert complaint(tiny) == (
        "_toc.yml lists book/waves, but there is no book/waves.ipynb or book/waves.md."
    )


@pytest.mark.parametrize(("missing", "tag"), [(1, "parameters"), (2, "dataset")])
def test_a_chapter_without_its_tagged_cells_is_named(tiny: Path, missing: int, tag: str) -> None:
    path = write_chapter(tiny, "waves")
    notebook = nbformat.read(path, 4)
    del notebook.cells[missing]
    nbformat.write(notebook, path)
    contents(tiny, "waves")
    assert complaint(tiny).startswith(f'Chapter waves needs a code cell tagged "{tag}"')


def test_an_unknown_profile_or_chapter_gets_the_accepted_names(tiny: Path) -> None:
    with pytest.raises(
        BookError, match=r"^Unknown profile 'big': use one of smoke, laptop, paper."
    ):
        Book(tiny, "big")
    write_chapter(tiny, "waves")
    contents(tiny, "waves")
    assert complaint(tiny, only="sea") == "Unknown chapter 'sea': use one of waves."


def test_a_folder_without_a_book_is_named(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"it has no _toc\.yml"):
        Book(tmp_path, "smoke")


# Small parts.


def test_the_digest_of_a_chapter_follows_everything_that_goes_into_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(profile: str = "smoke") -> str:
        return Chapter(path, tiny / "_build", profile).digest

    path = write_chapter(tiny, "waves")
    monkeypatch.delenv("ROBUSTNB_DATA", raising=False)
    digests = [digest(), digest("laptop")]
    (tiny / "book/results").mkdir()
    (tiny / "book/results/rows.json").write_text("[]")
    digests.append(digest())
    path = write_chapter(tiny, "waves", cell("2"))
    digests.append(digest())
    (tiny / "data/MNIST/raw").mkdir(parents=True)
    monkeypatch.setenv("ROBUSTNB_DATA", str(tiny / "data"))
    digests.append(digest())
    (tiny / "data/MNIST/raw/images").write_text("0")
    digests.append(digest())
    assert len(set(digests)) == len(digests)
    assert digest() == digests[-1]


def test_a_digest_tells_names_contents_and_facts_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a")
    other.write_text("a")
    digests = [fingerprint([one]), fingerprint([other]), fingerprint([one], 1), fingerprint([])]
    one.write_text("b")
    digests.append(fingerprint([one]))
    assert all(first != second for first, second in pairwise(digests))
    assert fingerprint([one, other]) == fingerprint([other, one, tmp_path])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
