"""The canonical digest of a partition's state: two folds of the same log have the same one, or one of them is wrong.

    rows of the book, table by table, after a settlement  --+
                                                            +--> StateDigest
    the repeat indexes of the fold that settled           --+

It is taken over what the log determines and nothing else: not over the checkpoint's epoch, the runs of the repeat
index as they happen to be cut, nor the segments of the archive, because those follow from where settlements fell.
A table's rows may come in any order: what is kept of each is a hash, and hashes are added up. So a book of any size
is digested in one pass and constant memory, and a difference names the table it is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec
from msgspec import Struct

from accrue.process.repeats import RepeatIndex

HASH_SIZE_BYTES = 16
_MODULUS = 1 << (8 * HASH_SIZE_BYTES)

Cell = int | str | bytes | None
Rows = Iterable[tuple[Cell, ...]]


class StateDigest(Struct, frozen=True):
    """Table or index -> how many rows and the sum of their hashes (hex)."""

    parts: dict[str, tuple[int, str]]

    @property
    def text(self) -> str:
        """All of it in 32 characters."""
        return _hash(msgspec.msgpack.encode(sorted(self.parts.items()))).hex()

    def differences(self, other: StateDigest) -> list[str]:
        """The parts in which two states differ, one clause each."""
        found = []
        for name in sorted({*self.parts, *other.parts}):
            mine, theirs = self.parts.get(name, (0, "")), other.parts.get(name, (0, ""))
            if mine != theirs:
                found.append(
                    f"{name}: {mine[0]} and {theirs[0]} rows" + (", not the same" if mine[0] == theirs[0] else "")
                )
        return found


def digest(tables: Mapping[str, Rows], indexes: Iterable[RepeatIndex] = ()) -> StateDigest:
    """The digest of a state: every table's rows, whole, and every repeat index.

    A row must be there once; its columns come in a fixed order.
    """
    parts = {name: _of_rows(rows) for name, rows in tables.items()}
    for index in indexes:
        entries = blake2b(digest_size=HASH_SIZE_BYTES)
        for chunk in index.digest_entries():
            entries.update(chunk)
        parts[f"index {index.name}"] = (index.entries, entries.hexdigest())
    return StateDigest(parts)


def _of_rows(rows: Rows) -> tuple[int, str]:
    count = total = 0
    for row in rows:
        count += 1
        total += int.from_bytes(_hash(msgspec.msgpack.encode(tuple(row))), "big")
    return count, (total % _MODULUS).to_bytes(HASH_SIZE_BYTES, "big").hex()


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=HASH_SIZE_BYTES).digest()
