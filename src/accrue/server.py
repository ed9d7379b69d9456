r"""The server: the engine with HTTP in front, in one process.

    client --> uvicorn (uvloop, httptools) --> Front --> EventsRoute          POST /v1/events
                                                    \--> the framework        everything else

`create_app` gives the application for an open engine, to be mounted anywhere that speaks ASGI. `listening` serves an
open engine while a block runs. `serve` does both for a configuration, until a signal; `run` is that as a process.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, suppress
from functools import partial

import uvicorn
from litestar.di import Provide
from litestar.types import Dependencies
from msgspec import structs

from accrue.collector import calm
from accrue.config import DEFAULT_TENANT, LOOPBACK, Config, ServerConfig
from accrue.core.placement import partition_of
from accrue.engine import Accrue
from accrue.errors import Misconfigured, Unavailable
from accrue.ingest import describe, failed_routes, submit
from accrue.ingest.routes import PATH, EventsRoute
from accrue.node import Node
from accrue.process.observer import Observer
from accrue.serve import exports, figures, health, kept_routes
from accrue.serve import routes as reads
from accrue.serve.query import WAIT_S_MAX
from accrue.web import docs, openapi
from accrue.web.address import sent_path
from accrue.web.app import framework
from accrue.web.body import App, Receive, Scope, Send
from accrue.web.cached import Cached
from accrue.web.counted import Counted, Noting
from accrue.web.ladder import Forwards, Ladder, Neighbours
from accrue.web.problems import WrongMethod, answer_of
from accrue.web.told import HERE_S_MAX, Told
from accrue.web.traffic import METHODS, NO_ROUTE, Request, Traffic
from accrue.wiring import Parts, stopped

VERSION = "1"
"""Of the API."""

SHUTDOWN_S_MAX = 10
"""How long open requests may take once the server stops."""

KEEP_ALIVE_S = 75

OnReady = Callable[[str], None]

HANDLERS = [
    *submit.HANDLERS,
    *failed_routes.HANDLERS,
    *reads.HANDLERS,
    *exports.HANDLERS,
    *kept_routes.HANDLERS,
    *health.HANDLERS,
]
"""What answers everything but the hot route."""


def create_app(
    accrue: Accrue,
    *,
    read_wait_s_max: float = WAIT_S_MAX,
    traffic: Traffic | None = None,
    observer: Observer | None = None,
) -> Front:
    """The HTTP face of an open engine, for all its tenants: an ASGI application. Without an `observer` that runs beside
    it, /metrics leaves out what has to be asked for."""
    parts = accrue.parts
    traffic = Traffic() if traffic is None else traffic
    submissions = submit.Submissions(
        acceptor=parts.acceptor,
        live=parts.live,
        outcomes=accrue.outcomes,
        use_program=lambda tenant, text: accrue.tenant(tenant).use_program(text),
    )
    troubles = parts.troubles if isinstance(parts, Node) else dict
    reading = reads.Reads(queries=parts.queries, live=parts.live, wait_s_max=read_wait_s_max)
    condition = health.Health(
        live=parts.live,
        stopped=parts.running.done,
        troubles=troubles,
        queue_events=lambda: parts.commit.queue_events,
        registry=figures.registry(
            figures.Sources(
                live=parts.live,
                kept=parts.kept,
                observed=observer or observer_of(parts),
                traffic=traffic,
                queue_events=lambda: parts.commit.queue_events,
                spool=parts.spool.status if isinstance(parts, Node) and parts.spool is not None else None,
                troubles=troubles,
            )
        ),
    )
    dependencies: Dependencies = {
        "submissions": Provide(lambda: submissions, sync_to_thread=False),
        "reads": Provide(lambda: reading, sync_to_thread=False),
        "health": Provide(lambda: condition, sync_to_thread=False),
        "kept": Provide(lambda: accrue.kept, sync_to_thread=False),
        "repairs": Provide(lambda: accrue.repairs, sync_to_thread=False),
        "reading": Provide(reads.reading),
    }
    types = (*describe.TYPES, *failed_routes.TYPES, *reads.TYPES, *kept_routes.TYPES)
    document = openapi.document(HANDLERS, dependencies, operations=describe.OPERATIONS, types=types, version=VERSION)
    rest = framework([*HANDLERS, *docs.handlers(document)], dependencies, openapi.query_parameters(document))
    return Front(EventsRoute(parts.acceptor, accrue.outcomes, parts.clock, traffic), rest, traffic)


def observer_of(parts: Parts) -> Observer:
    """What looks at the log and the boards of an open engine for /metrics, once somebody runs it."""
    statuses, directory = (parts.statuses, parts.directory) if isinstance(parts, Node) else (parts.live.statuses, None)
    return Observer(parts.log, parts.boards, parts.clock, statuses=statuses, directory=directory)


def create_node_app(accrue: Accrue, parts: Node, forwarder: Forwards, observer: Observer | None = None) -> App:
    """The HTTP face of a process among several: what it cannot answer its neighbours do, or the book (web/ladder.py).
    Answers of reads are kept for a moment."""
    traffic = Traffic(counted_outside=True)
    fallback = Accrue(structs.replace(parts, **structs.asdict(parts.fallback)), DEFAULT_TENANT)
    neighbours = Neighbours(
        is_here=parts.live.is_here,
        address_of=lambda tenant: parts.directory.address(partition_of(tenant, parts.config.partitions)),
        look=parts.directory.look,
        forwarder=forwarder,
        clock=parts.clock,
        find=parts.live.find,
    )
    ladder = Ladder(
        create_app(accrue, traffic=traffic, observer=observer),
        create_app(fallback, traffic=traffic),
        neighbours,
        shares_boards=parts.boards.abilities.shared,
        traffic=traffic,
    )
    traffic.cache = cached = Cached(ladder, parts.clock, fresh_s=parts.config.node.cache_ms / 1000)
    counted = Counted(cached, traffic, [PATH, *docs.PATHS, *(path for handler in HANDLERS for path in handler.paths)])
    return Told(counted, partial(parts.live.outcomes_here, timeout_s=HERE_S_MAX))


class Front:
    """Sends POST /v1/events to the hot route and everything else to the framework."""

    def __init__(self, events: EventsRoute, rest: App, traffic: Traffic) -> None:
        self._events, self._rest, self._traffic = events, rest, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        path = scope["path"]
        if path == PATH or (scope.get("root_path") and sent_path(scope) == PATH):
            if scope["method"] == "POST":
                await self._events(scope, receive, send)
            else:
                await self._not_with_this(scope["method"], send)
            return
        await self._other(scope, receive, send)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The framework's. HEAD is GET whose body the server leaves out."""
        method = scope["method"]
        inner = {
            **scope,
            "path": sent_path(scope),
            "root_path": "",
            "method": "GET" if method == "HEAD" else method,
        }
        noting = Noting(send)
        await self._rest(inner, receive, noting)
        found = noting.status not in (404, 405) or inner.get("path_params")
        route = str((found and inner.get("path_template")) or NO_ROUTE)
        self._traffic.answered(Request(method if method in METHODS else "other", route, noting.status))

    async def _not_with_this(self, method: str, send: Send) -> None:
        allowed = WrongMethod(f"{method[:20]} is not possible here; POST is.", allowed="POST")
        status, headers, body = answer_of(allowed)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        self._traffic.answered(Request("other", PATH, status))


def run(config: Config, *, on_ready: OnReady | None = None, works: bool = True) -> None:
    """Serve until SIGTERM or SIGINT. What `serve` raises."""
    if sys.platform == "win32":
        asyncio.run(serve(config, on_ready=on_ready, works=works))
    else:
        import uvloop

        uvloop.run(serve(config, on_ready=on_ready, works=works))


async def serve(config: Config, *, on_ready: OnReady | None = None, works: bool = True) -> None:
    """Open the engine and serve it, until SIGTERM or SIGINT. `works` is False for a gateway.

    1. take the address; 2. open, which folds what the log has beyond the checkpoint; 3. listen, and tell `on_ready`
    the URL; 4. on a signal take no new connection and let open requests end; 5. settle and close.

    Raises `Misconfigured` and its kin before anything is listening, and what stopped the worker, if that was it.
    """
    refuse_public(config.server)
    if config.is_alone:
        with calm():  # what is to be folded first may be millions of events
            async with Accrue.open(config) as accrue, _observing(accrue.parts) as observer:
                await _serve(accrue, config.server, create_app(accrue, observer=observer), None, on_ready)
        return
    from accrue.web.forward import Forwarder  # its HTTP client is an extra

    with closing(_bound(config.server)) as listener:
        address = config.node.address or _url(config.server, listener)
        with calm():
            async with Accrue.open(config, works=works, address=address) as accrue, Forwarder(address) as forwarder:
                assert isinstance(accrue.parts, Node), "a shared log makes a node"
                async with _observing(accrue.parts) as observer:
                    app = create_node_app(accrue, accrue.parts, forwarder, observer)
                    await _serve(accrue, config.server, app, listener, on_ready)


@asynccontextmanager
async def _observing(parts: Parts) -> AsyncIterator[Observer]:
    observer = observer_of(parts)
    looking = asyncio.create_task(observer.run(), name="observer")
    try:
        yield observer
    finally:
        await stopped(looking)


async def _serve(
    accrue: Accrue, settings: ServerConfig, app: App, listener: socket.socket | None, on_ready: OnReady | None
) -> None:
    """Steps 3 and 4."""
    stopping = asyncio.Event()
    with _signals(stopping), calm():  # again, so that what was loaded is set aside
        async with _listening(app, settings, listener) as url:
            if on_ready is not None:
                on_ready(url)
            await _until(stopping, accrue.parts.running)


def listening(accrue: Accrue, settings: ServerConfig) -> AbstractAsyncContextManager[str]:
    """Serve an open engine while the block runs; gives the URL. Port 0 takes a free one.

    Raises `Misconfigured` for a host that is not loopback and for a port that is taken.
    """
    return _listening(create_app(accrue), settings, None)


@asynccontextmanager
async def _listening(app: App, settings: ServerConfig, listener: socket.socket | None) -> AsyncIterator[str]:
    refuse_public(settings)
    listener = _bound(settings) if listener is None else listener
    try:
        server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # nothing here asks who the client is, and it costs every request
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S_MAX,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        try:
            await asyncio.wait((serving, waiting := asyncio.ensure_future(server.ready.wait())), return_when=FIRST)
            waiting.cancel()
            if serving.done():
                await serving
            yield _url(settings, listener)
        finally:
            server.should_exit = True
            await asyncio.wait([serving])
            serving.result()
    finally:
        listener.close()


FIRST = asyncio.FIRST_COMPLETED


def refuse_public(settings: ServerConfig) -> None:
    """Raises `Misconfigured` for a host that others could reach: nobody is asked for a key yet."""
    if settings.host not in LOOPBACK and not settings.unprotected:
        raise Misconfigured(
            f"The server listens on loopback only ({', '.join(LOOPBACK)}), not on {settings.host!r}: keys, without "
            "which anybody could write, come in a later version. Put a reverse proxy that checks access in front, or, "
            "on a network of your own, say unprotected = true in [server]."
        )


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to `serve`: uvicorn would raise them again when it is done, which ends
    the process before anything is settled."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _url(settings: ServerConfig, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def _bound(settings: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, every event loop sets TCP_NODELAY; without, an answer may wait 40 ms for an ack.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        raise Misconfigured(f"Cannot listen on {where}: {error.strerror}. Choose another port.") from error
    return listener


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stopping`, where signals can be had at all: in the main thread of most systems."""
    loop = asyncio.get_running_loop()
    taken: list[signal.Signals] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stopping.set)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


async def _until(stopping: asyncio.Event, worker: asyncio.Task[None]) -> None:
    """Return when told to stop. Raises what stopped the worker, when that comes first."""
    told = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((told, worker), return_when=FIRST)
    finally:
        told.cancel()
    if worker.done() and not stopping.is_set():
        worker.result()
        raise Unavailable("The worker has stopped.")
