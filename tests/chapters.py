"""The chapters and the sheets of exercises, as the tests read them."""

import ast
from functools import cache
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from tools import pairs
from tools.sync import GENERATED
from vaebook import book

each_chapter = pytest.mark.parametrize("chapter", book.chapters(), ids=lambda chapter: chapter.stem)
with_sheets = [chapter for chapter in book.chapters() if chapter.sheet]
each_sheet = pytest.mark.parametrize("chapter", with_sheets, ids=lambda chapter: chapter.stem)
# A chapter or a sheet: what has a `path`.
each_notebook = pytest.mark.parametrize(
    "chapter",
    [*book.chapters(), *(chapter.sheet for chapter in with_sheets)],
    ids=lambda page: "-".join(page.path.with_suffix("").parts[-2:]),
)


@cache
def read(path: Path) -> NotebookNode:
    """A notebook or its text twin; shared between tests, so not to be changed."""
    return pairs.read(path)


def code_cells(chapter: book.Chapter) -> list[NotebookNode]:
    """The code cells that hold code."""
    return [cell for cell in read(chapter.path).cells if cell.cell_type == "code" and cell.source.strip()]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(chapter: book.Chapter) -> list[str]:
    """The Markdown cells, without the way around the book and the list of references."""
    return [
        cell.source
        for cell in read(chapter.path).cells
        if cell.cell_type == "markdown" and not GENERATED & set(tags(cell))
    ]


def printed(cell: NotebookNode) -> str:
    """What a cell printed, and the text of the values that it ended in; not the descriptions of figures."""
    return "\n".join(
        output.text if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
        if "image/png" not in output.get("data", {})
    )


def parse(source: str) -> ast.Module:
    """The syntax tree of a cell, IPython's own syntax included."""
    return ast.parse(TransformerManager().transform_cell(source))
