"""A real browser, and the built site: `make test-browser` runs what stands here, `make test` does not."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from built_site import SITE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It runs as root in a container too, and asks nobody for updates.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not (SITE / "index.html").exists():
        pytest.exit("There is no site in _build/html. Run `make html` first.", returncode=4)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.exit("There is no Chromium. On Debian and Ubuntu: sudo apt install chromium", returncode=4)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page, and what it did that it should not do: `complaints`."""

    def __init__(self, page: Page, allowed: str):
        self.page, self.complaints = page, []
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        page.on("console", self._said)
        page.on("request", lambda request: self._asked(request.url, allowed))
        page.on("requestfailed", lambda request: self.complaints.append(f"not there: {request.url}"))

    def _said(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, url: str, allowed: str) -> None:
        if not url.startswith((allowed, "data:", "blob:")):
            self.complaints.append(f"asked for {url}")


@pytest.fixture
def opened(chromium) -> Iterator[Callable[..., Watched]]:
    """Opens a page of the site from the disk, as `opened("index.html", width=390, color_scheme="dark")`."""
    contexts = []

    def open_page(name: str, width: int = 1400, height: int = 900, **options) -> Watched:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        watched = Watched(context.new_page(), SITE.as_uri())
        watched.page.goto(f"{SITE.as_uri()}/{name}", wait_until="load")
        return watched

    yield open_page
    for context in contexts:
        context.close()
