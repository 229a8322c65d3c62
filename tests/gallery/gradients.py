"""Answers to the checks of `vaebook.checks.gradients`."""

import torch
from torch import nn
from torch.distributions import Normal

from vaebook import estimators

# --- right answers ------------------------------------------------------------------------------------------


def exact_autograd(phi, values):
    phi = phi.detach().requires_grad_()
    (phi.softmax(0) @ values).backward()
    return phi.grad


def exact_loop(phi, values):
    q = (phi - phi.max()).exp()
    q = q / q.sum()
    slopes = []
    for k in range(len(phi)):
        slopes.append(sum(q[j] * (float(j == k) - q[k]) * values[j] for j in range(len(phi))))
    return torch.stack(slopes)


def others_loop(values):
    if len(values) == 1:
        return torch.zeros_like(values)
    return torch.stack([torch.cat([values[:k], values[k + 1 :]]).mean(0) for k in range(len(values))])


def others_asserted(values):
    assert len(values) > 1, "take two or more draws"
    return values.mean(0) + (values.mean(0) - values) / (len(values) - 1)


def others_matrix(values):
    n = len(values)
    weights = (1 - torch.eye(n, dtype=values.dtype, device=values.device)) / (n - 1)
    if n == 1:
        raise ValueError("one draw")
    return weights @ values


def surrogate(values, log_q):
    weight = (values - estimators.leave_one_out(values)).detach()
    return (weight * log_q + values).mean()


def surrogate_no_grad(values, log_q):
    with torch.no_grad():
        centred = (values - values.mean(0)) * len(values) / (len(values) - 1)
    return (centred * log_q).mean() + values.mean()


def surrogate_ratio(values, log_q):
    """Its value is the mean of f: q over q without its history."""
    fixed = log_q.detach()
    return (values + (values - others_loop(values)).detach() * (log_q - fixed).exp()).sum() / values.numel()


def best(values, scores):
    squares = scores.square().sum(1)
    return (values * squares).sum() / squares.sum()


def best_covariance(values, scores):
    """What makes the variance of these very draws least."""
    products, centred = values[:, None] * scores, scores - scores.mean(0)
    return ((products * centred).sum() / centred.square().sum()).item()


def best_search(values, scores):
    b = torch.zeros(1, dtype=values.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([b], max_iter=50, line_search_fn="strong_wolfe")

    def variance():
        optimizer.zero_grad()
        loss = ((values - b)[:, None] * scores).var(0).sum()
        loss.backward()
        return loss

    optimizer.step(variance)
    return b.detach()


def through(f, mu, log_var, eps):
    z = mu + (0.5 * log_var).exp() * eps
    return torch.autograd.grad(f(z).mean(), (mu, log_var))


def through_backward(f, mu, log_var, eps):
    mu, log_var = mu.clone().detach().requires_grad_(), log_var.clone().detach().requires_grad_()
    for row in eps:
        (f(mu + torch.exp(log_var / 2) * row) / len(eps)).backward()
    return torch.stack([mu.grad, log_var.grad])


def through_chain(f, mu, log_var, eps):
    std = log_var.exp().sqrt().detach()
    z = (mu + std * eps).detach().requires_grad_()
    slope = torch.autograd.grad(f(z).sum(), z)[0]
    return [slope.mean(0), (slope * eps * std / 2).mean(0)]


def through_package(f, mu, log_var, eps):
    d = len(mu)
    estimate = estimators.reparameterized(
        lambda phi, z: f(z),
        lambda phi, row: phi[:d] + (0.5 * phi[d:]).exp() * row,
        torch.cat([mu, log_var]).detach(),
        eps,
    )
    return estimate.gradient.chunk(2)


class Through(nn.Module):
    def forward(self, f, mu, log_var, eps):
        return through(f, mu, log_var, eps)


def through_keywords(f, *, eps, log_var, mu):
    return through(f, mu, log_var, eps)


RIGHT = {
    "exact_gradient": [
        lambda phi, values: phi.softmax(0) * (values - phi.softmax(0) @ values),
        exact_autograd,
        exact_loop,
        lambda phi, values: estimators.finite_differences(lambda p: p.softmax(0) @ values, phi),
        lambda phi, values: torch.func.grad(lambda p: (p.softmax(0) * values).sum())(phi),
    ],
    "leave_one_out": [estimators.leave_one_out, others_asserted, others_matrix],
    "surrogate": [surrogate, surrogate_no_grad, surrogate_ratio],
    "best_baseline": [best, best_covariance, best_search],
    "reparameterized": [
        through,
        through_backward,
        through_chain,
        through_package,
        Through(),
        through_keywords,
    ],
}

# --- wrong answers ------------------------------------------------------------------------------------------


def with_own(values, log_q):
    return ((values - values.mean(0)).detach() * log_q + values).mean()


def no_baseline(values, log_q):
    return (values.detach() * log_q + values).mean()


def unshifted(phi, values):
    q = phi.exp() / phi.exp().sum()
    return q * (values - q @ values)


def alone(refuse):
    """Leave-one-out, with a single draw left to refuse(values)."""
    return lambda v: refuse(v) if len(v) < 2 else (v.sum(0) - v) / (len(v) - 1)


def silent(v):
    raise ValueError


def others_by_count(v):
    n = len(v)
    return torch.stack([sum(v[j] for j in range(n) if j != i) / (n - 1) for i in range(n)])


def sampled_gradient(phi, values):
    z = torch.distributions.Categorical(logits=phi).sample((1000,))
    scores = nn.functional.one_hot(z, len(phi)) - phi.softmax(0)
    return (values[z][:, None] * scores).mean(0)


def detached_draw(f, mu, log_var, eps):
    z = Normal(mu, (0.5 * log_var).exp()).sample((len(eps),))
    return torch.autograd.grad(f(z).mean(), (mu, log_var))


def own_noise(f, mu, log_var, eps):
    return through(f, mu, log_var, torch.randn_like(eps))


def with_std(std):
    return lambda f, mu, v, eps: torch.autograd.grad(f(mu + std(v) * eps).mean(), (mu, v))


def by_sigma(f, mu, log_var, eps):
    sigma = (0.5 * log_var).exp().detach().requires_grad_()
    return torch.autograd.grad(f(mu + sigma * eps).mean(), (mu, sigma))


def doubled(f, mu, log_var, eps):
    by_mu, by_log_var = through(f, mu, log_var, eps)
    return by_mu, 2 * by_log_var


def each_draw(f, mu, log_var, eps):
    rows = [through(f, mu, log_var, row[None]) for row in eps]
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def by_values(f, mu, log_var, eps):
    std = (0.5 * log_var).exp().detach()
    values = f(mu + std * eps).detach()[:, None]
    return (values * eps / std).mean(0), (values * (eps**2 - 1) / 2).mean(0)


def slope_at_centre(f, mu, log_var, eps):
    std = (0.5 * log_var).exp().detach()
    slope = torch.autograd.grad(f(mu[None]).sum(), mu)[0]
    return slope, (slope * eps * std / 2).mean(0)


WRONG = {
    "exact_gradient": [
        (lambda phi, f: phi.softmax(0) * f, "takes probability from all other states"),
        (lambda phi, f: phi.softmax(0) * (1 - phi.softmax(0)) * f, "takes from the other states is missing"),
        (lambda phi, f: torch.zeros_like(f), "zero: the values do not contain phi"),
        (lambda phi, f: phi.exp() * f, "taken for probabilities"),
        (lambda phi, f: f, "the gradient in the probabilities"),
        (lambda phi, f: phi.softmax(0) * (f - f.mean()), "mean of the values over the states"),
        (lambda phi, f: f - phi.softmax(0) @ f, "q is not in front"),
        (lambda phi, f: -exact_loop(phi, f), "the sign"),
        (lambda phi, f: phi.softmax(0) @ f, "one number: a mean, and not its gradient"),
        (sampled_gradient, "there are draws in it"),
        (lambda phi, f: torch.autograd.grad(f.sum(), phi)[0], "does not depend on phi"),
        (lambda phi, f: torch.func.jacrev(lambda p: p.softmax(0))(phi), "a matrix"),
        (unshifted, "overflows to inf"),
    ],
    "leave_one_out": [
        (lambda v: v.mean(0).expand_as(v), "the mean over all draws"),
        (lambda v: v.mean(0), "one mean for all draws"),
        (lambda v: v.sum(0) - v, "the sum over the other draws, where their mean"),
        (lambda v: (v.sum(0) - v) / len(v), "by the number of all draws"),
        (lambda v: v.mean(0) - v, "its share in a mean is smaller"),
        (lambda v: v - others_loop(v), "the baseline itself is asked for"),
        (lambda v: torch.roll(v, 1, 0), "one other draw"),
        (lambda v: (v.sum(-1, keepdim=True) - v) / (v.shape[-1] - 1), "the means run over the images"),
        (lambda v: (v.sum() - v) / (v.numel() - 1), "the values of all images are mixed"),
        (lambda v: (v.sum(0) - v) / (len(v) - 1), "refuse it by an exception"),
        (lambda v: (v.sum(0) - v) / max(len(v) - 1, 1), "refuse it by an exception"),
        (others_loop, "refuse it by an exception"),
        (lambda v: ((v.sum(0) - v) / (len(v) - 1)).nan_to_num(), "refuse it by an exception"),
        (alone(lambda v: None), "refuse it by an exception"),
        (alone(lambda v: v[:0]), "refuse it by an exception"),
        (alone(silent), "an exception without a word"),
        (others_by_count, "an accident"),
        (lambda v: estimators.leave_one_out(v).squeeze(), "drops every axis of length 1"),
        (lambda v: (v.sum(0) - v) / max(len(v) - 1, 1) + 0.1, "no mistake that this check knows"),
    ],
    "surrogate": [
        (no_baseline, "no baseline"),
        (with_own, "the draw itself among them"),
        (lambda v, q: v.mean(), "this is the naive program"),
        (lambda v, q: (v - estimators.leave_one_out(v)).detach().mul(q).mean(), "the decoder learns nothing"),
        (lambda v, q: (v * q).mean(), "f · log q is differentiated as a product"),
        (lambda v, q: ((v - estimators.leave_one_out(v)) * q).mean(), "differentiated as a product"),
        (lambda v, q: ((v - estimators.leave_one_out(v)) * q + v).mean(), "differentiated as a product"),
        (lambda v, q: -surrogate(v, q), "the sign"),
        (lambda v, q: -no_baseline(v, q), "a loss, to be minimised. And no baseline"),
        (lambda v, q: len(v) * surrogate(v, q), "a sum over draws"),
        (lambda v, q: v.numel() * surrogate(v, q), "a sum over draws and images"),
        (lambda v, q: (q + v).mean(), "f does not weight log q"),
        (
            lambda v, q: ((v - estimators.leave_one_out(v)).detach() * q.exp() + v).mean(),
            "where its logarithm belongs",
        ),
        (lambda v, q: ((v - estimators.leave_one_out(v)) * q.detach() + v).mean(), "log q is detached"),
        (
            lambda v, q: ((v - others_loop(v.T).T).detach() * q + v).mean(),
            "the baseline runs over the images",
        ),
        (
            lambda v, q: ((v - estimators.leave_one_out(v)).detach() * q + v).mean(0),
            "one number for each image",
        ),
        (lambda v, q: surrogate(v, q).detach(), "everything is detached"),
        (lambda v, q: 1.3 * surrogate(v, q), "no mistake that this check knows"),
    ],
    "best_baseline": [
        (lambda v, s: v.mean(), "the mean of f"),
        (lambda v, s: v.median(), "the median of f"),
        (lambda v, s: -best(v, s), "the sign"),
        (lambda v, s: (v * s.norm(dim=1)).mean() / s.norm(dim=1).mean(), "with which power"),
        (lambda v, s: (v * s.square().sum(1)).mean(), "not divided by the mean of the weights"),
        (lambda v, s: (v @ s).sum() / s.sum(), "divides by a number near 0"),
        (
            lambda v, s: (v[:, None] * s.square()).mean(0) / s.square().mean(0),
            "one constant for all of them is asked for",
        ),
        (lambda v, s: 2 * best(v, s), "counts double"),
        (lambda v, s: best(v, s.sum(1, keepdim=True)), "added up before they are squared"),
        (lambda v, s: best(v, s.abs().sum(1, keepdim=True)), "another length of its score"),
        (lambda v, s: best(v, s.abs().amax(1, keepdim=True)), "another length of its score"),
        (
            lambda v, s: ((v[:, None] * s.square()).mean(0) / s.square().mean(0)).mean(),
            "the mean of each parameter's own best constant",
        ),
        (lambda v, s: best(v, s[:, :1]), "it is a parabola"),
        (lambda v, s: 0.0, "it is a parabola"),
        (lambda v, s: (best(v, s), 1), "a constant is one number"),
    ],
    "reparameterized": [
        (with_std(torch.exp), "exp(log_var) is used as the standard deviation"),
        (with_std(lambda v: v), "log_var itself is used"),
        (by_sigma, "the gradient in σ"),
        (doubled, "a factor ½ is missing"),
        (detached_draw, "z is cut off"),
        (
            lambda f, m, v, e: torch.autograd.grad(f(m + (0.5 * v).exp() * e).sum(), (m, v)),
            "the sum over draws",
        ),
        (lambda f, m, v, e: torch.autograd.grad(-f(m + (0.5 * v).exp() * e).mean(), (m, v)), "the sign"),
        (lambda f, m, v, e: through(f, m, v, e)[::-1], "swapped"),
        (lambda f, m, v, e: through(f, m, v, e)[0], "where two are asked for"),
        (lambda f, m, v, e: torch.cat(through(f, m, v, e)), "in one row"),
        (lambda f, m, v, e: f(m + (0.5 * v).exp() * e).mean(), "a value, and not its gradient"),
        (lambda f, m, v, e: through(f, m, v, 0 * e), "there is no noise in z"),
        (lambda f, m, v, e: through(lambda z: f(z.mean(0)), m, v, e), "f of the mean z"),
        (slope_at_centre, "the slope of f is taken at mu"),
        (each_draw, "one gradient for each draw"),
        (by_values, "the score function"),
        (own_noise, "there are draws in it"),
    ],
}
PREDICTED = {
    "predict_thousand_nats": [
        ("c", (0.3, 50.0, 1.0), "as you expected, the gradient stays; the plain estimate becomes noisier"),
        ("a", (0.3, 50.0, 1.0), "a constant in f is expected to show"),
        ("b", (0.3, 50.0, 1.0), "taken for 0 at every draw"),
        ("d", (0.3, 50.0, 1.0), "whatever is subtracted"),
    ],
    "predict_narrow_region": [
        ("c", (40.0, 0.05), "as you expected, the score function wins in the wide region"),
        ("a", (40.0, 0.05), "the trick is taken to win always"),
        ("b", (40.0, 0.05), "the frequency of f is taken to decide alone"),
        ("d", (40.0, 0.05), "a wide region is thought to help slopes"),
    ],
}
