"""What the notifier needs from outside: a book of subscriptions and messages, a seal for secrets, a way to post."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from events.values import EventId, SubscriptionId
from services.notifier.model import Answer, Parcel, Subscription, Verdict


class Book(Protocol):
    """Subscriptions and messages, within one transaction."""

    async def add(self, subscription: Subscription) -> None:
        """Write a new subscription."""
        ...

    async def find(self, identifier: SubscriptionId) -> Subscription | None:
        """The subscription, locked against other writers until the transaction ends."""
        ...

    async def count(self) -> int:
        """How many subscriptions there are."""
        ...

    async def active(self) -> Sequence[Subscription]:
        """Every subscription that wants messages."""
        ...

    async def remove(self, identifier: SubscriptionId) -> bool:
        """Forget a subscription and its messages; false when there was none."""
        ...

    async def reseal(self, identifier: SubscriptionId, secret: bytes, former: bytes, until: datetime) -> None:
        """A new secret; the former one goes on signing `until` then."""
        ...

    async def switch(self, identifier: SubscriptionId, reason: str | None) -> None:
        """Disable for a reason, or enable (no reason)."""
        ...

    async def keep(self, event: EventId, type_name: str, body: bytes, at: datetime) -> None:
        """Store an event's bytes, once for all who want it; what is there already stays."""
        ...

    async def post(self, event: EventId, to: SubscriptionId, at: datetime) -> EventId:
        """Write one message to one subscription, due at once; its id is the constant `webhook-id`."""
        ...

    async def again(self, message: EventId, to: SubscriptionId, at: datetime) -> bool:
        """Make a message due at once, whatever became of it; false when there is none."""
        ...

    async def settle(self, parcel: Parcel, answer: Answer, verdict: Verdict, at: datetime, took_ms: int) -> bool:
        """Write what came of an attempt; false when the claim is no longer ours and nothing was written."""
        ...


class Views(Protocol):
    """What the API shows, read through a connection; never a secret."""

    async def every_subscription(self, conn: Any, /) -> Sequence[Subscription]:
        """All of them, in the order they were made."""
        ...

    async def one_subscription(self, conn: Any, identifier: SubscriptionId, /) -> Subscription | None:
        """One of them."""
        ...

    async def recent(self, conn: Any, identifier: SubscriptionId, /) -> Sequence[Any]:
        """Its last deliveries, the newest first."""
        ...

    async def waiting(self, conn: Any, identifier: SubscriptionId, /) -> int:
        """How many of its messages are not delivered yet."""
        ...

    async def one_delivery(
        self, conn: Any, identifier: SubscriptionId, message: EventId, /
    ) -> tuple[Any, Any, Sequence[Any]] | None:
        """One message, what it says, and every attempt at it."""
        ...


class Seal(Protocol):
    """Keeps secrets unreadable in the database."""

    def close(self, subscription: SubscriptionId, secret: str) -> bytes:
        """The secret, readable only with the key and only for this subscription."""
        ...

    def open(self, subscription: SubscriptionId, sealed: bytes) -> str:
        """The secret again.

        Raises:
            Unavailable: sealed with a key that is not in the key file, or for another subscription.
        """
        ...


class Endpoint(Protocol):
    """Somebody's webhook URL."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One attempt; never raises for what the other side does."""
        ...
