"""The evidence lower bound and its parts, in nats per image."""

from typing import NamedTuple

from torch import Tensor


class Elbo(NamedTuple):
    """The two parts of the ELBO, each (batch,), and their difference.

    Introduced in: chapter 3; derived in chapter 4.3.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def value(self) -> Tensor:
        return self.reconstruction - self.kl
