"""Execute chapters: several at once, and each only if something that goes into it changed."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from threading import Event, Thread

import click
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor

from robustnb.files import write_whole
from robustnb.processes import end_with
from robustnb.publishing.chapter import Chapter, check, duration
from robustnb.publishing.errors import BookError
from robustnb.publishing.notebook import started_cells
from robustnb.signatures import READ_LOG

Say = Callable[[str], object]

# The longest that one cell may take at each profile, in seconds.
TIMEOUTS = {"smoke": 1200, "laptop": 2 * 3600, "paper": 7 * 24 * 3600}
HEARTBEAT = 30.0

_KERNEL_CONFIG = """\
c = get_config()
c.IPKernelApp.log_level = 40  # else its greeting lands in the page
c.HistoryManager.enabled = False
"""


def execute(chapters: Sequence[Chapter], say: Say = click.echo) -> None:
    """Execute those of `chapters` that are not current, as many at once as there are cores.

    Prints a line as each starts and ends, and one every half minute between. Raises BookError,
    with the chapter, the cell and the exception, as soon as one fails; the others are stopped.
    """
    for chapter in chapters:
        check(chapter.source)
    stale = [chapter for chapter in chapters if not chapter.is_current()]
    for chapter in chapters:
        if chapter not in stale:
            say(f"{chapter.name}: unchanged, executed in {duration(chapter.record()['seconds'])}")
    if stale:
        _execute_all(stale, say)


def _execute_all(chapters: Sequence[Chapter], say: Say) -> None:
    """Execute chapters in processes of their own, which end with this call however it ends."""
    at_once = max(2, min(_cores(), len(chapters)))  # joblib runs a single one in this very process
    waiting = iter(chapters)
    running: dict[Chapter, float] = {}

    def start(number: int) -> None:
        for chapter in islice(waiting, number):
            say(f"{chapter.name}: executing at profile {chapter.profile}")
            running[chapter] = time.monotonic()

    try:
        with _heartbeat(running, say), closing(_finished(chapters, at_once)) as finished:
            start(at_once)
            for chapter, seconds in finished:
                del running[chapter]
                say(f"{chapter.name}: executed in {duration(seconds)}")
                start(1)  # the process that is free has taken the next
        get_reusable_executor().shutdown()  # else the processes wait for more
    except BrokenProcessPool as error:
        names = ", ".join(chapter.name for chapter in running)
        raise BookError(
            f"A process that executed one of {names} was ended, as happens when memory runs out."
        ) from error


def _finished(
    chapters: Sequence[Chapter], at_once: int
) -> Generator[tuple[Chapter, float], None, None]:
    """Return an iterator over the chapters and their seconds, in the order in which they finish."""
    alone = len(chapters) == 1  # then it has all cores
    threads = int(os.environ.get("OMP_NUM_THREADS", _cores())) if alone else 1
    environment = _environment(chapters[0].folder.parent / "ipython")
    if not alone:
        # Two processes at least, so that no core is idle when the other chapters are done.
        environment["LOKY_MAX_CPU_COUNT"] = str(max(2, _cores() // at_once))
    call = delayed(_execute_one)
    calls = [call(chapter, TIMEOUTS[chapter.profile], environment) for chapter in chapters]
    # A kernel ends by itself when the process that started it has ended.
    own = {"initializer": end_with, "initargs": (os.getpid(),)}
    with parallel_config("loky", inner_max_num_threads=threads, **own):
        parallel = Parallel(
            at_once, batch_size=1, pre_dispatch="all", return_as="generator_unordered"
        )
        results: Generator[tuple[Chapter, float], None, None] = parallel(calls)
    return results


def _environment(ipython: Path) -> dict[str, str]:
    """Return what a kernel finds in its environment, once the folder `ipython` is made."""
    config = ipython / "profile_default" / "ipython_kernel_config.py"
    write_whole(config, _KERNEL_CONFIG)
    # Progress bars belong in a terminal, not on a page.
    return {"IPYTHONDIR": str(ipython), "TQDM_DISABLE": "1"}


def _execute_one(
    chapter: Chapter, limit: int, environment: Mapping[str, str]
) -> tuple[Chapter, float]:
    """Execute a chapter in this process and store it; return it and the seconds that it took.

    The process is for chapters alone: its environment, and where it prints to, stay changed.
    """
    started = time.monotonic()
    chapter.folder.mkdir(parents=True, exist_ok=True)
    chapter.clear()
    os.environ.update(environment, **{READ_LOG: str(chapter.read_log)})
    with chapter.log.open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    from papermill import execute_notebook  # here, as it takes seconds to load

    from robustnb.publishing.failure import explain
    from robustnb.publishing.kernel import OwnKernel

    try:
        execute_notebook(
            chapter.source,
            chapter.partial,
            {"profile": chapter.profile},
            kernel_name="python3",
            kernel_manager_class=OwnKernel,
            language="python",
            progress_bar=False,
            cwd=chapter.source.parent,
            execution_timeout=limit,
            iopub_timeout=limit,  # of what a cell shows, once it has run
        )
    except Exception as error:
        raise BookError(explain(chapter, error, limit)) from error
    seconds = time.monotonic() - started
    chapter.keep(seconds)
    return chapter, seconds


@contextmanager
def _heartbeat(running: Mapping[Chapter, float], say: Say) -> Iterator[None]:
    """Say every half minute how far each chapter is that runs since the given time."""
    finished = Event()

    def beat() -> None:
        while not finished.wait(HEARTBEAT):
            for chapter, started in dict(running).items():
                say(f"{chapter.name}: {_progress(chapter)}{duration(time.monotonic() - started)}")

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _progress(chapter: Chapter) -> str:
    started, total = started_cells(chapter.partial)
    return f"cell {len(started)} of {total}, " if started else ""


def _cores() -> int:
    return os.cpu_count() or 1
