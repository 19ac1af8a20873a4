"""Build the book: execute its chapters, then render them with what was measured on the way."""

from pathlib import Path

import click
from filelock import FileLock

from robustnb.files import in_one_sentence
from robustnb.publishing.book import ROOT, Book
from robustnb.publishing.errors import BookError
from robustnb.publishing.execute import Say, execute
from robustnb.publishing.render import render


def build(
    profile: str = "smoke", only: str | None = None, root: Path = ROOT, say: Say = click.echo
) -> Path:
    """Execute the chapters that changed, render the pages if any did, return the page to open.

    With `only`, no other chapter is executed; if others have changed too, the pages stay as they
    are and the executed notebook is what to open. Raises BookError, with what was wrong and where,
    and then leaves the pages as they were.
    """
    try:
        return _built(Book(root.resolve(), profile), only, say)
    except OSError as error:
        raise BookError(in_one_sentence(error)) from error


def _built(book: Book, only: str | None, say: Say) -> Path:
    chapters = book.chapters()
    names = [chapter.name for chapter in chapters]
    if only and only not in names:
        raise BookError(
            f"Unknown chapter {only!r}: use one of {', '.join(names) or 'none yet'}, or give it a "
            f"line in _toc.yml (- file: book/{only})."
        )
    chosen = [chapter for chapter in chapters if only in (None, chapter.name)]
    book.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(book.folder / ".lock"):
        execute(chosen, say)
        others = [chapter for chapter in chapters if chapter not in chosen]
        stale = [chapter.name for chapter in others if not chapter.is_current()]
        if stale:
            say(f"pages: not rendered, they wait for {', '.join(stale)}")
            return chosen[0].executed
        render(book, chapters, say)
    return book.page
