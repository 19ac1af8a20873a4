"""What the chapters on attacks and on BANG ask first, against what they then show."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hand_made import row
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Page
from test_measured_explorables import Explorable, opened, told
from torch import Tensor, nn

from robustnb.attacks import predictions as of_attacks
from robustnb.papers.bang import predictions
from robustnb.papers.bang.figures import noisy
from robustnb.plots.lines import Series
from robustnb.predictions import Asked, placed
from robustnb.publishing.book import ROOT
from robustnb.publishing.notebook import read_notebook
from robustnb.results import over_seeds
from robustnb.stored import Stored
from robustnb.widgets import Prediction

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

FORMS = {"adversarial_examples": 4, "bang": 7}
B1 = "B1 beta=1.00 epsilon=0.815"
EXACT = f"{B1}, exact gradient"


# --- The notebooks


@pytest.mark.parametrize("chapter", FORMS)
def test_each_question_is_a_form_whose_code_is_hidden(chapter: str) -> None:
    cells = read_notebook(ROOT / f"book/{chapter}.ipynb")["cells"]
    assert not any("Predict first" in "".join(cell["source"]) for cell in cells)
    forms = [cell for cell in cells if "Prediction(" in "".join(cell["source"])]
    assert len(forms) == FORMS[chapter]
    for form in forms:
        assert form["metadata"] == {"jupyter": {"source_hidden": True}, "tags": ["remove-input"]}


# --- What is asked, on rows and networks made by hand


def checked(question: Asked) -> Asked:
    """Return a question that a form takes."""
    Prediction(**question)
    return question


def stored(cells: dict[tuple[str, str, str], float]) -> Stored:
    return Stored("bang", over_seeds([row("bang", *cell, 0, "laptop") for cell in cells.items()]))


@given(value=st.floats(-3, 3), bounds=st.lists(st.floats(-2, 2), unique=True, max_size=5))
def test_a_value_is_placed_between_its_bounds(value: float, bounds: list[float]) -> None:
    ordered = sorted(bounds)
    choices = {f"{place}": "" for place in range(len(bounds) + 1)}
    below, above = [-math.inf, *ordered], [*ordered, math.inf]
    place = int(placed(value, choices, *ordered))
    assert below[place] < value <= above[place]
    with pytest.raises(ValueError, match=r"^there are \d bounds: \d choices take \d\.$"):
        placed(value, choices, *ordered, 9.0)


@pytest.mark.parametrize(
    ("transfer", "answer"),
    [(80.0, "near that of random noise"), (50.0, "about halfway"), (12.0, "near that of PGD")],
)
def test_where_a_transferred_attack_runs_is_read_off(transfer: float, answer: str) -> None:
    left = {"random noise": 90.0, "transfer": transfer, "PGD": 10.0}
    found = checked(of_attacks.transferred_curve(left, 0.1))
    assert found["answer"] == answer
    assert f"noise 90.0%, transfer {transfer:.1f}%, PGD 10.0%." in found["told"]


@pytest.mark.parametrize(("number", "answer"), [(1, "none or one"), (2, "two"), (3, "all three")])
def test_who_is_fooled_with_the_first_is_counted(number: int, answer: str) -> None:
    names = ["plain", "a", "b", "c"]

    def answers(target: str, eps: float) -> dict[str, Tensor]:
        limits = {name: 0.2 if target == "plain" else 0.5 for name in names[: number + 1]}
        limits[target] = {"plain": 0.2, "a": 0.1, "b": 0.3, "c": 9.0}[target]
        wrong = [eps >= limits.get(name, 9.0) for name in names]
        return {n: torch.eye(2)[int(w)] for n, w in zip(names, wrong, strict=True)}

    found = checked(of_attacks.fooled_together(answers, names, 0, [0.1, 0.2, 0.3]))
    assert found["answer"] == answer
    assert found["told"].endswith("plain 0.2, a 0.1, b 0.3.")  # c is never wrong


@pytest.mark.parametrize(
    ("shares", "answer"),
    [((0.1, 0.2), "fewer"), ((0.28, 0.33), "about as many"), ((0.9, 0.3), "more")],
)
def test_what_pgd_leaves_of_a_defence_is_read_off(shares: tuple[float, float], answer: str) -> None:
    names = ("plain", "one", "other")
    left = {("PGD", n): share for n, share in zip(names, (0.3, *shares), strict=True)}
    left |= {("transfer", n): 0.25 for n in names}
    found = checked(of_attacks.useless_gradients(left, names))
    assert found["answer"] == answer
    assert f"Left by PGD: plain 30.0%, one {shares[0]:.1%}, other {shares[1]:.1%};" in found["told"]
    assert "attack: plain 25.0%, one 25.0%, other 25.0%." in found["told"]


def test_the_largest_drop_sets_off_the_alarm() -> None:
    losses = {"learned noise": (30.0, 29.0), "winners by lot": (20.0, 10.0)}
    found = checked(of_attacks.beaten_by_the_margin(losses))
    assert found["answer"] == "winners by lot"
    assert found["told"] == "There PGD leaves 20.0%, and with the margin 10.0%."


def test_the_network_with_the_shorter_median_is_the_answer() -> None:
    one, other = torch.tensor([4.0, 2.0, 0.5]), torch.tensor([9.0, 1.0, 0.0])
    found = checked(predictions.short_gradients({"plain": one, "BANG": other}, 80))
    assert found["answer"] == "BANG"
    assert "plain: the longest is about 2 times as long as the median (2)" in found["told"]
    found = checked(predictions.short_gradients({"plain": torch.zeros(3), "BANG": other}, 80))
    assert found["answer"] == "plain"
    assert "plain: the longest is 0, and the median is rounded to 0" in found["told"]


@given(
    norms=st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=9),
    eps=st.floats(0.0, 1.0),
)
def test_the_longest_gradient_stays_as_long_as_it_is(norms: list[float], eps: float) -> None:
    lengths = torch.tensor(norms, dtype=torch.float64)
    found = checked(predictions.longest_gradient(lengths, eps))
    assert found["answer"] == "as long as before"
    shares = [float(share) / 100 for share in re.findall(r"([\d.]+)%", found["told"])]
    assert shares[0] == pytest.approx((lengths.max() / lengths.sum()).item(), abs=5e-4)
    assert shares[1] <= shares[0]
    alike = re.search(r"is then ([\d.]+) of the longest", found["told"])
    parts = lengths / lengths.max()
    assert alike is not None
    assert float(alike[1]) == pytest.approx((parts**parts).min().item(), abs=5e-3)


@pytest.mark.parametrize(
    ("success", "size", "answer"),
    [
        (40.0, 30.0, "mostly failure"),
        (90.0, 20.0, "success with shorter steps"),
        (90.0, 33.0, "success with steps about as long"),
        (90.0, 50.0, "success with longer steps"),
    ],
)
def test_how_the_margin_does_is_read_off_the_rows(success: float, size: float, answer: str) -> None:
    rows = stored(
        {
            ("fgs", "margin: success", "R0"): 99.0,
            ("fgs", "margin: Linf", "R0"): 30.0,
            ("fgs", "margin: success", B1): success,
            ("fgs", "margin: Linf", B1): size,
        }
    )
    found = checked(predictions.fgs_with_margin(rows, B1))
    assert found["answer"] == answer
    assert f"with {success:.2f}% of its images, at {size:.1f} of 255" in found["told"]
    assert "with 99.00% at 30.0." in found["told"]


@pytest.mark.parametrize(
    ("last", "answer"), [(20.0, "fewer"), (55.0, "about as many"), (95.0, "more")]
)
def test_what_a_factor_does_is_read_off_the_curves(last: float, answer: str) -> None:
    plain: Series = [(70.0, None), (60.0, None), (last, None)]
    balanced: Series = [(50.0, None), (40.0, None), (30.0, None)]
    lines = {"fooled by FGS, plain": plain, "fooled by FGS, BANG": balanced}
    found = checked(predictions.louder_logits(lines, (0.5, 1.0, 8.0)))
    assert found["answer"] == answer
    assert "multiplied by 8." in found["question"]
    assert f"0.5, 1, 8 FGS fools these shares: plain 70%, 60%, {last:.0f}%" in found["told"]
    assert "BANG 50%, 40%, 30%." in found["told"]


@pytest.mark.parametrize(
    ("after", "answer"), [(50.0, "less far"), (110.0, "about as far"), (200.0, "much farther")]
)
def test_what_a_shift_does_is_read_off_the_rows(after: float, answer: str) -> None:
    weights = "the paper's weights"
    rows = stored(
        {
            ("hot-cold", f"{weights}: Linf", "R0"): 100.0,
            ("hot-cold", f"{weights}, logits - 300: Linf", "R0"): after,
            ("hot-cold", "unit weights: Linf", "R0"): 101.0,
            ("hot-cold", "unit weights: Linf", B1): 102.0,
            ("hot-cold", f"{weights}: Linf", B1): 103.0,
            ("hot-cold", f"{weights}: Linf", EXACT): 104.0,
        }
    )
    found = checked(predictions.shifted_logits(rows, B1, EXACT))
    assert found["answer"] == answer
    assert f"R0 needs 100.0 of 255, and with 300 subtracted {after:.1f}." in found["told"]
    assert "R0 needs 101.0 and BANG 102.0." in found["told"]
    assert "BANG needs 103.0, and with an exact gradient 104.0." in found["told"]


@given(wrong=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_digits_that_the_own_gradient_hides_are_counted(wrong: list[tuple[bool, bool]]) -> None:
    labels = torch.arange(len(wrong)) % 3

    def answers(image: int, target: str, eps: float) -> dict[str, Tensor]:
        assert eps == 0.25
        says = labels[image] + wrong[image][target == "BANG"]
        return {"BANG": nn.functional.one_hot(says, 4).float()}

    found = checked(predictions.hidden_by_the_gradient(answers, labels, 0.25))
    assert found["answer"] == wrong.count((True, False))
    plain, own = (sum(each) for each in zip(*wrong, strict=True))
    assert (
        f"fools BANG on {plain} of {len(wrong)} digits, and BANG's own gradient on {own}."
        in (found["told"])
    )


class Threshold(nn.Module):
    """Says 1 to an image whose mean is off by more than a limit, and else 0."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        off = images.flatten(1).mean(1).abs() - self.limit
        return torch.stack([-off, off], 1)


@pytest.mark.parametrize(("plain", "balanced"), [(0, 2), (1, 3), (-1, 0)])
def test_a_digit_is_read_up_to_the_noise_before_the_first_mistake(
    plain: int, balanced: int
) -> None:
    image, stds = torch.zeros(1, 1, 4, 4), (0, 20, 40, 60)
    off = [noisy(image, std).mean().abs().item() for std in stds]

    def up_to(place: int) -> nn.Module:
        return Threshold(off[place] + 1e-6 if place >= 0 else -1.0)

    networks = {"plain": up_to(plain), "BANG": up_to(balanced)}
    found = checked(predictions.read_under_noise(networks, image, torch.tensor(0), stds))
    read = [stds[max(place, 0)] for place in (plain, balanced)]
    assert (found["answer"], found["within"]) == (read[0], 20)
    assert f"reads this digit up to {read[0]}, and BANG up to {read[1]}." in found["told"]


# --- The built pages


def forms(page: Page) -> list[dict[str, Any]]:
    """Return what the forms of a page know, in its order; check that answers are choices."""
    texts = page.locator(".static-widget > script[type='application/json']").all_text_contents()
    states = [json.loads(text)["state"] for text in texts]
    found = [state for state in states if "told" in state]
    for state in found:
        assert state["within"] is not None or state["answer"] in state["labels"]
    return found


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def cell(page: Page, caption: str, line: str, column: str) -> float:
    """Return the number in a cell of a table."""
    table = page.locator("table", has=page.locator("caption", has_text=caption))
    names = [name.strip() for name in table.locator("thead tr > *").all_inner_texts()]
    for found in table.locator("tbody tr").all():
        texts = found.locator("> *").all_inner_texts()
        if " ".join(texts[0].split()) == line:
            return numbers(texts[names.index(column)])[0]
    raise AssertionError(f"the table has no line {line}")


def curve(page: Page, title: str, name: str) -> list[float]:
    """Return the values of a curve, as its figure's description tells them, in percent."""
    text = page.locator(f"svg[aria-label^='{title}']").get_attribute("aria-label") or ""
    line = re.search(rf"(?:\. |; ){re.escape(name)}: ([^;]*)", text)
    assert line is not None, text
    return [float(value) for value in re.findall(r"([\d.]+)%", line[1])]


def read_up_to(page: Page) -> int:
    """Return the last noise before the first at which the plain network misreads the digit."""
    sweep = page.locator(".static-widget:not(:has(.prediction))").filter(
        has_text="standard deviation of the noise"
    )
    read = 0
    for step, std in enumerate(range(0, 201, 20)):
        sweep.locator("input[type=range]").fill(str(step))
        page.wait_for_timeout(150)
        seen = sweep.locator("[role=img]").first.get_attribute("aria-label") or ""
        truth = re.search(r"The true class is (\w+)\. plain says (\w+)", seen)
        assert truth is not None, seen
        if truth[1] != truth[2]:
            break
        read = std
    return read


def test_the_forms_on_attacks_answer_what_the_page_shows(visit: Visit, built_book: Path) -> None:
    with opened(visit, built_book, "adversarial_examples") as page:
        carried, others, fake, alarm = forms(page)

        title, place = "Robust accuracy over the strength", 3
        names = ("random noise", "transfer", "PGD, 20 steps")
        noise, transfer, own = (curve(page, title, name)[place] for name in names)
        near_noise, _, near_pgd = carried["labels"]
        assert carried["answer"] == near_pgd
        assert transfer - own < noise - transfer
        assert f"transfer {transfer:.1f}%" in carried["told"]
        assert near_noise.endswith("noise")

        explorer = Explorable(page, "attack")
        truth = re.search(r"True class: (\w+)", explorer.settled())
        assert truth is not None
        names = ("plain", "Bayesian", "noisy neurons", "BANG")
        needed = numbers(others["told"])
        line = explorer.slide("strength ε", f"{needed[0]:g}")
        wrong = [name for name in names if told(line, name) != truth[1]]
        assert "plain" in wrong
        assert others["answer"] == ["none or one", "two", "all three"][max(len(wrong) - 2, 0)]
        explorer.choose("gradient of", "Bayesian")  # its draws are others in the page
        line = explorer.slide("strength ε", f"{needed[1] + 0.02:g}")
        assert told(line, "Bayesian") != truth[1]

        caption = "Right answers at ε = 0.1"
        left = [cell(page, caption, "PGD", which) for which in ("plain", "louder", "steps")]
        assert numbers(fake["told"])[:3] == left
        assert fake["answer"] == "more"
        assert min(left[1:]) > left[0] + 10

        caption = "Right answers left by PGD with either loss"
        kinds = ("cross-entropy", "margin")
        shown = {n: [cell(page, caption, n, kind) for kind in kinds] for n in alarm["labels"]}
        assert alarm["answer"] == max(shown, key=lambda name: shown[name][0] - shown[name][1])
        assert numbers(alarm["told"]) == shown[alarm["answer"]]
        noise_rows = Stored("noise-optimization")
        learned = noise_rows.value("worst case", "MLP+ Sigmoid", "PGD, margin")
        assert cell(page, caption, "learned noise", "margin") == pytest.approx(
            100 * learned, abs=0.051
        )


def test_the_forms_on_bang_answer_what_the_page_shows(visit: Visit, built_book: Path) -> None:
    rows = Stored("bang")
    with opened(visit, built_book, "bang") as page:
        short, longest, margin, louder, shifted, hidden, noise = forms(page)

        text = page.get_by_text(re.compile("^After .* iterations, plain: a tenth")).inner_text()
        medians = [float(median) for median in re.findall(r"the median is ([-+.e\d]+\d)", text)]
        assert short["answer"] == ("plain", "BANG")[medians.index(min(medians))]

        assert longest["answer"] == "as long as before"
        before, after = (float(n) for n in re.findall(r"([\d.]+)%", longest["told"]))
        assert after < before

        success, size = (rows.value("fgs", f"margin: {kind}", B1) for kind in ("success", "Linf"))
        assert f"with {success:.2f}% of its images, at {size:.1f} of 255" in margin["told"]
        assert margin["answer"] == "success with steps about as long"
        assert size == pytest.approx(rows.value("fgs", "margin: Linf", "R0"), rel=0.05)

        line = curve(page, "The same network with its logits", "fooled by FGS, plain")
        usual, last = line[2], line[-1]
        gap = {"fewer": last < usual - 9, "more": last > usual + 9}
        assert gap.get(louder["answer"], abs(last - usual) < 11)

        paper, low = (
            rows.value("hot-cold", f"the paper's weights{shift}: Linf", "R0")
            for shift in ("", ", logits - 300")
        )
        assert f"R0 needs {paper:.1f} of 255, and with 300 subtracted {low:.1f}." in shifted["told"]
        assert shifted["answer"] == "much farther"
        assert low > 2 * paper

        explorer = Explorable(page, "attack")
        explorer.slide("strength ε", "0.2")
        fooled = {}
        for target in ("plain", "BANG"):
            explorer.choose("gradient of", target)
            fooled[target] = []
            for image in explorer.root.locator(".explorable-control canvas").all():
                image.click()
                fooled[target].append("BANG network still says" not in explorer.settled())
        number = sum(a and not b for a, b in zip(fooled["plain"], fooled["BANG"], strict=True))
        assert hidden["answer"] == pytest.approx(number, abs=hidden["within"])

        assert noise["answer"] == read_up_to(page)
