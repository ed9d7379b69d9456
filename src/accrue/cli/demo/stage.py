"""The terminal process: starts the server and the traffic, shows what they do, and says in the end what came of it.

    terminal (this) --starts--> server    <--HTTP-- traffic <--starts-- terminal
        \\--HTTP: boards, a counter, /metrics--^

1. start the server; 2. start the traffic; 3. show it until it is over or Ctrl-C; 4. settle; 5. check; 6. sum up.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.live import Live

from accrue.cli.demo.children import Child, started
from accrue.cli.demo.connection import Connection
from accrue.cli.demo.figures import Figures, figures
from accrue.cli.demo.messages import (
    CHECK,
    SETTLE,
    STOP,
    Listening,
    Progress,
    Settled,
    Task,
    Verdict,
)
from accrue.cli.demo.server import Setup
from accrue.cli.demo.summary import Summary, summary
from accrue.cli.demo.view import BOARD_ROWS_MAX, LOOK_S, Seen, boards_shown, plain_line, view
from accrue.core.program import Program
from accrue.serve.answers import BoardPage, Tally

PULSES_MAX = 240
LOOKS_PER_LINE = 2
"""Without a terminal: a line a second."""

PLAIN_BOARD_ROWS = 10
BOARDS_SHOWN = 2


class Play(Struct, frozen=True, kw_only=True):
    """What was asked for on the command line. `file` None plays the made community."""

    seconds: float | None
    rate: int
    port: int | None
    seed: int
    program_file: Path
    program: Program
    file: Path | None
    data_dir: Path
    kept: bool


async def staged(play: Play, console: Console) -> Summary:
    """Run the demo. Raises `Unavailable` when one of the processes ends before its time, and `KeyboardInterrupt` at
    the second Ctrl-C."""
    setup = Setup(data_dir=str(play.data_dir), program=str(play.program_file), port=play.port)
    async with started("server", [msgspec.json.encode(setup).decode()]) as server:  # 1.
        listening = await server.hear(Listening)
        port = int(listening.url.rpartition(":")[2])
        async with started("traffic") as traffic:  # 2.
            file = None if play.file is None else str(play.file)
            traffic.tell(Task(port=port, seed=play.seed, rate=play.rate, seconds=play.seconds, file=file))
            show = Show(_seen(play, listening), Connection(port), console)
            try:
                with _interrupts(traffic, show):
                    return await _through(play, server, traffic, show)
            finally:
                await show.connection.close()


async def _through(play: Play, server: Child, traffic: Child, show: Show) -> Summary:
    with show.on():
        # 3.
        _, finished = await asyncio.gather(show.until_over(), _listen(traffic, show))
        # 4.
        show.doing("settling ...")
        server.tell(SETTLE)
        await server.hear(Settled)
        # 5.
        show.doing("checking ...")
        traffic.tell(CHECK)
        verdict = await traffic.hear(Verdict)
        await show.look()
        show.doing("done")
    # 6.
    return summary(
        finished,
        show.seen.figures,
        verdict,
        memory_bytes=show.memory_bytes_max,
        data_dir=str(play.data_dir) if play.kept else None,
    )


async def _listen(traffic: Child, show: Show) -> Progress:
    """Hear how the traffic is doing, until it has finished."""
    try:
        while True:
            progress = await traffic.hear(Progress)
            show.progress(progress)
            if progress.finished:
                return progress
    finally:
        show.over.set()


class Show:
    """The picture, and what it is made of."""

    def __init__(self, seen: Seen, connection: Connection, console: Console) -> None:
        self.seen = seen
        self.connection = connection
        self.over = asyncio.Event()
        self.memory_bytes_max: int | None = None
        self._console = console
        self._live: Live | None = None
        self._looks = 0
        self._viral: str | None = None

    @contextmanager
    def on(self) -> Iterator[None]:
        """Draw while the block runs, where there is a terminal to draw on. The last picture stays."""
        if not self._console.is_terminal:
            yield
            self._console.print(boards_shown(self.seen.pages, PLAIN_BOARD_ROWS))
            return
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    async def until_over(self) -> None:
        """Ask the server twice a second, and draw."""
        while not self.over.is_set():
            await self.look()
            self._looks += 1
            if not self._console.is_terminal and self._looks % LOOKS_PER_LINE == 0:
                self._console.print(plain_line(self.seen), soft_wrap=True)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self.over.wait()
            except TimeoutError:
                continue

    def progress(self, progress: Progress) -> None:
        """The traffic said how it does."""
        self.seen.progress = progress
        self._draw()

    def doing(self, what: str) -> None:
        """What goes on instead of traffic."""
        self.seen.doing = what
        self._draw()

    async def look(self) -> None:
        """Boards, the viral post's counter, and the server's figures: all over HTTP."""
        seen = self.seen
        seen.figures = await figures(self.connection)
        memory_bytes = seen.figures.memory_bytes
        if memory_bytes is not None:
            self.memory_bytes_max = max(memory_bytes, self.memory_bytes_max or 0)
        seen.pages = [await self._board(page) for page in seen.pages]
        await self._look_at(seen.progress.viral)
        self._draw()

    async def _board(self, page: BoardPage) -> BoardPage:
        path = f"/v1/boards/{quote(page.board, safe='')}"
        answer = await self.connection.get(path, limit=BOARD_ROWS_MAX, period=page.period)
        return msgspec.json.decode(answer.body, type=BoardPage) if answer.status == 200 else page

    async def _look_at(self, viral: str | None) -> None:
        if viral is None:
            return
        answer = await self.connection.get(f"/v1/tallies/views/{quote(viral, safe='')}")
        if answer.status != 200:
            return
        views = int(msgspec.json.decode(answer.body, type=Tally).value)
        seen = self.seen
        new = views - seen.viral_views if viral == self._viral else 0
        self._viral, seen.viral_views = viral, views
        seen.pulse = [*seen.pulse, new][-PULSES_MAX:]

    def _draw(self) -> None:
        if self._live is not None:
            size = self._console.size
            self._live.update(view(self.seen, columns=size.width, lines=size.height), refresh=True)


def _seen(play: Play, listening: Listening) -> Seen:
    boards = list(play.program.boards.values())[:BOARDS_SHOWN]
    pages = [
        BoardPage(
            board=board.name,
            period="all" if "all" in board.periods else board.periods[0],
            metrics=[key.metric for key in board.order],
            rows=[],
            members=0,
            as_of="",
            epoch=0,
        )
        for board in boards
    ]
    return Seen(
        url=listening.url,
        boards=[board.name for board in boards],
        seconds_max=play.seconds,
        title=f"plays {play.file.name}" if play.file else "a writers' community; one post goes viral",
        note=f"port {listening.taken} is taken" if listening.taken else "",
        progress=Progress(seconds=0.0),
        figures=Figures(),
        pages=pages,
        pulse=[],
    )


@contextmanager
def _interrupts(traffic: Child, show: Show) -> Iterator[None]:
    """The first Ctrl-C ends the traffic, and what follows goes on; the second ends everything at once, and so do a
    terminal that is closed and a polite kill: the temporary data goes with it."""
    loop, told = asyncio.get_running_loop(), False
    here = asyncio.current_task()
    assert here is not None

    def interrupted() -> None:
        nonlocal told
        if told:
            here.cancel()
            return
        told = True
        traffic.tell(STOP)
        show.doing("stopping ...")

    loop.add_signal_handler(signal.SIGINT, interrupted)
    for number in _AT_ONCE:
        loop.add_signal_handler(number, here.cancel)
    try:
        yield
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number in (signal.SIGINT, *_AT_ONCE):
            loop.remove_signal_handler(number)


_AT_ONCE = (signal.SIGTERM, signal.SIGHUP)
