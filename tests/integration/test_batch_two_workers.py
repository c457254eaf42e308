"""Two processes on one database: a batch's documents are signed by one of them, and settled by who holds them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from domain.merkle import Tree
from events.values import BaselineLevel, ContractId, CredentialId, Digest
from services.runtime import lease, migrate
from services.runtime.database import Database
from services.runtime.lease import LEASE
from services.signer.adapters.batch_store import SqlLedgers
from services.signer.adapters.tables import batch_documents, schema
from services.signer.batch.handlers import Press
from services.signer.batch.model import Batch, DocumentState, Item, Outcome
from services.signer.model import SigningAlgorithm
from services.signer.ports import Credential
from tests.support.clocks import StillClock
from tests.support.waiting import until

DIGESTS = [Digest.of(b"one"), Digest.of(b"two")]
BATCH = Batch(
    id=ContractId(str(uuid.UUID(int=1))),
    jti="an activation",
    credential=CredentialId(str(uuid.UUID(int=2))),
    algorithm=SigningAlgorithm.P256,
    client="portal",
    activation=Digest.of(b"an activation"),
    root=Tree([one.raw for one in DIGESTS]).root,
    count=len(DIGESTS),
    level=BaselineLevel.B,
    opened_at=StillClock().now(),
)


@dataclass(frozen=True)
class Slow(Press):
    """Signs as slowly as it is told."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    made: list[int] = field(default_factory=list)

    async def _attempt(self, batch: Batch, item: Item, known: Credential | None) -> Outcome:
        self.made.append(item.place)
        self.began.set()
        await self.go.wait()
        return Outcome(item, DocumentState.SIGNED, self.clock.now(), Digest.of(self.owner.encode()))


@dataclass
class Two:
    """Two workers, their clock and their database."""

    database: Database
    clock: StillClock
    one: Slow
    other: Slow

    async def rows(self) -> list[Any]:
        async with self.database.read() as conn:
            return list(await conn.execute(sa.select(batch_documents).order_by(batch_documents.c.place)))

    async def signed_by(self) -> set[str]:
        names = {str(Digest.of(one.owner.encode())): one.owner for one in (self.one, self.other)}
        return {names.get(row.signed, "nobody") for row in await self.rows()}


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Two]:
    database, clock = Database(database_url), StillClock()
    await migrate.upgrade(database, [schema])
    ledgers = SqlLedgers(database)
    async with ledgers.write() as ledger:
        await ledger.open(BATCH, DIGESTS)
        for place in range(len(DIGESTS)):
            await ledger.arrived(BATCH.id, place, 3, clock.now())

    def worker(name: str) -> Slow:
        nobody: Any = None
        return Slow(ledgers, nobody, nobody, nobody, nobody, clock, name)

    yield Two(database, clock, worker("one"), worker("other"))
    await database.close()


async def test_documents_that_take_longer_than_a_lease_are_not_taken_over(two, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL", 0.01)
    two.other.go.set()
    working = asyncio.create_task(two.one.step())
    await two.one.began.wait()
    for _ in range(5):
        two.clock.pass_by(LEASE.total_seconds() - 1)

        async def renewed() -> bool:
            return {row.due for row in await two.rows()} == {two.clock.now() + LEASE}

        await until(renewed, what="the leases to be renewed")
        assert await two.other.step() is False
    two.one.go.set()
    assert await working is True
    assert (two.one.made, two.other.made) == ([0, 1], [])
    assert await two.signed_by() == {"one"}


async def test_who_lost_the_lease_settles_nothing_and_disturbs_nobody(two, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL", 3600)
    late = asyncio.create_task(two.one.step())
    await two.one.began.wait()
    two.clock.pass_by(LEASE.total_seconds())
    working = asyncio.create_task(two.other.step())
    await two.other.began.wait()
    held = await two.rows()
    two.one.go.set()
    assert await late is True
    assert await two.rows() == held
    two.other.go.set()
    assert await working is True
    assert await two.signed_by() == {"other"}


async def test_a_late_renewal_does_not_touch_what_another_holds(two, monkeypatch):
    """The epoch that the claim wrote decides, whatever the owner's name."""
    late = asyncio.create_task(two.one.step())
    await two.one.began.wait()
    two.clock.pass_by(LEASE.total_seconds())
    working = asyncio.create_task(two.other.step())
    await two.other.began.wait()
    held = await two.rows()
    claimed = [Item(BATCH.id, at, digest, DocumentState.LEASED, epoch=1) for at, digest in enumerate(DIGESTS)]
    async with two.one.ledgers.write() as ledger:
        await ledger.hold(claimed, "one", two.clock.now() + 9 * LEASE)
        await ledger.hold(claimed, "other", two.clock.now() + 9 * LEASE)
    assert await two.rows() == held
    two.one.go.set()
    two.other.go.set()
    await asyncio.gather(late, working)
