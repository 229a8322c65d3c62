"""An explorer on a page without a kernel, from the widget state that a notebook has saved."""

import json
from pathlib import Path

HERE = Path(__file__).parent
EXPORT = "export default { render };\n"


def is_explorer(model: dict) -> bool:
    """Whether a model of a notebook's widget state is an explorer of this package."""
    return model["state"].get("_anywidget_id", "").startswith("vaebook.explorers.")


def static_html(model: dict) -> str:
    """The HTML of a live explorer: it fetches nothing, and works in a file opened from a disk.

    Args:
        model: one model of the widget state, with its "state" and its "buffers" (in base64).

    Raises:
        ValueError: the model is no explorer.
    """
    if not is_explorer(model):
        raise ValueError(f"the model is a {model.get('model_name')}, no explorer of vaebook.")
    state = model["state"]
    saved = {
        "state": {name: state[name] for name in ("scene", "data", "values")},
        "buffers": [{"path": b["path"], "data": b["data"]} for b in model.get("buffers", ())],
    }
    text = json.dumps(saved).replace("<", "\\u003c")  # or a </script> in it would end the script
    script = "\n".join(
        [
            state["_esm"].removesuffix(EXPORT),
            (HERE / "page.js").read_text("utf-8"),
            f"start(document.currentScript.parentElement, {text}, render);",
        ]
    )
    return (
        f"<div class='vaebook-live'>\n<style>\n{state['_css']}</style>\n"
        "<noscript>Here a reader with scripts finds an explorer; the figure above shows one of its states."
        f"</noscript>\n<script>\n(() => {{\n{script}\n}})();\n</script>\n</div>\n"
    )
