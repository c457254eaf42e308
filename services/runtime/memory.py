"""Keeps the memory of this process to itself: it may hold unlocked keys, secrets and PINs."""

from __future__ import annotations

import ctypes
import resource
import sys

import structlog

log = structlog.get_logger()

_PR_SET_DUMPABLE = 4  # include/uapi/linux/prctl.h


def keep_private() -> None:
    """No core dump when it crashes; no other process of the same user may read or trace it (Linux alone).

    Root may still, and swap is not ours: docs/operating.md. Programs started from here decide for themselves.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A limit of 0 does not hold where the kernel pipes core dumps into a program (core(5)); this does.
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("memory-not-private")
