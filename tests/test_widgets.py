"""Widgets in Python, and their pages in a real browser."""

from __future__ import annotations

import copy
import itertools
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import traitlets
from playwright.sync_api import Locator, Page, expect
from sklearn.datasets import load_digits

from robustnb.drawing import Drawing
from robustnb.publishing.notebook import share_texts
from robustnb.widgets import Frames, StaticWidget, sweep
from robustnb.widgets.static import HERE

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

# Colours as the book's theme names them, and the size of a phone.
THEME = """
html { --pst-color-text-base: #222222; --pst-color-surface: #f5f5f5; --pst-color-primary: #0a7d91 }
html[data-theme="dark"] { --pst-color-text-base: #dddddd; --pst-color-surface: #29313d;
  --pst-color-primary: #3fb1c5; --pst-color-background: #14181e; background: #14181e }
"""
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def curve(eps: float) -> Drawing:
    figure, axes = plt.subplots(figsize=(5, 2.5))
    x = np.linspace(0, 0.4, 50)
    axes.plot(x, np.exp(-9 * x))
    axes.plot(eps, np.exp(-9 * eps), "o")
    axes.set(xlabel="strength ε", ylabel="accuracy")
    # Neither a title that leaves the figure nor a longer text may move anything.
    axes.set_title("!" * round(200 * eps))
    more = " That is no better than naming one of the ten digits at random." if eps > 0.3 else ""
    return Drawing(figure, f"At ε = {eps:.2f} the accuracy is {np.exp(-9 * eps):.0%}.{more}")


def noisy_digit(digit: int, eps: float) -> Drawing:
    image = load_digits().images[digit] / 16
    noise = np.random.default_rng(0).choice([-eps, eps], image.shape)
    figure, axes = plt.subplots(1, 2, figsize=(4, 2))
    for axis, pixels in zip(axes, (image, image + noise), strict=True):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        axis.axis("off")
    return Drawing(figure, f"The digit {digit}, and beside it with noise of {eps}.")


def blank(**setting: Any) -> Drawing:
    return Drawing(plt.figure(figsize=(1, 1)), f"Nothing, at {setting}.")


@pytest.fixture(scope="module")
def curves() -> Frames:
    return sweep(
        curve,
        eps=np.linspace(0, 0.4, 5),
        labels={"eps": "strength ε"},
        formats={"eps": "{:.2f}"},
        start={"eps": 0.1},
    )


@pytest.fixture(scope="module")
def digits() -> Frames:
    return sweep(noisy_digit, digit=[3, 5, 8], eps=[0, 0.5])


def html_of(widget: StaticWidget) -> str:
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    html: str = data["text/html"]
    return html


def write_page(folder: Path, *widgets: StaticWidget) -> Path:
    page = folder / "page.html"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    body = "\n".join(html_of(widget) for widget in widgets)
    text = (
        f"<!doctype html><html><head>{head}<style>{THEME}</style></head><body>{body}</body></html>"
    )
    page.write_text(text, encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def page_file(curves: Frames, digits: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("widgets"), curves, digits)


def described(page: Page, index: int = 0) -> str | None:
    page.wait_for_selector("html:not(:has([aria-busy=true]))", state="attached")
    return page.locator("[aria-live=polite]").nth(index).text_content()


def pictured(page: Page, index: int = 0) -> str:
    return page.locator(".explorable-picture").nth(index).inner_html()


def click_at(page: Page, slider: Locator, fraction: float) -> None:
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + fraction * box["width"], box["y"] + box["height"] / 2)


# --- in Python


def test_sweep_draws_every_combination_once_in_the_order_of_nested_loops() -> None:
    calls: list[dict[str, Any]] = []

    def draw(**setting: Any) -> Drawing:
        calls.append(setting)
        return blank(**setting)

    frames = sweep(draw, first=[1, 2], second=["a", "c"], third=range(3))
    expected = itertools.product([1, 2], ["a", "c"], range(3))
    assert [tuple(call.values()) for call in calls] == list(expected)
    assert frames.descriptions == [f"Nothing, at {call}." for call in calls]
    assert len(frames.pictures) == 12


def test_a_frame_is_found_by_its_positions() -> None:
    frames = sweep(blank, first=[1, 2], second=["a", "b"], third=[5, 6, 7])
    for positions in itertools.product(range(2), range(2), range(3)):
        frames.positions = positions
        i, j, k = positions
        assert f"{ {'first': 1 + i, 'second': 'ab'[j], 'third': 5 + k} }" in repr(frames)


@pytest.mark.parametrize("values", [np.array([0.1, 0.25]), torch.tensor([0.1, 0.25], dtype=float)])
def test_arrays_and_tensors_become_plain_numbers(values: Any) -> None:
    frames = sweep(blank, eps=values)
    assert frames.descriptions == ["Nothing, at {'eps': 0.1}.", "Nothing, at {'eps': 0.25}."]
    assert frames.sliders == [{"name": "eps", "label": "eps", "values": ["0.1", "0.25"]}]


def test_start_is_found_in_spite_of_rounding() -> None:
    frames = sweep(blank, eps=[0.1, 0.1 + 0.2], k=[1, 2], start={"eps": 0.3})
    assert frames.positions == (1, 0)


def test_all_frames_have_one_size(curves: Frames) -> None:
    boxes = {re.search(r'viewBox="[^"]*"', picture)[0] for picture in curves.pictures}  # type: ignore[index]
    assert len(boxes) == 1


def test_python_moves_the_sliders_and_sees_them_move(curves: Frames) -> None:
    seen: list[Any] = []
    curves.observe(lambda change: seen.append(change["new"]), "positions")
    try:
        curves.positions = [3]
        curves.set_state({"positions": [4]})  # what a message from the page does
        assert seen == [(3,), (4,)]
    finally:
        curves.unobserve_all()
        curves.positions = [1]


@pytest.mark.parametrize("positions", [[], [0, 0], [5], [-1], [0.5], ["0"]])
def test_positions_out_of_range_are_refused(curves: Frames, positions: list[Any]) -> None:
    message = r"positions must be one whole number per slider \(0 to 4\), got "
    with pytest.raises(traitlets.TraitError, match=message):
        curves.positions = positions
    assert curves.positions == (1,)


def test_two_builds_give_the_same_bytes(digits: Frames) -> None:
    again = sweep(noisy_digit, digit=[3, 5, 8], eps=[0, 0.5])
    assert html_of(again) == html_of(digits) == html_of(digits)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "sweep needs a keyword with values, such as eps=[0, 0.1, 0.2]"),
        ({"eps": []}, ValueError, "sweep needs at least one value for eps, got none"),
        ({"eps": 0.1}, TypeError, "sweep needs a list of values for eps, got 0.1"),
        (
            {"eps": range(21), "k": range(10)},
            ValueError,
            "sweep would draw 210 frames (21 of eps, 10 of k); a page carries at most 200",
        ),
        (
            {"eps": [0, 1], "labels": {"epsilon": "ε"}},
            ValueError,
            "labels has no use for 'epsilon'; the sliders are eps",
        ),
        (
            {"eps": [0, 0.5], "start": {"eps": 0.2}},
            ValueError,
            "eps cannot start at 0.2; its values are 0, 0.5",
        ),
    ],
)
def test_bad_input_gets_one_sentence(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        sweep(blank, **arguments)


def test_a_keyword_that_is_no_trait_is_refused() -> None:
    message = (
        "Frames has no 'picturs': "
        "it also takes descriptions, hidden, name, pictures, positions, sliders."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        Frames(picturs=[])


def test_draw_must_return_a_drawing() -> None:
    message = r"^draw\(eps=1\) must return a Drawing, got a value of type NoneType$"
    with pytest.raises(TypeError, match=message):
        sweep(lambda eps: None, eps=[1])  # type: ignore[arg-type, return-value]


def test_an_exception_in_draw_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        sweep(lambda eps: blank(inverse=1 / eps), eps=[1, 0])


def test_a_module_must_hand_over_how_it_renders(tmp_path: Path) -> None:
    message = "^the last line of made.js must be 'export default { render };'$"
    with pytest.raises(ValueError, match=message):
        widget(tmp_path, "function render() {}")


@pytest.mark.parametrize("ending", ["</script>", "</SCRIPT>", "<!--"])
def test_a_module_must_not_end_its_script(tmp_path: Path, ending: str) -> None:
    made = widget(tmp_path, f"const ending = '{ending}';\nexport default {{ render }};")
    with pytest.raises(
        ValueError, match=f"must not hold '{ending.strip('>')}': its script would end$"
    ):
        made.static_html()


def test_jupyter_gets_one_module_of_all_parts(curves: Frames) -> None:
    module = curves._esm
    assert module.index("function explorable(") < module.index("function render(")
    assert module.count("export") == 1
    assert curves.get_state("blobs") == {"blobs": {}}


def test_a_figure_is_named_for_the_address(curves: Frames, digits: Frames) -> None:
    assert (curves.name, digits.name) == ("eps", "digit-eps")
    assert sweep(blank, k=[1], name="mine").name == "mine"


def widget(folder: Path, module: str, **state: Any) -> StaticWidget:
    """Make a widget from its module; its traits are `number` and `text`."""
    (folder / "made.js").write_text(module)
    members = {
        "_module": folder / "made.js",
        "number": traitlets.Int().tag(sync=True),
        "text": traitlets.Unicode().tag(sync=True),
    }
    made: Callable[..., StaticWidget] = type("Made", (StaticWidget,), members)
    return made(**state)


# --- in the page


def test_keys_move_the_slider_they_are_meant_for(
    visit: Visit, page_file: Path, curves: Frames, digits: Frames
) -> None:
    with visit(page_file) as page:
        strength = page.get_by_role("slider", name="strength ε", exact=True)
        expect(strength).to_have_attribute("aria-valuetext", "0.10")
        assert described(page) == curves.descriptions[1]
        before, other = pictured(page), pictured(page, 1)

        strength.focus()
        page.keyboard.press("ArrowRight")
        expect(strength).to_have_attribute("aria-valuetext", "0.20")
        assert page.locator("output").first.text_content() == "0.20"
        assert described(page) == curves.descriptions[2]
        page.get_by_role("img", name=curves.descriptions[2]).wait_for()
        assert pictured(page) != before
        assert pictured(page, 1) == other

        page.get_by_role("slider", name="digit", exact=True).focus()
        page.keyboard.press("End")
        page.get_by_role("slider", name="eps", exact=True).focus()
        page.keyboard.press("ArrowUp")
        assert described(page, 1) == digits.descriptions[5]
        assert described(page) == curves.descriptions[2]


def test_the_mouse_moves_a_slider(visit: Visit, page_file: Path, curves: Frames) -> None:
    with visit(page_file) as page:
        strength = page.get_by_role("slider").first
        click_at(page, strength, 0.98)
        assert described(page) == curves.descriptions[4]
        page.mouse.down()
        box = strength.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 1, box["y"] + 5, steps=5)
        page.mouse.up()
        assert described(page) == curves.descriptions[0]


def test_a_finger_moves_a_slider_on_a_phone(visit: Visit, page_file: Path, curves: Frames) -> None:
    with visit(page_file, **PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        box = page.get_by_role("slider").first.bounding_box()
        assert box is not None
        assert box["height"] >= 40
        label, output = (
            page.locator(name).first.bounding_box() for name in ("label span", "output")
        )
        assert label is not None
        assert output is not None
        assert label["y"] == output["y"] < box["y"]
        page.touchscreen.tap(box["x"] + 0.98 * box["width"], box["y"] + box["height"] / 2)
        assert described(page) == curves.descriptions[4]


@pytest.mark.parametrize("width", [390, 1000])
def test_nothing_jumps_when_a_slider_moves(visit: Visit, page_file: Path, width: int) -> None:
    with visit(page_file, viewport={"width": width, "height": 900}) as page:
        page.get_by_role("slider").first.focus()
        places = []
        for key in ["Home", *["ArrowRight"] * 4]:
            page.keyboard.press(key)
            places.append(
                [item.bounding_box() for item in page.locator("svg, input, output").all()]
            )
        assert all(place == places[0] for place in places)


def test_keys_stay_inside_the_widget(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        page.evaluate("addEventListener('keydown', () => { window.keyWasSeen = true })")
        page.get_by_role("slider").first.press("ArrowRight")
        assert not page.evaluate("window.keyWasSeen")


def test_colours_follow_the_theme(visit: Visit, page_file: Path) -> None:
    def colours(page: Page) -> list[str]:
        return [
            page.locator(selector).first.evaluate(
                f"node => getComputedStyle(node).{name}.match(/rgb.*?\\)/)[0]"
            )
            for selector, name in (
                ("[aria-live=polite]", "color"),
                ("svg text", "fill"),
                (".explorable-controls", "backgroundColor"),
                ("input", "accentColor"),
            )
        ]

    with visit(page_file) as page:
        light = colours(page)
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        dark = colours(page)
    assert light == ["rgb(34, 34, 34)"] * 2 + ["rgb(245, 245, 245)", "rgb(10, 125, 145)"]
    assert dark == ["rgb(221, 221, 221)"] * 2 + ["rgb(41, 49, 61)", "rgb(63, 177, 197)"]


def test_without_javascript_there_is_a_picture(
    visit: Visit, page_file: Path, curves: Frames
) -> None:
    with visit(page_file, java_script_enabled=False) as page:
        assert page.get_by_role("slider").count() == 0
        picture = page.get_by_role("img", name=curves.descriptions[1]).bounding_box()
        assert picture is not None
        assert picture["width"] > 300
        expect(page.locator("p").first).to_contain_text("Shown at strength ε 0.10.")


def test_any_text_survives_the_way_into_the_page(visit: Visit, tmp_path: Path) -> None:
    text = "</script><!-- <script> \" ' \\ & ε \u2028"
    frames = sweep(lambda k: Drawing(plt.figure(), f"{k} {text}"), k=[1, 2], labels={"k": text})
    with visit(write_page(tmp_path, frames)) as page:
        page.get_by_role("slider").press("End")
        assert described(page) == f"2 {text}"
        assert page.locator("label").text_content() == text


def test_the_model_without_a_kernel_behaves_like_the_one_with(visit: Visit, tmp_path: Path) -> None:
    module = """
    function render({ model, el }) {
      const log = [];
      const all = () => log.push("all");
      model.on("change:number change:text", (_, value) => log.push(value));
      model.once("change", () => log.push("once"));
      model.on("change", all);
      model.set("number", 2);
      model.set("number", 2);
      model.set({ number: 3, text: "b" });
      model.off("change", all);
      model.set("text", "c");
      model.off();
      model.set("text", "d");
      model.save_changes();
      model.send({});
      el.textContent = [...log, model.get("number"), model.get("text")].join(" ");
    }
    export default { render };
    """
    with visit(write_page(tmp_path, widget(tmp_path, module, number=1, text="a"))) as page:
        shown = page.locator(".static-widget > div").text_content()
    assert shown == "2 once all 3 b all c 3 d"


def test_what_a_module_throws_turns_a_test_red(visit: Visit, tmp_path: Path) -> None:
    module = """
    function render({ el }) {
      el.textContent = "half";
      throw new Error("no such digit");
    }
    export default { render };
    """
    page_file = write_page(tmp_path, widget(tmp_path, module))
    with (
        pytest.raises(AssertionError, match=r"exception: .*no such digit"),
        visit(page_file) as page,
    ):
        shown = page.locator(".static-widget > div").text_content()
    assert shown == "This figure needs JavaScript."  # what stood there before


def test_the_address_holds_what_the_sliders_say(
    visit: Visit, page_file: Path, curves: Frames, digits: Frames
) -> None:
    address = f"{page_file.as_uri()}#eps.eps=0.3&digit-eps.digit=8&digit-eps.eps=0.1"
    with visit(address) as page:  # 0.30 as the page writes it, and the nearest to 0.1
        assert described(page) == curves.descriptions[3]
        assert described(page, 1) == digits.descriptions[4]
        notice = page.locator(".explorable-notice")
        expect(notice).to_have_text("In the address, eps 0.1 became 0.")
        page.get_by_role("slider", name="eps", exact=True).press("End")
        page.wait_for_url("**#eps.eps=0.3&digit-eps.digit=8&digit-eps.eps=0.5")


def test_what_an_address_asks_in_vain_is_said(visit: Visit, page_file: Path) -> None:
    asked = ["digit=much", "sigma=1", "eps=0.012", "hide=copy,all"]
    place = "&".join(f"digit-eps.{each}" for each in asked)
    with visit(f"{page_file.as_uri()}#{place}") as page:
        expect(page.locator(".explorable-notice")).to_have_text(
            "In the address, digit cannot be much; sigma is no setting here: digit, eps are; "
            "eps 0.012 became 0; all cannot be hidden: copy, digit, eps can."
        )
        page.evaluate("location.hash = 'digit-eps.digit=8'")
        expect(page.locator(".explorable-notice")).to_have_count(0)


BLOB_MODULE = f"""
import {{ element }} from "{HERE}/controls.js";
function render({{ model, el }}) {{
  globalThis.renders = [...(globalThis.renders ?? []), render];
  const read = (blob) => (typeof blob === "string" ? blob : new TextDecoder().decode(blob));
  const text = Object.values(model.get("blobs")).map(read).join() + model.get("number");
  el.append(element("span", {{}}, text));
}}
export default {{ render }};
"""


def test_a_page_needs_what_widgets_share_but_once(visit: Visit, tmp_path: Path) -> None:
    short, long = "d2VpZ2h0cw==", b64encode(500 * b"more ").decode()  # packed, where that saves
    blobs = {"abc": short, "def": long}
    widgets = [widget(tmp_path, BLOB_MODULE, number=i, blobs=blobs) for i in (1, 2)]
    outputs = [{"data": {"text/html": [html_of(made)]}} for made in widgets]
    cells = [{"metadata": {}, "outputs": [output]} for output in outputs]
    removed = {"metadata": {"tags": ["remove-cell"]}, "outputs": [dict(data={}), *outputs[:1]]}
    notebook = {"cells": [{"metadata": {}}, copy.deepcopy(removed), *cells]}
    share_texts(notebook)
    first, second = (cell["outputs"][0]["data"]["text/html"] for cell in cells)
    assert first == html_of(widgets[0])  # complete: nobody sees the copies in the removed cell
    assert short in first
    assert len(first) - len(second) > len(short)
    assert long not in first
    assert short not in second
    assert "robustnbHosts" in second

    page_file = tmp_path / "page.html"
    page_file.write_text(f"<!doctype html><meta charset='utf-8'>{first}{second}")
    with visit(page_file) as page:
        texts = page.locator(".static-widget > div").all_text_contents()
        assert texts == [f"{short},{500 * 'more '}{number}" for number in (1, 2)]
        assert page.evaluate("renders[0] === renders[1]")
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
        assert len(ids) == len(set(ids)) == 6  # style, host, controls, module and two blobs


def test_a_module_that_cannot_be_read_leaves_the_picture(visit: Visit, tmp_path: Path) -> None:
    module = "function render( {}\nexport default { render };"
    page_file = write_page(tmp_path, widget(tmp_path, module))
    with pytest.raises(AssertionError, match="exception: Unexpected"), visit(page_file) as page:
        shown = page.locator(".static-widget > div").text_content()
    assert shown == "This figure needs JavaScript."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, page_file: Path, scheme: str) -> None:
    from browser import axe_findings

    with visit(page_file) as page:
        page.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
        assert axe_findings(page) == []


@pytest.mark.parametrize(
    ("html", "complaint"),
    [
        ("<script>console.error('bad news')</script>", "console: bad news"),
        ("<script>Promise.reject(Error('too late'))</script>", "exception: .*too late"),
        ("<img src='https://example.org/x.png'>", "another host: https://example.org/x.png"),
    ],
)
def test_the_browser_reports_what_a_page_does(
    visit: Visit, tmp_path: Path, html: str, complaint: str
) -> None:
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<!doctype html><meta charset='utf-8'>{html}")
    with pytest.raises(AssertionError, match=complaint), visit(page_file):
        pass
