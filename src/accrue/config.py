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

    partitions = 8                      # on the engines people operate, with several processes: see [node]
    [log]
    url = "rabbitmq-stream://accrue:secret@127.0.0.1:5552/"
    [book]
    url = "postgresql://accrue:secret@127.0.0.1/accrue"
    [boards]
    url = "redis://127.0.0.1:6379/0"

Paths are relative to the file. `ACCRUE_DATA_DIR`, `ACCRUE_PROGRAM`, `ACCRUE_HOST`, `ACCRUE_PORT`, `ACCRUE_LOG`,
`ACCRUE_BOOK`, `ACCRUE_BOARDS`, `ACCRUE_PARTITIONS` and `ACCRUE_ADDRESS` win over the file, arguments win over both.
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
PARTITIONS_MAX = 1_024
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where to listen. Nobody is asked for a key yet, so only on loopback, unless `unprotected` says that this is a
    network of your own and something in front checks who may write."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = DEFAULT_PORT
    unprotected: bool = False


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where accepted events stand: `url` is `postgresql://`, `rabbitmq-stream://` or `kafka://`; empty is log.db in the
    data directory. `size_bytes_max` bounds that file; past it requests get 507 until a settlement made room. It holds
    what is not settled yet."""

    url: str = ""
    size_bytes_max: Annotated[int, Meta(ge=16 << 20)] = 16 << 30


class BookConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where everything is settled: `url` is `postgresql://`; empty is book.db in the data directory."""

    url: str = ""


class BoardsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where live boards are read: `url` is `redis://` or `redis-cluster://`; empty is the memory of the process, which
    has to be the only one then."""

    url: str = ""


class NodeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How several processes share the partitions: evenly. Of no concern to a single one on a data directory.

    A worker whose heartbeat stands still for `lease_s` loses its partitions to the others. `partitions_max` bounds how
    many a worker takes while others are there to take the rest (0: no bound); what nobody takes for two leases it takes
    all the same. `address` is the URL at which the other processes reach this one; left empty it is where it listens.
    Gateways keep answers of reads for `cache_ms`.
    """

    lease_s: Annotated[float, Meta(gt=0, le=3_600)] = 3.0
    partitions_max: Annotated[int, Meta(ge=0)] = 0
    address: str = ""
    cache_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000


class SpoolConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a gateway keeps what it accepts while a shared log is out of reach: spool.db in its data directory.

    A log that takes longer than `log_wait_s_max` for an append is out of reach. Past the bounds requests get 503.
    Without a spool they get 503 at once.
    """

    enabled: bool = True
    size_bytes_max: Annotated[int, Meta(ge=1 << 20)] = 1 << 30
    records_max: Positive = 1_000_000
    log_wait_s_max: Seconds = 5.0


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
    out; nothing survives. `partitions` is how many parts the log has, fixed when a deployment is created: a tenant
    lives in one of them."""

    data_dir: Path | None = Path(DEFAULT_DATA_DIR)
    program: Path | None = None
    programs: Mapping[str, Path] = {}
    partitions: Annotated[int, Meta(ge=1, le=PARTITIONS_MAX)] = 1
    server: ServerConfig = ServerConfig()
    node: NodeConfig = NodeConfig()
    log: LogConfig = LogConfig()
    book: BookConfig = BookConfig()
    boards: BoardsConfig = BoardsConfig()
    spool: SpoolConfig = SpoolConfig()
    ingest: IngestConfig = IngestConfig()
    process: ProcessConfig = ProcessConfig()

    @property
    def is_alone(self) -> bool:
        """Whether the log is in the data directory (or in memory), so that one process has all of it."""
        return not self.log.url

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
            server["port"] = _whole("ACCRUE_PORT", environment["ACCRUE_PORT"])
    for section, name in (("log", "url"), ("book", "url"), ("boards", "url"), ("node", "address")):
        variable = f"ACCRUE_{name.upper() if section == 'node' else section.upper()}"
        found = values.setdefault(section, {})
        if variable in environment and isinstance(found, dict):
            found[name] = environment[variable]
    if "ACCRUE_PARTITIONS" in environment:
        values["partitions"] = _whole("ACCRUE_PARTITIONS", environment["ACCRUE_PARTITIONS"])
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


def _whole(variable: str, text: str) -> int:
    if not text.isdigit():
        raise Misconfigured(f"{variable} is a whole number, not {text!r}.")
    return int(text)
