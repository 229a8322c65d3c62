"""What a chapter cites stands in its list of references, and what stands there is cited."""

import re
from collections import Counter

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from chapters import each_chapter, prose, read, tags
from tools import pairs, references, sync
from vaebook import book

UPPER = "".join(letter for letter in map(chr, range(0x250)) if letter.isupper())
NAME = rf"(?:(?:van|von|der|den|de|di|du|la|le)\s+)*[{UPPER}][\w-]*(?:['’][{UPPER}][\w-]*)?"
YEAR = r"(?:1[89]|20)\d\d[a-z]?\b"
CITATION = re.compile(
    # Names that only a citation has in this form need no sign before the year; a single name does.
    rf"(?<![\w-])(?:(?P<names>{NAME}(?:\s+(?:and|&)\s+{NAME}|\s+[*_]*et\s+al\b\.?[*_]*))(?:['’]s|,)?\s+\(?"
    rf"|(?P<name>{NAME})(?:,\s+|(?:['’]s?)?\s+\())"
    rf"(?P<years>{YEAR}(?:(?:,|\s+and)\s+{YEAR})*)"
)


def cited(text: str) -> set[tuple[str, str]]:
    """The author-year citations of a Markdown text: ("Kingma and Welling", "2013")."""
    return {
        (" ".join((found["names"] or found["name"]).split()), year)
        for found in CITATION.finditer(text)
        for year in re.findall(YEAR, found["years"])
    }


WORKS = references.load()


@each_chapter
def test_what_is_cited_is_listed_and_what_is_listed_is_cited(chapter):
    in_prose = set().union(*map(cited, prose(chapter)))
    in_list = {references.citation(work) for work in references.listed(chapter, WORKS)}
    assert not (missing := in_prose - in_list), (
        f"give {missing} a key in book.yml, or cite as references.bib does"
    )
    assert not (idle := in_list - in_prose), f"cite {idle} in the text, or take the key out of book.yml"


@each_chapter
def test_the_list_is_up_to_date(chapter):
    cells = read(chapter.path).cells
    tagged = [cell.source for cell in cells if "references" in tags(cell)]
    assert tagged == [text for text in [references.section(chapter)] if text], "run `make sync`"
    assert not tagged or cells[-2].source == tagged[0], "the list comes last, before the links"
    assert not any(re.search(r"^#+ References", text, re.M) for text in prose(chapter)), (
        "sync writes the list"
    )


def test_no_two_works_are_cited_alike():
    """With 2013a and 2013b the years would have to be changed in the chapters."""
    assert max(Counter(map(references.citation, WORKS.values())).values()) == 1


def test_each_key_is_a_name_and_a_year():
    for key, work in WORKS.items():
        assert re.fullmatch(r"[a-z]+\d{4}", key), key
        assert key.endswith(work.fields["year"]), key


def test_the_file_is_in_the_order_of_its_keys():
    assert list(WORKS) == sorted(WORKS)


def test_only_long_lists_of_authors_are_cut():
    for key, work in WORKS.items():
        names = [str(person) for person in work.persons["author"]]
        assert "others" not in names or names.index("others") >= 8, key


# --- reading the citations of a text ---

KINGMA, REZENDE = ("Kingma and Welling", "2013"), ("Rezende et al.", "2014")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the bound (Kingma and Welling, 2013) is", {KINGMA}),
        ("Kingma and Welling (2013) show", {KINGMA}),
        ("Kingma and\nWelling (2013)", {KINGMA}),
        ("Kingma and Welling's (2013) bound, Kingma and Welling’s (2013)", {KINGMA}),
        ("(ELBO; Kingma and Welling, 2013; Rezende et al., 2014).", {KINGMA, REZENDE}),
        ("(Rezende et al., 2014, make the case)", {REZENDE}),
        ("As Rezende et al. (2014, section 2) say", {REZENDE}),
        ("(Kingma and Welling, 2013, 2019)", {KINGMA, ("Kingma and Welling", "2019")}),
        ("Kingma and Welling (2013 and 2019)", {KINGMA, ("Kingma and Welling", "2019")}),
        ("[Kingma and Welling (2013)](https://arxiv.org/abs/1312.6114)", {KINGMA}),
        ("see Bishop (2006, chapter 12), also (Kish, 1965)", {("Bishop", "2006"), ("Kish", "1965")}),
        ("Williams' (1992) and Bishop's (2006)", {("Williams", "1992"), ("Bishop", "2006")}),
        ("Loaiza-Ganem and Cunningham (2019)", {("Loaiza-Ganem and Cunningham", "2019")}),
        ("van Hoof and O'Hagan (2019)", {("van Hoof and O'Hagan", "2019")}),
        ("(Schölkopf and Øksendal, 1998)", {("Schölkopf and Øksendal", "1998")}),
        ("(Øksendal, 2013a)", {("Øksendal", "2013a")}),
        # Forms that the book does not use are read too: no work is cited like that, so the test above fails.
        ("Kingma & Welling (2013)", {("Kingma & Welling", "2013")}),
        ("Kingma and Welling 2013", {KINGMA}),
        (
            "Rezende *et al.* (2014), Rezende et al, 2014",
            {("Rezende *et al.*", "2014"), ("Rezende et al", "2014")},
        ),
        ("Rezende, Mohamed and Wierstra (2014)", {("Mohamed and Wierstra", "2014")}),
    ],
)
def test_citations_are_read(text, found):
    assert cited(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "In May 2013 and since 2014",
        "draws 2000 times (2000 draws), with 784, 2000 or 128 units",
        "Kingma and Welling introduced it in 2013.",
        "as chapter 2 (2013 images) shows",
        "Train on MNIST (60000 images)",
        "`Linear(784, 2000)` and $N(0, 1)$",
        "",
    ],
)
def test_what_is_no_citation_is_left_alone(text):
    assert not cited(text)


# --- reading and formatting the works ---

ENTRIES = """
% A comment.
@article{baldi1989,
  author = {Baldi, Pierre and Manzagol, Pierre-Antoine and van Hoof, Herke}, title = {Principal components: an
  example}, journal = {Neural Networks}, volume = {2}, year = {1989}}
@article{kingma2019, author = {Kingma, Diederik P. and Welling, Max}, title = {An introduction},
  journal = {Foundations}, volume = {12}, number = {4}, year = 2019, eprint = {1906.02691}}
@inproceedings{kool2019, author = {Schölkopf, Bernhard and Teh, Yee Whye}, title = {A baseline for free!},
  booktitle = {ICLR}, year = {2019}}
@book{bishop2006, author = {Bishop, Christopher M.}, title = {Pattern recognition}, publisher = {Springer},
  year = {2006}}
@misc{kingma2013, author = {Kingma, Diederik P. and Welling, Max}, title = {Variational Bayes}, year = {2013},
  eprint = {1312.6114}}
@misc{long2020, author = {First, A. and Second, B. and others}, title = {Long}, howpublished = {Website},
  year = {2020}}
"""
LINES = {
    "baldi1989": "P. Baldi, P.-A. Manzagol and H. van Hoof (1989). Principal components: an example. "
    "*Neural Networks* 2.",
    "kingma2019": "D. P. Kingma and M. Welling (2019). An introduction. *Foundations* 12(4). "
    "[arXiv:1906.02691](https://arxiv.org/abs/1906.02691).",
    "kool2019": "B. Schölkopf and Y. W. Teh (2019). A baseline for free! *ICLR*.",
    "bishop2006": "C. M. Bishop (2006). *Pattern recognition*. Springer.",
    "kingma2013": "D. P. Kingma and M. Welling (2013). Variational Bayes. "
    "[arXiv:1312.6114](https://arxiv.org/abs/1312.6114).",
    "long2020": "A. First, B. Second et al. (2020). Long. *Website*.",
}
CITED = {
    "baldi1989": ("Baldi et al.", "1989"),
    "kingma2019": ("Kingma and Welling", "2019"),
    "kool2019": ("Schölkopf and Teh", "2019"),
    "bishop2006": ("Bishop", "2006"),
    "kingma2013": ("Kingma and Welling", "2013"),
    "long2020": ("First et al.", "2020"),
}


def test_each_type_is_formatted():
    works = references.parse(ENTRIES)
    assert {work.type for work in works.values()} == set(references.VENUES)
    assert {key: references.formatted(work) for key, work in works.items()} == LINES
    assert {key: references.citation(work) for key, work in works.items()} == CITED


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("author = {Bishop, Christopher M.}, ", "", "bishop2006: missing author"),
        ("title = {Pattern recognition}, ", "", "bishop2006: missing title"),
        (",\n  year = {2006}", "", "bishop2006: missing year"),
        ("{2006}", "{to appear}", "bishop2006: missing year, of four digits"),
        ("publisher = {Springer},", "", "bishop2006: missing publisher or eprint"),
        ("{ICLR}", "{}", "kool2019: missing booktitle or eprint"),
        ("  eprint = {1312.6114}", "", "kingma2013: missing howpublished or eprint"),
        ("{1312.6114}", "{arXiv:1312.6114}", "eprint must be an arXiv number"),
        ("@book", "@techreport", "bishop2006: the type techreport is not known"),
        ("@book{bishop2006", "@book{kingma2013", "cannot be read: repeated bibliography entry: kingma2013"),
        ("year = {2020}}", "year = {2020}", "cannot be read: syntax error"),
        ("volume = {2}", "volume = {2}, volume = {3}", "cannot be read: .*duplicate volume"),
    ],
)
def test_a_wrong_entry_is_refused(old, new, message):
    assert old in ENTRIES
    with pytest.raises(references.BibliographyError, match=message):
        references.parse(ENTRIES.replace(old, new, 1))


# --- the list in a chapter ---

BOOK = """
root: README
subtrees: [{caption: Part, entries: [{file: notebooks/1_only, title: 1 · Only}]}]
meta:
  chapters:
    1_only:
      {question: q, section: s, minutes: 1, seconds: 1, needs: n, claims: {}, cites: [kool2019, bishop2006]}
  forthcoming: []
"""


@pytest.fixture
def a_book(tmp_path):
    """A book with one chapter, which cites two works."""
    (tmp_path / "jupytext.toml").write_bytes((book.ROOT / "jupytext.toml").read_bytes())
    (tmp_path / "README.md").write_text("\n".join(sync.MARKERS), encoding="utf-8")
    (tmp_path / "book.yml").write_text(BOOK, encoding="utf-8")
    (tmp_path / "references.bib").write_text(ENTRIES, encoding="utf-8")
    (chapter,) = book.chapters(tmp_path)
    notebook = new_notebook(cells=[new_markdown_cell("Text"), new_code_cell("x = 1")])
    twin = chapter.path.with_suffix(".md")
    pairs.write(twin, pairs.as_text(notebook, twin))
    return tmp_path, chapter.path


def cite(root, keys: str) -> None:
    (root / "book.yml").write_text(BOOK.replace("kool2019, bishop2006", keys), encoding="utf-8")


def lists(path) -> list[str]:
    return [cell.source for cell in pairs.read(path).cells if "references" in tags(cell)]


def test_sync_writes_the_list_before_the_links(a_book):
    root, path = a_book
    assert sync.main([], root) == 0
    expected = f"## References\n\n- {LINES['bishop2006']}\n- {LINES['kool2019']}"
    for file in (path, path.with_suffix(".md")):
        assert lists(file) == [expected]
        assert [tags(cell) for cell in pairs.read(file).cells] == [
            ["navigation"], [], [], ["references"], ["navigation"],
        ]  # fmt: skip
    assert sync.main(["--check"], root) == 0


def test_sync_follows_the_works_and_the_book(a_book, capsys):
    root, path = a_book
    assert sync.main([], root) == 0
    (root / "references.bib").write_text(ENTRIES.replace("{Springer}", "{Wiley}"), encoding="utf-8")
    assert sync.main(["--check"], root) == 1
    assert "not up to date" in capsys.readouterr().out
    assert sync.main([], root) == 0
    assert "Wiley" in lists(path)[0]
    cite(root, "")
    assert sync.main([], root) == 0
    assert not lists(path), "a chapter that cites nothing has no list"


def test_works_are_sorted_by_first_author_and_year(a_book):
    root, path = a_book
    cite(root, "kool2019, long2020, kingma2019, kingma2013, baldi1989")
    assert sync.main([], root) == 0
    order = ["baldi1989", "long2020", "kingma2013", "kingma2019", "kool2019"]
    assert lists(path)[0].splitlines()[2:] == [f"- {LINES[key]}" for key in order]


def test_an_unknown_key_is_refused(a_book, capsys):
    root, path = a_book
    cite(root, "bishop2006, bishop2007")
    assert sync.main([], root) == 1
    assert "1_only: cites bishop2007, which references.bib does not have" in capsys.readouterr().err
    assert not path.exists()


def test_a_missing_bibliography_is_named(a_book, capsys):
    root, _ = a_book
    (root / "references.bib").unlink()
    assert sync.main([], root) == 1
    assert "references.bib does not exist" in capsys.readouterr().err
