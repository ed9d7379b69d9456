"""The URL of a Redis:

redis://[user:password@]host:port/0?name=accrue          one server
redis-cluster://[user:password@]host:port?name=accrue    a cluster, known by any of its nodes
rediss://... and rediss-cluster://...                    the same over TLS
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from accrue.errors import Misconfigured

NAME = "accrue"
PORT = 6379
SCHEMES = {
    "redis": (False, False),
    "rediss": (False, True),
    "redis-cluster": (True, False),
    "rediss-cluster": (True, True),
}
"""Whether it is a cluster, and whether it is encrypted."""


class Address(Struct, frozen=True, kw_only=True):
    """Where the boards are, and the name of the deployment, which every key begins with."""

    host: str
    port: int
    database: int
    user: str | None
    password: str | None
    name: str
    is_cluster: bool
    is_encrypted: bool

    def __str__(self) -> str:
        scheme = next(word for word, kind in SCHEMES.items() if kind == (self.is_cluster, self.is_encrypted))
        return f"{scheme}://{self.host}:{self.port}" + ("" if self.is_cluster else f"/{self.database}")

    __repr__ = __str__  # never the password


def address_of(url: str) -> Address:
    """Read a URL. Raises `Misconfigured`, without showing what it holds of a password."""
    try:
        parts = urlsplit(url)
        port, options = parts.port or PORT, dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise _misread("it cannot be read as a URL") from None
    if parts.scheme not in SCHEMES:
        raise _misread(f"it begins with {parts.scheme!r}, not with one of {', '.join(SCHEMES)}")
    is_cluster, is_encrypted = SCHEMES[parts.scheme]
    if not parts.hostname:
        raise _misread("it names no host")
    unknown = sorted(options.keys() - {"name"})
    if unknown:
        raise _misread(f"it has no option {unknown[0]!r}, only name")
    name = options.get("name", NAME)
    if not name or any(character in name for character in "{}% \t\n:/"):
        raise _misread("a name is without braces, colons, slashes, percent signs and blanks")
    path = parts.path.strip("/")
    if not (path == "" or (path.isascii() and path.isdigit())) or (is_cluster and path not in ("", "0")):
        raise _misread("after the host comes the number of a database" + (", 0 in a cluster" if is_cluster else ""))
    return Address(
        host=parts.hostname,
        port=port,
        database=int(path or 0),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        name=name,
        is_cluster=is_cluster,
        is_encrypted=is_encrypted,
    )


def _misread(why: str) -> Misconfigured:
    return Misconfigured(
        f"The URL of the boards is not right: {why}. Example: redis://:password@host:6379/0?name=accrue"
    )
