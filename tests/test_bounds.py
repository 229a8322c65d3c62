"""Bounds lie below the evidence, by what they should, and checks of them see the mistakes that people make.

Tests by z-score fail by chance, over all seeds, less than once in a million; the seeds are fixed.
"""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from vaebook import bounds
from vaebook.bounds import elbo_forms, importance_weighted_bound, log_weights
from vaebook.densities import bernoulli_log_likelihood
from vaebook.device import seeded
from vaebook.exact import BernoulliMixture, Curve, LinearGaussian
from vaebook.models import VAE

DOUBLE = torch.float64
IMAGES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=DOUBLE)


def z_score(draws: torch.Tensor, expected: torch.Tensor | float) -> torch.Tensor:
    """How many standard errors the means of independent draws (n, ...) are from what was expected."""
    return (draws.mean(0) - expected) / (draws.std(0) / len(draws) ** 0.5)


def normals(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed, "cpu"), dtype=DOUBLE)


# --- the ELBO of models whose evidence is known -------------------------------------------------------------


def linear_case(seed: int, D: int, d: int):
    model = LinearGaussian(normals(seed, D, d), normals(seed + 1, D), 0.2 + normals(seed + 2, 1).abs().item())
    x = model.sample(100, seeded(seed, "cpu"))[1]
    factor = normals(seed + 3, 100, d, d).tril(-1) + torch.diag_embed(0.1 + normals(seed + 4, 100, d).abs())
    q = MultivariateNormal(normals(seed + 5, 100, d), scale_tril=factor)
    return model, x, q, kl_divergence(q, model.posterior(x))


def mixture_case(seed: int, states: int, impossible: bool = False):
    prior = normals(seed, states)
    if impossible:
        prior[0] = -math.inf
    model = BernoulliMixture(prior, 2 * normals(seed + 1, states, 5))
    x = model.sample(100, seeded(seed, "cpu"))[1]
    logits = 2 * normals(seed + 2, 100, states)
    if impossible:
        logits[:, 0] = -math.inf
    q = Categorical(logits=logits)
    ratio = q.probs * (q.probs / model.posterior(x).probs).log()
    return model, x, q, ratio.nan_to_num(0).sum(1)


def curve_case(seed: int, std: float):
    model = Curve(std)
    x = model.sample(100, seeded(seed, "cpu"))[1]
    q = Normal(normals(seed + 1, 100), 0.1 + normals(seed + 2, 100).abs())
    # 40 points within each standard deviation, on a grid that `expectation` does not use.
    z = q.mean + q.stddev * torch.linspace(-8.5, 8.5, 681, dtype=DOUBLE)[:, None]
    log_q = q.log_prob(z)
    gap = (log_q.exp() * (log_q - model.log_posterior(z, x))).sum(0) * (z[1] - z[0])
    return model, x, q, gap


CASES = {
    **{
        f"linear {D}, {d}": (linear_case, 10 * D + d, D, d)
        for D, d in [(1, 1), (3, 1), (5, 2), (3, 3), (2, 4)]
    },
    **{f"mixture of {n}": (mixture_case, n, n) for n in (1, 2, 3, 6)},
    "mixture with an impossible state": (mixture_case, 50, 4, True),
    **{f"curve {std}": (curve_case, 60, std) for std in (0.15, 0.3, 1.0)},
}


@pytest.fixture(params=CASES.values(), ids=list(CASES), scope="module")
def case(request):
    """A model, 100 images, a random q for each, and KL(q || p(z|x)), computed without `vaebook`."""
    make, *arguments = request.param
    return make(*arguments)


def posterior_of(model, x):
    return None if isinstance(model, Curve) else model.posterior(x)


def test_three_forms_of_the_elbo_agree_and_fall_short_by_the_kl_to_the_posterior(case):
    model, x, q, gap = case
    forms, log_p = elbo_forms(model, q, x), model.log_evidence(x)
    assert list(forms) == ["joint / q", "reconstruction - KL", "evidence - gap"]
    for elbo in forms.values():
        assert elbo.shape == (100,)
        torch.testing.assert_close(elbo, log_p - gap, rtol=1e-9, atol=1e-9)
        assert (elbo <= log_p + 1e-12).all()


def test_the_elbo_is_the_evidence_at_the_posterior_and_nowhere_else(case):
    model, x, q, gap = case
    posterior, log_p = posterior_of(model, x), model.log_evidence(x)
    if posterior is not None:
        for elbo in elbo_forms(model, posterior, x).values():
            torch.testing.assert_close(elbo, log_p, rtol=1e-9, atol=1e-9)
    one_state = isinstance(q, Categorical) and q.probs.shape[1] == 1  # then every q is the posterior
    for elbo in elbo_forms(model, q, x).values():
        assert one_state or (elbo < log_p - 1e-9).all()


def test_the_elbo_of_an_image_does_not_depend_on_the_batch(case):
    model, x, q, _ = case
    forms = elbo_forms(model, q, x)
    if isinstance(q, Categorical):
        alone = Categorical(logits=q.logits[7:8])
    elif isinstance(q, Normal):
        alone = Normal(q.mean[7:8], q.stddev[7:8])
    else:
        alone = MultivariateNormal(q.mean[7:8], scale_tril=q.scale_tril[7:8])
    for name, elbo in elbo_forms(model, alone, x[7:8]).items():
        torch.testing.assert_close(elbo, forms[name][7:8], rtol=1e-10, atol=1e-10)


def test_a_q_on_a_state_that_cannot_be_has_no_bound():
    model = BernoulliMixture(torch.tensor([0.0, -math.inf], dtype=DOUBLE), normals(0, 2, 3))
    for elbo in elbo_forms(model, Categorical(probs=torch.full((8, 2), 0.5, dtype=DOUBLE)), IMAGES).values():
        assert (elbo == -math.inf).all()


def test_the_linear_models_own_elbo_is_the_one_of_the_three_forms():
    model, x, q, _ = linear_case(70, 5, 2)
    for elbo in elbo_forms(model, q, x).values():
        torch.testing.assert_close(elbo, model.elbo(q, x), rtol=1e-10, atol=1e-10)


# --- importance weights and their bound ---------------------------------------------------------------------


def tiny_vae(z_dim: int) -> VAE:
    """A VAE of three pixels with a gap, and with q wider than the prior: so that no weight can be large."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = VAE(3, z_dim, (5,)).double()
    with torch.no_grad():
        model.decoder[-1].bias += torch.tensor([0.4, -0.8, 0.3])
        model.encoder[-1].weight *= 0.15
        model.encoder[-1].bias += torch.tensor([0.6] * z_dim + [0.5] * z_dim)
    return model.requires_grad_(False)


@pytest.fixture(params=[1, 2], ids=["one latent dimension", "two"], scope="module")
def known(request):
    """The tiny VAE, log p(x) of its eight images (8,) and their ELBO (8,), all by sums over a fine grid."""
    model = tiny_vae(request.param)
    line = torch.linspace(-12, 12, {1: 6001, 2: 401}[request.param], dtype=DOUBLE)
    z = torch.cartesian_prod(*[line] * request.param).view(-1, request.param)
    cell = (line[1] - line[0]) ** request.param
    logits = model.decode(z)
    joint = torch.stack([bernoulli_log_likelihood(logits, x.expand(len(z), 3)) for x in IMAGES], 1)
    joint = joint + Normal(0, 1).log_prob(z).sum(-1, keepdim=True)
    mu, log_var = model.encode(IMAGES)
    log_q = Normal(mu, (log_var / 2).exp()).log_prob(z[:, None]).sum(-1)
    elbo = (log_q.exp() * (joint - log_q)).sum(0) * cell
    return model, joint.logsumexp(0) + cell.log(), elbo


def test_the_tiny_vae_has_a_gap_and_small_weights(known):
    model, log_p, elbo = known
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-10)
    assert (log_p - elbo > 0.1).all()
    assert (model.encode(IMAGES)[1] > 0.1).all()


def repeated(draw, n: int) -> torch.Tensor:
    """(..., n, 8): what `draw` makes of n copies of the eight images."""
    values = draw(IMAGES.repeat(n, 1))
    return values.view(*values.shape[:-1], n, 8)


def weights_are_unbiased(known, weights, bound):
    model, log_p, _ = known
    draws = repeated(lambda x: weights(model, x, 4, seeded(0, "cpu")), 15_000).flatten(0, 1)
    assert z_score(draws.exp(), log_p.exp()).abs().max() < 5.5


def bound_of_one_draw_is_the_elbo(known, weights, bound):
    model, _, elbo = known
    draws = repeated(lambda x: bound(model, x, 1, seeded(1, "cpu")), 40_000)
    assert z_score(draws, elbo).abs().max() < 5.5


def bound_rises_with_the_draws(known, weights, bound):
    # The same generator gives the smaller k the first draws of the larger: a paired comparison.
    model, log_p, _ = known
    means = []
    for k in (1, 2, 4, 16):
        means.append(repeated(lambda x, k=k: bound(model, x, k, seeded(2, "cpu")), 5_000))
        assert (z_score(means[-1], log_p) < 5.5).all()  # never above the evidence
    for few, more in zip(means, means[1:], strict=False):
        assert (z_score(more - few, 0.0) > -5.5).all()
        assert z_score((more - few).mean(1), 0.0) > 5.5


def bound_tends_to_the_evidence(known, weights, bound):
    # For many draws it falls short by var(w) / (2 k p²).
    model, log_p, _ = known
    k, n = 400, 400
    w = repeated(lambda x: log_weights(model, x, 1, seeded(3, "cpu"))[0], 20_000).exp()
    short = w.var(0) / (2 * k * log_p.exp().square())
    assert short.max() < 0.02
    draws = repeated(lambda x: bound(model, x, k, seeded(4, "cpu")), n)
    error = draws.std(0) / n**0.5
    assert ((draws.mean(0) - (log_p - short)).abs() < 5.5 * error + 0.2 * short).all()


def bound_is_the_log_of_the_mean_weight(known, weights, bound):
    model, _, _ = known
    log_w = weights(model, IMAGES, 7, seeded(5, "cpu"))
    assert log_w.shape == (7, 8)
    expected = log_w.exp().mean(0).log()
    torch.testing.assert_close(bound(model, IMAGES, 7, seeded(5, "cpu")), expected, rtol=1e-12, atol=1e-12)


CHECKS = [
    weights_are_unbiased,
    bound_of_one_draw_is_the_elbo,
    bound_rises_with_the_draws,
    bound_tends_to_the_evidence,
    bound_is_the_log_of_the_mean_weight,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_of_importance_weights(known, check):
    check(known, log_weights, importance_weighted_bound)


def of_weights(weights):
    """Both functions, with the right bound on possibly wrong weights."""
    return weights, lambda *arguments: weights(*arguments).logsumexp(0) - math.log(arguments[2])


def of_bound(bound):
    """Both functions, with a possibly wrong bound on the right weights."""
    return log_weights, lambda *arguments: bound(log_weights(*arguments), arguments[2])


def by_hand(sign=1.0, drawn=0.5, scored=0.5, prior=1.0, pixels=torch.sum, latents=torch.sum):
    """log p(x, z) - log q(z|x), as log_weights has it unless an argument says otherwise."""

    def weights(model, x, k, generator=None):
        mu, log_var = model.encode(x)
        noise = torch.randn((k, *mu.shape), generator=generator, dtype=mu.dtype)
        z = mu + (drawn * log_var).exp() * noise
        log_q = latents(Normal(mu, (scored * log_var).exp()).log_prob(z), -1)
        log_prior = latents(Normal(0, 1).log_prob(z), -1)
        by_pixel = -nn.functional.binary_cross_entropy_with_logits(
            model.decode(z), x.expand(k, *x.shape), reduction="none"
        )
        return prior * log_prior + pixels(by_pixel, -1) - sign * log_q

    return of_weights(weights)


WRONG = {
    "the mean of the logs": of_bound(lambda w, k: w.mean(0)),
    "no log K": of_bound(lambda w, k: w.logsumexp(0)),
    "log K added": of_bound(lambda w, k: w.logsumexp(0) + math.log(k)),
    "log K in bits": of_bound(lambda w, k: w.logsumexp(0) - math.log2(k)),
    "the best draw": of_bound(lambda w, k: w.max(0).values),
    "the best draw, less log K": of_bound(lambda w, k: w.max(0).values - math.log(k)),
    "a bound from above": of_bound(lambda w, k: -((-w).logsumexp(0) - math.log(k))),
    "one of K draws": of_bound(lambda w, k: w[0]),
    "log q added": by_hand(sign=-1.0),
    "no log q": by_hand(sign=0.0),
    "no prior": by_hand(prior=0.0),
    "exp(log_var) as the standard deviation that is scored": by_hand(scored=1.0),
    "exp(log_var) as the standard deviation that is drawn": by_hand(drawn=1.0),
    "exp(log_var) as both": by_hand(drawn=1.0, scored=1.0),
    "no half in log_var": by_hand(drawn=-0.5),
    "the mean over pixels": by_hand(pixels=torch.mean),
}


def test_the_weights_by_hand_pass(known):
    for check in CHECKS:
        check(known, *by_hand())


def passes(check, known, weights, bound) -> bool:
    try:
        check(known, weights, bound)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("known", [1], indirect=True)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_bound_is_seen(known, name):
    # Without the last check, which some mistakes fail because they have only one of the two functions.
    assert not all(passes(check, known, *WRONG[name]) for check in CHECKS[:-1])


@pytest.mark.parametrize("known", [2], indirect=True)
def test_the_mean_over_latent_dimensions_is_seen(known):
    assert not all(passes(check, known, *by_hand(latents=torch.mean)) for check in CHECKS[:-1])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_weights_have_a_row_for_each_draw_and_the_bound_a_number_for_each_image(k):
    model = tiny_vae(2)
    for x in (IMAGES, IMAGES[:1]):
        assert log_weights(model, x, k).shape == (k, len(x))
        assert importance_weighted_bound(model, x, k).shape == (len(x),)
    float32 = importance_weighted_bound(tiny_vae(2).float(), IMAGES.float(), k)
    assert float32.dtype == torch.float32
    assert importance_weighted_bound(model, IMAGES, k).dtype == DOUBLE


@pytest.mark.parametrize("z_dim", [1, 2])
def test_one_draw_is_the_elbo_that_the_vae_estimates(z_dim):
    # The KL of VAE.elbo is exact and here it is drawn: equal in the mean over draws, by z-score.
    model, n = tiny_vae(z_dim), 40_000
    bound = repeated(lambda x: importance_weighted_bound(model, x, 1, seeded(7, "cpu")), n)
    elbo = repeated(lambda x: model.elbo(x, seeded(8, "cpu")).value, n)
    error = (bound.var(0) / n + elbo.var(0) / n).sqrt()
    assert ((bound.mean(0) - elbo.mean(0)) / error).abs().max() < 5.5


def test_weights_of_an_image_do_not_depend_on_the_batch(monkeypatch):
    # With a fixed draw, row by row; that draws are independent is the next test's.
    monkeypatch.setattr(bounds, "reparameterize", lambda mu, log_var, g: mu + 0.7 * (0.5 * log_var).exp())
    model = tiny_vae(2)
    together = log_weights(model, IMAGES, 2)
    for i in range(8):
        alone = log_weights(model, IMAGES[i : i + 1], 2)
        torch.testing.assert_close(alone, together[:, i : i + 1], rtol=1e-12, atol=1e-12)


def test_draws_are_independent_across_images_and_draws():
    # Correlations of 20,000 independent pairs are about N(0, 1 / 20000).
    draws = repeated(lambda x: log_weights(tiny_vae(1), x, 2, seeded(9, "cpu")), 20_000)
    columns = draws.transpose(0, 1).flatten(1)  # (n, 2 draws of 8 images)
    correlations = torch.corrcoef(columns.T).fill_diagonal_(0)
    assert correlations.abs().max() * 20_000**0.5 < 6


def test_the_generator_decides_the_bound_and_spares_the_global_one():
    model, before = tiny_vae(1), torch.get_rng_state()
    one, same, other = (importance_weighted_bound(model, IMAGES, 3, seeded(s, "cpu")) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert (one != other).all()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert (
            importance_weighted_bound(model, IMAGES, 3) != importance_weighted_bound(model, IMAGES, 3)
        ).all()


def test_the_gradient_of_the_bound_is_its_slope():
    # Along a random direction in the space of the encoder's or the decoder's weights, with the same noise.
    model = tiny_vae(2)
    model.encoder[0].bias += 0.1  # without it, the black image sits in the corner of every ReLU
    model.requires_grad_()

    def bound() -> torch.Tensor:
        return importance_weighted_bound(model, IMAGES, 5, seeded(0, "cpu")).mean()

    for network in (model.encoder, model.decoder):
        start = nn.utils.parameters_to_vector(network.parameters()).detach()
        direction = normals(10, len(start))
        gradient = nn.utils.parameters_to_vector(torch.autograd.grad(bound(), list(network.parameters())))
        values = []
        for along in (1e-6, -1e-6, 0.0):
            nn.utils.vector_to_parameters(start + along * direction, network.parameters())
            values.append(bound().item())
        slope = (values[0] - values[1]) / 2e-6
        assert abs(slope) > 0.01
        assert (gradient @ direction).item() == pytest.approx(slope, rel=1e-5)


def test_weights_of_images_of_many_pixels_stay_finite():
    # exp(log_weights) is 0 in any precision; the bound is not -inf.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(3000, 2, (5,)).requires_grad_(False)
    x = torch.bernoulli(torch.full((4, 3000), 0.5), generator=seeded(0, "cpu"))
    log_w = log_weights(model, x, 10, seeded(1, "cpu"))
    assert (log_w.exp() == 0).all()
    bound = log_w.logsumexp(0) - math.log(10)
    torch.testing.assert_close(importance_weighted_bound(model, x, 10, seeded(1, "cpu")), bound)
    assert bound.isfinite().all()


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_draw_is_refused(k):
    for estimate in (log_weights, importance_weighted_bound):
        with pytest.raises(ValueError, match=f"k must be 1 or more; got {k}"):
            estimate(tiny_vae(1), IMAGES, k)


def test_grey_pixels_are_refused():
    for estimate in (log_weights, importance_weighted_bound):
        with pytest.raises(ValueError, match=r"Binarise it first \(vaebook.data.binarize\)"):
            estimate(tiny_vae(1), 0.5 * IMAGES, 2)
