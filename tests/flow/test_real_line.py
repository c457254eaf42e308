"""The whole line as processes on real Kafka, PostgreSQL and S3: it runs, and what dies or stalls changes nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.runtime.tables import inbox, jobs
from tests.support.real_line import RealLine, real_line
from tests.support.traffic import SLOTS, Balance, balance
from tests.support.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

KILL_CONTRACTS = int(os.environ.get("KILL_CONTRACTS", "40"))
KILL_SEED = int(os.environ.get("KILL_SEED", "4"))


async def _good(line: RealLine, contracts: int) -> None:
    events = await line.events()
    expected = contracts * len(SLOTS)
    assert balance(events, contracts) == Balance(expected, expected, 0, 0, ())
    assert await line.dead_letters() == []
    assert await line.undelivered(events) == ""

    async def agrees() -> bool:
        return (await line.log_differs(await line.events()))[0] == []

    await until(agrees, what="the topics to hold what the outbox holds", seconds=60)
    assert await line.timeline_differs() == []


async def test_a_signer_that_stalls_in_the_middle_of_signing_is_fenced(
    tmp_path: Path, real_kafka: object, real_postgres: object, real_s3: object
) -> None:
    """crash-safety.md: lease and epoch. The stalled process wakes up to find its result thrown away."""
    async with real_line(tmp_path) as line:
        traffic = await line.traffic(1)
        await line.lab.call("fault", part="tsa", kind="slow")
        flowing = asyncio.create_task(traffic.run())
        leased = sa.select(jobs.c.owner).where(jobs.c.consumer == "signer", jobs.c.state == "leased")

        async def signing() -> bool:
            return bool(await line.rows(leased))

        await until(signing, what="a signer at work", seconds=60)
        victim = line.processes[(await line.rows(leased))[0].owner]
        victim.signal(signal.SIGSTOP)
        await line.lab.call("fault", part="tsa", kind=None)
        other = {"signer-1": "signer-2", "signer-2": "signer-1"}[victim.name]

        async def taken_over() -> bool:
            rows = await line.rows(sa.select(jobs.c.owner, jobs.c.epoch).where(jobs.c.consumer == "signer"))
            return any(row.owner == other and row.epoch > 1 for row in rows)

        await until(taken_over, what="the other signer to take the job", seconds=120)
        await asyncio.sleep(3)
        victim.signal(signal.SIGCONT)
        await flowing
        await asyncio.sleep(3)
        await _good(line, 1)
        heard = await line.rows(sa.select(sa.func.count()).select_from(inbox).where(inbox.c.consumer == "signer"))
        assert heard[0][0] > 0


async def test_a_broker_that_is_away_for_a_minute_loses_nothing(
    tmp_path: Path, real_kafka: object, real_postgres: object, real_s3: object
) -> None:
    """crash-safety.md: what is said meanwhile waits in the outbox."""
    async with real_line(tmp_path) as line:
        traffic = await line.traffic(6, at_once=3)
        flowing = asyncio.create_task(traffic.run())

        async def some() -> bool:
            return traffic.done >= 1

        await until(some, what="a first contract", seconds=120)
        line.kafka.kill()
        await asyncio.sleep(60)
        assert not flowing.done()
        line.kafka.start()
        await flowing
        await _good(line, 6)


async def test_random_kills_on_the_real_line_lose_nothing_and_double_nothing(
    tmp_path: Path, real_kafka: object, real_postgres: object, real_s3: object
) -> None:
    """The short form of `make bench-crash`, for every run of the tests."""
    chance = random.Random(KILL_SEED)
    async with real_line(tmp_path) as line:
        traffic = await line.traffic(KILL_CONTRACTS, at_once=12)
        flowing = asyncio.create_task(traffic.run())
        victims = [name for name in line.processes if name != "intake"]
        kills = 0
        try:
            while not flowing.done():
                await asyncio.sleep(chance.uniform(0.5, 4.0))
                victim = chance.choice([*victims, "broker", "database"])
                if victim == "broker":
                    await asyncio.to_thread(line.kafka.kill)
                    await asyncio.to_thread(line.kafka.start)
                elif victim == "database":
                    await asyncio.to_thread(line.postgres.kill)
                    await asyncio.to_thread(line.postgres.start)
                else:
                    await line.processes[victim].kill()
                kills += 1
                await line.all_up(settle=False)
        finally:
            flowing.cancel()
            await asyncio.gather(flowing, return_exceptions=True)
        flowing.result()
        await line.all_up()
        await _good(line, KILL_CONTRACTS)
        assert kills >= 5
