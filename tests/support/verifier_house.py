"""The verifier as a service on the real runtime, with a signer's desk beside it."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

from signer_world import desk

from events.signing import DocumentSigned
from events.values import BaselineLevel, ContractId, CredentialId, Digest, IdentityId, Slot
from services.runtime.access import ApiKey, Keyring, digest_of
from services.runtime.blobs import Blobs
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, running
from services.verifier.settings import VerifierSettings
from services.verifier.wiring import build

KEY = "antin_test"
CONTRACT = ContractId(str(uuid.UUID(int=9)))


class House:
    def __init__(self, at, platform: Platform, url: str) -> None:
        self.desk, self.platform, self.url = at, platform, url

    async def claim(self, base: bytes, signed: bytes, party, *, slot: str = "buyer", **changed) -> DocumentSigned:
        blobs = self.platform.blobs
        said = {
            "contract": CONTRACT,
            "slot": Slot(slot),
            "identity": IdentityId("b" * 52),
            "credential": CredentialId(str(party.credential)),
            "certificate": Digest.of(party.chain[0]),
            "base": await blobs.keep(base),
            "shown": await blobs.keep(base),
            "signed": await blobs.keep(signed),
            "field": slot,
            "level": BaselineLevel.LTA,
            "checked": await blobs.keep(b"{}"),
            "signed_at": SystemClock().now(),
        } | changed
        fact = DocumentSigned(**said)
        async with self.platform.database.write() as tx:
            await self.platform.outbox.say(tx, "signer", [fact])
        return fact

    async def rulings(self, count: int, seconds: float = 30):
        async with asyncio.timeout(seconds):
            while True:
                found = await self.platform.outbox.read(["antin.verification.v1"], 0, 100)
                if len(found) >= count:
                    return [each.event().fact for each in found]
                await asyncio.sleep(0.05)


@asynccontextmanager
async def house(tmp_path: Path):
    async with desk(tmp_path) as at:
        anchors = tmp_path / "anchors"
        anchors.mkdir()
        (anchors / "root.cer").write_bytes(at.world.root.der)
        platform = Platform(
            Database(f"sqlite+aiosqlite:///{tmp_path / 'antin.db'}"),
            Blobs.at(tmp_path / "blobs"),
            Outbound(allowed=[at.world.base.removeprefix("http://")]),
        )
        keyring = Keyring([ApiKey(name="t", sha256=digest_of(KEY), scopes=("reports:read",))])
        service = build(platform, VerifierSettings(anchors=anchors))
        async with running(platform, [service], keyring=keyring) as url:
            yield House(at, platform, url)
