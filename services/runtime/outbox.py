"""What is said goes into the same transaction as what it says has happened; the embedded bus reads it from here."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa
import uuid_utils
from sqlalchemy.dialects import postgresql, sqlite

from events.bus import Delivery
from events.codec import to_message
from events.envelope import Event
from events.fact import Fact
from events.flow import PARTITIONS, topic_of
from events.local import Parked
from events.values import EventId
from services.runtime.clock import Clock
from services.runtime.database import Database, News, Tx
from services.runtime.tables import cursors, outbox, parked

CHANNEL = "antin_outbox"
"""PostgreSQL's notification of a commit that says something."""
_OUTBOX_LOCK = 0x616E74696E  # "antin": commits that say something take turns, so that offsets appear in their order


def new_id() -> str:
    """A UUIDv7 (RFC 9562 clause 5.7): unique, and sortable by time."""
    return str(uuid_utils.uuid7())


def partition_of(key: str) -> int:
    """Where a key's events go; stable over processes and versions."""
    return zlib.crc32(key.encode()) % PARTITIONS


def upsert(tx: Tx, table: sa.Table, values: Mapping[str, object], keys: Sequence[str]) -> sa.Insert:
    """INSERT ... ON CONFLICT (keys) DO UPDATE, on both databases."""
    rest = {name: value for name, value in values.items() if name not in keys}
    if tx.conn.dialect.name == "postgresql":
        return postgresql.insert(table).values(**values).on_conflict_do_update(index_elements=list(keys), set_=rest)
    return sqlite.insert(table).values(**values).on_conflict_do_update(index_elements=list(keys), set_=rest)


class Outbox:
    """Says facts within a transaction, and is the log of the embedded bus."""

    def __init__(self, database: Database, clock: Clock, news: News | None = None) -> None:
        self._database = database
        self._clock = clock
        self._news = news or News()

    async def say(
        self, tx: Tx, source: str, facts: Iterable[Fact], *, cause: Event[Fact] | None = None
    ) -> list[Event[Fact]]:
        """Append facts, in order. They are heard only if the transaction commits."""
        said: list[Event[Fact]] = []
        for fact in facts:
            event: Event[Fact] = Event(
                id=EventId(new_id()),
                source=f"/antin/{source}",
                time=self._clock.now(),
                fact=fact,
                cause=cause.id if cause is not None else None,
                traceparent=cause.traceparent if cause is not None else None,
            )
            headers, body = to_message(event)
            await self.append(tx, topic_of(fact.family), fact.key, event.type, headers, body, event=str(event.id))
            said.append(event)
        return said

    async def append(
        self,
        tx: Tx,
        topic: str,
        key: str,
        type_name: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        event: str | None = None,
    ) -> None:
        """Append any message: a fact, a retry, a dead letter."""
        if tx.conn.dialect.name == "postgresql":
            await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_OUTBOX_LOCK)))
        await tx.execute(
            outbox.insert().values(
                event=event or new_id(),
                topic=topic,
                partition=partition_of(key),
                key=key,
                type=type_name,
                headers=json.dumps(headers, ensure_ascii=False),
                body=body,
                said_at=self._clock.now(),
            )
        )
        if self._news.tell not in tx.after_commit:
            if tx.conn.dialect.name == "postgresql":
                await tx.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))
            tx.after_commit.append(self._news.tell)

    # The log of the embedded bus (events.local.Log)

    async def read(self, topics: Collection[str], after: int, limit: int) -> Sequence[Delivery]:
        """Deliveries with an offset above `after`, in order."""
        query = (
            sa.select(outbox)
            .where(outbox.c.offset > after, outbox.c.topic.in_(sorted(topics)))
            .order_by(outbox.c.offset)
            .limit(limit)
        )
        async with self._database.read() as conn:
            return [delivery_of(row) for row in await conn.execute(query)]

    async def cursors(self, group: str) -> Mapping[str, int]:
        """The offset up to which the group is done, by topic."""
        query = sa.select(cursors.c.topic, cursors.c.offset).where(cursors.c.consumer == group)
        async with self._database.read() as conn:
            return {row.topic: row.offset for row in await conn.execute(query)}

    async def advance(self, group: str, topics: Collection[str], done: int) -> None:
        """Everything of these topics up to the offset `done` is done or parked."""
        async with self._database.write() as tx:
            for topic in sorted(topics):
                values = {"consumer": group, "topic": topic, "offset": done}
                await tx.execute(upsert(tx, cursors, values, ("consumer", "topic")))

    async def park(self, group: str, delivery: Delivery, wait: float, why: str) -> None:
        """Keep a delivery for `wait` seconds; the same delivery again replaces the earlier entry."""
        values = {
            "consumer": group,
            "offset": delivery.offset,
            "attempt": delivery.attempt,
            "due": self._clock.now() + timedelta(seconds=wait),
            "why": why[:64],
        }
        async with self._database.write() as tx:
            await tx.execute(upsert(tx, parked, values, ("consumer", "offset")))

    async def parked(self, group: str) -> Sequence[Parked]:
        """Everything parked, in the order of the log."""
        query = (
            sa.select(outbox, parked.c.attempt, parked.c.due)
            .join(parked, parked.c.offset == outbox.c.offset)
            .where(parked.c.consumer == group)
            .order_by(outbox.c.offset)
        )
        now = self._clock.now()
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
        return [Parked(delivery_of(row, row.attempt), (row.due - now).total_seconds()) for row in rows]

    async def unpark(self, group: str, delivery: Delivery) -> None:
        """Forget a parked delivery: it is done."""
        async with self._database.write() as tx:
            await tx.execute(parked.delete().where(parked.c.consumer == group, parked.c.offset == delivery.offset))

    async def news(self, seconds: float) -> None:
        """Return when something was said, at the latest after `seconds`."""
        await self._news.wait(seconds)


def delivery_of(row: sa.Row[tuple[object, ...]], attempt: int = 1) -> Delivery:
    """A row of the outbox as the bus hands it on."""
    return Delivery(
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        key=row.key,
        headers=json.loads(row.headers),
        body=bytes(row.body),
        attempt=attempt,
    )
