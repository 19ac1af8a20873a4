"""Say in one paragraph why a chapter could not be executed."""

import re
from pathlib import Path

import click
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from robustnb.publishing.chapter import PACKAGE, Chapter, duration
from robustnb.publishing.notebook import started_cells

_FRAME = re.compile(r"^File (\S+?):(\d+)", re.MULTILINE)


def explain(chapter: Chapter, error: Exception, limit: int) -> str:
    """Return where the chapter failed, with the first line of the cell, and what went wrong.

    `limit` is the number of seconds that a cell was allowed to take.
    """
    place = f"Chapter {chapter.name} failed at profile {chapter.profile}"
    started, _ = started_cells(chapter.partial)
    if not started:
        return f"{place} before its first cell:\n{_reason(error, limit)}"
    first = "".join(started[-1]["source"]).strip().partition("\n")[0]
    where = f"in code cell {len(started)}, which begins\n    {first}"
    return f"{place}, {where}\n{_reason(error, limit)}"


def _reason(error: Exception, limit: int) -> str:
    if isinstance(error, PapermillExecutionError):
        return _exception(error)
    if isinstance(error, CellTimeoutError):
        return f"It took longer than {duration(limit)}, so it was stopped."
    if isinstance(error, DeadKernelError):
        return "The kernel died, as it does when memory runs out."
    return f"{type(error).__name__}: {error}"


def _exception(error: PapermillExecutionError) -> str:
    """Return the exception in a line or two, with the deepest file of ours that it came through."""
    message = f"{error.ename}: {error.evalue}"
    frames = _FRAME.findall(click.unstyle("\n".join(error.traceback)))
    ours = [(path, line) for path, line in frames if Path(path).is_relative_to(PACKAGE)]
    if not ours:
        return message
    path, line = ours[-1]
    return f"{message}\n(raised in {Path(path).relative_to(PACKAGE.parent)}, line {line})"
