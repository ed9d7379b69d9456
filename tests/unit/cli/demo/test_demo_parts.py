"""The smaller parts of the demo: what is sent again, read, measured and shown."""

from __future__ import annotations

import asyncio
import io
import tomllib
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import msgspec
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from accrue.cli import demo
from accrue.cli.demo import connection as connection_module
from accrue.cli.demo.acks import Acks
from accrue.cli.demo.connection import Answer, Connection
from accrue.cli.demo.examples import example_program
from accrue.cli.demo.figures import Figures, read_figures
from accrue.cli.demo.messages import Broken, Listening, Progress, Settled, Verdict, heard
from accrue.cli.demo.receipts import received
from accrue.cli.demo.summary import Summary, show_summary, summary
from accrue.cli.demo.view import Seen, plain_line, view
from accrue.core.reader import read
from accrue.errors import Misconfigured, Unavailable
from accrue.serve.answers import BoardPage, BoardRow

ROOT = Path(__file__).resolve().parents[4]
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
LATER = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"
HANG_UP = b""


async def answered(answers: Iterator[bytes]) -> tuple[Answer, list[bytes]]:
    """Post to a server that gives these answers, and say what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked.append(head + await reader.readexactly(4))
            answer = next(answers)
            if answer == HANG_UP:
                break
            writer.write(answer)
            if answer == OK:
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = Connection(server.sockets[0].getsockname()[1])
        try:
            return await connection.post("/v1/events", b"body", "application/json", key="k-1"), asked
        finally:
            await connection.close()


async def test_a_request_without_an_answer_is_sent_again_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "RETRY_S", 0)
    answer, asked = await answered(iter([HANG_UP, LATER, OK]))
    assert answer == Answer(202, b"{}", 3)
    assert len(asked) == 3
    assert len(set(asked)) == 1
    assert b"Idempotency-Key: k-1\r\n" in asked[0]


async def test_a_server_that_is_gone_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "RETRY_S", 0)
    with pytest.raises(Unavailable, match="does not answer any more"):
        await answered(chain([LATER], repeat(HANG_UP)))


def test_an_answer_says_what_became_of_each_event() -> None:
    body = b'{"durable":"disk","position":7,"results":[{"id":"a","status":"accepted"},{"id":"b","status":"repeated"}]}'
    assert received(Answer(202, body), 2) == (7, ["accepted", "repeated"])
    assert received(Answer(413, b'{"title":"too large"}'), 2) == (0, ["rejected", "rejected"])
    for answer in (Answer(202, body), Answer(500, b"{}")):
        with pytest.raises(Unavailable):
            received(answer, 3)


def test_figures_are_read_from_the_metrics() -> None:
    text = """# HELP accrue_events_total Events folded, by outcome.
accrue_events_total{outcome="applied",tenant="default"} 12.0
accrue_events_total{outcome="repeated",tenant="default"} 3.0
accrue_rows_written_total{partition="0"} 1.5e+06
accrue_settlements_total{partition="0"} 2.0
process_resident_memory_bytes 1.048576e+07
"""
    assert read_figures(text) == Figures(
        applied=12, repeated=3, rows_written=1_500_000, settlements=2, memory_bytes=10_485_760
    )
    assert read_figures("").memory_bytes is None


def test_the_share_of_acks_that_were_quick_enough() -> None:
    acks = Acks()
    for number in range(1, 101):
        acks.add(number / 1_000)
    acks.add(60.0)
    assert acks.lately_ms(0.5) == pytest.approx(51.0)
    assert acks.in_all_ms(0.5) == pytest.approx(51.0, abs=0.1)
    assert acks.in_all_ms(1.0) == pytest.approx(2_000.0)
    assert Acks().in_all_ms(0.99) == Acks().lately_ms(0.99) == 0.0


def test_what_a_process_says_is_understood_or_refused() -> None:
    said = msgspec.json.encode(Listening("http://127.0.0.1:1", 8080))
    assert heard(said, Listening) == Listening("http://127.0.0.1:1", 8080)
    for line, reason in ((said, "said Listening"), (msgspec.json.encode(Broken("no room")), "no room"), (b"", "ended")):
        with pytest.raises(Unavailable, match=reason):
            heard(line, Settled)


def test_the_example_program_is_the_one_people_look_at() -> None:
    file = example_program("writers")
    assert file.parent.name in ("programs", "examples")
    assert "writers" in read(file.read_text(encoding="utf-8"), file=file.name).boards
    with pytest.raises(Misconfigured, match="'nothing' is missing"):
        example_program("nothing")


def test_an_installed_package_has_the_example_programs_where_they_are_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["examples/programs"] == "accrue/examples"


# --- what is shown -----------------------------------------------------------------------------------------------


PROGRESS = Progress(
    seconds=75.0,
    sent=1_234_567,
    accepted=1_200_000,
    repeated=34_000,
    conflicting=67,
    rejected=500,
    crawled=65_432,
    per_s=123_456.0,
    p50_ms=1.5,
    p99_ms=4.25,
    requests=99_999,
    naive_rows=2_000_000,
    viral="small-recipe-233",
    viral_owner="nils",
)


def seen(**changes: object) -> Seen:
    page = BoardPage(
        board="writers",
        period="all",
        metrics=["points"],
        rows=[BoardRow(n, f"a-writer-with-a-rather-long-name-{n}", [1_000_000 - n]) for n in range(1, 31)],
        members=30,
        as_of="",
        epoch=1,
    )
    found = Seen(
        url="http://127.0.0.1:44431",
        boards=["writers", "posts"],
        seconds_max=None,
        title="a writers' community; one post goes viral",
        note="port 8080 is taken",
        progress=PROGRESS,
        figures=Figures(rows_written=20_000, settlements=12, memory_bytes=123_000_000),
        pages=[page, page],
        viral_views=123_456,
        pulse=[1, 5, 0, 9] * 60,
    )
    return msgspec.structs.replace(found, **changes)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])
@pytest.mark.parametrize("made", [True, False])
def test_the_picture_fits_on_the_screen_with_every_number_in_full(columns: int, lines: int, made: bool) -> None:
    screen = Console(file=io.StringIO(), width=columns, height=lines, color_system=None)
    progress = PROGRESS if made else msgspec.structs.replace(PROGRESS, viral=None, naive_rows=0)
    with screen.capture() as captured:
        screen.print(view(seen(progress=progress), columns=columns, lines=lines))
    drawn = captured.get().splitlines()
    assert len(drawn) < lines
    assert max(len(line) for line in drawn) <= columns
    text = "\n".join(drawn)
    numbers = ["1,234,567", "123,456", "34,000", "500", "65,432", "20,000", "123 MB", "4.2 ms", "999,999"]
    numbers += ["2,000,000", "99.0 % fewer", "small-recipe-233", "+18/s"] if made else []
    assert [number for number in numbers if number not in text] == []
    assert "http://127.0.0.1:44431/docs" in text
    assert "port 8080 is taken" in text


def test_without_a_terminal_it_is_one_line() -> None:
    line = plain_line(seen())
    assert "\n" not in line
    assert "1,234,567 sent  123,456/s  p99 4.2 ms" in line
    assert "20,000 rows of 2,000,000" in line


def closing(differences: list[str]) -> Summary:
    verdict = Verdict(compared=900, differing=len(differences), differences=differences)
    server = Figures(rows_written=20_000, settlements=12)
    return summary(PROGRESS, server, verdict, memory_bytes=None, data_dir=None)


def shown(found: Summary) -> str:
    screen = Console(file=io.StringIO(), width=80, color_system=None, highlight=False)
    with screen.capture() as captured:
        show_summary(found, screen)
    return captured.get()


def test_the_summary_says_yes_or_names_what_differs() -> None:
    good, bad = shown(closing([])), shown(closing(["user ada: points: counted 3, the server says 4"]))
    assert "Everything counted exactly once: yes" in good
    assert "20,000 against 2,000,000 (99.0 % fewer, 1 for every 100)" in good
    assert "Everything counted exactly once: NO, 1 differ" in bad
    assert "user ada: points: counted 3, the server says 4" in bad
    assert closing([]).exactly_once
    assert not closing(["x"]).exactly_once


# --- the command -------------------------------------------------------------------------------------------------


def refusal(*arguments: object) -> str:
    app = typer.Typer()
    demo.register(app)
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(ran.exception, Misconfigured), ran.output
    return ran.exception.detail


def test_what_does_not_go_together_is_refused_before_anything_starts(tmp_path: Path) -> None:
    program = example_program("writers")
    (tmp_path / "book.db").touch()
    assert "--program goes with --events" in refusal("--program", program)
    assert "--events needs the rules" in refusal("--events", program)
    assert "There is no file" in refusal("--events", tmp_path / "none", "--program", program)
    assert "is not empty" in refusal("--data-dir", tmp_path)
