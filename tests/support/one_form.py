"""A process that signs every PDF of a folder in the form it has and says what came of it, for another to compare.

Usage: python -m tests.support.one_form WORLD DOCUMENTS. WORLD is what `bench.signing_world.make` and `keys` wrote.
Prints one JSON object: the form, and by document and order SHA-256 of what was made, or the words of the refusal.
Times and timestamp tokens are the same at each run, and RSASSA-PKCS1-v1_5 is deterministic.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tempfile
import uuid
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asn1crypto import tsp
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from events.errors import AntinError
from events.values import BaselineLevel, ContractId, CredentialId, Digest, Slot
from lab import timestamps
from lab.pki import Issuer
from services.runtime import certificates
from services.signer.adapters.chains import der
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.syntax import Declined
from services.signer.adapters.fast.writer import FastWriter
from services.signer.adapters.file_keys import FileKeys
from services.signer.compilation import form
from services.signer.model import Certify, Evidence, Redemption, SigningAlgorithm, SigningOrder, Token

NOON = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
CREDENTIAL = CredentialId(str(uuid.UUID(int=7)))
ALGORITHM = SigningAlgorithm.RSA_3072_PKCS1
ORDERS: dict[str, dict[str, Any]] = {
    "B-B": {"level": BaselineLevel.B, "stamped": False},
    "B-T, stamped": {"level": BaselineLevel.T},
    "B-LTA, certified": {"level": BaselineLevel.LTA, "certify": Certify.FORMS, "reason": "Đồng ý (1)"},
}


def keys(world: Path) -> None:
    """Write the signer's key as the key store keeps it."""
    key = load_pem_private_key((world / "rsa2048" / "key.pem").read_bytes(), None)
    (world / "keys").mkdir(mode=0o700)
    (world / "keys" / f"{CREDENTIAL}.{ALGORITHM.value}.p8").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"one form"))
    )


class Authority:
    """The toy authority at noon, always; without serial numbers and nonces."""

    def __init__(self, world: Path) -> None:
        (certificate,) = certificates.all_in((world / "tsa.pem").read_bytes())
        (root,) = certificates.all_in((world / "root.cer").read_bytes())
        self._issuer = Issuer("tsa", certificate, load_pem_private_key((world / "tsa.key").read_bytes(), None))
        self._path = der(certificate), der(root)

    def room(self, *, steady: bool) -> int:
        return 4_000

    async def timestamp(self, digest: Digest) -> Token:
        imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest.raw}
        asked = tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "cert_req": True})
        answer = tsp.TimeStampResp.load(timestamps.answer(asked.dump(), self._issuer, lambda: NOON))
        return Token(answer["time_stamp_token"].dump(), NOON, self._path)


class Status:
    """The list of the root, for the timestamp authority's path."""

    def __init__(self, world: Path) -> None:
        self._list = (world / "root.crl").read_bytes()

    async def check(self, chain: tuple[bytes, ...]) -> Any:
        raise AssertionError("the status is known")

    async def evidence(self, path: tuple[bytes, ...]) -> Evidence:
        return Evidence(path, (), (self._list,))


class Signing:
    """One writer and one signer."""

    def __init__(self, world: Path) -> None:
        timestamps.secrets = SimpleNamespace(token_bytes=lambda size: b"\1" * size)
        store = FileKeys(world / "keys", SecretStr("one form"))
        self._writer = FastWriter(store, Authority(world), Status(world))
        self._chain = tuple(der(one) for one in certificates.all_in((world / "rsa2048" / "chain.pem").read_bytes()))
        lists = tuple((world / name).read_bytes() for name in ("root.crl", "issuing.crl"))
        self._evidence = Evidence(self._chain, (), lists)

    async def sign(self, pdf: bytes, index: int = 0, **options: Any) -> bytes:
        return (await self._writer.sign(pdf, self._order(pdf, index, **options), self._evidence)).pdf

    async def sign_twice(self, pdf: bytes) -> bytes:
        once = await self.sign(pdf, level=BaselineLevel.LTA)
        return await self.sign(once, 1, level=BaselineLevel.LTA)

    async def sign_file(self, pdf: bytes, **options: Any) -> bytes:
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name) / "source.pdf", Path(name) / "target.pdf"
            source.write_bytes(pdf)
            await self._writer.sign_file(source, target, self._order(pdf, 0, **options), self._evidence)
            return target.read_bytes()

    async def look(self, pdf: bytes) -> bytes:
        File.open(pdf).one_document()
        return b"one document"

    def _order(self, pdf: bytes, index: int, **options: Any) -> SigningOrder:
        field = f"party-{index}"
        redemption = Redemption(
            jti="one",
            contract=ContractId(str(uuid.UUID(int=1))),
            slot=Slot(field),
            credential=CREDENTIAL,
            algorithm=ALGORITHM,
            shown=Digest.of(pdf),
            base=Digest.of(pdf),
            base_size=len(pdf),
            redeemed_at=NOON,
        )
        return SigningOrder(redemption, self._chain, field=field, index=index, signed_at=NOON, **options)


async def outcome(work: Awaitable[bytes]) -> str:
    """What was made, or why not; a fault that no caller expects begins with an exclamation mark."""
    try:
        return hashlib.sha256(await work).hexdigest()
    except Declined as fault:
        return f"declined: {fault.why}"
    except AntinError as fault:
        return f"{type(fault).__name__}: {fault}"
    except Exception as fault:  # noqa: BLE001 - compared with the other form's
        return f"! {type(fault).__name__}: {fault}"


async def main(world: Path, documents: list[Path]) -> None:
    """Sign everything."""
    signing = Signing(world)
    found: dict[str, str] = {}
    for place in documents:
        pdf = place.read_bytes()
        work = {name: signing.sign(pdf, **options) for name, options in ORDERS.items()} | {
            "B-LTA twice": signing.sign_twice(pdf),
            "from file to file": signing.sign_file(pdf, **ORDERS["B-B"]),
            "looked at": signing.look(pdf),
        }
        found |= {f"{place.name}, {name}": await outcome(one) for name, one in work.items()}
    sys.stdout.write(json.dumps({"form": form().name, "found": found}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())))
