"""Promises of the bus (events/bus.py): durable, ordered by key, at least once, a wait holds back only its own key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events.bus import Delivery
from events.contract import ContractExpired
from events.errors import Unavailable
from events.flow import topic_of
from events.local import LocalBus
from events.values import ContractId
from services.runtime import migrate, tables
from services.runtime.blobs import Blobs
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from tests.support.waiting import until

KEYS = [ContractId(f"00000000-0000-4000-8000-{n:012d}") for n in range(4)]
TOPIC = topic_of("contract")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Database, Outbox]]:
    database = Database(f"sqlite+aiosqlite:///{folder / 'bus.db'}")
    await migrate.upgrade(database, [tables.schema])
    try:
        yield database, Outbox(database, SystemClock())
    finally:
        await database.close()


async def say(database: Database, outbox: Outbox, *keys: ContractId) -> None:
    async with database.write() as tx:
        await outbox.say(tx, "contracts", [ContractExpired(contract=key, deadline=SystemClock().now()) for key in keys])


@asynccontextmanager
async def hearing(outbox: Outbox, step) -> AsyncIterator[None]:
    task = asyncio.create_task(LocalBus(outbox, poll=0.05).listen("tests", [TOPIC], step))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_is_heard_in_the_order_it_was_said(tmp_path):
    heard: list[tuple[str, int]] = []

    async def step(delivery: Delivery) -> None:
        await asyncio.sleep(0.001 * (delivery.offset % 3))
        heard.append((delivery.key, delivery.offset))

    async with opened(tmp_path) as (database, outbox):
        for _ in range(10):
            await say(database, outbox, *KEYS)
        async with hearing(outbox, step):
            await until(lambda: _true(len(heard) == 40), what="forty deliveries")
    for key in KEYS:
        offsets = [offset for one, offset in heard if one == key]
        assert offsets == sorted(offsets)
        assert len(offsets) == 10


async def test_a_wait_holds_back_its_own_key_alone_and_keeps_the_order(tmp_path):
    heard: list[tuple[str, int, int]] = []

    async def step(delivery: Delivery) -> None:
        if delivery.key == KEYS[0] and delivery.attempt < 3 and not any(key == KEYS[0] for key, _, _ in heard):
            raise Unavailable("away", found="a", expected="b", remedy="c", retry_after=0.05)
        heard.append((delivery.key, delivery.offset, delivery.attempt))

    async with opened(tmp_path) as (database, outbox):
        await say(database, outbox, KEYS[0], KEYS[0], KEYS[1], KEYS[0])
        async with hearing(outbox, step):
            await until(lambda: _true(len(heard) == 4), what="four deliveries")
    assert heard[0][0] == KEYS[1]
    mine = [(offset, attempt) for key, offset, attempt in heard if key == KEYS[0]]
    assert [offset for offset, _ in mine] == sorted(offset for offset, _ in mine)
    assert mine[0][1] == 3


async def test_what_was_not_finished_is_delivered_again_after_a_restart(tmp_path):
    heard: list[int] = []
    stuck = asyncio.Event()

    async def first(delivery: Delivery) -> None:
        if delivery.offset == 2:
            stuck.set()
            raise Unavailable("away", found="a", expected="b", remedy="c", retry_after=30)
        heard.append(delivery.offset)

    async def second(delivery: Delivery) -> None:
        heard.append(delivery.offset)

    async with opened(tmp_path) as (database, outbox):
        await say(database, outbox, *KEYS[:3])
        async with hearing(outbox, first):
            await until(lambda: _true(stuck.is_set() and len(heard) == 2), what="the others")
        async with database.write() as tx:
            await tx.execute(tables.parked.update().values(due=SystemClock().now()))
    async with opened(tmp_path) as (_, outbox), hearing(outbox, second):
        await until(lambda: _true(2 in heard), what="the parked one")
    assert sorted(set(heard)) == [1, 2, 3]


async def test_what_was_not_committed_was_not_said(tmp_path):
    async with opened(tmp_path) as (database, outbox):

        async def fail_after_saying() -> None:
            async with database.write() as tx:
                await outbox.say(tx, "contracts", [ContractExpired(contract=KEYS[0], deadline=SystemClock().now())])
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail_after_saying()
        assert await outbox.read([TOPIC], 0, 10) == []


async def test_blobs_are_created_once_and_checked_by_their_name(tmp_path):
    """crash-safety.md: publish by create-only put; who comes second gets the first one's artefact."""
    for blobs in (Blobs.at(tmp_path / "blobs"), Blobs.in_memory()):
        digest = await blobs.keep(b"one")
        assert await blobs.keep(b"one") == digest
        assert await blobs.fetch(digest) == b"one"
        found = await asyncio.gather(*(blobs.publish("signed/1", f"{n}".encode()) for n in range(8)))
        assert sum(ours for _, ours in found) == 1
        assert len({one for one, _ in found}) == 1
    place = next((tmp_path / "blobs" / "sha256").rglob(digest.hex))
    place.write_bytes(b"two")
    with pytest.raises(Unavailable):
        await Blobs.at(tmp_path / "blobs").fetch(digest)


async def test_eight_writers_lose_no_update(tmp_path):
    """dependencies.md: read-modify-write on SQLite, 800 of 800 kept."""
    import sqlalchemy as sa

    async with opened(tmp_path) as (database, _):
        values = {"consumer": "tests", "topic": "t", "offset": 0}
        async with database.write() as tx:
            await tx.execute(tables.cursors.insert().values(**values))

        async def count() -> None:
            for _ in range(100):
                async with database.write() as tx:
                    now = (await tx.execute(sa.select(tables.cursors.c.offset))).scalar_one()
                    await tx.execute(tables.cursors.update().values(offset=now + 1))

        await asyncio.gather(*(count() for _ in range(8)))
        async with database.read() as conn:
            assert (await conn.execute(sa.select(tables.cursors.c.offset))).scalar_one() == 800


async def _true(value: bool) -> bool:
    return value
