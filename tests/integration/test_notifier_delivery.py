"""Webhooks over real HTTP: one id, the same bytes, until delivered (Standard Webhooks 1.0)."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from events.codec import STRUCTURED, from_structured
from events.notification import NotificationAbandoned, NotificationDelivered, SubscriptionDisabled
from lab.receiver import Receiver
from services.notifier.adapters.store import bodies, messages, schema
from services.runtime import migrate
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from tests.support.facts import completed, contract_id, expired, withdrawn
from tests.support.notifier_world import notifier
from tests.support.waiting import until


async def test_the_tables_are_what_the_migrations_make(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    await migrate.upgrade(database, [schema])
    assert await migrate.differences(database, schema) == []
    await database.close()


async def test_a_fact_arrives_as_the_cloudevent_it_is_and_is_told_as_delivered(tmp_path: Path) -> None:
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        subscription = await world.subscribe(receiver)
        [event] = await world.say(completed(7))
        [found] = await receiver.wait_for(1)
        assert found.headers["Content-Type"] == STRUCTURED
        heard = from_structured(found.body)
        assert heard.id == event
        assert heard.fact == completed(7)
        [said] = await world.until_told(1)
        assert said == NotificationDelivered(subscription=subscription, event=event, attempts=1)
        told = (await world.platform.outbox.read(["antin.notification.v1"], 0, 10))[0].event()
        assert told.cause == event


async def test_every_attempt_has_the_same_id_and_the_same_bytes(tmp_path: Path) -> None:
    """Standard Webhooks 1.0: webhook-id "remains the same no matter how many times" a message is sent."""
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        receiver.fail(3)
        subscription = await world.subscribe(receiver)
        [event] = await world.say(withdrawn(1))
        requests = await receiver.wait_for_requests(4)
        assert [one.answered for one in requests] == [500, 500, 500, 204]
        assert len({one.id for one in requests}) == 1
        assert len({one.body for one in requests}) == 1
        assert not receiver.refused
        [said] = await world.until_told(1)
        assert said == NotificationDelivered(subscription=subscription, event=event, attempts=4)
        shown = await world.call("GET", f"/v1/webhooks/{subscription}", expect=200)
        assert shown["failures"] == 0
        assert shown["waiting"] == 0
        [delivery] = shown["deliveries"]
        assert (delivery["state"], delivery["attempts"], delivery["event"]) == ("delivered", 4, event)
        full = await world.call("GET", f"/v1/webhooks/{subscription}/deliveries/{delivery['id']}", expect=200)
        assert [one.get("status") for one in full["tries"]] == [500, 500, 500, 204]
        assert full["body"] == json.loads(requests[0].body)


async def test_after_the_last_attempt_the_message_is_abandoned_and_can_be_sent_again_by_hand(tmp_path: Path) -> None:
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        receiver.fail(4, status=503)
        subscription = await world.subscribe(receiver)
        [event] = await world.say(withdrawn(1))
        [said] = await world.until_told(1)
        assert said == NotificationAbandoned(subscription=subscription, event=event, attempts=4, reason="status-503")
        shown = await world.call("GET", f"/v1/webhooks/{subscription}", expect=200)
        [delivery] = shown["deliveries"]
        assert delivery["state"] == "abandoned"
        await world.call("POST", f"/v1/webhooks/{subscription}/deliveries/{delivery['id']}/retry", expect=202)
        [found] = await receiver.wait_for(1)
        assert found.id == delivery["id"]
        assert {one.body for one in receiver.received} == {found.body}
        facts = await world.until_told(2)
        assert facts[1] == NotificationDelivered(subscription=subscription, event=event, attempts=5)


async def test_410_disables_and_what_was_held_is_sent_once_it_is_enabled(tmp_path: Path) -> None:
    """Standard Webhooks 1.0: 410 Gone disables the endpoint."""
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        receiver.gone()
        subscription = await world.subscribe(receiver)
        [event] = await world.say(withdrawn(1))
        facts = await world.until_told(2)
        assert facts == [
            NotificationAbandoned(subscription=subscription, event=event, attempts=1, reason="gone"),
            SubscriptionDisabled(subscription=subscription, reason="gone"),
        ]
        shown = await world.call("GET", f"/v1/webhooks/{subscription}", expect=200)
        assert (shown["state"], shown["reason"]) == ("disabled", "gone")
        status, problem = await world.call("POST", f"/v1/webhooks/{subscription}/test")
        assert (status, problem["title"]) == (409, "webhook disabled")
        receiver.well()
        await world.call("POST", f"/v1/webhooks/{subscription}/enable", expect=200)
        await world.call("POST", f"/v1/webhooks/{subscription}/test", expect=202)
        [found] = await receiver.wait_for(1)
        assert found.event["type"] == "vn.antin.webhook.test.v1"


async def test_a_redirect_is_a_failure_and_is_not_followed(tmp_path: Path) -> None:
    """Standard Webhooks 1.0: 3xx is a failure; following it would let a subscriber point us inside."""
    async with Receiver() as receiver, notifier(tmp_path, receiver, schedule=()) as world:
        receiver.fail(1, status=307)
        await world.subscribe(receiver)
        await world.say(withdrawn(1))
        [said] = await world.until_told(1)
        assert isinstance(said, NotificationAbandoned)
        assert said.reason == "status-307"
        assert len(receiver.received) == 1


async def test_a_slow_or_dead_subscriber_does_not_hold_the_others(tmp_path: Path) -> None:
    """Four slow ones fill their own places; the quick one gets everything while they still think."""
    async with Receiver() as quick, Receiver() as slow, Receiver() as dead:
        slow.slow(20)
        dead.fail(10_000)
        async with notifier(tmp_path, quick, slow, dead, concurrency=8, timeout=25, grace=0) as world:
            for _ in range(3):
                await world.subscribe(slow)
            await world.subscribe(dead)
            await world.subscribe(quick)
            await world.say(*(withdrawn(number) for number in range(20)))
            assert len(await quick.wait_for(20, seconds=15)) == 20
            assert not slow.messages


async def test_while_all_goes_well_one_subscription_gets_its_messages_in_order(tmp_path: Path) -> None:
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        await world.subscribe(receiver, types=["vn.antin.contract.*"])
        await world.say(*(fact for number in range(15) for fact in (withdrawn(1, f"reason-{number}"),)))
        found = await receiver.wait_for(15)
        assert [one.event["data"]["reason"] for one in found] == [f"reason-{number}" for number in range(15)]


async def test_only_the_asked_types_are_sent(tmp_path: Path) -> None:
    async with Receiver() as one, Receiver() as other, notifier(tmp_path, one, other) as world:
        await world.subscribe(one, types=["vn.antin.contract.ContractExpired.v1"])
        await world.subscribe(other)
        await world.say(withdrawn(1), expired(2))
        await other.wait_for(2)
        [found] = await one.wait_for(1)
        assert found.event["type"] == "vn.antin.contract.ContractExpired.v1"
        await world.until_told(3)
        assert len(one.received) == 1


async def test_while_a_secret_is_replaced_both_verify_and_afterwards_only_the_new(tmp_path: Path) -> None:
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        subscription = await world.subscribe(receiver)
        former = receiver.secret
        found = await world.call("POST", f"/v1/webhooks/{subscription}/secret", {"overlap_seconds": 600}, expect=200)
        assert found["secret"] != former
        await world.say(withdrawn(1))
        [first] = await receiver.wait_for(1)
        assert len(first.headers["webhook-signature"].split(" ")) == 2
        receiver.secret = found["secret"]
        await world.say(withdrawn(2))
        await receiver.wait_for(2)
        assert not receiver.refused
        last = await world.call("POST", f"/v1/webhooks/{subscription}/secret", {"overlap_seconds": 0}, expect=200)
        await world.say(withdrawn(3))

        async def refused() -> bool:
            return bool(receiver.refused)

        await until(refused, what="a message that the replaced secret does not verify")
        receiver.secret = last["secret"]
        await receiver.wait_for(3)


async def test_one_event_is_stored_once_for_all_its_subscribers(tmp_path: Path) -> None:
    async with Receiver() as one, Receiver() as other, notifier(tmp_path, one, other) as world:
        await world.subscribe(one)
        await world.subscribe(other)
        await world.say(withdrawn(1))
        [first], [second] = await one.wait_for(1), await other.wait_for(1)
        assert first.body == second.body
        assert first.id != second.id
        async with world.platform.database.read() as conn:
            assert (await conn.execute(sa.select(sa.func.count()).select_from(bodies))).scalar_one() == 1
            assert (await conn.execute(sa.select(sa.func.count()).select_from(messages))).scalar_one() == 2


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        receiver.fail(10_000)
        async with notifier(tmp_path, receiver, schedule=(0.2,) * 20) as world:
            await world.subscribe(receiver)
            await world.say(withdrawn(1))
            await receiver.wait_for_requests(1)
        receiver.well()
        async with notifier(tmp_path, receiver):
            [found] = await receiver.wait_for(1)
        assert {(one.id, one.body) for one in receiver.received} == {(found.id, found.body)}


async def test_killed_in_the_middle_every_message_arrives_with_one_id_and_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL eight times while 120 messages go out to two subscribers, one of which fails now and then."""
    count, kills = 120, 8
    async with Receiver() as steady, Receiver(port=0) as moody:
        async with notifier(tmp_path, steady, moody) as world:
            await world.subscribe(steady)
            await world.subscribe(moody)
        moody.fail(8)
        for each in (steady, moody):
            each.slow(0.005)
        await _say(tmp_path, count)
        allowed = f"{steady.address},{moody.address}"
        for kill in range(kills + 1):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.notifier_process", str(tmp_path), allowed
            )
            try:
                if kill < kills:
                    goal = len(steady.received) + len(moody.received) + 12
                    await _until_requests((steady, moody), goal)
                else:
                    await steady.wait_for(count, seconds=60)
                    await moody.wait_for(count, seconds=60)
            finally:
                process.send_signal(signal.SIGKILL)
                await process.wait()
        for receiver in (steady, moody):
            assert not receiver.refused
            assert len(receiver.messages) == count
            bodies_of: dict[str, set[bytes]] = {}
            for one in receiver.received:
                bodies_of.setdefault(one.id, set()).add(one.body)
            assert {len(found) for found in bodies_of.values()} == {1}
            events = Counter(one.event["subject"] for one in receiver.messages.values())
            assert events == Counter({str(contract_id(number)): 1 for number in range(count)})


async def _until_requests(receivers: tuple[Receiver, ...], goal: int) -> None:
    async def reached() -> bool:
        return sum(len(one.received) for one in receivers) >= goal

    await until(reached, what=f"{goal} requests", seconds=60)


async def _say(folder: Path, count: int) -> None:
    """Say facts while nobody runs on the database."""
    database = Database(f"sqlite+aiosqlite:///{folder / 'antin.db'}")
    async with database.write() as tx:
        await Outbox(database, SystemClock()).say(tx, "test", [withdrawn(number) for number in range(count)])
    await database.close()
