"""The site as it is built: complete, correct in itself, light, and free of solutions."""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
import pytest

from chapters import each_chapter, each_sheet, read
from tools import course
from vaebook import book

pytest.importorskip("sphinx", reason="the site is built by Sphinx")

MEGABYTE = 2**20
LIMIT = 3 * MEGABYTE
RESOURCES = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("link", "href")}
SECRET = re.compile("BEGIN SOLUTION|BEGIN HIDDEN|END SOLUTION")


@dataclass
class Page(HTMLParser):
    """What the tests need to know of a page."""

    markup: str
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    images: list[dict] = field(default_factory=list)
    text: str = ""

    def __post_init__(self):
        super().__init__()
        self.feed(self.markup)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        for name, attribute in RESOURCES:
            if tag == name and found.get(attribute) and found.get("rel") not in ("next", "prev", "search"):
                self.resources.append(found[attribute])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(found)

    def handle_data(self, data):
        self.text += data


def outside(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme != "data" and bool(parts.scheme or parts.netloc)


def problems(page: Page) -> list[str]:
    """What is wrong with a page by itself."""
    found = [f"asks another host for {address}" for address in page.resources if outside(address)]
    found += [f"the style sheet asks for {url}" for url in re.findall(r"url\((https?:[^)]*)", page.markup)]
    if page.headings.count(1) != 1:
        found.append(f"has {page.headings.count(1)} h1")
    steps = zip([0, *page.headings], page.headings, strict=False)
    found += [f"has an h{after} below an h{before}" for before, after in steps if after > before + 1]
    for image in page.images:
        if image.get("alt") is None or (not image["alt"].strip() and "_images/" in image["src"]):
            found.append(f"has an image without alt text, {image['src']}")
        if "_images/" in image["src"] and not (image.get("width") and image.get("height")):
            found.append(f"does not say how large {image['src']} is")
    found += [f"has the id {name} twice" for name in sorted({i for i in page.ids if page.ids.count(i) > 1})]
    if re.search("merror|Math input error", page.markup):
        found.append("has a formula with an error")
    return found


def test_problems_are_found():
    page = Page(
        '<h1 id="a"></h1><h3 id="a"></h3><h1></h1><img src="_images/x.png"><script src="//cdn/x.js"></script>'
    )
    text = "; ".join(problems(page))
    for part in ("another host", "2 h1", "h3 below an h1", "alt text", "how large", "id a twice"):
        assert part in text
    assert not problems(
        Page('<h1 id="a"></h1><h2></h2><img src="_images/x.png" alt="x" width="1" height="1">')
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "html"
    done = subprocess.run(
        [sys.executable, "-m", "tools.site", folder], cwd=book.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return folder


@cache
def parsed(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def pages(site: Path) -> dict[str, Page]:
    """The pages by their address."""
    files = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    return {path.relative_to(site).as_posix(): parsed(path) for path in files}


def test_every_page_is_sound(site):
    found = {name: wrong for name, page in pages(site).items() if (wrong := problems(page))}
    assert not found


def test_every_link_leads_somewhere(site):
    every, broken = pages(site), []
    for name, page in every.items():
        for address in [*page.links, *page.resources]:
            if outside(address) or address.startswith(("data:", "javascript:")):
                continue
            target = urlsplit(urljoin(name, address))
            path, anchor = unquote(target.path), unquote(target.fragment)
            if not (site / path).is_file():
                broken.append(f"{name}: {address}")
            elif anchor and anchor not in every[path].ids:
                broken.append(f"{name}: {address} (no such anchor)")
    assert not broken


def test_style_sheets_ask_no_other_host(site):
    for path in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", path.read_text("utf-8")), path


@each_chapter
def test_a_chapter_is_whole(site, chapter):
    page = pages(site)[f"notebooks/{chapter.stem}.html"]
    source = "\n".join(cell.source for cell in read(chapter.path).cells if cell.cell_type == "markdown")
    for tag in re.findall(r"\\tag\{([^}]*)\}", source):
        assert f"eq-{tag}" in page.ids and f"({tag})" in page.text
    figures = sum(
        "image/png" in o.get("data", {}) for c in read(chapter.path).cells for o in c.get("outputs", ())
    )
    assert sum("_images/" in image["src"] for image in page.images) == figures
    assert "$$" not in page.text and chapter.path.name in page.links
    assert (site / "notebooks" / chapter.path.name).read_bytes() == chapter.path.read_bytes()


def test_the_home_page_opens_with_an_explorer_and_a_still_for_paper(site):
    home = pages(site)["index.html"]
    assert home.markup.count("<div class='vaebook-live'>") == 1
    assert home.markup.index("vaebook-live") < home.markup.index('id="the-chapters"')
    [still] = [image for image in home.images if "_images/" in image["src"]]
    assert home.markup.index(still["src"]) < home.markup.index("vaebook-live")
    assert "explorer.still(" not in home.text


@each_chapter
def test_each_claim_has_its_figure_and_a_link_to_its_cell(site, chapter):
    claims = (site / "claims.html").read_text(encoding="utf-8")
    there = f"notebooks/{chapter.stem}.html"
    for claim in chapter.claims:
        found = re.search(
            rf'<div class="claim" id="c-{re.escape(claim)}">.*?(?=<div class="claim"|</section>)',
            claims,
            re.S,
        )
        assert re.search(r"<pre>[^<]*\d", found[0]), f"claim {claim} has no figure"
        assert ":</pre>" not in found[0], f"claim {claim} announces figures that are not there"
        anchors = re.findall(rf'href="{re.escape(there)}#([^"]*)"', found[0])
        assert anchors and set(anchors) <= set(pages(site)[there].ids)


@each_sheet
def test_a_sheet_has_no_solutions(site, chapter):
    solved, handed_out = course.source(chapter), course.unsolved(course.source(chapter))
    kept = "\n".join(cell.source for cell in handed_out.cells)
    solutions = [
        line.strip()
        for cell in solved.cells
        for line in cell.source.splitlines()
        if line.strip() not in kept and len(line.strip()) > 8
    ]
    assert solutions
    file = site / "notebooks" / "exercises" / chapter.path.name
    download = "\n".join(cell.source for cell in nbformat.read(file, as_version=4).cells)
    shown = parsed(file.with_suffix(".html")).text
    assert not [line for line in solutions if line in download or line in shown]
    assert "NotImplementedError" in download and "NotImplementedError" in shown


def test_no_file_has_solutions(site):
    for path in site.rglob("*"):
        if path.suffix in {".html", ".ipynb", ".js", ".txt"}:
            assert not SECRET.search(path.read_text(encoding="utf-8")), path


def test_pages_are_light(site):
    """A page with all that it loads: images, style sheets, scripts, and the fonts that these may load."""
    fonts = sum(path.stat().st_size for path in [*site.rglob("*.woff"), *site.rglob("fa-solid*.woff2")])
    for name, page in pages(site).items():
        loaded = {
            unquote(urlsplit(urljoin(name, a)).path) for a in page.resources if not a.startswith("data:")
        }
        weight = len(page.markup.encode()) + fonts + sum((site / path).stat().st_size for path in loaded)
        print(f"{weight / MEGABYTE:5.2f} MB  {name}")
        assert weight < LIMIT, name
