"""What reads answer, as people read it: a board, a profile, a list of numbers or of awards."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from accrue.cli.terminal import Cell, cell, pairs, printable, table
from accrue.serve.answers import Badge, BoardPage, Profile, Quantity, Tally


def show_board(page: BoardPage, console: Console) -> None:
    """A board with its ranks."""
    state = "final" if page.final else f"as of {page.as_of}"
    members = f"{page.members:,} member{'' if page.members == 1 else 's'}"
    _title(console, f"{page.board}, {page.period}", f"{members}, {state}")
    if not page.rows:
        console.print("Nobody is on it.", style="dim")
        return
    rows: list[list[Cell]] = [[row.rank, row.subject, *row.values] for row in page.rows]
    console.print(table(["rank", "subject", *page.metrics], rows, right=["rank", *page.metrics]))
    if page.corrections:
        more = ", the first of more" if page.more_corrections else ""
        console.print(f"\nDifferent now, by what came after the close or by a replay{more}:", style="dim")
        changed: list[list[Cell]] = [[row.rank, row.subject, *row.corrected] for row in page.corrections]
        console.print(table(["rank given", "subject", *page.metrics], changed, right=["rank given", *page.metrics]))


def show_profile(profile: Profile, console: Console) -> None:
    """All about a user or an object."""
    _title(console, f"{profile.kind} {profile.id}", f"periods of {profile.at}")
    kinds = list(dict.fromkeys(kind for by_kind in profile.tallies.values() for kind in by_kind))
    if profile.tallies:
        rows: list[list[Cell]] = [
            [metric, *(by_kind.get(kind) for kind in kinds)] for metric, by_kind in profile.tallies.items()
        ]
        console.print(table(["metric", *kinds], rows, right=kinds))
    if profile.streaks:
        console.print()
        runs: list[list[Cell]] = [
            [name, streak.current, streak.longest, streak.last, "yes" if streak.running else "no"]
            for name, streak in profile.streaks.items()
        ]
        console.print(table(["streak", "current", "longest", "last", "running"], runs, right=["current", "longest"]))
    if profile.badges:
        console.print()
        for_what = any(badge.subject for badge in profile.badges)
        earned: list[list[Cell]] = [
            [badge.badge, badge.level, badge.time, *([badge.subject] if for_what else [])]
            for badge in sorted(profile.badges, key=lambda badge: badge.time)
        ]
        console.print(table(["badge", "level", "earned", *(["for"] if for_what else [])], earned))
    if profile.attributes:
        console.print()
        told = [(name, _plain(value)) for name, value in profile.attributes.items()]
        console.print(pairs(told))


def show_tally(tally: Tally, console: Console) -> None:
    """One number."""
    console.print(f"{printable(tally.subject)}: {cell(tally.value)} {tally.metric}, {tally.period}", soft_wrap=True)


def show_tallies(
    metric: str, period: str, rows: Sequence[tuple[str, Quantity]], subjects: int, console: Console
) -> None:
    """The first rows of everything that holds a metric."""
    _title(console, f"{metric}, {period}", f"{subjects:,} subject{'' if subjects == 1 else 's'}")
    console.print(table(["subject", metric], rows, right=[metric]))
    _and_more(subjects - len(rows), console)


def show_awards(awards: Sequence[Badge], held: int, console: Console) -> None:
    """The first of all awards."""
    _title(console, "awards", f"{held:,} held")
    rows = [[award.badge, award.level, award.holder, award.subject, award.time] for award in awards]
    console.print(table(["badge", "level", "holder", "for", "earned"], rows))
    _and_more(held - len(awards), console)


def _title(console: Console, what: str, more: str) -> None:
    console.print(f"{printable(what)}", style="bold", soft_wrap=True)
    console.print(more, style="dim", soft_wrap=True)
    console.print()


def _and_more(count: int, console: Console) -> None:
    if count > 0:
        console.print(f"and {count:,} more; --csv gives all", style="dim")


def _plain(value: bool | int | str | None) -> Cell:
    return str(value).lower() if isinstance(value, bool) else value
