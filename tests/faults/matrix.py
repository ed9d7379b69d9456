"""One case, from the load to the judgement; and what is written down of it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from faults import workload
from faults.clients import Caller, Ledger, Load, Plan
from faults.deployment import Deployment, Node
from faults.judge import Judge
from faults.readers import Read, Reader, Watcher
from simulate.model.calendar import periods

RECOVER_S_MAX = 60.0
LOOK_S = 0.05
DAY_US = 24 * workload.HOUR_US
BEGIN_US = 1_767_225_600_000_000
"""2026-01-01. Each case has days of its own, so that caps and `once` begin anew."""


class Size(NamedTuple):
    """How much load, and for how long: before the fault so many acks, and again after it; `hold_s` is how long a fault
    lasts if nothing else says so, `pause_s` at most how long a client rests after each request, and `turns` how often a
    partition is fought for."""

    clients: int
    acks: int
    hold_s: float
    pause_s: float
    turns: int


SMALL = Size(clients=4, acks=40, hold_s=2.0, pause_s=0.12, turns=1)
LARGE = Size(clients=8, acks=400, hold_s=5.0, pause_s=0.04, turns=2)


class Late(AssertionError):
    """Nothing was lost or counted twice, but something was slower than it should be."""


class Row(NamedTuple):
    """One line of the table. Requests may be sent again, so events are counted as the log has them."""

    case: str
    sent: int
    acked: int
    counted: int
    repeats: int
    conflicts: int
    spooled_requests: int
    unanswered_requests: int
    stale_reads: int
    closed: int
    recovered_s: float
    taken_over_s: float | None


class Span(NamedTuple):
    """A time, on the monotonic clock."""

    from_s: float
    to_s: float


class Scene:
    """What a case works with: the deployment, and everybody who uses it meanwhile."""

    def __init__(self, deployment: Deployment, size: Size, *, seed: int, day: int) -> None:
        self.deployment, self.size, self.ledger = deployment, size, Ledger()
        ports = deployment.ports
        begin_us = deployment.evening() if deployment.closes else BEGIN_US + day * 4 * DAY_US
        begun = periods(begin_us, workload.ZONE, {})
        self._ending = {begun["hour"], begun["day"]} if deployment.closes else set[str]()
        """Periods that end in the middle of the fault, and are closed then: boards are kept for them."""
        self._is_over = False
        plan = Plan(seed=seed, begin_us=begin_us, pause_s=size.pause_s, ports=ports)
        self._load = Load(self.ledger, size.clients, plan)
        self._readers = [
            Reader(self.ledger, port, seed=seed, clients=size.clients, promised=promised, ending=self._ending)
            for port in ports
            for promised in (False, True)
        ]
        self.watcher = Watcher(self.ledger, deployment)
        self._seed, self._probes = seed, itertools.count()
        self.fault_s: float | None = None
        """When what has to be recovered from began."""
        self._recovered_s: float | None = None
        self._epochs: list[int] | None = None
        self.taken_over_s: float | None = None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Everybody at work while the block runs; then they come to an end."""
        for thread in (*self._readers, self.watcher):
            thread.start()
        self._load.start()
        try:
            yield
            self._load.stop(patience_s=RECOVER_S_MAX)
        finally:
            self._load.stop(patience_s=0)
            for reader in (*self._readers, self.watcher):
                reader.stop()
            for reader in (*self._readers, self.watcher):
                reader.join()

    def wait_for_acks(self, acks: int) -> None:
        """Until so many more requests were acked."""
        wanted = len(self.ledger.acked_at_s) + acks
        self.wait(lambda: len(self.ledger.acked_at_s) >= wanted, f"{acks} more requests acked")

    def wait(self, condition: Callable[[], bool], what: str, *, wait_s_max: float = RECOVER_S_MAX) -> float:
        """Until it holds. Returns how long that took."""
        began_s = time.monotonic()
        while not condition():
            if time.monotonic() - began_s > wait_s_max:
                raise AssertionError(f"not within {wait_s_max:.0f} s: {what}. {self.ledger.wrong[:3]}")
            time.sleep(LOOK_S)
        return time.monotonic() - began_s

    def hold(self, hold_s: float | None = None) -> Span:
        """Let time pass, while everybody goes on. Where periods close, it is midnight meanwhile."""
        began_s = time.monotonic()
        self.midnight()
        time.sleep(self.size.hold_s if hold_s is None else hold_s)
        return Span(began_s, time.monotonic())

    def midnight(self) -> None:
        """Where periods close, the day ends now, if it has not yet."""
        if self._ending and not self._is_over:
            self._is_over = True
            self.deployment.midnight()

    def wait_for_closes(self) -> None:
        """Until what has ended is closed, for every tenant, and settled."""
        wanted = {(tenant, period) for tenant in workload.TENANTS for period in self._ending}
        self.wait(lambda: not wanted or wanted <= self.deployment.closed(), f"{wanted} are closed")

    def recovery_begins(self) -> None:
        """The fault is over, or, where nothing ends it, has happened."""
        self.fault_s = time.monotonic()

    # --- what has to hold meanwhile -----------------------------------------------------------------------------------

    def expect_accepting(self, span: Span) -> None:
        """Requests were acked in this time."""
        if not self.ledger.acked_between(*span):
            self.ledger.late.append("nothing was accepted during the fault")

    def expect_spooling(self) -> None:
        """Something was spooled."""
        if not self.ledger.spooled:
            self.ledger.late.append("nothing was spooled while the log was away")

    def expect_nobody_to_take_over(self) -> None:
        """From here to the end whoever has a partition keeps it: no worker is at fault."""
        self._epochs = self.epochs()

    def check_epochs(self) -> None:
        """Whether that was so."""
        if self._epochs is not None and self.epochs() != self._epochs:
            self.ledger.late.append(
                f"no worker was at fault, but the epochs went from {self._epochs} to {self.epochs()}"
            )

    def reads(self, span: Span, *kinds: str, tenants: Collection[str] = workload.TENANTS) -> list[Read]:
        """Those of these tenants that were answered in this time."""
        return [
            read
            for reader in self._readers
            for read in reader.reads
            if span.from_s <= read.at_s <= span.to_s and read.kind in kinds and read.tenant in tenants
        ]

    def expect_reads(
        self, span: Span, *kinds: str, stale: bool | None = None, tenants: Collection[str] = workload.TENANTS
    ) -> None:
        """Reads of these kinds are answered with 200 in the end: the last one; and it says whether it is old."""
        reads = [read for read in self.reads(span, *kinds, tenants=tenants) if read.status in (200, 503)]
        if not reads or reads[-1].status != 200:
            self.ledger.late.append(f"reads of {kinds} were answered with {reads[-3:]} during the fault")
        elif stale is not None and reads[-1].is_stale is not stale:
            self.ledger.late.append(f"reads of {kinds} should be {'stale' if stale else 'live'}: {reads[-3:]}")

    @property
    def stale_reads(self) -> int:
        return sum(read.is_stale for reader in self._readers for read in reader.reads)

    def epochs(self) -> list[int]:
        """Of every partition, as the book says."""
        return [self.deployment.epoch(partition) for partition in range(workload.PARTITIONS)]

    def wait_for_take_over(self, worker: Node, epochs: list[int]) -> None:
        """Until everything that the worker had is another's."""

        def taken() -> bool:
            mine = [self.deployment.row(partition)["address"] for partition in range(workload.PARTITIONS)]
            return self.epochs() != epochs and not any(address.endswith(f":{worker.port}") for address in mine)

        self.wait(taken, f"what {worker.name} had is another worker's")
        assert self.fault_s is not None
        self.taken_over_s = time.monotonic() - self.fault_s

    def wait_for_shares(self) -> None:
        """Until every worker has its share of the partitions, so that none is on its way to another."""
        self.wait(self.deployment.is_shared_evenly, "the workers share the partitions evenly")

    # --- recovery -----------------------------------------------------------------------------------------------------

    def recovered(self) -> float:
        """Wait until everything acked so far is counted and shown through every gateway; how long that took since
        `recovery_begins`, the first time.

        A spool is forwarded in order, so what was acked before has a position once something new has one.
        """
        if self._recovered_s is not None:
            return self._recovered_s
        assert self.fault_s is not None
        failed: list[str] = []

        def probe(port: int) -> None:
            try:
                with closing(Caller([port])) as caller:
                    for tenant in workload.TENANTS:
                        self._probe(caller, tenant)
            except AssertionError as error:
                failed.append(str(error))

        probing = [threading.Thread(target=probe, args=[port]) for port in self.deployment.ports]
        for thread in probing:
            thread.start()
        for thread in probing:
            thread.join()
        if failed:
            raise AssertionError(failed[0])
        self._recovered_s = time.monotonic() - self.fault_s
        return self._recovered_s

    def _probe(self, caller: Caller, tenant: str) -> None:
        until_s = time.monotonic() + RECOVER_S_MAX
        position, last = None, None
        while time.monotonic() < until_s:
            if position is None:
                body = b'{"id":"%d-probe-%d","type":"sent","actor":"probe"}' % (self._seed, next(self._probes))
                self.ledger.begin(tenant, body)
                last = caller.ask("POST", "/v1/events", tenant, body)
                if last is not None and last[0] == 202:
                    self.ledger.ack(tenant, "probe", body, last[1], new=True)
                    position = last[1]["position"]
            else:
                paths = f"/v1/boards/senders?after={position}", f"/v1/tallies/sent/probe?after={position}"
                answers = [caller.ask("GET", path, tenant) for path in paths]
                if all(answer is not None and answer[0] == 200 and not answer[1].get("stale") for answer in answers):
                    return
                last = answers[0] if answers[0] is None or answers[0][0] != 200 else answers[1]
            time.sleep(LOOK_S)
        raise AssertionError(f"{tenant} has not recovered {RECOVER_S_MAX:.0f} s after the fault: {last}")


Case = Callable[[Scene], None]


def _told(name: str, seed: int, found: list[str]) -> str:
    return f"{name} (seed {seed}):\n" + "\n".join(f"  - {fault}" for fault in found)


def run_case(name: str, case: Case, judge: Judge, size: Size, *, seed: int, day: int) -> Row:
    """Load, fault, recovery, load, rest, judgement. AssertionError with everything that is wrong."""
    scene = Scene(judge.deployment, size, seed=seed, day=day)
    ledger = scene.ledger
    with scene.busy():
        scene.wait_for_acks(size.acks)
        scene.wait_for_shares()
        case(scene)
        recovered_s = scene.recovered()
        scene.midnight()
        scene.wait_for_closes()
        scene.wait_for_acks(size.acks)
    scene.check_epochs()
    found, outcomes = asyncio.run(judge.look(ledger))
    found = ledger.wrong[:10] + found
    if found:
        raise AssertionError(_told(name, seed, found))
    if ledger.late:
        raise Late(_told(name, seed, ledger.late))
    return Row(
        case=name,
        sent=sum(map(len, ledger.begun.values())),
        acked=sum(map(len, ledger.acked.values())),
        counted=outcomes["applied"],
        repeats=outcomes["repeated"],
        conflicts=outcomes["conflicting"],
        spooled_requests=ledger.spooled,
        unanswered_requests=ledger.unanswered,
        stale_reads=scene.stale_reads,
        closed=judge.closed,
        recovered_s=recovered_s,
        taken_over_s=scene.taken_over_s,
    )
