"""What the signer remembers: credentials, approvals, redeemed permits, signed slots."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from events.errors import Refused
from events.values import CertificateProfile, ContractId, CredentialId, Digest, IdentityId, Slot
from services.runtime.database import Database, Tx
from services.runtime.outbox import upsert
from services.signer.adapters.tables import approvals, credentials, redemptions, schema, signatures, spent
from services.signer.model import Redemption, SigningAlgorithm
from services.signer.ports import Credential, CredentialState


class Connection(Protocol):
    """A write transaction or a read connection."""

    async def execute(self, statement: Any, values: Any = None) -> sa.CursorResult[Any]:
        """Run one statement."""
        ...


class SqlCredentials:
    """`Credentials` within one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def find(self, credential: CredentialId) -> Credential | None:
        """The credential as last told, if it was."""
        return await find_credential(self._tx, credential)

    async def keep(self, credential: Credential) -> None:
        """Write the credential as it is now."""
        values = {name: str(value) if isinstance(value, str) else value for name, value in asdict(credential).items()}
        await self._tx.execute(upsert(self._tx, credentials, values, ("credential",)))


async def find_credential(connection: Any, credential: CredentialId) -> Credential | None:
    """The credential as last told, through any connection."""
    row = (await connection.execute(sa.select(credentials).where(credentials.c.credential == str(credential)))).first()
    return None if row is None else _credential(row)


async def list_credentials(connection: Any, holder: IdentityId, after: str, most: int) -> list[Credential]:
    """At most `most` credentials of a holder, in the order of their ids, those behind `after`."""
    query = sa.select(credentials).where(credentials.c.credential > after, credentials.c.identity == str(holder))
    rows = await connection.execute(query.order_by(credentials.c.credential).limit(most))
    return [_credential(row) for row in rows]


def _credential(row: Any) -> Credential:
    return Credential(
        credential=CredentialId(row.credential),
        identity=IdentityId(row.identity),
        algorithm=SigningAlgorithm(row.algorithm),
        state=CredentialState(row.state),
        certificate=Digest(row.certificate),
        chain=Digest(row.chain),
        profile=CertificateProfile(row.profile),
        representative=IdentityId(row.representative) if row.representative else None,
        not_before=row.not_before,
        not_after=row.not_after,
    )


class SqlSlots:
    """`Slots` within one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def approved(self, activation: Digest) -> datetime | None:
        """When the approval with this activation was given, if that was heard."""
        found: datetime | None = (
            await self._tx.execute(sa.select(approvals.c.at).where(approvals.c.activation == str(activation)))
        ).scalar()
        return found

    async def note_approval(self, activation: Digest, at: datetime) -> None:
        """Remember when an approval was given; the first time counts."""
        if await self.approved(activation) is None:
            await self._tx.execute(approvals.insert().values(activation=str(activation), at=at))

    async def signed(self, contract: ContractId, slot: Slot) -> Digest | None:
        """The signed revision of the slot, if there is one."""
        found = (
            await self._tx.execute(
                sa.select(signatures.c.signed).where(
                    signatures.c.contract == str(contract), signatures.c.slot == str(slot)
                )
            )
        ).scalar()
        return Digest(found) if found else None

    async def note_signed(self, contract: ContractId, slot: Slot, base: Digest, signed: Digest, at: datetime) -> None:
        """Remember that the slot is signed; the primary key lets it be once."""
        await self._tx.execute(
            signatures.insert().values(
                contract=str(contract), slot=str(slot), base=str(base), signed=str(signed), at=at
            )
        )


async def spend(tx: Tx, jti: str) -> bool:
    """Spend the activation `jti` in this transaction; false when it was spent before, whatever for.

    One table for every use: who comes at the same moment waits for the end of this transaction and finds it spent
    (EN 419241-1, SCAL2: activation data are redeemed once).
    """
    insert = postgresql.insert if tx.conn.dialect.name == "postgresql" else sqlite.insert
    return (await tx.execute(insert(spent).values(jti=jti).on_conflict_do_nothing())).rowcount == 1


async def redeem(database: Database, redemption: Redemption) -> Redemption:
    """Redeem a permit in a transaction of its own; the same work finds its redemption again.

    Raises:
        Refused: it was redeemed for something else.
    """
    async with database.write() as tx:
        if await spend(tx, redemption.jti):
            values = {
                name: str(value) if isinstance(value, str) else value for name, value in asdict(redemption).items()
            }
            await tx.execute(redemptions.insert().values(**values))
            return redemption
        row = (await tx.execute(sa.select(redemptions).where(redemptions.c.jti == redemption.jti))).first()
    if row is None:
        raise _permit_spent()
    found = Redemption(
        jti=row.jti,
        contract=ContractId(row.contract),
        slot=Slot(row.slot),
        credential=CredentialId(row.credential),
        algorithm=SigningAlgorithm(row.algorithm),
        shown=Digest(row.shown),
        base=Digest(row.base),
        base_size=row.base_size,
        redeemed_at=row.redeemed_at,
    )
    if (found.contract, found.slot, found.credential, found.base, found.shown, found.algorithm) != (
        redemption.contract,
        redemption.slot,
        redemption.credential,
        redemption.base,
        redemption.shown,
        redemption.algorithm,
    ):
        raise _permit_spent()
    return found


def _permit_spent() -> Refused:
    return Refused(
        "permit-spent",
        found="an activation that was used already, for something else",
        expected="an activation for this signature alone",
        remedy="ask the party to approve again",
        status=409,
    )


__all__ = ["SqlCredentials", "SqlSlots", "find_credential", "list_credentials", "redeem", "schema", "spend"]
