"""Settings: what an operator may choose, one class a stage, from `accrue.toml`, the environment or arguments.

    data_dir = "accrue-data"
    program = "program.toml"            # of the tenant "default"; or one each in [programs]

    [programs]
    forum = "forum.toml"

    [server]
    host = "127.0.0.1"
    port = 8080

    [process]
    settle_interval_s = 60

Paths are relative to the file. `ACCRUE_DATA_DIR`, `ACCRUE_PROGRAM`, `ACCRUE_HOST` and `ACCRUE_PORT` win over the file,
arguments win over both.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from accrue.errors import Misconfigured

DEFAULT_TENANT = "default"
DEFAULT_DATA_DIR = "accrue-data"
DEFAULT_PORT = 8080
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where to listen. Without keys configured only on loopback."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = DEFAULT_PORT


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bound of log.db; past it requests get 507 until a settlement made room. It holds what is not settled yet."""

    size_bytes_max: Annotated[int, Meta(ge=16 << 20)] = 16 << 30


class IngestConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds of the ingest queue; past them requests get 503. One request must fit."""

    queue_events_max: Annotated[int, Meta(ge=1_000)] = 100_000
    queue_size_bytes_max: Annotated[int, Meta(ge=1 << 20)] = 64 << 20


class ProcessConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to publish and settle, and how much to remember. Times are in the unit of the name: _ms, _s, _min, _h.

    `close_grace_min` is the lateness bound: an event that comes no later than this after the end of its period is in
    the period's final standings. What comes later still counts, and is shown beside them as a correction.
    """

    tick_ms: Annotated[int, Meta(ge=1, le=10_000)] = 25
    settle_interval_s: Seconds = 60.0
    settle_dirty_rows: Positive = 400_000
    settle_archive_bytes: Positive = 64 << 20
    entries_in_memory_max: Positive = 5_000_000
    repeat_window_h: Seconds = 24.0
    once_window_h: Seconds = 960.0
    repeat_size_bytes_max: Positive = 512 << 20
    close_grace_min: Seconds = 60.0


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything. `data_dir` None keeps the log in memory and the book in a temporary place: for tests and trying
    out; nothing survives."""

    data_dir: Path | None = Path(DEFAULT_DATA_DIR)
    program: Path | None = None
    programs: Mapping[str, Path] = {}
    server: ServerConfig = ServerConfig()
    log: LogConfig = LogConfig()
    ingest: IngestConfig = IngestConfig()
    process: ProcessConfig = ProcessConfig()

    def program_files(self) -> dict[str, Path]:
        """Tenant -> file of its program."""
        files = dict(self.programs)
        if self.program is not None:
            files.setdefault(DEFAULT_TENANT, self.program)
        return files


def load(path: Path | None, *, environment: Mapping[str, str] | None = None) -> Config:
    """The settings of a file (or none) with the environment over them. Raises `Misconfigured` naming the setting."""
    values: dict[str, object] = {}
    base = Path()
    if path is not None:
        base = path.parent
        try:
            values = tomllib.loads(path.read_text())
        except OSError as error:
            raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{path} is not TOML: {error}.") from error
    environment = os.environ if environment is None else environment
    for name in ("data_dir", "program"):
        if f"ACCRUE_{name.upper()}" in environment:
            values[name] = str(Path.cwd() / environment[f"ACCRUE_{name.upper()}"])
    server = values.setdefault("server", {})
    if isinstance(server, dict):
        if "ACCRUE_HOST" in environment:
            server["host"] = environment["ACCRUE_HOST"]
        if "ACCRUE_PORT" in environment:
            server["port"] = _port(environment["ACCRUE_PORT"])
    try:
        config = msgspec.convert(values, Config, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{path or 'the settings'}: {error}.") from error
    return msgspec.structs.replace(
        config,
        data_dir=base / config.data_dir if config.data_dir else None,
        program=base / config.program if config.program else None,
        programs={tenant: base / file for tenant, file in config.programs.items()},
    )


def _path(type: type, value: object) -> object:
    if type is Path and isinstance(value, str) and value:
        return Path(value)
    raise msgspec.ValidationError(f"Expected a path, got {value!r}")


def _port(text: str) -> int:
    if not text.isdigit():
        raise Misconfigured(f"ACCRUE_PORT is a port number, not {text!r}.")
    return int(text)
