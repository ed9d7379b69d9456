"""What the sections of a program have in common: names of metrics, amounts, expressions, subjects, event types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from accrue.core import expression
from accrue.core.arithmetic import CONTEXT
from accrue.core.event import MAGNITUDE_MAX, TYPE_CHARACTERS_MAX
from accrue.core.expression import Expression, ExpressionError, Path, nearest
from accrue.core.meaning import ROLES, Meaning, Names, TallyOf
from accrue.core.reader.plain import Plain
from accrue.core.rule import Cap


class Parts(Plain):
    """A document whose names are known. `_uses` gathers for which periods each metric has to be kept."""

    _names: Names
    _periods: tuple[str, ...]
    _scales: Mapping[str, int]
    _tables: frozenset[str]
    _uses: dict[str, set[str]]

    def _amount(self, table: dict[str, Any], key: str, metric: str | None) -> int | None:
        """A constant amount as a scaled integer."""
        if key not in table or metric is None:
            return None
        value = table[key]
        if type(value) not in (int, Decimal) or (isinstance(value, Decimal) and not value.is_finite()):
            self._problem(f"{key} is a number", key)
            return None
        scaled = Decimal(value).scaleb(self._scales[metric], context=CONTEXT) if is_in_bounds(value) else None
        if scaled is None or scaled != int(scaled) or not is_in_bounds(scaled):
            self._problem(
                f"{key} has more digits than the metric's scale ({self._scales[metric]}) or is too large", key
            )
            return None
        return int(scaled)

    def _types(self, table: dict[str, Any]) -> tuple[str, ...]:
        on = table.get("on")
        types = [on] if isinstance(on, str) else on
        if not isinstance(types, list) or not types or not all(map(_is_type, types)):
            self._problem('on names the event type or types: on = "comment.created"', "on")
            return ()
        if any(type.startswith("accrue.") for type in types):
            self._problem("types beginning with accrue. are the engine's own", "on")
        return tuple(dict.fromkeys(types))

    def _once(self, table: dict[str, Any]) -> tuple[str, ...]:
        once = table.get("once", [])
        words = [*ROLES, *self._periods]
        if not isinstance(once, list) or not all(isinstance(word, str) for word in once):
            self._problem('once is a list: once = ["actor", "object", "day"]', "once")
            return ()
        for word in once:
            if word not in words and not word.startswith("data."):
                self._problem(f"once does not know {word!r}{nearest(word, words)}", "once")
        return tuple(once)

    def _cap(self, table: dict[str, Any], caps: Mapping[str, Cap]) -> Cap | None:
        name = table.get("cap")
        if name is None:
            return None
        if not isinstance(name, str) or name not in caps:
            self._problem(f"there is no cap {name!r}{nearest(str(name), list(caps))}", "cap")
            return None
        return caps[name]

    def _to(self, table: dict[str, Any], key: str, default: str | None = None) -> Path | None:
        written = table.get(key, default)
        if written in ROLES:
            return (written,)
        if isinstance(written, str) and written.startswith("data.") and all(written.split(".")):
            return tuple(written.split("."))
        hint = nearest(str(written), list(ROLES)) if written else ""
        self._problem(
            f"{key} is actor, object, owner or a field such as data.asker, not {written!r}{hint}",
            "give" if key == "to" else "set",
        )
        return None

    def _metric(self, table: dict[str, Any], key: str, at: str | None = None) -> str | None:
        name = table.get(key)
        if not isinstance(name, str) or name not in self._names.metrics:
            hint = nearest(str(name), list(self._names.metrics))
            self._problem(f"there is no metric {name!r}{hint}" if name else "metric is missing", at or key)
            return None
        return name

    def _expression(self, table: dict[str, Any], key: str, default: str | None = None) -> Expression | None:
        written = table.get(key, default)
        return None if written is None else self._parsed(written, key, self._names.in_rule)

    def _parsed(self, written: object, key: str, meaning: Callable[[Path], Meaning]) -> Expression | None:
        """A checked expression whose every path means something; also notes which periods it reads."""
        if type(written) in (int, Decimal):
            written = str(written)
        if type(written) is bool:
            written = "true" if written else "false"
        if not isinstance(written, str):
            self._problem(f"{key} is an expression in quotes", key)
            return None
        try:
            checked = expression.parse(written)
            for path in sorted(checked.paths):
                if path[0] in expression.CONSTANTS:
                    continue
                meant = meaning(path)
                if isinstance(meant, TallyOf):
                    self._uses[meant.metric].add(meant.period)
            for name in sorted(checked.tables - self._tables):
                raise ExpressionError(f"there is no look-up {name!r}{nearest(name, self._tables)}")
        except ExpressionError as error:
            self._problem(str(error), key)
            return None
        return checked


def _is_type(word: object) -> bool:
    """Whether an event may have this type."""
    return isinstance(word, str) and 0 < len(word) <= TYPE_CHARACTERS_MAX and "\0" not in word


def is_in_bounds(value: int | Decimal) -> bool:
    """Whether a constant is finite and within the magnitude that every number keeps to."""
    return -MAGNITUDE_MAX <= value <= MAGNITUDE_MAX if isinstance(value, int) or value.is_finite() else False
