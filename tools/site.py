"""Build the site: `python -m tools.site [folder]`, which is `_build/html` if none is given.

Sphinx wants one folder of sources. So this stages in `_build/site/staged/pages` the chapters, the sheets
without solutions, and the pages that are made from book.yml, references.bib, the committed outputs and the
package; and in `_build/site/staged/downloads` the notebooks that pages offer, each where its page will be.
Nothing is executed.
"""

import argparse
import html
import itertools
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from sphinx.cmd.build import main as sphinx_build

from tools import course, outputs, pairs, references
from tools.sync import NAVIGATION
from vaebook import book
from vaebook.explorers import page as explorers

NAME = "site"
PARTS = {  # the pages after the chapters, by part of the table of contents; the sheets come first
    "Look it up": ["notation", "claims", "bibliography", "api"],
}
TITLES = {
    "notation": "Notation and glossary",
    "claims": "All claims, with what was measured",
    "bibliography": "Bibliography",
    "api": "The package",
}
# What of README a reader of the site does not need, and what comes before the rest.
LEFT_OUT, AFTER = "How the book is made", "Two commands"
# The chapter whose explorer opens the home page, and what stands above it there.
OPENING = "2"
INVITATION = """Each point of this map is a code, two numbers. Drag the dot: an autoencoder, trained in
[chapter {number}]({page}), decodes the point in your browser. Between the digits lie points that give none.
What if an image's code were a region and not a point? That is a variational autoencoder."""


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


# --- claims -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measurement:
    """A cell that measures a claim: the anchor of the cell in its page, and the lines that it printed."""

    anchor: str
    lines: tuple[str, ...]


def anchors(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, str, str]]:
    """Each cell that measures a claim, the claim, and an anchor: `claim-4.2.2`, then `claim-4.2.2-2`."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        for tag in tags(cell):
            if tag.startswith("claim-"):
                seen[tag] = seen.get(tag, 0) + 1
                yield cell, tag.removeprefix("claim-"), f"{tag}-{seen[tag]}" if seen[tag] > 1 else tag


def measurements(notebook: NotebookNode) -> dict[str, list[Measurement]]:
    """What the cells of a chapter printed for each claim, `claim 4.2.2 · …` without the claim's name.

    What follows a line that ends with a colon belongs to it.
    """
    found: dict[str, list[Measurement]] = {}
    for cell, claim, anchor in anchors(notebook):
        text = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        start = f"claim {claim} · "
        lines, goes_on = [], False
        for line in text.splitlines():
            if line.startswith("claim "):
                goes_on = line.startswith(start) and line.endswith(":")
            if line.startswith(start) or goes_on:
                lines.append(line.removeprefix(start))
        found.setdefault(claim, []).append(Measurement(anchor, tuple(lines)))
    return found


def claims_page(chapters: tuple[book.Chapter, ...]) -> str:
    """Markdown: every claim, the lines that its cells printed, and a link to each cell."""
    parts = [
        f"# {TITLES['claims']}",
        "Each sentence is measured by the cells that its figures link to, and held there by an assertion. "
        "The figures are those of the committed notebooks, on the data set `mnist5k`.",
    ]
    for chapter in chapters:
        parts.append(f"## {chapter.label}")
        page, measured = f"notebooks/{chapter.stem}.html", measurements(pairs.read(chapter.path))
        for claim, sentence in chapter.claims.items():
            parts += [f'<div class="claim" id="c-{claim}">', f"**{claim}** {sentence}"]
            for number, measurement in enumerate(measured.get(claim, ()), start=1):
                where = f"Claim {claim}: the cell that measures it" + (f" ({number})" if number > 1 else "")
                figures = html.escape("\n".join(measurement.lines))
                parts.append(
                    f'<div class="measured"><pre>{figures}</pre>'
                    f'<a href="{page}#{measurement.anchor}" aria-label="{where}">cell</a></div>'
                )
            parts.append("</div>")
    return "\n\n".join(parts) + "\n"


# --- pages --------------------------------------------------------------------------------------------------


def live(output: NotebookNode, models: dict) -> None:
    """Change an output that shows a widget into what a page without a kernel can show.

    An explorer of the package moves there as well; of any other widget its text remains.
    """
    model = models.get(outputs.view_of(output))
    if model and explorers.is_explorer(model):
        output.data["text/html"] = explorers.static_html(model)
    output.data.pop(outputs.VIEW)


def page(notebook: NotebookNode, label: str, below: str) -> NotebookNode:
    """A notebook as a page: without the navigation, which the theme has, with `below` under the title."""
    first, *cells = notebook.cells
    # A sheet's first cell says how to work, after the title and the links.
    rest = "\n\n".join(first.source.split("\n\n")[2:])
    first.source = "\n\n".join(filter(None, [f"# {label}", below, rest]))
    first.metadata.pop("tags")
    notebook.cells = [first, *(cell for cell in cells if NAVIGATION not in tags(cell))]
    for output in outputs.all_outputs(notebook):
        if outputs.view_of(output):
            live(output, outputs.widget_models(notebook))
    notebook.metadata.pop("widgets", None)
    return notebook


def below_title(name: str, links: str, facts: str) -> str:
    return (
        f'<p class="below-title">{facts} · {links} · <a href="{name}" download>Download this notebook</a></p>'
    )


def chapter_page(chapter: book.Chapter) -> NotebookNode:
    sheet = f'<a href="exercises/{chapter.stem}.html">Exercises</a>' if chapter.sheet else "no exercises yet"
    facts = f"{chapter.minutes} min to read · {chapter.seconds} s to run · {len(chapter.claims)} claims"
    return page(pairs.read(chapter.path), chapter.label, below_title(chapter.path.name, sheet, facts))


def sheet_page(chapter: book.Chapter) -> NotebookNode:
    back = f'<a href="../{chapter.stem}.html">Chapter {chapter.number}</a>'
    facts = f"{chapter.sheet.minutes} min to work through"
    notebook = course.unsolved(course.source(chapter))
    return page(notebook, chapter.sheet.label, below_title(chapter.path.name, back, facts))


def chapter_tables(root: Path) -> str:
    """The chapters as Markdown tables, one for each part, with their questions and minutes."""
    rows, part = [], None
    for entry in (*book.chapters(root), *book.forthcoming(root)):
        if entry.part != part:
            part = entry.part
            rows += ["", f"### {part}", "", "| Chapter | Read | Run | Exercises |", "|---|--:|--:|--:|"]
        if isinstance(entry, book.Chapter):
            file = f"{entry.stem}.ipynb"
            sheet = f"[{entry.sheet.minutes} min](notebooks/exercises/{file})" if entry.sheet else "—"
            question = re.sub(r"(\w)_(\w)\b", r"\1<sub>\2</sub>", entry.question)
            rows.append(
                f"| [{entry.label}](notebooks/{file})<br>{question} "
                f"| {entry.minutes} min | {entry.seconds} s | {sheet} |"
            )
        else:
            rows.append(f"| {entry.label}<br>*in preparation* | | | |")
    return "\n".join(rows).strip()


def opening(chapter: book.Chapter) -> NotebookNode:
    """A chapter's explorer, with the still figure before it, as a notebook that shows no code."""
    notebook = page(pairs.read(chapter.path), "", "")
    for still, explorer in itertools.pairwise(notebook.cells):
        shown = [output.get("data", {}).get("text/html", "") for output in explorer.get("outputs", ())]
        if any("vaebook-live" in text for text in shown):
            still.metadata.tags, explorer.metadata.tags = ["remove-input", "still"], ["remove-input"]
            notebook.cells = [still, explorer]
            return notebook
    raise book.BookError(f"{chapter.path.name} has no explorer; let tools.site.OPENING name another chapter.")


def home_page(root: Path) -> NotebookNode:
    """README for a reader in the browser: an explorer and the chapters first, nothing for authors.

    Links to what the site does not have become text.
    """
    readme = (root / "README.md").read_text(encoding="utf-8")
    start, *sections = re.split(r"^(?=## )", readme, flags=re.M)
    by_title = {section.partition("\n")[0].removeprefix("## "): section for section in sections}
    if missing := {AFTER, "The chapters", LEFT_OUT} - by_title.keys():
        raise book.BookError(f"README.md has no section {missing.pop()!r}, which tools.site looks for.")
    title, introduction, promises = start.split("\n\n", 2)
    _, after = by_title.pop("The chapters").split("<!-- /chapters -->")
    del by_title[LEFT_OUT]
    below = "".join([promises, "## The chapters\n\n", chapter_tables(root), after, *by_title.values()])
    [chapter] = [chapter for chapter in book.chapters(root) if chapter.number == OPENING]
    above = [title, introduction, INVITATION.format(number=OPENING, page=f"notebooks/{chapter.path.name}")]
    notebook = opening(chapter)
    here = r"(?!https?:|notebooks/|#)"
    first, last = (
        new_markdown_cell(re.sub(rf"\[([^]]+)\]\({here}[^)]*\)", r"\1", text), id=name)
        for name, text in {"above": "\n\n".join(above), "below": below}.items()
    )
    notebook.cells = [first, *notebook.cells, last]
    return notebook


def bibliography_page(root: Path) -> str:
    """Markdown: every work, and the chapters that cite it."""
    chapters = book.chapters(root)
    parts = [f"# {TITLES['bibliography']}", "The works that the chapters cite, and where."]
    for key, work in references.load(root).items():
        cited = [f"[{c.number}](notebooks/{c.path.name})" for c in chapters if key in c.cites]
        parts += [
            f'<div class="work" id="{key}">',
            references.formatted(work) + (f" Cited in {', '.join(cited)}." if cited else ""),
            "</div>",
        ]
    return "\n\n".join(parts) + "\n"


def modules(package: Path) -> list[tuple[str, str]]:
    """The package's modules and what each holds, as its docstring lists them, ground floor first."""
    text = (package / "__init__.py").read_text(encoding="utf-8")
    return re.findall(r"^    (\w+) {2,}(.+)$", text.split('"""')[1], flags=re.M)


def api_pages(root: Path) -> dict[str, str]:
    """Markdown: a page for each module of the package, and one that lists them."""
    rooms = modules(root / "vaebook")
    rows = [f"| [`vaebook.{name}`](api/{name}.md) | {text} |" for name, text in rooms]
    start = (
        f"# {TITLES['api']}\n\nWhat the chapters write out, they keep in the package `vaebook`; "
        "a test holds that both are the same. Its modules, ground floor first: none imports from one below "
        "it in this table.\n\n| Module | What it holds |\n|---|---|\n"
    )
    pages = {"api.md": start + "\n".join(rows) + "\n"}
    for name, _ in rooms:
        documented = f".. automodule:: vaebook.{name}\n   :members:\n"
        if (root / "vaebook" / name).is_dir():
            documented += "   :imported-members:\n"
        pages[f"api/{name}.md"] = f"# vaebook.{name}\n\n```{{eval-rst}}\n{documented}```\n"
    return pages


def contents(root: Path) -> str:
    """The table of contents: book.yml itself, with a home page, the sheets and pages to look things up."""
    toc = yaml.safe_load((root / "book.yml").read_text(encoding="utf-8"))
    sheets = [c for c in book.chapters(root) if c.sheet]
    entries = [{"file": f"notebooks/exercises/{c.stem}", "title": c.label} for c in sheets]
    parts = {"Exercises": entries} if entries else {}
    for caption, pages in PARTS.items():
        parts[caption] = [{"file": name, "title": TITLES[name]} for name in pages]
    rooms = [{"file": f"api/{name}", "title": name} for name, _ in modules(root / "vaebook")]
    parts["Look it up"][-1]["subtrees"] = [{"entries": rooms}]
    more = [{"caption": caption, "entries": entries} for caption, entries in parts.items()]
    toc = {"root": "index", "subtrees": [*toc["subtrees"], *more]}
    return yaml.safe_dump(toc, allow_unicode=True, sort_keys=False)


# --- the whole ----------------------------------------------------------------------------------------------


def staged(root: Path) -> dict[str, bytes]:
    """The files that Sphinx reads and those that it copies, by path."""
    chapters = book.chapters(root)
    texts = {
        "pages/_toc.yml": contents(root),
        "pages/index.ipynb": nbformat.writes(home_page(root)),
        "pages/notation.md": (root / NAME / "notation.md").read_text(encoding="utf-8"),
        "pages/claims.md": claims_page(chapters),
        "pages/bibliography.md": bibliography_page(root),
        **{f"pages/{name}": text for name, text in api_pages(root).items()},
    }
    files = {name: text.encode() for name, text in texts.items()}
    for chapter in chapters:
        name = f"notebooks/{chapter.path.name}"
        files[f"pages/{name}"] = nbformat.writes(chapter_page(chapter)).encode()
        files[f"downloads/{name}"] = chapter.path.read_bytes()
        if chapter.sheet:
            name = f"notebooks/exercises/{chapter.path.name}"
            files[f"pages/{name}"] = nbformat.writes(sheet_page(chapter)).encode()
            files[f"downloads/{name}"] = nbformat.writes(course.unsolved(course.source(chapter))).encode()
    return files


def stage(files: dict[str, bytes], folder: Path) -> None:
    """Make `folder` hold these files and no others; one that is the same keeps its time, for Sphinx."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def build(target: Path, root: Path = book.ROOT) -> int:
    """Build the site into `target`, with what Sphinx needs in `site` beside it. Returns an exit code."""
    work = target.parent / NAME
    stage(staged(root), work / "staged")
    if (target / ".buildinfo").exists():  # a site, which may hold pages that the book no longer has
        shutil.rmtree(target)
    # sphinx-external-toc looks at every object in memory, and PyTorch has one that minds.
    warnings.filterwarnings("ignore", message="`torch.distributed.reduce_op`", category=FutureWarning)
    options = ["-W", "--keep-going", "-q", "-c", str(root / NAME), "-d", str(work / "doctrees")]
    return sphinx_build([*options, str(work / "staged" / "pages"), str(target)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.site", description="Build the site.")
    parser.add_argument("folder", nargs="?", type=Path, default=book.ROOT / "_build" / "html")
    folder = parser.parse_args(arguments).folder.resolve()
    start = time.perf_counter()
    failed = build(folder)
    if not failed:
        print(f"{folder}/index.html: built in {time.perf_counter() - start:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main())
