"""Submissions as students hand them in: the right answers, and what else may come."""

import re
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools import course, grading, pairs
from vaebook import book


def blank(chapter: book.Chapter) -> NotebookNode:
    """A sheet as it is released."""
    return course.unsolved(course.to_hand_out(chapter))


def solved(chapter: book.Chapter) -> NotebookNode:
    """A released sheet with the book's own answers."""
    answers = {grading.grade_id(cell): cell.source for cell in pairs.read(chapter.sheet.path).cells}
    notebook = blank(chapter)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = re.sub(r"\n? *### (BEGIN|END) SOLUTION", "", answers[grading.grade_id(cell)])
    return notebook


def named(notebook: NotebookNode, name: str) -> NotebookNode:
    """The cell of a grade id."""
    return next(cell for cell in notebook.cells if grading.grade_id(cell) == name)


def changed(notebook: NotebookNode, **sources: str) -> NotebookNode:
    """A copy of a submission with other sources in some cells, by grade id with `_` for `-`."""
    notebook = deepcopy(notebook)
    for name, source in sources.items():
        named(notebook, name.replace("_", "-")).source = source
    return notebook


def without(notebook: NotebookNode, *names: str) -> NotebookNode:
    """A copy of a submission without some cells, by grade id."""
    notebook = deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if grading.grade_id(cell) not in names]
    return notebook


def hand_in(folder: Path, student: str, chapter: book.Chapter, notebook: NotebookNode | str) -> Path:
    """Put a notebook, or a text that is none, where a student's submission belongs."""
    path = folder / "submitted" / student / chapter.stem / f"{chapter.stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else nbformat.writes(notebook), encoding="utf-8")
    return path
