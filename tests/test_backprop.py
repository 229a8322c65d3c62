"""The gradients that are written out are autograd's, and `fit` takes them only where that is so."""

import pytest
import torch
from torch import nn

from vaebook import backprop, training
from vaebook.device import seeded
from vaebook.models import VAE, Autoencoder, BetaVAE
from vaebook.training import fit

MODELS = {
    "autoencoder": lambda: Autoencoder(9, 2, (7, 5)),
    "autoencoder without hidden layers": lambda: Autoencoder(9, 3, ()),
    "vae": lambda: VAE(9, 2, (7, 5)),
    "vae of one latent dimension": lambda: VAE(9, 1, (7,)),
    "beta-vae": lambda: BetaVAE(9, 2, (7,), beta=3.0),
    "beta-vae without the prior": lambda: BetaVAE(9, 2, (7,), beta=0.0),
}
every_model = pytest.mark.parametrize("name", MODELS)
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def asks_nothing(name: str) -> bool:
    """Whether the model's own loss can be recorded: a VAE's looks at the pixels."""
    return not issubclass(type(MODELS[name]()), VAE)


def pair(name: str, dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[nn.Module]:
    """Two models with the same weights, biases away from zero."""
    models = []
    for _ in range(2):
        torch.manual_seed(1)
        model = MODELS[name]().to(device, dtype)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape).to(device, dtype)
        models.append(model)
    return models


def images(n: int = 50, dtype: torch.dtype = torch.float64, device: str = "cpu") -> torch.Tensor:
    return torch.bernoulli(torch.full((n, 9), 0.4, dtype=dtype), generator=seeded(0, "cpu")).to(device)


def vector(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def written_gradients(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    gradients = backprop.written_out(model, x)
    for parameter in model.parameters():
        parameter.grad.fill_(7.0)  # what is there before must not matter
    return gradients(x, seeded(2, "cpu"))


@pytest.mark.parametrize("n", [1, 50])
@every_model
def test_they_are_autograds(name, n):
    reference, model = pair(name)
    x = images(n)
    terms = reference.loss_terms(x, seeded(2, "cpu"))
    terms["loss"].mean().backward()
    sums = written_gradients(model, x)
    for expected, found in zip(reference.parameters(), model.parameters(), strict=True):
        assert expected.grad.abs().max() > 0 or "prior" in name or n == 1
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-10, atol=1e-12)
    assert list(sums) == list(terms)
    for term, values in terms.items():
        torch.testing.assert_close(sums[term], values.detach().sum(), rtol=1e-12, atol=1e-12)


def test_logits_far_out_leave_them_exact():
    reference, model = pair("vae")
    for m in (reference, model):
        m.decoder[-1].bias.data += torch.tensor([200.0, -200] * 4 + [60])
    x = images()
    terms = reference.loss_terms(x, seeded(2, "cpu"))
    terms["loss"].mean().backward()
    sums = written_gradients(model, x)
    torch.testing.assert_close(sums["loss"], terms["loss"].detach().sum(), rtol=1e-12, atol=0)
    for expected, found in zip(reference.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@every_model
def test_fit_with_them_is_fit_with_the_loop_that_chapter_1_prints(name, device, monkeypatch):
    # In double precision 24 steps amplify rounding to 1e-9 at most; 50 = 3 * 16 + 2: a ragged last batch.
    slow, fast = pair(name, device=device)
    x = images(device=device)
    settings = {"epochs": 6, "batch_size": 16, "seed": 3, "progress": False}
    quick = fit(fast, x, **settings)
    monkeypatch.setattr(backprop, "written_out", lambda model, x: None)
    obvious = fit(slow, x, **settings)
    torch.testing.assert_close(vector(fast), vector(slow), rtol=1e-7, atol=1e-9)
    assert list(quick.terms) == list(obvious.terms)
    for term, values in obvious.terms.items():
        assert quick[term] == pytest.approx(values, rel=1e-8)


@pytest.mark.parametrize("device", DEVICES)
@every_model
def test_the_same_seed_gives_the_same_history_on_one_device(name, device):
    models = pair(name, torch.float32, device)
    x = images(dtype=torch.float32, device=device)
    first, second = (fit(m, x, epochs=3, batch_size=16, seed=5, progress=False) for m in models)
    assert first.terms == second.terms
    assert torch.equal(vector(models[0]), vector(models[1]))


@pytest.mark.parametrize("device", DEVICES)
@every_model
def test_by_autograd_in_the_same_form(name, device):
    reference, model = pair(name, device=device)
    x = images(device=device)
    terms = reference.loss_terms(x, seeded(2, device))
    terms["loss"].mean().backward()
    gradients, generator = backprop.by_autograd(model), seeded(2, device)
    if device == "cuda" and asks_nothing(name):
        gradients = backprop.captured(gradients, x, generator)
    gradients(x, generator)
    sums = gradients(x, generator.manual_seed(2))  # does not add to what the first call left
    for expected, found in zip(reference.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)
    for term, values in terms.items():
        torch.testing.assert_close(sums[term], values.detach().sum())


@pytest.mark.parametrize(
    "name, autograd",
    [(name, False) for name in MODELS] + [(name, True) for name in MODELS if asks_nothing(name)],
)
def test_a_replayed_step_is_the_step(name, autograd, cuda_graphs):
    # Three epochs of 16 + 16 + 16 + 2 images: the ragged batch is not the recorded one.
    x, ends, histories = images(), [], []
    for model, replay in zip(pair(name), (False, True), strict=True):
        gradients = backprop.by_autograd(model) if autograd else backprop.written_out(model, x)
        generator = seeded(3, "cpu")
        if replay:
            gradients = backprop.captured(gradients, x[:16], generator)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        steps = gradients, x, optimizer, 16, generator
        histories.append([training.gradient_epoch(*steps) for _ in range(3)])
        ends.append(vector(model))
    assert torch.equal(*ends)
    assert histories[0] == histories[1]


def test_what_asks_for_a_number_cannot_be_recorded(cuda_graphs):
    gradients = backprop.by_autograd(VAE(9, 2, (7,)).double())
    with pytest.raises(RuntimeError, match="asks for a number"):
        backprop.captured(gradients, images(), seeded(0, "cpu"))


class Weighted(VAE):
    """Another loss than its parent's."""

    def loss_terms(self, x, generator=None):
        elbo = self.elbo(x, generator)
        return {"loss": elbo.kl - 2 * elbo.reconstruction}


def frozen() -> VAE:
    model = VAE(9, 2, (7,))
    model.encoder.requires_grad_(False)
    return model


def deeper(*layers: nn.Module) -> Autoencoder:
    model = Autoencoder(9, 2, (7,))
    model.encoder = nn.Sequential(nn.Linear(9, 7), *layers, nn.Linear(7, 2))
    return model


def watched() -> Autoencoder:
    model = Autoencoder(9, 2, (7,))
    model.encoder[0].register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    "model",
    [Weighted(9, 2, (7,)), frozen(), deeper(nn.Tanh()), deeper(nn.ReLU(), nn.Dropout()), deeper(), watched()],
    ids=["another loss", "frozen", "tanh", "dropout", "two linear layers in a row", "a hook"],
)
def test_other_models_keep_autograd(model, monkeypatch):
    x = images(dtype=torch.float32)
    assert backprop.written_out(model, x) is None
    calls = []
    loop = training.train_epoch
    monkeypatch.setattr(training, "train_epoch", lambda *a: calls.append(1) or loop(*a))
    fit(model, x, epochs=2, batch_size=16, progress=False)
    assert len(calls) == 2


def test_grey_pixels_are_refused_as_the_loss_refuses_them():
    with pytest.raises(ValueError, match="Binarise it first"):
        fit(VAE(9, 2, (7,)), 0.5 * images(dtype=torch.float32), epochs=1, progress=False)


def test_the_book_trains_with_them(digits):
    x = (digits.test[:8] > 0.5).float()
    for model in (Autoencoder(), VAE(), BetaVAE(beta=4.0)):
        assert backprop.written_out(model.to(x.device), x) is not None
