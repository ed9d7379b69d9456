"""`accrue serve`: the server, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from accrue import __version__
from accrue.cli.options import DEFAULT_TENANT, ConfigFile, DataDir, settings
from accrue.cli.terminal import err, pairs
from accrue.config import Config
from accrue.errors import Misconfigured

DOCS_PATH = "/docs"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    config: ConfigFile = None,
    program: Annotated[
        Path | None, typer.Option("--program", metavar="FILE", help="The rules of the tenant 'default'.")
    ] = None,
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen; 127.0.0.1 if left out.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="8080 if left out; 0 takes a free one.")
    ] = None,
) -> None:
    """Accept events and answer reads over HTTP, until Ctrl-C.

    Arguments win over the environment (ACCRUE_DATA_DIR, ACCRUE_PROGRAM, ACCRUE_HOST, ACCRUE_PORT), which wins over
    the settings file. Without keys configured the server listens on this machine only.

    \b
    Example:
      accrue serve --program program.toml --data-dir accrue-data --port 8080
    """
    found = settings(config, data_dir=data_dir, programs={DEFAULT_TENANT: program} if program else None)
    server = msgspec.structs.replace(
        found.server,
        host=found.server.host if host is None else host,
        port=found.server.port if port is None else port,
    )
    found = msgspec.structs.replace(found, server=server)
    _check_program(found)
    # Imported here because the HTTP stack takes longer to load than every other command takes to run.
    from accrue.server import run

    run(found, on_ready=lambda url: _say_ready(url, found))


def _check_program(config: Config) -> None:
    """A new data directory without a program would have nobody to serve."""
    if config.program_files() or (config.data_dir is not None and (config.data_dir / "log.db").is_file()):
        return
    raise Misconfigured("There is no program: give --program FILE, or name one in the settings.")


def _say_ready(url: str, config: Config) -> None:
    files = config.program_files()
    tenants = ", ".join(f"{tenant} ({file})" for tenant, file in files.items()) or "those of the data directory"
    console = err()
    console.print(f"Accrue {__version__}", style="bold")
    console.print(
        pairs(
            [
                ("  listening", url),
                ("  docs", url.rstrip("/") + DOCS_PATH),
                ("  data", str(config.data_dir) if config.data_dir else "in memory; nothing survives"),
                ("  tenants", tenants),
            ]
        )
    )
    console.print("Ctrl-C stops it; what was accepted is settled first.", style="dim")
