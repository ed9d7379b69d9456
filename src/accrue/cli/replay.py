"""`accrue replay`: the book anew from its archive; or what other rules would have made of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from accrue.cli.options import DEFAULT_TENANT, AsJson, ConfigFile, DataDir, Tenant, settings
from accrue.cli.steps import said_when_stopped, told_steps
from accrue.cli.terminal import Cell, out, printable, show_json, table
from accrue.cli.verify import WORDS, Folder
from accrue.clock import SystemClock
from accrue.collector import calm
from accrue.config import DEFAULT_DATA_DIR, Config
from accrue.core.reader import read
from accrue.errors import AccrueError, Misconfigured, Rejected
from accrue.offline import Replayed, is_decided, try_program
from accrue.offline import replay as replay_directory
from accrue.process.replay.report import OnStep
from accrue.process.replay.whatif import Effect, Moved


class _Document(Struct, frozen=True):
    """The document of --json. `repaired` counts what was not right in the old book, by table."""

    applied: bool
    position: int
    kept: str | None
    repaired: dict[str, int] | None
    effect: Effect | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    program: Annotated[
        Path | None, typer.Option("--program", metavar="FILE", help="Fold everything by these rules instead.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show who would gain and lose what.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Make it so, from the first event on.")] = False,
    data_dir: DataDir = None,
    tenant: Tenant = DEFAULT_TENANT,
    config: ConfigFile = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild the book from its archive, or see what other rules would have made of all that happened.

    Without --program the book is made anew beside the one there is, compared with it, and put in its place; the old
    one stays in the data directory as book.<position>.db. This also finishes a replay that was interrupted.

    With --program and --dry-run nothing is changed, and it may run beside the server: the archive is folded by these
    rules from the first event on, and what would change is shown. With --apply it becomes so: a record in the log
    says it, so that `accrue verify` holds afterwards. Final standings of closed periods stay as they were given.
    Applying needs the data directory for itself: stop the server first.

    \b
    Examples:
      accrue replay --program new.toml --dry-run
      accrue replay --program new.toml --apply
      accrue replay --data-dir accrue-data
    """
    text = _text(program, dry_run=dry_run, apply=apply)
    found = settings(config, data_dir=data_dir)
    with said_when_stopped(lambda: _state(found, dry_run=dry_run)), told_steps(WORDS) as steps, calm():
        if text is not None and dry_run:
            document = _tried(asyncio.run(_try(found, tenant, text, folder, steps)))
        else:
            document = _replayed(
                asyncio.run(replay_directory(found, SystemClock(), tenant=tenant, text=text, on_step=steps))
            )
    if as_json:
        show_json(document)
    else:
        _show(document, out())


def _state(config: Config, *, dry_run: bool) -> str:
    """What has become of a replay that was stopped."""
    try:
        if dry_run or not asyncio.run(is_decided(config)):
            return "Nothing was changed."
    except AccrueError as error:
        return f"Whether the replay is decided could not be found out: {error.detail}"
    place = quote(str(config.data_dir or DEFAULT_DATA_DIR))
    return f"The replay is decided; finish it with: accrue replay --data-dir {place}"


async def _try(config: Config, tenant: str, text: str, folder: Path | None, on_step: OnStep) -> Effect:
    return await try_program(config, SystemClock(), tenant=tenant, text=text, folder=folder, on_step=on_step)


def _text(program: Path | None, *, dry_run: bool, apply: bool) -> str | None:
    if program is None:
        if dry_run or apply:
            raise Rejected("--dry-run and --apply go with --program FILE.", field="program")
        return None
    if dry_run == apply:
        raise Rejected("With --program say either --dry-run or --apply.", field="program")
    try:
        text = program.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{program} cannot be read: {error}.") from error
    read(text, file=str(program))
    return text


def _tried(effect: Effect) -> _Document:
    return _Document(False, effect.position, None, None, effect)


def _replayed(done: Replayed) -> _Document:
    repaired = done.report.differing if done.report is not None else None
    return _Document(True, done.position, str(done.kept), repaired, done.effect)


# --- as people read it ------------------------------------------------------------------------------------------


def _show(document: _Document, console: Console) -> None:
    if document.effect is not None:
        _show_effect(document.effect, console)
    if document.repaired is not None:
        counted = ", ".join(f"{count:,} in {table}" for table, count in document.repaired.items())
        console.print(f"repaired: {counted}" if counted else "The two books are the same.", soft_wrap=True)
    if not document.applied:
        console.print("\nNothing was changed.", style="dim")
        return
    console.print(Text(f"The new book is in place, at position {document.position:,}.", style="green"))
    console.print(f"The old one is kept: {printable(str(document.kept))}", soft_wrap=True)


def _show_effect(effect: Effect, console: Console) -> None:
    console.print(f"{printable(effect.tenant)}, all events up to position {effect.position:,}", style="bold")
    if effect.is_none:
        console.print("Nobody gains or loses anything.")
    if effect.metrics:
        console.print()
        rows: list[list[Cell]] = [[m.metric, m.subjects, m.gaining, m.losing, m.net] for m in effect.metrics]
        columns = ["metric", "subjects", "gaining", "losing", "net"]
        console.print(table(columns, rows, right=columns[1:]))
        for metric in effect.metrics:
            moved: list[list[Cell]] = [_moved(each) for each in (*metric.gains, *metric.losses)]
            console.print()
            console.print(table([metric.metric, "before", "after"], moved, right=["before", "after"]))
    if effect.badges:
        console.print()
        won: list[list[Cell]] = [
            [b.badge, b.level, b.won, ", ".join(b.winners), b.lost, ", ".join(b.losers)] for b in effect.badges
        ]
        console.print(table(["badge", "level", "won", "by", "lost", "from"], won, right=["won", "lost"]))
    for board in effect.boards:
        console.print()
        moves: list[list[Cell]] = [[move.subject, move.before, move.after] for move in board.top]
        console.print(
            table([f"{board.board}, {board.period}", "rank before", "after"], moves, right=["rank before", "after"])
        )
    for what, counts in (("streak", effect.streaks), ("attribute", effect.attributes)):
        if counts:
            console.print()
            changed: list[list[Cell]] = [[name, count] for name, count in counts.items()]
            console.print(table([what, "subjects"], changed, right=["subjects"]))


def _moved(moved: Moved) -> list[Cell]:
    return [moved.subject, moved.before, moved.after]
