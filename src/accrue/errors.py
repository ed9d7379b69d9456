"""Every exception Accrue raises, in one tree, split by who must act.

    AccrueError
      Rejected        the caller: the request is wrong and will stay wrong
        NotFound        no such board, period, tenant, subject; names the nearest
        TooLarge        past a named limit
        Gone            a cursor or snapshot that is no longer kept
      Conflict        the caller: the same id with another body
      Unavailable     anyone: try again later (`retry_after_s`)
        Full            a disk or a queue is full; nothing was accepted
        Elsewhere       this process does not know; the worker that has the tenant does
        Lost            boards do not hold what their publisher left there; it begins again
      Fenced          a worker: it lost its partition and must stop
      Misconfigured   the operator, at start: what to change is in the message
        InUse           another process has the data directory
        Absent          nothing listens there: the server is down, or is another one
        Unfinished      a replay was begun and must be finished
      Corrupt         the operator, now: data is not what it must be; nothing was changed

Errors of drivers (SQLite, sockets) are translated once, where the driver is called, with the cause kept.
"""

from __future__ import annotations


class AccrueError(Exception):
    """Base of all. `detail` is one sentence a person can act on."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Rejected(AccrueError):
    """The request is wrong. `field` names the offending part, for example `$.data.seconds` or `limit`."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class NotFound(Rejected):
    """Nothing has that name; `nearest` is the closest name there is."""

    def __init__(self, detail: str, *, field: str | None = None, nearest: str | None = None) -> None:
        hint = f" Did you mean {nearest!r}?" if nearest else ""
        super().__init__(detail + hint, field=field)
        self.nearest = nearest


class TooLarge(Rejected):
    """Past a named limit."""


class Gone(Rejected):
    """A cursor whose snapshot is no longer kept: start paging again."""


class Conflict(AccrueError):
    """The same id with another body: the first one stands."""


class Unavailable(AccrueError):
    """Not now. The same request may succeed after `retry_after_s` seconds."""

    def __init__(self, detail: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Full(Unavailable):
    """No room on the disk: nothing was accepted."""


class Lost(Unavailable):
    """The boards do not hold what their publisher left: wiped, rolled back, failed over. It publishes them again."""


class Elsewhere(Unavailable):
    """This process does not know, and nothing is wrong with it: the worker that has the tenant does."""


class Fenced(AccrueError):
    """Another worker owns the partition now: nothing was written."""


class Misconfigured(AccrueError):
    """Wrong settings, found at start. The message says what to change."""


class InUse(Misconfigured):
    """Another process holds the data directory."""


class Absent(Misconfigured):
    """Nothing listens where a server should be: it is down, or the address is wrong. Nobody can tell from here."""


class Unfinished(Misconfigured):
    """A replay under a new program was begun and not finished. `command` is the one that finishes it."""

    def __init__(self, command: str = "accrue replay") -> None:
        super().__init__(f"A replay under a new program was begun and not finished. Finish it first: {command}")


class Corrupt(AccrueError):
    """Data is damaged, foreign, or from a newer version. Nothing was changed."""
