"""How the demo ends: what was sent, what came of it, and whether everything was counted exactly once."""

from __future__ import annotations

from msgspec import Struct
from rich.console import Console
from rich.text import Text

from accrue.cli.demo.figures import Figures
from accrue.cli.demo.messages import Progress, Verdict
from accrue.cli.terminal import pairs, printable


class Summary(Struct, frozen=True, kw_only=True):
    """The document of --json. The five counts of events add up to `sent`; `naive_row_writes` is 0 for a file, which
    nobody counts by hand. `memory_bytes` is the most that the server had, None where the system does not tell."""

    sent: int
    accepted: int
    repeated: int
    conflicting: int
    rejected: int
    crawler_views: int
    seconds: float
    events_per_s: int
    requests: int
    ack_p50_ms: float
    ack_p99_ms: float
    row_writes: int
    naive_row_writes: int
    settlements: int
    memory_bytes: int | None
    values_compared: int
    values_differing: int
    differences: list[str]
    exactly_once: bool
    data_dir: str | None


def summary(
    sent: Progress, server: Figures, verdict: Verdict, *, memory_bytes: int | None, data_dir: str | None
) -> Summary:
    """Put together what the three processes know."""
    return Summary(
        sent=sent.sent,
        accepted=sent.accepted,
        repeated=sent.repeated,
        conflicting=sent.conflicting,
        rejected=sent.rejected,
        crawler_views=sent.crawled,
        seconds=round(sent.seconds, 1),
        events_per_s=round(sent.per_s),
        requests=sent.requests,
        ack_p50_ms=round(sent.p50_ms, 2),
        ack_p99_ms=round(sent.p99_ms, 2),
        row_writes=server.rows_written,
        naive_row_writes=sent.naive_rows,
        settlements=server.settlements,
        memory_bytes=memory_bytes,
        values_compared=verdict.compared,
        values_differing=verdict.differing,
        differences=verdict.differences,
        exactly_once=not verdict.differing,
        data_dir=data_dir,
    )


def show_summary(found: Summary, console: Console) -> None:
    """A few lines and the verdict."""
    console.print()
    console.print(pairs(_lines(found)))
    console.print()
    if found.exactly_once:
        console.print(Text("Everything counted exactly once: yes", style="bold green"))
        console.print(_how(found), style="dim")
    else:
        console.print(Text(f"Everything counted exactly once: NO, {found.values_differing:,} differ", style="bold red"))
        for difference in found.differences:
            console.print(f"  {printable(difference)}", soft_wrap=True)
    console.print(_hint(found), style="dim")


def row_share(rows: int, naive_rows: int) -> str:
    """How the rows written compare with those of a naive design, in words."""
    if not naive_rows or not rows:
        return ""
    if rows >= naive_rows:
        return "not fewer yet"
    return f"{100 * (1 - rows / naive_rows):.1f} % fewer, 1 for every {naive_rows / rows:.0f}"


def megabytes(size_bytes: int | None) -> str:
    """A size as people say it."""
    return "not known here" if size_bytes is None else f"{size_bytes / 1e6:,.0f} MB"


def _lines(found: Summary) -> list[tuple[str, str]]:
    lines = [
        ("events sent", f"{found.sent:,} in {found.seconds:,.1f} s, {found.events_per_s:,} a second"),
        ("accepted", f"{found.accepted:,}"),
        ("repeated", f"{found.repeated:,}, dropped"),
        ("conflicting", f"{found.conflicting:,}, kept apart: the first one stands"),
        ("rejected", f"{found.rejected:,}, each with its field and reason"),
        (
            "acked on disk",
            f"p50 {found.ack_p50_ms:.1f} ms, p99 {found.ack_p99_ms:.1f} ms, over {found.requests:,} requests",
        ),
    ]
    if found.naive_row_writes:
        share = row_share(found.row_writes, found.naive_row_writes)
        lines.append(("rows written", f"{found.row_writes:,} against {found.naive_row_writes:,} ({share})"))
    else:
        plural = "" if found.settlements == 1 else "s"
        lines.append(("rows written", f"{found.row_writes:,} in {found.settlements:,} settlement{plural}"))
    lines.append(("memory", f"{megabytes(found.memory_bytes)} at most, of the server"))
    return lines


def _how(found: Summary) -> str:
    if found.naive_row_writes:
        return f"{found.values_compared:,} values asked for over HTTP equal a naive count of the same traffic."
    return "The counts add up, and playing the same lines again counted nothing."


def _hint(found: Summary) -> str:
    if found.data_dir is not None:
        return f"The data is in {found.data_dir}: accrue serve --data-dir {found.data_dir} goes on from there."
    return (
        "Try to break it: accrue demo --data-dir DIR, kill -9 any of its three processes, then accrue serve --data-dir "
        "DIR: whatever was acked is there."
    )
