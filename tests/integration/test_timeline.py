"""The timeline on both legs: the tables say what the pure fold says, after restarts and from nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from events.bus import Delivery
from events.codec import to_message
from events.envelope import Event
from events.errors import Unavailable
from events.fact import Fact
from events.flow import topic_of
from events.kafka import Broker, KafkaSpeaker, apply_topics
from services.runtime import migrate, tables
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.outbox import partition_of
from services.timeline.adapters import store
from services.timeline.adapters.stream import FaustTables, forget
from services.timeline.model import ContractLine, contract_of, fold_contract
from tests.support.timeline_events import life
from tests.support.waiting import until


def lines(lives: Sequence[Sequence[Event[Fact]]]) -> dict[str, ContractLine]:
    """What the pure fold says."""
    found = {}
    for events in lives:
        line = ContractLine(contract=str(contract_of(events[0])))
        for event in events:
            line = fold_contract(line, event)
        found[line.contract] = line
    return found


async def test_the_sql_tables_hold_what_the_fold_says(database_url):
    database = Database(database_url)
    await migrate.upgrade(database, [tables.schema, store.schema])
    assert await migrate.differences(database, store.schema) == []
    lives = [life(), life(completed=False), life(("buyer",))]
    for events in lives:
        for event in events:
            async with database.write() as tx:
                await store.take(tx, event)
    read = store.SqlTables(database)
    wanted = lines(lives)
    assert {line.contract: line for line in await read.contracts(None, None, 10)} == wanted
    expired = await read.contracts(None, "expired", 10)
    assert [line.contract for line in expired] == [str(contract_of(lives[1][0]))]
    assert [line.contract for line in await read.changed("", 10)] == [str(contract_of(one[0])) for one in lives]
    assert await read.contract("nobody") is None
    assert sum(count.events for counts in (await read.counts()).values() for count in counts) == sum(map(len, lives))
    await database.close()


async def tell(broker: Broker, lives: Sequence[Sequence[Event[Fact]]]) -> None:
    """As a relay that died and said some of them again."""
    speaker = KafkaSpeaker(broker)
    for events in lives:
        for event in [*events, *events[:3]]:
            headers, body = to_message(event)
            topic = topic_of(event.fact.family)
            await speaker.send([Delivery(topic, partition_of(event.key), 0, event.key, body, headers=headers)])
    await speaker.close()


@asynccontextmanager
async def at_work(broker: Broker) -> AsyncIterator[FaustTables]:
    """The stream, run as the process runs it: again when it ends."""
    stream = FaustTables(broker, SystemClock())

    async def again() -> None:
        while True:
            try:
                await stream.run()
            except Unavailable:
                await asyncio.sleep(1)

    task = asyncio.create_task(again())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.real
@pytest.mark.timeout(600)
async def test_faust_holds_what_the_fold_says_after_a_restart_and_from_nothing(real_kafka):
    """crash-safety.md: Faust carries only rebuildable, idempotent projections."""
    broker = Broker(real_kafka.bootstrap)
    await apply_topics(broker)
    lives = [life() for _ in range(5)]
    await tell(broker, lives)
    producer = AIOKafkaProducer(**broker.connection())
    await producer.start()
    await producer.send_and_wait(topic_of("contract"), b"\xff poison", key=b"poison")
    await producer.stop()
    wanted = lines(lives)

    async def agrees(running: FaustTables) -> None:
        async def same() -> bool:
            return all([await running.contract(key) == line for key, line in wanted.items()])

        await until(same, what="the tables to agree with the fold", seconds=150)

    async with at_work(broker) as running:
        await agrees(running)
        assert len(await running.changed("", 1000)) >= len(wanted)
    async with at_work(broker) as running:
        await agrees(running)
    assert await forget(broker) != []
    async with at_work(broker) as running:
        await agrees(running)
        # The broker dies and comes back; what is said afterwards is heard too.
        real_kafka.kill()
        real_kafka.start()
        more = [life() for _ in range(3)]
        wanted |= lines(more)
        await tell(broker, more)
        await agrees(running)
