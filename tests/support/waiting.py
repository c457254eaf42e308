"""Waits for something that will be true soon, and says what it waited for when it never was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], Awaitable[bool]], *, what: str, seconds: float = 30.0) -> None:
    """Return when `true()`; fail after `seconds`, which is a limit and not an expectation."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await true():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        await asyncio.sleep(0.02)
