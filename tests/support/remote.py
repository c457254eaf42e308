"""A key store over a CSC provider of the tests, with books of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from services.runtime import migrate
from services.runtime.clock import Clock, SystemClock
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.outbox import new_id
from services.signer.adapters import store
from services.signer.adapters.csc_keys import Access, CscProvider
from services.signer.adapters.remote_keys import RemoteKeys
from services.signer.adapters.remote_store import SqlRemoteBooks
from services.signer.model import SigningAlgorithm
from tests.support.csc_provider import CLIENT, PIN, SECRET, Provider, serving

OIDS = {
    SigningAlgorithm.RSA_3072_PSS: "1.2.840.113549.1.1.10",
    SigningAlgorithm.RSA_3072_PKCS1: "1.2.840.113549.1.1.11",
    SigningAlgorithm.P256: "1.2.840.10045.4.3.2",
    SigningAlgorithm.P384: "1.2.840.10045.4.3.2",
}


def self_signed(key: Any) -> bytes:
    """A certificate for the key, DER; a provider always has one."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a provider's own")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def ec_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@asynccontextmanager
async def books(folder: Path) -> AsyncIterator[SqlRemoteBooks]:
    """The books in a folder; the same after a restart."""
    database = Database(f"sqlite+aiosqlite:///{folder / 'remote.db'}")
    await migrate.upgrade(database, [store.schema])
    try:
        yield SqlRemoteBooks(database)
    finally:
        await database.close()


def csc(outbound: Outbound, provider: Provider, kept: SqlRemoteBooks, clock: Clock, callback: str | None = None):
    """The store, as the service makes it."""
    access = Access(provider.url, CLIENT, SecretStr(SECRET), "the-enterprise", SecretStr(PIN), callback)
    return RemoteKeys(CscProvider(outbound, access, clock, timeout=3), kept, clock, new_id, poll=0.1)


@asynccontextmanager
async def remote(folder: Path, provider: Provider, clock: Clock | None = None) -> AsyncIterator[RemoteKeys]:
    """The store over a provider that is served until the block ends."""
    clock = clock or SystemClock()
    async with serving(provider), books(folder) as kept:
        place = provider.url.removeprefix("http://").partition("/")[0]
        async with Outbound(allowed=[place]) as outbound:
            yield csc(outbound, provider, kept, clock)
