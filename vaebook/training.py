"""One training loop for every model of the book."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vaebook import backprop
from vaebook.data import batch_indices
from vaebook.device import seeded


@dataclass
class History:
    """What `fit` saw: for every term its mean over the images, one number an epoch (nats per image,
    or squared error per image for an autoencoder)."""

    terms: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = False

    def __getitem__(self, term: str) -> list[float]:
        return self.terms[term]

    def __len__(self) -> int:
        return len(self.terms.get("loss", []))

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.2f}" for name, values in self.terms.items())
        stopped = ", interrupted" if self.interrupted else ""
        return f"History({len(self)} epochs{stopped}; last: {last or 'none'})"


class TrainingDiverged(ArithmeticError):
    """The loss stopped being a finite number; `history` holds the epochs before."""

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history


def train_epoch(
    model: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer, batch_size: int, generator: torch.Generator
) -> dict[str, float]:
    """One pass over the images in random order.

    Args:
        model: has `loss_terms(x, generator)`, a dict of tensors (batch,), one of them named "loss".
        x: (n, pixels), on the model's device.
        optimizer: holds the model's parameters.
        batch_size: images a step; the last batch of an epoch may be smaller.
        generator: decides the order, and whatever else the model draws.

    Returns:
        the mean of every term over the n images, as they were when their batch was used.

    Introduced in: chapter 1.
    """
    totals = {}
    for rows in batch_indices(len(x), batch_size, generator):
        terms = model.loss_terms(x[rows], generator)  # name -> (batch,)
        optimizer.zero_grad()
        terms["loss"].mean().backward()
        optimizer.step()
        for name, values in terms.items():
            totals[name] = totals.get(name, 0) + values.detach().sum()
    return {name: float(total) / len(x) for name, total in totals.items()}


def gradient_epoch(
    gradients: backprop.Gradients,
    x: Tensor,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    generator: torch.Generator,
) -> dict[str, float]:
    """`train_epoch` with a function that writes the gradients, as `vaebook.backprop` has them."""
    totals = {}
    for rows in batch_indices(len(x), batch_size, generator):
        sums = gradients(x.index_select(0, rows), generator)
        optimizer.step()
        for name, value in sums.items():
            totals[name] = totals.get(name, 0) + value
    return {name: float(total) / len(x) for name, total in totals.items()}


def fit(
    model: nn.Module,
    x: Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 6e-3,
    one_cycle: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train a model with Adam on images that already lie on its device: `train_epoch`, `epochs` times.

    For the book's own models the gradients are those of `vaebook.backprop`, which are autograd's to rounding
    and take less time; on a CUDA device they are replayed as one graph.

    What it adds to the loop: a progress bar, the history, a learning rate that rises to `learning_rate`
    and falls to zero, while Adam's first beta goes the other way (Smith and Topin, 2017; switch it off with
    one_cycle=False), and two ways to stop early. The stop button of the notebook (KeyboardInterrupt) ends
    training at once and keeps the model and the history so far. A loss that is not finite raises
    TrainingDiverged.

    Args:
        model: has `loss_terms(x, generator)`, see `train_epoch`.
        x: (n, pixels).
        seed: of the order of the images and of the model's own noise; the same seed on the same device
            gives the same history.

    Raises:
        ValueError: the images are not a non-empty (n, pixels) tensor, or not on the model's device.
        TrainingDiverged: the loss was not finite; says in which epoch, which term, and what to try.

    Introduced in: chapter 1 (used).
    """
    device = next(model.parameters()).device
    if x.dim() != 2 or len(x) == 0:
        raise ValueError(
            f"x must be a non-empty (n, pixels) tensor; got shape {tuple(x.shape)}. Use images.train."
        )
    if x.device != device:
        raise ValueError(
            f"the images are on {x.device}, the model on {device}. Move it: model.to({str(x.device)!r})."
        )
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be 1 or more; got {epochs} and {batch_size}.")

    generator = seeded(seed, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=device.type != "mps")
    if one_cycle:
        steps = epochs * -(-len(x) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
        optimizer.register_step_post_hook(lambda *_: schedule.step())

    gradients = backprop.written_out(model, x)
    if gradients and device.type == "cuda":
        try:
            gradients = backprop.captured(gradients, x[:batch_size], generator)
        except RuntimeError as error:  # drivers differ, and training needs no graph
            warnings.warn(f"training goes on without a CUDA graph: {error}", stacklevel=2)
            generator.manual_seed(seed)

    history, was_training = History(), model.training
    model.train()
    with (
        flushed_denormals(),
        tqdm(range(epochs), "training", unit="epoch", leave=False, disable=not progress) as bar,
    ):
        try:
            for epoch in bar:
                if gradients:
                    terms = gradient_epoch(gradients, x, optimizer, batch_size, generator)
                else:
                    terms = train_epoch(model, x, optimizer, batch_size, generator)
                _stop_if_not_finite(terms, epoch, learning_rate, history)
                for name, value in terms.items():
                    history.terms.setdefault(name, []).append(value)
                bar.set_postfix({name: f"{value:.2f}" for name, value in terms.items()})
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            model.train(was_training)
    if history.interrupted:
        warnings.warn(f"training was stopped after {len(history)} of {epochs} epochs", stacklevel=2)
    return history


def _stop_if_not_finite(terms: dict[str, float], epoch: int, learning_rate: float, history: History) -> None:
    broken = [name for name, value in terms.items() if not abs(value) < float("inf")]
    if broken:
        cause = next((name for name in broken if name != "loss"), "loss")
        raise TrainingDiverged(
            f"training stopped: in epoch {epoch + 1} the term {cause!r} became {terms[cause]}. "
            f"Try a lower learning_rate (it was {learning_rate:g}), and look for infinite or missing values "
            "in the images.",
            history,
        )


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Adam's running averages sink to denormal numbers, on which a CPU computes many times slower."""
    tiny = torch.tensor([1e-310], dtype=torch.float64)
    was_on = bool((tiny * 1.0 == 0).item())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)
