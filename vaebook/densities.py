"""Draws, log-likelihoods and Kullback-Leibler divergences, in nats per image."""

import math

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

    Introduced in: chapter 4.3; used from chapter 3 on.
    """
    if not ((x == 0) | (x == 1)).all():
        raise ValueError(
            "x must be in {0, 1} for a Bernoulli likelihood; "
            f"got values from {x.min():.3g} to {x.max():.3g}. Binarise it first (vaebook.data.binarize)."
        )
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def gaussian_log_likelihood(mean: Tensor, x: Tensor, std: float | Tensor) -> Tensor:
    """log p(x) of real pixels, each normal around its mean with standard deviation std: a density.

    Args:
        mean: (batch, pixels).
        x: (batch, pixels), any finite numbers.
        std: one number, or a tensor that broadcasts to (batch, pixels).

    Returns:
        (batch,) nats per image: summed over pixels. It may be above 0, and it depends on the unit of x.

    Raises:
        ValueError: mean and x differ in shape, x has entries that are not finite, or std is not above 0.

    Introduced in: chapter 4.3.
    """
    std = torch.as_tensor(std, dtype=mean.dtype, device=mean.device)
    if mean.shape != x.shape:
        raise ValueError(
            f"mean and x must have the same shape; got {tuple(mean.shape)} and {tuple(x.shape)}."
        )
    if not x.isfinite().all():
        raise ValueError(
            "x must be finite for a Gaussian likelihood; it holds inf or nan. Look where they come from."
        )
    if not (std > 0).all():
        raise ValueError(
            f"std must be above 0; got {std.min():.3g}. A log variance becomes one by (0.5 * log_var).exp()."
        )
    return (-0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def kl_to_standard_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL( N(mu, diag exp(log_var)) || N(0, I) ).

    Args:
        mu, log_var: (batch, d).

    Returns:
        (batch,) nats per image: summed over the d latent dimensions; never below 0.

    Source: Kingma and Welling (2013), appendix B.
    Introduced in: chapter 4.3; used from chapter 3 on.
    """
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(-1)


def kl_between_normals(mu: Tensor, log_var: Tensor, other_mu: Tensor, other_log_var: Tensor) -> Tensor:
    """KL( N(mu, diag exp(log_var)) || N(other_mu, diag exp(other_log_var)) ).

    Args:
        mu, log_var, other_mu, other_log_var: (batch, d).

    Returns:
        (batch,) nats per image: summed over the d dimensions; never below 0.

    Introduced in: chapter 4.3.
    """
    log_ratio = log_var - other_log_var  # of the variances
    distance = (mu - other_mu).square() * (-other_log_var).exp()
    return 0.5 * (distance + log_ratio.exp() - 1 - log_ratio).sum(-1)
