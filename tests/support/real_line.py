"""The whole line as users run it: every service a process, on real Kafka, PostgreSQL and S3, with the toy outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer

from cli.client import Client
from events.bus import Delivery
from events.envelope import Event
from events.fact import Fact
from events.flow import TOPICS
from events.kafka import delivery_of
from lab.client import Lab
from lab.receiver import Receiver
from services.runtime.database import Database
from services.runtime.outbox import delivery_of as outbox_delivery
from services.runtime.tables import outbox
from tests.support.traffic import Traffic
from tests.support.victim import ready
from tests.support.waiting import until
from tools.real.child import free_port
from tools.real.kafka import Kafka
from tools.real.postgres import Postgres
from tools.real.s3 import S3

PROCESSES: dict[str, tuple[str, ...]] = {
    "intake": ("ca_bridge", "contracts"),
    "signer-1": ("signer",),
    "signer-2": ("signer",),
    "verifier-1": ("verifier",),
    "verifier-2": ("verifier",),
    "notifier": ("notifier",),
    "relay": ("relay",),
    "timeline": ("timeline",),
}
FAMILIES = [topic.name for topic in TOPICS.values()]


class Process:
    """One `antin run` in a process of its own; its name is its instance name in its consumer groups."""

    def __init__(
        self, name: str, services: Sequence[str], data: Path, environment: Mapping[str, str], port: int, log: Any
    ) -> None:
        self.name = name
        self.port = port
        self._command = [sys.executable, "-m", "cli.main", "run", *services, "--data", str(data), "--port", str(port)]
        self._environment = {**environment, "ANTIN_KAFKA__INSTANCE": name}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, settle: bool = True) -> None:
        """Start it; with `settle` return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True
        )
        if settle:
            await self.settled()

    async def settled(self) -> None:
        """Return when it answers."""

        async def answers() -> bool:
            if self.ended:
                raise AssertionError(f"{self.name} ended by itself; see {self._log.name}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            return True

        await until(answers, what=f"{self.name} to answer", seconds=120)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is None or self._process.returncode is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to its children."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long."""
        if self._process is None or self.ended:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(30):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


@dataclass
class RealLine:
    """A running line."""

    folder: Path
    kafka: Kafka
    postgres: Postgres
    s3: S3
    lab: Lab
    receiver: Receiver
    processes: dict[str, Process]
    client: Client
    timeline: Client

    @property
    def data(self) -> Path:
        """The data folder that the processes share."""
        return self.folder / "data"

    async def traffic(self, count: int, *, at_once: int = 16, people: Mapping[str, str] | None = None) -> Traffic:
        """Contracts to come, with two citizens who have their certificates: these `people`, or new ones."""
        found = Traffic(self.lab, self.client, count, at_once=at_once, patience=1800, people=dict(people or {}))
        if found.people:
            return found
        identity = json.loads((self.data / "secrets" / "identity-key.jwk").read_text())
        await found.begin({name: value for name, value in identity.items() if name != "d"}, self.client.url)
        return found

    async def rows(self, query: sa.Select[Any] | sa.TextClause) -> Sequence[sa.Row[Any]]:
        """What the database says."""
        database = Database(self.postgres.url)
        try:
            async with database.read() as conn:
                return (await conn.execute(query)).all()
        finally:
            await database.close()

    async def events(self) -> list[Event[Fact]]:
        """Every fact of the outbox, in order."""
        query = sa.select(outbox).where(outbox.c.topic.in_(FAMILIES)).order_by(outbox.c.offset)
        return [outbox_delivery(row).event() for row in await self.rows(query)]

    async def dead_letters(self) -> list[str]:
        """How many there are, by topic; empty when none."""
        query = sa.select(outbox.c.topic, sa.func.count()).where(outbox.c.topic.like("%.dlq")).group_by(outbox.c.topic)
        return [f"{row[1]} dead letters in {row[0]}" for row in await self.rows(query)]

    async def standing(self) -> str:
        """Where events and messages are held up, for a test that waited in vain."""
        parts = [f"ended: {[one.name for one in self.processes.values() if one.ended]}"]
        for what, query in (
            ("outbox", 'SELECT max("offset") FROM runtime_outbox'),
            ("relayed", "SELECT \"offset\" FROM runtime_cursors WHERE consumer = 'relay'"),
            ("waiting", "SELECT consumer, attempt, why, count(*), max(due) FROM runtime_waiting GROUP BY 1, 2, 3"),
            ("messages", "SELECT state, count(*), max(due), max(leased_until) FROM notifier_messages GROUP BY 1"),
            ("subscriptions", "SELECT state, failures, not_before FROM notifier_subscriptions"),
        ):
            parts.append(f"{what}: {[tuple(row) for row in await self.rows(sa.text(query))]}")
        return "; ".join(parts)

    async def undelivered(self, events: Sequence[Event[Fact]], patience: float = 120.0) -> str:
        """Wait for every webhook these events owe; what is missing once nothing at all has come for `patience` seconds.

        A busy machine drains slowly: how long it takes in all says nothing.
        """
        owed = {str(one.id) for one in events if one.fact.family in ("binding", "contract", "verification")}
        loop = asyncio.get_running_loop()
        arrived, since = -1, loop.time()
        while missing := owed - {received.event["id"] for received in self.receiver.messages.values()}:
            if len(self.receiver.messages) != arrived:
                arrived, since = len(self.receiver.messages), loop.time()
            elif loop.time() - since > patience:
                return f"{len(missing)} webhooks that were not delivered; {await self.standing()}"
            await asyncio.sleep(0.1)
        return ""

    async def topics(self) -> list[Delivery]:
        """Everything on the topics of the families, partition by partition."""
        consumer = AIOKafkaConsumer(
            *FAMILIES, bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        found: list[Delivery] = []
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found.extend(delivery_of(record) for record in records)
        finally:
            await consumer.stop()
        return found

    async def log_differs(self, events: Sequence[Event[Fact]]) -> tuple[list[str], int]:
        """The topics hold every event, and first appearances keep each key's order: faults, and how many repeats."""
        found: dict[str, list[str]] = {}
        known: set[str] = set()
        repeats = 0
        for delivery in await self.topics():
            if delivery.identity in known:
                repeats += 1
                continue
            known.add(delivery.identity)
            found.setdefault(f"{delivery.topic} {delivery.key}", []).append(delivery.identity)
        wanted: dict[str, list[str]] = {}
        for event in events:
            wanted.setdefault(f"{TOPICS[event.fact.family].name} {event.key}", []).append(str(event.id))
        keys = [key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)]
        return ([f"the topics differ from the outbox for {len(keys)} keys"] if keys else []), repeats

    async def timeline_differs(self, seconds: float = 120.0) -> list[str]:
        """Contracts whose state the timeline tells otherwise than the database, once it has had time to hear all."""
        differ: set[str] = set()

        async def same() -> bool:
            rows = await self.rows(sa.text("SELECT id, state FROM contracts_contracts"))
            found: dict[str, str] = {}
            after = ""
            while True:
                page = await self.timeline.get(f"/v1/timeline/contracts{after}")
                found |= {one["contract"]: one["state"] for one in page["contracts"]}
                if page.get("next") is None:
                    break
                after = f"?after={page['next']}"
            known = {row.id: row.state for row in rows}
            differ.clear()
            differ.update(key for key in known.keys() | found.keys() if known.get(key) != found.get(key))
            return not differ

        with suppress(AssertionError):
            await until(same, what="the timeline to agree", seconds=seconds)
        return [f"the timeline differs from the database for {len(differ)} contracts"] if differ else []

    async def all_up(self, *, settle: bool = True) -> None:
        """Start again what has ended: a process whose database is away at its start ends, and its keeper starts it."""
        for one in self.processes.values():
            if one.ended:
                await one.start(settle=False)
        if settle:
            for one in self.processes.values():
                await one.settled()


@asynccontextmanager
async def real_line(
    folder: Path, processes: Mapping[str, Sequence[str]] = PROCESSES, **settings: str
) -> AsyncIterator[RealLine]:
    """Everything, in `folder`, until the block ends. `settings`: further ANTIN_ variables, without the prefix."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        kafka = stack.enter_context(Kafka(folder / "kafka"))
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        s3 = stack.enter_context(S3(folder / "s3"))
        log = stack.enter_context((folder / "processes.log").open("ab"))
        timeout = aiohttp.ClientTimeout(total=60)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        receiver = await stack.enter_async_context(Receiver(port=free_port()))
        lab_port = free_port()
        world = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "lab", "--data", str(folder / "lab"), "--port", str(lab_port)),
            stdout=log,
            stderr=log,
        )
        stack.push_async_callback(world.wait)
        stack.callback(world.terminate)
        lab = Lab(f"http://127.0.0.1:{lab_port}", session)
        state = await ready(lab)
        ports = {name: free_port() for name in processes}
        inner = [state["host_port"], receiver.url.split("/")[2], *(f"127.0.0.1:{port}" for port in ports.values())]
        signers = [name for name, services in processes.items() if "signer" in services]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTIN_")},
            **kafka.environment(),
            **postgres.environment(),
            **s3.environment(),
            "ANTIN_OUTSIDE__AUTHORITY": state["urls"]["authority"],
            "ANTIN_OUTSIDE__JWKS": state["urls"]["jwks"],
            "ANTIN_OUTSIDE__CA": state["urls"]["ca"],
            "ANTIN_OUTSIDE__TSA": state["urls"]["tsa"],
            "ANTIN_OUTSIDE__REGISTRY": state["urls"]["registry"],
            "ANTIN_OUTSIDE__ANCHORS": state["anchors"],
            "ANTIN_OUTSIDE__RA_TOKEN_FILE": state["ra_token_file"],
            "ANTIN_OUTSIDE__ALLOW": ",".join(inner),
            "ANTIN_CA_BRIDGE__SIGNER": f"http://127.0.0.1:{ports[signers[0]]}",
            "ANTIN_NOTIFIER__SCHEDULE": json.dumps([0.5] * 28),
            **{f"ANTIN_{name}": value for name, value in settings.items()},
        }
        topics = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "topics", "apply"), env=environment, stdout=log, stderr=log
        )
        if await topics.wait() != 0:
            raise AssertionError(f"the topics could not be created; see {log.name}")
        running: dict[str, Process] = {}
        for name, services in processes.items():
            running[name] = Process(name, services, folder / "data", environment, ports[name], log)
            stack.push_async_callback(running[name].stop)
            await running[name].start()
        key = (folder / "data" / "secrets" / "api-key").read_text().strip()

        def client(service: str) -> Client:
            home = next(name for name, services in processes.items() if service in services)
            return Client(f"http://127.0.0.1:{ports[home]}", key, session, patient=True)

        receiver.secret = (await client("notifier").post("/v1/webhooks", {"url": receiver.url}))["secret"]
        yield RealLine(folder, kafka, postgres, s3, lab, receiver, running, client("contracts"), client("timeline"))
