"""Estimates of the gradient of an expectation E_q[f(z)] in the parameters phi of q, one draw at a time.

The parameters are one tensor phi (parameters,). A draw z, or a draw eps of noise, is one row of a tensor
whose first axis counts the draws. The functions that a caller gives take phi and one row, and return one
number: f(phi, z), and log_q(phi, z). f may contain phi itself, as the ELBO's log p(x, z) - log q(z|x) does.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

PerDraw = Callable[[Tensor, Tensor], Tensor]


class Estimate(NamedTuple):
    """What every estimator returns: f at each draw (draws,), and a gradient from each (draws, parameters).

    The standard error is that of independent rows; with `leave_one_out` they are so only nearly.

    Introduced in: chapter 4.4.
    """

    values: Tensor
    gradients: Tensor

    @property
    def value(self) -> Tensor:
        return self.values.mean()

    @property
    def gradient(self) -> Tensor:
        return self.gradients.mean(0)

    @property
    def standard_error(self) -> Tensor:
        return self.gradients.std(0) / len(self.gradients) ** 0.5


def per_draw(f: PerDraw, phi: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of f in phi at each draw, (draws, parameters), and its value there, (draws,).

    Introduced in: chapter 4.4.
    """
    return vmap(grad_and_value(f), in_dims=(None, 0))(phi, draws)


def score_function(
    f: PerDraw,
    log_q: PerDraw,
    phi: Tensor,
    z: Tensor,
    baseline: float | Tensor | Callable[[Tensor], Tensor] = 0.0,
) -> Estimate:
    """(f(z) - baseline) times the gradient of log q(z), plus the gradient of f at fixed z.

    It needs no gradient of f in z, so z may be discrete. It is unbiased for every baseline that does not
    depend on the draw that it is used for.

    Args:
        z: (draws, ...), drawn from q with parameters phi.
        baseline: a number, a tensor (draws,), or a function from the values (draws,) to one of these, such as
            `leave_one_out`.

    Source: Williams (1992); for variational bounds Paisley, Blei and Jordan (2012).
    Introduced in: chapter 4.4.
    """
    through_f, values = per_draw(f, phi, z)
    scores, _ = per_draw(log_q, phi, z)
    subtracted = baseline(values) if callable(baseline) else baseline
    return Estimate(values, (values - subtracted)[:, None] * scores + through_f)


def leave_one_out(values: Tensor) -> Tensor:
    """For each draw the mean of f at the other draws, a baseline that costs nothing.

    Args:
        values: (draws,) or (draws, batch), where every image has draws of its own.

    Returns:
        the shape of values.

    Raises:
        ValueError: there is only one draw.

    Source: Kool, van Hoof and Welling (2019).
    Introduced in: chapter 4.4.
    """
    if len(values) < 2:
        raise ValueError("leave_one_out needs at least 2 draws: with one there is no other to compare with.")
    return (values.sum(0) - values) / (len(values) - 1)


def reparameterized(f: PerDraw, transform: PerDraw, phi: Tensor, eps: Tensor) -> Estimate:
    """The gradient of f(phi, transform(phi, eps)) for each row of noise: through z into phi.

    Args:
        transform: phi and one row of eps -> one z, differentiable in phi.
        eps: (draws, ...), whose law does not depend on phi.

    Source: Kingma and Welling (2013), section 2.4; Rezende, Mohamed and Wierstra (2014).
    Introduced in: chapter 4.5.
    """
    gradients, values = per_draw(lambda phi, eps: f(phi, transform(phi, eps)), phi, eps)
    return Estimate(values, gradients)


def finite_differences(objective: Callable[[Tensor], Tensor], phi: Tensor, step: float = 1e-4) -> Tensor:
    """The gradient of a function of phi, (parameters,), without differentiating: by two values a parameter.

    Args:
        objective: phi -> one number, without noise, such as an exact expectation.
        step: how far to move each parameter to both sides. The error falls as step², until rounding takes
            over; use float64.

    Introduced in: chapter 4.4.
    """
    steps = step * torch.eye(len(phi), dtype=phi.dtype, device=phi.device)
    return torch.stack([objective(phi + s) - objective(phi - s) for s in steps]) / (2 * step)
