"""Two processes on one database: what is answered later is made by one of them, and answered by who holds it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from events.errors import Unavailable
from services.runtime import lease, migrate
from services.runtime.database import Database
from services.runtime.lease import LEASE
from services.signer.adapters.csc_store import SqlBooks
from services.signer.adapters.tables import answers, schema
from services.signer.csc import shapes
from services.signer.csc.answers import Answers
from services.signer.csc.model import ANSWER_LIFE
from services.signer.csc.ports import Waiting
from tests.support.clocks import StillClock
from tests.support.waiting import until

RESPONSE = str(uuid.UUID(int=7))


@dataclass
class Slow:
    """Signs as slowly as it is told; stands for the PDFs, keys and authorities of one process."""

    name: str
    began: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Event = field(default_factory=asyncio.Event)
    made: int = 0
    fault: Exception | None = None

    async def resume(self, waiting: Waiting) -> shapes.Signed:
        self.made += 1
        self.began.set()
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        return shapes.Signed(documents=[self.name])


@dataclass
class Two:
    """Two workers, their clock and their database."""

    database: Database
    books: SqlBooks
    clock: StillClock
    one: Slow
    other: Slow

    def worker(self, slow: Slow) -> Answers:
        return Answers(slow, self.books, self.clock, slow.name)  # type: ignore[arg-type]

    async def leased_until(self) -> Any:
        async with self.database.read() as conn:
            return (await conn.execute(sa.select(answers.c.leased_until))).scalar_one()

    async def answer(self) -> str | None:
        async with self.books.read() as book:
            return (await book.answer(RESPONSE, "portal", self.clock.now()))[1]


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Two]:
    database, clock = Database(database_url), StillClock()
    await migrate.upgrade(database, [schema])
    books = SqlBooks(database)
    async with books.write() as book:
        await book.await_answer(Waiting(RESPONSE, "portal", "documents", "{}"), clock.now() + ANSWER_LIFE)
    yield Two(database, books, clock, Slow("one"), Slow("other"))
    await database.close()


async def test_work_that_takes_longer_than_a_lease_is_not_taken_over(two, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL", 0.01)
    two.other.go.set()
    working = asyncio.create_task(two.worker(two.one).work_off())
    await two.one.began.wait()
    for _ in range(5):
        two.clock.pass_by(LEASE.total_seconds() - 1)

        async def renewed() -> bool:
            return bool(await two.leased_until() == two.clock.now() + LEASE)

        await until(renewed, what="the lease to be renewed")
        assert await two.worker(two.other).work_off() is False
    two.one.go.set()
    assert await working is True
    assert (two.one.made, two.other.made) == (1, 0)
    assert await two.answer() == '{"DocumentWithSignature":["one"]}'
    assert await two.worker(two.other).work_off() is False


async def test_who_lost_the_lease_publishes_nothing(two, monkeypatch):
    """A process that stood still for longer than a lease: another has answered, and that answer stays."""
    monkeypatch.setattr(lease, "RENEWAL", 3600)
    two.other.go.set()
    late = asyncio.create_task(two.worker(two.one).work_off())
    await two.one.began.wait()
    assert await two.worker(two.other).work_off() is False
    two.clock.pass_by(LEASE.total_seconds())
    assert await two.worker(two.other).work_off() is True
    two.one.go.set()
    assert await late is True
    assert await two.answer() == '{"DocumentWithSignature":["other"]}'


@pytest.mark.parametrize(
    "fault", [None, Unavailable("away", found="a", expected="b", remedy="c"), RuntimeError("a fault of ours")]
)
async def test_who_lost_the_lease_disturbs_nobody_who_holds_it(two, monkeypatch, fault):
    monkeypatch.setattr(lease, "RENEWAL", 3600)
    two.one.fault = fault
    late = asyncio.create_task(two.worker(two.one).work_off())
    await two.one.began.wait()
    two.clock.pass_by(LEASE.total_seconds())
    working = asyncio.create_task(two.worker(two.other).work_off())
    await two.other.began.wait()
    held = await two.leased_until()
    two.one.go.set()
    await late
    assert await two.answer() is None
    assert await two.leased_until() == held
    two.other.go.set()
    await working
    assert await two.answer() == '{"DocumentWithSignature":["other"]}'


async def test_what_only_waited_is_anybodys_again(two):
    two.one.fault = Unavailable("away", found="a", expected="b", remedy="c", retry_after=7.0)
    two.one.go.set()
    two.other.go.set()
    await two.worker(two.one).work_off()
    assert await two.worker(two.other).work_off() is False
    two.clock.pass_by(timedelta(seconds=7).total_seconds())
    assert await two.worker(two.other).work_off() is True
    assert await two.answer() == '{"DocumentWithSignature":["other"]}'
