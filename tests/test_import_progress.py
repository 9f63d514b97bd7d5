"""How far an import is, in words that are right and fit on a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_relay import cli
from trio_relay.transfer import ImportSummary

ImportPace, ImportProgress = cli.import_progress.ImportPace, cli.import_progress.ImportProgress
GIGABYTE = 10**9
