"""The bus on Apache Kafka: the same promises as the embedded one, for several processes on several machines.

CloudEvents in binary mode. What was taken to its end is committed after every poll, up to the oldest event still in
flight. An event that must wait is tried again in place for some seconds; then it goes to a retry topic of its group,
and later events of its key wait behind it (`Shelf`). Everything is paused while the window is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.helpers import create_ssl_context

from events.bus import Delivery, Step
from events.errors import OWN_DATABASE, Unavailable
from events.flow import AUTHORITY, LARGEST, PARTITIONS, TOPICS, dead_letters_of, groups, retries_of
from events.local import pause_before

log = logging.getLogger("antin.kafka")

_GRACE = 5.0
"""Seconds that deliveries in flight are given when partitions go to another member or at a stop."""
_EXISTS = 36
"""Kafka's error code TOPIC_ALREADY_EXISTS."""
LETTER = 1 << 20
"""Bytes of the largest message at all: a dead letter with its original."""


@dataclass(frozen=True)
class Broker:
    """Where Kafka is and how it is spoken to. `password` never appears in a representation."""

    bootstrap: str
    security: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    replication: int = 1
    instance: str | None = None
    """Names this process among the members of its groups over restarts (static membership)."""

    def connection(self) -> dict[str, Any]:
        """What every client of aiokafka takes."""
        found: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security}
        if self.security.endswith("SSL"):
            found["ssl_context"] = create_ssl_context(cafile=str(self.ca_file) if self.ca_file else None)
        if self.security.startswith("SASL"):
            found["sasl_mechanism"] = self.mechanism
            found["sasl_plain_username"] = self.username
            found["sasl_plain_password"] = self.password
        return found


class Shelf(Protocol):
    """Which events of a group wait, in the database of the group (services.runtime.shelf)."""

    async def head(self, group: str, key: str) -> str | None:
        """The oldest waiting event of a key, or none."""
        ...

    async def park(self, group: str, delivery: Delivery, topic: str, wait: float, why: str) -> None:
        """Note that it waits, keeping its first place, and have it said on the retry topic."""
        ...

    async def unpark(self, group: str, delivery: Delivery) -> None:
        """It is done."""
        ...

    def said(self, topic: str, partition: int) -> AsyncIterator[Delivery]:
        """Everything ever said on a partition, in order: what the broker has forgotten too."""
        ...


def delivery_of(record: Any) -> Delivery:
    """A record of Kafka as a delivery."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers if value is not None}
    key = record.key.decode("utf-8", "replace") if record.key else f"{record.topic}/{record.partition}"
    attempt = headers.get("antin-attempt", "1")
    return Delivery(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=key,
        headers=headers,
        body=record.value or b"",
        attempt=int(attempt) if attempt.isdigit() else 1,
    )


class KafkaSpeaker:
    """An idempotent producer that sends in batches."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._producer: AIOKafkaProducer | None = None

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        """Return when every one is durable (acks=all).

        Raises:
            Unavailable: some may be there and some not.
        """
        try:
            producer = await self._open()
            sent = [
                await producer.send(
                    one.topic,
                    one.body,
                    key=one.key.encode(),
                    partition=one.partition,
                    headers=[(name, text.encode()) for name, text in one.headers.items()],
                )
                for one in deliveries
            ]
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        except (KafkaError, OSError, TimeoutError) as fault:
            await self.close()
            raise _silent(fault) from fault

    async def close(self) -> None:
        """Let go of the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(_GRACE):
                    await producer.stop()
            except (KafkaError, OSError, TimeoutError):
                pass

    async def _open(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **self._broker.connection(),
                enable_idempotence=True,
                acks="all",
                max_request_size=LETTER,
                request_timeout_ms=20_000,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer


class KafkaBus:
    """Consumer groups on Kafka. `instance` of the broker's settings makes membership static."""

    def __init__(
        self,
        broker: Broker,
        shelf: Shelf,
        now: Callable[[], datetime],
        *,
        window: int = 64,
        patience: float = 3.0,
        pauses: Callable[[str], Mapping[str, float]] = retries_of,
    ) -> None:
        self._broker = broker
        self._shelf = shelf
        self._now = now
        self._window = window
        self._patience = patience
        self._pauses = pauses

    async def listen(self, group: str, topics: Collection[str], step: Step) -> None:
        """Deliver to `step` until cancelled, as one member of the group.

        Raises:
            Unavailable: the broker does not answer.
        """
        pauses = self._pauses(group)
        member = _Member(
            self._broker, self._shelf, self._now, group, frozenset(topics), step, self._window, self._patience, pauses
        )
        try:
            await member.run()
        except (KafkaError, OSError) as fault:
            raise _silent(fault) from fault

    async def lags(self) -> dict[str, int]:
        """Events that each group of the flow has not taken to their end.

        Raises:
            Unavailable: the broker does not answer.
        """
        admin = AIOKafkaAdminClient(**self._broker.connection())
        reader = AIOKafkaConsumer(**self._broker.connection(), enable_auto_commit=False)
        found: dict[str, int] = {}
        try:
            async with asyncio.timeout(10):
                await admin.start()
                await reader.start()
                for group, topics in groups().items():
                    known = await admin.list_consumer_group_offsets(group)
                    places = [
                        TopicPartition(topic, part)
                        for topic in (*topics, *self._pauses(group))
                        for part in range(PARTITIONS)
                    ]
                    ends = await reader.end_offsets(places)
                    found[group] = sum(
                        max(ends[place] - (known[place].offset if place in known else 0), 0) for place in places
                    )
        except (KafkaError, OSError, TimeoutError) as fault:
            raise _silent(fault) from fault
        finally:
            await reader.stop()
            await admin.close()
        return found


class _Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of one group: a window of deliveries in flight, one chain of tasks per key."""

    def __init__(
        self,
        broker: Broker,
        shelf: Shelf,
        now: Callable[[], datetime],
        group: str,
        topics: frozenset[str],
        step: Step,
        window: int,
        patience: float,
        pauses: Mapping[str, float],
    ) -> None:
        self._shelf = shelf
        self._now = now
        self._group = group
        self._topics = topics
        self._step = step
        self._window = window
        self._patience = patience
        self._pauses = pauses
        self._consumer = AIOKafkaConsumer(
            **broker.connection(),
            group_id=group,
            group_instance_id=f"{broker.instance}-{group}" if broker.instance else None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
            max_poll_interval_ms=300_000,
            max_partition_fetch_bytes=LETTER,
            fetch_max_wait_ms=100,
        )
        self._tails: dict[str, asyncio.Task[None]] = {}
        self._open: dict[TopicPartition, dict[int, asyncio.Task[None]]] = {}
        self._next: dict[TopicPartition, int] = {}
        self._saved: dict[TopicPartition, int] = {}
        self._held: dict[TopicPartition, float] = {}
        self._replays: dict[TopicPartition, asyncio.Task[None]] = {}
        self._fault: BaseException | None = None

    async def run(self) -> None:
        consumer = self._consumer
        try:
            await consumer.start()
            consumer.subscribe(topics=sorted({*self._topics, *self._pauses}), listener=self)
            while True:
                self._raise_fault()
                room = self._window - sum(len(one) for one in self._open.values())
                self._open_and_shut(room)
                found = await consumer.getmany(timeout_ms=100, max_records=max(room, 1))
                for place, records in found.items():
                    self._take(place, records)
                await self._save()
        finally:
            tasks = [*self._tails.values(), *self._replays.values()]
            if tasks:
                await asyncio.wait(tasks, timeout=_GRACE)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            try:
                async with asyncio.timeout(_GRACE):
                    await self._save()
                    await consumer.stop()
            except (KafkaError, OSError, TimeoutError):
                pass

    # What the consumer tells when partitions move

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Let what is in flight there end, commit, forget."""
        running = [task for place in revoked for task in self._open.get(place, {}).values()]
        if running:
            await asyncio.wait(running, timeout=_GRACE)
        await self._save()
        for place in revoked:
            # Deliveries that outlive this go on; the inbox and the epoch of the job decide whose result counts.
            for books in (self._open, self._next, self._saved, self._held):
                books.pop(place, None)
            replay = self._replays.pop(place, None)
            if replay is not None:
                replay.cancel()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Find out whether the broker has forgotten events that the group has not had."""
        for place in assigned:
            if place.topic in self._topics:
                self._replays[place] = asyncio.create_task(self._replay(place), name=f"{self._group}-replay")

    async def _replay(self, place: TopicPartition) -> None:
        """Events outside what the broker still holds (OffsetOutOfRange) come from the outbox; the inbox knows them."""
        committed = await self._consumer.committed(place)
        if committed is None:
            return
        first = (await self._consumer.beginning_offsets([place]))[place]
        last = (await self._consumer.end_offsets([place]))[place]
        if first <= committed <= last:
            return
        log.error("offset-out-of-range")
        async for delivery in self._shelf.said(place.topic, place.partition):
            await self._deliver(delivery, self._tails.get(delivery.key))

    # The window

    def _open_and_shut(self, room: int) -> None:
        """Pause everything while the window is full; the polls go on, so that the group keeps us."""
        now = asyncio.get_running_loop().time()
        self._held = {place: due for place, due in self._held.items() if due > now}
        assigned = self._consumer.assignment()
        paused = self._consumer.paused()
        shut = {place for place in assigned if room <= 0 or place in self._held}
        if shut - paused:
            self._consumer.pause(*(shut - paused))
        if paused & (assigned - shut):
            self._consumer.resume(*(paused & (assigned - shut)))

    def _take(self, place: TopicPartition, records: Sequence[Any]) -> None:
        for record in records:
            delivery = delivery_of(record)
            wait = self._early(delivery)
            if wait > 0:
                # The retry topics are in the order of their due times: nothing behind this one is due either.
                self._consumer.seek(place, record.offset)
                self._consumer.pause(place)
                self._held[place] = asyncio.get_running_loop().time() + wait
                return
            self._start(place, delivery)

    def _early(self, delivery: Delivery) -> float:
        """Seconds until a retry may be tried."""
        text = delivery.headers.get("antin-not-before") if delivery.topic in self._pauses else None
        if text is None:
            return 0.0
        try:
            due = datetime.fromisoformat(text).astimezone(UTC)
        except ValueError:
            return 0.0
        return (due - self._now()).total_seconds()

    def _start(self, place: TopicPartition, delivery: Delivery) -> None:
        task = asyncio.create_task(
            self._deliver(delivery, self._tails.get(delivery.key)), name=f"{self._group}-{delivery.offset}"
        )
        flight = self._open.setdefault(place, {})
        flight[delivery.offset] = task
        self._next[place] = delivery.offset + 1
        self._tails[delivery.key] = task

        def ended(task: asyncio.Task[None]) -> None:
            if self._tails.get(delivery.key) is task:
                del self._tails[delivery.key]
            if task.cancelled():
                return  # stays open: it is not committed and comes again
            if task.exception() is not None:
                self._fault = task.exception()
                return
            flight.pop(delivery.offset, None)

        task.add_done_callback(ended)

    async def _save(self) -> None:
        """Commit up to the oldest delivery still in flight."""
        done = {
            place: min(self._open.get(place) or (after,))
            for place, after in self._next.items()
            if place in self._consumer.assignment()
        }
        new = {place: offset for place, offset in done.items() if self._saved.get(place) != offset}
        if not new:
            return
        try:
            await self._consumer.commit(new)
        except (KafkaError, IllegalStateError) as fault:
            # Normal after a rebalance and while the broker is away: what is not committed comes again.
            log.info("commit-failed %s", type(fault).__name__)
            return
        self._saved.update(new)

    def _raise_fault(self) -> None:
        for place in [place for place, task in self._replays.items() if task.done()]:
            self._replays.pop(place).result()
        if self._fault is not None:
            raise self._fault

    # One delivery

    async def _deliver(self, delivery: Delivery, before: asyncio.Task[None] | None) -> None:
        """To its end: done, or waiting on a retry topic."""
        if before is not None:
            await asyncio.wait([before])
        spent = 0.0
        tries = 0
        while True:
            try:
                head = await self._shelf.head(self._group, delivery.key)
                if head is not None and head != delivery.identity:
                    await self._park(delivery, "waits-behind-an-earlier-event")
                    return
                try:
                    await self._step(delivery)
                except Unavailable as wait:
                    if wait.code == OWN_DATABASE:
                        raise  # no attempt of this event: a later retry topic would hold it back for nothing
                    tries += 1
                    pause = wait.retry_after if wait.retry_after is not None else pause_before(tries)
                    if spent + pause > self._patience or delivery.topic in self._pauses:
                        later = replace(delivery, attempt=delivery.attempt + 1)
                        await self._park(later, wait.code, wait.retry_after)
                        return
                    spent += pause
                    await asyncio.sleep(pause)
                    continue
                if head is not None:
                    await self._shelf.unpark(self._group, delivery)
                return
            except Unavailable:
                # The database itself does not answer: nothing can be noted, so it waits here.
                await asyncio.sleep(1.0)

    async def _park(self, delivery: Delivery, why: str, after: float | None = None) -> None:
        behind = why == "waits-behind-an-earlier-event"
        topic, wait = retry_step(self._pauses, delivery.attempt - (1 if behind else 2), after)
        await self._shelf.park(self._group, delivery, topic, wait, why)


def retry_step(pauses: Mapping[str, float], failures: int, after: float | None) -> tuple[str, float]:
    """The retry topic and its pause in seconds: by how often it was tried, or, where the wait says for how long
    (`after`, seconds), the shortest that lasts so long: somebody's approval is not to be looked for in ten minutes.
    """
    steps = list(pauses.items())
    if after is not None:
        return next((step for step in steps if step[1] >= after), steps[-1])
    return steps[min(max(failures, 0), len(steps) - 1)]


def _silent(fault: BaseException) -> Unavailable:
    return Unavailable(
        "bus-unavailable",
        found=f"Kafka does not answer ({type(fault).__name__})",
        expected="a reachable broker that knows our topics: antin topics check",
        remedy="it is tried again; events wait in the outbox meanwhile",
    )


@dataclass(frozen=True)
class Wanted:
    """One topic as the flow wants it. `retention`: milliseconds; `largest`: bytes of a message."""

    name: str
    partitions: int
    retention: int
    largest: int

    def config(self) -> dict[str, str]:
        """Its settings at the broker."""
        return {
            "retention.ms": str(self.retention),
            "max.message.bytes": str(self.largest),
            "cleanup.policy": "delete",
        }


def wanted() -> list[Wanted]:
    """Every topic of the flow: families, the authority's, and for each group its retries and its dead letters."""
    found = [Wanted(one.name, PARTITIONS, _ms(one.keeps), LARGEST) for one in TOPICS.values()]
    longest = _ms(max(one.keeps for one in TOPICS.values()))
    found.append(Wanted(AUTHORITY, PARTITIONS, longest, LARGEST))
    for group in groups():
        found.extend(Wanted(name, PARTITIONS, longest, LARGEST) for name in retries_of(group))
        found.append(Wanted(dead_letters_of(group), PARTITIONS, longest, LETTER))
    return found


async def apply_topics(broker: Broker) -> list[str]:
    """Create the topics that are missing; returns their names. What exists is not touched.

    Raises:
        Unavailable: the broker does not answer or refuses.
    """
    async with administration(broker) as admin:
        there = set(await admin.list_topics())
        missing = [one for one in wanted() if one.name not in there]
        if missing:
            answer = await admin.create_topics(
                [NewTopic(one.name, one.partitions, broker.replication, topic_configs=one.config()) for one in missing]
            )
            refused = [f"{error[0]} ({error[2]})" for error in answer.topic_errors if error[1] not in (0, _EXISTS)]
            if refused:
                raise Unavailable(
                    "topics-refused",
                    found=f"the broker does not create {', '.join(refused[:3])}",
                    expected="a broker that lets us create topics, with as many nodes as ANTIN_KAFKA__REPLICATION",
                    remedy="correct the settings or the rights and run: antin topics apply",
                )
        while not {one.name for one in wanted()} <= set(await admin.list_topics()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return [one.name for one in missing]


async def check_topics(broker: Broker) -> list[str]:
    """What differs from the flow, one line each; empty when nothing does.

    Raises:
        Unavailable: the broker does not answer.
    """
    found: list[str] = []
    async with administration(broker) as admin:
        there = set(await admin.list_topics())
        present = [one for one in wanted() if one.name in there]
        found.extend(f"{one.name}: missing" for one in wanted() if one.name not in there)
        described = {one["topic"]: one for one in await admin.describe_topics([one.name for one in present])}
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, one.name) for one in present])
        configs = {
            resource[3]: {entry[0]: entry[1] for entry in resource[4]}
            for answer in answers
            for resource in answer.resources
        }
        for one in present:
            partitions = len(described[one.name]["partitions"])
            if partitions != one.partitions:
                found.append(f"{one.name}: found {partitions} partitions, expected {one.partitions}")
            copies = {len(part["replicas"]) for part in described[one.name]["partitions"]}
            if copies != {broker.replication}:
                found.append(f"{one.name}: found replication {sorted(copies)}, expected {broker.replication}")
            for name, value in one.config().items():
                if configs[one.name].get(name) != value:
                    found.append(f"{one.name}: found {name}={configs[one.name].get(name)}, expected {value}")
    return found


@asynccontextmanager
async def administration(broker: Broker, *, seconds: float = 60) -> AsyncIterator[AIOKafkaAdminClient]:
    """The broker's administration, for a block that ends within so many seconds.

    Raises:
        Unavailable: the broker does not answer.
    """
    admin = AIOKafkaAdminClient(**broker.connection())
    try:
        async with asyncio.timeout(seconds):
            await admin.start()
            yield admin
    except (KafkaError, OSError, TimeoutError) as fault:
        raise _silent(fault) from fault
    finally:
        await admin.close()


def _ms(period: timedelta) -> int:
    return int(period.total_seconds() * 1000)
