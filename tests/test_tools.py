"""The commands write what they should, lose nothing, and give the same file twice."""

import json
import re

import pytest
from nbformat import NotebookNode, ValidationError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import outputs, pairs, run, sync
from vaebook import book

BOOK = """
root: README
subtrees:
  - caption: Part
    entries:
{entries}
meta:
  chapters:
{facts}
  forthcoming: []
"""
ENTRY = "      - file: notebooks/{n}_{name}\n        title: {n} · {name}"
FACTS = """
    {n}_{name}:
      {{question: q, section: s, minutes: 1, seconds: 1, needs: n, claims: {{}}, cites: []}}
"""
README = "# Title\n\n<!-- chapters -->\n<!-- /chapters -->\n\nEnd.\n"


@pytest.fixture(scope="module")
def a_book(tmp_path_factory):
    """Makes a book, given the code cells of each of its chapters."""

    def make(**chapters: list[str]):
        root = tmp_path_factory.mktemp("a book")
        (root / "jupytext.toml").write_bytes((book.ROOT / "jupytext.toml").read_bytes())
        named = [{"n": number, "name": name} for number, name in enumerate(chapters, start=1)]
        text = BOOK.format(
            entries="\n".join(ENTRY.format(**entry) for entry in named),
            facts="\n".join(FACTS.format(**entry) for entry in named),
        )
        (root / "book.yml").write_text(text, encoding="utf-8")
        (root / "README.md").write_text(README, encoding="utf-8")
        for chapter, sources in zip(book.chapters(root), chapters.values(), strict=True):
            notebook = new_notebook(cells=[new_markdown_cell("Text"), *map(new_code_cell, sources)])
            twin = chapter.path.with_suffix(".md")
            pairs.write(twin, pairs.as_text(notebook, twin))
        return root

    return make


@pytest.fixture
def synced(a_book):
    """The folder and the notebook of a book with one chapter, whose last code cell has an output."""
    root = a_book(only=["x = 1", "y = 2"])
    assert sync.main([], root) == 0
    (chapter,) = book.chapters(root)
    notebook = pairs.read(chapter.path)
    cell = next(cell for cell in notebook.cells if cell.source == "y = 2")
    cell.outputs = [new_output("stream", text="two\n")]
    pairs.write_notebook(chapter.path, notebook)
    return root, chapter.path


def files(root) -> dict:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def edit(path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def printed(path) -> list[str]:
    return [output["text"] for output in outputs.all_outputs(pairs.read(path)) if "text" in output]


# --- sync ---


def test_sync_writes_navigation_pair_and_table(synced):
    root, path = synced
    (chapter,) = book.chapters(root)
    for file in (path, path.with_suffix(".md")):
        cells = pairs.read(file).cells
        assert [cell.source for cell in cells] == [
            book.opening(chapter, root), "Text", "x = 1", "y = 2", book.navigation(chapter, root),
        ]  # fmt: skip
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert readme == README.replace("-->\n<!-- /", f"-->\n{book.table(root)}\n<!-- /")


def test_sync_has_nothing_to_do_twice(synced):
    root, _ = synced
    before = files(root)
    assert sync.main(["--check"], root) == 0
    assert sync.main([], root) == 0
    assert files(root) == before


@pytest.mark.parametrize("file", ["README.md", "book.yml", "notebooks/1_only.md", "notebooks/1_only.ipynb"])
def test_check_sees_what_differs_and_writes_nothing(synced, capsys, file):
    root, _ = synced
    edit(root / file, "1 · only", "1 · other")
    before = files(root)
    assert sync.main(["--check"], root) == 1
    assert "not up to date" in capsys.readouterr().out
    assert files(root) == before
    assert sync.main([], root) == 0
    assert sync.main(["--check"], root) == 0


def test_an_edited_text_reaches_the_notebook_and_outputs_stay(synced):
    root, path = synced
    edit(path.with_suffix(".md"), "x = 1", "x = 10")
    assert sync.main([], root) == 0
    assert "x = 10" in [cell.source for cell in pairs.read(path).cells]
    assert printed(path) == ["two\n"]


def test_an_edited_notebook_reaches_the_text(synced):
    root, path = synced
    edit(path, '"x = 1"', '"x = 10"')
    assert sync.main(["--from", "md"], root) == 0, "--from is for chapters of which both files were edited"
    assert "x = 10" in path.with_suffix(".md").read_text(encoding="utf-8")
    assert printed(path) == ["two\n"]


@pytest.mark.parametrize(("keep", "kept"), [("md", "x = 20"), ("ipynb", "x = 10")])
def test_two_edited_files_are_left_alone_until_one_is_named(synced, capsys, keep, kept):
    root, path = synced
    edit(path, '"x = 1"', '"x = 10"')
    edit(path.with_suffix(".md"), "x = 1", "x = 20")
    before = files(root)
    assert sync.main([], root) == 1
    assert "both the .md and the .ipynb were edited" in capsys.readouterr().err
    assert files(root) == before
    assert sync.main(["--from", keep], root) == 0
    for file in (path, path.with_suffix(".md")):
        assert kept in [cell.source for cell in pairs.read(file).cells]


def test_the_same_edit_in_both_files_is_no_conflict(synced):
    root, path = synced
    edit(path, '"x = 1"', '"x = 10"')
    edit(path.with_suffix(".md"), "x = 1", "x = 10")
    assert sync.main([], root) == 0
    assert pairs.edited(path) == set()


@pytest.mark.parametrize("lost", [".md", ".ipynb"])
def test_a_missing_file_is_made_from_the_other(synced, lost):
    root, path = synced
    cells = pairs.cells(pairs.read(path), path)
    path.with_suffix(lost).unlink()
    assert sync.main([], root) == 0
    assert pairs.cells(pairs.read(path.with_suffix(lost)), path) == cells


@pytest.mark.parametrize(
    ("line", "message"), [("+++ a line", "must not start with `+++`"), ("+++", "does not survive as text")]
)
def test_a_cell_that_no_text_can_hold_is_refused(synced, capsys, line, message):
    root, path = synced
    edit(path, '"Text"', f'"Text\\n", "{line}\\n", "more"')
    before = files(root)
    assert sync.main([], root) == 1
    assert message in capsys.readouterr().err
    assert files(root) == before


def test_a_readme_without_markers_stops_nothing_else(synced, capsys):
    root, path = synced
    (root / "README.md").write_text("# Title\n", encoding="utf-8")
    edit(path.with_suffix(".md"), "x = 1", "x = 10")
    assert sync.main([], root) == 1
    assert "README.md needs one line" in capsys.readouterr().err
    assert pairs.edited(path) == set()


def test_outputs_stay_with_unchanged_cells_only():
    def cell(source: str):
        return new_code_cell(source, execution_count=1, outputs=[new_output("stream", text=source)])

    executed = new_notebook(cells=[cell("a"), cell("b"), cell("c"), cell("d")])
    authored = new_notebook(cells=[new_code_cell(source) for source in ("new", "a", "b2", "d", "d")])
    carried = pairs.carry_outputs(authored, executed).cells
    assert [cell.outputs[0].text if cell.outputs else None for cell in carried] == [
        None,
        "a",
        None,
        "d",
        None,
    ]
    assert [cell.execution_count for cell in carried] == [None, 1, None, 1, None]
    assert len({cell.id for cell in carried}) == len(carried)


def test_an_invalid_notebook_is_not_written(synced):
    root, path = synced
    before = files(root)
    notebook = pairs.read(path)
    notebook.cells[0].cell_type = "nothing"
    with pytest.raises(ValidationError):
        pairs.write_notebook(path, notebook)
    assert files(root) == before


def test_a_write_that_breaks_off_leaves_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        pairs.write(path, "a" * 100_000 + "\ud800")
    assert files(tmp_path) == {path: b"before"}


def test_the_hash_is_of_the_code_alone():
    def notebook(code: str = "x = 1", text: str = "Text"):
        return new_notebook(cells=[new_markdown_cell(text), new_code_cell(code), new_code_cell("y")])

    assert pairs.code_hash(notebook()) == pairs.code_hash(notebook(text="Other"))
    assert pairs.code_hash(notebook()) != pairs.code_hash(notebook(code="x = 2"))
    assert pairs.code_hash(notebook()) != pairs.code_hash(notebook(code="x = 1\ny"))


# --- outputs ---


def view(model: str) -> NotebookNode:
    return new_output("display_data", {"text/plain": "widget", outputs.VIEW: {"model_id": model}})


def model(name: str, **state) -> NotebookNode:
    return NotebookNode(model_name=f"{name}Model", model_module="m", model_module_version="1", state=state)


def test_dead_widgets_go_and_living_ones_are_numbered():
    # In the order of creation, which is not the alphabetical one.
    slider, picture, closed, text, bar, progress, bar_text, link, forgotten, half_link, panel = (
        f"{digit}" * 32 for digit in "fedcba98765"
    )

    def to(*names):
        return [f"IPY_MODEL_{name}" for name in names]

    models = {
        slider: model("IntSlider", value=3),
        bar_text: model("HTML", value="3/3 [00:02<00:00]"),
        progress: model("FloatProgress", value=3),
        bar: model("HBox", children=to(bar_text, progress, bar_text)),
        picture: model("Output", outputs=[view(text), view(bar), view(closed)]),
        text: model("Text", value="shown in an output"),
        link: model("Link", source=[*to(slider), "value"], target=[*to(text), "value"]),
        forgotten: model("Text", value="never shown"),
        half_link: model("Link", source=[*to(slider), "value"], target=[*to(forgotten), "value"]),
        panel: model("VBox", children=to(slider, picture)),
    }
    shown = new_code_cell(
        "show", outputs=[view(bar), view(panel), view(closed), new_output("stream", text="text")]
    )
    notebook = new_notebook(cells=[shown])
    notebook.metadata["widgets"] = {outputs.STATE: {"state": models, "version_major": 2, "version_minor": 0}}
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.7"}

    cleaned = outputs.clean(notebook)
    numbers = [f"{number:032x}" for number in range(1, 6)]
    names = dict(zip(("slider", "picture", "text", "link", "panel"), numbers, strict=True))
    state = outputs.widget_models(cleaned)
    assert list(state) == numbers
    assert state[names["panel"]].state.children == to(names["slider"], names["picture"])
    assert state[names["link"]].state.target == [*to(names["text"]), "value"]
    assert [outputs.view_of(output) for output in state[names["picture"]].state.outputs] == [names["text"]]
    left = cleaned.cells[0].outputs
    assert [outputs.view_of(output) for output in left] == [names["panel"], None]
    assert left[1].text == "text"
    assert cleaned.metadata.language_info == {"name": "python"}
    assert json.dumps(outputs.clean(cleaned)) == json.dumps(cleaned)


def test_a_notebook_without_living_widgets_keeps_no_state():
    notebook = new_notebook(cells=[new_code_cell("show", outputs=[view("a" * 32)])])
    notebook.metadata["widgets"] = {outputs.STATE: {"state": {"b" * 32: model("Text")}}}
    cleaned = outputs.clean(notebook)
    assert not cleaned.cells[0].outputs
    assert "widgets" not in cleaned.metadata


# --- run ---

EXPLORER = """
import ipywidgets
from IPython.display import display
from tqdm.auto import tqdm
for _ in tqdm(range(3), leave=False):
    print("step")
closed = ipywidgets.Text()
display(closed, ipywidgets.IntSlider())
closed.close()
"""


@pytest.fixture(scope="module")
def ran(a_book):
    """A book after `run`: one good chapter, one that fails, one with edits that were not synced."""
    root = a_book(
        good=[EXPLORER, "import os\nprint(os.environ['OMP_NUM_THREADS'], os.path.basename(os.getcwd()))"],
        bad=["x = 1", "print('some')\nraise KeyError('no such key')"],
        edited=["x = 1"],
    )
    assert sync.main([], root) == 0
    edit(root / "notebooks" / "3_edited.ipynb", "x = 1", "x = 2")
    before = files(root)
    code = run.main([], root)
    return root, code, before


def test_run_keeps_the_outputs_of_a_good_chapter(ran):
    root, code, _ = ran
    path = root / "notebooks" / "1_good.ipynb"
    notebook = pairs.read(path)
    assert code == 1, "another chapter failed"
    assert printed(path) == ["step\n" * 3, "1 notebooks\n"]
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2]
    views = {outputs.view_of(output) for output in outputs.all_outputs(notebook)} - {None}
    assert len(views) == 1, "the slider's, not that of the progress bar or of the closed widget"
    assert views <= set(outputs.widget_models(notebook))
    assert notebook.metadata.vaebook.executed == pairs.code_hash(notebook)
    assert pairs.edited(path) == set()
    assert sync.main(["--check", "--from", "ipynb"], root) == 1, "3_edited still waits"


def test_run_leaves_the_files_of_other_chapters_alone(ran):
    root, _, before = ran
    after = files(root)
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed == {"1_good.ipynb"}
    assert after.keys() == before.keys()


def test_a_second_run_changes_nothing(ran, capfd):
    root, _, _ = ran
    before = files(root)
    assert run.main(["1"], root) == 0
    assert files(root) == before
    shown = capfd.readouterr().out
    assert re.search(r"1_good: started\n1_good: done \(\d+ s\)\n", shown)
    assert re.search(r"^1_good +\d+\.\d +\d+ +0\.0\d$", shown, re.M), "seconds, peak MB, file MB"


def test_a_failure_is_explained(ran, capfd):
    root, _, _ = ran
    result = run.execute(root / "notebooks" / "2_bad.ipynb")
    assert "| print('some')" in result.error
    assert "KeyError: 'no such key'" in result.error
    assert "\x1b" not in result.error
    assert "2_bad" in run.table([result])
    assert "failed" in run.table([result])
    result = run.execute(root / "notebooks" / "3_edited.ipynb")
    assert "was edited" in result.error
    assert "make sync" in result.error


def test_a_notebook_saved_meanwhile_is_not_overwritten(a_book):
    root = a_book(only=["from pathlib import Path\nPath('1_only.ipynb').write_text('saved meanwhile')"])
    path = root / "notebooks" / "1_only.ipynb"
    assert "saved by someone else" in run.execute(path).error
    assert path.read_text() == "saved meanwhile"


def test_a_cell_that_hangs_ends(a_book):
    root = a_book(only=["import time\ntime.sleep(100)"])
    result = run.execute(root / "notebooks" / "1_only.ipynb", timeout=1)
    assert "time.sleep(100)" in result.error
    assert not (root / "notebooks" / "1_only.ipynb").exists()


def test_kernels_get_one_thread_and_jupyters_own_figures(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MPLBACKEND", "agg")
    environment = run.kernel_environment()
    assert environment["OMP_NUM_THREADS"] == "1"
    assert "MPLBACKEND" not in environment
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run.kernel_environment()["OMP_NUM_THREADS"] == "3", "who sets it, means it"


def test_slow_chapters_are_noted(tmp_path):
    results = [
        run.Result(tmp_path / name, seconds, None, "") for name, seconds in (("fast", 29.0), ("slow", 31.0))
    ]
    _, fast, slow = run.table(results).splitlines()
    assert "over" not in fast
    assert "over 30 s" in slow


def test_unknown_chapters_are_refused(ran, capsys):
    root, _, _ = ran
    with pytest.raises(SystemExit):
        run.main(["7"], root)
    assert "no chapter '7' in book.yml; it has 1, 2, 3" in capsys.readouterr().err
