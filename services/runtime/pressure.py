"""How much waits: measured now and then, shown as metrics, and the reason to take no new work for a while.

What takes rights away (identity events) is never refused for this: it is stored whatever waits (ADR 5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from pydantic import Field

from events.errors import Refused, Unavailable
from events.flow import dead_letters_of, groups, retries_of
from services.runtime import relay
from services.runtime.access import Scope
from services.runtime.database import Database
from services.runtime.settings import Settings
from services.runtime.tables import cursors, outbox, parked, waiting
from services.runtime.web import Call, Reply, Route

METRICS = "text/plain"


class Limits(Settings):
    """How much may wait before intake says: later. ANTIN_INTAKE__<NAME>."""

    lag: int = Field(20_000, ge=1, description="events a consumer group may be behind before intake answers 429")
    outbox: int = Field(50_000, ge=1, description="unsent messages of the outbox before intake answers 503")


class Pressure:
    """Outbox depth, lag of each consumer group, waiting events and dead letters."""

    def __init__(
        self,
        database: Database,
        limits: Limits | None = None,
        lags: Callable[[], Awaitable[Mapping[str, int]]] | None = None,
        *,
        every: float = 5.0,
    ) -> None:
        self.every = every
        self._database = database
        self._limits = limits or Limits()
        self._bus = lags is not None
        self._lags = lags or self._embedded
        self._registry = CollectorRegistry()
        self._depth = Gauge("antin_outbox_depth", "Messages said and not yet on the bus", registry=self._registry)
        self._lag = Gauge("antin_consumer_lag", "Events not taken to their end", ["group"], registry=self._registry)
        self._waiting = Gauge("antin_events_waiting", "Events to be tried again", ["group"], registry=self._registry)
        self._dead = Gauge("antin_dead_letters", "Dead letters ever written", ["group"], registry=self._registry)
        self._deep = 0
        self._worst: tuple[str, int] = ("", 0)

    async def measure(self) -> None:
        """Look.

        Raises:
            Unavailable: the database or the broker does not answer.
        """
        self._deep = await relay.depth(self._database) if self._bus else 0
        self._depth.set(self._deep)
        async with self._database.read() as conn:
            letters = sa.select(outbox.c.topic, sa.func.count()).where(outbox.c.topic.like("%.dlq"))
            dead = {row[0]: row[1] for row in await conn.execute(letters.group_by(outbox.c.topic))}
            held: dict[str, int] = {}
            for table in (waiting, parked):
                query = sa.select(table.c.consumer, sa.func.count()).group_by(table.c.consumer)
                for row in await conn.execute(query):
                    held[row[0]] = held.get(row[0], 0) + row[1]
        for group in groups():
            self._waiting.labels(group).set(held.get(group, 0))
            self._dead.labels(group).set(dead.get(dead_letters_of(group), 0))
        found = await self._lags()
        for group, lag in found.items():
            self._lag.labels(group).set(lag)
        self._worst = max(found.items(), key=lambda one: one[1], default=("", 0))

    def admit(self) -> None:
        """Let new work in.

        Raises:
            Refused: 429, a consumer group is too far behind.
            Unavailable: 503, the outbox is too deep.
        """
        if self._deep > self._limits.outbox:
            raise Unavailable(
                "outbox-full",
                found=f"{self._deep} messages that are not on the bus",
                expected=f"at most {self._limits.outbox}",
                remedy="try again later; operators: check the relay and the broker",
                retry_after=30,
            )
        group, lag = self._worst
        if lag > self._limits.lag:
            raise Refused(
                "too-much-waits",
                found=f"{lag} events that {group} has not taken",
                expected=f"at most {self._limits.lag}",
                remedy="try again later; operators: run more of that service",
                status=429,
            )

    def route(self) -> Route:
        """GET /metrics."""

        async def metrics(_: Call) -> Reply:
            return Reply(generate_latest(self._registry), media=METRICS)

        return Route("GET", "/metrics", metrics, "Metrics for Prometheus", "operation", Scope("metrics:read"), METRICS)

    async def _embedded(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        async with self._database.read() as conn:
            rows = await conn.execute(sa.select(cursors.c.consumer, cursors.c.topic, cursors.c.offset))
            known = {(row.consumer, row.topic): row.offset for row in rows}
            for group in sorted({consumer for consumer, _ in known}):
                count = 0
                for topic in (*groups().get(group, ()), *retries_of(group)):
                    behind = sa.select(sa.func.count()).where(
                        outbox.c.topic == topic, outbox.c.offset > known.get((group, topic), 0)
                    )
                    count += int((await conn.execute(behind)).scalar_one())
                found[group] = count
        return found
