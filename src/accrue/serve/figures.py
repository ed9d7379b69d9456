"""The figures of /metrics, in Prometheus' words. Nothing is kept twice, and nothing is asked for: a scrape reads what
the parts of the process count anyway, and what the observer found out before.

Every figure of a partition is given by the process that works on it, but for who that is (`accrue_partition_...`),
which every process knows: of those, take the maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from accrue.process.base import Kept, Live, Observed, Seen, Status
from accrue.process.outcome import Counts
from accrue.web.traffic import ACK_BUCKETS_S, Traffic

OUTCOMES = Counts.__struct_fields__
REASONS_SHOWN_MAX = 50
"""Reasons of failed events that have a line of their own, for each tenant; the rest is counted as `other`."""
TENANTS_SHOWN_MAX = 100
"""So many tenants have lines of their own; what the others have is added up."""
OTHERS = ""
"""The tenant that stands for the others. No tenant is called that."""


class SpoolFigures(Protocol):
    """How the spool is doing; see `SpoolStatus` of the stage that has it."""

    @property
    def waiting(self) -> int:
        """Records to be forwarded."""
        ...

    @property
    def size_bytes(self) -> int:
        """Of all that is in the file."""
        ...

    @property
    def parked_events(self) -> int:
        """Events that were given up."""
        ...

    @property
    def out_of_reach_s(self) -> float:
        """How long the log is out of reach by now."""
        ...


class Sources(Struct, frozen=True, kw_only=True):
    """Where the figures come from. `spool` is None in a process without one; `troubles` are of partitions that cannot
    be worked on here."""

    live: Live
    kept: Kept
    observed: Observed
    traffic: Traffic
    queue_events: Callable[[], int]
    spool: Callable[[], SpoolFigures] | None = None
    troubles: Callable[[], Mapping[int, str]] = dict


def registry(sources: Sources) -> CollectorRegistry:
    """A registry of our own, so that an application that mounts this one keeps its figures apart."""
    found = CollectorRegistry(auto_describe=False)
    found.register(_Figures(sources))
    ProcessCollector(registry=found)
    return found


class _Figures(Collector):
    """Reads the counts when somebody asks."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._shown: dict[str, None] = {}  # once shown always shown: a counter must not fall

    def collect(self) -> Iterator[Metric]:
        sources = self._sources
        statuses = sources.observed.statuses()
        yield self._events(statuses)
        yield from _by_partition(_GAUGES, GaugeMetricFamily, statuses)
        yield from _by_partition(_COUNTERS, CounterMetricFamily, statuses)
        yield from _by_partition(_SEEN, GaugeMetricFamily, sources.observed.partitions())
        yield from _log_and_seats(sources.observed)
        yield _troubles(sources.troubles())
        yield from _boards(sources.observed)
        yield self._failed()
        yield GaugeMetricFamily(
            "accrue_ingest_queue_events", "Events that wait for the next append.", value=sources.queue_events()
        )
        yield from _http(sources.traffic)
        if sources.spool is not None:
            yield from _spool(sources.spool())

    def _events(self, statuses: Mapping[int, Status]) -> Metric:
        counted: dict[str, list[int]] = {}
        for status in statuses.values():
            for tenant, counts in status.events.items():
                line = counted.setdefault(self._line(tenant), [0] * len(OUTCOMES))
                for place, outcome in enumerate(OUTCOMES):
                    line[place] += getattr(counts, outcome)
        events = CounterMetricFamily("accrue_events", "Events folded, by outcome.", labels=("tenant", "outcome"))
        for tenant, line in sorted(counted.items()):
            for outcome, count in zip(OUTCOMES, line, strict=True):
                events.add_metric((tenant, outcome), count)
        return events

    def _failed(self) -> Metric:
        waiting = GaugeMetricFamily(
            "accrue_failed_events_waiting",
            "Failed events neither replayed nor dropped.",
            labels=("tenant", "type", "reason"),
        )
        others = 0
        for tenant in self._sources.live.tenants():
            reasons = self._sources.kept.failed_reasons(tenant)
            if not reasons:
                continue
            if self._line(tenant) == OTHERS:
                others += sum(reasons.values())
                continue
            counted = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            for (type, reason), events in counted[:REASONS_SHOWN_MAX]:
                waiting.add_metric((tenant, type, reason), events)
            rest = sum(events for _, events in counted[REASONS_SHOWN_MAX:])
            if rest:
                waiting.add_metric((tenant, "other", "other"), rest)
        if others:
            waiting.add_metric((OTHERS, "other", "other"), others)
        return waiting

    def _line(self, tenant: str) -> str:
        """The tenant, if there is room for it to have lines of its own."""
        if tenant in self._shown or len(self._shown) < TENANTS_SHOWN_MAX:
            self._shown[tenant] = None
            return tenant
        return OTHERS


Figured = TypeVar("Figured")


def _by_partition(
    figures: Mapping[str, tuple[str, Callable[[Figured], float]]],
    family: type[GaugeMetricFamily] | type[CounterMetricFamily],
    found: Mapping[int, Figured],
) -> Iterator[Metric]:
    for name, (said, of) in figures.items():
        metric = family(name, said, labels=("partition",))
        for partition, value in sorted(found.items()):
            metric.add_metric((str(partition),), of(value))
        yield metric


def _log_and_seats(observed: Observed) -> Iterator[Metric]:
    retention = observed.retention()
    if retention.age_s is not None:
        yield GaugeMetricFamily(
            "accrue_log_retention_seconds", "The log drops records older than this.", value=retention.age_s
        )
    if retention.size_bytes is not None:
        yield GaugeMetricFamily(
            "accrue_log_retention_bytes", "The log drops what is beyond this, a partition.", value=retention.size_bytes
        )
    taken = GaugeMetricFamily("accrue_partition_taken", "1 while somebody has it.", labels=("partition",))
    epoch = GaugeMetricFamily("accrue_partition_epoch", "How often it was taken.", labels=("partition",))
    beats = CounterMetricFamily("accrue_partition_heartbeats", "Of whoever has it.", labels=("partition",))
    for seat in observed.seats():
        name = (str(seat.partition),)
        taken.add_metric(name, seat.taken)
        epoch.add_metric(name, seat.epoch)
        beats.add_metric(name, seat.heartbeat)
    yield from (taken, epoch, beats)


def _troubles(found: Mapping[int, str]) -> Metric:
    troubled = GaugeMetricFamily(
        "accrue_partition_troubled",
        "1 while this process cannot work on it and tries again; /readyz says why.",
        labels=("partition",),
    )
    for partition in sorted(found):
        troubled.add_metric((str(partition),), 1)
    return troubled


def _boards(observed: Observed) -> Iterator[Metric]:
    members = GaugeMetricFamily("accrue_boards_members", "Members of all boards of a tenant.", labels=("tenant",))
    size = GaugeMetricFamily("accrue_boards_size_bytes", "What they take, by samples.", labels=("tenant",))
    for tenant, usage in observed.boards().items():
        members.add_metric((tenant,), usage.members)
        size.add_metric((tenant,), usage.size_bytes)
    yield from (members, size)


def _http(traffic: Traffic) -> Iterator[Metric]:
    requests = CounterMetricFamily("accrue_http_requests", "Requests answered.", labels=("method", "route", "status"))
    for request, count in sorted(traffic.requests.items()):
        requests.add_metric((request.method, request.route, str(request.status)), count)
    yield requests
    below = 0
    buckets: list[tuple[str, float]] = []
    for end, count in zip((*map(str, ACK_BUCKETS_S), "+Inf"), traffic.acks, strict=True):
        below += count
        buckets.append((end, below))
    yield HistogramMetricFamily(
        "accrue_ack_seconds", "From a request for events to its 202.", buckets=buckets, sum_value=traffic.acks_s
    )
    yield CounterMetricFamily("accrue_stale_reads", "Reads answered from the book alone.", value=traffic.stale)
    yield CounterMetricFamily("accrue_forwarded_requests", "Requests the worker answered.", value=traffic.forwarded)
    if traffic.cache is not None:
        cache = traffic.cache
        reads = CounterMetricFamily("accrue_cached_reads", "Reads, by where the answer came from.", labels=("from",))
        for source, count in (("kept", cache.hits), ("shared", cache.shared), ("asked", cache.misses)):
            reads.add_metric((source,), count)
        yield reads
        yield GaugeMetricFamily("accrue_cache_size_bytes", "Answers that are kept.", value=cache.size_bytes)


def _spool(spool: SpoolFigures) -> Iterator[Metric]:
    yield GaugeMetricFamily("accrue_spool_records", "Records that wait for the log.", value=spool.waiting)
    yield GaugeMetricFamily("accrue_spool_size_bytes", "Of all that is in the spool.", value=spool.size_bytes)
    yield GaugeMetricFamily("accrue_spool_parked_events", "Events that came too late.", value=spool.parked_events)
    yield GaugeMetricFamily(
        "accrue_log_out_of_reach_seconds",
        "How long the log has not answered; 0 when it does.",
        value=spool.out_of_reach_s,
    )


def _seconds(us: int | None) -> float:
    return (us or 0) / 1_000_000


_GAUGES: dict[str, tuple[str, Callable[[Status], float]]] = {
    "accrue_position": ("Place in the log that is folded.", lambda status: status.position),
    "accrue_published_position": ("Place in the log that reads show.", lambda status: status.published),
    "accrue_settled_position": ("Place in the log that the book holds.", lambda status: status.settled),
    "accrue_dirty_rows": ("Rows that changed since they were settled.", lambda status: status.dirty_rows),
    "accrue_entries_in_memory": (
        "Entries of the live state, clean and dirty.",
        lambda status: status.entries_in_memory,
    ),
    "accrue_repeats_remembered": ("Event ids in the repeat index.", lambda status: status.repeats_remembered),
    "accrue_repeats_size_bytes": ("Memory of the repeat index.", lambda status: status.repeats_size_bytes),
    "accrue_repeat_window_seconds": (
        "How far back repeats are known, in log time.",
        lambda status: _seconds(status.repeat_window_us),
    ),
    "accrue_failing": (
        "1 when the worker has stopped or settling fails.",
        lambda status: status.failing is not None,
    ),
    "accrue_publishing_fails": (
        "1 while the boards do not take what is published.",
        lambda status: status.publishing_fails is not None,
    ),
}

_COUNTERS: dict[str, tuple[str, Callable[[Status], float]]] = {
    "accrue_rows_written": ("Rows of the book written.", lambda status: status.rows_written),
    "accrue_settlements": ("Settlements committed.", lambda status: status.settlements),
    "accrue_repeats_forgotten_early": (
        "Ids and keys of once rules that went before their window was over, for want of memory.",
        lambda status: status.repeats_forgotten_early,
    ),
}

_SEEN: dict[str, tuple[str, Callable[[Seen], float]]] = {
    "accrue_log_begin_position": ("Where the log begins.", lambda seen: seen.begin),
    "accrue_log_end_position": ("Where the log ends.", lambda seen: seen.end),
    "accrue_lag_seconds": (
        "How old the last record that is folded is, while there are newer ones.",
        lambda seen: seen.behind_s,
    ),
    "accrue_unsettled_seconds": (
        "How long the book has got nothing, while there is something to settle.",
        lambda seen: seen.unsettled_s,
    ),
}
