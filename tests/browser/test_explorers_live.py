"""Explorers without a kernel: keyboard and pointer move them, fast, and they compute what torch does."""

import json
import random

import pytest
import test_explorers
import test_explorers_frontier as frontier
import test_explorers_gap as gap
import test_explorers_posterior as posterior
import torch

from built_site import SITE, pages
from vaebook import explorers
from vaebook.exact import Curve
from vaebook.explorers.controls import Slider
from vaebook.explorers.page import static_html
from vaebook.models import VAE, BetaVAE

WITH_EXPLORER = [name for name in pages() if "vaebook-live" in (SITE / name).read_text("utf-8")]
each_page = pytest.mark.parametrize("name", WITH_EXPLORER)
ROOT = ".vaebook-explorer"
STATE = f"JSON.stringify(document.querySelector('{ROOT}').explorer.state())"
FAST = 16  # milliseconds
TOLERANCE = 1e-4


def test_most_explorers_are_live():
    assert len(WITH_EXPLORER) >= 7 and "index.html" in WITH_EXPLORER


@pytest.fixture
def live(opened):
    """Opens a page and waits until its explorer has drawn itself."""

    def open_live(name: str, **options):
        watched = opened(name, **options)
        watched.page.locator(f"{ROOT} [data-control]").first.wait_for()
        watched.page.locator(ROOT).scroll_into_view_if_needed()
        watched.page.wait_for_function(f"document.querySelector('{ROOT}').explorer")
        return watched

    return open_live


def picture(page) -> bytes:
    return page.locator(f"{ROOT} .picture").screenshot()


@each_page
def test_the_keyboard_moves_every_control(live, name):
    watched = live(name)
    page = watched.page
    for control in page.locator(f"{ROOT} [data-control]").all():
        assert control.evaluate("(input) => input.labels[0].textContent.trim()")
        before, state = picture(page), page.evaluate(STATE)
        control.focus()
        changed = False
        for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):  # it may stand at an end
            page.keyboard.press(key)
            if changed := page.evaluate(STATE) != state:
                break
        assert changed, control.get_attribute("data-control")
        assert picture(page) != before
    assert not watched.complaints


@each_page
def test_the_pointer_moves_a_control(live, name):
    page = live(name, width=390).page
    control = page.locator(f"{ROOT} input[type=range]").first
    box, state = control.bounding_box(), page.evaluate(STATE)
    before = picture(page)
    control.scroll_into_view_if_needed()
    box = control.bounding_box()
    for share in (0.85, 0.15):
        page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        if page.evaluate(STATE) != state:
            break
    assert page.evaluate(STATE) != state
    assert picture(page) != before


CODE = "document.querySelector('.vaebook-explorer').explorer.state().point.flat()"


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1400, 900)])
def test_a_visitor_drags_the_dot_of_the_home_page_and_sees_another_digit(live, width, height):
    watched = live("index.html", width=width, height=height, reduced_motion="reduce")
    page = watched.page
    page.evaluate("scrollTo(0, 0)")
    picture_box = page.locator(f"{ROOT} .picture").bounding_box()
    assert picture_box["y"] < height, "it is not on the first screen"
    assert page.evaluate("document.getAnimations().length") == 0
    digit = page.locator(f"{ROOT} canvas").first
    before, code = digit.screenshot(), page.evaluate(CODE)
    handle = page.locator(f"{ROOT} .handle")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 10, steps=4)
    page.mouse.up()
    after = page.evaluate(CODE)
    assert after[0] < code[0] - 0.5 and after[1] > code[1]
    assert digit.screenshot() != before
    assert not watched.complaints


def test_the_home_page_shows_its_still_figure_only_where_no_script_draws(live, opened):
    page = live("index.html").page
    still, explorer = page.locator(".tag_still img"), page.locator(ROOT)
    assert explorer.is_visible() and not still.is_visible()
    page.emulate_media(media="print")
    assert still.is_visible() and not explorer.is_visible()
    without = opened("index.html", java_script_enabled=False).page
    assert without.locator(".tag_still img").is_visible()


@each_page
def test_a_move_is_fast(live, name):
    page = live(name).page
    milliseconds = page.evaluate(
        """() => {
          const input = document.querySelector('.vaebook-explorer input[type=range]');
          const moves = [];
          for (let i = 0; i < 100; i++) {
            input.value = i % 2 ? input.min : input.max;
            const start = performance.now();
            input.dispatchEvent(new Event('input', { bubbles: true }));
            moves.push(performance.now() - start);
          }
          return moves.sort((a, b) => a - b)[25]; // what the page needs, and not what a busy machine adds
        }"""
    )
    print(f"{name}: {milliseconds:.1f} ms a move")
    assert milliseconds < FAST


# --- the numbers ---


def built() -> dict[str, explorers.Explorer]:
    """An explorer of each kind, on random networks of the book's size."""
    torch.manual_seed(7)
    world = test_explorers.World()
    codes, labels = 2 * torch.randn(30, 2), torch.arange(30) % 10
    vae, x = VAE(784, 2), torch.bernoulli(torch.full((20, 784), 0.5))
    curve = Curve()
    samples = curve.sample(50, torch.Generator().manual_seed(0))[1]
    models = {beta: BetaVAE(784, 3, (16,), beta=beta) for beta in frontier.BETAS}
    made = {
        "beta": explorers.beta_explorer(models, x),
        "draws": explorers.draws_explorer(),
        "estimator": explorers.estimator_explorer(),
        "gap": explorers.gap_explorer(curve, gap.POINTS),
        "posterior": explorers.posterior_explorer(curve, posterior.q, samples),
        "reparameterization": explorers.reparameterization_explorer(vae.decoder, codes, labels),
    }
    return {**world.explorers, **made}


def differences(mine, theirs, where: str = "") -> list[tuple[float, str]]:
    """How far numbers are apart, relative to large ones; words must be equal but for a last digit."""
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        return [d for key in theirs for d in differences(mine[key], theirs[key], f"{where}.{key}")]
    if isinstance(theirs, list):
        assert len(mine) == len(theirs), where
        return [d for a, b in zip(mine, theirs, strict=True) for d in differences(a, b, where)]
    if isinstance(theirs, str):
        return [(0.0 if _alike(mine, theirs) else float("inf"), f"{where}: {mine!r}, {theirs!r}")]
    return [(abs(mine - theirs) / max(1.0, abs(theirs)), f"{where}: {mine}, {theirs}")]


def _alike(one: str, other: str) -> bool:
    """Whether two texts say the same, up to a unit in the last digit of a number, as rounding has it."""
    words, others = one.split(), other.split()
    return len(words) == len(others) and all(map(_same_word, words, others))


def _same_word(one: str, other: str) -> bool:
    if one == other:
        return True
    one, other = one.strip(",;"), other.strip(",;")
    try:
        digits = len(other.partition(".")[2])
        return abs(float(one) - float(other)) < 1.001 * 10.0**-digits
    except ValueError:
        return False


@pytest.mark.parametrize("name", [
    "code_size_and_noise", "code_plane", "latent_plane", "beta", "draws", "estimator", "gap", "posterior",
    "reparameterization",
])  # fmt: skip
def test_the_browser_finds_what_torch_finds(chromium, tmp_path, name, made):
    explorer = made[name]
    (tmp_path / "page.html").write_text(
        f"<!DOCTYPE html><meta charset='utf-8'>{static_html(test_explorers.saved(explorer))}", "utf-8"
    )
    page = chromium.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function(f"document.querySelector('{ROOT}')?.explorer")
    pick = random.Random(0)
    worst = (0.0, "")
    for _ in range(20):
        values = {
            key: pick.choice(control.values if isinstance(control, Slider) else list(control.options))
            for key, control in explorer.controls.items()
        }
        values = {key: round(v, 9) if isinstance(v, float) else v for key, v in values.items()}
        expected = json.loads(json.dumps(explorer.state(**values)))
        page.evaluate(f"(values) => document.querySelector('{ROOT}').explorer.set(values)", values)
        worst = max(worst, *differences(json.loads(page.evaluate(STATE)), expected))
    page.close()
    print(f"{name}: largest difference {worst[0]:.1e}{worst[1]}")
    assert worst[0] < TOLERANCE, worst[1]


@pytest.fixture(scope="module")
def made():
    return built()


def test_a_wrong_number_would_be_seen():
    assert max(differences({"a": [1.0, 2.0]}, {"a": [1.0, 2.001]}))[0] > TOLERANCE
    assert max(differences({"t": "KL 0.31 nats"}, {"t": "KL 0.33 nats"}))[0] > TOLERANCE
