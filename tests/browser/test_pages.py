"""Every page of the site, as a reader's browser shows it from the disk, without a network."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from built_site import pages
from vaebook import book

PAGES = pages()
CHAPTERS = [f"notebooks/{chapter.stem}.html" for chapter in book.chapters()]
WIDTHS = (390, 820, 1400)
each_page = pytest.mark.parametrize("name", PAGES)
each_chapter = pytest.mark.parametrize("name", CHAPTERS)
# axe compares the colours of every piece of a page, which takes a minute where there are thousands. Formulas
# have no colours of their own, and of each kind of word in code three are enough.
FEWER_PIECES = """
for (const glyphs of document.querySelectorAll('mjx-math')) glyphs.remove();
const seen = {};
for (const word of document.querySelectorAll('pre span[class]')) {
  seen[word.className] = (seen[word.className] ?? 0) + 1;
  if (seen[word.className] > 3) word.replaceWith(...word.childNodes);
}
"""
# Without a network and from the disk axe cannot fetch style sheets once more, and need not.
AXE = {"preload": False, "resultTypes": ["violations"]}
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_every_chapter_has_its_page():
    assert set(CHAPTERS) <= set(PAGES)
    assert len(PAGES) > len(CHAPTERS) + 5


@each_page
@pytest.mark.parametrize(
    ("scheme", "width"), [("light", WIDTHS[2]), ("dark", WIDTHS[2]), ("dark", WIDTHS[0])]
)
def test_it_opens_without_complaints_and_is_accessible(opened, name, scheme, width):
    watched = opened(name, width=width, color_scheme=scheme)
    page = watched.page
    assert page.locator("h1").first.is_visible()
    assert not watched.complaints
    page.evaluate(FEWER_PIECES)
    found = Axe().run(page, options=AXE).response["violations"]
    serious = [
        f"{rule['id']}: {rule['nodes'][0]['html'][:120]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert not serious


@each_page
def test_no_page_scrolls_sideways(opened, name):
    page = opened(name, width=WIDTHS[0]).page
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(SIDEWAYS) <= 0, f"at {width} pixels"


@each_chapter
def test_formulas_and_figures_are_there(opened, name):
    page = opened(name).page
    formulas = page.locator("mjx-container")
    assert formulas.count() > 3
    box = formulas.first.bounding_box()
    assert box["width"] > 2 and box["height"] > 5
    assert not page.locator("mjx-merror, [data-mjx-error]").count()
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    broken = "[...document.images].filter((image) => !image.naturalWidth).map((image) => image.src)"
    assert page.evaluate(broken) == []


def test_a_numbered_equation_has_a_link(opened):
    page = opened("notebooks/4_3_elbo_in_detail.html#eq-4.3.7").page
    equation = page.locator("[id='eq-4.3.7']")
    equation.wait_for()
    top = equation.bounding_box()["y"]
    assert 0 <= top < 900, "the page was scrolled to the equation"
    assert equation.locator("a[href='#eq-4.3.7']").count() or page.locator("a[href='#eq-4.3.7']").count()


@pytest.mark.parametrize(("word", "chapter"), [("reparameterization", "4_5"), ("importance", "4_1")])
def test_search_finds(opened, word, chapter):
    watched = opened(f"search.html?q={word}")
    # Results appear one after the other.
    watched.page.locator(f"#search-results li a[href*='notebooks/{chapter}_']").first.wait_for()
    assert not [text for text in watched.complaints if "script error" in text]


def test_dark_mode_can_be_chosen_and_figures_stay_light(opened):
    page = opened(CHAPTERS[2], color_scheme="dark").page
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    figure = page.locator("img[src*='_images/']").first
    channels = figure.evaluate(
        "(image) => getComputedStyle(image).backgroundColor.match(/[\\d.]+/g).map(Number)"
    )
    assert min(channels[:3]) > 200, "a dark figure on a dark page"
