"""`accrue serve` as a process, asked with `accrue query --url`."""

from __future__ import annotations

import io
import json
import signal
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from accrue.cli.main import main
from process.commands import PROGRAMS, WAIT_S_MAX, ran, said, started

EVENTS = b"""{"id": "1", "type": "post.published", "actor": "bob", "object": "a/b", "time": "2018-06-01T12:00:00Z"}
{"id": "2", "type": "comment.created", "actor": "ada", "object": "a/b", "owner": "bob", "time": "2018-06-01T12:00:00Z",
 "data": {"text": "that is long enough to count"}}
""".replace(b"\n ", b" ")


def test_a_server_answers_queries_while_it_has_the_directory(tmp_path: Path) -> None:
    data, program = tmp_path / "data", PROGRAMS / "writers.toml"
    assert ran("import", "-", "--program", program, "--data-dir", data, input=EVENTS).returncode == 0
    with started("serve", "--program", program, "--data-dir", data, "--port", "0") as process:
        url = said(process, "listening").split()[-1]
        assert said(process, "docs").split()[-1] == f"{url}/docs"
        assert "default" in said(process, "tenants")

        busy = ran("query", "user", "ada", "--data-dir", data)
        assert busy.returncode == 2
        assert b"--url of that server" in busy.stderr

        week = ["--period", "week", "--at", "2018-06-01"]
        page = json.loads(ran("query", "board", "writers", *week, "--url", url, "--json").stdout)
        assert [(row["rank"], row["subject"], row["values"]) for row in page["rows"]] == [
            (1, "bob", [10]),
            (2, "ada", [5]),
        ]
        assert ran("query", "user", "ada", "--url", url).stdout.startswith(b"user ada\n")
        document = json.loads(ran("query", "object", "a/b", "--url", url, "--json").stdout)
        assert document["tallies"]["comments"] == {"all": 1}
        one = ran("query", "tally", "points", "--subject", "bob", "--url", url)
        assert one.stdout == b"bob: 10 points, all\n"

        unknown = ran("query", "board", "writer", "--url", url)
        assert (unknown.returncode, unknown.stderr) == (
            2,
            b"error: There is no board 'writer'. Did you mean 'writers'?\n",
        )
        assert b"There is no tenant 'other'" in ran("query", "user", "ada", "--tenant", "other", "--url", url).stderr

        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S_MAX) == 0
    assert ran("query", "user", "ada", "--data-dir", data).returncode == 0


def test_a_server_without_a_program_does_not_start(tmp_path: Path) -> None:
    refused = ran("serve", "--data-dir", tmp_path / "data", "--port", "0")
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"error: There is no program: give --program FILE")
    assert not (tmp_path / "data").exists()


def test_what_failed_is_put_right_while_the_server_runs(tmp_path: Path) -> None:
    data, program, fixed = tmp_path / "data", tmp_path / "program.toml", tmp_path / "fixed.toml"
    text = '[metrics.points]\n[[rules]]\non = "e"\ngive = [{ to = "actor", metric = "points", amount = "6 / value" }]\n'
    program.write_text(text + '[badges.good]\nwhen = "points >= 6"\n')
    fixed.write_text(program.read_text().replace("6 / value", "6 / max(1, value)"))
    events = b'{"id": "1", "type": "e", "actor": "ada", "value": 0}\n'
    events += b'{"id": "2", "type": "e", "actor": "bob", "value": 2}\n'
    assert ran("import", "-", "--program", program, "--data-dir", data, input=events).returncode == 1
    other = b'{"id": "2", "type": "e", "actor": "eve", "value": 2}\n'
    assert ran("import", "-", "--program", program, "--data-dir", data, input=other).returncode == 0
    with started("serve", "--program", program, "--data-dir", data, "--port", "0") as process:
        url = said(process, "listening").split()[-1]

        def asked(*arguments: object, code: int = 0) -> Any:
            with redirect_stdout(io.StringIO()) as out:
                assert main([*map(str, arguments), "--url", url, "--json"]) == code
            return json.loads(out.getvalue() or "null")

        (event,) = asked("failed", "list")["events"]
        assert (event["id"], event["reason"]) == ("1", "a division by zero")
        assert asked("program", "apply", fixed)["differences"]["summary"] == [
            {"change": "changed", "what": "rule", "name": "on e"}
        ]
        assert asked("failed", "replay", event["sequence"]) == [{"sequence": event["sequence"], "outcome": "applied"}]
        asked("failed", "show", event["sequence"], code=2)
        assert asked("query", "tally", "points")["rows"] == [["ada", 6], ["bob", 3]]
        assert [award["holder"] for award in asked("query", "awards")] == ["ada"]
        (conflict,) = asked("conflicts", "list")["conflicts"]
        shown = asked("conflicts", "show", conflict["sequence"])
        assert [json.loads(shown[body])["actor"] for body in ("first", "body")] == ["bob", "eve"]

        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S_MAX) == 0
    with started("serve", "--program", program, "--data-dir", data, "--port", "0") as process:
        assert "stays" in said(process, "program file has not changed")
        assert "listening" in said(process, "listening")
