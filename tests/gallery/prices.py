"""Answers to the checks of `vaebook.checks.prices`."""

import torch

from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal

PIXELS, D, N = 20, 3, 5


def inputs(n=N, d=D):
    return (
        torch.randn(n, d),
        torch.randn(n, d),
        torch.randn(n, PIXELS),
        torch.randint(0, 2, (n, PIXELS)).double(),
    )


def weights(loss):
    """a and b: what the loss gains by a nat of reconstruction loss, and by a nat of KL."""
    mu, log_var, logits, x = inputs()
    other_mu, _, other_logits, _ = inputs()
    start = loss(mu, log_var, logits, x)
    kl = kl_to_standard_normal(other_mu, log_var).mean() - kl_to_standard_normal(mu, log_var).mean()
    rebuild = (bernoulli_log_likelihood(logits, x) - bernoulli_log_likelihood(other_logits, x)).mean()
    b = (loss(other_mu, log_var, logits, x) - start) / kl
    a = (loss(mu, log_var, other_logits, x) - start) / rebuild
    return a, b


def by_differences(loss):
    a, b = weights(loss)
    return b / a


def by_gradients(loss):
    mu, log_var, logits, x = (part.double().requires_grad_() for part in inputs())
    x = x.detach().requires_grad_(False)
    value = loss(mu, log_var, logits, x)
    by_kl, by_rebuild = torch.autograd.grad(value, (mu, logits))
    cost = torch.autograd.grad(kl_to_standard_normal(mu, log_var).mean(), mu)[0]
    earned = torch.autograd.grad(-bernoulli_log_likelihood(logits, x).mean(), logits)[0]
    return ((by_kl / cost).mean() / (by_rebuild / earned).mean()).item()


def by_least_squares(loss):
    rows, values = [], []
    for _ in range(8):
        mu, log_var, logits, x = inputs()
        rebuild, kl = -bernoulli_log_likelihood(logits, x).mean(), kl_to_standard_normal(mu, log_var).mean()
        rows.append(torch.stack([rebuild, kl, torch.tensor(1.0)]))
        values.append(loss(mu, log_var, logits, x))
    a, b, _ = torch.linalg.lstsq(torch.stack(rows).double(), torch.stack(values).double()[:, None]).solution
    return float(b / a)


def ratio_of_values(loss):
    mu, log_var, logits, x = inputs()
    sure = 60 * (2 * x - 1)
    rebuild = -bernoulli_log_likelihood(logits, x).mean()
    b = loss(mu, log_var, sure, x) / kl_to_standard_normal(mu, log_var).mean()
    a = loss(0 * mu, 0 * log_var, logits, x) / rebuild
    return b / a


RIGHT = {"implied_beta": [by_differences, by_gradients, by_least_squares]}
WRONG = {
    "implied_beta": [
        (lambda loss: 1 / by_differences(loss), "the other way round"),
        (lambda loss: weights(loss)[1], "the weight of the KL alone"),
        (lambda loss: weights(loss)[0], "the weight of the reconstruction alone"),
        (lambda loss: -by_differences(loss), "the sign"),
        (lambda loss: weights(loss)[0] * weights(loss)[1], "multiplied"),
        (lambda loss: 1.0, "the loss was never called"),
        (lambda loss: by_differences(loss) * 0 + 1, "the price of the ELBO"),
        (lambda loss: PIXELS * by_differences(loss), "compared for one pixel"),
        (lambda loss: by_differences(loss) / PIXELS, "summed over pixels once too often"),
        (lambda loss: by_differences(loss) * N, "one of the two parts is a sum over images"),
        (lambda loss: by_differences(loss) / D, "for one latent dimension"),
        (ratio_of_values, "A constant in the loss drops out"),
        (lambda loss: weights(loss), "a price is one number"),
    ]
}
PREDICTED = {
    "predict_doubled_pixels": [
        ("b", (1.0, 1.5), "as you expected, the KL grows"),
        ("a", (1.0, 1.5), "copies are thought to say nothing new"),
        ("c", (1.0, 1.5), "expected to grow like the reconstruction"),
        ("d", (1.0, 1.5), "the part that gives way"),
    ]
}
