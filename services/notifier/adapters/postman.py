"""The loop that delivers: claims what is due, attempts it, writes what came of it; nothing is kept in memory alone."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Self

import structlog

from events.codec import from_structured
from events.envelope import Event
from events.errors import AntinError, Malformed, Unavailable
from events.fact import Fact
from services.notifier.adapters.store import SqlBook, ready
from services.notifier.handlers import Patience, attempt, settle
from services.notifier.model import Parcel, ails
from services.notifier.ports import Endpoint, Seal
from services.notifier.settings import NotifierSettings
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.outbox import Outbox, new_id

log = structlog.get_logger()


class Postman:
    """An async context manager; delivers while it is open.

    `owner` names this process over restarts: what its dead predecessor had claimed is due again at once. Without a name
    that is so on SQLite alone, which has one process; elsewhere the lease must run out.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        clock: Clock,
        seal: Seal,
        endpoint: Endpoint,
        settings: NotifierSettings,
        owner: str | None = None,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._seal = seal
        self._endpoint = endpoint
        self._settings = settings
        self._patience = Patience(settings.schedule, settings.retry_after_most, settings.disable_after)
        self._lease = timedelta(seconds=max(settings.lease, 2 * settings.timeout))
        self._owner = owner or new_id()
        self._stirred = asyncio.Event()
        self._sound: set[asyncio.Task[None]] = set()
        self._ailing: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def stir(self) -> None:
        """Something may be due: look at once."""
        self._stirred.set()

    async def __aenter__(self) -> Self:
        async with self._database.write() as tx:
            await SqlBook(tx).free(None if self._database.sqlite else self._owner)
        self._loop = asyncio.create_task(self._run(), name="notifier-postman")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        flying = self._sound | self._ailing
        if flying:
            late = (await asyncio.wait(flying, timeout=self._settings.grace))[1]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        # What we could not finish is due again at once for whoever comes next.
        with contextlib.suppress(Unavailable):
            async with self._database.write() as tx:
                await SqlBook(tx).free(self._owner)

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            try:
                claimed = await self._claim()
            except Unavailable as wait:
                log.info("postman-waits", code=wait.code)
                claimed = []
            except Exception:
                log.exception("postman-failed")
                claimed = []
            for parcel in claimed:
                self._start(parcel)
            if not claimed:
                # Not wait_for: until Python 3.12 it can swallow a cancellation that meets the end of the wait.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.poll):
                        await self._stirred.wait()

    async def _claim(self) -> list[Parcel]:
        # Half of the places are kept for those who answer: who is slow or dead holds only its like.
        half = self._settings.concurrency // 2
        ailing = half - len(self._ailing)
        sound = self._settings.concurrency - half - len(self._sound)
        if sound <= 0 and ailing <= 0:
            return []
        now = self._clock.now()
        async with self._database.read() as conn:
            if (await conn.execute(ready(now).limit(1))).first() is None:
                return []
        async with self._database.write() as tx:
            return list(await SqlBook(tx).claim(now, self._owner, self._lease, sound=sound, ailing=ailing))

    def _start(self, parcel: Parcel) -> None:
        lane = self._ailing if ails(parcel.to) else self._sound
        task = asyncio.create_task(self._deliver(parcel), name=f"notifier-{parcel.message}")
        lane.add(task)
        task.add_done_callback(lane.discard)
        task.add_done_callback(lambda _: self._stirred.set())

    async def _deliver(self, parcel: Parcel) -> None:
        """One attempt and its settlement. When settling fails, the lease runs out and the attempt is made again."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            answer = await attempt(parcel, seal=self._seal, endpoint=self._endpoint, now=self._clock.now())
            took_ms = round((loop.time() - begun) * 1000)
            async with self._database.write() as tx:
                facts = await settle(
                    parcel, answer, took_ms, patience=self._patience, book=SqlBook(tx), now=self._clock.now()
                )
                await self._outbox.say(tx, "notifier", facts, cause=_cause(parcel))
        except AntinError as wait:
            log.info("delivery-waits", message=parcel.message, code=wait.code)
        except Exception:
            log.exception("delivery-failed", message=parcel.message)


def _cause(parcel: Parcel) -> Event[Fact] | None:
    try:
        return from_structured(parcel.body)
    except Malformed:
        return None  # a test message is no fact
