"""What several test files share."""

from contextlib import contextmanager, nullcontext

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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


class StandInGraph(TorchDispatchMode):
    """What a CUDA graph does, on the CPU: it notes every operation, and repeats all on the same memory."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a recorded operation asks for a number")
        out = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, out))
        return out

    def register_generator_state(self, generator):
        pass  # a CPU's generator goes on drawing by itself

    def replay(self):
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for operation, args, kwargs, out in self.operations:
                again = operation(*args, **kwargs)
                for old, new in zip(*((o,) if torch.is_tensor(o) else o for o in (out, again)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@pytest.fixture
def cuda_graphs(monkeypatch):
    """PyTorch's names for CUDA graphs, with a stand-in that records what runs on the CPU."""

    class Stream:
        def wait_stream(self, other):
            pass

    @contextmanager
    def record(graph):
        with graph:
            yield

    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Stream)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", StandInGraph)
    monkeypatch.setattr(torch.cuda, "graph", record)
