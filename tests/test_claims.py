"""Every claim of book.yml is measured by a cell that can fail, and every such cell says what it measured."""

import ast
import builtins

import pytest

from chapters import code_cells, each_chapter, parse, printed, tags


def always_true(test: ast.expr) -> bool:
    """Whether an assertion of `test` cannot fail, as far as its form shows."""
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    if not names - set(dir(builtins)):
        return True
    match test:
        case ast.Lambda() | ast.JoinedStr() | ast.GeneratorExp():
            return True
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return bool(parts)
        case ast.Dict():
            return True
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(always_true(part) for part in parts)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(always_true(part) for part in parts)
        case ast.NamedExpr(value=value):
            return always_true(value)
        case ast.IfExp(body=one, orelse=other):
            return always_true(one) and always_true(other)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.LtE() | ast.GtE() | ast.Is()], comparators=[right]):
            return ast.dump(left) == ast.dump(right)
    return False


def assertions(source: str) -> list[ast.Assert]:
    return [node for node in ast.walk(parse(source)) if isinstance(node, ast.Assert)]


def claims(cell) -> list[str]:
    return [tag.removeprefix("claim-") for tag in tags(cell) if tag.startswith("claim")]


@each_chapter
def test_claims_and_cells_match(chapter):
    assert {claim for cell in code_cells(chapter) for claim in claims(cell)} == set(chapter.claims)


@each_chapter
def test_a_claim_is_asserted(chapter):
    for cell in code_cells(chapter):
        assert not claims(cell) or assertions(cell.source), f"claim {claims(cell)[0]} is not asserted"


@each_chapter
def test_every_assertion_can_fail(chapter):
    for cell in code_cells(chapter):
        for assertion in assertions(cell.source):
            assert not always_true(assertion.test), ast.unparse(assertion)


@each_chapter
def test_a_claim_prints_its_figure(chapter):
    for cell in code_cells(chapter):
        for claim in claims(cell):
            lines = printed(cell).splitlines()
            assert any(line.startswith(f"claim {claim} · ") for line in lines), (
                f"claim {claim} prints nothing"
            )


@pytest.mark.parametrize(
    "test",
    [
        "True",
        "1 < 2",
        "'a string'",
        "len([1]) == 1",
        "isinstance(1, int)",
        "error == error",
        "model.loss(x) <= model.loss(x)",
        "error < 1 or True",
        "True or error < 1",
        "error == error and x is x",
        "(error < 1, 'a message')",
        "[error < 1]",
        "f'{error}'",
        "(x := 3)",
        "x == x if x > 0 else True",
    ],
)
def test_hollow_assertions_are_seen(test):
    assert always_true(assertions(f"assert {test}")[0].test)


@pytest.mark.parametrize(
    "test",
    [
        "error < 1",
        "error == other",
        "error < error",
        "0 < error < 1",
        "all(errors)",
        "error < 1 and True",
        "torch.allclose(a, a)",
        "abs(a - b) < 3 * standard_error, 'too far'",
        "not failures",
    ],
)
def test_real_assertions_pass(test):
    assert not always_true(assertions(f"assert {test}")[0].test)


def test_assertions_are_found_beside_ipython_syntax():
    assert len(assertions("%matplotlib inline\nif x:\n    assert x > 1\nassert y")) == 2
