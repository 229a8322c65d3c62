"""What several test files share."""

import matplotlib
import pytest

from vaebook.data import Images, load

matplotlib.use("agg")  # no test opens a window


@pytest.fixture(scope="session")
def digits() -> Images:
    """The 5,000 real digits, on the device that the book computes on."""
    return load("mnist5k")
