"""A running signer for tests: the service on the real runtime, the toy world around it, the other services' voices."""

from __future__ import annotations

import asyncio
import base64
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from signer_world import DOCUMENT_SIGNING, NOW, World, name

from events.binding import CertificateBound
from events.contract import PartyConfirmed, SigningRequested
from events.fact import Fact
from events.values import (
    ApplicationId,
    BaselineLevel,
    CertificateProfile,
    ContractId,
    CredentialId,
    Digest,
    IdentityId,
    KeyAlgorithm,
    Slot,
)
from services.runtime.access import ApiKey, Keyring, digest_of
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, running
from services.signer.settings import SignerSettings
from services.signer.wiring import build

KEY = "antin_test"
BUYER, SELLER, FIRM = (IdentityId(letter * 52) for letter in "bcd")
APPLICATION = ApplicationId(str(uuid.UUID(int=5)))


@dataclass
class House:
    """A running signer, the world around it, and the other services' voices."""

    world: World
    platform: Platform
    url: str

    async def say(self, *facts: Fact):
        speaker = {"binding": "ca_bridge", "contract": "contracts"}
        for fact in facts:
            async with self.platform.database.write() as tx:
                await self.platform.outbox.say(tx, speaker[fact.family], [fact])

    async def facts(self, count: int, seconds: float = 60):
        """The first `count` facts of the signing family, once they are there."""
        async with asyncio.timeout(seconds):
            while True:
                found = [d.event().fact for d in await self.platform.outbox.read(["antin.signing.v1"], 0, 100)]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    async def quiet(self, seconds: float = 0.5):
        await asyncio.sleep(seconds)
        return [d.event().fact for d in await self.platform.outbox.read(["antin.signing.v1"], 0, 100)]

    async def bind(self, identity=BUYER, algorithm=KeyAlgorithm.P256, credential=None, say=True, **options):
        """A credential with a key made over HTTP and a certificate bound to it."""
        credential = credential or CredentialId(str(uuid.uuid4()))
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{self.url}/v1/credentials",
                json={"credential": credential, "key_algorithm": algorithm.value, "challenge": "nonce"},
                headers={"Authorization": f"Bearer {KEY}"},
            ) as answer,
        ):
            made = await answer.json()
            assert answer.status == 201, made
        public = load_der_public_key(base64.b64decode(made["public_key"]))
        leaf = self.world.issue(public, name("Nguyễn Thị Phương Thảo"), self.world.issuing, eku=[DOCUMENT_SIGNING])
        chain = b"".join(
            c.public_bytes(Encoding.PEM) for c in (leaf, self.world.issuing.certificate, self.world.root.certificate)
        )
        bound = CertificateBound(
            identity=identity,
            application=APPLICATION,
            credential=credential,
            certificate=Digest.of(leaf.public_bytes(Encoding.DER)),
            chain=await self.platform.blobs.keep(chain),
            profile=options.get("profile", CertificateProfile.NATURAL),
            key_algorithm=algorithm,
            representative=options.get("representative"),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            confirmed_at=NOW,
        )
        if say:
            await self.say(bound)
        return bound

    async def ask(self, bound, pdf: bytes, *, slot="buyer", index=0, shown=None, contract=None, token=None, **claims):
        """Contracts asks for a signature; returns the request."""
        contract = contract or ContractId(str(uuid.uuid4()))
        base = await self.platform.blobs.keep(pdf)
        seen = await self.platform.blobs.keep(shown) if shown else base
        level = claims.pop("level", BaselineLevel.LTA)
        subject = claims.pop("subject", bound.identity)
        token = token or self.world.activation(subject, seen, contract, Slot(slot), claims)
        activation = await self.platform.blobs.keep(token.encode())
        request = SigningRequested(
            contract=contract,
            slot=Slot(slot),
            index=index,
            identity=bound.identity,
            credential=bound.credential,
            certificate=bound.certificate,
            base=base,
            shown=seen,
            activation=activation,
            level=level,
        )
        await self.say(
            PartyConfirmed(
                contract=contract, slot=Slot(slot), identity=bound.identity, shown=seen, activation=activation
            ),
            request,
        )
        return request


def a_platform(world, tmp_path, *allowed: str):
    return Platform(
        Database(f"sqlite+aiosqlite:///{tmp_path / 'antin.db'}"),
        Blobs.at(tmp_path / "blobs"),
        Outbound(allowed=[world.base.removeprefix("http://"), *allowed]),
    )


def the_settings(world, tmp_path, **more: Any):
    (tmp_path / "anchors").mkdir(exist_ok=True)
    (tmp_path / "anchors" / "root.pem").write_bytes(world.root.certificate.public_bytes(Encoding.PEM))
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse")
    secret.chmod(0o600)
    kept = {"key_folder": tmp_path / "keys", "passphrase_file": secret} if "keys" not in more else {}
    return SignerSettings(
        anchors=tmp_path / "anchors",
        tsa=world.base + "/tsa",
        authority=world.base,
        tsa_timeout=1,
        status_timeout=1,
        **kept,
        **more,
    )


@asynccontextmanager
async def house(world, tmp_path, *allowed: str, **settings: Any):
    platform = a_platform(world, tmp_path, *allowed)
    service = build(platform, the_settings(world, tmp_path, **settings))
    ring = Keyring([ApiKey(name="bridge", sha256=digest_of(KEY), scopes=("credentials:write", "batches:write"))])
    async with running(platform, [service], keyring=ring) as url:
        yield House(world, platform, url)
