"""A private Kafka: one node that is broker and controller (KRaft)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from servers import install
from servers.ports import accepts, free_port
from servers.process import Process
from servers.server import Server

FORMAT_S_MAX = 60
CLUSTER_ID = "YWNjcnVlLXRlc3RzLi4uLg"
JAVA = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",  # a topic nobody made is a mistake to be seen
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.min.isr": "1",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2000",  # so long a killed one is taken to live, and may not come back
    "initial.broker.registration.timeout.ms": "90000",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.enable": "false",  # it would take 128 MB at once
}


class KafkaServer(Server):
    """`settings` are lines of server.properties, and come last."""

    name = "kafka"

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        self._java, self._libraries = install.kafka()
        self._settings = settings or {}
        self.port, self._controller_port = free_port(), free_port()
        super().__init__()

    @property
    def url(self) -> str:
        return self.url_of("accrue")

    def url_of(self, topic: str) -> str:
        """The same server, another topic."""
        return f"kafka://127.0.0.1:{self.port}?topic={topic}"

    def prepare(self) -> None:
        broker, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._controller_port}"
        settings = {
            **SETTINGS,
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self.directory / "data"),
            **self._settings,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.directory / "server.properties").write_text(text, encoding="utf-8")
        done = subprocess.run(
            self._command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=FORMAT_S_MAX,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"formatting Kafka's storage failed: {done.stdout}{done.stderr}")

    def launch(self) -> list[Process]:
        return [Process(self._command("kafka.Kafka"), log=self.log, directory=self.directory)]

    def answers(self) -> bool:
        """It listens only when the controller has admitted it."""
        return accepts(self.port)

    def _command(self, *main: str) -> list[str]:
        return [self._java, *JAVA, "-cp", f"{self._libraries}/*", *main, str(self.directory / "server.properties")]
