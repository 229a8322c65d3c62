"""One training loop in a process of its own, so that its peak memory is its own. training_speed.py starts it:

    python benchmarks/loops.py vaebook|dataloader|pythae --model mlp|conv --test FILE [...]

It says on its output, one JSON object a line, what it is going to train; then, for each epoch, that it is
ready, and, when it has read a line, how many seconds the epoch took; then how the trained model scores. While
it waits it needs no processor.

All loops train a VAE of the same layers, from the same first weights, on binary pixels (grey > 0.5), on the
device that VAEBOOK_DEVICE chooses (pythae knows the first CUDA device and the CPU). Of an epoch is timed:

vaebook     `fit` itself: each call of its function for one epoch. Not what it does once, before the first
            epoch (on a GPU: the recording of a graph), nor a step of its progress bar between two epochs.
dataloader  the loop of PyTorch's example VAE: torchvision's data set with ToTensor, a DataLoader with
            shuffle, plain Adam, `loss.item()` after every step. The threshold is taken of a batch.
pythae      its TrainingPipeline, as its users call it, from `on_epoch_begin` to `on_log`: the training steps,
            its progress bar, and the copy it keeps of the best model. Not the lines that it prints then.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaebook import training
from vaebook.data import TORCHVISION, binarize, data_folder, load
from vaebook.device import default_device
from vaebook.models import VAE

BATCH_SIZE, LEARNING_RATE, HIDDEN = 128, 1e-3, 400
SCORED = 100  # test images that share one score

# A model, what trains it, and its loss: (batch, 784) -> mean negative ELBO in nats, with one draw of z.
Loop = tuple[nn.Module, Callable[[], None], Callable[[Tensor], Tensor]]


def networks(model: str, z_dim: int) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
    """Encoder (to its last hidden layer), heads for mu and log_var, decoder (to logits): always the same."""
    torch.manual_seed(0)
    if model == "mlp":
        encoder = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(z_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784))
        return encoder, nn.Linear(HIDDEN, z_dim), nn.Linear(HIDDEN, z_dim), decoder
    half = {"kernel_size": 4, "stride": 2, "padding": 1}  # halves a side; transposed, it doubles one
    down = nn.Conv2d(1, 16, **half), nn.ReLU(), nn.Conv2d(16, 32, **half), nn.ReLU()
    up = nn.ConvTranspose2d(32, 16, **half), nn.ReLU(), nn.ConvTranspose2d(16, 1, **half)
    grow = nn.Linear(z_dim, 32 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (32, 7, 7))
    encoder = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *down, nn.Flatten())
    decoder = nn.Sequential(*grow, *up, nn.Flatten())
    return encoder, nn.Linear(32 * 7 * 7, z_dim), nn.Linear(32 * 7 * 7, z_dim), decoder


def some(x: Tensor, n: int | None) -> Tensor:
    """The first n rows; from the first again if there are fewer. All of them for None."""
    return x if n in (None, len(x)) else x[torch.arange(n) % len(x)]


@contextmanager
def turn() -> Iterator[None]:
    """Say that all is set up, wait for a line, and say how long what follows took."""
    say(ready=True)
    if not sys.stdin.readline():
        sys.exit("nobody waits for this loop any more")
    finish()
    start = time.perf_counter()
    yield
    finish()
    say(seconds=time.perf_counter() - start, **peak_memory())


def finish() -> None:
    """Wait until the device has nothing left to do."""
    if default_device().type != "cpu":
        torch.accelerator.synchronize()


def say(**values) -> None:
    print(json.dumps(values), file=sys.__stdout__, flush=True)


def peak_memory() -> dict[str, float]:
    """The most memory that this process has had, all told, in MB; and on a GPU."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts into ru_maxrss what the process that started this one had
        peak = int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) / 1024
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return {"peak_mb": peak, "gpu_mb": gpu}


def vaebook_loop(options: argparse.Namespace, device: torch.device) -> Loop:
    encoder, mu_head, log_var_head, decoder = networks(options.model, options.z_dim)
    heads = nn.Linear(mu_head.in_features, 2 * options.z_dim)
    with torch.no_grad():
        heads.weight.copy_(torch.cat([mu_head.weight, log_var_head.weight]))
        heads.bias.copy_(torch.cat([mu_head.bias, log_var_head.bias]))
    model = VAE(784, options.z_dim, (HIDDEN,))
    model.encoder, model.decoder = nn.Sequential(*encoder, heads), decoder
    model.to(device)

    def train() -> None:
        x = some(binarize(load(options.data, device).train), options.images)
        for name in ("train_epoch", "gradient_epoch"):
            setattr(training, name, turn()(getattr(training, name)))  # waits its turn at each call
        settings = {"epochs": options.epochs, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
        training.fit(model, x, one_cycle=False, **settings)

    return model, train, lambda x: -model.elbo(x).value.mean()


class UsualVAE(nn.Module):
    """Two heads for mean and log-variance, and a decoder that ends in a sigmoid."""

    def __init__(self, model: str, z_dim: int):
        super().__init__()
        self.encoder, self.mu_head, self.log_var_head, self.decoder = networks(model, z_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x.view(-1, 784))
        mu, log_var = self.mu_head(h), self.log_var_head(h)
        std = torch.exp(0.5 * log_var)
        z = mu + torch.randn_like(std) * std
        return torch.sigmoid(self.decoder(z)), mu, log_var

    def loss(self, x: Tensor) -> Tensor:
        """Summed over the batch."""
        x_hat, mu, log_var = self(x)
        cross_entropy = F.binary_cross_entropy(x_hat, x.view(-1, 784), reduction="sum")
        return cross_entropy - 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())


def usual_dataset(name: str, n: int | None):
    """Training images as torchvision hands them out; unpacks the files in the book's data folder."""
    from torchvision import datasets, transforms

    if name in TORCHVISION:
        kind = getattr(datasets, TORCHVISION[name])
        dataset = kind(data_folder(), train=True, download=True, transform=transforms.ToTensor())
    else:  # mnist5k, which torchvision lacks

        class MNIST5k(datasets.MNIST):
            def __init__(self):
                images = load(name, "cpu")
                self.data = (images.train * 255).round().byte().view(-1, *images.shape)
                self.targets = images.train_labels
                self.transform, self.target_transform = transforms.ToTensor(), None

        dataset = MNIST5k()
    dataset.data, dataset.targets = some(dataset.data, n), some(dataset.targets, n)
    return dataset


def dataloader_loop(options: argparse.Namespace, device: torch.device) -> Loop:
    model = UsualVAE(options.model, options.z_dim).to(device)

    def train() -> None:
        dataset = usual_dataset(options.data, options.images)
        batches = torch.utils.data.DataLoader(dataset, BATCH_SIZE, shuffle=True)
        optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
        for _ in range(options.epochs):
            with turn():
                model.train()
                total = 0.0
                for x, _ in batches:
                    x = (x.to(device) > 0.5).float()
                    optimizer.zero_grad()
                    loss = model.loss(x)
                    loss.backward()
                    total += loss.item()
                    optimizer.step()

    return model, train, lambda x: model.loss(x) / len(x)


def pythae_loop(options: argparse.Namespace, device: torch.device) -> Loop:
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    *encoder, decoder = networks(options.model, options.z_dim)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.hidden, self.mu_head, self.log_var_head = encoder

        def forward(self, x: Tensor) -> ModelOutput:
            h = self.hidden(x)
            return ModelOutput(embedding=self.mu_head(h), log_covariance=self.log_var_head(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)))

    class InTurn(TrainingCallback):
        def on_epoch_begin(self, training_config, **kwargs):
            self.turn = turn()
            self.turn.__enter__()

        def on_log(self, training_config, logs, **kwargs):
            self.turn.__exit__(None, None, None)

    config = VAEConfig(input_dim=(784,), latent_dim=options.z_dim, reconstruction_loss="bce")
    model = PythaeVAE(config, Encoder(), Decoder()).to(device)

    def train() -> None:
        x = some(binarize(load(options.data, "cpu").train), options.images)
        with tempfile.TemporaryDirectory() as folder:
            settings = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=options.epochs,
                per_device_train_batch_size=BATCH_SIZE,
                learning_rate=LEARNING_RATE,
                no_cuda=device.type != "cuda",
            )
            TrainingPipeline(model=model, training_config=settings)(x, callbacks=[InTurn()])

    return model, train, lambda x: model({"data": x}).loss


LOOPS = {"vaebook": vaebook_loop, "dataloader": dataloader_loop, "pythae": pythae_loop}


@torch.no_grad()
def scores(loss: Callable[[Tensor], Tensor], x: Tensor) -> list[float]:
    """The negative ELBO of each SCORED images, in nats per image; the same noise for every loop."""
    torch.manual_seed(0)
    return [loss(batch).item() for batch in x.split(SCORED)]


def main() -> None:
    parser = argparse.ArgumentParser(description="A training loop that waits for its turn before each epoch.")
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("--model", choices=["mlp", "conv"], default="mlp")
    parser.add_argument("--z-dim", type=int, default=20)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--images", type=int, help="how many to train on; more than there are: repeated")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test", required=True, help="file of binary test images, as torch.save writes it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with redirect_stdout(sys.stderr):  # whatever a library prints is no report
        model, train, loss = LOOPS[options.loop](options, default_device())
        x = torch.load(options.test).to(default_device(), torch.float32)
        say(
            weights=sum(p.numel() for p in model.parameters()),
            untrained=scores(loss, x),
            version=version("torch" if options.loop == "dataloader" else options.loop),
        )
        train()
        say(scores=scores(loss, x.to(next(model.parameters()).device)))


if __name__ == "__main__":
    main()
