"""book.yml describes the chapters that exist, and what is made from it is up to date."""

import re

import pytest

from chapters import each_chapter, each_notebook, each_sheet, read
from tools.sync import readme_with_table
from vaebook import book

VALID = """
root: README
subtrees:
  - caption: One part
    entries:
      - file: notebooks/1_first
        title: 1 · First
      - file: notebooks/4_0_second
        title: 4.0 · Second
meta:
  chapters:
    1_first:
      {question: "Why?", section: n, minutes: 10, seconds: 5, needs: nothing, claims: {"1.1": It is so.},
       cites: [b, a], exercises: {minutes: 20, seconds: 3}}
    4_0_second:
      {question: "How?", section: s, minutes: 10, seconds: 5, needs: chapter 1, claims: {}, cites: []}
  forthcoming:
    - part: Another part
      titles: [4.1 · Third]
"""


def test_the_book_has_chapters():
    assert book.chapters()


@each_notebook
def test_both_files_of_a_notebook_exist(chapter):
    for suffix in (".ipynb", ".md"):
        file = chapter.path.with_suffix(suffix)
        assert file.exists(), f"{file.name} is missing: run `make sync`"


@pytest.mark.parametrize("suffix", [".ipynb", ".md"])
def test_every_notebook_is_listed(suffix):
    there = {path.stem for path in (book.ROOT / "notebooks").glob(f"*{suffix}")}
    assert there <= {chapter.stem for chapter in book.chapters()}
    sheets = {path.stem for path in (book.ROOT / "notebooks" / "exercises").glob(f"*{suffix}")}
    assert sheets <= {chapter.stem for chapter in book.chapters() if chapter.sheet}


@each_chapter
def test_navigation_is_up_to_date(chapter):
    cells = read(chapter.path).cells
    expected = [book.opening(chapter), book.navigation(chapter)]
    assert [cells[0].source, cells[-1].source] == expected, "run `make sync`"
    tagged = [cell for cell in cells if "navigation" in cell.metadata.get("tags", ())]
    assert tagged == [cells[0], cells[-1]]


@each_sheet
def test_navigation_of_sheets_is_up_to_date(chapter):
    cells = read(chapter.sheet.path).cells
    expected = [book.sheet_opening(chapter), book.sheet_navigation(chapter)]
    assert [cells[0].source, cells[-1].source] == expected, "run `make sync`"


def test_readme_has_the_table():
    text = (book.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_with_table(text, book.table()) == text, "run `make sync`"


@each_notebook
def test_links_between_chapters_lead_somewhere(chapter):
    for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", read(chapter.path).cells[0].source):
        assert (chapter.path.parent / link).exists(), link


@pytest.fixture
def a_book(tmp_path):
    def make(text: str = VALID):
        (tmp_path / "book.yml").write_text(text, encoding="utf-8")
        return tmp_path

    return make


def test_a_small_book(a_book):
    root = a_book()
    first, second = book.chapters(root)
    assert (first.number, first.title, first.stem, first.part) == ("1", "First", "1_first", "One part")
    assert first.claims == {"1.1": "It is so."}
    assert first.cites == ("b", "a")
    assert first.sheet == book.Sheet(
        root / "notebooks" / "exercises" / "1_first.ipynb", "Exercises 1 · First", 20, 3
    )
    assert second.sheet is None
    assert book.sheet_navigation(first, root) == "[Chapter 1](../1_first.ipynb)"
    assert first.path == root / "notebooks" / "1_first.ipynb"
    (third,) = book.forthcoming(root)
    assert book.neighbours(first, root) == (None, second)
    assert book.neighbours(second, root) == (first, third)
    assert book.opening(first, root) == (
        "# 1 · First\n\n[Contents](../README.md) | [Exercises](exercises/1_first.ipynb) | "
        "[4.0 · Second →](4_0_second.ipynb)"
    )
    assert book.navigation(second, root) == (
        "[← 1 · First](1_first.ipynb) | [Contents](../README.md) | 4.1 · Third (in preparation)"
    )
    table = book.table(root).splitlines()
    assert len({row.count("|") for row in table}) == 1
    assert table[3] == "| [1 · First](notebooks/1_first.ipynb) | Why? | 10 min | 5 s | 1 | 20 min |"
    assert table[-1] == "| 4.1 · Third | *in preparation* | | | | |"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("        title: 1 · First\n", "", "missing title"),
        ("      - file: notebooks/1_first\n        title", "      - title", "missing file"),
        ("title: 1 · First", "title: First", "must look like"),
        ("notebooks/1_first", "notebooks/2_first", "expected notebooks/1_"),
        ("notebooks/1_first", "1_first", "expected notebooks/1_"),
        ("    1_first:", "    1_other:", "no entry 1_first under meta.chapters"),
        ("  forthcoming", "    5_x: {}\n  forthcoming", "5_x, which no entry names"),
        ("minutes: 10", "minutes: ten", "minutes must be a whole number"),
        ("minutes: 10", "minutes: 0", "minutes must be a whole number"),
        ('question: "Why?", ', "", "missing question"),
        ("needs: nothing", "needs: []", "needs must be a sentence"),
        ("needs: nothing", "needs: nothing, needed: no", "unknown needed"),
        ('"1.1": It is so.', '"1.1": It is so., "1.1": It is not.', "'1.1' stands twice"),
        ('"1.1": It is so.', "1.1: It is so.", "claim 1.1 must be a quoted id"),
        ('"1.1": It is so.', '"2.1": It is so.', "claim '2.1' must be a quoted id of this chapter"),
        ('"1.1": It is so.', '"1.1": ', "claim 1.1 must be a sentence"),
        ("cites: [b, a],", "", "missing cites"),
        ("cites: [b, a]", "cites: b", "cites must be a list"),
        ("cites: [b, a]", "cites: [b, 1]", "cites must be a list"),
        ("cites: [b, a]", "cites: [b, a, b]", "meta.chapters.1_first: cites b twice"),
        ("seconds: 3", "second: 3", "1_first.exercises: missing seconds"),
        ("seconds: 3", "seconds: 0", "1_first.exercises: seconds must be a whole number"),
        ("4.1 · Third", "3.1 · Third", "must come in order"),
        ("4.1 · Third", "4.0 · Third", "must come in order"),
        ("    entries:", "    color: red\n    entries:", "unknown color.*Free keys go under `meta`"),
        ("  - caption: One part\n    entries:", "  - entries:", "missing caption"),
        ("root: README", "root: README\nauthor: me", "unknown author"),
        ("root: README\n", "", "missing root"),
        ("titles: [4.1 · Third]", "titles: []", "at least one"),
        ("root: README", "root: [README", "not YAML"),
    ],
)
def test_a_wrong_book_is_refused(a_book, old, new, message):
    assert VALID.count(old) >= 1
    with pytest.raises(book.BookError, match=message):
        book.chapters(a_book(VALID.replace(old, new, 1)))


def test_a_package_without_its_book_says_so(tmp_path):
    with pytest.raises(book.BookError, match="does not exist.*clone"):
        book.chapters(tmp_path)
