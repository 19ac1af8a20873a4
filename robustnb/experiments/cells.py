"""One number of a table, and the row that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustnb.data import Dataset
from robustnb.results import Row, make_row


@dataclass(frozen=True)
class Cell:
    """One number of a table: where it stands, its unit, what it was measured on and depends on."""

    row: str
    column: str
    value: float
    unit: str
    seconds: float
    num_images: int
    settings: Mapping[str, Any]

    def as_row(
        self, paper: str, table: str, profile: str, dataset: Dataset, seed: int, device: str = "cpu"
    ) -> Row:
        """Return the row that one seed measured for this cell."""
        return make_row(
            *(paper, table, self.row, self.column, self.value),
            unit=self.unit,
            seed=seed,
            num_images=self.num_images,
            profile=profile,
            settings=self.settings,
            dataset=dataset.name,
            digest=dataset.digest,
            seconds=self.seconds,
            device=device,
        )
