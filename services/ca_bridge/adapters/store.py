"""The bridge's tables: intake, identities, applications, certificates, redeemed activations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from events.errors import Refused
from events.values import ApplicationId, Digest, IdentityId
from services.ca_bridge.intake import Identity
from services.ca_bridge.model import Application, Certificate
from services.ca_bridge.ports import Books
from services.runtime.database import Instant, Schema, Tx
from services.runtime.outbox import upsert
from services.runtime.tables import inbox

metadata = sa.MetaData()

intake = sa.Table(
    "ca_bridge_intake",
    metadata,
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("fingerprint", sa.String(71), nullable=False),
    sa.Column("subject", sa.String(52)),
    sa.Column("sequence", sa.Integer),
    sa.Column("type", sa.String(100)),
    sa.Column("outcome", sa.String(8), nullable=False),
    sa.Column("code", sa.String(64)),
    sa.Column("found", sa.String(400)),
    sa.Column("expected", sa.String(400)),
    sa.Column("missing", sa.Integer, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Index("ca_bridge_intake_by_event", "event"),
    sa.Index("ca_bridge_intake_by_outcome", "outcome", "n"),
    sqlite_autoincrement=True,
)

transactions = sa.Table(
    "ca_bridge_transactions",
    metadata,
    sa.Column("transaction", sa.String(64), primary_key=True),
    sa.Column("event", sa.String(64), nullable=False),
)

identities = sa.Table(
    "ca_bridge_identities",
    metadata,
    sa.Column("identity", sa.String(52), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

applications = sa.Table(
    "ca_bridge_applications",
    metadata,
    sa.Column("application", sa.String(36), primary_key=True),
    sa.Column("identity", sa.String(52), nullable=False, index=True),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

keys = sa.Table(
    "ca_bridge_keys",
    metadata,
    sa.Column("key", sa.String(71), primary_key=True),
    sa.Column("application", sa.String(36), nullable=False),
)

certificates = sa.Table(
    "ca_bridge_certificates",
    metadata,
    sa.Column("certificate", sa.String(71), primary_key=True),
    sa.Column("identity", sa.String(52), nullable=False, index=True),
    sa.Column("representative", sa.String(52), index=True),
    sa.Column("replace_by", Instant, index=True),
    sa.Column("body", sa.Text, nullable=False),
)

wanted_events = sa.Table(
    "ca_bridge_wanted",
    metadata,
    sa.Column("identity", sa.String(52), primary_key=True),
    sa.Column("due", Instant, nullable=False, index=True),
)

redeemed = sa.Table(
    "ca_bridge_redeemed",
    metadata,
    sa.Column("activation", sa.String(36), primary_key=True),
    sa.Column("at", Instant, nullable=False),
)

schema = Schema("ca_bridge", metadata, Path(__file__).parents[1] / "migrations" / "versions")

KEPT_REFUSALS = 10_000
"""Refused events are kept to be read, the newest of them; the intake is open to everybody."""

Reader = AsyncConnection | Tx


def _mine(conn: Reader, query: sa.Select[Any]) -> sa.Select[Any]:
    """What a transaction reads it may write: others wait (PostgreSQL; SQLite has one writer anyway)."""
    return query.with_for_update() if isinstance(conn, Tx) else query


class SqlIdentities:
    """`Identities` within a transaction."""

    def __init__(self, conn: Reader) -> None:
        self._conn = conn

    async def get(self, identity: IdentityId) -> Identity | None:
        """One identity, if it is known."""
        query = sa.select(identities.c.body).where(identities.c.identity == identity)
        row = (await self._conn.execute(_mine(self._conn, query))).first()
        return Identity.model_validate_json(row.body) if row else None

    async def put(self, identity: Identity) -> None:
        """Keep it."""
        values = {"identity": str(identity.id), "body": identity.model_dump_json()}
        await self._conn.execute(upsert(_tx(self._conn), identities, values, ("identity",)))


class SqlApplications:
    """`Applications` within a transaction."""

    def __init__(self, conn: Reader) -> None:
        self._conn = conn

    async def get(self, application: ApplicationId) -> Application | None:
        """One application."""
        query = sa.select(applications.c.body).where(applications.c.application == application)
        row = (await self._conn.execute(_mine(self._conn, query))).first()
        return Application.model_validate_json(row.body) if row else None

    async def put(self, application: Application) -> None:
        """Keep it."""
        values = {
            "application": str(application.id),
            "identity": str(application.identity),
            "state": application.state.value,
            "body": application.model_dump_json(),
        }
        await self._conn.execute(upsert(_tx(self._conn), applications, values, ("application",)))

    async def of(self, identity: IdentityId) -> Sequence[Application]:
        """All of an identity, oldest first."""
        query = sa.select(applications.c.body).where(applications.c.identity == identity)
        rows = await self._conn.execute(_mine(self._conn, query.order_by(applications.c.application)))
        return [Application.model_validate_json(row.body) for row in rows]

    async def claim_key(self, application: ApplicationId, key: Digest) -> None:
        """Note that this public key is this application's.

        Raises:
            Refused: it was certified for another application before.
        """
        row = (await self._conn.execute(sa.select(keys.c.application).where(keys.c.key == key))).first()
        if row is not None and row.application != application:
            raise Refused(
                "key-not-unique",
                found="a public key that was certified before",
                expected="a key of its own (Decree 23/2025/ND-CP Art 38)",
                remedy="apply anew: a fresh key is made",
                status=409,
            )
        if row is None:
            await self._conn.execute(keys.insert().values(key=str(key), application=str(application)))


class SqlCertificates:
    """`Certificates` within a transaction."""

    def __init__(self, conn: Reader) -> None:
        self._conn = conn

    async def get(self, certificate: Digest) -> Certificate | None:
        """One certificate."""
        query = sa.select(certificates.c.body).where(certificates.c.certificate == certificate)
        row = (await self._conn.execute(_mine(self._conn, query))).first()
        return Certificate.model_validate_json(row.body) if row else None

    async def put(self, certificate: Certificate) -> None:
        """Keep it."""
        values = {
            "certificate": str(certificate.digest),
            "identity": str(certificate.identity),
            "representative": str(certificate.representative) if certificate.representative else None,
            "replace_by": certificate.replace_by if certificate.revoked is None else None,
            "body": certificate.model_dump_json(),
        }
        await self._conn.execute(upsert(_tx(self._conn), certificates, values, ("certificate",)))

    async def touching(self, identity: IdentityId) -> Sequence[Certificate]:
        """Those of the identity and those it represents."""
        query = sa.select(certificates.c.body).where(
            sa.or_(certificates.c.identity == identity, certificates.c.representative == identity)
        )
        rows = await self._conn.execute(_mine(self._conn, query.order_by(certificates.c.certificate)))
        return [Certificate.model_validate_json(row.body) for row in rows]

    async def overdue(self, now: datetime) -> Sequence[Certificate]:
        """Living ones that should have been replaced by now."""
        query = sa.select(certificates.c.body).where(certificates.c.replace_by <= now)
        rows = await self._conn.execute(_mine(self._conn, query.order_by(certificates.c.certificate).limit(100)))
        return [Certificate.model_validate_json(row.body) for row in rows]


def books(conn: Reader) -> Books:
    """All three."""
    return Books(SqlIdentities(conn), SqlApplications(conn), SqlCertificates(conn))


async def redeem(tx: Tx, activation: str, now: datetime) -> None:
    """Note an activation as used.

    Raises:
        Refused: it was used before.
    """
    try:
        async with tx.conn.begin_nested():
            await tx.execute(redeemed.insert().values(activation=activation, at=now))
    except IntegrityError as fault:
        raise Refused(
            "activation-used",
            found="an activation that was redeemed before",
            expected="a fresh one",
            remedy="ask the holder to approve again on the phone",
            status=409,
        ) from fault


async def note(tx: Tx, values: dict[str, Any]) -> None:
    """Keep what the intake did with an event; old refusals make room."""
    found = await tx.execute(intake.insert().values(**values))
    if values["outcome"] == "refused" and found.inserted_primary_key is not None:
        oldest = found.inserted_primary_key[0] - KEPT_REFUSALS
        await tx.execute(intake.delete().where(intake.c.outcome == "refused", intake.c.n < oldest))


async def accepted(conn: Reader, event: str) -> str | None:
    """The fingerprint of an accepted event, by its id."""
    query = sa.select(intake.c.fingerprint).where(intake.c.event == event, intake.c.outcome == "accepted")
    row = (await conn.execute(query)).first()
    return row.fingerprint if row else None


async def claim_transaction(tx: Tx, transaction: str, event: str) -> None:
    """Note a transaction of the authority as used by this event.

    Raises:
        Refused: another event used it before.
    """
    row = (await tx.execute(sa.select(transactions.c.event).where(transactions.c.transaction == transaction))).first()
    if row is not None:
        raise Refused(
            "identity-transaction-replayed",
            found="a transaction that another event used before",
            expected="one event for one transaction",
            remedy="authenticate again",
            status=409,
        )
    await tx.execute(transactions.insert().values(transaction=transaction, event=event))


async def want(tx: Tx, identity: IdentityId, due: datetime | None) -> None:
    """Ask for redelivery of what is missing of an identity when `due`; none: nothing is missing any more."""
    if due is None:
        await tx.execute(wanted_events.delete().where(wanted_events.c.identity == identity))
        return
    await tx.execute(upsert(tx, wanted_events, {"identity": str(identity), "due": due}, ("identity",)))


async def wanted(conn: Reader, now: datetime, limit: int) -> list[IdentityId]:
    """Identities whose missing events are due to be asked for."""
    query = sa.select(wanted_events.c.identity).where(wanted_events.c.due <= now).order_by(wanted_events.c.due)
    return [IdentityId(row.identity) for row in await conn.execute(query.limit(limit))]


async def heard(tx: Tx, group: str, event: str) -> bool:
    """Whether this group of ours has done with an event."""
    query = sa.select(inbox.c.event).where(inbox.c.consumer == group, inbox.c.event == str(event))
    return (await tx.execute(query)).first() is not None


async def refusals(conn: AsyncConnection, limit: int) -> list[dict[str, Any]]:
    """The newest refused events."""
    query = sa.select(intake).where(intake.c.outcome == "refused").order_by(intake.c.n.desc()).limit(limit)
    return [dict(row._mapping) for row in await conn.execute(query)]


def _tx(conn: Reader) -> Tx:
    if not isinstance(conn, Tx):
        raise RuntimeError("writing needs a transaction")
    return conn
