"""A private RabbitMQ with streams."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from urllib.parse import quote

from servers import install
from servers.ports import accepts, free_port
from servers.process import Process
from servers.server import ASK_AGAIN_S, Server

USER = "accrue"
PASSWORD = "accrue-tests"
COORDINATOR = b"rabbit_stream_coordinator"
REGISTER_S_MAX = 20.0


class RabbitmqServer(Server):
    """`settings` are lines of rabbitmq.conf; `streams` off leaves the plugin out.

    When it answers after a kill, a stream that existed before may still be unavailable for a second.
    """

    name = "rabbitmq"

    def __init__(self, *, streams: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self._server, self._epmd = install.rabbitmq()
        self._streams = streams
        self._settings = settings or {}
        self.amqp_port, self.stream_port = free_port(), free_port()
        self._node = f"accrue-{self.amqp_port}@localhost"
        self._epmd_port, self._node_port = free_port(), free_port()
        super().__init__()

    @property
    def url(self) -> str:
        return self.url_of("accrue")

    def url_of(self, stream: str) -> str:
        """The same server, streams of another name."""
        return f"rabbitmq-stream://{USER}:{PASSWORD}@127.0.0.1:{self.stream_port}/%2F?name={quote(stream, safe='')}"

    def prepare(self) -> None:
        settings = {
            "default_user": USER,
            "default_pass": PASSWORD,
            "listeners.tcp.1": f"127.0.0.1:{self.amqp_port}",
            "disk_free_limit.absolute": "50MB",
            "log.console": "true",
            "log.console.level": "warning",
            "log.file": "false",
        }
        if self._streams:
            settings |= {
                "stream.listeners.tcp.1": f"127.0.0.1:{self.stream_port}",
                "stream.advertised_host": "127.0.0.1",
                "stream.advertised_port": str(self.stream_port),
            }
        lines = [f"{name} = {value}\n" for name, value in {**settings, **self._settings}.items()]
        (self.directory / "rabbitmq.conf").write_text("".join(lines), encoding="utf-8")
        plugins = "[rabbitmq_stream]." if self._streams else "[]."
        (self.directory / "enabled_plugins").write_text(plugins, encoding="ascii")

    def launch(self) -> list[Process]:
        """Erlang's register of names first: left to itself the node would start a daemon that outlives it."""
        environment = self._environment()
        names = [self._epmd, "-address", "127.0.0.1", "-port", str(self._epmd_port)]
        register = Process(names, log=self.log, directory=self.directory, environment=environment)
        node = Process([self._server], log=self.log, directory=self.directory, environment=environment)
        return [register, node]

    def answers(self) -> bool:
        """Listening is the last thing it does when it starts."""
        return accepts(self.stream_port if self._streams else self.amqp_port)

    def kill(self) -> None:
        """SIGKILL, but not before RabbitMQ has on disk that it has streams at all.

        In 3.10 the name of the process that knows of all streams is written up to three seconds after the node's very
        first stream was created, although that had been answered. A kill in between makes every stream of the node
        unavailable for good. That is RabbitMQ's own, once in the life of a node, and nothing a client can mend.
        """
        node = self.directory / "data" / self._node / "coordination" / self._node
        deadline_s = time.monotonic() + REGISTER_S_MAX
        while any(node.glob("RABBIT*")) and COORDINATOR not in (node / "names.dets").read_bytes():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"RabbitMQ has not registered its streams within {REGISTER_S_MAX:.0f} s")
            time.sleep(ASK_AGAIN_S)
        super().kill()

    def _environment(self) -> dict[str, str]:
        here = self.directory
        return {
            "HOME": str(here),  # where the cookie is
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(here / "data"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_PID_FILE": str(here / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
