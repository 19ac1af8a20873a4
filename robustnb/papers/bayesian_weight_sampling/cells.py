"""The cells that come of accuracies, clean and under transferred perturbations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from robustnb.papers.bayesian_weight_sampling.parts import (
    Evaluation,
    clean_images,
    images_to_perturb,
)
from robustnb.papers.bayesian_weight_sampling.protocols import Protocol
from robustnb.papers.images import Images
from robustnb.papers.tables import Cell

BySize = Mapping[int, float]  # accuracies, by the size of the ensemble


def accuracy_cell(
    row: str, column: str, accuracy: float, images: Images, settings: Mapping[str, Any]
) -> Cell:
    """Return the cell of an accuracy on some images."""
    number = len(images.load()[1])
    return Cell(row, column, 100 * accuracy, "%", images.dataset, number, settings)


def clean_cells(
    protocol: Protocol, network: Evaluation, found: Mapping[str, BySize], prefix: str = ""
) -> Iterator[Cell]:
    """Yield the accuracy of a column's network on each clean split."""
    for split, accuracies in found.items():
        images, accuracy = clean_images(protocol)[split], accuracies[network.size]
        yield accuracy_cell(f"{prefix}{split}", network.name, accuracy, images, network.settings)


def perturbed_cells(
    protocol: Protocol, network: Evaluation, found: Mapping[str, BySize]
) -> Iterator[Cell]:
    """Yield the accuracy of a column's network on each perturbation set, and on average."""
    images, settings = images_to_perturb(protocol), transferred(protocol) | network.settings
    accuracies = {name: by_size[network.size] for name, by_size in found.items()}
    for name, accuracy in accuracies.items():
        yield accuracy_cell(name, network.name, accuracy, images, settings)
    average, settings = fmean(accuracies.values()), settings | {"sets": list(found)}
    yield accuracy_cell("average", network.name, average, images, settings)


def summary_cells(
    protocol: Protocol, network: Evaluation, found: tuple[BySize, Mapping[str, BySize]]
) -> Iterator[Cell]:
    """Yield the accuracy of a row's network on the test images, and averaged over the sets."""
    test, perturbed = found
    clean = clean_images(protocol)["test"]
    yield accuracy_cell(network.name, "test", test[1], clean, network.settings)
    settings = {**transferred(protocol), **network.settings, "sets": list(perturbed)}
    average, images = fmean(each[1] for each in perturbed.values()), images_to_perturb(protocol)
    yield accuracy_cell(network.name, over_sets(perturbed), average, images, settings)


def transferred(protocol: Protocol) -> dict[str, Any]:
    """Return what accuracies under transferred perturbations depend on: attack and training."""
    return {"attack": asdict(protocol.attack), "attacked": asdict(protocol.plain)}


def over_sets(sets: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the name of an average over so many sets."""
    return f"average over {len(sets)} sets"
