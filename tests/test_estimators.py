"""Every estimator is right on average, and the checks that say so see one that is not.

A model's exact gradient is that of finite differences of an exact expectation, themselves held against closed
forms. An estimate passes if every entry is within 6 standard errors of it. A normal variable is beyond by
chance twice in a billion draws, so over all seeds and checks here less than once in a million. The seeds are
fixed. Each mutant is an estimator, or a way to draw, with one mistake, and must fail the same check.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, MultivariateNormal, Normal, kl_divergence
from torch.nn.functional import one_hot

from vaebook.device import seeded
from vaebook.estimators import (
    Estimate,
    finite_differences,
    leave_one_out,
    per_draw,
    reparameterized,
    score_function,
)
from vaebook.exact import BernoulliMixture, Curve, LinearGaussian, expectation

DRAWS, SEEDS, LIMIT = 20_000, range(5), 6.0


@dataclass
class Model:
    """E_q[f] with its exact gradient. `draw` gives rows of noise, `transform` makes a z of one of them."""

    f: Callable
    log_q: Callable
    phi: Tensor
    draw: Callable
    objective: Callable
    transform: Callable = lambda phi, eps: eps  # a discrete z is drawn at once

    def gradient(self) -> Tensor:
        return finite_differences(self.objective, self.phi)

    def z(self, eps: Tensor) -> Tensor:
        return torch.func.vmap(self.transform, in_dims=(None, 0))(self.phi, eps)


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def normal_rows(*shape: int) -> Callable:
    return lambda n, generator: torch.randn(n, *shape, generator=generator, dtype=torch.float64)


def mixture() -> Model:
    """The ELBO of five states and six pixels; z is a row with a single 1, phi the logits of q."""
    generator = seeded(0, "cpu")
    prior, logits = normal_rows()(5, generator), 2 * normal_rows(6)(5, generator)
    model, phi = BernoulliMixture(prior, logits), tensor(0.5, -1.0, 0.0, 1.2, -0.3)
    x = model.sample(1, generator)[1]

    def f(phi: Tensor, z: Tensor) -> Tensor:
        log_joint = z @ prior.log_softmax(0) + Bernoulli(logits=z @ logits).log_prob(x[0]).sum()
        return log_joint - z @ phi.log_softmax(0)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        return one_hot(
            torch.multinomial(phi.softmax(0), n, replacement=True, generator=generator), 5
        ).double()

    def objective(phi: Tensor) -> Tensor:
        q = Categorical(logits=phi[None])
        return expectation(q, lambda z: model.log_joint(z, x) - q.log_prob(z))[0]

    return Model(f, lambda phi, z: z @ phi.log_softmax(0), phi, draw, objective)


def scale(phi: Tensor) -> Tensor:
    return phi.chunk(2)[1].exp()


def gaussian_log_q(phi: Tensor, z: Tensor) -> Tensor:
    return Normal(phi.chunk(2)[0], scale(phi)).log_prob(z).sum()


def gaussian_transform(phi: Tensor, eps: Tensor) -> Tensor:
    return phi.chunk(2)[0] + scale(phi) * eps


def linear_gaussian() -> Model:
    """The ELBO of a linear-Gaussian model with two latents, known in closed form."""
    W = torch.tensor([[1.0, 0.4], [-0.3, 0.8], [0.9, 0.9]], dtype=torch.float64)
    b, x, std = tensor(0.2, -0.1, 0.4), tensor(1.0, -0.5, 0.7), 0.6
    model = LinearGaussian(W, b, std)

    def f(phi: Tensor, z: Tensor) -> Tensor:
        log_joint = Normal(0.0, 1.0).log_prob(z).sum() + Normal(W @ z + b, std).log_prob(x).sum()
        return log_joint - gaussian_log_q(phi, z)

    def objective(phi: Tensor) -> Tensor:
        return model.elbo(MultivariateNormal(phi[None, :2], torch.diag(scale(phi) ** 2)), x[None])[0]

    phi = tensor(0.7, -0.4, -0.3, 0.2)
    return Model(f, gaussian_log_q, phi, normal_rows(2), objective, gaussian_transform)


def curve() -> Model:
    """The ELBO on a curve, no polynomial, so that the law of the noise matters beyond its variance."""
    model, x = Curve(), torch.tensor([[0.0, 0.3]], dtype=torch.float64)

    def f(phi: Tensor, z: Tensor) -> Tensor:
        log_likelihood = Normal(model.mean(z[0]), model.std).log_prob(x[0]).sum()
        return model.prior.log_prob(z[0]) + log_likelihood - gaussian_log_q(phi, z)

    def objective(phi: Tensor) -> Tensor:
        q = Normal(phi[:1], scale(phi))
        return expectation(q, lambda z: model.log_joint(z, x) - q.log_prob(z))[0]

    return Model(f, gaussian_log_q, tensor(0.5, -0.5), normal_rows(1), objective, gaussian_transform)


def product() -> Model:
    """f(phi, z) = mu z² with z ~ N(mu, s²): E_q[f] = mu³ + mu s². Here f's own phi does not cancel."""
    return Model(
        lambda phi, z: phi[0] * z[0].square(),
        gaussian_log_q,
        tensor(1.3, -0.2),
        normal_rows(1),
        lambda phi: phi[0] ** 3 + phi[0] * (2 * phi[1]).exp(),
        gaussian_transform,
    )


MODELS = {"mixture": mixture(), "linear-Gaussian": linear_gaussian(), "curve": curve(), "product": product()}
GAUSSIAN = ("linear-Gaussian", "curve", "product")


def score(baseline) -> Callable[[Model, Tensor], Estimate]:
    return lambda model, eps: score_function(model.f, model.log_q, model.phi, model.z(eps), baseline)


def in_pairs(own: bool) -> Callable[[Model, Tensor], Estimate]:
    """Two draws an estimate, with the other draw as the baseline, or the mean of both."""

    def baseline(values: Tensor) -> Tensor:
        pairs = values.view(2, -1)
        return pairs.mean(0).repeat(2) if own else leave_one_out(pairs).flatten()

    def estimator(model: Model, eps: Tensor) -> Estimate:
        rows = score(baseline)(model, eps).gradients
        return Estimate(torch.zeros(len(rows) // 2), rows.view(2, len(rows) // 2, -1).mean(0))

    return estimator


ESTIMATORS = {
    "score function": score(0.0),
    "constant baseline": score(-7.0),
    "leave-one-out": score(leave_one_out),
    "leave-one-out in pairs": in_pairs(own=False),
    "reparameterized": lambda model, eps: reparameterized(model.f, model.transform, model.phi, eps),
}


def largest_z(estimator: Callable[[Model, Tensor], Estimate], model: Model, seed: int) -> float:
    estimate = estimator(model, model.draw(DRAWS, seeded(seed, "cpu")))
    z_scores = (estimate.gradient - model.gradient()) / estimate.standard_error
    return z_scores.abs().nan_to_num(float("inf")).max().item()


# --- unbiased -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "model"),
    [(n, m) for n in ESTIMATORS for m in MODELS if n != "reparameterized" or m in GAUSSIAN],
)
def test_the_mean_of_the_gradients_is_the_exact_gradient(name, model, seed):
    assert largest_z(ESTIMATORS[name], MODELS[model], seed) < LIMIT


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("model", MODELS)
def test_the_mean_of_the_values_is_the_exact_expectation(model, seed):
    model = MODELS[model]
    estimate = score(0.0)(model, model.draw(DRAWS, seeded(seed, "cpu")))
    error = estimate.values.std() / DRAWS**0.5
    assert abs((estimate.value - model.objective(model.phi)) / error) < LIMIT


def test_the_exact_gradients_are_those_of_closed_forms():
    model = MODELS["mixture"]
    q, (_, f) = model.phi.softmax(0), per_draw(model.f, model.phi, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(model.gradient(), q * (f - q @ f), rtol=0, atol=1e-8)
    mu, log_s = MODELS["product"].phi
    expected = torch.stack([3 * mu**2 + (2 * log_s).exp(), 2 * mu * (2 * log_s).exp()])
    torch.testing.assert_close(MODELS["product"].gradient(), expected, rtol=0, atol=1e-7)


# --- mutants ------------------------------------------------------------------------------------------------


def rows(combine: Callable) -> Callable[[Model, Tensor], Estimate]:
    """An estimator from (values, scores, gradients of f at fixed z)."""

    def estimator(model: Model, eps: Tensor) -> Estimate:
        z = model.z(eps)
        (through_f, values), (scores, _) = (
            per_draw(model.f, model.phi, z),
            per_draw(model.log_q, model.phi, z),
        )
        return Estimate(values, combine(values[:, None], scores, through_f))

    return estimator


WRONG = {
    "the sign of the score": rows(lambda f, s, g: -f * s + g),
    "no gradient of f at fixed z": rows(lambda f, s, g: f * s),
    "the gradient of f alone": rows(lambda f, s, g: g),
    "a baseline that the score does not multiply": rows(lambda f, s, g: f * s - f.mean() + g),
    "a baseline added without its score": rows(lambda f, s, g: (f + 7.0) * s - 7.0 + g),
    "a baseline that contains its own draw": in_pairs(own=True),
    "the score of another distribution": lambda model, eps: score_function(
        model.f, lambda phi, z: model.log_q(0.8 * phi, z), model.phi, model.z(eps)
    ),
    "a score where the trick stops the gradient": lambda model, eps: reparameterized(
        model.f, lambda phi, eps: model.transform(phi.detach(), eps), model.phi, eps
    ),
}


def sees(estimator: Callable, model: Model) -> bool:
    return all(largest_z(estimator, model, seed) > LIMIT for seed in SEEDS)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_estimator_is_seen(name):
    # In `product` the phi in f does not cancel; in an ELBO it is in -log q alone, whose mean gradient is 0.
    assert sees(WRONG[name], MODELS["product"])


def uniform(n: int, generator: torch.Generator) -> Tensor:
    """Mean 0 and variance 1, like the normal, and not normal."""
    return 12**0.5 * (torch.rand(n, 1, generator=generator, dtype=torch.float64) - 0.5)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "constant baseline"])
@pytest.mark.parametrize(
    ("model", "draw"),
    [
        ("curve", uniform),
        ("curve", lambda n, generator: 1.5 * normal_rows(1)(n, generator)),
        ("curve", lambda n, generator: normal_rows(1)(1, generator).expand(n, 1)),
        ("linear-Gaussian", lambda n, generator: normal_rows(1)(n, generator).expand(n, 2)),
        ("linear-Gaussian", lambda n, generator: normal_rows(2)(1, generator).expand(n, 2)),
    ],
    ids=[
        "uniform",
        "too wide",
        "shared by the draws",
        "shared by the dimensions",
        "shared by the draws, 2-D",
    ],
)
def test_wrong_noise_is_seen(name, model, draw):
    assert sees(ESTIMATORS[name], replace(MODELS[model], draw=draw))


def test_uniform_draws_of_a_state_are_seen():
    states = torch.eye(5, dtype=torch.float64)
    wrong = replace(MODELS["mixture"], draw=lambda n, g: states[torch.randint(5, (n,), generator=g)])
    assert sees(ESTIMATORS["score function"], wrong)


# --- the graph ----------------------------------------------------------------------------------------------


def test_sample_cuts_the_graph_and_rsample_does_not():
    phi = tensor(0.5, -0.5).requires_grad_()
    q = Normal(phi[0], phi[1].exp())
    assert not q.sample((3,)).requires_grad
    assert q.rsample((3,)).requires_grad
    assert not Categorical(logits=phi).has_rsample


@pytest.mark.parametrize("seed", SEEDS)
def test_the_naive_gradient_of_an_elbo_is_zero_on_average_and_that_with_a_kl_is_the_kl_s(seed):
    model = MODELS["curve"]
    assert sees(WRONG["the gradient of f alone"], model)
    zero = replace(model, objective=lambda phi: 0 * phi.sum())
    assert largest_z(WRONG["the gradient of f alone"], zero, seed) < LIMIT

    def q(phi: Tensor) -> Normal:
        return Normal(phi[0], phi[1].exp())

    phi = model.phi.clone().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        z = q(phi).sample((100,))
    log_likelihood = Normal(Curve().mean(z), Curve().std).log_prob(tensor(0.0, 0.3)).sum(-1).mean()
    (log_likelihood - kl_divergence(q(phi), Normal(tensor(0.0)[0], 1.0))).backward()
    of_kl = torch.func.grad(lambda phi: -kl_divergence(q(phi), Normal(tensor(0.0)[0], 1.0)))(model.phi)
    torch.testing.assert_close(phi.grad, of_kl)
    assert (phi.grad - model.gradient()).norm() > model.gradient().norm()


# --- noise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_standard_error_is_the_spread_of_repeated_estimates(model):
    # A standard deviation of 400 nearly normal numbers has a standard error of 3.5%.
    model = MODELS[model]
    gradients = score(0.0)(model, model.draw(400 * 200, seeded(0, "cpu"))).gradients.view(400, 200, -1)
    claimed = torch.stack([Estimate(torch.zeros(200), part).standard_error for part in gradients])
    ratio = gradients.mean(1).std(0) / claimed.square().mean(0).sqrt()
    assert ((ratio - 1).abs() < 6 * 0.035).all()


@pytest.mark.parametrize("d", [1, 4, 32])
def test_the_noise_of_a_sum_of_squares_is_what_chapter_4_4_derives(d):
    generator, mu = seeded(d, "cpu"), torch.ones(d, dtype=torch.float64)
    z = mu + normal_rows(d)(DRAWS, generator)

    def variance_z(baseline: float, expected: float) -> float:
        gradients = score_function(
            lambda mu, z: z.square().sum(), lambda mu, z: Normal(mu, 1.0).log_prob(z).sum(), mu, z, baseline
        ).gradients
        squares = (gradients - 2).square().mean(1)
        return abs((squares.mean() - expected) / (squares.std() / DRAWS**0.5)).item()

    assert variance_z(0.0, 4 * d**2 + 14 * d + 12) < LIMIT
    assert variance_z(2.0 * d, 6 * d + 12) < LIMIT


@pytest.mark.parametrize("model", ["linear-Gaussian", "curve", "mixture"])
def test_leave_one_out_lowers_the_noise(model):
    model = MODELS[model]
    eps = model.draw(DRAWS, seeded(0, "cpu"))
    noise = [score(b)(model, eps).gradients.var(0).sum() for b in (0.0, leave_one_out)]
    assert noise[1] < 0.8 * noise[0]


# --- each function ------------------------------------------------------------------------------------------


def test_leave_one_out_is_the_mean_of_the_others():
    values = normal_rows(3)(5, seeded(0, "cpu"))
    for i in range(5):
        others = torch.cat([values[:i], values[i + 1 :]])
        torch.testing.assert_close(leave_one_out(values)[i], others.mean(0))
        torch.testing.assert_close(leave_one_out(values[:, 0])[i], others[:, 0].mean())
    # What is left is n/(n-1) of what the mean of all would leave.
    torch.testing.assert_close(values - leave_one_out(values), 5 / 4 * (values - values.mean(0)))


@pytest.mark.parametrize("shape", [(1,), (1, 7)])
def test_leave_one_out_refuses_a_single_draw(shape):
    with pytest.raises(ValueError, match="needs at least 2 draws"):
        leave_one_out(torch.zeros(shape))


def test_with_leave_one_out_a_constant_f_has_no_noise():
    model = replace(MODELS["curve"], f=lambda phi, z: tensor(-150.0)[0] + 0 * z[0])
    eps = model.draw(100, seeded(0, "cpu"))
    assert score(leave_one_out)(model, eps).gradients.abs().max() < 1e-10
    assert score(0.0)(model, eps).gradients.abs().max() > 1


def test_a_baseline_is_a_number_or_one_for_each_draw_or_a_function_of_the_values():
    model = MODELS["curve"]
    eps = model.draw(10, seeded(0, "cpu"))
    number = score(-3.0)(model, eps).gradients
    torch.testing.assert_close(score(torch.full((10,), -3.0).double())(model, eps).gradients, number)
    torch.testing.assert_close(score(lambda values: 0 * values - 3)(model, eps).gradients, number)
    plain = score(0.0)(model, eps).gradients
    scores, _ = per_draw(model.log_q, model.phi, model.z(eps))
    torch.testing.assert_close(number, plain + 3 * scores)


@pytest.mark.parametrize("model", MODELS)
def test_per_draw_is_one_gradient_after_the_other(model):
    model = MODELS[model]
    z = model.z(model.draw(6, seeded(0, "cpu")))
    gradients, values = per_draw(model.f, model.phi, z)
    assert (gradients.shape, values.shape) == ((6, len(model.phi)), (6,))
    for row, gradient, value in zip(z, gradients, values, strict=True):
        phi = model.phi.clone().requires_grad_()
        f = model.f(phi, row)
        f.backward()
        torch.testing.assert_close(gradient, phi.grad)
        torch.testing.assert_close(value, f.detach())


def test_finite_differences_have_an_error_of_the_square_of_the_step():
    phi = tensor(0.3, -1.1)

    def error(step: float) -> Tensor:
        found = finite_differences(lambda phi: phi[0].sin() * phi[1].exp(), phi, step)
        exact = torch.stack([phi[0].cos() * phi[1].exp(), phi[0].sin() * phi[1].exp()])
        return (found - exact).abs()

    for step in (0.2, 0.1, 0.05):  # ratios of 4 in the limit
        torch.testing.assert_close(error(step) / error(step / 2), tensor(4.0, 4.0), rtol=0.01, atol=0)
    assert error(1e-4).max() < 1e-8


def test_finite_differences_are_exact_for_quadratics_and_need_no_graph():
    A, phi = normal_rows(3)(3, seeded(0, "cpu")), tensor(0.3, -1.1, 2.0)
    found = finite_differences(lambda phi: (phi @ A @ phi).detach(), phi, step=0.5)
    torch.testing.assert_close(found, (A + A.T) @ phi)


def test_an_estimate_has_the_precision_of_its_parameters():
    phi, z = torch.tensor([0.5, -0.5]), torch.randn(10, 1, generator=seeded(0, "cpu"))
    estimate = score_function(lambda phi, z: z.square().sum(), gaussian_log_q, phi, z, leave_one_out)
    assert estimate.gradients.dtype == estimate.values.dtype == torch.float32
    assert estimate.gradient.shape == estimate.standard_error.shape == (2,)
    assert estimate.value.shape == ()
