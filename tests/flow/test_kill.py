"""SIGKILL at random points while many contracts flow: nothing lost, nothing double, every fact delivered."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from cli.client import Client
from events.codec import from_message
from events.envelope import Event
from events.fact import Fact
from lab.client import Lab
from lab.receiver import Receiver
from tests.support.traffic import SLOTS, Balance, Traffic, balance
from tests.support.victim import Victim, environment_of, outside, ready
from tests.support.waiting import until
from tools.real.child import free_port

CONTRACTS = int(os.environ.get("KILL_CONTRACTS", "200"))


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_random_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """crash-safety.md: at-least-once transport, effectively-once state, one visible signature per (contract, slot)."""
    chance = random.Random(20261124)
    port, hook = free_port(), free_port()
    async with (
        outside(tmp_path / "lab") as base,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
        Receiver(port=hook) as receiver,
    ):
        lab = Lab(base, session)
        state = await ready(lab)
        environment = environment_of(state, hook) | {"ANTIN_NOTIFIER__SCHEDULE": json.dumps([0.2] * 28)}
        with (tmp_path / "serve.log").open("wb") as log:
            victim = Victim(tmp_path / "data", port, environment, log=log)
            await victim.start()
            key = (tmp_path / "data" / "secrets" / "api-key").read_text().strip()
            client = Client(f"http://127.0.0.1:{port}", key, session, patient=True)
            hooked = await client.post("/v1/webhooks", {"url": receiver.url})
            receiver.secret = hooked["secret"]
            traffic = Traffic(lab, client, CONTRACTS)
            identity = json.loads((tmp_path / "data" / "secrets" / "identity-key.jwk").read_text())
            await traffic.begin({name: value for name, value in identity.items() if name != "d"}, client.url)
            killer = asyncio.create_task(victim.be_killed(chance))
            try:
                await traffic.run()
            finally:
                killer.cancel()
                await asyncio.gather(killer, return_exceptions=True)
            if killer.done() and not killer.cancelled() and killer.exception() is not None:
                raise killer.exception() or AssertionError
            with suppress(AssertionError):
                await victim.kill()
            await victim.start()
            events = _events(tmp_path)
            owed = {str(e.id) for e in events if e.fact.family in ("binding", "contract", "verification")}

            async def delivered() -> bool:
                return owed <= {received.event["id"] for received in receiver.messages.values()}

            await until(delivered, what="every webhook", seconds=120)
            await victim.stop()
        found = balance(_events(tmp_path), CONTRACTS)
        assert found == Balance(CONTRACTS * len(SLOTS), CONTRACTS * len(SLOTS), 0, 0, ())
        assert not receiver.refused
        bodies = Counter((received.id, received.body) for received in receiver.received)
        assert len({message for message, _ in bodies}) == len(bodies), "a retried webhook had other bytes"
        figures = f"{victim.kills} kills, {CONTRACTS} contracts, {CONTRACTS * len(SLOTS)} signatures, 0 lost, 0 double"
        sys.stdout.write(f"\n{figures}\n")
        assert victim.kills >= 5


def _events(folder: Path) -> list[Event[Fact]]:
    with sqlite3.connect(f"file:{folder / 'data' / 'antin.db'}?mode=ro", uri=True) as books:
        rows = books.execute(
            "SELECT headers, body FROM runtime_outbox WHERE topic NOT LIKE '%.dlq' ORDER BY \"offset\""
        ).fetchall()
        dead = books.execute("SELECT body FROM runtime_outbox WHERE topic LIKE '%.dlq'").fetchall()
    assert dead == [], dead[0]
    return [from_message(json.loads(row[0]), row[1]) for row in rows]
