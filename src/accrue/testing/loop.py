"""An event loop in which nothing takes time and nothing runs beside it, so that a run follows from its seed alone.

Waiting moves the loop's own clock forward at once. What is handed to a thread runs inside the loop after a delay
that the caller chooses; other tasks go on meanwhile, as they do beside a real thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from accrue.clock import Clock
from accrue.errors import Unavailable

START_US = 1_700_000_000_000_000
TURNS_MAX = 1_000_000
"""A run that takes more turns than this does not end by itself."""

Call = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Run it with `asyncio.Runner(loop_factory=...)`. `delay_s` says how long the next call to a thread takes."""

    def __init__(self, delay_s: Callable[[], float] = lambda: 0.0) -> None:
        self._now_s = 0.0
        self._delay_s = delay_s
        self._calls: dict[Executor | None, deque[Call]] = {}
        self._alarms: list[tuple[int, Callable[[], None]]] = []
        self.turns = 0
        super().__init__(_Impatient(self._turn))

    def time(self) -> float:
        """Seconds since the loop was made, as it counts them."""
        return self._now_s

    def skip(self, seconds: float) -> None:
        """Let time pass at once, as for a machine that was asleep: what was due in between is due now, once."""
        self._now_s += seconds

    def after_turns(self, turns: int, callback: Callable[[], None]) -> None:
        """Call something between two turns, so many from now."""
        self._alarms.append((self.turns + turns, callback))

    def run_in_executor(  # type: ignore[override]  # the same but for the types of *args
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run it in the loop later; calls of one executor one after the other, in order."""
        future: asyncio.Future[Any] = self.create_future()
        calls = self._calls.setdefault(executor, deque())
        calls.append((future, func, args))
        if len(calls) == 1:
            self.call_later(self._delay_s(), self._run_next, executor)
        return future

    def drop_calls(self) -> None:
        """What no thread has done yet is never done."""
        for calls in self._calls.values():
            for future, _, _ in calls:
                if not future.done():
                    future.set_exception(Unavailable("The process is gone."))
                    future.exception()  # nobody may be waiting for it any more
        self._calls.clear()

    def _run_next(self, executor: Executor | None) -> None:
        calls = self._calls.get(executor)
        if not calls:
            return
        future, func, args = calls[0]
        try:
            result = func(*args)
        except BaseException as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)
        calls.popleft()
        while calls and calls[0][0].cancelled():  # one that has not begun does not begin any more
            calls.popleft()
        if calls:
            self.call_later(self._delay_s(), self._run_next, executor)

    def _turn(self, timeout_s: float | None) -> None:
        if timeout_s is None:
            raise RuntimeError("The simulation stands still: everything waits for something that cannot happen.")
        self._now_s += max(timeout_s, 0.0)
        self.turns += 1
        if self.turns > TURNS_MAX:
            raise RuntimeError(f"The simulation went on for {TURNS_MAX} turns: something runs in circles.")
        due = [callback for turn, callback in self._alarms if turn <= self.turns]
        self._alarms = [alarm for alarm in self._alarms if alarm[0] > self.turns]
        for callback in due:
            callback()


class _Impatient(selectors.SelectSelector):
    """Never waits and never finds anything: it only tells how long would have been waited."""

    def __init__(self, turn: Callable[[float | None], None]) -> None:
        super().__init__()
        self._turn = turn

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turn(timeout)
        return []


class LoopClock(Clock):
    """Wall time and monotonic time as the loop counts them, from a moment on."""

    def __init__(self, loop: SimulatedLoop, *, start_us: int = START_US) -> None:
        self._loop = loop
        self._start_us = start_us
        self._off_us = 0

    def now_us(self) -> int:
        return self._start_us + self._off_us + round(self._loop.time() * 1_000_000)

    def set_off(self, *, seconds: int) -> None:
        """Let the wall clock be off by so much from here on; the monotonic one never is."""
        self._off_us = seconds * 1_000_000

    def monotonic_s(self) -> float:
        return self._loop.time()
