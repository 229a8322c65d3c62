"""What the book's claims are measured with."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaebook.data import Images
from vaebook.training import fit


@dataclass(frozen=True)
class Verdict:
    """What a judge says of a set of images.

    confidence: mean over the images of the largest class probability, from 1/10 to 1.
    recognised: share of the images whose largest class probability is above 0.9.
    shares: (10,) share of the images given to each class.
    class_entropy: entropy of `shares` in nats; log 10 = 2.303 if all classes are equally frequent.
    """

    confidence: float
    recognised: float
    shares: Tensor
    class_entropy: float


class Judge(nn.Module):
    """A small convolutional classifier of real digits, used to judge images that a model made."""

    def __init__(self, classes: int = 10):
        super().__init__()
        self.network = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            nn.Conv2d(1, 16, 5, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 5 * 5, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, classes),
        )

    def loss_terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Cross-entropy (batch,) of rows that hold 784 pixels and, last, the class."""
        pixels, classes = x[:, :-1], x[:, -1].long()
        return {"loss": F.cross_entropy(self.network(pixels), classes, reduction="none")}

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """(n, 784) images -> (n, 10) class probabilities."""
        return self.network(x).softmax(-1)

    def accuracy(self, x: Tensor, labels: Tensor) -> float:
        """Share of the images whose most probable class is their label."""
        return (self.probabilities(x).argmax(-1) == labels).float().mean().item()

    def verdict(self, x: Tensor) -> Verdict:
        """Judge images (n, 784) with pixels in [0, 1]."""
        probabilities = self.probabilities(x)
        best, winners = probabilities.max(-1)
        shares = winners.bincount(minlength=probabilities.shape[1]) / len(x)
        entropy = torch.special.entr(shares).sum().item()
        return Verdict(best.mean().item(), (best > 0.9).float().mean().item(), shares.cpu(), entropy)


def train_judge(images: Images, epochs: int = 10, seed: int = 0) -> Judge:
    """A judge trained on the real training images; it sees neither test images nor anything generated."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        judge = Judge(int(images.train_labels.max()) + 1).to(images.train.device)
        labelled = torch.cat([images.train, images.train_labels[:, None].to(images.train.dtype)], 1)
        fit(judge, labelled, epochs=epochs, learning_rate=3e-3, seed=seed)
    return judge.eval()


def knn_accuracy(
    codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor, k: int = 10
) -> float:
    """Share of test codes whose k nearest training codes vote for their label (chance: 0.1 for ten classes).

    codes (n, d), labels (n,), test_codes (m, d), test_labels (m,). Introduced in: chapter 1 (used).
    """
    # Here and below: scikit-learn takes a second to import, and most chapters do without.
    from sklearn.neighbors import KNeighborsClassifier

    vote = KNeighborsClassifier(k).fit(_array(codes), _array(labels))
    return float(vote.score(_array(test_codes), _array(test_labels)))


def trustworthiness(x: Tensor, codes: Tensor, k: int = 10) -> float:
    """How many of a code's k nearest codes belong to images that are near in pixel space too.

    x (n, pixels), codes (n, d). 1 if all do, about 0.5 for a random arrangement.
    Source: Venna and Kaski (2001), as scikit-learn computes it.
    """
    from sklearn import manifold

    return float(manifold.trustworthiness(_array(x), _array(codes), n_neighbors=k))


def nearest_distance(x: Tensor, reference: Tensor) -> Tensor:
    """(n,) Euclidean distance in pixels from each image of x (n, pixels) to the nearest reference image."""
    nearest = reference[torch.cdist(x, reference).argmin(1)]
    # cdist multiplies matrices, and so finds 0.01 instead of 0 between an image and its copy.
    return torch.linalg.vector_norm(x - nearest, dim=1)


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """(n,) peak signal-to-noise ratio in decibels: 10 log10(1 / mean squared error), pixels in [0, 1]."""
    return -10 * (x_hat - x).square().mean(-1).log10()


def mmd(
    a: Tensor, b: Tensor, width: float | None = None, draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Do two samples (n, d) and (n, d) come from the same distribution?

    Squared maximum mean discrepancy (Gretton et al., 2012), unbiased, so about 0 if they do; and its z-score
    among `draws` random re-divisions of the pooled sample, which says how surprising that value would then be
    (under re-division it is skewed to the right, so do not read the z-score as that of a normal variable).

    Args:
        width: of the Gaussian kernel exp(-distance² / width²); None takes the median distance of the pooled
            sample. Values are comparable only at the same width.

    Raises:
        ValueError: the samples differ in shape.
    """
    if a.shape != b.shape:
        raise ValueError(f"both samples must have the same shape; got {tuple(a.shape)} and {tuple(b.shape)}.")
    pooled, n = torch.cat([a, b]).cpu().double(), len(a)  # in this order: MPS has no doubles
    squares = torch.cdist(pooled, pooled).square()
    kernel = torch.exp(-squares / (squares[squares > 0].median() if width is None else width**2))
    kernel.fill_diagonal_(0)

    # A division is a row of signs, +1 for one half and -1 for the other; the first is the real one.
    signs = torch.ones(draws + 1, 2 * n, dtype=torch.float64)
    signs[:, n:] = -1
    generator = torch.Generator().manual_seed(seed)
    for row in signs[1:]:
        row[:] = row[torch.randperm(2 * n, generator=generator)]
    signed = ((signs @ kernel) * signs).sum(1)
    within, between = (kernel.sum() + signed) / 2, (kernel.sum() - signed) / 4
    values = within / (n * (n - 1)) - 2 * between / n**2
    value, shuffled = values[0], values[1:]
    return value.item(), ((value - shuffled.mean()) / shuffled.std()).item()


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """How many equally weighted draws the weighted draws are worth: (Σ w)² / Σ w², between 1 and n.

    Args:
        log_weights: (n, batch), the logs of the weights of n draws for each image.

    Returns:
        (batch,). It says nothing of what no draw has seen: one draw far from all mass may look like many.

    Source: Kish (1965).
    Introduced in: chapter 4.1.
    """
    return 1 / log_weights.softmax(0).square().sum(0)  # softmax: each draw's share of the whole weight


def active_units(mu: Tensor, threshold: float = 0.01) -> Tensor:
    """(d,) booleans: which latent dimensions the encoder uses, whose mean varies over the images.

    Args:
        mu: (n, d), the encoder's means of n images.
        threshold: on their variance.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    Introduced in: chapter 4.3.
    """
    return mu.var(0) > threshold


def _array(x: Tensor):
    return x.detach().cpu().numpy()
