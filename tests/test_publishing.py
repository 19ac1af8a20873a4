"""A tiny book: built, built again, stopped, and what turns a build red."""

import json
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
from bs4 import BeautifulSoup
from image_folders import make_own, noise, save
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from robustnb.data import load
from robustnb.publishing import execute
from robustnb.publishing.book import ROOT, Book
from robustnb.publishing.build import build
from robustnb.publishing.chapter import Chapter, duration, fingerprint
from robustnb.publishing.errors import BookError
from robustnb.publishing.notebook import read_notebook, write_notebook
from robustnb.signatures import READ_LOG, noted

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
import functools, pathlib, signal, sys
from robustnb.cli import main
# A shell lets what it starts in the background ignore Ctrl-C: the tests, and what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
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
    execute.execute(Book(tiny, "smoke").chapters(), said.append)
    assert said[0] == "waves: executing at profile smoke"
    assert any(re.fullmatch(r"waves: cell 3 of 4, \d+ s", line) for line in said)
    assert any(re.fullmatch(r"waves: cell 4 of 4, \d+ s", line) for line in said)
    assert said[-1].startswith("waves: executed in ")


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
    assert complaint(tiny, only="sea") == (
        "Unknown chapter 'sea': use one of waves, or give it a line in _toc.yml (- file: book/sea)."
    )


def test_a_folder_without_a_book_is_named(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"it has no _toc\.yml"):
        Book(tmp_path, "smoke")


NO_NOTEBOOK = "waves.ipynb is no notebook of version 4, as JupyterLab saves it."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "waves.ipynb is no valid JSON (Expecting value: line 1 column 1 (char 0))."),
        ("{\n<<<<<<< HEAD", "waves.ipynb is no valid JSON (Expecting property name enclosed in "),
        ("[1]", NO_NOTEBOOK),
        ("{}", NO_NOTEBOOK),
        ('{"metadata": {}, "cells": [{"cell_type": "code"}]}', NO_NOTEBOOK),
        ('{"metadata": {}, "worksheets": [{"cells": []}], "nbformat": 3}', NO_NOTEBOOK),
    ],
)
def test_a_chapter_that_is_no_notebook_is_one_sentence(tiny: Path, text: str, reason: str) -> None:
    (tiny / "book/waves.ipynb").write_text(text)
    contents(tiny, "waves")
    message = complaint(tiny)
    assert message.startswith(f"Chapter waves cannot be read: {reason}")
    assert "\n" not in message


def test_a_damaged_copy_is_executed_again(tiny: Path) -> None:
    chapter = Chapter(write_chapter(tiny, "waves"), tiny / "_build", "smoke")
    assert not chapter.is_current()
    chapter.executed.parent.mkdir()
    for damage in ("", "{", "[]", '{"cells": [], "metadata": {}}'):
        chapter.executed.write_text(damage)
        assert not chapter.is_current()


# A page of one's own.


def readme_page(root: Path) -> None:
    """Add the page of README's five lines to a book."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("takes five lines:")[2]
    lines = re.findall(r"^\d\. .*", text, re.MULTILINE)
    assert len(lines) == 5
    name, title = re.findall(r"`([^`]+)`", lines[0])[1:]
    cells = [new_markdown_cell(title)]
    for line in lines[1:3]:
        tag, source = re.findall(r"`([^`]+)`", line)
        cells.append(cell(source, tag))
    nbformat.write(new_notebook(cells=cells), root / "book" / name)
    (entry,) = re.findall(r"`(- .+)`", lines[3])
    with (root / "_toc.yml").open("a") as file:
        file.write(f"chapters:\n{entry}\n")


def test_an_own_page_is_executed_again_when_its_pictures_change(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("Über uns")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ROBUSTNB_CACHE", str(home / "cache"))
    pictures = make_own(home / "die größten Fotos")
    (pictures / "ant").rename(pictures / "$a$ *b* <i> & |c|")
    (pictures / "README.md").write_text("See www.example.org.")
    (home / "pictures").symlink_to(pictures)
    root = Path(shutil.copytree(tiny, home / "ein schönes Buch"))
    readme_page(root)
    page = build(root=root, say=lambda _: None).parent / "book/mine.html"
    note = BeautifulSoup(page.read_text(), "html.parser").select_one(".provenance")
    assert note is not None
    shown = (
        "die größten Fotos: 21 images of 3×32×32 in 3 classes; train 15, validation 3, test 3;",
        "; $a$ *b* <i> & |c| 7, bee 7, cat 7; left out as no image or in no class folder "
        "1 file (README.md).",
    )
    assert [part for part in shown if part not in note.text] == []
    assert not note.select("a, em, i, .math")
    assert str(home) not in (page.parents[1] / "_sources/book/mine.ipynb").read_text()
    said: list[str] = []
    build(root=root, say=said.append)
    assert [line.partition(",")[0] for line in said] == ["mine: unchanged", "pages: unchanged"]
    save(noise(9, 9, 3), pictures / "bee/new.png")
    build(root=root, say=lambda _: None)
    assert "22 images of 3×32×32" in page.read_text()


def executed_with(folders: list[list[str]], chapter: Chapter) -> None:
    """Store the copy of a chapter that has read these folders."""
    notebook = read_notebook(chapter.source)
    notebook["metadata"]["robustnb"] = {"digest": chapter.digest, "folders": folders}
    write_notebook(chapter.executed, notebook)


def test_a_page_follows_the_folders_that_were_read(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ROBUSTNB_DATA", str(tmp_path / "data"))
    for part in ("train", "test"):
        make_own(tmp_path / "data/mnist" / part)
    chapter = Chapter(write_chapter(tiny, "waves"), tiny / "_build", "smoke")
    monkeypatch.setenv(READ_LOG, str(chapter.read_log))
    chapter.folder.mkdir()
    make_own(tmp_path / "own")
    for _ in range(2):
        load("mnist")
        load(tmp_path / "own")
    folders = noted(chapter.read_log)
    assert [folder for folder, _ in folders] == [
        str(tmp_path / "data/mnist"),
        str(tmp_path / "own"),
    ]
    for changed in ("data/mnist/test/ant/0.png", "own/ant/0.png", "own/ant/new.png"):
        executed_with(noted(chapter.read_log), chapter)
        assert chapter.is_current()
        save(noise(5, 4, 3, seed=77), tmp_path / changed)
        assert not chapter.is_current()
        chapter.read_log.unlink()
        load("mnist")
        load(tmp_path / "own")
    executed_with(noted(chapter.read_log), chapter)
    assert chapter.is_current()
    (tmp_path / "own").rename(tmp_path / "moved")
    assert not chapter.is_current()


def test_a_page_follows_a_link_that_leads_elsewhere(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path / "cache"))
    chapter = Chapter(write_chapter(tiny, "waves"), tiny / "_build", "smoke")
    monkeypatch.setenv(READ_LOG, str(chapter.read_log))
    chapter.folder.mkdir()
    link = tmp_path / "own"
    link.symlink_to(make_own(tmp_path / "some"))
    assert load(link).name == "some"
    executed_with(noted(chapter.read_log), chapter)
    assert chapter.is_current()
    link.unlink()
    link.symlink_to(make_own(tmp_path / "other", per_class=8))
    assert not chapter.is_current()


# Says which Python it runs under, and leaves the bars that a page cannot move.
CLAIMS = """import sys, ipywidgets, tqdm.auto
from IPython.display import display
for _ in tqdm.auto.tqdm(range(3), disable=False): pass
for _ in tqdm.auto.tqdm(iter("ab"), "some", disable=False): pass
display(ipywidgets.IntProgress())
print(sys.executable)"""


def test_a_page_runs_under_the_python_that_builds_it_and_shows_no_bar(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"argv": ["false", "{connection_file}"], "display_name": "Other", "language": "python"}
    for place in ("JUPYTER_PATH", "JUPYTER_DATA_DIR"):
        folder = tmp_path / place / "kernels/python3"
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(other))
        monkeypatch.setenv(place, str(tmp_path / place))
    write_chapter(tiny, "waves", cell(CLAIMS))
    contents(tiny, "waves")
    execute.execute(Book(tiny, "smoke").chapters(), lambda _: None)
    executed = read_notebook(tiny / "_build/smoke/chapters/waves.ipynb")
    shown = [o for o in executed["cells"][-1]["outputs"] if o.get("name") != "stderr"]
    assert ["".join(output["text"]) for output in shown] == [f"{sys.executable}\n"]


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
    (tiny / "data/mnist").mkdir()
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
