"""Build the book: execute its chapters, then render them with what was measured on the way."""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from filelock import FileLock

from robustnb.chapters import (
    PACKAGE,
    BookError,
    Chapter,
    Notebook,
    Say,
    duration,
    execute,
    fingerprint,
    read_notebook,
    require,
    write_notebook,
)
from robustnb.files import write_whole
from robustnb.results import PROFILES

ROOT = PACKAGE.parent
TABLE_MARK = "<!-- chapters -->"


@dataclass(frozen=True)
class Book:
    """A checkout with a book in it, to be built at one profile."""

    root: Path
    profile: str

    def __post_init__(self) -> None:
        require("profile", self.profile, PROFILES)
        if not (self.root / "_toc.yml").exists():
            raise BookError(f"There is no book in {self.root}: it has no _toc.yml.")

    @property
    def folder(self) -> Path:
        """Return the folder that all output of this profile goes to."""
        return self.root / "_build" / self.profile

    @property
    def html(self) -> Path:
        """Return the folder of the rendered pages."""
        return self.folder / "html"

    @property
    def page(self) -> Path:
        """Return the path of the page to open."""
        return self.html / "index.html"

    def pages(self) -> list[str]:
        """Return the pages of the table of contents, in its order and without suffix."""
        from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml

        try:
            return list(parse_toc_yaml(self.root / "_toc.yml"))
        except MalformedError as error:
            raise BookError(f"_toc.yml is malformed: {error}") from error

    def chapters(self) -> list[Chapter]:
        """Return the pages that are notebooks; raise BookError for a page that has no file."""
        chapters = []
        for page in self.pages():
            notebook = self.root / f"{page}.ipynb"
            if notebook.exists():
                chapters.append(Chapter(notebook, self.folder / "chapters", self.profile))
            elif not (self.root / f"{page}.md").exists():
                raise BookError(
                    f"_toc.yml lists {page}, but there is no {page}.ipynb or {page}.md."
                )
        return chapters


def build(
    profile: str = "smoke", only: str | None = None, root: Path = ROOT, say: Say = click.echo
) -> Path:
    """Execute the chapters that changed, render the pages if any did, return the page to open.

    With `only`, no other chapter is executed; if others have changed too, the pages stay as they
    are and the executed notebook is what to open. Raises BookError, with what was wrong and where,
    and then leaves the pages as they were.
    """
    book = Book(root, profile)
    chapters = book.chapters()
    if only:
        require("chapter", only, [chapter.name for chapter in chapters])
    chosen = [chapter for chapter in chapters if only in (None, chapter.name)]
    book.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(book.folder / ".lock"):
        execute(chosen, say)
        stale = [chapter.name for chapter in chapters if not chapter.is_current()]
        if stale:
            say(f"pages: not rendered, they wait for {', '.join(stale)}")
            return chosen[0].executed
        _render(book, chapters, say)
    return book.page


def _render(book: Book, chapters: Sequence[Chapter], say: Say) -> None:
    """Render every page afresh, since Sphinx forgets the warnings of pages that it keeps."""
    digest, stamp = _digest(book, chapters), book.html / ".digest"
    if stamp.exists() and stamp.read_text() == digest:
        say("pages: unchanged")
        return
    say("pages: rendering")
    started = time.monotonic()
    rendered = _sphinx(book, _assemble(book, chapters))
    write_whole(rendered / ".digest", digest)
    if book.html.exists():
        shutil.rmtree(book.html)
    rendered.replace(book.html)
    say(f"pages: rendered in {duration(time.monotonic() - started)}")


def _digest(book: Book, chapters: Sequence[Chapter]) -> str:
    files = [file for file in (book.root / "book").rglob("*") if file.suffix != ".ipynb"]
    files += [book.root / name for name in ("_config.yml", "_toc.yml")]
    files += [PACKAGE / name for name in ("book.py", "chapters.py", "offline.py")]
    return fingerprint(files + [chapter.executed for chapter in chapters])


def _assemble(book: Book, chapters: Sequence[Chapter]) -> Path:
    """Lay out what Sphinx reads: the text, and the executed chapters with their notes."""
    source = book.folder / "source"
    if source.exists():
        shutil.rmtree(source)
    left_out = shutil.ignore_patterns("*.ipynb", ".ipynb_checkpoints", "_static")
    shutil.copytree(book.root / "book", source / "book", ignore=left_out)
    if (book.root / "book" / "_static").exists():
        shutil.copytree(book.root / "book" / "_static", source / "_static")
    for chapter in chapters:
        write_notebook(source / chapter.source.relative_to(book.root), _with_note(chapter))
    front = source / f"{book.pages()[0]}.md"
    if front.exists():
        text = front.read_text(encoding="utf-8")
        front.write_text(text.replace(TABLE_MARK, _table(chapters)), encoding="utf-8")
    return source


def _sphinx(book: Book, source: Path) -> Path:
    output = book.folder / "rendering"
    if output.exists():
        shutil.rmtree(output)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source)]
    command += ["--config", str(book.root / "_config.yml"), "--toc", str(book.root / "_toc.yml")]
    command += ["--path-output", str(output), "--quiet", "-W", "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pages = output / "_build" / "html"
    missing = [page for page in book.pages() if not (pages / f"{page}.html").exists()]
    if done.returncode or missing:
        raise BookError(_complaint(click.unstyle(done.stderr).replace(f"{source}/", ""), missing))
    return pages


def _complaint(log: str, missing: Sequence[str]) -> str:
    lines = [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line]
    if lines:
        return "The pages have warnings, which count as errors:\n" + "\n".join(lines)
    if missing:
        return f"Sphinx left out these pages of _toc.yml: {', '.join(missing)}."
    return f"Sphinx failed: {''.join(log.strip().splitlines()[-1:])}"


def _with_note(chapter: Chapter) -> Notebook:
    """Return the executed chapter with a note of how it came about under its title."""
    notebook = read_notebook(chapter.executed)
    for cell in notebook["cells"]:
        title, _, rest = "".join(cell["source"]).partition("\n")
        if cell["cell_type"] == "markdown" and title.startswith("# "):
            cell["source"] = f"{title}\n\n{_note(chapter)}\n{rest}"
            return notebook
    raise BookError(f"Chapter {chapter.name} needs a text cell that begins with its title.")


def _note(chapter: Chapter) -> str:
    record = chapter.record()
    return (
        ":::{div} provenance\n"
        f"**Computed for this page** at profile `{chapter.profile}` on {record['date']}, "
        f"in {duration(record['seconds'])} on {record['hardware']}, "
        f"with Python {record['python']} and PyTorch {record['torch']}. "
        f"Data: {'; '.join(record['dataset'])}.\n"
        ":::"
    )


def _table(chapters: Sequence[Chapter]) -> str:
    """Return a table of what each chapter was computed from, and at what cost."""
    lines = ["| Chapter | Data | Profile | Time | Hardware |", "|:--|:--|:--|--:|:--|"]
    for chapter in chapters:
        record = chapter.record()
        data = "<br>".join(line.partition(";")[0] for line in record["dataset"])
        link = f"[]({chapter.source.name})"
        time_taken = duration(record["seconds"]).replace(" ", "\N{NO-BREAK SPACE}")
        cost = f"`{chapter.profile}` | {time_taken} | {record['hardware']}"
        lines.append(f"| {link} | {data} | {cost} |")
    return "\n".join(lines)
