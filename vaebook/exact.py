"""Latent variable models whose evidence is known, to hold estimates and bounds against.

All of them compute in float64 on the CPU. A known answer is known to about 1e-11 if the noise around the
decoder's answer is 0.05 or more; squares over a smaller variance cost digits. Images x are
(batch, D). A latent z has one axis more, in front: (points, batch) for the models whose z is one number, and
(points, batch, d) for `LinearGaussian`. So one call scores many z for each image, and the answer is
(points, batch). Where every image has the same z, an axis of length 1 is enough. Unit: nats per image.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from vaebook.densities import bernoulli_log_likelihood, gaussian_log_likelihood


class LatentVariableModel:
    """What a prior and a likelihood make: the joint, and with the evidence, the posterior.

    A model gives `prior`, a distribution of torch.distributions; `log_likelihood(z, x)`, log p(x|z) of shape
    (points, batch); and `log_evidence(x)`, log p(x) of shape (batch,).

    Introduced in: chapter 4.0.
    """

    prior: Distribution

    def log_joint(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(x, z), (points, batch)."""
        return self.prior.log_prob(z) + self.log_likelihood(z, x)

    def log_posterior(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(z|x), (points, batch)."""
        return self.log_joint(z, x) - self.log_evidence(x)


class Curve(LatentVariableModel):
    """A point x of the plane near a curve: z ~ N(0, 1), x|z ~ N(mean(z), std² I). Everything by quadrature.

    Args:
        std: standard deviation of x around the curve, 0.05 or more: the grid is too coarse for less.

    Introduced in: chapter 4.0.
    """

    def __init__(self, std: float = 0.3):
        self.std = std
        self.prior = Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
        self.grid = torch.linspace(-9, 9, 3601, dtype=torch.float64)[:, None]  # (points, 1)

    def mean(self, z: Tensor) -> Tensor:
        """(...) -> (..., 2): a figure of eight that crosses itself at the origin, where z is -π/2 or π/2."""
        return torch.stack([2 * z.cos(), (2 * z).sin()], dim=-1)

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(x|z), (points, batch)."""
        mean, x = torch.broadcast_tensors(self.mean(z), x)
        return gaussian_log_likelihood(mean, x, self.std)

    def log_evidence(self, x: Tensor, every: int = 1) -> Tensor:
        """log p(x), (batch,): the sum of p(x, z) over the grid times its spacing.

        Args:
            every: 2 takes every second point only: how much that changes says how good the grid is.
        """
        z = self.grid[::every]
        return (self.log_joint(z, x) + (z[1] - z[0]).log()).logsumexp(0)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """z (n,) from the prior, then x (n, 2) near the curve."""
        z, noise = torch.randn(n, 3, generator=generator, dtype=torch.float64).split([1, 2], dim=1)
        return z[:, 0], self.mean(z[:, 0]) + self.std * noise


class LinearGaussian(LatentVariableModel):
    """z ~ N(0, I), x|z ~ N(W z + b, std² I): probabilistic principal component analysis.

    Args:
        W: (D, d), the decoder.
        b: (D,), the mean of x.
        std: standard deviation of each pixel around W z + b.

    Source: Tipping and Bishop (1999).
    Introduced in: chapter 4.1.
    """

    def __init__(self, W: Tensor, b: Tensor, std: float):
        self.W, self.b, self.std = W, b, std
        self.prior = MultivariateNormal(torch.zeros_like(W[0]), torch.eye(W.shape[1], dtype=W.dtype))

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(x|z), (points, batch)."""
        mean, x = torch.broadcast_tensors(z @ self.W.T + self.b, x)
        return gaussian_log_likelihood(mean, x, self.std)

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x), (batch,): x is normal with mean b and covariance W Wᵀ + std² I."""
        return LowRankMultivariateNormal(self.b, self.W, self.std**2 * torch.ones_like(self.b)).log_prob(x)

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x): one normal distribution of d dimensions for each image, all with the same covariance."""
        precision = torch.eye(self.W.shape[1], dtype=self.W.dtype) + self.W.T @ self.W / self.std**2
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        return MultivariateNormal((x - self.b) @ self.W @ covariance / self.std**2, covariance)

    def log_posterior(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(z|x), (points, batch), from its own formula: without the evidence."""
        return self.posterior(x).log_prob(z)

    def elbo(self, q: MultivariateNormal, x: Tensor) -> Tensor:
        """The ELBO of each image, (batch,), in closed form, for a normal q of batch shape (batch,)."""
        spread = (self.W.T @ self.W * q.covariance_matrix).sum((-2, -1)) / (2 * self.std**2)
        return self.log_likelihood(q.mean, x) - spread - kl_divergence(q, self.prior)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """z (n, d) from the prior, then x (n, D)."""
        z = torch.randn(n, self.W.shape[1], generator=generator, dtype=self.W.dtype)
        noise = torch.randn(n, len(self.b), generator=generator, dtype=self.W.dtype)
        return z, z @ self.W.T + self.b + self.std * noise


class BernoulliMixture(LatentVariableModel):
    """z is one of K states, and decides the probability of each binary pixel. Everything is a finite sum.

    Args:
        prior_logits: (K,), p(z) = softmax(prior_logits).
        logits: (K, D), of the pixels' probabilities in each state.

    Source: Bishop (2006), section 9.3.3.
    Introduced in: chapter 4.2.
    """

    def __init__(self, prior_logits: Tensor, logits: Tensor):
        self.prior, self.logits = Categorical(logits=prior_logits), logits

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(x|z), (points, batch)."""
        return bernoulli_log_likelihood(*torch.broadcast_tensors(self.logits[z], x))

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x), (batch,): the sum of p(x, z) over the states."""
        states = torch.arange(len(self.logits))[:, None]
        return self.log_joint(states, x).logsumexp(0)

    def posterior(self, x: Tensor) -> Categorical:
        """p(z|x): the probabilities of the K states for each image."""
        states = torch.arange(len(self.logits))[:, None]
        return Categorical(logits=self.log_joint(states, x).T)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """z (n,) from the prior, then binary x (n, D)."""
        z = torch.multinomial(self.prior.probs, n, replacement=True, generator=generator)
        return z, torch.bernoulli(self.logits[z].sigmoid(), generator=generator)


def expectation(q: Distribution, f: Callable[[Tensor], Tensor]) -> Tensor:
    """E_q[f(z)] without any draw, (batch,), for a q of batch shape (batch,).

    Categorical: the sum over all states. Normal: 2,001 points from -10 to 10 standard deviations, which is
    exact to rounding where f is smooth on the scale of q. MultivariateNormal: the 2d points at mean ± √d
    times a column of the covariance's square root. They are exact where f is a polynomial in z of degree 3 or
    less, as in every line of a `LinearGaussian`'s ELBO, and a rough guess elsewhere.

    Args:
        f: z (points, batch) or (points, batch, d) -> (points, batch).

    Raises:
        TypeError: q is none of these.

    Introduced in: chapter 4.2.
    """
    if isinstance(q, Categorical):
        z = q.enumerate_support()  # (K, batch)
        weights = q.probs.movedim(-1, 0)
    elif isinstance(q, Normal):
        t = torch.linspace(-10, 10, 2001, dtype=q.mean.dtype)[:, None]
        z = q.mean + q.stddev * t  # (2001, batch)
        weights = (-(t**2) / 2).softmax(0)
    elif isinstance(q, MultivariateNormal):
        d = q.event_shape[0]
        steps = d**0.5 * q.scale_tril.movedim(-1, 0)  # (d, batch, d)
        z = q.mean + torch.cat([steps, -steps])
        weights = torch.tensor(1 / (2 * d), dtype=z.dtype)
    else:
        raise TypeError(f"q is a {type(q).__name__}; expected Categorical, Normal or MultivariateNormal.")
    values = f(z)
    return (weights * values.masked_fill(weights == 0, 0)).sum(0)  # a state that q rules out counts nothing
