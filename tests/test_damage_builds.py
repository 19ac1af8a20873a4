"""A build owns what it makes: orphans and damage never stand in a page."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

from robustnb import cli
from robustnb.publishing import render as rendering
from robustnb.publishing.book import ROOT, Book
from robustnb.publishing.chapter import Chapter
from robustnb.publishing.notebook import read_notebook, write_notebook
from robustnb.publishing.render import render

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and orphans of POSIX")

WAITS = """\
import os, pathlib, time
place = pathlib.Path({place!r})
place.with_suffix(".part").write_text(f"{{os.getppid()}} {{os.getpid()}}")
place.with_suffix(".part").rename(place)
time.sleep(300)"""

# What `robustnb book` does, for the book in another folder.
BUILDING = """\
import functools, pathlib, sys
from robustnb.cli import main
from robustnb.publishing import build
build.build = functools.partial(build.build, root=pathlib.Path(sys.argv[1]))
main(["book"])"""

# A process that adopts the orphans below it, as a session's service manager does.
ADOPTING = """\
import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl(36, 1)
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
print(child, flush=True)
while True:
    os.wait()
"""


def write_chapter(root: Path, name: str, *sources: str) -> Path:
    data = 'class Data:\n    def __repr__(self):\n        return "dots: 1; digest 0"\nData()'
    cells = [
        new_markdown_cell(f"# {name}\n\nIts question."),
        new_code_cell('profile = "smoke"', metadata={"tags": ["parameters", "remove-cell"]}),
        new_code_cell(data, metadata={"tags": ["dataset"]}),
        *map(new_code_cell, sources),
    ]
    path = root / "book" / f"{name}.ipynb"
    path.write_text(writes(new_notebook(cells=cells)))
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return the root of a book with a front page and one chapter, waves."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book/intro.md").write_text("# Front\n\n<!-- chapters -->\n")
    (tmp_path / "book/references.bib").touch()
    (tmp_path / "_config.yml").write_text((ROOT / "_config.yml").read_text())
    contents = "format: jb-book\nroot: book/intro\nchapters:\n- file: book/waves\n"
    (tmp_path / "_toc.yml").write_text(contents)
    return tmp_path


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 280
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return True
    return state.rsplit(")", 1)[1].split()[0] == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="orphans are adopted on Linux")
def test_a_killed_build_leaves_no_process_even_where_orphans_are_adopted(tiny: Path) -> None:
    place = tiny / "processes"
    write_chapter(tiny, "waves", WAITS.format(place=str(place)))
    command = [sys.executable, "-c", ADOPTING, "-c", BUILDING, str(tiny)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as adopting:
        assert adopting.stdout is not None
        try:
            builder = int(adopting.stdout.readline())
            until(place.exists)
            os.kill(builder, signal.SIGKILL)
            processes = [int(process) for process in place.read_text().split()]
            until(lambda: all(map(is_gone, processes)))
        finally:
            adopting.kill()
    assert not (tiny / "_build/smoke/chapters/waves.ipynb").exists()


def chapter_of(root: Path, **changes: int) -> Chapter:
    return Chapter(root / "book/waves.ipynb", root / "_build/smoke/chapters", "smoke", **changes)


def execute(chapter: Chapter, printed: str) -> None:
    """Write what papermill writes of a chapter whose last cell prints this."""
    chapter.folder.mkdir(parents=True, exist_ok=True)
    notebook = read_notebook(chapter.source)
    data, last = notebook["cells"][2], notebook["cells"][-1]
    shown = {"text/plain": "dots: 1; digest 0"}
    data["outputs"] = [{"output_type": "display_data", "data": shown, "metadata": {}}]
    last["outputs"] = [{"output_type": "stream", "name": "stdout", "text": printed}]
    write_notebook(chapter.partial, notebook)


def test_what_an_orphan_writes_is_not_kept_by_the_next_build(tiny: Path) -> None:
    write_chapter(tiny, "waves", "print('old')")
    orphan = chapter_of(tiny, builder=1)
    assert not orphan.is_current()
    write_chapter(tiny, "waves", "print('new')")
    own = chapter_of(tiny, builder=2)
    assert not own.is_current()
    execute(own, "new")
    execute(orphan, "old")  # written while the own one is
    own.keep(1.0)
    assert read_notebook(own.executed)["cells"][-1]["outputs"][0]["text"] == "new"
    assert chapter_of(tiny).is_current()
    orphan.keep(1.0)  # of the old source, which it says
    assert not chapter_of(tiny).is_current()
    own.clear()
    assert [file.name for file in own.folder.iterdir()] == ["waves.ipynb"]


def test_a_chapter_that_is_edited_as_it_starts_is_not_current(tiny: Path) -> None:
    """The digest is of the new text, and papermill has read the old one, or the other way round."""
    path = write_chapter(tiny, "waves", "print('old')")
    chapter = chapter_of(tiny)
    execute(chapter, "old")
    write_chapter(tiny, "waves", "print('new')")
    assert chapter.digest
    chapter.keep(1.0)
    assert path.exists()
    assert not chapter_of(tiny).is_current()


def test_a_damaged_executed_notebook_is_not_current(tiny: Path) -> None:
    write_chapter(tiny, "waves", "print('waves')")
    chapter, rng = chapter_of(tiny), random.Random(0)
    execute(chapter, "waves")
    chapter.keep(1.0)
    whole = chapter.executed.read_bytes()
    assert chapter_of(tiny).is_current()
    meant = json.loads(whole)
    for damaged in [whole[:-20], b"", b"[]", b"{}", b"3", b"[" * 10**5, *_flipped(whole, rng, 60)]:
        chapter.executed.write_bytes(damaged)
        if chapter_of(tiny).is_current():  # a space or a line break elsewhere
            assert json.loads(damaged) == meant
        else:
            assert chapter_of(tiny).record() == {} or json.loads(damaged) == meant
    chapter.executed.write_bytes(whole)
    assert chapter_of(tiny).is_current()


def _flipped(content: bytes, rng: random.Random, number: int) -> list[bytes]:
    found = []
    for _ in range(number):
        changed, bit = bytearray(content), rng.randrange(8 * len(content))
        changed[bit // 8] ^= 1 << bit % 8
        found.append(bytes(changed))
    return found


def test_damaged_pages_are_rendered_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_chapter(tiny, "waves", "print('waves')")
    chapter = chapter_of(tiny)
    execute(chapter, "waves")
    chapter.keep(1.0)

    def sphinx(book: Book, source: Path) -> Path:
        pages = book.folder / "rendering"
        (pages / "book").mkdir(parents=True)
        (pages / "index.html").write_text("front")
        (pages / "book/waves.html").write_text("waves")
        return pages

    monkeypatch.setattr(rendering, "_sphinx", sphinx)
    book = Book(tiny, "smoke")

    def said() -> str:
        lines: list[str] = []
        render(book, [chapter], lines.append)
        return lines[0]

    assert said() == "pages: rendering"
    assert said() == "pages: unchanged"
    damages: list[Callable[[], object]] = [
        lambda: book.page.unlink(),
        lambda: book.page.write_text(""),
        lambda: (book.html / "book/waves.html").write_text("wavez"),
        lambda: (book.html / ".digest").write_bytes(b"\xff"),
        lambda: (book.html / "more.html").touch(),
    ]
    for damage in damages:
        damage()
        assert said() == "pages: rendering"
        assert said() == "pages: unchanged"
        assert book.page.read_text() == "front"


def test_a_progress_bar_is_in_no_note(tiny: Path) -> None:
    """tqdm shows one beside the data set where its images are decoded for the first time."""
    write_chapter(tiny, "waves", "print('waves')")
    chapter = chapter_of(tiny)
    execute(chapter, "waves")
    notebook = read_notebook(chapter.partial)
    bar = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "0"},
        "text/plain": "decoding own:   0%|          | 0/24 [00:00<?, ? images/s]",
    }
    shown = {"output_type": "display_data", "data": bar, "metadata": {}}
    notebook["cells"][2]["outputs"].insert(0, shown)
    write_notebook(chapter.partial, notebook)
    chapter.keep(1.0)
    assert chapter.record()["dataset"] == ["dots: 1; digest 0"]
    assert "decoding own" not in chapter.executed.read_text()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("is_ignored", [False, True])
def test_a_closed_terminal_ends_a_command_unless_it_is_to_go_on(
    name: str, is_ignored: bool
) -> None:
    sent = getattr(signal, name)
    before = signal.signal(sent, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        cli.main(["results", "--help"], standalone_mode=False)
        if is_ignored:
            signal.raise_signal(sent)
        else:
            with pytest.raises(SystemExit, match=str(128 + sent)):
                signal.raise_signal(sent)
    finally:
        signal.signal(sent, before)
