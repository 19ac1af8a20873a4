"""What the tests of the book share: the book itself, built once."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from robustnb.book import build

# As `robustnb test` does: sums differ in their last digit with the number of threads.
torch.set_num_threads(1)

# How long an example takes depends on what else the machine does.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def built_book() -> Path:
    """Build the book at smoke, or find it built, and return the folder of its pages."""
    return build("smoke").parent
