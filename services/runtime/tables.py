"""The tables every service shares: the outbox, who has read how far, what waits, what is being worked on."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from services.runtime.database import Instant, Schema

metadata = sa.MetaData()

outbox = sa.Table(
    "runtime_outbox",
    metadata,
    sa.Column("offset", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("event", sa.String(36), nullable=False, unique=True),
    sa.Column("topic", sa.String(80), nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("key", sa.String(80), nullable=False),
    sa.Column("type", sa.String(120), nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("said_at", Instant, nullable=False),
    sa.Index("runtime_outbox_by_key", "topic", "key"),
    sqlite_autoincrement=True,
)

inbox = sa.Table(
    "runtime_inbox",
    metadata,
    sa.Column("consumer", sa.String(40), primary_key=True),
    sa.Column("event", sa.String(36), primary_key=True),
    sa.Column("at", Instant, nullable=False),
)

cursors = sa.Table(
    "runtime_cursors",
    metadata,
    sa.Column("consumer", sa.String(40), primary_key=True),
    sa.Column("topic", sa.String(80), primary_key=True),
    sa.Column("offset", sa.BigInteger, nullable=False),
)

parked = sa.Table(
    "runtime_parked",
    metadata,
    sa.Column("consumer", sa.String(40), primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("due", Instant, nullable=False),
    sa.Column("why", sa.String(64), nullable=False),
)

waiting = sa.Table(
    "runtime_waiting",
    metadata,
    sa.Column("n", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("consumer", sa.String(40), nullable=False),
    sa.Column("event", sa.String(36), nullable=False),
    sa.Column("key", sa.String(80), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("due", Instant, nullable=False),
    sa.Column("why", sa.String(64), nullable=False),
    sa.UniqueConstraint("consumer", "event", name="runtime_waiting_once"),
    sa.Index("runtime_waiting_by_key", "consumer", "key", "n"),
)

redriven = sa.Table(
    "runtime_redriven",
    metadata,
    sa.Column("letter", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
)

jobs = sa.Table(
    "runtime_jobs",
    metadata,
    sa.Column("consumer", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(160), primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("owner", sa.String(36), nullable=False),
    sa.Column("leased_until", Instant, nullable=False),
)

idempotency = sa.Table(
    "runtime_idempotency",
    metadata,
    sa.Column("scope", sa.String(160), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(71), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("media", sa.String(80), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("at", Instant, nullable=False),
)

schema = Schema("runtime", metadata, Path(__file__).parent / "migrations" / "versions")
