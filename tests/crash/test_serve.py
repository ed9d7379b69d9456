"""`accrue serve` as people start it, told by its environment where to die."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from process.commands import ENVIRONMENT, WAIT_S_MAX, command, said

PROGRAM = """
[metrics.points]
[[rules]]
on = "did"
give = [{ to = "actor", metric = "points" }]
[boards.writers]
metric = "points"
"""


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], HTTPConnection]]:
    """A server, and a connection to it."""
    (folder / "program.toml").write_text(PROGRAM)
    asked = command("serve", "--program", folder / "program.toml", "--data-dir", folder / "data", "--port", "0")
    with subprocess.Popen(
        asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**ENVIRONMENT, **environment}, text=True
    ) as process:
        try:
            url = urlsplit(said(process, "listening").split()[-1])
            with closing(HTTPConnection(url.hostname or "", url.port, timeout=WAIT_S_MAX)) as connection:
                yield process, connection
        finally:
            process.kill()


def send(connection: HTTPConnection, *ids: int) -> int:
    """Send events; the position at which they are."""
    body = "\n".join(json.dumps({"id": str(id), "type": "did", "actor": "ada"}) for id in ids)
    connection.request("POST", "/v1/events", body, {"Content-Type": "application/x-ndjson"})
    answer = connection.getresponse()
    document = json.loads(answer.read())
    assert answer.status == 202, document
    position: int = document["position"]
    return position


def points(connection: HTTPConnection, after: int) -> int:
    """What ada has once everything up to a position counts."""
    connection.request("GET", f"/v1/tallies/points/ada?after={after}")
    answer = connection.getresponse()
    value: int = json.loads(answer.read())["value"]
    return value


@pytest.mark.parametrize(
    ("point", "hits"),
    [("accept 2: appended, before anybody is told", 7), ("process 4: record folded", 6), ("stop 4: settled", 1)],
)
def test_a_server_dies_where_it_is_told_to_and_has_lost_nothing(tmp_path: Path, point: str, hits: int) -> None:
    acked: list[int] = []
    with serving(tmp_path, ACCRUE_CRASH_AT=point, ACCRUE_CRASH_HITS=str(hits)) as (process, connection):
        try:
            for number in range(20):
                send(connection, number)
                acked.append(number)
            process.send_signal(signal.SIGTERM)
        except (OSError, HTTPException):
            pass
        assert process.wait(WAIT_S_MAX) == -signal.SIGKILL
        assert process.stderr is not None
        assert f"crash point reached: {point}\n" in process.stderr.read()

    with serving(tmp_path) as (_, connection):
        last = send(connection, 100)  # one more, to have a position to wait for
        assert len(acked) <= points(connection, last) - 1 <= len(acked) + 1
        again = send(connection, *range(20))
        assert points(connection, again) == 21


def test_a_crash_point_that_does_not_exist_is_refused_by_name() -> None:
    environment = {**ENVIRONMENT, "ACCRUE_CRASH_AT": "nowhere"}
    done = subprocess.run(command("--version"), env=environment, capture_output=True, text=True, check=False)

    assert done.returncode
    assert "There is no crash point 'nowhere'" in done.stderr
