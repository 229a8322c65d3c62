"""`make test` fails when a notebook does: when a cell raises, hangs, or kills its kernel."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from vaebook import book

NOTEBOOKS = {
    "healthy": ["x = 1", "assert x == 1"],
    "raises": ["x = 1", "assert x == 2"],
    "hangs": ["import time", "time.sleep(600)"],
    "dies": ["import os", "os._exit(1)", "x = 1"],
}


def flags() -> list[str]:
    """The flags of `make test`, with this process as the only worker, and little patience."""
    makefile = (book.ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"-m pytest (.*)", makefile)[1]
    for kept, here in ("-n 2 ", "-n 0 "), ("--nbval-cell-timeout=300", "--nbval-cell-timeout=3"):
        assert kept in found
        found = found.replace(kept, here)
    return found.split()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[int, str]:
    """Exit code and report of one run over all the notebooks."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, sources in NOTEBOOKS.items():
        nbformat.write(new_notebook(cells=[new_code_cell(s) for s in sources]), folder / f"{name}.ipynb")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *flags(),
            "-rA",
            "-p",
            "no:cacheprovider",
            "--rootdir=.",
            "--color=no",
        ],
        cwd=folder,
        # Without what an outer pytest tells its workers.
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_fails(run):
    code, report = run
    assert code == pytest.ExitCode.TESTS_FAILED, report


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("healthy", ["PASSED", "PASSED"], ""),
        ("raises", ["PASSED", "FAILED"], "Cell execution caused an exception"),
        ("hangs", ["PASSED", "FAILED"], "Timeout of 3 seconds exceeded"),
        ("dies", ["PASSED", "FAILED", "XFAIL"], "Failed to interrupt kernel"),
    ],
)
def test_each_notebook_ends_as_it_should(run, name, cells, reason):
    _, report = run
    ends = re.findall(rf"^([A-Z]+) {name}\.ipynb::Cell (\d+)", report, re.M)
    assert [end for end, _ in sorted(ends, key=lambda found: int(found[1]))] == cells, report
    told = re.search(rf"_ {name}\.ipynb::Cell 1 _+\n(.*?)\n_{{5}}", report + "\n_____", re.S)
    assert reason in (told[1] if told else "")
