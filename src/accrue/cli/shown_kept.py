"""What is kept aside, as people read it: failed events, conflicts, and the versions of a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.text import Text

from accrue.cli.terminal import Cell, pairs, printable, table
from accrue.core.program_diff import Differences
from accrue.ingest.failed import FailedOutcome
from accrue.serve.kept import Conflict, ConflictPage, FailedEvent, FailedPage, Programs, ProgramVersion

STYLES = {"added": "green", "removed": "red", "changed": "yellow"}
LINE_STYLES = {"+": "green", "-": "red", "@": "cyan"}
OUTCOMES_SHOWN = 20


def show_failed(page: FailedPage, console: Console, *, type: str) -> None:
    """The reasons, then the events. `type` is the one asked for, if any."""
    if not page.waiting:
        console.print(f"No failed event{_of(type)} waits.", style="green", markup=False)
        return
    console.print(f"{page.waiting:,} failed event{_s(page.waiting)}", style="bold")
    reasons: list[list[Cell]] = [[reason.events, reason.type, reason.reason] for reason in page.reasons]
    console.print(table(["events", "type", "reason"], reasons, right=["events"]))
    console.print()
    events: list[list[Cell]] = [
        [str(event.sequence), event.type, event.id, _to_the_second(event.time), event.reason] for event in page.events
    ]
    console.print(table(["sequence", "type", "id", "time", "reason"], events, right=["sequence"]))
    if page.cursor is not None:
        console.print("there are more; --limit shows them", style="dim")


def show_failed_event(event: FailedEvent, console: Console) -> None:
    """One, with its body."""
    console.print(
        pairs(
            [
                ("sequence", str(event.sequence)),
                ("in the log", f"position {event.position}, event {event.index} of its record"),
                ("type", event.type),
                ("id", event.id),
                ("time", event.time or "not kept"),
                ("failed for", event.reason),
            ]
        )
    )
    console.print()
    _body(event.body or "", console)


def show_outcomes(results: Sequence[FailedOutcome], console: Console, *, type: str) -> None:
    """How many came to what, and those that failed again. `type` is the one asked for, if any."""
    counts = Counter(result.outcome for result in results)
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()))
    console.print(told or f"no failed event{_of(type)} waits", markup=False)
    again: list[list[Cell]] = [
        [str(result.sequence), result.reason] for result in results if result.outcome == "failed"
    ]
    if again:
        console.print(table(["sequence", "failed again for"], again[:OUTCOMES_SHOWN], right=["sequence"]))
    if len(again) > OUTCOMES_SHOWN:
        console.print(f"and {len(again) - OUTCOMES_SHOWN:,} more", style="dim")


def show_conflicts(page: ConflictPage, console: Console) -> None:
    """A list of conflicts."""
    if not page.conflicts:
        console.print("There is no conflict.", style="green")
        return
    rows: list[list[Cell]] = [[str(conflict.sequence), conflict.id] for conflict in page.conflicts]
    console.print(table(["sequence", "id"], rows, right=["sequence"]))
    if page.cursor is not None:
        console.print("there are more; --limit shows them", style="dim")


def show_conflict(conflict: Conflict, console: Console) -> None:
    """Both bodies."""
    console.print(pairs([("sequence", str(conflict.sequence)), ("id", conflict.id)]))
    console.print("\nthe first one, which stands", style="bold")
    if conflict.first is None:
        console.print("too long ago to be found", style="dim")
    else:
        _body(conflict.first, console)
    console.print("\nthe second one, which has no effect", style="bold")
    _body(conflict.body or "", console)


def show_programs(found: Programs, console: Console) -> None:
    """Every version, oldest first."""
    rows: list[list[Cell]] = [
        [
            str(version.version),
            str(version.position),
            _to_the_second(version.time),
            version.tzdata,
            version.source,
            "current" if version.current else "",
        ]
        for version in found.programs
    ]
    columns = ["version", "position", "since", "tzdata", "from", ""]
    console.print(table(columns, rows, right=["version", "position"]))


def show_differences(differences: Differences, console: Console) -> None:
    """By name, then line by line."""
    if not differences.text:
        console.print("The texts are the same.")
        return
    for difference in differences.summary:
        words = Text(f"{difference.change:<8}", style=STYLES[difference.change])
        console.print(words + Text(f" {difference.what} {printable(difference.name)}"), soft_wrap=True)
    if not differences.summary:
        console.print("Only comments, spaces or the order of what has names differ.")
    console.print()
    for line in differences.text.splitlines():
        console.print(Text(printable(line.expandtabs(4)), style=LINE_STYLES.get(line[:1], "")), soft_wrap=True)


def show_applied(changed: bool, version: ProgramVersion, differences: Differences, console: Console) -> None:
    """What changed, and from where on."""
    if not changed:
        console.print(f"Version {version.version} says the same; nothing was changed.")
        return
    show_differences(differences, console)
    console.print()
    console.print(f"Version {version.version} is in force from position {version.position} on.", style="green")


def _body(body: str, console: Console) -> None:
    for line in msgspec.json.format(body, indent=2).splitlines():
        console.print(printable(line), soft_wrap=True)


def _to_the_second(time: str | None) -> str | None:
    return f"{time[:19]}Z" if time else time


def _of(type: str) -> str:
    return f" of the type {printable(type)!r}" if type else ""


def _s(count: int) -> str:
    return "" if count == 1 else "s"
