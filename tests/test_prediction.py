"""Forms that ask for a prediction and then answer it, in Python and in a real browser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import PHONE, check_open_to_all, write_page
from playwright.sync_api import Page, expect

from robustnb.widgets import Prediction, sweep

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

CHOICES = {
    "rises": "More light may look like more to see.",
    "falls": "Each mirror takes its share.",
    "stays": "A law of conservation would do that.",
}


def light(**changes: Any) -> Prediction:
    given = {
        "question": "What does the light do?",
        "choices": CHOICES,
        "answer": "falls",
        "told": "It fell to 40%.",
        "see": "the table below",
    }
    return Prediction(**given | changes)


def count(answer: float = 30.0, within: float = 5.0) -> Prediction:
    sentences = {
        "below": "Few are seen at night.",
        "near": "You have counted.",
        "above": "Many come in summer.",
    }
    return light(choices=sentences, answer=answer, within=within)


def written(folder: Path, *predictions: Prediction) -> Path:
    """Write a page of predictions, with a table far below them."""
    page = write_page(folder, predictions[0])
    more = "".join(prediction.static_html() for prediction in predictions[1:])
    below = '<div style="height: 200vh"></div><table><tr><td>40%</td></tr></table>'
    page.write_text(page.read_text().replace("</body>", f"{more}{below}</body>"))
    return page


def outcome(page: Page) -> str:
    """Open what came out and return the text that stands there."""
    page.get_by_text("What came out", exact=True).click()
    expect(page.locator("details [role=status]")).not_to_be_empty()
    return page.locator("details").inner_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "sinks"}, "answer is 'sinks': it must be one of rises, falls, stays."),
        ({"choices": {"falls": "So."}}, "choices has 1: a prediction needs two or more."),
        ({"told": " "}, "the text of 'told' is empty: a prediction needs all its texts."),
        ({"choices": {"falls": "So.", "stays": ""}}, "the text of 'stays' is empty"),
        ({"choices": {"falls": "So.", "stays": 1}}, "1 is no text: a prediction takes only texts."),
        ({"choices": ["falls", "stays"]}, "choices must be a dict"),
        ({"within": 1.0}, "choices has rises, falls, stays: where a number is asked for"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        light(**changes)


@pytest.mark.parametrize(
    ("answer", "within", "message"),
    [
        (math.nan, 1.0, "answer is nan: with `within` it must be a finite number."),
        ("30", 1.0, "answer is '30': with `within` it must be a finite number."),
        (True, 1.0, "answer is True: with `within` it must be a finite number."),
        (3.0, math.inf, "within is inf: with `within` it must be a finite number."),
        (3.0, -1.0, "within is -1.0: it must be 0 or more."),
    ],
)
def test_a_number_that_cannot_be_guessed_is_refused(
    answer: float, within: float, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        count(answer, within)


def test_neither_the_notebook_nor_its_description_gives_the_answer_away() -> None:
    assert "falls" not in repr(light())


@pytest.mark.parametrize("guess", CHOICES)
def test_each_choice_gets_its_own_sentence(visit: Visit, tmp_path: Path, guess: str) -> None:
    with visit(written(tmp_path, light())) as page:
        page.get_by_label(guess).check()
        page.get_by_role("button", name="Keep my guess").click()
        said = outcome(page)
    verdict = "and that is right: it came out" if guess == "falls" else "but it came out"
    assert f"You said “{guess}”, {verdict} falls. {CHOICES[guess]}" in said
    assert "It fell to 40%." in said
    assert not any(sentence in said for choice, sentence in CHOICES.items() if choice != guess)


@pytest.mark.parametrize(
    ("guess", "sentence"),
    [("3", "Few are"), ("25", "You have"), ("35.0", "You have"), ("36", "Many come")],
)
def test_a_number_is_near_or_not(visit: Visit, tmp_path: Path, guess: str, sentence: str) -> None:
    with visit(written(tmp_path, count())) as page:
        page.get_by_label("Your number").fill(guess)
        page.get_by_role("button", name="Keep my guess").click()
        said = outcome(page)
    assert f"You said “{guess}”" in said
    assert "it came out 30. " + sentence in said


def test_who_says_nothing_finds_all_sentences(visit: Visit, tmp_path: Path) -> None:
    with visit(written(tmp_path, light())) as page:
        page.get_by_role("button", name="Keep my guess").click()  # refused: nothing is chosen
        expect(page.locator(".prediction-said")).to_be_empty()
        said = outcome(page)
    assert "It came out: falls." in said
    assert all(sentence in said for sentence in CHOICES.values())


def test_the_keyboard_alone_is_enough(visit: Visit, tmp_path: Path) -> None:
    with visit(written(tmp_path, light())) as page:
        for key in ("Tab", "Space", "ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        expect(page.locator(".prediction-said")).to_contain_text("You said “stays”")
        for key in ("Tab", "Tab", "Tab", "Enter"):  # past both buttons
            page.keyboard.press(key)
        expect(page.locator("details")).to_contain_text(CHOICES["stays"])
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.tagName") == "TABLE"
        expect(page.locator("table")).to_be_in_viewport()


def test_a_guess_survives_until_the_tab_is_closed(visit: Visit, tmp_path: Path) -> None:
    page_file = written(tmp_path, light(), light(question="And the heat?"))
    with visit(page_file) as page:
        page.get_by_label("rises").first.check()
        page.get_by_role("button", name="Keep my guess").first.click()
        address = page.url
        page.reload()
        expect(page.locator(".prediction-said").first).to_contain_text("You said “rises”")
        expect(page.get_by_label("rises").first).to_be_checked()
        expect(page.locator(".prediction-said").last).to_be_empty()  # a question of its own
        assert page.url == address  # a link to the page tells no one's guess
    with visit(page_file) as page:
        expect(page.locator(".prediction-said").first).to_be_empty()


def test_another_guess_takes_the_place_of_the_first(visit: Visit, tmp_path: Path) -> None:
    with visit(written(tmp_path, light())) as page:
        for guess in ("rises", "falls"):
            page.get_by_label(guess).check()
            page.get_by_role("button", name="Keep my guess").click()
            assert f"You said “{guess}”" in outcome(page)


def test_nothing_leaves_the_page(visit: Visit, tmp_path: Path) -> None:
    with visit(written(tmp_path, light())) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_label("falls").check()
        page.get_by_role("button", name="Keep my guess").click()
        outcome(page)
        page.get_by_role("button", name="Go to the table below").click()
    assert asked == []


@pytest.mark.parametrize("prediction", [light(), count()], ids=["choices", "number"])
def test_without_javascript_the_answer_is_folded(
    visit: Visit, tmp_path: Path, prediction: Prediction
) -> None:
    with visit(written(tmp_path, prediction), java_script_enabled=False) as page:
        assert "What does the light do?" in page.locator(".prediction").inner_text()
        expect(page.get_by_text("It fell to 40%.")).to_be_hidden()
        said = outcome_without_script(page)
    assert "It fell to 40%." in said
    assert all(sentence in said for sentence in prediction.sentences)


def outcome_without_script(page: Page) -> str:
    page.get_by_text("What came out", exact=True).click()
    return page.locator("details").inner_text()


@pytest.mark.parametrize("scripts", [True, False])
def test_in_print_the_question_stands_without_the_answer(
    visit: Visit, tmp_path: Path, scripts: bool
) -> None:
    with visit(written(tmp_path, light()), java_script_enabled=scripts) as page:
        outcome_without_script(page)
        page.emulate_media(media="print")
        expect(page.get_by_text("What does the light do?")).to_be_visible()
        expect(page.get_by_text("rises", exact=True).first).to_be_visible()
        expect(page.get_by_text("What came out")).to_be_visible()
        expect(page.get_by_text("It fell to 40%.")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_it_is_open_to_all(
    visit: Visit, tmp_path: Path, scheme: str, options: dict[str, Any]
) -> None:
    with visit(written(tmp_path, light(), count()), **options) as page:
        page.get_by_label("falls").check()
        page.get_by_role("button", name="Keep my guess").first.click()
        page.get_by_text("What came out", exact=True).first.click()
        expect(page.get_by_role("group", name="What does the light do?").first).to_be_visible()
        check_open_to_all(page, scheme)


def test_an_explorable_below_is_what_is_gone_to(visit: Visit, tmp_path: Path) -> None:
    from test_widgets import blank

    page_file = written(tmp_path, light(), count())
    shown = sweep(blank, eps=[0.0, 0.1]).static_html()
    page_file.write_text(page_file.read_text().replace("<table>", f"{shown}<table>"))
    with visit(page_file) as page:
        page.get_by_label("falls").check()
        page.get_by_role("button", name="Keep my guess").first.click()
        page.get_by_role("button", name="Go to").click()
        expect(page.locator(".explorable")).to_be_in_viewport()
        assert page.evaluate("document.activeElement.querySelector('.explorable') !== null")


@given(
    choices=st.dictionaries(
        st.text("abc<&é", min_size=1).filter(str.strip), st.text("xyz</", min_size=1), min_size=2
    ),
    place=st.integers(0),
)
def test_any_answer_among_its_choices_is_taken(choices: dict[str, str], place: int) -> None:
    answer = list(choices)[place % len(choices)]
    prediction = light(choices=choices, answer=answer)
    assert prediction.labels[prediction.labels.index(answer)] == prediction.came_out
    assert "<é" not in prediction.fallback()
