"""`accrue query`: read boards, users, objects, tallies and awards."""

from __future__ import annotations

from enum import StrEnum
from operator import itemgetter
from typing import Annotated

import typer
from msgspec import Struct

from accrue.cli import shown
from accrue.cli.asking import Asked, Source, asks
from accrue.cli.options import AsJson
from accrue.cli.terminal import out, show_csv, show_json
from accrue.errors import Rejected
from accrue.serve.answers import Profile, Quantity, Tally

ROWS_SHOWN = 20


class RankStyle(StrEnum):
    """1224, 1223 or 1234."""

    COMPETITION = "competition"
    DENSE = "dense"
    ORDINAL = "ordinal"


Period = Annotated[str, typer.Option("--period", metavar="PERIOD", help="A kind (week) or one (2018-W22).")]
At = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="The period that holds this time; now if left out.")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV on standard output.")]

commands = typer.Typer(no_args_is_help=True, help="Read boards, users, objects, tallies and awards.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="query")


@commands.command()
@asks
def board(
    source: Source,
    name: Annotated[str, typer.Argument(help="Which board.")],
    period: Period = "all",
    at: At = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many rows.")] = 10,
    style: Annotated[RankStyle, typer.Option("--style", help="How equals are ranked.")] = RankStyle.COMPETITION,
    as_json: AsJson = False,
) -> None:
    """The top of a leaderboard.

    \b
    Example:
      accrue query board writers --period week --at 2018-06-01 --limit 3
    """
    page = source.ask(lambda asked: asked.board(name, period=period, at=at, limit=limit, style=style.value))
    if as_json:
        show_json(page)
    else:
        shown.show_board(page, out())


@commands.command()
@asks
def user(
    source: Source,
    id: Annotated[str, typer.Argument(help="The user's id.")],
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Points, badges, streaks and attributes of a user.

    \b
    Example:
      accrue query user ada --json
    """
    _show_profile(source.ask(lambda asked: asked.user(id, at=at)), as_json)


@commands.command()
@asks
def object(
    source: Source,
    id: Annotated[str, typer.Argument(help="The object's id.")],
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Counters, badges and attributes of an object.

    \b
    Example:
      accrue query object post-1 --url http://127.0.0.1:8080
    """
    _show_profile(source.ask(lambda asked: asked.object(id, at=at)), as_json)


@commands.command()
@asks
def tally(
    source: Source,
    metric: Annotated[str, typer.Argument(help="Which metric.")],
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="Only this one; everybody if left out.")
    ] = None,
    period: Period = "all",
    at: At = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """What everybody has of a metric, exactly; or what one subject has.

    \b
    Example:
      accrue query tally points --period month --at 2018-06-01 --csv
    """
    _one_form(as_csv, as_json)
    if subject is not None:
        _show_tally(source.ask(lambda asked: asked.tally(metric, subject, period=period, at=at)), as_csv, as_json)
        return
    everybody = source.ask(lambda asked: _everybody(asked, metric, period, at))
    if as_csv:
        show_csv(["subject", metric], everybody.rows)
    elif as_json:
        show_json(everybody)
    else:
        shown.show_tallies(metric, everybody.period, everybody.rows[:ROWS_SHOWN], len(everybody.rows), out())


@commands.command()
@asks
def awards(source: Source, as_csv: AsCsv = False, as_json: AsJson = False) -> None:
    """Every badge that is held, oldest first.

    \b
    Example:
      accrue query awards --csv > awards.csv
    """
    _one_form(as_csv, as_json)
    held = source.ask(lambda asked: asked.awards())
    if as_csv:
        rows = [[award.badge, award.level, award.holder, award.subject, award.time] for award in held]
        show_csv(["badge", "level", "holder", "subject", "time"], rows)
    elif as_json:
        show_json(held)
    else:
        shown.show_awards(held[:ROWS_SHOWN], len(held), out())


class _Tallies(Struct, frozen=True):
    """The document of `tally --json` for every subject."""

    metric: str
    period: str
    rows: list[tuple[str, Quantity]]


async def _everybody(asked: Asked, metric: str, period: str, at: str | None) -> _Tallies:
    """By subject."""
    found = await asked.tallies(metric, period=period, at=at)
    named = found[0] if found else await asked.tally(metric, "-", period=period, at=at)
    return _Tallies(metric, named.period, sorted([(each.subject, each.value) for each in found], key=itemgetter(0)))


def _one_form(as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        raise Rejected("Either --csv or --json.", field="csv")


def _show_profile(profile: Profile, as_json: bool) -> None:
    if as_json:
        show_json(profile)
    else:
        shown.show_profile(profile, out())


def _show_tally(found: Tally, as_csv: bool, as_json: bool) -> None:
    if as_csv:
        show_csv(["subject", found.metric], [(found.subject, found.value)])
    elif as_json:
        show_json(found)
    else:
        shown.show_tally(found, out())
