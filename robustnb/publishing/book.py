"""A checkout with a book in it: its pages, its chapters, and where they are built."""

from dataclasses import dataclass
from pathlib import Path

from robustnb.publishing.chapter import PACKAGE, Chapter
from robustnb.publishing.errors import BookError, require
from robustnb.results import PROFILES

ROOT = PACKAGE.parent


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
