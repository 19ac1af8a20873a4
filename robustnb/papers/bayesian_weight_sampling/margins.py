"""Which network is the best of its kind, and by how much."""

from collections.abc import Iterable, Mapping

from robustnb.quantities import Quantity
from robustnb.results import Row
from robustnb.stored import Stored


def controls(stored: Stored) -> dict[str, Quantity]:
    """Return the accuracy of each control, averaged over the perturbation sets, by its name."""
    columns = dict.fromkeys(row["column"] for row in stored.rows("controls"))
    (over_sets,) = (column for column in columns if column != "test")
    return stored.down("controls", over_sets)


def best(kind: str, found: Mapping[str, Quantity]) -> str:
    """Return the name with the highest mean of those that begin with `kind`, such as "plain"."""
    return max((n for n in found if n.startswith(kind)), key=lambda name: found[name].mean)


def lead(found: Mapping[str, Quantity]) -> Quantity:
    """Return how far the best Bayesian network is above the best standard one."""
    return found[best("bayesian", found)] - found[best("standard", found)]


def best_at_worst(kind: str, rows: Iterable[Row]) -> Row:
    """Return the row of the best network of a kind under the attack that leaves it least.

    Each row is an attack on the network of its column; ensembles do not count.
    """
    least: dict[str, Row] = {}
    for row in rows:
        if row["column"].startswith(kind) and "ensemble" not in row["row"]:
            held = least.setdefault(row["column"], row)
            least[row["column"]] = min(held, row, key=lambda each: float(each["value"]))
    return max(least.values(), key=lambda row: float(row["value"]))
