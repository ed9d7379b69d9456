"""What a condition or an amount gives: Python's own tree, walked on fractions.

A comparison with null is false; calculating with null, or comparing what cannot be compared, fails the event.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

Path = tuple[str, ...]
Names = Callable[[Path], Any]
WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}


class Failed(Exception):
    """The event cannot be judged: it is parked whole."""


def evaluate(text: str, names: Names, lookups: dict[str, dict[str, Any]]) -> Any:
    """The value of an expression. `names` gives the value of a path such as `("data", "seconds")`."""
    return _value(_tree(text), names, lookups)


def paths(text: str) -> set[Path]:
    """Every path the expression reads."""
    return set(_paths(_tree(text)))


@cache
def _tree(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def _value(node: ast.expr, names: Names, lookups: dict[str, dict[str, Any]]) -> Any:
    def of(child: ast.expr) -> Any:
        return _value(child, names, lookups)

    path = _path(node)
    if path is not None:
        return WORDS[path[0]] if path[0] in WORDS else names(path)
    match node:
        case ast.Constant(value=float()):
            return Fraction(ast.unparse(node))
        case ast.Constant(value=value):
            return value
        case ast.BoolOp(op=ast.And(), values=values):
            result = True
            for each in values:
                result = of(each)
                if not result:
                    break
            return result
        case ast.BoolOp(op=ast.Or(), values=values):
            result = False
            for each in values:
                result = of(each)
                if result:
                    break
            return result
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not of(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(of(operand))
        case ast.BinOp(left=left, op=operator, right=right):
            return _calculated(operator, _number(of(left)), _number(of(right)))
        case ast.Compare(left=left, ops=operators, comparators=others):
            sides = [left, *others]
            return all(
                _compared(operator, of(one), of(two))
                for one, operator, two in zip(sides, operators, others, strict=False)
            )
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return of(body) if of(test) else of(orelse)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [of(item) for item in items]
        case ast.Call(func=ast.Name(id="lookup"), args=[ast.Constant(value=table), key, *default]):
            return _looked_up(lookups[table], of(key), of(default[0]) if default else None)
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _called(function, [of(argument) for argument in arguments])
    raise AssertionError(f"no such expression: {ast.unparse(node)}")


def _calculated(operator: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(operator, (ast.Div, ast.FloorDiv, ast.Mod)) and right == 0:
        raise Failed("division by zero")
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return Fraction(left) / right
        case ast.FloorDiv():
            return math.floor(Fraction(left) / right)
        case ast.Mod():
            return left - right * math.floor(Fraction(left) / right)
    raise AssertionError(operator)


def _compared(operator: ast.cmpop, left: Any, right: Any) -> bool:
    match operator:
        case ast.Eq() | ast.Is():
            return bool(left == right)
        case ast.NotEq() | ast.IsNot():
            return bool(left != right)
        case ast.In():
            return _contains(right, left)
        case ast.NotIn():
            return not _contains(right, left)
    if left is None or right is None:
        return False
    if not (_is_number(left) and _is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise Failed("these cannot be compared")
    match operator:
        case ast.Lt():
            return bool(left < right)
        case ast.LtE():
            return bool(left <= right)
        case ast.Gt():
            return bool(left > right)
    return bool(left >= right)


def _contains(container: Any, item: Any) -> bool:
    if container is None:
        return False
    if isinstance(container, (str, dict)):
        return isinstance(item, str) and item in container
    if isinstance(container, list):
        return item in container
    raise Failed("nothing can be in that")


def _called(function: str, arguments: list[Any]) -> Any:
    if function == "len":
        if arguments[0] is None:
            return 0
        if not isinstance(arguments[0], (str, list, dict)):
            raise Failed("that has no length")
        return len(arguments[0])
    numbers = [_number(argument) for argument in arguments]
    match function:
        case "min":
            return min(numbers)
        case "max":
            return max(numbers)
        case "abs":
            return abs(numbers[0])
        case "floor":
            return math.floor(numbers[0])
        case "round":
            return round(Fraction(numbers[0]), int(numbers[1])) if len(numbers) > 1 else round(Fraction(numbers[0]))
    raise AssertionError(function)


def _looked_up(table: dict[str, Any], key: Any, default: Any) -> Any:
    if isinstance(key, bool):
        key = "true" if key else "false"
    elif _is_number(key):
        key = str(int(key)) if key == int(key) else str(float(key))
    return table.get(key, default) if isinstance(key, str) else default


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, Fraction))


def _number(value: Any) -> Any:
    if not _is_number(value):
        raise Failed("only numbers can be calculated with")
    return int(value) if isinstance(value, bool) else value


def _path(node: ast.AST) -> Path | None:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        inner = _path(node.value)
        return None if inner is None else (*inner, node.attr)
    return None


def _paths(node: ast.AST) -> Iterator[Path]:
    path = _path(node)
    if path is not None:
        if path[0] not in WORDS:
            yield path
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Call) and child is node.func):
            yield from _paths(child)
