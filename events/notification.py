"""Facts of the notification family: what subscribers were told. Said by `notifier`, keyed by the subscription."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from events.fact import Fact
from events.values import Code, EventId, SubscriptionId


class NotificationFact(Fact):
    """A fact about one webhook subscription."""

    family: ClassVar[str] = "notification"
    ordered_by: ClassVar[str] = "subscription"

    subscription: SubscriptionId


class NotificationDelivered(NotificationFact):
    """The subscriber's endpoint answered 2xx."""

    event: EventId
    attempts: Annotated[int, Field(ge=1)]


class NotificationAbandoned(NotificationFact):
    """Every attempt failed; the message stays in the store and can be sent again by hand."""

    event: EventId
    attempts: Annotated[int, Field(ge=1)]
    reason: Code


class SubscriptionDisabled(NotificationFact):
    """The endpoint answered 410 Gone, or failed for too long."""

    reason: Code
