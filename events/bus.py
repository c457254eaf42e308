"""Ports of the bus: what a consumer is given, and what a transport must promise.

Promises, held by one suite on every transport (tests/ports/bus.py): what was said is durable; events of one key are
delivered in the order they were said; delivery is at least once, again after a crash; an event that must wait holds
back only its own key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from events.codec import from_structured
from events.envelope import Event
from events.fact import Fact


@dataclass(frozen=True)
class Delivery:
    """One event as it arrives: the bytes as they were said and where they stand in the log."""

    topic: str
    partition: int
    offset: int
    key: str
    body: bytes
    attempt: int = 1

    def event(self) -> Event[Fact]:
        """The event inside.

        Raises:
            Malformed: the bytes are no event this version understands.
        """
        return from_structured(self.body)


Step = Callable[[Delivery], Awaitable[None]]
"""Takes one delivery to its end. Returning means done; `Unavailable` means: again later, this key only."""


class Bus(Protocol):
    """Carries events from speakers to consumer groups."""

    async def listen(self, group: str, topics: Collection[str], step: Step) -> None:
        """Deliver to `step` until cancelled."""
        ...
