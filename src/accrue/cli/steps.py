"""How far a long command is, on standard error: one bar a step on a terminal, else a line now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from accrue.cli.terminal import err

PLAIN_STEP = 0.25
"""Without a terminal a line is printed each time so much of a step is done."""


class Steps:
    """Told how far each step is: `steps("fold", 1_000, 5_000)`."""

    def __init__(self, bar: Progress | None, words: dict[str, str]) -> None:
        self._bar = bar
        self._words = words
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def __call__(self, step: str, done: int, of: int) -> None:
        """`done` of `of`, in whatever the step counts."""
        words = self._words.get(step, step)
        if self._bar is not None:
            if step not in self._tasks:
                self._tasks[step] = self._bar.add_task(words, total=of)
            self._bar.update(self._tasks[step], completed=done, total=of)
            return
        share = done / of if of else 1.0
        said = self._said.get(step, 0.0)
        if share >= said + PLAIN_STEP:
            self._said[step] = share - share % PLAIN_STEP
            err().print(f"{words}: {share:.0%} of {of:,}", soft_wrap=True)


@contextmanager
def said_when_stopped(state: Callable[[], str] = lambda: "Nothing was changed.") -> Iterator[None]:
    """On Ctrl-C say in one line what state things are in."""
    try:
        yield
    except KeyboardInterrupt:
        err().print(f"Stopped. {state()}", soft_wrap=True)
        raise


@contextmanager
def told_steps(words: dict[str, str]) -> Iterator[Steps]:
    """Show the steps while the block runs. `words` says what each does."""
    console = err()
    if not console.is_terminal:
        yield Steps(None, words)
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,} of {task.total:,}", markup=False),
        TimeElapsedColumn(),
        console=console,
        expand=True,
        transient=True,
    )
    with bar:
        yield Steps(bar, words)
