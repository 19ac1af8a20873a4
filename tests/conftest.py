"""What the tests of the book share: the book itself, built once."""

from pathlib import Path

import pytest
import torch

from robustnb.book import build

# As `robustnb test` does: sums differ in their last digit with the number of threads.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def built_book() -> Path:
    """Build the book at smoke, or find it built, and return the folder of its pages."""
    return build("smoke").parent
