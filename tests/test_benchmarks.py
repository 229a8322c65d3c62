"""The benchmarks of speed: the loops train the same thing, and the figures beside their times are right."""

import sys
from argparse import Namespace

import pytest
import torch

from benchmarks import training_speed
from benchmarks.loops import LOOPS, some
from benchmarks.training_speed import LoopError, find_data, flops, measure, take_turns
from vaebook.data import DataError
from vaebook.device import seeded


@pytest.mark.parametrize("model", ["mlp", "conv"])
def test_the_loops_have_the_same_loss_and_gradient(model):
    x = torch.bernoulli(torch.full((50, 784), 0.3), generator=seeded(0, "cpu"))
    losses, gradients = [], []
    for loop in (
        "vaebook",
        "dataloader",
    ):  # pythae has an environment of its own; `measure` compares its loss
        vae, _, loss = LOOPS[loop](Namespace(model=model, z_dim=5), torch.device("cpu"))
        torch.manual_seed(1)
        losses.append(loss(x))
        losses[-1].backward()
        # Two heads or one twice as wide: their entries are the same.
        gradients.append(torch.cat([p.grad.flatten() for p in vae.parameters()]))
    assert gradients[0].shape == gradients[1].shape
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0].sort().values, gradients[1].sort().values, rtol=1e-4, atol=1e-5)


def test_flops_of_the_mlp_are_those_counted_by_hand():
    forward = 784 * 400 + 400 * 2 * 20 + 20 * 400 + 400 * 784  # multiply-adds
    images_gradient = 400 * 784
    assert flops("mlp", z_dim=20) == (2 * forward, 2 * (3 * forward - images_gradient))


def test_flops_of_the_convolutions_are_those_counted_by_hand():
    kernel, side = 4 * 4, 7
    convolutions = kernel * (14 * 14 * 1 * 16 + side * side * 16 * 32)  # the transposed ones have as many
    forward = 2 * convolutions + 32 * side * side * (2 * 20 + 20)
    assert flops("conv", z_dim=20)[0] == 2 * forward


def test_loops_take_turns(monkeypatch):
    monkeypatch.setenv("VAEBOOK_DEVICE", "cpu")
    result = measure("mlp", "mnist5k", epochs=2, threads=1, loops=["vaebook", "dataloader"])
    ours, usual = result["loops"].values()
    assert result["images"] == 4000
    for loop in (ours, usual):
        assert len(loop["seconds"]) == 2 and min(loop["seconds"]) > 0
        assert loop["weights"] == 652_824
        assert 0 < loop["reached_of_needed"] < loop["reached"]
        assert loop["scores_mean"] < 0.5 * loop["untrained_mean"]
    assert usual["ratio"] == usual["median_seconds"] / ours["median_seconds"]
    # After two epochs the scores are as close as those of two seeds, which differ by 1 to 2 nats.
    assert abs(usual["off"]) < 5


def test_a_loop_that_ends_says_why():
    commands = {"vaebook": (sys.executable, ["vaebook", "--data", "mnist6k"])}
    with pytest.raises(LoopError, match="No data set is called 'mnist6k'"):
        take_turns(commands, torch.zeros(200, 784), epochs=1, threads=1)


def test_without_mnist_the_digits_of_mnist5k_are_repeated(monkeypatch):
    load = training_speed.load

    def loaded(name, device):
        if name == "mnist":
            raise DataError("no network")
        return load(name, device)

    monkeypatch.setattr(training_speed, "load", loaded)
    name, options, n, test = find_data("mnist")
    assert (name, n, len(test)) == ("mnist5k_repeated", 60_000, 1000)
    assert options == ["--data", "mnist5k", "--images", "60000"]
    assert some(torch.arange(3), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
