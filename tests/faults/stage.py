"""Where cases are played one after the other: servers, and a deployment that stands until a case fails in it."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count
from pathlib import Path

from faults.cases import cases, long_cases
from faults.deployment import deployed
from faults.engines import Servers
from faults.judge import Judge
from faults.matrix import Late, Row, Size, run_case


class Stage:
    """Use it in a `with` block, while the servers run. With `closes` an hour and a day end in the middle of every
    fault."""

    def __init__(self, servers: Servers, folder: Path, *, closes: bool) -> None:
        self._servers, self._folder, self._closes = servers, folder, closes
        self._cases = {**cases(servers.engines), **long_cases(servers.engines)}
        self._days, self._numbers = count(), count()
        self._stack = ExitStack()
        self._judge: Judge | None = None

    def play(self, name: str, size: Size, *, seed: int | None = None) -> Row:
        """Play a case. What is only late, on a machine that others use too, may be so once: never what is wrong."""
        try:
            return self._play(name, size, seed)
        except Late as error:
            print(f"\nonce more, because late: {error}", flush=True)
            return self._play(name, size, seed)

    def _play(self, name: str, size: Size, seed: int | None) -> Row:
        judge, self._judge = self._judge, None
        if judge is None:
            self._stack.close()
            folder = self._folder / str(next(self._numbers))
            judge = Judge(self._stack.enter_context(deployed(self._servers, folder, closes=self._closes)))
        day = next(self._days)
        row = run_case(name, self._cases[name], judge, size, seed=day if seed is None else seed, day=day)
        self._judge = judge
        return row

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
