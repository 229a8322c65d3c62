"""Chapters keep the form that STYLE asks for: small cells, plain Markdown, numbers that cells print."""

import ast
import re
from statistics import median

import pytest

from chapters import code_cells, each_chapter, each_notebook, parse, printed, prose, read, tags
from vaebook import book

MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)
INLINE_CODE = re.compile(r"(`+).+?\1", re.S)
LINK = re.compile(r"\]\([^)]*\)|<https?://[^>]*>|https?://\S+")
TAG = re.compile(r"\\tag\{([^}]+)\}")
REFERENCE = re.compile(
    r"\barXiv:\s*\d{4}\.\d{4,5}\b|\b(?:chapter|section|claim|figure|equation|version|python|pytorch)s?\s+\**\d[\d.]*\d\b"
    r"(?:\**(?:\s*[,–-]\s*|\s+(?:and|or|to)\s+)\**\d[\d.]*\d\b)*",
    re.I,
)
UNIT = r"(?!\s*(?:nats?|bits?|bytes?|pixels?|seconds?|times|dB|MB|s|%)(?!\w))"
NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*\.\d+(?![\w.]*\d)\s*%?")
PRINTED = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?", re.I)

# JupyterLab shows MyST's own syntax raw, and code belongs in cells.
FENCE_OR_ROLE = re.compile(r"^\s*(?:```|~~~|:::)|(?<![`\w])\{[\w:-]+\}`", re.M)
LABEL_OR_HTML = re.compile(
    r"^\([\w:-]+\)=\s*$|<(?!/?(?:details|summary)\s*>|https?://)[a-zA-Z/!][^<>]*>", re.M
)


def plain(text: str) -> str:
    """Markdown without its formulas and inline code."""
    return INLINE_CODE.sub(" ", MATH.sub(" ", text))


def forbidden(text: str) -> list[str]:
    """What a Markdown cell holds that some reader would see raw: fences, MyST syntax, HTML."""
    # Taking out inline code would take fences and roles along.
    return FENCE_OR_ROLE.findall(MATH.sub(" ", text)) + LABEL_OR_HTML.findall(plain(text))


def unprinted(text: str, outputs: str, chapters: tuple[str, ...] = ()) -> list[str]:
    """The decimal numbers of a Markdown text that agree with no number of `outputs`.

    A number agrees when the printed one, rounded to the digits that the text gives, is the same; a percentage
    also agrees with a printed share. Signs are not compared: "falls by 0.3" may quote a printed -0.3.
    """
    text = REFERENCE.sub(" ", LINK.sub("]", plain(text)))
    for number in chapters:
        text = re.sub(rf"(?<![\w.]){re.escape(number)}(?![\d.]*\d){UNIT}", " ", text)
    values = [float(found.replace(",", "")) for found in PRINTED.findall(outputs)]

    def agrees(quoted: str) -> bool:
        digits = quoted.rstrip("% ").replace(",", "")
        tolerance = 0.5001 * 10.0 ** -len(digits.partition(".")[2])
        scales = (1, 100) if quoted.endswith("%") else (1,)
        return any(abs(value * scale - float(digits)) <= tolerance for value in values for scale in scales)

    return [quoted.strip() for quoted in NUMBER.findall(text) if not agrees(quoted.strip())]


def headings(texts: list[str]) -> list[int]:
    """The levels of the headings, in order."""
    return [len(marks) for text in texts for marks in re.findall(r"^(#{1,6})\s", MATH.sub(" ", text), re.M)]


def in_order(levels: list[int]) -> bool:
    """One title, at the start, and no level that is skipped on the way down."""
    return levels[:1] == [1] and all(
        1 < level <= before + 1 for before, level in zip(levels, levels[1:], strict=False)
    )


@each_chapter
def test_code_cells_are_small(chapter):
    lengths = [len(cell.source.strip().splitlines()) for cell in code_cells(chapter)]
    for cell, length in zip(code_cells(chapter), lengths, strict=True):
        assert length <= (
            59 if "one-page" in tags(cell) else 40
        )  # a whole model is one cell, once in the book
    assert median(lengths) < 15


@each_chapter
def test_a_chapter_is_of_a_size(chapter):
    assert 25 <= len(read(chapter.path).cells) <= 60
    words = re.findall(r"[^\W\d_]\w*", " ".join(MATH.sub(" ", text) for text in prose(chapter)))
    assert 1200 <= len(words) <= 3000


@each_notebook
def test_markdown_reads_the_same_everywhere(chapter):
    for text in prose(chapter):
        assert not forbidden(text)


@each_notebook
def test_no_star_imports(chapter):
    for cell in code_cells(chapter):
        for node in ast.walk(parse(cell.source)):
            assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"), ast.unparse(node)


@each_chapter
def test_quoted_numbers_are_printed(chapter):
    outputs = "\n".join(printed(cell) for cell in code_cells(chapter))
    numbers = tuple(entry.number for entry in (*book.chapters(), *book.forthcoming()) if "." in entry.number)
    equations = [tag for every in book.chapters() for text in prose(every) for tag in TAG.findall(text)]
    reference = re.compile("|".join(rf"\({re.escape(tag)}\)" for tag in equations) or "(?!)")
    missing = [n for text in prose(chapter) for n in unprinted(reference.sub(" ", text), outputs, numbers)]
    assert not missing, "print them in a cell, or quote what is printed"


@each_notebook
def test_headings_are_in_order(chapter):
    texts = [cell.source for cell in read(chapter.path).cells if cell.cell_type == "markdown"]
    assert in_order(headings(texts)), headings(texts)


@pytest.mark.parametrize(
    ("text", "outputs", "missing"),
    [
        ("The error is 31.4.", "error 31.42", []),
        ("The error is 31.4.", "error 31.36", []),
        ("The error is 31.4.", "error 31.46", ["31.4"]),
        ("The error is 31.4.", "error 31", ["31.4"]),
        ("The error is 31.4.", "", ["31.4"]),
        ("It falls by 0.31.", "change -0.31", []),
        ("A share of 93.4 % is right, 93.4% again", "accuracy 0.934", []),
        ("A share of 93.4 is right", "accuracy 0.934", ["93.4"]),
        ("1,234.5 bytes", "1234.5", []),
        ("1,234.5 bytes", "1,234.51 bytes", []),
        ("0.000012 nats", "1.2e-05", []),
        ("a formula $x = 0.31$ and $$y\n= 0.32$$ and code `std=0.2`", "", []),
        ("[text 0.31](http://some.where/0.32)", "", ["0.31"]),
        ("see chapter 4.5, chapters 4.3 and 4.4, claim 1.3, claims 2.1, 2.2 and 2.3, 4.2 and (4.3)", "", []),
        ("claims **1.1** and **1.2**, claims 1.1–1.3", "", []),
        ("equation 4.2.1 and 4.2.2", "", []),
        ("[arXiv:1312.6114](https://arxiv.org/abs/1312.6114), arXiv:1906.02691.", "", []),
        ("the KL is 4.3 nats, or 4.3%", "", ["4.3", "4.3%"]),
        ("the claim is 1.3 nats", "", ["1.3"]),
        ("| 0.5 | 0.25 |", "0.5", ["0.25"]),
        ("from 0.5–0.7 on, **0.9**", "", ["0.5", "0.7", "0.9"]),
        ("in 2013, 5 of 10 and step 1.", "", []),
    ],
)
def test_numbers_are_compared_at_their_own_rounding(text, outputs, missing):
    assert unprinted(text, outputs, ("4.2", "4.3", "4.4", "4.5")) == missing


@pytest.mark.parametrize(
    "text",
    [
        "```python\nx = 1\n```",
        "~~~\nx\n~~~",
        ":::{note}\nx\n:::",
        "a role {cite}`kingma2013`",
        "(a-target)=\n# Heading",
        "<b>bold</b>",
        "a <br/> b",
        "<!-- hidden -->",
        '<img src="x.png">',
        '<details open="1">',
    ],
)
def test_what_some_reader_sees_raw_is_seen(text):
    assert forbidden(text)


@pytest.mark.parametrize(
    "text",
    [
        "Text with `code`, $a < b > c$ and $$x\n<y>$$.",
        "<details><summary>Answer</summary>\n\nYes.\n\n</details>",
        "a < b and c > d",
        "`<b>` is HTML, <https://some.where> is a link",
        "`{name}` is filled in",
        "$\\mathcal{N}(0, 1)$ and $`x`$",
    ],
)
def test_plain_markdown_passes(text):
    assert not forbidden(text)


@pytest.mark.parametrize(
    ("levels", "good"),
    [([1, 2, 3, 2, 2], True), ([1, 3], False), ([2, 2], False), ([1, 2, 1], False), ([], False)],
)
def test_order_of_headings(levels, good):
    assert in_order(levels) == good


def test_headings_are_found():
    assert headings(["# One\n\ntext # no", "$$\n# no\n$$\n## Two\n#no"]) == [1, 2]
