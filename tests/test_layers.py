"""The package has floors: a module imports only from those that stand before it in the package's own list."""

import ast
import re

import pytest

import vaebook
from vaebook import book

ROOMS = re.findall(r"^    (\w+)\s{2,}\S", vaebook.__doc__, re.M)
FILES = sorted(path for path in (book.ROOT / "vaebook").rglob("*.py") if path.parent.name != "__pycache__")


def room(path) -> str:
    return path.relative_to(book.ROOT / "vaebook").with_suffix("").parts[0]


def imported(path) -> set[str]:
    """The rooms of the package that a file imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "vaebook":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vaebook."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("vaebook.")}
    return found


def test_every_room_is_listed_once():
    assert sorted(ROOMS) == sorted({room(path) for path in FILES} - {"__init__"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.parts[-2:]))
def test_nothing_imports_from_a_floor_above(path):
    floors = ROOMS[: ROOMS.index(room(path)) + 1] if room(path) in ROOMS else []
    assert imported(path) <= set(floors), "see the list in vaebook/__init__.py"


def test_an_import_from_above_is_seen(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("from vaebook import data\nfrom vaebook.models import VAE\nimport vaebook.figures\n")
    assert imported(file) == {"data", "models", "figures"}
