"""The explorables: each is one Python class and one ES module, and moves without a kernel."""

from robustnb.widgets.attack import AttackExplorer
from robustnb.widgets.bang import BangExplorer
from robustnb.widgets.frames import Frames, sweep
from robustnb.widgets.playground import Playground
from robustnb.widgets.prediction import Prediction
from robustnb.widgets.pruning import PruningExplorer
from robustnb.widgets.rho_init import RhoExplorer
from robustnb.widgets.sigma import SigmaExplorer
from robustnb.widgets.static import StaticWidget
from robustnb.widgets.winner_takes_all import WinnerExplorer

__all__ = [
    "AttackExplorer",
    "BangExplorer",
    "Frames",
    "Playground",
    "Prediction",
    "PruningExplorer",
    "RhoExplorer",
    "SigmaExplorer",
    "StaticWidget",
    "WinnerExplorer",
    "sweep",
]
