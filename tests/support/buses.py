"""A database and a bus for the suite of promises, of each kind: the embedded ones and the real ones."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from events.bus import Bus, Delivery, Step
from events.contract import ContractExpired
from events.flow import LARGEST, PARTITIONS, topic_of
from events.kafka import Broker, KafkaBus, KafkaSpeaker, apply_topics
from events.local import LocalBus
from events.values import ContractId
from services.runtime import migrate, tables
from services.runtime.clock import SystemClock
from services.runtime.database import Database, News
from services.runtime.outbox import Outbox
from services.runtime.relay import Relay
from services.runtime.shelf import SqlShelf

TOPIC = topic_of("contract")


@dataclass
class Place:
    """Where one test keeps its books: a database, and a broker or the embedded bus. A group of its own."""

    url: str
    broker: Broker | None = None
    group: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    keys: tuple[ContractId, ...] = field(default_factory=lambda: tuple(ContractId(str(uuid.uuid4())) for _ in range(4)))

    def pauses(self, _: str) -> Mapping[str, float]:
        """Retry topics with short waits."""
        return {f"antin.{self.group}.retry.1": 0.1, f"antin.{self.group}.retry.2": 0.2}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Books]:
        """The books, and on Kafka the relay."""
        database = Database(self.url)
        await migrate.upgrade(database, [tables.schema])
        news = News()
        books = Books(self, database, Outbox(database, SystemClock(), news))
        relay: asyncio.Task[None] | None = None
        speaker: KafkaSpeaker | None = None
        if self.broker is not None:
            await self._topics(self.broker)
            speaker = KafkaSpeaker(self.broker)
            relay = asyncio.create_task(Relay(database, news, speaker).run())
        try:
            yield books
        finally:
            if relay is not None and speaker is not None:
                relay.cancel()
                with suppress(asyncio.CancelledError):
                    await relay
                await speaker.close()
            await database.close()

    async def _topics(self, broker: Broker) -> None:
        await apply_topics(broker)
        admin = AIOKafkaAdminClient(**broker.connection())
        await admin.start()
        try:
            config = {"max.message.bytes": str(LARGEST)}
            await admin.create_topics(
                [NewTopic(name, PARTITIONS, 1, topic_configs=config) for name in self.pauses(self.group)]
            )
        finally:
            await admin.close()


@dataclass
class Books:
    """Opened books."""

    place: Place
    database: Database
    outbox: Outbox

    def bus(self) -> Bus:
        """One member of the group."""
        if self.place.broker is None:
            return LocalBus(self.outbox, poll=0.05)
        shelf = SqlShelf(self.database, self.outbox, SystemClock())
        return KafkaBus(self.place.broker, shelf, SystemClock().now, patience=0.0, pauses=self.place.pauses)

    async def say(self, *keys: ContractId) -> None:
        """One fact for each key, in one transaction."""
        facts = [ContractExpired(contract=key, deadline=SystemClock().now()) for key in keys]
        async with self.database.write() as tx:
            await self.outbox.say(tx, "contracts", facts)

    @asynccontextmanager
    async def hearing(self, step: Step) -> AsyncIterator[asyncio.Task[None]]:
        """A member listens; what other tests said is not its business."""

        async def mine(delivery: Delivery) -> None:
            if delivery.key in self.place.keys:
                await step(delivery)

        task = asyncio.create_task(self.bus().listen(self.place.group, [TOPIC], mine))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def hasten(self) -> None:
        """What waits is due now."""
        async with self.database.write() as tx:
            await tx.execute(tables.parked.update().values(due=SystemClock().now()))
