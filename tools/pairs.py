"""A chapter's two files: the notebook, and its text twin, which is where the chapter is written.

The notebook's metadata holds two hashes. `synced` is what both files said when they last agreed: a file that
says something else now was edited since. `executed` is the code that the outputs come from.
"""

import hashlib
import json
import os
import tempfile
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupytext.config import JupytextConfiguration, load_jupytext_config
from jupytext.metadata_filter import filter_metadata
from jupytext.myst import MystMetadataParsingError
from nbformat import NotebookNode

TEXT_FORMAT = "md:myst"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class PairError(Exception):
    """The two files of a chapter do not fit together; the message says what to do."""


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _config(path: Path) -> JupytextConfiguration:
    return load_jupytext_config(str(path)) or JupytextConfiguration()


def parse(text: str, path: Path) -> NotebookNode:
    """The notebook that a text twin says, kept in `path`.

    Raises:
        PairError: the text is no notebook.
    """
    try:
        return jupytext.reads(text, fmt=TEXT_FORMAT, config=_config(path))
    except MystMetadataParsingError as problem:
        raise PairError(
            f"{path.name} cannot be read as a notebook: {problem} (a line of prose must not start with `+++`)"
        ) from problem


def read(path: Path) -> NotebookNode:
    """The notebook in `path`, an .ipynb or a text twin."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    return parse(path.read_text(encoding="utf-8"), path)


def as_text(notebook: NotebookNode, path: Path) -> str:
    """The text twin of `notebook`, to be kept in `path`."""
    return jupytext.writes(notebook, fmt=TEXT_FORMAT, config=_config(path))


def write(path: Path, text: str) -> None:
    """Write all of `text` or nothing, under whatever goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_notebook(path: Path, notebook: NotebookNode) -> None:
    """Write a valid notebook in the one form that git should see."""
    nbformat.validate(notebook)
    write(path, nbformat.writes(notebook) + "\n")


def cells(notebook: NotebookNode, path: Path) -> list[tuple[str, str, dict]]:
    """What both files of a chapter must agree on: type, source and metadata of each cell.

    Leaves out what the text cannot hold: empty Markdown cells, blank lines at the ends of a cell, and the
    metadata that jupytext.toml filters.
    """
    wanted = _config(path).cell_metadata_filter
    return [
        (cell.cell_type, cell.source.strip("\n"), dict(filter_metadata(cell.metadata, wanted)))
        for cell in notebook.cells
        if cell.cell_type == "code" or cell.source.strip()
    ]


def code_hash(notebook: NotebookNode) -> str:
    """A hash of the sources of the code cells: outputs that carry another one are stale."""
    return _hash([cell.source for cell in notebook.cells if cell.cell_type == "code"])


def cells_hash(notebook: NotebookNode, path: Path) -> str:
    """A hash of what both files of a chapter must agree on."""
    return _hash(cells(notebook, path))


def carry_outputs(authored: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """`authored` with the notebook metadata of `executed`, and the outputs of each cell that is unchanged."""
    before, after = ([(cell.cell_type, cell.source) for cell in nb.cells] for nb in (executed, authored))
    for old, new, size in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        for source, target in zip(
            executed.cells[old : old + size], authored.cells[new : new + size], strict=True
        ):
            target.id = source.get("id", target.id)
            if source.cell_type == "code":
                target.outputs, target.execution_count = source.outputs, source.execution_count
    authored.metadata = executed.metadata
    return authored


def edited(path: Path) -> set[str]:
    """Which files of the pair of notebook `path` were edited since they last agreed: "md", "ipynb".

    Empty when they agree. A file that does not exist counts as not edited; both count as edited when they
    differ and the notebook does not say how they last agreed.
    """
    twin = path.with_suffix(".md")
    if not path.exists() or not twin.exists():
        return {file.suffix[1:] for file in (path, twin) if file.exists()}
    notebook = read(path)
    hashes = {"md": cells_hash(read(twin), path), "ipynb": cells_hash(notebook, path)}
    if hashes["md"] == hashes["ipynb"]:
        return set()
    agreed = notebook.metadata.get("vaebook", {}).get("synced")
    return {file for file, found in hashes.items() if found != agreed}


def rebuilt(authored: NotebookNode, path: Path) -> NotebookNode:
    """The notebook to be kept in `path`: the cells of its text, with the outputs that it has for them now."""
    if path.exists():
        authored = carry_outputs(authored, read(path))
    else:
        authored.metadata.pop("jupytext", None)
    authored.metadata.setdefault("kernelspec", KERNEL)
    authored.nbformat, authored.nbformat_minor = 4, 5
    return authored


def refreshed(path: Path) -> NotebookNode:
    """The notebook of `path` as its text twin has it, outputs of unchanged cells included.

    Raises:
        PairError: the notebook holds edits that the text does not, which would be lost.
    """
    if not path.with_suffix(".md").exists():
        raise PairError(f"{path.name} has no .md twin. Run `make sync` first.")
    if path.exists() and "ipynb" in edited(path):
        raise PairError(
            f"{path.name} was edited and its .md twin was not brought along. Run `make sync` first."
        )
    return rebuilt(read(path.with_suffix(".md")), path)
