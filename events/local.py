"""The embedded bus: each consumer group reads the transactional outbox itself, with its own cursors.

The log is a port, because the outbox lives in the database of the process; this module holds the order, the waiting and
the retries, and no SQL. One process reads a group (the data folder is locked by its process).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from events.bus import Delivery, Step
from events.errors import Unavailable
from events.flow import retries_of

_GRACE = 5.0
"""Seconds that deliveries in flight are given at a stop."""


@dataclass(frozen=True)
class Parked:
    """A delivery that must wait, or that waits behind one of its key."""

    delivery: Delivery
    wait: float
    """Seconds until it may be tried."""


class Log(Protocol):
    """The outbox as a log with cursors (services.runtime.outbox). Offsets grow over all topics together."""

    async def read(self, topics: Collection[str], after: int, limit: int) -> Sequence[Delivery]:
        """Deliveries with an offset above `after`, in order."""
        ...

    async def cursors(self, group: str) -> Mapping[str, int]:
        """The offset up to which the group is done, by topic."""
        ...

    async def advance(self, group: str, topics: Collection[str], done: int) -> None:
        """Everything of these topics up to the offset `done` is done or parked."""
        ...

    async def park(self, group: str, delivery: Delivery, wait: float, why: str) -> None:
        """Keep a delivery for `wait` seconds; the same delivery again replaces the earlier entry."""
        ...

    async def parked(self, group: str) -> Sequence[Parked]:
        """Everything parked, in the order of the log."""
        ...

    async def unpark(self, group: str, delivery: Delivery) -> None:
        """Forget a parked delivery: it is done."""
        ...

    async def news(self, seconds: float) -> None:
        """Return when something was said, at the latest after `seconds`."""
        ...


def pause_before(attempt: int) -> float:
    """Seconds to wait after failed attempt number `attempt`: 0.2, doubling, at most 60."""
    return float(min(0.2 * 2 ** min(attempt - 1, 12), 60.0))


class LocalBus:
    """At-least-once delivery from the outbox, ordered by key, retried with growing pauses."""

    def __init__(self, log: Log, *, window: int = 64, poll: float = 0.5) -> None:
        self._log = log
        self._window = window
        self._poll = poll

    async def listen(self, group: str, topics: Collection[str], step: Step) -> None:
        """Deliver to `step` until cancelled; what is in flight then is delivered again next time."""
        again = next(iter(retries_of(group)))  # where redriven dead letters come in
        await _Reader(self._log, group, frozenset({*topics, again}), step, self._window, self._poll).run()


class _Reader:
    """One group's reading: a window of deliveries in flight, one chain of tasks per key, a shelf per waiting key."""

    def __init__(self, log: Log, group: str, topics: frozenset[str], step: Step, window: int, poll: float) -> None:
        self._log = log
        self._group = group
        self._topics = topics
        self._step = step
        self._window = window
        self._poll = poll
        self._tails: dict[str, asyncio.Task[None]] = {}
        self._open: set[int] = set()
        self._shelf: dict[str, deque[tuple[float, Delivery]]] = {}
        self._saved = 0
        self._behind: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._fault: BaseException | None = None

    async def run(self) -> None:
        known = await self._log.cursors(self._group)
        behind = self._behind = {topic: known.get(topic, 0) for topic in self._topics}
        after = self._saved = min(behind.values(), default=0)
        shelved: set[int] = set()
        for parked in await self._log.parked(self._group):
            self._put_aside(parked.delivery, parked.wait)
            shelved.add(parked.delivery.offset)
        retries = asyncio.create_task(self._retry(), name=f"{self._group}-retries")
        news: asyncio.Task[None] | None = None
        try:
            while True:
                if retries.done():
                    retries.result()
                if self._fault is not None:
                    raise self._fault
                news = self._listen_for_news(news)
                self._moved.clear()
                room = self._window - len(self._open)
                found = await self._log.read(self._topics, after, room) if room > 0 else ()
                for delivery in found:
                    after = delivery.offset
                    # A crash may have come between parking and moving the cursor: what is shelved is not taken twice.
                    if delivery.offset > behind[delivery.topic] and delivery.offset not in shelved:
                        self._start(delivery)
                await self._save(after)
                if not found:
                    await self._idle(news)
        finally:
            # A stop lets what is in flight come to its end; what does not in time is delivered again.
            if self._tails:
                await asyncio.wait(set(self._tails.values()), timeout=_GRACE)
            tasks = [retries, *self._tails.values(), *([news] if news is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, delivery: Delivery) -> None:
        self._open.add(delivery.offset)
        before = self._tails.get(delivery.key)
        task = asyncio.create_task(self._deliver(delivery, before), name=f"{self._group}-{delivery.offset}")
        self._tails[delivery.key] = task
        task.add_done_callback(lambda ended: self._ended(delivery, ended))

    def _ended(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        if self._tails.get(delivery.key) is task:
            del self._tails[delivery.key]
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()
        self._moved.set()

    async def _deliver(self, delivery: Delivery, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        if delivery.key in self._shelf:
            await self._park(delivery, 0.0, "waits-behind-an-earlier-event")
        else:
            try:
                await self._step(delivery)
            except Unavailable as wait:
                await self._park(replace(delivery, attempt=delivery.attempt + 1), _pause(wait, delivery), wait.code)
        self._open.discard(delivery.offset)

    async def _park(self, delivery: Delivery, wait: float, why: str) -> None:
        await self._log.park(self._group, delivery, wait, why)
        self._put_aside(delivery, wait)

    def _put_aside(self, delivery: Delivery, wait: float) -> None:
        due = asyncio.get_running_loop().time() + wait
        self._shelf.setdefault(delivery.key, deque()).append((due, delivery))

    async def _save(self, after: int) -> None:
        """Move the cursors to just below the oldest delivery still in flight."""
        done = min(self._open) - 1 if self._open else after
        if done > self._saved:
            # A topic that is new to the group starts at the beginning and must not pull the others back.
            topics = [topic for topic in self._topics if self._behind[topic] < done]
            await self._log.advance(self._group, topics, done)
            self._saved = done

    def _listen_for_news(self, before: asyncio.Task[None] | None) -> asyncio.Task[None]:
        """Begun before the log is read, so that what is said between reading and waiting wakes us too."""
        if before is not None and not before.done():
            return before
        return asyncio.create_task(self._log.news(self._poll), name=f"{self._group}-news")

    async def _idle(self, news: asyncio.Task[None]) -> None:
        """Wait for news in the log or for a place in the window."""
        moved = asyncio.create_task(self._moved.wait())
        try:
            await asyncio.wait([news, moved], timeout=self._poll, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moved.cancel()
            await asyncio.gather(moved, return_exceptions=True)

    async def _retry(self) -> None:
        """Try the first delivery of each waiting key when it is due, keys side by side."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                now = asyncio.get_running_loop().time()
                for key in [key for key, task in running.items() if task.done()]:
                    running.pop(key).result()
                for key, shelf in list(self._shelf.items()):
                    if key not in running and shelf[0][0] <= now:
                        running[key] = asyncio.create_task(self._again(key))
                await asyncio.sleep(0.02 if self._shelf else 0.1)
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _again(self, key: str) -> None:
        """Work off one key's shelf until it is empty or must wait once more."""
        shelf = self._shelf[key]
        while shelf and shelf[0][0] <= asyncio.get_running_loop().time():
            _, delivery = shelf[0]
            try:
                await self._step(delivery)
            except Unavailable as wait:
                pause = _pause(wait, delivery)
                delivery = replace(delivery, attempt=delivery.attempt + 1)
                await self._log.park(self._group, delivery, pause, wait.code)
                shelf[0] = (asyncio.get_running_loop().time() + pause, delivery)
            else:
                await self._log.unpark(self._group, delivery)
                shelf.popleft()
        if not shelf:
            del self._shelf[key]


def _pause(wait: Unavailable, delivery: Delivery) -> float:
    return wait.retry_after if wait.retry_after is not None else pause_before(delivery.attempt)
