"""Checks name the mistake that was made, accept right answers, and outlive whatever an answer does.

The answers are those of the gallery, in the folder beside this file.
"""

import importlib
import math
import pkgutil
import random
import re
import sys
import threading
import time

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from gallery import PREDICTED, RIGHT, WRONG
from gallery.core import seeded_draw
from vaebook import book, checks
from vaebook.checks import (
    autoencoders,
    base,
    bayes,
    codes,
    draws,
    evidence,
    formulas,
    gap,
    gradients,
    regions,
)

RIGHT_ANSWERS = [pytest.param(n, f, id=f"{n}-{i}") for n, fs in RIGHT.items() for i, f in enumerate(fs)]
WRONG_ANSWERS = [pytest.param(n, f, t, id=f"{n}-{t}") for n, fs in WRONG.items() for f, t in fs]


def mistake(name: str, answer) -> checks.Mistake:
    with pytest.raises(checks.Mistake) as caught:
        getattr(checks, name)(answer)
    return caught.value


@pytest.mark.parametrize("name, answer", RIGHT_ANSWERS)
def test_right_answers_pass(name, answer):
    report = getattr(checks, name)(answer)
    assert repr(report).startswith(f"✓ {name}: ")


@pytest.mark.parametrize("name, answer, diagnosis", WRONG_ANSWERS)
def test_wrong_answers_get_their_diagnosis(name, answer, diagnosis):
    found = mistake(name, answer)
    assert diagnosis in str(found)
    assert found.read.startswith("chapter ")


def test_the_gallery_is_large():
    assert len(WRONG_ANSWERS) >= 60 and len(RIGHT_ANSWERS) >= 25
    assert set(RIGHT) == set(WRONG)
    assert set(RIGHT) | set(PREDICTED) == set(checks.__all__) - {"Mistake", "Report", "Surprise"}


@pytest.mark.parametrize("name", PREDICTED)
def test_predictions(name):
    check = getattr(checks, name)
    assert {letter for letter, _, _ in PREDICTED[name]} == set(check.options), "one case for each option"
    for letter, measured, text in PREDICTED[name]:
        assert text in repr(check(letter, *measured))
        with pytest.raises(checks.Mistake, match="choose one of the letters"):
            check(None, *measured)
        with pytest.raises(checks.Mistake, match="none of the options came true"):
            check(letter, *(math.nan for _ in measured))
        with pytest.raises(checks.Mistake, match="must be numbers"):
            check(letter, *("x" for _ in measured))
        with pytest.raises(checks.Mistake, match="takes the prediction, and then"):
            check(letter)


def test_an_unanswered_task_says_what_to_do():
    def stub(mu, log_var):
        raise NotImplementedError(base.STUB)

    assert "not answered yet: write your answer" in mistake("kl_to_standard_normal", stub).mark


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_are_not_alarmed_by_chance(name):
    for _ in range(30):
        getattr(checks, name)(RIGHT[name][0])


@pytest.mark.parametrize(
    "name, marks",
    [
        ("kl_to_standard_normal", formulas.KL_MARKS),
        ("bernoulli_log_likelihood", formulas.BERNOULLI_MARKS),
        ("gaussian_log_likelihood", formulas.GAUSSIAN_MARKS),
        ("log_mean_exp", formulas.LOG_MEAN_MARKS),
        ("score_function", draws.SCORE_MARKS),
        ("squared_error", autoencoders.ERROR_MARKS),
        ("psnr", autoencoders.PSNR_MARKS),
        ("pca_reconstruct", autoencoders.PCA_MARKS),
        ("pca_error", autoencoders.PCA_ERROR_MARKS),
        ("knn_accuracy", codes.KNN_MARKS),
        ("log_density_after", codes.MOVED_MARKS),
        ("covariance_of_regions", regions.COVARIANCE_MARKS),
        ("table_log_evidence", bayes.EVIDENCE_MARKS),
        ("table_log_posterior", bayes.POSTERIOR_MARKS),
        ("log_posterior_ratio", bayes.RATIO_MARKS),
        ("grid_log_evidence", evidence.GRID_MARKS),
        ("effective_sample_size", evidence.ESS_MARKS),
        ("elbo_by_enumeration", gap.ELBO_MARKS),
        ("gap_by_enumeration", gap.GAP_MARKS),
        ("exact_gradient", gradients.EXACT_MARKS),
        ("leave_one_out", gradients.OTHERS_MARKS),
        ("reparameterized", gradients.THROUGH_MARKS),
    ],
)
def test_every_mark_is_told_from_all_others(name, marks):
    for mark in marks:
        assert mark.text in mistake(name, mark.makes).mark


@pytest.mark.parametrize("scale", [1.0, 1.1, 1.5])
def test_the_p_value_is_that_of_scipy(scale):
    values = scale * np.random.default_rng(0).normal(size=1000)
    expected = stats.kstest(values, "norm", method="asymp").pvalue
    assert base.p_normal(values) == pytest.approx(expected, rel=1e-6)
    assert base.p_uniform(stats.norm.cdf(values)) == pytest.approx(expected, rel=1e-6)


def test_the_places_to_read_exist():
    headings = {
        chapter.number: set(re.findall(r"^#+ (.*)$", chapter.path.with_suffix(".md").read_text(), re.M))
        for chapter in book.chapters()
    }
    modules = [
        importlib.import_module(f"vaebook.checks.{found.name}")
        for found in pkgutil.iter_modules(checks.__path__)
    ]
    places = {v for module in modules for v in vars(module).values() if isinstance(v, str)}
    places = [place for place in places if place.startswith("chapter ")]
    assert len(places) > 10
    for place in places:
        number, heading = re.fullmatch(r'chapter (\S+), "(.*)"', place).groups()
        assert heading in headings[number]


# --- hostile answers ----------------------------------------------------------------------------------------


def looping(mu, log_var):
    while True:
        pass


def stubborn(mu, log_var):
    while True:
        try:  # noqa: SIM105
            sum(range(9))
        except:  # noqa: E722
            pass


def recursive(mu, log_var):
    return recursive(mu, log_var)


def in_place(mu, log_var):
    kl = formulas.kl(mu, log_var)
    mu.detach().mul_(0)
    return kl


def unset(mu, log_var):
    kl += formulas.kl(mu, log_var)  # noqa: F821, F841
    return kl


def noisy_broken(mu, log_var):
    print("secret")
    raise KeyError("nothing here")


HOSTILE = [
    (looping, "a loop without end"),
    (stubborn, "a loop without end"),
    (lambda mu, log_var: time.sleep(60), "a loop without end"),
    (recursive, "calls itself without end"),
    (lambda mu, log_var: sys.exit(), "tried to end Python"),
    (lambda mu, log_var: quit(), "tried to end Python"),
    (noisy_broken, "KeyError: 'nothing here', at `raise KeyError(\"nothing here\")`; on mu ("),
    (in_place, "mu is changed in place"),
    (lambda mu, log_var: 0 * mu if mu > 0 else mu, "an if asks one question"),
    (unset, "a name is used before it is set"),
    (lambda mu, log_var: unset, "returned a function"),
    (lambda mu, log_var: None, "no return"),
    (lambda mu, log_var: formulas.kl(mu, log_var).numpy(), "leaves PyTorch"),
    (lambda mu, log_var: 3.0, "no tensor"),
    (lambda mu, log_var: (formulas.kl(mu, log_var),) * 2, "more than the result"),
    (lambda mu, log_var: "seven", "no tensor"),
    (lambda mu, log_var: formulas.kl(mu, log_var).long(), "real numbers"),
    (lambda mu, log_var: torch.full((len(mu),), math.nan), "not finite"),
    (lambda mu, log_var: torch.full((len(mu),), math.inf), "not finite"),
    (lambda mu: mu, "raised TypeError"),
    (lambda: 1, "raised TypeError"),
    (formulas.kl(torch.ones(2, 3), torch.ones(2, 3)), "without parentheses"),
    (None, "without parentheses"),
    (lambda mu, log_var: (yield mu), "no tensor"),
    (lambda mu, log_var: formulas.kl(mu, log_var).to_sparse(), "of a kind that no check expects"),
]


@pytest.fixture
def hurry(monkeypatch):
    monkeypatch.setattr(base, "SECONDS", 0.3)


@pytest.mark.parametrize("answer, diagnosis", HOSTILE)
def test_hostile_answers_get_a_diagnosis(answer, diagnosis, hurry, capfd):
    start = time.monotonic()
    assert diagnosis in str(mistake("kl_to_standard_normal", answer))
    assert time.monotonic() - start < 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(
    "broken", [lambda *a: None, lambda *a: torch.tensor(math.nan), lambda *a: a, 7, nn.Linear]
)
def test_every_check_outlives_broken_answers(name, broken):
    found = mistake(name, broken)
    assert found.check == name and found.seen and found.mark and found.read


def test_a_loop_is_stopped_in_another_thread_too(hurry):
    found = []
    thread = threading.Thread(target=lambda: found.append(mistake("kl_to_standard_normal", looping)))
    thread.start()
    thread.join(5)
    assert "a loop without end" in str(found[0])


def test_the_stop_button_is_no_answer():
    def stopped(mu, log_var):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checks.kl_to_standard_normal(stopped)


def test_an_import_inside_an_answer_is_no_loop(hurry, tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time\nfor _ in range(60): time.sleep(0.01)\n")
    monkeypatch.syspath_prepend(tmp_path)

    def imports(mu, log_var):
        import slow_to_import  # noqa: F401

        return formulas.kl(mu, log_var)

    checks.kl_to_standard_normal(imports)


def test_right_answers_may_print_and_seed(capsys):
    def loud(mu, log_var):
        print("mu is", mu)
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        torch.set_default_dtype(torch.float64)
        return formulas.kl(mu, log_var)

    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    checks.kl_to_standard_normal(loud)
    mistake("reparameterize", seeded_draw)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2] == random.getstate()
    assert torch.get_default_dtype() == torch.float32
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", RIGHT)
def test_checks_leave_global_randomness_and_gradients_alone(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with torch.no_grad():
        getattr(checks, name)(RIGHT[name][0])
        assert not torch.is_grad_enabled()
    assert torch.equal(before, torch.get_rng_state())


def test_inputs_are_fresh_at_each_call():
    seen = []

    def remembers(mu, log_var):
        seen.append(mu.sum().item())
        return formulas.kl(mu, log_var)

    torch.manual_seed(0)
    checks.kl_to_standard_normal(remembers)
    first = set(seen)
    seen.clear()
    torch.manual_seed(0)
    checks.kl_to_standard_normal(remembers)
    assert not first & set(seen)


def test_a_mistake_shows_no_inside():
    found = mistake("kl_to_standard_normal", noisy_broken)
    assert found.__cause__ is None and found.__suppress_context__
    assert found._render_traceback_() == [str(found)]
    assert isinstance(found, AssertionError)
    assert str(found).splitlines()[0] == "kl_to_standard_normal: not yet."


@pytest.mark.parametrize("name", [n for n in RIGHT if n not in ("train_step", "sample_prior")])
def test_a_device_may_be_named(name):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    getattr(checks, name)(RIGHT[name][0], device=device)
