"""Answers to the checks of `vaebook.checks.regions`."""

import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from vaebook import models
from vaebook.checks import regions

# --- right answers ------------------------------------------------------------------------------------------


class Heads(nn.Module):
    """A body with two heads, as a learner writes it."""

    def __init__(self, x_dim=784, z_dim=8, width=32):
        super().__init__()
        self.z_dim = z_dim
        self.body = nn.Sequential(nn.Linear(x_dim, width), nn.ReLU())
        self.mu, self.log_var = nn.Linear(width, z_dim), nn.Linear(width, z_dim)
        self.decoder = nn.Sequential(nn.Linear(z_dim, width), nn.ReLU(), nn.Linear(width, x_dim))

    def encode(self, x):
        h = self.body(x)
        return self.mu(h), self.log_var(h)

    def decode(self, z):
        return self.decoder(z)


class TwoNetworks(nn.Module):
    """An encoder for each of the two, tanh inside, batch norm, dropout, and a first answer of zero."""

    def __init__(self, x_dim=784, z_dim=8):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(x_dim, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, z_dim))
            for _ in range(2)
        )
        self.out = nn.Sequential(nn.Dropout(), nn.Linear(z_dim, 16), nn.Tanh(), nn.Linear(16, x_dim))
        for network in (*self.layers, self.out):
            nn.init.zeros_(network[-1].weight)

    def encode(self, x):
        return [network(x) for network in self.layers]

    def decode(self, z):
        return self.out(z)


class Deep(Heads):
    """Many layers and several units, weight normalisation, and a log_var by way of a variance."""

    def __init__(self, x_dim=784, z_dim=8):
        super().__init__(x_dim, z_dim)
        layers = [nn.LazyLinear(24), nn.GELU(), nn.LayerNorm(24), nn.LazyLinear(24), nn.Sigmoid()]
        self.body = nn.Sequential(*layers, nn.LazyLinear(24), nn.SiLU(), nn.LazyLinear(32), nn.Softplus())
        self.body(torch.zeros(1, x_dim))
        last = nn.utils.parametrizations.weight_norm(nn.Linear(24, x_dim))
        self.decoder = nn.Sequential(nn.Linear(z_dim, 24), nn.ELU(), nn.Linear(24, 24), nn.Tanh(), last)

    def encode(self, x):
        mu, log_var = super().encode(2 * x - 1)
        return mu, F.softplus(log_var).log()


class Clamped(Heads):
    def encode(self, x):
        mu, log_var = super().encode(x)
        return torch.stack([mu, log_var.clamp(-20, 10)])


def covariance_of_mixture(mu, log_var):
    """By the moments of z itself: E[z zᵀ] - E[z] E[z]ᵀ."""
    second = torch.diag_embed(log_var.exp()) + mu[:, :, None] * mu[:, None, :]
    return second.mean(0) - torch.outer(mu.mean(0), mu.mean(0))


def covariance_distributions(mu, log_var):
    components = Independent(Normal(mu, (0.5 * log_var).exp()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(len(mu)).to(mu)), components)
    result = torch.cov(mu.T, correction=0).reshape(mu.shape[1], -1)
    result[range(len(result)), range(len(result))] = mixture.variance
    return result


def covariance_loops(mu, log_var):
    n, d = mu.shape
    result = torch.zeros(d, d).to(mu)
    for i in range(d):
        for j in range(d):
            result[i, j] = ((mu[:, i] - mu[:, i].mean()) * (mu[:, j] - mu[:, j].mean())).sum() / n
        result[i, i] += log_var[:, i].exp().mean()
    return result


RIGHT = {
    "vae_networks": [
        models.VAE,
        Heads,
        TwoNetworks,
        Clamped,
        Deep,
        lambda x_dim, z_dim: models.VAE(x_dim, z_dim, hidden=(7,)),
    ],
    "covariance_of_regions": [
        regions.covariance,
        covariance_of_mixture,
        covariance_distributions,
        covariance_loops,
    ],
}

# --- wrong answers ------------------------------------------------------------------------------------------


def encoding(method):
    """Heads with another `encode`."""
    return type("VAE", (Heads,), {"encode": method})


def decoding(method):
    return type("VAE", (Heads,), {"decode": method})


def ended(mu=lambda t: t, log_var=lambda t: t):
    """Heads whose results pass through one more function."""
    return encoding(lambda self, x: (mu(self.mu(self.body(x))), log_var(self.log_var(self.body(x)))))


class NoSuper(nn.Module):
    def __init__(self, x_dim=784, z_dim=8):
        self.body = nn.Linear(x_dim, z_dim)


class Chunked(models.VAE):
    """z_dim outputs, which are then divided."""

    def __init__(self, x_dim=784, z_dim=8):
        super().__init__(x_dim, z_dim)
        self.encoder = models.mlp(x_dim, 16, z_dim)


class ChunkedImages(models.VAE):
    def encode(self, x):
        return self.encoder(x).chunk(2)


class NotDivided(models.VAE):
    def encode(self, x):
        return self.encoder(x)


class Listed(Heads):
    def __init__(self, x_dim=784, z_dim=8):
        super().__init__(x_dim, z_dim)
        del self.body
        self.layers = [nn.Linear(x_dim, 32), nn.ReLU()]

    def body(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Fixed(Heads):
    def __init__(self, x_dim=784, z_dim=8):
        super().__init__(784, z_dim)


class Unused(Heads):
    def __init__(self, x_dim=784, z_dim=8):
        super().__init__(x_dim, z_dim)
        self.second = nn.Linear(32, 32)


class OneWidth(Heads):
    def __init__(self, x_dim=784, z_dim=8):
        super().__init__(x_dim, z_dim)
        self.log_var = nn.Parameter(torch.zeros(z_dim))

    def encode(self, x):
        mu = self.mu(self.body(x))
        return mu, self.log_var.expand_as(mu)


class Unbatched(OneWidth):
    def encode(self, x):
        return self.mu(self.body(x)), self.log_var


class NoEncode(nn.Module):
    def __init__(self, x_dim=784, z_dim=8):
        super().__init__()
        self.decoder = nn.Linear(z_dim, x_dim)

    def decode(self, z):
        return self.decoder(z)


def drawn(self, x):
    mu, log_var = Heads.encode(self, x)
    return mu + (0.5 * log_var).exp() * torch.randn_like(mu)


def drawn_too(self, x):
    mu, log_var = Heads.encode(self, x)
    return drawn(self, x), log_var


def with_z(self, x):
    return *Heads.encode(self, x), drawn(self, x)


def new_layer(self, x):
    h = nn.Linear(32, 32)(self.body(x))
    return self.mu(h), self.log_var(h)


def cut(self, x):
    mu, log_var = Heads.encode(self, x)
    return mu, log_var.detach()


def over_the_batch(self, x):
    mu, log_var = Heads.encode(self, x)
    return mu - mu.mean(0), log_var


def sampled(mu, log_var):
    z = mu + (0.5 * log_var).exp() * torch.randn_like(mu)
    return torch.cov(z.T, correction=0)


def both(mu, log_var):
    return torch.cov(mu.T, correction=0), log_var.exp().mean(0)


def of_centres(spread, correction=0):
    """torch.cov of the centres, plus `spread` of log_var."""
    return lambda m, v: torch.cov(m.T, correction=correction).reshape(m.shape[1], -1) + spread(v)


def diagonal(function):
    return of_centres(lambda v: torch.diag(function(v)))


WRONG = {
    "vae_networks": [
        (lambda x_dim, z_dim: {"encoder": nn.Linear(x_dim, z_dim)}, "must be an nn.Module"),
        (NoSuper, "super().__init__() must come before"),
        (NoEncode, "no method encode"),
        (Chunked, "were divided between mu and log_var"),
        (ChunkedImages, "the images were divided"),
        (NotDivided, "two tensors, and should be returned as two"),
        (Listed, "layers in a Python list"),
        (Fixed, "a size stands there as a number"),
        (encoding(new_layer), "made anew at each call"),
        (Unused, "second.bias, second.weight"),
        (OneWidth, "log_var is the same for every image"),
        (Unbatched, "one for all images"),
        (encoding(lambda self, x: self.mu(self.body(x))), "a point: a region has a centre and a width"),
        (encoding(drawn), "a point: a region has a centre and a width"),
        (encoding(drawn_too), "something is drawn inside"),
        (encoding(with_z), "encode returned 3 things"),
        (encoding(cut), "log_var depends on no parameter"),
        (encoding(over_the_batch), "images are mixed"),
        (encoding(lambda self, x: (self.mu(self.body(x)),) * 2), "nothing depends on the parameters log_var"),
        (ended(log_var=F.softplus), "log_var is below 0 where"),
        (ended(log_var=torch.exp), "log_var is below 0 where"),
        (ended(log_var=F.relu), "log_var is below 0 where"),
        (ended(log_var=torch.tanh), "a tanh ends it"),
        (ended(log_var=F.logsigmoid), "it is never positive"),
        (ended(mu=torch.sigmoid), "half of the space is out of reach"),
        (ended(mu=torch.squeeze), "an axis disappeared"),
        (decoding(lambda self, z: self.decoder(z).sigmoid()), "a logit may be any number"),
        (decoding(lambda self, z: torch.tanh(self.decoder(z))), "a tanh ends it"),
        *(
            (decoding(lambda self, z, end=end: end(self.decoder(z))), "an ELU, GELU or SiLU ends it")
            for end in (F.elu, F.gelu, F.silu, F.mish, F.celu, F.selu)
        ),
        (ended(mu=F.elu), "an ELU, GELU or SiLU ends it"),
        (ended(log_var=F.silu), "an ELU, GELU or SiLU ends it"),
        (ended(log_var=lambda t: t.clamp(max=1)), "numbers above are out of reach"),
        (ended(log_var=lambda t: t.clamp(-4, 4)), "it cannot leave this interval"),
        (ended(mu=lambda t: 3 * t.tanh()), "it cannot leave this interval"),
        (decoding(lambda self, z: 10 * self.decoder(z).tanh()), "it cannot leave this interval"),
        (decoding(lambda self, z: self.decoder(z).clamp(-10, 10)), "it cannot leave this interval"),
        (decoding(lambda self, z: self.decoder[2](self.decoder[0](z) * 0)), "the same for every image"),
        (
            type("VAE", (models.VAE,), {"encode": lambda self, x: (self.encoder(x)[:, ::2],) * 2}),
            "one head for both",
        ),
    ],
    "covariance_of_regions": [
        (diagonal(lambda v: 0 * v[0]), "the covariance of the centres alone"),
        (lambda m, v: torch.diag(v.exp().mean(0)), "the widths alone"),
        (of_centres(lambda v: torch.diag(v.exp().mean(0)), correction=1), "n - 1"),
        (lambda m, v: torch.diag(v.exp().mean(0)) + m.T @ m / len(m), "not subtracted"),
        (diagonal(lambda v: (0.5 * v).exp().mean(0)), "widths do not add up"),
        (diagonal(lambda v: (0.5 * v).exp().mean(0) ** 2), "the square of the mean width"),
        (diagonal(lambda v: v.mean(0)), "as if it were the variance"),
        (diagonal(lambda v: v.mean(0).exp()), "a geometric mean"),
        (diagonal(lambda v: (v.exp() ** 2).mean(0)), "squared once more"),
        (diagonal(lambda v: v.exp().sum(0)), "summed over regions, and not averaged"),
        (of_centres(lambda v: v.exp().mean(0)), "added to every entry"),
        (lambda m, v: m.var(0, correction=0) + v.exp().mean(0), "variances only"),
        (lambda m, v: (m.var(0, correction=0) + v.exp().mean(0)).diag(), "the diagonal alone"),
        (lambda m, v: torch.corrcoef(m.T), "a correlation"),
        (
            lambda m, v: (v.exp().mean(0)).diag() + m.T @ m / len(m) - m.mean(0) @ m.mean(0),
            "a matrix, and",
        ),
        (lambda m, v: torch.cov(m), "torch.cov takes variables as rows"),
        (both, "more than the result"),
        (sampled, "there are draws in it"),
    ],
}
PREDICTED = {
    "predict_disagreement": [
        ("a", (70.0, 73.0), "z to be all that is drawn"),
        ("b", (70.0, 73.0), "most of the difference is expected from z"),
        ("c", (70.0, 73.0), "both draws are expected to matter about alike"),
        ("d", (70.0, 73.0), "as you expected"),
    ]
}
