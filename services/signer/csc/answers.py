"""Requests that are answered later (`operationMode` A): who works on them, and `signatures/signPolling`."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from events.errors import AntinError, Unavailable
from services.runtime.clock import Clock
from services.runtime.lease import LEASE, renewed
from services.signer.csc import shapes
from services.signer.csc.model import AccessToken, error_of, refused
from services.signer.csc.ports import Books, Waiting
from services.signer.csc.signing import Signatures

log = structlog.get_logger()
POLL = 2.0
"""Seconds between two looks for requests that another process took in."""
PAUSE = 5.0
"""Seconds until a request is tried again, where nothing says when."""


@dataclass(frozen=True)
class Answers:
    """Answers what waits, also what another process left behind. `owner` names this process."""

    signatures: Signatures
    books: Books
    clock: Clock
    owner: str

    async def work_off(self) -> bool:
        """Answer one waiting request; whether there was one. What a dead process had begun is begun anew.

        The request is ours as long as we renew the lease; whoever was away for longer than it lasts finds that another
        has taken it, and keeps no answer.
        """
        async with self.books.write() as book:
            now = self.clock.now()
            waiting = await book.claim_waiting(self.owner, now, now + LEASE)
        if waiting is None:
            return False
        try:
            async with renewed(partial(self._hold, waiting)):
                answer = (await self.signatures.resume(waiting)).model_dump_json(exclude_none=True)
        except Unavailable as wait:
            log.info("csc-answer-waits", response=waiting.id, code=wait.code)
            async with self.books.write() as book:
                until = self.clock.now() + timedelta(seconds=wait.retry_after or PAUSE)
                await book.put_off(waiting.id, self.owner, until)
            return True
        except AntinError as fault:
            status, error, told = error_of(fault)
            answer = json.dumps({"status": status, "error": error, "error_description": told})
        except Exception:
            log.exception("csc-answer-failed", response=waiting.id)
            told = (
                "Found a fault that no rule foresees; expected a signature; ask the operator, quoting the responseID."
            )
            answer = json.dumps({"status": 500, "error": "server_error", "error_description": told})
        async with self.books.write() as book:
            if not await book.answered(waiting.id, self.owner, answer):
                log.warning("csc-answer-fenced", response=waiting.id)
        return True

    async def _hold(self, waiting: Waiting) -> None:
        async with self.books.write() as book:
            await book.hold(waiting.id, self.owner, self.clock.now() + LEASE)

    async def poll(self, caller: AccessToken, asked: shapes.PollRequest) -> str | None:
        """`signatures/signPolling`: the answer as JSON, or none yet.

        Raises:
            Refused: no such request of this client, or what the request itself was refused for.
        """
        async with self.books.read() as book:
            known, answer = await book.answer(asked.response, caller.client, self.clock.now())
        if not known:
            raise refused("invalid-response", "an unknown responseID", "one given out within the last hour")
        return answer

    async def run(self) -> None:
        """The loop that answers."""
        work = self.signatures.work
        while True:
            while await self.work_off():
                pass
            work.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await work.wait()
