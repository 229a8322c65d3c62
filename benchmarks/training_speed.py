"""How long an epoch takes: the book's training loop against the usual DataLoader loop.

    python benchmarks/training_speed.py --data mnist --epochs 5 --threads 1

Both loops train a VAE of 784-400-20, from the same first weights, with Adam at a constant learning rate of
1e-3, on batches of 128, and minimise the same two terms: cross-entropy of grey pixels plus KL divergence.
On grey pixels the cross-entropy is a reconstruction score and no log-likelihood, because the
"probabilities" of the grey values do not sum to one; it is here because the usual loop has it. Compare
these scores with each other only.

The usual loop is PyTorch's example VAE: torchvision's data set with ToTensor, a DataLoader with shuffle,
plain Adam, and `loss.item()` after every step. The book's loop is `train_epoch` on pixels that lie in
memory, with the optimizer and the flushing of denormals that `fit` gives it. It does not call `fit`,
because `fit` would start Adam anew at every call, and the loops have to take turns, an epoch each, so that
whatever else the machine does meanwhile slows down both. What `fit` adds around an epoch is a step of the
progress bar.

Data loading before the first epoch and scoring after the last are not timed. Both models are scored on the
test images, so that neither loop can be fast by doing less; scores of one loop with several seeds differ by
a few tenths.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from vaebook.data import NAMES, TORCHVISION, Images, data_folder, load
from vaebook.densities import kl_to_standard_normal, reparameterize
from vaebook.device import seeded
from vaebook.models import VAE
from vaebook.training import flushed_denormals, train_epoch

BATCH_SIZE, LEARNING_RATE, HIDDEN, Z_DIM = 128, 1e-3, 400, 20
RESULTS = Path(__file__).parent / "results"


def grey_score(logits: Tensor, x: Tensor) -> Tensor:
    """(batch,) minus the cross-entropy of grey pixels: no log-likelihood, see the top of this file."""
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


class GreyVAE(VAE):
    """The book's VAE with a reconstruction score that takes grey pixels."""

    def loss_terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        mu, log_var = self.encode(x)
        score = grey_score(self.decode(reparameterize(mu, log_var, generator)), x)
        kl = kl_to_standard_normal(mu, log_var)
        return {"loss": kl - score, "score": score, "kl": kl}


class BookLoop:
    name = "vaebook"

    def __init__(self, images: Images, seed: int):
        torch.manual_seed(seed)
        self.x, self.generator = images.train, seeded(seed, images.train.device)
        self.model = GreyVAE(784, Z_DIM, (HIDDEN,)).to(self.x.device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            LEARNING_RATE,
            fused=self.x.device.type != "mps",  # as in fit
        )

    def epoch(self) -> None:
        with flushed_denormals():
            train_epoch(self.model, self.x, self.optimizer, BATCH_SIZE, self.generator)

    @torch.no_grad()
    def held_out(self, x: Tensor) -> float:
        return self.model.loss_terms(x, seeded(0, x.device))["loss"].mean().item()


class UsualVAE(nn.Module):
    """Two heads for mean and log-variance, and a decoder that ends in a sigmoid."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(784, HIDDEN)
        self.mu_head = nn.Linear(HIDDEN, Z_DIM)
        self.log_var_head = nn.Linear(HIDDEN, Z_DIM)
        self.decoder_hidden = nn.Linear(Z_DIM, HIDDEN)
        self.pixels = nn.Linear(HIDDEN, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.hidden(x.view(-1, 784)))
        mu, log_var = self.mu_head(h), self.log_var_head(h)
        std = torch.exp(0.5 * log_var)
        z = mu + torch.randn_like(std) * std
        return torch.sigmoid(self.pixels(F.relu(self.decoder_hidden(z)))), mu, log_var

    def loss(self, x: Tensor) -> Tensor:
        """Summed over the batch."""
        x_hat, mu, log_var = self(x)
        cross_entropy = F.binary_cross_entropy(x_hat, x.view(-1, 784), reduction="sum")
        return cross_entropy - 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())


class UsualLoop:
    name = "DataLoader"

    def __init__(self, images: Images, seed: int):
        torch.manual_seed(seed)
        self.device = images.train.device
        self.batches = DataLoader(usual_dataset(images), BATCH_SIZE, shuffle=True)
        self.model = UsualVAE().to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE)

    def epoch(self) -> None:
        self.model.train()
        total = 0.0
        for x, _ in self.batches:
            x = x.to(self.device)
            self.optimizer.zero_grad()
            loss = self.model.loss(x)
            loss.backward()
            total += loss.item()
            self.optimizer.step()

    @torch.no_grad()
    def held_out(self, x: Tensor) -> float:
        torch.manual_seed(0)
        return self.model.loss(x).item() / len(x)


class PictureDataset(Dataset):
    """Pictures and classes as torchvision's data sets hand them out; for mnist5k, which torchvision lacks."""

    def __init__(self, images: Images, transform):
        self.pixels = (images.train * 255).round().byte().cpu().view(-1, *images.shape)
        self.labels, self.transform = images.train_labels.cpu(), transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[i].numpy())), int(self.labels[i])


def usual_dataset(images: Images) -> Dataset:
    """The training images as a torchvision data set; unpacks the files in the book's data folder."""
    if images.name not in TORCHVISION:
        return PictureDataset(images, transforms.ToTensor())
    dataset = getattr(datasets, TORCHVISION[images.name])
    return dataset(data_folder(), train=True, download=True, transform=transforms.ToTensor())


@torch.no_grad()
def start_alike(book: GreyVAE, usual: UsualVAE) -> None:
    """Give the book's model the weights of the other, so that neither has a better start."""
    heads = usual.mu_head, usual.log_var_head
    sources = [
        (usual.hidden.weight, usual.hidden.bias),
        (torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads])),
        (usual.decoder_hidden.weight, usual.decoder_hidden.bias),
        (usual.pixels.weight, usual.pixels.bias),
    ]
    targets = [layer for layer in (*book.encoder, *book.decoder) if isinstance(layer, nn.Linear)]
    for (weight, bias), layer in zip(sources, targets, strict=True):
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def measure(name: str, epochs: int, threads: int, seed: int = 0) -> dict:
    """Train both for `epochs` epochs, in turns, and say how long each epoch took and what came of it."""
    torch.set_num_threads(threads)
    images = load(name)
    loops = [BookLoop(images, seed), UsualLoop(images, seed)]
    start_alike(loops[0].model, loops[1].model)
    seconds = {loop.name: [] for loop in loops}
    for _ in range(epochs):
        for loop in loops:
            start = time.perf_counter()
            loop.epoch()  # ends with a number on the CPU, so the device has nothing left to do
            seconds[loop.name].append(time.perf_counter() - start)
    return {
        "data": name,
        "images": len(images.train),
        "epochs": epochs,
        "threads": threads,
        "device": images.train.device.type,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "loops": {
            loop.name: {
                "weights": sum(p.numel() for p in loop.model.parameters()),
                "seconds": seconds[loop.name],
                "median_seconds": statistics.median(seconds[loop.name]),
                "held_out": loop.held_out(images.test),
            }
            for loop in loops
        },
    }


def table(result: dict) -> str:
    """The result as text."""
    book, usual = result["loops"]["vaebook"], result["loops"]["DataLoader"]
    lines = [
        f"{result['data']}: {result['images']} images, 784-{HIDDEN}-{Z_DIM}, batch {BATCH_SIZE}, "
        f"{result['epochs']} epochs each",
        f"torch {result['torch']}, {result['threads']} thread(s), {result['device']}",
        f"{'loop':<12}{'s/epoch (median)':>18}{'held-out loss*':>16}{'weights':>9}  every epoch",
    ]
    for name, loop in result["loops"].items():
        each = " ".join(f"{s:.2f}" for s in loop["seconds"])
        lines.append(
            f"{name:<12}{loop['median_seconds']:>18.2f}{loop['held_out']:>16.2f}{loop['weights']:>9}  {each}"
        )
    ratio = book["median_seconds"] / usual["median_seconds"]
    lines.append(f"vaebook takes {ratio:.2f} of the DataLoader loop's time.")
    lines.append("* cross-entropy of grey pixels + KL, per test image: lower is better, and no likelihood.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds per epoch of two training loops.")
    parser.add_argument("--data", choices=sorted(NAMES), default="mnist")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="write the result to benchmarks/results as well")
    arguments = parser.parse_args()
    result = measure(arguments.data, arguments.epochs, arguments.threads)
    print(table(result))
    if arguments.json:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"training_speed_{result['data']}_{result['device']}_{result['threads']}.json"
        file.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
