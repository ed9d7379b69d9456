"""What can be told of an expression by its shape alone, whatever the event: cautiously, so "no" may mean "not sure"."""

from __future__ import annotations

import ast
from decimal import Decimal

from accrue.core.arithmetic import decimal
from accrue.core.expression import Expression
from accrue.core.tally import scaled

WHOLE_FUNCTIONS = ("floor", "round", "len")


def is_whole(expression: Expression, scale: int) -> bool:
    """Whether its value never has more than `scale` decimal digits."""
    body = _body(expression)
    if isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and len(body.args) == 1:
        return body.func.id in WHOLE_FUNCTIONS
    values = _constants(expression.text, body)
    return values is not None and all(type(scaled(value, scale)) is int for value in values)


def never_falls(expression: Expression) -> bool:
    """Whether its value is never negative."""
    values = _constants(expression.text, _body(expression))
    return values is not None and all(value >= 0 for value in values)


def calculates(expression: Expression) -> bool:
    """Whether anything is computed: a comparison with what is missing is false, a calculation with it fails."""
    return any(isinstance(node, ast.BinOp | ast.Call | ast.UnaryOp) for node in ast.walk(_body(expression)))


def asks_for_at_least(expression: Expression) -> bool:
    """Whether it is made of `name >= number` and `name > number`, so that it goes on to hold while all names grow."""
    return _grows(expression.text, _body(expression))


def _grows(text: str, node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(_grows(text, value) for value in node.values)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return False
    left, right = node.left, node.comparators[0]
    if isinstance(node.ops[0], ast.LtE | ast.Lt):
        left, right = right, left
    elif not isinstance(node.ops[0], ast.GtE | ast.Gt):
        return False
    return isinstance(left, ast.Name | ast.Attribute) and _constants(text, right) is not None


def _constants(text: str, node: ast.expr) -> list[Decimal] | None:
    """The numbers it may be, when it is nothing but numbers and choices between them; else None."""
    if isinstance(node, ast.IfExp):
        one, other = _constants(text, node.body), _constants(text, node.orelse)
        return None if one is None or other is None else one + other
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        values = _constants(text, node.operand)
        return None if values is None else [value.copy_negate() for value in values]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return [decimal((ast.get_source_segment(text, node) or "").replace("_", ""))]
    return None


def _body(expression: Expression) -> ast.expr:
    return ast.parse(expression.text, mode="eval").body
