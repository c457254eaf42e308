"""Two members of a group with one event, on a database where they do not take turns by themselves."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from events.flow import topic_of
from services.runtime import migrate, tables
from services.runtime.clock import SystemClock
from services.runtime.consume import Consumer, Subscriber
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.runtime.tables import inbox, jobs
from tests.support.facts import expired
from tests.support.waiting import until

pytestmark = pytest.mark.real


class Signing:
    """A piece of work that must not be done here: another does it."""

    def key(self, event: Any) -> str:
        return f"work/{event.fact.key}"

    async def plan(self, event: Any, tx: Any) -> Any:
        raise AssertionError("the other has done it")

    act = finish = refuse = plan


async def test_who_waits_for_the_finish_of_another_remembers_nothing_twice(real_postgres: Any) -> None:
    """After a rebalance two members may hold one record: the second waits at the claim and finds the work done."""
    database = Database(real_postgres.create(f"t{uuid.uuid4().hex[:12]}"))
    try:
        await migrate.upgrade(database, [tables.schema])
        clock = SystemClock()
        outbox = Outbox(database, clock)
        fact = expired(1)
        async with database.write() as tx:
            await outbox.say(tx, "contracts", [fact])
        (delivery,) = await outbox.read([topic_of("contract")], 0, 1)
        event = delivery.event()
        async with database.write() as tx:
            await tx.execute(
                jobs.insert().values(
                    consumer="tests",
                    key=f"work/{fact.key}",
                    epoch=1,
                    state="leased",
                    owner="a",
                    leased_until=clock.now(),
                )
            )
        second = Consumer(Subscriber("tests", works={type(fact): Signing()}), database, outbox, clock, "b")
        async with database.write() as tx:
            await tx.execute(jobs.update().values(state="done"))
            await tx.execute(inbox.insert().values(consumer="tests", event=str(event.id), at=clock.now()))
            stepping = asyncio.create_task(second.step(delivery))

            async def waits() -> bool:
                async with database.read() as conn:
                    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    return bool((await conn.execute(sa.text(blocked))).scalar())

            await until(waits, what="the second to wait at the claim")
        await stepping
        async with database.read() as conn:
            heard = (await conn.execute(sa.select(sa.func.count()).select_from(inbox))).scalar()
        assert heard == 1
    finally:
        await database.close()
