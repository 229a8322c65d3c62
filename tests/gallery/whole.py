"""Answers to the checks of `vaebook.checks.whole`."""

import functools
import math

import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
from torch.nn import functional as F

from vaebook import data
from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal, reparameterize
from vaebook.models import VAE as PackageVAE
from vaebook.models import mlp

# --- right answers: a VAE -----------------------------------------------------------------------------------


class OnePage(nn.Module):
    def __init__(self, x_dim, z_dim):
        super().__init__()
        self.encoder = mlp(x_dim, 64, 2 * z_dim)
        self.decoder = mlp(z_dim, 64, x_dim)

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=-1)

    def decode(self, z):
        return self.decoder(z)

    def draw(self, mu, log_var):
        return mu + (0.5 * log_var).exp() * torch.randn_like(mu)

    def reconstruction(self, logits, x):
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)

    def kl(self, mu, log_var):
        return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(-1)

    def elbo(self, x):
        mu, log_var = self.encode(x)
        return self.reconstruction(self.decode(self.draw(mu, log_var)), x) - self.kl(mu, log_var)


class TwoHeads(nn.Module):
    """Layers of other kinds, torch.distributions, and a decoder that is a layer itself."""

    def __init__(self, x_dim: int, z_dim: int, hidden: int = 12):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(x_dim, hidden), nn.BatchNorm1d(hidden), nn.Tanh(), nn.Dropout(0.1)
        )
        self.centre, self.width = nn.Linear(hidden, z_dim), nn.Linear(hidden, z_dim)
        self.decode = nn.Sequential(nn.Linear(z_dim, hidden), nn.LayerNorm(hidden), nn.Linear(hidden, x_dim))

    def encode(self, x):
        h = self.body(x)
        return [self.centre(h), self.width(h)]

    def elbo(self, x):
        mu, log_var = self.encode(x)
        q = Independent(Normal(mu, torch.exp(log_var / 2)), 1)
        prior = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
        likelihood = Independent(Bernoulli(logits=self.decode(q.rsample())), 1)
        return likelihood.log_prob(x) - kl_divergence(q, prior)


class AtTheDraw(OnePage):
    """The KL is taken at the draw."""

    def elbo(self, x):
        mu, log_var = self.encode(x)
        q, p = Normal(mu, log_var.exp().sqrt()), Normal(0.0, 1.0)
        z = q.rsample()
        joint = Bernoulli(logits=self.decode(z)).log_prob(x).sum(1) + p.log_prob(z).sum(1)
        return joint - q.log_prob(z).sum(1)


class ByForward(OnePage):
    def forward(self, x):
        mu, log_var = self.encode(x)
        return self.decode(reparameterize(mu, log_var)), mu, log_var

    def elbo(self, x):
        logits, mu, log_var = self(x)
        return bernoulli_log_likelihood(logits, x) - kl_to_standard_normal(mu, log_var)


class SmallOutputs(OnePage):
    """Right: a small factor is made good by the weights."""

    def encode(self, x):
        mu, log_var = super().encode(x)
        return 0.01 * mu, (0.01 * log_var).clamp(-10, 10)

    def decode(self, z):
        return 0.01 * self.decoder(z)


# --- right answers: trained models --------------------------------------------------------------------------


@functools.cache
def trained(kind, epochs, part, lr, batch, sign, z_dim):
    """A model of this kind after a few epochs on the digits that come with the book."""
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        x = data.binarize(getattr(data.load("mnist5k", "cpu"), part))
        model = kind(784, z_dim)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                optimizer.zero_grad()
                (sign * model.elbo(x[rows]).mean()).backward()
                optimizer.step()
    return model.requires_grad_(False)


class Later(nn.Module):
    """A model that is trained when it is first used."""

    def __init__(self, kind, epochs=3, part="train", lr=5e-3, batch=64, sign=-1, z_dim=8):
        super().__init__()
        self.how = kind, epochs, part, lr, batch, sign, z_dim
        self.weight = nn.Parameter(torch.zeros(1))  # which says where the model lies

    def parameters(self, recurse=True):
        trained(*self.how)  # here, and not in encode, whose seconds the check counts
        return super().parameters(recurse)

    def encode(self, x):
        return trained(*self.how).encode(x.cpu())

    def decode(self, z):
        return trained(*self.how).decode(z.cpu())


# --- right answers: a training loop -------------------------------------------------------------------------


def loop(
    order=lambda n, epoch: torch.randperm(n),
    make=lambda weights: torch.optim.Adam(weights, lr=4e-3),
    loss=lambda elbo: -elbo.mean(),
    zero=lambda optimizer: optimizer.zero_grad(),
    again=lambda rows, epoch: rows,
    size=64,
):
    def train(model, x, epochs):
        optimizer = make(model.parameters())
        for epoch in range(epochs):
            for rows in again(order(len(x), epoch).split(size), epoch):
                zero(optimizer)
                loss(model.elbo(x[rows])).backward()
                optimizer.step()

    return train


def loop_loader(model, x, epochs):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), 100, shuffle=True)
    record = []
    for _ in range(epochs):
        for (batch,) in batches:
            elbo = model.elbo(batch)
            elbo.sum().neg().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            model.zero_grad()
        with torch.no_grad():
            record.append(model.elbo(x).mean().item())
    return record


def loop_closure(model, x, epochs, make=torch.optim.Adam):
    optimizer = make(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in x[torch.randperm(len(x))].split(64):

            def closure(batch=batch):
                optimizer.zero_grad()
                loss = -model.elbo(batch).mean()
                loss.backward()
                return loss

            optimizer.step(closure)


def upwards(weights):
    return torch.optim.Adam(weights, lr=4e-3, maximize=True)


def loop_by_hand(model, x, epochs):
    for _ in range(epochs):
        shuffled = x[torch.randperm(len(x), device=x.device)]
        for i in range(0, len(x), 32):
            loss = -model.elbo(shuffled[i : i + 32]).mean()
            weights = list(model.parameters())
            for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.data -= 0.01 * slope


def grid(n):
    quantiles = Normal(0.0, 1.0).icdf((torch.arange(n) + 0.5) / n)
    return torch.cartesian_prod(quantiles, quantiles)


def grid_loops(n):
    p = [(i + 1) / (n + 1) for i in range(n)]
    values = [math.sqrt(2) * torch.erfinv(torch.tensor(2 * q - 1)).item() for q in p]
    return torch.tensor([[a, b] for b in reversed(values) for a in values])


def grid_mesh(n):
    q = Normal(0.0, 1.0).icdf(torch.linspace(0.02, 0.98, n, dtype=torch.float64))
    return torch.stack(torch.meshgrid(q, q, indexing="xy"), -1).reshape(-1, 2)


RIGHT = {
    "vae": [
        OnePage,
        PackageVAE,
        TwoHeads,
        AtTheDraw,
        ByForward,
        lambda x_dim, z_dim: PackageVAE(x_dim, z_dim, (20,)),
        SmallOutputs,
    ],
    "train_loop": [
        loop(),
        loop(size=8),
        loop(size=512),
        loop_loader,
        loop_by_hand,
        loop_closure,
        functools.partial(loop_closure, make=functools.partial(torch.optim.LBFGS, max_iter=3)),
        loop(make=upwards, loss=torch.mean),
    ],
    "trained_vae": [Later(OnePage), Later(AtTheDraw)],
    "quantile_grid": [grid, grid_loops, grid_mesh],
}

# --- wrong answers ------------------------------------------------------------------------------------------


def with_draw(draw):
    return type("Drawn", (OnePage,), {"draw": lambda self, mu, log_var: draw(mu, log_var)})


def with_parts(**parts):
    return type("Parts", (OnePage,), {name: staticmethod(part) for name, part in parts.items()})


def with_elbo(elbo):
    return type("Whole", (OnePage,), {"elbo": elbo})


def noisy(mu, log_var):
    return mu + (0.5 * log_var).exp() * torch.randn_like(mu)


def seeded(mu, log_var):
    torch.manual_seed(0)
    return noisy(mu, log_var)


def no_grad(mu, log_var):
    with torch.no_grad():
        return noisy(mu, log_var)


def clamped_bce(logits, x):
    p = logits.sigmoid()
    return -F.binary_cross_entropy(p, x, reduction="none").sum(-1)


class ListOfLayers(nn.Module):
    def __init__(self, x_dim, z_dim):
        super().__init__()
        self.layers = [nn.Linear(x_dim, 2 * z_dim), nn.Linear(z_dim, x_dim)]

    encode = decode = elbo = OnePage.encode


class OneInAList(OnePage):
    def __init__(self, x_dim, z_dim):
        super().__init__(x_dim, z_dim)
        self.extra = [nn.Linear(x_dim, x_dim)]

    def encode(self, x):
        return self.encoder(self.extra[0](x)).chunk(2, dim=-1)


class Fixed(OnePage):
    def __init__(self, x_dim, z_dim):
        super().__init__(784, z_dim)


class FixedView(OnePage):
    def encode(self, x):
        return super().encode(x.view(-1, 784))


class NoSuper(nn.Module):
    def __init__(self, x_dim, z_dim):
        self.encoder = nn.Linear(x_dim, z_dim)


class NoModule:
    def __init__(self, x_dim, z_dim):
        self.encoder = nn.Linear(x_dim, z_dim)


class OneTensor(OnePage):
    def encode(self, x):
        return self.encoder(x)


class Widths(OnePage):
    def encode(self, x):
        mu, log_var = self.encoder(x).chunk(2, -1)
        return mu, F.softplus(log_var)


class Positive(OnePage):
    def encode(self, x):
        mu, log_var = self.encoder(x).chunk(2, -1)
        return mu.relu(), log_var


class Probabilities(OnePage):
    def decode(self, z):
        return self.decoder(z).sigmoid()

    def reconstruction(self, p, x):
        return -F.binary_cross_entropy(p, x, reduction="none").sum(-1)


class Rectified(OnePage):
    def decode(self, z):
        return self.decoder(z).relu()


class ShortCentres(OnePage):
    def encode(self, x):
        mu, log_var = super().encode(x)
        return mu.tanh(), log_var


class ShortWidths(OnePage):
    def encode(self, x):
        mu, log_var = super().encode(x)
        return mu, log_var.tanh()


class ShortLogits(OnePage):
    def decode(self, z):
        return self.decoder(z).tanh()


class Normalised(OnePage):
    def encode(self, x):
        mu, log_var = super().encode(x)
        return mu - mu.mean(0), log_var


class OnlyInTraining(OnePage):
    def draw(self, mu, log_var):
        return noisy(mu, log_var) if self.training else mu


class Blind(OnePage):
    def encode(self, x):
        with torch.no_grad():
            return super().encode(x)


def loss(self, x):
    mu, log_var = self.encode(x)
    return self.kl(mu, log_var) - self.reconstruction(self.decode(noisy(mu, log_var)), x)


def twice(self, x):
    mu, log_var = self.encode(x)
    values = [self.reconstruction(self.decode(noisy(mu, log_var)), x) for _ in range(2)]
    return sum(values) / 2 - self.kl(mu, log_var)


def past_encode(self, x):
    mu, log_var = self.encoder(x).chunk(2, -1)
    return self.reconstruction(self.decode(noisy(mu, log_var)), x) - self.kl(mu, log_var)


def three(self, x):
    mu, log_var, z = self.encode(x)
    return z


def new_each_step(model, x, epochs):
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
            optimizer.zero_grad()
            (-model.elbo(x[rows]).mean()).backward()
            optimizer.step()


def once_an_epoch(model, x, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            (-model.elbo(x[rows]).mean()).backward()
        optimizer.step()


def step_first(model, x, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = -model.elbo(x[rows]).mean()
            optimizer.zero_grad()
            optimizer.step()
            loss.backward()


def never(model, x, epochs):
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            (-model.elbo(x[rows]).mean()).backward()


def once_shuffled(model, x, epochs):
    order = torch.randperm(len(x))
    loop(lambda n, epoch: order)(model, x, epochs)


def printing(model, x, epochs):
    for _ in range(epochs):
        loop()(model, x, 1)
        print(model.elbo(x).mean())


def bce_mean(logits, x):
    return -F.binary_cross_entropy_with_logits(logits, x)


class Centres(OnePage):
    """An autoencoder in the clothes of a VAE."""

    def elbo(self, x):
        return self.reconstruction(self.decode(self.encode(x)[0]), x)


class Free(OnePage):
    """The KL costs nothing, so regions are small and far apart, as long training would make them."""

    def encode(self, x):
        mu, log_var = super().encode(x)
        return 4 * mu, log_var - 10

    def kl(self, mu, log_var):
        return 0 * mu.sum(-1)


class Cheap(OnePage):
    """The KL is not in the loss, and the reconstruction gains by it."""

    def kl(self, mu, log_var):
        return 0 * mu.sum(-1)


class Ruined(OnePage):
    def decode(self, z):
        return math.nan * self.decoder(z)


kl, rebuilt = kl_to_standard_normal, bernoulli_log_likelihood
WRONG = {
    "vae": [
        (PackageVAE(13, 4), "without parentheses"),
        (NoModule, "it must be an nn.Module"),
        (NoSuper, "super().__init__() is missing"),
        (ListOfLayers, "the model has no parameters"),
        (OneInAList, "does not go where the model goes"),
        (Fixed, "a width is fixed in the code"),
        (FixedView, "a width is fixed in the code"),
        (nn.Identity, "the model has no method encode"),
        (OneTensor, "cut it in two"),
        (Widths, "the logarithm of a variance may be any number"),
        (Positive, "a centre may lie anywhere"),
        (Probabilities, "there is a sigmoid in decode"),
        (Rectified, "an activation after the decoder's last layer"),
        (ShortCentres, "a centre may lie anywhere"),
        (ShortWidths, "no region can be narrow"),
        (ShortLogits, "no pixel can be sure"),
        (Normalised, "influence each other"),
        (with_elbo(loss), "this is -ELBO, the loss"),
        (with_elbo(lambda self, x: OnePage.elbo(self, x).mean()), "one number for all images"),
        (with_elbo(twice), "decode 2 times"),
        (with_elbo(past_encode), "encode 0 times"),
        (with_elbo(three), "mu and log_var, and nothing else"),
        (with_elbo(lambda self, x: OnePage.elbo(self, x).detach()), "elbo has no gradient"),
        (with_parts(kl=lambda mu, v: -kl(mu, v)), "the KL is added"),
        (with_parts(kl=lambda mu, v: 0 * kl(mu, v)), "the KL is missing"),
        (with_parts(kl=lambda mu, v: kl(mu, v) / 4), "the mean over latent dimensions"),
        (with_parts(kl=lambda mu, v: kl(mu, v).sum()), "the KL of all images is taken from each"),
        (
            with_parts(kl=lambda mu, v: kl(mu[..., None], v[..., None])),
            "two tensors of different shapes meet",
        ),
        (with_parts(reconstruction=lambda a, x: rebuilt(a, x).mean()), "the mean reconstruction of all"),
        (with_parts(reconstruction=bce_mean), "one mean over all pixels of all images"),
        (with_parts(kl=lambda mu, v: kl(mu, 2 * v)), "in the KL: log_var is taken for log σ"),
        (with_parts(kl=lambda mu, v: kl(mu, v).detach()), "the KL's is cut"),
        (with_parts(reconstruction=lambda a, x: rebuilt(a, x) / x.shape[1]), "the mean over pixels"),
        (with_parts(reconstruction=lambda a, x: rebuilt(a.sigmoid(), x)), "sigmoid is applied twice"),
        (with_parts(reconstruction=lambda a, x: -(a.sigmoid() - x).square().sum(-1)), "a squared error"),
        (with_parts(reconstruction=clamped_bce), "sigmoid first, then the logarithm"),
        (
            with_parts(reconstruction=lambda a, x: -F.binary_cross_entropy(a, x, reduction="none").sum(-1)),
            "taken for probabilities",
        ),
        (with_draw(lambda mu, v: mu), "there is no noise"),
        (with_draw(lambda mu, v: torch.randn_like(mu)), "neither mu nor log_var has a part in it"),
        (OnlyInTraining, "in evaluation mode z is mu"),
        (with_draw(seeded), "a seed is set inside"),
        (
            with_draw(lambda mu, v: mu + v.exp() * torch.randn_like(mu)),
            "exp(log_var) is used as the standard",
        ),
        (with_draw(lambda mu, v: mu + v.sqrt() * torch.randn_like(mu)), "a root or logarithm of log_var"),
        (with_draw(lambda mu, v: mu + (0.5 * v).exp() * torch.rand_like(mu)), "the noise is uniform"),
        (with_draw(lambda mu, v: mu + (0.5 * v).exp() * torch.randn_like(mu[:1])), "shared across the batch"),
        (with_draw(lambda mu, v: noisy(mu[0], v[0])), "each image has a z of its own"),
        (with_draw(lambda mu, v: noisy(mu, v).detach()), "minus the KL alone"),
        (with_draw(no_grad), "minus the KL alone"),
        (with_draw(lambda mu, v: noisy(mu, v.detach())), "minus the KL alone"),
        (Blind, "what encode answers has no gradient"),
    ],
    "train_loop": [
        (never, "step() is never called"),
        (step_first, "there was no gradient"),
        (lambda model, x, epochs: None, "elbo is never asked for"),
        (loop(loss=lambda elbo: elbo.mean()), "uphill: an optimizer minimises"),
        (loop(make=upwards), "downhill: with maximize=True"),
        (once_an_epoch, "step() is called once an epoch"),
        (loop(make=lambda weights: torch.optim.Adam(weights, lr=0.0)), "no weight was changed"),
        (loop(loss=lambda elbo: (-elbo).exp().mean().log()), "another loss"),
        (loop(zero=lambda optimizer: None), "gradients are not zeroed"),
        (new_each_step, "a new optimizer for each step"),
        (loop(order=lambda n, epoch: torch.arange(n)), "nothing is shuffled"),
        (once_shuffled, "every epoch has the same order"),
        (loop(again=lambda rows, epoch: sorted(rows, key=len)[1:]), "which is smaller, is left out"),
        (loop(again=lambda rows, epoch: rows[:5]), "images are left out"),
        (loop(order=lambda n, epoch: torch.randint(n, (n,))), "or drawn anew for each batch"),
        (loop(size=10_000), "one step an epoch"),
        (loop(again=lambda rows, epoch: rows if epoch < 1 else ()), "one epoch, whatever"),
        (
            loop(
                lambda n, epoch: torch.arange(n),
                again=lambda rows, epoch: [rows[i] for i in torch.randperm(len(rows))],
            ),
            "the batches are shuffled, and not the images",
        ),
        (printing, "under torch.no_grad()"),
    ],
    "trained_vae": [
        (OnePage, "the trained model itself is asked for"),
        (Later(OnePage, 0), "it has hardly been trained"),
        (Later(with_draw(no_grad)), "the latent dimensions are asleep"),
        (Later(Centres), "only the centres were trained"),
        (Later(Free), "the codes cost more than they earn"),
        (Later(Cheap, 6, z_dim=2), "the codes cost more than they earn"),
        (Later(ShortCentres), "a centre may lie anywhere"),
        (Later(OnePage, lr=1e-3, batch=200), "too few or too small steps"),
        (Later(OnePage, sign=1), "the loop climbs down"),
        (Later(Ruined, 0), "training ran away"),
        (Later(Probabilities), "decode answers with probabilities"),
        (Later(OnePage, 20, "test"), "the test images were trained on"),
    ],
    "quantile_grid": [
        (lambda n: torch.cartesian_prod(*[torch.linspace(-1, 1, n)] * 2), "equal steps in z"),
        (lambda n: torch.cartesian_prod(*[torch.linspace(-3, 3, n)] * 2), "equal steps in z"),
        (
            lambda n: torch.cartesian_prod(*[Normal(0.0, 1.0).icdf(torch.linspace(0, 1, n))] * 2),
            "the quantiles of 0 and 1 are infinite",
        ),
        (
            lambda n: torch.cartesian_prod(*[torch.linspace(0.05, 0.95, n)] * 2),
            "the probabilities themselves",
        ),
        (
            lambda n: torch.cartesian_prod(*[Normal(0.0, 1.0).cdf(torch.linspace(-2, 2, n))] * 2),
            "cdf makes probabilities",
        ),
        (lambda n: torch.randn(n * n, 2), "drawn from the prior"),
        (lambda n: grid(n).view(n, n, 2), "rows of rows"),
        (lambda n: grid(n).T, "the points are columns"),
        (lambda n: grid(n)[:: n + 1], "the diagonal only"),
        (lambda n: grid(n)[:n, 1], "the values of one coordinate"),
        (lambda n: grid(n)[torch.arange(n * n) // n * (n + 1)], "some points come twice"),
        (
            lambda n: torch.cartesian_prod(*[Normal(0.0, 1.0).icdf(torch.linspace(0.3, 0.7, n))] * 2),
            "too much of the prior is left out",
        ),
        (
            lambda n: torch.cartesian_prod(*[Normal(0.0, 1.0).icdf(torch.linspace(0.05, 0.95, n))] * 2),
            "for n = 30 a coordinate runs from",
        ),
        (
            lambda n: torch.cartesian_prod(*[Normal(0.0, 1.0).icdf(torch.linspace(0.5, 0.99, n))] * 2),
            "one side of the prior",
        ),
        (lambda n: grid(n) ** 3, "the steps are not equal in probability"),
    ],
}
