"""Explorables whose networks can be exchanged for others, with all settings as they are."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import traitlets

from robustnb.widgets.settings import check_choice
from robustnb.widgets.static import StaticWidget

TABLE, PAGE = "table", "page"


class NetworkSets(StaticWidget):
    """Show the networks of a table, or after `or_of_this_page` also those of the page.

    A subclass names in `_of_networks` the traits that differ with the networks. `trained` says
    whose are shown, "table" or "page".
    """

    _of_networks: ClassVar[tuple[str, ...]]

    page_networks = traitlets.Dict().tag(sync=True)
    trained = traitlets.Unicode(TABLE).tag(sync=True)

    def or_of_this_page(self, other: Self) -> Self:
        """Let readers switch to the networks of another explorable, and return this one.

        Raises ValueError unless the other shows the same images and has networks of the same names.
        """
        if self._named() != other._named() or self._needs_kernel() or other._needs_kernel():
            raise ValueError(
                "the two explorables differ: the networks of this page must run in the page, see "
                "the same images and have the same names as those of the table."
            )
        self.page_networks = {name: getattr(other, name) for name in self._of_networks}
        self.blobs = self.blobs | other.blobs
        return self

    def _named(self) -> list[Any]:
        """Return what explorables that are exchanged have in common."""
        networks = getattr(self, "networks", [])
        names = [{k: v for k, v in each.items() if k != "network"} for each in networks]
        return [self._module, self.pictures, self.labels, names]

    @traitlets.validate("trained")
    def _check_trained(self, proposal: Mapping[str, Any]) -> str:
        value: str = proposal["value"]
        check_choice("trained", value, (TABLE, PAGE) if self.page_networks else (TABLE,))
        return value

    def _address(self) -> dict[str, dict[str, Any]]:
        own = {"trained": {"trait": "trained"}} if self.page_networks else {}
        return super()._address() | own
