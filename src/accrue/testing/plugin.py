"""The pytest plugin: brings the fixture `accrue_faults` wherever Accrue is installed. Nothing else imports pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from accrue.testing.check import AccrueFaults


@pytest.fixture
def accrue_faults() -> AccrueFaults:
    """Runs a program and events of yours under seeded faults: `accrue_faults.check("program.toml", events=[...])`."""
    from accrue.testing.check import AccrueFaults  # only a test that asks for it pays for the engine

    return AccrueFaults()
