"""The whole house for tests and benches: the toy world, every service in this process, a subscriber's endpoint."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from cli.client import Client, Failed
from cli.composition import Running, at_work, free_port
from cli.demo import outside_of
from events.envelope import Event
from events.fact import Fact
from events.flow import TOPICS
from lab.people import citizen, firm
from lab.receiver import Receiver
from lab.world import World
from services.runtime.clock import SystemClock
from tests.support.waiting import until


@dataclass(frozen=True)
class Signatory:
    """Who signs: the identity of the certificate, and who approves on the phone."""

    identity: str
    approver: str

    @property
    def act_for(self) -> str | None:
        """The organisation, if somebody acts for one."""
        return self.identity if self.identity != self.approver else None


@dataclass
class House:
    """A running house."""

    world: World
    running: Running
    receiver: Receiver
    client: Client

    async def events(self) -> list[Event[Fact]]:
        """Every fact that was said, in order."""
        found = await self.running.platform.outbox.read([topic.name for topic in TOPICS.values()], 0, 1_000_000)
        return [delivery.event() for delivery in found]

    async def facts(self, name: str, **members: Any) -> list[Any]:
        """The facts of a name whose members are these."""
        return [
            event.fact
            for event in await self.events()
            if event.fact.name() == name and all(str(getattr(event.fact, k)) == str(v) for k, v in members.items())
        ]

    async def said(self, name: str, count: int = 1, *, seconds: float = 60.0, **members: Any) -> list[Any]:
        """Those facts, once there are so many."""

        async def enough() -> bool:
            return len(await self.facts(name, **members)) >= count

        await until(enough, what=f"{count} x {name} {members}", seconds=seconds)
        return await self.facts(name, **members)

    async def citizen(self, index: int) -> Signatory:
        """A citizen with a bound certificate."""
        subject = self.world.verify_citizen(citizen(index))
        return await self._bound(Signatory(subject, subject))

    async def firm(self, index: int, representative: int) -> Signatory:
        """A firm with a bound e-seal; its representative has no certificate."""
        person = self.world.verify_citizen(citizen(representative), consent=False)
        await self.said("IdentityVerified", identity=person)
        return await self._bound(Signatory(self.world.verify_organisation(firm(index), person), person))

    async def _bound(self, one: Signatory) -> Signatory:
        issued = (await self.said("CertificateIssued", identity=one.identity))[-1]
        activation = self.world.step_up(
            one.approver, "confirm-certificate", issued.certificate, issued.application, act_for=one.act_for
        )
        await self.client.post(f"/v1/applications/{issued.application}/confirm", {"activation": activation})
        await self.said("CertificateBound", identity=one.identity)
        return one

    async def send(self, pdf: bytes, parties: Sequence[Signatory], *, parallel: bool = False) -> dict[str, Any]:
        """Send a contract; slots are `party-1`, `party-2`, ..."""
        asked = {
            "title": "A contract",
            "deadline": (SystemClock().now() + timedelta(days=3)).isoformat(),
            "send": True,
            "parties": [
                {"slot": f"party-{n}", "identity": one.identity, "order": 1 if parallel else n}
                for n, one in enumerate(parties, 1)
            ],
        }
        once = str(uuid.uuid4())
        for _ in range(200):
            try:
                return dict(await self.client.upload("/v1/contracts", asked, pdf, once=once))
            except Failed as fault:
                if fault.code != "party-without-certificate":
                    raise
            await until(self._moment, what="a moment")
        raise AssertionError("the contracts never heard of the certificates")

    async def _moment(self) -> bool:
        await self.running.platform.outbox.news(0.05)
        return True

    async def approve(self, contract: str, slot: str, one: Signatory) -> None:
        """Wait for the party's turn and approve what it is shown."""

        async def invited() -> bool:
            return slot in (await self.client.get(f"/v1/contracts/{contract}"))["waiting_for"]

        await until(invited, what=f"the turn of {slot}", seconds=60)
        shown = (await self.client.get(f"/v1/contracts/{contract}"))["revision"]
        activation = self.world.step_up(one.approver, "sign", shown, f"{contract}/{slot}", act_for=one.act_for)
        await self.client.post(
            f"/v1/contracts/{contract}/slots/{slot}/confirm", {"activation": activation, "shown": shown}
        )

    async def signed(self, pdf: bytes, parties: Sequence[Signatory], *, parallel: bool = False) -> bytes:
        """Send, have everybody approve, and fetch the completed contract."""
        made = await self.send(pdf, parties, parallel=parallel)
        for n, one in enumerate(parties, 1):
            await self.approve(made["id"], f"party-{n}", one)
        await self.said("ContractCompleted", contract=made["id"])
        return await self.client.fetch(f"/v1/contracts/{made['id']}/document")


def _kept_port(folder: Path, name: str) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{name}-port"
    if not kept.exists():
        kept.write_text(str(free_port()))
    return int(kept.read_text())


async def _secret(folder: Path, client: Client, url: str) -> str:
    """The secret of the subscription, which is made when the house is opened for the first time."""
    kept = folder / "subscription-secret"
    if not kept.exists():
        kept.write_text((await client.post("/v1/webhooks", {"url": url}))["secret"])
    return kept.read_text()


@asynccontextmanager
async def house(
    folder: Path, environment: Mapping[str, str] | None = None, allow: Sequence[str] = ()
) -> AsyncIterator[House]:
    """Everything, in `folder`, until the block ends; what is outside keeps its port when opened again.

    `environment`: settings; `allow`: further inner `host:port` pairs that may be called.
    """
    port = _kept_port(folder, "lab")
    hook = _kept_port(folder, "receiver")
    async with (
        World(folder / "lab", port) as world,
        at_work(
            folder / "data", outside_of(world), allow=[f"127.0.0.1:{hook}", *allow], environment=environment or {}
        ) as running,
        Receiver(port=hook) as receiver,
        aiohttp.ClientSession() as session,
    ):
        world.connect(running.url, running.installation.recipient_jwk())
        client = Client(running.url, running.installation.api_key, session)
        receiver.secret = await _secret(folder, client, receiver.url)
        yield House(world, running, receiver, client)
