"""A real browser for tests: Chromium without a network, which fails when a page complains.

A test module names it with `pytest_plugins = ["browser"]` and takes the fixture `visit`.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

# Chromium keeps two pages of its own beside each window, for its address bar, and a process in
# reserve; they take twice what a small page does. The rest are playwright's, whose list this ends.
UNUSED = (
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,SpareRendererForSitePerProcess,"
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,PaintHolding"
)
LOCAL_SCHEMES = {"file", "data", "blob", "about"}
LOCAL_HOSTS = ("localhost", "127.0.0.1")

# Widgets that the page has not yet set up, or that are computing.
UNFINISHED = ".static-widget:not([data-mounted]), .explorable-picture[aria-busy=true]"

Visit = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start the Chromium of this machine, which finds no host but this one.

    While it runs, playwright keeps an event loop open: no `asyncio.run` in the same process.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        _do_without("no Chromium is installed")
    excluded = ", ".join(f"EXCLUDE {host}" for host in LOCAL_HOSTS)
    arguments = [f"--host-resolver-rules=MAP * ~NOTFOUND, {excluded}"]
    arguments += [f"--disable-features={UNUSED}"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def visit(chromium: Browser) -> Visit:
    """Return `visit(file_or_address, **context_options)`, to be used in a `with` statement.

    It yields playwright's page. At its end it raises an AssertionError that lists the errors on
    the console, the exceptions nobody caught and the requests to any other host.
    """

    @contextmanager
    def visiting(target: Path | str, **options: Any) -> Iterator[Page]:
        complaints: list[str] = []
        context = chromium.new_context(**options)
        context.on("console", lambda message: _note_message(complaints, message))
        context.on("weberror", lambda error: complaints.append(f"exception: {error.error}"))
        context.on("request", lambda request: _note_request(complaints, request))
        try:
            page = context.new_page()
            page.goto(target.resolve().as_uri() if isinstance(target, Path) else target)
            if options.get("java_script_enabled", True):
                page.wait_for_selector(f"html:not(:has({UNFINISHED}))", state="attached")
            yield page
            for left in context.pages if options.get("java_script_enabled", True) else []:
                left.evaluate("new Promise(setTimeout)")  # what is under way may still fail
        except Exception as error:
            error.add_note(f"the page's complaints: {complaints}")
            raise
        finally:
            context.close()
        if complaints:
            raise AssertionError("the page complained: " + "; ".join(complaints))

    return visiting


def axe_findings(page: Page, inside: str = ".static-widget") -> list[str]:
    """Return what axe-core finds against the elements inside a selector: the rules and places."""
    violations = Axe().run(page, context=inside, options={"preload": False}).response["violations"]
    return [
        f"{rule['id']} ({rule['help']}): {node['target']} {node['failureSummary']}"
        for rule in violations
        for node in rule["nodes"]
    ]


def _note_message(complaints: list[str], message: Any) -> None:
    if message.type == "error":
        complaints.append(f"console: {message.text}")


def _note_request(complaints: list[str], request: Any) -> None:
    address = urlsplit(request.url)
    if address.scheme not in LOCAL_SCHEMES and address.hostname not in LOCAL_HOSTS:
        complaints.append(f"request to another host: {request.url}")
