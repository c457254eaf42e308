"""The consume step: heard once, claimed by epoch, finished in one commit, refused in words, never lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from events.contract import ContractExpired, ContractWithdrawn
from events.errors import Refused, Unavailable
from events.flow import dead_letters_of, topic_of
from services.runtime import migrate, tables
from services.runtime.clock import SystemClock
from services.runtime.consume import Consumer, Done, Subscriber
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from tests.support.facts import expired, withdrawn

TOPIC = topic_of("contract")


@dataclass
class Bench:
    database: Database
    outbox: Outbox

    async def deliver(self, subscriber: Subscriber, owner: str = "one") -> None:
        """The first fact, once."""
        delivery = (await self.outbox.read([TOPIC], 0, 1))[0]
        await Consumer(subscriber, self.database, self.outbox, SystemClock(), owner).step(delivery)

    async def said(self) -> list[str]:
        return [delivery.event().fact.name() for delivery in await self.outbox.read([TOPIC], 1, 100)]

    async def dead(self) -> list[dict[str, Any]]:
        return [json.loads(d.body) for d in await self.outbox.read([dead_letters_of("tests")], 0, 100)]


@dataclass
class Signing:
    """A piece of work that counts what it did."""

    acts: int = 0
    finished: int = 0
    faults: list[BaseException] = field(default_factory=list)

    def key(self, event: Any) -> str:
        return f"work/{event.fact.key}"

    async def plan(self, event: Any, tx: Any) -> Any:
        return event.fact

    async def act(self, plan: Any) -> str:
        self.acts += 1
        if self.faults:
            raise self.faults.pop(0)
        return "done"

    async def finish(self, event: Any, plan: Any, result: Any, tx: Any) -> list[Any]:
        self.finished += 1
        return [withdrawn(1)]

    async def refuse(self, event: Any, fault: Refused, tx: Any) -> list[Any]:
        return [withdrawn(2)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    await migrate.upgrade(database, [tables.schema])
    outbox = Outbox(database, SystemClock())
    async with database.write() as tx:
        await outbox.say(tx, "contracts", [expired(1)])
    yield Bench(database, outbox)
    await database.close()


async def test_a_fact_heard_twice_is_acted_on_once(bench):
    heard = []

    async def hear(event, tx):
        heard.append(event.id)
        return [withdrawn(1)]

    subscriber = Subscriber("tests", {ContractExpired: hear})
    await bench.deliver(subscriber)
    await bench.deliver(subscriber)
    assert len(heard) == 1
    assert await bench.said() == [ContractWithdrawn.name()]


async def test_a_reaction_that_fails_leaves_nothing(bench):
    async def hear(event, tx):
        await bench.outbox.say(tx, "tests", [withdrawn(1)])
        raise Unavailable("away", found="a", expected="b", remedy="c")

    with pytest.raises(Unavailable):
        await bench.deliver(Subscriber("tests", {ContractExpired: hear}))
    assert await bench.said() == []


async def test_a_crash_after_acting_acts_again_and_finishes_once(bench):
    """crash-safety.md: the consume step, 2 and 3."""
    work = Signing(faults=[KeyboardInterrupt()])
    subscriber = Subscriber("tests", works={ContractExpired: work})
    with pytest.raises(KeyboardInterrupt):
        await bench.deliver(subscriber)
    await bench.deliver(subscriber)
    await bench.deliver(subscriber)
    assert (work.acts, work.finished) == (2, 1)
    assert await bench.said() == [ContractWithdrawn.name()]


async def test_who_was_fenced_throws_its_result_away(bench):
    work = Signing()

    async def overtaken(plan):
        async with bench.database.write() as tx:
            await tx.execute(tables.jobs.update().values(epoch=tables.jobs.c.epoch + 1, owner="another"))
        return "late"

    work.act = overtaken
    with pytest.raises(Unavailable) as fault:
        await bench.deliver(Subscriber("tests", works={ContractExpired: work}))
    assert fault.value.code == "fenced"
    assert work.finished == 0
    assert await bench.said() == []


async def test_a_lease_of_another_worker_is_waited_for(bench):
    work = Signing()
    subscriber = Subscriber("tests", works={ContractExpired: work})

    async def while_leased(plan):
        with pytest.raises(Unavailable) as fault:
            await bench.deliver(subscriber, owner="two")
        assert fault.value.code == "leased-by-another"
        return "done"

    work.act = while_leased
    await bench.deliver(subscriber)
    assert work.finished == 1


async def test_a_refusal_is_said_and_a_poisoned_event_is_kept_with_its_bytes(bench):
    no = Refused("no", found="a", expected="b", remedy="c")
    await bench.deliver(Subscriber("tests", works={ContractExpired: Signing(faults=[no])}))
    assert len(await bench.said()) == 1

    async def hear(event, tx):
        raise no

    await bench.deliver(Subscriber("others", {ContractExpired: hear}))
    letters = await bench.outbox.read([dead_letters_of("others")], 0, 10)
    letter = json.loads(letters[0].body)
    assert letter["error"]["code"] == "no"
    assert letter["original"]


async def test_done_in_the_plan_needs_no_act(bench):
    work = Signing()

    async def plan(event, tx):
        return Done((withdrawn(1),))

    work.plan = plan
    await bench.deliver(Subscriber("tests", works={ContractExpired: work}))
    assert work.acts == 0
    assert len(await bench.said()) == 1


async def test_the_tables_are_those_of_the_model(bench):
    assert await migrate.differences(bench.database, tables.schema) == []
    async with bench.database.read() as conn:
        assert (await conn.execute(sa.select(sa.func.count()).select_from(tables.outbox))).scalar_one() == 1
