"""Networks of a paper's tables as the book keeps them, so that its pages run what was measured."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robustnb.data import Dataset
from robustnb.devices import device
from robustnb.files import whole
from robustnb.fingerprint import fingerprint
from robustnb.judging import passes, single_draws
from robustnb.models import copied
from robustnb.papers.images import Images, loaded
from robustnb.papers.pieces import Piece, result
from robustnb.randomness import seeded, stochastic_layers
from robustnb.results import BOOK

DRAWS = 10  # over which the accuracy of a stochastic network is averaged


@dataclass(frozen=True)
class OfTable:
    """A network of a table: its training, whose result has it as `model`, and its test images."""

    table: str
    trained: Piece
    images: Images


@dataclass(frozen=True)
class Facts:
    """Say which network of a paper it is, and the accuracy (0 to 1) with the weights as kept."""

    paper: str
    table: str
    name: str
    profile: str
    seed: int
    dataset: str
    digest: str
    accuracy: float
    num_images: int

    def __str__(self) -> str:
        return (
            f"{self.name} of Table {self.table}: right on {self.accuracy:.1%} of "
            f"{self.num_images:,} test images of {self.dataset}"
        )


@dataclass(frozen=True)
class Kept:
    """A network in evaluation mode, and what is known of it."""

    model: nn.Module
    facts: Facts


def path_of(paper: str, folder: Path = BOOK) -> Path:
    """Return the file that holds a paper's networks."""
    return folder / "weights" / f"{paper}.safetensors"


def write(
    paper: str, profile: str, seed: int, networks: Mapping[str, OfTable], folder: Path = BOOK
) -> list[Facts]:
    """Keep networks with the book, at half precision; train those that are not trained yet."""
    tensors: dict[str, Tensor] = {}
    facts = []
    for name, network in networks.items():
        model = copied(result(network.trained).model).half().float()
        weights = model.state_dict()
        tensors |= {f"{name}/{key}": weights[key].half().contiguous() for key in weights}
        dataset = loaded(network.images.dataset, network.images.splits)
        accuracy, number = _accuracy(model, network.images)
        facts.append(
            Facts(
                *(paper, network.table, name, profile, seed),
                *(dataset.name, dataset.digest, accuracy, number),
            )
        )
    with whole(path_of(paper, folder)) as part:
        about = json.dumps([asdict(each) for each in facts])
        save_file(
            tensors, part, {"networks": about, "digest": fingerprint(sorted(tensors.items()))}
        )
    return facts


def _accuracy(model: nn.Module, images: Images) -> tuple[float, int]:
    pictures, labels = images.load()
    draws = DRAWS if stochastic_layers(model) else 1
    logits = passes(model.to(device()))(pictures, draws, seeded(0, device()))
    return single_draws(logits, labels).mean().item(), len(labels)


def read(paper: str, untrained: Callable[[str], nn.Module], folder: Path = BOOK) -> dict[str, Kept]:
    """Return the networks that the book keeps of a paper, by their names in its tables.

    `untrained(name)` builds a network of the same layers. Raises ValueError if there is no file, or
    another one than was written.
    """
    path = path_of(paper, folder)
    if not path.is_file():
        raise ValueError(f"{path} is missing: it holds the networks that the book keeps.")
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        if about["digest"] != fingerprint(sorted(tensors.items())):
            raise ValueError("its tensors are others than when it was written")
        facts = [Facts(**each) for each in json.loads(about["networks"])]
        return {
            each.name: Kept(_loaded(tensors, each, untrained(each.name)), each) for each in facts
        }
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is damaged, or does not hold the networks of {paper}: "
            f"robustnb weights {paper} writes it anew."
        ) from error


def _loaded(tensors: Mapping[str, Tensor], facts: Facts, model: nn.Module) -> nn.Module:
    names = model.state_dict()
    model.load_state_dict({key: tensors[f"{facts.name}/{key}"].float() for key in names})
    return model.eval()


def described(networks: Mapping[str, Kept], dataset: Dataset) -> str:
    """Say what each of some networks is, by its name on a page that shows them this data set."""
    each = (
        f"*{name}*: {kept.facts.name} of Table {kept.facts.table} ({kept.facts.accuracy:.1%})"
        for name, kept in networks.items()
    )
    facts = next(iter(networks.values())).facts
    seen = " The digits of this page are from MNIST's training images." * (
        dataset.name == "mnist-5k"
    )
    return (
        f"Networks of this book's tables, trained on {facts.dataset} at profile `{facts.profile}`, "
        f"seed {facts.seed}; in brackets the share of {facts.num_images:,} test images that they "
        f"read rightly. {'; '.join(each)}.{seen}"
    )
