"""Grade one submission, whatever it does, for `tools.course`; and what nbgrader does otherwise than it would.

`main` runs in a process of its own and in a folder that is a course of this one student and sheet, and holds
nothing else: `submitted/student/NAME/NAME.ipynb`, `released.ipynb`, and a `gradebook.db` without students.
nbgrader's own autograder does the work. What it found is written to `result.json`. The steps that stand here
take the place of nbgrader's, as nbgrader_config.py says.
"""

import json
import logging
import os
import re
import sys
import traceback
from copy import deepcopy
from html import escape
from pathlib import Path
from time import monotonic
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbgrader import preprocessors, utils
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Integer
from traitlets.config import Config, PyFileConfigLoader

from tools import run
from vaebook import book

STUDENT = "student"
# Before each check: a submission may have put something else in the place of the checks.
FRESH = """
import sys
for name in [name for name in sys.modules if f"{name}.".startswith("vaebook.checks.")]:
    del sys.modules[name]
import importlib
get_ipython().user_ns["check"] = importlib.import_module("vaebook.checks")
"""
# The errors that ExecuteSubmission leaves in a cell, and what they say of it.
STOPPED = {
    "CellTimeoutError": "hung",
    "DeadKernelError": "ended its kernel",
    "TimeUsedUp": "used up its time",
}


def config(root: Path) -> Config:
    """What nbgrader_config.py says, for a course in the folder `root`."""
    loaded = PyFileConfigLoader("nbgrader_config.py", str(book.ROOT)).load_config()
    loaded.CourseDirectory.root = str(root)
    return loaded


# --- nbgrader's steps, as these submissions need them -------------------------------------------------------


class ExecuteSubmission(preprocessors.Execute):
    """Runs every cell of a submission; one that hangs or ends its kernel costs the cells from there on."""

    seconds = Integer(300, help="that a whole submission may take").tag(config=True)
    most = Integer(200_000, help="characters of output that are kept of a cell").tag(config=True)
    error_on_timeout = {
        "ename": "CellTimeoutError",
        "evalue": "",
        "traceback": ["CellTimeoutError: The cell had not ended after the time that it may take."],
    }

    def preprocess(self, nb: NotebookNode, resources: dict, km: Any = None) -> tuple[NotebookNode, dict]:
        self.end, self.over = None, None
        self.timeout_func = lambda cell: max(1, min(self.timeout, int(self.end - monotonic()) + 1))
        return super().preprocess(nb, resources, km)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if cell.cell_type != "code" or not cell.source.strip():
            return cell, resources
        self.written = 0
        cell.outputs = []
        if self.end is None:
            self.quietly("import vaebook.checks", self.startup_timeout)
            self.end = monotonic() + self.seconds
        if not self.over and monotonic() > self.end:
            self.over = "TimeUsedUp", f"The {self.seconds} s for a submission were used up before this cell."
        if not self.over:
            try:
                if utils.is_grade(cell) and utils.is_locked(cell):
                    self.quietly(f"exec({FRESH!r}, {{}})", self.timeout)
                super().preprocess_cell(cell, resources, index)
                return cell, resources
            except DeadKernelError:
                self.stop(cell, "DeadKernelError", "The kernel ended in this cell.")
                self.over = "NotRun", "The kernel had ended in a cell before this one."
            except CellTimeoutError:
                self.stop(cell, "CellTimeoutError", "The kernel hung in this cell and was not to be stopped.")
                self.over = "NotRun", "The kernel hung in a cell before this one."
        else:
            self.stop(cell, *self.over)
        return cell, resources

    def quietly(self, code: str, seconds: int) -> None:
        """Run code that is no part of the submission; importing PyTorch is not on the student's time."""
        timeout, self.timeout = self.timeout, seconds
        try:
            self.wait_for_reply(self.kc.execute(code, store_history=False))
        finally:
            self.timeout = timeout

    @staticmethod
    def stop(cell: NotebookNode, name: str, text: str) -> None:
        cell.outputs.append(
            nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])
        )

    def output(self, outs: list, msg: dict, display_id: str | None, cell_index: int) -> NotebookNode | None:
        """Keeps the outputs of a cell up to a size, and its errors."""
        if msg["msg_type"] in ("stream", "display_data"):
            self.written += len(str(msg["content"]))
            if self.written > max(self.most, 50 * self.most * (msg["msg_type"] == "display_data")):
                return None
        return super().output(outs, msg, display_id, cell_index)


class HideTests(NbGraderPreprocessor):
    """Leaves hidden tests out of feedback, which would otherwise tell them to the next class."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if utils.is_grade(cell) and utils.is_locked(cell):
            hidden = r"^[^\n]*BEGIN HIDDEN TESTS.*?END HIDDEN TESTS[^\n]*\n?"
            cell.source = re.sub(hidden, "", cell.source, flags=re.S | re.M)
        return cell, resources


class _Renderer(IPythonRenderer):
    """Formulas as MathML, which a browser shows without MathJax and so without a network."""

    def inline_math(self, body: str, display: str = "inline") -> str:
        try:
            return convert(body, display=display)
        except Exception:  # a formula that a student did not finish
            return f"<code>{escape(body)}</code>"

    def block_math(self, body: str) -> str:
        return self.inline_math(body, "block")


class FeedbackExporter(HTMLExporter):
    """nbgrader's feedback page, as one file that needs no other."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        return MarkdownWithMath(renderer=_Renderer(escape=False, anchor_link_text="")).render(source)

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **kw: Any) -> tuple:
        page, resources = super().from_notebook_node(nb, resources, **kw)
        page = re.sub(r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->", "", page, flags=re.S)
        page = page.replace("</head>", "<style>pre { white-space: pre-wrap; }</style>\n</head>", 1)
        # The list at the top: tasks by name, and no score where there is none yet.
        page = re.sub(r'(<li><a href="#([^"]+)">)(?:Test cell|Written response)</a>', r"\1\2</a>", page)
        for name in resources["nbgrader"].get("waiting", ()):
            page = re.sub(rf'(<a href="#{re.escape(name)}">[^(]*)\(Score: [\d.]+', r"\1(to be graded", page)
        if state := resources["nbgrader"].get("state"):
            page = page.replace('<div id="toc">', f'<div id="toc">\n<p>{escape(state)}</p>', 1)
        return page, resources


class NotGraded(Exception):
    """The submission cannot be graded; the message says why."""


# --- one submission -----------------------------------------------------------------------------------------


class Said(logging.Handler):
    """Remembers why nbgrader's autograder failed, which it tells its log alone."""

    reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        if text.startswith("Traceback"):
            self.reason = self.reason or text.splitlines()[-1]


def grade_id(cell: NotebookNode) -> str | None:
    about = cell.metadata.get("nbgrader")
    return about.get("grade_id") if isinstance(about, dict) else None


def key(cell: NotebookNode) -> str:
    """What tells a cell from the others of its sheet."""
    return grade_id(cell) or cell.source


def mended(submission: NotebookNode, released: NotebookNode) -> tuple[NotebookNode, dict[str, list[str]]]:
    """A submission in which every cell of the sheet stands once, and the locked ones say what they should.

    Returns also what was not so: the grade ids that were "missing", "changed", and there "twice".
    """
    sheet = {grade_id(cell): cell for cell in released.cells if grade_id(cell)}
    found = {"missing": [], "changed": [], "twice": []}
    at: set[str] = set()
    for number, cell in reversed(list(enumerate(submission.cells))):
        name = grade_id(cell)
        cell.metadata.pop("nbgrader", None)
        if name in at:
            found["twice"].append(name)
        elif name in sheet:
            at.add(name)
            whole = deepcopy(sheet[name])
            locked = whole.metadata.nbgrader.locked
            if cell.cell_type != whole.cell_type or (locked and cell.source.strip() != whole.source.strip()):
                found["changed"].append(name)
            if not locked:
                whole.source = cell.source
            submission.cells[number] = whole
    for number, cell in enumerate(released.cells):
        if (name := grade_id(cell)) and name not in at:
            found["missing"].append(name)
            there = [key(cell) for cell in submission.cells]
            before = (key(cell) for cell in reversed(released.cells[:number]))
            place = next((there.index(other) for other in before if other in there), -1)
            submission.cells.insert(place + 1, deepcopy(cell))
    for cell in submission.cells:
        cell.pop("id", None)  # a copied cell has the id of its original
    submission.nbformat, submission.nbformat_minor = 4, 4
    return submission, found


def answered(submission: NotebookNode, released: NotebookNode) -> bool:
    """Whether any answer differs from the sheet as it was released."""
    blank = {grade_id(cell): cell.source.strip() for cell in released.cells if utils.is_solution(cell)}
    return any(
        cell.source.strip() != blank[grade_id(cell)] for cell in submission.cells if grade_id(cell) in blank
    )


def stopped(graded: NotebookNode) -> list[str]:
    """In which cells the submission stopped, and how: "hung in task-3"."""
    places = []
    for cell in graded.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "error" and output.ename in STOPPED:
                where = grade_id(cell) or f"`{cell.source.strip().splitlines()[0][:40]}`"
                places.append(f"{STOPPED[output.ename]} in {where}")
    return places


def grade(root: Path, cell_seconds: int, seconds: int) -> dict:
    """Grade the one submission in `root`, with so many seconds for a cell, and for all of it.

    Returns what was found: `grades` and `comments` by grade id, and `notes`, short texts.
    """
    (path,) = root.glob(f"submitted/{STUDENT}/*/*.ipynb")
    name = path.stem
    released = nbformat.read(root / "released.ipynb", as_version=4)
    try:
        submission = nbformat.read(path, as_version=4)
    except Exception as problem:
        raise NotGraded(f"the file is no notebook: {problem}") from problem
    submission, found = mended(submission, released)
    nbformat.write(submission, path)

    settings = config(root)
    settings.ExecuteSubmission.timeout, settings.ExecuteSubmission.seconds = cell_seconds, seconds
    course = CourseDirectory(config=settings, assignment_id=name, student_id=STUDENT)
    autograde, said = Autograde(coursedir=course, config=settings), Said()
    autograde.log.addHandler(said)
    try:
        autograde.start()
    except NbGraderException as problem:
        raise NotGraded(said.reason or str(problem)) from problem

    graded = nbformat.read(root / "autograded" / STUDENT / name / path.name, as_version=4)
    notes = stopped(graded)
    for what, names in found.items():
        if names:
            everything = len(names) == sum(1 for cell in released.cells if grade_id(cell))
            notes.append(f"{what}: {'the cells of all tasks' if everything else ', '.join(sorted(names))}")
    if not answered(submission, released) and not found["missing"]:
        notes.append("empty: nothing was answered")
    with Gradebook(course.db_url) as book_of_marks:
        mine = book_of_marks.find_submission_notebook(name, name, STUDENT)
        return {
            "grades": {grade.name: grade.auto_score for grade in mine.grades},
            "comments": {comment.name: comment.auto_comment for comment in mine.comments},
            "notes": notes,
        }


def main(folder: str, cell_seconds: int, seconds: int) -> None:
    """Grade the submission in a folder, in this process, which is of no other use afterwards."""
    root = Path(folder)
    if hasattr(os, "setsid"):
        os.setsid()  # a submission that signals its group reaches no other
    os.environ.update(run.kernel_environment())
    os.environ.pop("MPLBACKEND", None)
    with (root / "log").open("w") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    try:
        result = grade(root, cell_seconds, seconds)
    except Exception as problem:
        traceback.print_exc()
        name = "" if isinstance(problem, NotGraded) else f"{type(problem).__name__}: "
        result = {"error": f"{name}{' '.join(str(problem).split())}"[:200]}
        if not (root / "released.ipynb").exists():
            result = {"error": "it deleted the folder in which it was graded"}
    root.mkdir(exist_ok=True)
    (root / "result.json").write_text(json.dumps(result), encoding="utf-8")
