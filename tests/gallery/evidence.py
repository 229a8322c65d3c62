"""Answers to the checks of `vaebook.checks.evidence`."""

import itertools
import math

import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence
from torch.nn import functional as F

from vaebook import bounds, evaluation
from vaebook.checks import evidence
from vaebook.densities import bernoulli_log_likelihood

# --- a grid -------------------------------------------------------------------------------------------------


def points(axis, d):
    return torch.cartesian_prod(*[axis] * d).reshape(-1, d)


def log_prior(z):
    return -0.5 * z.square().sum(-1, keepdim=True) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def grid(log_likelihood, axis, d):
    z = points(axis, d)
    return (log_likelihood(z) + log_prior(z)).logsumexp(0) + d * math.log(axis[1] - axis[0])


def grid_meshed(log_likelihood, axis, d):
    z = torch.stack(torch.meshgrid(*[axis] * d, indexing="ij"), -1)  # (n, d) or (n, n, d)
    prior = MultivariateNormal(torch.zeros(d).to(axis), torch.eye(d).to(axis))
    log_joint = log_likelihood(z) + prior.log_prob(z)[..., None]
    step = (axis[-1] - axis[0]) / (len(axis) - 1)
    return torch.logsumexp(log_joint.flatten(0, d - 1) + d * step.log(), 0)


def grid_trapezoid(log_likelihood, axis, d):
    z = points(axis, d)
    values = log_likelihood(z) + Normal(0.0, 1.0).log_prob(z).sum(1)[:, None]
    top = values.amax(0)
    heights = (values - top).exp().reshape(*[len(axis)] * d, -1)
    for _ in range(d):
        heights = torch.trapezoid(heights, axis, dim=0)
    return heights.log() + top


def grid_by_rows(log_likelihood, axis, d):
    rows = []
    for part in points(axis, d).split(500):
        rows.append((log_likelihood(part) + log_prior(part)).logsumexp(0))
    return torch.stack(rows).logsumexp(0) + d * (axis[1] - axis[0]).log()


def grid_without_axis(log_likelihood, axis, d):
    z = torch.cartesian_prod(*[axis] * d)
    return (log_likelihood(z) + log_prior(z)).logsumexp(0) + d * math.log(axis[1] - axis[0])


def grid_flat_prior(log_likelihood, axis, d):
    z = points(axis, d)
    return (log_likelihood(z) + log_prior(z)[:, 0]).logsumexp(0) + d * math.log(axis[1] - axis[0])


def grid_exp(log_likelihood, axis, d):
    z = points(axis, d)
    return ((log_likelihood(z) + log_prior(z)).exp().sum(0) * (axis[1] - axis[0]) ** d).log()


def grid_of_points(log_likelihood, axis, d):
    """One point after the other."""
    total = -math.inf * torch.ones(1)
    for point in itertools.product(axis, repeat=d):
        z = torch.stack(point)[None]
        total = torch.logaddexp(total, (log_likelihood(z) + log_prior(z))[0])
    return total + d * math.log(axis[1] - axis[0])


def grid_one_top(log_likelihood, axis, d):
    z = points(axis, d)
    values = log_likelihood(z) + log_prior(z)
    top = values.max()
    return top + (values - top).exp().sum(0).log() + d * math.log(axis[1] - axis[0])


def grid_product(log_likelihood, axis, d):
    z = points(axis, d)
    return (log_likelihood(z) * log_prior(z)).logsumexp(0) + d * math.log(axis[1] - axis[0])


# --- weights ------------------------------------------------------------------------------------------------


def ess_shifted(log_weights):
    weights = (log_weights - log_weights.max(0, keepdim=True).values).exp()
    return weights.sum(0) ** 2 / (weights**2).sum(0)


def ess_logs(log_weights):
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp()


def ess_images(log_weights):
    rows = []
    for column in log_weights.T:
        share = column.softmax(0)
        rows.append(1 / (share @ share))
    return torch.stack(rows)


def ess_less(shift):
    def ess(log_weights):
        weights = (log_weights - shift(log_weights)).exp()
        return weights.sum(0) ** 2 / (weights**2).sum(0)

    return ess


# --- the importance-weighted estimate -----------------------------------------------------------------------


def weights_of(model, x, k, draw=None):
    """log p(z), log p(x|z), log q(z|x) of k draws at once, each (k, batch)."""
    mu, log_var = model.encode(x)
    q = Normal(mu, (0.5 * log_var).exp())
    z = q.sample((k,)) if draw is None else draw(mu, log_var, k)
    logits = model.decode(z)
    log_p = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
    return Normal(0.0, 1.0).log_prob(z).sum(-1), log_p, q.log_prob(z).sum(-1)


def bound_at_once(model, x, k):
    prior, likelihood, q = weights_of(model, x, k)
    return (prior + likelihood - q).logsumexp(0) - math.log(k)


@torch.no_grad()
def bound_repeated(model, x, k):
    x = x.repeat_interleave(k, 0)  # (batch * k, pixels)
    mu, log_var = model.encode(x)
    std = torch.exp(log_var / 2)
    z = mu + std * torch.randn_like(std)
    q, prior = Independent(Normal(mu, std), 1), Independent(Normal(torch.zeros_like(mu), 1.0), 1)
    p = Independent(Bernoulli(logits=model.decode(z)), 1)
    log_w = (prior.log_prob(z) + p.log_prob(x) - q.log_prob(z)).reshape(-1, k)
    return torch.logsumexp(log_w - math.log(k), 1)


def bound_of_each_image(model, x, k):
    rows = []
    for image in x:
        mu, log_var = model.encode(image[None])
        z = mu + (0.5 * log_var).exp() * torch.randn(k, mu.shape[1], device=x.device)
        log_w = bernoulli_log_likelihood(model.decode(z), image.expand(k, -1))
        log_w = log_w + 0.5 * (((z - mu) ** 2 / log_var.exp() + log_var).sum(1) - (z**2).sum(1))
        rows.append(log_w.softmax(0).new_tensor(log_w.logsumexp(0).item() - math.log(k)))
    return torch.stack(rows)


def from_weights(f, draw=None):
    return lambda model, x, k: f(*weights_of(model, x, k, draw))


def log_mean(w):
    return w.logsumexp(0) - math.log(len(w))


def log_mean_one_top(w):
    return w.max() + (w - w.max()).exp().mean(0).log()


def bound_by(draw):
    return from_weights(lambda p, ll, q: log_mean(p + ll - q), draw)


def closed_form(model, x, k):
    mu, log_var = model.encode(x)
    kl = kl_divergence(Normal(mu, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum(-1)
    return log_mean(weights_of(model, x, k)[1]) - kl


def seeded(model, x, k):
    torch.manual_seed(0)
    return bound_at_once(model, x, k)


def std(log_var):
    return (0.5 * log_var).exp()


def by_probabilities(model, x, k):
    mu, log_var = model.encode(x)
    q = Normal(mu, std(log_var))
    z = q.sample((k,))
    ll = Bernoulli(model.decoder_mean(z)).log_prob(x).sum(-1)
    return log_mean(Normal(0.0, 1.0).log_prob(z).sum(-1) + ll - q.log_prob(z).sum(-1))


def wide_density(model, x, k):
    mu, log_var = model.encode(x)
    z = mu + std(log_var) * torch.randn(k, *mu.shape, device=x.device)
    ll = bernoulli_log_likelihood(model.decode(z), x.expand(k, -1, -1))
    return log_mean(Normal(0.0, 1.0).log_prob(z).sum(-1) + ll - Normal(mu, log_var.exp()).log_prob(z).sum(-1))


RIGHT = {
    "grid_log_evidence": [grid, grid_meshed, grid_trapezoid, grid_by_rows, grid_of_points],
    "effective_sample_size": [evaluation.effective_sample_size, ess_shifted, ess_logs, ess_images],
    "importance_weighted_bound": [
        bounds.importance_weighted_bound,
        bound_at_once,
        bound_repeated,
        bound_of_each_image,
    ],
}
WRONG = {
    "grid_log_evidence": [(mark.makes, mark.text) for mark in evidence.GRID_MARKS]
    + [
        (grid_without_axis, "z keeps an axis for its dimensions"),
        (lambda f, axis, d: f(axis).logsumexp(0), "the grid is not the points"),
        (lambda f, axis, d: grid(f, axis, 2), "the grid has two axes, whatever d is"),
        (grid_exp, "exp() vanishes to 0. An image"),
        (grid_one_top, "one number for all images"),
        (grid_flat_prior, "log p(z) needs an axis more"),
        (grid_product, "no mistake that this check knows"),
        (lambda f, axis, d: f(points(axis, d)), "nothing is summed over the points"),
        (lambda f, axis, d: grid(f, axis, d).sum(), "it is the sum over the images"),
        (lambda f, axis, d: grid(f, axis, d).tolist(), "more than the result"),
    ],
    "effective_sample_size": [(mark.makes, mark.text) for mark in evidence.ESS_MARKS]
    + [
        (lambda w: w.exp().sum(0) ** 2 / (w.exp() ** 2).sum(0), "the weights themselves are computed"),
        (ess_less(lambda w: w.max()), "one number for all images"),
        (ess_less(lambda w: w.mean(0)), "not the largest log weight of the image"),
        (ess_less(lambda w: w[0]), "not the largest log weight of the image"),
        (ess_less(lambda w: w.median(0).values), "not the largest log weight of the image"),
        (ess_less(lambda w: w.amin(0)), "not the largest log weight of the image"),
        (lambda w: 1 / w.softmax(1).square().sum(1), "the sum runs over the images"),
        (lambda w: 1 / w.softmax(0).square().sum(), "one number for all images"),
        (lambda w: 1 / w.log_softmax(0).square().sum(0), "no mistake that this check knows"),
        (lambda w: w.softmax(0) ** -2, "nothing is summed over the draws"),
    ],
    "importance_weighted_bound": [
        (from_weights(lambda p, ll, q: (p + ll - q).mean(0)), "the mean of the logarithms"),
        (from_weights(lambda p, ll, q: (p + ll - q).logsumexp(0)), "log K is missing"),
        (from_weights(lambda p, ll, q: (p + ll - q).logsumexp(0) + math.log(len(p))), "log K is added"),
        (from_weights(lambda p, ll, q: (p + ll - q).logsumexp(0) / len(p)), "outside the logarithm"),
        (from_weights(lambda p, ll, q: (p + ll - q).amax(0)), "only the largest"),
        (from_weights(lambda p, ll, q: -log_mean(p + ll - q)), "the sign"),
        (from_weights(lambda p, ll, q: log_mean(ll - q)), "log p(z) is missing"),
        (from_weights(lambda p, ll, q: log_mean(ll + p)), "log q(z|x) is missing"),
        (from_weights(lambda p, ll, q: log_mean(ll)), "as if z came from the prior"),
        (from_weights(lambda p, ll, q: log_mean(ll + p + q)), "log q(z|x) is added"),
        (from_weights(lambda p, ll, q: log_mean(q - ll - p)), "upside down"),
        (from_weights(lambda p, ll, q: log_mean(ll - p + q)), "changed places"),
        (from_weights(lambda p, ll, q: log_mean(p - ll - q)), "cross-entropy is minus"),
        (from_weights(lambda p, ll, q: log_mean(p + ll / 28 - q)), "the mean over pixels"),
        (from_weights(lambda p, ll, q: log_mean((p - q) / 2 + ll)), "means over latent dimensions"),
        (from_weights(lambda p, ll, q: (p + ll - q).exp().mean(0).log()), "exp() vanishes to 0. An image"),
        (from_weights(lambda p, ll, q: log_mean_one_top(p + ll - q)), "one number for all images"),
        (from_weights(lambda p, ll, q: p + ll - q), "no mean of them"),
        (from_weights(lambda p, ll, q: log_mean((p + ll - q).T)), "the mean runs over the images"),
        (from_weights(lambda p, ll, q: log_mean(p + ll - q).mean()), "one number for all images"),
        (from_weights(lambda p, ll, q: log_mean(p + ll - 1.3 * q)), "no mistake that this check knows"),
        (closed_form, "the closed form of the KL"),
        (wide_density, "exp(log_var) is used as the standard deviation"),
        (by_probabilities, "sigmoid first"),
        (seeded, "a seed is set"),
        (lambda model, x, k: bound_at_once(model, x, 1), "one draw for each image, whatever k is"),
        (bound_by(lambda m, v, k: m.expand(k, -1, -1)), "there is no noise"),
        (bound_by(lambda m, v, k: (m + std(v) * torch.randn_like(m)).expand(k, -1, -1)), "used k times"),
        (bound_by(lambda m, v, k: m + std(v) * torch.randn(k, 1, 2, device=m.device)), "across the batch"),
        (bound_by(lambda m, v, k: m + std(v) * torch.randn(k, 6, 1, device=m.device)), "across latent dim"),
        (
            bound_by(lambda m, v, k: m + v.exp() * torch.randn(k, 6, 2, device=m.device)),
            "are not normal",
        ),
        (bound_by(lambda m, v, k: m + std(v) * torch.rand(k, 6, 2, device=m.device)), "are not normal"),
        (bound_by(lambda m, v, k: torch.randn(k, 6, 2, device=m.device)), "the draws come from the prior"),
        (bound_by(lambda m, v, k: 3 * torch.randn(k, 6, 2, device=m.device)), "do not come from q(z|x)"),
        (lambda model, x, k: -x.sum(1), "did not run the decoder"),
    ],
}
PREDICTED = {
    "predict_halved_noise": [
        ("c", (100.0, 1600.0), "as you expected, many times as many"),
        ("a", (100.0, 1600.0), "the prior makes the draws, and it has not changed"),
        ("b", (100.0, 1600.0), "the shares multiply"),
        ("d", (100.0, 1600.0), "an estimate less noisy"),
    ]
}
