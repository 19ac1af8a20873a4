"""The page "In ten minutes": five explorables, each with what its text says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from test_measured_explorables import Explorable, opened, share, told

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]


def test_each_idea_is_seen(visit: Visit, built_book: Path) -> None:
    with opened(visit, built_book, "ten_minutes") as page:
        assert page.locator(".static-widget").count() == 5
        first = Explorable(page, "first")
        assert told(first.settled(), "plain") == "1"
        assert told(first.slide("strength ε", "0.2"), "plain") != "1"
        rho = Explorable(page, "rho")
        noisy = {value: share(rho.slide("rho_init", value)) for value in ("−30", "−3", "−1.5")}
        assert noisy["−3"] > noisy["−30"]
        assert noisy["−1.5"] < noisy["−3"]
        sigma = Explorable(page, "sigma")
        learned = {times: share(sigma.slide("noise", times)) for times in ("× 1", "× 8", "× 64")}
        assert learned["× 1"] - learned["× 8"] <= 2
        assert learned["× 8"] - learned["× 64"] >= 5
        hidden = Explorable(page, "hidden")
        right: dict[str, int] = {}
        for gradient in ("BANG", "plain"):
            hidden.choose("gradient of", gradient)
            lines = []
            for image in hidden.root.locator(".explorable-control canvas").all():
                image.click()
                lines.append(hidden.settled())
            right[gradient] = sum("BANG network still says" in line for line in lines)
        assert right["BANG"] >= 8
        assert right["plain"] <= right["BANG"] - 2
