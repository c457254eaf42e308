"""A lease is renewed while the work runs, whatever one renewal meets."""

from __future__ import annotations

import asyncio

import pytest

from events.errors import Unavailable
from services.runtime import lease
from services.runtime.lease import renewed

AWAY = Unavailable("database", found="none", expected="one", remedy="wait")


@pytest.mark.parametrize("fault", [AWAY, RuntimeError("a fault of ours")])
async def test_a_renewal_that_fails_is_tried_again(monkeypatch, fault):
    monkeypatch.setattr(lease, "RENEWAL", 0.001)
    calls, enough = [], asyncio.Event()

    async def renew() -> None:
        calls.append(len(calls))
        if len(calls) < 3:
            raise fault
        enough.set()

    async with renewed(renew):
        await enough.wait()
    assert len(calls) >= 3


async def test_nothing_is_renewed_when_the_work_is_over(monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL", 0.001)
    calls = []

    async def renew() -> None:
        calls.append(1)

    async with renewed(renew):
        pass
    await asyncio.sleep(0.02)
    assert calls == []
