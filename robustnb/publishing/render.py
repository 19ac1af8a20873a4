"""Render the pages: lay out what Sphinx reads, and have it make the HTML."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from robustnb.files import write_whole
from robustnb.publishing.book import Book
from robustnb.publishing.chapter import Chapter, duration, fingerprint
from robustnb.publishing.errors import BookError
from robustnb.publishing.execute import Say
from robustnb.publishing.notebook import Notebook, read_notebook, write_notebook

TABLE_MARK = "<!-- chapters -->"


def render(book: Book, chapters: Sequence[Chapter], say: Say) -> None:
    """Render every page afresh, since Sphinx forgets the warnings of pages that it keeps."""
    digest, stamp = _digest(book, chapters), book.html / ".digest"
    if stamp.exists() and stamp.read_bytes() == _stamped(digest, book.html).encode():
        say("pages: unchanged")
        return
    say("pages: rendering")
    started = time.monotonic()
    rendered = _sphinx(book, _assemble(book, chapters))
    write_whole(rendered / ".digest", _stamped(digest, rendered))
    if book.html.exists():
        shutil.rmtree(book.html)
    rendered.replace(book.html)
    say(f"pages: rendered in {duration(time.monotonic() - started)}")


def _stamped(digest: str, pages: Path) -> str:
    """Return the digest of what went into the pages with one of all files that came of it."""
    files = (file for file in pages.rglob("*") if file.name != ".digest")
    return f"{digest} {fingerprint(files)}"


def _digest(book: Book, chapters: Sequence[Chapter]) -> str:
    files = [file for file in (book.root / "book").rglob("[!.]*") if file.suffix != ".ipynb"]
    files += [book.root / name for name in ("_config.yml", "_toc.yml")]
    files += Path(__file__).parent.glob("*.py")
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
    front = Path(book.pages()[0])
    table = _table([chapter for chapter in chapters if chapter.name != front.name])
    for chapter in chapters:
        is_front = chapter.name == front.name
        page = _with_table(chapter, table) if is_front else _with_note(chapter)
        write_notebook(source / chapter.source.relative_to(book.root), page)
    text = source / f"{front}.md"
    if text.exists():
        told = text.read_text(encoding="utf-8").replace(TABLE_MARK, table)
        text.write_text(told, encoding="utf-8")
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


def _executed(chapter: Chapter) -> Notebook:
    """Return the executed notebook without the paths of this machine."""
    notebook = read_notebook(chapter.executed)
    del notebook["metadata"]["robustnb"]["folders"]
    return notebook


def _with_table(chapter: Chapter, table: str) -> Notebook:
    """Return the executed front page with the table of the chapters where it has the mark."""
    notebook = _executed(chapter)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = "".join(cell["source"]).replace(TABLE_MARK, table)
    return notebook


def _with_note(chapter: Chapter) -> Notebook:
    """Return the executed chapter with a note of how it came about under its title."""
    notebook = _executed(chapter)
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
        f"Data: {'; '.join(map(_literal, record['dataset']))}.\n"
        ":::"
    )


def _table(chapters: Sequence[Chapter]) -> str:
    """Return a table of what each chapter was computed from, and at what cost."""
    lines = ["| Chapter | Data | Profile | Time | Hardware |", "|:--|:--|:--|--:|:--|"]
    for chapter in chapters:
        record = chapter.record()
        data = "<br>".join(_literal(line.partition(";")[0]) for line in record["dataset"])
        link = f"[]({chapter.source.name})"
        time_taken = duration(record["seconds"]).replace(" ", "\N{NO-BREAK SPACE}")
        cost = f"`{chapter.profile}` | {time_taken} | {record['hardware']}"
        lines.append(f"| {link} | {data} | {cost} |")
    return "\n".join(lines)


def _literal(text: str) -> str:
    """Return Markdown that shows a text as it is, whatever names of files are in it."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
