"""The consume step: what was heard, what changed and what is said about it commit together, once.

A `Reaction` only decides and writes: one transaction. A `Work` also touches the world (a key, a CA, a file): it claims
a job by lease and epoch, acts outside any transaction, and finishes in a second one that checks the epoch. A crash
anywhere leads to redelivery and to the claim again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import sqlalchemy as sa
import structlog

from events.bus import Delivery
from events.envelope import Event
from events.errors import AntinError, Malformed, Refused, Unavailable
from events.fact import Fact
from events.flow import topic_of
from services.runtime.clock import Clock
from services.runtime.database import Database, Tx
from services.runtime.lease import LEASE, renewed
from services.runtime.letters import bury
from services.runtime.outbox import Outbox, upsert
from services.runtime.tables import inbox, jobs

log = structlog.get_logger()

PATIENCE = 12
"""Unforeseen faults (bugs) are tried this often before the event becomes a dead letter."""

Reaction = Callable[[Event[Any], Tx], Awaitable[Sequence[Fact]]]
"""Decides on one event within the transaction and returns what it says."""


@dataclass(frozen=True)
class Done:
    """What `Work.plan` answers when nothing needs to be done outside: say these facts and finish."""

    facts: Sequence[Fact] = ()


class Work(Protocol):
    """A reaction with a side effect."""

    def key(self, event: Event[Any]) -> str:
        """Names the job: two events with one key are the same work, done once."""
        ...

    async def plan(self, event: Event[Any], tx: Tx) -> Any:
        """Within the claim: look and decide. A plan to act on, or `Done`. May raise Refused."""
        ...

    async def act(self, plan: Any) -> Any:
        """Outside any transaction; may be repeated after a crash. May raise Refused or Unavailable."""
        ...

    async def finish(self, event: Event[Any], plan: Any, result: Any, tx: Tx) -> Sequence[Fact]:
        """Write the outcome; runs only if the claim is still ours."""
        ...

    async def refuse(self, event: Event[Any], fault: Refused, tx: Tx) -> Sequence[Fact]:
        """Write a refusal of `plan` or `act` and say it."""
        ...


@dataclass(frozen=True)
class Subscriber:
    """One consumer group of one service: what it does on which fact."""

    group: str
    reactions: Mapping[type[Fact], Reaction] = field(default_factory=dict)
    works: Mapping[type[Fact], Work] = field(default_factory=dict)

    @property
    def topics(self) -> frozenset[str]:
        """The topics it listens to."""
        return frozenset(topic_of(fact.family) for fact in (*self.reactions, *self.works))


class Consumer:
    """Takes deliveries of one subscriber to their end."""

    def __init__(self, subscriber: Subscriber, database: Database, outbox: Outbox, clock: Clock, owner: str) -> None:
        self._subscriber = subscriber
        self._group = subscriber.group
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._owner = owner

    async def step(self, delivery: Delivery) -> None:
        """The step itself (events.bus.Step).

        Raises:
            Unavailable: it must be tried again later; nothing has changed but, perhaps, a lease.
        """
        try:
            event = delivery.event()
            fact = type(event.fact)
            if fact in self._subscriber.works:
                await self._work(event, self._subscriber.works[fact])
            elif fact in self._subscriber.reactions:
                await self._react(event, self._subscriber.reactions[fact])
        except Unavailable as wait:
            log.info("step-waits", group=self._group, offset=delivery.offset, code=wait.code, attempt=delivery.attempt)
            raise
        except (Refused, Malformed) as fault:
            await self._bury(delivery, fault)
        except Exception as fault:
            log.exception("step-failed", group=self._group, offset=delivery.offset, attempt=delivery.attempt)
            unforeseen = Unavailable(
                "unforeseen-fault",
                found=f"a fault that no rule foresees ({type(fault).__name__})",
                expected="a step that ends",
                remedy="it is tried again; after that it becomes a dead letter: see the log",
            )
            if delivery.attempt < PATIENCE:
                raise unforeseen from fault
            await self._bury(delivery, unforeseen)

    async def _react(self, event: Event[Fact], reaction: Reaction) -> None:
        async with self._database.write() as tx:
            if await self._heard(tx, event):
                return
            facts = await reaction(event, tx)
            await self._remember(tx, event, facts)

    async def _work(self, event: Event[Fact], work: Work) -> None:
        key = work.key(event)
        refusal: Refused | None = None
        plan: Any = None
        async with self._database.write() as tx:
            if await self._heard(tx, event):
                return
            epoch = await self._claim(tx, key)
            if epoch is None:
                # The claim may have waited for another who was finishing this very event: look again.
                if not await self._heard(tx, event):
                    await self._remember(tx, event, ())
                return
            try:
                plan = await work.plan(event, tx)
            except Refused as fault:
                refusal = fault
            if isinstance(plan, Done) or refusal is not None:
                facts = await work.refuse(event, refusal, tx) if refusal else plan.facts
                await self._finish(tx, event, key, epoch, facts)
                return
        try:
            async with renewed(partial(self._renew, key, epoch)):
                result = await work.act(plan)
        except Refused as fault:
            refusal = fault
        except BaseException:
            await self._release(key, epoch)
            raise
        async with self._database.write() as tx:
            await self._still_ours(tx, key, epoch)
            facts = await (work.refuse(event, refusal, tx) if refusal else work.finish(event, plan, result, tx))
            await self._finish(tx, event, key, epoch, facts)

    async def _finish(self, tx: Tx, event: Event[Fact], key: str, epoch: int, facts: Sequence[Fact]) -> None:
        await tx.execute(jobs.update().where(*self._is(key), jobs.c.epoch == epoch).values(state="done"))
        await self._remember(tx, event, facts)

    async def _heard(self, tx: Tx, event: Event[Fact]) -> bool:
        query = sa.select(inbox.c.event).where(inbox.c.consumer == self._group, inbox.c.event == event.id)
        return (await tx.execute(query)).first() is not None

    async def _remember(self, tx: Tx, event: Event[Fact], facts: Sequence[Fact]) -> None:
        await tx.execute(inbox.insert().values(consumer=self._group, event=str(event.id), at=self._clock.now()))
        await self._outbox.say(tx, self._group, facts, cause=event)

    async def _claim(self, tx: Tx, key: str) -> int | None:
        """A new epoch of the job, or none when it is done already."""
        row = (await tx.execute(sa.select(jobs).where(*self._is(key)).with_for_update())).first()
        now = self._clock.now()
        if row is not None and row.state == "done":
            return None
        if row is not None and row.state == "leased" and row.owner != self._owner and row.leased_until > now:
            raise Unavailable(
                "leased-by-another",
                found=f"the job is leased until {row.leased_until.isoformat()}",
                expected="a job that nobody works on",
                remedy="it is tried again when the lease ends",
                retry_after=1.0,
            )
        epoch = 1 if row is None else row.epoch + 1
        values = {
            "consumer": self._group,
            "key": key,
            "epoch": epoch,
            "state": "leased",
            "owner": self._owner,
            "leased_until": now + LEASE,
        }
        await tx.execute(upsert(tx, jobs, values, ("consumer", "key")))
        return epoch

    async def _still_ours(self, tx: Tx, key: str, epoch: int) -> None:
        row = (await tx.execute(sa.select(jobs.c.epoch, jobs.c.state).where(*self._is(key)).with_for_update())).first()
        if row is None or row.epoch != epoch or row.state != "leased":
            raise Unavailable(
                "fenced",
                found="another worker has taken the job since",
                expected="the epoch of our own claim",
                remedy="our result is thrown away; the step is tried again and finds the other's",
            )

    async def _renew(self, key: str, epoch: int) -> None:
        async with self._database.write() as tx:
            until = self._clock.now() + LEASE
            await tx.execute(jobs.update().where(*self._is(key), jobs.c.epoch == epoch).values(leased_until=until))

    async def _release(self, key: str, epoch: int) -> None:
        async with self._database.write() as tx:
            await tx.execute(jobs.update().where(*self._is(key), jobs.c.epoch == epoch).values(state="free"))

    def _is(self, key: str) -> tuple[sa.ColumnElement[bool], ...]:
        return (jobs.c.consumer == self._group, jobs.c.key == key)

    async def _bury(self, delivery: Delivery, fault: AntinError) -> None:
        log.warning("dead-letter", group=self._group, offset=delivery.offset, code=fault.code)
        event = delivery.identity
        async with self._database.write() as tx:
            known = sa.select(inbox.c.event).where(inbox.c.consumer == self._group, inbox.c.event == event)
            if (await tx.execute(known)).first() is None:
                await tx.execute(inbox.insert().values(consumer=self._group, event=event, at=self._clock.now()))
                await bury(tx, self._outbox, self._group, delivery, fault)


async def break_leases(database: Database) -> None:
    """Free every job: only for a process that knows itself to be alone (the embedded default, at start)."""
    async with database.write() as tx:
        await tx.execute(jobs.update().where(jobs.c.state == "leased").values(state="free"))
