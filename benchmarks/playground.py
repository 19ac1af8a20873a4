"""Time the frames of the playground in Chromium while two networks train.

Run as `python benchmarks/playground.py`. Prints, for each pair of networks of 2 x 32 hidden units,
the milliseconds between frames and those of the work in a frame; 60 frames a second are one each
16.7 ms. Both rise with whatever else the machine does.
"""

import shutil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, sync_playwright

from robustnb.widgets.playground import Playground

PAIRS = (
    ("plain", "BANG"),
    ("plain", "PGD training"),
    ("fixed noise", "learned noise"),
    ("plain", "Bayesian weights"),
    ("winner takes all", "PNI"),
)
WARM_UP, FRAMES = 30, 180

# Times frames while the page plays: between their starts, and in what each has called.
PLAY = """async ([skipped, counted]) => {
  const [between, worked] = [[], []];
  let last = 0;
  const original = window.requestAnimationFrame;
  window.requestAnimationFrame = (callback) => original((time) => {
    const start = performance.now();
    callback(time);
    worked.push(performance.now() - start);
  });
  [...document.querySelectorAll("button")].find((one) => one.textContent === "Play").click();
  for (let i = 0; i < skipped + counted; i++) {
    const time = await new Promise(original);
    if (i >= skipped) between.push(time - last);
    if (i === skipped) worked.length = 0;
    last = time;
  }
  return [between.slice(1), worked];
}"""


def main() -> None:
    """Print the times of each pair."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        for pair in PAIRS:
            file = Path(folder, "page.html")
            html = Playground(pair, name="timed").static_html()
            file.write_text(f'<!doctype html><meta charset="utf-8">{html}')
            show(page, file, " and ".join(pair))
        browser.close()


def show(page: Page, file: Path, name: str) -> None:
    """Play a while, and print the medians and the slowest of twenty."""
    page.goto(file.as_uri())
    page.wait_for_selector("[data-mounted] .explorable-picture:not([aria-busy=true])")
    between, worked = page.evaluate(PLAY, [WARM_UP, FRAMES])
    page.get_by_role("button", name="Pause").click()
    page.wait_for_function("location.hash.includes('step=')")
    page.wait_for_selector(".explorable-picture:not([aria-busy=true])")
    print(
        f"{name}: {median(between):.1f} ms between frames ({slowest(between):.1f} for the slowest "
        f"of 20), {median(worked):.1f} ms of work in a frame ({slowest(worked):.1f})",
        flush=True,
    )


def slowest(times: list[float]) -> float:
    """Return the time that one of twenty exceeds."""
    return sorted(times)[int(0.95 * len(times))]


if __name__ == "__main__":
    main()
