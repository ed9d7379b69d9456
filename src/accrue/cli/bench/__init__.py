"""`accrue bench`: what this machine can do, in figures and ratios of one run.

Every bench goes through the public entry points with the fold, the boards and the settlements running, checks the
totals it ends with against a plain count, cleans up, and ends by itself. A figure is only worth something beside the
other one of the same run, which is why each has a floor or a naive design beside it.
"""

from __future__ import annotations

import typer

from accrue.cli.bench import ack, board, fold, hot, pipeline, replay, restart, settle, side_by_side

app = typer.Typer(
    name="bench",
    help="Measure this machine: figures and ratios of one run, every total checked.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("ack")(ack.ack)
app.command("fold")(fold.fold)
app.command("hot")(hot.hot)
app.command("naive")(side_by_side.naive)
app.command("settle")(settle.settle)
app.command("restart")(restart.restart)
app.command("board")(board.board)
app.command("replay")(replay.replay)
app.command("pipeline")(pipeline.pipeline)

__all__ = ["app"]
