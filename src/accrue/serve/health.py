"""How the server is doing: /healthz (the process answers), /readyz (it may get traffic), /metrics (for Prometheus)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest

from accrue.errors import Unavailable
from accrue.process.base import Live

METRICS_TYPE = "text/plain; version=0.0.4"  # the framework adds the charset


class Health(Struct, frozen=True, kw_only=True):
    """What the three answers are made of. `stopped` says whether the worker is gone, `troubles` why partitions that
    this process tried to work on are not worked on."""

    live: Live
    stopped: Callable[[], bool]
    troubles: Callable[[], Mapping[int, str]]
    queue_events: Callable[[], int]
    registry: CollectorRegistry


class Alive(Struct, frozen=True):
    """All there is to say of a process that answers."""

    status: str = "alive"


class ReadyPartition(Struct, frozen=True):
    """A partition that this process works on. Positions in its log: how far it is folded, shown by reads, and settled.

    `repeat_window_s` is the repeat window as it is now, in seconds of log time: an event sent again within it counts
    once. It is shorter than the one in the settings when the memory set for it does not hold that many ids."""

    partition: int
    position: int
    published: int
    settled: int
    repeat_window_s: float


class TroubledPartition(Struct, frozen=True):
    """A partition that this process cannot work on, and tries again. Others may have more luck."""

    partition: int
    reason: str


class Ready(Struct, frozen=True):
    """It may get traffic. `partitions` are those whose worker runs in this process: one when it is alone. `troubled`
    are those that it tried to work on, among several processes, and could not; its other answers do not suffer."""

    status: str
    partitions: list[ReadyPartition]
    troubled: list[TroubledPartition]


@get("/healthz", operation_id="healthz", summary="Is it alive", tags=["operation"], sync_to_thread=False)
def healthz() -> Alive:
    """Answers as long as the process does."""
    return Alive()


@get("/readyz", operation_id="readyz", summary="Is it ready", tags=["operation"], sync_to_thread=False)
def readyz(health: NamedDependency[Health]) -> Ready:
    """503 with the reason while the worker has stopped or settling fails. The server listens only once it has folded
    everything that its log holds, so until then there is no answer at all."""
    if health.stopped():
        raise Unavailable("The worker has stopped; see the server's log.", retry_after_s=10)
    partitions = []
    for partition, status in sorted(health.live.statuses().items()):
        if status.failing is not None:
            raise Unavailable(f"Not ready: {status.failing}", retry_after_s=5)
        window_s = (status.repeat_window_us or 0) / 1_000_000
        partitions.append(ReadyPartition(partition, status.position, status.published, status.settled, window_s))
    troubled = [TroubledPartition(*trouble) for trouble in sorted(health.troubles().items())]
    return Ready("ready", partitions, troubled)


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
