"""Every bench with tiny counts: it ends, says what it has to say, leaves nothing behind, and its counts are exact."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from accrue.cli.bench import app

MACHINE = {"cores", "system", "python", "sqlite", "filesystem", "load_1m"}


def bench(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures: dict[str, Any] = msgspec.json.decode(result.stdout)
    assert figures["machine"].keys() == MACHINE
    return figures


def test_fold_counts_what_a_plain_count_of_the_same_events_says(tmp_path: Path) -> None:
    figures = bench("fold", "--events", "3000", "--subjects", "400", "--batch", "250", "--dir", tmp_path)

    assert figures["events"] == 3000
    assert figures["checked_total"] > 3000
    assert figures["repeats_dropped"] == 250
    assert figures["settlements"] >= 1
    assert 200 <= figures["bytes_per_event"] <= 260
    assert figures["ratio"] == pytest.approx(figures["events_per_s"] / figures["decode_per_s"])
    assert list(tmp_path.iterdir()) == []


def test_replay_makes_the_same_book_again(tmp_path: Path) -> None:
    """Every row of the two books was compared, and `accrue verify` found them sound, or the bench would have failed."""
    figures = bench("replay", "--events", "3000", "--subjects", "400", "--batch", "250", "--dir", tmp_path)

    assert figures["events"] == 3000 + 250 + 1  # those that were sent again and the program are archived, too
    assert figures["rows_checked"] > 3000
    assert figures["segments"] >= 1
    assert figures["ratio"] == pytest.approx(figures["events_per_s"] / figures["fold_events_per_s"])
    assert list(tmp_path.iterdir()) == []


def test_hot_counts_two_numbers_for_each_event(tmp_path: Path) -> None:
    figures = bench("hot", "--events", "2500", "--naive-seconds", "0.05", "--dir", tmp_path)

    assert figures["checked_total"] == 5000
    assert figures["naive_updates"] >= 1
    assert figures["ratio"] == pytest.approx(figures["accrue_per_s"] / figures["naive_per_s"])
    assert list(tmp_path.iterdir()) == []


def test_settle_counts_every_row_it_writes(tmp_path: Path) -> None:
    figures = bench(
        "settle", "--events", "3000", "--viral-subjects", "20", "--mixed-subjects", "500", "--dir", tmp_path
    )

    for name, subjects in (("viral", 20), ("mixed", 500)):
        part = figures[name]
        assert part["active_subjects"] == subjects
        assert part["naive_rows"] == 9000
        assert part["transactions"] == 1
        # One for each number that was raised; the program, the checkpoint, the period, the ids and the archive.
        assert subjects + 5 <= part["row_writes"] <= subjects + 20
        assert part["reduction"] == pytest.approx(1 - part["row_writes"] / 9000)
        assert part["reduction_at_one_row_an_event"] == pytest.approx(1 - part["row_writes"] / 3000)
    assert list(tmp_path.iterdir()) == []


def test_board_says_what_a_member_and_a_read_cost(tmp_path: Path) -> None:
    figures = bench("board", "--members", "1000", "--dir", tmp_path)

    assert figures["members"] == 1000
    assert {"rank", "top_10", "refresh_ms", "bytes_per_member"} <= figures.keys()
    assert 0 < figures["rank"]["p50_us"] <= figures["rank"]["p99_us"]


def test_ack_counts_exactly_what_it_acknowledged(tmp_path: Path) -> None:
    """`events` was compared with what the servers applied, or the bench would have failed."""
    figures = bench(
        "ack", "--connections", "4", "--latency-connections", "2", "--seconds", "0.4", "--turns", "1", "--dir", tmp_path
    )

    assert figures["errors"] == 0
    assert figures["events"] > 0
    assert figures["settlements"] >= 1
    assert figures["ratio"] == pytest.approx(figures["durable_per_s"] / figures["floor_per_s"])
    assert figures["p50_ms"] <= figures["p99_ms"]
    assert {
        "offered_per_s",
        "offered_p50_ms",
        "offered_p99_ms",
        "client_ceiling_per_s",
        "client_is_cheaper",
        "pinned",
    } <= figures.keys()
    assert list(tmp_path.iterdir()) == []


def test_restart_finds_everything_that_a_killed_process_had_acked(tmp_path: Path) -> None:
    figures = bench("restart", "--events", "3000", "--subjects", "400", "--dir", tmp_path)

    assert figures["events"] == 3000
    assert figures["checked_total"] > 3000
    assert figures["log_bytes"] > 3000 * 200
    assert 0 < figures["fold_seconds"] < figures["seconds"]
    assert figures["events_per_s"] == pytest.approx(3000 / figures["seconds"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ack", "fold", "hot", "settle", "restart", "board"])
def test_every_bench_says_how_it_is_used(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])

    assert result.exit_code == 0
    assert f"accrue bench {name} --" in result.stdout
    assert "--json" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [["fold", "--events", "0"], ["fold", "--batch", "1001"], ["ack", "--seconds", "0"], ["board", "--members", "1"]],
)
def test_what_would_not_end_or_not_begin_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert arguments[1] in result.output
