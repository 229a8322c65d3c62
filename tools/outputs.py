"""What an execution leaves in a notebook, reduced to what a reader needs and the next execution repeats."""

import json
import re
from collections.abc import Iterator

from nbformat import NotebookNode

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
PROGRESS_BAR = ["HTMLModel", "FloatProgressModel", "HTMLModel"]
LINKS = {"LinkModel", "DirectionalLinkModel"}


def widget_models(notebook: NotebookNode) -> dict:
    """The saved state of the widgets: a model for each id, in order of creation."""
    return notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})


def view_of(output: dict) -> str | None:
    """The id of the widget model that an output shows, or None."""
    return output.get("data", {}).get(VIEW, {}).get("model_id")


def all_outputs(notebook: NotebookNode) -> Iterator[dict]:
    """Every output of every code cell."""
    return (output for cell in notebook.cells for output in cell.get("outputs", ()))


def references(model: dict) -> set[str]:
    """The ids of the models that this one refers to, be it as its child or in an output that it holds."""
    return set(re.findall(r'"(?:IPY_MODEL_|model_id": ")(\w+)"', json.dumps(model)))


def _is_progress_bar(model: dict, models: dict) -> bool:
    children = [child.removeprefix("IPY_MODEL_") for child in model["state"].get("children", ())]
    return [models.get(child, {}).get("model_name") for child in children] == PROGRESS_BAR


def _drop_dead_views(notebook: NotebookNode) -> None:
    """Drop views of closed widgets and of progress bars, which say nothing or how long it once took."""
    models = widget_models(notebook)
    dead = {name for name, model in models.items() if _is_progress_bar(model, models)}

    def alive(output: dict) -> bool:
        view = view_of(output)
        return view is None or (view in models and view not in dead)

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if alive(output)]
    for model in models.values():
        if "outputs" in model["state"]:
            model["state"]["outputs"] = [output for output in model["state"]["outputs"] if alive(output)]


def _drop_unused_models(notebook: NotebookNode) -> None:
    models = widget_models(notebook)
    used: set[str] = set()
    waiting = {view_of(output) for output in all_outputs(notebook)} & set(models)
    while waiting:
        used |= waiting
        waiting = set().union(*(references(models[name]) for name in waiting)) & set(models)
        # Nothing refers to a link: it is in use when both of its ends are.
        waiting |= {n for n, m in models.items() if m["model_name"] in LINKS and references(m) <= used}
        waiting -= used
    for name in set(models) - used:
        del models[name]
    if not models:
        notebook.metadata.pop("widgets", None)


def _number_models(notebook: NotebookNode) -> NotebookNode:
    """Give widget models the ids 0…01, 0…02, … in order of creation, in place of random ones."""
    names = {name: f"{number:032x}" for number, name in enumerate(widget_models(notebook), start=1)}
    if not names:
        return notebook

    def rename(found: re.Match) -> str:
        return (found[1] or "") + names.get(found[2], found[2])

    text = re.sub(r"\b(IPY_MODEL_)?([0-9a-f]{32})\b", rename, json.dumps(notebook))
    return json.loads(text, object_hook=NotebookNode)


def clean(notebook: NotebookNode) -> NotebookNode:
    """A notebook fit to be committed: no dead widgets, no random ids, no trace of the machine."""
    _drop_dead_views(notebook)
    _drop_unused_models(notebook)
    notebook = _number_models(notebook)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("execution", "ExecuteTime", "trusted"):
            cell.metadata.pop(key, None)
    return notebook
