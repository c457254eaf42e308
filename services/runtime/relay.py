"""Moves the outbox to Kafka, in its order, one relay at a time.

A crash between sending and moving the cursor sends some events twice, with the same ids: the inbox of every consumer
drops them. The first appearances keep the order, because a successor begins at the cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import asyncpg
import sqlalchemy as sa
import structlog

from events.bus import Delivery
from events.errors import OWN_DATABASE, Unavailable
from services.runtime.database import Database, News
from services.runtime.outbox import CHANNEL, delivery_of, upsert
from services.runtime.tables import cursors, outbox

log = structlog.get_logger()

NAME = "relay"
_LEASE = 0x72656C6179
"""The advisory lock of PostgreSQL that the active relay holds: it ends with its connection."""


class Speaker(Protocol):
    """Where the events go."""

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        """Return when every one is durable there.

        Raises:
            Unavailable: some may be there and some not; the same are sent again.
        """
        ...


class Relay:
    """Sends what the outbox holds and the bus does not."""

    def __init__(
        self, database: Database, news: News, speaker: Speaker, *, batch: int = 500, poll: float = 1.0
    ) -> None:
        self._database = database
        self._news = news
        self._speaker = speaker
        self._batch = batch
        self._poll = poll
        self._lost = False

    async def run(self) -> None:
        """Until cancelled. A standby waits here for the lease.

        Raises:
            Unavailable: the database or the broker does not answer.
        """
        async with self._lease():
            log.info("relay-leads")
            after = await self._cursor()
            while True:
                known = self._news.ticket()
                rows = await self._read(after)
                if rows:
                    await self._speaker.send(rows)
                    after = rows[-1].offset
                    await self._advance(after)
                if len(rows) < self._batch:
                    await self._news.wait(self._poll, since=known)

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[None]:
        """Hold the lease. SQLite has one process, which is alone by the lock of its data folder."""
        if self._database.sqlite:
            yield
            return
        try:
            connection: Any = await asyncpg.connect(
                dsn=self._database.url.set(drivername="postgresql").render_as_string(hide_password=False), timeout=10
            )
        except (OSError, TimeoutError, asyncpg.PostgresError) as fault:
            raise _silent(fault) from fault
        try:
            connection.add_termination_listener(self._over)
            await connection.add_listener(CHANNEL, lambda *_: self._news.tell())
            self._lost = False
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LEASE):  # noqa: ASYNC110
                await asyncio.sleep(0.5)
            yield
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            raise _silent(fault) from fault
        finally:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=2)

    def _over(self, _: object) -> None:
        self._lost = True
        self._news.tell()

    async def _cursor(self) -> int:
        query = sa.select(cursors.c.offset).where(cursors.c.consumer == NAME, cursors.c.topic == "*")
        async with self._database.read() as conn:
            found = (await conn.execute(query)).first()
        return int(found.offset) if found is not None else 0

    async def _read(self, after: int) -> Sequence[Delivery]:
        if self._lost:
            raise _silent(ConnectionError("the lease's connection ended"))
        query = sa.select(outbox).where(outbox.c.offset > after).order_by(outbox.c.offset).limit(self._batch)
        async with self._database.read() as conn:
            return [delivery_of(row) for row in await conn.execute(query)]

    async def _advance(self, done: int) -> None:
        values = {"consumer": NAME, "topic": "*", "offset": done}
        async with self._database.write() as tx:
            await tx.execute(upsert(tx, cursors, values, ("consumer", "topic")))


async def depth(database: Database) -> int:
    """Messages of the outbox that have not been sent."""
    sent = sa.select(cursors.c.offset).where(cursors.c.consumer == NAME, cursors.c.topic == "*").scalar_subquery()
    query = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.offset > sa.func.coalesce(sent, 0))
    async with database.read() as conn:
        return int((await conn.execute(query)).scalar_one())


def _silent(fault: Exception) -> Unavailable:
    return Unavailable(
        OWN_DATABASE,
        found=f"the relay's lease cannot be held ({type(fault).__name__})",
        expected="a connection to the database",
        remedy="it is tried again; another relay may lead meanwhile",
    )
