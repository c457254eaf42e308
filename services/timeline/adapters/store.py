"""The timeline in SQL tables: the embedded form, fed by the bus within the consume step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from events.envelope import Event
from events.fact import Fact
from services.runtime.database import Database, Schema, Tx
from services.runtime.outbox import upsert
from services.timeline.model import (
    KEPT,
    ContractLine,
    Count,
    IdentityLine,
    contract_of,
    fold_contract,
    fold_count,
    fold_identity,
    identity_of,
    minute_of,
)

metadata = sa.MetaData()

contracts = sa.Table(
    "timeline_contracts",
    metadata,
    sa.Column("contract", sa.String(36), primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("changed", sa.String(36), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("timeline_contract_by_change", "changed"),
)

identities = sa.Table(
    "timeline_identities",
    metadata,
    sa.Column("identity", sa.String(52), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

counts = sa.Table(
    "timeline_counts",
    metadata,
    sa.Column("minute", sa.String(17), primary_key=True),
    sa.Column("family", sa.String(20), primary_key=True),
    sa.Column("upto", sa.BigInteger, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
)

schema = Schema("timeline", metadata, Path(__file__).parents[1] / "migrations" / "versions")


async def take(tx: Tx, event: Event[Fact]) -> None:
    """Fold one event into the tables. The inbox gives each event once, so the count needs no offset of its own."""
    if (contract := contract_of(event)) is not None:
        query = sa.select(contracts.c.body).where(contracts.c.contract == contract).with_for_update()
        row = (await tx.execute(query)).first()
        line = ContractLine.model_validate_json(row.body) if row else ContractLine(contract=contract)
        line = fold_contract(line, event)
        values = {"contract": contract, "state": line.state, "changed": line.changed, "body": line.model_dump_json()}
        await tx.execute(upsert(tx, contracts, values, ("contract",)))
    if (identity := identity_of(event)) is not None:
        query = sa.select(identities.c.body).where(identities.c.identity == identity).with_for_update()
        row = (await tx.execute(query)).first()
        known = IdentityLine.model_validate_json(row.body) if row else IdentityLine(identity=identity)
        body = fold_identity(known, event).model_dump_json()
        await tx.execute(upsert(tx, identities, {"identity": identity, "body": body}, ("identity",)))
    minute, family = minute_of(event.time), event.fact.family
    query = sa.select(counts).where(counts.c.minute == minute, counts.c.family == family).with_for_update()
    row = (await tx.execute(query)).first()
    before = Count(upto=row.upto, events=row.events) if row else Count()
    count = fold_count(before, before.upto + 1)
    row_values: dict[str, object] = {"minute": minute, "family": family, "upto": count.upto, "events": count.events}
    await tx.execute(upsert(tx, counts, row_values, ("minute", "family")))
    if row is None:
        oldest = minute_of(event.time - KEPT)
        await tx.execute(counts.delete().where(counts.c.minute < oldest))


class SqlTables:
    """`Tables` on the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def contract(self, contract: str) -> ContractLine | None:
        """One contract."""
        found = await self._lines(sa.select(contracts.c.body).where(contracts.c.contract == contract))
        return found[0] if found else None

    async def contracts(self, after: str | None, state: str | None, most: int) -> Sequence[ContractLine]:
        """Contracts, newest first."""
        query = sa.select(contracts.c.body).order_by(contracts.c.contract.desc()).limit(most)
        if after is not None:
            query = query.where(contracts.c.contract < after)
        if state is not None:
            query = query.where(contracts.c.state == state)
        return await self._lines(query)

    async def changed(self, since: str, most: int) -> Sequence[ContractLine]:
        """Contracts that changed after the event `since`."""
        query = sa.select(contracts.c.body).where(contracts.c.changed > since).order_by(contracts.c.changed)
        return await self._lines(query.limit(most))

    async def identity(self, identity: str) -> IdentityLine | None:
        """One identity's certificates."""
        query = sa.select(identities.c.body).where(identities.c.identity == identity)
        async with self._database.read() as conn:
            row = (await conn.execute(query)).first()
        return IdentityLine.model_validate_json(row.body) if row else None

    async def counts(self) -> Mapping[tuple[str, str], Sequence[Count]]:
        """Counts by minute and family."""
        async with self._database.read() as conn:
            rows = (await conn.execute(sa.select(counts))).all()
        return {(row.minute, row.family): [Count(upto=row.upto, events=row.events)] for row in rows}

    async def _lines(self, query: sa.Select[tuple[str]]) -> Sequence[ContractLine]:
        async with self._database.read() as conn:
            return [ContractLine.model_validate_json(row.body) for row in await conn.execute(query)]
