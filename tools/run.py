"""Execute notebooks, keep their outputs: `python -m tools.run [chapter ...] [-j workers] [--sheets]`.

A notebook is executed as its .md twin has it. A notebook that was edited and not synced is not executed, and
one that fails is not written: its file stays as it was, the other chapters still run, the exit code is 1.
"""

import argparse
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from nbclient import NotebookClient
from nbformat import NotebookNode

from tools import outputs, pairs
from vaebook import book

BUDGET = 30  # seconds
TIMEOUT = 300  # seconds a cell may take


@dataclass
class Result:
    """How the execution of one notebook went: `error` is empty when it went well."""

    path: Path
    seconds: float
    peak_mb: float | None
    error: str


class _Client(NotebookClient):
    def handle_comm_msg(self, outs, msg, cell_index):
        # nbclient keeps the state of widgets that were closed, which a reader's browser would not.
        if msg["msg_type"] == "comm_close":
            self.widget_state.pop(msg["content"]["comm_id"], None)
        super().handle_comm_msg(outs, msg, cell_index)


def name(path: Path) -> str:
    """A notebook, as it is called in what is printed: a sheet has the file name of its chapter."""
    return f"exercises/{path.stem}" if path.parent.name == "exercises" else path.stem


def kernel_environment() -> dict[str, str]:
    """The variables of a kernel: one thread, however many chapters run, so that sums always round alike."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    environment.pop("MPLBACKEND", None)  # Jupyter's own backend is the one that displays figures
    return environment


def _peak_mb() -> float | None:
    """The largest memory of a process that this one started and waited for."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _explain(error: Exception, cell: NotebookNode | None) -> str:
    """What went wrong, and in which cell: its first lines and the end of the traceback."""
    if cell is None or isinstance(error, pairs.PairError):
        return str(error) or type(error).__name__
    raised = [output for output in cell.outputs if output.output_type == "error"]
    text = "\n".join(raised[-1].traceback) if raised else str(error) or type(error).__name__
    trace = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines()
    source = [f"  | {line}" for line in cell.source.strip().splitlines()]
    return "\n".join(
        ["in the cell", *source[:6], *["  | …"] * (len(source) > 6), *["…"] * (len(trace) > 12), *trace[-12:]]
    )


def execute(path: Path, timeout: float = TIMEOUT) -> Result:
    """Execute one notebook in its own folder and write its outputs, or leave the file as it is."""
    print(f"{name(path)}: started", flush=True)
    start, at, error = time.perf_counter(), None, ""

    def remember(cell, cell_index):
        nonlocal at
        at = cell

    try:
        before = path.read_bytes() if path.exists() else None
        notebook = pairs.refreshed(path)
        _Client(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            shutdown_kernel="immediate",  # a graceful end takes more than a second
            coalesce_streams=True,
            resources={"metadata": {"path": str(path.parent)}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            on_cell_start=remember,
        ).execute(env=kernel_environment())
        notebook = outputs.clean(notebook)
        notebook.metadata["vaebook"] = {
            "executed": pairs.code_hash(notebook),
            "synced": pairs.cells_hash(notebook, path),
        }
        if before != (path.read_bytes() if path.exists() else None):
            raise pairs.PairError(
                f"{path.name} was saved by someone else meanwhile; it was left as they saved it."
            )
        pairs.write_notebook(path, notebook)
    except Exception as problem:
        error = _explain(problem, at)
    return Result(path, time.perf_counter() - start, _peak_mb(), error)


def table(results: list[Result]) -> str:
    """What each chapter cost: seconds, the kernel's peak memory, the size of the file."""
    names = [name(result.path) for result in results]
    width = max(map(len, names))
    rows = [f"{'notebook':{width}}  seconds  peak MB  file MB"]
    for result, named in zip(results, names, strict=True):
        peak = f"{result.peak_mb:7.0f}" if result.peak_mb else "      ?"
        size = result.path.stat().st_size / 1e6 if result.path.exists() else 0.0
        note = "  failed" if result.error else f"  over {BUDGET} s" if result.seconds > BUDGET else ""
        rows.append(f"{named:{width}}  {result.seconds:7.1f}  {peak}  {size:7.2f}{note}")
    return "\n".join(rows)


def main(arguments: list[str] | None = None, root: Path = book.ROOT) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.run", description="Execute chapters, keep their outputs."
    )
    parser.add_argument(
        "names", nargs="*", metavar="chapter", help="a number or the start of a file name; all if none"
    )
    parser.add_argument(
        "-j", "--jobs", type=int, default=2, metavar="N", help="chapters at a time (default 2)"
    )
    parser.add_argument("--sheets", action="store_true", help="the sheets of exercises alone")
    options = parser.parse_args(arguments)

    chapters = book.chapters(root)
    chosen = [] if options.names else list(chapters)
    for wanted in options.names:
        named = [c for c in chapters if wanted == c.number or c.stem.startswith(wanted)]
        if not named:
            parser.error(f"no chapter {wanted!r} in book.yml; it has {', '.join(c.number for c in chapters)}")
        chosen += [c for c in named if c not in chosen]
    paths = [] if options.sheets else [chapter.path for chapter in chosen]
    paths += [chapter.sheet.path for chapter in chosen if chapter.sheet]

    results = {}
    # A process for each notebook, not for each worker: then the memory of its children is that of one kernel.
    with ProcessPoolExecutor(max_workers=max(1, options.jobs), max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(execute, path) for path in paths]):
            result = results[done.result().path] = done.result()
            state = f"FAILED {result.error}" if result.error else "done"
            print(f"{name(result.path)}: {state} ({result.seconds:.0f} s)", flush=True)
    print("\n" + table([results[path] for path in paths]))
    return int(any(result.error for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
