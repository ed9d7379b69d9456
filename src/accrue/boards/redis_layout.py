"""How a board lies in Redis. docs/internals/data-layout.md shows every key.

The sorted set is the board, best first: its score is the first score of the order, negated where more is better, and
among equal scores Redis goes by the bytes of the member, which begin with a *prefix* of fixed width:

    0020000000000003 00000303900003 : ada        without the blanks
    |                |                |
    |                |                the subject; at last, equals stand by it
    |                when it was reached (16 hexadecimal digits; none when ties go by id)
    each further score (14 digits)

A number is written so that the smaller text is the better one. So everything about the order is exact, up to the 53
bits that the doubles of a sorted set hold, and no further comparison is ever needed. A board of one metric whose ties
go by id has no prefix: it is *plain*, and its members are the subjects themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from accrue.boards.base import BoardKey
from accrue.core.ranking import Order, Row, Ties
from accrue.errors import Corrupt, Rejected

SCORE_MAX = 2**53 - 1
"""What a double of a sorted set holds exactly."""
_MIDDLE = 2**53
_REACHED_MAX = 2**63 - 1
SCORE_DIGITS = 14
REACHED_DIGITS = 16


class Keys(NamedTuple):
    """The keys of one board. All of a tenant carry its name in braces, so that a cluster keeps them together."""

    mark: str
    boards: str
    order: str
    rows: str
    new_order: str
    new_rows: str
    field: str


class What(Struct, frozen=True):
    """What a board is: the value of its field in the tenant's hash of boards."""

    order: tuple[Literal["asc", "desc"], ...]
    ties: Ties
    program: int

    @property
    def as_order(self) -> Order:
        """The order of its rows."""
        return Order(tuple(way == "desc" for way in self.order), self.ties)


class Columns(NamedTuple):
    """Rows as the scripts take them. A plain board has no prefixes."""

    is_plain: bool
    subjects: list[str]
    prefixes: list[str]
    scores: list[int]


def tag(name: str, tenant: str) -> str:
    """What every key of a tenant begins with. `name` is that of the deployment."""
    return f"{name}:{{{_quoted(tenant) or '%'}}}"


@lru_cache(maxsize=4_096)
def keys(name: str, key: BoardKey) -> Keys:
    """The keys of a board."""
    head, field = tag(name, key.tenant), f"{_quoted(key.board)}/{_quoted(key.period)}"
    return Keys(
        f"{head}:mark",
        f"{head}:boards",
        f"{head}:order:{field}",
        f"{head}:rows:{field}",
        f"{head}:new-order:{field}",
        f"{head}:new-rows:{field}",
        field,
    )


def board_key(tenant: str, field: str) -> BoardKey:
    """The reverse of `Keys.field`."""
    board, _, period = field.partition("/")
    return BoardKey(tenant, unquote(board), unquote(period))


@lru_cache(maxsize=1_024)
def what_text(order: Order, program: int) -> str:
    """What a board is, as it is kept and compared."""
    ways = tuple("desc" if down else "asc" for down in order.descending)
    return _encoder.encode({"order": ways, "ties": order.ties, "program": program}).decode()


def read_what(text: str) -> What:
    """The reverse. Raises `Corrupt`."""
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"Redis says of a board: {text!r}. Empty the boards of this deployment there.") from error


def is_plain(order: Order) -> bool:
    """Whether its members are the subjects themselves."""
    return len(order.descending) == 1 and order.ties == "id"


def check(order: Order, rows: Sequence[Row]) -> None:
    """Raises `Rejected` for a row with a wrong number of scores, or one that a double does not hold exactly."""
    width = len(order.descending)
    for row in rows:
        scores = row.scores
        if len(scores) != width:
            raise Rejected(f"Rows of this board have {width} scores.", field="scores")
        for score in scores:
            if not -SCORE_MAX <= score <= SCORE_MAX:
                raise Rejected(f"A score is within +-{SCORE_MAX}, not {score}.", field="scores")


def columns(order: Order, rows: Sequence[Row]) -> Columns:
    """These rows for a script. They were checked."""
    if not rows:
        return Columns(is_plain(order), [], [], [])
    subjects, scores, reached = map(list, zip(*rows, strict=True))
    down = order.descending[0]
    first = [-score[0] for score in scores] if down else [score[0] for score in scores]
    if is_plain(order):
        return Columns(True, subjects, [], first)
    prefixes = _reached(order.ties, reached)
    if len(order.descending) > 1:
        further = [_further(order, score) for score in scores]
        prefixes = [head + tail for head, tail in zip(further, prefixes, strict=True)] if prefixes else further
    return Columns(False, subjects, prefixes, first)


def row_of(order: Order, member: str, score: str) -> tuple[str, tuple[int, ...]]:
    """The subject and the scores of a member of the sorted set, as Redis tells them."""
    first = -int(score) if order.descending[0] else int(score)
    if is_plain(order):
        return member, (first,)
    further, at = [first], 0
    for down in order.descending[1:]:
        written = int(member[at : at + SCORE_DIGITS], 16) - _MIDDLE
        further.append(-written if down else written)
        at += SCORE_DIGITS
    if order.ties != "id":
        at += REACHED_DIGITS
    return member[at + 1 :], tuple(further)


def _reached(ties: Ties, reached: list[int]) -> list[str]:
    if ties == "first":
        return [f"{sequence:016x}" for sequence in reached]
    if ties == "last":
        return [f"{_REACHED_MAX - sequence:016x}" for sequence in reached]
    return []


def _further(order: Order, scores: tuple[int, ...]) -> str:
    written = zip(scores[1:], order.descending[1:], strict=True)
    return "".join([f"{_MIDDLE - score if down else _MIDDLE + score:014x}" for score, down in written])


def _quoted(name: str) -> str:
    return name.translate(_ESCAPES)


_ESCAPES = {code: f"%{code:02X}" for code in [*range(33), *map(ord, '%/{}"\\'), 127]}
"""What would end a hash tag or a part of a key, or could not be typed into redis-cli."""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(What)
