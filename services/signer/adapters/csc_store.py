"""What the CSC API server remembers: tokens, codes and SADs by their digests, approvals, answers to be polled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from domain.activation import Purpose
from events.errors import Refused
from events.values import CredentialId, Digest, IdentityId
from services.runtime.database import Database, Tx
from services.signer.adapters import store
from services.signer.adapters.tables import answers, authorizations, codes, tokens
from services.signer.csc.model import AccessToken, Attempt, Sad
from services.signer.csc.ports import Book, Code, Waiting
from services.signer.model import Authorization
from services.signer.ports import Credential


class SqlBook:
    """`Book` within one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def grant(self, token: str, client: str, authorization: str | None, expires_at: datetime) -> None:
        """Remember a token."""
        await self._tx.execute(
            tokens.insert().values(
                token=_sealed(token), client=client, authorization=authorization, expires_at=expires_at
            )
        )

    async def token(self, token: str, now: datetime) -> AccessToken | None:
        """A living token."""
        row = (await self._tx.execute(sa.select(tokens).where(tokens.c.token == _sealed(token)))).first()
        if row is None or row.expires_at <= now:
            return None
        return AccessToken(row.client, row.authorization, row.expires_at)

    async def note_code(self, code: str, found: Code, expires_at: datetime) -> None:
        """Remember an authorization code."""
        await self._tx.execute(
            codes.insert().values(
                code=_sealed(code),
                client=found.client,
                redirect_uri=found.redirect_uri,
                challenge=found.challenge,
                authorization=found.authorization,
                expires_at=expires_at,
            )
        )

    async def take_code(self, code: str, now: datetime) -> Code | None:
        """A living code, which ends here."""
        row = (await self._tx.execute(codes.delete().where(codes.c.code == _sealed(code)).returning(*codes.c))).first()
        if row is None or row.expires_at <= now:
            return None
        return Code(row.client, row.redirect_uri, row.challenge, row.authorization)

    async def open(self, authorization: Authorization, client: str, sad: str, sad_expires_at: datetime) -> None:
        """Redeem an activation.

        Raises:
            Refused: it was redeemed before.
        """
        if not await store.spend(self._tx, authorization.jti):
            raise _spent()
        await self._tx.execute(
            authorizations.insert().values(
                id=authorization.id,
                jti=authorization.jti,
                purpose=authorization.purpose.value,
                credential=str(authorization.credential),
                identity=str(authorization.identity),
                digests=json.dumps([str(digest) for digest in authorization.digests]),
                signed="[]",
                client=client,
                sad=_sealed(sad),
                sad_spent=False,
                sad_expires_at=sad_expires_at,
                issued_at=authorization.issued_at,
                expires_at=authorization.expires_at,
            )
        )

    async def by_sad(self, sad: str, client: str, credential: CredentialId, now: datetime) -> Sad | None:
        """A client's SAD for a credential, held in a write."""
        query = sa.select(authorizations).where(
            authorizations.c.sad == _sealed(sad),
            authorizations.c.client == client,
            authorizations.c.credential == str(credential),
        )
        row = (await self._tx.execute(query.with_for_update())).first()
        if row is None:
            return None
        found, again = _authorization(row), row.returns is not None
        if row.attempt is not None and row.attempt_until > now:
            return Sad(found, row.sad_spent, row.sad_expires_at, Attempt(row.attempt, row.attempt_until, again))
        if row.attempt is not None and again:
            found = replace(found, signed=found.signed - set(json.loads(row.returns)))
            return Sad(found, False, row.sad_expires_at, None)
        return Sad(found, row.sad_spent, row.sad_expires_at, None)

    async def by_id(self, authorization: str) -> Authorization | None:
        """An approval, held in a write."""
        query = sa.select(authorizations).where(authorizations.c.id == authorization)
        row = (await self._tx.execute(query.with_for_update())).first()
        return None if row is None else _authorization(row)

    async def spend(self, authorization: Authorization, places: tuple[int, ...], attempt: Attempt | None) -> None:
        """These hashes are signed now, and the SAD is used."""
        await self._change(
            authorization,
            signed=_places({*authorization.signed, *places}),
            sad_spent=True,
            attempt=attempt.id if attempt else None,
            attempt_until=attempt.until if attempt else None,
            returns=_places(places) if attempt and attempt.again else None,
        )

    async def hold_on(self, authorization: str, attempt: Attempt) -> None:
        """Keep an attempt alive, if it is still the one."""
        await self._tx.execute(
            authorizations.update().where(*_at_work(authorization, attempt)).values(attempt_until=attempt.until)
        )

    async def settle(self, authorization: str, attempt: Attempt) -> bool:
        """The attempt has come to its end; false when it is not the one any more."""
        changed = await self._tx.execute(
            authorizations.update().where(*_at_work(authorization, attempt)).values(**_NO_ATTEMPT)
        )
        return changed.rowcount == 1

    async def give_back(self, authorization: str, attempt: Attempt, places: tuple[int, ...]) -> None:
        """An attempt signed nothing after all."""
        query = sa.select(authorizations).where(*_at_work(authorization, attempt))
        row = (await self._tx.execute(query.with_for_update())).first()
        if row is not None:
            known = _authorization(row)
            await self._change(known, signed=_places(known.signed - set(places)), sad_spent=False, **_NO_ATTEMPT)

    async def renew(self, authorization: Authorization, sad: str, sad_expires_at: datetime) -> None:
        """Another SAD for the same approval."""
        await self._change(
            authorization,
            signed=_places(authorization.signed),
            sad=_sealed(sad),
            sad_spent=False,
            sad_expires_at=sad_expires_at,
            **_NO_ATTEMPT,
        )

    async def _change(self, authorization: Authorization, **values: Any) -> None:
        await self._tx.execute(authorizations.update().where(authorizations.c.id == authorization.id).values(**values))

    async def await_answer(self, waiting: Waiting, expires_at: datetime) -> None:
        """Remember a request to be answered later."""
        await self._tx.execute(
            answers.insert().values(
                id=waiting.id,
                client=waiting.client,
                kind=waiting.kind,
                request=waiting.request,
                expires_at=expires_at,
            )
        )

    async def claim_waiting(self, owner: str, now: datetime, until: datetime) -> Waiting | None:
        """Take one request that nobody works on; it is the owner's until then."""
        free = sa.or_(answers.c.leased_until.is_(None), answers.c.leased_until <= now)
        oldest = (
            sa.select(answers.c.id)
            .where(answers.c.answer.is_(None), free, answers.c.expires_at > now)
            .order_by(answers.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = (
            await self._tx.execute(
                answers.update()
                .where(answers.c.id.in_(oldest.scalar_subquery()))
                .values(owner=owner, leased_until=until)
                .returning(answers.c.id, answers.c.client, answers.c.kind, answers.c.request)
            )
        ).first()
        return None if row is None else Waiting(row.id, row.client, row.kind, row.request)

    async def hold(self, response: str, owner: str, until: datetime) -> None:
        """Keep a request, if it is still this owner's."""
        await self._tx.execute(answers.update().where(*_held(response, owner)).values(leased_until=until))

    async def put_off(self, response: str, owner: str, until: datetime) -> None:
        """Have the request taken up again then, by whom it may be."""
        await self._tx.execute(answers.update().where(*_held(response, owner)).values(owner=None, leased_until=until))

    async def answered(self, response: str, owner: str, answer: str) -> bool:
        """Keep the answer, if the request is still this owner's; the request itself is forgotten."""
        changed = await self._tx.execute(
            answers.update().where(*_held(response, owner)).values(answer=answer, request="", owner=None)
        )
        return changed.rowcount == 1

    async def answer(self, response: str, client: str, now: datetime) -> tuple[bool, str | None]:
        """(whether there is such a request, its answer or none yet)."""
        query = sa.select(answers.c.answer).where(
            answers.c.id == response, answers.c.client == client, answers.c.expires_at > now
        )
        row = (await self._tx.execute(query)).first()
        return (False, None) if row is None else (True, row.answer)

    async def credential(self, credential: CredentialId) -> Credential | None:
        """The credential as the bindings told."""
        return await store.find_credential(self._tx, credential)

    async def credentials(self, holder: IdentityId, after: str, most: int) -> list[Credential]:
        """Credentials of a holder, by id."""
        return await store.list_credentials(self._tx, holder, after, most)

    async def sweep(self, now: datetime) -> None:
        """Forget what is over; that their activations are spent stays known."""
        await self._tx.execute(tokens.delete().where(tokens.c.expires_at < now))
        await self._tx.execute(codes.delete().where(codes.c.expires_at < now))
        await self._tx.execute(answers.delete().where(answers.c.expires_at < now))
        await self._tx.execute(authorizations.delete().where(authorizations.c.expires_at < now - timedelta(days=1)))


class SqlBooks:
    """`Books` on the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Book]:
        """A consistent view."""
        async with self._database.read() as conn:
            yield SqlBook(Tx(conn))

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Book]:
        """A write transaction."""
        async with self._database.write() as tx:
            yield SqlBook(tx)


_NO_ATTEMPT: dict[str, None] = {"attempt": None, "attempt_until": None, "returns": None}


def _at_work(authorization: str, attempt: Attempt) -> tuple[sa.ColumnElement[bool], ...]:
    return (authorizations.c.id == authorization, authorizations.c.attempt == attempt.id)


def _places(places: Iterable[int]) -> str:
    return json.dumps(sorted(places))


def _held(response: str, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (answers.c.id == response, answers.c.owner == owner)


def _sealed(secret: str) -> str:
    # Octets of a header that are no UTF-8 come as lone surrogates.
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _authorization(row: Any) -> Authorization:
    return Authorization(
        id=row.id,
        jti=row.jti,
        purpose=Purpose(row.purpose),
        credential=CredentialId(row.credential),
        identity=IdentityId(row.identity),
        digests=tuple(Digest(text) for text in json.loads(row.digests)),
        signed=frozenset(json.loads(row.signed)),
        issued_at=row.issued_at,
        expires_at=row.expires_at,
    )


def _spent() -> Refused:
    return Refused(
        "activation-spent",
        found="an activation that was used already",
        expected="a fresh one: each is for one authorization",
        remedy="let the holder approve again",
        status=409,
    )
