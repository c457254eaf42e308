"""Puts the timeline together: SQL tables on the embedded bus, Faust on Kafka; the fold and the routes are the same."""

from __future__ import annotations

from collections.abc import Sequence

from events.envelope import Event
from events.fact import Fact
from events.kafka import Broker
from events.registry import FACTS
from services.runtime.consume import Subscriber
from services.runtime.database import Tx
from services.runtime.process import Platform, Service
from services.timeline.adapters import store
from services.timeline.routes import Desk

NAME = "timeline"


def build(platform: Platform, broker: Broker | None = None) -> Service:
    """The timeline as a service of this process."""
    if broker is not None:
        # Faust is imported only where it runs: it is large, and the embedded default does not need it.
        from services.timeline.adapters.stream import FaustTables

        stream = FaustTables(broker, platform.clock)
        return Service(NAME, routes=Desk(stream).routes(), loops={NAME: stream.run})

    async def take(event: Event[Fact], tx: Tx) -> Sequence[Fact]:
        await store.take(tx, event)
        return ()

    return Service(
        NAME,
        schemas=[store.schema],
        routes=Desk(store.SqlTables(platform.database)).routes(),
        subscribers=[Subscriber(NAME, reactions=dict.fromkeys(FACTS.values(), take))],
    )
