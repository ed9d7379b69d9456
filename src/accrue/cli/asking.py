"""Where a command asks: a data directory, which belongs to one process, or the running server that has it.

    @commands.command()
    @asks
    def board(source: Source, name: ..., as_json: AsJson = False) -> None:
        page = source.ask(lambda asked: asked.board(name, ...))

`asks` puts the options that say where (--data-dir, --url, --tenant, --config) in the place of `source`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec import Struct

from accrue.cli.here import Here
from accrue.cli.options import DEFAULT_TENANT, ConfigFile, DataDir, Tenant, opened
from accrue.cli.remote import Remote
from accrue.errors import Rejected

Answer = TypeVar("Answer")
Asked = Here | Remote
"""Both have the same methods."""

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Ask this server instead of a directory.")]

WHERE: dict[str, tuple[object, object]] = {
    "data_dir": (DataDir, None),
    "url": (Url, None),
    "tenant": (Tenant, DEFAULT_TENANT),
    "config": (ConfigFile, None),
}
"""The options in the place of `source`: name -> (annotation, default)."""


class Source(Struct, frozen=True, kw_only=True):
    """What was said on the command line about where to ask."""

    data_dir: Path | None
    url: str | None
    tenant: str
    config: Path | None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Asked]:
        """What can be asked, open until the block ends. Raises `Rejected` when both places are given."""
        if self.url is not None and self.data_dir is not None:
            raise Rejected("--url asks a server and --data-dir a directory: give one of them.", field="url")
        if self.url is not None:
            yield Remote(self.url, self.tenant)
        else:
            async with opened(self.config, self.data_dir, self.tenant) as accrue:
                yield Here(accrue, self.tenant)

    def ask(self, question: Callable[[Asked], Awaitable[Answer]]) -> Answer:
        """Open, ask one thing, and close."""

        async def answered() -> Answer:
            async with self.open() as asked:
                return await question(asked)

        return asyncio.run(answered())


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that make its `source`."""

    @wraps(command)
    def run(*, data_dir: Path | None, url: str | None, tenant: str, config: Path | None, **arguments: object) -> None:
        command(source=Source(data_dir=data_dir, url=url, tenant=tenant, config=config), **arguments)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        if name != "source"
    ]
    where = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in WHERE.items()
    ]
    # They stand last but for the form of the answer, as in every help text.
    forms = [parameter for parameter in parameters if parameter.name in ("as_csv", "as_json")]
    own = [parameter for parameter in parameters if parameter not in forms]
    run.__signature__ = inspect.Signature([*own, *where, *forms])  # type: ignore[attr-defined]  # inspect reads it
    run.__annotations__ = {}
    return run
