"""Data flow one way: a file imports only from files below it, read from the import statements."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import robustnb
from robustnb.reproduction import reproducible

PACKAGE = Path(robustnb.__file__).parent
PAPERS = tuple(f"robustnb.papers.{paper.replace('-', '_')}" for paper in reproducible())
# From the ground up. A file belongs to the longest of the names that begins its own.
FLOORS = (
    tuple(f"robustnb.{n}" for n in ("files", "devices", "signatures", "checks")),
    ("robustnb.data",),
    ("robustnb",),  # networks, training, attacks, defences, what is measured
    tuple(
        f"robustnb.{n}"
        for n in (
            *("intervals", "quantities", "rules", "deciding"),
            *("results", "verdicts", "drawing", "plots", "tables", "sortable", "stored"),
        )
    ),
    ("robustnb.auditing", "robustnb.mistakes"),
    ("robustnb.papers",),
    PAPERS,
    ("robustnb.widgets",),
    ("robustnb.publishing",),
    ("robustnb.reproduction",),
    ("robustnb.cli",),
)
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(module: str) -> set[str]:
    """Return the modules of the package that `module` imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [part if part in MODULES else node.module for part in parts]
        else:
            continue
        found |= set(names) & MODULES.keys()
    return found - {module}


def floor(module: str) -> int:
    """Return on which floor a module is. The package itself is the door, from which all is seen."""
    if module == "robustnb":
        return len(FLOORS)
    homes = {home: number for number, homes in enumerate(FLOORS) for home in homes}
    known = [home for home in homes if f"{module}.".startswith(f"{home}.")]
    return homes[max(known, key=len)]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_file_imports_nothing_from_a_floor_above(module: str) -> None:
    above = {other for other in imports(module) if floor(other) > floor(module)}
    assert not above


def test_no_files_import_each_other_in_a_circle() -> None:
    packages = {m for m in MODULES if MODULES[m].name == "__init__.py"}
    graph = {m: imports(m) - packages for m in MODULES.keys() - packages}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_knows_no_other_paper(paper: str) -> None:
    own = [module for module in MODULES if f"{module}.".startswith(f"{paper}.")]
    others = set(PAPERS) - {paper}
    for module in own:
        assert not [
            i for i in imports(module) if f"{i}.".startswith(tuple(f"{o}." for o in others))
        ]


def test_modules_are_looked_up_by_name_in_one_place() -> None:
    users = [m for m, path in MODULES.items() if "import_module" in path.read_text()]
    # A folder of defences is listed by the folder itself.
    assert sorted(users) == ["robustnb.papers.comparison.defenses", "robustnb.reproduction"]


@pytest.mark.parametrize("paper", reproducible())
def test_a_paper_s_key_stands_in_its_folder_alone(paper: str) -> None:
    """The ground floor does not know its tenants."""
    home = PACKAGE / "papers" / paper.replace("-", "_")
    assert home.is_dir()
    quoted = [f'"{paper}"', f"'{paper}'"]
    for path in PACKAGE.rglob("*.py"):
        if home not in path.parents:
            assert not any(name in path.read_text(encoding="utf-8") for name in quoted), path
