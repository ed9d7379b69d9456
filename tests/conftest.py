"""What every kind of test may use."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["servers.fixtures"]

TEST_DATA = "ACCRUE_TEST_DATA"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: where `ACCRUE_TEST_DATA` says, else beside the repository.

    The data is not part of the project, so a test without it skips; on CI (`CI=true`) it fails.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(TEST_DATA) or beside)
    if not folder.is_dir():
        reason = f"the real data is not at {folder}; {TEST_DATA} can name another folder"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
