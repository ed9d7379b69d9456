"""The faults, one each. What has to hold meanwhile is the table of docs/concepts/guarantees.md.

Each returns when the fault is over and everything runs again; what is measured from then on is the recovery. Where
nothing ends a fault, as when a worker is dead, it is measured from the fault itself.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from faults import workload
from faults.deployment import Node
from faults.engines import Engines
from faults.matrix import Case, Scene, Span
from servers.redis import RedisServer
from servers.server import Server

SHORT_S = 1.5
"""Less than anything here waits for."""
LONG_S = 6.5
"""More than a lease, and than anybody waits for the log, the boards or a heartbeat."""
OUTAGE_S = 40.0
"""More than anything here is tried again before it gives up."""
PARTITION, TENANT = 0, "arts"
STRICT = "cluster-require-full-coverage"
AHEAD_S = 600
LOST = "another worker's now", "lost a partition while working on it"


def _postgres_away(scene: Scene, span: Span) -> None:
    """Accepting goes on, and the boards stay live."""
    scene.expect_accepting(span)
    scene.expect_reads(span, "board", stale=False)


def _redis_away(scene: Scene, span: Span) -> None:
    """Accepting and counting go on; boards come from the book and say so, profiles from the worker."""
    scene.expect_accepting(span)
    scene.expect_reads(span, "board", stale=True)
    scene.expect_reads(span, "profile", stale=False)


def _log_away(scene: Scene, span: Span) -> None:
    """What comes is spooled, and everything can be read."""
    scene.expect_accepting(span)
    scene.expect_reads(span, "board", stale=False)
    scene.expect_reads(span, "profile", stale=False)
    scene.expect_spooling()


def _away(name: str, scene: Scene, span: Span) -> None:
    """What has to hold while a server is away. PostgreSQL may have the log, too."""
    servers = scene.deployment.servers
    match name:
        case "PostgreSQL":
            _postgres_away(scene, span)
            if servers.log is None:
                scene.expect_spooling()
        case servers.engines.boards:
            _redis_away(scene, span)
        case _:
            _log_away(scene, span)


def _hold(scene: Scene) -> Span:
    """With the log away. Kafka's client waits for 5 s before it says so; until then requests wait, too."""
    return scene.hold(LONG_S if scene.deployment.servers.engines.log == "Kafka" else None)


def _killed(name: str, scene: Scene) -> None:
    server = _server(scene, name)
    scene.expect_nobody_to_take_over()
    server.kill()
    _away(name, scene, _hold(scene) if server is scene.deployment.servers.log else scene.hold())
    server.start()
    scene.recovery_begins()


def _restarted(name: str, scene: Scene) -> None:
    scene.expect_nobody_to_take_over()
    _server(scene, name).restart()
    scene.recovery_begins()


def _paused_shortly(name: str, scene: Scene) -> None:
    server = _server(scene, name)
    scene.expect_nobody_to_take_over()
    server.pause()
    scene.hold(SHORT_S)
    server.resume()
    scene.recovery_begins()


def _paused_long(name: str, scene: Scene) -> None:
    server = _server(scene, name)
    scene.expect_nobody_to_take_over()
    server.pause()
    _away(name, scene, scene.hold(LONG_S))
    server.resume()
    scene.recovery_begins()


def _away_for_long(name: str, scene: Scene) -> None:
    server = _server(scene, name)
    scene.expect_nobody_to_take_over()
    server.stop()
    _away(name, scene, scene.hold(OUTAGE_S))
    server.start()
    scene.recovery_begins()


def redis_wiped(scene: Scene) -> None:
    with scene.watcher.looking_away():
        scene.deployment.servers.boards.wipe()
        scene.recovery_begins()


def redis_rolled_back(scene: Scene) -> None:
    redis = _redis_of(scene, TENANT)
    redis.save()
    scene.wait_for_acks(scene.size.acks)
    with scene.watcher.looking_away():
        redis.roll_back()
        scene.recovery_begins()


def worker_killed(scene: Scene) -> None:
    """Another one takes its partitions. Until then boards are live, and profiles come from the book."""
    worker = scene.deployment.owner(PARTITION)
    before = scene.epochs()
    worker.kill()
    scene.recovery_begins()
    span = scene.hold()
    scene.expect_accepting(span)
    scene.expect_reads(span, "board", stale=False)
    scene.expect_reads(span, "profile")
    scene.wait_for_take_over(worker, before)
    scene.recovered()
    worker.start()
    worker.wait()


def _worker_killed_meanwhile(name: str, scene: Scene) -> None:
    """While a server is away: whoever takes the partitions over can only begin once it is back."""
    server, worker = _server(scene, name), scene.deployment.owner(PARTITION)
    server.kill()
    worker.kill()
    scene.expect_accepting(scene.hold(LONG_S))
    server.start()
    scene.recovery_begins()
    scene.recovered()
    worker.start()
    worker.wait()


def worker_stopped(scene: Scene) -> None:
    """It settles and gives its partitions up, so nobody waits for a lease; it gets its share back when it is there
    again, while events go on."""
    worker = scene.deployment.owner(PARTITION)
    before = scene.epochs()
    scene.recovery_begins()
    worker.stop()
    scene.wait_for_take_over(worker, before)
    scene.recovered()
    worker.start()
    worker.wait()
    scene.wait_for_shares()


def worker_paused(scene: Scene) -> None:
    """It wakes up when the partition is somebody else's: it may neither settle nor publish."""
    worker = scene.deployment.owner(PARTITION)
    before = scene.epochs()
    worker.pause()
    scene.recovery_begins()
    scene.wait_for_take_over(worker, before)
    scene.recovered()
    _wakes_and_is_refused(scene, worker)


def workers_fighting(scene: Scene) -> None:
    """Three candidates at once; whoever gets the partition is paused, and woken when another has it."""
    deployment = scene.deployment
    third = deployment.add_worker()
    for _ in range(scene.size.turns):
        worker = deployment.owner(PARTITION)
        before = scene.epochs()
        worker.pause()
        scene.recovery_begins()
        scene.wait_for_take_over(worker, before)
        _wakes_and_is_refused(scene, worker)
    for worker in deployment.workers:
        worker.kill()
    for worker in deployment.workers:
        worker.start()
    for worker in deployment.workers:
        worker.wait()
    scene.recovery_begins()
    scene.recovered()
    third.stop()
    deployment.workers.remove(third)


def gateway_killed(scene: Scene) -> None:
    """Requests under way break off; their clients send them again, to another gateway."""
    gateway = scene.deployment.gateways[0]
    gateway.kill()
    scene.recovery_begins()
    scene.expect_accepting(scene.hold())
    scene.recovered()
    gateway.start()
    gateway.wait()


def gateway_paused(scene: Scene) -> None:
    gateway = scene.deployment.gateways[0]
    gateway.pause()
    scene.expect_accepting(scene.hold(LONG_S))
    gateway.resume()
    scene.recovery_begins()


def gateway_killed_with_a_full_spool(scene: Scene) -> None:
    """What it had spooled is forwarded by the next that starts on its directory."""
    gateway, log = scene.deployment.gateways[0], scene.deployment.servers.log_server
    log.kill()
    scene.wait(lambda: gateway.figure("accrue_spool_records") > 0, "something spooled")
    scene.wait_for_acks(scene.size.acks)
    gateway.kill()
    log.start()
    gateway.start()
    gateway.wait()
    scene.recovery_begins()


def clocks_apart(scene: Scene) -> None:
    """The log has the times of both gateways, in any order; counting does not care."""
    gateway = scene.deployment.gateways[1]
    gateway.shifts = True
    gateway.clock.move(AHEAD_S)
    _gateway_anew(scene, gateway)
    gateway.shifts = scene.deployment.closes
    gateway.clock.move(-AHEAD_S)
    _gateway_anew(scene, gateway)
    scene.recovery_begins()


def _gateway_anew(scene: Scene, gateway: Node) -> None:
    gateway.stop()
    gateway.start()
    gateway.wait()
    scene.wait_for_acks(scene.size.acks)


def everything_killed(scene: Scene) -> None:
    """As when the power fails everywhere, but for the page cache."""
    deployment = scene.deployment
    for node in deployment.nodes:
        node.kill()
    for server in deployment.servers.all.values():
        server.kill()
    scene.hold(SHORT_S)
    with ThreadPoolExecutor() as together:
        list(together.map(lambda server: server.start(), deployment.servers.all.values()))
    deployment.start()
    scene.recovery_begins()


def servers_killed_at_once(scene: Scene) -> None:
    """All of them, and started one after the other."""
    servers = scene.deployment.servers.all.values()
    for server in servers:
        server.kill()
    scene.expect_accepting(_hold(scene))
    for server in servers:
        server.start()
    scene.recovery_begins()


def node_killed(scene: Scene) -> None:
    """The boards of some tenants are away, those of the others stay live."""
    node, there, elsewhere = _node(scene)
    scene.expect_nobody_to_take_over()
    node.kill()
    _node_away(scene, scene.hold(LONG_S), there, elsewhere)
    node.start()
    scene.recovery_begins()


def node_paused(scene: Scene) -> None:
    node, there, elsewhere = _node(scene)
    scene.expect_nobody_to_take_over()
    node.pause()
    _node_away(scene, scene.hold(LONG_S), there, elsewhere)
    node.resume()
    scene.recovery_begins()


def idle_node_killed(scene: Scene) -> None:
    """No tenant's boards are there, so nobody sees anything of it."""
    servers, name = scene.deployment.servers, scene.deployment.name
    used = [servers.boards_of(name, tenant) for tenant in workload.TENANTS]
    node = next(node for node in servers.cluster.nodes if node not in used)
    scene.expect_nobody_to_take_over()
    node.kill()
    _node_away(scene, scene.hold(LONG_S), [], list(workload.TENANTS))
    node.start()
    scene.recovery_begins()


def workers_replaced_while_a_node_is_away(scene: Scene) -> None:
    """Whoever takes over publishes what it can, also a process that has never seen the cluster whole."""
    node, there, elsewhere = _node(scene)
    node.kill()
    for _ in scene.deployment.workers:
        worker, before = scene.deployment.owner(PARTITION), scene.epochs()
        worker.kill()
        scene.recovery_begins()
        scene.wait_for_take_over(worker, before)
        worker.start()
        worker.wait()
    _node_away(scene, scene.hold(LONG_S), there, elsewhere)
    node.start()
    scene.recovery_begins()


def node_killed_of_a_strict_cluster(scene: Scene) -> None:
    """With Redis's own setting the nodes that are left refuse, too, once they have noticed."""
    node, _, _ = _node(scene)
    cluster = scene.deployment.servers.cluster
    scene.expect_nobody_to_take_over()
    cluster.set(STRICT, "yes")
    node.kill()
    _redis_away(scene, scene.hold(LONG_S))
    node.start()
    scene.recovery_begins()
    cluster.set(STRICT, "no")


def _node(scene: Scene) -> tuple[RedisServer, list[str], list[str]]:
    """A node of the cluster, the tenants whose boards it has, and the others."""
    servers, name = scene.deployment.servers, scene.deployment.name
    node = servers.boards_of(name, TENANT)
    there = [tenant for tenant in workload.TENANTS if servers.boards_of(name, tenant) is node]
    return node, there, [tenant for tenant in workload.TENANTS if tenant not in there]


def _node_away(scene: Scene, span: Span, there: list[str], elsewhere: list[str]) -> None:
    scene.expect_accepting(span)
    scene.expect_reads(span, "profile", stale=False)
    scene.expect_reads(span, "board", stale=False, tenants=elsewhere)
    if there:
        scene.expect_reads(span, "board", stale=True, tenants=there)


def _redis_of(scene: Scene, tenant: str) -> RedisServer:
    return scene.deployment.servers.boards_of(scene.deployment.name, tenant)


def _server(scene: Scene, name: str) -> Server:
    return scene.deployment.servers.all[name]


def _wakes_and_is_refused(scene: Scene, worker: Node) -> None:
    epochs, said, given_up = scene.epochs(), len(worker.said()), _given_up(scene)
    worker.resume()
    scene.wait(
        lambda: any(word in worker.said()[said:] for word in LOST), f"{worker.name} sees that it is not its turn"
    )
    if scene.epochs() != epochs and _given_up(scene) == given_up:
        scene.ledger.wrong.append(f"{worker.name} woke up, and the epochs went from {epochs} to {scene.epochs()}")


def _given_up(scene: Scene) -> int:
    """How many partitions were given up for a worker with fewer: as for one that has just woken."""
    return sum(worker.said().count("giving a partition up") for worker in scene.deployment.workers)


SERVER_FAULTS = {
    "killed": _killed,
    "restarted": _restarted,
    "paused shortly": _paused_shortly,
    "paused past every time-out": _paused_long,
}


CLUSTER_FAULTS: dict[str, Case] = {
    "a node of Redis Cluster killed": node_killed,
    "a node of Redis Cluster paused past every time-out": node_paused,
    "a node of Redis Cluster without any boards killed": idle_node_killed,
    "a node killed of a Redis Cluster that wants them all": node_killed_of_a_strict_cluster,
    "a node of Redis Cluster away, and both workers replaced": workers_replaced_while_a_node_is_away,
}


def cases(engines: Engines) -> dict[str, Case]:
    """All of them, by name, for a deployment on such servers."""
    redis = engines.boards if engines.boards == "Redis" else f"a node of {engines.boards}"
    return {
        **{f"{name} {word}": partial(act, name) for name in engines.names for word, act in SERVER_FAULTS.items()},
        **(CLUSTER_FAULTS if engines.boards == "Redis Cluster" else {}),
        f"{engines.boards} wiped": redis_wiped,
        f"{redis} rolled back to an older snapshot": redis_rolled_back,
        "a worker killed": worker_killed,
        "a worker stopped in order": worker_stopped,
        "a worker paused past its lease, and woken": worker_paused,
        "three workers fighting for a partition": workers_fighting,
        "a gateway killed": gateway_killed,
        "a gateway paused": gateway_paused,
        "a gateway killed with events in its spool": gateway_killed_with_a_full_spool,
        "clocks of two gateways ten minutes apart": clocks_apart,
        "all servers killed": servers_killed_at_once,
        "all servers and all processes killed": everything_killed,
    }


def long_cases(engines: Engines) -> dict[str, Case]:
    """Those that take too long for every run of the tests."""
    return {
        **{f"{name} away for {OUTAGE_S:.0f} s": partial(_away_for_long, name) for name in engines.names},
        **{f"a worker killed while {name} is away": partial(_worker_killed_meanwhile, name) for name in engines.names},
    }
