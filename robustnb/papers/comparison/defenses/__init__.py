"""One file for each defence: this folder is the list of them."""

from importlib import import_module
from pkgutil import iter_modules

from robustnb.papers.comparison.defense import Defense

PLAIN = "plain"  # the file of the network that all others are compared with


def defenses() -> dict[str, Defense]:
    """Return the defences by the names of their files, the plain network first.

    Raises ValueError for a file that holds none.
    """
    names = sorted((module.name for module in iter_modules(__path__)), key=_order)
    return {name: _defense(name) for name in names}


def _order(name: str) -> tuple[bool, str]:
    return name != PLAIN, name


def _defense(name: str) -> Defense:
    found = getattr(import_module(f"{__name__}.{name}"), "DEFENSE", None)
    if not isinstance(found, Defense):
        raise ValueError(
            f"defenses/{name}.py has no DEFENSE = Defense(...), which says what it is."
        )
    return found
