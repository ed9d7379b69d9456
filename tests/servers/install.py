"""Where the programs of the servers are; what is missing is installed where that is allowed.

Allowed is: as root, where there is apt-get. Elsewhere it is `Missing`, which says what to install. A server is looked
for once in a test run, and so is what it failed with.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

INSTALL = Path(__file__).with_name("install.sh")
INSTALL_S_MAX = 1_400  # more than the limits in it together, so that it ends by itself
KAFKA = Path(__file__).with_name("kafka.xml")
DOWNLOAD_S_MAX = 300
MAVEN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
POSTGRES_MIN = 15
REDIS_MIN = 7

Found = TypeVar("Found")
_missing: dict[str, str] = {}
_asked: list[str] = []


class Missing(Exception):
    """A server is not on this machine, and the tests may not install it. The text says what to do."""


def postgres() -> Path:
    """The folder with `postgres`, `initdb` and `psql`, of the newest PostgreSQL there is."""
    return _provided(f"PostgreSQL {POSTGRES_MIN} or newer", ["postgresql"], _postgres)


def redis() -> tuple[str, str]:
    """`redis-server` and `redis-cli`."""
    return _provided(f"Redis {REDIS_MIN} or newer", ["redis-server"], _redis)


def rabbitmq() -> tuple[str, str]:
    """`rabbitmq-server`, the one below Debian's wrapper that changes the user, and Erlang's `epmd`."""
    return _provided("RabbitMQ", ["rabbitmq-server"], _rabbitmq)


def kafka() -> tuple[str, Path]:
    """`java` and the folder with Kafka's libraries, which Maven brings once, to where caches are kept."""
    libraries = _kafka_libraries()
    java, maven = _provided("Java with Maven", ["default-jre-headless", "maven"], lambda: _all("java", "mvn"))
    if not libraries.is_dir():
        _download(maven, libraries)
    return java, libraries


def _provided(what: str, packages: Sequence[str], find: Callable[[], Found | None]) -> Found:
    if what in _missing:
        raise Missing(_missing[what])
    if sys.platform != "linux":
        raise Missing(f"the tests run {what} on Linux only")
    if (found := find()) is None:
        problem = _installed(packages)
        if (found := find()) is None:
            said = f"{what} is not on this machine{problem}. On Debian: apt-get install {' '.join(packages)}"
            _missing[what] = said
            raise Missing(said)
    return found


def _installed(packages: Sequence[str]) -> str:
    """Install Debian packages if that is allowed; returns why not, as the rest of a sentence."""
    if not shutil.which("apt-get"):
        return ""
    if os.geteuid() != 0:
        return ", and only root may install it"
    update = "-" if _asked else "update"
    _asked.extend(packages)
    print(f"installing {' '.join(packages)} for the tests (minutes, once) ...", file=sys.__stderr__)
    try:
        done = subprocess.run(
            ["sh", str(INSTALL), update, *packages],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_S_MAX,
            check=False,
            start_new_session=True,  # when the tests are interrupted it still comes to its end, and tidies up
        )
    except subprocess.TimeoutExpired:
        return f", and apt-get had not installed it within {INSTALL_S_MAX} s"
    return f", and apt-get failed: {done.stdout[-2000:]}" if done.returncode else ""


def _postgres() -> Path | None:
    """On the PATH, or where Debian and Ubuntu keep each version apart."""
    places = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    places += [Path(found).resolve()] if (found := shutil.which("postgres")) else []
    versions = {_major_version(place): place.parent for place in places if place.with_name("initdb").exists()}
    newest = max(versions, default=0)
    return versions[newest] if newest >= POSTGRES_MIN else None


def _redis() -> tuple[str, str] | None:
    found = _all("redis-server", "redis-cli")
    return found if found and _major_version(Path(found[0])) >= REDIS_MIN else None


def _major_version(program: Path) -> int:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)", said)
    return int(found[1]) if found else 0


def _kafka_libraries() -> Path:
    """Named after what is asked for, so that another version is another folder."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "accrue-tests" / f"kafka-{sha256(KAFKA.read_bytes()).hexdigest()[:16]}"


def _download(maven: str, libraries: Path) -> None:
    if "Kafka" in _missing:
        raise Missing(_missing["Kafka"])
    libraries.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=libraries.parent) as folder:
        pom, fresh = Path(folder, "pom.xml"), Path(folder, "libraries")
        shutil.copyfile(KAFKA, pom)
        command = [maven, "--batch-mode", "--quiet", "--file", str(pom), MAVEN_GOAL]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S_MAX, check=False)
            problem = done.stdout[-2000:] if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"not done within {DOWNLOAD_S_MAX} s"
        if problem or not fresh.is_dir():
            _missing["Kafka"] = f"Maven could not bring Kafka: {problem or 'it brought nothing'}"
            raise Missing(_missing["Kafka"])
        with contextlib.suppress(OSError):  # another test run was quicker; its folder is as good
            fresh.rename(libraries)


def _rabbitmq() -> tuple[str, str] | None:
    debian = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    server = str(debian) if debian.exists() else shutil.which("rabbitmq-server")
    epmd = shutil.which("epmd")
    return (server, epmd) if server and epmd else None


def _all(first: str, second: str) -> tuple[str, str] | None:
    paths = shutil.which(first), shutil.which(second)
    return (paths[0], paths[1]) if paths[0] and paths[1] else None
