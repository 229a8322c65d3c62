"""Each chapter and each sheet says the same in its notebook and in its text twin."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from chapters import each_notebook, read
from tools import pairs
from vaebook import book


@each_notebook
def test_twins_have_the_same_cells(chapter):
    twin = chapter.path.with_suffix(".md")
    assert pairs.cells(read(chapter.path), chapter.path) == pairs.cells(read(twin), twin), "run `make sync`"


@each_notebook
def test_the_notebook_knows_what_the_twins_agreed_on(chapter):
    notebook = read(chapter.path)
    agreed = notebook.metadata.get("vaebook", {}).get("synced")
    assert agreed == pairs.cells_hash(notebook, chapter.path), "run `make sync`"


def a_notebook():
    return new_notebook(
        cells=[new_markdown_cell("Text"), new_code_cell("x = 1\nx", metadata={"tags": ["claim-1.1"]})]
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda cells: cells[0].update(source="Other text"),
        lambda cells: cells[1].update(source="x = 2\nx"),
        lambda cells: cells[1].metadata.update(tags=[]),
        lambda cells: cells[0].update(cell_type="raw"),
        lambda cells: cells.reverse(),
        lambda cells: cells.pop(),
    ],
)
def test_a_difference_is_seen(change):
    one, other = a_notebook(), a_notebook()
    change(other.cells)
    path = book.ROOT / "notebooks" / "any.ipynb"
    assert pairs.cells(one, path) == pairs.cells(a_notebook(), path)
    assert pairs.cells(one, path) != pairs.cells(other, path)


def test_what_a_text_cannot_hold_is_no_difference():
    one, other = a_notebook(), a_notebook()
    other.cells[1].update(execution_count=3, source=other.cells[1].source + "\n")
    other.cells[1].metadata["trusted"] = True
    other.cells.insert(1, new_markdown_cell(""))
    path = book.ROOT / "notebooks" / "any.ipynb"
    assert pairs.cells(one, path) == pairs.cells(other, path)
