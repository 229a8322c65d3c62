"""Table 1 of Burda et al. (2016), MNIST, one stochastic layer: VAE and IWAE beside the paper's figures.

    python benchmarks/paper_table.py                # a GPU: the whole schedule; a CPU: 10 minutes of it
    python benchmarks/paper_table.py --budget 60    # goes on from where the last run stopped

Encoder and decoder have two hidden layers of 200 tanh units each, z has 50 dimensions. VAE averages k draws
of log p(x, z) - log q(z|x); IWAE takes the importance-weighted bound of k draws. At k = 1 they are the same
model, which is trained once. Pixels are drawn anew, with their grey value as probability, whenever an image
is used. Adam takes batches of 20, and 3^i passes over the data at the learning rate 0.001 * 10^(-i/7), for
i = 0 to 7: 3,280 passes. Weights start as in Glorot and Bengio (2010), the pixels' biases at their log odds.

A budget cuts this schedule short and changes nothing else; a larger one goes on with it. The rows take turns,
so that the table compares them after equally many passes. Three quarters of a budget go to training, one
quarter to the test images; both end with a whole round of turns.

The negative log-likelihood (NLL) is minus the bound of 5,000 draws, on test images that were made binary
once, in a random order that is the same for all rows. Its standard error is that of the mean over images.

The authors' code (github.com/yburda/iwae) adds up the gradients of a batch, where `train_epoch` averages
them, so Adam's epsilon of 1e-4 becomes 1e-4 / 20 here. That code also differs from the paper, which this
script follows: it has beta1 = 0.99, starts Adam's second moments at 1, and rounds the learning rates. It
trains on the first 59,600 images in the order of the file, and counts active units on 500 of them; this
script trains on all 60,000 in random order, and counts on the test images.
"""

import argparse
import json
import math
import os
import platform
import signal
import sys
import time
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaebook import backprop
from vaebook.bounds import importance_weighted_bound
from vaebook.data import NAMES, DataError, Images, binarize, load
from vaebook.densities import reparameterize
from vaebook.device import default_device, seeded
from vaebook.evaluation import active_units
from vaebook.models import VAE
from vaebook.training import flushed_denormals, gradient_epoch, train_epoch

ROWS = {  # objective, k, and the paper's NLL and active units
    "vae1": ("vae", 1, 86.76, 19),
    "vae5": ("vae", 5, 86.47, 20),
    "vae50": ("vae", 50, 86.35, 20),
    "iwae5": ("iwae", 5, 85.54, 22),
    "iwae50": ("iwae", 50, 84.78, 25),
}
STAGES = 8
PASSES = sum(3**i for i in range(STAGES))
BATCH_SIZE = 20
SLICE = 5_000  # training images between two looks at the clock
DRAWS, TEST_BATCH = 5_000, 20  # draws of z for each test image; images between two looks at the clock
SAVE_EVERY = 20.0  # seconds, to which a slice may add
TRAINING_SHARE = 0.75  # of a budget
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


class CheckpointError(RuntimeError):
    """A checkpoint is damaged, or of other settings."""


def tanh_network(*widths: int) -> nn.Sequential:
    """Linear layers with a tanh between each two; first weights as in Glorot and Bengio (2010), uniform."""
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        linear = nn.Linear(n_in, n_out)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class PaperVAE(VAE):
    """The paper's networks, trained on the objective of one row of its table.

    Args:
        objective: "vae" or "iwae".
        k: draws of z for each image.
        pixel_means: (pixels,) of the training images.
    """

    def __init__(self, objective: str, k: int, pixel_means: Tensor):
        super().__init__()
        self.objective, self.k = objective, k
        pixels = len(pixel_means)
        self.encoder = tanh_network(pixels, 200, 200, 2 * 50)
        self.decoder = tanh_network(50, 200, 200, pixels)
        with torch.no_grad():  # clamped as in the authors' code
            self.decoder[-1].bias.copy_(pixel_means.clamp(0.001, 0.999).logit())

    def log_weights(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(k, batch), as `vaebook.bounds.log_weights` has them, but of all draws at once.

        A GPU would wait for each of 50 small draws, and for each check of a density's arguments.
        """
        mu, log_var = (t.expand(self.k, *t.shape) for t in self.encode(x))  # (k, batch, d)
        z = reparameterize(mu, log_var, generator)
        log_prior_to_q = 0.5 * ((z - mu).square() / log_var.exp() + log_var - z.square()).sum(-1)
        logits = self.decode(z)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
        return log_prior_to_q - cross_entropy.sum(-1)

    def loss_terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """ "loss" (batch,): minus the row's bound for grey images x, whose pixels are drawn here."""
        log_w = self.log_weights(torch.bernoulli(x, generator=generator), generator)
        bound = log_w.mean(0) if self.objective == "vae" else log_w.logsumexp(0) - math.log(self.k)
        return {"loss": -bound}


def learning_rate(passes: int) -> float:
    """The paper's, after so many whole passes."""
    stage = next(i for i in range(STAGES) if passes < (3 ** (i + 1) - 1) // 2)
    return 1e-3 * 10 ** (-stage / 7)


@torch.no_grad()
def nll(model: VAE, x: Tensor, draws: int, copies: int, generator: torch.Generator) -> Tensor:
    """(batch,) minus the importance-weighted bound of binary images, in nats.

    The draws are taken in turns, `copies` of them at once, which bounds the memory: batch * copies images.
    """
    bounds = importance_weighted_bound(model, x.repeat(copies, 1), draws // copies, generator)
    return math.log(copies) - bounds.view(copies, len(x)).logsumexp(0)


class Row:
    """One model of the table: how far it is, and its checkpoint."""

    def __init__(self, name: str, images: Images, seed: int, folder: Path):
        device = images.train.device
        objective, k, *_ = ROWS[name]
        self.name, self.seed, self.path, self.saved = name, seed, folder / f"{name}.pt", True
        self.settings = {
            "row": name,
            "data": images.name,
            "seed": seed,
            "device": device.type,
            "batch size": BATCH_SIZE,
            "slice": SLICE,
        }
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = PaperVAE(objective, k, images.train.mean(0).cpu()).to(device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), betas=(0.9, 0.999), eps=1e-4 / BATCH_SIZE, fused=device.type != "mps"
        )
        self.generator = seeded(seed, device)
        self.gradients = None  # on a GPU: captured when training begins
        self.seen, self.seconds = 0, 0.0  # images, with repetition, and the time of training on them
        self.nll, self.nll_seconds = torch.empty(0), 0.0  # of the first test images

    def train(self, x: Tensor) -> None:
        """Go on by one slice of the present pass, whose order follows from the seed and its number."""
        begin = time.perf_counter()
        passes, start = divmod(self.seen, len(x))
        order = torch.randperm(len(x), generator=seeded(10_000 * self.seed + passes, "cpu"))
        part = x[order[start : start + SLICE].to(x.device)]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(passes)
        loss = self.one_epoch(part)
        if not math.isfinite(loss):
            raise ArithmeticError(f"{self.name}: the loss became {loss}. Run again, or try another --seed.")
        self.seen += len(part)
        self.seconds += time.perf_counter() - begin
        self.nll, self.nll_seconds, self.saved = torch.empty(0), 0.0, False

    def one_epoch(self, x: Tensor) -> float:
        """Train on each image once; the mean loss. On a GPU the steps are replays of one CUDA graph."""
        settings = self.optimizer, BATCH_SIZE, self.generator
        if x.device.type != "cuda":
            return train_epoch(self.model, x, *settings)["loss"]
        if self.gradients is None:
            by_autograd = backprop.by_autograd(self.model)
            self.gradients = backprop.captured(by_autograd, x[:BATCH_SIZE], self.generator)
        return gradient_epoch(self.gradients, x, *settings)["loss"]

    def evaluate(self, x: Tensor) -> None:
        """Go on by one batch of the binary test images."""
        begin, start = time.perf_counter(), len(self.nll)
        generator = seeded(10_000 * self.seed + start, x.device)
        copies = 5 if x.device.type == "cpu" else 250  # the faster for it: a CPU's cache is small
        new = nll(self.model, x[start : start + TEST_BATCH], DRAWS, copies, generator)
        self.nll = torch.cat([self.nll, new.cpu()])
        self.nll_seconds += time.perf_counter() - begin
        self.saved = False

    @property
    def evaluated(self) -> int:
        return len(self.nll)

    def save(self) -> None:
        """Write the checkpoint; until it is whole and on the disk, the one before stays."""
        state = {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "progress": (self.seen, self.seconds, self.nll, self.nll_seconds),
        }
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)
        self.saved = True

    def resume(self) -> None:
        """Go back to the checkpoint, if there is one.

        Raises:
            CheckpointError: it is damaged, or of other settings.
        """
        if not self.path.exists():
            return
        try:
            with zipfile.ZipFile(self.path) as archive:
                if archive.testzip():  # checks sums, which torch.load does not
                    raise ValueError("a checksum is wrong")
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            settings = state["settings"]
            if settings == self.settings:
                self.model.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.generator.set_state(state["generator"])
                self.seen, self.seconds, self.nll, self.nll_seconds = state["progress"]
        except OSError:
            raise
        except Exception as error:  # a damaged file raises almost anything
            raise CheckpointError(
                f"{self.path} is damaged ({str(error).splitlines()[0]}). Delete it, and this row "
                "starts anew; the other rows stay as they are."
            ) from error
        if settings != self.settings:
            raise CheckpointError(
                f"{self.path} was made with the settings {settings}, not {self.settings}. "
                "Name another --folder, or give the settings it was made with."
            )


class Stop:
    """While it is entered, Ctrl-C or SIGTERM ends work after the present slice; a second one, at once."""

    asked = False

    def __call__(self, *_) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("Stopping after this slice. Once more stops at once, and loses what is not saved.")

    def __enter__(self) -> "Stop":
        self.before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def abreast(rows: list[Row], step, place: str, goal: int, spent: str, limit: float, stop: Stop) -> None:
    """Take the rows that are least far a step on, until all are at the goal or the time is spent; then save.

    Args:
        step: called with a row, takes it on.
        place, goal: the attribute that says how far a row is, and where it ends.
        spent, limit: the attribute that holds a row's seconds, and what they may add up to.
    """

    def save() -> None:
        for row in rows:
            if not row.saved:
                row.save()

    saved_at = time.perf_counter()
    while not stop.asked and sum(getattr(row, spent) for row in rows) < limit:
        least = min(getattr(row, place) for row in rows)
        if least >= goal:
            break
        for row in rows:
            if getattr(row, place) > least or stop.asked:
                continue
            step(row)
            if time.perf_counter() - saved_at >= SAVE_EVERY:
                save()
                saved_at = time.perf_counter()
                far = ", ".join(f"{row.name} {getattr(row, place):,}" for row in rows)
                print(f"{time.strftime('%X')}  {place}: {far} of {goal:,} images", flush=True)
    save()


@torch.no_grad()
def summary(rows: list[Row], images: Images, test: Tensor) -> dict:
    """What the table shows, and what it was made with."""
    device = images.train.device
    result = {
        "data": images.name,
        "seed": rows[0].seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "draws": DRAWS,
        "rows": {},
    }
    for row in rows:
        n = len(row.nll)
        pairs = min(n, len(rows[0].nll))
        result["rows"][row.name] = {
            "passes": row.seen / len(images.train),
            "seconds": row.seconds + row.nll_seconds,
            "test_images": n,
            "nll": mean_and_error(row.nll),
            f"nll_minus_{rows[0].name}": mean_and_error(row.nll[:pairs] - rows[0].nll[:pairs]),
            "active_units": int(active_units(row.model.encode(test)[0]).sum()),
        }
    return result


def mean_and_error(values: Tensor) -> tuple[float, float] | None:
    """Mean and standard error; None of fewer than two values."""
    return (values.mean().item(), (values.std() / len(values) ** 0.5).item()) if len(values) > 1 else None


def table(result: dict) -> str:
    """The result as text."""
    first = next(iter(result["rows"]))
    lines = [
        f"{result['data']}, torch {result['torch']}, {result['threads']} thread(s), {result['device']}",
        f"{'':<16}{'NLL (nats)':^23}{'':>18}{'active units':>14}",
        f"{'row':<16}{'paper':>7}{'ours':>16}{'less ' + first:>18}{'paper':>8}{'ours':>6}"
        f"{f'passes of {PASSES:,}':>19}{'images':>8}{'seconds':>9}",
    ]
    for name, row in result["rows"].items():
        objective, k, paper, units = ROWS[name]
        ours, less = (
            "-" if pair is None else f"{pair[0]:.2f} ± {pair[1]:.2f}"
            for pair in (row["nll"], row[f"nll_minus_{first}"])
        )
        label = "VAE = IWAE, k=1" if k == 1 else f"{objective.upper()}, k={k}"
        lines.append(
            f"{label:<16}{paper:>7}{ours:>16}{'' if name == first else less:>18}{units:>8}"
            f"{row['active_units']:>6}{row['passes']:>19.2f}{row['test_images']:>8}{row['seconds']:>9.0f}"
        )
    lines.append(f"NLL: {result['draws']:,} draws for each of so many test images; ± is its standard error.")
    if result["data"] != "mnist":
        lines.append(f"Not the paper's data: {result['data']}.")
    if min(row["passes"] for row in result["rows"].values()) < PASSES:
        lines.append("Not the paper's training: its schedule from the start, cut short.")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="VAE and IWAE beside Table 1 of Burda et al. (2016).")
    parser.add_argument(
        "--data", choices=sorted(NAMES), help="default: mnist; mnist5k where that cannot be had"
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--budget",
        type=float,
        metavar="MINUTES",
        help="in all, earlier runs included; inf: the whole schedule; default: 10 on a CPU, else inf",
    )
    parser.add_argument("--test-images", type=int, metavar="N", help="at most; default: all that time allows")
    parser.add_argument("--folder", type=Path, help="of the checkpoints; default: in _build/paper_table")
    parser.add_argument("--json", action="store_true", help="write the result to benchmarks/results as well")
    options = parser.parse_args(arguments)
    device = default_device()
    budget = options.budget or (10 if device.type == "cpu" else math.inf)
    if options.budget is not None and not options.budget > 0:
        parser.error(f"--budget must be above 0 minutes; got {options.budget:g}")
    if options.seed < 0:
        parser.error(f"--seed must be 0 or more; got {options.seed}")
    try:
        images = load(options.data or "mnist", device)
    except DataError as error:
        if options.data:
            parser.exit(1, f"{error}\n")
        print(error, "Going on with mnist5k, which is not the paper's data.", sep="\n", file=sys.stderr)
        images = load("mnist5k", device)
    n = len(images.test) if options.test_images is None else options.test_images
    if not 2 <= n <= len(images.test):
        parser.error(f"--test-images must be from 2 to {len(images.test)} for {images.name}; got {n}")
    # Drawn on the CPU: the same on every device. In random order: MNIST's first half is easier than its last.
    test = binarize(images.test.cpu(), seeded(0, "cpu"))
    test = test[torch.randperm(len(test), generator=seeded(0, "cpu"))].to(device)

    folder = options.folder or ROOT / "_build/paper_table" / f"{images.name}_{device.type}_{options.seed}"
    rows = [Row(name, images, options.seed, folder) for name in ROWS if name in options.rows]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            row.resume()
        goal = PASSES * len(images.train)
        with flushed_denormals(), Stop() as stop:
            limit = 60 * budget * TRAINING_SHARE
            abreast(rows, lambda row: row.train(images.train), "seen", goal, "seconds", limit, stop)
            limit = 60 * budget * (1 - TRAINING_SHARE)
            abreast(rows, lambda row: row.evaluate(test[:n]), "evaluated", n, "nll_seconds", limit, stop)
    except (CheckpointError, ArithmeticError, OSError) as error:
        parser.exit(1, f"{error}\n")

    if stop.asked:
        print(f"Stopped, and saved in {folder}. The same command goes on.")
        return 130
    result = summary(rows, images, test)
    print(table(result))
    if any(row.seen < goal or len(row.nll) < n for row in rows):
        print(f"To go on: the same command with a larger budget, as in --budget {6 * budget:g}")
    if options.json:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"paper_table_{device.type}.json"
        file.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
