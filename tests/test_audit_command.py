"""The audit of the command line: a network out of a reader's file, told in one sentence a fault."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robustnb.auditing.command import in_pixels
from robustnb.cli import main

FILE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, images):
        return {"logits": self.net(images)}

ready = net()
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my nets.py"
    path.write_text(FILE)
    return path


def run(*arguments: str) -> Result:
    fixed = ["--data", "digits", "--images", "60", "--effort", "quick"]
    return CliRunner().invoke(main, ["audit", *arguments, *fixed])


def test_a_function_an_object_and_a_class_are_networks(file: Path) -> None:
    found = {}
    for name, options in {"net": (), "ready": (), "Head": ("--output", "logits")}.items():
        result = run(f"{file}:{name}", "--eps", "8/255", "--json", *options)
        assert result.exit_code == 0, result.output
        found[name] = json.loads(result.stdout)
    assert found["net"]["eps"] == pytest.approx(8 / 255)
    assert found["net"]["worst_case"] == found["ready"]["worst_case"]
    assert found["net"]["worst_case"] == found["Head"]["worst_case"]


def test_the_report_is_printed(file: Path) -> None:
    result = run(f"{file}:net", "--eps", "0.05")
    assert result.exit_code == 0, result.output
    assert "worst case" in result.output
    assert "At most" in result.output


@pytest.mark.parametrize(
    ("name", "eps", "sentence"),
    [
        ("net", "much", "eps is 'much': it must be a number, as 0.1 or 8/255."),
        ("net", "8/0", "eps is '8/0'"),
        ("net", "8", "divide by 255"),
        ("nett", "0.1", "has no 'nett': it has Head, net, nn, number, ready, torch."),
        ("number", "0.1", "is a int: it must be a torch.nn.Module"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(
    file: Path, name: str, eps: str, sentence: str
) -> None:
    result = run(f"{file}:{name}", "--eps", eps)
    assert result.exit_code == 1
    assert sentence in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.parametrize("place", ["nets.py", "nets.py:", ":net", "nets.py:my net", "none.py:net"])
def test_a_place_without_a_network_is_told(place: str) -> None:
    result = run(place, "--eps", "0.1")
    assert result.exit_code == 1
    assert "write FILE.py:NAME" in result.output


@pytest.mark.parametrize(
    ("text", "number"), [("0.1", 0.1), (".5", 0.5), ("8/255", 8 / 255), ("1e-2", 0.01), ("1", 1)]
)
def test_eps_may_be_a_fraction(text: str, number: float) -> None:
    assert in_pixels(text) == pytest.approx(number)
