"""Leases: who works on something keeps it by renewing; what a dead worker held is free after a lease.

A lease tells others to wait, no more: who was stopped for longer than it lasts finds out at the end, by the epoch or
owner that the claim wrote, and must then throw the result away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from events.errors import Unavailable

log = structlog.get_logger()
LEASE = timedelta(seconds=30)
RENEWAL = LEASE.total_seconds() / 3
"""Seconds between two renewals."""


@asynccontextmanager
async def renewed(renew: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `renew` every `RENEWAL` seconds while the block runs; a database that is away is tried again."""
    keeping = asyncio.create_task(_keep(renew))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _keep(renew: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(RENEWAL)
        try:
            await renew()
        except Unavailable as fault:
            log.info("lease-not-renewed", code=fault.code)
        except Exception:
            # A fault of ours must not end the renewing without a word; the fencing decides in the end.
            log.exception("lease-not-renewed")
