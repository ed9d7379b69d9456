"""`accrue conflicts`: events that came with the id of an earlier one and another body."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec.structs import replace

from accrue.cli import shown_kept
from accrue.cli.asking import Asked, Source, asks
from accrue.cli.options import AsJson
from accrue.cli.terminal import out, show_json
from accrue.serve.kept import ROWS_MAX, ConflictPage

commands = typer.Typer(no_args_is_help=True, help="List and show events whose id was used with another body.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="conflicts")


@commands.command("list")
@asks
def list_(
    source: Source,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The conflicts that were kept, oldest first.

    \b
    Example:
      accrue conflicts list --limit 100
    """
    page = source.ask(lambda asked: _listed(asked, limit))
    if as_json:
        show_json(page)
    else:
        shown_kept.show_conflicts(page, out())


@commands.command()
@asks
def show(
    source: Source,
    sequence: Annotated[int, typer.Argument(min=1, help="Which, as the list shows it.")],
    as_json: AsJson = False,
) -> None:
    """Both bodies: the one that stands, where it can still be found, and the one that came later.

    \b
    Example:
      accrue conflicts show 3145728
    """
    conflict = source.ask(lambda asked: asked.conflict(sequence))
    if as_json:
        show_json(conflict)
    else:
        shown_kept.show_conflict(conflict, out())


async def _listed(asked: Asked, limit: int) -> ConflictPage:
    """So many conflicts in one page."""
    page = await asked.conflicts(limit=min(limit, ROWS_MAX), cursor=None)
    while page.cursor is not None and len(page.conflicts) < limit:
        more = await asked.conflicts(limit=min(limit - len(page.conflicts), ROWS_MAX), cursor=page.cursor)
        page = replace(more, conflicts=page.conflicts + more.conflicts)
    return page
