"""The signer's tables."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from services.runtime.database import Instant, Schema

metadata = sa.MetaData()

credentials = sa.Table(
    "signer_credentials",
    metadata,
    sa.Column("credential", sa.String(36), primary_key=True),
    sa.Column("identity", sa.String(52), nullable=False),
    sa.Column("algorithm", sa.String(20), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("certificate", sa.String(71), nullable=False),
    sa.Column("chain", sa.String(71), nullable=False),
    sa.Column("profile", sa.String(32), nullable=False),
    sa.Column("representative", sa.String(52)),
    sa.Column("not_before", Instant, nullable=False),
    sa.Column("not_after", Instant, nullable=False),
)

approvals = sa.Table(
    "signer_approvals",
    metadata,
    sa.Column("activation", sa.String(71), primary_key=True),
    sa.Column("at", Instant, nullable=False),
)

spent = sa.Table(
    "signer_spent_activations",
    metadata,
    sa.Column("jti", sa.String(100), primary_key=True),
)

redemptions = sa.Table(
    "signer_redemptions",
    metadata,
    sa.Column("jti", sa.String(100), primary_key=True),
    sa.Column("contract", sa.String(36), nullable=False),
    sa.Column("slot", sa.String(40), nullable=False),
    sa.Column("credential", sa.String(36), nullable=False),
    sa.Column("algorithm", sa.String(20), nullable=False),
    sa.Column("shown", sa.String(71), nullable=False),
    sa.Column("base", sa.String(71), nullable=False),
    sa.Column("base_size", sa.BigInteger, nullable=False),
    sa.Column("redeemed_at", Instant, nullable=False),
)

signatures = sa.Table(
    "signer_signatures",
    metadata,
    sa.Column("contract", sa.String(36), primary_key=True),
    sa.Column("slot", sa.String(40), primary_key=True),
    sa.Column("base", sa.String(71), nullable=False),
    sa.Column("signed", sa.String(71), nullable=False),
    sa.Column("at", Instant, nullable=False),
)

tokens = sa.Table(
    "signer_csc_tokens",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("authorization", sa.String(36)),
    sa.Column("expires_at", Instant, nullable=False, index=True),
)

codes = sa.Table(
    "signer_csc_codes",
    metadata,
    sa.Column("code", sa.String(64), primary_key=True),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("redirect_uri", sa.String(1000), nullable=False),
    sa.Column("challenge", sa.String(43), nullable=False),
    sa.Column("authorization", sa.String(36), nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)

authorizations = sa.Table(
    "signer_authorizations",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("jti", sa.String(100), nullable=False, unique=True),
    sa.Column("purpose", sa.String(20), nullable=False),
    sa.Column("credential", sa.String(36), nullable=False),
    sa.Column("identity", sa.String(52), nullable=False),
    sa.Column("digests", sa.Text, nullable=False),
    sa.Column("signed", sa.Text, nullable=False),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("sad", sa.String(64), nullable=False, unique=True),
    sa.Column("sad_spent", sa.Boolean, nullable=False),
    sa.Column("sad_expires_at", Instant, nullable=False),
    sa.Column("issued_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("attempt", sa.String(36)),
    sa.Column("attempt_until", Instant),
    sa.Column("returns", sa.Text),
)

answers = sa.Table(
    "signer_csc_answers",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("owner", sa.String(80)),
    sa.Column("leased_until", Instant),
    sa.Column("expires_at", Instant, nullable=False, index=True),
)

batches = sa.Table(
    "signer_batches",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("jti", sa.String(100), nullable=False, unique=True),
    sa.Column("credential", sa.String(36), nullable=False),
    sa.Column("algorithm", sa.String(20), nullable=False),
    sa.Column("client", sa.String(40), nullable=False),
    sa.Column("activation", sa.String(71), nullable=False),
    sa.Column("root", sa.String(71), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("level", sa.String(20), nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
)

batch_documents = sa.Table(
    "signer_batch_documents",
    metadata,
    sa.Column("batch", sa.String(36), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(71), nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("due", Instant, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(80)),
    sa.Column("signed", sa.String(71)),
    sa.Column("reason", sa.String(64)),
    sa.Index("signer_batch_documents_due", "state", "due"),
)

remote_keys = sa.Table(
    "signer_remote_keys",
    metadata,
    sa.Column("credential", sa.String(36), primary_key=True),
    sa.Column("remote", sa.String(200), nullable=False, unique=True),
    sa.Column("algorithm", sa.String(20), nullable=False),
    sa.Column("public", sa.Text, nullable=False),
)

remote_operations = sa.Table(
    "signer_remote_operations",
    metadata,
    sa.Column("credential", sa.String(36), primary_key=True),
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("jti", sa.String(100), nullable=False, index=True),
    sa.Column("salt", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("handle", sa.String(500), index=True),
    sa.Column("signature", sa.Text),
    sa.Column("asked_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)

schema = Schema("signer", metadata, Path(__file__).parents[1] / "migrations" / "versions")
