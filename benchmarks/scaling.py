"""What an epoch of `fit` costs against the number of images, and against the number of latent dimensions.

    python benchmarks/scaling.py --threads 1    # MNIST: 2 minutes

Model, training and clock are those of training_speed.py (784-400-z). Each size has a process of its own, and
all of them take turns, an epoch each. The number of images varies at 20 latent dimensions; the latent
dimensions vary at 20,000 images.
"""

import argparse
import sys

import torch

from benchmarks.training_speed import find_data, flops, heading, save, setting, take_turns
from vaebook.data import NAMES

IMAGES, Z_DIMS = (5_000, 20_000, 60_000), (2, 10, 20, 50, 100)
SIZES = [(n, 20) for n in IMAGES] + [(20_000, z_dim) for z_dim in Z_DIMS if z_dim != 20]


def measure(data: str, epochs: int, threads: int, sizes: list[tuple[int, int]]) -> dict:
    """Seconds per epoch at each size: (images, latent dimensions)."""
    data, options, _, test = find_data(data)
    commands = {}
    for n, z_dim in sizes:  # of two --images the last one counts
        worker = ["vaebook", *options, "--images", str(n), "--z-dim", str(z_dim)]
        commands[n, z_dim] = sys.executable, worker
    results, rate = take_turns(commands, test, epochs, threads)
    rows = [
        {
            "images": n,
            "z_dim": z_dim,
            "seconds": result["seconds"],
            "median_seconds": result["median_seconds"],
            "microseconds_per_image": 1e6 * result["median_seconds"] / n,
            "reached": 3 * n * flops("mlp", z_dim)[0] / rate / result["median_seconds"],
            "peak_mb": result["peak_mb"],
            "test_negative_elbo": result["scores_mean"],
        }
        for (n, z_dim), result in results.items()
    ]
    return {
        "model": "mlp",
        "data": data,
        "epochs": epochs,
        **setting(threads),
        "matrix_rate": rate,
        "rows": rows,
    }


def table(result: dict) -> str:
    """The result as text."""
    lines = [
        heading(result),
        f"{'images':>7}{'z':>5}{'s/epoch':>9}{'us/image':>10}{'floor':>7}{'peak MB':>9}  every epoch (s)",
    ]
    for row in sorted(result["rows"], key=lambda row: (row["images"], row["z_dim"])):
        lines.append(
            f"{row['images']:>7}{row['z_dim']:>5}{row['median_seconds']:>9.3f}"
            f"{row['microseconds_per_image']:>10.1f}{row['reached']:>7.0%}{row['peak_mb']:>9.0f}  "
            + " ".join(f"{seconds:.2f}" for seconds in row["seconds"])
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds per epoch against images and latent dimensions.")
    parser.add_argument("--data", choices=sorted(NAMES), default="mnist")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    result = measure(**vars(options), sizes=SIZES)
    print(table(result))
    save(result, "scaling")


if __name__ == "__main__":
    main()
