"""A private Redis."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from servers import install
from servers.ports import free_port
from servers.process import Process
from servers.server import ASK_AGAIN_S, START_S_MAX, Server

ASK_S_MAX = 30
SETTINGS = {
    "bind": "127.0.0.1",
    "save": "",  # snapshots only when asked
    "repl-diskless-sync-delay": "0",
}


class RedisServer(Server):
    """`settings` are those of redis.conf, and come last.

    With `aof` every write is in the append-only file before it is answered: a kill loses none, a machine that loses
    power up to a second. Without it a kill loses whatever came after the last `save`, or everything.
    """

    name = "redis"

    def __init__(self, *, aof: bool = False, password: str = "", settings: Mapping[str, str] | None = None) -> None:
        self._server, self._cli = install.redis()
        self._aof = aof
        self._password = password
        self._settings = {**SETTINGS, **({"requirepass": password} if password else {}), **(settings or {})}
        self.port = free_port()
        super().__init__()
        self._data = self.directory / "data"
        self._saved: list[Path] = []

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, number: int) -> str:
        """The same server, another of its sixteen numbered databases."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/{number}"

    def prepare(self) -> None:
        self._data.mkdir()

    def launch(self) -> list[Process]:
        return [self._process(aof=self._aof)]

    def answers(self) -> bool:
        try:
            return self.ask("PING") == "PONG"
        except RuntimeError:
            return False

    def ask(self, *words: str, number: int = 0) -> str:
        """What redis-cli prints for one command. RuntimeError when the server refuses or is not there."""
        login = ["--no-auth-warning", "-a", self._password] if self._password else []
        command = [self._cli, "-e", "-h", "127.0.0.1", "-p", str(self.port), "-n", str(number), *login, *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S_MAX, check=False)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"no answer within {ASK_S_MAX} s") from error
        if done.returncode:
            raise RuntimeError(f"{done.stdout}{done.stderr}".strip())
        return done.stdout.rstrip("\n")

    def setting(self, name: str) -> str:
        """What it was started with."""
        return self._settings[name]

    def wipe(self) -> None:
        """All of it is gone, as after FLUSHALL or a lost volume."""
        self.ask("FLUSHALL")

    def save(self) -> Path:
        """A snapshot of this moment, to go back to with `roll_back`."""
        self.ask("SAVE")
        kept = self.directory / f"{len(self._saved)}.rdb"
        shutil.copyfile(self._data / "dump.rdb", kept)
        self._saved.append(kept)
        return kept

    def roll_back(self, snapshot: Path | None = None) -> None:
        """Kill it and start it with an older snapshot, the last one saved if none is given.

        With `aof` this is how an operator does it: the file of appends is put away, the snapshot read, and a new file
        of appends begun from it.
        """
        if snapshot is None and not self._saved:
            raise RuntimeError("there is no snapshot to go back to: save() comes first")
        self.kill()
        shutil.rmtree(self._data / "appendonlydir", ignore_errors=True)
        shutil.copyfile(snapshot or self._saved[-1], self._data / "dump.rdb")
        self._processes = [self._process(aof=False)]
        self.wait_until_ready()
        if self._aof:
            self.ask("CONFIG", "SET", "appendonly", "yes")
            self._wait_for("aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0", "aof_last_bgrewrite_status:ok")

    def _wait_for(self, *lines: str) -> None:
        deadline_s = time.monotonic() + START_S_MAX
        while not set(lines) <= set(self.ask("INFO", "persistence").split()):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"redis does not come to {lines}. Its log ends with:\n{self.log_end()}")
            time.sleep(ASK_AGAIN_S)

    def _process(self, *, aof: bool) -> Process:
        settings = {
            **self._settings,
            "port": str(self.port),
            "dir": str(self._data),
            "appendonly": "yes" if aof else "no",
            "appendfsync": "everysec",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return Process([self._server, *options], log=self.log, directory=self.directory)
