"""Each sheet of exercises has the parts that grading and learners count on."""

import ast
import re

import pytest
from nbformat import NotebookNode

from chapters import each_sheet, parse, read
from tools import grading

HEADING = re.compile(r"^## Task (\d+) · (.+) \((\d+) points?\)$", re.M)
CODE = {"solution": True, "grade": False, "locked": False, "task": False}
CHECK = {"solution": False, "grade": True, "locked": True, "task": False}
TEXT = {"solution": True, "grade": True, "locked": False, "task": False}


def about(cell: NotebookNode) -> dict:
    return cell.metadata.get("nbgrader", {})


def kind(cell: NotebookNode) -> dict:
    """What a graded cell is: one of CODE, CHECK, TEXT."""
    return {name: about(cell)[name] for name in CODE}


def tasks(chapter) -> list[list[NotebookNode]]:
    """The cells of each task, the one with its heading first."""
    found = []
    for cell in read(chapter.sheet.path).cells:
        if (
            cell.cell_type == "markdown"
            and re.search(r"^#+ ", cell.source, re.M)
            and not cell.metadata.get("tags")
        ):
            found.append([])
        if found:
            found[-1].append(cell)
    return found


def names(cell: NotebookNode) -> set[str]:
    return {node.id for node in ast.walk(parse(cell.source)) if isinstance(node, ast.Name)}


@each_sheet
def test_three_to_six_tasks_with_numbers_and_points(chapter):
    sections = tasks(chapter)
    assert 3 <= len(sections) <= 6
    for number, cells in enumerate(sections, start=1):
        heading = HEADING.search(cells[0].source)
        assert heading, (
            f"a heading must look like `## Task {number} · Title (3 points)`: {cells[0].source[:60]}"
        )
        assert len(re.findall(r"^#+ ", cells[0].source, re.M)) == 1
        assert int(heading[1]) == number
        points = sum(about(cell).get("points", 0) for cell in cells)
        assert int(heading[3]) == points, f"task {number}: the heading says {heading[3]}, the cells {points}"
        assert points > 0


@each_sheet
def test_graded_cells_are_of_three_kinds(chapter):
    found = [cell for cell in read(chapter.sheet.path).cells if about(cell)]
    ids = [grading.grade_id(cell) for cell in found]
    assert len(set(ids)) == len(ids), "a grade id stands twice"
    for cell in found:
        assert about(cell)["schema_version"] == 3
        assert kind(cell) in ((CODE, CHECK) if cell.cell_type == "code" else (TEXT,)), about(cell)
        assert ("points" in about(cell)) == about(cell)["grade"]


@each_sheet
def test_every_answer_belongs_to_its_task_and_has_a_check(chapter):
    for number, cells in enumerate(tasks(chapter), start=1):
        graded = [cell for cell in cells if about(cell)]
        assert all(re.match(rf"task-{number}(-|$)", grading.grade_id(cell)) for cell in graded)
        code = [cell for cell in graded if cell.cell_type == "code"]
        assert not code or kind(code[-1]) == CHECK, f"task {number}: no check after the last answer"
        assert not code or kind(code[0]) == CODE, f"task {number}: a check before the first answer"


@each_sheet
def test_code_answers_alone_have_regions_for_solutions(chapter):
    for cell in read(chapter.sheet.path).cells:
        begun, ended = (
            len(re.findall(f"^ *### {end} SOLUTION$", cell.source, re.M)) for end in ("BEGIN", "END")
        )
        assert begun == ended
        assert (begun > 0) == (bool(about(cell)) and kind(cell) == CODE), cell.source[:80]


@each_sheet
def test_a_check_cell_is_one_call_of_a_check(chapter):
    for cell in read(chapter.sheet.path).cells:
        if about(cell) and kind(cell) == CHECK:
            visible = re.sub(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", "", cell.source, flags=re.S)
            assert re.match(r"check\.\w+\(", visible.strip())
            assert len(parse(visible).body) == 1


@each_sheet
def test_one_written_answer_with_a_rubric(chapter):
    found = [cell for cell in read(chapter.sheet.path).cells if about(cell) and kind(cell) == TEXT]
    assert len(found) == 1
    (cells,) = [cells for cells in tasks(chapter) if found[0] in cells]
    prose = "\n".join(cell.source for cell in cells[: cells.index(found[0])])
    assert re.search(r"^Points:", prose, re.M), (
        "say what each point is for, in a paragraph that begins `Points:`"
    )


@each_sheet
def test_a_prediction_stands_before_what_measures(chapter):
    found = 0
    for cells in tasks(chapter):
        for place, cell in enumerate(cells):
            if (grading.grade_id(cell) or "").endswith("-predict"):
                found += 1
                code = [cell for cell in cells[place + 1 :] if cell.cell_type == "code"]
                assert code and not about(code[0]), "the cell that measures comes next"
                check = next((cell for cell in code if about(cell)), None)
                assert check and check.source.startswith("check.predict_")
                assert about(check)["points"] == 1
                before = "\n".join(cell.source for cell in cells[:place])
                assert len(re.findall(r"^- \*\*[a-d]\*\* ", before, re.M)) >= 3, "options a, b, c"
                assert "prediction" in names(check)
    assert found, "a sheet has at least one prediction"


@pytest.mark.parametrize(
    "heading", ["## Task 1 (3 points)", "## Task 1 · A (3)", "### Task 1 · A (3 points)"]
)
def test_a_wrong_heading_is_seen(heading):
    assert not HEADING.search(heading)
