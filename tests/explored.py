"""What the tests of the explorers share."""

import io

import numpy as np
from PIL import Image

from vaebook.explorers import Explorer


def picture(explorer: Explorer, **values) -> np.ndarray:
    """The pixels of the still figure with these controls moved."""
    file = io.BytesIO()
    explorer.still(**values).savefig(file, format="png", dpi=60)
    return np.asarray(Image.open(file).convert("RGB")).astype(float)


def assert_moves(explorer: Explorer, moves: dict) -> None:
    """Each move changes the picture and the state, and the way back restores the picture."""
    for name, value in moves.items():
        start, before = explorer.values[name], picture(explorer)
        old, new = explorer.state(), explorer.state(**{name: value})
        assert new != old
        assert explorer.state() == old  # asking for a state moves nothing
        assert np.abs(picture(explorer, **{name: value}) - before).max() > 50
        assert explorer.state() == new
        np.testing.assert_array_equal(picture(explorer, **{name: start}), before)
