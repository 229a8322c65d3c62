"""What several test files share."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from vaebook.data import Images, load

matplotlib.use("agg")  # no test opens a window


@pytest.fixture(scope="session")
def digits() -> Images:
    """The 5,000 real digits, on the device that the book computes on."""
    return load("mnist5k")


@pytest.fixture
def no_leftovers():
    """The same weights at every run, and every figure closed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    plt.close("all")
