"""`accrue program`: the versions of a tenant's rules file, and putting another one in force.

Each change is a record in the log, and counts from its place there on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from msgspec.structs import replace

from accrue.cli import shown_kept
from accrue.cli.asking import Asked, Source, asks
from accrue.cli.options import AsJson
from accrue.cli.terminal import out, show_json
from accrue.core.program import ProgramError
from accrue.core.program_diff import Differences, compare
from accrue.core.reader import read
from accrue.errors import Misconfigured, NotFound
from accrue.serve.kept import Programs, ProgramVersion

Version = Annotated[int | None, typer.Argument(min=1, help="Which version; the current one if left out.")]

commands = typer.Typer(no_args_is_help=True, help="List, compare and change the program a tenant lives by.")


class Applied(Struct, frozen=True):
    """The document of `apply` and `rollback`: the version in force now, and what it changed."""

    changed: bool
    version: ProgramVersion
    differences: Differences


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="program")


@commands.command("list")
@asks
def list_(source: Source, as_json: AsJson = False) -> None:
    """Every version, and from which place in the log on it counts.

    \b
    Example:
      accrue program list --tenant forum
    """
    found = source.ask(lambda asked: asked.programs())
    if as_json:
        show_json(found)
    else:
        shown_kept.show_programs(found, out())


@commands.command()
@asks
def show(source: Source, version: Version = None, as_json: AsJson = False) -> None:
    """The text of a version.

    \b
    Example:
      accrue program show 2 > program.toml
    """
    found = source.ask(lambda asked: _version(asked, version))
    if as_json:
        show_json(found)
    else:
        typer.echo(found.text, nl=False)


@commands.command()
@asks
def diff(
    source: Source,
    old: Annotated[int, typer.Argument(min=1, help="From this version.")],
    new: Annotated[int | None, typer.Argument(min=1, help="To this one; the current one if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """What differs between two versions: by name, and line by line.

    \b
    Example:
      accrue program diff 1 3
    """
    found = source.ask(lambda asked: _differences(asked, old, new))
    if as_json:
        show_json(found)
    else:
        shown_kept.show_differences(found, out())


@commands.command()
@asks
def apply(
    source: Source,
    program: Annotated[Path, typer.Argument(metavar="PROGRAM", help="A rules file.")],
    as_json: AsJson = False,
) -> None:
    """Let the tenant live by this rules file from here on. One with problems changes nothing.

    The file that the settings name, or --program of `accrue serve`, is taken up again at a start only when it has
    changed since: what is applied here stays.

    \b
    Example:
      accrue program apply program.toml --url http://127.0.0.1:8080
    """
    try:
        text = program.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise Misconfigured(f"The program {program} cannot be read: {reason}.") from error
    read(text, file=str(program))
    _show(source.ask(lambda asked: _applied(asked, text, str(program))), as_json)


@commands.command()
@asks
def rollback(
    source: Source,
    version: Annotated[
        int | None, typer.Argument(min=1, help="Which version; the one before the current text if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put an older version in force again, as a new version.

    What was counted meanwhile stays as it was counted.

    \b
    Example:
      accrue program rollback 2
    """
    _show(source.ask(lambda asked: _rolled_back(asked, version)), as_json)


async def _version(asked: Asked, version: int | None) -> ProgramVersion:
    return await asked.program(_current(await asked.programs()).version if version is None else version)


async def _differences(asked: Asked, old: int, new: int | None) -> Differences:
    before, after = await _version(asked, old), await _version(asked, new)
    return _compared(before, after.text or "", f"version {after.version}")


async def _applied(asked: Asked, text: str, name: str) -> Applied:
    before = await _version(asked, None)
    differences = _compared(before, text, name)
    try:
        changed = await asked.use_program(text)
    except ProgramError as error:  # it contradicts what was counted
        raise error.of_file(name) from None
    return Applied(changed, replace(await _version(asked, None), text=None), differences)


async def _rolled_back(asked: Asked, version: int | None) -> Applied:
    wanted = await (_before(asked) if version is None else asked.program(version))
    return await _applied(asked, wanted.text or "", f"version {wanted.version}")


async def _before(asked: Asked) -> ProgramVersion:
    """The newest version with another text than the current one."""
    current = await _version(asked, None)
    for version in range(current.version - 1, 0, -1):
        older = await asked.program(version)
        if older.text != current.text:
            return older
    raise NotFound("There is no version before this one.", field="version")


def _current(found: Programs) -> ProgramVersion:
    return next(version for version in found.programs if version.current)


def _compared(before: ProgramVersion, text: str, name: str) -> Differences:
    return compare(before.text or "", text, old_name=f"version {before.version}", new_name=name)


def _show(applied: Applied, as_json: bool) -> None:
    if as_json:
        show_json(applied)
    else:
        shown_kept.show_applied(applied.changed, applied.version, applied.differences, out())
