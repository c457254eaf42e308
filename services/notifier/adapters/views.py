"""What the API shows of subscriptions and deliveries: reads only, never a secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from events.values import EventId, SubscriptionId
from services.notifier.adapters.store import attempts, bodies, messages, subscription_of, subscriptions
from services.notifier.model import Subscription

RECENT = 50
"""So many deliveries are shown with their subscription."""


async def every_subscription(conn: AsyncConnection) -> Sequence[Subscription]:
    """All of them, in the order they were made."""
    query = sa.select(subscriptions).order_by(subscriptions.c.created_at, subscriptions.c.id)
    return [subscription_of(row) for row in await conn.execute(query)]


async def one_subscription(conn: AsyncConnection, identifier: SubscriptionId) -> Subscription | None:
    """One of them."""
    row = (await conn.execute(sa.select(subscriptions).where(subscriptions.c.id == identifier))).first()
    return subscription_of(row) if row is not None else None


async def recent(conn: AsyncConnection, identifier: SubscriptionId) -> Sequence[sa.Row[Any]]:
    """Its last deliveries, the newest first."""
    query = (
        sa.select(messages, bodies.c.type)
        .join(bodies, bodies.c.event == messages.c.event)
        .where(messages.c.subscription == identifier)
        .order_by(messages.c.id.desc())
        .limit(RECENT)
    )
    return (await conn.execute(query)).all()


async def waiting(conn: AsyncConnection, identifier: SubscriptionId) -> int:
    """How many of its messages are not delivered yet."""
    query = (
        sa.select(sa.func.count())
        .select_from(messages)
        .where(messages.c.subscription == identifier, messages.c.finished_at.is_(None))
    )
    return int((await conn.execute(query)).scalar_one())


async def one_delivery(
    conn: AsyncConnection, identifier: SubscriptionId, message: EventId
) -> tuple[sa.Row[Any], Any, Sequence[sa.Row[Any]]] | None:
    """One message, what it says, and every attempt at it."""
    query = (
        sa.select(messages, bodies.c.type, bodies.c.body)
        .join(bodies, bodies.c.event == messages.c.event)
        .where(messages.c.subscription == identifier, messages.c.id == message)
    )
    row = (await conn.execute(query)).first()
    if row is None:
        return None
    tries = sa.select(attempts).where(attempts.c.message == message).order_by(attempts.c.number)
    return row, json.loads(bytes(row.body)), (await conn.execute(tries)).all()
