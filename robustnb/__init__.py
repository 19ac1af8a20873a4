"""robustnb: an interactive book on the robustness of neural networks, and the package behind it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustnb.auditing.audit import audit as audit


def __getattr__(name: str) -> Any:
    """Load `audit` when it is asked for: it brings torch and matplotlib, which take seconds."""
    if name == "audit":
        from robustnb.auditing.audit import audit

        return audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
