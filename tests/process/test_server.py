"""The real server: its own process, a real socket, a real disk, and what is left when it is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

PROGRAM = """
[metrics.points]
[[rules]]
on = "comment.created"
give = [{ to = "actor", metric = "points", amount = 5 }]
[boards.writers]
metric = "points"
"""

SERVE = """
import sys
from pathlib import Path
from accrue.config import Config, ProcessConfig, ServerConfig
from accrue.server import run

def ready(url):
    sys.stdout.write(url + "\\n")
    sys.stdout.flush()

folder, settle_interval_s = Path(sys.argv[1]), float(sys.argv[2])
run(
    Config(
        data_dir=folder / "data",
        program=folder / "program.toml",
        server=ServerConfig(port=0),
        process=ProcessConfig(settle_interval_s=settle_interval_s),
    ),
    on_ready=ready,
)
"""
EXIT_S_MAX = 30
"""Only so that a server that never ends fails its test instead of hanging it."""

SOURCE = Path(__file__).resolve().parents[2] / "src"


def start(folder: Path, *, settle_interval_s: float = 60.0) -> subprocess.Popen[str]:
    (folder / "program.toml").write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder), str(settle_interval_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


@contextmanager
def serving(folder: Path, *, settle_interval_s: float = 60.0) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A running server and a client for it. Whatever happens, the server is gone in the end."""
    process = start(folder, settle_interval_s=settle_interval_s)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.communicate()
        with httpx.Client(base_url=url, timeout=EXIT_S_MAX) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def comment(id: str, actor: str = "ada") -> dict[str, str]:
    return {"id": id, "type": "comment.created", "actor": actor}


def points(client: httpx.Client, after: int) -> int:
    answer = client.get("/v1/tallies/points/ada", params={"after": after})
    assert answer.status_code == 200, answer.text
    value: int = answer.json()["value"]
    return value


def test_a_stopped_server_gives_the_same_answers_when_it_is_started_again(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, client):
        accepted = client.post("/v1/events", json=[comment(f"c{i}", f"user-{i % 7}") for i in range(100)]).json()
        position = accepted["position"]
        before = client.get("/v1/boards/writers", params={"after": position}).json()
        profile = client.get("/v1/users/user-3").json()

        process.send_signal(signal.SIGTERM)
        assert process.wait(EXIT_S_MAX) == 0

    with serving(tmp_path) as (_, client):
        after = client.get("/v1/boards/writers", params={"after": position}).json()
        assert client.get("/readyz").json()["partitions"][0]["settled"] >= position  # it settled on the way out
        assert client.get("/v1/users/user-3").json()["tallies"] == profile["tallies"]

    assert accepted["durable"] == "disk"
    assert before["members"] == 7
    assert (after["rows"], after["members"]) == (before["rows"], 7)


@pytest.mark.parametrize("settle_interval_s", [60.0, 0.02])
def test_a_killed_server_has_counted_every_acked_event_once(tmp_path: Path, settle_interval_s: float) -> None:
    acked: list[int] = []
    begun: list[str] = []
    enough = threading.Event()

    def send_until_it_is_gone(url: httpx.URL, sender: int) -> None:
        with httpx.Client(base_url=url, timeout=EXIT_S_MAX) as client:
            try:
                for number in range(1_000_000):
                    begun.append(f"c{sender}-{number}")
                    answer = client.post("/v1/events", json=comment(f"c{sender}-{number}"))
                    assert answer.status_code == 202
                    acked.append(answer.json()["position"])
                    if len(acked) > 300:
                        enough.set()
            except httpx.TransportError:
                enough.set()

    with serving(tmp_path, settle_interval_s=settle_interval_s) as (process, client):
        senders = [threading.Thread(target=send_until_it_is_gone, args=(client.base_url, n)) for n in range(4)]
        for sender in senders:
            sender.start()
        assert enough.wait(EXIT_S_MAX)
        process.kill()
        for sender in senders:
            sender.join(EXIT_S_MAX)

    with serving(tmp_path) as (_, client):
        counted = points(client, max(acked)) // 5
        for first in range(0, len(begun), 1_000):
            again = [comment(id) for id in begun[first : first + 1_000]]
            last = client.post("/v1/events", json=again).json()["position"]
        whole = points(client, last) // 5

    assert len(acked) <= counted <= len(begun)
    assert whole == len(begun)  # sent again, those that were counted are repeats and the others count now


def test_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, client):
        second = start(tmp_path)
        said, complaint = second.communicate(timeout=EXIT_S_MAX)

        position = client.post("/v1/events", json=comment("c1")).json()["position"]
        assert points(client, position) == 5

    assert second.returncode != 0
    assert said == ""
    assert "InUse" in complaint


def test_what_is_not_http_does_not_disturb_the_server(tmp_path: Path) -> None:
    requests = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/users/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{",
        b"POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/users/ada HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 100,
    ]
    with serving(tmp_path) as (process, client):
        address = urlsplit(str(client.base_url))
        for request in requests:
            with socket.create_connection((address.hostname, address.port), timeout=EXIT_S_MAX) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65_536)
            assert not answer.startswith(b"HTTP/1.1 5"), request

        position = client.post("/v1/events", json=comment("c1")).json()["position"]
        assert points(client, position) == 5
        assert client.post("/v1/events", content=b" " * (3 << 20)).status_code in (413, 415)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=EXIT_S_MAX)

    assert "Traceback" not in complaint
