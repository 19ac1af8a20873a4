"""The command line, and that the README, the Makefile and the lock say what is true of it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from click.testing import CliRunner, Result
from image_folders import make_own
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from robustnb import cli, reproduction
from robustnb.publishing.book import Book
from robustnb.results import papers, published
from robustnb.training import TrainingDiverged

README = (cli.ROOT / "README.md").read_text(encoding="utf-8")
LOCK = (cli.ROOT / "requirements.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((cli.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What takes no time, and changes nothing.
CHEAP = ("robustnb results", "robustnb data digits")

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    def running(*arguments: str) -> Result:
        return CliRunner().invoke(cli.main, list(arguments))

    return running


# What the README says. -----------------------------------------------------------------


def documented(program: str) -> list[str]:
    """Return the command lines of the README that call `program`."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", README)
    return sorted({line for line in lines if re.match(rf"(\w+=\w+ )*{program} ", line)})


@pytest.mark.parametrize("line", documented("robustnb"))
def test_a_command_of_the_readme_exists(line: str, run: Run) -> None:
    words = shlex.split(line)[1:]
    result = run(*words) if line in CHEAP else run(*words, "--help")
    assert result.exit_code == 0, result.output
    options = {word for word in words if word.startswith("--")}
    assert options <= set(re.findall(r"--[a-z-]+", run(words[0], "--help").output))


@pytest.mark.parametrize("line", documented("make"))
def test_a_target_of_the_readme_exists(line: str) -> None:
    # -n prints what would be run.
    command = ["env", *shlex.split(line), "-n"]
    shown = subprocess.run(command, cwd=cli.ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    called = shown.stdout.rpartition(".ready\n")[2]  # once everything is set up
    programs = re.findall(r"\.venv/bin/(\S+)(?: (\w+))?", called)
    assert all(Path(sys.executable).with_name(program).exists() for program, _ in programs)
    verb = re.sub(r".*make (\w+).*", r"\1", line)
    assert ("robustnb", verb) in programs or verb in ("test", "lab", "lint", "clean")
    assert programs or verb == "clean"


def test_the_readme_documents_every_command() -> None:
    commands = {line.split()[1] for line in documented("robustnb")}
    assert commands == set(cli.main.commands)


def test_every_file_that_the_readme_names_exists() -> None:
    names = re.findall(r"`([\w./]+/|[\w./]+\.(?:py|md|bib|txt|toml))`", README)
    homes = (cli.ROOT, cli.ROOT / "robustnb")
    later = {"book/results/"}  # made by the first measurement
    assert [n for n in names if n not in later and not any((h / n).exists() for h in homes)] == []


def test_the_readme_and_the_lock_name_the_command_that_makes_the_lock() -> None:
    command = re.search(r"uv pip compile .*", LOCK)
    assert command is not None
    assert f".venv/bin/{command.group()}" in README


def test_the_citation_is_of_this_version_and_of_the_papers() -> None:
    citation = yaml.safe_load((cli.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for key, value in {"title": "name", "version": "version", "license": "license"}.items():
        assert citation[key] == PROJECT[value]
    works = re.sub(r"[{}]", "", (cli.ROOT / "book/references.bib").read_text(encoding="utf-8"))
    assert len(citation["references"]) == len(papers())
    assert [work for work in citation["references"] if work["title"] not in works] == []


# The lock.


def test_the_lock_has_every_package_of_the_project_and_no_address() -> None:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    wanted = [Requirement(text) for group in groups for text in group]
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK, re.MULTILINE))
    for requirement in wanted:
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
    assert not re.search(r"https?:|--(extra-)?index|--find-links|file:", LOCK)


@pytest.mark.parametrize(("backend", "kept"), [("", True), ("cpu", False)])
def test_a_chosen_torch_backend_leaves_out_the_default_accelerator(
    backend: str, kept: bool
) -> None:
    command = ["make", "-n", "-B", "book", f"UV_TORCH_BACKEND={backend}"]
    shown = subprocess.run(command, cwd=cli.ROOT, capture_output=True, text=True, check=True)
    line = next(line for line in shown.stdout.splitlines() if "install" in line and "-r -" in line)
    pins = subprocess.run(
        line.rpartition(" | ")[0],
        shell=True,
        cwd=cli.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert bool(re.search(r"^(nvidia|cuda|triton)", pins, re.MULTILINE)) == kept
    assert "\ntorch==" in pins


# What the commands do.


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = "import sys, robustnb.cli; print('torch' in sys.modules, 'sphinx' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False False\n"


def test_results_count_the_published_cells(run: Run) -> None:
    found = json.loads(run("results", "--json").output)
    lines = [line.split() for line in run("results").output.splitlines()]
    assert lines[0] == ["paper", "table", "published", "smoke", "laptop", "paper"]
    for paper in found:
        rows = {line[1]: line[2:] for line in lines if line[0] == paper["paper"]}
        for table in paper["tables"]:
            cells = published(paper["paper"], table["table"])
            expected = [len(cells), *table["measured"].values()]
            assert [int(count) for count in rows[table["table"]]] == expected
        expected = [paper["claims"], *paper["decided"].values()]
        assert [int(count) for count in rows["claims"]] == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["book", "--profile", "big"], "Unknown profile 'big': use one of smoke, laptop, paper."),
        (["book", "--chapter", "x"], "Unknown chapter 'x': use one of intro, ten_minutes, "),
        (["serve", "--profile", "big"], "Unknown profile 'big': use one of smoke, laptop, paper."),
        (["reproduce", "x"], "Unknown paper 'x': use one of bayesian-weight-sampling"),
        (
            ["reproduce", "bayesian-weight-sampling", "--profile", "big"],
            "Unknown profile 'big': use one of smoke, laptop, paper.",
        ),
        (
            ["reproduce", "bang", "--table", "9"],
            "'9' is no table at profile smoke: accepted are 1, gradients",
        ),
        (["reproduce", "bang", "--seeds", "0"], "seeds is 0: it must be at least 1."),
        (["data", "mnits"], "did you mean 'mnist'?"),
        (["data", ""], "'' names no data: accepted are mnist-5k, digits, shapes, mnist, "),
        (["data", "digits", "--size", "8"], "digits has a size of its own"),
    ],
)
def test_bad_input_gets_one_sentence(arguments: list[str], sentence: str, run: Run) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1


def test_a_training_that_diverges_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise TrainingDiverged("The loss is nan at step 2.")

    monkeypatch.setattr(reproduction, "reproduce", diverge)
    result = run("reproduce", "bang")
    assert result.exit_code == 1
    assert result.output == "Error: The loss is nan at step 2.\n"


def test_reproduce_stores_what_was_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def record(*call: object, replace: bool) -> list[dict[str, object]]:
        calls.append((*call, replace))
        return [{}, {}]

    monkeypatch.setattr(reproduction, "reproduce", record)
    result = run("reproduce", "bang", "--profile", "laptop", "--seeds", "3")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Stored 2 rows of bang at profile laptop")
    run("reproduce", "bang", "--table", "1", "--table", "grid", "--replace")
    assert calls == [("bang", "laptop", 3, None, False), ("bang", "smoke", 1, ("1", "grid"), True)]


def test_serve_prints_the_address_of_the_book(built_book: Path) -> None:
    command = [Path(sys.executable).with_name("robustnb"), "serve", "--port", "0"]
    unbuffered = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=unbuffered, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://localhost:\d+", server.stdout.readline())
            assert address is not None
            with urlopen(address.group()) as page:
                assert page.read() == (built_book / "index.html").read_bytes()
        finally:
            server.terminate()
    with pytest.raises(URLError):
        urlopen(address.group())


@pytest.mark.usefixtures("built_book")
def test_serve_names_a_port_that_is_taken(run: Run) -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("serve", "--port", port)
    assert result.exit_code == 1
    assert f"Port {port} cannot be used" in result.output


def test_data_crops_and_resizes_a_folder(run: Run, tmp_path: Path, cache_folder: Path) -> None:
    make_own(tmp_path / "own")
    shown = run("data", str(tmp_path / "own"), "--size", "3").stdout
    assert shown.startswith("own: 21 images of 3×3×3 in 3 classes; ")
    assert shown.endswith("; ant 7, bee 7, cat 7\n")


def test_lab_serves_the_chapters_at_the_port_and_ends_when_told(tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab")
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    options = ["--allow-root", "--log-level=ERROR", "--IdentityProvider.token="]
    command = [Path(sys.executable).with_name("robustnb"), "lab", "--no-browser", *options]
    settings = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "RUNTIME")}
    with subprocess.Popen([*command, "--port", str(port)], env=os.environ | settings) as server:
        try:
            address = f"http://localhost:{port}/api/contents"
            names = {entry["name"] for entry in json.load(answer(address, server))["content"]}
        finally:
            server.terminate()
    assert {chapter.name + ".ipynb" for chapter in Book(cli.ROOT, "smoke").chapters()} <= names
    with pytest.raises(URLError):
        urlopen(address)


def answer(address: str, server: subprocess.Popen[bytes]) -> Any:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            return urlopen(address)
        except URLError:
            time.sleep(0.1)
    raise RuntimeError(f"Nothing answered at {address}.")


def test_lab_says_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    result = run("lab")
    assert result.exit_code == 1
    assert result.output.startswith("Error: JupyterLab is not installed: ")


def test_clean_removes_what_was_built(tmp_path: Path) -> None:
    (tmp_path / "_build/smoke").mkdir(parents=True)
    (tmp_path / "book/results").mkdir(parents=True)
    makefile = ["make", "-f", str(cli.ROOT / "Makefile"), "-C", str(tmp_path)]
    subprocess.run([*makefile, "clean"], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["book"]
