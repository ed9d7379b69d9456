"""The files of deploy/, as far as they can be checked without running containers: deploy/README.md says the rest."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import typer
import yaml
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from accrue import Accrue
from accrue.cli.main import app
from accrue.config import Config, load
from accrue.core.reader import read
from accrue.node import Node
from accrue.process.observer import Observer
from accrue.server import create_node_app, observer_of
from accrue.web.forward import Forwarder

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "accrue:local"}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
GROUPS = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/accrue.json").read_text())

OF_OTHERS = {
    "redis_memory_max_bytes",
    "redis_memory_used_bytes",
    "redis_up",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_memory_used_watermark",
}
"""Looked up in what redis_exporter 1.45 and RabbitMQ 3.10 say; deploy/README.md says how to do it again."""

OF_KAFKA = {"accrue_log_retention_bytes"}
"""Said where the log has such a bound, which RabbitMQ's has not."""

METRIC = re.compile(r"\b(?:accrue|process|redis|rabbitmq)_[a-z0-9_]+")
LABELS = re.compile(r"\bby \(([^)]*)\)|\{([^}]*)\}")
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ()))


def labels_in(query: str) -> set[str]:
    """The labels that a query selects or groups by."""
    found = set()
    for grouped, selected in LABELS.findall(query):
        found |= {name.strip() for name in grouped.split(",") if name.strip()}
        found |= set(re.findall(r"(\w+)\s*[=!]", selected))
    return found


# --- compose.yaml -------------------------------------------------------------------------------------------


def test_the_settings_are_settings(tmp_path: Path) -> None:
    found = load(
        DEPLOY / "accrue.toml", environment={"ACCRUE_BOOK": "postgresql://h/db", "ACCRUE_ADDRESS": "http://h:1"}
    )
    assert (found.book.url, found.node.address, found.data_dir) == ("postgresql://h/db", "http://h:1", Path("/data"))
    assert found.node.partitions_max == 0, "workers share the partitions evenly, and one that is left takes all"
    assert 2 * found.node.lease_s < 10, "a hand-over takes a lease and a start, and 10 s are promised"


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one(name: str) -> None:
    words = OURS[name]["command"]
    group = typer.main.get_command(app)
    command = group.commands[words[0]]  # type: ignore[attr-defined]  # a Typer app of several commands is a group
    assert command.make_context(words[0], words[1:]).params["config"] == Path("/etc/accrue/accrue.toml")


def test_each_worker_and_gateway_says_where_it_is_reached() -> None:
    for name, service in OURS.items():
        if name != "migrate":
            assert service["environment"]["ACCRUE_ADDRESS"] == f"http://{name}:8080"


def test_only_gateways_are_published_and_only_to_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gateway-1", "gateway-2"}
    more = yaml.safe_load((DEPLOY / "dashboards.yaml").read_text())["services"]
    ports = [port for service in (*SERVICES.values(), *more.values()) for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_every_part_is_bounded_started_again_and_looked_after() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"], name
        assert service["restart"] in ("unless-stopped", "on-failure:3"), name
        assert "healthcheck" in service or name in OURS or name == "redis-exporter", name
        assert ":latest" not in service["image"], name
        assert ":" in service["image"], name


def test_what_is_mounted_is_there_and_what_is_kept_has_a_volume() -> None:
    named = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source, target, *mode = mount.split(":")
            if source.startswith("."):
                assert (DEPLOY / source).exists(), mount
                assert mode == ["ro"], mount
            else:
                named.add(source)
            if target == "/etc/accrue/program.toml":
                read((DEPLOY / source).read_text(), file=source)
    assert named == set(COMPOSE["volumes"])
    spools = [mount for service in OURS.values() for mount in service["volumes"] if mount.endswith(":/data")]
    assert len(spools) == len(set(spools)) == len(OURS) - 1, "a spool each"


def test_every_password_is_asked_for_and_none_is_written_down() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked == {line.split("=")[0] for line in (DEPLOY / ".env.example").read_text().splitlines() if "=" in line}
    assert not re.search(r"\$\{\w+(?!\w*:\?)[^?]*\}", text), "each is required"


# --- Dockerfile ---------------------------------------------------------------------------------------------


def test_what_the_image_copies_is_there_and_let_through() -> None:
    kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert kept[0] == "*"
    copied = [
        source
        for words in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for source in words.split()
    ]
    assert len(copied) >= 5
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, line[1:]) for line in kept if line.startswith("!")), f"{source} is ignored"


def test_the_image_has_nothing_to_build_with_and_is_nobodys() -> None:
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert not re.search(r"\b(?:pip|apt|apt-get|gcc|make)\b", last)
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["10001:10001"]
    assert "/healthz" in last
    assert "--require-hashes" in DOCKERFILE
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    version = re.search(r"python:3\.(\d+)-", DOCKERFILE)
    assert version is not None
    assert int(version[1]) >= int(python.removeprefix(">=3."))


# --- what is watched ----------------------------------------------------------------------------------------


@pytest.fixture
async def figures(tmp_path: Path, postgres_url: str, redis_url: str, rabbitmq_url: str) -> dict[str, set[str]]:
    """Name -> labels of everything that a worker and a gateway on real servers say, after some traffic."""
    (tmp_path / "program.toml").write_text(
        '[metrics.points]\n[[rules]]\non = "paid"\ngive = [{ to = "actor", metric = "points", amount = "1 / value" }]\n'
        '[boards.best]\nmetric = "points"\n'
    )
    settings = f'[log]\nurl = "{rabbitmq_url}"\n[book]\nurl = "{postgres_url}"\n[boards]\nurl = "{redis_url}"\n'
    (tmp_path / "accrue.toml").write_text(f'program = "program.toml"\n{settings}')
    config = load(tmp_path / "accrue.toml", environment={})
    found: dict[str, set[str]] = {"up": set()}
    async with AsyncExitStack() as stack:
        worker, gateway = [await stack.enter_async_context(process(config, tmp_path / role)) for role in ROLES]
        events = [{"id": str(n), "type": "paid", "actor": "ann", "value": n} for n in range(3)]
        answer = await gateway.client.post("/v1/events?wait=applied", json=events)
        assert answer.status_code == 202
        for one in (worker, gateway):
            await one.observer.look()
            for family in text_string_to_metric_families((await one.client.get("/metrics")).text):
                for sample in family.samples:
                    found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def test_everything_that_is_watched_is_said(figures: dict[str, set[str]]) -> None:
    asked = {name for query in queries() for name in METRIC.findall(query)}
    assert len(asked) > 25
    assert {name for name in asked if name not in figures} == OF_OTHERS | OF_KAFKA
    for query in queries():
        of = {label for name in METRIC.findall(query) for label in figures.get(name, ())}
        assert labels_in(query) <= of | SCRAPED, query


def test_every_alert_says_what_to_do() -> None:
    page = (ROOT / "docs/how-to/run-in-production.md").read_text()
    told = set(re.findall(r"^\*\*`(\w+)`", page, re.MULTILINE))
    assert {rule["alert"] for rule in RULES} == told
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "look"}
    assert all(rule["annotations"]["summary"] for rule in RULES)


def test_the_rules_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    for check in (["check", "config", "prometheus.yml"], ["test", "rules", "rules.test.yml"]):
        done = subprocess.run(
            [promtool, *check], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_is_scraped_is_a_service_at_its_port() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in scraped for part in job["static_configs"] for target in part["targets"]}
    hosts = {target.split(":")[0] for target in targets}
    assert hosts == {*(name for name in OURS if name != "migrate"), "redis-exporter", "rabbitmq"}
    port = load(DEPLOY / "accrue.toml", environment={}).server.port
    assert all(target.endswith(f":{port}") for target in targets if target.split(":")[0] in OURS)
    plugins = (DEPLOY / "rabbitmq/enabled_plugins").read_text()
    assert "rabbitmq_prometheus" in plugins
    assert "rabbitmq_stream" in plugins
    conf = (DEPLOY / "rabbitmq/rabbitmq.conf").read_text()
    assert f"stream.advertised_host = {SERVICES['rabbitmq']['hostname']}\n" in conf


def test_the_dashboard_is_whole() -> None:
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == source["uid"]
            assert panel["targets"]


class Process(NamedTuple):
    """One process of the deployment, inside this one: what it says over HTTP, and what looks around for it."""

    client: httpx.AsyncClient
    observer: Observer


ROLES = ("worker", "gateway")


@asynccontextmanager
async def process(config: Config, folder: Path) -> AsyncIterator[Process]:
    works = folder.name == "worker"
    config = replace(config, data_dir=folder)
    async with Accrue.open(config, works=works) as accrue, Forwarder("http://nowhere.invalid") as forwarder:
        assert isinstance(accrue.parts, Node)
        observer = observer_of(accrue.parts)
        face: Any = create_node_app(accrue, accrue.parts, forwarder, observer)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(face), base_url="http://accrue") as client:
            yield Process(client, observer)
