"""Answers to the checks of `vaebook.checks.formulas` and `vaebook.checks.draws`."""

import math

import numpy as np
import torch
from torch import distributions, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
from torch.nn import functional as F

from vaebook import densities, estimators
from vaebook.checks import formulas

BCE = F.binary_cross_entropy_with_logits

# --- right answers ------------------------------------------------------------------------------------------


def kl_loops(mu, log_var):
    rows = []
    for m, v in zip(mu, log_var, strict=True):
        rows.append(sum(0.5 * (m[i] ** 2 + v[i].exp() - 1 - v[i]) for i in range(len(m))))
    return torch.stack(rows)


class KL(nn.Module):
    def forward(self, mu, log_var):
        return torch.einsum("bd->b", mu * mu + torch.expm1(log_var) - log_var) / 2


def kl_distributions(mu, log_var):
    return kl_divergence(
        Normal(mu, (log_var / 2).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    ).sum(-1)


def kl_matrices(mu, log_var):
    q = distributions.MultivariateNormal(mu, torch.diag_embed(log_var.exp()))
    eye = torch.eye(mu.shape[1], dtype=mu.dtype)
    return kl_divergence(q, distributions.MultivariateNormal(torch.zeros_like(mu), eye))


def bernoulli_checked(logits, x):
    assert ((x == 0) | (x == 1)).all(), "no coin"
    return (x * logits - F.softplus(logits)).sum(dim=1)


def bernoulli_named(logits, x):
    if not set(x.unique().tolist()) <= {0.0, 1.0}:
        raise NotImplementedError("binarize")
    return torch.where(x.bool(), F.logsigmoid(logits), F.logsigmoid(-logits)).sum(1)


def bernoulli_loss(logits, x, reduce=True):
    if ((x != 0) & (x != 1)).any():
        raise ValueError("x must be binary")
    loss = nn.BCEWithLogitsLoss(reduction="none")(logits, x)
    return loss.sum(1).neg() if reduce else loss


def gaussian_by_hand(mean, x, std):
    std = torch.as_tensor(std, dtype=x.dtype).expand_as(x)
    return -(((x - mean) / std) ** 2 / 2 + torch.log(std * math.sqrt(2 * math.pi))).sum(1)


def gaussian_loss(mean, x, std):
    variance = torch.as_tensor(std, dtype=x.dtype).square().expand_as(x)
    return -F.gaussian_nll_loss(mean, x, variance, full=True, reduction="none").sum(1)


def draw_distributions(mu, log_var):
    return Normal(mu, (log_var / 2).exp()).rsample()


def draw_scaled(mu, log_var):
    std = log_var.exp().sqrt()
    return torch.addcmul(mu, std, torch.randn_like(std))


def draw_numpy(mu, log_var):
    noise = torch.from_numpy(np.random.default_rng().standard_normal(tuple(mu.shape))).to(mu.dtype)
    return mu - noise * (0.5 * log_var).exp()


def draw_keyword(*, mu, log_var, generator=None):
    noise = torch.empty_like(mu).normal_(generator=generator)
    return mu + noise * torch.exp(log_var / 2)


def loss_by_hand(mu, log_var, logits, x):
    rebuild = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    return (rebuild - 0.5 * (1 + log_var - mu**2 - log_var.exp()).sum()) / len(x)


def loss_distributions(mu, log_var, logits, x):
    q, p = Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)
    return -(Independent(Bernoulli(logits=logits), 1).log_prob(x) - kl_divergence(q, p).sum(1)).mean()


def log_mean_less(shift):
    return lambda w: shift(w) + (w - shift(w)).exp().mean(0).log()


def log_mean_floats(w):
    rows = []
    for column in w.T.tolist():
        top = max(column)
        rows.append(top + math.log(sum(math.exp(value - top) for value in column) / len(column)))
    return torch.tensor(rows, dtype=w.dtype)


def score_surrogate(f, log_q, phi, z):
    phi = phi.detach().requires_grad_()
    values = f(phi, z)
    surrogate = (values.detach() * log_q(phi, z) + values).mean()
    return torch.autograd.grad(surrogate, phi)[0]


def score_loop(f, log_q, phi, z):
    for row in z:
        value = f(phi, row)
        (value.detach() * log_q(phi, row) + value).backward()
    return phi.grad / len(z)


def score_baseline(f, log_q, phi, z):
    return estimators.score_function(f, log_q, phi, z, baseline=estimators.leave_one_out).gradient


def step(model, x, optimizer):
    loss = model.loss_terms(x)["loss"].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def step_zero_last(model, x, optimizer):
    mu, log_var = model.encode(x)
    loss = loss_by_hand(mu, log_var, model.decode(draw_scaled(mu, log_var)), x)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def step_distributions(model, x, optimizer):
    optimizer.zero_grad()
    mu, log_var = model.encode(x)
    q = Normal(mu, (log_var / 2).exp())
    z = q.rsample()
    rebuild = BCE(model.decode(z), x, reduction="sum") / len(x)
    loss = rebuild + kl_divergence(q, Normal(0.0, 1.0)).sum(-1).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_closure(model, x, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = -model.elbo(x).value.mean()
        loss.backward()
        return loss

    return float(optimizer.step(closure))


def step_rows(model, x, optimizer):
    """Image by image; float32 noise; gradients that are zeroed by hand; a NumPy number."""
    total = 0
    for row in x:
        mu, log_var = model.encode(row[None])
        z = mu + torch.exp(0.5 * log_var) * torch.randn(mu.shape)
        total = total + (kl_loops(mu, log_var) + BCE(model.decode(z), row[None], reduction="sum")) / len(x)
    for p in model.parameters():
        p.grad = None
    total.sum().backward()
    optimizer.step()
    return np.float64(total.item())


def step_watched(model, x, optimizer):
    """The loss is computed twice, with two draws; decoder means are looked at on the way."""
    with torch.no_grad():
        model.decode(model.encode(x)[0])
    value = model.loss_terms(x)["loss"].mean().item()
    step(model, x, optimizer)
    return value


def sample(vae, n):
    return torch.bernoulli(vae.decoder_mean(torch.randn(n, vae.decoder[0].in_features)))


def sample_loop(vae, n):
    with torch.no_grad():
        images = [Bernoulli(logits=vae.decode(torch.randn(1, 2))).sample() for _ in range(n)]
    return torch.cat(images)


def sample_compared(vae, n):
    p = torch.sigmoid(vae.decoder(torch.randn(n, 2)))
    return (torch.rand_like(p) < p).float()


RIGHT = {
    "kl_to_standard_normal": [
        densities.kl_to_standard_normal,
        kl_loops,
        KL,
        KL(),
        kl_distributions,
        kl_matrices,
        lambda mu, log_var: -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=1),
        lambda mu, log_var: formulas.kl(mu.double(), log_var.double()),
    ],
    "bernoulli_log_likelihood": [
        densities.bernoulli_log_likelihood,
        bernoulli_checked,
        bernoulli_loss,
        lambda logits, x: Bernoulli(logits=logits).log_prob(x).sum(-1),
        lambda logits, x: Independent(Bernoulli(logits=logits), 1).log_prob(x),
        bernoulli_named,
    ],
    "gaussian_log_likelihood": [
        densities.gaussian_log_likelihood,
        gaussian_by_hand,
        lambda mean, x, std: Normal(mean, std).log_prob(x).sum(-1),
        gaussian_loss,
    ],
    "reparameterize": [
        densities.reparameterize,
        draw_distributions,
        draw_scaled,
        draw_numpy,
        draw_keyword,
        lambda mu, log_var: mu + torch.exp(0.5 * log_var) * torch.randn_like(mu),
    ],
    "elbo_loss": [
        formulas.loss,
        loss_by_hand,
        loss_distributions,
    ],
    "log_mean_exp": [
        formulas.log_mean,
        lambda w: torch.logsumexp(w - math.log(w.shape[0]), dim=0),
        lambda w: w.max(0).values + (w - w.max(0).values).exp().mean(0).log(),
    ],
    "score_function": [estimators.score_function, score_surrogate, score_loop, score_baseline],
    "train_step": [step, step_zero_last, step_distributions, step_closure, step_rows, step_watched],
    "sample_prior": [sample, sample_loop, sample_compared],
}

# --- wrong answers ------------------------------------------------------------------------------------------


def half(term):
    return lambda mu, v: 0.5 * term(mu, v).sum(-1)


def logp(logits, x):
    return -BCE(logits, x, reduction="none").sum(-1)


def refusing(likelihood, grey=lambda x: ((x != 0) & (x != 1)).any(), words="grey"):
    """A likelihood that refuses grey pixels, so that another mistake is found."""

    def checked(logits, x):
        if grey(x):
            raise ValueError(words)
        return likelihood(logits, x)

    return checked


def printing(logits, x):
    if ((x != 0) & (x != 1)).any():
        print("binarise it first")
        return None
    return logp(logits, x)


def sigmoid_then_log(logits, x):
    p = torch.sigmoid(logits)
    return (x * torch.log(p) + (1 - x) * torch.log(1 - p)).sum(-1)


def with_epsilon(logits, x):
    p = torch.sigmoid(logits)
    return (x * torch.log(p + 1e-12) + (1 - x) * torch.log(1 - p + 1e-12)).sum(-1)


def normal(mean, x, std, log=True, constant=True, half=0.5):
    std = torch.as_tensor(std, dtype=x.dtype).expand_as(x)
    return (-half * ((x - mean) / std) ** 2 - log * std.log() - constant * 0.5 * math.log(2 * math.pi)).sum(
        -1
    )


def seeded_draw(mu, log_var):
    torch.manual_seed(0)
    return mu + (0.5 * log_var).exp() * torch.randn_like(mu)


def no_grad_draw(mu, log_var):
    with torch.no_grad():
        return mu + (0.5 * log_var).exp() * torch.randn_like(mu)


def ignores_generator(mu, log_var, generator=None):
    return mu + (0.5 * log_var).exp() * torch.randn_like(mu)


def loss_of(rebuild, cost):
    """A loss from the two parts (batch, pixels) and (batch, d)."""

    def loss(mu, log_var, logits, x):
        return rebuild(BCE(logits, x, reduction="none")) + cost(0.5 * (mu**2 + log_var.exp() - 1 - log_var))

    return loss


def per_image(parts):
    return parts.sum(1).mean()


def biased_baseline(f, log_q, phi, z):
    values = f(phi, z)
    return _grad(((values - values.mean()).detach() * log_q(phi, z) + values).mean(), phi)


def _grad(value, phi):
    return torch.autograd.grad(value, phi)[0]


def no_step(model, x, optimizer):
    loss = model.loss_terms(x)["loss"].mean()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


def no_zero(model, x, optimizer):
    loss = model.loss_terms(x)["loss"].mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def no_backward(model, x, optimizer):
    loss = model.loss_terms(x)["loss"].mean()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def step_first(model, x, optimizer):
    loss = model.loss_terms(x)["loss"].mean()
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


def eval_step(model, x, optimizer):
    loss = step(model, x, optimizer)
    model.eval()
    return loss


def step_on(objective, returned=lambda terms: terms["loss"].mean().item()):
    def train(model, x, optimizer):
        terms = model.loss_terms(x)
        optimizer.zero_grad()
        objective(terms).backward()
        optimizer.step()
        return returned(terms)

    return train


def returning(returned):
    return step_on(lambda terms: terms["loss"].mean(), returned)


def step_at(draw):
    """A step at z = draw(mu, σ)."""

    def train(model, x, optimizer):
        mu, log_var = model.encode(x)
        logits = model.decode(draw(mu, (0.5 * log_var).exp()))
        loss = (densities.kl_to_standard_normal(mu, log_var) - logp(logits, x)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return train


def seeded_step(model, x, optimizer):
    torch.manual_seed(0)
    return step(model, x, optimizer)


def five_draws(model, x, optimizer):
    loss = torch.stack([model.loss_terms(x)["loss"] for _ in range(5)]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def five_rows(model, x, optimizer):
    return step(model, x.repeat(5, 1), optimizer)


def loss_after(model, x, optimizer):
    step(model, x, optimizer)
    return model.loss_terms(x)["loss"].mean().item()


def two_steps(model, x, optimizer):
    loss = step(model, x, optimizer)
    optimizer.step()
    return loss


def clipped_step(model, x, optimizer):
    loss = model.loss_terms(x)["loss"].mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def free_bits(terms):
    return (terms["kl"].clamp(min=3) - terms["reconstruction"]).mean()


def silent_step(model, x, optimizer):
    step(model, x, optimizer)


def reconstructs(vae, n):
    x = torch.bernoulli(torch.full((n, 6), 0.5))
    return torch.bernoulli(vae.decoder_mean(vae.encode(x)[0]))


def one_coin(vae, n):
    p = vae.decoder_mean(torch.randn(n, 2))
    return (torch.rand(n, 1) < p).float()


WRONG = {
    "kl_to_standard_normal": [
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).mean(-1), "mean over latent dimensions"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).mean(), "one number"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(), "it is the sum over the images"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(-1).mean(), "it is the mean over the images"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v), "nothing is summed over the latent dimensions"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(0), "the sum runs over the images"),
        (lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(-1, keepdim=True), "keepdim"),
        (half(lambda m, v: 2 * (m**2 + v.exp() - 1 - v)), "factor ½ is missing"),
        (half(lambda m, v: 1 + v - m**2 - v.exp()), "the sign"),
        (half(lambda m, v: m**2 + (2 * v).exp() - 1 - 2 * v), "log_var is taken for log σ"),
        (half(lambda m, v: m**2 + v.exp() ** 2 - 1 - v), "log_var is taken for log σ"),
        (half(lambda m, v: m**2 + v - 1 - v.log()), "taken for the variance itself"),
        (lambda m, v: formulas.kl(v, m), "swapped"),
        (
            lambda m, v: kl_divergence(Normal(torch.zeros_like(m), 1.0), Normal(m, (v / 2).exp())).sum(-1),
            "wrong direction",
        ),
        (half(lambda m, v: m**2 + v.exp() - v), "the constant is missing"),
        (half(lambda m, v: v.exp() - 1 - v), "mu has no influence"),
        (half(lambda m, v: m**2 + v.exp() - 1), "logarithm of the variance is missing"),
        (half(lambda m, v: m**2 + v.exp() - 1 + v), "logarithm of the variance has the wrong sign"),
        (half(lambda m, v: m + v.exp() - 1 - v), "mu is not squared"),
        (lambda m, v: formulas.kl(m[:, :1], v[:, :1]), "only one latent dimension"),
        (lambda m, v: formulas.kl(m, v.clamp(-10, 10)), "clamped"),
        (half(lambda m, v: m**2 + v.exp() - 1 - (v.exp() + 1e-10).log()), "added to the variance"),
        (half(lambda m, v: m**2 + v.exp() - 1 - 2 * ((v / 2).exp() + 1e-8).log()), "added to the variance"),
        (lambda m, v: formulas.kl(m.detach(), v), "the gradient is cut"),
        (lambda m, v: formulas.kl(m, v).detach(), "the gradient is cut"),
        (lambda m, v: formulas.kl(m, v) + 0.01 * torch.randn(len(m)), "draws in it"),
        (half(lambda m, v: 3 * m**2 + v.exp() - 1 - v), "right where mu = 0"),
        (half(lambda m, v: m**2 + v.exp() - 1 - v + v**3), "right where log_var = 0"),
        (lambda m, v: 7 * formulas.kl(m, v), "7 times"),
    ],
    "bernoulli_log_likelihood": [
        (refusing(lambda a, x: -logp(a, x)), "the sign"),
        (refusing(lambda a, x: logp(a, x) / x.shape[1]), "the mean over pixels"),
        (lambda a, x: -BCE(a, x), "one number"),
        (lambda a, x: -BCE(a, x, reduction="sum"), "sum over the images"),
        (lambda a, x: -BCE(a, x, reduction="none"), "nothing is summed over the pixels"),
        (lambda a, x: -F.binary_cross_entropy(a, x, reduction="none").sum(-1), "taken for probabilities"),
        (lambda a, x: (x * a.log() + (1 - x) * (1 - a).log()).sum(-1), "taken for probabilities"),
        (lambda a, x: Bernoulli(a).log_prob(x).sum(-1), "taken for probabilities"),
        (lambda a, x: logp(a.sigmoid(), x), "sigmoid is applied twice"),
        (lambda a, x: (x * F.logsigmoid(a)).sum(-1), "pixels that are 0 are left out"),
        (lambda a, x: -((a.sigmoid() - x) ** 2).sum(-1), "squared error"),
        (lambda a, x: logp(-a, x), "swapped"),
        (refusing(sigmoid_then_log), "sigmoid first, then the logarithm"),
        (refusing(with_epsilon), "clamped"),
        (
            refusing(lambda a, x: -F.binary_cross_entropy(a.sigmoid(), x, reduction="none").sum(-1)),
            "clamped",
        ),
        (refusing(lambda a, x: logp(a.clamp(-20, 20), x)), "clamped"),
        (refusing(lambda a, x: (x * a - (1 + a.exp()).log()).sum(-1)), "exp() of a logit overflows"),
        (logp, "x with a pixel of 0.73 was accepted, and its log-likelihood was -"),
        (refusing(logp, lambda x: ((x > 0.1) & (x < 0.9)).any()), "no outcome of a coin"),
        (refusing(logp, lambda x: (x * (1 - x) > 0).any()), "x with pixels of 0 and 255"),
        (refusing(logp, words=""), "says nothing that helps"),
        (refusing(logp, words="bad input"), "says nothing that helps"),
        (printing, "by None, and not by an exception"),
        (refusing(lambda a, x: logp(a, x).detach()), "the gradient is cut"),
    ],
    "gaussian_log_likelihood": [
        (
            lambda m, x, s: normal(m, x, s, constant=False),
            "normalising constant of the normal density is missing",
        ),
        (lambda m, x, s: normal(m, x, s, log=False), "log std is missing"),
        (lambda m, x, s: normal(m, x, s, log=False, constant=False), "no density"),
        (lambda m, x, s: -((x - m) ** 2).sum(-1), "does not know std"),
        (lambda m, x, s: normal(m, x, s, half=1), "factor ½ is missing"),
        (lambda m, x, s: Normal(m, torch.as_tensor(s).sqrt()).log_prob(x).sum(-1), "taken for the variance"),
        (lambda m, x, s: Normal(m, torch.as_tensor(s) ** 2).log_prob(x).sum(-1), "squared once more"),
        (lambda m, x, s: Normal(m, (0.5 * torch.as_tensor(s)).exp()).log_prob(x).sum(-1), "log variance"),
        (lambda m, x, s: Normal(m, s).log_prob(x).mean(-1), "mean over pixels"),
        (lambda m, x, s: -Normal(m, s).log_prob(x).sum(-1), "the sign"),
        (lambda m, x, s: Normal(m, s).log_prob(x).exp().sum(-1).log(), "log of a sum of densities"),
        (lambda m, x, s: Normal(m, s).log_prob(x).sum(-1).exp().log(), "the density first"),
        (lambda m, x, s: normal(m, x, s).exp(), "density itself"),
        (lambda m, x, s: Normal(m, torch.as_tensor(s).clamp_min(0.3)).log_prob(x).sum(-1), "std is clamped"),
        (lambda m, x, s: normal(m, x, s, constant=False) - 0.5 * math.log(2 * math.pi), "counts once"),
        (lambda m, x, s: Normal(m, s.item()).log_prob(x).sum(-1), "raised AttributeError"),
    ],
    "reparameterize": [
        (lambda m, v: m + v.exp() * torch.randn_like(m), "exp(log_var) is used as the standard deviation"),
        (lambda m, v: m + v * torch.randn_like(m), "log_var itself"),
        (lambda m, v: m + v.abs().sqrt() * torch.randn_like(m), "the root of |log_var|"),
        (lambda m, v: m + v.sqrt() * torch.randn_like(m), "a root or logarithm of log_var"),
        (lambda m, v: m + (-0.5 * v).exp() * torch.randn_like(m), "step"),
        (lambda m, v: m + (0.5 * v).exp() * torch.rand_like(m), "uniform"),
        (lambda m, v: m + (0.5 * v).exp() * math.sqrt(12) * (torch.rand_like(m) - 0.5), "uniform"),
        (lambda m, v: m + (0.5 * v).exp() * 2 * torch.randn_like(m), "not of standard deviation 1"),
        (lambda m, v: m + (0.5 * v).exp() * torch.randn_like(m).sign(), "not standard normal"),
        (lambda m, v: m + (0.5 * v).exp() * torch.randn_like(m[:1]), "shared across the batch"),
        (lambda m, v: m + (0.5 * v).exp() * torch.randn_like(m[:, :1]), "shared across latent dimensions"),
        (lambda m, v: m, "no noise"),
        (lambda m, v: m + 0 * v, "no noise"),
        (seeded_draw, "a seed is set inside"),
        (lambda m, v: (0.5 * v).exp() * torch.randn_like(m), "mu has no influence"),
        (lambda m, v: (m + torch.randn_like(m)) * (0.5 * v).exp(), "multiplies mu too"),
        (lambda m, v: m + torch.randn_like(m), "does not scale it"),
        (lambda m, v: m + (0.5 * v).exp() + torch.randn_like(m), "does not scale it"),
        (lambda m, v: m + (0.5 * v).exp(), "every z is mu + σ"),
        (lambda m, v: m + ((0.5 * v).exp() + 1e-3) * torch.randn_like(m), "something is added"),
        (lambda m, v: m + ((0.5 * v).exp() + 1) * torch.randn_like(m), "something is added"),
        (lambda m, v: m + (v.exp() + 1e-6).sqrt() * torch.randn_like(m), "something is added"),
        (lambda m, v: m + (0.5 * v.clamp(-4, 4)).exp() * torch.randn_like(m), "something is added"),
        (lambda m, v: m * torch.randn_like(m) + (0.5 * v).exp(), "are swapped"),
        (lambda m, v: m.mean(0) + (0.5 * v).exp() * torch.randn_like(m), "averaged over the images"),
        (lambda m, v: m + (0.5 * v).mean(0).exp() * torch.randn_like(m), "averaged over the images"),
        (lambda m, v: m + (0.5 * v).exp() * torch.randn_like(m).clamp(-2, 2), "cut off"),
        (lambda m, v: Normal(m, (0.5 * v).exp()).sample(), "the draw cuts the gradient"),
        (no_grad_draw, "the draw cuts the gradient"),
        (lambda m, v: m + (0.5 * v).exp().detach() * torch.randn_like(m), "on the way to log_var"),
        (ignores_generator, "its noise does not come from there"),
        (
            lambda m, v: (m + (0.5 * v).exp() * torch.randn_like(m)).sum(-1),
            "one number is drawn for each image",
        ),
    ],
    "elbo_loss": [
        (loss_of(lambda r: -per_image(r), lambda c: -per_image(c)), "the sign: this is the ELBO"),
        (loss_of(torch.mean, per_image), "mean over pixels"),
        (loss_of(torch.mean, torch.mean), "means over pixels and over latent"),
        (loss_of(per_image, torch.mean), "mean over latent dimensions"),
        (loss_of(torch.sum, torch.sum), "the sum over images"),
        (loss_of(per_image, torch.sum), "the KL summed"),
        (loss_of(torch.sum, per_image), "the reconstruction summed"),
        (loss_of(torch.mean, torch.sum), "a KL summed over the batch"),
        (loss_of(per_image, lambda c: -per_image(c)), "the sign of the KL"),
        (loss_of(per_image, lambda c: 0 * c.sum()), "the KL is not in the loss"),
        (loss_of(per_image, lambda c: 4 * per_image(c)), "a hidden price: a nat of KL costs 4 nats"),
        (loss_of(per_image, lambda c: per_image(c).detach()), "the gradient is cut"),
        (loss_of(lambda r: r.sum(1), lambda c: c.sum(1)), "one number for each image"),
        (
            lambda m, v, a, x: (formulas.kl(m, 2 * v) - logp(a, x)).mean(),
            "in the KL: log_var is taken for log σ",
        ),
        (
            lambda m, v, a, x: (formulas.kl(m, v) + ((a.sigmoid() - x) ** 2).sum(-1)).mean(),
            "in the reconstruction: a squared error",
        ),
        (
            lambda m, v, a, x: (formulas.kl(m, v) - logp(a.sigmoid(), x)).mean(),
            "in the reconstruction: sigmoid is applied twice",
        ),
        (
            lambda m, v, a, x: (formulas.kl(m, v) - sigmoid_then_log(a, x)).mean(),
            "in the reconstruction: sigmoid first, then the logarithm",
        ),
        (
            lambda m, v, a, x: (
                formulas.kl(m, v) + F.binary_cross_entropy(a.sigmoid(), x, reduction="none").sum(-1)
            ).mean(),
            "in the reconstruction: sigmoid first, then the logarithm",
        ),
    ],
    "log_mean_exp": [
        (lambda w: w.mean(0), "mean of the logarithms"),
        (lambda w: w.logsumexp(0), "log K is missing"),
        (lambda w: w.logsumexp(1) - math.log(w.shape[1]), "the mean runs over the images"),
        (lambda w: w.exp().mean(0).log(), "overflows"),
        (lambda w: w.exp().mean(0), "its logarithm is missing"),
        (lambda w: w.logsumexp(0) + math.log(len(w)), "log K is added"),
        (lambda w: w.logsumexp(0) / len(w), "outside the logarithm"),
        (lambda w: (w.logsumexp(0) - math.log(len(w))).mean(), "mean over the images"),
        (lambda w: math.log(len(w)) - w.logsumexp(0), "the sign"),
        (lambda w: w.logsumexp(0) - math.log(w.shape[1]), "the number of images is used for K"),
        (lambda w: w.max(0).values, "only the largest weight"),
        (lambda w: (w - math.log(len(w))).detach().logsumexp(0), "the gradient is cut"),
        (log_mean_floats, "the gradient is cut, and the task asks"),
        (lambda w: torch.from_numpy(np.logaddexp.reduce(w.numpy()) - np.log(len(w))), "Python's own numbers"),
        (log_mean_less(lambda w: w.max()), "one number for all images"),
        (log_mean_less(lambda w: w.mean(0)), "not the largest log weight of the image"),
        (log_mean_less(lambda w: w[0]), "not the largest log weight of the image"),
        (log_mean_less(lambda w: w.median(0).values), "not the largest log weight of the image"),
        (log_mean_less(lambda w: w.amin(0)), "not the largest log weight of the image"),
    ],
    "score_function": [
        (lambda f, q, p, z: _grad(f(p, z).mean(), p), "the gradient of f alone"),
        (lambda f, q, p, z: _grad((f(p, z).detach() * q(p, z)).mean(), p), "the part through f is missing"),
        (lambda f, q, p, z: _grad(q(p, z).mean(), p), "the score alone"),
        (lambda f, q, p, z: -score_surrogate(f, q, p, z), "the sign"),
        (lambda f, q, p, z: len(z) * score_surrogate(f, q, p, z), "the sum over draws"),
        (lambda f, q, p, z: _grad((f(p, z) * q(p, z)).mean(), p), "differentiated as a product"),
        (
            lambda f, q, p, z: _grad((f(p, z).detach() * q(p, z).exp() + f(p, z)).mean(), p),
            "the gradient of q",
        ),
        (
            lambda f, q, p, z: _grad(f(p, z).mean().detach() * q(p, z).mean() + f(p, z).mean(), p),
            "the mean of f times the mean score",
        ),
        (biased_baseline, "the baseline is a mean to which the draw's own value belongs"),
        (lambda f, q, p, z: estimators.score_function(f, q, p, z).gradients, "one gradient for each draw"),
        (lambda f, q, p, z: (f(p, z).detach() * q(p, z)).mean(), "and not its gradient"),
        (lambda f, q, p, z: _grad(z.sum(), p), "does not depend on phi"),
        (lambda f, q, p, z: 1.3 * score_surrogate(f, q, p, z), "it is 1.3 times"),
        (lambda f, q, p, z: score_surrogate(f, q, p, z) + 1, "no mistake that this check knows"),
        (lambda f, q, p, z: score_surrogate(f, q, p, z[:1]), "some draws are not used"),
        (lambda f, q, p, z: score_surrogate(f, q, p, z[: len(z) // 2]), "some draws are not used"),
        (lambda f, q, p, z: score_surrogate(f, q, p, z.squeeze()), "does not run on every input"),
    ],
    "train_step": [
        (no_step, "step() is not called"),
        (no_zero, "gradients are not zeroed"),
        (no_backward, "backward() is not called"),
        (step_first, "step() comes before backward()"),
        (eval_step, "model.eval()"),
        (silent_step, "a step returns its loss"),
        (step_on(lambda terms: -terms["loss"].mean()), "uphill"),
        (step_on(lambda terms: terms["loss"].sum()), "the sum over images"),
        (step_on(lambda terms: -terms["reconstruction"].mean()), "the KL is not in the loss"),
        (step_on(lambda terms: (3 * terms["kl"] - terms["reconstruction"]).mean()), "another price"),
        (step_on(lambda terms: -(terms["kl"] + terms["reconstruction"]).mean()), "the wrong sign"),
        (step_on(lambda terms: terms["loss"].sum() / 64), "the whole is scaled"),
        (two_steps, "the whole is scaled"),
        (clipped_step, "the whole is scaled"),
        (step_on(free_bits), "is the KL bounded"),
        (returning(lambda terms: 12345.0), "the number that is returned is not its loss"),
        (returning(lambda terms: 0.0), "the number that is returned is not its loss"),
        (returning(lambda terms: math.nan), "the number that is returned is not its loss"),
        (returning(lambda terms: -terms["loss"].mean()), "the ELBO, where its negative"),
        (returning(lambda terms: terms["loss"].sum()), "the sum over the images"),
        (returning(lambda terms: -terms["reconstruction"].mean()), "the KL is not in the number"),
        (returning(lambda terms: terms["kl"].mean()), "the KL alone"),
        (loss_after, "the loss after the step"),
        (step_at(lambda m, s: m), "every z is mu itself"),
        (step_at(lambda m, s: m + s), "every z is mu + σ"),
        (step_at(lambda m, s: m + s**2 * torch.randn_like(m)), "it is the variance"),
        (step_at(lambda m, s: m + s.detach() * torch.randn_like(m)), "on the way to log_var"),
        (step_at(lambda m, s: m + s * torch.randn_like(m[:1])), "shared across the batch"),
        (step_at(lambda m, s: m + s * torch.randn_like(m[:, :1])), "shared across latent dimensions"),
        (step_at(lambda m, s: m + s * torch.rand_like(m)), "uniform"),
        (step_at(lambda m, s: m + s * torch.randn_like(m)[:, [0, 0, 1, 2]]), "shared or repeated"),
        (seeded_step, "a seed is set inside"),
        (five_draws, "one draw of z for each image"),
        (five_rows, "one draw of z for each image"),
    ],
    "sample_prior": [
        (lambda vae, n: vae.decoder_mean(torch.randn(n, 2)), "decoder means shown as samples"),
        (lambda vae, n: vae.decode(torch.randn(n, 2)), "logits"),
        (lambda vae, n: (vae.decoder_mean(torch.randn(n, 2)) > 0.5).float(), "rounded"),
        (lambda vae, n: torch.bernoulli(vae.decoder_mean(torch.rand(n, 2))), "does not come from the prior"),
        (lambda vae, n: torch.bernoulli(vae.decoder_mean(2 * torch.randn(n, 2))), "not come from the prior"),
        (lambda vae, n: torch.bernoulli(vae.decoder_mean(torch.randn(1, 2)).expand(n, -1)), "a z of its own"),
        (lambda vae, n: torch.bernoulli(vae.decoder_mean(torch.randn(1, 2).expand(n, -1))), "where n belong"),
        (reconstructs, "a reconstruction"),
        (lambda vae, n: torch.bernoulli(torch.full((n, 6), 0.5)), "images come from the decoder"),
        (one_coin, "one coin"),
    ],
}
# With the sign turned, and log_var = -60, the noise is enormous.
WRONG["reparameterize"] = [
    (f, "no mistake that this" if t == "step" else t) for f, t in WRONG["reparameterize"]
]
