"""Use cases of the notifier: subscribe, rotate, hear a fact, make one attempt and settle it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.codec import STRUCTURED, to_structured
from events.envelope import Event
from events.errors import Refused, Unavailable
from events.fact import Fact
from events.notification import NotificationAbandoned, NotificationDelivered, SubscriptionDisabled
from events.values import Code, EventId, SubscriptionId
from events.webhooks import headers_for, new_secret
from services.notifier.model import (
    TEST,
    Abandoned,
    Again,
    Answer,
    Delivered,
    Gone,
    Parcel,
    Subscription,
    Verdict,
    matches,
    verdict,
)
from services.notifier.ports import Book, Endpoint, Seal

GONE = "gone"
FAILING = "failing-too-long"


@dataclass(frozen=True)
class Patience:
    """When to try again and when to stop (settings of the same names, in seconds)."""

    schedule: Sequence[float]
    retry_after_most: float
    disable_after: float


async def subscribe(subscription: Subscription, *, most: int, book: Book) -> None:
    """Write a new subscription.

    Raises:
        Refused: there are as many as this installation allows.
    """
    if await book.count() >= most:
        raise Refused(
            "too-many-webhooks",
            found=f"{most} subscriptions",
            expected=f"fewer than {most} in this installation",
            remedy="delete one that is not needed",
            status=409,
        )
    await book.add(subscription)


async def rotate(identifier: SubscriptionId, overlap: timedelta, *, book: Book, seal: Seal, now: datetime) -> str:
    """A new secret; until the overlap ends, messages carry a signature by each.

    Raises:
        Refused: no such subscription.
    """
    found = await known(identifier, book)
    secret = new_secret()
    await book.reseal(identifier, seal.close(identifier, secret), found.secret, now + overlap)
    return secret


async def known(identifier: SubscriptionId, book: Book) -> Subscription:
    """The subscription.

    Raises:
        Refused: no such subscription.
    """
    found = await book.find(identifier)
    if found is None:
        raise unknown_webhook()
    return found


def unknown_webhook() -> Refused:
    """The answer to an id that names nothing."""
    return Refused(
        "unknown-webhook",
        found="an id that names no webhook subscription or delivery",
        expected="an id from the list of subscriptions or of a subscription's deliveries",
        remedy="list them: GET /v1/webhooks",
        status=404,
    )


async def hear(event: Event[Fact], *, book: Book, now: datetime) -> int:
    """Write one message for everybody who wants this fact; the bytes are fixed here. Returns how many."""
    wanted = [found for found in await book.active() if matches(found.types, event.type)]
    if wanted:
        await book.keep(event.id, event.type, to_structured(event), now)
    for subscription in wanted:
        await book.post(event.id, subscription.id, now)
    return len(wanted)


async def ping(identifier: SubscriptionId, event: EventId, *, book: Book, now: datetime) -> EventId:
    """Send a test message; returns its id.

    Raises:
        Refused: no such subscription, or it is disabled.
    """
    found = await known(identifier, book)
    if not found.active:
        raise Refused(
            "webhook-disabled",
            found=f"a subscription that is disabled ({found.reason})",
            expected="an active one",
            remedy=f"enable it first: POST /v1/webhooks/{identifier}/enable",
            status=409,
        )
    body = {
        "specversion": "1.0",
        "id": event,
        "source": "/antin/notifier",
        "type": TEST,
        "subject": identifier,
        "time": now.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {"subscription": identifier},
    }
    await book.keep(event, TEST, json.dumps(body).encode(), now)
    return await book.post(event, identifier, now)


async def attempt(parcel: Parcel, *, seal: Seal, endpoint: Endpoint, now: datetime) -> Answer:
    """Send one message once: the same id and the same bytes each time, the time and signatures of this attempt."""
    to = parcel.to
    try:
        secrets = [seal.open(to.id, to.secret)]
        if to.former is not None and to.former_until is not None and now < to.former_until:
            secrets.append(seal.open(to.id, to.former))
    except Unavailable as fault:
        return Answer(None, fault.found)
    headers = headers_for(secrets, parcel.message, now, parcel.body)
    return await endpoint.post(to.url, {"Content-Type": STRUCTURED, **headers}, parcel.body)


async def settle(
    parcel: Parcel, answer: Answer, took_ms: int, *, patience: Patience, book: Book, now: datetime
) -> list[Fact]:
    """Write what came of an attempt and return what is to be said about it."""
    to = parcel.to
    attempts = parcel.attempts + 1
    judged: Verdict = verdict(
        answer,
        attempts=attempts,
        schedule=patience.schedule,
        now=now,
        retry_after_most=patience.retry_after_most,
        failures=to.failures,
        failing_since=to.failing_since,
        disable_after=patience.disable_after,
    )
    if not await book.settle(parcel, answer, judged, now, took_ms):
        return []
    facts: list[Fact] = []
    match judged:
        case Delivered():
            facts.append(NotificationDelivered(subscription=to.id, event=parcel.event, attempts=attempts))
        case Again():
            pass
        case Gone():
            facts.append(_abandoned(parcel, attempts, GONE))
            facts.append(await _disable(to.id, GONE, book))
        case Abandoned(disable=disable):
            facts.append(_abandoned(parcel, attempts, answer.code))
            if disable:
                facts.append(await _disable(to.id, FAILING, book))
    return facts


def _abandoned(parcel: Parcel, attempts: int, reason: str) -> Fact:
    return NotificationAbandoned(subscription=parcel.to.id, event=parcel.event, attempts=attempts, reason=Code(reason))


async def _disable(identifier: SubscriptionId, reason: str, book: Book) -> Fact:
    await book.switch(identifier, reason)
    return SubscriptionDisabled(subscription=identifier, reason=Code(reason))
