"""The tables of the log in PostgreSQL: made once, by whoever comes first, and recognised by everyone after."""

from __future__ import annotations

from importlib.resources import files

from msgspec import Struct

from accrue.connect.postgres import Connection, place
from accrue.errors import Corrupt, Misconfigured

FORMAT = 1
FOUNDING_LOCK = 0x41434C47
"""The advisory lock (`ACLG`) that processes which start at the same time take turns by."""

LOCK = "SELECT pg_advisory_xact_lock($1)"
TABLES = "SELECT to_regclass('log_meta') IS NOT NULL, to_regclass('log_records') IS NOT NULL"
META = "SELECT format, identity, partitions FROM log_meta"
INSERT_META = "INSERT INTO log_meta (format, identity, partitions) VALUES ($1, $2, $3)"
INSERT_PARTITIONS = "INSERT INTO log_partitions (partition) SELECT * FROM generate_series(0, $1 - 1)"
FSYNC = "SELECT current_setting('fsync') = 'on'"


class Founded(Struct, frozen=True):
    """What the log says of itself. `synced` is off where the server was told not to wait for its disk."""

    identity: str
    synced: bool


async def ensure(connection: Connection, url: str, *, partitions: int, create_identity: str) -> Founded:
    """Create the log if there is none. Raises `Misconfigured` for another number of partitions, `Corrupt` for tables
    that are not ours or from a newer version; then nothing is changed."""
    await connection.execute("BEGIN")
    await connection.execute(LOCK, FOUNDING_LOCK)
    has_meta, has_records = await connection.fetchrow(TABLES) or (False, False)
    if not has_meta:
        if has_records:
            raise Corrupt(f"{place(url)} has a foreign table log_records. Name another database.")
        script = files("accrue.log").joinpath("sql/postgres/0001_first.sql").read_text("utf-8")
        await connection.execute(script)
        await connection.execute(INSERT_META, FORMAT, create_identity, partitions)
        await connection.execute(INSERT_PARTITIONS, partitions)
    found = await connection.fetchrow(META)
    synced = bool(await connection.fetchval(FSYNC))
    await connection.execute("COMMIT")
    if found is None:
        raise Corrupt(f"The log in {place(url)} has lost its identity. Nothing was changed.")
    if found["format"] != FORMAT:
        raise Corrupt(
            f"The log in {place(url)} has format {found['format']}; this version reads format {FORMAT}. "
            "Nothing was changed: install the version of Accrue that wrote it, or a newer one."
        )
    if found["partitions"] != partitions:
        raise Misconfigured(
            f"The log in {place(url)} was created with {found['partitions']} partitions, which never changes; "
            f"{partitions} are configured. Correct the setting, or name another database for a new deployment."
        )
    return Founded(found["identity"], synced)
