"""The lists of references: book.yml names the works of each chapter by key, references.bib describes them."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from pybtex.database import Entry, Person, parse_string
from pybtex.exceptions import PybtexError
from pybtex.textutils import abbreviate

from vaebook import book

# The entry types that a work can have, and the field that names where each appeared.
VENUES = {"article": "journal", "inproceedings": "booktitle", "book": "publisher", "misc": "howpublished"}
OTHERS = "others"


class BibliographyError(ValueError):
    """references.bib and book.yml do not make a list of references; the message says where and what to do."""


def problem(entry: Entry) -> str:
    """What is missing or wrong in an entry; empty when all is well."""
    if entry.type not in VENUES:
        return f"the type {entry.type} is not known; known are {', '.join(VENUES)}"
    if not entry.persons.get("author"):
        return "missing author"
    if not entry.fields.get("title"):
        return "missing title"
    if not re.fullmatch(r"\d{4}", entry.fields.get("year", "")):
        return "missing year, of four digits"
    if not (entry.fields.get(VENUES[entry.type]) or entry.fields.get("eprint")):
        return f"missing {VENUES[entry.type]} or eprint"
    if not re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields.get("eprint", "0000.00000")):
        return f"eprint must be an arXiv number like 1312.6114; got {entry.fields['eprint']!r}"
    return ""


def parse(text: str) -> dict[str, Entry]:
    """The works in the text of a BibTeX file, by key.

    Raises:
        BibliographyError: the text is not BibTeX, a key stands twice, or an entry says too little.
    """
    try:
        works = dict(parse_string(text, "bibtex").entries)
    except PybtexError as error:
        raise BibliographyError(f"references.bib cannot be read: {error}.") from error
    for key, entry in works.items():
        if wrong := problem(entry):
            raise BibliographyError(f"references.bib, {key}: {wrong}.")
    return works


def load(root: Path = book.ROOT) -> dict[str, Entry]:
    """The works of references.bib, by key."""
    source = root / "references.bib"
    if not source.exists():
        raise BibliographyError(
            "references.bib does not exist, and the works that chapters cite belong there."
        )
    return parse(source.read_text(encoding="utf-8"))


def _family(person: Person) -> str:
    return " ".join(person.prelast_names + person.last_names + person.lineage_names)


def _name(person: Person) -> str:
    return " ".join([*map(abbreviate, person.first_names + person.middle_names), _family(person)])


def _authors(people: list[Person]) -> str:
    *before, last = map(_name, people)
    if last == OTHERS:
        return f"{', '.join(before)} et al."
    return f"{', '.join(before)} and {last}" if before else last


def citation(entry: Entry) -> tuple[str, str]:
    """How a chapter cites a work: ("Kingma and Welling", "2013"), or ("Rezende et al.", "2014")."""
    families = [_family(person) for person in entry.persons["author"]]
    many = len(families) > 2 or families[-1] == OTHERS
    return f"{families[0]} et al." if many else " and ".join(families), entry.fields["year"]


def formatted(entry: Entry) -> str:
    """A work in one line of Markdown: authors (year). Title. *Venue* volume. arXiv link."""
    field = entry.fields.get
    title = f"*{field('title')}*" if entry.type == "book" else field("title")
    parts = [f"{_authors(entry.persons['author'])} ({field('year')})", title]
    if venue := field(VENUES[entry.type]):
        number = f"({field('number')})" if field("number") else ""
        where = venue if entry.type == "book" else f"*{venue}*"
        parts.append(" ".join(filter(None, [where, field("volume", "") + number])))
    if eprint := field("eprint"):
        parts.append(f"[arXiv:{eprint}](https://arxiv.org/abs/{eprint})")
    return " ".join(part if part.endswith(("!", "?")) else f"{part}." for part in parts)


def _order(entry: Entry) -> tuple[str, str, str]:
    letters = unicodedata.normalize("NFKD", _family(entry.persons["author"][0])).casefold()
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain, entry.fields["year"], entry.fields["title"]


def listed(chapter: book.Chapter, works: Mapping[str, Entry]) -> list[Entry]:
    """The works that book.yml lists for a chapter, by first author and year.

    Raises:
        BibliographyError: `works` has no entry for a key of the chapter.
    """
    if unknown := [key for key in chapter.cites if key not in works]:
        raise BibliographyError(
            f"book.yml, meta.chapters.{chapter.stem}: cites {', '.join(unknown)}, "
            "which references.bib does not have."
        )
    return sorted((works[key] for key in chapter.cites), key=_order)


def section(chapter: book.Chapter, root: Path = book.ROOT) -> str:
    """The Markdown of a chapter's list of references; empty for a chapter that cites nothing."""
    if not chapter.cites:
        return ""
    return "\n".join(["## References", "", *(f"- {formatted(work)}" for work in listed(chapter, load(root)))])
