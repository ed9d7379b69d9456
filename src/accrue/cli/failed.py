"""`accrue failed`: the events on which a rule failed, what they failed for, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Annotated

import typer
from msgspec.structs import replace

from accrue.cli import shown_kept
from accrue.cli.asking import Asked, Source, asks
from accrue.cli.options import AsJson
from accrue.cli.steps import Steps, told_steps
from accrue.cli.terminal import out, show_json
from accrue.errors import Rejected
from accrue.ingest.accept import FailedAct
from accrue.ingest.failed import SEQUENCES_MAX, FailedOutcome
from accrue.serve.kept import ROWS_MAX, FailedPage

FAILED_AGAIN = 1
"""The exit code when some of what was replayed failed again."""

Sequences = Annotated[
    list[int] | None, typer.Argument(metavar="SEQUENCE", help="Which, as the list shows them.", show_default=False)
]
Type = Annotated[str, typer.Option("--type", metavar="TYPE", help="Only events of this type.")]

commands = typer.Typer(no_args_is_help=True, help="List, show, replay and drop events on which a rule failed.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="failed")


@commands.command("list")
@asks
def list_(
    source: Source,
    type: Type = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many events; all are counted.")] = 20,
    as_json: AsJson = False,
) -> None:
    """What fails and why, and the oldest events that wait.

    \b
    Example:
      accrue failed list --type comment.created
    """
    page = source.ask(lambda asked: _listed(asked, type, limit))
    if as_json:
        show_json(page)
    else:
        shown_kept.show_failed(page, out(), type=type)


@commands.command()
@asks
def show(
    source: Source,
    sequence: Annotated[int, typer.Argument(min=1, help="Which, as the list shows it.")],
    as_json: AsJson = False,
) -> None:
    """One failed event, whole, with the reason.

    \b
    Example:
      accrue failed show 2097153
    """
    event = source.ask(lambda asked: asked.failed_event(sequence))
    if as_json:
        show_json(event)
    else:
        shown_kept.show_failed_event(event, out())


@commands.command()
@asks
def replay(
    source: Source,
    sequences: Sequences = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are, or all of --type.")] = False,
    type: Type = "",
    as_json: AsJson = False,
) -> None:
    """Decide failed events again, after the fix: under the program of now, at their own time.

    Those that fail again stay, with the new reason; then the exit code is 1. Each replay is a record in the log.

    \b
    Examples:
      accrue failed replay 2097153
      accrue failed replay --all --type comment.created
    """
    results = _done(source, "replay", sequences, everything, type)
    if as_json:
        show_json(results)
    else:
        shown_kept.show_outcomes(results, out(), type=type)
    if any(result.outcome == "failed" for result in results):
        raise typer.Exit(FAILED_AGAIN)


@commands.command()
@asks
def drop(
    source: Source,
    sequences: Sequences = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are, or all of --type.")] = False,
    type: Type = "",
    as_json: AsJson = False,
) -> None:
    """Give failed events up: they never count. They stay in the archive, and their ids stay used.

    \b
    Example:
      accrue failed drop 2097153
    """
    results = _done(source, "drop", sequences, everything, type)
    if as_json:
        show_json(results)
    else:
        shown_kept.show_outcomes(results, out(), type=type)


async def _listed(asked: Asked, type: str, limit: int) -> FailedPage:
    """So many events in one page."""
    page = await asked.failed(type=type, limit=min(limit, ROWS_MAX), cursor=None)
    while page.cursor is not None and len(page.events) < limit:
        more = await asked.failed(type=type, limit=min(limit - len(page.events), ROWS_MAX), cursor=page.cursor)
        page = replace(more, events=page.events + more.events)
    return page


def _done(
    source: Source, act: FailedAct, sequences: Sequence[int] | None, everything: bool, type: str
) -> list[FailedOutcome]:
    if sequences and everything:
        raise Rejected(f"--all takes no SEQUENCE: leave {sequences[0]} out, or --all.", field="sequences")
    if type and not everything:
        raise Rejected(f"--type goes with --all: accrue failed {act} --all --type {quote(type)}", field="type")
    if not sequences and not everything:
        raise Rejected(f"Say which: accrue failed {act} SEQUENCE..., or --all.", field="sequences")
    with told_steps({act: f"{act} failed events"}) as steps:
        if everything:
            return source.ask(lambda asked: _all_done(asked, act, type, steps))
        return source.ask(lambda asked: _some_done(asked, act, sequences or [], steps))


async def _some_done(asked: Asked, act: FailedAct, sequences: Sequence[int], steps: Steps) -> list[FailedOutcome]:
    results: list[FailedOutcome] = []
    for start in range(0, len(sequences), SEQUENCES_MAX):
        results += (await asked.act(act, sequences[start : start + SEQUENCES_MAX])).results
        steps(act, len(results), len(sequences))
    return results


async def _all_done(asked: Asked, act: FailedAct, type: str, steps: Steps) -> list[FailedOutcome]:
    """All that wait now. Each is passed once, however it ends."""
    results: list[FailedOutcome] = []
    cursor, waiting = None, 0
    while True:
        page = await asked.failed(type=type, limit=ROWS_MAX, cursor=cursor)
        waiting = waiting or page.waiting
        if page.events:
            results += (await asked.act(act, [event.sequence for event in page.events])).results
            steps(act, len(results), max(waiting, len(results)))
        cursor = page.cursor
        if cursor is None:
            return results
