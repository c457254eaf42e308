"""Ports of the bus: what a consumer is given, and what a transport must promise.

Promises, held by one suite on every transport (tests/ports/test_promises.py): what was said is durable; events of one
key are delivered in the order they were said; delivery is at least once, again after a crash; an event that must wait
holds back only its own key.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from events.codec import from_message
from events.envelope import Event
from events.fact import Fact


@dataclass(frozen=True)
class Delivery:
    """One event as it arrives: the message as it was said (events.codec.to_message) and where it stands in the log."""

    topic: str
    partition: int
    offset: int
    key: str
    body: bytes
    attempt: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """The event's id; what has none is named by its place, so that it is the same however often it is delivered."""
        try:
            return str(uuid.UUID(self.headers["ce_id"]))
        except (KeyError, ValueError):
            return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.topic}/{self.partition}/{self.offset}"))

    def event(self) -> Event[Fact]:
        """The event inside.

        Raises:
            Malformed: the bytes are no event this version understands.
        """
        return from_message(self.headers, self.body)


Step = Callable[[Delivery], Awaitable[None]]
"""Takes one delivery to its end. Returning means done; `Unavailable` means: again later, this key only."""


class Bus(Protocol):
    """Carries events from speakers to consumer groups."""

    async def listen(self, group: str, topics: Collection[str], step: Step) -> None:
        """Deliver to `step` until cancelled."""
        ...
