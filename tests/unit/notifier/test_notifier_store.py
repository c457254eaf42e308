"""Claims: one attempt of a subscription in flight, an ended lease is taken over, a late settlement writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from events.values import EventId, SubscriptionId
from services.notifier.adapters.store import SqlBook, ready, schema
from services.notifier.model import Again, Answer, Delivered, Parcel, Subscription
from services.runtime import migrate
from services.runtime.database import Database
from services.runtime.outbox import new_id
from tests.support.clocks import StillClock

LEASE = timedelta(seconds=60)
FINE = Answer(204, "status 204")


@dataclass
class Shelf:
    database: Database
    clock: StillClock

    async def subscribe(self) -> SubscriptionId:
        found = Subscription(
            SubscriptionId(new_id()), "https://example.org/", ("vn.antin.contract.*",), "", b"sealed",
            self.clock.now(), "tester",
        )  # fmt: skip
        async with self.database.write() as tx:
            await SqlBook(tx).add(found)
        return found.id

    async def post(self, to: SubscriptionId, event: EventId | None = None) -> EventId:
        event = event or EventId(new_id())
        async with self.database.write() as tx:
            await SqlBook(tx).keep(event, "vn.antin.contract.ContractExpired.v1", b"{}", self.clock.now())
            return await SqlBook(tx).post(event, to, self.clock.now())

    async def claim(self, owner: str = "me", sound: int = 10, ailing: int = 10) -> list[Parcel]:
        async with self.database.write() as tx:
            return list(await SqlBook(tx).claim(self.clock.now(), owner, LEASE, sound=sound, ailing=ailing))

    async def settle(self, parcel: Parcel, again_in: float | None = None, took_ms: int = 1) -> bool:
        now = self.clock.now()
        found = Delivered() if again_in is None else Again(now + timedelta(seconds=again_in))
        async with self.database.write() as tx:
            return await SqlBook(tx).settle(parcel, FINE, found, now, took_ms)


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    await migrate.upgrade(database, [schema])
    yield Shelf(database, StillClock())
    await database.close()


async def test_a_subscription_has_one_attempt_in_flight_and_the_oldest_first(shelf: Shelf) -> None:
    one, other = await shelf.subscribe(), await shelf.subscribe()
    first = [await shelf.post(one) for _ in range(3)]
    second = await shelf.post(other)
    claimed = await shelf.claim()
    assert {parcel.message for parcel in claimed} == {first[0], second}
    assert await shelf.claim("another") == []
    assert await shelf.settle(claimed[0])
    assert [parcel.message for parcel in await shelf.claim()] == [first[1]]


async def test_a_lease_that_ended_is_taken_over_and_the_first_holder_is_fenced(shelf: Shelf) -> None:
    message = await shelf.post(await shelf.subscribe())
    [before] = await shelf.claim("dead")
    shelf.clock.pass_by(59)
    assert await shelf.claim("alive") == []
    shelf.clock.pass_by(2)
    [after] = await shelf.claim("alive")
    assert (after.message, after.attempts) == (message, 0)
    assert after.epoch > before.epoch
    assert not await shelf.settle(before)
    assert await shelf.settle(after)


@pytest.mark.parametrize("more", [0, 2])
async def test_a_lease_that_ended_is_seen_by_the_look_before_the_claim(shelf: Shelf, more: int) -> None:
    """The loop claims only when the look finds something: with one subscription it would never have claimed again."""
    subscription = await shelf.subscribe()
    message = await shelf.post(subscription)
    for _ in range(more):
        await shelf.post(subscription)

    async def seen() -> list[str]:
        async with shelf.database.read() as conn:
            return list((await conn.execute(ready(shelf.clock.now()))).scalars())

    assert await seen() == [message]
    await shelf.claim()
    assert await seen() == []
    shelf.clock.pass_by(61)
    assert await seen() == [message]
    assert [parcel.message for parcel in await shelf.claim("another")] == [message]


async def test_a_message_that_waits_does_not_hold_the_next(shelf: Shelf) -> None:
    to = await shelf.subscribe()
    first, second = await shelf.post(to), await shelf.post(to)
    [parcel] = await shelf.claim()
    assert await shelf.settle(parcel, again_in=300)
    [parcel] = await shelf.claim()
    assert parcel.message == second
    assert await shelf.settle(parcel)
    assert await shelf.claim() == []
    shelf.clock.pass_by(301)
    [parcel] = await shelf.claim()
    assert (parcel.message, parcel.attempts) == (first, 1)


async def test_who_failed_or_was_slow_shares_other_places(shelf: Shelf) -> None:
    well, slow, failing = [await shelf.subscribe() for _ in range(3)]
    for to in (well, slow, failing):
        await shelf.post(to)
    for parcel in await shelf.claim():
        took, again = (5000 if parcel.to.id == slow else 1), (0 if parcel.to.id == failing else None)
        assert await shelf.settle(parcel, again_in=again, took_ms=took)
    for to in (well, slow):
        await shelf.post(to)
    assert {parcel.to.id for parcel in await shelf.claim(sound=10, ailing=0)} == {well}
    assert {parcel.to.id for parcel in await shelf.claim(sound=0, ailing=10)} == {slow, failing}


async def test_one_event_makes_one_message_for_one_subscription(shelf: Shelf) -> None:
    to, event = await shelf.subscribe(), EventId(new_id())
    await shelf.post(to, event)
    await shelf.post(to, event)
    [parcel] = await shelf.claim()
    assert await shelf.settle(parcel)
    assert await shelf.claim() == []


async def test_sending_again_by_hand_fences_the_attempt_in_flight(shelf: Shelf) -> None:
    to = await shelf.subscribe()
    message = await shelf.post(to)
    [parcel] = await shelf.claim()
    async with shelf.database.write() as tx:
        assert await SqlBook(tx).again(message, to, shelf.clock.now())
        assert not await SqlBook(tx).again(message, SubscriptionId(new_id()), shelf.clock.now())
    assert not await shelf.settle(parcel)
    [parcel] = await shelf.claim()
    assert await shelf.settle(parcel)
