"""SIGKILL at random points while many contracts flow: nothing lost, nothing double, every fact delivered."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cli.client import Client, Failed
from events.codec import from_structured
from events.envelope import Event
from events.fact import Fact
from lab.client import Lab
from lab.people import citizen
from lab.receiver import Receiver
from services.runtime.clock import SystemClock
from tests.support.pdfs import minimal
from tests.support.ports import free_port
from tests.support.waiting import until

CONTRACTS = int(os.environ.get("KILL_CONTRACTS", "200"))
SLOTS = ("first", "second")
AT_ONCE = 16


@dataclass
class Victim:
    """`antin serve` in a process of its own, killed and started again until told to stop."""

    folder: Path
    port: int
    environment: dict[str, str]
    kills: int = 0
    log: Any = None
    _process: asyncio.subprocess.Process | None = field(default=None)

    async def start(self) -> None:
        """Start it; return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "serve", "--no-lab"),
            *("--data", str(self.folder), "--port", str(self.port)),
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        process = self._process

        async def answers() -> bool:
            assert process.returncode is None, f"antin serve ended with {process.returncode}; see {self.log.name}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            return True

        await until(answers, what="antin serve to answer", seconds=60)

    async def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self.kills += 1

    async def stop(self) -> None:
        """SIGTERM, and it ends by itself."""
        assert self._process is not None
        self._process.terminate()
        assert await asyncio.wait_for(self._process.wait(), 40) == 0

    async def be_killed(self, chance: random.Random) -> None:
        """Again and again, after a random time."""
        while True:
            await asyncio.sleep(chance.uniform(0.2, 6.0))
            await self.kill()
            await self.start()


@asynccontextmanager
async def outside(folder: Path) -> AsyncIterator[str]:
    """The toy world in a process of its own: it is not killed, as the outside would not be."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "lab",
        "--data",
        str(folder),
        "--port",
        str(port),
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


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
        state = await _ready(lab)
        urls = state["urls"]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTIN_")},
            "ANTIN_OUTSIDE__AUTHORITY": urls["authority"],
            "ANTIN_OUTSIDE__JWKS": urls["jwks"],
            "ANTIN_OUTSIDE__CA": urls["ca"],
            "ANTIN_OUTSIDE__TSA": urls["tsa"],
            "ANTIN_OUTSIDE__REGISTRY": urls["registry"],
            "ANTIN_OUTSIDE__ANCHORS": state["anchors"],
            "ANTIN_OUTSIDE__RA_TOKEN_FILE": state["ra_token_file"],
            "ANTIN_OUTSIDE__ALLOW": f"{state['host_port']},127.0.0.1:{hook}",
            "ANTIN_NOTIFIER__SCHEDULE": json.dumps([0.2] * 28),
        }
        with (tmp_path / "serve.log").open("wb") as log:
            victim = Victim(tmp_path / "data", port, environment, log=log)
            await victim.start()
            key = (tmp_path / "data" / "secrets" / "api-key").read_text().strip()
            client = Client(f"http://127.0.0.1:{port}", key, session, patient=True)
            hooked = await client.post("/v1/webhooks", {"url": receiver.url})
            receiver.secret = hooked["secret"]
            people = await _bound(lab, client, tmp_path)
            killer = asyncio.create_task(victim.be_killed(chance))
            try:
                await _all_contracts(lab, client, people)
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
        _nothing_lost(_events(tmp_path), people)
        assert not receiver.refused
        bodies = Counter((received.id, received.body) for received in receiver.received)
        assert len({message for message, _ in bodies}) == len(bodies), "a retried webhook had other bytes"
        figures = f"{victim.kills} kills, {CONTRACTS} contracts, {CONTRACTS * len(SLOTS)} signatures, 0 lost, 0 double"
        sys.stdout.write(f"\n{figures}\n")
        assert victim.kills >= 5


async def _ready(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def answers() -> bool:
        try:
            found.update(await lab.state())
        except aiohttp.ClientError:
            return False
        return True

    await until(answers, what="the toy world to answer", seconds=60)
    return found


def _events(folder: Path) -> list[Event[Fact]]:
    with sqlite3.connect(f"file:{folder / 'data' / 'antin.db'}?mode=ro", uri=True) as books:
        rows = books.execute(
            "SELECT body FROM runtime_outbox WHERE topic NOT LIKE '%.dlq' ORDER BY \"offset\""
        ).fetchall()
        dead = books.execute("SELECT body FROM runtime_outbox WHERE topic LIKE '%.dlq'").fetchall()
    assert dead == [], dead[0]
    return [from_structured(row[0]) for row in rows]


async def _bound(lab: Lab, client: Client, folder: Path) -> dict[str, str]:
    """Two citizens with certificates, before the killing begins."""
    installation = json.loads((folder / "data" / "secrets" / "identity-key.jwk").read_text())
    public = {name: value for name, value in installation.items() if name != "d"}
    await lab.connect(client._url, public)
    people = {slot: await lab.verify_citizen(citizen(i)) for i, slot in enumerate(SLOTS)}
    for subject in people.values():

        async def issued(subject: str = subject) -> bool:
            found = (await client.get(f"/v1/applications?identity={subject}"))["applications"]
            return any(one["state"] == "issued" for one in found)

        await until(issued, what="a certificate")
        one = (await client.get(f"/v1/applications?identity={subject}"))["applications"][-1]
        activation = await lab.step_up(subject, "confirm-certificate", one["certificate"], one["application"])
        await client.post(f"/v1/applications/{one['application']}/confirm", {"activation": activation})
    return people


async def _all_contracts(lab: Lab, client: Client, people: dict[str, str]) -> None:
    """Send, approve and see through every contract, some at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        async with places:
            await _contract(lab, client, people, index)

    await asyncio.gather(*(one(index) for index in range(CONTRACTS)))


async def _contract(lab: Lab, client: Client, people: dict[str, str], index: int) -> None:
    deadline = (SystemClock().now() + timedelta(days=3)).isoformat()
    parties = [{"slot": slot, "identity": people[slot], "order": order} for order, slot in enumerate(SLOTS, 1)]
    asked = {"title": f"Contract {index}", "parties": parties, "deadline": deadline, "send": True}
    pdf = minimal(f"Contract number {index}")
    once = str(uuid.uuid4())
    while True:
        try:
            made = await client.upload("/v1/contracts", asked, pdf, once=once)
            break
        except Failed as fault:
            if fault.code != "party-without-certificate":  # the contracts have not heard of it yet
                raise
            await asyncio.sleep(0.2)
    for slot in SLOTS:
        view = await _seen(client, made["id"], lambda found, slot=slot: slot in found["waiting_for"])
        shown = view["revision"]
        activation = await lab.step_up(people[slot], "sign", shown, f"{made['id']}/{slot}")
        confirmation = {"activation": activation, "shown": shown}
        try:
            await client.post(f"/v1/contracts/{made['id']}/slots/{slot}/confirm", confirmation, once=str(uuid.uuid4()))
        except Failed as fault:
            # Killed between commit and answer, and asked again: it was taken the first time.
            if fault.code not in ("activation-used", "not-due"):
                raise
    await _seen(client, made["id"], lambda found: found["state"] == "completed")


async def _seen(client: Client, identifier: str, enough: Any) -> dict[str, Any]:
    """The contract once it is so."""
    for _ in range(6000):
        found: dict[str, Any] = await client.get(f"/v1/contracts/{identifier}")
        if enough(found):
            return found
        assert found["state"] in ("sent", "completed"), found
        await asyncio.sleep(0.1)
    raise AssertionError(f"waited in vain for {identifier}: {found}")


def _nothing_lost(events: list[Event[Fact]], people: dict[str, str]) -> None:
    assert len({event.id for event in events}) == len(events)
    count = Counter(
        (event.fact.name(), event.fact.key, getattr(event.fact, "slot", ""))
        for event in events
        if event.fact.family in ("contract", "signing", "verification")
    )
    contracts = {key for name, key, _ in count if name == "ContractSent"}
    assert len(contracts) == CONTRACTS
    for name in ("PartyConfirmed", "SigningRequested", "DocumentSigned", "SignatureVerified"):
        once = {(key, slot): n for (found, key, slot), n in count.items() if found == name}
        assert once == {(key, slot): 1 for key in contracts for slot in SLOTS}, name
    assert {key: n for (name, key, _), n in count.items() if name == "ContractCompleted"} == dict.fromkeys(contracts, 1)
    unwanted = {"SigningRefused", "SignatureRejected", "ContractVoided", "ContractExpired"}
    assert not [name for name, _, _ in count if name in unwanted]
    for contract in contracts:
        order = [event.fact.name() for event in events if event.fact.key == contract]
        assert order[0] == "ContractSent"
        assert order[-1] == "ContractCompleted"
