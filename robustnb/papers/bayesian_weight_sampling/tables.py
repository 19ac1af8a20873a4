"""Tables 1 to 4 of Zhang & Chen (2020), what they do not print of these networks, and TABLES."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from robustnb.papers.bayesian_weight_sampling.attack_tables import (
    other_kind,
    white_box,
    worst_case,
)
from robustnb.papers.bayesian_weight_sampling.cells import (
    BySize,
    accuracy_cell,
    clean_cells,
    perturbed_cells,
    transferred,
)
from robustnb.papers.bayesian_weight_sampling.control_tables import (
    attack_step,
    matched_targets,
    other_readings,
    without_diversity,
)
from robustnb.papers.bayesian_weight_sampling.measuring import (
    accuracy_of_pass,
    mean_distortion,
)
from robustnb.papers.bayesian_weight_sampling.parts import (
    bayesian_network,
    bayesian_networks,
    ensemble_of,
    images_to_perturb,
    perturbation_sets,
    sources,
    standard_networks,
)
from robustnb.papers.bayesian_weight_sampling.protocols import TABLE_RHO_INIT, Protocol
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part, measure_tables


def table_1(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the clean accuracy of every network (Table 1)."""
    for network in bayesian_networks(protocol, seed) + standard_networks(protocol, seed):
        yield network.clean, partial(clean_cells, protocol, network)


def table_2(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the accuracy of every network on each perturbation set and on average (Table 2)."""
    for network in bayesian_networks(protocol, seed) + standard_networks(protocol, seed):
        yield network.perturbed, partial(perturbed_cells, protocol, network)


def table_3(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the accuracy of ensembles of weight draws on each perturbation set (Table 3)."""
    single = bayesian_network(protocol, TABLE_RHO_INIT, seed)
    for size in protocol.ensembles:
        network = ensemble_of(single, size, f"ensemble N={size}")
        yield network.perturbed, partial(perturbed_cells, protocol, network)


def table_4(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the accuracy of pruned ensembles, clean and perturbed (Table 4)."""
    for rate in protocol.pruned:
        single = bayesian_network(protocol, TABLE_RHO_INIT, seed, rate)
        network = ensemble_of(single, max(protocol.ensembles), f"pruned {rate}%")
        yield network.clean, partial(clean_cells, protocol, network, prefix="original ")
        yield network.perturbed, partial(perturbed_cells, protocol, network)


def unpruned(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the clean accuracy of the unpruned ensemble, which the paper does not print."""
    most = max(protocol.ensembles)
    single = bayesian_network(protocol, TABLE_RHO_INIT, seed)
    network = ensemble_of(single, most, f"ensemble N={most}")
    yield network.clean, partial(clean_cells, protocol, network, prefix="original ")


def distortion(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the size of each set's perturbations, and the accuracy of the network they fool."""
    fooled, images = sources(protocol, seed), images_to_perturb(protocol)
    for name, found in perturbation_sets(protocol, seed).items():
        accuracy = Piece(accuracy_of_pass, (fooled[name], found))
        parts = Piece(mean_distortion, (found, images)), accuracy
        yield parts, partial(distortion_cells, protocol, name)


def distortion_cells(protocol: Protocol, name: str, found: tuple[float, BySize]) -> Iterator[Cell]:
    """Yield the row of a perturbation set."""
    (size, accuracy), images = found, images_to_perturb(protocol)
    settings = transferred(protocol)
    row = accuracy_cell(name, "accuracy", accuracy[1], images, settings)
    yield replace(row, column="mean distortion", value=size, unit="")
    yield row


TABLES = {
    "1": table_1,
    "2": table_2,
    "3": table_3,
    "4": table_4,
    "unpruned": unpruned,
    "white-box": white_box,
    "distortion": distortion,
    "controls": without_diversity,
    "matched targets": matched_targets,
    "attack step": attack_step,
    "choices": other_readings,
    "other kind": other_kind,
    "worst case": worst_case,
}
measure = partial(measure_tables, "bayesian-weight-sampling", TABLES)
