"""The networks of the book: the autoencoder and the variational autoencoder."""

import torch
from torch import Tensor, nn

from vaebook.bounds import Elbo
from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal, reparameterize


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of the given widths with a ReLU between each two: mlp(784, 400, 2) has two layers.

    The first weights are drawn as He et al. (2015) derived for ReLU, from PyTorch's global generator.
    Introduced in: chapter 1.
    """
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        linear = nn.Linear(n_in, n_out)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])  # no ReLU after the last layer


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """(batch,) squared error of each image, summed over its pixels: x_hat and x are (batch, pixels).

    Introduced in: chapter 1.
    """
    return (x_hat - x).square().sum(-1)


class Autoencoder(nn.Module):
    """Encoder and decoder around a code of `code_dim` numbers, trained on squared error.

    Args:
        x_dim: pixels of an image.
        code_dim: numbers in a code.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.

    Introduced in: chapter 1.
    """

    def __init__(self, x_dim: int = 784, code_dim: int = 2, hidden: tuple[int, ...] = (256, 128)):
        super().__init__()
        self.encoder = mlp(x_dim, *hidden, code_dim)
        self.decoder = mlp(code_dim, *reversed(hidden), x_dim)

    def encode(self, x: Tensor) -> Tensor:
        """(batch, x_dim) -> (batch, code_dim)."""
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        """(batch, code_dim) -> (batch, x_dim), every pixel between 0 and 1."""
        return torch.sigmoid(self.decoder(code))

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction, (batch, x_dim)."""
        return self.decode(self.encode(x))

    def loss_terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """What `vaebook.training.fit` minimises: "loss" (batch,), the squared error of each image."""
        return {"loss": squared_error(self(x), x)}


class VAE(nn.Module):
    """A VAE for binary images: Gaussian encoder, standard normal prior, Bernoulli decoder.

    Args:
        x_dim: pixels of an image.
        z_dim: latent dimensions.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.

    Source: Kingma and Welling (2013).
    Introduced in: chapter 3.
    """

    def __init__(self, x_dim: int = 784, z_dim: int = 2, hidden: tuple[int, ...] = (256, 128)):
        super().__init__()
        self.encoder = mlp(x_dim, *hidden, 2 * z_dim)
        self.decoder = mlp(z_dim, *reversed(hidden), x_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, x_dim) -> mu and log_var of q(z|x), each (batch, z_dim)."""
        mu, log_var = self.encoder(x).chunk(2, dim=-1)
        return mu, log_var

    def decode(self, z: Tensor) -> Tensor:
        """(batch, z_dim) -> the logits of p(x|z), (batch, x_dim)."""
        return self.decoder(z)

    def decoder_mean(self, z: Tensor) -> Tensor:
        """(batch, z_dim) -> each pixel's probability of being 1, (batch, x_dim)."""
        return torch.sigmoid(self.decode(z))

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Elbo:
        """The ELBO of each binary image of x (batch, x_dim), estimated with one draw of z; nats per image.

        Raises:
            ValueError: x has pixels other than 0 and 1.
        """
        mu, log_var = self.encode(x)
        z = reparameterize(mu, log_var, generator)
        return Elbo(bernoulli_log_likelihood(self.decode(z), x), kl_to_standard_normal(mu, log_var))

    def loss_terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """What `vaebook.training.fit` minimises: "loss" (batch,), the negative ELBO; and its two parts."""
        elbo = self.elbo(x, generator)
        return {"loss": -elbo.value, "reconstruction": elbo.reconstruction, "kl": elbo.kl}


class BetaVAE(VAE):
    """A VAE trained on reconstruction - beta * KL; its `elbo` is the ELBO, whatever beta is.

    Args:
        beta: the price of a nat of KL; 1 is the ELBO, 0 leaves the prior out.

    Source: Higgins et al. (2017).
    Introduced in: chapter 4.3.
    """

    def __init__(
        self, x_dim: int = 784, z_dim: int = 2, hidden: tuple[int, ...] = (256, 128), beta: float = 1.0
    ):
        super().__init__(x_dim, z_dim, hidden)
        self.beta = beta

    def loss_terms(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """What `vaebook.training.fit` minimises: "loss" (batch,); and the ELBO's two parts."""
        elbo = self.elbo(x, generator)
        loss = self.beta * elbo.kl - elbo.reconstruction
        return {"loss": loss, "reconstruction": elbo.reconstruction, "kl": elbo.kl}
