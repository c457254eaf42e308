"""The CloudEvents 1.0 envelope around a fact."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from events.fact import Fact
from events.values import EventId

F_co = TypeVar("F_co", bound=Fact, covariant=True)


@dataclass(frozen=True)
class Event(Generic[F_co]):
    """One fact as it was said: who said it and when, and what caused it.

    `source` and `id` together are unique (CloudEvents 1.0.2 clause 3.1); the inbox remembers `id`.
    """

    id: EventId
    source: str
    time: datetime
    fact: F_co
    cause: EventId | None = None
    traceparent: str | None = None

    @property
    def type(self) -> str:
        """CloudEvents `type`."""
        return self.fact.type_name()

    @property
    def key(self) -> str:
        """CloudEvents `partitionkey`."""
        return self.fact.key
