"""Every fault once, with a small load: what was acked is counted once, and shown everywhere; nothing goes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from faults.cases import cases
from faults.deployment import Servers, deployed, served
from faults.judge import Judge
from faults.matrix import SMALL, Late, run_case

CASES = cases()


class Stage:
    """The servers of all cases, and the deployment that stands until a case fails in it."""

    def __init__(self, servers: Servers, folder: Path, stack: ExitStack) -> None:
        self._servers, self._folder, self._stack = servers, folder, stack
        self._days, self._numbers = count(), count()
        self._judge: Judge | None = None

    def run(self, name: str) -> None:
        """Play a case."""
        if self._judge is None:
            deployment = self._stack.enter_context(deployed(self._servers, self._folder / str(next(self._numbers))))
            self._judge = Judge(deployment)
        judge, self._judge = self._judge, None
        day = next(self._days)
        run_case(name, CASES[name], judge, SMALL, seed=day, day=day)
        self._judge = judge


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        servers = stack.enter_context(served())
        yield Stage(servers, tmp_path_factory.mktemp("faults"), stack)


@pytest.mark.parametrize("name", CASES)
def test_whatever_breaks_what_was_acked_is_counted_once_and_shown(stage: Stage, name: str) -> None:
    """What is only late, on a machine that others use too, may be so once: never what is wrong."""
    try:
        stage.run(name)
    except Late:
        stage.run(name)
