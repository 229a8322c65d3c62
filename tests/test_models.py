"""Models have the shapes, sums and laws that their docstrings state.

Tests by z-score fail by chance, over all seeds, less than once in a million; the seeds are fixed.
"""

import itertools

import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Normal

from vaebook.bounds import Elbo
from vaebook.densities import bernoulli_log_likelihood
from vaebook.device import seeded
from vaebook.models import VAE, Autoencoder, BetaVAE, mlp, squared_error

MODELS = {
    "autoencoder": lambda: Autoencoder(9, 2, (7, 5)),
    "vae": lambda: VAE(9, 2, (7, 5)),
    "beta-vae": lambda: BetaVAE(9, 2, (7, 5), beta=4.0),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@pytest.fixture(autouse=True)
def weights():
    """The same weights at every run, whatever ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def binary(n: int, pixels: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.bernoulli(torch.full((n, pixels), 0.4), generator=seeded(seed, "cpu"))


def linear_shapes(network: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]


# --- mlp ----------------------------------------------------------------------------------------------------


def test_an_mlp_has_a_relu_between_layers_and_none_at_the_end():
    network = mlp(6, 5, 4, 3)
    assert [type(layer) for layer in network] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert linear_shapes(network) == [(6, 5), (5, 4), (4, 3)]
    assert network(torch.randn(50, 6)).min() < 0
    assert [type(layer) for layer in mlp(6, 2)] == [nn.Linear]


def test_first_weights_are_normal_with_variance_two_over_inputs_and_biases_zero():
    # Chance of failing: one in a million for each of the two layers.
    for layer in (m for m in mlp(300, 100, 200) if isinstance(m, nn.Linear)):
        law = stats.norm(0, (2 / layer.in_features) ** 0.5)
        assert stats.kstest(layer.weight.detach().flatten().numpy(), law.cdf).pvalue > 1e-6
        assert torch.equal(layer.bias.detach(), torch.zeros(layer.out_features))


def test_signals_keep_their_size_through_many_layers():
    x = torch.randn(200, 256)
    deep = mlp(*[256] * 12)(x)
    assert 0.2 < (deep.square().mean() / x.square().mean()).item() < 5


# --- both models --------------------------------------------------------------------------------------------


@each_model
def test_the_same_seed_makes_the_same_model(make):
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(nn.utils.parameters_to_vector(make().parameters()))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


@each_model
def test_the_decoder_mirrors_the_encoder(make):
    model = make()
    assert [b for _, b in linear_shapes(model.encoder)][:-1] == [7, 5]
    assert linear_shapes(model.decoder) == [(2, 5), (5, 7), (7, 9)]


@each_model
def test_a_saved_model_comes_back(make, tmp_path):
    model, other, x = make(), make(), binary(4)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    before, different = (m.loss_terms(x, seeded(0, "cpu"))["loss"] for m in (model, other))
    assert not torch.equal(before, different)
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(other.loss_terms(x, seeded(0, "cpu"))["loss"], before)


@each_model
def test_every_parameter_gets_a_gradient(make):
    model = make()
    model.loss_terms(binary(64), seeded(0, "cpu"))["loss"].mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@each_model
def test_the_gradient_of_every_term_is_its_slope(make):
    # In double precision, along a random direction in the space of weights, with the same noise everywhere.
    model, x = make().double(), binary(6).double()
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    direction = torch.randn(start.shape, generator=seeded(1, "cpu"), dtype=torch.float64)

    def terms(along: float) -> dict[str, torch.Tensor]:
        nn.utils.vector_to_parameters(start + along * direction, model.parameters())
        return {name: v.mean() for name, v in model.loss_terms(x, seeded(2, "cpu")).items()}

    ahead, behind = terms(1e-6), terms(-1e-6)
    for name, value in terms(0.0).items():
        gradients = torch.autograd.grad(
            value, list(model.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        gradient = nn.utils.parameters_to_vector(gradients)
        slope = (ahead[name] - behind[name]).item() / 2e-6
        assert abs(slope) > 0.01
        assert (gradient @ direction).item() == pytest.approx(slope, rel=1e-5)


@each_model
def test_every_term_has_one_number_an_image(make):
    terms = make().loss_terms(binary(6), seeded(0, "cpu"))
    assert "loss" in terms
    assert {values.shape for values in terms.values()} == {(6,)}


@each_model
def test_one_image_is_a_batch(make):
    assert make().loss_terms(binary(1), seeded(0, "cpu"))["loss"].shape == (1,)


# --- the autoencoder ----------------------------------------------------------------------------------------


def test_squared_errors_add_up_over_pixels_and_belong_to_one_image():
    x_hat = torch.tensor([[0.5, 0.0, 1.0], [1.0, 1.0, 0.0]])
    x = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.5, 0.0]])
    torch.testing.assert_close(squared_error(x_hat, x), torch.tensor([0.25, 1.25]))
    torch.testing.assert_close(
        squared_error(torch.cat([x_hat, x_hat], 1), torch.cat([x, x], 1)), torch.tensor([0.5, 2.5])
    )


def test_an_autoencoder_encodes_and_decodes():
    model, x = Autoencoder(9, 3, (7,)), torch.rand(6, 9)
    code = model.encode(x)
    assert code.shape == (6, 3)
    assert model(x).shape == (6, 9)
    assert torch.equal(model(x), model.decode(code))
    torch.testing.assert_close(model.loss_terms(x)["loss"], (model(x) - x).square().sum(1))


def test_decoded_pixels_lie_between_zero_and_one_and_use_all_of_it():
    model = Autoencoder(9, 3, (7,))
    pixels = model.decode(1000 * torch.randn(500, 3))
    assert (pixels >= 0).all()
    assert (pixels <= 1).all()
    assert pixels.min() < 0.01
    assert pixels.max() > 0.99
    torch.testing.assert_close(model.decode(torch.zeros(1, 3)), torch.full((1, 9), 0.5))


def test_a_larger_batch_changes_no_images_loss():
    model, x = Autoencoder(9, 3, (7,)), torch.rand(6, 9)
    loss = model.loss_terms(x)["loss"]
    torch.testing.assert_close(model.loss_terms(torch.cat([x, x]))["loss"], torch.cat([loss, loss]))


# --- the variational autoencoder ----------------------------------------------------------------------------


def test_a_vae_encodes_to_a_mean_and_a_log_variance_and_decodes_to_logits():
    model, x = VAE(9, 3, (7,)), binary(6)
    mu, log_var = model.encode(x)
    assert mu.shape == log_var.shape == (6, 3)
    assert torch.equal(torch.cat([mu, log_var], 1), model.encoder(x))
    z = 100 * torch.randn(6, 3)
    logits, mean = model.decode(z), model.decoder_mean(z)
    assert logits.shape == mean.shape == (6, 9)
    assert logits.min() < -1
    torch.testing.assert_close(mean, 1 / (1 + (-logits).exp()))


def test_the_loss_is_minus_the_elbo_and_the_elbo_reconstruction_minus_kl():
    model, x = VAE(9, 3, (7,)), binary(6)
    elbo, terms = model.elbo(x, seeded(1, "cpu")), model.loss_terms(x, seeded(1, "cpu"))
    assert elbo.reconstruction.shape == elbo.kl.shape == (6,)
    assert (elbo.reconstruction < 0).all()
    assert (elbo.kl > 0).all()
    torch.testing.assert_close(elbo.value, elbo.reconstruction - elbo.kl)
    assert set(terms) == {"loss", "reconstruction", "kl"}
    torch.testing.assert_close(terms["loss"], elbo.kl - elbo.reconstruction)
    assert torch.equal(terms["reconstruction"], elbo.reconstruction)
    assert torch.equal(terms["kl"], elbo.kl)


def test_the_parts_of_an_elbo_are_told_apart():
    elbo = Elbo(reconstruction=torch.tensor([-3.0]), kl=torch.tensor([2.0]))
    assert elbo.value.item() == -5


def test_the_elbo_varies_with_the_draw_and_the_generator_decides_it():
    model, x = VAE(9, 3, (7,)), binary(6)
    one, same, other = (model.elbo(x, seeded(seed, "cpu")) for seed in (1, 1, 2))
    assert torch.equal(one.value, same.value)
    assert (one.reconstruction != other.reconstruction).all()
    assert torch.equal(one.kl, other.kl)
    assert (model.elbo(x).value != model.elbo(x).value).all()
    before = torch.get_rng_state()
    model.elbo(x, seeded(1, "cpu"))
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_follow_the_encoder():
    class Recorder(nn.Module):
        """A decoder that keeps what it was given."""

        def forward(self, z):
            self.z = z.detach()
            return torch.zeros(len(z), 9)

    model, n = VAE(9, 2, (7,)), 20_000
    x = binary(1, seed=3).expand(n, 9)
    model.decoder = Recorder()
    model.elbo(x, seeded(0, "cpu"))
    mu, log_var = (part[0].detach() for part in model.encode(x[:1]))
    assert mu.abs().min() > 0.05  # where a mistake shows
    assert log_var.abs().min() > 0.05
    z, std = model.decoder.z, (log_var / 2).exp()
    assert ((z.mean(0) - mu) / (std / n**0.5)).abs().max() < 5.5
    assert ((z.var(0) / std.square() - 1) / (2 / n) ** 0.5).abs().max() < 5.5


def test_duplicating_the_batch_leaves_the_mean_elbo():
    model, x = VAE(9, 2, (7,)), binary(1)
    small, large = (model.elbo(x.expand(n, 9), seeded(n, "cpu")).value.detach() for n in (4000, 8000))
    error = (small.var() / 4000 + large.var() / 8000).sqrt()
    assert abs(small.mean() - large.mean()) / error < 5


@torch.no_grad()
def test_duplicating_the_pixels_doubles_the_reconstruction_and_leaves_the_kl():
    model, double = VAE(9, 2, (7,)), VAE(18, 2, (7,))
    double.load_state_dict(
        {
            **model.state_dict(),
            "encoder.0.weight": model.encoder[0].weight.repeat(1, 2) / 2,
            "decoder.2.weight": model.decoder[2].weight.repeat(2, 1),
            "decoder.2.bias": model.decoder[2].bias.repeat(2),
        }
    )
    x = binary(6)
    once, twice = model.elbo(x, seeded(0, "cpu")), double.elbo(x.repeat(1, 2), seeded(0, "cpu"))
    torch.testing.assert_close(twice.reconstruction, 2 * once.reconstruction)
    torch.testing.assert_close(twice.kl, once.kl)


def test_grey_pixels_are_refused_with_advice():
    with pytest.raises(ValueError, match=r"Binarise it first \(vaebook.data.binarize\)"):
        VAE(9, 2, (7,)).elbo(binary(4) * 0.5)
    with pytest.raises(ValueError, match="Bernoulli"):
        VAE(9, 2, (7,)).loss_terms(binary(4) * 0.5)


@torch.no_grad()
def test_the_elbo_is_the_log_likelihood_when_the_posterior_is_the_prior():
    # The decoder ignores z and the encoder says N(0, I), which is then the posterior: no gap is left.
    model = VAE(3, 2, (4,)).double()
    for layer in (model.encoder[-1], model.decoder[-1]):
        layer.weight.zero_()
        layer.bias.zero_()
    model.decoder[-1].bias.copy_(torch.tensor([1.2, -0.3, 3.0]))
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    p = torch.sigmoid(model.decoder[-1].bias)
    log_p = torch.where(x == 1, p, 1 - p).log().sum(1)
    torch.testing.assert_close(model.elbo(x).value, log_p)
    torch.testing.assert_close(model.elbo(x).kl, torch.zeros_like(log_p))
    assert model.elbo(x).value.exp().sum().item() == pytest.approx(1)


@torch.no_grad()
def test_the_elbo_falls_short_of_the_log_likelihood_by_the_kl_to_the_posterior():
    # One latent dimension, so that log p(x) and the posterior are integrals on a grid.
    model, n = VAE(3, 1, (4,)).double(), 100_000
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    step = (grid[1] - grid[0]).item()
    joint = Normal(0, 1).log_prob(grid)[:, 0] + bernoulli_log_likelihood(
        model.decode(grid), x.expand(len(grid), 3)
    )
    log_p = joint.logsumexp(0).item() + torch.tensor(step).log().item()
    mu, log_var = model.encode(x)
    log_q = Normal(mu, (log_var / 2).exp()).log_prob(grid)[:, 0]
    gap = (log_q.exp() * (log_q - (joint - log_p))).sum().item() * step
    draws = model.elbo(x.expand(n, 3), seeded(0, "cpu")).value
    assert gap > 0.05  # or a bound without a gap would pass
    assert abs(draws.mean().item() - (log_p - gap)) / (draws.std().item() / n**0.5) < 5


# --- the beta-VAE -------------------------------------------------------------------------------------------


def with_beta(vae: VAE, beta: float) -> BetaVAE:
    """A beta-VAE with the weights of a VAE of 9 pixels and 2 latent dimensions."""
    model = BetaVAE(9, 2, (7,), beta=beta).to(next(vae.parameters()).dtype)
    model.load_state_dict(vae.state_dict())
    return model


def gradient(model: VAE, term: torch.Tensor) -> torch.Tensor:
    """Of the mean of a term (batch,), in all weights."""
    parts = torch.autograd.grad(
        term.mean(), list(model.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return nn.utils.parameters_to_vector(parts)


def test_a_beta_of_one_is_the_vae():
    vae, x = VAE(9, 2, (7,)), binary(6)
    model = with_beta(vae, 1.0)
    expected, terms = vae.loss_terms(x, seeded(1, "cpu")), model.loss_terms(x, seeded(1, "cpu"))
    assert set(terms) == set(expected)
    for name, values in terms.items():
        torch.testing.assert_close(values, expected[name])
        torch.testing.assert_close(gradient(model, values), gradient(vae, expected[name]))
    assert BetaVAE(9, 2, (7,)).beta == 1


def test_a_beta_vae_starts_as_the_vae_of_its_seed():
    starts = []
    for make in (VAE, BetaVAE):
        torch.manual_seed(5)
        starts.append(nn.utils.parameters_to_vector(make(9, 2, (7,)).parameters()))
    assert torch.equal(*starts)


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_changes_the_loss_and_not_the_elbo(beta):
    vae, x = VAE(9, 2, (7,)), binary(6)
    model = with_beta(vae, beta)
    elbo, expected = model.elbo(x, seeded(1, "cpu")), vae.elbo(x, seeded(1, "cpu"))
    assert torch.equal(elbo.value, expected.value)
    terms = model.loss_terms(x, seeded(1, "cpu"))
    assert torch.equal(terms["kl"], expected.kl)
    assert torch.equal(terms["reconstruction"], expected.reconstruction)
    assert (terms["loss"] + elbo.value).abs().min() > 1e-3


def test_the_loss_and_its_gradient_are_linear_in_beta():
    vae, x = VAE(9, 2, (7,)).double(), binary(6).double()
    elbo = vae.elbo(x, seeded(1, "cpu"))
    of_reconstruction, of_kl = gradient(vae, elbo.reconstruction), gradient(vae, elbo.kl)
    assert of_kl.abs().max() > 0.01
    for beta in (0.0, 0.5, 1.0, 4.0, 100.0):
        model = with_beta(vae, beta)
        loss = model.loss_terms(x, seeded(1, "cpu"))["loss"]
        torch.testing.assert_close(loss, beta * elbo.kl - elbo.reconstruction)
        torch.testing.assert_close(gradient(model, loss), beta * of_kl - of_reconstruction)


def test_a_beta_of_zero_leaves_the_kl_no_gradient():
    # With the decoder's part cut off, only the KL could move the encoder.
    model, x = BetaVAE(9, 2, (7,), beta=0.0), binary(6)
    model.decoder[0].weight.data.zero_()
    terms = model.loss_terms(x, seeded(1, "cpu"))
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert (gradient(model, terms["loss"])[:encoder] == 0).all()
    assert gradient(model, terms["kl"])[:encoder].abs().max() > 0.01
    model.beta = 1.0  # may change while it trains
    assert gradient(model, model.loss_terms(x)["loss"])[:encoder].abs().max() > 0.01
