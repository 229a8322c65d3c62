"""The device that is asked for is the one that is taken, or the error says why not."""

import pytest
import torch

from vaebook.device import default_device, seeded


@pytest.fixture
def machine(monkeypatch):
    """A function that pretends to be on a machine with these devices, and asks for one."""

    def pretend(wanted: str | None, gpus: int = 0, mps: bool = False) -> torch.device:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.delenv("VAEBOOK_DEVICE", raising=False)
        if wanted is not None:
            monkeypatch.setenv("VAEBOOK_DEVICE", wanted)
        return default_device()

    return pretend


@pytest.mark.parametrize("wanted", [None, "", "  ", "auto", " AUTO "])
def test_auto_takes_cuda_before_mps_before_cpu(machine, wanted):
    assert machine(wanted, gpus=2, mps=True) == torch.device("cuda")
    assert machine(wanted, gpus=1) == torch.device("cuda")
    assert machine(wanted, mps=True) == torch.device("mps")
    assert machine(wanted) == torch.device("cpu")


@pytest.mark.parametrize("wanted", ["cpu", "cuda", "cuda:0", "cuda:1", "mps", " CUDA:1 "])
def test_a_device_that_is_here_is_taken_by_name(machine, wanted):
    assert machine(wanted, gpus=2, mps=True) == torch.device(wanted.strip().lower())


@pytest.mark.parametrize(
    "wanted", ["cuda:2", "cuda:999", "cuda:-1", "cuda:x", "cuda:", "mps", "mps:1", "cpu:7"]
)
def test_a_device_that_is_not_here_is_refused(machine, wanted):
    with pytest.raises(RuntimeError) as error:
        machine(wanted, gpus=2)
    for part in (repr(wanted), "VAEBOOK_DEVICE", "found: cuda, cuda:0, cuda:1, cpu", "VAEBOOK_DEVICE=auto"):
        assert part in str(error.value)


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "mps"])
def test_no_accelerator_is_taken_on_a_machine_without_one(machine, wanted):
    with pytest.raises(RuntimeError, match=r"found: cpu\)"):
        machine(wanted)


@pytest.mark.parametrize("wanted", ["tpu", "xpu", "meta", "auto:1", "gpu", "cuda :1"])
def test_an_unknown_name_is_refused_with_the_known_ones(machine, wanted):
    with pytest.raises(
        RuntimeError, match="not a device this book knows. Use auto, cpu, cuda, cuda:1 or mps"
    ):
        machine(wanted, gpus=2, mps=True)


def test_tensors_can_be_made_on_the_default_device():
    assert torch.zeros(1, device=default_device()).device.type == default_device().type


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_a_seed_fixes_the_draws_and_another_changes_them(device):
    def draws(seed):
        generator = seeded(seed, device)
        return torch.rand(8, generator=generator, device=generator.device)

    assert torch.equal(draws(3), draws(3))
    assert not torch.equal(draws(3), draws(4))


def test_a_generator_lives_where_it_was_asked_for_or_on_the_default_device(monkeypatch):
    assert seeded(0).device.type == default_device().type
    assert seeded(0, "cpu").device.type == "cpu"
    monkeypatch.setattr("vaebook.device.default_device", lambda: torch.device("cpu"))
    assert seeded(0).device.type == "cpu"


def test_a_seeded_generator_leaves_the_global_one_alone():
    torch.rand(1)  # so that the state is not the one that a seed sets
    before = torch.get_rng_state()
    torch.rand(4, generator=seeded(0, "cpu"))
    assert torch.equal(torch.get_rng_state(), before)
