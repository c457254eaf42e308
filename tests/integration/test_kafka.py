"""What reaches a consumer group on real Kafka and is not as it should be: each ends well, and holds back nothing."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from events import flow
from events.codec import to_message
from events.contract import ContractExpired
from events.envelope import Event
from events.errors import OWN_DATABASE, Malformed, Refused, Unavailable
from events.kafka import Broker, KafkaBus, KafkaSpeaker, apply_topics, check_topics, wanted
from events.values import ContractId, EventId
from services.runtime.access import Keyring
from services.runtime.blobs import Blobs
from services.runtime.clock import SystemClock
from services.runtime.consume import Subscriber
from services.runtime.database import Database
from services.runtime.letters import Letter, letters, redrive
from services.runtime.outbound import Outbound
from services.runtime.outbox import Outbox, new_id
from services.runtime.pressure import Limits, Pressure
from services.runtime.process import Platform, Service, running
from services.runtime.relay import Relay
from services.runtime.shelf import SqlShelf
from services.runtime.tables import outbox
from tests.support.waiting import until

pytestmark = pytest.mark.real

GROUP = "signer"
"""A group of the flow, so that its retry topics exist; each test has a broker's topics and a database of its own."""
TOPIC = flow.topic_of("contract")


class Line:
    """One process with one subscriber, on Kafka and PostgreSQL."""

    def __init__(self, url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker = broker
        self.group = f"g{uuid.uuid4().hex[:10]}"
        self.heard: list[str] = []
        self.platform = Platform(Database(url), Blobs.in_memory(), Outbound())
        self.database = self.platform.database
        # The group is in the flow while the test runs: its topics are created as an operator would.
        topic = flow.TOPICS["contract"]
        extended = flow.Topic(topic.family, topic.key, topic.says, (*topic.hears, self.group), topic.keeps)
        monkeypatch.setitem(flow.TOPICS, "contract", extended)

    async def hear(self, event: Event[ContractExpired], tx: object) -> list[object]:
        self.heard.append(str(event.id))
        return []

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        await apply_topics(self.broker)
        shelf = SqlShelf(self.database, self.platform.outbox, self.platform.clock)
        bus = KafkaBus(self.broker, shelf, self.platform.clock.now)
        speaker = KafkaSpeaker(self.broker)
        relay = Relay(self.database, self.platform.news, speaker)
        service = Service(
            "tests",
            subscribers=[Subscriber(self.group, reactions={ContractExpired: self.hear})],
            loops={"relay": relay.run},
        )
        async with running(self.platform, [service], keyring=Keyring([]), alone=False, bus=bus):
            yield
        await speaker.close()

    async def put(self, headers: dict[str, str], body: bytes, *, key: str, topic: str = TOPIC) -> None:
        """Straight onto the topic, as another speaker would."""
        producer = AIOKafkaProducer(**self.broker.connection(), max_request_size=1 << 20)
        await producer.start()
        try:
            named = [(name, text.encode()) for name, text in headers.items()]
            await producer.send_and_wait(topic, body, key=key.encode(), headers=named)
        finally:
            await producer.stop()

    async def letter(self, key: str) -> Letter:
        """The dead letter of this key: the group also hears what earlier tests left on the topic."""

        async def mine() -> list[Letter]:
            return [one for one in await letters(self.database, self.group) if one.key == key]

        async def there() -> bool:
            return bool(await mine())

        await until(there, what="a dead letter", seconds=60)
        return (await mine())[0]


def an_event() -> Event[ContractExpired]:
    now = SystemClock().now()
    fact = ContractExpired(contract=ContractId(str(uuid.uuid4())), deadline=now)
    return Event(id=EventId(new_id()), source="/antin/contracts", time=now, fact=fact)


@pytest.fixture
def line(real_kafka, real_postgres, monkeypatch) -> Line:
    return Line(real_postgres.create(f"t{uuid.uuid4().hex[:12]}"), Broker(real_kafka.bootstrap), monkeypatch)


async def test_poison_becomes_a_dead_letter_whole_and_the_next_event_is_heard(line):
    """crash-safety.md: the dead letter keeps original bytes, headers, error, attempts and origin."""
    good = an_event()
    headers, body = to_message(good)
    async with line.at_work():
        await line.put({"ce_id": "x", "surprise": "yes"}, b"\xff\x00 not JSON", key=good.key)
        await line.put(headers, body, key=good.key)
        await until(lambda: _holds(line.heard, [str(good.id)]), what="the good one", seconds=60)
        letter = await line.letter(good.key)
    assert letter.original == b"\xff\x00 not JSON"
    assert letter.headers["surprise"] == "yes"
    assert letter.error == "not-a-cloudevent"
    assert letter.origin.startswith(f"{TOPIC}/")
    assert letter.attempts == 1


async def test_a_schema_from_the_future_waits_as_a_dead_letter_and_can_be_redriven(line, monkeypatch):
    """A new major is a new type: who does not know it yet keeps it; members that are added are no matter."""
    event = an_event()
    headers, body = to_message(event)
    future = {**headers, "ce_type": headers["ce_type"].replace(".v1", ".v9")}
    added = an_event()
    more_headers, more = to_message(added)
    more = json.dumps({**json.loads(more), "invented_later": {"deep": True}}).encode()
    async with line.at_work():
        await line.put(future, body, key=event.key)
        await line.put(more_headers, more, key=added.key)
        await until(lambda: _holds(line.heard, [str(added.id)]), what="the one with more members", seconds=60)
        letter = await line.letter(event.key)
        assert letter.error == "unknown-fact"
        # The new version is deployed.
        monkeypatch.setitem(__import__("events.registry").registry.FACTS, future["ce_type"], ContractExpired)
        given = await redrive(line.database, line.platform.outbox, line.platform.clock, line.group, letter.number)
        assert [one.event for one in given] == [str(event.id)]
        await until(lambda: _holds(line.heard, [str(added.id), str(event.id)]), what="the redriven one", seconds=60)
        assert (await line.letter(event.key)).redriven


async def test_an_event_of_70_kB_is_not_said_and_not_heard(line):
    """CloudEvents 1.0.2 clause 5: large things travel as digests."""
    event = an_event()
    headers, body = to_message(event)
    large = json.dumps({**json.loads(body), "padding": "x" * 70_000}).encode()
    with pytest.raises(Malformed, match="event-too-large"):
        to_message(Event(event.id, "/" + "s" * 70_000, event.time, event.fact))
    after = an_event()
    async with line.at_work():
        await line.put(headers, large, key=event.key)
        await line.put(*to_message(after), key=after.key)
        await until(lambda: _holds(line.heard, [str(after.id)]), what="the next one", seconds=60)
        letter = await line.letter(event.key)
    assert letter.error == "event-too-large"
    assert letter.original == large


async def test_a_database_that_is_away_costs_an_event_no_attempt(line):
    """It waits where it is: in a later retry topic it would wait for minutes after the database is back."""
    event = an_event()
    headers, body = to_message(event)
    faults = 0
    hear = line.hear

    async def away(heard: Event[ContractExpired], tx: object) -> list[object]:
        nonlocal faults
        if heard.id == event.id and faults < 8:
            faults += 1
            raise Unavailable(OWN_DATABASE, found="a", expected="b", remedy="c")
        return await hear(heard, tx)

    line.hear = away
    async with line.at_work():
        await line.put(headers, body, key=event.key)
        await until(lambda: _holds(line.heard, [str(event.id)]), what="the event", seconds=60)
        again = sa.select(outbox.c.topic).where(outbox.c.topic.in_(flow.retries_of(line.group)))
        async with line.database.read() as conn:
            assert (await conn.execute(again)).all() == []
    assert faults == 8


async def test_redrive_names_what_is_not_there(line):
    async with line.at_work():
        with pytest.raises(Refused, match="unknown-group"):
            await redrive(line.database, line.platform.outbox, line.platform.clock, "nobody")
        with pytest.raises(Refused, match="unknown-letter"):
            await redrive(line.database, line.platform.outbox, line.platform.clock, line.group, 1)


async def test_offsets_that_the_broker_has_forgotten_are_replayed_from_the_outbox(line):
    """crash-safety.md: on OffsetOutOfRange replay from the outbox. The inbox drops what was heard before."""
    async with line.at_work():
        pass
    database = line.database = Database(line.database.url.render_as_string(hide_password=False))
    line.platform = Platform(database, Blobs.in_memory(), Outbound())
    contract = ContractId(str(uuid.uuid4()))
    outbox = Outbox(database, SystemClock())
    async with database.write() as tx:
        facts = [ContractExpired(contract=contract, deadline=SystemClock().now()) for _ in range(3)]
        said = [str(event.id) for event in await outbox.say(tx, "contracts", facts)]
    speaker = KafkaSpeaker(line.broker)
    rows = await outbox.read([TOPIC], 0, 10)
    await speaker.send(rows)
    await speaker.close()
    place = TopicPartition(TOPIC, rows[0].partition)
    await _commit(line, place, 0)
    admin = AIOKafkaAdminClient(**line.broker.connection())
    await admin.start()
    await admin.delete_records({place: RecordsToDelete(before_offset=await _end(line, place))})
    await admin.close()
    async with line.at_work():
        await until(lambda: _holds(line.heard, said), what="what the broker forgot", seconds=60)
    assert [one for one in line.heard if one in said] == said


async def test_topics_are_created_once_and_differences_are_named(line):
    await apply_topics(line.broker)
    assert await apply_topics(line.broker) == []
    assert await check_topics(line.broker) == []
    admin = AIOKafkaAdminClient(**line.broker.connection())
    await admin.start()
    try:
        await admin.delete_topics([flow.dead_letters_of(line.group)])

        async def named() -> bool:
            return f"{flow.dead_letters_of(line.group)}: missing" in await check_topics(line.broker)

        await until(named, what="the missing topic to be named", seconds=60)
    finally:
        await admin.close()
    other = Broker(line.broker.bootstrap, replication=3)
    assert any("replication" in found for found in await check_topics(other))
    assert len({one.name for one in wanted()}) == len(wanted())


async def test_scram_over_tls_is_spoken_and_a_wrong_password_is_refused(real_kafka):
    broker = Broker(
        real_kafka.sasl_bootstrap,
        security="SASL_SSL",
        mechanism="SCRAM-SHA-512",
        username=real_kafka.username,
        password=real_kafka.password,
        ca_file=Path(real_kafka.ca_file),
    )
    await apply_topics(broker)
    assert await check_topics(broker) == []
    assert real_kafka.password not in repr(broker)
    wrong = Broker(broker.bootstrap, "SASL_SSL", "SCRAM-SHA-512", broker.username, "wrong", broker.ca_file)
    with pytest.raises(Unavailable, match="bus-unavailable"):
        await check_topics(wrong)


async def test_what_waits_is_measured_and_closes_the_intake(line):
    shelf = SqlShelf(line.database, line.platform.outbox, line.platform.clock)
    bus = KafkaBus(line.broker, shelf, line.platform.clock.now)
    async with line.at_work():
        await until(lambda: _lag(bus, line.group, 0), what="a lag of none", seconds=60)
    line.database = Database(line.database.url.render_as_string(hide_password=False))
    event = an_event()
    for _ in range(3):
        await line.put(*to_message(event), key=event.key)
    assert (await bus.lags())[line.group] == 3
    pressure = Pressure(line.database, Limits(lag=2, outbox=1), bus.lags)
    await pressure.measure()
    pressure._worst = (line.group, 3)  # other tests' groups on this broker are behind too
    with pytest.raises(Refused, match="too-much-waits") as refused:
        pressure.admit()
    assert refused.value.status == 429
    outbox = Outbox(line.database, SystemClock())
    async with line.database.write() as tx:
        await outbox.say(tx, "contracts", [an_event().fact, an_event().fact])
    await pressure.measure()
    with pytest.raises(Unavailable, match="outbox-full"):
        pressure.admit()
    await line.database.close()


async def _commit(line: Line, place: TopicPartition, offset: int) -> None:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(**line.broker.connection(), group_id=line.group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([place])
    await consumer.commit({place: offset})
    await consumer.stop()


async def _end(line: Line, place: TopicPartition) -> int:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(**line.broker.connection())
    await consumer.start()
    found = (await consumer.end_offsets([place]))[place]
    await consumer.stop()
    return int(found)


async def _lag(bus: KafkaBus, group: str, wanted_lag: int) -> bool:
    return (await bus.lags()).get(group) == wanted_lag


async def _holds(found: list[str], expected: list[str]) -> bool:
    return set(expected) <= set(found)
