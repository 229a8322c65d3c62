"""A course in a box, with nbgrader: `python -m tools.course release|grade|exercises [sheet ...]`.

`release` writes the sheets without solutions, for students, to `release/`. `grade` grades what lies in
`submitted/STUDENT/SHEET/SHEET.ipynb`, several submissions at once, and writes `autograded/`, `feedback/` and
`marks.csv`. `exercises` is for a learner without a teacher: the sheets without solutions, in `exercises/`.

Each submission runs in a process and a folder of its own (tools.grading). This process alone writes the
gradebook, so nothing that a submission does to its surroundings reaches another, and marks and comments that
were given by hand in formgrader stay.
"""

import argparse
import csv
import hashlib
import html
import json
import multiprocessing
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from nbformat import NotebookNode
from nbgrader import preprocessors
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import GenerateAssignment, GenerateFeedback
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory

from tools import grading, pairs
from vaebook import book

HAND_IN = "Save the notebook, and hand in the file `{name}.ipynb` under this name."
MARKS = ("student", "sheet", "automatic", "written", "total", "max", "state", "seconds")
TO_BE_GRADED = "to be graded"
SPARE = 300  # seconds that starting a kernel, importing PyTorch, saving and ending may take
# A server that has imported nbgrader once, and forks a process for each submission. Windows has none.
PROCESSES = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
PROCESSES.set_forkserver_preload(["tools.grading"])


class CourseError(Exception):
    """Something is missing; the message says what to do."""


# --- sheets without solutions -------------------------------------------------------------------------------


def source(chapter: book.Chapter) -> NotebookNode:
    """A sheet with its solutions and without outputs, as nbgrader takes it."""
    notebook = pairs.read(chapter.sheet.path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # Without "formats" a student's Jupyter would write a text twin beside the sheet, as jupytext.toml says.
    notebook.metadata = {"kernelspec": dict(pairs.KERNEL), "jupytext": {"formats": "ipynb"}}
    return notebook


def to_hand_out(chapter: book.Chapter) -> NotebookNode:
    """The source of a sheet that students take to a place of their own: no links that lead nowhere there."""
    notebook = source(chapter)
    ways = book.sheet_navigation(chapter), f"Chapter {chapter.number}: `notebooks/{chapter.path.name}`"
    notebook.cells[0].source = book.sheet_opening(chapter).replace(*ways)
    notebook.cells[-1].source = HAND_IN.format(name=chapter.stem)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\[([^]]+)\]\((?!https?:)[^)]*\.ipynb[^)]*\)", r"\1", cell.source)
    return notebook


def to_keep(chapter: book.Chapter) -> NotebookNode:
    """The source of a sheet for `exercises/`, whose links lead to the chapters."""
    notebook = source(chapter)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("](../", "](../notebooks/")
    return notebook


def unsolved(notebook: NotebookNode) -> NotebookNode:
    """A sheet without solutions and hidden tests."""
    settings = grading.config(book.ROOT)
    for step in (
        preprocessors.LockCells,
        preprocessors.ClearSolutions,
        preprocessors.ClearHiddenTests,
        preprocessors.ComputeChecksums,
        preprocessors.CheckCellMetadata,
    ):
        notebook, _ = step(config=settings)(notebook, {})
    return notebook


def exercises(chapters: list[book.Chapter], course: Path) -> None:
    """Write the sheets of these chapters to `exercises/`, those alone that are not there yet."""
    for chapter in chapters:
        path = course / "exercises" / chapter.sheet.path.name
        if path.exists():
            print(f"{path.relative_to(course)}: left as it is, with your answers")
        else:
            pairs.write_notebook(path, unsolved(to_keep(chapter)))
            print(f"{path.relative_to(course)}: written")


def release(chapters: list[book.Chapter], course: Path) -> None:
    """Write the sheets of these chapters to `release/`, and what they are made of to the gradebook.

    Raises:
        CourseError: a sheet's tasks are not those that the gradebook has submissions for.
    """
    settings = grading.config(course)
    for chapter in chapters:
        name = chapter.stem
        folder = course / settings.CourseDirectory.source_directory / name
        shutil.rmtree(folder, ignore_errors=True)
        pairs.write_notebook(folder / f"{name}.ipynb", to_hand_out(chapter))
        directory = CourseDirectory(config=settings, assignment_id=name)
        try:
            GenerateAssignment(coursedir=directory, config=settings, force=True).start()
        except NbGraderException as problem:
            raise CourseError(
                f"{name} was not released: {problem} If its tasks are others than those that were graded, "
                f"remove the graded ones first: nbgrader db assignment remove {name} --force"
            ) from problem
        print(f"release/{name}/{name}.ipynb: written")


# --- grading ------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """What is known of a submission besides its marks; kept in `_build/grading/STUDENT/SHEET.json`.

    Attributes:
        key: a hash of what was graded: the submission, and the sheet as it was released.
        state: "graded", or what a teacher should know.
        graded: whether it ran, so that there are marks and a feedback page.
        seconds: that grading took.
        shown: a hash of what the feedback page shows.
    """

    key: str = ""
    state: str = "no submission"
    graded: bool = False
    seconds: float = 0.0
    shown: str = ""


@dataclass(frozen=True)
class Submission:
    """Where a student's answers to a sheet are, and what is made of them."""

    course: Path
    student: str
    sheet: str

    def file(self, folder: str, suffix: str = ".ipynb") -> Path:
        return self.course / folder / self.student / self.sheet / f"{self.sheet}{suffix}"

    @property
    def path(self) -> Path:
        return self.file("submitted")

    @property
    def released(self) -> Path:
        return self.course / "release" / self.sheet / f"{self.sheet}.ipynb"

    @property
    def key(self) -> str:
        return hashlib.sha256(self.path.read_bytes() + self.released.read_bytes()).hexdigest()

    @property
    def memory(self) -> Path:
        return self.course / "_build" / "grading" / self.student / f"{self.sheet}.json"

    def record(self) -> Record:
        try:
            return Record(**json.loads(self.memory.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return Record()

    def remember(self, record: Record) -> None:
        pairs.write(self.memory, json.dumps(asdict(record)) + "\n")

    def problem(self) -> str:
        """Why there is nothing to grade; empty if there is a file."""
        folder = self.path.parent
        if not folder.is_dir():
            return "no submission"
        if not self.path.is_file():
            others = sorted(path.name for path in folder.iterdir())
            return f"not graded: expected {self.path.name}, found {', '.join(others) or 'nothing'}"
        if not self.path.stat().st_size:
            return "not graded: the file is empty"
        return ""


def template(course: Path, path: Path) -> None:
    """Copy the gradebook to `path`, without students and marks."""
    with closing(sqlite3.connect(course / "gradebook.db")) as all_, closing(sqlite3.connect(path)) as copy:
        all_.backup(copy)
        for table in ("grade", "comment", "submitted_notebook", "submitted_assignment", "student"):
            copy.execute(f"DELETE FROM {table}")
        copy.commit()
        copy.execute("VACUUM")


def end(pid: int) -> None:
    """End a process and all that it started."""
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def run_one(submission: Submission, empty: Path, cell_seconds: int, seconds: int) -> tuple[dict, float]:
    """Grade one submission in a process of its own, and return what it found and the seconds that it took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="vaebook-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        path = root / "submitted" / grading.STUDENT / submission.sheet / submission.path.name
        path.parent.mkdir(parents=True)
        shutil.copyfile(submission.path, path)
        shutil.copyfile(submission.released, root / "released.ipynb")
        shutil.copyfile(empty, root / "gradebook.db")
        process = PROCESSES.Process(target=grading.main, args=(folder, cell_seconds, seconds))
        process.start()
        try:
            process.join(seconds + SPARE)
            ended = f"its process ended by itself, with code {process.exitcode}"
            if process.is_alive():
                ended = f"its process had not ended after {seconds + SPARE} s"
        finally:
            end(process.pid)
            process.join()
        try:
            result = json.loads((root / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            result = {"error": ended}
        graded = root / "autograded" / grading.STUDENT / submission.sheet / submission.path.name
        shutil.rmtree(submission.file("autograded").parent, ignore_errors=True)
        if "error" not in result:
            submission.file("autograded").parent.mkdir(parents=True)
            shutil.copyfile(graded, submission.file("autograded"))
    return result, time.perf_counter() - start


def save(marks: Gradebook, submission: Submission, result: dict, same: bool) -> None:
    """Put what was found into the gradebook; what a teacher gave by hand stays.

    Args:
        same: whether this submission was graded before, so that marks given by hand are for this one.
    """
    sheet, student = submission.sheet, submission.student
    with marks.db.no_autoflush:
        marks.update_or_create_student(student)
        marks.update_or_create_submission(sheet, student)
    mine = marks.find_submission_notebook(sheet, sheet, student)
    for grade in mine.grades:
        grade.auto_score = result.get("grades", {}).get(grade.name, 0.0)
        if grade.manual_score is None:
            grade.needs_manual_grade = grade.auto_score is None
        elif not same:
            grade.needs_manual_grade = True
    for comment in mine.comments:
        comment.auto_comment = result.get("comments", {}).get(comment.name)
    marks.db.commit()


class Feedback:
    """Writes feedback pages, as `nbgrader generate_feedback` does, for students of any name."""

    def __init__(self, course: Path, marks: Gradebook):
        settings = grading.config(course)
        self.marks, self.directory = marks, CourseDirectory(config=settings)
        converter = GenerateFeedback(coursedir=self.directory, config=settings)
        self.exporter = converter.exporter_class(parent=converter, config=converter.config)
        for step in converter.preprocessors:
            self.exporter.register_preprocessor(step)

    def write(self, submission: Submission, record: Record) -> None:
        """Write the page of a submission, unless it is there and shows what it should."""
        page, sheet = submission.file("feedback", ".html"), submission.sheet
        mine = self.marks.find_submission_notebook(sheet, sheet, submission.student)
        given = sorted((grade.name, grade.score, grade.needs_manual_grade) for grade in mine.grades)
        said = sorted((comment.name, comment.comment) for comment in mine.comments)
        shown = hashlib.sha256(json.dumps([record.key, record.state, given, said]).encode()).hexdigest()
        if page.exists() and shown == record.shown:
            return
        if record.graded:
            about = {"student": submission.student, "assignment": sheet, "notebook": sheet}
            about["db_url"] = self.directory.db_url
            about["state"] = record.state
            about["waiting"] = [name for name, _, waits in given if waits]
            notebook = pairs.read(submission.file("autograded"))
            text, _ = self.exporter.from_notebook_node(notebook, {"nbgrader": about, "unique_key": sheet})
        else:
            state = html.escape(f"{sheet}: {record.state}")
            text = f'<!DOCTYPE html>\n<meta charset="utf-8">\n<title>{state}</title>\n<p>{state}</p>\n'
        pairs.write(page, text)
        record.shown = shown
        submission.remember(record)


def row(marks: Gradebook, submission: Submission, record: Record) -> dict:
    """A line of marks.csv."""
    sheet, student = submission.sheet, submission.student
    line = dict.fromkeys(MARKS, "")
    line |= {"student": student, "sheet": sheet, "state": record.state, "seconds": f"{record.seconds:.1f}"}
    line["max"] = marks.find_notebook(sheet, sheet).max_score
    try:
        grades = marks.find_submission_notebook(sheet, sheet, student).grades
    except MissingEntry:
        return {**line, "automatic": 0.0, "written": 0.0, "total": 0.0, "seconds": ""}
    for kind, cells in (("automatic", "code"), ("written", "markdown")):
        mine = [grade for grade in grades if grade.cell.cell_type == cells]
        waits = any(grade.needs_manual_grade for grade in mine)
        line[kind] = TO_BE_GRADED if waits else sum(grade.score for grade in mine)
    return {**line, "total": sum(grade.score for grade in grades)}


def submissions(course: Path, marks: Gradebook) -> Iterator[Submission]:
    """Every student with every sheet that was released, and that somebody has handed in."""
    folder = course / "submitted"
    here = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}
    students = sorted(here | {student.id for student in marks.students})
    for sheet in sorted(assignment.name for assignment in marks.assignments):
        if any((folder / student / sheet).is_dir() for student in students):
            yield from (Submission(course, student, sheet) for student in students)


def strays(course: Path, marks: Gradebook) -> list[str]:
    """What lies in `submitted/` where it is not looked for."""
    sheets = {assignment.name for assignment in marks.assignments}
    found = [path for path in (course / "submitted").iterdir() if not path.is_dir()]
    for student in (course / "submitted").iterdir():
        if student.is_dir():
            found += [path for path in student.iterdir() if path.name not in sheets or not path.is_dir()]
    return [str(path.relative_to(course)) for path in sorted(found) if not path.name.startswith(".")]


def grade(
    names: list[str],
    course: Path,
    jobs: int | None = None,
    again: bool = False,
    cell_seconds: int = 60,
    seconds: int = 300,
) -> list[dict]:
    """Grade what was handed in and is new or changed; returns the lines of marks.csv.

    Args:
        names: of the sheets; all if none.
        jobs: submissions at a time; as many as there are cores if None.
        again: whether to grade all of them.
        cell_seconds, seconds: that a cell and a submission may take.

    Raises:
        CourseError: nothing was released, or nothing handed in.
    """
    if not (course / "gradebook.db").exists():
        raise CourseError("There is no gradebook.db, so no sheet was released. Run `make release` first.")
    if not (course / "submitted").is_dir():
        raise CourseError(
            "There is no folder submitted/. What students hand in belongs there, as "
            "submitted/STUDENT/SHEET/SHEET.ipynb"
        )
    start = time.perf_counter()
    url = f"sqlite:///{(course / 'gradebook.db').resolve()}"
    with Gradebook(url) as marks, tempfile.TemporaryDirectory(prefix="vaebook-") as folder:
        everyone = list(submissions(course, marks))
        empty = Path(folder) / "gradebook.db"
        template(course, empty)
        todo = []
        for submission in everyone:
            record, problem = submission.record(), submission.problem()
            if names and submission.sheet not in names:
                continue
            if not submission.released.is_file():
                problem = problem or f"not graded: there is no {submission.released.relative_to(course)}"
            if problem == "no submission":
                submission.memory.unlink(missing_ok=True)
            elif problem:
                finish(marks, submission, Record(state=problem), {}, record)
            elif again or record.key != submission.key:
                todo.append(submission)
        jobs = max(1, min(jobs or os.cpu_count() or 1, len(todo)))
        print(f"To grade: {len(todo)}, {jobs} at a time.", flush=True)
        with ThreadPoolExecutor(jobs) as pool:
            try:
                futures = {pool.submit(run_one, s, empty, cell_seconds, seconds): s for s in todo}
                for future in as_completed(futures):
                    submission, (result, took) = futures[future], future.result()
                    error = result.get("error")
                    state = f"not graded: {error}" if error else "; ".join(result["notes"]) or "graded"
                    record = Record(submission.key, state, not error, took)
                    finish(marks, submission, record, result, submission.record())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    end(child.pid)
                raise
        wall = time.perf_counter() - start
        rows, feedback = [], Feedback(course, marks)
        for submission in everyone:
            record = submission.record()
            if submission.memory.exists():
                feedback.write(submission, record)
            rows.append(row(marks, submission, record))
        with (course / "marks.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, MARKS)
            table.writeheader()
            table.writerows(rows)
        if todo:
            print(f"\n{wall:.0f} s, which is {wall / len(todo):.1f} s a submission")
        report(rows, strays(course, marks))
    return rows


def finish(marks: Gradebook, submission: Submission, record: Record, result: dict, before: Record) -> None:
    """Keep what came of a submission, and print it."""
    save(marks, submission, result, record.key == before.key)
    submission.remember(record)
    line = row(marks, submission, record)
    print(
        f"{submission.student}  {submission.sheet}: {line['total']:g} of {line['max']:g}"
        f"{', text to be graded' if line['written'] == TO_BE_GRADED else ''}  ({record.state}, "
        f"{record.seconds:.1f} s)",
        flush=True,
    )


def report(rows: list[dict], unknown: list[str]) -> None:
    """Print what a teacher should look at."""
    waiting = [row for row in rows if TO_BE_GRADED in row.values()]
    odd = [row for row in rows if row["state"] not in ("graded", "no submission")]
    missing = [row for row in rows if row["state"] == "no submission"]
    print("\nThe marks are in marks.csv, the pages for students in feedback/.")
    if waiting:
        print(f"With answers to be graded by hand, in formgrader: {len(waiting)}.")
    if missing:
        print(f"Not handed in: {len(missing)}.")
    if odd or unknown:
        print("Please look at:")
    for row in odd:
        print(f"  {row['student']}  {row['sheet']}: {row['state']}")
    for path in unknown:
        print(f"  {path}: not looked at; expected submitted/STUDENT/SHEET/SHEET.ipynb of a released sheet")


def path() -> str:
    """A PATH with the programs of this environment: nbgrader calls alembic by its name."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


# --- the command --------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.course", description="A course in a box.")
    parser.add_argument("--course", type=Path, default=book.ROOT, help="the folder of the course")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("release", "write the sheets for students to release/"),
        ("exercises", "write the sheets for a learner without a teacher to exercises/"),
        ("grade", "grade submitted/, and write feedback/ and marks.csv"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("names", nargs="*", metavar="sheet", help="a chapter's number; all if none")
    command.add_argument("-j", "--jobs", type=int, metavar="N", help="at a time (default: one for a core)")
    command.add_argument("--again", action="store_true", help="also what was graded before and is unchanged")
    command.add_argument("--cell-seconds", type=int, default=60, metavar="S", help="for a cell (60)")
    command.add_argument("--seconds", type=int, default=300, metavar="S", help="for a submission (300)")
    options = parser.parse_args(arguments)

    sheets = [chapter for chapter in book.chapters() if chapter.sheet]
    chosen = []
    for wanted in options.names:
        named = [c for c in sheets if wanted == c.number or c.stem.startswith(wanted)]
        if not named:
            parser.error(f"no sheet {wanted!r}; there are {', '.join(c.number for c in sheets)}")
        chosen += [c for c in named if c not in chosen]
    os.environ["PATH"] = path()
    course = options.course.resolve()
    try:
        if options.command == "grade":
            limits = {"cell_seconds": options.cell_seconds, "seconds": options.seconds}
            grade([c.stem for c in chosen], course, options.jobs, options.again, **limits)
        else:
            {"release": release, "exercises": exercises}[options.command](chosen or sheets, course)
    except CourseError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
