"""A private PostgreSQL."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping
from uuid import uuid4

from servers import install
from servers.ports import free_port
from servers.process import Process
from servers.server import Server

USER = "accrue"
PASSWORD = "accrue-tests"
ASK_S_MAX = 60
SETTINGS = {
    "fsync": "on",  # what is acknowledged has to survive; everything else here only makes it small and quick
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "jit": "off",
    "checkpoint_timeout": "30min",
    "max_wal_size": "512MB",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
}


class PostgresServer(Server):
    """`settings` are added to those of its configuration file.

    Text sorts by the rules of English, where `a` is before `B`: what relies on the order of bytes has to say so.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # SIGTERM would wait for every client to leave

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._bin = install.postgres()
        self._settings = {**SETTINGS, **(settings or {})}
        self.port = free_port()
        super().__init__()
        self._data = self.directory / "data"
        self._user = _unprivileged()

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The same server, another database."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        password = self.directory / "password"
        password.write_text(PASSWORD, encoding="ascii")
        if self._user is not None:
            os.chown(self.directory, self._user, self._user)
            os.chown(password, self._user, self._user)
        options = [f"--pgdata={self._data}", f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en", "--no-sync"]
        done = subprocess.run(
            [str(self._bin / "initdb"), *options],
            cwd=self.directory,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            timeout=ASK_S_MAX,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")

    def launch(self) -> list[Process]:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items()]
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        return [Process(command, log=self.log, directory=self.directory, user=self._user)]

    def answers(self) -> bool:
        ready = [str(self._bin / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}", "--timeout=1"]
        return subprocess.run(ready, check=False, timeout=ASK_S_MAX).returncode == 0

    def ask(self, sql: str, *, database: str = "postgres") -> str:
        """What psql prints for it, without headings. RuntimeError when the server refuses."""
        psql = [str(self._bin / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url_of(database)]
        done = subprocess.run(psql, capture_output=True, text=True, timeout=ASK_S_MAX, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()

    def new_database(self) -> str:
        """An empty database; returns its name."""
        database = f"t{uuid4().hex}"
        self.ask(f"CREATE DATABASE {database}")
        return database

    def drop_database(self, database: str) -> None:
        """Remove it with whoever is still connected."""
        self.ask(f"DROP DATABASE {database} WITH (FORCE)")


def _unprivileged() -> int | None:
    """Who it runs as: PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
