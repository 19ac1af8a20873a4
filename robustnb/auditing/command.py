"""The audit of the command line: a network out of a file of the user's, images by their name."""

import re
import runpy
import sys
from pathlib import Path
from typing import cast

from torch import nn

from robustnb.attacks.common import NORMS, Norm
from robustnb.auditing.audit import audit
from robustnb.auditing.network import Output
from robustnb.auditing.report import Report
from robustnb.checks import check_one_of
from robustnb.data import load
from robustnb.devices import device


def audited(
    place: str,
    data: str,
    eps: str,
    norm: str,
    effort: str,
    num_images: int,
    size: int | None,
    output: str | None,
) -> Report:
    """Audit the network at FILE.py:NAME on the first test images of a data set.

    Raises ValueError, one sentence, for what cannot be read or audited.
    """
    radius = in_pixels(eps)
    check_one_of(NORMS, norm=norm)
    images, labels = load(data, size=size).split("test", num_images)
    model = network_at(place).to(device())
    part: Output | None = int(output) if output is not None and output.isdigit() else output
    return audit(model, images, labels, radius, cast(Norm, norm), effort, output=part)


def in_pixels(eps: str) -> float:
    """Return the number that a text such as 0.1 or 8/255 is."""
    found = re.fullmatch(r"\s*(\d*\.?\d+(?:e-?\d+)?)\s*(?:/\s*(\d+\.?\d*))?\s*", eps)
    if not found or (found[2] and not float(found[2])):
        raise ValueError(f"eps is {eps!r}: it must be a number, as 0.1 or 8/255.")
    return float(found[1]) / float(found[2] or 1)


def network_at(place: str) -> nn.Module:
    """Return the network that a name in a file is, or returns when it is called."""
    file, _, name = place.rpartition(":")
    if not file or not name.isidentifier():
        raise ValueError(f"{place!r} names no network: write FILE.py:NAME, as in nets.py:my_net.")
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {file}: write FILE.py:NAME, as in nets.py:my_net.")
    sys.path.insert(0, str(path.resolve().parent))  # for what it imports beside it
    try:
        found = runpy.run_path(str(path))
    finally:
        sys.path.pop(0)
    if name not in found:
        names = sorted(each for each in found if not each.startswith("_"))
        raise ValueError(f"{file} has no {name!r}: it has {', '.join(names) or 'no names'}.")
    network = found[name]
    if not isinstance(network, nn.Module) or isinstance(network, type):
        network = network() if callable(network) else network
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{place} is a {type(network).__name__}: it must be a torch.nn.Module, or a function "
            "that returns one when it is called with nothing."
        )
    return network
