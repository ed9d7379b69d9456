"""The live view: what is happening, in 80 columns and 24 lines or more, four times a second.

Everything in it comes from the server over HTTP or from the sender's own count; the view keeps nothing but the last
minute of the viral post's views.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from accrue.cli.demo.figures import Figures
from accrue.cli.demo.messages import Progress
from accrue.cli.demo.summary import megabytes, row_share
from accrue.cli.terminal import printable
from accrue.serve.answers import BoardPage, Quantity

LOOK_S = 0.5
"""How often the server is asked."""

BARS = " ▁▂▃▄▅▆▇█"
FIXED_LINES = 12
BOARD_ROWS_MIN, BOARD_ROWS_MAX = 3, 30


class Seen(Struct, kw_only=True):
    """Everything that the view shows. `pulse` are the viral post's new views, a number for each time it was asked."""

    url: str
    boards: list[str]
    seconds_max: float | None
    title: str
    note: str = ""
    doing: str = ""
    progress: Progress
    figures: Figures
    pages: list[BoardPage]
    viral_views: int = 0
    pulse: list[int]


def board_rows(lines: int) -> int:
    """How many rows of each board fit on a screen of so many lines."""
    return max(min(lines - FIXED_LINES, BOARD_ROWS_MAX), BOARD_ROWS_MIN)


def view(seen: Seen, *, columns: int, lines: int) -> RenderableType:
    """The whole picture, one line less than the screen has."""
    parts: list[RenderableType] = [_head(seen), _where(seen)]
    if seen.progress.viral is not None:
        parts.append(_viral(seen, columns))
    parts.append(boards_shown(seen.pages, board_rows(lines)))
    parts.append(_figures(seen))
    return Group(*parts)


def boards_shown(pages: Sequence[BoardPage], rows: int) -> Table:
    """The boards side by side, so many rows of each."""
    grid = Table.grid(expand=True, padding=(0, 1))
    for _ in pages:
        grid.add_column(ratio=1)
    grid.add_row(*(_board(page, rows) for page in pages))
    return grid


def plain_line(seen: Seen) -> str:
    """The same in one line, for where there is no terminal."""
    progress, figures = seen.progress, seen.figures
    parts = [
        f"{progress.seconds:6.1f} s",
        f"{progress.sent:,} sent",
        f"{progress.per_s:,.0f}/s",
        f"p99 {progress.p99_ms:.1f} ms",
        f"{progress.repeated:,} repeated",
        f"{progress.conflicting:,} conflicting",
        f"{progress.rejected:,} rejected",
        f"{figures.rows_written:,} rows",
    ]
    if progress.naive_rows:
        parts[-1] += f" of {progress.naive_rows:,}"
    if progress.viral is not None:
        parts.append(f"{progress.viral} {seen.viral_views:,} views")
    return "  ".join(parts) + (f"  {seen.doing}" if seen.doing else "")


def _head(seen: Seen) -> Table:
    row = _across()
    end = "" if seen.seconds_max is None else f" of {_minutes(seen.seconds_max)}"
    title = Text.assemble(("Accrue  ", "bold cyan"), (seen.title, "bold"))
    right = seen.doing or f"{_minutes(seen.progress.seconds)}{end}"
    row.add_row(title, Text(right, style="bold yellow" if seen.doing else "bold"))
    return row


def _where(seen: Seen) -> Table:
    row = _across()
    boards = ", ".join(f"/v1/boards/{name}" for name in (seen.boards[:1] if seen.note else seen.boards))
    where = Text.assemble((f"{seen.url}/docs", "underline"), (f"  {boards}", "dim"))
    row.add_row(where, Text(seen.note, style="yellow"))
    return row


def _viral(seen: Seen, columns: int) -> Panel:
    progress = seen.progress
    row = _across()
    what = Text.assemble(
        (printable(progress.viral or ""), "bold magenta"),
        (f" by {printable(progress.viral_owner or '')}  ", "dim"),
        (f"{seen.viral_views:,}", "bold"),
        " views  ",
        (f"+{seen.pulse[-1] / LOOK_S:,.0f}/s" if seen.pulse else "", "bold magenta"),
    )
    room = max(columns - len(what.plain) - 8, 0)
    row.add_row(what, Text(_bars(seen.pulse[-room:] if room else []), style="magenta"))
    return Panel(row, box=ROUNDED, title="the viral post", title_align="left", border_style="magenta", padding=(0, 1))


def _board(page: BoardPage, rows: int) -> Panel:
    table = Table(box=None, expand=True, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(justify="right", style="dim", width=3)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for _ in page.metrics:
        table.add_column(justify="right", no_wrap=True)
    shown = page.rows[:rows]
    for row in shown:
        style = "bold yellow" if row.rank == 1 else ""
        table.add_row(str(row.rank), printable(row.subject), *(_number(value) for value in row.values), style=style)
    for _ in range(rows - len(shown)):
        table.add_row("", "", *("" for _ in page.metrics))
    title = f"{page.board} by {', '.join(page.metrics)}"
    return Panel(table, box=ROUNDED, title=title, title_align="left", border_style="cyan", padding=(0, 1))


def _figures(seen: Seen) -> Table:
    progress, figures = seen.progress, seen.figures
    table = Table.grid(expand=True, padding=(0, 1))
    for _ in range(4):
        table.add_column(style="dim", no_wrap=True, min_width=8)
        table.add_column(style="bold", no_wrap=True, min_width=9)
    table.add_row(
        *("events/s", f"{progress.per_s:,.0f}"),
        *("sent", f"{progress.sent:,}"),
        *("ack p50", f"{progress.p50_ms:.1f} ms"),
        *("p99", f"{progress.p99_ms:.1f} ms"),
    )
    table.add_row(
        *("repeats", f"{progress.repeated:,}"),
        *("conflicts", f"{progress.conflicting:,}"),
        *("rejected", f"{progress.rejected:,}"),
        *("crawlers", f"{progress.crawled:,}"),
    )
    table.add_row(
        *("settled", f"{figures.settlements:,} time{'' if figures.settlements == 1 else 's'}"),
        *("rows", f"{figures.rows_written:,}"),
        *("naive", f"{progress.naive_rows:,}" if progress.naive_rows else "-"),
        *("memory", megabytes(figures.memory_bytes) if figures.memory_bytes else "-"),
    )
    whole = Table.grid(expand=True)
    whole.add_column()
    whole.add_row(table)
    if progress.naive_rows:
        words = (
            row_share(figures.rows_written, progress.naive_rows)
            if figures.rows_written
            else "nothing settled yet, every 10 s"
        )
        whole.add_row(
            Text.assemble(
                ("row writes against one UPDATE for each amount: ", "dim"),
                (words, "bold green"),
            )
        )
    return whole


def _across() -> Table:
    row = Table.grid(expand=True)
    row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    row.add_column(justify="right", no_wrap=True)
    return row


def _number(value: Quantity) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(value)


def _bars(numbers: Sequence[int]) -> str:
    most = max(numbers, default=0)
    return "".join(BARS[-(-number * (len(BARS) - 1) // most)] if most else BARS[0] for number in numbers)


def _minutes(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02}"
