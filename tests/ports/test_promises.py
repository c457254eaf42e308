"""Promises of the ports, held by one suite on the embedded and on the real adapters.

Bus (events/bus.py): durable, ordered by key, at least once, a wait holds back only its own key. Blobs: create-only.
Database: no lost update.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

from events.bus import Delivery
from events.errors import Unavailable
from events.kafka import Broker
from services.runtime import migrate, tables
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from tests.support.buses import TOPIC, Place
from tests.support.waiting import until

REAL = pytest.mark.real


@pytest.fixture(params=["local", pytest.param("kafka", marks=REAL)])
def place(request, database_url: str) -> Place:
    if request.param == "local":
        return Place(database_url)
    return Place(database_url, Broker(request.getfixturevalue("real_kafka").bootstrap))


@pytest.fixture(params=["files", "memory", pytest.param("s3", marks=REAL)])
def blobs(request, tmp_path: Path) -> Blobs:
    if request.param == "files":
        return Blobs.at(tmp_path / "blobs")
    if request.param == "memory":
        return Blobs.in_memory()
    s3 = request.getfixturevalue("real_s3")
    return Blobs.in_bucket(
        s3.bucket,
        endpoint=s3.endpoint,
        region=s3.region,
        prefix=uuid.uuid4().hex,
        access_key=s3.access_key,
        secret=s3.secret,
    )


async def test_a_key_is_heard_in_the_order_it_was_said(place):
    heard: list[tuple[str, str]] = []

    async def step(delivery: Delivery) -> None:
        await asyncio.sleep(0.001 * (delivery.offset % 3))
        heard.append((delivery.key, delivery.identity))

    async with place.opened() as books:
        for _ in range(10):
            await books.say(*place.keys)
        async with books.hearing(step):
            await until(lambda: _true(len(heard) == 40), what="forty deliveries")
    for key in place.keys:
        mine = [event for one, event in heard if one == key]
        assert mine == sorted(mine)  # ids are UUIDv7: in the order they were said
        assert len(set(mine)) == 10


async def test_a_wait_holds_back_its_own_key_alone_and_keeps_the_order(place):
    heard: list[tuple[str, str, int]] = []
    first, other = place.keys[:2]

    async def step(delivery: Delivery) -> None:
        if delivery.key == first and delivery.attempt < 3 and not any(key == first for key, _, _ in heard):
            raise Unavailable("away", found="a", expected="b", remedy="c", retry_after=0.05)
        heard.append((delivery.key, delivery.identity, delivery.attempt))

    async with place.opened() as books:
        await books.say(first, first, other, first)
        async with books.hearing(step):
            await until(lambda: _true(len(heard) >= 4), what="four deliveries", seconds=60)
    assert heard[0][0] == other
    mine = [(event, attempt) for key, event, attempt in heard if key == first]
    assert [event for event, _ in mine] == sorted({event for event, _ in mine})
    assert mine[0][1] == 3


async def test_what_was_not_finished_is_delivered_again_after_a_restart(place):
    heard: list[str] = []
    stuck = asyncio.Event()
    slow = place.keys[1]

    async def first(delivery: Delivery) -> None:
        if delivery.key == slow:
            stuck.set()
            raise Unavailable("away", found="a", expected="b", remedy="c", retry_after=30)
        heard.append(delivery.key)

    async def second(delivery: Delivery) -> None:
        heard.append(delivery.key)

    async with place.opened() as books:
        await books.say(*place.keys[:3])
        async with books.hearing(first):
            await until(lambda: _true(stuck.is_set() and len(heard) >= 2), what="the others")
        await books.hasten()
    async with place.opened() as books, books.hearing(second):
        await until(lambda: _true(slow in heard), what="the one that waited", seconds=60)
    assert set(heard) == set(place.keys[:3])


async def test_a_member_that_ends_in_the_middle_leaves_its_delivery_to_the_next(place):
    heard: list[str] = []
    began = asyncio.Event()

    async def never(_: Delivery) -> None:
        began.set()
        await asyncio.Event().wait()

    async def step(delivery: Delivery) -> None:
        heard.append(delivery.key)

    async with place.opened() as books:
        await books.say(place.keys[0])
        async with books.hearing(never):
            await began.wait()
        async with books.hearing(step):
            await until(lambda: _true(heard == [place.keys[0]]), what="the delivery again", seconds=60)


async def test_what_was_not_committed_was_not_said(place):
    async with place.opened() as books:

        async def fail_after_saying() -> None:
            async with books.database.write() as tx:
                await books.outbox.append(tx, TOPIC, place.keys[0], "t", {}, b"{}")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail_after_saying()
        assert await books.outbox.read([TOPIC], 0, 10) == []


async def test_blobs_are_created_once_and_found_by_their_name(blobs):
    """crash-safety.md: publish by create-only put; who comes second gets the first one's artefact."""
    digest = await blobs.keep(b"one")
    assert await blobs.keep(b"one") == digest
    assert await blobs.fetch(digest) == b"one"
    assert await blobs.has(digest)
    found = await asyncio.gather(*(blobs.publish("signed/1", f"{n}".encode()) for n in range(8)))
    assert sum(ours for _, ours in found) == 1
    assert len({one for one, _ in found}) == 1
    assert await blobs.published("signed/2") is None


async def test_a_large_blob_comes_back_whole(blobs):
    data = bytes(range(256)) * 80_000
    assert await blobs.fetch(await blobs.keep(data)) == data


async def test_a_damaged_file_is_not_handed_out(tmp_path):
    digest = await Blobs.at(tmp_path / "blobs").keep(b"one")
    place = next((tmp_path / "blobs" / "sha256").rglob(digest.hex))
    place.write_bytes(b"two")
    with pytest.raises(Unavailable):
        await Blobs.at(tmp_path / "blobs").fetch(digest)


async def test_eight_writers_lose_no_update(database_url):
    """dependencies.md: read-modify-write, 800 of 800 kept."""
    database = Database(database_url)
    await migrate.upgrade(database, [tables.schema])
    values = {"consumer": "tests", "topic": "t", "offset": 0}
    async with database.write() as tx:
        await tx.execute(tables.cursors.insert().values(**values))

    async def count() -> None:
        for _ in range(100):
            async with database.write() as tx:
                now = (await tx.execute(sa.select(tables.cursors.c.offset).with_for_update())).scalar_one()
                await tx.execute(tables.cursors.update().values(offset=now + 1))

    await asyncio.gather(*(count() for _ in range(8)))
    async with database.read() as conn:
        assert (await conn.execute(sa.select(tables.cursors.c.offset))).scalar_one() == 800
    await database.close()


async def test_the_tables_are_as_the_model_says(database_url):
    """Every migration, on each database, ends at the model: nothing is missing and nothing is left over."""
    from tools.migration import schema_of

    database = Database(database_url)
    schemas = [schema_of(name) for name in ("runtime", "ca_bridge", "contracts", "signer", "verifier", "notifier")]
    await migrate.upgrade(database, schemas)
    await migrate.upgrade(database, schemas)
    for schema in schemas:
        assert await migrate.differences(database, schema) == []
    await database.close()


async def _true(value: bool) -> bool:
    return value
