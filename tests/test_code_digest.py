"""What the key of a result digests: the code that it depends on, and no more."""

import ast

import pytest

from robustnb.papers import code_digest


def modules(module: str) -> set[str]:
    """Return the modules whose code goes into the digest of `module`."""
    trees: dict[str, ast.Module] = {}
    code_digest._add(module, trees)
    return set(trees)


def test_attacks_defences_and_training_count() -> None:
    found = modules("robustnb.papers.bang.measuring")
    used = {"attacks.line_search", "attacks.gradient", "models", "randomness", "checkpoint"}
    assert {f"robustnb.{name}" for name in used} <= found


@pytest.mark.parametrize("part", ["training", "measuring"])
@pytest.mark.parametrize(
    "paper", ["bayesian_weight_sampling", "bang", "noise_optimization", "stochastic_lwta"]
)
def test_readers_of_data_and_what_shows_results_do_not_count(paper: str, part: str) -> None:
    found = modules(f"robustnb.papers.{paper}.{part}")
    readers = {name for name in found if name.startswith("robustnb.data")}
    assert readers == {"robustnb.data.splits"}
    own = f"robustnb.papers.{paper}"
    shown = {"results", "verdicts", "tables", "plots", "drawing", "stored", "papers.pieces"}
    assert not {f"robustnb.{name}" for name in shown} & found
    assert not {f"{own}.{name}" for name in ("protocols", "tables", "claims", "figures")} & found
