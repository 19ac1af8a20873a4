"""The command line: build and read the book, and measure again what its papers print."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any

import click

from robustnb.publishing.book import ROOT, Book
from robustnb.publishing.errors import require
from robustnb.reproduction import coverage
from robustnb.results import PROFILES

profile_option = click.option(
    "--profile", default="smoke", show_default=True, help=f"How much work: {', '.join(PROFILES)}."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="robustnb")
def main() -> None:
    """Build and read the book, and measure again what its papers print."""
    # As Ctrl-C does, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@main.command()
@profile_option
@click.option("--chapter", metavar="NAME", help="Execute this chapter alone.")
def book(profile: str, chapter: str | None) -> None:
    """Execute the chapters that changed and render the book."""
    from robustnb.publishing.build import build

    click.echo(f"Open {build(profile, chapter)}")


@main.command()
@profile_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes any that is free.",
)
def serve(profile: str, port: int) -> None:
    """Serve the rendered book on this machine."""
    html = Book(ROOT, profile).html
    if not html.exists():
        raise click.ClickException(
            f"Nothing to serve: build it first with robustnb book --profile {profile}."
        )
    try:
        server = ThreadingHTTPServer(("localhost", port), partial(_Quiet, directory=str(html)))
    except OSError as error:
        raise click.ClickException(
            f"Port {port} cannot be used ({error.strerror}): choose another with --port."
        ) from error
    click.echo(f"Serving {html} at http://localhost:{server.server_port} (Ctrl-C stops)")
    server.serve_forever()


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--port", type=click.IntRange(1, 65535), help="JupyterLab's choice unless given.")
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def lab(port: int | None, no_browser: bool, options: tuple[str, ...]) -> None:
    """Open the chapters in JupyterLab, to which further OPTIONS are handed on."""
    if find_spec("jupyterlab") is None:
        raise click.ClickException(
            f"JupyterLab is not installed: {sys.executable} -m pip install jupyterlab"
        )
    command = [sys.executable, "-m", "jupyterlab", str(ROOT / "book"), *options]
    command += [f"--port={port}"] if port else []
    command += ["--no-browser"] if no_browser else []
    os.execv(sys.executable, command)  # so that Ctrl-C and signals are JupyterLab's own


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def results(as_json: bool) -> None:
    """Count, per paper and table, what was measured at each profile."""
    with _in_one_sentence():
        found = coverage()
    click.echo(json.dumps(found, indent=2) if as_json else _coverage_text(found))


@main.command()
@click.argument("paper")
@profile_option
@click.option("--seeds", default=1, show_default=True, help="How many random seeds.")
@click.option("--table", "tables", metavar="NAME", multiple=True, help="Only this one; may repeat.")
@click.option("--replace", is_flag=True, help="Replace rows that rest on more seeds, too.")
def reproduce(paper: str, profile: str, seeds: int, tables: tuple[str, ...], replace: bool) -> None:
    """Measure the tables of PAPER again.

    The rows are stored in book/results, in the place of those of the same profile (with --table, of
    the same cells).
    """
    from robustnb import reproduction

    require("paper", paper, reproduction.reproducible())
    require("profile", profile, PROFILES)
    with _in_one_sentence():
        rows = reproduction.reproduce(paper, profile, seeds, tables or None, replace=replace)
    click.echo(f"Stored {len(rows)} rows of {paper} at profile {profile} in book/results.")


@main.command()
@click.argument("paper")
@click.option("--profile", default="paper", show_default=True, help="As trained at this profile.")
@click.option("--seed", default=0, show_default=True, help="As trained from this seed.")
def weights(paper: str, profile: str, seed: int) -> None:
    """Keep the networks of PAPER that its pages show in book/weights; train what is missing."""
    from robustnb.reproduction import keep_weights

    with _in_one_sentence():
        for facts in keep_weights(paper, profile, seed):
            click.echo(str(facts))


@main.command()
@click.argument("name")
@click.option("--size", type=int, help="Crop and resize a folder's images to so many pixels.")
def data(name: str, size: int | None) -> None:
    """Load the data set NAME (or a folder) and describe it."""
    from robustnb.data import load

    with _in_one_sentence():
        click.echo(str(load(name, size=size)))


@main.command()
@click.argument("network", metavar="FILE.py:NAME")
@click.option("--data", "data_name", required=True, help="A data set's name, or your folder.")
@click.option("--eps", required=True, help="How far a pixel may move, from 0 to 1, as in 8/255.")
@click.option("--norm", default="linf", show_default=True, help="linf or l2.")
@click.option("--effort", default="standard", show_default=True, help="quick, standard, thorough.")
@click.option("--images", "num_images", type=int, default=1_000, show_default=True)
@click.option("--size", type=int, help="Crop and resize a folder's images to so many pixels.")
@click.option("--output", help="Key or index of the logits, where the network returns more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def audit(
    network: str,
    data_name: str,
    eps: str,
    norm: str,
    effort: str,
    num_images: int,
    size: int | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Attack the network that NAME in FILE.py is, or returns when it is called.

    Images are the first of the test split. With ROBUSTNB_DEVICE the network is moved there.
    """
    from robustnb.auditing.command import audited

    with _in_one_sentence():
        report = audited(network, data_name, eps, norm, effort, num_images, size, output)
    click.echo(report.json() if as_json else str(report))


class _Quiet(SimpleHTTPRequestHandler):
    """A handler that does not log every request."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    """Show an error of what was asked for as its message alone, without the traceback."""
    from robustnb.training import TrainingDiverged  # here, as it takes torch a second to load

    try:
        yield
    except (ValueError, OSError, TrainingDiverged) as error:
        raise click.ClickException(str(error)) from error


def _coverage_text(found: Sequence[dict[str, Any]]) -> str:
    header = ("paper", "table", "published", *PROFILES)
    rows: list[tuple[object, ...]] = [header]
    for paper in found:
        for table in paper["tables"]:
            counts = [table["measured"][profile] for profile in PROFILES]
            rows.append((paper["paper"], table["table"], table["published"], *counts))
        decided = [paper["decided"][profile] for profile in PROFILES]
        rows.append((paper["paper"], "claims", paper["claims"], *decided))
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(header))]
    return "\n".join(_aligned(row, widths) for row in rows)


def _aligned(row: Sequence[object], widths: Sequence[int]) -> str:
    names = [str(text).ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
    counts = [str(text).rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join(names + counts)
