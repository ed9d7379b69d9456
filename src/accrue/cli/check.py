"""`accrue check`: read a program, and say what is wrong with it or what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accrue.cli.options import AsJson
from accrue.cli.terminal import out, printable, say_error, show_json, table
from accrue.core.decide import Decider
from accrue.core.expression import nearest
from accrue.core.order_free import Verdict, Verdicts, judge
from accrue.core.program import Problem, Program, ProgramError
from accrue.core.reader import read
from accrue.core.rule import Badge, Board
from accrue.core.tally import shown
from accrue.errors import Misconfigured, NotFound

HAS_PROBLEMS = 1


class _Metric(Struct, frozen=True, omit_defaults=True):
    name: str
    of: str
    periods: tuple[str, ...]
    scale: int = 0
    initial: int | str = 0
    min: int | str | None = None


class _Judged(Struct, frozen=True):
    """A rule, streak or board, and why the order of events matters to it."""

    name: str
    what: str
    order_free: bool
    reasons: tuple[str, ...]


class _Summary(Struct, frozen=True):
    """The document of --json."""

    file: str
    problems: list[Problem]
    timezone: str = ""
    metrics: list[_Metric] = []
    rules: list[_Judged] = []
    streaks: list[_Judged] = []
    boards: list[_Judged] = []
    badges: list[_Judged] = []
    retractable: list[str] = []
    retract_days: int = 0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    program: Annotated[Path, typer.Argument(help="A rules file.", metavar="PROGRAM")],
    code: Annotated[
        str | None, typer.Option("--code", metavar="TYPE", help="Show the function written for this event type.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a rules file: what is wrong with it, or what it does.

    A rule is order-free when it gives the same in whatever order events arrive: plain sums and counts are, caps,
    floors and once are not, and follow the order of the log. Exits with 1 when the program has problems.

    \b
    Examples:
      accrue check program.toml
      accrue check program.toml --code comment.created
    """
    text = _text(program)
    try:
        checked = read(text, file=str(program))
    except ProgramError as error:
        if as_json:
            show_json(_Summary(str(program), error.problems))
        else:
            for problem in error.problems:
                typer.echo(f"{program}:{problem.line}: {printable(problem.message)}")
            count = len(error.problems)
            say_error(f"{program} has {count} problem{'s' if count > 1 else ''}")
        raise typer.Exit(HAS_PROBLEMS) from None
    if code is not None:
        typer.echo(_function(checked, code), nl=False)
        return
    summary = _summary(str(program), checked, judge(checked))
    if as_json:
        show_json(summary)
    else:
        _show(summary, out())


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise Misconfigured(f"The program {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"The program {file} is not UTF-8.") from error


def _function(program: Program, type: str) -> str:
    if type not in program.types:
        raise NotFound(
            f"Nothing in the program listens to {type!r}{nearest(type, program.types) or '.'} "
            f"There are {', '.join(sorted(program.types))}.",
            field="code",
        )
    return Decider("default", program).source(type)


# --- what it does -----------------------------------------------------------------------------------------------


def _summary(file: str, program: Program, verdicts: Verdicts) -> _Summary:
    metrics = [
        _Metric(
            name=metric.name,
            of=metric.kind,
            periods=metric.periods,
            scale=metric.scale,
            initial=shown(metric.initial, metric.scale),
            min=None if metric.minimum is None else shown(metric.minimum, metric.scale),
        )
        for metric in program.metrics.values()
    ]
    return _Summary(
        file,
        [],
        program.calendar.timezone,
        metrics,
        [_judged(v, ", ".join(rule.on)) for rule, v in zip(program.rules, verdicts.rules, strict=True)],
        [
            _judged(v, f"every {streak.every}: {', '.join(streak.on)}")
            for streak, v in zip(program.streaks.values(), verdicts.streaks, strict=True)
        ],
        [_judged(v, _board(board)) for board, v in zip(program.boards.values(), verdicts.boards, strict=True)],
        [_judged(v, _badge(badge)) for badge, v in zip(program.badges.values(), verdicts.badges, strict=True)],
        sorted(program.retract.types),
        program.retract.days,
    )


def _judged(verdict: Verdict, what: str) -> _Judged:
    return _Judged(verdict.name, what, verdict.order_free, verdict.reasons)


def _board(board: Board) -> str:
    order = ", ".join(f"{key.metric} {'desc' if key.descending else 'asc'}" for key in board.order)
    return f"{order}; {' '.join(board.periods)}"


def _badge(badge: Badge) -> str:
    levels = [level for level in badge.levels if level]
    told = "once a user, for any object" if badge.once_per == "owner" else badge.kind
    return told + (f": {', '.join(levels)}" if levels else "")


def _show(summary: _Summary, console: Console) -> None:
    console.print(f"{summary.file}: no problems", style="green", soft_wrap=True)
    console.print(f"time zone {summary.timezone}")
    _heading(console, "Metrics")
    rows = [(metric.name, metric.of, " ".join(metric.periods), _more(metric)) for metric in summary.metrics]
    console.print(table(("metric", "of", "periods", ""), rows))
    parts = {"Rules": summary.rules, "Streaks": summary.streaks, "Boards": summary.boards, "Badges": summary.badges}
    for title, judged in parts.items():
        if judged:
            _heading(console, title)
            _show_judged(console, judged)
    if summary.retractable:
        _heading(console, "Can be taken back")
        told = f"  {', '.join(summary.retractable)}  (for {summary.retract_days} days)"
        console.print(printable(told), soft_wrap=True, markup=False)


def _more(metric: _Metric) -> str:
    told = [f"scale {metric.scale}"] if metric.scale else []
    told += [f"from {metric.initial}"] if metric.initial not in (0, "0") else []
    told += [f"min {metric.min}"] if metric.min is not None else []
    return ", ".join(told)


def _show_judged(console: Console, judged: list[_Judged]) -> None:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for item in judged:
        word, style = ("order-free", "green") if item.order_free else ("follows order", "yellow")
        told = Text(printable(item.name), style="bold")
        rows.add_row(Text(f"  {word}", style=style), told + Text(f"  {printable(item.what)}", style="dim not bold"))
        for reason in item.reasons:
            rows.add_row("", Text(f"- {printable(reason)}"))
    console.print(rows)


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(title, style="bold")
