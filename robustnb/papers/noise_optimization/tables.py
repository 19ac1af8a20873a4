"""Tables 3 to 6 of Xiao, Zhang & Peng (2021), and by their names those of our own."""

from collections.abc import Iterator
from functools import partial

from robustnb.papers.noise_optimization import own_tables
from robustnb.papers.noise_optimization.parts import network, ten_columns
from robustnb.papers.noise_optimization.protocols import Protocol
from robustnb.papers.tables import Part, Table, measure_tables


def printed(table: str, protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the ten columns of each network of a printed table, its noise on."""
    for study in protocol.studies:
        if study.table == table:
            for name in study.networks:
                yield from ten_columns(study, network(study, name, seed), seed)


TABLES: dict[str, Table] = {
    **{table: partial(printed, table) for table in ("3", "4", "5", "6")},
    "noise off": own_tables.noise_off,
    "another seed": own_tables.another_seed,
    "EOT": own_tables.averaged_gradients,
    "worst case": own_tables.worst_cases,
    "L-BFGS": own_tables.distortions,
    "convergence": own_tables.convergence,
    "sigma": own_tables.sigmas,
    "cost": own_tables.costs,
    "theorems": own_tables.theorems,
    "saliency": own_tables.saliency,
    "published code": own_tables.published_code,
}
measure = partial(measure_tables, "noise-optimization", TABLES)
