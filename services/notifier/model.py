"""Pure decisions of the notifier: who wants what, what an answer means, when to try again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from events.flow import TOPICS
from events.registry import FACTS
from events.values import EventId, SubscriptionId

HEARD: tuple[str, ...] = tuple(
    sorted(name for name, fact in FACTS.items() if "notifier" in TOPICS[fact.family].services),
)
"""CloudEvents types a subscription may ask for: every fact of a family that the notifier hears."""

WILDCARDS: tuple[str, ...] = tuple(
    sorted(f"vn.antin.{family}.*" for family, topic in TOPICS.items() if "notifier" in topic.services)
)
"""Whole families, facts of later versions included."""

TEST = "vn.antin.webhook.test.v1"
"""CloudEvents type of a test message; every subscription takes it."""

PATIENT_FAILURES = 10
"""From so many failures in a row on, the whole subscription pauses, and longer each time."""
_PAUSE_MOST = 300.0

SLOW_MS = 2000
"""Who took longer for the last answer counts as slow."""


@dataclass(frozen=True)
class Subscription:
    """Where to send, what to send, and how it has gone. Secrets are sealed."""

    id: SubscriptionId
    url: str
    types: tuple[str, ...]
    description: str
    secret: bytes
    created_at: datetime
    created_by: str
    former: bytes | None = None
    former_until: datetime | None = None
    active: bool = True
    reason: str | None = None
    failures: int = 0
    failing_since: datetime | None = None
    not_before: datetime | None = None
    took_ms: int = 0
    """How long the last attempt took."""


@dataclass(frozen=True)
class Parcel:
    """One message claimed for one attempt: everything that must be known to make it."""

    message: EventId
    epoch: int
    event: EventId
    body: bytes
    attempts: int
    """Attempts made before this one."""
    to: Subscription


@dataclass(frozen=True)
class Answer:
    """What came of one attempt. No status: nothing usable came back."""

    status: int | None
    found: str
    retry_after: float | None = None

    @property
    def code(self) -> str:
        """The reason as a stable name."""
        return "no-answer" if self.status is None else f"status-{self.status}"


@dataclass(frozen=True)
class Delivered:
    """2xx: the subscriber has it."""


@dataclass(frozen=True)
class Gone:
    """410: the subscriber wants nothing more."""


@dataclass(frozen=True)
class Again:
    """Another attempt, not before `due`. `pause`: until when the subscriber wants to be left alone altogether."""

    due: datetime
    pause: datetime | None = None


@dataclass(frozen=True)
class Abandoned:
    """The last attempt failed. `disable`: the subscription has failed for too long."""

    disable: bool


Verdict = Delivered | Gone | Again | Abandoned


def ails(subscription: Subscription) -> bool:
    """Whether its last attempt failed or was slow: such subscriptions share places of their own."""
    return subscription.failures > 0 or subscription.took_ms > SLOW_MS


def matches(types: Collection[str], type_name: str) -> bool:
    """Whether a subscription to `types` wants this CloudEvents type."""
    family = ".".join(type_name.split(".")[:3])
    return type_name in types or f"{family}.*" in types


def verdict(
    answer: Answer,
    *,
    attempts: int,
    schedule: Sequence[float],
    now: datetime,
    retry_after_most: float,
    failures: int,
    failing_since: datetime | None,
    disable_after: float,
) -> Verdict:
    """What an attempt's answer means (Standard Webhooks 1.0: 2xx alone is success, 410 disables).

    `attempts` counts this one; `failures` and `failing_since` describe the subscription before this attempt.
    """
    if answer.status is not None and 200 <= answer.status < 300:
        return Delivered()
    if answer.status == 410:
        return Gone()
    if attempts > len(schedule):
        since = failing_since or now
        return Abandoned(disable=(now - since).total_seconds() >= disable_after)
    wait = float(schedule[attempts - 1])
    pause = pause_after(failures + 1)
    if answer.retry_after is not None:
        asked = min(answer.retry_after, retry_after_most)
        wait, pause = max(wait, asked), max(pause, asked)
    return Again(now + timedelta(seconds=wait), now + timedelta(seconds=pause) if pause else None)


def pause_after(failures: int) -> float:
    """Seconds for which a subscription that failed so often in a row gets nothing: 0, then 5, doubling, at most 300."""
    if failures < PATIENT_FAILURES:
        return 0.0
    return float(min(5.0 * 2 ** min(failures - PATIENT_FAILURES, 10), _PAUSE_MOST))


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds asked for by a Retry-After header (RFC 9110 clause 10.2.3: seconds or a date); none when unreadable."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
