"""An explorable with a kernel behind it, in a real JupyterLab."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest
import torch
from pages import LINE
from playwright.sync_api import Locator, Page, expect

from robustnb.widgets.bang import BangExplorer

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]
pytest.importorskip("jupyterlab")

MOST = 120_000  # milliseconds, for a busy machine

CELLS = (
    """import ipywidgets, torch
from robustnb.widgets.bang import BangExplorer
explorer = BangExplorer({"first": torch.tensor([1.0, 0.1, 0.02, 0.5])}, eps=0.5)
text = ipywidgets.Label()
ipywidgets.dlink((explorer, "eps"), (text, "value"), lambda eps: f"Python has {eps:g}.")
ipywidgets.VBox([explorer, text])""",
    "explorer.eps = 0.2",
    "explorer.eps = 7",
    """from torch import nn
from robustnb.data import load
from robustnb.widgets.attack import AttackExplorer
class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(784, 784), nn.Linear(784, 10)
    def forward(self, images):
        return self.last(images.flatten(1) + self.inner(images.flatten(1)).tanh())
attack = AttackExplorer(Residual(), *(part[:3] for part in load("digits").split("test")))
attack""",
    """from robustnb.attacks.gradient import FGSM
from robustnb.models import predict
images, labels = attack._images[1:2], torch.tensor(attack.labels[1:2])
model = attack._shown["network"]
shares = predict(model, FGSM(attack.eps)(model, images, labels)).softmax(1)[0]
f"At ε {attack.eps:g}: {attack.image}, {shares.argmax()} ({100 * shares.max():.0f}%)\"""",
)


def reopened() -> nbformat.NotebookNode:
    """Return a notebook with the output of an explorable whose kernel is gone."""
    explorer = BangExplorer({"first": torch.tensor([1.0, 0.1, 0.02, 0.5])}, eps=0.5)
    data, _ = explorer._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data)
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])


@pytest.fixture(scope="module")
def folder_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve notebooks in JupyterLab, in its dark theme; it asks no other host for news."""
    tmp_path = tmp_path_factory.mktemp("lab")
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    (settings / "themes.jupyterlab-settings").write_text('{"theme": "JupyterLab Dark"}')
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "try.ipynb")
    nbformat.write(reopened(), tmp_path / "reopened.ipynb")
    port = _free_port()
    server = subprocess.Popen(_command(port), cwd=tmp_path, env=os.environ | _folders(tmp_path))
    try:
        _wait_for(f"http://127.0.0.1:{port}/api", server)
        yield f"http://127.0.0.1:{port}/lab/workspaces"
    finally:
        server.terminate()  # and its kernel with it
        server.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _command(port: int) -> list[str]:
    server = {"ip": "127.0.0.1", "port": port, "port_retries": 0, "token": "", "allow_root": True}
    options = [f"--ServerApp.{name}={value}" for name, value in server.items()]
    return [sys.executable, "-m", "jupyterlab", "--no-browser", "--log-level=ERROR", *options]


def _folders(folder: Path) -> dict[str, str]:
    """Keep the settings of whoever runs the test out of it, and theirs as they are."""
    names = [f"JUPYTER_{kind}_DIR" for kind in ("CONFIG", "DATA", "RUNTIME")]
    own = {name: str(folder / name) for name in [*names, "JUPYTERLAB_WORKSPACES_DIR"]}
    return own | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + MOST / 1000
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(address).close()
            return
        except URLError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not answer at {address}.")


def run_next(page: Page, number: int) -> Locator:
    """Run the notebook's next cell, and return it when it has run."""
    cell = page.locator(".jp-Notebook-cell").nth(number)
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputPrompt").first).to_have_text(f"[{number + 1}]:", timeout=MOST)
    return cell


def colours(explorer: Locator) -> list[list[int]]:
    """Return the colour under the controls and that of the line around them, as RGB."""
    found = explorer.locator(".explorable-controls").evaluate(
        """(controls) => {
          const { backgroundColor, borderTopColor } = getComputedStyle(controls);
          return [backgroundColor, borderTopColor];
        }"""
    )
    return [[int(number) for number in re.findall(r"\d+", colour)[:3]] for colour in found]


def test_a_reopened_notebook_shows_a_still_picture(visit: Visit, folder_address: str) -> None:
    """It is not trusted, so that JupyterLab drops the widget, its scripts and its <svg>."""
    with visit(f"{folder_address}/old/tree/reopened.ipynb") as page:
        output = page.locator(".jp-RenderedHTMLCommon")
        output.get_by_role("img").wait_for(timeout=MOST)
        assert output.get_by_role("img").evaluate("image => image.naturalWidth") > 100
        text = " ".join(output.inner_text().split())
        assert text.startswith(
            "Layer first at ε = 0.5 and β = 1. The 1 largest of 4 gradients make"
        )
        assert text.endswith("The controls need JavaScript.")


def test_an_explorable_and_its_kernel_stay_in_step(visit: Visit, folder_address: str) -> None:
    from browser import axe_findings  # where pytest has prepared it

    with visit(f"{folder_address}/new/tree/try.ipynb") as page:
        status = page.locator("#jp-main-statusbar", has_text="| Idle")
        status.wait_for(timeout=MOST)
        page.locator(".jp-Notebook-cell .jp-InputPrompt").first.click()
        explorer = run_next(page, 0)
        slider = explorer.get_by_label("ε")
        expect(explorer.locator(LINE)).to_contain_text("ε 0.5", timeout=MOST)

        run_next(page, 1)
        expect(explorer.locator(LINE)).to_contain_text("ε 0.2")
        expect(slider).to_have_value("40")

        expect(run_next(page, 2)).to_contain_text("TraitError: eps is 7.0: it must be from 0 to 1.")
        expect(slider).to_have_value("40")

        slider.press("ArrowRight")  # in command mode it would be the notebook's
        expect(explorer.locator(LINE)).to_contain_text("ε 0.205")
        expect(explorer).to_contain_text("Python has 0.205.")

        ground, edge = colours(explorer)
        assert sum(ground) < 3 * 128
        assert max(abs(one - other) for one, other in zip(ground, edge, strict=True)) > 20
        assert axe_findings(page, ".explorable") == []

        page.locator(".jp-Notebook-cell .jp-InputPrompt").nth(3).click()
        own = run_next(page, 3)
        expect(own.locator(LINE)).to_contain_text("At ε 0.1 the network", timeout=MOST)
        own.get_by_role("radio").nth(1).check(force=True)
        slider = own.get_by_label("strength ε")
        for _ in range(7):
            slider.press("ArrowRight")
        expect(own.locator(LINE)).to_contain_text("At ε 0.17 the network", timeout=MOST)
        page.locator(".jp-Notebook-cell .jp-InputPrompt").nth(4).click()
        computed = run_next(page, 4).locator(".jp-OutputArea-output").inner_text()
        eps, image, answer = re.findall(r"ε (\S+): (\d), (\d \(\d+%\))", computed)[0]
        assert (eps, image) == ("0.17", "1")
        expect(own.locator(LINE)).to_contain_text(re.compile(rf"says {re.escape(answer)}"))
