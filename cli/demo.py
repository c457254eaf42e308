"""The main job, once: identities, certificates, a contract signed by three, verified and notified."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.x509.oid import NameOID
from rich.console import Console

from cli.client import Client, Failed
from cli.composition import Running, at_work, free_port
from cli.installation import Outside
from cli.seal import seal_from_lab
from cli.telling import SignerRow, console, line, results, stages
from events.envelope import Event
from events.errors import AntinError
from events.fact import Fact
from events.flow import TOPICS
from events.values import Digest
from lab.people import citizen, firm
from lab.receiver import Receiver
from lab.world import World
from services.runtime import certificates
from services.runtime.clock import SystemClock
from services.runtime.telemetry import log_to

PATIENCE = 60.0
"""Seconds that any one step may take before the demo gives up and says which."""

RESULTS = ("signed.pdf", "report.html", "report.pdf", "report.xml", "report.json", "evidence.json", "events.jsonl")

_FAILURES = frozenset(
    {
        "ApplicationRefused",
        "SigningRefused",
        "SignatureRejected",
        "ContractVoided",
        "ContractExpired",
        "ContractWithdrawn",
        "PartyDeclined",
        "NotificationAbandoned",
        "SubscriptionDisabled",
    }
)


class Stopped(Exception):
    """The demo cannot go on; says at which step and why."""


@dataclass(frozen=True)
class Signatory:
    """A slot, the identity behind it, and who approves on the phone."""

    slot: str
    identity: str
    approver: str
    order: int

    @property
    def act_for(self) -> str | None:
        """The organisation, if somebody acts for one."""
        return self.identity if self.identity != self.approver else None


class Tail:
    """Reads every fact as it is said, tells it, and lets others wait for some."""

    def __init__(self, running: Running, out: Console, started: datetime) -> None:
        self.events: list[Event[Fact]] = []
        self.lines: list[bytes] = []
        self._running = running
        self._out = out
        self._started = started
        self._offset = 0
        self._changed = asyncio.Condition()

    async def follow(self) -> None:
        """Until cancelled."""
        outbox = self._running.platform.outbox
        topics = [topic.name for topic in TOPICS.values()]
        while True:
            found = await outbox.read(topics, self._offset, 200)
            for delivery in found:
                self._offset = delivery.offset
                event = delivery.event()
                self.events.append(event)
                self.lines.append(delivery.body)
                self._out.print(line(event, self._started))
            if found:
                async with self._changed:
                    self._changed.notify_all()
            else:
                await outbox.news(0.1)

    async def wait(self, what: str, found: Callable[[], Any]) -> Any:
        """What `found` gives once it gives something.

        Raises:
            Stopped: a step failed, or nothing came in time.
        """

        async def look() -> Any:
            async with self._changed:
                while True:
                    failed = next((event for event in self.events if event.fact.name() in _FAILURES), None)
                    if failed is not None:
                        raise Stopped(f"{what}: {failed.fact.name()} {json.dumps(failed.fact.data())}")
                    result = found()
                    if result:
                        return result
                    await self._changed.wait()

        try:
            async with asyncio.timeout(PATIENCE):
                return await look()
        except TimeoutError as fault:
            raise Stopped(f"{what}: nothing for {PATIENCE:.0f} s; see the log") from fault

    def of(self, name: str, **members: Any) -> list[Any]:
        """The facts of a name whose members are these."""
        return [
            event.fact
            for event in self.events
            if event.fact.name() == name
            and all(str(getattr(event.fact, key)) == str(value) for key, value in members.items())
        ]

    def at(self, name: str, **members: Any) -> datetime | None:
        """When the first such fact was said."""
        for event in self.events:
            if event.fact.name() == name and all(
                str(getattr(event.fact, key)) == str(value) for key, value in members.items()
            ):
                return event.time
        return None


def outside_of(world: World) -> Outside:
    """The toy world as an operator would name it."""
    return Outside(
        authority=world.urls.authority,
        jwks=world.urls.jwks,
        ca=world.urls.ca,
        tsa=(world.urls.tsa, world.urls.tsa2),
        registry=world.urls.registry,
        anchors=world.anchors,
        ra_token_file=world.ra_token_file,
        allow=world.host_port,
    )


def run(out: Path, contract: Path | None) -> int:
    """Run it all; 0 when every step was done, 1 when one failed, 2 on wrong usage."""
    screen = console()
    pdf: bytes | None = None
    try:
        pdf = contract.read_bytes() if contract is not None else None
        state = _fresh(out)
    except OSError as fault:
        print(f"antin: cannot use {fault.filename}: {fault.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    with (state / "log.jsonl").open("w") as log:
        log_to(log)
        try:
            asyncio.run(_main_line(out, state, pdf, screen))
        except (Stopped, Failed, AntinError) as fault:
            screen.print(f"[bold red]Stopped.[/] {fault}", markup=True)
            screen.print(f"The log is {state / 'log.jsonl'}.")
            return 1
    return 0


def _fresh(out: Path) -> Path:
    """The folder of this run's data; what the last run left there goes."""
    state = out / "state"
    if state.exists():
        shutil.rmtree(state)
    state.mkdir(parents=True)
    for name in RESULTS:
        (out / name).unlink(missing_ok=True)
    return state


@asynccontextmanager
async def _sealed(world: World, data: Path) -> AsyncIterator[None]:
    """The verifier gets its seal before it starts."""
    await seal_from_lab(world, data)
    yield


async def _main_line(out: Path, state: Path, pdf: bytes | None, screen: Console) -> None:
    clock = SystemClock()
    began = time.monotonic()
    hook_port = free_port()
    async with (
        World(state / "lab") as world,
        _sealed(world, state / "data"),
        at_work(state / "data", outside_of(world), allow=[f"127.0.0.1:{hook_port}"]) as running,
        Receiver(port=hook_port) as receiver,
        aiohttp.ClientSession() as session,
    ):
        ready = time.monotonic()
        world.connect(running.url, running.installation.recipient_jwk())
        client = Client(running.url, running.installation.api_key, session)
        hook = await client.post("/v1/webhooks", {"url": receiver.url})
        receiver.secret = hook["secret"]
        tail = Tail(running, screen, clock.now())
        following = asyncio.create_task(tail.follow())
        try:
            signatories = await _bind(world, client, tail)
            bound = time.monotonic()
            identifier = await _sign(world, client, tail, signatories, pdf, clock.now())
            done = tail.of("ContractCompleted", contract=identifier)[0]
            completed = time.monotonic()
            await _notified(tail, receiver, identifier)
            notified = time.monotonic()
            await _keep(out, world, client, identifier, done, tail)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        rows = [await _row(running, tail, one, identifier) for one in signatories]
        screen.print()
        screen.print(results(rows))
        screen.print(
            stages(
                [
                    ("start of every service", (ready - began) * 1000),
                    ("identities to bound certificates", (bound - ready) * 1000),
                    ("contract to completion", (completed - bound) * 1000),
                    ("last webhook", (notified - completed) * 1000),
                ]
            )
        )
        delivered = len(receiver.messages)
        screen.print(f"{len(tail.events)} facts, {delivered} webhooks received with a good signature.")
        for name in (*RESULTS, "anchors"):
            screen.print(f"  {out / name}")


async def _bind(world: World, client: Client, tail: Tail) -> list[Signatory]:
    """Two firms with their representatives and a citizen are verified; three certificates are bound."""
    ann = world.verify_citizen(citizen(0), consent=False)
    cat = world.verify_citizen(citizen(2), consent=False)
    ben = world.verify_citizen(citizen(1))
    await tail.wait("verifying representatives", lambda: len(tail.of("IdentityVerified")) == 3)
    outgoing = world.verify_organisation(firm(0), ann)
    supplier = world.verify_organisation(firm(1), cat)
    signatories = [
        Signatory("outgoing-buyer", outgoing, ann, 1),
        Signatory("incoming-buyer", ben, ben, 1),
        Signatory("supplier", supplier, cat, 2),
    ]

    async def confirm(one: Signatory) -> None:
        issued = (await tail.wait("issuing certificates", lambda: tail.of("CertificateIssued", identity=one.identity)))[
            0
        ]
        activation = world.step_up(
            one.approver, "confirm-certificate", issued.certificate, issued.application, act_for=one.act_for
        )
        await client.post(f"/v1/applications/{issued.application}/confirm", {"activation": activation})
        await tail.wait("binding certificates", lambda: tail.of("CertificateBound", identity=one.identity))

    await asyncio.gather(*(confirm(one) for one in signatories))
    return signatories


async def _sign(
    world: World, client: Client, tail: Tail, signatories: list[Signatory], pdf: bytes | None, now: datetime
) -> str:
    """Send the contract; every party confirms what it is shown when its turn comes."""
    parties = [{"slot": one.slot, "identity": one.identity, "order": one.order} for one in signatories]
    asked: dict[str, Any] = {
        "title": "Change of parties of a power purchase agreement",
        "parties": parties,
        "deadline": (now + timedelta(days=7)).isoformat(),
        "send": True,
    }
    # A party can be seated once the contracts have heard of its certificate.
    for _ in range(200):
        try:
            if pdf is None:
                made = await client.post(
                    "/v1/templates/power-purchase-novation/contracts", asked | {"fields": _fields()}, once="demo"
                )
            else:
                made = await client.upload("/v1/contracts", asked, pdf, once="demo")
            break
        except Failed as fault:
            if fault.code not in ("party-without-certificate", "certificate-not-bound"):
                raise
            await asyncio.sleep(0.05)
    else:
        raise Stopped("sending the contract: a party's certificate is not known to the contracts")
    identifier = str(made["id"])
    for one in signatories:
        shown = str((await _turn(client, tail, identifier, one))["revision"])
        activation = world.step_up(one.approver, "sign", shown, f"{identifier}/{one.slot}", act_for=one.act_for)
        await client.post(
            f"/v1/contracts/{identifier}/slots/{one.slot}/confirm", {"activation": activation, "shown": shown}
        )
    await tail.wait("completing the contract", lambda: tail.of("ContractCompleted", contract=identifier))
    return identifier


async def _turn(client: Client, tail: Tail, identifier: str, one: Signatory) -> dict[str, Any]:
    """The contract once this party is invited."""
    waited = 0.0
    while True:
        found: dict[str, Any] = await client.get(f"/v1/contracts/{identifier}")
        if one.slot in found["waiting_for"]:
            return found
        if waited > PATIENCE:
            raise Stopped(f"inviting {one.slot}: it is still not its turn")
        await tail.wait("going on", lambda: True)
        await asyncio.sleep(0.02)
        waited += 0.02


async def _notified(tail: Tail, receiver: Receiver, identifier: str) -> None:
    """Until the endpoint has heard of the completion."""
    completed = next(event for event in tail.events if event.fact.name() == "ContractCompleted")
    await tail.wait("delivering webhooks", lambda: tail.of("NotificationDelivered", event=completed.id))
    if receiver.refused:
        raise Stopped("delivering webhooks: the receiver could not verify a signature")


async def _keep(out: Path, world: World, client: Client, identifier: str, done: Any, tail: Tail) -> None:
    """Write the results."""
    final = f"/v1/contracts/{identifier}/revisions/{done.document}"
    found = {
        "signed.pdf": await client.fetch(f"/v1/contracts/{identifier}/document"),
        "evidence.json": _pretty(await client.fetch(f"/v1/contracts/{identifier}/evidence")),
        "report.json": _pretty(await client.fetch(f"{final}/report")),
        "report.html": await client.fetch(f"{final}/report.html"),
        "report.pdf": await client.fetch(f"{final}/report.pdf"),
        "report.xml": await client.fetch(f"{final}/report.xml"),
        "events.jsonl": b"".join(one + b"\n" for one in tail.lines),
    }
    await asyncio.to_thread(_write, out, found, world.anchors)


def _write(out: Path, found: dict[str, bytes], roots: Path) -> None:
    for name, body in found.items():
        (out / name).write_bytes(body)
    anchors = out / "anchors"
    anchors.mkdir(exist_ok=True)
    for old in anchors.glob("*.pem"):
        old.unlink()
    for path in (*roots.glob("*.pem"), roots / "set.json"):
        shutil.copy(path, anchors / path.name)


def _pretty(body: bytes) -> bytes:
    return json.dumps(json.loads(body), ensure_ascii=False, indent=2).encode() + b"\n"


async def _row(running: Running, tail: Tail, one: Signatory, identifier: str) -> SignerRow:
    bound = tail.of("CertificateBound", identity=one.identity)[0]
    chain = await running.platform.blobs.fetch(Digest(bound.chain))
    certificate = certificates.all_in(chain)[0]
    common = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    signed = tail.of("DocumentSigned", contract=identifier, slot=one.slot)[0]
    times = {
        name: tail.at(name, contract=identifier, slot=one.slot)
        for name in ("SigningRequested", "DocumentSigned", "SignatureVerified")
    }

    def between(first: str, last: str) -> float:
        start, end = times[first], times[last]
        return (end - start).total_seconds() * 1000 if start and end else float("nan")

    return SignerRow(
        one.slot,
        common,
        bound.certificate.short,
        bound.key_algorithm,
        signed.level,
        "passed / đạt" if times["SignatureVerified"] else "-",
        between("SigningRequested", "DocumentSigned"),
        between("DocumentSigned", "SignatureVerified"),
    )


def _fields() -> dict[str, Any]:
    """What the template asks for: the parties of the toy world."""
    incoming = citizen(1)
    return {
        "number": "01/2026/TT-MBĐ",
        "made_on": "2026-11-24",
        "effective_on": "2026-12-01",
        "outgoing": {
            "kind": "organisation",
            "name": firm(0).name,
            "number": firm(0).tax_code,
            "address": "Số 12 đường Thử Nghiệm, phường Ba Đình, thành phố Hà Nội",
            "representative": citizen(0).full_name,
            "position": "Giám đốc",
        },
        "incoming": {
            "kind": "citizen",
            "name": incoming.full_name,
            "address": "Số 4 ngõ 31 phố Thử Nghiệm, phường Ô Chợ Dừa, thành phố Hà Nội",
        },
        "supplier": {
            "kind": "organisation",
            "name": firm(1).name,
            "number": firm(1).tax_code,
            "address": "Số 69 phố Thử Nghiệm, phường Hoàn Kiếm, thành phố Hà Nội",
            "representative": citizen(2).full_name,
            "position": "Tổng giám đốc",
        },
        "contract": {
            "number": "PD0100/2021/HĐMBĐ",
            "signed_on": "2021-03-15",
            "customer_code": "PD01000123456",
            "place": "Xưởng số 2, khu công nghiệp Thử Nghiệm, Hà Nội",
            "purpose": "Sản xuất",
            "voltage": "380 V",
        },
        "meter": {"number": "CT-2021-004711", "reading": "128456.5", "read_on": "2026-11-23"},
        "debts": {"cleared": True, "last_amount": 18450000, "paid_on": "2026-11-23", "deposit": 30000000},
    }
