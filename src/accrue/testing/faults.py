"""Faults: how often what fails, and backends that fail so.

    FaultyBackend(book, "book", faults, wire)     every call may fail before or after it did what it was asked to

Which calls fail follows from the seed. While faults are `off`, none do.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

from msgspec import Struct

from accrue.errors import Full, Unavailable


class Rates(Struct, frozen=True, kw_only=True):
    """The share of occasions on which each fault strikes, 0 to 1.

    `book`, `boards` and `log`: a call fails, and in half of the cases after it was carried out. `append`: the log
    refuses a record. `append_unknown`: nobody knows whether the log has the record, so the process must start anew.
    `settle`: a settlement fails, nothing written. `settle_unknown`: it was written, and reported as failed.
    `crash`: the process is gone within a few steps, at each batch. `hand_over`: another process takes its place while
    it still goes on, at each batch. `settle_now`: a settlement begins, at each batch.
    `repeat`: something is sent again, at each batch. `slow`: a call to a thread takes long.
    """

    book: float = 0.01
    boards: float = 0.02
    log: float = 0.005
    append: float = 0.03
    append_unknown: float = 0.01
    settle: float = 0.1
    settle_unknown: float = 0.03
    crash: float = 0.06
    hand_over: float = 0.03
    settle_now: float = 0.1
    repeat: float = 0.15
    slow: float = 0.1

    def scaled(self, factor: float) -> Rates:
        """All of them so many times as often."""
        return Rates(**{name: min(getattr(self, name) * factor, 0.9) for name in self.__struct_fields__})


FAILING_S = (0.0, 0.02, 0.6)
"""How long it takes until a call has failed."""

NEVER = Rates().scaled(0.0)


class Faults:
    """Decides, occasion by occasion. The same seed and the same occasions give the same faults."""

    def __init__(self, seed: int, rates: Rates) -> None:
        self.random = Random(seed)
        self.rates = rates
        self.off = False
        self.struck: Counter[str] = Counter()

    def strikes(self, name: str) -> bool:
        """Whether this fault strikes now. `name` is a field of `Rates`."""
        if self.off or self.random.random() >= getattr(self.rates, name):
            return False
        self.struck[name] += 1
        return True

    def delay_s(self) -> float:
        """How long a call to a thread takes."""
        if self.off:
            return 0.0
        return self.random.choice((0.1, 0.5, 3.0)) if self.strikes("slow") else self.random.choice((0.0, 0.001, 0.01))

    def error(self, detail: str) -> Unavailable:
        """One of the errors by which a backend says: not now."""
        return Full(detail) if self.random.random() < 0.2 else Unavailable(detail)


class Wire:
    """Between a process and what outlives it. Once it is cut nothing gets through, whatever the process still does;
    with `appends` off, it may do everything but write to the log."""

    def __init__(self, broken: Callable[[], None]) -> None:
        self.is_cut = False
        self.appends = True
        self.broken = broken

    def check(self) -> None:
        """Raises `Unavailable` once it is cut."""
        if self.is_cut:
            raise Unavailable("The process is gone.")


class FaultyBackend:
    """A log, a book or boards with faults in every asynchronous method. What it does not know it passes on."""

    def __init__(self, backend: object, kind: str, faults: Faults, wire: Wire) -> None:
        self._backend = backend
        self._kind = kind
        self._faults = faults
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        if inspect.isasyncgenfunction(found):
            return lambda *args, **kwargs: self._generated(name, found(*args, **kwargs))
        if inspect.iscoroutinefunction(found):
            return lambda *args, **kwargs: self._called(name, found, args, kwargs)
        return found

    async def _called(
        self, name: str, method: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._wire.check()
        before, after = self._faults_of(name)
        if before:
            await asyncio.sleep(self._faults.random.choice(FAILING_S))
            raise self._faults.error(f"{self._kind}.{name} failed, as the simulation wants it.")
        result = await method(*args, **kwargs)
        self._wire.check()
        if after:
            await asyncio.sleep(self._faults.random.choice(FAILING_S))
            raise self._faults.error(f"{self._kind}.{name} ended nobody knows how, as the simulation wants it.")
        return result

    async def _generated(self, name: str, batches: AsyncIterator[Any]) -> AsyncIterator[Any]:
        self._wire.check()
        async for batch in batches:
            if self._faults.strikes(self._kind):
                raise self._faults.error(f"{self._kind}.{name} broke off, as the simulation wants it.")
            yield batch
            self._wire.check()

    def _faults_of(self, name: str) -> tuple[bool, bool]:
        """Whether this call fails before it does anything, and whether it fails when it has done it."""
        strikes = self._faults.strikes
        if name == "append":
            if not self._wire.appends:
                return True, False
            if strikes("append_unknown"):
                self._wire.broken()
                stored = self._faults.random.random() < 0.5
                return not stored, stored
            return strikes("append"), False
        if name == "settle":
            return strikes("settle"), strikes("settle_unknown")
        if name == "close":
            return False, False
        if strikes(self._kind):
            return (True, False) if self._faults.random.random() < 0.5 else (False, True)
        return False, False
