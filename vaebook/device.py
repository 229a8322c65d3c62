"""Where tensors live, and where randomness comes from."""

import os

import torch


def default_device() -> torch.device:
    """The device that the book computes on.

    Reads the environment variable VAEBOOK_DEVICE: `auto` (default) takes CUDA if there is one, then
    Apple's MPS, then the CPU; `cpu`, `cuda`, `cuda:1` or `mps` name one.

    Raises:
        RuntimeError: the variable names a device that does not exist or is not available here.
    """
    wanted = os.environ.get("VAEBOOK_DEVICE", "auto").strip().lower() or "auto"
    found = ["cpu"]
    if torch.backends.mps.is_available():
        found = ["mps", *found]
    if torch.cuda.is_available():
        found = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *found]
    if wanted == "auto":
        return torch.device(found[0])
    if wanted.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise RuntimeError(
            f"VAEBOOK_DEVICE={wanted!r} is not a device this book knows. Use auto, cpu, cuda, cuda:1 or mps."
        )
    # Compared as text: torch.device("cuda:999") wraps to a negative index, and "cpu:7" is accepted as it is.
    if wanted not in found:
        raise RuntimeError(
            f"VAEBOOK_DEVICE={wanted!r} asks for a device that PyTorch does not find "
            f"(found: {', '.join(found)}). Set VAEBOOK_DEVICE=auto, or install a PyTorch build for it."
        )
    return torch.device(wanted)


def seeded(seed: int, device: torch.device | str | None = None) -> torch.Generator:
    """A random generator on `device` (the book's default device if None), started at `seed`."""
    return torch.Generator(device or default_device()).manual_seed(seed)
