"""The benchmark beside the paper's table: its objectives, its schedule, and that a stop loses nothing."""

import math
import signal
from types import SimpleNamespace

import pytest
import torch

from benchmarks import paper_table
from benchmarks.paper_table import CheckpointError, PaperVAE, Row, Stop, abreast, learning_rate, main, nll
from vaebook import backprop, bounds
from vaebook.data import Images, binarize
from vaebook.device import seeded
from vaebook.training import gradient_epoch


@pytest.fixture
def images(monkeypatch):
    """100 images to train on and 30 to test, in passes of three slices of 40, 40 and 20."""
    monkeypatch.setattr(paper_table, "SLICE", 40)
    monkeypatch.setattr(paper_table, "DRAWS", 10)
    x, labels = torch.rand(130, 784, generator=seeded(0, "cpu")), torch.zeros(130, dtype=torch.int64)
    return Images("mnist5k", x[:100], labels[:100], x[100:], labels[100:])


@pytest.fixture
def run(images, tmp_path, monkeypatch):
    """The command, on these images, and with a schedule of 1 + 3 passes."""
    monkeypatch.setattr(paper_table, "STAGES", 2)
    monkeypatch.setattr(paper_table, "PASSES", 4)
    monkeypatch.setattr(paper_table, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paper_table, "load", lambda name, device: images)
    monkeypatch.setenv("VAEBOOK_DEVICE", "cpu")

    def command(*arguments: str) -> int:
        return main([*arguments, "--folder", str(tmp_path), "--rows", "vae1", "iwae5"])

    return command


def model(objective: str, k: int) -> PaperVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PaperVAE(objective, k, torch.linspace(0, 1, 784))


def grey(n: int) -> torch.Tensor:
    return torch.rand(n, 784, generator=seeded(1, "cpu"))


def binary(n: int) -> torch.Tensor:
    return binarize(grey(n), seeded(2, "cpu"))


def state(row: Row) -> list:
    """All that decides how training goes on."""
    slots = [value for slot in row.optimizer.state.values() for value in slot.values()]
    return [*row.model.state_dict().values(), *slots, row.generator.get_state(), torch.tensor(row.seen)]


# --- the objectives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5])
def test_all_draws_at_once_have_the_weights_of_the_book(k):
    # 8 images x 50 dimensions are a multiple of 16: then one call for k times as many numbers draws the same.
    x, vae = binary(8), model("vae", k)
    at_once = vae.log_weights(x, seeded(3, "cpu"))
    torch.testing.assert_close(at_once, bounds.log_weights(vae, x, k, seeded(3, "cpu")))


def test_with_one_draw_both_objectives_are_the_same():
    losses = [model(name, 1).loss_terms(grey(8), seeded(3, "cpu"))["loss"] for name in ("vae", "iwae")]
    assert losses[0].shape == (8,)
    assert torch.equal(*losses)
    more = [model(name, 5).loss_terms(grey(8), seeded(3, "cpu"))["loss"] for name in ("vae", "iwae")]
    assert (more[1] < more[0]).all()  # the mean of the logs is below the log of the mean


@pytest.mark.parametrize("objective", ["vae", "iwae"])
def test_the_gradient_is_that_of_the_weighted_draws(objective):
    # As the authors' code does it: the gradient of each log weight, times its share of the weight, or 1/k.
    k, x = 5, binary(8).double()
    vae = model(objective, k).double()
    vae.loss_terms(x, seeded(3, "cpu"))["loss"].mean().backward()
    generator = seeded(3, "cpu")
    torch.bernoulli(x, generator=generator)  # takes the draws that loss_terms spends on pixels
    log_w = bounds.log_weights(vae, x, k, generator)  # (k, 8)
    share = log_w.softmax(0).detach() if objective == "iwae" else torch.full_like(log_w, 1 / k)
    for parameter in vae.parameters():
        slow = torch.zeros_like(parameter)
        for i in range(k):
            for image in range(8):
                (one,) = torch.autograd.grad(log_w[i, image], parameter, retain_graph=True)
                slow -= share[i, image] * one / 8
        torch.testing.assert_close(parameter.grad, slow)


@pytest.mark.parametrize("objective", ["vae", "iwae"])
def test_a_gpu_may_replay_its_steps(objective, cuda_graphs):
    x, ends = grey(50), []
    for replay in (False, True):
        vae, generator = model(objective, 5), seeded(3, "cpu")
        gradients = backprop.by_autograd(vae)
        if replay:
            gradients = backprop.captured(gradients, x[:20], generator)
        gradient_epoch(gradients, x, torch.optim.Adam(vae.parameters()), 20, generator)
        ends.append(torch.nn.utils.parameters_to_vector(vae.parameters()))
    assert torch.equal(*ends)


def test_pixels_are_drawn_with_their_grey_value():
    # The one pixel that is not certain is 1 in 0.3 of 4,000 draws; 5 standard errors: 1 false alarm in 2e6.
    x = torch.zeros(4000, 784)
    x[:, 0] = 0.3
    seen = []
    vae = model("vae", 1)
    vae.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        vae.loss_terms(x, seeded(3, "cpu"))
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert abs(seen[0][:, 0].mean().item() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 4000)
    assert not seen[0][:, 1:].any()


@pytest.mark.parametrize("copies", [2, 5, 10])
def test_the_estimate_is_the_same_in_parts(copies):
    x, vae = binary(8), model("iwae", 5)
    whole = -bounds.importance_weighted_bound(vae, x, 10, seeded(3, "cpu")).detach()
    torch.testing.assert_close(nll(vae, x, 10, copies, seeded(3, "cpu")), whole)


def test_the_first_bias_makes_the_mean_image():
    means = torch.tensor([0.0, 0.25, 1.0])
    vae = PaperVAE("vae", 1, means)
    torch.testing.assert_close(vae.decoder[-1].bias.sigmoid(), torch.tensor([0.001, 0.25, 0.999]))


# --- schedule and budget ------------------------------------------------------------------------------------


def test_the_learning_rate_falls_after_1_and_3_and_9_passes():
    rates = [learning_rate(passes) for passes in range(paper_table.PASSES)]
    assert [rates.count(1e-3 * 10 ** (-i / 7)) for i in range(8)] == [3**i for i in range(8)]
    assert rates == sorted(rates, reverse=True)
    assert (paper_table.PASSES, rates[0], round(rates[-1], 10)) == (3280, 1e-3, 1e-4)


def fake_rows(costs):
    rows = [SimpleNamespace(name=str(c), cost=c, far=0, spent=0.0, saved=True, save=list) for c in costs]

    def step(row):
        row.far += 1
        row.spent += row.cost

    return rows, step


def test_a_budget_takes_all_rows_equally_far():
    rows, step = fake_rows([1, 2, 10])
    abreast(rows, step, "far", 1000, "spent", 100, Stop())
    assert [row.far for row in rows] == [8, 8, 8]  # 8 rounds of 13 s


def test_rows_that_are_behind_catch_up_first():
    rows, step = fake_rows([1, 2, 10])
    rows[0].far = 3
    abreast(rows, step, "far", 1000, "spent", 36, Stop())
    assert [row.far for row in rows] == [3, 3, 3]
    abreast(rows, step, "far", 1000, "spent", 37, Stop())
    assert [row.far for row in rows] == [4, 4, 4]


def test_without_a_budget_all_rows_reach_the_goal_and_not_more():
    rows, step = fake_rows([1, 2, 10])
    abreast(rows, step, "far", 5, "spent", math.inf, Stop())
    assert [row.far for row in rows] == [5, 5, 5]


# --- checkpoints --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae1", "iwae5"])
@pytest.mark.parametrize("slices", [2, 3, 4], ids=["in a pass", "where the rate changes", "after it"])
def test_resumed_training_equals_uninterrupted(images, tmp_path, name, slices):
    whole = Row(name, images, 0, tmp_path)
    for _ in range(6):
        whole.train(images.train)
    assert whole.seen == 200
    first = Row(name, images, 0, tmp_path)
    for _ in range(slices):
        first.train(images.train)
    first.save()
    second = Row(name, images, 0, tmp_path)
    second.resume()
    for _ in range(6 - slices):
        second.train(images.train)
    for a, b in zip(state(whole), state(second), strict=True):
        assert torch.equal(a, b)
    assert whole.optimizer.param_groups[0]["lr"] == second.optimizer.param_groups[0]["lr"] == learning_rate(1)


def test_a_pass_uses_every_image_once_in_a_new_order(images, tmp_path, monkeypatch):
    parts = []

    def record(_model, x, *_):
        parts.append(x)
        return {"loss": 1.0}

    monkeypatch.setattr(paper_table, "train_epoch", record)
    row = Row("vae1", images, 0, tmp_path)
    for _ in range(6):
        row.train(images.train)
    passes = [torch.cat(parts[:3]), torch.cat(parts[3:])]
    assert not torch.equal(*passes)
    for images_of_a_pass in passes:
        assert sorted(map(tuple, images_of_a_pass.tolist())) == sorted(map(tuple, images.train.tolist()))


def test_the_estimate_goes_on_where_it_stopped_and_more_training_ends_it(images, tmp_path, monkeypatch):
    test = binarize(images.test, seeded(0, "cpu"))
    row = Row("vae1", images, 0, tmp_path)
    row.train(images.train)
    row.evaluate(test)
    row.save()
    row.evaluate(test)
    again = Row("vae1", images, 0, tmp_path)
    again.resume()
    assert again.evaluated == 20
    again.evaluate(test)
    assert torch.equal(row.nll, again.nll) and again.evaluated == 30
    again.train(images.train)
    assert again.evaluated == again.nll_seconds == 0


def test_a_kill_during_writing_keeps_the_old_checkpoint(images, tmp_path, monkeypatch):
    row = Row("vae1", images, 0, tmp_path)
    row.train(images.train)
    row.save()
    row.train(images.train)
    save = torch.save

    def killed(content, file):
        save(content, file)
        file.truncate(file.tell() // 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        row.save()
    assert not row.saved
    again = Row("vae1", images, 0, tmp_path)
    again.resume()
    assert again.seen == 40
    monkeypatch.undo()
    row.save()  # what the kill left does not stand in the way
    again.resume()
    assert again.seen == 80


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "a bit", "another's"])
def test_a_damaged_checkpoint_is_named_and_kept(images, tmp_path, damage):
    row = Row("vae1", images, 0, tmp_path)
    row.save()
    raw = bytearray(row.path.read_bytes())
    middle = len(raw) // 2
    if damage == "a bit":
        raw[middle] ^= 1
    elif damage == "another's":
        torch.save([1, 2], row.path)
        raw = row.path.read_bytes()
    else:
        raw = {"cut": raw[:middle], "empty": b"", "text": b"not a checkpoint"}[damage]
    row.path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"vae1.pt is damaged \(.*\). Delete it") as error:
        row.resume()
    assert str(row.path) in str(error.value)
    assert row.path.read_bytes() == raw


def test_a_checkpoint_holds_tensors_and_plain_numbers_only(images, tmp_path):
    row = Row("vae1", images, 0, tmp_path)
    row.train(images.train)
    row.save()
    assert torch.load(row.path, weights_only=True)["settings"]["row"] == "vae1"
    assert [path.name for path in tmp_path.iterdir()] == ["vae1.pt"]


# --- the command --------------------------------------------------------------------------------------------


def test_it_trains_evaluates_and_prints_the_table(run, capsys, tmp_path):
    assert run("--budget", "inf", "--json") == 0
    out = capsys.readouterr().out
    for part in ("VAE = IWAE, k=1   86.76", "IWAE, k=5         85.54", "Not the paper's data", "4.00"):
        assert part in out
    assert "To go on" not in out
    assert (tmp_path / "results/paper_table_cpu.json").exists()
    written = {path: path.read_bytes() for path in tmp_path.glob("*.pt")}
    assert len(written) == 2
    assert run("--budget", "inf") == 0
    assert capsys.readouterr().out == out  # all is done, and all is remembered
    assert written == {path: path.read_bytes() for path in tmp_path.glob("*.pt")}


def test_a_budget_ends_it_early_and_a_larger_one_goes_on(run, capsys):
    assert run("--budget", "1e-9") == 0
    out = capsys.readouterr().out
    assert "cut short" in out and "To go on: the same command with a larger budget" in out
    assert run("--budget", "inf") == 0
    assert "To go on" not in capsys.readouterr().out


def test_other_settings_are_refused_and_nothing_is_overwritten(run, capsys, tmp_path):
    assert run("--budget", "inf") == 0
    written = {path: path.read_bytes() for path in tmp_path.glob("*.pt")}
    (tmp_path / "vae1.pt").unlink()  # a fresh row does not start before all are looked at
    with pytest.raises(SystemExit) as error:
        run("--budget", "inf", "--seed", "1")
    assert error.value.code == 1
    message = capsys.readouterr().err
    assert "iwae5.pt was made with" in message and "Name another --folder" in message
    del written[tmp_path / "vae1.pt"]
    assert written == {path: path.read_bytes() for path in tmp_path.glob("*.pt")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(run, images, tmp_path, capsys, monkeypatch, number):
    epoch, calls = paper_table.train_epoch, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(number)
        return epoch(*arguments)

    before = signal.getsignal(number)
    monkeypatch.setattr(paper_table, "train_epoch", interrupted)
    assert run("--budget", "inf") == 130
    assert signal.getsignal(number) is before
    assert "The same command goes on" in capsys.readouterr().out
    rows = [Row(name, images, 0, tmp_path) for name in ("vae1", "iwae5")]
    for row in rows:
        row.resume()
    assert [row.seen for row in rows] == [80, 40]


def test_a_loss_that_is_not_finite_is_not_saved(run, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(paper_table, "train_epoch", lambda *_: {"loss": math.nan})
    with pytest.raises(SystemExit):
        run("--budget", "inf")
    assert "vae1: the loss became nan" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "0"], "--budget must be above 0 minutes; got 0"),
        (["--budget", "-1"], "--budget must be above 0 minutes; got -1"),
        (["--budget", "nan"], "--budget must be above 0 minutes; got nan"),
        (["--seed", "-1"], "--seed must be 0 or more; got -1"),
        (["--test-images", "0"], "--test-images must be from 2 to 30"),
        (["--test-images", "31"], "--test-images must be from 2 to 30"),
        (["--data", "letters"], "invalid choice: 'letters'"),
        (["--rows", "vae2"], "invalid choice: 'vae2'"),
    ],
)
def test_bad_arguments_are_refused(run, capsys, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as error:
        main([*arguments, "--folder", str(tmp_path)])
    assert error.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_mnist_it_goes_on_with_the_digits_that_need_no_network(run, images, monkeypatch, capsys):
    def load(name, device):
        if name == "mnist":
            raise paper_table.DataError("mnist is missing")
        return images

    monkeypatch.setattr(paper_table, "load", load)
    assert run("--budget", "0.01", "--test-images", "2") == 0
    said = capsys.readouterr()
    assert "mnist is missing" in said.err
    assert "Not the paper's data: mnist5k." in said.out
    with pytest.raises(SystemExit):
        run("--data", "mnist")
