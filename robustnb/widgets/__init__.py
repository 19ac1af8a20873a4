"""The explorables: each is one Python class and one ES module, and moves without a kernel."""

from robustnb.widgets.frames import Frames, sweep
from robustnb.widgets.static import StaticWidget

__all__ = ["Frames", "StaticWidget", "sweep"]
