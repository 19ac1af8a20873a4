"""Processes that end with the one that started them."""

import os
import signal
import threading
import time

LOOK_EVERY = 0.5  # seconds


def end_with(parent: int) -> None:
    """End this process soon after `parent`, which started it, however that ended.

    A killed parent cannot end what it started. Afterwards the system gives its children to another
    process, of whatever number, which is how they notice. Windows tells no child of it.
    """
    if os.name == "posix":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)  # at once: a long computation listens to nothing else
