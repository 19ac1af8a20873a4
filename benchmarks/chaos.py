"""Kill, damage and repeat: count what is lost, stale or silently wrong afterwards.

Run as `TQDM_DISABLE=1 python benchmarks/chaos.py`, or with smaller numbers, such as `--kills 2
--builds 1 --entries 40 --rows 10`. All of it happens in temporary folders. A count whose name
begins with "not" is of what must not be: if any is above 0, the command ends with 1.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch import nn

from robustnb.data import load
from robustnb.papers.kept import read_or_warn, write
from robustnb.publishing.chapter import Chapter
from robustnb.publishing.notebook import read_notebook
from robustnb.randomness import initial_weights, seeded
from robustnb.results import BOOK, Row, read_rows, write_rows
from robustnb.training import fit

PAPER = "bayesian-weight-sampling"
REPRODUCE = f"""
import sys
from pathlib import Path
from robustnb.reproduction import reproduce
reproduce({PAPER!r}, "smoke", 1, folder=Path(sys.argv[1]), replace=True)
"""
BUILD = """
import sys
from pathlib import Path
from robustnb.publishing.build import build
build(root=Path(sys.argv[1]))
"""
MEASURED = ("table", "row", "column", "value", "values", "settings", "digest")  # and not its time
rng = random.Random(0)


def main() -> None:
    """Run all four, and print a line of counts for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, number in (("kills", 20), ("builds", 10), ("entries", 400), ("rows", 40)):
        parser.add_argument(f"--{name}", type=int, default=number)
    asked = parser.parse_args()
    runs = (
        ("kills of a reproduction", kill_reproductions, asked.kills),
        ("kills of a build", kill_builds, asked.builds),
        ("damaged entries of caches", damage_entries, asked.entries),
        ("damaged rows", damage_rows, asked.rows),
    )
    wrong = 0
    for what, run, number in runs:
        if not number:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ROBUSTNB_CACHE"] = str(Path(folder, "cache"))
            started, counts = time.monotonic(), run(Path(folder), number)
        wrong += sum(counts[name] for name in counts if name.startswith("not "))
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{number} {what}: {told} ({time.monotonic() - started:.0f} s)", flush=True)
    sys.exit(bool(wrong))


def killed(command: str, folder: Path, longest: float) -> Iterator[int]:
    """Kill a command after a random time; yield how many of its processes are left after 5 s."""
    with subprocess.Popen(
        [sys.executable, "-c", command, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as started:
        end = time.monotonic() + rng.uniform(0, longest)
        below: set[psutil.Process] = set()
        while time.monotonic() < end and started.poll() is None:
            with suppress(psutil.NoSuchProcess):
                below |= set(psutil.Process(started.pid).children(recursive=True))
            time.sleep(0.2)
        started.send_signal(signal.SIGKILL)
    _, left = psutil.wait_procs(below, timeout=5)
    yield len([each for each in left if each.status() != psutil.STATUS_ZOMBIE])


def completed(command: str, folder: Path) -> float:
    """Let a command come to its end; return its seconds."""
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", command, str(folder)], check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - started


def kill_reproductions(folder: Path, number: int) -> Counter[str]:
    """Kill reproductions at random moments, and compare the rows with those of one that was not."""
    counts: Counter[str] = Counter(
        {"not ended processes": 0, "not readable rows": 0, "not the same rows": 0}
    )
    for name in ("at once", "killed"):
        shutil.copytree(BOOK / "published", folder / name / "published")
    seconds = completed(REPRODUCE, folder / "at once")
    os.environ["ROBUSTNB_CACHE"] = str(folder / "another cache")
    for _ in range(number):
        for left in killed(REPRODUCE, folder / "killed", min(seconds / 2, 20)):
            counts["not ended processes"] += left
        try:
            read_rows(PAPER, folder=folder / "killed")
        except ValueError:
            counts["not readable rows"] += 1
    completed(REPRODUCE, folder / "killed")
    one, other = (measured(read_rows(PAPER, folder=folder / n)) for n in ("at once", "killed"))
    counts["not the same rows"] = sum(a != b for a, b in zip(one, other, strict=True))
    counts["rows"] = len(one)
    return counts


def measured(rows: list[Row]) -> list[Any]:
    return [[row[name] for name in MEASURED] for row in rows]


def kill_builds(folder: Path, number: int) -> Counter[str]:
    """Kill builds of a chapter that changes between them; the last page is of the last text."""
    counts: Counter[str] = Counter(
        {"not ended processes": 0, "not whole copies": 0, "not of its text": 0, "not rendered": 0}
    )
    (folder / "book").mkdir()
    (folder / "book/intro.md").write_text("# Front\n")
    (folder / "book/references.bib").touch()
    shutil.copy(BOOK.parent / "_config.yml", folder)
    toc = "format: jb-book\nroot: book/intro\nchapters:\n- file: book/waves\n"
    (folder / "_toc.yml").write_text(toc)
    write_chapter(folder, 0)
    seconds = completed(BUILD, folder)
    for text in range(1, number + 1):
        write_chapter(folder, text)
        for left in killed(BUILD, folder, seconds):
            counts["not ended processes"] += left
        chapter = chapter_of(folder)
        counts["not whole copies"] += chapter.executed.exists() and not chapter.record()
        counts["not of its text"] += chapter.is_current() and printed(chapter) != text
    completed(BUILD, folder)
    page = (folder / "_build/smoke/html/book/waves.html").read_text(encoding="utf-8")
    counts["not rendered"] = int(f"text {number} of waves" not in page)
    return counts


def write_chapter(root: Path, text: int) -> None:
    """Write a chapter that prints the number of its text after a second."""
    sources = {
        'profile = "smoke"': ["parameters", "remove-cell"],
        'class Data:\n    def __repr__(self):\n        return "dots: 1; digest 0"\nData()': [
            "dataset"
        ],
        f"import time\ntime.sleep(1)\nprint('text {text} of waves')": [],
    }
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "metadata": {"tags": tags}, "source": source, "outputs": []}
        | {"execution_count": None}
        for source, tags in sources.items()
    ]
    title = {"cell_type": "markdown", "metadata": {}, "source": "# waves\n\nIts question."}
    notebook = {"cells": [title, *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (root / "book/waves.ipynb").write_text(json.dumps(notebook))


def chapter_of(root: Path) -> Chapter:
    return Chapter(root / "book/waves.ipynb", root / "_build/smoke/chapters", "smoke")


def printed(chapter: Chapter) -> int:
    """Return the number that the executed chapter printed."""
    output = read_notebook(chapter.executed)["cells"][-1]["outputs"][0]
    return int("".join(output["text"]).split()[1])


def damage_entries(folder: Path, number: int) -> Counter[str]:
    """Flip a bit in what is kept of results, images and trainings; count what is not noticed."""
    kinds = (damaged_result, damaged_images, damaged_checkpoint)
    counts = Counter({"noticed": 0, "not noticed": 0, "not made again": 0})
    for turn in range(number):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            is_right = kinds[turn % len(kinds)](folder)
        counts["noticed" if any("damaged" in str(w.message) for w in told) else "not noticed"] += 1
        counts["not made again"] += not is_right
    return counts


def flip(path: Path) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def damaged_result(folder: Path) -> bool:
    """Damage a result; tell whether none is found then."""
    path = folder / "result"
    write(path, [torch.rand(50), nn.Linear(3, 2)] if rng.random() < 0.5 else {"a": torch.rand(50)})
    flip(path)
    return read_or_warn(path) is None


def damaged_images(folder: Path) -> bool:
    """Damage decoded images; tell whether the next load has those of the files."""
    own = folder / "own"
    for name in ("ant", "bee"):
        if not (own / name).exists():
            (own / name).mkdir(parents=True)
            for i in range(12):
                pixels = np.random.default_rng(i).integers(0, 256, (5, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(own / name / f"{i}.png")
    expected = load(own).digest
    (entry,) = (folder / "cache/own").iterdir()
    flip(rng.choice(list(entry.iterdir())))
    images = load(own).images
    pixels = {tuple(image.flatten().tolist()) for image in images}
    return load(own).digest == expected and len(pixels) == 12


def damaged_checkpoint(folder: Path) -> bool:
    """Damage a checkpoint; tell whether the training goes on to the weights of a whole one."""
    path = folder / "run.safetensors"
    path.unlink(missing_ok=True)
    expected = trained(None, 2)
    trained(path, 1)
    flip(path)
    return torch.equal(trained(path, 2), expected)


def trained(checkpoint: Path | None, epochs: int) -> torch.Tensor:
    """Train a small network, and return its weights."""
    with initial_weights(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    data = (torch.rand(40, 1, 4, 4, generator=seeded(0)), torch.arange(40) % 3)
    settings: dict[str, Any] = {"patience": None, "keep": "last", "progress": False}
    settings |= {"generator": seeded(1), "optimizer": torch.optim.Adam(model.parameters())}
    fit(model, data, data, epochs=epochs, checkpoint=checkpoint, **settings)
    weights: torch.Tensor = model[1].weight.detach()
    return weights


def damage_rows(folder: Path, number: int) -> Counter[str]:
    """Change one number or text of a printed table's stored row; count what is read as if whole."""
    shutil.copytree(BOOK / "published", folder / "published")
    printed = [row for row in read_rows(PAPER, "paper") if row["table"] in ("1", "2", "3", "4")]
    counts: Counter[str] = Counter({"told": 0, "not told": 0, "not in one sentence": 0})
    for _ in range(number):
        path = write_rows(PAPER, "paper", printed, folder)
        rows = json.loads(path.read_text())
        rng.choice(CHANGES)(rng.choice(rows))
        path.write_text(json.dumps(rows))
        try:
            read_rows(PAPER, folder=folder)
            counts["not told"] += 1
        except ValueError as error:
            counts["told"] += 1
            counts["not in one sentence"] += "\n" in str(error)
    return counts


def change(name: str, of: Callable[[Any], Any]) -> Callable[[Row], None]:
    return lambda row: row.update({name: of(row[name])})


CHANGES = (
    *(change(name, lambda text: text + "x") for name in ("row", "column", "unit")),
    *(change(name, lambda text: text[1:]) for name in ("paper", "profile", "digest")),
    *(change(name, lambda number: number + 1) for name in ("value",)),
    *(change(name, lambda number: -number - 1) for name in ("num_images", "seconds")),
    *(change(name, str) for name in ("value", "values", "seeds", "num_images", "settings")),
    *(change(name, lambda _: None) for name in ("value", "values", "seeds", "dataset", "device")),
    change("values", lambda values: [*values, 1.0]),
    change("seeds", lambda seeds: [*seeds, seeds[0]]),
    lambda row: row.pop("seconds"),
    lambda row: row.update(note="by hand"),
)


if __name__ == "__main__":
    main()
