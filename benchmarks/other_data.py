"""Which claims hold on other data: chapters executed on a full data set, without touching their notebooks.

    python benchmarks/other_data.py fashion 1 3 4.5

What the chapters quote and assert is measured on the 5,000 digits that come with the book. This script runs
them on `mnist` or `fashion` (70,000 images), which takes minutes a chapter, lists the claims with the figures
that they printed, and says which assertions failed. A failed assertion is a result; any other error is not.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from nbclient import NotebookClient

from tools import pairs
from vaebook import book
from vaebook.data import NAMES
from vaebook.device import default_device

RESULTS = Path(__file__).parent / "results"


def executed(chapter: book.Chapter, data: str) -> dict:
    """The claims of one chapter as the data set has them: printed lines, and whether the assertions held."""
    notebook = pairs.read(chapter.path.with_suffix(".md"))
    os.environ |= {"VAEBOOK_DATASET": data, "OMP_NUM_THREADS": "1"}
    os.environ.pop("MPLBACKEND", None)
    start = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=None,
        allow_errors=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(chapter.path.parent)}},
    ).execute()
    claims = []
    for cell in notebook.cells:
        raised = [output for output in cell.get("outputs", ()) if output.output_type == "error"]
        if any(output.ename != "AssertionError" for output in raised):
            raise RuntimeError(f"chapter {chapter.number}, in the cell\n{cell.source}\n{raised[0].evalue}")
        tags = [tag for tag in cell.metadata.get("tags", ()) if tag.startswith("claim-")]
        text = "".join(o.text for o in cell.get("outputs", ()) if o.output_type == "stream")
        lines = [line for line in text.splitlines() if line.startswith("claim ")]
        if tags or raised:
            claims.append({"tags": tags, "held": not raised, "printed": lines})
    return {"seconds": round(time.perf_counter() - start), "cells": claims}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", choices=sorted(NAMES))
    parser.add_argument("chapters", nargs="+", help="numbers, as in 1 or 4.5")
    options = parser.parse_args()
    known = {chapter.number: chapter for chapter in book.chapters()}
    if unknown := set(options.chapters) - set(known):
        parser.error(f"no chapter {unknown.pop()!r}; there are {', '.join(known)}")

    path = RESULTS / f"other_data_{options.data}.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for number in options.chapters:
        result = executed(known[number], options.data)
        result |= {"device": default_device().type, "torch": torch.__version__}
        results[number] = result
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False) + "\n")
        held = sum(cell["held"] for cell in result["cells"])
        of = f"{held} of {len(result['cells'])} cells hold"
        print(f"chapter {number} on {options.data}: {result['seconds']} s, {of}")
        for cell in result["cells"]:
            for line in cell["printed"] or [f"({', '.join(cell['tags']) or 'a cell without a claim'})"]:
                print("   " if cell["held"] else " ! ", line)


if __name__ == "__main__":
    main()
