"""Notebooks as the dicts that their files hold."""

import json
import re
from pathlib import Path
from typing import Any

from robustnb.files import write_whole

Notebook = dict[str, Any]
Cell = dict[str, Any]

# What a widget's HTML shares with others (robustnb/widgets/static.py): its id is its content's.
_SHARED_TEXT = re.compile(
    r'<(style|script type="text/plain") id="(robustnb-[0-9a-f]+)">.*?</(?:style|script)>', re.DOTALL
)
_CELL_FIELDS = {"cell_type", "metadata", "source"}
# What tqdm's bars and those of ipywidgets are without a kernel: a text that never moves.
_PROGRESS_BAR = re.compile(r"\d%\||\[\d\d:\d\d[<,]|^(Int|Float)Progress\(")
_NOT_SHOWN = {"remove-cell", "remove-output", "remove_cell", "remove_output"}


def read_notebook(path: Path) -> Notebook:
    """Read a notebook.

    Raises ValueError, with a reason that names the file, if it holds none.
    """
    try:
        notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no valid JSON ({error})") from error
    if not _is_notebook(notebook):
        raise ValueError(f"{path.name} is no notebook of version 4, as JupyterLab saves it")
    return notebook


def _is_notebook(found: Any) -> bool:
    cells = found.get("cells") if isinstance(found, dict) else None
    return (
        isinstance(cells, list)
        and isinstance(found.get("metadata"), dict)
        and all(isinstance(cell, dict) and cell.keys() >= _CELL_FIELDS for cell in cells)
    )


def write_notebook(path: Path, notebook: Notebook) -> None:
    """Write a notebook to `path`, whole or not at all."""
    write_whole(path, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")


def tags(cell: Cell) -> list[str]:
    """Return the tags of a cell."""
    return list(cell["metadata"].get("tags", []))


def code_cells(notebook: Notebook) -> list[Cell]:
    """Return the code cells, without the one that papermill adds."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell for cell in cells if "injected-parameters" not in tags(cell)]


def started_cells(path: Path) -> tuple[list[Cell], int]:
    """Return the code cells that papermill has begun to execute, and how many there are."""
    try:
        cells = code_cells(read_notebook(path))
    except (ValueError, OSError):  # papermill is writing it, or has not begun
        return [], 0
    return [c for c in cells if c["metadata"].get("papermill", {}).get("start_time")], len(cells)


def drop_traces(notebook: Notebook) -> None:
    """Drop what papermill and the widgets note in a notebook, and hide the cell that was added."""
    for place in (notebook, *notebook["cells"]):
        place["metadata"].pop("papermill", None)
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        if "injected-parameters" in tags(cell):
            cell["metadata"]["tags"].append("remove-cell")


def drop_progress_bars(notebook: Notebook) -> None:
    """Drop the progress bars that a page would show as they began, at 0%."""
    for cell in code_cells(notebook):
        cell["outputs"] = [output for output in cell["outputs"] if not _is_progress_bar(output)]


def _is_progress_bar(output: dict[str, Any]) -> bool:
    data = output.get("data", {})
    is_widget = any("widget-view" in kind for kind in data)
    return is_widget and bool(_PROGRESS_BAR.search("".join(data.get("text/plain", ""))))


def share_texts(notebook: Notebook) -> None:
    """Drop, from the outputs that a page shows, the second copies of what widgets share."""
    seen: set[str] = set()

    def first_copy(match: re.Match[str]) -> str:
        known = match[2] in seen
        seen.add(match[2])
        return "" if known else match[0]

    for cell in notebook["cells"]:
        if _NOT_SHOWN & set(tags(cell)):
            continue
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data["text/html"] = _SHARED_TEXT.sub(first_copy, "".join(data["text/html"]))
