"""`accrue query`: read a data directory, or ask a running server.

A data directory belongs to one process. While a server has it, `--url` asks the server instead, for what its HTTP
API offers: boards, users, objects and single tallies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from msgspec import Struct

from accrue.cli import shown
from accrue.cli.options import DEFAULT_TENANT, AsJson, ConfigFile, DataDir, Tenant, opened_to_read, time_us
from accrue.cli.remote import Remote
from accrue.cli.terminal import out, show_csv, show_json
from accrue.core.ranking import Style
from accrue.engine import Accrue
from accrue.errors import Rejected
from accrue.serve.answers import Badge, Profile, Quantity, Tally

ROWS_SHOWN = 20


class RankStyle(StrEnum):
    """1224, 1223 or 1234."""

    COMPETITION = "competition"
    DENSE = "dense"
    ORDINAL = "ordinal"


Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Ask this server instead of a directory.")]
Period = Annotated[str, typer.Option("--period", metavar="PERIOD", help="A kind (week) or one (2018-W22).")]
At = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="The period that holds this time; now if left out.")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV on standard output.")]
Asked = TypeVar("Asked")

commands = typer.Typer(no_args_is_help=True, help="Read boards, users, objects, tallies and awards.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="query")


@commands.command()
def board(
    name: Annotated[str, typer.Argument(help="Which board.")],
    period: Period = "all",
    at: At = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many rows.")] = 10,
    style: Annotated[RankStyle, typer.Option("--style", help="How equals are ranked.")] = RankStyle.COMPETITION,
    data_dir: DataDir = None,
    url: Url = None,
    tenant: Tenant = DEFAULT_TENANT,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """The top of a leaderboard.

    \b
    Example:
      accrue query board writers --period week --at 2018-06-01 --limit 3
    """
    style_: Style = style.value
    if url is not None:
        page = Remote(url, tenant).board(name, period=period, at=at, limit=limit, style=style_)
    else:
        page = _ask(
            (config, data_dir, tenant),
            lambda accrue: accrue.board(name).top(limit, period=period, at_us=_at_us(accrue, tenant, at), style=style_),
        )
    if as_json:
        show_json(page)
    else:
        shown.show_board(page, out())


@commands.command()
def user(
    id: Annotated[str, typer.Argument(help="The user's id.")],
    at: At = None,
    data_dir: DataDir = None,
    url: Url = None,
    tenant: Tenant = DEFAULT_TENANT,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Points, badges, streaks and attributes of a user.

    \b
    Example:
      accrue query user ada --json
    """
    if url is not None:
        profile = Remote(url, tenant).user(id, at=at)
    else:
        profile = _ask((config, data_dir, tenant), lambda accrue: accrue.user(id, at_us=_at_us(accrue, tenant, at)))
    _show_profile(profile, as_json)


@commands.command()
def object(
    id: Annotated[str, typer.Argument(help="The object's id.")],
    at: At = None,
    data_dir: DataDir = None,
    url: Url = None,
    tenant: Tenant = DEFAULT_TENANT,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Counters, badges and attributes of an object.

    \b
    Example:
      accrue query object post-1 --url http://127.0.0.1:8080
    """
    if url is not None:
        profile = Remote(url, tenant).object(id, at=at)
    else:
        profile = _ask((config, data_dir, tenant), lambda accrue: accrue.object(id, at_us=_at_us(accrue, tenant, at)))
    _show_profile(profile, as_json)


@commands.command()
def tally(
    metric: Annotated[str, typer.Argument(help="Which metric.")],
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="Only this one; everybody if left out.")
    ] = None,
    period: Period = "all",
    at: At = None,
    data_dir: DataDir = None,
    url: Url = None,
    tenant: Tenant = DEFAULT_TENANT,
    config: ConfigFile = None,
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
        if url is not None:
            found = Remote(url, tenant).tally(metric, subject, period=period, at=at)
        else:
            found = _ask(
                (config, data_dir, tenant),
                lambda accrue: accrue.tally(metric, subject, period=period, at_us=_at_us(accrue, tenant, at)),
            )
        _show_tally(found, as_csv, as_json)
        return
    if url is not None:
        raise Rejected("A server gives one tally at a time: add --subject, or read a data directory.", field="url")
    everybody = _ask((config, data_dir, tenant), lambda accrue: _tallies(accrue, tenant, metric, period, at))
    if as_csv:
        show_csv(["subject", metric], everybody.rows)
    elif as_json:
        show_json(everybody)
    else:
        shown.show_tallies(metric, everybody.period, everybody.rows[:ROWS_SHOWN], len(everybody.rows), out())


@commands.command()
def awards(
    data_dir: DataDir = None,
    tenant: Tenant = DEFAULT_TENANT,
    config: ConfigFile = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Every badge that is held, oldest first.

    \b
    Example:
      accrue query awards --csv > awards.csv
    """
    _one_form(as_csv, as_json)
    held = _ask((config, data_dir, tenant), lambda accrue: _awards(accrue, tenant))
    if as_csv:
        rows = [[award.badge, award.level, award.holder, award.subject, award.time] for award in held]
        show_csv(["badge", "level", "holder", "subject", "time"], rows)
    elif as_json:
        show_json(held)
    else:
        shown.show_awards(held[:ROWS_SHOWN], len(held), out())


# --- asking -----------------------------------------------------------------------------------------------------


class _Tallies(Struct, frozen=True):
    """The document of `tally --json` for every subject."""

    metric: str
    period: str
    rows: list[tuple[str, Quantity]]


def _ask(where: tuple[ConfigFile, DataDir, str], question: Callable[[Accrue], Awaitable[Asked]]) -> Asked:
    """Open the data directory, ask, and close it."""

    async def answered() -> Asked:
        async with opened_to_read(*where) as accrue:
            return await question(accrue)

    return asyncio.run(answered())


def _at_us(accrue: Accrue, tenant: str, at: str | None) -> int | None:
    return None if at is None else time_us(at, accrue.parts.live.program(tenant).calendar)


async def _tallies(accrue: Accrue, tenant: str, metric: str, period: str, at: str | None) -> _Tallies:
    """Everybody, by subject."""
    at_us = _at_us(accrue, tenant, at)
    rows: list[tuple[str, Quantity]] = []
    async for some in accrue.parts.queries.tallies(tenant, metric, period=period, at_us=at_us):
        rows += some
    rows.sort(key=lambda row: row[0])
    named = await accrue.parts.queries.tally(tenant, metric, "", period=period, at_us=at_us)
    return _Tallies(metric, named.period, rows)


async def _awards(accrue: Accrue, tenant: str) -> list[Badge]:
    held: list[Badge] = []
    async for some in accrue.parts.queries.awards(tenant):
        held += some
    return held


# --- answering --------------------------------------------------------------------------------------------------


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
