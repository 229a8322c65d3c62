"""The course in a box: what students get, and what becomes of what they hand in."""

import csv
import os
import re
import sqlite3
from contextlib import closing
from copy import deepcopy

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from nbgrader.api import Gradebook

from chapters import each_sheet, parse, read, with_sheets
from classroom import blank, changed, hand_in, named, solved, without
from tools import course, grading
from vaebook.checks import Mistake
from vaebook.checks.base import STUB

SHEET = next(chapter for chapter in with_sheets if chapter.number == "4.3")
# It counts the cells of the sheet, and who renames them changes the numbers below.
LOCKED = [
    "task-1-check", "task-2-bernoulli-check", "task-2-gaussian-check", "task-3-check", "task-4-check",
    "task-5-check",
]  # fmt: skip


# --- what students get ---


@each_sheet
def test_nothing_of_a_solution_is_handed_out(chapter):
    handed_out = {grading.grade_id(cell): cell.source for cell in blank(chapter).cells}
    text = "\n".join(cell.source for cell in blank(chapter).cells)
    assert not re.search("(BEGIN|END) SOLUTION|HIDDEN TESTS", text)
    for cell in read(chapter.sheet.path).cells:
        if not cell.metadata.get("nbgrader", {}).get("solution"):
            continue
        rest = handed_out[grading.grade_id(cell)]
        if cell.cell_type == "markdown":
            assert rest == "*Write your answer here.*"
        else:
            assert f'raise NotImplementedError("{STUB}")' in rest
            for region in re.findall(r"BEGIN SOLUTION\n(.*?)\n *### END", cell.source, re.S):
                assert region not in rest
        assert rest != cell.source


@each_sheet
def test_what_is_handed_out_has_no_link_that_leads_nowhere(chapter):
    for cell in blank(chapter).cells:
        assert not re.search(r"\]\((?!https?:)", cell.source), cell.source
    for cell in course.to_keep(chapter).cells:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", cell.source):
            folder = course.book.ROOT / "exercises"
            other = course.book.ROOT / "notebooks" / "exercises" / link
            assert (folder / link).resolve().exists() or other.exists(), link


@each_sheet
def test_a_sheet_runs_up_to_the_first_task_and_says_what_to_do(chapter, no_leftovers):
    names, raised = {}, None
    for cell in blank(chapter).cells:
        if cell.cell_type == "code":
            try:
                exec(compile(parse(cell.source), "cell", "exec"), names)
            except (Mistake, NotImplementedError) as error:
                raised = error
                break
    assert raised, "nothing of a sheet without answers fails"
    assert cell.metadata.nbgrader.grade_id.startswith("task-1"), "the first task is the first to fail"
    assert "write your answer in place of that line" in str(raised) or STUB in str(raised)


def test_a_sheet_of_the_learner_is_never_overwritten(tmp_path, capsys):
    course.exercises([SHEET], tmp_path)
    path = tmp_path / "exercises" / SHEET.sheet.path.name
    assert "SOLUTION" not in path.read_text(encoding="utf-8")
    path.write_text("my answers")
    course.exercises([SHEET], tmp_path)
    assert path.read_text() == "my answers"
    assert "left as it is" in capsys.readouterr().out


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(course.CourseError, match="make release"):
        course.grade([], tmp_path)
    sqlite3.connect(tmp_path / "gradebook.db").close()
    with pytest.raises(course.CourseError, match="submitted/STUDENT/SHEET/SHEET.ipynb"):
        course.grade([], tmp_path)


# --- a submission is mended before it is graded ---


def sources(notebook) -> dict[str, str]:
    return {grading.grade_id(cell): cell.source for cell in notebook.cells if grading.grade_id(cell)}


def test_a_submission_that_is_as_it_should_be_stays():
    mine, found = grading.mended(solved(SHEET), blank(SHEET))
    assert sources(mine) == sources(solved(SHEET))
    assert not any(found.values())


@pytest.mark.parametrize("name", ["task-1", "task-3-check", "task-5-check", "task-6-text"])
def test_a_missing_cell_comes_back_in_its_place(name):
    mine, found = grading.mended(without(solved(SHEET), name), blank(SHEET))
    assert found == {"missing": [name], "changed": [], "twice": []}
    assert list(sources(mine)) == list(sources(blank(SHEET)))
    assert sources(mine)[name] == sources(blank(SHEET))[name]
    places = [[c.source for c in nb.cells].index(named(nb, name).source) for nb in (mine, blank(SHEET))]
    assert places[0] == places[1]


def test_changed_checks_and_metadata_are_as_released():
    broken = changed(solved(SHEET), task_1_check="print('fine')")
    named(broken, "task-2-gaussian-check").metadata.nbgrader.update(points=100, solution=True, grade=False)
    other = named(broken, "task-3")
    other["cell_type"] = "markdown"
    other.pop("outputs"), other.pop("execution_count")
    mine, found = grading.mended(broken, blank(SHEET))
    assert sorted(found["changed"]) == ["task-1-check", "task-3"]
    for name in LOCKED:
        assert named(mine, name).source == named(blank(SHEET), name).source
        assert named(mine, name).metadata == named(blank(SHEET), name).metadata
    assert named(mine, "task-3").cell_type == "code"
    assert named(mine, "task-3").source == named(solved(SHEET), "task-3").source


def test_of_two_cells_with_one_name_the_last_counts():
    doubled = solved(SHEET)
    doubled.cells.insert(3, deepcopy(named(doubled, "task-1")))
    named(doubled, "task-1").source = "def kl_to_standard_normal(mu, log_var): return 0"
    mine, found = grading.mended(doubled, blank(SHEET))
    assert found["twice"] == ["task-1"]
    assert named(mine, "task-1").source == named(solved(SHEET), "task-1").source


def test_feedback_hides_tests_and_needs_no_network():
    hidden = "check.a(f)\n### BEGIN HIDDEN TESTS\nassert secret\n### END HIDDEN TESTS\n"
    test = new_notebook(cells=[deepcopy(named(blank(SHEET), "task-1-check"))]).cells[0]
    test.source = hidden
    shown, _ = grading.HideTests().preprocess_cell(test, {}, 0)
    assert shown.source == "check.a(f)\n"
    formula = new_notebook(cells=[new_markdown_cell(r"So $\mu^2$ and $$\frac$$ and $\sigma$")])
    text = grading.FeedbackExporter().from_notebook_node(formula, {"nbgrader": {}})[0]
    assert text.count("<math") == 2, "the formula that is broken stays as it is"
    assert r"<code>\frac</code>" in text


# --- a class ---

CLASS = {
    "right": lambda: solved(SHEET),
    "blank": lambda: blank(SHEET),
    "hangs": lambda: changed(solved(SHEET), task_3="while True:\n    pass"),
    "ends its kernel": lambda: changed(solved(SHEET), task_3="import os\nos._exit(1)"),
    "ends [what] grades": lambda: changed(solved(SHEET), task_3="import os\nos.kill(os.getppid(), 9)"),
    "raises": lambda: changed(solved(SHEET), task_3="1 / 0"),
    "tampers": lambda: without(
        changed(
            solved(SHEET),
            task_1="def kl_to_standard_normal(mu, log_var): ...\ncheck.kl_to_standard_normal = print",
            task_2_bernoulli_check="print('fine')",
        ),
        "task-3-check",
        "task-6-text",
    ),
    "empty": lambda: "",
    "broken": lambda: '{"cells": [',
}
STATES = {
    "right": (14, "graded"),
    "blank": (0, "empty: nothing was answered"),
    "hangs": (12, "hung in task-3"),
    "ends its kernel": (7, "ended its kernel in task-3"),
    "ends [what] grades": (0, "not graded: its process ended by itself, with code -9"),
    "raises": (12, "graded"),
    # Its KL is wrong, and what is built upon it.
    "tampers": (5, "missing: task-3-check, task-6-text; changed: task-2-bernoulli-check"),
    "empty": (0, "not graded: the file is empty"),
    "broken": (
        0,
        "not graded: the file is no notebook: Notebook does not appear to be JSON: '{\"cells\": ['",
    ),
    "named wrongly": (0, f"not graded: expected {SHEET.stem}.ipynb, found mine.ipynb"),
    "absent": (0, "no submission"),
}


def lines(folder) -> dict[str, dict]:
    with (folder / "marks.csv").open(encoding="utf-8") as file:
        return {line["student"]: line for line in csv.DictReader(file)}


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    """The folder of a course after grading, and what was handed in."""
    folder = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", course.path())
        course.release([SHEET], folder)
        handed_in = [hand_in(folder, name, SHEET, make()) for name, make in CLASS.items()]
        other = hand_in(folder, "named wrongly", SHEET, "x")
        handed_in.append(other.rename(other.with_name("mine.ipynb")))
        (folder / "submitted" / "absent").mkdir()
        before = {path: path.read_bytes() for path in handed_in}
        course.grade([], folder, jobs=2, cell_seconds=15, seconds=100)
        yield folder, before


def page(folder, student: str) -> str:
    return (folder / "feedback" / student / SHEET.stem / f"{SHEET.stem}.html").read_text(encoding="utf-8")


def test_release_is_what_is_handed_out(classroom):
    folder, _ = classroom
    (path,) = [path for path in (folder / "release").rglob("*") if path.is_file()]
    assert path == folder / "release" / SHEET.stem / f"{SHEET.stem}.ipynb"
    assert [cell.source for cell in read(path).cells] == [cell.source for cell in blank(SHEET).cells]
    assert not list(folder.rglob("*.md"))


@pytest.mark.parametrize("student", STATES)
def test_every_submission_gets_its_marks_and_harms_no_other(classroom, student):
    folder, _ = classroom
    line = lines(folder)[student]
    points, state = STATES[student]
    assert (float(line["automatic"]), line["state"]) == (points, state)
    assert (float(line["total"]), float(line["max"])) == (points, 17)


def test_a_text_waits_for_the_teacher_unless_there_is_none(classroom):
    folder, _ = classroom
    waits = {name for name, line in lines(folder).items() if line["written"] == course.TO_BE_GRADED}
    assert waits == {"right", "hangs", "ends its kernel", "raises"}


def test_what_was_handed_in_is_as_it_was(classroom):
    folder, before = classroom
    after = {path: path.read_bytes() for path in (folder / "submitted").rglob("*") if path.is_file()}
    assert after == before


def test_everyone_who_handed_in_gets_a_page_that_needs_no_network(classroom):
    folder, _ = classroom
    for student in STATES.keys() - {"absent"}:
        text = page(folder, student)
        assert not re.search(r"<script|<link|src=.http", text), student
    assert "not answered yet: write your answer" in page(folder, "blank")
    assert "the file is empty" in page(folder, "empty")
    assert "to be graded / 3.0" in page(folder, "right")
    assert "ended in a cell before this one" in page(folder, "ends its kernel")


def test_one_gradebook_without_the_students_of_others(classroom, tmp_path):
    folder, _ = classroom
    course.template(folder, tmp_path / "gradebook.db")
    with closing(sqlite3.connect(tmp_path / "gradebook.db")) as empty:
        assert empty.execute("SELECT count(*) FROM student").fetchone() == (0,)
        assert empty.execute("SELECT count(*) FROM source_cell").fetchone() == (13,)
    assert b"right" not in (tmp_path / "gradebook.db").read_bytes()


def test_marks_given_by_hand_stay(classroom, monkeypatch):
    folder, _ = classroom
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as marks:
        for student in ("right", "raises"):
            mine = marks.find_grade("task-6-text", SHEET.stem, SHEET.stem, student)
            mine.manual_score, mine.needs_manual_grade = 2.0, False
            said = marks.find_comment("task-6-text", SHEET.stem, SHEET.stem, student)
            said.manual_comment = "Well said."
        marks.db.commit()
    hand_in(folder, "raises", SHEET, solved(SHEET))
    graded = []
    run_one = course.run_one
    monkeypatch.setattr(
        course, "run_one", lambda one, *rest: graded.append(one.student) or run_one(one, *rest)
    )
    course.grade([], folder)
    assert graded == ["raises"], "what is unchanged is not graded again"
    line = lines(folder)["right"]
    assert (line["automatic"], line["written"], line["total"]) == ("14.0", "2.0", "16.0")
    assert "Well said." in page(folder, "right")
    assert re.search(r"task-6-text</a> \(Score: 2.0 / 3.0\)", page(folder, "right"))
    line = lines(folder)["raises"]
    assert (line["automatic"], line["written"], line["total"]) == ("14.0", course.TO_BE_GRADED, "16.0"), (
        "the mark was given to another text, so it stays and the teacher looks again"
    )


def test_what_lies_in_a_wrong_place_is_named(tmp_path):
    for name in ("stray.ipynb", "ann/4_3.ipynb", f"ann/{SHEET.stem}/{SHEET.stem}.ipynb", ".hidden"):
        path = tmp_path / "submitted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    class Marks:
        assignments = [type("", (), {"name": SHEET.stem})]

    found = course.strays(tmp_path, Marks)
    assert found == [os.path.join("submitted", "ann", "4_3.ipynb"), os.path.join("submitted", "stray.ipynb")]
