"""Conditions and amounts: a small, safe subset of Python expressions.

    text --parse--> checked tree --source(resolve)--> one Python expression over `arithmetic`

The tree is checked node by node against a closed list, so what is not listed cannot run. Nothing in the language
loops, recurses, calls a method or builds text, and a tree has a bounded number of nodes: evaluation is bounded.
A decimal constant keeps the digits it was written with; it never passes through a float.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from decimal import InvalidOperation, Overflow
from difflib import get_close_matches

from accrue.core.arithmetic import decimal

CHARACTERS_MAX = 1_000
NODES_MAX = 200
DEPTH_MAX = 32

Path = tuple[str, ...]
Resolve = Callable[[Path], str]
"""Gives the Python source that reads a path such as `("data", "seconds")`, or raises `ExpressionError`."""

FUNCTIONS = {
    "min": ("smallest", 2, 16),
    "max": ("largest", 2, 16),
    "abs": ("absolute", 1, 1),
    "floor": ("floor", 1, 1),
    "round": ("round_half_even", 1, 2),
    "len": ("length", 1, 1),
}
LOOK_UP = "lookup"
CONSTANTS = {"true": "True", "false": "False", "null": "None"}

_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "modulo",
}
_ORDERINGS: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class ExpressionError(Exception):
    """The text is not an expression of the language. The message names the part and the nearest right word."""


class Expression:
    """A checked expression. `text` is what was written, `paths` are the fields it reads, `tables` its look-ups."""

    __slots__ = ("_body", "paths", "tables", "text")

    def __init__(self, text: str, body: ast.expr, paths: frozenset[Path], tables: frozenset[str]) -> None:
        self.text = text
        self.paths = paths
        self.tables = tables
        self._body = body

    def source(
        self,
        resolve: Resolve,
        number: Callable[[str], str] = "decimal({!r})".format,
        always_there: Callable[[Path], bool] = lambda path: False,
    ) -> str:
        """The Python expression that computes it. Names of `arithmetic` and `table_<name>` must be in scope.

        `number` gives the source of a decimal constant, so that a caller can make it once; `always_there` says
        which paths are never missing, so that nothing asks.
        """
        return _Writer(self.text, resolve, number, always_there).write(self._body)

    def constant(self) -> str | None:
        """The Python source of its value when it reads nothing and is a plain number, else None."""
        body = self._body
        if isinstance(body, ast.UnaryOp) and isinstance(body.op, ast.USub):
            inner = body.operand
            if isinstance(inner, ast.Constant) and type(inner.value) in (int, float):
                return "-" + (ast.get_source_segment(self.text, inner) or "").replace("_", "")
        if isinstance(body, ast.Constant) and type(body.value) in (int, float):
            return (ast.get_source_segment(self.text, body) or "").replace("_", "")
        return None


def parse(text: str) -> Expression:
    """Check a text. Raises `ExpressionError`."""
    text = text.strip().replace("\r", " ").replace("\n", " ")  # a long one may stand on several lines
    if not text:
        raise ExpressionError("an expression is empty")
    if len(text) > CHARACTERS_MAX:
        raise ExpressionError(f"an expression has at most {CHARACTERS_MAX} characters, this one has {len(text)}")
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "it is nested too deeply"
        raise ExpressionError(f"{text!r} is not an expression: {reason}") from None
    if sum(1 for _ in ast.walk(body)) > 3 * NODES_MAX or _count(body, 1) > NODES_MAX:
        raise ExpressionError(f"an expression has at most {NODES_MAX} parts: split the rule")
    paths: set[Path] = set()
    tables: set[str] = set()
    for node in _operands(body):
        path = _path(node)
        if path is not None:
            paths.add(path)
        if _is_look_up(node):
            tables.add(_table_name(node))
    checked = Expression(text, body, frozenset(paths), frozenset(tables))
    checked.source(lambda path: ".".join(path))  # raises for every node that is not of the language
    return checked


def nearest(word: str, words: Iterator[str] | list[str] | set[str] | frozenset[str]) -> str:
    """`, did you mean 'x'?` when something is close, else nothing."""
    close = get_close_matches(word, sorted(words), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


class _Writer:
    """Turns the tree into Python source. One method a kind of node; everything else is refused."""

    def __init__(
        self,
        text: str,
        resolve: Resolve,
        number: Callable[[str], str],
        always_there: Callable[[Path], bool],
    ) -> None:
        self._always_there = always_there
        self._text = text
        self._resolve = resolve
        self._number = number

    def write(self, node: ast.expr) -> str:
        path = _path(node)
        if path is not None and path[0] not in CONSTANTS:
            return self._resolve(path)
        if path is not None and len(path) == 1:
            return CONSTANTS[path[0]]
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.BoolOp(op=operator, values=values):
                word = " and " if isinstance(operator, ast.And) else " or "
                return "(" + word.join(self.write(value) for value in values) + ")"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"(not {self.write(operand)})"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"negate({self.write(operand)})"
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
                return f"{_ARITHMETIC[type(operator)]}({self.write(left)}, {self.write(right)})"
            case ast.Compare():
                return self._comparison(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return f"({self.write(body)} if {self.write(test)} else {self.write(orelse)})"
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return "[" + ", ".join(self.write(item) for item in items) + "]"
            case ast.Call():
                return self._call(node)
        raise ExpressionError(f"{self._segment(node)!r} is not allowed in an expression")

    def _constant(self, node: ast.Constant) -> str:
        value, written = node.value, self._segment(node).replace("_", "")
        if value is None or type(value) is bool:
            return repr(value)
        if type(value) is str:
            if not _storable(value):
                raise ExpressionError(f"{self._segment(node)} holds a character that no text may hold")
            return repr(value)
        if type(value) is int and written.isdecimal():
            return repr(value)
        if type(value) is float and _exact(written):
            return self._number(written)
        raise ExpressionError(f"{self._segment(node)!r} is not a number, a text, true, false or null")

    def _comparison(self, node: ast.Compare) -> str:
        parts = []
        operands = [node.left, *node.comparators]
        if any(_has_chain(operand) for operand in operands[1:-1]):  # it is written twice, which must not multiply
            raise ExpressionError(f"{self._segment(node)!r}: write comparisons inside a comparison with 'and'")
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            parts.append(self._compare(left, operator, right))
        return "(" + " and ".join(parts) + ")"

    def _compare(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        one, two = self.write(left), self.write(right)
        sign = _ORDERINGS.get(type(operator))
        path = _path(left)
        if sign and path and path[0] not in CONSTANTS and _is_number(right):  # the common form needs no call
            return f"{one} {sign} {two}" if self._always_there(path) else f"({one} is not None and {one} {sign} {two})"
        match operator:
            case ast.Eq() | ast.Is():
                return f"{one} == {two}"
            case ast.NotEq() | ast.IsNot():
                return f"{one} != {two}"
            case ast.Lt():
                return f"less({one}, {two})"
            case ast.LtE():
                return f"less_or_equal({one}, {two})"
            case ast.Gt():
                return f"less({two}, {one})"
            case ast.GtE():
                return f"less_or_equal({two}, {one})"
            case ast.In():
                return f"contains({one}, {two})"
            case ast.NotIn():
                return f"(not contains({one}, {two}))"
        raise ExpressionError(f"{self._text!r}: this comparison is not allowed")

    def _call(self, node: ast.Call) -> str:
        name = node.func.id if isinstance(node.func, ast.Name) else self._segment(node.func)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise ExpressionError(f"{name}() takes plain arguments only")
        if name == LOOK_UP:
            if len(node.args) not in (2, 3):
                raise ExpressionError("lookup('table', key) or lookup('table', key, default)")
            arguments = ", ".join(self.write(argument) for argument in node.args[1:])
            return f"look_up(table_{_table_name(node)}, {arguments})"
        if name not in FUNCTIONS:
            known = nearest(name, [*FUNCTIONS, LOOK_UP]) or f"; there are {', '.join([*FUNCTIONS, LOOK_UP])}"
            raise ExpressionError(f"there is no function {name!r}{known}")
        function, least, most = FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            raise ExpressionError(f"{name}() takes {least if least == most else f'{least} to {most}'} arguments")
        return f"{function}({', '.join(self.write(argument) for argument in node.args)})"

    def _segment(self, node: ast.AST) -> str:
        return ast.get_source_segment(self._text, node) or type(node).__name__


def _path(node: ast.AST) -> Path | None:
    """`data.author.name` or `data["first-name"]` as a tuple of names; None when the node is something else."""
    names: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            if not isinstance(node.slice.value, str):
                return None
            names.append(node.slice.value)
            node = node.value
        elif isinstance(node, ast.Name):
            return (node.id, *reversed(names))
        else:
            return None


def _operands(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that stands for a value: a whole path once, and no function names."""
    yield node
    if _path(node) is not None:
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Call) and child is node.func):
            yield from _operands(child)


def _count(node: ast.AST, depth: int) -> int:
    if depth > DEPTH_MAX:
        raise ExpressionError(f"an expression is nested at most {DEPTH_MAX} deep: split the rule")
    return 1 + sum(_count(child, depth + 1) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _has_chain(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Compare) and len(inner.ops) > 1 for inner in ast.walk(node))


def _storable(text: str) -> bool:
    """No U+0000 and no half of a surrogate pair: what an event may not hold either."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def _exact(written: str) -> bool:
    """Whether a number with a fraction or exponent fits the arithmetic."""
    try:
        decimal(written)
    except (InvalidOperation, Overflow):
        return False
    return True


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_look_up(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == LOOK_UP


def _table_name(node: ast.AST) -> str:
    assert isinstance(node, ast.Call)
    if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
        name = node.args[0].value
        if name.isidentifier() and name.isascii():
            return name
    raise ExpressionError("lookup() needs the name of a table first, in quotes: lookup('levels', data.level)")
