"""What a chapter writes out and what the package keeps are the same definitions."""

import ast
import re

import pytest

from chapters import code_cells, each_chapter, parse
from vaebook import book

KEPT = re.compile(r"# kept in (vaebook(?:\.\w+)+)")
INTRODUCED = re.compile(r"Introduced in:(.*?)(?:;|\n\s*\n|\Z)", re.S)
IN_CHAPTER = re.compile(r"chapters?\s+(\d+(?:\.\d+)?)(?:\s+\((\w+)\))?")


class _Bare(ast.NodeTransformer):
    """Removes docstrings and annotations."""

    def _body(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_ClassDef = _body

    def visit_FunctionDef(self, node):
        node.returns = None
        return self._body(node)

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        if node.value is None:
            return ast.Expr(node.target)
        return ast.Assign([self.visit(node.target)], self.visit(node.value))


def same(one: ast.AST, other: ast.AST) -> bool:
    """Whether two definitions differ in nothing but docstrings and annotations."""
    bare = (_Bare().visit(ast.parse(ast.unparse(node))) for node in (one, other))
    return len({ast.dump(node) for node in bare}) == 1


def definitions(tree: ast.Module) -> dict[str, ast.AST]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def of_module(name: str) -> dict[str, ast.AST]:
    path = book.ROOT.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return definitions(ast.parse(path.read_text(encoding="utf-8")))


def kept_in(source: str) -> str | None:
    """The module that a cell's first line names, None if the cell is not a kept one."""
    first = source.lstrip().partition("\n")[0]
    if not first.lower().startswith("# kept"):
        return None
    named = KEPT.fullmatch(first.rstrip())
    assert named, f"{first!r} must read `# kept in vaebook.<module>`"
    return named[1]


def introduced_in(docstring: str | None) -> list[str]:
    """The chapters that a docstring says write the definition out; those that only use it are left out."""
    said = INTRODUCED.search(docstring or "")
    return [number for number, how in IN_CHAPTER.findall(said[1]) if how != "used"] if said else []


@each_chapter
def test_kept_cells_are_kept(chapter):
    for cell in code_cells(chapter):
        if module := kept_in(cell.source):
            here, there = definitions(parse(cell.source)), of_module(module)
            assert here, f"a cell kept in {module} defines nothing"
            for name, node in here.items():
                assert name in there, f"{module} has no {name}"
                assert same(node, there[name]), f"{name} differs from {module}.{name}"


@each_chapter
def test_the_chapter_writes_what_the_package_says_it_introduces(chapter):
    written = {
        (module, name)
        for cell in code_cells(chapter)
        if (module := kept_in(cell.source))
        for name in definitions(parse(cell.source))
    }
    for path in sorted((book.ROOT / "vaebook").rglob("*.py")):
        module = ".".join(path.relative_to(book.ROOT).with_suffix("").parts).removesuffix(".__init__")
        for name, node in of_module(module).items():
            if chapter.number in introduced_in(ast.get_docstring(node)):
                assert (module, name) in written, (
                    f"chapter {chapter.number} has no cell that writes {module}.{name}"
                )


REFERENCE = '''
class Pair(NamedTuple):
    """Two numbers."""

    one: Tensor
    other: Tensor = 0

    def sum(self, scale: float = 1.0) -> Tensor:
        """Their sum."""
        total: Tensor = self.one + self.other
        return scale * total
'''


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ('    """Two numbers."""\n', "", True),
        ('"""Their sum."""', '"""Something else."""', True),
        (": float = 1.0) -> Tensor", "=1.0)", True),
        ("total: Tensor =", "total =", True),
        ("one: Tensor", "one: float", True),
        ("return scale", "# because\n        return scale", True),
        ("scale: float = 1.0", "scale: float = 2.0", False),
        ("+ self.other", "- self.other", False),
        ("        return scale * total", "        pass", False),
        ("one: Tensor", "first: Tensor", False),
        ("Tensor = 0", "Tensor = 1", False),
        ("NamedTuple", "tuple", False),
        ("    def sum", "    @property\n    def sum", False),
        ("def sum(self, scale", "def sum(self, *, scale", False),
    ],
)
def test_differences_that_count(old, new, is_same):
    assert old in REFERENCE
    one, other = (definitions(ast.parse(text))["Pair"] for text in (REFERENCE, REFERENCE.replace(old, new)))
    assert same(one, other) == is_same


def test_a_definition_that_is_only_a_docstring():
    one, other = (ast.parse(text).body[0] for text in ('def f():\n    """Doc."""', "def f():\n    pass"))
    assert same(one, other)


@pytest.mark.parametrize(
    ("docstring", "chapters"),
    [
        ("Text.\n\nIntroduced in: chapter 1.", ["1"]),
        ("Text. Introduced in: chapter 1 (used).", []),
        ("Introduced in: chapter 3 (used), chapter 4.3 (derived).", ["4.3"]),
        ("Introduced in: chapter 3; derived in chapter 4.3.", ["3"]),
        ("Introduced in: chapter 1\n    (used), chapter\n    4.5.", ["4.5"]),
        ("Introduced in: chapter 1.\n\nNot in chapter 2.", ["1"]),
        ("Nothing.", []),
        (None, []),
    ],
)
def test_introductions_are_understood(docstring, chapters):
    assert introduced_in(docstring) == chapters


def test_first_lines_are_understood():
    assert kept_in("# kept in vaebook.models\nclass A: ...") == "vaebook.models"
    assert kept_in("x = 1  # kept in vaebook.models") is None
    with pytest.raises(AssertionError, match="must read"):
        kept_in("# Kept in models\nclass A: ...")
