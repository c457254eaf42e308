"""The key moves: `signatures/signHash`, `signatures/signDoc`, and `signatures/timestamp`."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from domain.activation import Purpose
from events.errors import Unavailable
from events.values import BaselineLevel, ContractId, Digest, Slot
from services.runtime.clock import Clock
from services.runtime.outbox import new_id
from services.signer.approval import in_good_standing
from services.signer.csc import shapes
from services.signer.csc.credentials import Credentials
from services.signer.csc.model import (
    ANSWER_LIFE,
    AccessToken,
    digests_of,
    level_of,
    refused,
    sad_unknown,
    salt_of,
)
from services.signer.csc.ports import Books, Waiting
from services.signer.handlers import bound_chain
from services.signer.model import Authorization, PreSignCheck, Redemption, SigningOrder
from services.signer.ports import Credential, KeyStore, PadesWriter, StatusSource, TimestampAuthority, Vault

T = TypeVar("T")


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
        authorization, places, _ = await self._spend(caller, asked.sad or bearer, known, digests, Purpose.SIGN_HASHES)
        if asked.mode is shapes.Mode.ASYNCHRONOUS:
            return await self._later(caller, "hashes", {"id": authorization.id, "salt": salt, "places": places})
        async with self._unless_it_waits(authorization, places):
            return shapes.Signed(signatures=await self._sign_hashes(known, authorization, places, salt))

    async def _sign_hashes(
        self, known: Credential, authorization: Authorization, places: Sequence[int], salt: int
    ) -> list[str]:
        permits = [authorization.permit(place, known.algorithm, salt) for place in places]
        return [base64.b64encode(one).decode() for one in await self._all([self.keys.sign(one) for one in permits])]

    async def _all(self, operations: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """One after the other; where a person approves each, all at once, so that all show on the phone together."""
        if not self.keys.waits:
            return [await one for one in operations]
        found = await asyncio.gather(*operations, return_exceptions=True)
        faults = [one for one in found if isinstance(one, BaseException)]
        for fault in sorted(faults, key=lambda one: isinstance(one, Unavailable)):
            raise fault
        return [one for one in found if not isinstance(one, BaseException)]

    @asynccontextmanager
    async def _unless_it_waits(self, authorization: Authorization, places: tuple[int, ...]) -> AsyncIterator[None]:
        """What only waited has used nothing up: the same request with the same SAD goes on where this one stood.

        Raises:
            Unavailable: nothing was signed.
        """
        try:
            yield
        except Unavailable as fault:
            async with self.books.write() as book:
                await book.give_back(authorization.id, places)
            raise Unavailable(
                fault.code,
                found=fault.found,
                expected=fault.expected,
                remedy="the SAD was not used: send the same request again, or with operationMode A and poll",
                retry_after=fault.retry_after,
            ) from fault

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
        authorization, places, check = await self._spend(
            caller, asked.sad or bearer, known, digests, Purpose.SIGN_DOCUMENTS
        )
        for pdf in pdfs:
            await self.vault.keep(pdf)
        if asked.mode is shapes.Mode.ASYNCHRONOUS:
            work = {"id": authorization.id, "levels": [level.value for level in levels], "places": places}
            return await self._later(caller, "documents", work)
        async with self._unless_it_waits(authorization, places):
            return shapes.Signed(documents=await self._sign_documents(known, authorization, places, levels, check))

    async def _sign_documents(
        self,
        known: Credential,
        authorization: Authorization,
        places: Sequence[int],
        levels: Sequence[BaselineLevel],
        check: PreSignCheck,
    ) -> list[str]:
        signed = [
            self._sign_document(known, authorization, place, level, check)
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

    async def _spend(
        self, caller: AccessToken, sad: str, known: Credential, digests: Sequence[Digest], purpose: Purpose
    ) -> tuple[Authorization, tuple[int, ...], PreSignCheck]:
        """Check the SAD, then the certificate (Decree 23/2025/ND-CP Art 15), then spend the SAD: the key may move.

        Raises:
            Refused: anything that is not as approved.
            Unavailable: the certificate's status cannot be had, or an approval is awaited; the SAD is not spent.
        """
        in_good_standing(known)
        now = self.clock.now()
        async with self.books.read() as book:
            authorization, _, _ = _usable(await book.by_sad(sad, caller.client), known, now)
        authorization.claim(digests, purpose, now)
        await self.keys.ready(authorization.jti)
        check = await self._checked(known)
        now = self.clock.now()
        async with self.books.write() as book:
            authorization, _, _ = _usable(await book.by_sad(sad, caller.client), known, now)
            places = authorization.claim(digests, purpose, now)
            await book.spend(authorization, places)
        return authorization, places, check

    async def _checked(self, known: Credential) -> PreSignCheck:
        chain = bound_chain(known, await self.vault.fetch(known.chain))
        check = await self.status.check(chain)
        check.decide()
        return check

    async def _later(self, caller: AccessToken, kind: str, work: Mapping[str, object]) -> shapes.Signed:
        waiting = Waiting(new_id(), caller.client, kind, json.dumps(work))
        async with self.books.write() as book:
            await book.await_answer(waiting, self.clock.now() + ANSWER_LIFE)
        self.work.set()
        return shapes.Signed(response=waiting.id)

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


def _usable(
    found: tuple[Authorization, bool, datetime] | None, known: Credential, now: datetime
) -> tuple[Authorization, bool, datetime]:
    if found is None or found[0].credential != known.credential:
        raise sad_unknown()
    if found[1] or now >= found[2]:
        raise refused(
            "invalid-sad",
            "a SAD that was used or whose time is over",
            "a fresh one: each is for one call",
            remedy="call credentials/extendTransaction, or let the holder approve again",
        )
    return found
