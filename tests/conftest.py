"""What the tests share: one thread a process, and the book itself, built once."""

import os
from pathlib import Path

# Sums differ in their last digit with the number of threads, here and in what the tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest

from robustnb.publishing.build import build


@pytest.fixture(scope="session")
def built_book() -> Path:
    """Build the book at smoke, or find it built, and return the folder of its pages."""
    return build("smoke").parent
