"""Bring together what must agree: `python -m tools.sync [--check] [--from md|ipynb]`.

README's table and the first and last cell of each chapter and each sheet of exercises come from book.yml, a
chapter's list of references from references.bib. Of a notebook's two files the one that was edited since they
last agreed wins, and the outputs of its unchanged cells stay. When both were edited, nothing of that notebook
is written until `--from` says which one to keep; where only one was edited, `--from` changes nothing.
`--check` writes nothing; the exit code is 1 when something differs.
"""

import argparse
import re
import sys
from functools import partial
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools import pairs, references
from vaebook import book

NAVIGATION, REFERENCES = "navigation", "references"
GENERATED = {NAVIGATION, REFERENCES}
MARKERS = ("<!-- chapters -->", "<!-- /chapters -->")


def with_generated(notebook: NotebookNode, opening: str, works: str, closing: str) -> NotebookNode:
    """`notebook` with these texts in its first cell and at its end, in place of the cells with such tags.

    The first and the last cell carry the tag "navigation"; the one with the list of works, which is left out
    where there are none, the tag "references".
    """

    def cell(text: str, tag: str) -> NotebookNode:
        return new_markdown_cell(text, metadata={"tags": [tag]})

    body = [cell for cell in notebook.cells if not GENERATED & set(cell.metadata.get("tags", ()))]
    end = [cell(works, REFERENCES)] if works else []
    notebook.cells = [cell(opening, NAVIGATION), *body, *end, cell(closing, NAVIGATION)]
    return notebook


def readme_with_table(text: str, table: str) -> str:
    """The text of README with `table` between its markers."""
    start, end = MARKERS
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise pairs.PairError(
            f"README.md needs one line {start} and, after it, one line {end}: the table goes between."
        )
    return re.sub(f"{start}.*{end}", lambda _: f"{start}\n{table}\n{end}", text, flags=re.S)


def _sync_readme(root: Path) -> dict[Path, str]:
    path = root / "README.md"
    if not path.exists():
        raise pairs.PairError("README.md does not exist, and the table of chapters belongs there.")
    text = path.read_text(encoding="utf-8")
    wanted = readme_with_table(text, book.table(root))
    return {path: wanted} if wanted != text else {}


def _sync_chapter(chapter: book.Chapter, root: Path, keep: str | None) -> dict[Path, str | NotebookNode]:
    works = references.section(chapter, root)
    return _sync_pair(chapter.path, keep, book.opening(chapter, root), works, book.navigation(chapter, root))


def _sync_sheet(chapter: book.Chapter, root: Path, keep: str | None) -> dict[Path, str | NotebookNode]:
    return _sync_pair(
        chapter.sheet.path,
        keep,
        book.sheet_opening(chapter, root),
        "",
        book.sheet_navigation(chapter, root),
    )


def _sync_pair(path: Path, keep: str | None, *generated: str) -> dict[Path, str | NotebookNode]:
    """What has to be written for the two files of a notebook to agree with each other and with the book."""
    twin = path.with_suffix(".md")
    edited = pairs.edited(path)
    if not path.exists() and not twin.exists():
        raise pairs.PairError(f"{path.stem}: book.yml lists it, and neither its .md nor its .ipynb exists.")
    if len(edited) == 2 and not keep:
        raise pairs.PairError(
            f"{path.stem}: both the .md and the .ipynb were edited since they last agreed. Compare them, "
            "then keep one: `python -m tools.sync --from md` or `--from ipynb`."
        )
    source = path if edited == {"ipynb"} or (len(edited) == 2 and keep == "ipynb") else twin
    before = pairs.read(source)
    after = with_generated(pairs.read(source), *generated)
    if source == twin and pairs.cells(before, path) == pairs.cells(after, path):
        text = twin.read_text(encoding="utf-8")
    else:
        text = pairs.as_text(after, twin)
    authored = pairs.parse(text, twin)
    if pairs.cells(authored, path) != pairs.cells(after, path):
        raise pairs.PairError(
            f"{path.stem}: a cell does not survive as text. Look for a Markdown line that starts with `+++`."
        )
    notebook = pairs.rebuilt(authored, path)
    notebook.metadata.setdefault("vaebook", {})["synced"] = pairs.cells_hash(notebook, path)

    changes: dict[Path, str | NotebookNode] = {}
    if not twin.exists() or twin.read_text(encoding="utf-8") != text:
        changes[twin] = text
    if not path.exists() or pairs.read(path) != notebook:
        changes[path] = notebook
    return changes


def main(arguments: list[str] | None = None, root: Path = book.ROOT) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.sync", description="Bring together what must agree."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if something differs"
    )
    parser.add_argument(
        "--from", dest="keep", choices=("md", "ipynb"), help="the file to keep where both were edited"
    )
    options = parser.parse_args(arguments)

    failed = False
    chapters = book.chapters(root)
    for find in [
        partial(_sync_readme, root),
        *(partial(_sync_chapter, c, root, options.keep) for c in chapters),
        *(partial(_sync_sheet, c, root, options.keep) for c in chapters if c.sheet),
    ]:
        try:
            changes = find()
        except (pairs.PairError, references.BibliographyError) as problem:
            print(problem, file=sys.stderr)
            failed = True
            continue
        for path, content in changes.items():
            if options.check:
                print(f"{path.relative_to(root)}: not up to date. Run `make sync`.")
                failed = True
            else:
                (pairs.write if isinstance(content, str) else pairs.write_notebook)(path, content)
                print(f"{path.relative_to(root)}: written")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
