"""`accrue serve` as a process, asked with `accrue query --url`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

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
        assert b"--url http://127.0.0.1" in busy.stderr

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
