"""What the tests of the book share: the book itself, built once."""

from pathlib import Path

import pytest

from robustnb.book import build


@pytest.fixture(scope="session")
def built_book() -> Path:
    """Build the book at smoke, or find it built, and return the folder of its pages."""
    return build("smoke").parent
