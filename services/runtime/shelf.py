"""Events that wait for their turn on Kafka: who waits is in the database, the events themselves in the retry topics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import sqlalchemy as sa

from events.bus import Delivery
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.outbox import Outbox, delivery_of, upsert
from services.runtime.tables import outbox, waiting


class SqlShelf:
    """`events.kafka.Shelf` in the tables of the process."""

    def __init__(self, database: Database, outbox_: Outbox, clock: Clock) -> None:
        self._database = database
        self._outbox = outbox_
        self._clock = clock

    async def head(self, group: str, key: str) -> str | None:
        """The oldest waiting event of a key, or none."""
        query = (
            sa.select(waiting.c.event)
            .where(waiting.c.consumer == group, waiting.c.key == key)
            .order_by(waiting.c.n)
            .limit(1)
        )
        async with self._database.read() as conn:
            found = (await conn.execute(query)).first()
        return str(found.event) if found is not None else None

    async def park(self, group: str, delivery: Delivery, topic: str, wait: float, why: str) -> None:
        """Note that it waits, keeping its first place, and say it on the retry topic: one transaction."""
        due = self._clock.now() + timedelta(seconds=wait)
        values = {
            "consumer": group,
            "event": delivery.identity,
            "key": delivery.key,
            "attempt": delivery.attempt,
            "due": due,
            "why": why[:64],
        }
        headers = {
            **delivery.headers,
            "antin-not-before": due.isoformat(),
            "antin-attempt": str(delivery.attempt),
            "antin-origin": delivery.headers.get(
                "antin-origin", f"{delivery.topic}/{delivery.partition}/{delivery.offset}"
            ),
        }
        async with self._database.write() as tx:
            await tx.execute(upsert(tx, waiting, values, ("consumer", "event")))
            await self._outbox.append(tx, topic, delivery.key, "vn.antin.retry.v1", headers, delivery.body)

    async def unpark(self, group: str, delivery: Delivery) -> None:
        """It is done."""
        async with self._database.write() as tx:
            await tx.execute(waiting.delete().where(waiting.c.consumer == group, waiting.c.event == delivery.identity))

    async def said(self, topic: str, partition: int) -> AsyncIterator[Delivery]:
        """Everything that was ever said on a partition, in order, from the outbox."""
        after = 0
        while True:
            query = (
                sa.select(outbox)
                .where(outbox.c.topic == topic, outbox.c.partition == partition, outbox.c.offset > after)
                .order_by(outbox.c.offset)
                .limit(200)
            )
            async with self._database.read() as conn:
                rows = (await conn.execute(query)).all()
            if not rows:
                return
            for row in rows:
                after = row.offset
                yield delivery_of(row)
