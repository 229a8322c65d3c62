"""`fit` does what the plain loop does, stops as it says it does, and leaves nothing behind."""

import math
import warnings

import pytest
import torch
from torch import nn

from vaebook import training
from vaebook.data import binarize
from vaebook.device import seeded
from vaebook.models import VAE, Autoencoder
from vaebook.training import History, TrainingDiverged, fit, train_epoch


@pytest.fixture(autouse=True)
def weights():
    """The same weights at every run, whatever ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=[False, True], ids=["denormals kept", "denormals flushed"])
def flushed(request):
    """Whether the CPU flushed denormals before the test."""
    torch.set_flush_denormal(request.param)
    if flushes_denormals() != request.param:
        pytest.skip("this CPU has no choice")
    yield request.param
    torch.set_flush_denormal(False)


class Scripted(nn.Module):
    """A model that answers step i with what `script` makes of it; `modes` and `batches` keep what it saw."""

    def __init__(self, script):
        super().__init__()
        self.script, self.modes, self.batches = script, [], []
        self.weight = nn.Parameter(torch.zeros(()))

    def loss_terms(self, x, generator=None):
        self.modes.append(self.training)
        self.batches.append(x.detach().clone())
        return self.script(len(self.batches), x, self.weight)


def flushes_denormals() -> bool:
    return (torch.tensor(1e-310, dtype=torch.float64) * 1).item() == 0


def images(n: int = 24, pixels: int = 9, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.bernoulli(torch.full((n, pixels), 0.4, dtype=dtype), generator=seeded(0, "cpu"))


def fresh_vae() -> VAE:
    torch.manual_seed(0)
    return VAE(9, 2, (7,))


def plain(_step, x, weight):
    """The loss of an image is its first pixel, whatever the weight."""
    return {"loss": x[:, 0] + 0 * weight}


def vector(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


# --- the loop -----------------------------------------------------------------------------------------------


def test_an_epoch_is_the_obvious_loop():
    # In double precision, one image at a time; 50 = 3 * 16 + 2, so that the last batch is ragged.
    torch.manual_seed(0)
    x = images(50, dtype=torch.float64)
    model, reference = Autoencoder(9, 2, (7,)).double(), Autoencoder(9, 2, (7,)).double()
    reference.load_state_dict(model.state_dict())

    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    reported = [train_epoch(model, x, optimizer, 16, seeded(3, "cpu"))["loss"]]
    reported.append(train_epoch(model, x, optimizer, 16, seeded(4, "cpu"))["loss"])

    optimizer, expected = torch.optim.Adam(reference.parameters(), 0.01), []
    for seed in (3, 4):
        losses = []
        order = torch.randperm(50, generator=seeded(seed, "cpu")).tolist()
        for start in range(0, 50, 16):
            batch, loss = order[start : start + 16], 0
            for i in batch:
                error = (reference(x[i : i + 1]) - x[i : i + 1]).square().sum()
                loss = loss + error / len(batch)
                losses.append(error.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        expected.append(sum(losses) / 50)

    assert reported == pytest.approx(expected, rel=1e-10)
    torch.testing.assert_close(vector(model), vector(reference), rtol=1e-8, atol=1e-10)


def test_every_image_is_used_once_an_epoch_in_an_order_that_changes():
    model, x = Scripted(plain), torch.arange(50.0)[:, None]
    fit(model, x, epochs=2, batch_size=16, progress=False)
    assert [len(batch) for batch in model.batches] == 2 * [16, 16, 16, 2]
    first, second = (torch.cat(model.batches[half]).flatten() for half in (slice(4), slice(4, 8)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, x.flatten())
    assert torch.equal(first.sort()[0], x.flatten())
    assert torch.equal(second.sort()[0], x.flatten())


def test_a_term_is_reported_as_its_mean_over_the_images():
    # A mean of batch means would give the ragged last batch of 2 the weight of one of 16.
    def script(_step, x, weight):
        return {"loss": x[:, 0] + 0 * weight, "twice": 2 * x[:, 0]}

    history = fit(
        Scripted(script), torch.arange(50.0)[:, None].square(), epochs=3, batch_size=16, progress=False
    )
    assert history["loss"] == pytest.approx([808.5] * 3)
    assert history["twice"] == pytest.approx([1617] * 3)


@pytest.mark.parametrize("batch_size", [24, 25, 1000])
def test_a_batch_may_be_larger_than_the_data(batch_size):
    model = Scripted(plain)
    fit(model, images(), epochs=2, batch_size=batch_size, progress=False)
    assert [len(batch) for batch in model.batches] == [24, 24]


# --- fit ----------------------------------------------------------------------------------------------------


def test_the_loss_falls_on_real_digits(digits):
    x = binarize(digits.train[:512])
    for model in (VAE(hidden=(64,)), Autoencoder(hidden=(64,))):
        history = fit(model.to(x.device), x, epochs=4, batch_size=64, progress=False)
        assert history["loss"] == sorted(history["loss"], reverse=True)
        assert history["loss"][-1] < 0.8 * history["loss"][0]


def test_every_parameter_is_trained():
    for model in (VAE(9, 2, (7,)), Autoencoder(9, 2, (7,))):
        before = [parameter.detach().clone() for parameter in model.parameters()]
        fit(model, images(), epochs=2, batch_size=8, progress=False)
        for old, new in zip(before, model.parameters(), strict=True):
            assert not torch.equal(old, new)
            assert new.grad is not None


def test_the_seed_decides_the_history_and_the_model():
    histories, models = [], []
    for seed, elsewhere in ((1, 10), (1, 11), (2, 12)):
        model = fresh_vae()
        torch.manual_seed(elsewhere)
        histories.append(fit(model, images(), epochs=2, batch_size=8, seed=seed, progress=False).terms)
        models.append(vector(model))
    assert histories[0] == histories[1] != histories[2]
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_the_history_has_every_term_once_an_epoch():
    history = fit(fresh_vae(), images(), epochs=3, progress=False)
    assert len(history) == 3
    assert {name: len(values) for name, values in history.terms.items()} == {
        "loss": 3,
        "reconstruction": 3,
        "kl": 3,
    }
    for loss, reconstruction, kl in zip(*(history[t] for t in ("loss", "reconstruction", "kl")), strict=True):
        assert loss == pytest.approx(kl - reconstruction)
    assert not history.interrupted
    assert repr(history).startswith("History(3 epochs; last: loss ")


def test_an_empty_history_can_be_shown():
    assert len(History()) == 0
    assert repr(History()) == "History(0 epochs; last: none)"


def test_fit_leaves_the_global_generator_and_the_images_alone():
    x, model = images(), fresh_vae()
    before, copy = torch.get_rng_state(), x.clone()
    fit(model, x, epochs=2, batch_size=8, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, copy)
    assert not x.requires_grad


@pytest.mark.parametrize("mode", [True, False])
def test_training_happens_in_training_mode_and_gives_the_mode_back(mode):
    model = Scripted(plain).train(mode)
    fit(model, images(), epochs=1, progress=False)
    assert all(model.modes)
    assert model.training is mode


def test_denormals_are_flushed_while_training_only(flushed):
    seen = []

    def script(step, x, weight):
        seen.append(flushes_denormals())
        return plain(step, x, weight)

    fit(Scripted(script), images(), epochs=1, progress=False)
    assert all(seen)
    assert flushes_denormals() == flushed


def learning_rates(monkeypatch, **arguments) -> list[float]:
    """The learning rate of every step of `fit`."""
    rates = []

    def watched(model, x, optimizer, *others):
        hook = optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
        terms = train_epoch(model, x, optimizer, *others)
        hook.remove()
        return terms

    monkeypatch.setattr(training, "train_epoch", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Scripted(plain), images(), progress=False, **arguments)
    return rates


def test_one_cycle_rises_to_the_learning_rate_once_and_falls_to_nothing(monkeypatch):
    rates = learning_rates(monkeypatch, epochs=10, batch_size=5, learning_rate=0.02)
    peak = rates.index(max(rates))
    assert len(rates) == 50
    assert rates[peak] == pytest.approx(0.02)
    assert 0 < peak < 25
    assert rates == sorted(rates[: peak + 1]) + sorted(rates[peak + 1 :], reverse=True)
    assert rates[0] < 0.002
    assert rates[-1] < 0.0002


def test_without_one_cycle_the_learning_rate_stays(monkeypatch):
    rates = learning_rates(monkeypatch, epochs=3, batch_size=5, learning_rate=0.02, one_cycle=False)
    assert rates == [0.02] * 15


def test_without_progress_nothing_is_printed(capfd):
    fit(fresh_vae(), images(), epochs=2, progress=False)
    assert capfd.readouterr() == ("", "")


def test_progress_shows_the_epochs_and_the_terms(capfd):
    fit(fresh_vae(), images(), epochs=2)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "training" in printed.err
    assert "kl=" in printed.err


# --- what cannot be trained ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9,), (2, 3, 3), (0, 9)])
def test_images_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"non-empty \(n, pixels\) tensor; got shape \(.*\. Use images.train"
    ):
        fit(fresh_vae(), torch.zeros(shape), epochs=1, progress=False)


def test_images_on_another_device_are_refused():
    with pytest.raises(
        ValueError, match=r"images are on meta, the model on cpu. Move it: model.to\('meta'\)"
    ):
        fit(fresh_vae(), torch.zeros(4, 9, device="meta"), epochs=1, progress=False)


@pytest.mark.parametrize(("epochs", "batch_size"), [(0, 64), (-1, 64), (1, 0)])
def test_less_than_one_epoch_or_image_a_batch_is_refused(epochs, batch_size):
    with pytest.raises(ValueError, match=f"must be 1 or more; got {epochs} and {batch_size}"):
        fit(fresh_vae(), images(), epochs=epochs, batch_size=batch_size, progress=False)


# --- ends before the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [True, False])
def test_the_stop_button_keeps_the_model_and_the_history(mode, flushed):
    def script(step, x, weight):
        if step == 5:  # in the second of three epochs, after one of its steps
            raise KeyboardInterrupt
        return {"loss": (x - weight).square().sum(1)}

    model = Scripted(script).train(mode)
    with pytest.warns(UserWarning, match="training was stopped after 1 of 4 epochs") as caught:
        try:
            history = fit(model, images(), epochs=4, batch_size=8, progress=False)
        except KeyboardInterrupt:  # which would end the whole test run
            pytest.fail("the interruption came through")
    assert caught[0].filename == __file__  # the warning points at the caller
    assert history.interrupted
    assert len(history) == len(history["loss"]) == 1
    assert "interrupted" in repr(history)
    assert model.weight.item() != 0
    assert model.training is mode
    assert flushes_denormals() == flushed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_training_and_says_where(bad, flushed):
    def script(step, x, weight):
        kl = x[:, 1] + (bad if step == 5 else 0)
        reconstruction = x[:, 0] + 0 * weight
        return {"loss": kl - reconstruction, "reconstruction": reconstruction, "kl": kl}

    model = Scripted(script).eval()
    with pytest.raises(TrainingDiverged) as error:
        fit(model, images(), epochs=4, batch_size=8, learning_rate=0.5, progress=False)
    message = str(error.value)
    for part in ("epoch 2", "term 'kl'", f"became {bad}", "lower learning_rate (it was 0.5)", "the images"):
        assert part in message
    assert isinstance(error.value, ArithmeticError)
    assert {name: len(values) for name, values in error.value.history.terms.items()} == {
        "loss": 1,
        "reconstruction": 1,
        "kl": 1,
    }
    assert not model.training
    assert flushes_denormals() == flushed


def test_a_loss_without_parts_is_named_itself():
    with pytest.raises(TrainingDiverged, match="in epoch 1 the term 'loss' became nan") as error:
        fit(Autoencoder(9, 2, (7,)), images() * math.nan, epochs=2, progress=False)
    assert len(error.value.history) == 0


def test_another_error_comes_through(flushed):
    def script(_step, _x, _weight):
        raise RuntimeError("of the model's own")

    model = Scripted(script).eval()
    with pytest.raises(RuntimeError, match="of the model's own"):
        fit(model, images(), epochs=2, progress=False)
    assert not model.training
    assert flushes_denormals() == flushed
