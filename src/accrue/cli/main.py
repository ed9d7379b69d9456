"""The command line: one command a module, and one place where errors become a red line and an exit code.

Exit codes: 0 done; 1 done, and something in what was given is wrong (lines rejected, a program with problems);
2 not done, the reason is on standard error; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import structlog
import typer

from accrue import __version__
from accrue.cli import (
    archive,
    bench,
    check,
    conflicts,
    demo,
    failed,
    import_,
    migrate,
    program,
    query,
    replay,
    roles,
    serve,
    spool,
    verify,
)
from accrue.cli.terminal import say_error
from accrue.core.program import ProgramError
from accrue.errors import AccrueError

NOT_DONE = 2
INTERRUPTED = 130

app = typer.Typer(
    name="accrue",
    help="Events in; points, badges, streaks, live counters and leaderboards out, settled exactly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    demo,
    serve,
    roles,
    import_,
    query,
    check,
    program,
    failed,
    conflicts,
    spool,
    verify,
    replay,
    archive,
    migrate,
)
for module in COMMANDS:
    module.register(app)
app.add_typer(bench.app)


def run() -> None:
    """The entry point `accrue`."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `arguments` are those of the process unless given."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="accrue")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else NOT_DONE
    except ProgramError as error:
        count = len(error.problems)
        say_error(f"the program has {count} problem{'s' if count > 1 else ''}; nothing was changed\n{error.detail}")
        return NOT_DONE
    except AccrueError as error:
        say_error(error.detail)
        return NOT_DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"accrue {__version__}")
        raise typer.Exit


@app.callback()
def accrue(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Events in; points, badges, streaks, live counters and leaderboards out, settled exactly."""
    # Standard output belongs to results; what the engine has to say about itself goes beside them.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


if __name__ == "__main__":
    run()
