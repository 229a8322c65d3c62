"""Draws, log-likelihoods and KL divergences keep their laws, in both precisions and at their extremes.

Tests by z-score fail by chance, over all seeds, less than once in a million; the seeds are fixed.
"""

import itertools
import math

import pytest
import torch
from scipy import stats
from torch import distributions

from vaebook.densities import (
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    kl_between_normals,
    kl_to_standard_normal,
    reparameterize,
)
from vaebook.device import seeded

DTYPES = (torch.float32, torch.float64)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)

# Away from 0, unequal in every number, so that a wrong sign, a swap or a missing half shows.
MU = torch.tensor([[1.5, -0.4, 0.0], [-2.0, 0.3, 0.7]], dtype=torch.float64)
LOG_VAR = torch.tensor([[-1.6, 0.9, 0.4], [0.0, -3.0, 1.2]], dtype=torch.float64)
OTHER_MU = torch.tensor([[0.2, 1.1, -0.6], [-1.3, 0.9, 0.1]], dtype=torch.float64)
OTHER_LOG_VAR = torch.tensor([[0.5, -0.7, 1.0], [-1.1, 0.6, -0.2]], dtype=torch.float64)


def z_score(draws: torch.Tensor, expected: float) -> float:
    """How many standard errors the mean of independent draws (n,) is from what was expected."""
    return ((draws.mean() - expected) / (draws.std() / len(draws) ** 0.5)).item()


# --- KL divergence ------------------------------------------------------------------------------------------


def test_the_kl_is_zero_at_the_standard_normal_and_positive_elsewhere():
    generator = seeded(0, "cpu")
    mu, log_var = torch.randn(2, 1000, 3, generator=generator, dtype=torch.float64)
    assert (kl_to_standard_normal(mu, log_var) > 0).all()
    assert (kl_to_standard_normal(0 * mu, log_var) > 0).all()
    assert (kl_to_standard_normal(mu, 0 * log_var) > 0).all()
    assert torch.equal(kl_to_standard_normal(0 * mu, 0 * log_var), torch.zeros(1000, dtype=torch.float64))


@each_dtype
def test_the_kl_is_not_negative_by_more_than_rounding(dtype):
    log_var = torch.linspace(-0.02, 0.02, 2001, dtype=dtype)[:, None]
    assert kl_to_standard_normal(torch.zeros_like(log_var), log_var).min() >= -torch.finfo(dtype).eps


@each_dtype
def test_the_kl_is_that_of_torch_distributions(dtype):
    mu, log_var = MU.to(dtype), LOG_VAR.to(dtype)
    q = distributions.Normal(mu, (0.5 * log_var).exp())
    expected = distributions.kl_divergence(q, distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    kl = kl_to_standard_normal(mu, log_var)
    assert kl.shape == (2,)
    torch.testing.assert_close(kl, expected.sum(-1))


def test_the_kl_is_the_mean_log_ratio_of_draws_from_q():
    q = distributions.Normal(MU[0], (0.5 * LOG_VAR[0]).exp())
    z = q.mean + q.stddev * torch.randn(200_000, 3, generator=seeded(1, "cpu"), dtype=torch.float64)
    log_ratio = (q.log_prob(z) - distributions.Normal(0, 1).log_prob(z)).sum(-1)
    assert abs(z_score(log_ratio, kl_to_standard_normal(MU[:1], LOG_VAR[:1]).item())) < 5


@each_dtype
def test_standard_normal_dimensions_cost_nothing(dtype):
    mu, log_var, more = MU.to(dtype), LOG_VAR.to(dtype), torch.zeros(2, 5, dtype=dtype)
    wider = kl_to_standard_normal(torch.cat([mu, more], 1), torch.cat([log_var, more], 1))
    torch.testing.assert_close(wider, kl_to_standard_normal(mu, log_var))


def test_every_image_has_its_own_kl_whatever_the_batch():
    kl = kl_to_standard_normal(MU, LOG_VAR)
    twice = kl_to_standard_normal(torch.cat([MU, MU]), torch.cat([LOG_VAR, LOG_VAR]))
    torch.testing.assert_close(twice, torch.cat([kl, kl]))
    torch.testing.assert_close(kl_to_standard_normal(MU[:1], LOG_VAR[:1]), kl[:1])


@each_dtype
def test_the_kl_and_its_gradients_are_finite_and_right_for_spreads_from_a_millionth_to_a_million(dtype):
    log_var = torch.linspace(2 * math.log(1e-6), 2 * math.log(1e6), 25, dtype=dtype)[:, None].requires_grad_()
    mu = torch.linspace(-1e3, 1e3, 25, dtype=dtype)[:, None].requires_grad_()
    kl = kl_to_standard_normal(mu, log_var)
    kl.sum().backward()
    assert kl.dtype == dtype
    assert kl.isfinite().all()
    torch.testing.assert_close(mu.grad, mu.detach())
    torch.testing.assert_close(log_var.grad, 0.5 * (log_var.detach().exp() - 1))


# --- KL divergence between two normals ----------------------------------------------------------------------


@each_dtype
def test_the_kl_between_normals_is_that_of_torch_distributions(dtype):
    mu, log_var, other_mu, other_log_var = (t.to(dtype) for t in (MU, LOG_VAR, OTHER_MU, OTHER_LOG_VAR))
    q = distributions.Normal(mu, (0.5 * log_var).exp())
    p = distributions.Normal(other_mu, (0.5 * other_log_var).exp())
    kl = kl_between_normals(mu, log_var, other_mu, other_log_var)
    assert kl.shape == (2,)
    assert kl.dtype == dtype
    torch.testing.assert_close(kl, distributions.kl_divergence(q, p).sum(-1))
    # The two directions differ, in every image, by more than rounding.
    assert (kl - kl_between_normals(other_mu, other_log_var, mu, log_var)).abs().min() > 0.1


@each_dtype
def test_the_kl_to_the_standard_normal_is_a_special_case(dtype):
    mu, log_var = MU.to(dtype), LOG_VAR.to(dtype)
    zeros = torch.zeros_like(mu)
    torch.testing.assert_close(
        kl_between_normals(mu, log_var, zeros, zeros), kl_to_standard_normal(mu, log_var)
    )


def test_the_kl_between_normals_is_zero_where_they_are_equal_and_positive_elsewhere():
    generator = seeded(10, "cpu")
    mu, log_var, shift, stretch = torch.randn(4, 1000, 3, generator=generator, dtype=torch.float64)
    assert torch.equal(kl_between_normals(mu, log_var, mu, log_var), torch.zeros(1000, dtype=torch.float64))
    assert (kl_between_normals(mu, log_var, mu + shift, log_var) > 0).all()
    assert (kl_between_normals(mu, log_var, mu, log_var + stretch) > 0).all()
    assert (kl_between_normals(mu, log_var, mu + shift, log_var + stretch) > 0).all()


@each_dtype
def test_the_kl_between_normals_is_not_negative_by_more_than_rounding(dtype):
    other = torch.linspace(-0.02, 0.02, 2001, dtype=dtype)[:, None]
    zeros = torch.zeros_like(other)
    assert kl_between_normals(zeros, zeros, zeros, other).min() >= -torch.finfo(dtype).eps


@pytest.mark.parametrize("scale", [1e-3, -1.0, 40.0])
def test_the_kl_between_normals_does_not_depend_on_origin_and_unit(scale):
    kl = kl_between_normals(MU, LOG_VAR, OTHER_MU, OTHER_LOG_VAR)
    unit, origin = 2 * math.log(abs(scale)), torch.tensor([3.0, -7.0, 0.5], dtype=torch.float64)
    moved = kl_between_normals(
        scale * MU + origin, LOG_VAR + unit, scale * OTHER_MU + origin, OTHER_LOG_VAR + unit
    )
    torch.testing.assert_close(moved, kl, rtol=1e-9, atol=0)


def test_the_kl_between_normals_is_the_mean_log_ratio_of_draws_from_the_first():
    q = distributions.Normal(MU[0], (0.5 * LOG_VAR[0]).exp())
    p = distributions.Normal(OTHER_MU[0], (0.5 * OTHER_LOG_VAR[0]).exp())
    z = q.mean + q.stddev * torch.randn(200_000, 3, generator=seeded(11, "cpu"), dtype=torch.float64)
    log_ratio = (q.log_prob(z) - p.log_prob(z)).sum(-1)
    kl = kl_between_normals(MU[:1], LOG_VAR[:1], OTHER_MU[:1], OTHER_LOG_VAR[:1]).item()
    assert abs(z_score(log_ratio, kl)) < 5
    swapped = kl_between_normals(OTHER_MU[:1], OTHER_LOG_VAR[:1], MU[:1], LOG_VAR[:1]).item()
    assert abs(z_score(log_ratio, swapped)) > 50


def test_the_kl_between_normals_adds_up_over_dimensions_and_belongs_to_one_image():
    every = (MU, LOG_VAR, OTHER_MU, OTHER_LOG_VAR)
    kl = kl_between_normals(*every)
    twice_as_many = kl_between_normals(*(torch.cat([t, t]) for t in every))
    torch.testing.assert_close(twice_as_many, torch.cat([kl, kl]))
    torch.testing.assert_close(kl_between_normals(*(t[:1] for t in every)), kl[:1])
    torch.testing.assert_close(kl_between_normals(*(torch.cat([t, t], 1) for t in every)), 2 * kl)


@each_dtype
def test_the_kl_between_normals_is_right_for_spreads_from_a_millionth_to_a_million(dtype):
    # Against the formula in standard deviations, in double precision. Rounding log_var by a part in 10^7
    # changes the ratio of two variances, up to exp(55), by 55 times that.
    logs = torch.linspace(2 * math.log(1e-6), 2 * math.log(1e6), 13, dtype=dtype)
    log_var, other_log_var = torch.cartesian_prod(logs, logs)[:, :, None].unbind(1)
    mu, other_mu = torch.full_like(log_var, 300.0), torch.full_like(log_var, -50.0)
    arguments = [t.requires_grad_() for t in (mu, log_var, other_mu, other_log_var)]
    kl = kl_between_normals(*arguments)
    std, other = ((0.5 * t.detach().double()).exp() for t in (log_var, other_log_var))
    expected = ((other / std).log() + (std**2 + 350**2) / (2 * other**2) - 0.5).sum(-1)
    tolerance = 200 * torch.finfo(dtype).eps
    torch.testing.assert_close(kl.detach().double(), expected, rtol=tolerance, atol=tolerance)
    kl.sum().backward()
    assert all(t.grad.isfinite().all() for t in arguments)


# --- Bernoulli log-likelihood -------------------------------------------------------------------------------


def test_the_probabilities_of_all_images_sum_to_one():
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    logits = torch.tensor([0.3, -2.1, 4.0], dtype=torch.float64).expand(8, 3)
    assert bernoulli_log_likelihood(logits, images).exp().sum().item() == pytest.approx(1, abs=1e-12)


@each_dtype
def test_the_likelihood_is_that_of_torch_distributions(dtype):
    generator = seeded(2, "cpu")
    logits = 3 * torch.randn(5, 7, generator=generator, dtype=dtype)
    x = torch.bernoulli(torch.full_like(logits, 0.4), generator=generator)
    log_p = bernoulli_log_likelihood(logits, x)
    assert log_p.shape == (5,)
    assert log_p.dtype == dtype
    expected = distributions.Independent(distributions.Bernoulli(logits=logits), 1).log_prob(x)
    torch.testing.assert_close(log_p, expected)


@each_dtype
def test_confident_logits_keep_a_finite_loss_and_a_gradient_where_they_are_wrong(dtype):
    logits = torch.tensor([[100.0, -100.0, 100.0, -100.0]], dtype=dtype).T.requires_grad_()
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0]], dtype=dtype).T  # wrong, wrong, right, right
    log_p = bernoulli_log_likelihood(logits, x)
    torch.testing.assert_close(log_p, torch.tensor([-100.0, -100.0, 0.0, 0.0], dtype=dtype))
    log_p.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-1.0, 1.0, 0.0, 0.0]], dtype=dtype).T)


def test_pixels_add_up():
    generator = seeded(3, "cpu")
    logits = torch.randn(4, 6, generator=generator)
    x = torch.bernoulli(torch.full_like(logits, 0.5), generator=generator)
    once = bernoulli_log_likelihood(logits, x)
    twice = bernoulli_log_likelihood(torch.cat([logits, logits], 1), torch.cat([x, x], 1))
    torch.testing.assert_close(twice, 2 * once)
    batch_twice = bernoulli_log_likelihood(torch.cat([logits, logits]), torch.cat([x, x]))
    torch.testing.assert_close(batch_twice, torch.cat([once, once]))


@pytest.mark.parametrize("pixel", [0.73, 1e-7, 1 - 1e-7, -1.0, 2.0, math.nan, math.inf])
def test_an_image_with_one_pixel_that_is_not_binary_is_refused(pixel):
    x = torch.tensor([[0.0, 1.0, 0.0], [1.0, pixel, 1.0]])
    with pytest.raises(
        ValueError, match="x must be in {0, 1} for a Bernoulli likelihood; got values"
    ) as error:
        bernoulli_log_likelihood(torch.zeros(2, 3), x)
    assert f"from {x.min():.3g} to {x.max():.3g}" in str(error.value)
    assert "Binarise it first (vaebook.data.binarize)" in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 1), (3, 2)])
def test_logits_and_pixels_of_different_shapes_are_not_broadcast(shape):
    with pytest.raises(ValueError, match="size"):
        bernoulli_log_likelihood(torch.zeros(2, 3), torch.zeros(shape))


# --- Gaussian log-likelihood --------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.01, 1.0, 100.0, torch.tensor([0.5, 20.0], dtype=torch.float64)], ids=str)
def test_the_density_integrates_to_one_over_the_plane(std):
    mean = torch.tensor([0.3, -2.0], dtype=torch.float64)
    unit = torch.linspace(-10, 10, 161, dtype=torch.float64)
    x = mean + std * torch.cartesian_prod(unit, unit)
    cell = (unit[1] - unit[0]) ** 2 * torch.as_tensor(std, dtype=torch.float64).expand(2).prod()
    density = gaussian_log_likelihood(mean.expand_as(x), x, std).exp()
    assert (density.sum() * cell).item() == pytest.approx(1, abs=1e-10)


@each_dtype
@pytest.mark.parametrize("std", ["number", "no shape", "pixels", "images", "all"])
def test_the_density_is_that_of_torch_distributions(dtype, std):
    generator = seeded(12, "cpu")
    mean, x, all_std = torch.randn(3, 4, 3, generator=generator, dtype=dtype)
    all_std = 0.1 + all_std.abs()
    std = {
        "number": 0.3,
        "no shape": torch.tensor(0.3, dtype=dtype),
        "pixels": all_std[0],
        "images": all_std[:, :1],
        "all": all_std,
    }[std]
    log_p = gaussian_log_likelihood(mean, x, std)
    assert log_p.shape == (4,)
    assert log_p.dtype == dtype
    torch.testing.assert_close(log_p, distributions.Normal(mean, std).log_prob(x).sum(-1))


def test_the_density_may_be_above_one_and_depends_on_the_unit():
    mean, x = torch.zeros(1, 4), torch.full((1, 4), 0.01)
    metres, centimetres = gaussian_log_likelihood(mean, x, 0.05), gaussian_log_likelihood(mean, 100 * x, 5.0)
    assert metres.item() > 0
    torch.testing.assert_close(metres - centimetres, torch.tensor([4 * math.log(100)]))


@each_dtype
def test_the_density_and_its_gradients_are_right_for_spreads_from_a_millionth_to_a_million(dtype):
    # 0 to 3 standard deviations from the mean, and one absolute unit.
    std = torch.logspace(-6, 6, 13, dtype=dtype)[:, None]
    mean = torch.zeros(13, 5, dtype=dtype)
    x = torch.cat([std * torch.arange(4, dtype=dtype), torch.ones_like(std)], 1)
    log_p = gaussian_log_likelihood(mean.requires_grad_(), x, std.requires_grad_())
    log_p.sum().backward()
    exact = std.detach().double()
    distance = x.double() / exact
    expected = stats.norm.logpdf(distance).sum(1) - 5 * exact[:, 0].log().numpy()
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        log_p.detach().double(), torch.tensor(expected), rtol=tolerance, atol=tolerance
    )
    torch.testing.assert_close(mean.grad.double(), distance / exact, rtol=tolerance, atol=0)
    of_std = ((distance.square() - 1) / exact).sum(1, keepdim=True)
    torch.testing.assert_close(std.grad.double(), of_std, rtol=tolerance, atol=0)


def test_real_pixels_add_up():
    generator = seeded(13, "cpu")
    mean, x, std = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    std = std.abs()
    once = gaussian_log_likelihood(mean, x, std)
    pixels_twice = gaussian_log_likelihood(*(torch.cat([t, t], 1) for t in (mean, x, std)))
    torch.testing.assert_close(pixels_twice, 2 * once)
    one_std = gaussian_log_likelihood(mean, x, 0.3)
    torch.testing.assert_close(
        gaussian_log_likelihood(torch.cat([mean, mean], 1), torch.cat([x, x], 1), 0.3), 2 * one_std
    )
    batch_twice = gaussian_log_likelihood(*(torch.cat([t, t]) for t in (mean, x, std)))
    torch.testing.assert_close(batch_twice, torch.cat([once, once]))
    torch.testing.assert_close(gaussian_log_likelihood(mean[:1], x[:1], std[:1]), once[:1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_image_with_one_pixel_that_is_not_finite_is_refused(value):
    x = torch.tensor([[0.0, 1.0, 0.0], [1.0, value, 1.0]])
    with pytest.raises(ValueError, match="x must be finite for a Gaussian likelihood; it holds inf or nan"):
        gaussian_log_likelihood(torch.zeros(2, 3), x, 1.0)


@pytest.mark.parametrize("std", [0.0, -0.5, math.nan, [[1.0, 1.0, 0.0]], [[1.0], [-2.0]]], ids=str)
def test_a_standard_deviation_that_is_not_above_zero_is_refused_with_advice(std):
    with pytest.raises(
        ValueError, match=r"std must be above 0; got .* by \(0.5 \* log_var\).exp\(\)"
    ) as error:
        gaussian_log_likelihood(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor(std))
    assert f"got {torch.tensor(std).min():.3g}." in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 1), (3, 2), (5, 2, 3)])
def test_means_and_pixels_of_different_shapes_are_not_broadcast(shape):
    with pytest.raises(ValueError, match=r"mean and x must have the same shape; got \(2, 3\) and"):
        gaussian_log_likelihood(torch.zeros(2, 3), torch.zeros(shape), 1.0)


# --- draws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", range(3))
def test_draws_are_normal_with_the_mean_and_the_spread_asked_for(column):
    # Kolmogorov-Smirnov fails by chance once in a million; a uniform of the same variance has p < 1e-50.
    mu, log_var = MU[:1, column].expand(20_000, 1), LOG_VAR[:1, column].expand(20_000, 1)
    z = reparameterize(mu, log_var, seeded(column, "cpu"))
    law = stats.norm(mu[0].item(), math.exp(log_var[0].item() / 2))
    assert stats.kstest(z.flatten().numpy(), law.cdf).pvalue > 1e-6


def test_the_spread_is_the_exponential_of_half_of_log_var():
    # The variance of n draws has the standard error sqrt(2 / n), relatively.
    n, std = 20_000, torch.tensor([0.01, 1.0, 30.0])
    z = reparameterize(torch.zeros(n, 3), (2 * std.log()).expand(n, 3), seeded(4, "cpu"))
    assert ((z.var(0) / std.square() - 1) / (2 / n) ** 0.5).abs().max() < 5


def test_draws_are_independent_across_rows_dimensions_and_calls():
    # 5,000 times two calls of a (4, 3) batch: 24 columns, which share neither values nor scales. Each of the
    # 2 * 276 correlations is about N(0, 1 / 5000); one is beyond 6 standard errors with probability 1e-6.
    generator = seeded(5, "cpu")
    zeros = torch.zeros(4, 3)
    calls = [reparameterize(zeros, zeros, generator).flatten() for _ in range(10_000)]
    draws = torch.stack(calls).view(5000, 24)
    for columns in (draws, draws.square()):
        correlations = torch.corrcoef(columns.T).fill_diagonal_(0)
        assert correlations.abs().max() * 5000**0.5 < 6


@each_dtype
def test_gradients_reach_mean_and_log_variance(dtype):
    mu, log_var = MU.to(dtype).requires_grad_(), LOG_VAR.to(dtype).requires_grad_()
    z = reparameterize(mu, log_var, seeded(6, "cpu"))
    weights = torch.arange(1.0, 7.0, dtype=dtype).view(2, 3)
    (weights * z).sum().backward()
    torch.testing.assert_close(mu.grad, weights)
    torch.testing.assert_close(log_var.grad, weights * 0.5 * (z - mu).detach())


def test_no_spread_is_the_mean():
    assert torch.equal(reparameterize(MU, torch.full_like(MU, -math.inf)), MU)


def test_the_generator_decides_the_draw_and_spares_the_global_one():
    before = torch.get_rng_state()
    one, same, other = (reparameterize(MU, LOG_VAR, seeded(seed, "cpu")) for seed in (7, 7, 8))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_seed_decides():
    draws = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            draws.append(reparameterize(MU, LOG_VAR))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("device", ["cpu", "meta"])
@each_dtype
def test_shape_dtype_and_device_follow_the_mean(dtype, device):
    mu = torch.zeros(4, 2, dtype=dtype, device=device)
    z = reparameterize(mu, mu)
    assert (z.shape, z.dtype, z.device) == (mu.shape, mu.dtype, mu.device)


def test_draws_have_the_precision_of_the_mean():
    zeros = torch.zeros(100, 2, dtype=torch.float64)
    z = reparameterize(zeros, zeros, seeded(9, "cpu"))
    assert (z != z.float()).any()
