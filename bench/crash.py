"""What survives: every process, the broker and the database are killed while contracts flow. Prints and writes figures.

`python -m bench.crash --contracts 1000 --kills 100 --database-kills 5`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer

from bench.table import publish
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
from tests.support.ports import free_port
from tests.support.traffic import Balance, Traffic, balance
from tests.support.waiting import until
from tools.real.kafka import Kafka
from tools.real.postgres import Postgres
from tools.real.s3 import S3

PROCESSES: dict[str, tuple[str, ...]] = {
    "intake": ("ca_bridge", "contracts"),
    "signer-1": ("signer",),
    "signer-2": ("signer",),
    "verifier": ("verifier",),
    "notifier": ("notifier",),
    "relay": ("relay",),
}
VICTIMS = ("relay", "signer-1", "signer-2", "verifier", "notifier", "broker")
FAMILIES = [topic.name for topic in TOPICS.values()]


class Process:
    """One `antin run` in a process of its own."""

    def __init__(self, name: str, services: Sequence[str], data: Path, environment: dict[str, str], log: Any) -> None:
        self.name = name
        self.port = free_port()
        self._services = services
        self._data = data
        self._environment = {**environment, "ANTIN_KAFKA__INSTANCE": name}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, settle: bool = True) -> None:
        """Start it; with `settle` return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "run", *self._services),
            *("--data", str(self._data), "--port", str(self.port)),
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        if settle:
            await until(self._answers, what=f"{self.name} to answer", seconds=120)

    async def _answers(self) -> bool:
        if self.ended:
            raise AssertionError(f"{self.name} ended by itself; see {self._log.name}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is None or self._process.returncode is not None

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
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


class Crash:
    """The installation and its killer."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        self.folder = folder
        self.asked = asked
        self.chance = random.Random(asked.seed)
        self.kills: Counter[str] = Counter()
        self.database_kills = 0
        self.processes: dict[str, Process] = {}

    async def run(self) -> tuple[Balance, list[str], dict[str, float]]:
        """Start everything, let contracts flow, kill, and count."""
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            self.kafka = stack.enter_context(Kafka(self.folder / "kafka"))
            self.postgres = stack.enter_context(Postgres(self.folder / "postgres"))
            s3 = stack.enter_context(S3(self.folder / "s3"))
            log = stack.enter_context((self.folder / "processes.log").open("ab"))
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
            hook = free_port()
            receiver = await stack.enter_async_context(Receiver(port=hook))
            lab_port = free_port()
            lab_process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cli.main", "lab"),
                *("--data", str(self.folder / "lab"), "--port", str(lab_port)),
                stdout=log,
                stderr=log,
            )
            stack.push_async_callback(lab_process.wait)
            stack.callback(lab_process.terminate)
            lab = Lab(f"http://127.0.0.1:{lab_port}", session)
            state = await _ready(lab)
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith("ANTIN_")},
                **self.kafka.environment(),
                **self.postgres.environment(),
                **s3.environment(),
                "ANTIN_OUTSIDE__AUTHORITY": state["urls"]["authority"],
                "ANTIN_OUTSIDE__JWKS": state["urls"]["jwks"],
                "ANTIN_OUTSIDE__CA": state["urls"]["ca"],
                "ANTIN_OUTSIDE__TSA": state["urls"]["tsa"],
                "ANTIN_OUTSIDE__REGISTRY": state["urls"]["registry"],
                "ANTIN_OUTSIDE__ANCHORS": state["anchors"],
                "ANTIN_OUTSIDE__RA_TOKEN_FILE": state["ra_token_file"],
                "ANTIN_NOTIFIER__SCHEDULE": json.dumps([0.5] * 28),
            }
            data = self.folder / "data"
            for name, services in PROCESSES.items():
                self.processes[name] = Process(name, services, data, environment, log)
            inner = [f"127.0.0.1:{one.port}" for one in self.processes.values()]
            allow = ",".join([state["host_port"], f"127.0.0.1:{hook}", *inner])
            signer = f"http://127.0.0.1:{self.processes['signer-1'].port}"
            for one in self.processes.values():
                one._environment |= {"ANTIN_OUTSIDE__ALLOW": allow, "ANTIN_CA_BRIDGE__SIGNER": signer}
            applied = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "topics", "apply", env=environment, stdout=log, stderr=log
            )
            if await applied.wait() != 0:
                raise AssertionError("the topics could not be created")
            for one in self.processes.values():
                stack.push_async_callback(one.stop)
                await one.start()
            key = (data / "secrets" / "api-key").read_text().strip()
            client = Client(f"http://127.0.0.1:{self.processes['intake'].port}", key, session, patient=True)
            notifier = Client(f"http://127.0.0.1:{self.processes['notifier'].port}", key, session, patient=True)
            receiver.secret = (await notifier.post("/v1/webhooks", {"url": receiver.url}))["secret"]
            traffic = Traffic(lab, client, self.asked.contracts, at_once=self.asked.at_once, patience=1800)
            identity = json.loads((data / "secrets" / "identity-key.jwk").read_text())
            await traffic.begin({name: value for name, value in identity.items() if name != "d"}, client.url)
            started = loop.time()
            reporter = asyncio.create_task(self._report(traffic, started))
            killer = asyncio.create_task(self._be_killed(traffic))
            try:
                await self._whichever(traffic, killer)
            finally:
                for task in (killer, reporter):
                    task.cancel()
                await asyncio.gather(killer, reporter, return_exceptions=True)
            took = loop.time() - started
            await self._all_up()
            events = await self._said()
            owed = {str(e.id) for e in events if e.fact.family in ("binding", "contract", "verification")}

            async def delivered() -> bool:
                return owed <= {received.event["id"] for received in receiver.messages.values()}

            faults: list[str] = []
            try:
                await until(delivered, what="every webhook", seconds=300)
            except AssertionError:
                faults.append("webhooks that were not delivered")
            events = await self._said()
            faults += await self._log_agrees(events)
            faults += await self._no_dead_letters()
            return balance(list(events), self.asked.contracts), faults, {"seconds": round(took, 1)}

    async def _whichever(self, traffic: Traffic, killer: asyncio.Task[None]) -> None:
        """The traffic to its end; a killer that fails ends it."""
        flowing = asyncio.create_task(traffic.run())
        done, _ = await asyncio.wait({flowing, killer}, return_when=asyncio.FIRST_COMPLETED)
        if killer in done and killer.exception() is not None:
            flowing.cancel()
            killer.result()
        await flowing

    async def _be_killed(self, traffic: Traffic) -> None:
        """Kill one of them after a random time, again and again, spread over the whole traffic."""
        each = traffic.count / (self.asked.kills + 5)
        database = [traffic.count * (n + 1) / (self.asked.database_kills + 1) for n in range(self.asked.database_kills)]
        while True:
            await asyncio.sleep(self.chance.uniform(*self.asked.pause))
            if database and traffic.done >= database[0]:
                database.pop(0)
                await asyncio.to_thread(self.postgres.kill)
                self.database_kills += 1
                await asyncio.sleep(self.chance.uniform(0.0, 3.0))
                await asyncio.to_thread(self.postgres.start)
            if sum(self.kills.values()) * each > traffic.done + 2 * each:
                continue  # ahead of the traffic: the kills are spread over all of it
            victim = self.chance.choice(VICTIMS)
            self.kills[victim] += 1
            if victim == "broker":
                await asyncio.to_thread(self.kafka.kill)
                await asyncio.sleep(self.chance.uniform(0.0, 2.0))
                await asyncio.to_thread(self.kafka.start)
            else:
                await self.processes[victim].kill()
                await self.processes[victim].start(settle=False)
            await self._all_up(settle=False)

    async def _all_up(self, *, settle: bool = True) -> None:
        """Start again what has ended: a process whose database is away at its start ends, and its keeper starts it."""
        for one in self.processes.values():
            if one.ended:
                await one.start(settle=False)
        if settle:
            for one in self.processes.values():
                await until(one._answers, what=f"{one.name} to answer", seconds=120)

    async def _report(self, traffic: Traffic, started: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(15)
            print(
                f"{loop.time() - started:7.0f} s  {traffic.done:5d} of {traffic.count} contracts  "
                f"{sum(self.kills.values()):4d} kills  {self.database_kills} database stops",
                flush=True,
            )

    async def _said(self) -> list[Event[Fact]]:
        database = Database(self.postgres.url)
        try:
            query = sa.select(outbox).where(outbox.c.topic.in_(FAMILIES)).order_by(outbox.c.offset)
            async with database.read() as conn:
                return [outbox_delivery(row).event() for row in await conn.execute(query)]
        finally:
            await database.close()

    async def _no_dead_letters(self) -> list[str]:
        database = Database(self.postgres.url)
        try:
            query = sa.select(outbox.c.topic, sa.func.count()).where(outbox.c.topic.like("%.dlq"))
            async with database.read() as conn:
                rows = (await conn.execute(query.group_by(outbox.c.topic))).all()
            return [f"{row[1]} dead letters in {row[0]}" for row in rows]
        finally:
            await database.close()

    async def _log_agrees(self, events: Sequence[Event[Fact]]) -> list[str]:
        """The topics hold every event, and the first appearances of each key are in the order of the outbox."""
        found: dict[str, list[str]] = {}
        known: set[str] = set()
        repeated = 0
        for delivery in await self._topics():
            if delivery.identity in known:
                repeated += 1
                continue
            known.add(delivery.identity)
            found.setdefault(f"{delivery.topic} {delivery.key}", []).append(delivery.identity)
        wanted: dict[str, list[str]] = {}
        for event in events:
            wanted.setdefault(f"{TOPICS[event.fact.family].name} {event.key}", []).append(str(event.id))
        self.repeated = repeated
        return [] if found == wanted else [f"the topics differ from the outbox for {len(_differ(found, wanted))} keys"]

    async def _topics(self) -> list[Delivery]:
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


def _differ(one: dict[str, list[str]], other: dict[str, list[str]]) -> list[str]:
    return [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]


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


def main() -> int:
    """Run once; 0 when nothing was lost and nothing doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contracts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs of processes and broker, at least")
    parser.add_argument("--database-kills", type=int, default=5, help="hard stops of PostgreSQL")
    parser.add_argument("--at-once", type=int, default=24, help="contracts in flight")
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 8.0), help="seconds between kills, from and to")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="antin-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    crash = Crash(folder, asked)
    found, faults, figures = asyncio.run(crash.run())
    faults = [*found.faults, *faults]
    kills = sum(crash.kills.values())
    document = {
        "kills": kills,
        "database_stops": crash.database_kills,
        "expected": found.expected,
        "signatures": found.signatures,
        "lost": found.lost,
        "double": found.double,
        "faults": faults,
        "contracts": asked.contracts,
        "repeated_on_the_bus": crash.repeated,
        "seed": asked.seed,
        **figures,
        "processes": dict(sorted(crash.kills.items())),
    }
    rows = [*sorted(crash.kills.items()), ("PostgreSQL, stopped hard", crash.database_kills)]
    publish(
        "crash",
        f"{kills} kills, {asked.contracts} contracts: {found.signatures} of {found.expected} signatures, "
        f"{found.lost} lost, {found.double} double",
        ("killed", "times"),
        rows,
        document,
    )
    for fault in faults:
        print(f"FAULT: {fault}")
    good = not faults and found.lost == 0 and found.double == 0
    return 0 if good and kills >= asked.kills and crash.database_kills >= asked.database_kills else 1


if __name__ == "__main__":
    sys.exit(main())
