"""Where the server listens, and when it stops by itself."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import httpx
import pytest

from accrue import Accrue
from accrue.book.sqlite import SqliteBook
from accrue.config import Config, ProcessConfig, ServerConfig
from accrue.errors import Fenced, Misconfigured
from accrue.server import listening, serve


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
async def test_only_loopback_is_listened_on_and_nothing_is_opened_before(tmp_path: Path, host: str) -> None:
    with pytest.raises(Misconfigured, match=r"keys.*later version"):
        await serve(Config(data_dir=tmp_path / "data", server=ServerConfig(host=host)))

    assert not (tmp_path / "data").exists()


async def test_a_taken_port_is_refused_with_what_to_do(accrue: Accrue) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServerConfig(port=taken.getsockname()[1])

        with pytest.raises(Misconfigured, match="another port"):
            async with listening(accrue, settings):
                pass


async def test_an_open_engine_is_served_while_the_block_runs(accrue: Accrue) -> None:
    async with listening(accrue, ServerConfig(port=0)) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/healthz")).status_code == 200

    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(base_url=url) as client:
            await client.get("/healthz")


async def test_a_server_whose_worker_dies_stops_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.toml").write_text("[metrics.points]")
    config = Config(
        data_dir=None,
        program=tmp_path / "program.toml",
        server=ServerConfig(port=0),
        process=ProcessConfig(settle_interval_s=0.05),
    )

    async def fenced(*_: object) -> None:
        raise Fenced("Another worker owns the partition now.")

    monkeypatch.setattr(SqliteBook, "settle", fenced)
    thresholds = gc.get_threshold()

    with pytest.raises(Fenced):
        await serve(config)

    assert gc.get_threshold() == thresholds
