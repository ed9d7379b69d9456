"""A book of an earlier version: its closed periods get what later versions read of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from accrue.book.migrate import migrate
from accrue.book.schema import shipped
from accrue.book.sqlite import APPLICATION_ID

BEFORE = 2


def test_older_final_standings_get_dense_ranks_and_what_came_late_is_found(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "book.db", isolation_level=None)
    migrate(connection, shipped()[:BEFORE], application_id=APPLICATION_ID)
    for board, ranks in (("a", (1, 2, 2, 4)), ("b", (1, 1, 3))):
        connection.executemany(
            "INSERT INTO board_results VALUES ('t', ?, 'day', ?, ?, ?, '[1]')",
            [(board, place, rank, f"u{place}") for place, rank in enumerate(ranks, start=1)],
        )
    connection.executemany("INSERT INTO periods VALUES ('t', ?, 0, 0, ?)", [("day", 50), ("open", 0)])
    connection.executemany(
        "INSERT INTO tallies VALUES ('t', ?, ?, ?, 3, ?)",
        [
            ("points", "day", "u1", 50),
            ("points", "day", "u2", 51),
            ("carry.points", "day", "u3", 52),
            ("points", "open", "u4", 60),
        ],
    )

    migrate(connection, shipped(), application_id=APPLICATION_ID)

    ranked = "SELECT board, group_concat(dense, ' ') FROM (SELECT * FROM board_results ORDER BY place) GROUP BY board"
    assert connection.execute(ranked).fetchall() == [("a", "1 2 2 3"), ("b", "1 1 2")]
    late = connection.execute("SELECT * FROM late_tallies").fetchall()
    assert late == [("t", "day", "points", "u2", 51)]
    connection.close()
