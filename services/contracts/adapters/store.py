"""The tables of the contracts, and the book kept in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from events.envelope import Event
from events.errors import Unavailable
from events.fact import Fact
from events.values import ContractId, Digest, IdentityId, Slot, Uuid
from services.contracts.aggregate import Contract
from services.contracts.handlers import unknown_contract
from services.contracts.lifecycle import ContractState
from services.contracts.ports import EvidenceEvent, Record
from services.contracts.standing import Binding, Holder
from services.runtime.database import Instant, Schema, Tx
from services.runtime.outbox import upsert

metadata = sa.MetaData()

contracts = sa.Table(
    "contracts_contracts",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("sender", sa.String(40), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("deadline", Instant, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("sent_at", Instant),
    sa.Column("ended_at", Instant),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("contracts_contract_by_sender", "sender", "id"),
    sa.Index("contracts_contract_by_deadline", "state", "deadline"),
)

seats = sa.Table(
    "contracts_seats",
    metadata,
    sa.Column(
        "contract",
        sa.String(36),
        sa.ForeignKey("contracts_contracts.id", name="contracts_seat_of", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("slot", sa.String(40), primary_key=True),
    sa.Column("identity", sa.String(52), nullable=False),
    sa.Index("contracts_seat_by_identity", "identity"),
)

holders = sa.Table(
    "contracts_holders",
    metadata,
    sa.Column("identity", sa.String(52), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

bindings = sa.Table(
    "contracts_bindings",
    metadata,
    sa.Column("credential", sa.String(36), primary_key=True),
    sa.Column("identity", sa.String(52), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("contracts_binding_by_identity", "identity"),
)

activations = sa.Table(
    "contracts_activations",
    metadata,
    sa.Column("jti", sa.String(36), primary_key=True),
    sa.Column("contract", sa.String(36), nullable=False),
    sa.Column("slot", sa.String(40), nullable=False),
)

history = sa.Table(
    "contracts_history",
    metadata,
    sa.Column("n", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("event", sa.String(36), nullable=False, unique=True),
    sa.Column("contract", sa.String(36), nullable=False),
    sa.Column("type", sa.String(120), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("source", sa.String(200), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("contracts_history_of", "contract", "n"),
)

schema = Schema("contracts", metadata, Path(__file__).parents[1] / "migrations" / "versions")

OPEN = (ContractState.DRAFT.value, ContractState.SENT.value)


class SqlView:
    """What can be read without a write transaction; with `lock`, rows are locked against other writers."""

    def __init__(self, conn: AsyncConnection, *, lock: bool = False) -> None:
        self._conn = conn
        self._lock = lock

    async def load(self, contract: ContractId) -> Record:
        """The contract as it stands.

        Raises:
            Refused: 404, there is none.
        """
        query = sa.select(contracts).where(contracts.c.id == contract)
        row = (await self._conn.execute(query.with_for_update() if self._lock else query)).first()
        if row is None:
            raise unknown_contract()
        return _record(row)

    async def due(self, now: datetime, most: int) -> Sequence[ContractId]:
        """Contracts that are out and whose deadline has passed, the most overdue last."""
        query = (
            sa.select(contracts.c.id)
            .where(contracts.c.state == ContractState.SENT.value, contracts.c.deadline <= now)
            .order_by(contracts.c.deadline.desc())
            .limit(most)
        )
        return [ContractId(row) for row in (await self._conn.execute(query)).scalars()]

    async def listed(
        self, sender: str, state: ContractState | None, after: ContractId | None, most: int
    ) -> Sequence[Record]:
        """One sender's contracts, newest first (ids are UUIDv7), `after` the last one seen."""
        query = sa.select(contracts).where(contracts.c.sender == sender)
        if state is not None:
            query = query.where(contracts.c.state == state.value)
        if after is not None:
            query = query.where(contracts.c.id < after)
        rows = await self._conn.execute(query.order_by(contracts.c.id.desc()).limit(most))
        return [_record(row) for row in rows]

    async def holder(self, identity: IdentityId) -> Holder | None:
        """What was told of an e-identity."""
        found = await self._conn.execute(sa.select(holders.c.body).where(holders.c.identity == identity))
        body = found.scalar_one_or_none()
        return Holder.model_validate_json(body) if body is not None else None

    async def bindings(self, identity: IdentityId) -> Sequence[Binding]:
        """Every certificate that was ever bound to an e-identity, in the order it was bound."""
        found = await self._conn.execute(sa.select(bindings.c.body).where(bindings.c.identity == identity))
        return sorted((Binding.model_validate_json(row) for row in found.scalars()), key=lambda each: each.confirmed_at)

    async def history(self, contract: ContractId) -> Sequence[EvidenceEvent]:
        """Every event of a contract's life, in the order in which it was said or heard here."""
        query = sa.select(history).where(history.c.contract == contract).order_by(history.c.n)
        return [
            EvidenceEvent(
                id=Uuid(row.event),
                type=row.type,
                time=row.at,
                source=row.source,
                digest=Digest.of(rfc8785.dumps(json.loads(row.data))),
                data=json.loads(row.data),
            )
            for row in await self._conn.execute(query)
        ]


class SqlBook(SqlView):
    """The book within one transaction (services.contracts.ports.Book)."""

    def __init__(self, tx: Tx) -> None:
        super().__init__(tx.conn, lock=True)
        self._tx = tx

    async def add(self, record: Record) -> None:
        """Write a new contract."""
        await self._tx.execute(contracts.insert().values(id=record.contract.id, **_columns(record)))
        await self._tx.execute(
            seats.insert(),
            [
                {"contract": record.contract.id, "slot": party.slot, "identity": party.identity}
                for party in record.contract.parties
            ],
        )

    async def save(self, record: Record) -> None:
        """Write a changed contract, if it still is what it was when it was loaded."""
        changed = await self._tx.execute(
            contracts.update()
            .where(contracts.c.id == record.contract.id, contracts.c.version == record.version - 1)
            .values(**_columns(record))
        )
        if changed.rowcount != 1:
            raise Unavailable(
                "changed-meanwhile",
                found="a contract that somebody else changed meanwhile",
                expected="the contract as it was read",
                remedy="it is tried again",
                retry_after=0.1,
            )

    async def open_with(self, identity: IdentityId) -> Sequence[Record]:
        """Every contract that has not ended and in which this e-identity holds a slot."""
        query = (
            sa.select(contracts)
            .join(seats, seats.c.contract == contracts.c.id)
            .where(seats.c.identity == identity, contracts.c.state.in_(OPEN))
            .order_by(contracts.c.id)
            .with_for_update(of=contracts)
        )
        return [_record(row) for row in await self._tx.execute(query)]

    async def keep_holder(self, holder: Holder) -> None:
        """Write what was told of an e-identity."""
        values = {"identity": holder.identity, "body": holder.model_dump_json()}
        await self._tx.execute(upsert(self._tx, holders, values, ("identity",)))

    async def keep_binding(self, binding: Binding) -> None:
        """Write how a certificate stands."""
        values = {
            "credential": binding.credential,
            "identity": binding.identity,
            "body": binding.model_dump_json(),
        }
        await self._tx.execute(upsert(self._tx, bindings, values, ("credential",)))

    async def redeem(self, jti: Uuid, contract: ContractId, slot: Slot) -> bool:
        """Use an activation; false when it was used before."""
        insert = postgresql.insert if self._tx.conn.dialect.name == "postgresql" else sqlite.insert
        values = {"jti": jti, "contract": contract, "slot": slot}
        done = await self._tx.execute(insert(activations).values(**values).on_conflict_do_nothing())
        return done.rowcount == 1

    async def note(self, contract: ContractId, event: Event[Fact]) -> None:
        """Keep an event of a contract's life, said or heard."""
        await self._tx.execute(
            history.insert().values(
                event=event.id,
                contract=contract,
                type=event.type,
                at=event.time,
                source=event.source,
                data=json.dumps(event.fact.data(), ensure_ascii=False),
            )
        )


def _columns(record: Record) -> Mapping[str, Any]:
    return {
        "sender": record.sender,
        "state": record.contract.state.value,
        "deadline": record.contract.deadline,
        "title": record.title,
        "reference": record.reference,
        "words": record.words,
        "created_at": record.created_at,
        "sent_at": record.sent_at,
        "ended_at": record.ended_at,
        "version": record.version,
        "body": record.contract.model_dump_json(exclude_none=True),
    }


def _record(row: sa.Row[Any]) -> Record:
    return Record(
        contract=Contract.model_validate_json(row.body),
        sender=row.sender,
        title=row.title,
        reference=row.reference,
        words=row.words,
        created_at=row.created_at,
        sent_at=row.sent_at,
        ended_at=row.ended_at,
        version=row.version,
    )
