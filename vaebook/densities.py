"""Draws, log-likelihoods and Kullback-Leibler divergences, in nats per image."""

import torch
from torch import Tensor
from torch.nn import functional as F


def reparameterize(mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One draw z from N(mu, diag exp(log_var)) for each row, through which gradients reach mu and log_var.

    Args:
        mu, log_var: (batch, d); the standard deviation is exp(log_var / 2).
        generator: where the noise comes from; PyTorch's global generator if None.

    Returns:
        (batch, d).

    Source: Kingma and Welling (2013), section 2.4.
    Introduced in: chapter 3; justified in chapter 4.5.
    """
    eps = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + (0.5 * log_var).exp() * eps


def bernoulli_log_likelihood(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) of binary pixels whose probabilities of being 1 are sigmoid(logits).

    Args:
        logits: (batch, pixels), any real numbers.
        x: (batch, pixels), every entry 0 or 1.

    Returns:
        (batch,) nats per image: summed over pixels.

    Raises:
        ValueError: x has entries other than 0 and 1.

    Used from chapter 3, derived in chapter 4.3.
    """
    if not ((x == 0) | (x == 1)).all():
        raise ValueError(
            "x must be in {0, 1} for a Bernoulli likelihood; "
            f"got values from {x.min():.3g} to {x.max():.3g}. Binarise it first (vaebook.data.binarize)."
        )
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def kl_to_standard_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL( N(mu, diag exp(log_var)) || N(0, I) ).

    Args:
        mu, log_var: (batch, d).

    Returns:
        (batch,) nats per image: summed over the d latent dimensions; never below 0.

    Source: Kingma and Welling (2013), appendix B.
    Used from chapter 3, derived in chapter 4.3.
    """
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(-1)
