"""A private Redis Cluster: three masters that share the 16,384 slots."""

from __future__ import annotations

from collections.abc import Mapping

from redis.crc import key_slot

from servers.ports import free_port
from servers.process import Process
from servers.redis import RedisServer
from servers.server import Server

NODES = 3
SLOTS = 16_384
WHOLE = {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_known_nodes:{NODES}", f"cluster_size:{NODES}"}


class RedisCluster(Server):
    """Three nodes, each a `RedisServer` that a test may kill or pause by itself: `nodes[1].kill()`.

    There are no replicas, and the setting `cluster-require-full-coverage` is Redis's own, `yes`: while one node is
    away the others refuse too, two seconds later. `start` brings back the nodes that are away.
    """

    name = "redis-cluster"

    def __init__(self, *, aof: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.nodes: list[RedisServer] = []
        for _ in range(NODES):
            cluster = {"cluster-enabled": "yes", "cluster-port": str(free_port()), "cluster-node-timeout": "2000"}
            self.nodes.append(RedisServer(aof=aof, settings={**cluster, **(settings or {})}))
        super().__init__()
        self._met = False

    @property
    def url(self) -> str:
        return f"redis-cluster://127.0.0.1:{self.nodes[0].port}"

    @property
    def running(self) -> bool:
        return all(node.running for node in self.nodes)

    def prepare(self) -> None:
        """Nothing: each node has a directory of its own."""

    def launch(self) -> list[Process]:
        for node in self.nodes:
            if not node.running:
                node.start()
        if not self._met:
            self._meet()
            self._met = True
        return []  # they stay with their nodes

    def answers(self) -> bool:
        """Every node knows the others and all slots are served."""
        return all(set(node.ask("CLUSTER", "INFO").split()) >= WHOLE for node in self.nodes)

    def node_of(self, key: str) -> RedisServer:
        """The node that has a key. Slots are shared out for good when the cluster is made."""
        slot = key_slot(key.encode())
        return next(node for number, node in enumerate(self.nodes) if slot < SLOTS * (number + 1) // NODES)

    def set(self, name: str, value: str) -> None:
        """A setting of every node that runs, until it is started again."""
        for node in self.nodes:
            if node.running:
                node.ask("CONFIG", "SET", name, value)

    def wipe(self) -> None:
        """All of it is gone, as after FLUSHALL on each node."""
        for node in self.nodes:
            node.wipe()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        super().close()

    def log_end(self) -> str:
        return "\n".join(f"{node.url}:\n{node.log_end()}" for node in self.nodes)

    def _meet(self) -> None:
        """Share out the slots, then introduce the first node to the others, which tell each other of the rest."""
        for number, node in enumerate(self.nodes):
            first, end = SLOTS * number // NODES, SLOTS * (number + 1) // NODES
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), node.setting("cluster-port"))
