"""Answers to the checks of `vaebook.checks.gap`."""

import math

import torch
from torch.distributions import Categorical, Normal, kl_divergence
from torch.nn import functional as F

from vaebook.checks import gap as checked

# --- a few states -------------------------------------------------------------------------------------------


def elbo_where(log_joint, q):
    inside = q > 0
    terms = torch.where(inside, log_joint, 0) - torch.where(inside, q, 1).log()
    return (q * terms).sum(0)


def elbo_loops(log_joint, q):
    values = []
    for p_column, q_column in zip(log_joint.T, q.T, strict=True):
        keep = q_column > 0
        values.append((q_column[keep] * (p_column[keep] - q_column[keep].log())).sum())
    return torch.stack(values)


def elbo_distribution(log_joint, q):
    return torch.nan_to_num(q * log_joint).sum(0) + Categorical(q.T).entropy()


def gap_difference(log_joint, q):
    return log_joint.logsumexp(0) - elbo_where(log_joint, q)


def gap_distributions(log_joint, q):
    return kl_divergence(Categorical(probs=q.T), Categorical(logits=log_joint.T))


def gap_torch(log_joint, q):
    log_posterior = log_joint - log_joint.logsumexp(0)
    return F.kl_div(log_posterior.masked_fill(q == 0, 0), q, reduction="none").sum(0)


def gap_softmax(log_joint, q):
    ratio = torch.where(q > 0, q / log_joint.softmax(0), 1)
    return (q * ratio.log()).sum(0)


def dropped(log_joint, q):
    terms = log_joint - q.log()
    return (q * torch.where(terms.isfinite(), terms, 0)).sum(0)


def gap_one_top(log_joint, q):
    top = log_joint.max()
    return top + (log_joint - top).exp().sum(0).log() - elbo_where(log_joint, q)


def gap_of_admitted(log_joint, q):
    log_posterior = log_joint.masked_fill(q == 0, -math.inf).log_softmax(0)
    return (q * torch.where(q > 0, q.log() - log_posterior, 0)).sum(0)


def gap_less(floor):
    """The logarithm of the posterior, kept finite by `floor`."""
    return lambda p, q: (torch.xlogy(q, q) - q * floor(p.softmax(0)).log()).sum(0)


def admits_above(right, least):
    """q below `least` is taken for 0."""
    return lambda p, q: right(p, torch.where(q > least, q, 0))


def elbo_clamped(log_joint, q):
    return torch.where(q > 0, q * (log_joint - q.clamp_min(1e-4).log()), 0).sum(0)


def gap_clamped(log_joint, q):
    return torch.where(q > 0, q * (q.clamp_min(1e-4).log() - log_joint.log_softmax(0)), 0).sum(0)


def gap_softmax_log(log_joint, q):
    terms = q.log() - log_joint.softmax(0).log()
    return (q * torch.where(q > 0, terms, 0)).sum(0)


# --- the best normal q --------------------------------------------------------------------------------------

T = torch.linspace(-6, 6, 241)


def elbo_at(log_joint, mu, log_sigma, sign=1.0, entropy=1.0):
    weights = (-0.5 * T.square()).softmax(0)
    return sign * (weights * log_joint(mu + log_sigma.exp() * T)).sum() + entropy * log_sigma


def climb(objective, steps=600, lr=0.06, result=lambda mu, log_sigma: (mu.item(), log_sigma.exp().item())):
    """Adam, uphill on objective(log_joint, mu, log_sigma)."""

    def fit(log_joint):
        mu, log_sigma = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
        optimizer = torch.optim.Adam([mu, log_sigma], lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            (-objective(log_joint, mu, log_sigma)).backward()
            optimizer.step()
        return result(mu.detach(), log_sigma.detach())

    return fit


def by_lbfgs(log_joint):
    phi = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([phi], max_iter=20, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = -elbo_at(log_joint, phi[0], phi[1])
        loss.backward()
        return loss

    optimizer.step(closure)
    return phi[0].detach(), phi[1].detach().exp()


def by_draws(log_joint, mu, log_sigma):
    q = Normal(mu, log_sigma.exp())
    z = q.rsample((200,))
    return (log_joint(z) - q.log_prob(z)).mean()


def by_variance(log_joint, mu, log_var):
    q = Normal(mu, (0.5 * log_var).exp())
    z = mu + q.stddev * T.double()
    return ((-0.5 * T.square()).softmax(0) * (log_joint(z) - q.log_prob(z))).sum()


def by_search(log_joint):
    mu, sigma = torch.meshgrid(torch.linspace(-3, 3, 401), torch.linspace(0.1, 1.6, 151), indexing="ij")
    z = mu[..., None] + sigma[..., None] * T
    values = ((-0.5 * T.square()).softmax(0) * log_joint(z)).sum(-1) + sigma.log()
    best = values.argmax()
    return torch.stack([mu.flatten()[best], sigma.flatten()[best]])


def by_plain_steps(log_joint):
    phi = torch.tensor([0.0, 0.0], dtype=torch.float64, requires_grad=True)
    for _ in range(2000):
        (slope,) = torch.autograd.grad(elbo_at(log_joint, *phi), phi)
        with torch.no_grad():
            phi += 0.01 * slope
    return phi[0].item(), phi[1].exp().item()


def cut(log_joint, mu, log_sigma):
    q = Normal(mu, log_sigma.exp())
    z = q.sample((20,))
    return (log_joint(z) - q.log_prob(z)).mean()


def sampled(log_joint, mu, log_sigma):
    z = Normal(mu, log_sigma.exp()).sample((100,))
    return log_joint(z).mean() + log_sigma


def prior_twice(log_joint, mu, log_sigma):
    kl = 0.5 * (mu.square() + (2 * log_sigma).exp() - 1 - 2 * log_sigma)
    return elbo_at(log_joint, mu, log_sigma, entropy=0.0) - kl


def weighted(log_joint, mu, log_sigma):
    q = Normal(mu, log_sigma.exp())
    z = q.rsample((100,))
    return (q.log_prob(z) * log_joint(z)).mean()


def all_cut(log_joint, mu, log_sigma):
    return log_joint(mu.detach() + log_sigma.detach().exp() * T).mean()


def one_draw(log_joint, mu, log_sigma):
    return log_joint(mu + log_sigma.exp() * torch.randn(())) + log_sigma


def unweighted(log_joint, mu, log_sigma):
    return log_joint(mu + log_sigma.exp() * T).mean() + log_sigma


def fitted_draws(log_joint):
    eps = torch.randn(5)
    return climb(lambda f, m, s: f(m + s.exp() * eps).mean() + s)(log_joint)


def sigma_itself(log_joint, mu, sigma):
    q = Normal(mu, sigma)  # which starts at 0
    z = q.rsample((50,))
    return (log_joint(z) - q.log_prob(z)).mean()


def fixed_width(log_joint, mu, log_sigma):
    return elbo_at(log_joint, mu, 0 * log_sigma)


def density(log_joint):
    z = torch.linspace(-9, 9, 4001).double()
    shares = log_joint(z).softmax(0)
    mean = (shares * z).sum()
    return mean.item(), (shares * (z - mean).square()).sum().sqrt().item()


def laplace(log_joint):
    z = torch.linspace(-6, 6, 200_001).double()
    top = z[log_joint(z).argmax()].clone().requires_grad_()
    (slope,) = torch.autograd.grad(log_joint(top), top, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, top)
    return top.item(), (-curvature).rsqrt().item()


RIGHT = {
    "elbo_by_enumeration": [checked.elbo, elbo_where, elbo_loops, elbo_distribution],
    "gap_by_enumeration": [checked.gap, gap_difference, gap_torch],
    "fit_q": [
        by_lbfgs,
        climb(elbo_at),
        climb(by_draws, 600, 0.02),
        climb(by_variance, result=lambda mu, log_var: (mu, (0.5 * log_var).exp())),
        by_search,
        by_plain_steps,
        climb(elbo_at, result=lambda mu, log_sigma: (mu[None], log_sigma.exp()[None])),
    ],
}
WRONG = {
    "elbo_by_enumeration": [(mark.makes, mark.text) for mark in checked.ELBO_MARKS]
    + [
        (dropped, "mask where q is 0"),
        (lambda p, q: (q * p.clamp_min(-100) - torch.xlogy(q, q)).sum(0), "replaced by a finite number"),
        *((admits_above(elbo_where, least), "taken for 0, or clamped") for least in (1e-3, 1e-4, 1e-6)),
        (elbo_clamped, "taken for 0, or clamped"),
        (lambda p, q: (q * (p - q.log())).sum(0), "0 times an infinite logarithm"),
        (lambda p, q: (q * p - torch.xlogy(q, q)).sum(0), "0 times an infinite logarithm"),
        (lambda p, q: (q * (p.exp() / (q + 1e-20)).log()).nan_to_num().sum(0), "exp() vanishes to 0"),
        (lambda p, q: checked.elbo(p, q).mean(), "it is the mean over the images"),
        (lambda p, q: q * (p - q.log()), "nothing is summed over the states"),
        (lambda p, q: (q * (p - q.log())).sum(1), "the sum runs over the images"),
        (lambda p, q: checked.elbo(p, q.softmax(0)), "no mistake that this check knows"),
    ],
    "gap_by_enumeration": [(mark.makes, mark.text) for mark in checked.GAP_MARKS]
    + [
        (gap_one_top, "one number for all images"),
        (gap_of_admitted, "from the states that q admits only"),
        (gap_less(lambda p: p + 1e-12), "replaced by a finite number"),
        (gap_less(lambda p: p.clamp_min(1e-38)), "replaced by a finite number"),
        *((admits_above(gap_difference, least), "taken for 0, or clamped") for least in (1e-3, 1e-4, 1e-6)),
        (gap_clamped, "taken for 0, or clamped"),
        (gap_distributions, "exp() vanishes to 0"),
        (gap_softmax, "exp() vanishes to 0"),
        (gap_softmax_log, "exp() vanishes to 0"),
        (lambda p, q: F.kl_div(q.log(), p.softmax(0), reduction="none").sum(0), "the wrong direction"),
        (lambda p, q: F.kl_div(p.log_softmax(0), q), "one number"),
        (lambda p, q: (q * (q.log() - p.log_softmax(0))).sum(0), "0 times an infinite logarithm"),
        (
            lambda p, q: (q * torch.where(q > 0, q / p.exp() * p.exp().sum(0), 1).log()).sum(0),
            "exp() vanishes to 0",
        ),
        (lambda p, q: q * (q.log() - p.log_softmax(0)), "nothing is summed over the states"),
    ],
    "fit_q": [
        (climb(cut, steps=50), "no gradient can reach mu and sigma"),
        (climb(sampled, steps=400), "only the entropy is climbed"),
        (climb(prior_twice), "the prior counts twice"),
        (climb(weighted, steps=600), "and is no weight"),
        (climb(elbo_at, steps=50, lr=0.01), "too few steps"),
        (climb(by_draws, steps=100, lr=0.01), "too few steps"),
        (climb(elbo_at, result=lambda m, s: (m, s.exp().expand(3))), "a tensor with one entry"),
        (climb(all_cut), "the gradient is cut"),
        (lambda f: (0.0, 1.0), "was never asked for"),
        (climb(lambda f, m, s: -elbo_at(f, m, s)), "the climb"),
        (climb(lambda f, m, s: elbo_at(f, m, s, entropy=0.0)), "shrinks to a point"),
        (climb(lambda f, m, s: elbo_at(f, m, s, entropy=-1.0)), "shrinks to a point"),
        (climb(lambda f, m, s: elbo_at(f, m, s, entropy=2.0)), "too wide by √2"),
        (climb(lambda f, m, s: elbo_at(f, m, s, entropy=0.5)), "too narrow by √2"),
        (climb(fixed_width), "sigma is the same for every model"),
        (climb(lambda f, m, s: elbo_at(f, 0 * m, s)), "mu is the same for every model"),
        (climb(elbo_at, steps=0), "was never asked for"),
        (climb(elbo_at, steps=10), "not at the top"),
        (climb(unweighted), "is not taken under q"),
        (fitted_draws, "the noise of the draws"),
        (climb(sigma_itself), "sigma is 0 or below"),
        (climb(one_draw, lr=0.1), "the noise of the draws"),
        (climb(elbo_at, result=lambda m, s: (m.item(), s.item())), "log σ is returned"),
        (climb(elbo_at, result=lambda m, s: (m.item(), (2 * s).exp().item())), "the variance is returned"),
        (climb(elbo_at, result=lambda m, s: (m.item(), (0.5 * s).exp().item())), "taken for log σ²"),
        (climb(elbo_at, result=lambda m, s: (s.exp().item(), m.item())), "have changed places"),
        (climb(elbo_at, result=lambda m, s: m.item()), "two numbers are asked for"),
        (laplace, "its curvature there"),
        (density, "the other direction"),
        (climb(lambda f, m, s: elbo_at(f, m, s) * math.nan), "runs away"),
    ],
}
PREDICTED = {
    "predict_single_estimates": [
        ("c", (0.63, -0.04), "as you expected, more than half"),
        ("a", (0.63, -0.04), "taken for one on each estimate"),
        ("b", (0.63, -0.04), "a mean below log p(x) is taken to say"),
        ("d", (0.63, -0.04), "go with the larger part"),
    ]
}
