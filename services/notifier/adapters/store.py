"""The notifier's tables, and the book kept in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from events.values import EventId, SubscriptionId
from services.notifier.model import SLOW_MS, Again, Answer, Delivered, Parcel, Subscription, Verdict
from services.runtime.database import Instant, Schema, Tx
from services.runtime.outbox import new_id

metadata = sa.MetaData()

subscriptions = sa.Table(
    "notifier_subscriptions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("types", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("former", sa.LargeBinary),
    sa.Column("former_until", Instant),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("reason", sa.String(64)),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failing_since", Instant),
    sa.Column("not_before", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("created_by", sa.String(40), nullable=False),
    sa.Column("took_ms", sa.Integer, nullable=False),
)

bodies = sa.Table(
    "notifier_bodies",
    metadata,
    sa.Column("event", sa.String(36), primary_key=True),
    sa.Column("type", sa.String(120), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("at", Instant, nullable=False),
)

messages = sa.Table(
    "notifier_messages",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column(
        "subscription",
        sa.String(36),
        sa.ForeignKey("notifier_subscriptions.id", name="notifier_message_to", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column(
        "event", sa.String(36), sa.ForeignKey("notifier_bodies.event", name="notifier_message_of"), nullable=False
    ),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due", Instant, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(36)),
    sa.Column("leased_until", Instant),
    sa.Column("status", sa.Integer),
    sa.Column("found", sa.String(200)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("finished_at", Instant),
    sa.UniqueConstraint("subscription", "event", name="notifier_message_once"),
    sa.Index("notifier_message_by_state", "state", "subscription", "due"),
    sa.Index("notifier_message_by_event", "event"),
)

attempts = sa.Table(
    "notifier_attempts",
    metadata,
    sa.Column(
        "message",
        sa.String(36),
        sa.ForeignKey("notifier_messages.id", name="notifier_attempt_of", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("took_ms", sa.Integer, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("found", sa.String(200), nullable=False),
)

schema = Schema("notifier", metadata, Path(__file__).parents[1] / "migrations" / "versions")

WAITING, LEASED, DELIVERED, ABANDONED = "waiting", "leased", "delivered", "abandoned"
ACTIVE, DISABLED = "active", "disabled"


class SqlBook:
    """The book within one write transaction (services.notifier.ports.Book)."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, subscription: Subscription) -> None:
        """Write a new subscription."""
        await self._tx.execute(
            subscriptions.insert().values(
                id=subscription.id,
                url=subscription.url,
                types=json.dumps(subscription.types),
                description=subscription.description,
                secret=subscription.secret,
                state=ACTIVE,
                failures=0,
                took_ms=0,
                created_at=subscription.created_at,
                created_by=subscription.created_by,
            )
        )

    async def find(self, identifier: SubscriptionId) -> Subscription | None:
        """The subscription, locked against other writers until the transaction ends."""
        query = sa.select(subscriptions).where(subscriptions.c.id == identifier).with_for_update()
        row = (await self._tx.execute(query)).first()
        return subscription_of(row) if row is not None else None

    async def count(self) -> int:
        """How many subscriptions there are."""
        return int((await self._tx.execute(sa.select(sa.func.count()).select_from(subscriptions))).scalar_one())

    async def active(self) -> Sequence[Subscription]:
        """Every subscription that wants messages."""
        query = sa.select(subscriptions).where(subscriptions.c.state == ACTIVE).order_by(subscriptions.c.id)
        return [subscription_of(row) for row in await self._tx.execute(query)]

    async def remove(self, identifier: SubscriptionId) -> bool:
        """Forget a subscription and its messages; false when there was none."""
        found = await self._tx.execute(subscriptions.delete().where(subscriptions.c.id == identifier))
        return found.rowcount == 1

    async def reseal(self, identifier: SubscriptionId, secret: bytes, former: bytes, until: datetime) -> None:
        """A new secret; the former one goes on signing `until` then."""
        await self._change(identifier, secret=secret, former=former, former_until=until)

    async def switch(self, identifier: SubscriptionId, reason: str | None) -> None:
        """Disable for a reason, or enable (no reason): with a clean slate."""
        if reason is None:
            await self._change(identifier, state=ACTIVE, reason=None, failures=0, failing_since=None, not_before=None)
        else:
            await self._change(identifier, state=DISABLED, reason=reason)

    async def keep(self, event: EventId, type_name: str, body: bytes, at: datetime) -> None:
        """Store an event's bytes, once for all who want it; what is there already stays."""
        values = {"event": event, "type": type_name, "body": body, "at": at}
        await self._tx.execute(_insert_or_leave(self._tx, bodies, values, ("event",)))

    async def post(self, event: EventId, to: SubscriptionId, at: datetime) -> EventId:
        """Write one message to one subscription, due at once; its id is the constant `webhook-id`."""
        message = EventId(new_id())
        values = {
            "id": message,
            "subscription": to,
            "event": event,
            "state": WAITING,
            "attempts": 0,
            "due": at,
            "epoch": 0,
            "created_at": at,
        }
        await self._tx.execute(_insert_or_leave(self._tx, messages, values, ("subscription", "event")))
        return message

    async def again(self, message: EventId, to: SubscriptionId, at: datetime) -> bool:
        """Make a message due at once, whatever became of it; false when there is none."""
        changed = await self._tx.execute(
            messages.update()
            .where(messages.c.id == message, messages.c.subscription == to)
            .values(state=WAITING, due=at, finished_at=None, epoch=messages.c.epoch + 1)
        )
        return changed.rowcount == 1

    async def settle(self, parcel: Parcel, answer: Answer, verdict: Verdict, at: datetime, took_ms: int) -> bool:
        """Write what came of an attempt; false when the claim is no longer ours and nothing was written."""
        number = parcel.attempts + 1
        waits = isinstance(verdict, Again)
        changed = await self._tx.execute(
            messages.update()
            .where(messages.c.id == parcel.message, messages.c.epoch == parcel.epoch, messages.c.state == LEASED)
            .values(
                state=_state_after(verdict),
                attempts=number,
                due=verdict.due if isinstance(verdict, Again) else messages.c.due,
                status=answer.status,
                found=answer.found[:200],
                owner=None,
                leased_until=None,
                finished_at=None if waits else at,
            )
        )
        if changed.rowcount != 1:
            return False
        await self._tx.execute(
            attempts.insert().values(
                message=parcel.message,
                number=number,
                at=at,
                took_ms=took_ms,
                status=answer.status,
                found=answer.found[:200],
            )
        )
        if isinstance(verdict, Delivered):
            await self._change(parcel.to.id, failures=0, failing_since=None, not_before=None, took_ms=took_ms)
        else:
            pause = verdict.pause if isinstance(verdict, Again) else None
            since = sa.func.coalesce(subscriptions.c.failing_since, sa.literal(at, Instant))
            await self._change(
                parcel.to.id,
                failures=subscriptions.c.failures + 1,
                failing_since=since,
                not_before=pause,
                took_ms=took_ms,
            )
        return True

    async def claim(self, now: datetime, owner: str, lease: timedelta, *, sound: int, ailing: int) -> Sequence[Parcel]:
        """Take the oldest due message of each free subscription: `sound` of those that answer, `ailing` of the others.

        A subscription has at most one attempt in flight, so its messages keep their order while all goes well.
        """
        await self._tx.execute(
            messages.update()
            .where(messages.c.state == LEASED, messages.c.leased_until <= now)
            .values(state=WAITING, owner=None, leased_until=None)
        )
        chosen: list[str] = []
        for room, unwell in ((sound, False), (ailing, True)):
            if room > 0:
                chosen.extend((await self._tx.execute(ready(now, unwell=unwell).limit(room))).scalars())
        if not chosen:
            return []
        await self._tx.execute(
            messages.update()
            .where(messages.c.id.in_(chosen), messages.c.state == WAITING)
            .values(state=LEASED, owner=owner, leased_until=now + lease, epoch=messages.c.epoch + 1)
        )
        query = (
            sa.select(messages, bodies.c.body)
            .join(bodies, bodies.c.event == messages.c.event)
            .where(messages.c.id.in_(chosen), messages.c.owner == owner, messages.c.state == LEASED)
            .order_by(messages.c.id)
        )
        rows = (await self._tx.execute(query)).all()
        known = sa.select(subscriptions).where(subscriptions.c.id.in_([row.subscription for row in rows]))
        to = {row.id: subscription_of(row) for row in await self._tx.execute(known)}
        return [
            Parcel(
                message=EventId(row.id),
                epoch=row.epoch,
                event=EventId(row.event),
                body=bytes(row.body),
                attempts=row.attempts,
                to=to[row.subscription],
            )
            for row in rows
        ]

    async def free(self, owner: str | None) -> None:
        """Give up the claims of one owner, or (None) of everybody."""
        whose = [messages.c.owner == owner] if owner is not None else []
        await self._tx.execute(
            messages.update()
            .where(messages.c.state == LEASED, *whose)
            .values(state=WAITING, owner=None, leased_until=None)
        )

    async def sweep(self, before: datetime) -> int:
        """Forget messages that ended, or were held for a disabled subscription, before this; returns how many."""
        disabled = sa.select(subscriptions.c.id).where(subscriptions.c.state == DISABLED)
        old = await self._tx.execute(
            messages.delete().where(
                messages.c.created_at < before,
                sa.or_(messages.c.finished_at < before, messages.c.subscription.in_(disabled)),
            )
        )
        used = sa.select(messages.c.event).where(messages.c.event == bodies.c.event)
        await self._tx.execute(bodies.delete().where(bodies.c.at < before, ~used.exists()))
        return old.rowcount

    async def _change(self, identifier: SubscriptionId, **values: Any) -> None:
        await self._tx.execute(subscriptions.update().where(subscriptions.c.id == identifier).values(**values))


def ready(now: datetime, *, unwell: bool | None = None) -> sa.Select[tuple[str]]:
    """The oldest due message of every active subscription that has no attempt in flight.

    An attempt whose lease is over is in flight no more: nobody finished it, and its message is due.
    """
    other = messages.alias("other")
    busy = sa.select(other.c.id).where(
        other.c.subscription == subscriptions.c.id, other.c.state == LEASED, other.c.leased_until > now
    )
    oldest = (
        sa.select(sa.func.min(messages.c.id))
        .where(
            messages.c.subscription == subscriptions.c.id,
            sa.or_(messages.c.state == WAITING, messages.c.state == LEASED),
            messages.c.due <= now,
        )
        .correlate(subscriptions)
        .scalar_subquery()
    )
    candidates = sa.select(oldest.label("message")).where(
        subscriptions.c.state == ACTIVE,
        sa.or_(subscriptions.c.not_before.is_(None), subscriptions.c.not_before <= now),
        ~busy.exists(),
    )
    if unwell is not None:
        ail = sa.or_(subscriptions.c.failures > 0, subscriptions.c.took_ms > SLOW_MS)
        candidates = candidates.where(ail if unwell else sa.not_(ail))
    found = candidates.subquery()
    return sa.select(found.c.message).where(found.c.message.is_not(None)).order_by(found.c.message)


def subscription_of(row: sa.Row[Any]) -> Subscription:
    """A row as the model knows it."""
    return Subscription(
        id=SubscriptionId(row.id),
        url=row.url,
        types=tuple(json.loads(row.types)),
        description=row.description,
        secret=bytes(row.secret),
        former=bytes(row.former) if row.former is not None else None,
        former_until=row.former_until,
        active=row.state == ACTIVE,
        reason=row.reason,
        failures=row.failures,
        failing_since=row.failing_since,
        not_before=row.not_before,
        created_at=row.created_at,
        created_by=row.created_by,
        took_ms=row.took_ms,
    )


def _state_after(verdict: Verdict) -> str:
    if isinstance(verdict, Again):
        return WAITING
    return DELIVERED if isinstance(verdict, Delivered) else ABANDONED


def _insert_or_leave(tx: Tx, table: sa.Table, values: dict[str, Any], keys: Sequence[str]) -> sa.Insert:
    if tx.conn.dialect.name == "postgresql":
        return postgresql.insert(table).values(**values).on_conflict_do_nothing(index_elements=list(keys))
    return sqlite.insert(table).values(**values).on_conflict_do_nothing(index_elements=list(keys))
