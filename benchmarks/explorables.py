"""Time the networks of the page in Chromium: from the slider's event to the painted frame.

Run as `python benchmarks/explorables.py`. A time to the painted frame holds the wait for the next
frame, up to 17 ms, and whatever else the machine does; computation alone is printed beside it.
"""

import shutil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from playwright.sync_api import Page, sync_playwright
from torch import nn

from robustnb.data import load
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights
from robustnb.widgets.attack import AttackExplorer
from robustnb.widgets.modules import sources
from robustnb.widgets.static import HERE

NETWORK = "FC-100-100-10"
REPEATS = 50

# Moves the slider and resolves with the milliseconds from its event to the frame that shows the
# answer. A message arrives after the frame is painted in whose callbacks it was sent.
TO_PAINT = """() => new Promise((resolve) => {
  const slider = document.querySelector("input[type=range]");
  const bars = document.querySelector(".explorable-bars");
  const start = performance.now();
  let isFrame = false;
  const painted = () => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => resolve(performance.now() - start);
    channel.port2.postMessage(null);
  };
  const observer = new MutationObserver(() => {
    observer.disconnect();
    if (isFrame) painted();
    else requestAnimationFrame(painted);
  });
  observer.observe(bars, { childList: true });
  requestAnimationFrame(() => {
    isFrame = true;
    setTimeout(() => (isFrame = false));
  });
  slider.value = (Number(slider.value) + 1) % Number(slider.max);
  slider.dispatchEvent(new Event("input", { bubbles: true }));
})"""
COMPUTED = """([work, repeats]) => {
  const run = new Function("network", "image", `return () => { ${work} };`);
  const once = run(window.loaded, window.pixels);
  const times = [];
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    once();
    times.push(performance.now() - start);
  }
  return times;
}"""
LOAD = """([{ networks, pictures, blobs }]) => {
  window.loaded = loadNetwork(networks[0].network, blobs);
  window.pixels = decodeTensor(pictures, blobs);
}"""
GRADIENT = "for (const _ of NAMESteps(network, image, 3, { eps: 0.1, alpha: 0.025, steps: 10 }));"
SAMPLES = "sampleLogits(network, image, 100, randomGenerator(0))"


def main() -> None:
    """Print the median of each time and the largest one that is wanted."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        file = Path(folder, "page.html")
        for name, layer, attack, work, wanted in (
            ("FGSM", nn.Linear, "FGSM", GRADIENT.replace("NAME", "fgsm"), 16),
            ("PGD, 10 steps", nn.Linear, "PGD", GRADIENT.replace("NAME", "pgd"), 50),
            ("100 weight samples", BayesianLinear, "FGSM", SAMPLES, 50),
        ):
            widget = explorer(layer, attack)
            painted = time_to_paint(page, file, widget)
            computed = time_to_compute(page, widget, work)
            show(name, painted, computed, wanted)
        browser.close()


def explorer(layer: type[nn.Module], attack: str) -> AttackExplorer:
    """Return an explorable of one network that nobody trained, which costs the same time."""
    with initial_weights(0):
        model = fully_connected(NETWORK, layer=layer)
    images, labels = load("digits").split("test")
    return AttackExplorer(model, images[:1], labels[:1], attack=attack, eot_samples=1)


def time_to_paint(page: Page, file: Path, widget: AttackExplorer) -> list[float]:
    """Return the milliseconds from an event of the slider to the frame with the answer."""
    file.write_text(f'<!doctype html><meta charset="utf-8">{widget.static_html()}')
    page.goto(file.as_uri())
    page.wait_for_selector(".explorable-bars .bar", state="attached")
    return [page.evaluate(TO_PAINT) for _ in range(REPEATS + 5)][5:]


def time_to_compute(page: Page, widget: AttackExplorer, work: str) -> list[float]:
    """Return the milliseconds of the computation alone, in a page without a picture."""
    page.goto("about:blank")
    page.add_script_tag(content="\n".join(sources(HERE / "attacks.js")))
    page.evaluate(LOAD, [widget.get_state(["networks", "pictures", "blobs"])])
    times: list[float] = page.evaluate(COMPUTED, [work, REPEATS + 5])
    return times[5:]


def show(name: str, painted: list[float], computed: list[float], wanted: float) -> None:
    """Print the medians of both times."""
    print(
        f"{name}: {median(painted):.1f} ms to the painted frame, wanted at most {wanted}; "
        f"computation alone {median(computed):.2f} ms, at best {min(computed):.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
