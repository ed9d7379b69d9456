"""`accrue demo`: a live community on your own machine, every number of it checked in the end.

    terminal  draws, and asks the server over HTTP      stage.py, view.py, summary.py
    server    the server as it is                       server.py
    traffic   makes events, sends them, counts them     community.py, lanes.py, naive.py, check.py; replay.py for files

Three processes, so that neither drawing nor counting is in the server's way. What they say to each other is in
messages.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from accrue.cli.demo.examples import example_program
from accrue.cli.options import AsJson
from accrue.cli.terminal import err, out, show_json
from accrue.core.program import Program
from accrue.core.reader import read
from accrue.errors import Misconfigured

DEFAULT_RATE = 5_000
DIFFERENT = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1.0, help="End after so long; until Ctrl-C if left out.")
    ] = None,
    rate: Annotated[int, typer.Option("--rate", min=0, help="Events a second; 0 for no limit.")] = DEFAULT_RATE,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="8080 if left out, or a free one if that is taken."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**53, help="Another seed, other traffic.")] = 1,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Keep the data here; removed if left out.")
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="FILE", help="Play a file (NDJSON, may be gzip) instead."),
    ] = None,
    program: Annotated[Path | None, typer.Option("--program", metavar="FILE", help="The rules for --events.")] = None,
    as_json: AsJson = False,
) -> None:
    """See it work: a writers' community with one post going viral, over real HTTP, on your own machine.

    Among the events are repeats, conflicts, crawlers and nonsense. In the end every value that the server answers is
    compared with a naive count of the same traffic. With --events a file is played, and then once more: the second
    time nothing may count.

    Ctrl-C ends the traffic and shows the result; a second Ctrl-C ends everything at once.
    Exits with 0 when everything was counted exactly once, 1 when anything differs, 2 when it could not be done (the
    reason is on standard error), 130 after a second Ctrl-C.

    \b
    Examples:
      accrue demo --seconds 15
      accrue demo --rate 0 --data-dir demo-data
      accrue demo --events events.ndjson --program program.toml
    """
    # Imported here because no other command needs it.
    from accrue.cli.demo.stage import Play, staged
    from accrue.cli.demo.summary import show_summary

    program_file = _program_file(events, program)
    with _directory(data_dir) as place:
        play = Play(
            seconds=seconds,
            rate=rate,
            port=port,
            seed=seed,
            program_file=program_file,
            program=_read_program(program_file),
            file=events,
            data_dir=place,
            kept=data_dir is not None,
        )
        found = asyncio.run(staged(play, err() if as_json else out()))
    if as_json:
        show_json(found)
    else:
        show_summary(found, out())
    if not found.exactly_once:
        raise typer.Exit(DIFFERENT)


def _program_file(events: Path | None, program: Path | None) -> Path:
    """The rules that go with what is played. Raises `Misconfigured`."""
    if events is None:
        if program is not None:
            raise Misconfigured("--program goes with --events FILE; the demo's own traffic has its own rules.")
        return example_program("writers")
    if program is None:
        raise Misconfigured("--events needs the rules that say what they mean: --program FILE.")
    if not events.is_file():
        raise Misconfigured(f"There is no file {events}.")
    return program.resolve()


def _read_program(file: Path) -> Program:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"The program {file} cannot be read: {error}.") from error
    return read(text, file=str(file))


@contextmanager
def _directory(kept: Path | None) -> Iterator[Path]:
    """A new data directory. Raises `Misconfigured` for one that has data: the check is about this run's traffic."""
    if kept is None:
        with TemporaryDirectory(prefix="accrue-demo-") as place:
            yield Path(place)
        return
    if kept.is_dir() and any(kept.iterdir()):
        raise Misconfigured(
            f"{kept} is not empty. The demo begins anew: name another directory, or see what is in this one with "
            f"accrue serve --data-dir {kept}"
        )
    yield kept
