"""`accrue gateway` and `accrue worker`: one process of a deployment that has several."""

from __future__ import annotations

import typer
from msgspec import structs

from accrue.cli.options import (
    DEFAULT_TENANT,
    BoardsUrl,
    BookUrl,
    ConfigFile,
    DataDir,
    Engines,
    Host,
    LogUrl,
    Partitions,
    Port,
    Program,
    listening_at,
    settings,
    with_engines,
)
from accrue.cli.serve import run_until_stopped
from accrue.config import Config
from accrue.errors import Misconfigured


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("gateway")(gateway)
    app.command("worker")(worker)


def gateway(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    log: LogUrl = None,
    book: BookUrl = None,
    boards: BoardsUrl = None,
    partitions: Partitions = None,
) -> None:
    """Accept events and answer reads over HTTP, and leave the rules to workers. Any number may run.

    Its data directory holds the spool, where events wait while the log is out of reach: one for each gateway. Settings
    as for `accrue serve`.

    \b
    Example:
      accrue gateway --port 8080 --data-dir spool-1 --partitions 8 \\
          --log rabbitmq-stream://guest:guest@127.0.0.1:5552/ \\
          --book postgresql://me:secret@127.0.0.1/accrue \\
          --boards redis://127.0.0.1:6379/0
    """
    found = listening_at(settings(config, data_dir=data_dir), host, port)
    engines = Engines(log=log, book=book, boards=boards, partitions=partitions)
    run_until_stopped(_shared(with_engines(found, engines), "gateway"), works=False)


def worker(
    config: ConfigFile = None,
    program: Program = None,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = 0,
    log: LogUrl = None,
    book: BookUrl = None,
    boards: BoardsUrl = None,
    partitions: Partitions = None,
) -> None:
    """Work on the partitions that nobody else works on: fold, publish, settle. Any number may run; when one dies
    another takes its partitions over.

    It listens for the gateways, and for /metrics, at an address of its own (ACCRUE_ADDRESS, or [node] address, when
    others reach it under another one). Settings as for `accrue serve`.

    \b
    Example:
      accrue worker --program program.toml --partitions 8 \\
          --log rabbitmq-stream://guest:guest@127.0.0.1:5552/ \\
          --book postgresql://me:secret@127.0.0.1/accrue \\
          --boards redis://127.0.0.1:6379/0
    """
    programs = {DEFAULT_TENANT: program} if program else None
    found = listening_at(settings(config, data_dir=data_dir, programs=programs), host, port)
    engines = Engines(log=log, book=book, boards=boards, partitions=partitions)
    found = _shared(with_engines(found, engines), "worker")
    run_until_stopped(structs.replace(found, spool=structs.replace(found.spool, enabled=False)))


def _shared(config: Config, role: str) -> Config:
    missing = [name for name in ("log", "book", "boards") if not getattr(config, name).url]
    if missing:
        options = ", ".join(f"--{name} URL" for name in missing)
        raise Misconfigured(
            f"A {role} is one process of several, which share log, book and boards: give {options}, or the same in the "
            "settings. A single process without servers is `accrue serve`."
        )
    return config
