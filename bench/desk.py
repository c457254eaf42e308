"""The signer's own parts, put together as `services.signer.wiring` does, over the bench's little PKI."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from events.values import BaselineLevel, ContractId, CredentialId, Digest, Slot
from services.runtime import certificates
from services.runtime.clock import SystemClock
from services.runtime.outbound import Outbound
from services.signer.adapters.chains import der
from services.signer.adapters.fast.writer import FastWriter
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.status import OnlineStatus
from services.signer.adapters.tsa import Rfc3161Authority
from services.signer.model import Evidence, Redemption, SigningAlgorithm, SigningOrder

LEVELS = {
    "B-B": BaselineLevel.B,
    "B-T": BaselineLevel.T,
    "B-LT": BaselineLevel.LT,
    "B-LTA": BaselineLevel.LTA,
}
ALGORITHMS = {
    "rsa2048": SigningAlgorithm.RSA_3072_PKCS1,
    "rsa3072": SigningAlgorithm.RSA_3072_PKCS1,
    "p256": SigningAlgorithm.P256,
}
"""The key store makes RSA keys of 3072 bit and signs with others that it finds in its folder."""


@dataclass
class Desk:
    """Keys, time, status and a writer for one signer, whose evidence is fetched already."""

    keys: FileKeys
    authority: Rfc3161Authority
    status: OnlineStatus
    writer: FastWriter
    credential: CredentialId
    algorithm: SigningAlgorithm
    path: tuple[bytes, ...]
    evidence: Evidence

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, tsa: str, kind: str) -> AsyncIterator[Desk]:
        """Open the signer of this kind of key in the folder that `signing_world.make` wrote."""
        place, clock = folder / kind, SystemClock()
        credential = CredentialId(str(uuid.UUID(bytes=hashlib.sha256(kind.encode()).digest()[:16])))
        algorithm = ALGORITHMS[kind]
        key = load_pem_private_key((place / "key.pem").read_bytes(), None)
        (place / "keys").mkdir(mode=0o700, exist_ok=True)
        (place / "keys" / f"{credential}.{algorithm.value}.p8").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"bench"))
        )
        keys = FileKeys(place / "keys", SecretStr("bench"))
        chain = certificates.all_in((place / "chain.pem").read_bytes())
        host = tsa.removeprefix("http://").split("/")[0]
        async with Outbound(allowed=[host]) as outbound:
            status = OnlineStatus(outbound, chain[-1:], clock)
            authority = Rfc3161Authority(outbound, tsa, chain[-1:], clock)
            check = await status.check(tuple(der(one) for one in chain))
            check.decide()
            writer = FastWriter(keys, authority, status)
            yield cls(keys, authority, status, writer, credential, algorithm, check.path, check.evidence)

    def order(self, digest: Digest, size: int, level: str, *, stamped: bool = False) -> SigningOrder:
        """An order to sign the document with this digest."""
        moment = SystemClock().now().replace(microsecond=0)
        redemption = Redemption(
            jti="bench",
            contract=ContractId(str(uuid.UUID(int=1))),
            slot=Slot("bench"),
            credential=self.credential,
            algorithm=self.algorithm,
            shown=digest,
            base=digest,
            base_size=size,
            redeemed_at=moment,
        )
        return SigningOrder(redemption, self.path, LEVELS[level], "bench", 0, moment, stamped=stamped)

    def order_of(self, source: Path, level: str) -> SigningOrder:
        """An order to sign a file."""
        with source.open("rb") as data:
            digest = Digest.from_raw(hashlib.file_digest(data, "sha256").digest())
        return self.order(digest, os.path.getsize(source), level)

    async def file(self, source: Path, target: Path, level: str) -> None:
        """Sign one file into another."""
        await self.writer.sign_file(source, target, self.order_of(source, level), self.evidence)
