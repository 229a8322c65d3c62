"""The evidence lower bound and its parts, in nats per image."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from vaebook.densities import bernoulli_log_likelihood, gaussian_log_likelihood, reparameterize
from vaebook.exact import LatentVariableModel, expectation


class Elbo(NamedTuple):
    """The two parts of the ELBO, each (batch,), and their difference.

    Introduced in: chapter 3; derived in chapter 4.3.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def value(self) -> Tensor:
        return self.reconstruction - self.kl


def elbo_forms(model: LatentVariableModel, q: Distribution, x: Tensor) -> dict[str, Tensor]:
    """The ELBO of a model whose evidence is known, written in three ways that are equal; each (batch,).

    Args:
        model: one of vaebook.exact.
        q: a distribution of z for each image, that `vaebook.exact.expectation` knows.
        x: (batch, D).

    Returns:
        "joint / q": E_q[log p(x, z) - log q(z)];
        "reconstruction - KL": E_q[log p(x|z)] - KL(q || p(z));
        "evidence - gap": log p(x) - KL(q || p(z|x)).

    Source: Kingma and Welling (2019), section 2.2.
    Introduced in: chapter 4.3.
    """
    reconstruction = expectation(q, lambda z: model.log_likelihood(z, x))
    gap = expectation(q, lambda z: q.log_prob(z) - model.log_posterior(z, x))
    return {
        "joint / q": expectation(q, lambda z: model.log_joint(z, x) - q.log_prob(z)),
        "reconstruction - KL": reconstruction - kl_divergence(q, model.prior),
        "evidence - gap": model.log_evidence(x) - gap,
    }


def log_weights(model: nn.Module, x: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """log p(x, z) - log q(z|x) at k draws z from the encoder for each image: importance weights.

    Args:
        model: a `vaebook.models.VAE`, with a Bernoulli decoder.
        x: (batch, pixels), every entry 0 or 1.
        k: draws for each image, 1 or more, taken one after the other: memory does not grow with k.

    Returns:
        (k, batch). The mean over k of exp(log_weights) estimates p(x) without bias.

    Raises:
        ValueError: k is below 1, or x is not binary.

    Introduced in: chapter 4.1.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more; got {k}.")
    mu, log_var = model.encode(x)
    rows = []
    for _ in range(k):
        z = reparameterize(mu, log_var, generator)
        log_prior = gaussian_log_likelihood(torch.zeros_like(z), z, 1.0)
        log_q = gaussian_log_likelihood(mu, z, (0.5 * log_var).exp())
        rows.append(log_prior + bernoulli_log_likelihood(model.decode(z), x) - log_q)
    return torch.stack(rows)


def importance_weighted_bound(
    model: nn.Module, x: Tensor, k: int, generator: torch.Generator | None = None
) -> Tensor:
    """The log of the mean of k importance weights for each image, (batch,): log p(x), bounded from below.

    In expectation it is the ELBO for k = 1, never falls when k grows, and tends to log p(x).

    Args:
        model, x, k: see `log_weights`.

    Source: Burda, Grosse and Salakhutdinov (2016).
    Introduced in: chapter 4.1; that it is a bound, in chapter 4.2.
    """
    return log_weights(model, x, k, generator).logsumexp(0) - math.log(k)
