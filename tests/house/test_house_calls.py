"""House rules about what the package may call, and where. Each exception is listed with its reason."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

from house.tree import Module, modules, report, uses

WALL_CLOCK = {
    *(f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter", "process_time") for unit in ("", "_ns")),
    *(f"time.{name}" for name in ("gmtime", "localtime", "ctime")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "datetime.date.today",
}
CLOCK_ALLOWED = {
    "clock.py": "the one place",
}

RANDOM = ("random.", "secrets.", "uuid.", "os.urandom", "numpy.random.")
RANDOM_ALLOWED = {
    "ids.py": "the one place",
    "testing/faults.py": "seeded: the same seed gives the same faults",
}

TASKS_ALLOWED = {
    "wiring.py": "starts and stops what runs as long as the deployment",
    "node.py": "starts and stops what runs as long as one process of several",
    "site.py": "starts and stops what runs as long as a partition is worked on here",
    "process/owner.py": "begins and ends to work on partitions, as they come and go",
    "ingest/intake.py": "runs the group commits of all partitions as one",
    "log/postgres.py": "tells readers elsewhere of a record after its append, which does not wait for that",
    "cli/bench/pipeline.py": "sends at a steady rate, answers or not",
    "server.py": "serves until it is told to stop or the worker ends, and stops serving first",
    "process/worker.py": "the fold, the ticks and the settlements are one task group",
    "process/replay/refold.py": "a worker that runs while a block does, and has to be watched for its end",
    "testing/deployment.py": "starts processes to kill them, and knows every task of each",
}

SETS_ALLOWED = {
    "process/state.py": "evicting: what is known of one period does not depend on which period comes first",
}

ORDER_UNSEEN = {"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"}
"""What gives the same for the same members in any order."""

PURE = ("core/", "process/")
"""State is a function of the log: the same bytes on every run and every machine."""


def test_only_the_clock_asks_what_time_it_is() -> None:
    report(
        "Take the time as a value (`now_us`), or a `Clock` to wait with; only clock.py asks the machine:",
        _outside(CLOCK_ALLOWED, _asks_the_time),
    )


def test_only_ids_makes_random_values() -> None:
    report(
        "Take ids as values; only ids.py makes random ones. What must differ can be derived from a position:",
        _outside(RANDOM_ALLOWED, _is_random),
    )


def test_tasks_are_started_only_where_they_are_stopped() -> None:
    report(
        "Who starts a task stops it. Offer a coroutine and let wiring.py run it, or list the file with its reason:",
        _outside(TASKS_ALLOWED, _starts_a_task),
    )


def test_every_exception_is_still_needed() -> None:
    lists = ((CLOCK_ALLOWED, _asks_the_time), (RANDOM_ALLOWED, _is_random), (TASKS_ALLOWED, _starts_a_task))
    unused = [
        f"{name}: {reason}"
        for allowed, banned in lists
        for name, reason in allowed.items()
        if not any(banned(found) for module in modules() if module.name == name for _, found in uses(module))
    ]
    report("Exceptions in this file that nothing needs any more; remove them:", unused)


def test_nothing_prints() -> None:
    report(
        "Return it, raise it or log it; only the command line shows something, through its console:",
        _outside({}, lambda name: name == "print"),
    )


def test_nothing_that_decides_a_number_depends_on_the_hash_seed() -> None:
    """`hash()` of text differs from run to run, and so does the order of a set."""
    findings = []
    for module in _pure():
        findings += [f"{module.place(node)} hash()" for node, name in uses(module) if name == "hash"]
        if module.name not in SETS_ALLOWED:
            findings += [f"{module.place(node)} goes through a set" for node in _through_sets(module)]
    report("Use xxhash instead of hash(), and sorted(...) or a dict instead of going through a set:", findings)


def test_nothing_that_decides_a_number_uses_the_ambient_decimal_context() -> None:
    ambient = {f"decimal.{name}" for name in ("getcontext", "setcontext", "localcontext", "DefaultContext")}
    findings = [f"{module.place(node)} {name}" for module in _pure() for node, name in uses(module) if name in ambient]
    report("Somebody else may have changed it; pass core/arithmetic.py's CONTEXT:", findings)


def test_time_zones_come_from_the_pinned_package_only() -> None:
    findings = []
    for module in modules():
        for node, name in uses(module):
            if name.startswith("zoneinfo.") and module.name != "core/zone.py":
                findings.append(f"{module.place(node)} {name}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ZoneInfo":
                findings.append(f"{module.place(node)} ZoneInfo(...) reads the system's files; use from_file")
    report("A zone is asked for through core/zone.py, which reads the pinned tzdata package:", findings)


def _asks_the_time(name: str) -> bool:
    return name in WALL_CLOCK


def _is_random(name: str) -> bool:
    return f"{name}.".startswith(RANDOM)


def _starts_a_task(name: str) -> bool:
    return name.rpartition(".")[2] in {"create_task", "ensure_future"}


def _outside(allowed: Mapping[str, str], banned: Callable[[str], bool]) -> list[str]:
    return [
        f"{module.place(node)} {name}"
        for module in modules()
        if module.name not in allowed
        for node, name in uses(module)
        if banned(name)
    ]


def _pure() -> Iterator[Module]:
    return (module for module in modules() if module.name.startswith(PURE))


def _through_sets(module: Module) -> Iterator[ast.expr]:
    """The places where a loop goes over something that is plainly a set, and the order could be seen."""
    unseen: set[ast.AST] = set()
    for node in ast.walk(module.tree):  # outer nodes come before what is in them
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ORDER_UNSEEN:
            unseen |= {part for argument in node.args for part in getattr(argument, "generators", [])}
        elif isinstance(node, ast.SetComp):
            unseen |= set(node.generators)
        if isinstance(node, ast.For | ast.comprehension) and node not in unseen and _is_set(node.iter):
            yield node.iter


def _is_set(node: ast.expr) -> bool:
    made = isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"set", "frozenset"}
    return made or isinstance(node, ast.Set | ast.SetComp)
