"""Batches in the signer's tables; claims by lease and epoch, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from events.errors import Refused
from events.values import BaselineLevel, ContractId, CredentialId, Digest
from services.runtime.database import Database, Tx
from services.runtime.lease import LEASE
from services.signer.adapters import store
from services.signer.adapters.tables import batch_documents, batches
from services.signer.batch.model import (
    LIFE,
    TOGETHER,
    TOGETHER_OCTETS,
    Batch,
    DocumentState,
    Item,
    Outcome,
)
from services.signer.batch.ports import Ledger
from services.signer.model import SigningAlgorithm
from services.signer.ports import Credential

_BOTH = sa.select(batch_documents, *(column for column in batches.c)).join(
    batches, batches.c.id == batch_documents.c.batch
)


class SqlLedger:
    """`Ledger` within one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def open(self, batch: Batch, digests: Sequence[Digest]) -> Batch:
        """Redeem the activation for this batch.

        Raises:
            Refused: it was redeemed for something else.
        """
        if not await store.spend(self._tx, batch.jti):
            found = await self.by_activation(batch.jti)
            if found is not None and (found.client, found.credential, found.root, found.count, found.level) == (
                batch.client,
                batch.credential,
                batch.root,
                batch.count,
                batch.level,
            ):
                return found
            raise Refused(
                "activation-spent",
                found="an activation that was used already, for something else",
                expected="one for this batch alone",
                remedy="let the holder approve again",
                status=409,
            )
        await self._tx.execute(
            batches.insert().values(
                id=str(batch.id),
                jti=batch.jti,
                credential=str(batch.credential),
                algorithm=batch.algorithm.value,
                client=batch.client,
                activation=str(batch.activation),
                root=str(batch.root),
                count=batch.count,
                level=batch.level.value,
                opened_at=batch.opened_at,
            )
        )
        await self._tx.execute(
            batch_documents.insert(),
            [
                {
                    "batch": str(batch.id),
                    "place": place,
                    "digest": str(digest),
                    "state": DocumentState.AWAITED.value,
                    "due": batch.opened_at,
                    "epoch": 0,
                }
                for place, digest in enumerate(digests)
            ],
        )
        return batch

    async def by_activation(self, jti: str) -> Batch | None:
        """The batch that this activation opened."""
        row = (await self._tx.execute(sa.select(batches).where(batches.c.jti == jti))).first()
        return None if row is None else _batch(row)

    async def find(self, batch: ContractId) -> Batch | None:
        """A batch."""
        row = (await self._tx.execute(sa.select(batches).where(batches.c.id == str(batch)))).first()
        return None if row is None else _batch(row)

    async def counts(self, batch: ContractId) -> dict[DocumentState, int]:
        """How many documents are in which state."""
        query = (
            sa.select(batch_documents.c.state, sa.func.count().label("found"))
            .where(batch_documents.c.batch == str(batch))
            .group_by(batch_documents.c.state)
        )
        return {DocumentState(row.state): row.found for row in await self._tx.execute(query)}

    async def item(self, batch: ContractId, place: int) -> tuple[Batch, Item] | None:
        """One document and its batch."""
        row = (await self._tx.execute(_BOTH.where(*_is(batch, place)))).first()
        return None if row is None else (_batch(row), _item(row))

    async def items(self, batch: ContractId, after: int, most: int, state: DocumentState | None = None) -> list[Item]:
        """Documents behind a place, in order."""
        query = sa.select(batch_documents).where(batch_documents.c.batch == str(batch), batch_documents.c.place > after)
        if state is not None:
            query = query.where(batch_documents.c.state == state.value)
        return [_item(row) for row in await self._tx.execute(query.order_by(batch_documents.c.place).limit(most))]

    async def digests(self, batch: ContractId) -> list[Digest]:
        """Every document's digest, in order."""
        query = sa.select(batch_documents.c.digest).where(batch_documents.c.batch == str(batch))
        return [Digest(text) for text in (await self._tx.execute(query.order_by(batch_documents.c.place))).scalars()]

    async def arrived(self, batch: ContractId, place: int, size: int, now: datetime) -> Item | None:
        """The bytes of a document are kept."""
        changed = await self._tx.execute(
            batch_documents.update()
            .where(*_is(batch, place), batch_documents.c.state == DocumentState.AWAITED.value)
            .values(state=DocumentState.WAITING.value, due=now, size=size)
            .returning(*batch_documents.c)
        )
        row = changed.first()
        return None if row is None else _item(row)

    async def claim(self, owner: str, now: datetime) -> list[tuple[Batch, Item]]:
        """Take some documents that nobody works on; a lease that is over counts as nobody."""
        # One state at a time, so that the index gives the first and nothing is sorted.
        found = await self._first(DocumentState.LEASED, now, TOGETHER)
        found += await self._first(DocumentState.WAITING, now, TOGETHER - len(found))
        octets = list(accumulate(item.size or 0 for _, item in found))
        chosen = found[:1] + [one for one, size in zip(found[1:], octets[1:], strict=True) if size <= TOGETHER_OCTETS]
        claimed = []
        for batch, item in chosen:
            await self._tx.execute(
                batch_documents.update()
                .where(*_is(item.batch, item.place))
                .values(state=DocumentState.LEASED.value, owner=owner, epoch=item.epoch + 1, due=now + LEASE)
            )
            claimed.append((batch, replace(item, state=DocumentState.LEASED, epoch=item.epoch + 1)))
        return claimed

    async def _first(self, state: DocumentState, now: datetime, most: int) -> list[tuple[Batch, Item]]:
        query = (
            _BOTH.where(
                batch_documents.c.state == state.value,
                batch_documents.c.due <= now,
                batches.c.opened_at > now - LIFE,
            )
            .order_by(batch_documents.c.due)
            .limit(most)
            .with_for_update(skip_locked=True, of=batch_documents)
        )
        return [(_batch(row), _item(row)) for row in await self._tx.execute(query)]

    async def hold(self, items: Sequence[Item], owner: str, until: datetime) -> None:
        """Keep those claims that are still ours."""
        for item in items:
            await self._tx.execute(
                batch_documents.update().where(*_is(item.batch, item.place), *_ours(item, owner)).values(due=until)
            )

    async def settle(self, outcome: Outcome, owner: str) -> bool:
        """Write what came of a claim; false when it is no longer ours."""
        changed = await self._tx.execute(
            batch_documents.update()
            .where(*_is(outcome.item.batch, outcome.item.place), *_ours(outcome.item, owner))
            .values(
                state=outcome.state.value,
                signed=str(outcome.signed) if outcome.signed else None,
                reason=outcome.reason,
                due=outcome.due,
                owner=None,
            )
        )
        return changed.rowcount == 1

    async def expire(self, now: datetime) -> None:
        """Refuse what is left of batches whose time is over."""
        over = sa.select(batches.c.id).where(batches.c.opened_at <= now - LIFE)
        open_states = (DocumentState.AWAITED.value, DocumentState.WAITING.value)
        await self._tx.execute(
            batch_documents.update()
            .where(batch_documents.c.state.in_(open_states), batch_documents.c.batch.in_(over))
            .values(state=DocumentState.REFUSED.value, reason="batch-over", due=now)
        )

    async def credential(self, credential: CredentialId) -> Credential | None:
        """The credential as the bindings told."""
        return await store.find_credential(self._tx, credential)


class SqlLedgers:
    """`Ledgers` on the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Ledger]:
        """A consistent view."""
        async with self._database.read() as conn:
            yield SqlLedger(Tx(conn))

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Ledger]:
        """A write transaction."""
        async with self._database.write() as tx:
            yield SqlLedger(tx)


def _is(batch: str, place: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (batch_documents.c.batch == str(batch), batch_documents.c.place == place)


def _ours(item: Item, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        batch_documents.c.state == DocumentState.LEASED.value,
        batch_documents.c.epoch == item.epoch,
        batch_documents.c.owner == owner,
    )


def _batch(row: Any) -> Batch:
    return Batch(
        id=ContractId(row.id),
        jti=row.jti,
        credential=CredentialId(row.credential),
        algorithm=SigningAlgorithm(row.algorithm),
        client=row.client,
        activation=Digest(row.activation),
        root=Digest(row.root),
        count=row.count,
        level=BaselineLevel(row.level),
        opened_at=row.opened_at,
    )


def _item(row: Any) -> Item:
    return Item(
        batch=ContractId(row.batch),
        place=row.place,
        digest=Digest(row.digest),
        state=DocumentState(row.state),
        size=row.size,
        epoch=row.epoch,
        signed=Digest(row.signed) if row.signed else None,
        reason=row.reason,
    )
