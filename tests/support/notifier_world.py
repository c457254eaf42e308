"""A notifier with its API, a receiver, and a way to say facts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from events.fact import Fact
from events.flow import topic_of
from lab.receiver import Receiver
from services.notifier.settings import NotifierSettings
from services.notifier.wiring import build
from services.runtime.access import ApiKey, Keyring, digest_of
from services.runtime.blobs import Blobs
from services.runtime.clock import Clock, SystemClock
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, running
from tests.support.waiting import until

KEY = "antin_test"
SCOPES = ("webhooks:write", "webhooks:read")


@dataclass
class World:
    """What a test of the notifier needs."""

    url: str
    platform: Platform
    session: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, document: Any = None, *, key: str | None = None, expect: int | None = None
    ) -> Any:
        """One call with the bearer key; the JSON answer, or (status, answer) when no status is expected."""
        headers = {"Authorization": f"Bearer {KEY}", **({"Idempotency-Key": key} if key else {})}
        async with self.session.request(method, self.url + path, json=document, headers=headers) as reply:
            found = await reply.json(content_type=None)
            if expect is None:
                return reply.status, found
            assert reply.status == expect, found
            return found

    async def subscribe(self, receiver: Receiver, **more: Any) -> str:
        """Subscribe the receiver, give it its secret, return the subscription's id."""
        found = await self.call("POST", "/v1/webhooks", {"url": receiver.url, **more}, expect=201)
        receiver.secret = found["secret"]
        return str(found["id"])

    async def say(self, *facts: Fact) -> list[str]:
        """Say facts as other services would; the ids of their events."""
        async with self.platform.database.write() as tx:
            return [str(event.id) for event in await self.platform.outbox.say(tx, "test", facts)]

    async def told(self, family: str) -> list[Fact]:
        """Every fact of a family so far."""
        return [one.event().fact for one in await self.platform.outbox.read([topic_of(family)], 0, 10_000)]

    async def until_told(self, count: int, family: str = "notification") -> list[Fact]:
        """The facts of a family once there are so many."""

        async def enough() -> bool:
            return len(await self.told(family)) >= count

        await until(enough, what=f"{count} facts of {family}")
        return await self.told(family)


@asynccontextmanager
async def notifier(
    folder: Path, *receivers: Receiver, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Run the notifier; the addresses of the receivers are allowed."""
    platform = Platform(
        Database(f"sqlite+aiosqlite:///{folder / 'antin.db'}"),
        Blobs.at(folder / "blobs"),
        Outbound(allowed=[receiver.address for receiver in receivers]),
        clock or SystemClock(),
    )
    chosen = NotifierSettings(**{"key_file": folder / "key", "poll": 0.05, "schedule": (0.05, 0.1, 0.2), **settings})
    keyring = Keyring([ApiKey(name="tester", sha256=digest_of(KEY), scopes=SCOPES)])
    async with (
        running(platform, [build(platform, chosen)], keyring=keyring) as url,
        aiohttp.ClientSession() as session,
    ):
        yield World(url, platform, session)
