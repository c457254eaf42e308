"""One activation, one use: a permit of a contract, a batch or an authorization of the CSC API."""

from __future__ import annotations

import asyncio
import sys
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from signer_house import BUYER

from domain.activation import Purpose
from events.errors import Refused
from events.values import BaselineLevel, ContractId, CredentialId, Digest, Slot
from services.runtime import migrate
from services.runtime.clock import SystemClock
from services.runtime.database import Database, Tx
from services.signer.adapters import store
from services.signer.adapters.batch_store import SqlLedger
from services.signer.adapters.csc_store import SqlBook
from services.signer.adapters.store import redeem
from services.signer.adapters.tables import authorizations, batches, redemptions, schema
from services.signer.batch.model import Batch
from services.signer.model import Authorization, Redemption, SigningAlgorithm


@dataclass
class Uses:
    """Every use of one activation."""

    database: Database
    jti: str = field(default_factory=lambda: str(uuid.uuid4()))
    credential: CredentialId = field(default_factory=lambda: CredentialId(str(uuid.uuid4())))
    digest: Digest = field(default_factory=lambda: Digest.of(b"a document"))
    now: datetime = field(default_factory=SystemClock().now)

    def a_batch(self) -> Batch:
        return Batch(
            id=ContractId(str(uuid.uuid4())),
            jti=self.jti,
            credential=self.credential,
            algorithm=SigningAlgorithm.P256,
            client="tests",
            activation=self.digest,
            root=self.digest,
            count=1,
            level=BaselineLevel.B,
            opened_at=self.now,
        )

    def redemption(self) -> Redemption:
        return Redemption(
            jti=self.jti,
            contract=ContractId(str(uuid.UUID(int=7))),
            slot=Slot("buyer"),
            credential=self.credential,
            algorithm=SigningAlgorithm.P256,
            shown=self.digest,
            base=self.digest,
            base_size=1,
            redeemed_at=self.now,
        )

    async def batch(self, tx: Tx) -> None:
        await SqlLedger(tx).open(self.a_batch(), [self.digest])

    async def authorization(self, tx: Tx) -> None:
        ends = self.now + timedelta(minutes=1)
        found = Authorization(
            id=str(uuid.uuid4()),
            jti=self.jti,
            purpose=Purpose.SIGN_DOCUMENTS,
            credential=self.credential,
            identity=BUYER,
            digests=(self.digest,),
            signed=frozenset(),
            issued_at=self.now,
            expires_at=ends,
        )
        await SqlBook(tx).open(found, "portal", f"a SAD {found.id}", ends)

    async def second(self, use: str) -> None:
        """Use it in a transaction of its own, as another process would."""
        if use == "permit":
            await redeem(self.database, self.redemption())
            return
        async with self.database.write() as tx:
            await getattr(self, use)(tx)


@pytest.mark.parametrize("first", ["batch", "authorization"])
@pytest.mark.parametrize("second", ["batch", "authorization", "permit"])
async def test_an_activation_has_one_use_also_when_two_come_at_one_moment(database_url: str, first: str, second: str):
    """EN 419241-1, SCAL2: activation data are redeemed once, also where two processes redeem them at one moment."""
    database = Database(database_url)
    uses = Uses(database)
    try:
        await migrate.upgrade(database, [schema])
        async with database.write() as tx:
            await getattr(uses, first)(tx)
            other = asyncio.create_task(uses.second(second))
            # It comes while this transaction is open: it must wait for its end, and not pass by.
            await asyncio.wait([other], timeout=1)
            assert not other.done()
        if first == second == "batch":
            await other  # the same batch again: a caller that crashed goes on
        else:
            with pytest.raises(Refused, match="-spent"):
                await other
        async with database.read() as conn:
            opened = {
                table.name: (await conn.execute(sa.select(sa.func.count()).select_from(table))).scalar()
                for table in (batches, authorizations, redemptions)
            }
        assert sum(opened.values()) == 1, opened
    finally:
        await database.close()


async def test_what_was_spent_before_there_was_one_table_stays_spent(database_url: str, tmp_path: Path):
    """The migration carries over the activations of permits, batches and authorizations."""
    before = tmp_path / "versions"
    before.mkdir()
    for path in schema.versions.glob("s000[123]_*.py"):
        (before / path.name).write_bytes(path.read_bytes())
    database = Database(database_url)
    spent = {use: Uses(database) for use in ("batch", "authorization", "permit")}
    try:
        await migrate.upgrade(database, [replace(schema, versions=before)])
        async with database.write() as tx:
            for use, one in spent.items():
                await _without_the_table(tx, use, one)
        await migrate.upgrade(database, [schema])
        for one in spent.values():
            with pytest.raises(Refused, match="-spent"):
                await one.second("authorization")
        assert await redeem(database, spent["permit"].redemption()) == spent["permit"].redemption()
    finally:
        await database.close()


async def _without_the_table(tx: Tx, use: str, uses: Uses) -> None:
    """Insert the row of a use as the earlier version did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "spend", AsyncMock(return_value=True))
        if use == "permit":
            values = {k: str(v) if isinstance(v, str) else v for k, v in asdict(uses.redemption()).items()}
            await tx.execute(redemptions.insert().values(**values))
        else:
            await getattr(uses, use)(tx)
