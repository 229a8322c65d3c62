"""What is committed is what an execution from top to bottom shows, and every reader can see it."""

import re

import pytest

from chapters import code_cells, each_chapter, each_notebook, printed, read
from tools.outputs import all_outputs, view_of, widget_models
from tools.pairs import code_hash
from vaebook.explorers.page import EXPORT, is_explorer
from vaebook.explorers.page import HERE as EXPLORERS

MACHINE = re.compile(r"(?<![\w.])/(?:home|Users|root|tmp|work|var|mnt|opt)/|[A-Z]:\\|\bat 0x[0-9a-f]{6,}")


def has_figure(cell) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))


def sections(notebook) -> list[list]:
    """The cells from each heading to the next."""
    found = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^#{1,6} ", cell.source, re.M):
            found.append([])
        found[-1].append(cell)
    return found


@each_notebook
def test_executed_from_top_to_bottom(chapter):
    counts = [cell.execution_count for cell in code_cells(chapter)]
    assert counts == list(range(1, len(counts) + 1)), "run `make run`"


@each_notebook
def test_outputs_are_those_of_this_code(chapter):
    notebook = read(chapter.path)
    assert notebook.metadata.get("vaebook", {}).get("executed") == code_hash(notebook), "run `make run`"


@each_notebook
def test_nothing_failed_or_complained(chapter):
    for output in all_outputs(read(chapter.path)):
        assert output["output_type"] != "error", output["evalue"]
        assert output.get("name") != "stderr", output["text"]


@each_notebook
def test_every_figure_is_described(chapter):
    for output in all_outputs(read(chapter.path)):
        if "image/png" in output.get("data", {}):
            alt = output["metadata"].get("image/png", {}).get("alt", "")
            assert len(alt.strip()) >= 20, f"alt text {alt!r} is too short: say what the figure shows"


@each_notebook
def test_the_file_is_small(chapter):
    assert chapter.path.stat().st_size <= 1.5e6


@each_chapter
def test_widgets_can_be_drawn_without_a_kernel(chapter):
    notebook = read(chapter.path)
    views = {view_of(output) for output in all_outputs(notebook)} - {None}
    assert views, "a chapter has at least one explorer"
    assert views <= set(widget_models(notebook)), "run `make run`: the state of a widget was not saved"


@each_chapter
def test_its_explorer_is_live_and_of_the_package_as_it_is(chapter):
    explorers = [model["state"] for model in widget_models(read(chapter.path)).values() if is_explorer(model)]
    assert explorers, "the explorer of a chapter moves without a kernel"
    for state in explorers:
        assert state["_esm"].startswith((EXPLORERS / "live.js").read_text("utf-8")), "run `make run`"
        script = state["_esm"].removeprefix((EXPLORERS / "live.js").read_text("utf-8")).removesuffix(EXPORT)
        assert script.strip() in {path.read_text("utf-8").strip() for path in EXPLORERS.glob("*.js")}
        assert state["_css"] == (EXPLORERS / "live.css").read_text("utf-8"), "run `make run`"


@each_notebook
def test_an_explorer_has_a_static_figure_in_its_section(chapter):
    for section in sections(read(chapter.path)):
        if any(view_of(output) for cell in section for output in cell.get("outputs", ())):
            assert any(has_figure(cell) for cell in section), section[0].source


@each_notebook
def test_nothing_tells_of_the_machine(chapter):
    for cell in code_cells(chapter):
        assert not (found := MACHINE.search(printed(cell))), found[0]


@pytest.mark.parametrize(
    ("text", "is_seen"),
    [
        ("read /home/someone/book/x.py", True),
        ("'/tmp/x'", True),
        (r"C:\Users\x", True),
        ("<function f at 0x7f3a2b>", True),
        ("1/2 nats/image a/home/b", False),
        ("at 0.5, at 0x1", False),
    ],
)
def test_traces_of_a_machine_are_seen(text, is_seen):
    assert bool(MACHINE.search(text)) == is_seen
