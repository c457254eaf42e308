"""The timeline on Faust: tables over the topics, kept in Faust's own changelogs and rebuilt from nothing without them.

Faust commits an event whose agent raised, and counts again after a crash what it had counted: so nothing raises inside
the agent, and the fold is idempotent. One process runs it; a second one waits as Faust's standby.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types.auth import AuthProtocol

from events.bus import Delivery
from events.errors import Malformed, Unavailable
from events.flow import PARTITIONS, TOPICS
from events.kafka import Broker, administration
from services.runtime.clock import Clock
from services.timeline.model import (
    KEPT,
    ContractLine,
    Count,
    IdentityLine,
    contract_of,
    fold_contract,
    fold_count,
    fold_identity,
    identity_of,
    minute_of,
)

log = structlog.get_logger()

APP = "antin-timeline"
_START = 120.0
"""Seconds Faust may take to join its group and read its changelogs."""
_STOP = 20.0
_LOOK = 5.0
_STILL = 30.0
"""Seconds after which a Faust that is behind and makes no progress is started anew."""
FAMILIES = tuple(topic.name for topic in TOPICS.values())
PLACES = [TopicPartition(name, part) for name in FAMILIES for part in range(PARTITIONS)]


class FaustTables:
    """`Tables` in Faust's memory, and the Faust application that fills them, in this event loop."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._reached: dict[TopicPartition, int] = {}
        self._contracts: Any = {}
        self._identities: Any = {}
        self._counts: Any = {}

    async def run(self) -> None:
        """Until cancelled; rebuilds from nothing when Faust's own topics are gone.

        Raises:
            Unavailable: the broker does not answer or lacks the topics of the flow, or Faust has ended or stands still.
        """
        await self._prepare()
        app = self._application()
        try:
            async with asyncio.timeout(_START):
                await app.start()
            await self._watch(app)
        except TimeoutError as fault:
            raise _silent("Faust did not start in time") from fault
        finally:
            try:
                async with asyncio.timeout(_STOP):
                    await app.stop()
            except TimeoutError:
                log.warning("timeline-not-stopped-in-time")

    def _application(self) -> Any:
        app = faust.App(
            APP,
            broker=[f"kafka://{place}" for place in self._broker.bootstrap.split(",")],
            broker_credentials=self._credentials(),
            store="memory://",
            web_enabled=False,
            topic_partitions=PARTITIONS,
            topic_replication_factor=self._broker.replication,
            consumer_auto_offset_reset="earliest",
            topic_disable_leader=True,
            broker_session_timeout=10.0,  # a worker that was killed is missed this long
            broker_heartbeat_interval=2.0,
            loop=asyncio.get_running_loop(),
        )
        self._contracts = app.Table("contracts", partitions=PARTITIONS)
        self._identities = app.Table("identities", partitions=PARTITIONS)
        self._counts = app.Table("counts", partitions=PARTITIONS)
        source = app.topic(*FAMILIES, key_serializer="raw", value_serializer="raw", partitions=PARTITIONS)
        app.agent(source)(self._take)
        app.finalize()
        return app

    async def _watch(self, app: Any) -> None:
        """Faust can lose its broker and go on without a word: what it has reached is compared with what is there."""
        reader = AIOKafkaConsumer(**self._broker.connection(), enable_auto_commit=False)
        await reader.start()
        try:
            before = 0
            still = 0
            while True:
                await asyncio.sleep(_LOOK)
                if app.crashed or app.should_stop:
                    raise _silent("Faust has ended")
                try:
                    async with asyncio.timeout(_LOOK):
                        ends = await reader.end_offsets(PLACES)
                except (KafkaError, OSError, TimeoutError):
                    continue  # the broker is away; when it is back, Faust has its time again
                behind = any(self._reached.get(place, 0) < end for place, end in ends.items())
                reached = sum(self._reached.values())
                still = still + 1 if behind and reached == before else 0
                before = reached
                if still * _LOOK >= _STILL:
                    raise _silent("Faust stands still behind the topics")
        finally:
            await reader.stop()

    async def _take(self, stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            headers = message.headers or {}
            pairs = headers.items() if isinstance(headers, Mapping) else headers
            delivery = Delivery(
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                key=(message.key or b"").decode("utf-8", "replace"),
                headers={name: _text(value) for name, value in pairs},
                body=message.value or b"",
            )
            self._reached[TopicPartition(message.topic, message.partition)] = message.offset + 1
            try:
                self._fold(delivery)
            except Malformed as fault:
                log.warning("timeline-skips", code=fault.code, offset=delivery.offset)
            except Exception as fault:
                # An exception that leaves the agent would lose the event silently and end the agent.
                log.exception("timeline-failed", fault=type(fault).__name__, offset=delivery.offset)

    def _fold(self, delivery: Delivery) -> None:
        event = delivery.event()
        if (contract := contract_of(event)) is not None:
            known = self._contracts.get(contract)
            line = ContractLine.model_validate(known) if known else ContractLine(contract=contract)
            self._contracts[contract] = fold_contract(line, event).model_dump(mode="json")
        if (identity := identity_of(event)) is not None:
            known = self._identities.get(identity)
            held = IdentityLine.model_validate(known) if known else IdentityLine(identity=identity)
            self._identities[identity] = fold_identity(held, event).model_dump(mode="json")
        # A key of its own for each partition: the changelog entry goes to the partition of the event.
        key = f"{minute_of(event.time)} {event.fact.family} {delivery.partition}"
        before = self._counts.get(key)
        if before is None:
            oldest = minute_of(self._clock.now() - KEPT)
            mine = f" {delivery.partition}"
            for old in [name for name in self._counts if name < oldest and name.endswith(mine)]:
                del self._counts[old]
        count = fold_count(Count.model_validate(before) if before else Count(), delivery.offset)
        self._counts[key] = count.model_dump(mode="json")

    async def contract(self, contract: str) -> ContractLine | None:
        """One contract."""
        found = self._contracts.get(contract)
        return ContractLine.model_validate(found) if found else None

    async def contracts(self, after: str | None, state: str | None, most: int) -> Sequence[ContractLine]:
        """Contracts, newest first."""
        chosen: list[ContractLine] = []
        for key in sorted(self._contracts.keys(), reverse=True):
            if after is not None and key >= after:
                continue
            line = ContractLine.model_validate(self._contracts[key])
            if state is None or line.state == state:
                chosen.append(line)
            if len(chosen) == most:
                break
        return chosen

    async def changed(self, since: str, most: int) -> Sequence[ContractLine]:
        """Contracts that changed after the event `since`."""
        found = [value for value in list(self._contracts.values()) if value["changed"] > since]
        found.sort(key=lambda value: str(value["changed"]))
        return [ContractLine.model_validate(value) for value in found[:most]]

    async def identity(self, identity: str) -> IdentityLine | None:
        """One identity's certificates."""
        found = self._identities.get(identity)
        return IdentityLine.model_validate(found) if found else None

    async def counts(self) -> Mapping[tuple[str, str], Sequence[Count]]:
        """Counts by minute and family."""
        found: dict[tuple[str, str], list[Count]] = {}
        for key, value in list(self._counts.items()):
            minute, family, _ = key.split(" ")
            found.setdefault((minute, family), []).append(Count.model_validate(value))
        return found

    async def _prepare(self) -> None:
        """The source topics must be there before Faust starts; without its own topics it begins at the beginning."""
        async with administration(self._broker, seconds=20) as admin:
            there = set(await admin.list_topics())
            done = await admin.list_consumer_group_offsets(APP)
        missing = [name for name in FAMILIES if name not in there]
        if missing:
            raise Unavailable(
                "topics-missing",
                found=f"no {', '.join(missing)}",
                expected="the topics of the flow",
                remedy="antin topics apply",
            )
        self._reached = {place: found.offset for place, found in done.items() if place.topic in FAMILIES}
        if f"{APP}-contracts-changelog" not in there:
            self._reached.clear()
            await rewind(self._broker)

    def _credentials(self) -> Any:
        broker = self._broker
        context = ssl.create_default_context(cafile=str(broker.ca_file) if broker.ca_file else None)
        if broker.security.startswith("SASL"):
            found = faust.SASLCredentials(
                username=broker.username,
                password=broker.password,
                mechanism=broker.mechanism,
                ssl_context=context if broker.security == "SASL_SSL" else None,
            )
            found.protocol = AuthProtocol(broker.security)
            return found
        return faust.SSLCredentials(context) if broker.security == "SSL" else None


async def rewind(broker: Broker) -> None:
    """Set the group of the timeline to the beginning of every topic; nobody of the group may be running.

    Raises:
        Unavailable: the broker does not answer.
    """
    consumer = AIOKafkaConsumer(**broker.connection(), group_id=APP, enable_auto_commit=False)
    try:
        async with asyncio.timeout(30):
            await consumer.start()
            consumer.assign(PLACES)
            first = await consumer.beginning_offsets(PLACES)
            await consumer.commit(first)
    except (KafkaError, OSError, TimeoutError) as fault:
        raise _silent(type(fault).__name__) from fault
    finally:
        await consumer.stop()


async def forget(broker: Broker) -> list[str]:
    """Delete Faust's own topics; the next start rebuilds everything. Returns their names.

    Raises:
        Unavailable: the broker does not answer.
    """
    async with administration(broker, seconds=30) as admin:
        own = sorted(name for name in await admin.list_topics() if name.startswith(f"{APP}-"))
        if own:
            await admin.delete_topics(own)
        while set(own) & set(await admin.list_topics()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return own


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _silent(what: str) -> Unavailable:
    return Unavailable(
        "bus-unavailable",
        found=f"Kafka does not answer ({what})",
        expected="a reachable broker",
        remedy="it is tried again at the next start",
    )
