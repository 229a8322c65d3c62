"""How long an epoch takes: the book's `fit`, the usual DataLoader loop, and pythae.

    python benchmarks/training_speed.py --threads 1                 # 784-400-20, MNIST: 2 minutes
    python benchmarks/training_speed.py --model conv --threads 1    # a small convolutional VAE

All train the same layers from the same first weights, with Adam at a constant learning rate of 1e-3, on
batches of 128 binary images. loops.py holds the three loops, and says what of an epoch is timed. Each has a
process of its own, and they take turns, an epoch each, so that whatever else the machine does meanwhile slows
all of them down. "Ratio" is the median epoch's time over that of vaebook.

Before the first epoch the test images must have the same negative ELBO in all loops (same weights, same
noise); after the last they are scored again, so that no loop can be fast by doing less. "Off" is the
difference to vaebook's score, with its standard error over the test images. That error does not hold what
another seed would change, which is some tenths.

The floor is the time that three times the matrix products (and convolutions) of the forward pass take, at the
rate at which this machine multiplies large float32 matrices with as many threads, measured between the turns.
A part of it no loop computes: the gradient with respect to the images. "Needed" leaves it out. The table says
which share of a loop's time each of the two is.

Peak memory is that of the whole process, with PyTorch and the loading of the data. If MNIST is not to be had,
the training digits of mnist5k are repeated to 60,000: that costs the same, but the scores mean less.

pythae is installed into _build/pythae, an environment that borrows this one's PyTorch; without an index to
install it from, it is left out.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.loops import BATCH_SIZE, LOOPS, UsualVAE, finish
from vaebook.data import NAMES, DataError, binarize, load
from vaebook.device import default_device

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PYTHAE = HERE.parent / "_build" / "pythae"
# What it needs and the book does not have; but `dataclasses`, which it asks for, is part of Python.
PYTHAE_PACKAGES = (
    "pythae==0.1.2",
    "imageio==2.38.1",
    "pydantic==2.14.4",
    "pydantic-core==2.50.5",
    "annotated-types==0.8.0",
    "typing-inspection==0.4.5",
)
SIDE, PRODUCTS = 2048, 3  # of the matrices that measure the rate; how many products between two rounds
ENOUGH = 60_000  # images, where MNIST is not to be had
SAME = 0.01  # nats, to which untrained losses agree


class LoopError(RuntimeError):
    """A loop ended before its time, or does not train what the others train."""


class Worker:
    """A loop in a process of its own."""

    def __init__(self, python: str, options: list[str], errors: IO[str]):
        self.name, self.errors = options[0], errors
        self.process = subprocess.Popen(
            [python, str(HERE / "loops.py"), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def hear(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise LoopError(f"The loop {self.name} has ended. Its last words:\n{self.errors.read()[-2000:]}")
        return json.loads(line)

    def epoch(self) -> dict:
        with suppress(BrokenPipeError):  # then the loop has ended; hear says why
            os.write(self.process.stdin.fileno(), b"\n")
        return self.hear()


def pythae_python() -> str:
    """The Python of an environment with pythae, which is made if it is not there.

    Raises:
        subprocess.CalledProcessError: the packages cannot be installed; its `stderr` says why.
    """
    python = PYTHAE / "bin" / "python"
    works = [python, "-c", "import pythae.pipelines"]
    if not python.exists() or subprocess.run(works, capture_output=True).returncode:
        venv.create(PYTHAE, clear=True, symlinks=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        borrowed = PYTHAE / "lib" / version / "site-packages" / "borrowed.pth"
        borrowed.write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", *PYTHAE_PACKAGES]
        subprocess.run(install, check=True, capture_output=True, text=True)
    return str(python)


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations a second in one product of large float32 matrices."""
    a = torch.rand(SIDE, SIDE, device=device)
    finish()
    start = time.perf_counter()
    a @ a
    finish()
    return 2 * SIDE**3 / (time.perf_counter() - start)


def flops(model: str, z_dim: int) -> tuple[int, int]:
    """Floating-point operations of matrix products and convolutions, for an image: forward, and of a step."""
    vae, x = UsualVAE(model, z_dim), torch.zeros(1, 784)
    with FlopCounterMode(display=False) as forward:
        loss = vae.loss(x)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()


def find_data(name: str) -> tuple[str, list[str], int, torch.Tensor]:
    """The data's name, the options that name it for a loop, images to train on, binary images to test on."""
    try:
        images = load(name, "cpu")
        return name, ["--data", name], len(images.train), binarize(images.test).byte()
    except DataError as error:
        print(error, f"Going on with mnist5k, repeated to {ENOUGH} images.", sep="\n", file=sys.stderr)
    options = ["--data", "mnist5k", "--images", str(ENOUGH)]
    return "mnist5k_repeated", options, ENOUGH, binarize(load("mnist5k", "cpu").test).byte()


def take_turns(
    commands: dict[str, tuple[str, list[str]]], test: torch.Tensor, epochs: int, threads: int
) -> tuple[dict[str, dict], float]:
    """Train an epoch with each loop, and again.

    Args:
        commands: name -> the Python to run it with, and the options of loops.py.
        test: (n, 784) binary test images, as bytes.

    Returns:
        name -> what the loop reported; and the median rate of matrix products, operations a second.
    """
    torch.set_num_threads(threads)
    device, rates = default_device(), []
    matrix_rate(device)  # the first one also sets up the library
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        torch.save(test, Path(folder, "test.pt"))
        common = ["--test", f"{folder}/test.pt", "--epochs", str(epochs), "--threads", str(threads)]
        workers, results = {}, {}
        for name, (python, options) in commands.items():
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            workers[name] = Worker(python, [*options, *common], errors)
            stack.enter_context(workers[name].process)  # closes its input at the end, which ends it
            results[name] = workers[name].hear() | {"seconds": []}
            workers[name].hear()  # that it is ready: nobody sets anything up while another trains
        for _ in range(epochs):
            for name, worker in workers.items():
                epoch = worker.epoch()
                results[name]["seconds"].append(epoch.pop("seconds"))
                results[name] |= epoch  # its peaks of memory
                results[name] |= worker.hear()  # that it is ready again; after the last epoch, its scores
            rates += [matrix_rate(device) for _ in range(PRODUCTS)]
        for name in workers:
            results[name].pop("ready", None)
            results[name]["median_seconds"] = statistics.median(results[name]["seconds"])
            for moment in ("untrained", "scores"):
                results[name][f"{moment}_mean"] = statistics.fmean(results[name][moment])
    return results, statistics.median(rates)


def chip(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def setting(threads: int) -> dict:
    """What a measurement depends on, besides what is measured."""
    device = default_device()
    return {
        "device": device.type,
        "chip": chip(device),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def measure(model: str, data: str, epochs: int, threads: int, loops: list[str]) -> dict:
    """Train with the loops in turns, and say how long each epoch took and what came of it.

    Raises:
        LoopError: a loop has ended, or the loops do not start from the same loss.
    """
    data, data_options, n, test = find_data(data)
    commands, remarks = {}, []
    for loop in loops:
        python = sys.executable
        if loop == "pythae":
            try:
                python = pythae_python()
            except subprocess.CalledProcessError as error:
                print(error.stderr, file=sys.stderr)
                remarks.append(f"{PYTHAE_PACKAGES[0]} is left out: it could not be installed.")
                continue
        commands[loop] = python, [loop, "--model", model, *data_options]
    results, rate = take_turns(commands, test, epochs, threads)
    forward, needed = (n * operations for operations in flops(model, z_dim=20))
    first = next(iter(results.values()))
    for name, result in results.items():
        if abs(result["untrained_mean"] - first["untrained_mean"]) > SAME:
            raise LoopError(f"{name} starts from {result['untrained_mean']}, not {first['untrained_mean']}.")
        off = [a - b for a, b in zip(result["scores"], first["scores"], strict=True)]
        result["off"], result["off_error"] = statistics.fmean(off), statistics.stdev(off) / len(off) ** 0.5
        result["ratio"] = result["median_seconds"] / first["median_seconds"]
        result["reached"] = 3 * forward / rate / result["median_seconds"]
        result["reached_of_needed"] = needed / rate / result["median_seconds"]
    for result in results.values():  # the file holds their means
        del result["untrained"], result["scores"]
    return {
        "model": model,
        "data": data,
        "images": n,
        "epochs": epochs,
        **setting(threads),
        "matrix_rate": rate,
        "floor_seconds": 3 * forward / rate,
        "needed_seconds": needed / rate,
        "remarks": remarks,
        "loops": results,
    }


def heading(result: dict) -> str:
    threads = "1 thread" if result["threads"] == 1 else f"{result['threads']} threads"
    return (
        f"{result['data']}, {result['model']}, batch {BATCH_SIZE}, {result['epochs']} epochs each, in turns\n"
        f"{result['chip']} {result['device']}, {threads}, Python {result['python']}, torch {result['torch']}"
    )


def table(result: dict) -> str:
    """The result as text."""
    lines = [
        heading(result),
        f"{'loop':<12}{'version':>14}{'s/epoch':>9}{'ratio':>7}{'floor':>7}{'needed':>8}{'test -ELBO':>12}"
        f"{'off':>15}{'peak MB':>9}  every epoch (s)",
    ]
    for name, loop in result["loops"].items():
        memory = f"{loop['peak_mb']:.0f}" + (f"+{loop['gpu_mb']:.0f}" if loop["gpu_mb"] else "")
        each = " ".join(f"{seconds:.2f}" for seconds in loop["seconds"])
        lines.append(
            f"{name:<12}{loop['version']:>14}{loop['median_seconds']:>9.2f}{loop['ratio']:>7.2f}"
            f"{loop['reached']:>7.0%}{loop['reached_of_needed']:>8.0%}{loop['scores_mean']:>12.2f}"
            f"{loop['off']:>+8.2f} ± {loop['off_error']:.2f}{memory:>9}  {each}"
        )
    lines.append(
        f"{result['images']} images; floor {result['floor_seconds']:.2f} s, needed of it "
        f"{result['needed_seconds']:.2f} s, at {result['matrix_rate'] / 1e9:.1f} GFLOP/s"
    )
    return "\n".join(lines + result["remarks"])


def save(result: dict, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    file = f"{name}_{result['data']}_{result['device']}_{result['threads']}.json"
    (RESULTS / file).write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds per epoch of three training loops.")
    parser.add_argument("--model", choices=["mlp", "conv"], default="mlp")
    parser.add_argument("--data", choices=sorted(NAMES), default="mnist")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS))
    options = parser.parse_args()
    result = measure(**vars(options))
    print(table(result))
    save(result, f"training_speed_{options.model}")


if __name__ == "__main__":
    main()
