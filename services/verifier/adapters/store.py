"""Which revision was judged how: one small table; the reports themselves are blobs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from events.values import ContractId, Digest, Slot
from services.runtime.database import Database, Instant, Schema, Tx
from services.runtime.outbox import upsert
from services.verifier.model import Judgement

metadata = sa.MetaData()

judgements = sa.Table(
    "verifier_judgements",
    metadata,
    sa.Column("contract", sa.String(36), primary_key=True),
    sa.Column("signed", sa.String(71), primary_key=True),
    sa.Column("slot", sa.String(40), nullable=False),
    sa.Column("report", sa.String(71), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("at", Instant(), nullable=False),
)

schema = Schema("verifier", metadata, Path(__file__).parents[1] / "migrations" / "versions")


class SqlRegister:
    """A `Register` within one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def write(
        self, contract: ContractId, slot: Slot, signed: Digest, report: Digest, verdict: str, at: datetime
    ) -> None:
        """Remember a judgement."""
        values = {
            "contract": str(contract),
            "signed": str(signed),
            "slot": str(slot),
            "report": str(report),
            "verdict": verdict,
            "at": at,
        }
        await self._tx.execute(upsert(self._tx, judgements, values, ("contract", "signed")))

    async def find(self, contract: ContractId, signed: Digest) -> Judgement | None:
        """The judgement of one revision."""
        return _judgement((await self._tx.execute(_query(contract, signed))).first())


class SqlReader:
    """A `Reader` on the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, contract: ContractId, signed: Digest) -> Judgement | None:
        """The judgement of one revision."""
        async with self._database.read() as connection:
            return _judgement((await connection.execute(_query(contract, signed))).first())


def _query(contract: ContractId, signed: Digest) -> sa.Select[Any]:
    return sa.select(judgements).where(judgements.c.contract == str(contract), judgements.c.signed == str(signed))


def _judgement(row: Any) -> Judgement | None:
    return None if row is None else Judgement(slot=row.slot, report=row.report, verdict=row.verdict, at=row.at)
