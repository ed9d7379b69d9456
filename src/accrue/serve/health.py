"""How the server is doing: /healthz (the process answers), /readyz (it may get traffic), /metrics (for Prometheus)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from accrue.errors import Unavailable
from accrue.process.base import Kept, Live
from accrue.process.outcome import Counts
from accrue.web.traffic import ACK_BUCKETS_S, Traffic

OUTCOMES = Counts.__struct_fields__
REASONS_SHOWN_MAX = 50
"""Reasons of failed events that have a line of their own, for each tenant; the rest is counted as `other`."""

METRICS_TYPE = "text/plain; version=0.0.4"  # the framework adds the charset


class Health(Struct, frozen=True, kw_only=True):
    """What the three answers are made of. `stopped` says whether the worker is gone."""

    live: Live
    stopped: Callable[[], bool]
    queue_events: Callable[[], int]
    registry: CollectorRegistry


class Alive(Struct, frozen=True):
    """All there is to say of a process that answers."""

    status: str = "alive"


class Ready(Struct, frozen=True):
    """Positions in the log: how far it is folded, shown by reads, and settled.

    `repeat_window_s` is the repeat window as it is now, in seconds of log time: an event sent again within it counts
    once. It is shorter than the one in the settings when the memory set for it does not hold that many ids."""

    status: str
    position: int
    published: int
    settled: int
    repeat_window_s: float


@get("/healthz", operation_id="healthz", summary="Is it alive", tags=["operation"], sync_to_thread=False)
def healthz() -> Alive:
    """Answers as long as the process does."""
    return Alive()


@get("/readyz", operation_id="readyz", summary="Is it ready", tags=["operation"], sync_to_thread=False)
def readyz(health: NamedDependency[Health]) -> Ready:
    """503 with the reason while the worker has stopped or settling fails. The server listens only once it has folded
    everything that its log holds, so until then there is no answer at all."""
    status = health.live.status()
    if health.stopped():
        raise Unavailable("The worker has stopped; see the server's log.", retry_after_s=10)
    if status.failing is not None:
        raise Unavailable(f"Not ready: {status.failing}", retry_after_s=5)
    return Ready("ready", status.position, status.published, status.settled, _seconds(status.repeat_window_us))


@get(
    "/metrics",
    operation_id="metrics",
    summary="Figures for Prometheus",
    tags=["operation"],
    media_type=METRICS_TYPE,
    sync_to_thread=False,
)
def metrics(health: NamedDependency[Health]) -> Response[bytes]:
    """The figures of the engine and of the process, in Prometheus' text format."""
    return Response(generate_latest(health.registry), media_type=METRICS_TYPE)


HANDLERS = [healthz, readyz, metrics]


def registry(live: Live, kept: Kept, traffic: Traffic, queue_events: Callable[[], int]) -> CollectorRegistry:
    """A registry of our own, so that an application that mounts this one keeps its figures apart."""
    found = CollectorRegistry(auto_describe=False)
    found.register(_Figures(live, kept, traffic, queue_events))
    ProcessCollector(registry=found)
    return found


class _Figures(Collector):
    """Reads the counts when somebody asks. Nothing is kept twice."""

    def __init__(self, live: Live, kept: Kept, traffic: Traffic, queue_events: Callable[[], int]) -> None:
        self._live, self._kept, self._traffic, self._queue_events = live, kept, traffic, queue_events

    def collect(self) -> Iterator[Metric]:
        yield from self._engine()
        yield self._failed()
        yield from self._http()

    def _engine(self) -> Iterator[Metric]:
        status = self._live.status()
        events = CounterMetricFamily("accrue_events", "Events folded, by outcome.", labels=("tenant", "outcome"))
        for tenant, counts in sorted(status.events.items()):
            for outcome in OUTCOMES:
                events.add_metric((tenant, outcome), getattr(counts, outcome))
        yield events
        gauges = {
            "accrue_position": ("Place in the log that is folded.", status.position),
            "accrue_published_position": ("Place in the log that reads show.", status.published),
            "accrue_settled_position": ("Place in the log that the book holds.", status.settled),
            "accrue_dirty_rows": ("Rows that changed since they were settled.", status.dirty_rows),
            "accrue_entries_in_memory": ("Entries of the live state, clean and dirty.", status.entries_in_memory),
            "accrue_ingest_queue_events": ("Events that wait for the next append.", self._queue_events()),
            "accrue_repeats_remembered": ("Event ids in the repeat index.", status.repeats_remembered),
            "accrue_repeats_size_bytes": ("Memory of the repeat index.", status.repeats_size_bytes),
            "accrue_repeat_window_seconds": (
                "How far back repeats are known, in log time.",
                _seconds(status.repeat_window_us),
            ),
            "accrue_failing": ("1 when the worker has stopped or settling fails.", int(status.failing is not None)),
        }
        for name, (said, value) in gauges.items():
            yield GaugeMetricFamily(name, said, value=value)
        yield CounterMetricFamily("accrue_rows_written", "Rows of the book written.", value=status.rows_written)
        yield CounterMetricFamily(
            "accrue_repeats_forgotten_early",
            "Ids and keys of once rules that went before their window was over, for want of memory.",
            value=status.repeats_forgotten_early,
        )
        yield CounterMetricFamily("accrue_settlements", "Settlements committed.", value=status.settlements)

    def _failed(self) -> Metric:
        waiting = GaugeMetricFamily(
            "accrue_failed_events_waiting",
            "Failed events neither replayed nor dropped.",
            labels=("tenant", "type", "reason"),
        )
        for tenant in self._live.tenants():
            counted = sorted(self._kept.failed_reasons(tenant).items(), key=lambda item: (-item[1], item[0]))
            for (type, reason), events in counted[:REASONS_SHOWN_MAX]:
                waiting.add_metric((tenant, type, reason), events)
            rest = sum(events for _, events in counted[REASONS_SHOWN_MAX:])
            if rest:
                waiting.add_metric((tenant, "other", "other"), rest)
        return waiting

    def _http(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "accrue_http_requests", "Requests answered.", labels=("method", "route", "status")
        )
        for request, count in sorted(self._traffic.requests.items()):
            requests.add_metric((request.method, request.route, str(request.status)), count)
        yield requests
        below = 0
        buckets: list[tuple[str, float]] = []
        for end, count in zip((*map(str, ACK_BUCKETS_S), "+Inf"), self._traffic.acks, strict=True):
            below += count
            buckets.append((end, below))
        yield HistogramMetricFamily(
            "accrue_ack_seconds",
            "From a request for events to its 202.",
            buckets=buckets,
            sum_value=self._traffic.acks_s,
        )


def _seconds(us: int | None) -> float:
    return (us or 0) / 1_000_000
