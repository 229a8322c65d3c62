"""One chapter in JupyterLab: Run All, then its explorer moves."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest

from vaebook import book

CHAPTER = "4_2_lets_do_some_maths"  # the fastest
TOKEN = "for-the-test"
SECONDS = 240


@pytest.fixture
def lab(tmp_path):
    """JupyterLab over a copy of the chapter, which it may save; yields its address."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    shutil.copy(book.ROOT / "notebooks" / f"{CHAPTER}.ipynb", notebooks)
    private = {f"JUPYTER_{name}": str(tmp_path / name.lower()) for name in ("CONFIG_DIR", "RUNTIME_DIR")} | {
        f"JUPYTERLAB_{name}": str(tmp_path / name.lower()) for name in ("SETTINGS_DIR", "WORKSPACES_DIR")
    }
    settings = tmp_path / "settings_dir" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
                f"--ServerApp.root_dir={tmp_path}", f"--IdentityProvider.token={TOKEN}",
                "--LabApp.extension_manager=readonly",
            ],
            env={**os.environ, **private, "OMP_NUM_THREADS": "1"}, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield _address(log)
    finally:
        server.terminate()
        server.wait(30)


def _address(log) -> str:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if found := re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/lab", log.read_text()):
            address = f"http://127.0.0.1:{found[1]}"
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=30).close()
            return address
        time.sleep(0.5)
    raise TimeoutError(log.read_text()[-2000:])


def test_run_all_and_move_a_slider(lab, chromium):
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{lab}/lab/tree/notebooks/{CHAPTER}.ipynb?token={TOKEN}", timeout=120_000)
    idle = page.get_by_text(re.compile(r"\| Idle"))
    idle.wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.get_by_text(re.compile(r"\| Busy")).wait_for(timeout=30_000)
    idle.wait_for(timeout=1000 * SECONDS)
    assert page.locator(".jp-OutputArea-output[data-mime-type*=error]").count() == 0
    explorer = page.locator(".jp-OutputArea-output .vaebook-explorer").last
    explorer.wait_for(timeout=30_000)
    explorer.scroll_into_view_if_needed()
    control = explorer.locator("input[type=range]").nth(1)
    picture = explorer.locator(".picture")
    before = picture.screenshot()
    control.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert picture.screenshot() != before
    page.close()
