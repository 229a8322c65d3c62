"""The list of chapters: what `book.yml` says, and the Markdown that is made from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

# The keys that sphinx-external-toc accepts: it reads the same file as the site's table of contents.
TOP_KEYS = {"root", "title", "defaults", "format", "subtrees", "meta"}
PART_KEYS = {"caption", "hidden", "maxdepth", "numbered", "reversed", "titlesonly", "entries"}
ENTRY_KEYS = {"file", "title"}
CHAPTER_KEYS = {"question", "section", "minutes", "seconds", "needs", "claims", "cites"}
SHEET_KEYS = {"minutes", "seconds"}


class BookError(ValueError):
    """book.yml does not describe a book; the message says where and what to do."""


@dataclass(frozen=True)
class Forthcoming:
    """A chapter that is announced and not yet written."""

    number: str
    title: str
    part: str

    @property
    def label(self) -> str:
        return f"{self.number} · {self.title}"


@dataclass(frozen=True)
class Sheet:
    """The exercises of a chapter: a notebook with solutions, from which `tools.course` makes those without.

    Attributes:
        path: the notebook; its text twin lies beside it with the suffix `.md`.
        label: its title.
        minutes, seconds: to work through, and to run with its solutions on two CPU cores.
    """

    path: Path
    label: str
    minutes: int
    seconds: int

    @property
    def stem(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class Chapter(Forthcoming):
    """A chapter, its notebook, and what book.yml says about it.

    Attributes:
        number: as a reader writes it, `4.3`.
        path: the notebook; its text twin lies beside it with the suffix `.md`.
        section: the heading of the section of the notes that the chapter follows.
        minutes, seconds: to read, and to run on two CPU cores.
        needs: what a reader brings along.
        claims: one sentence for each claim id.
        cites: the works it cites, by their keys in references.bib.
        sheet: its exercises, None if there are none yet.
    """

    path: Path
    question: str
    section: str
    minutes: int
    seconds: int
    needs: str
    claims: dict[str, str] = field(hash=False)
    cites: tuple[str, ...]
    sheet: Sheet | None

    @property
    def stem(self) -> str:
        return self.path.stem


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand only once: the usual loader silently keeps the last."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key, (key_node, _) in zip(keys, node.value, strict=True):
        if keys.count(key) > 1:
            line = key_node.start_mark.line + 1
            raise BookError(
                f"book.yml, line {line}: {key!r} stands twice in one place. Rename or remove one."
            )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _require(where: str, data: Any, required: set[str], allowed: set[str]) -> Mapping:
    if not isinstance(data, Mapping):
        raise BookError(f"book.yml, {where}: expected keys and values; got {data!r}.")
    if missing := required - set(data):
        raise BookError(f"book.yml, {where}: missing {', '.join(sorted(missing))}.")
    if unknown := set(data) - allowed:
        raise BookError(
            f"book.yml, {where}: unknown {', '.join(sorted(map(str, unknown)))}; "
            f"known here: {', '.join(sorted(allowed))}. Free keys go under `meta`."
        )
    return data


def _list(where: str, data: Any) -> list:
    if not isinstance(data, list) or not data:
        raise BookError(f"book.yml, {where}: expected a list with at least one entry; got {data!r}.")
    return data


def _whole_numbers(where: str, facts: Mapping) -> None:
    for key in ("minutes", "seconds"):
        if type(facts[key]) is not int or facts[key] <= 0:
            raise BookError(f"book.yml, {where}: {key} must be a whole number above 0; got {facts[key]!r}.")


def _split(title: str) -> tuple[str, str]:
    number, dot, name = str(title).partition(" · ")
    if not (dot and name and number.replace(".", "").isdigit()):
        raise BookError(f"book.yml: the title {title!r} must look like `4.3 · ELBO in detail`.")
    return number, name


def _chapter(root: Path, part: str, entry: Any, about: Mapping) -> Chapter:
    entry = _require(f"an entry of {part!r}", entry, ENTRY_KEYS, ENTRY_KEYS)
    number, title = _split(entry["title"])
    path = root / f"{entry['file']}.ipynb"
    if path.parent != root / "notebooks" or not path.stem.startswith(number.replace(".", "_") + "_"):
        raise BookError(
            f"book.yml: chapter {number} has file {entry['file']!r}; "
            f"expected notebooks/{number.replace('.', '_')}_its_title, without a suffix."
        )
    if path.stem not in about:
        raise BookError(f"book.yml: chapter {number} has no entry {path.stem} under meta.chapters.")
    where = f"meta.chapters.{path.stem}"
    facts = dict(_require(where, about[path.stem], CHAPTER_KEYS, CHAPTER_KEYS | {"exercises"}))
    sheet = None
    if exercises := facts.pop("exercises", None):
        exercises = _require(f"{where}.exercises", exercises, SHEET_KEYS, SHEET_KEYS)
        _whole_numbers(f"{where}.exercises", exercises)
        sheet = Sheet(path.parent / "exercises" / path.name, f"Exercises {number} · {title}", **exercises)
    _whole_numbers(where, facts)
    for key in ("question", "section", "needs"):
        if not isinstance(facts[key], str) or not facts[key].strip():
            raise BookError(f"book.yml, {where}: {key} must be a sentence; got {facts[key]!r}.")
    claims = _require(f"{where}.claims", facts["claims"], set(), set(facts["claims"] or ()))
    for claim, sentence in claims.items():
        if not isinstance(claim, str) or not claim.startswith(f"{number}."):
            raise BookError(
                f'book.yml, {where}: claim {claim!r} must be a quoted id of this chapter, like "{number}.1".'
            )
        if not isinstance(sentence, str) or not sentence.strip():
            raise BookError(f"book.yml, {where}: claim {claim} must be a sentence; got {sentence!r}.")
    cites = facts["cites"]
    if not isinstance(cites, list) or not all(isinstance(key, str) for key in cites):
        raise BookError(f"book.yml, {where}: cites must be a list of keys of references.bib; got {cites!r}.")
    if twice := sorted({key for key in cites if cites.count(key) > 1}):
        raise BookError(f"book.yml, {where}: cites {', '.join(twice)} twice. Remove one.")
    return Chapter(number, title, part, path, **{**facts, "cites": tuple(cites)}, sheet=sheet)


def _load(root: Path) -> tuple[tuple[Chapter, ...], tuple[Forthcoming, ...]]:
    source = root / "book.yml"
    if not source.exists():
        raise BookError(
            f"{source} does not exist: the list of chapters belongs to the book's repository. "
            "Install the package from a clone with `pip install -e .`."
        )
    try:
        data = yaml.load(source.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as problem:
        raise BookError(
            f"book.yml is not YAML: {problem}. Quote texts that hold `: `, ` #` or brackets."
        ) from problem
    data = _require("top level", data, {"root", "subtrees", "meta"}, TOP_KEYS)
    meta = _require("meta", data["meta"], {"chapters"}, {"chapters", "forthcoming"})

    written = []
    for part in _list("subtrees", data["subtrees"]):
        part = _require("a part", part, {"caption", "entries"}, PART_KEYS)
        for entry in _list(f"part {part['caption']!r}", part["entries"]):
            written.append(_chapter(root, part["caption"], entry, meta["chapters"]))
    announced = []
    for part in meta.get("forthcoming") or ():
        part = _require("meta.forthcoming", part, {"part", "titles"}, {"part", "titles"})
        for title in _list("meta.forthcoming", part["titles"]):
            announced.append(Forthcoming(*_split(title), part["part"]))

    if orphans := set(meta["chapters"]) - {chapter.stem for chapter in written}:
        raise BookError(f"book.yml: meta.chapters has {', '.join(sorted(orphans))}, which no entry names.")
    numbers = [entry.number for entry in (*written, *announced)]
    if numbers != sorted(set(numbers), key=lambda number: [int(n) for n in number.split(".")]):
        raise BookError(f"book.yml: chapters must come in order, each number once; got {', '.join(numbers)}.")
    return tuple(written), tuple(announced)


def chapters(root: Path = ROOT) -> tuple[Chapter, ...]:
    """The written chapters, in order.

    Raises:
        BookError: book.yml is missing or does not describe a book.
    """
    return _load(root)[0]


def forthcoming(root: Path = ROOT) -> tuple[Forthcoming, ...]:
    """The chapters that are announced and not yet written, in order."""
    return _load(root)[1]


def neighbours(chapter: Chapter, root: Path = ROOT) -> tuple[Chapter | None, Chapter | Forthcoming | None]:
    """The chapters before and after this one; None at the ends of the book."""
    written, announced = _load(root)
    everything = [None, *written, *announced, None]
    here = everything.index(chapter)
    return everything[here - 1], everything[here + 1]


def navigation(chapter: Chapter, root: Path = ROOT) -> str:
    """One line of Markdown with links: previous chapter · contents · next chapter."""
    before, after = neighbours(chapter, root)
    links = ["[Contents](../README.md)"]
    if chapter.sheet:
        links.append(f"[Exercises](exercises/{chapter.sheet.path.name})")
    if before:
        links.insert(0, f"[← {before.label}]({before.stem}.ipynb)")
    if isinstance(after, Chapter):
        links.append(f"[{after.label} →]({after.stem}.ipynb)")
    elif after:
        links.append(f"{after.label} (in preparation)")
    return " | ".join(links)


def opening(chapter: Chapter, root: Path = ROOT) -> str:
    """The Markdown of a chapter's first cell: its title, and the way around the book."""
    return f"# {chapter.label}\n\n{navigation(chapter, root)}"


HOW_TO_WORK = (
    "Work from top to bottom. Where a cell raises `NotImplementedError`, write your answer in place of that "
    "line. The cell below it calls a check. It draws new inputs at every call, so run it as often as you "
    "like. If something is not right yet, it says what it saw, which mistake that is the mark of, and where "
    "to read. A prediction is not right or wrong: it counts when it is made before the cell that measures. "
    "Texts are read by a person, who goes by the list under the task."
)


def sheet_navigation(chapter: Chapter, root: Path = ROOT) -> str:
    """One line of Markdown with links: previous sheet · the chapter · next sheet."""
    sheets = [c.sheet for c in chapters(root) if c.sheet]
    here = sheets.index(chapter.sheet)
    links = [f"[Chapter {chapter.number}](../{chapter.path.name})"]
    if here > 0:
        links.insert(0, f"[← {sheets[here - 1].label}]({sheets[here - 1].path.name})")
    if here < len(sheets) - 1:
        links.append(f"[{sheets[here + 1].label} →]({sheets[here + 1].path.name})")
    return " | ".join(links)


def sheet_opening(chapter: Chapter, root: Path = ROOT) -> str:
    """The Markdown of a sheet's first cell: its title, the way around, and how to work."""
    return f"# {chapter.sheet.label}\n\n{sheet_navigation(chapter, root)}\n\n{HOW_TO_WORK}"


def table(root: Path = ROOT) -> str:
    """The chapters as a Markdown table, for README."""
    rows = ["| Chapter | Question | Read | Run | Claims | Exercises |", "|---|---|--:|--:|--:|--:|"]
    part = None
    for entry in (*chapters(root), *forthcoming(root)):
        if entry.part != part:
            part = entry.part
            rows.append(f"| **{part}** | | | | | |")
        if isinstance(entry, Chapter):
            exercises = f"{entry.sheet.minutes} min" if entry.sheet else "—"
            rows.append(
                f"| [{entry.label}](notebooks/{entry.stem}.ipynb) | {entry.question} "
                f"| {entry.minutes} min | {entry.seconds} s | {len(entry.claims)} | {exercises} |"
            )
        else:
            rows.append(f"| {entry.label} | *in preparation* | | | | |")
    return "\n".join(rows)
