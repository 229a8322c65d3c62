"""Answers to the checks of `vaebook.checks.bayes`."""

import math
import random

import torch
from torch.distributions import Categorical

from vaebook.checks import bayes

# --- right answers ------------------------------------------------------------------------------------------


def evidence_shifted(log_prior, log_likelihood):
    joint = log_prior.unsqueeze(1) + log_likelihood
    top = joint.max(dim=0).values
    return (joint - top).exp().sum(0).log() + top


def evidence_loop(log_prior, log_likelihood):
    total = log_prior[0] + log_likelihood[0]
    for p, row in zip(log_prior[1:], log_likelihood[1:], strict=True):
        total = torch.logaddexp(total, p + row)
    return total


def posterior_divided(log_prior, log_likelihood):
    return log_prior[:, None] + log_likelihood - evidence_shifted(log_prior, log_likelihood)


def posterior_columns(log_prior, log_likelihood):
    return torch.stack([Categorical(logits=log_prior + column).logits for column in log_likelihood.T], 1)


def counted(sample_z, sample_x, x0, radius, n):
    z = sample_z(n)
    return z[(sample_x(z) - x0).norm(dim=1) < radius]


def counted_loop(sample_z, sample_x, x0, radius, n):
    found = []
    for _ in range(n):
        z = sample_z(1)
        if ((sample_x(z)[0] - x0) ** 2).sum() <= radius**2:
            found.append(z)
    return torch.cat(found) if found else x0.new_zeros(0)


def counted_in_parts(sample_z, sample_x, x0, radius, n):
    parts = []
    for start in range(0, n, 700):
        z = sample_z(min(700, n - start))
        near = torch.cdist(sample_x(z), x0[None])[:, 0] < radius
        parts.append(torch.masked_select(z, near))
    return torch.cat(parts)


def ratio_of_parts(model, z1, z2, x):
    prior = model.prior.log_prob(z1) - model.prior.log_prob(z2)
    return prior + model.log_likelihood(z1, x) - model.log_likelihood(z2, x)


def ratio_together(model, z1, z2, x):
    both = model.log_joint(torch.cat([z1, z2]), x)
    return both[: len(z1)] - both[len(z1) :]


def step(log_joint, z, width):
    proposal = z + width * torch.randn_like(z)
    accept = torch.rand_like(z) < (log_joint(proposal) - log_joint(z)).exp()
    return torch.where(accept, proposal, z)


def step_in_logs(log_joint, z, width):
    new = torch.normal(z, width)
    log_a = (log_joint(new) - log_joint(z)).clamp(max=0)
    rejected = torch.empty_like(z).exponential_() < -log_a
    new[rejected] = z[rejected]
    return new


def step_bernoulli(log_joint, z, width):
    away = width * torch.randn(len(z), device=z.device)
    a = torch.minimum(torch.ones_like(z), torch.exp(log_joint(z + away) - log_joint(z)))
    return z + away * torch.bernoulli(a)


def step_loop(log_joint, z, width):
    there = z + width * torch.randn_like(z)
    both = zip(z, there, log_joint(z).tolist(), log_joint(there).tolist(), strict=True)
    return torch.stack([b if math.log(random.random()) < q - p else a for a, b, p, q in both])


RIGHT = {
    "table_log_evidence": [bayes.log_evidence, evidence_shifted, evidence_loop],
    "table_log_posterior": [bayes.log_posterior, posterior_divided, posterior_columns],
    "posterior_by_counting": [counted, counted_loop, counted_in_parts],
    "log_posterior_ratio": [
        lambda model, z1, z2, x: model.log_joint(z1, x) - model.log_joint(z2, x),
        ratio_of_parts,
        ratio_together,
    ],
    "metropolis_step": [step, step_in_logs, step_bernoulli, step_loop],
}

# --- wrong answers ------------------------------------------------------------------------------------------


def joint(p, v):
    return p[:, None] + v


def other_z(sample_z, sample_x, x0, radius, n):
    z = sample_z(n)
    return z[(sample_x(torch.randn_like(z)) - x0).norm(dim=1) < radius]


def twice(sample_z, sample_x, x0, radius, n):
    z = sample_z(n)
    return z[((sample_x(z) - x0)[:, 0] ** 2 + (sample_x(z) - x0)[:, 1] ** 2).sqrt() < radius]


def keeping(choice):
    """Counts with another rule: the distances |x - x0| (n, 2), radius -> which draws are kept."""

    def count(sample_z, sample_x, x0, radius, n):
        z = sample_z(n)
        return z[choice((sample_x(z) - x0).abs(), radius)]

    return count


def two_z(sample_z, sample_x, x0, radius, n):
    return sample_z(n)[(sample_x(sample_z(n)) - x0).norm(dim=1) < radius]


def squeezed(sample_z, sample_x, x0, radius, n):
    z = sample_z(n)
    return z[((sample_x(z) - x0).norm(dim=1) < radius).nonzero().squeeze()]


def until(sample_z, sample_x, x0, radius, n):
    found = []
    while len(found) < n:
        z = sample_z(1000)
        found += list(z[(sample_x(z) - x0).norm(dim=1) < radius])
    return torch.stack(found[:n])


def kept_x(sample_z, sample_x, x0, radius, n):
    x = sample_x(sample_z(n))
    return x[(x - x0).norm(dim=1) < radius]


def kept_mask(sample_z, sample_x, x0, radius, n):
    return (sample_x(sample_z(n)) - x0).norm(dim=1) < radius


def kept_list(*given):
    return list(counted(*given))


def kept_stack(*given):
    return torch.stack(kept_list(*given))


def masked(sample_z, sample_x, x0, radius, n):
    z = sample_z(n)
    return z * ((sample_x(z) - x0).norm(dim=1) < radius)


def no_x(sample_z, sample_x, x0, radius, n):
    z = sample_z(n)
    return z[(z - x0[0]).abs() < radius]


def on_a_grid(model, z1, z2, x):
    grid = torch.linspace(-9, 9, 2001, dtype=x.dtype)[:, None]
    log_evidence = (model.log_joint(grid, x) + math.log(0.009)).logsumexp(0)
    return (model.log_joint(z1, x) - log_evidence) - (model.log_joint(z2, x) - log_evidence)


def one_maximum(log_prior, log_likelihood):
    values = joint(log_prior, log_likelihood)
    return (values - values.max()).exp().sum(0).log() + values.max()


def least_taken_off(log_prior, log_likelihood):
    values = joint(log_prior, log_likelihood)
    least = values.min(0).values
    return (values - least).exp().sum(0).log() + least


def accepting(rule, noise=torch.randn_like, u=torch.rand_like):
    """A step with another rule: the log joint there and here, and uniform numbers -> which are accepted."""

    def walk(log_joint, z, width):
        there = z + width * noise(z)
        return torch.where(rule(log_joint(there), log_joint(z), u(z)), there, z)

    return walk


def by_ratio(there, here, u):
    return u < (there - here).exp()


def proposing(propose):
    def walk(log_joint, z, width):
        there = propose(z, width)
        return torch.where(by_ratio(log_joint(there), log_joint(z), torch.rand_like(z)), there, z)

    return walk


def seeded(log_joint, z, width):
    torch.manual_seed(0)
    return step(log_joint, z, width)


def all_or_none(log_joint, z, width):
    there = z + width * torch.randn_like(z)
    return there if torch.rand(()).log() < (log_joint(there) - log_joint(z)).sum() else z


def only_accepted(log_joint, z, width):
    there = z + width * torch.randn_like(z)
    return there[by_ratio(log_joint(there), log_joint(z), torch.rand_like(z))]


def to_zero(log_joint, z, width):
    there = z + width * torch.randn_like(z)
    return there * by_ratio(log_joint(there), log_joint(z), torch.rand_like(z))


def half_way(log_joint, z, width):
    """Rejected chains move a little."""
    there = z + width * torch.randn_like(z)
    return torch.where(by_ratio(log_joint(there), log_joint(z), torch.rand_like(z)), there, 0.9 * z)


WRONG = {
    "table_log_evidence": [
        (lambda p, v: v.logsumexp(0), "the prior is missing"),
        (lambda p, v: v.logsumexp(0) - math.log(len(v)), "the mean over states replaces the prior"),
        (lambda p, v: joint(p, v).logsumexp(1), "the sum runs over the images"),
        (lambda p, v: joint(p, v).exp().sum(0).log(), "probabilities first"),
        (least_taken_off, "must be the largest"),
        (one_maximum, "each column needs its own"),
        (lambda p, v: joint(p, v).exp().sum(0), "its logarithm is missing"),
        (lambda p, v: joint(p, v).sum(0), "log of a product"),
        (lambda p, v: (p.exp()[:, None] * v).sum(0), "the logarithm belongs outside the sum"),
        (lambda p, v: joint(p, v).max(0).values, "only the most probable state"),
        (lambda p, v: joint(p, v).logsumexp((0, 1)), "every image has an evidence of its own"),
        (lambda p, v: joint(p, v).logsumexp(0, keepdim=True), "keepdim"),
        (lambda p, v: (p + v).logsumexp(0), "lined up from their last axis"),
        (lambda p, v: -joint(p, v).logsumexp(0), "the sign"),
        (lambda p, v: (p[:, None] * v).logsumexp(0), "multiplies log_likelihood"),
        (lambda p, v: (p[:, None] * v.exp()).sum(0).log(), "as if it were the prior"),
    ],
    "table_log_posterior": [
        (lambda p, v: joint(p, v).log_softmax(1), "over the images"),
        (lambda p, v: v.log_softmax(0), "the prior is missing"),
        (joint, "not divided by the evidence"),
        (lambda p, v: v - joint(p, v).logsumexp(0), "likelihood over evidence"),
        (lambda p, v: joint(p, v) - v.logsumexp(0), "the evidence has no prior in it"),
        (lambda p, v: joint(2 * p, v).log_softmax(0), "the prior counts twice"),
        (lambda p, v: joint(p, v).softmax(0), "its logarithm is missing"),
        (lambda p, v: joint(p, v).exp().log() - joint(p, v).exp().sum(0).log(), "probabilities first"),
        (lambda p, v: joint(p, v).softmax(0).log(), "probabilities first"),
        (lambda p, v: joint(p, v) - joint(p, v).logsumexp((0, 1)), "one evidence for all images"),
        (lambda p, v: joint(p, v) / joint(p, v).logsumexp(0), "logarithms are subtracted"),
        (lambda p, v: joint(p, v) - joint(p, v).exp().sum(0), "and not its logarithm"),
        (lambda p, v: joint(p, v) - joint(p, v).max(0).values, "the place of their sum"),
        (lambda p, v: joint(p, v).log_softmax(0).T, "the axes are swapped"),
        (lambda p, v: (p + v).log_softmax(0), "lined up from their last axis"),
        (lambda p, v: (p.exp() * v.T).T.log_softmax(0), "no mistake that this check knows"),
    ],
    "posterior_by_counting": [
        (keeping(lambda away, r: away.norm(dim=1) > r), "those outside are kept"),
        (keeping(lambda away, r: away.norm(dim=1) < 999), "every z is kept"),
        (keeping(lambda away, r: away.square().sum(1) < r), "the squared distance"),
        (keeping(lambda away, r: (away < r).all(1)), "a square, and no disc"),
        (keeping(lambda away, r: (away < r).any(1)), "one coordinate near"),
        (keeping(lambda away, r: away.sum(1) < r), "a diamond"),
        (keeping(lambda away, r: away.square().mean(1).sqrt() < r), "averaged over coordinates"),
        (keeping(lambda away, r: away[:, 0] < r), "only one coordinate"),
        (other_z, "each z goes with the x"),
        (twice, "x was drawn 6000 times"),
        (two_z, "not the one from which its x was drawn"),
        (squeezed, "where one draw alone is kept"),
        (until, "n counts all draws"),
        (kept_x, "x is kept, and not the z"),
        (kept_mask, "which draws are kept"),
        (kept_list, "in one tensor"),
        (kept_stack, "there is nothing to put together"),
        (keeping(lambda away, r: away.norm() < r), "one distance for all images"),
        (keeping(lambda away, r: away.norm(dim=1) < r / 2), "no mistake that this check knows"),
        (masked, "those outside are not left out"),
        (no_x, "never called sample_x"),
        (lambda *given: counted(*given).mean(), "no mean or count"),
    ],
    "log_posterior_ratio": [
        (lambda m, a, b, x: m.log_posterior(a, x) - m.log_posterior(b, x), "the evidence is asked for"),
        (lambda m, a, b, x: m.log_joint(b, x) - m.log_joint(a, x), "the sign"),
        (lambda m, a, b, x: m.log_likelihood(a, x) - m.log_likelihood(b, x), "the ratio of the likelihoods"),
        (lambda m, a, b, x: (m.log_joint(a, x) - m.log_joint(b, x)).exp(), "its logarithm is missing"),
        (lambda m, a, b, x: m.log_joint(a, x) / m.log_joint(b, x), "a ratio of logarithms"),
        (lambda m, a, b, x: (m.log_joint(a, x).exp() / m.log_joint(b, x).exp()).log(), "probabilities first"),
        (lambda m, a, b, x: (m.log_joint(a, x) - m.log_joint(b, x)).sum(0), "one number for each image"),
        (lambda m, a, b, x: m.log_joint(a, x), "the joint of the first z alone"),
        (lambda m, a, b, x: torch.stack([m.log_joint(a, x), m.log_joint(b, x)]).softmax(0)[0], "no other z"),
        (on_a_grid, "a sum over many z"),
    ],
    "metropolis_step": [
        (accepting(lambda there, here, u: u < 2), "a random walk"),
        (accepting(lambda there, here, u: there >= here), "only climbs"),
        (accepting(lambda there, here, u: there > here), "only climbs"),
        (accepting(lambda there, here, u: u < (here - there).exp()), "the wrong way round"),
        (accepting(lambda there, here, u: u > (there - here).exp()), "the comparison is turned round"),
        (
            accepting(lambda there, here, u: u <= there - here),
            "the log ratio is compared with a uniform number",
        ),
        (
            accepting(lambda there, here, u: u < (0.7 * (there - here)).exp()),
            "no mistake that this check knows",
        ),
        (accepting(lambda there, here, u: u < (there - here).sigmoid()), "it is not the largest A"),
        (accepting(lambda there, here, u: u < there.exp() / here.exp()), "0/0 is no number"),
        (accepting(lambda there, here, u: (there - here).exp() > 0.5), "always judged alike"),
        (accepting(lambda there, here, u: u < (2 * (there - here)).exp()), "the ratio is squared"),
        (accepting(lambda there, here, u: u < there.exp()), "the joint itself is the probability"),
        (accepting(lambda there, here, u: u < there / here), "a ratio of logarithms"),
        (seeded, "a seed is set"),
        (accepting(lambda there, here, u: u.log() < (there - here).mean()), "one ratio for all chains"),
        (all_or_none, "one decision for all chains"),
        (accepting(by_ratio, u=lambda z: torch.rand(()).to(z)), "one decision for all chains"),
        (accepting(by_ratio, u=torch.randn_like), "a normal number is compared"),
        (accepting(by_ratio, noise=lambda z: torch.randn(()).to(z)), "one step for all chains"),
        (accepting(by_ratio, noise=torch.rand_like), "not z plus normal noise"),
        (accepting(by_ratio, noise=lambda z: 2 * torch.rand_like(z) - 1), "not z plus normal noise"),
        (proposing(lambda z, width: z + width**0.5 * torch.randn_like(z)), "used as a variance"),
        (proposing(lambda z, width: z + torch.randn_like(z)), "width has no influence"),
        (proposing(lambda z, width: width * torch.randn_like(z)), "not z plus normal noise"),
        (only_accepted, "stays where it is, and counts once more"),
        (to_zero, "stay in place"),
        (half_way, "stay in place"),
        (lambda log_joint, z, width: z, "no proposal is accepted"),
    ],
}
PREDICTED = {
    "predict_two_humps": [
        ("a", (1.0, 0.65), "every ratio is right"),
        ("b", (1.0, 0.65), "thought to be reached alike"),
        ("c", (1.0, 0.65), "as you expected"),
    ]
}
