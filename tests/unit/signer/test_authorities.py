"""Several timestamp authorities: the first that is well, a pause for one that failed, never a clock of our own."""

from __future__ import annotations

import pytest

from events.errors import Unavailable
from events.values import Digest
from services.signer.adapters.tsa import OrderedAuthorities
from services.signer.model import Token
from tests.support.clocks import StillClock

DIGEST = Digest.of(b"something")


class Authority:
    """Answers, or fails while told to; counts how often it was asked."""

    def __init__(self, name: str, clock: StillClock, room: int = 100) -> None:
        self.name, self.clock, self.least, self.asked, self.fails = name, clock, room, 0, False

    def room(self, *, steady: bool) -> int:
        return 10 * self.least if steady else self.least

    async def timestamp(self, digest: Digest) -> Token:
        self.asked += 1
        if self.fails:
            raise Unavailable("timestamp-authority", found="a", expected="b", remedy="c")
        return Token(self.name.encode() + digest.raw, self.clock.now(), (self.name.encode(),))


class Two:
    def __init__(self) -> None:
        self.clock = StillClock()
        self.first, self.second = Authority("first", self.clock), Authority("second", self.clock, room=900)
        self.distrusted: set[bytes] = set()
        self.both = OrderedAuthorities([self.first, self.second], self.clock, self.vouch)

    async def vouch(self, path: tuple[bytes, ...]) -> None:
        if self.distrusted & set(path):
            raise Unavailable("timestamp-authority-status", found="a", expected="b", remedy="c")

    async def asks(self) -> str:
        return (await self.both.timestamp(DIGEST)).path[0].decode()

    @property
    def counts(self) -> tuple[int, int]:
        return self.first.asked, self.second.asked


@pytest.fixture
def two():
    return Two()


async def test_while_the_first_is_well_the_second_is_never_asked(two):
    for _ in range(3):
        assert await two.asks() == "first"
    assert two.counts == (3, 0)
    assert (two.both.room(steady=False), two.both.room(steady=True)) == (100, 9_000)


async def test_a_failure_falls_over_to_the_second_and_the_first_rests(two):
    two.first.fails = True
    for _ in range(4):
        assert await two.asks() == "second"
    assert two.counts == (1, 4)
    assert two.both.room(steady=False) == 900


async def test_after_its_pause_the_first_is_asked_again_and_is_back(two):
    two.first.fails = True
    await two.asks()
    two.first.fails = False
    two.clock.pass_by(4.9)
    assert await two.asks() == "second"
    two.clock.pass_by(0.2)
    assert await two.asks() == "first"
    assert await two.asks() == "first"
    assert two.counts == (3, 2)


async def test_pauses_double_up_to_five_minutes_and_begin_anew_after_a_success(two):
    two.first.fails = True
    tries = []
    for second in range(1000):
        before = two.first.asked
        await two.asks()
        if two.first.asked > before:
            tries.append(second)
        two.clock.pass_by(1)
    assert tries == [0, 5, 15, 35, 75, 155, 315, 615, 915]
    two.first.fails = False
    two.clock.pass_by(300)
    assert await two.asks() == "first"
    two.first.fails = True
    await two.asks()
    two.clock.pass_by(5)
    two.first.fails = False
    assert await two.asks() == "first"


async def test_one_request_finds_out_whether_the_first_is_back_while_the_others_go_on(two):
    import asyncio

    two.first.fails = True
    await two.asks()
    two.clock.pass_by(6)
    held = asyncio.Event()
    answer = two.first.timestamp

    async def slow(digest):
        await held.wait()
        return await answer(digest)

    two.first.timestamp = slow
    probing = asyncio.create_task(two.asks())
    await asyncio.sleep(0)
    assert await two.asks() == "second"
    two.first.fails = False
    held.set()
    assert await probing == "first"


async def test_both_down_is_a_wait_and_whichever_is_back_first_is_used(two):
    """RFC 3161 clause 2.1: time comes from a trustworthy source; a local clock is none."""
    two.first.fails = two.second.fails = True
    for _ in range(3):
        with pytest.raises(Unavailable, match="timestamp-authority"):
            await two.asks()
    two.second.fails = False
    assert await two.asks() == "second"


async def test_an_authority_whose_certificate_is_not_in_good_standing_is_passed_over(two):
    two.distrusted.add(b"first")
    assert await two.asks() == "second"
    two.distrusted.add(b"second")
    with pytest.raises(Unavailable, match="timestamp-authority-status"):
        await two.asks()
