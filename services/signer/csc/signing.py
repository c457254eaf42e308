"""The key moves: `signatures/signHash`, `signatures/signDoc`, and `signatures/timestamp`."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from domain.activation import Purpose
from events.errors import Refused, Unavailable
from events.values import BaselineLevel, ContractId, Digest, Slot
from services.runtime.clock import Clock
from services.runtime.lease import LEASE, renewed
from services.runtime.outbox import new_id
from services.signer.approval import in_good_standing
from services.signer.csc import shapes
from services.signer.csc.credentials import Credentials
from services.signer.csc.model import (
    ANSWER_LIFE,
    AccessToken,
    Attempt,
    Sad,
    digests_of,
    level_of,
    refused,
    sad_unknown,
    salt_of,
)
from services.signer.csc.ports import Book, Books, Waiting
from services.signer.handlers import bound_chain
from services.signer.model import Authorization, PreSignCheck, Redemption, SigningOrder
from services.signer.ports import Credential, KeyStore, PadesWriter, StatusSource, TimestampAuthority, Vault

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """What a call wants: these digests signed with this credential, under the SAD that the client was given."""

    client: str
    sad: str
    known: Credential
    digests: tuple[Digest, ...]
    purpose: Purpose


@dataclass(frozen=True)
class Signatures:
    """Signs what was approved. `work` is set when a request waits for its answer."""

    credentials: Credentials
    books: Books
    keys: KeyStore
    status: StatusSource
    writer: PadesWriter
    authority: TimestampAuthority
    vault: Vault
    clock: Clock
    work: asyncio.Event

    async def sign_hash(self, caller: AccessToken, asked: shapes.SignHashRequest, bearer: str) -> shapes.Signed:
        """`signatures/signHash`, at once or later."""
        digests = digests_of(asked.hashes, asked.hash_algorithm)
        known = await self.credentials.find(asked.credential)
        salt = salt_of(known.algorithm, asked.algorithm, asked.parameters)
        order = Order(caller.client, asked.sad or bearer, known, digests, Purpose.SIGN_HASHES)
        await self._check(order)
        if asked.mode is shapes.Mode.ASYNCHRONOUS:
            return await self._later(order, "hashes", {"salt": salt})
        async with self._attempt(order) as (authorization, places):
            signatures = await self._sign_hashes(known, authorization, places, salt)
        return shapes.Signed(signatures=signatures)

    async def _sign_hashes(
        self, known: Credential, authorization: Authorization, places: Sequence[int], salt: int
    ) -> list[str]:
        permits = [authorization.permit(place, known.algorithm, salt) for place in places]
        signatures = await self._all([partial(self.keys.sign, permit) for permit in permits])
        return [base64.b64encode(one).decode() for one in signatures]

    async def _all(self, operations: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """One after the other; where a person approves each, all at once, so that all show on the phone together."""
        if not self.keys.waits:
            return [await one() for one in operations]
        found = await asyncio.gather(*(one() for one in operations), return_exceptions=True)
        faults = [one for one in found if isinstance(one, BaseException)]
        for fault in sorted(faults, key=lambda one: isinstance(one, Unavailable)):
            raise fault
        return [one for one in found if not isinstance(one, BaseException)]

    @asynccontextmanager
    async def _attempt(self, order: Order) -> AsyncIterator[tuple[Authorization, tuple[int, ...]]]:
        """Spend the SAD, sign in the block, and write the outcome before anything is given out.

        What only waited has used nothing up: the same request with the same SAD goes on where this one stood. What a
        crash cut off is decided when its lease is over (`Attempt.again`); who comes back after that gives nothing out.

        Raises:
            Refused: the SAD does not allow it.
            Unavailable: nothing was given out, and the SAD was not used.
        """
        attempt = Attempt(new_id(), self.clock.now() + LEASE, again=self.keys.waits)
        async with self.books.write() as book:
            authorization, places = await self._spend(book, order, attempt)
        try:
            async with renewed(partial(self._hold_on, authorization, attempt)):
                yield authorization, places
        except Unavailable as fault:
            async with self.books.write() as book:
                await book.give_back(authorization.id, attempt, places)
            raise Unavailable(
                fault.code,
                found=fault.found,
                expected=fault.expected,
                remedy="the SAD was not used: send the same request again, or with operationMode A and poll",
                retry_after=fault.retry_after,
            ) from fault
        except Refused:
            async with self.books.write() as book:
                await book.settle(authorization.id, attempt)
            raise
        async with self.books.write() as book:
            ours = await book.settle(authorization.id, attempt)
        if not ours:
            log.warning("csc-attempt-fenced", authorization=authorization.id)
            raise Unavailable(
                "sad-fenced",
                found="another call with this SAD since this one stood still",
                expected="an answer within the lease",
                remedy="what was signed here is thrown away; the other call answers",
            )

    async def _hold_on(self, authorization: Authorization, attempt: Attempt) -> None:
        async with self.books.write() as book:
            await book.hold_on(authorization.id, replace(attempt, until=self.clock.now() + LEASE))

    async def sign_doc(self, caller: AccessToken, asked: shapes.SignDocRequest, bearer: str) -> shapes.Signed:
        """`signatures/signDoc`: PAdES over whole PDFs that were approved by their digests."""
        if asked.digests:
            raise refused("unsupported-digests", "documentDigests", "documents; for digests use signatures/signHash")
        known = await self.credentials.find(asked.credential)
        levels, pdfs = [], []
        for one in asked.documents:
            if one.format.upper() != "P" or (one.envelope == "Certification" and "envelope" in one.model_fields_set):
                raise refused("unsupported-format", "another format or envelope", "signature_format P, Revision")
            if one.algorithm is not None:
                salt_of(known.algorithm, one.algorithm, None)
            levels.append(level_of(one.level))
            try:
                pdfs.append(base64.b64decode(one.document, validate=True))
            except ValueError as fault:
                raise refused("invalid-document", "a document that is not base64", "base64 of a PDF") from fault
        digests = tuple(Digest.of(pdf) for pdf in pdfs)
        order = Order(caller.client, asked.sad or bearer, known, digests, Purpose.SIGN_DOCUMENTS)
        check = await self._check(order)
        for pdf in pdfs:
            await self.vault.keep(pdf)
        if asked.mode is shapes.Mode.ASYNCHRONOUS:
            return await self._later(order, "documents", {"levels": [level.value for level in levels]})
        async with self._attempt(order) as (authorization, places):
            documents = await self._sign_documents(known, authorization, places, levels, check)
        return shapes.Signed(documents=documents)

    async def _sign_documents(
        self,
        known: Credential,
        authorization: Authorization,
        places: Sequence[int],
        levels: Sequence[BaselineLevel],
        check: PreSignCheck,
    ) -> list[str]:
        signed = [
            partial(self._sign_document, known, authorization, place, level, check)
            for place, level in zip(places, levels, strict=True)
        ]
        return [base64.b64encode(pdf).decode() for pdf in await self._all(signed)]

    async def _sign_document(
        self, known: Credential, authorization: Authorization, place: int, level: BaselineLevel, check: PreSignCheck
    ) -> bytes:
        """The same bytes at every try (ADR 8): the claimed time is when the approval was redeemed."""
        digest = authorization.digests[place]
        pdf = await self.vault.fetch(digest)
        name = f"csc-{authorization.id[-12:]}-{place}"
        order = SigningOrder(
            redemption=Redemption(
                jti=authorization.jti,
                contract=ContractId(authorization.id),
                slot=Slot(name),
                credential=known.credential,
                algorithm=known.algorithm,
                shown=digest,
                base=digest,
                base_size=len(pdf),
                redeemed_at=authorization.issued_at,
            ),
            chain=check.path,
            level=level,
            field=name,
            index=0,
            signed_at=authorization.issued_at.replace(microsecond=0),
            stamped=False,
        )
        return (await self.writer.sign(pdf, order, check.evidence)).pdf

    async def _check(self, order: Order) -> PreSignCheck:
        """The SAD, then the certificate (Decree 23/2025/ND-CP Art 15), before the SAD is spent.

        Raises:
            Refused: anything that is not as approved.
            Unavailable: the certificate's status cannot be had, or an approval is awaited.
        """
        in_good_standing(order.known)
        now = self.clock.now()
        async with self.books.read() as book:
            authorization = (await _sad(book, order, now)).usable(now)
        authorization.claim(order.digests, order.purpose, now)
        await self.keys.ready(authorization.jti)
        return await self._checked(order.known)

    async def _spend(self, book: Book, order: Order, attempt: Attempt | None) -> tuple[Authorization, tuple[int, ...]]:
        """Spend the SAD: the key may move.

        Raises:
            Refused: the SAD does not allow it.
            Unavailable: another call is at work with it.
        """
        now = self.clock.now()
        authorization = (await _sad(book, order, now)).usable(now)
        places = authorization.claim(order.digests, order.purpose, now)
        await book.spend(authorization, places, attempt)
        return authorization, places

    async def _checked(self, known: Credential) -> PreSignCheck:
        chain = bound_chain(known, await self.vault.fetch(known.chain))
        check = await self.status.check(chain)
        check.decide()
        return check

    async def _later(self, order: Order, kind: str, work: Mapping[str, object]) -> shapes.Signed:
        """Spend the SAD for a request that is answered later: both or neither, whatever crashes."""
        response = new_id()
        async with self.books.write() as book:
            authorization, places = await self._spend(book, order, None)
            request = json.dumps({"id": authorization.id, "places": places, **work})
            await book.await_answer(Waiting(response, order.client, kind, request), self.clock.now() + ANSWER_LIFE)
        self.work.set()
        return shapes.Signed(response=response)

    async def resume(self, waiting: Waiting) -> shapes.Signed:
        """Sign what waits, as often as it takes while the approval lives.

        Raises:
            Refused: it must not be signed, or its time is over.
            Unavailable: somebody who is needed does not answer, or has not approved yet.
        """
        work = json.loads(waiting.request)
        async with self.books.read() as book:
            authorization = await book.by_id(work["id"])
        if authorization is None or self.clock.now() >= authorization.expires_at:
            raise refused(
                "too-late",
                "an approval that ended before everybody who is needed had answered",
                "an answer within its time",
                remedy="let the holder approve again",
            )
        known = await self.credentials.find(authorization.credential)
        in_good_standing(known)
        await self.keys.ready(authorization.jti)
        check = await self._checked(known)
        if waiting.kind == "documents":
            levels = [BaselineLevel(text) for text in work["levels"]]
            return shapes.Signed(
                documents=await self._sign_documents(known, authorization, work["places"], levels, check)
            )
        signatures = await self._sign_hashes(known, authorization, work["places"], int(work["salt"]))
        return shapes.Signed(signatures=signatures)

    async def timestamp(self, asked: shapes.TimestampRequest) -> shapes.Timestamped:
        """`signatures/timestamp`.

        Raises:
            Unavailable: no trusted time.
        """
        (digest,) = digests_of([asked.digest], asked.hash_algorithm)
        token = await self.authority.timestamp(digest)
        return shapes.Timestamped(timestamp=base64.b64encode(token.der).decode())


async def _sad(book: Book, order: Order, now: datetime) -> Sad:
    found = await book.by_sad(order.sad, order.client, order.known.credential, now)
    if found is None:
        raise sad_unknown()
    return found
