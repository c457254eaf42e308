"""A call that dies between spending a SAD and its outcome: nothing is lost needlessly, nothing is given out twice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.activation import Purpose
from events.errors import AntinError, Refused, Unavailable
from events.values import CredentialId, Digest, IdentityId
from services.runtime import migrate
from services.runtime.database import Database
from services.runtime.lease import LEASE
from services.signer.adapters.csc_store import SqlBooks
from services.signer.adapters.tables import schema
from services.signer.csc.model import SAD_LIFE, Attempt, Sad
from services.signer.model import Authorization
from tests.support.clocks import StillClock

CLIENT = "portal"
CREDENTIAL = CredentialId(str(uuid.UUID(int=9)))
HASHES = tuple(Digest.of(text) for text in (b"one", b"two", b"three"))


@dataclass
class Approval:
    """One approval of three hashes, the SAD that counts, and calls that use it."""

    books: SqlBooks
    clock: StillClock
    again: bool
    authorization: Authorization
    sad: str

    @staticmethod
    async def opened(books: SqlBooks, clock: StillClock, again: bool) -> Approval:
        now = clock.now()
        authorization = Authorization(
            id=str(uuid.uuid4()),
            jti=str(uuid.uuid4()),
            purpose=Purpose.SIGN_HASHES,
            credential=CREDENTIAL,
            identity=IdentityId("b" * 52),
            digests=HASHES,
            signed=frozenset(),
            issued_at=now,
            expires_at=now + 1000 * SAD_LIFE,
        )
        sad = str(uuid.uuid4())
        async with books.write() as book:
            await book.open(authorization, CLIENT, sad, authorization.expires_at)
        return Approval(books, clock, again, authorization, sad)

    async def found(self) -> Sad:
        async with self.books.read() as book:
            found = await book.by_sad(self.sad, CLIENT, CREDENTIAL, self.clock.now())
        assert found is not None
        return found

    async def spend(self, digests: Sequence[Digest]) -> tuple[Attempt, tuple[int, ...]]:
        now = self.clock.now()
        attempt = Attempt(str(uuid.uuid4()), now + LEASE, self.again)
        async with self.books.write() as book:
            found = await book.by_sad(self.sad, CLIENT, CREDENTIAL, now)
            assert found is not None
            authorization = found.usable(now)
            places = authorization.claim(digests, Purpose.SIGN_HASHES, now)
            await book.spend(authorization, places, attempt)
        return attempt, places

    async def extend(self) -> None:
        now = self.clock.now()
        async with self.books.write() as book:
            found = await book.by_sad(self.sad, CLIENT, CREDENTIAL, now)
            assert found is not None
            sad = str(uuid.uuid4())
            await book.renew(found.extendable(now), sad, self.authorization.expires_at)
        self.sad = sad

    async def settle(self, attempt: Attempt) -> bool:
        async with self.books.write() as book:
            return await book.settle(self.authorization.id, attempt)

    async def give_back(self, attempt: Attempt, places: tuple[int, ...]) -> None:
        async with self.books.write() as book:
            await book.give_back(self.authorization.id, attempt, places)

    async def hold_on(self, attempt: Attempt) -> None:
        async with self.books.write() as book:
            await book.hold_on(self.authorization.id, replace(attempt, until=self.clock.now() + LEASE))


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[SqlBooks]:
    database = Database(database_url)
    await migrate.upgrade(database, [schema])
    yield SqlBooks(database)
    await database.close()


async def test_a_dead_call_on_a_key_that_waits_leaves_its_sad_to_the_next(books):
    at = await Approval.opened(books, StillClock(), again=True)
    dead, places = await at.spend(HASHES[:2])
    with pytest.raises(Unavailable) as busy:
        await at.spend(HASHES[:2])
    assert busy.value.code == "sad-at-work"
    with pytest.raises(Unavailable):
        await at.extend()
    at.clock.pass_by(LEASE.total_seconds() - 1)
    await at.hold_on(dead)
    at.clock.pass_by(LEASE.total_seconds() - 1)
    with pytest.raises(Unavailable):
        await at.spend(HASHES[:2])
    at.clock.pass_by(1)
    assert (await at.found()).authorization.signed == frozenset()
    attempt, again = await at.spend(HASHES[:2])
    assert again == places
    # It was not dead but stood still: it must neither publish nor free what is another's now.
    await at.hold_on(dead)
    await at.give_back(dead, places)
    assert not await at.settle(dead)
    with pytest.raises(Unavailable):
        await at.spend(HASHES[2:])
    assert await at.settle(attempt)
    with pytest.raises(Refused, match="was used"):
        await at.spend(HASHES[2:])
    await at.extend()
    with pytest.raises(Refused):
        await at.spend(HASHES[:1])
    await at.spend(HASHES[2:])


async def test_what_a_dead_call_left_is_free_after_an_extension_too(books):
    at = await Approval.opened(books, StillClock(), again=True)
    await at.spend(HASHES)
    at.clock.pass_by(LEASE.total_seconds())
    await at.extend()
    attempt, _ = await at.spend(HASHES)
    assert await at.settle(attempt)


async def test_where_nobody_can_tell_whether_the_key_moved_spent_stays_spent(books):
    """EN 419241-1, SCAL2: the SAD is for one use. What is left of the approval can still be had."""
    at = await Approval.opened(books, StillClock(), again=False)
    await at.spend(HASHES[:1])
    for _ in range(2):
        with pytest.raises(Refused, match="was used"):
            await at.spend(HASHES[:1])
        at.clock.pass_by(LEASE.total_seconds())
    await at.extend()
    with pytest.raises(Refused, match="signed already"):
        await at.spend(HASHES[:1])
    await at.spend(HASHES[1:])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("spend"), st.sampled_from([(0,), (0, 1), (1, 2)])),
        st.tuples(st.just("settle"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["give_back", "hold_on"]), st.integers(0, 2)),
        st.tuples(st.just("pass"), st.sampled_from([29.0, 30.0])),
        st.tuples(st.just("extend"), st.none()),
    ),
    min_size=4,
    max_size=20,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(again=st.booleans(), steps=STEPS)
def test_whatever_dies_or_stands_still_no_hash_is_given_out_twice_and_no_sad_gives_twice(tmp_path, again, steps):
    """Calls spend, die, come back and settle in any order: what is published is each hash once, by each SAD once."""

    async def play() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'signer.db'}")
        try:
            await migrate.upgrade(database, [schema])
            at = await Approval.opened(SqlBooks(database), StillClock(), again)
            begun: list[tuple[Attempt, tuple[int, ...], str]] = []
            published: list[int] = []
            givers: list[str] = []
            for step, what in steps:
                try:
                    if step == "spend":
                        begun.append((*await at.spend([HASHES[place] for place in what]), at.sad))
                    elif step == "pass":
                        at.clock.pass_by(what)
                    elif step == "extend":
                        await at.extend()
                    elif what < len(begun):
                        attempt, places, sad = begun[what]
                        if step == "hold_on":
                            await at.hold_on(attempt)
                        elif step == "give_back":
                            await at.give_back(attempt, places)
                        elif await at.settle(attempt):
                            published += places
                            givers.append(sad)
                except AntinError:
                    pass
            assert len(published) == len(set(published))
            assert len(givers) == len(set(givers))
        finally:
            await database.close()

    asyncio.run(play())
