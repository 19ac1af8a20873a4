"""The controls, the address and the small pictures that all explorables share, in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import traitlets
from playwright.sync_api import Page, expect

from robustnb.widgets.static import HERE, StaticWidget

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

MODULE = """
import { drawBars } from "HERE/charts.js";
import {
  button,
  choice,
  drawImage,
  element,
  explorable,
  follow,
  inSlices,
  offer,
  panel,
  pictureChoice,
  say,
  slider,
  svgElement,
  turnOff,
} from "HERE/controls.js";

function render({ model, el }) {
  const frame = explorable(model, el, { label: "Made for tests" });
  slider(frame, { name: "eps", label: "strength", min: 0, max: 0.3, step: 0.1 });
  choice(frame, { name: "digit", label: "digit", options: [3, 5, 8] });
  choice(frame, {
    name: "attack",
    label: "attack",
    options: Array.from("abcdefg", (value) => ({ value, label: `attack ${value}` })),
  });
  const pictures = [0, 0.5, 1].map((grey) => new Float32Array(4).fill(grey));
  const labels = ["black", "grey", "white"];
  pictureChoice(frame, { name: "image", label: "image", pictures, shape: [1, 2, 2], labels });
  button(frame, { name: "more", label: "More", press: () => model.set("eps", 0.3) });
  const canvas = element("canvas", { role: "img", ariaLabel: "four pixels" });
  const svg = svgElement("svg");
  panel(frame, "Pixels", canvas);
  panel(frame, "Bars", svg);
  drawImage(canvas, [0, 1, 0.5, 2], [1, 2, 2]);
  globalThis.computed = [];
  follow(frame, ["eps", "digit", "attack", "image"], ({ eps, digit, attack, image }) => {
    computed.push(eps);
    drawBars(svg, [0.2, 0.7, 0.1], {
      labels: ["<b>", "5", "8"],
      truth: 2,
      dots: [[0, 1, 0], [0.5, 0.25, 0.25]],
      description: "Mostly 5.",
    });
    say(frame, `eps ${eps}, digit ${digit}, ${attack}, image ${image}.`);
  });
  globalThis.made = { frame, inSlices, offer, turnOff };
  return frame.close;
}

export default { render };
"""

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> type[StaticWidget]:
    """Return a widget with one control of each kind."""
    module = tmp_path_factory.mktemp("made") / "made.js"
    module.write_text(MODULE.replace("HERE", str(HERE)))

    class Made(StaticWidget):
        _module = module
        _shared = ("eps", "digit", "attack", "image")
        eps = traitlets.Float(0.1).tag(sync=True)
        digit = traitlets.Int(3).tag(sync=True)
        attack = traitlets.Unicode("b").tag(sync=True)
        image = traitlets.Int(0).tag(sync=True)

    return Made


@pytest.fixture
def open_page(made: type[StaticWidget], visit: Visit, tmp_path: Path) -> Open:
    """Return `open_page(hash, *widgets, **context_options)`, which shows widgets from a file."""

    @contextmanager
    def opened(place: str = "", *widgets: StaticWidget, **options: Any) -> Iterator[Page]:
        file = tmp_path / "page.html"
        body = "".join(widget.static_html() for widget in widgets or [made()])
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        file.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")
        with visit(f"{file.as_uri()}{place}", **options) as page:
            yield page

    return opened


def line(page: Page, index: int = 0) -> Any:
    return expect(page.locator("[aria-live=polite]").nth(index))


def test_every_control_is_native_named_and_moves_its_trait(open_page: Open) -> None:
    with open_page() as page:
        page.get_by_role("slider", name="strength").press("ArrowRight")
        line(page).to_have_text("eps 0.2, digit 3, b, image 0.")
        page.get_by_role("radio", name="8", exact=True).check()
        page.get_by_role("combobox", name="attack").select_option("attack g")
        page.get_by_role("radio", name="grey").press("ArrowRight")
        line(page).to_have_text("eps 0.2, digit 8, g, image 2.")
        page.get_by_role("button", name="More").click()
        line(page).to_have_text("eps 0.3, digit 8, g, image 2.")
        expect(page.get_by_role("slider", name="strength")).to_have_attribute(
            "aria-valuetext", "0.3"
        )


def test_many_events_make_one_computation_a_frame(open_page: Open) -> None:
    with open_page() as page:
        page.evaluate("""() => {
          const input = document.querySelector("input[type=range]");
          for (const place of [0, 1, 2, 3, 2]) {
            input.value = place;
            input.dispatchEvent(new Event("input"));
          }
        }""")
        line(page).to_have_text("eps 0.2, digit 3, b, image 0.")
        assert page.evaluate("computed") == [0.1, 0.2]


def test_the_text_changes_four_times_a_second_at_most_and_ends_with_the_newest(
    open_page: Open,
) -> None:
    with open_page() as page:
        texts = page.evaluate("""async () => {
          const [line, input] = ["[aria-live=polite]", "input[type=range]"].map((selector) =>
            document.querySelector(selector));
          const texts = [];
          new MutationObserver(() => texts.push(line.textContent)).observe(line, {
            childList: true,
          });
          const start = performance.now();
          for (let place = 0; performance.now() - start < 1000; place++) {
            input.value = place % 4;
            input.dispatchEvent(new Event("input"));
            await new Promise(requestAnimationFrame);
          }
          input.value = 3;
          input.dispatchEvent(new Event("input"));
          return texts;
        }""")
        assert 2 <= len(texts) <= 4
        assert len(page.evaluate("computed")) > 3 * len(texts)  # the picture does not wait
        line(page).to_have_text("eps 0.3, digit 3, b, image 0.")


def test_a_control_that_is_off_says_why(open_page: Open) -> None:
    with open_page() as page:
        height = page.evaluate("document.body.scrollHeight")
        page.evaluate("made.turnOff(document.querySelector('[type=range]'), 'There is no more.')")
        slider, reason = page.get_by_role("slider"), page.get_by_text("There is no more.")
        expect(slider).to_be_disabled()
        expect(slider).to_have_accessible_description("There is no more.")
        expect(reason).to_be_visible()
        expect(page.locator("output")).to_be_hidden()
        assert page.evaluate("document.body.scrollHeight") == height
        page.evaluate("made.turnOff(document.querySelector('[type=range]'), '')")
        expect(slider).to_be_enabled()
        expect(slider).to_have_accessible_description("")
        expect(reason).to_have_count(0)
        expect(page.locator("output")).to_be_visible()


def test_a_button_without_effect_leaves_its_place(open_page: Open) -> None:
    with open_page() as page:
        button, place = page.get_by_role("button", name="More"), "document.querySelector('button')"
        box = button.bounding_box()
        page.evaluate(f"made.offer({place}, false)")
        expect(button).to_have_count(0)
        page.evaluate(f"made.offer({place}, true)")
        assert button.bounding_box() == box


def test_pictures_become_smaller_on_a_phone_that_is_turned(open_page: Open) -> None:
    with open_page(viewport={"width": 844, "height": 390}) as page:
        bars = page.get_by_role("img", name="Mostly 5.")
        wide = bars.bounding_box()
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_selector(".explorable-narrow")
        page.wait_for_function("document.querySelector('[aria-busy=true]') === null")
        narrow = bars.bounding_box()
        assert wide is not None
        assert narrow is not None
        assert narrow["height"] < 0.7 * wide["height"]
        sizes = bars.locator("text").evaluate_all(
            "texts => texts.map((t) => parseFloat(getComputedStyle(t).fontSize) *"
            " t.getScreenCTM().a)"
        )
        assert min(sizes) >= 10


def test_newer_work_ends_the_older_and_the_page_lives_on(open_page: Open) -> None:
    with open_page() as page:
        seen = page.evaluate("""async () => {
          const { frame } = made;
          const seen = [];
          function* endless(name) {
            for (;;) yield seen.push(name);
          }
          function* short() {
            yield;
            seen.push("done");
          }
          made.inSlices(frame, endless("old"));
          const busy = frame.picture.ariaBusy;
          await new Promise(setTimeout);
          made.inSlices(frame, short());
          const old = seen.filter((name) => name === "old").length;
          await new Promise((resolve) => setTimeout(resolve, 50));
          return [busy, seen.filter((name) => name === "old").length === old,
            seen.at(-1), frame.picture.ariaBusy];
        }""")
        assert seen == ["true", True, "done", "false"]


def test_the_address_follows_the_controls_and_a_reload_restores_them(open_page: Open) -> None:
    with open_page("#heading&other.eps=7&made.gone=1") as page:
        page.get_by_role("slider").press("End")
        page.get_by_role("radio", name="5").check()
        page.wait_for_url("**#heading&other.eps=7&made.eps=0.3&made.digit=5&made.attack=b*")
        page.reload()
        line(page).to_have_text("eps 0.3, digit 5, b, image 0.")
        expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "0.3")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("#made.eps=0.2&made.digit=8", "eps 0.2, digit 8, b, image 0."),
        ("#made.eps=0.12", "eps 0.1, digit 3, b, image 0."),
        ("#made.eps=99&made.image=-4&made.digit=4", "eps 0.3, digit 3, b, image 0."),
        ("#made.eps=&made.digit=x&made.attack=%E0%A4%A", "eps 0.1, digit 3, a, image 0."),
        ("#made.attack=f&made.image=2.4", "eps 0.1, digit 3, f, image 2."),
        ("#made", "eps 0.1, digit 3, b, image 0."),
    ],
)
def test_an_address_by_hand_becomes_what_comes_nearest(
    open_page: Open, place: str, text: str
) -> None:
    with open_page(place) as page:
        line(page).to_have_text(text)


def test_a_choice_that_is_not_there_is_said(open_page: Open) -> None:
    with open_page("#made.attack=z&made.digit=4&made.eps=0.20&made.image=1") as page:
        expect(page.locator(".explorable-notice")).to_have_text(
            "In the address, attack cannot be z; digit 4 became 3."
        )


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("#nosuch.x=1&nosuch.y=2", "nosuch is no explorable of this page: made are"),
        ("#made=5", "made needs a dot and a setting: "),
    ],
)
def test_a_name_that_is_not_there_is_said(open_page: Open, place: str, text: str) -> None:
    with open_page(place) as page:
        expect(page.locator(".explorable-notice")).to_contain_text(f"In the address, {text}")


def test_a_link_in_the_text_moves_the_widget(open_page: Open) -> None:
    with open_page() as page:
        page.evaluate("location.hash = '#made.eps=0.3&made.attack=d'")
        line(page).to_have_text("eps 0.3, digit 3, d, image 0.")


def test_namesakes_have_addresses_of_their_own(made: type[StaticWidget], open_page: Open) -> None:
    widgets = made(), made(digit=8), made(name="third")
    with open_page("#made-2.eps=0.3&third.eps=0", *widgets) as page:
        line(page, 0).to_have_text("eps 0.1, digit 3, b, image 0.")
        line(page, 1).to_have_text("eps 0.3, digit 8, b, image 0.")
        line(page, 2).to_have_text("eps 0, digit 3, b, image 0.")
        page.get_by_role("slider").nth(0).press("Home")
        page.wait_for_url("**#made-2.eps=0.3&third.eps=0&made.eps=0&**")


def test_a_shared_link_leads_to_its_widget(made: type[StaticWidget], open_page: Open) -> None:
    widgets = [made() for _ in range(5)]
    with open_page("#made-5.eps=0.3", *widgets) as page:
        expect(page.get_by_role("slider").nth(4)).to_be_in_viewport()


def test_the_address_hides_controls(open_page: Open) -> None:
    with open_page("#made.hide=eps,copy,image&made.digit=5") as page:
        expect(page.get_by_role("slider")).to_have_count(0)
        expect(page.get_by_role("button")).to_have_text(["More"])
        expect(page.get_by_role("radio")).to_have_count(3)
        page.get_by_role("radio", name="8").check()
        page.wait_for_url("**&made.image=0&made.hide=eps,copy,image")


def test_python_hides_controls(made: type[StaticWidget], open_page: Open) -> None:
    with open_page("", made(hidden=["more", "copy", "attack"])) as page:
        expect(page.get_by_role("button")).to_have_count(0)
        expect(page.locator(".explorable-buttons")).to_be_hidden()
        expect(page.get_by_role("combobox")).to_have_count(0)


def test_copy_link_copies_this_widget_alone(open_page: Open) -> None:
    with open_page("#other.eps=7", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.get_by_role("slider").press("End")
        page.get_by_role("button", name="Copy link").click()
        line(page).to_have_text("The link to this setting is copied.")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("file:///")
        assert copied.endswith("#made.eps=0.3&made.digit=3&made.attack=b&made.image=0")
        line(page).to_have_text("eps 0.3, digit 3, b, image 0.")  # again, after two seconds


def test_a_locked_clipboard_shows_the_link(open_page: Open) -> None:
    with open_page() as page:
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject('no') }")
        page.get_by_role("button", name="Copy link").click()
        line(page).to_have_text(re.compile("This setting's link: file:///.*#made.eps=0.1&"))


def test_pixels_and_bars_are_as_asked(open_page: Open) -> None:
    with open_page() as page:
        pixels = page.get_by_role("img", name="four pixels").evaluate(
            "canvas => [...canvas.getContext('2d').getImageData(0, 0, 2, 2).data]"
        )
        assert pixels == [0, 0, 0, 255, *[255] * 4, *[128] * 3, 255, *[255] * 4]
        bars = page.get_by_role("img", name="Mostly 5.")
        heights = [float(bar.get_attribute("height") or 0) for bar in bars.locator("rect").all()]
        assert [height / heights[1] for height in heights] == pytest.approx([2 / 7, 1, 1 / 7])
        expect(bars.locator("text.highest")).to_have_text("5")
        expect(bars.locator("text.truth")).to_have_text("8")
        expect(bars.locator("text").nth(2)).to_have_text("<b>")
        assert (bars.locator("path.dots").get_attribute("d") or "").count("M") == 6


def test_a_closed_frame_listens_no_more(open_page: Open) -> None:
    with open_page() as page:
        page.evaluate("""async () => {
          const { frame } = made;
          frame.model.set("eps", 0.2);
          frame.close();
          frame.model.set("eps", 0.3);
          await new Promise(requestAnimationFrame);
        }""")
        assert page.evaluate("computed") == [0.1]


def test_names_are_fit_for_the_address(made: type[StaticWidget]) -> None:
    assert made().name == "made"
    message = "^name is 'a.b': it must be letters, digits, '-' and '_', for the address.$"
    with pytest.raises(traitlets.TraitError, match=message):
        made(name="a.b")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Open, width: int, scheme: str) -> None:
    from browser import axe_findings

    size = {"width": width, "height": 900}
    with open_page(viewport=size, color_scheme=scheme) as page:
        page.evaluate(f"document.documentElement.style.colorScheme = '{scheme}'")
        assert axe_findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
