"""Fixtures for the tests of whole services."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from signer_world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """The toy world around a signer, running."""
    outside = World()
    runner = await outside.start()
    yield outside
    await runner.cleanup()
