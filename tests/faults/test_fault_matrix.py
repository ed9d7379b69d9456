"""Every fault once, with a small load: what was acked is counted once, and shown everywhere; nothing goes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from faults.cases import cases
from faults.engines import Engines, served
from faults.matrix import SMALL
from faults.stage import Stage


class Played(NamedTuple):
    """A deployment, and the cases that are played on it: those whose names begin so. With `closes`, at midnight."""

    engines: Engines
    beginnings: tuple[str, ...] = ("",)
    closes: bool = False

    def __str__(self) -> str:
        return ", ".join([*self.engines, *(["at midnight"] if self.closes else [])])

    @property
    def names(self) -> list[str]:
        return [name for name in cases(self.engines) if name.startswith(self.beginnings)]


ALL = [
    Played(Engines()),
    Played(Engines(), ("a worker killed", "PostgreSQL killed", "RabbitMQ killed", "all servers and all"), closes=True),
    Played(Engines(log="Kafka")),
    Played(
        Engines(log="PostgreSQL", boards="Redis Cluster"),
        (
            *("PostgreSQL killed", "PostgreSQL restarted", "PostgreSQL paused past"),
            *("Redis Cluster killed", "Redis Cluster paused past", "Redis Cluster wiped", "a node"),
            *("a gateway killed with", "all servers"),
        ),
    ),
]
"""The whole matrix with each broker, and with the others what is different there."""


class Stages:
    """One stage at a time: it stands while what is asked for is played on it."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._stack = ExitStack()
        self._played: Played | None = None
        self._stage: Stage | None = None

    def of(self, played: Played) -> Stage:
        """The one that these cases are played on."""
        if self._stage is None or played is not self._played:
            self.close()
            servers = self._stack.enter_context(served(played.engines))
            stage = Stage(servers, self._factory.mktemp("faults"), closes=played.closes)
            self._played, self._stage = played, self._stack.enter_context(stage)
        return self._stage

    def close(self) -> None:
        """Nothing is played any more."""
        self._stage = None
        self._stack.close()


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    found = Stages(tmp_path_factory)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("played", "name"), [pytest.param(played, name, id=f"{played}: {name}") for played in ALL for name in played.names]
)
def test_whatever_breaks_what_was_acked_is_counted_once_and_shown(stages: Stages, played: Played, name: str) -> None:
    stages.of(played).play(name, SMALL)
