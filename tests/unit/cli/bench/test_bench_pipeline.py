"""`accrue bench pipeline`: on real servers, with tiny counts; a total that differs would have failed it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from accrue.cli.bench import app

SOME = ["--events", "2000", "--subjects", "100", "--rate", "200", "--at-once", "10"]
SHORT = ["--singles", "50", "--seconds", "0.4"]


@pytest.fixture(params=["rabbitmq_url", "kafka_url", "postgres_url"])
def log_url(request: pytest.FixtureRequest) -> str:
    """An empty log of each kind. A database holds log and book side by side."""
    url: str = request.getfixturevalue(request.param)
    return url


def test_what_a_pipeline_counts_is_what_a_plain_count_says(log_url: str, postgres_url: str, redis_url: str) -> None:
    engines = ["--log", log_url, "--book", postgres_url, "--boards", redis_url]

    result = CliRunner().invoke(app, ["pipeline", *engines, *SOME, *SHORT, "--json"], catch_exceptions=False)

    assert result.exit_code == 0, result.output
    found: dict[str, Any] = msgspec.json.decode(result.stdout)
    assert found["events"] == 2_000
    assert found["checked_total"] > 2_000
    for figure in ("events_per_s", "ack_p99_ms", "visible_p99_ms", "single_ack_p99_ms"):
        assert found[figure] > 0
