"""The options that several commands have, and what becomes of them: settings, a tenant, a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct

from accrue.config import DEFAULT_DATA_DIR, DEFAULT_TENANT, Config, load
from accrue.core.period import Calendar
from accrue.engine import Accrue
from accrue.errors import InUse, Rejected
from accrue.offline import existing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER_MIN = 60.0 * 24 * 365 * 100
"""A grace of a hundred years: a command that looks or imports leaves the closing of periods to the server."""

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings, such as accrue.toml.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help=f"The data directory; {DEFAULT_DATA_DIR} if left out.")
]
Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME", help="Which tenant.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


LogUrl = Annotated[
    str | None,
    typer.Option(
        "--log", metavar="URL", help="postgresql://, rabbitmq-stream:// or kafka://; the data directory if left out."
    ),
]
BookUrl = Annotated[
    str | None, typer.Option("--book", metavar="URL", help="postgresql://; the data directory if left out.")
]
BoardsUrl = Annotated[
    str | None,
    typer.Option("--boards", metavar="URL", help="redis:// or redis-cluster://; the process's memory if left out."),
]
Partitions = Annotated[
    int | None,
    typer.Option("--partitions", min=1, help="Of the log, fixed when the deployment is created; 1 if left out."),
]
Host = Annotated[str | None, typer.Option("--host", help="Where to listen; 127.0.0.1 if left out.")]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="8080 if left out; 0 takes a free one.")]
Program = Annotated[Path | None, typer.Option("--program", metavar="FILE", help="The rules of the tenant 'default'.")]


class Engines(Struct, frozen=True, kw_only=True):
    """Where things are kept, as far as it was said on the command line."""

    log: str | None = None
    book: str | None = None
    boards: str | None = None
    partitions: int | None = None


def with_engines(config: Config, engines: Engines) -> Config:
    """The settings with these over them."""
    sections = {}
    for name in ("log", "book", "boards"):
        url = getattr(engines, name)
        if url is not None:
            sections[name] = msgspec.structs.replace(getattr(config, name), url=url)
    if engines.partitions is not None:
        sections["partitions"] = engines.partitions
    return msgspec.structs.replace(config, **sections)


def listening_at(config: Config, host: str | None, port: int | None) -> Config:
    """The settings with this address over theirs."""
    server = msgspec.structs.replace(
        config.server,
        host=config.server.host if host is None else host,
        port=config.server.port if port is None else port,
    )
    return msgspec.structs.replace(config, server=server)


def settings(config: Path | None, *, data_dir: Path | None = None, programs: dict[str, Path] | None = None) -> Config:
    """The settings of a file and the environment, with what was said on the command line over them."""
    found = load(config)
    if data_dir is not None:
        found = msgspec.structs.replace(found, data_dir=data_dir)
    if programs:
        found = msgspec.structs.replace(found, programs={**found.programs, **programs})
    return found


def closing_nothing(config: Config) -> Config:
    """The same settings for an engine that closes no periods."""
    return msgspec.structs.replace(config, process=msgspec.structs.replace(config.process, close_grace_min=NEVER_MIN))


@asynccontextmanager
async def opened(config: Path | None, data_dir: Path | None, tenant: str) -> AsyncIterator[Accrue]:
    """An engine on a data directory that is there, under the programs it has. It closes no periods.

    Raises `Misconfigured` when there is no such directory, `Corrupt` when half of it is missing, and `InUse`, saying
    how to ask, while a server has it.
    """
    found = closing_nothing(settings(config, data_dir=data_dir))
    place = existing(found)
    found = msgspec.structs.replace(found, data_dir=place, program=None, programs={})
    try:
        async with Accrue.open(found, tenant=tenant) as accrue:
            yield accrue
    except InUse:
        raise InUse(
            f"{place} is in use by a running server or import. Ask the server, with the --url of that server, "
            "or wait for the import."
        ) from None


def time_us(written: str, calendar: Calendar) -> int:
    """`2018-06-01` (its first moment in the tenant's time zone) or a time with a zone. Raises `Rejected`."""
    try:
        if len(written) == len("2018-06-01"):
            return calendar.parse(datetime.fromisoformat(written).date().isoformat()).start_us
        time = datetime.fromisoformat(written)
    except ValueError:
        raise Rejected(
            f"--at is a date (2018-06-01) or a time with a zone (2018-06-01T12:00:00Z), not {written!r}.", field="at"
        ) from None
    if time.tzinfo is None:
        raise Rejected(f"The time {written!r} needs a zone: add Z or an offset like +02:00.", field="at")
    return (time - EPOCH) // timedelta(microseconds=1)


def iso(time_us: int) -> str:
    """A time for people: UTC, to the second."""
    return (EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = [
    "DEFAULT_TENANT",
    "AsJson",
    "ConfigFile",
    "DataDir",
    "Tenant",
    "closing_nothing",
    "iso",
    "opened",
    "settings",
    "time_us",
]
