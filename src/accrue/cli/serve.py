"""`accrue serve`: the server, in this process."""

from __future__ import annotations

import typer

from accrue import __version__
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
from accrue.cli.terminal import err, pairs
from accrue.config import Config
from accrue.connect.url import redacted
from accrue.errors import Misconfigured

DOCS_PATH = "/docs"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    config: ConfigFile = None,
    program: Program = None,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    log: LogUrl = None,
    book: BookUrl = None,
    boards: BoardsUrl = None,
    partitions: Partitions = None,
) -> None:
    """Accept events and answer reads over HTTP, until Ctrl-C.

    Arguments win over the environment (ACCRUE_DATA_DIR, ACCRUE_PROGRAM, ACCRUE_HOST, ACCRUE_PORT, ACCRUE_LOG,
    ACCRUE_BOOK, ACCRUE_BOARDS, ACCRUE_PARTITIONS), which wins over the settings file. Without keys configured the
    server listens on this machine only. On a log that others share it is gateway and worker in one.

    \b
    Example:
      accrue serve --program program.toml --data-dir accrue-data --port 8080
      accrue serve --program program.toml --log postgresql://127.0.0.1/log \\
          --book postgresql://127.0.0.1/book --boards redis://127.0.0.1:6379/0
    """
    programs = {DEFAULT_TENANT: program} if program else None
    found = listening_at(settings(config, data_dir=data_dir, programs=programs), host, port)
    run_until_stopped(with_engines(found, Engines(log=log, book=book, boards=boards, partitions=partitions)))


def run_until_stopped(config: Config, *, works: bool = True) -> None:
    """Serve with these settings. `works` is False for a gateway."""
    _check_program(config)
    # Imported here because the HTTP stack takes longer to load than every other command takes to run.
    from accrue.server import run

    run(config, on_ready=lambda url: _say_ready(url, config), works=works)


def _check_program(config: Config) -> None:
    """A new data directory without a program would have nobody to serve."""
    if (
        config.program_files()
        or not config.is_alone
        or (config.data_dir is not None and (config.data_dir / "log.db").is_file())
    ):
        return
    raise Misconfigured("There is no program: give --program FILE, or name one in the settings.")


def _say_ready(url: str, config: Config) -> None:
    files = config.program_files()
    tenants = ", ".join(f"{tenant} ({file})" for tenant, file in files.items()) or "those of the book"
    console = err()
    console.print(f"Accrue {__version__}", style="bold")
    console.print(
        pairs(
            [
                ("  listening", url),
                ("  docs", url.rstrip("/") + DOCS_PATH),
                *_places(config),
                ("  tenants", tenants),
            ]
        )
    )
    console.print("Ctrl-C stops it; what was accepted is settled first.", style="dim")


def _places(config: Config) -> list[tuple[str, str]]:
    """Where things are kept: one line for a data directory, one for each engine."""
    here = str(config.data_dir) if config.data_dir else "in memory; nothing survives"
    urls = {"log": config.log.url, "book": config.book.url, "boards": config.boards.url}
    if not any(urls.values()):
        return [("  data", here)]
    elsewhere = {"log": here, "book": here, "boards": "in memory"}
    return [(f"  {name}", redacted(url) if url else elsewhere[name]) for name, url in urls.items()]
