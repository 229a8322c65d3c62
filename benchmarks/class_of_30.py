"""A class of 30 hands in, right, wrong and hostile, and is graded.

    python benchmarks/class_of_30.py [-j 2] [4.3 ...]

Every wrong answer is one of the gallery in tests/gallery, and so are right answers in other styles. The
script counts how many wrong answers are named for what they are in the feedback that a student gets. All
happens in a temporary folder, as `make release` and `make grade` would do it. The result is written to
benchmarks/results/class_of_30.json.
"""

import argparse
import ast
import html
import json
import os
import re
import statistics
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

from nbformat import NotebookNode

from tools import course, grading
from vaebook import book

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "class_of_30.json"
TESTS = HERE.parent / "tests"
sys.path.append(str(TESTS))
import gallery  # noqa: E402
from classroom import blank, changed, hand_in, solved, without  # noqa: E402

# How many hand in what; the rest of the 30 have one or two answers from the gallery's wrong ones.
KINDS = {"the book's answers": 2, "answers in other styles": 6, "half of the answers": 2}
HOSTILE = {
    "hangs": "while True:\n    pass",
    "ends its kernel": "import os\nos._exit(1)",
    "ends what grades": "import os\nos.kill(os.getppid(), 9)",
    "deletes what it finds": "import shutil\nshutil.rmtree('../../..', ignore_errors=True)",
}


def checked(sheet: NotebookNode) -> dict[str, tuple[str, str, str]]:
    """The checks of a sheet that the gallery has answers for: grade id -> check, answer's name, its cell."""
    homes, found = {}, {}
    for cell in sheet.cells:
        name = grading.grade_id(cell)
        if not name or cell.cell_type != "code":
            continue
        if cell.metadata.nbgrader.solution:
            tops = (node for node in ast.parse(cell.source).body if hasattr(node, "name"))
            homes |= {node.name: name for node in tops}
        elif called := re.match(r"check\.(\w+)\((\w+)", cell.source):
            check, answer = called.groups()
            if check in gallery.WRONG and answer in homes:
                found[name] = check, answer, homes[answer]
    return found


def borrowed(sheet: NotebookNode, kind: str, picks: dict[str, int]) -> NotebookNode:
    """A solved sheet in which some answers are the gallery's, by the grade ids of their checks."""
    sources = {}
    for name, pick in picks.items():
        check, answer, home = checked(sheet)[name]
        own = next(cell.source for cell in sheet.cells if grading.grade_id(cell) == home)
        place = f"gallery.{kind}[{check!r}][{pick}]{'[0]' if kind == 'WRONG' else ''}"
        lines = f"import sys\n\nsys.path.append({str(TESTS)!r})\nimport gallery\n\n{answer} = {place}"
        sources[home] = f"{sources.get(home, own)}\n\n\n{lines}"
    return changed(sheet, **sources)


def a_class(chapter: book.Chapter, folder: Path, size: int) -> dict[str, dict]:
    """Hand in for a class. Returns by student the kind, and what the feedback must say of which checks."""
    right, empty = solved(chapter), blank(chapter)
    checks = checked(right)
    answers = [cell for cell in right.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    code = [grading.grade_id(cell) for cell in answers if cell.cell_type == "code"]
    tests = [name for name in map(grading.grade_id, right.cells) if name and name.endswith("-check")]
    half = {grading.grade_id(cell): cell.source for cell in answers[: len(answers) // 2]}
    todo = [(kind, {}, kind_of) for kind, kind_of in (
        ("nothing", empty),
        ("an empty file", ""),
        ("changed checks", changed(right, **dict.fromkeys(tests, "print('fine')"))),
        ("no checks", without(right, *tests)),
        *((kind, changed(right, **{code[len(code) // 2]: source})) for kind, source in HOSTILE.items()),
    )]  # fmt: skip
    todo += [("the book's answers", {}, right)] * KINDS["the book's answers"]
    todo += [("half of the answers", {}, changed(empty, **half))] * KINDS["half of the answers"]
    for number in range(KINDS["answers in other styles"]):
        picks = {name: number % len(gallery.RIGHT[check]) for name, (check, *_) in checks.items()}
        todo.append(("answers in other styles", {}, borrowed(right, "RIGHT", picks)))
    # One wrong answer after the other, so that the class makes as many different mistakes as it can.
    turns = [
        cycle([(name, pick) for pick in range(len(gallery.WRONG[c]))]) for name, (c, *_) in checks.items()
    ]
    turns = cycle(turns)
    while len(todo) < size - 1 and checks:
        wrong = dict(next(next(turns)) for _ in range(1 + len(todo) % 2))
        says = {name: gallery.WRONG[checks[name][0]][pick][1] for name, pick in wrong.items()}
        todo.append(("wrong answers", says, borrowed(right, "WRONG", wrong)))
    about = {}
    for number, (kind, says, notebook) in enumerate(todo, start=1):
        about[f"student {number:02}"] = {"kind": kind, "says": says}
        hand_in(folder, f"student {number:02}", chapter, notebook)
    about[f"student {len(todo) + 1:02}"] = {"kind": "sends nothing", "says": {}}
    (folder / "submitted" / f"student {len(todo) + 1:02}").mkdir(exist_ok=True)
    return about


def said(folder: Path, student: str, chapter: book.Chapter) -> str:
    """The words on a student's page."""
    page = folder / "feedback" / student / chapter.stem / f"{chapter.stem}.html"
    text = html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))) if page.exists() else ""
    return " ".join(text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sheets", nargs="*", help="numbers of chapters; all if none")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count(), help="submissions at a time")
    parser.add_argument("--size", type=int, default=30, help="of the class")
    options = parser.parse_args()
    chapters = [c for c in book.chapters() if c.sheet and (not options.sheets or c.number in options.sheets)]
    os.environ["PATH"] = course.path()
    results = {"cores": os.cpu_count(), "at a time": options.jobs, "sheets": {}}
    for chapter in chapters:
        with tempfile.TemporaryDirectory(prefix="vaebook-class-") as place:
            folder = Path(place)
            course.release([chapter], folder)
            about = a_class(chapter, folder, options.size)
            start = time.perf_counter()
            rows = course.grade([], folder, options.jobs)
            wall = time.perf_counter() - start
            marks = {row["student"]: row for row in rows}
            ran = [float(row["seconds"]) for row in rows if float(row["seconds"] or 0) > 1]
            expected = [(student, text) for student in about for text in about[student]["says"].values()]
            named = [
                student
                for student, text in expected
                if " ".join(text.split()) in said(folder, student, chapter)
            ]
            results["sheets"][chapter.stem] = {
                "seconds for the class": round(wall, 1),
                "seconds a submission, one core": round(statistics.median(ran), 1),
                "seconds a submission, all cores": round(wall / len(ran), 1),
                "wrong answers": len(expected),
                "named in the feedback": len(named),
                "students": {
                    student: {
                        "kind": about[student]["kind"],
                        "automatic": marks[student]["automatic"],
                        "state": marks[student]["state"],
                    }
                    for student in about
                },
            }
        ours = results["sheets"][chapter.stem]
        print(f"\n{chapter.stem}: {ours['seconds for the class']} s for {options.size} students")
        for student, line in ours["students"].items():
            print(f"  {student}  {line['automatic']:4g}  {line['kind']:25}  {line['state']}")
        print(f"  wrong answers named in the feedback: {len(named)} of {len(expected)}\n", flush=True)
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
