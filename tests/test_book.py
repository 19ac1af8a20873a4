"""The built book in a real browser, and what turns a build red."""

from __future__ import annotations

import os
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Locator, Page, expect

from robustnb import chapters
from robustnb.book import ROOT, Book, build
from robustnb.chapters import BookError, duration, fingerprint, read_notebook

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

PAGES = [f"{page}.html" for page in Book(ROOT, "smoke").pages()]
CHAPTERS = [chapter.name for chapter in Book(ROOT, "smoke").chapters()]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

# The built book in a browser.


@pytest.fixture(params=PAGES)
def page_file(built_book: Path, request: pytest.FixtureRequest) -> Path:
    return built_book / request.param


def picture(widget: Locator) -> str:
    """Return what a widget shows once it is done, apart from its sliders and texts."""
    expect(widget.locator("[aria-busy=true]")).to_have_count(0, timeout=30_000)
    return str(
        widget.evaluate("""root => [
            ...Array.from(root.querySelectorAll("svg"), drawn => drawn.outerHTML),
            ...Array.from(root.querySelectorAll("canvas"), drawn => drawn.toDataURL()),
        ].join()""")
    )


def luminance(page: Page, selector: str, which: str) -> float:
    """Return the mean of the red, green and blue of a computed colour, 0 to 255."""
    colour = page.locator(selector).first.evaluate(f"node => getComputedStyle(node)['{which}']")
    channels = colour[colour.index("(") + 1 : colour.index(")")].split(",")[:3]
    return sum(map(float, channels)) / 3


def wait_for_formulas(page: Page) -> None:
    number = page.locator("article .math").count()
    formulas = page.locator("article .math > mjx-container")
    expect(formulas).to_have_count(number, timeout=30_000)


def test_every_slider_changes_its_picture(page_file: Path, visit: Visit) -> None:
    with visit(page_file) as page:
        sliders = page.locator(".static-widget input[type=range]:enabled")
        assert page_file.stem not in CHAPTERS or sliders.count() > 0
        for slider in sliders.all():
            widget = slider.locator("xpath=ancestor::*[@class='static-widget']")
            slider.press("Home")
            first = picture(widget)
            slider.press("End")
            assert picture(widget) != first
            slider.press("Home")
            assert picture(widget) == first


def test_formulas_are_set_and_pictures_described(page_file: Path, visit: Visit) -> None:
    with visit(page_file) as page:
        wait_for_formulas(page)
        # What MathJax cannot read it marks as an error, what it does not know it sets in red.
        wrong = page.locator("mjx-container [data-mml-node=merror], mjx-container [fill=red]")
        expect(wrong).to_have_count(0)
        undescribed = page.locator(
            "article img:not([alt]), article img[alt=''],"
            "article [role=img]:not([aria-label], mjx-container *)"
        )
        expect(undescribed).to_have_count(0)
        assert page.locator(".fig > svg:not([role=img])").count() == 0


def test_a_page_fits_a_phone(page_file: Path, visit: Visit) -> None:
    with visit(page_file, **PHONE) as page:
        wait_for_formulas(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_switch_turns_page_and_figures_dark(built_book: Path, visit: Visit) -> None:
    with visit(built_book / f"book/{CHAPTERS[0]}.html", color_scheme="light") as page:
        assert luminance(page, "body", "backgroundColor") > 200
        assert luminance(page, ".fig svg", "fill") < 80
        while page.locator("html").get_attribute("data-theme") != "dark":
            page.locator(".theme-switch-button:visible").first.click()
        assert luminance(page, "body", "backgroundColor") < 60
        assert luminance(page, ".fig svg", "fill") > 180
        assert luminance(page, ".text_html p", "color") > 150


def test_search_works_without_a_server(built_book: Path, visit: Visit) -> None:
    with visit(f"{(built_book / 'search.html').as_uri()}?q=Bayesian") as page:
        expect(page.locator("#search-results a").first).to_be_visible()


def test_the_front_page_leads_to_the_book(built_book: Path, visit: Visit) -> None:
    with visit(built_book / "index.html") as page:
        page.wait_for_url(f"**/{PAGES[0]}")
        for name in CHAPTERS:
            row = page.get_by_role("row").filter(has=page.locator(f"a[href='{name}.html']"))
            expect(row).to_contain_text("images")
            expect(row).to_contain_text("smoke")


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_says_how_it_was_computed(built_book: Path, name: str) -> None:
    page = BeautifulSoup((built_book / f"book/{name}.html").read_text(), "html.parser")
    record = read_notebook(built_book.parent / f"chapters/{name}.ipynb")["metadata"]["robustnb"]
    note = page.select_one(".provenance")
    assert note is not None
    text = " ".join(note.text.split())
    facts = ("smoke", duration(record["seconds"]), record["hardware"], *record["dataset"])
    assert [fact for fact in facts if fact not in text] == []


def test_every_link_inside_the_book_leads_somewhere(built_book: Path) -> None:
    files = [*built_book.glob("*.html"), *built_book.glob("book/*.html")]
    pages = {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}
    dead = []
    for path, page in pages.items():
        for link in page.select("a[href], link[href], script[src], img[src]"):
            address = urlsplit(str(link.get("href") or link.get("src")))
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            known = pages.get(target)
            if not target.exists() or (
                known and address.fragment and not known.find(id=unquote(address.fragment))
            ):
                dead.append(f"{path.name}: {address.geturl()}")
    assert dead == []


# What turns a build red.


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


def test_one_failing_chapter_stops_the_others(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    started = tiny / "started"
    write_chapter(
        tiny,
        "slow",
        cell(
            f"import os, pathlib, time\npathlib.Path({str(started)!r}).write_text(str(os.getpid()))"
        ),
        cell("time.sleep(300)"),
    )
    wait = (
        f"import pathlib, time\nwhile not pathlib.Path({str(started)!r}).exists(): time.sleep(0.1)"
    )
    write_chapter(tiny, "broken", cell(wait), cell("raise SystemError('no')"))
    contents(tiny, "slow", "broken")
    assert "SystemError: no" in complaint(tiny)
    assert is_gone(int(started.read_text()))
    assert not list((tiny / "_build/smoke/chapters").glob("slow.ipynb"))


def is_gone(process: int) -> bool:
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_cell_that_never_ends_is_stopped(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chapters.TIMEOUTS, "smoke", 5)
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
        return chapters.Chapter(path, tiny / "_build", profile).digest

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
