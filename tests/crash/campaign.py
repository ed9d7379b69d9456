"""A campaign: one data directory, several lives, each ended by a kill, and a judgement after each.

    life --kill--> [what was not synced is lost] --copy--> judge (on the copy)
     ^                                               |
     +-----------------------------------------------+

What happens follows from the seed, but for how the system shares out its time; `make crash SEED=...` does it again.
Seeds share out the crash points among themselves, so that some forty of them have been to every one.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
from msgspec import Struct

from accrue.crashpoints import POINTS
from crash import client, life
from crash.entries import take_back
from crash.judge import judge
from crash.life import ACKED, BEGUN, LEAVING, OPEN, Plan
from crash.workload import Requests

LIVES = 8
UNREACHED_S = 4.0
UNREACHED_ACKS = 300
"""A life that has not come to its crash point by then is killed where it is."""

FIRST = [name for name in POINTS if name.startswith(("start", "create", "migrate", "claim", "append 2"))]
"""Points that a new data directory comes to; the first life of a campaign is killed at one of them."""
REST = [name for name in POINTS if name not in FIRST]
OFTEN = ("accept", "append", "process")
"""Stages that are gone through with every record."""

Kind = Literal["point", "instant", "starting", "stopping"]


class Ended(Struct, frozen=True, kw_only=True):
    """How one life of a campaign ended. `killed_at` is a crash point or the kind of instant, empty when it was not."""

    seed: int
    number: int
    killed_at: str
    unsynced_lost: bool
    http: bool
    acked: int
    begun: int
    faults: list[str]


class Campaign:
    """Run it with `run`. With `synchronous`, what the product asks of SQLite is overridden after a first life that
    leaves in order, and the others are killed at any instant: to see that it matters."""

    def __init__(self, seed: int, folder: Path, *, synchronous: str | None = None) -> None:
        self._seed = seed
        self._folder = folder
        self._random = Random(seed)
        self._loses = seed % 3 != 0
        self._http = seed % 5 == 4
        self._synchronous = synchronous
        self._begun: set[int] = set()
        self._acked: set[int] = set()
        self._begin_us = (time.time_ns() // 1_000 - 60 * 86_400_000_000) // 3_600_000_000 * 3_600_000_000
        self._requests = Requests(seed, begin_us=self._begin_us)

    def run(self, lives: int = LIVES) -> list[Ended]:
        """All lives, one after the other; it ends early when one is judged badly."""
        ends: list[Ended] = []
        for number in range(lives):
            ends.append(self._one(number))
            if ends[-1].faults:
                break
        return ends

    def _one(self, number: int) -> Ended:
        kind, plan = self._plan(number)
        complaints = self._folder / f"complaints-{number}"
        with complaints.open("wb") as file:
            status, killed_at = self._live(kind, plan, file.fileno())
        said = complaints.read_text(errors="replace")
        for point in POINTS:
            if f"crash point reached: {point}" in said:
                killed_at = point
        faults = []
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            pass
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            killed_at = ""
        else:
            faults.append(f"the engine ended by itself, status {status}: {said[-1_500:]}")
        if plan.side is not None:
            take_back(plan.side, self._random)
            self._tear()
        return Ended(
            seed=self._seed,
            number=number,
            killed_at=killed_at,
            unsynced_lost=self._loses,
            http=plan.http,
            acked=len(self._acked),
            begun=len(self._begun),
            faults=faults or self._judged(number),
        )

    def _plan(self, number: int) -> tuple[Kind, Plan]:
        random = self._random
        kind: Kind = "point"
        point: str | None = None
        if self._synchronous is not None:
            kind = "instant" if number else "point"
        elif number == 0:
            point = FIRST[self._seed % len(FIRST)]
        elif number % 2 == 0:
            point = REST[(self._seed * (LIVES // 2) + number // 2) % len(REST)]
        else:
            kind = random.choice(("instant", "starting", "stopping", "point"))
            point = random.choice(REST) if kind == "point" else None
        leaves = kind == "stopping" or (point or "").startswith("stop")
        hits = 1 if leaves or number == 0 else random.randint(1, 12 if (point or "").startswith(OFTEN) else 3)
        plan = Plan(
            campaign=self._seed,
            seed=random.getrandbits(32),
            data_dir=self._folder / "data",
            begin_us=self._begin_us,
            first=max(self._begun, default=-1) + 1,
            again=sorted(self._begun - self._acked),
            acked=sorted(self._acked),
            side=self._folder / "side" if self._loses else None,
            early=random.choice((0.0, 0.3)),
            point=point,
            hits=hits,
            requests=random.randint(1, 40) if leaves or (kind == "point" and point is None) else 0,
            settle_interval_s=random.choice((0.002, 0.01, 0.05, 60.0) if number % 2 else (0.002, 0.01)),
            program=random.choice((0, 0, 0, 1)),
            slow_us=random.choice((0, 0, 600_000_000)),
            http=self._http,
        )
        if self._synchronous is None or not number:
            return kind, plan
        # Nothing is settled and nothing written early: so what is lost is what was acked, and nobody can notice.
        return kind, msgspec.structs.replace(
            plan, synchronous=self._synchronous, settle_interval_s=60.0, program=0, early=0.0
        )

    def _live(self, kind: Kind, plan: Plan, complaints: int) -> tuple[int, str]:
        """Begin a life, note what it says, kill it in time, and wait. Returns its status and what it died of."""
        hear, say = os.pipe()
        began_s = time.monotonic()
        pid = life.begin(plan, say, complaints)
        clients = 0
        if not plan.http:
            os.close(say)
        when = _When(kind, plan, self._random, began_s)
        text = b""
        killed = False
        while True:
            if not killed and when.kill_s is not None and time.monotonic() >= when.kill_s:
                os.kill(pid, signal.SIGKILL)
                killed = True
            wait_s = 1.0 if killed or when.kill_s is None else max(0.0, when.kill_s - time.monotonic())
            if not select.select([hear], [], [], min(wait_s, 0.05))[0]:
                if plan.http and not clients and _is_over(pid):
                    os.close(say)  # it never came to listen
                    clients = -1
                continue
            heard = os.read(hear, 1 << 16)
            if not heard:
                break
            *lines, text = (text + heard).split(b"\n")
            for line in lines:
                if line.startswith(OPEN) and plan.http:
                    clients = client.begin(plan, line[1:].decode(), say, complaints)
                    os.close(say)
                self._note(line)
                when.heard(line, pid)
        os.close(hear)
        if clients > 0:
            _, ended = os.waitpid(clients, 0)
            if ended:
                raise AssertionError(f"the clients ended with {ended}")
        _, status = os.waitpid(pid, 0)
        return status, kind if kind != "point" else "instant"

    def _note(self, line: bytes) -> None:
        if line.startswith(BEGUN):
            self._begun.add(int(line[1:]))
        elif line.startswith(ACKED):
            self._acked.add(int(line[1:]))

    def _tear(self) -> None:
        """At times the write under way when the power went left something behind the last that was synced."""
        for wal in sorted((self._folder / "data").glob("*-wal")):
            content = wal.read_bytes()
            chance = self._random.random()
            if content and chance < 0.2:
                wal.write_bytes(content + self._random.randbytes(self._random.randint(1, 9_000)))
            elif len(content) > 4_200 and chance < 0.4:
                wal.write_bytes(content + content[32 : self._random.randint(33, len(content))])

    def _judged(self, number: int) -> list[str]:
        """Judge a copy of what is left, in a process of its own."""
        copy = self._folder / f"judged-{number}"
        copy.mkdir()
        if (self._folder / "data").exists():
            shutil.copytree(self._folder / "data", copy / "data")
        hear, say = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                signal.alarm(round(life.LIFE_S_MAX))
                life.override_synchronous("OFF")  # nobody cuts the judge's power, so it need not wait for the disk
                try:
                    found = asyncio.run(judge(copy / "data", self._requests, begun=self._begun, acked=self._acked))
                except Exception as error:
                    found = [f"{type(error).__name__}: {error}"]
                with os.fdopen(say, "wb") as file:
                    file.write(msgspec.json.encode(found))
            finally:
                os._exit(0)
        os.close(say)
        with os.fdopen(hear, "rb") as file:
            answer = file.read()
        os.waitpid(pid, 0)
        shutil.rmtree(copy)
        return msgspec.json.decode(answer, type=list[str]) if answer else ["the judge ended without a word"]


class _When:
    """When to kill: a moment of the monotonic clock, None as long as it is not known."""

    def __init__(self, kind: Kind, plan: Plan, random: Random, began_s: float) -> None:
        self._kind, self._plan = kind, plan
        self._acks_left = random.randint(1, 80) if kind == "instant" else UNREACHED_ACKS
        self._delay_s = random.random() * (0.15 if kind == "starting" else 0.02)
        self.kill_s: float | None = began_s + (self._delay_s if kind == "starting" else UNREACHED_S)

    def heard(self, line: bytes, pid: int) -> None:
        """A line from the life or its clients."""
        if line.startswith(ACKED):
            self._acks_left -= 1
            if self._acks_left == 0 and self._kind != "starting":
                self.kill_s = time.monotonic() + (self._delay_s if self._kind == "instant" else 0)
            if self._plan.http and self._plan.requests and UNREACHED_ACKS - self._acks_left == self._plan.requests:
                os.kill(pid, signal.SIGTERM)
                self._leaving()
        elif line.startswith(LEAVING):
            self._leaving()

    def _leaving(self) -> None:
        if self._kind == "stopping":
            self.kill_s = time.monotonic() + self._delay_s


def work(synchronous: str | None = None) -> None:
    """Run the campaigns whose seeds come in on standard input, a line each; a line out for each of them."""
    gc.freeze()  # what is imported by now is shared with every life, as long as nothing touches it
    for line in sys.stdin:
        sys.stdout.write(msgspec.json.encode(run(int(line), synchronous=synchronous)).decode() + "\n")
        sys.stdout.flush()


def _is_over(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run(seed: int, *, lives: int = LIVES, synchronous: str | None = None) -> list[Ended]:
    """A whole campaign in a folder of its own. The folder stays when something was wrong, and is named."""
    folder = Path(tempfile.mkdtemp(prefix=f"accrue-crash-{seed}-"))
    ends = Campaign(seed, folder, synchronous=synchronous).run(lives)
    if ends[-1].faults and synchronous is None:
        ends[-1].faults.append(f"what is left: {folder}")
    else:
        shutil.rmtree(folder)
    return ends


if __name__ == "__main__":
    work(*sys.argv[1:])
