"""The hostile tasks on a kernel without seccomp: importing this in a warm parent hides the filter from it."""

from __future__ import annotations

from services.verifier import confinement
from tests.support.hostile import TASKS, warm

confinement.filters = lambda: False

__all__ = ["TASKS", "warm"]
