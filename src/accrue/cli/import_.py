"""`accrue import`: a file of events into a data directory, with a progress bar and a closing count."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Annotated, BinaryIO, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from accrue.cli.options import (
    DEFAULT_TENANT,
    EPOCH,
    AsJson,
    ConfigFile,
    DataDir,
    Tenant,
    closing_nothing,
    opened_config,
    settings,
)
from accrue.cli.terminal import cell, err, out, printable, show_json
from accrue.clock import Clock, SystemClock
from accrue.config import Config
from accrue.engine import Accrue
from accrue.errors import Misconfigured
from accrue.ingest.formats.csv import parse_mapping
from accrue.ingest.importing import BATCH_EVENTS_MAX, Format, Importer, OnProgress, Source, Summary

SOMETHING_WRONG = 1
STANDARD_INPUT = "-"
BY_SUFFIX: dict[str, Format] = {".csv": "csv", ".log": "combined"}
