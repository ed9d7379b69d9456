"""`accrue bench naive` and `accrue bench hot --book`: on real servers, with tiny counts; and what they are made of."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from accrue.cli.bench import app, rivals
from accrue.cli.bench.ack_client import TEMPLATES
from accrue.cli.bench.insistent import Insistent, event_of
from accrue.cli.bench.side_by_side import Views, differences
from accrue.clock import ManualClock
from servers.postgres import PostgresServer
from servers.redis import RedisServer

ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"


def bench(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = msgspec.json.decode(result.stdout)
    return found


def test_accrue_and_a_naive_design_side_by_side(
    redis_server: RedisServer, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Had Accrue lost an event or counted one twice, the bench would have failed."""
    redis_server.wipe()
    urls = ("--redis", redis_server.url, "--postgres", postgres_server.url)

    found = bench("naive", "--seconds", "0.5", "--only", "zincrby,accrue", *urls, "--dir", tmp_path)

    assert found["designs"].keys() == {"zincrby", "accrue"}
    for design in found["designs"].values():
        assert design["events"] > 10
        assert design["per_s"] > 0
        assert 0 < design["p50_ms"] <= design["p99_ms"]
    assert found["designs"]["accrue"]["lost"] == found["designs"]["accrue"]["double"] == 0
    assert found["designs"]["zincrby"]["lost"] == 0  # it may count twice what was under way, and no more
    assert found["designs"]["zincrby"]["double"] <= found["designs"]["zincrby"]["again"]
    assert found["rate_ratio"] > 0
    assert list(tmp_path.iterdir()) == []
    assert redis_server.ask("DBSIZE") == "0"
    assert "accrue_bench" not in postgres_server.ask("SELECT string_agg(datname, ' ') FROM pg_database")


def test_a_redis_with_something_in_it_is_left_alone(redis_server: RedisServer, tmp_path: Path) -> None:
    redis_server.wipe()
    redis_server.ask("SET", "mine", "1")

    result = CliRunner().invoke(app, ["naive", "--redis", redis_server.url, "--dir", str(tmp_path)])

    assert result.exit_code != 0
    assert "holds 1 keys" in str(result.exception)
    assert redis_server.ask("GET", "mine") == "1"
    redis_server.wipe()


def test_a_design_that_there_is_not_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["naive", "--only", "zincrby,magic"])

    assert result.exit_code == 2
    assert "magic" in result.output


def test_hot_updates_the_row_of_a_server_too(postgres_server: PostgresServer, tmp_path: Path) -> None:
    found = bench(
        "hot", "--events", "2500", "--naive-seconds", "0.05", "--clients", "4", "--book", postgres_server.url,
        "--dir", tmp_path,
    )  # fmt: skip

    assert (found["book"], found["naive_clients"]) == ("postgresql", 4)
    assert found["checked_total"] == 5000
    assert found["naive_updates"] >= 4
    assert found["settlements"] >= 1
    assert found["ratio"] == pytest.approx(found["accrue_per_s"] / found["naive_per_s"])
    assert "accrue_bench" not in postgres_server.ask("SELECT string_agg(datname, ' ') FROM pg_database")


def test_what_is_missing_and_what_is_too_much_do_not_make_up_for_each_other() -> None:
    expected = Counter({"a": 3, "b": 2, "c": 1})

    assert differences({"a": 1, "b": 3, "d": 4}, expected) == (3, 5)
    assert differences(dict(expected), expected) == (0, 0)


def test_every_request_is_a_view_of_the_post_that_is_expected() -> None:
    views = Views(ManualClock())
    seen: Counter[str] = Counter()
    ids = set()
    for _ in range(TEMPLATES + 100):
        event = msgspec.json.decode(event_of(views.next()))
        seen[event["object"]] += 1
        ids.add(event["id"])

    assert views.expected() == seen
    assert len(ids) == TEMPLATES + 100
    assert msgspec.json.decode(views.last())["id"] in ids


async def test_what_was_not_answered_is_sent_again_as_it_was() -> None:
    taken: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hangs up on the third request, and on one that comes after the tenth takes no more."""
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                taken.append(await reader.readexactly(length))
            except EOFError:
                break
            if len(taken) == 3:
                break
            writer.write(ANSWER)
            if len(taken) == 10:
                client.end()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    views = Views(ManualClock())
    client = Insistent(server.sockets[0].getsockname()[1], views, connections=1)
    async with asyncio.timeout(30):
        await client.run()
    server.close()

    assert taken[2] == taken[3]
    assert len(set(taken)) == len(taken) - 1 == views.made
    assert client.again == 1


def test_the_naive_designs_are_where_they_are_looked_for() -> None:
    found = rivals.naive_rivals("redis://127.0.0.1/0", "postgresql://127.0.0.1/x")

    assert {file.stem for file in (rivals.BENCHMARKS / "naive").glob("*.py")} == {rival.name for rival in found}
