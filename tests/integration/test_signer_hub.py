"""Keys at the national hub: the citizen approves on the phone; no worker waits, no restart asks twice."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
import signer_house
from signer_world import World as Outside

from events.binding import CertificateBound
from events.errors import Refused, Unavailable
from events.signing import DocumentSigned, SigningRefused
from events.values import CertificateProfile, CredentialId, Digest, KeyAlgorithm
from lab.hub import Held
from lab.people import citizen
from lab.world import World
from services.runtime.access import ApiKey, Keyring, digest_of
from services.runtime.clock import Clock
from services.runtime.hub import Hub, Partner
from services.runtime.outbound import Outbound
from services.runtime.outbox import new_id
from services.runtime.process import running
from services.signer.adapters.hub_keys import HubProvider
from services.signer.adapters.remote_keys import RemoteKeys
from services.signer.adapters.remote_store import SqlRemoteBooks
from services.signer.model import SigningAlgorithm
from services.signer.wiring import build
from tests.support import pki
from tests.support.clocks import StillClock
from tests.support.odd_certificates import KEYED, WHOLLY, as_pem
from tests.support.permits import permit
from tests.support.remote import books
from tests.support.waiting import until

P256 = SigningAlgorithm.P256


@dataclass
class Phone:
    """A citizen with a key at the hub, and our side of it."""

    world: World
    clock: StillClock
    outbound: Outbound
    kept: SqlRemoteBooks
    credential: CredentialId
    keys: RemoteKeys
    hub: HubProvider

    def restarted(self) -> RemoteKeys:
        hub = provider(self.world, self.outbound, self.clock)
        return RemoteKeys(hub, self.kept, self.clock, new_id, poll=0.1)

    async def sign(self, keys: RemoteKeys | None = None) -> bytes:
        return await (keys or self.keys).sign(permit(self.credential, P256))


def provider(world: World, outbound: Outbound, clock: Clock, secret: str | None = None) -> HubProvider:
    partner = Partner(world.urls.hub, world.hub.partner, SecretStr(secret or world.hub.secret))
    return HubProvider(Hub(outbound, partner, clock, timeout=3), "ANTIN", clock)


@asynccontextmanager
async def phone(tmp_path: Path):
    clock = StillClock()
    async with World(tmp_path / "lab", clock=clock.now) as world, books(tmp_path) as kept:
        held = world.hub.enrol(citizen(1), world.pki)
        async with Outbound(allowed=[world.host_port]) as outbound:
            hub = provider(world, outbound, clock)
            keys = RemoteKeys(hub, kept, clock, new_id, poll=0.1)
            who = CredentialId(str(uuid.uuid4()))
            await keys.link(who, held.id, P256, spki(held))
            yield Phone(world, clock, outbound, kept, who, keys, hub)


def spki(held: Held) -> bytes:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    return held.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def test_the_citizen_approves_and_the_signature_holds(tmp_path):
    async with phone(tmp_path) as at:
        for keys in (at.keys, at.restarted(), at.restarted()):
            with pytest.raises(Unavailable, match="approval-pending"):
                await at.sign(keys)
        (shown,) = at.world.hub.waiting()
        await at.world.hub.approve(shown)
        assert await at.sign(at.restarted())
        assert at.world.hub.asked.count("signings/hash") == 1


async def test_the_citizen_refuses(tmp_path):
    """Status 3 of signings/polling."""
    async with phone(tmp_path) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        await at.world.hub.refuse(at.world.hub.waiting()[0])
        with pytest.raises(Refused, match="remote-signature-refused"):
            await at.sign()


async def test_after_300_seconds_it_is_too_late(tmp_path):
    async with phone(tmp_path) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        at.clock.pass_by(301)
        assert at.world.hub.waiting() == []
        with pytest.raises(Refused, match="remote-signature-expired"):
            await at.sign()


async def test_a_request_whose_answer_was_lost_finds_its_transaction_again(tmp_path):
    """crash-safety.md: reconcile by its id; the phone rings once."""
    async with phone(tmp_path) as at:
        start = at.hub.start

        async def lost(key, operation):
            await start(key, operation)
            raise Unavailable("lost", found="a crash", expected="an answer", remedy="none")

        at.hub.start = lost
        with pytest.raises(Unavailable, match="lost"):
            await at.sign()
        with pytest.raises(Unavailable, match="remote-signature-unanswered"):
            await at.sign(at.restarted())  # another process may be at it
        at.clock.pass_by(16)
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign(at.restarted())
        assert len(at.world.hub.waiting()) == 1


async def test_tokens_end_and_requests_are_signed(tmp_path):
    async with phone(tmp_path) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        at.world.hub._tokens.clear()
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        stranger = provider(at.world, at.outbound, at.clock, "another secret")
        keys = RemoteKeys(stranger, at.kept, at.clock, new_id)
        with pytest.raises(Unavailable, match="remote-provider-login"):
            await at.sign(keys)
        at.world.fault("hub", "down")
        with pytest.raises(Unavailable):
            await at.sign()


@pytest.mark.parametrize("kind", ["linked", "unlinked", "other"])
async def test_what_may_be_linked(tmp_path, kind):
    async with phone(tmp_path) as at:
        other = CredentialId(str(uuid.uuid4()))
        key = await at.kept.key(at.credential)
        assert key is not None
        match kind:
            case "linked":
                assert await at.keys.link(at.credential, key.remote, P256, key.public) == key.public
                assert await at.keys.create(at.credential, P256) == key.public
                with pytest.raises(Refused, match="remote-key-taken"):
                    await at.keys.link(other, key.remote, P256, key.public)
            case "unlinked":
                with pytest.raises(Refused, match="remote-key-unlinked"):
                    await at.keys.create(other, P256)
            case "other":
                with pytest.raises(Refused, match="key-algorithm"):
                    await at.keys.link(other, "another", SigningAlgorithm.P384, key.public)


def signed_webhook(hub: Any, kind: str, data: dict[str, Any]) -> tuple[bytes, str]:
    body = json.dumps({"id": 1, "type": kind, "attempt": 2, "data": data, "unheard": [1]}).encode()
    return body, "sha256=" + hmac.new(hub.secret.encode(), body, hashlib.sha256).hexdigest()


async def test_webhooks_are_believed_only_with_the_secret_and_their_signatures_only_when_they_hold(tmp_path):
    async with phone(tmp_path) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        (shown,) = at.world.hub.waiting()
        forged = {"handle": shown.handle, "status": 0, "signatures": [{"signatureValue": "AAAA"}]}
        body, signature = signed_webhook(at.world.hub, "SIGNHASH_WEBHOOK_RESULT", forged)
        with pytest.raises(Refused, match="webhook-signature"):
            at.hub.webhook(body, "sha256=00")
        with pytest.raises(Refused, match="webhook-signature"):
            at.hub.webhook(body, "sha256=\udcff")  # a header's octet that is no UTF-8
        deep = b"[" * 60_000
        with pytest.raises(Refused, match="webhook-unreadable"):
            at.hub.webhook(deep, "sha256=" + hmac.new(at.world.hub.secret.encode(), deep, "sha256").hexdigest())
        told = at.hub.webhook(body, signature)
        assert told is not None
        with pytest.raises(Unavailable, match="remote-signature-invalid"):
            await at.keys.told(id=told.id, handle=told.handle, answer=told.answer)
        body, signature = signed_webhook(at.world.hub, "SOMETHING_NEW", {})
        assert at.hub.webhook(body, signature) is None
        await at.world.hub.approve(shown)
        assert await at.sign()


# --- the service


def hub_settings(world: World) -> dict[str, Any]:
    return {
        "keys": "hub",
        "hub_url": world.urls.hub,
        "hub_partner": world.hub.partner,
        "hub_secret_file": world.hub_secret_file,
        "hub_originator": "ANTIN",
        "remote_poll": 0.2,
    }


@asynccontextmanager
async def house(outside, world: World, tmp_path: Path):
    """The signer with keys at the hub of the lab; certificates are those of the lab's CA."""
    (tmp_path / "anchors").mkdir(exist_ok=True)
    (tmp_path / "anchors" / "lab.pem").write_text(world.pki.root.pem)
    platform = signer_house.a_platform(outside, tmp_path)
    platform.outbound = Outbound(allowed=[outside.base.removeprefix("http://"), world.host_port])
    service = build(platform, signer_house.the_settings(outside, tmp_path, **hub_settings(world)))
    ring = Keyring([ApiKey(name="bridge", sha256=digest_of(signer_house.KEY), scopes=("credentials:write",))])
    async with running(platform, [service], keyring=ring) as url:
        yield signer_house.House(outside, platform, url)


async def linked(at, held: Held) -> CertificateBound:
    """The registration side links the hub's key and the binding is told."""
    credential = CredentialId(str(uuid.uuid4()))
    body = {"remote": held.id, "certificate": held.certificate, "key_algorithm": "p-256"}
    headers = {"Authorization": f"Bearer {signer_house.KEY}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(f"{at.url}/v1/credentials/{credential}/remote", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
    leaf = x509.load_pem_x509_certificate(held.certificate.encode())
    chain = "".join((held.certificate, *held.chain)).encode()
    bound = CertificateBound(
        identity=signer_house.BUYER,
        application=signer_house.APPLICATION,
        credential=credential,
        certificate=Digest.of(leaf.public_bytes(Encoding.DER)),
        chain=await at.platform.blobs.keep(chain),
        profile=CertificateProfile.NATURAL,
        key_algorithm=KeyAlgorithm.P256,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        confirmed_at=signer_house.NOW,
    )
    await at.say(bound)
    return bound


@pytest.fixture
async def outside():
    world = Outside()
    runner = await world.start()
    yield world
    await runner.cleanup()


@pytest.mark.parametrize("webhook", [False, True])
async def test_a_document_waits_for_the_phone_over_a_restart_and_is_signed_once(outside, tmp_path, webhook):
    async with World(tmp_path / "lab") as world:
        held = world.hub.enrol(citizen(1), world.pki)

        async def rings() -> bool:
            return bool(world.hub.waiting())

        async with house(outside, world, tmp_path) as at:
            bound = await linked(at, held)
            await at.ask(bound, pdfs.minimal())
            await until(rings, what="the request on the phone")
        (shown,) = world.hub.waiting()
        async with house(outside, world, tmp_path) as at:
            if webhook:
                world.hub.webhook = f"{at.url}/v1/remote/hub"
            await asyncio.sleep(0.5)
            assert world.hub.waiting() == [shown]  # the restart has not asked again
            assert await at.quiet(0.1) == []
            await world.hub.approve(shown)
            (fact,) = await at.facts(1)
            assert isinstance(fact, DocumentSigned)
            signed = await at.platform.blobs.fetch(fact.signed)
        assert signed.startswith(pdfs.minimal())
        assert world.hub.asked.count("signings/hash") == 1


async def test_waiting_for_the_phone_costs_no_status_check_at_each_look(outside, tmp_path):
    async with World(tmp_path / "lab") as world:
        held = world.hub.enrol(citizen(1), world.pki)
        calls = []
        ocsp = world.pki.ocsp
        world.pki.ocsp = lambda *a, **k: calls.append(1) or ocsp(*a, **k)

        async def looked() -> bool:
            return world.hub.asked.count("signings/polling") >= 4

        async with house(outside, world, tmp_path) as at:
            await at.ask(await linked(at, held), pdfs.minimal())
            await until(looked, what="four looks")
            before = len(calls)
            assert before == 2  # the signer's and the issuer's, at the first try
            await world.hub.approve(world.hub.waiting()[0])
            await at.facts(1)
            assert len(calls) > before  # S1: the status is fresh when the signature is released


async def test_a_refusal_on_the_phone_is_said(outside, tmp_path):
    async with World(tmp_path / "lab") as world:
        held = world.hub.enrol(citizen(1), world.pki)

        async def rings() -> bool:
            return bool(world.hub.waiting())

        async with house(outside, world, tmp_path) as at:
            await at.ask(await linked(at, held), pdfs.minimal())
            await until(rings, what="the request on the phone")
            await world.hub.refuse(world.hub.waiting()[0])
            (fact,) = await at.facts(1)
            assert isinstance(fact, SigningRefused)
            assert fact.reason == "remote-signature-refused"


async def test_a_certificate_that_cannot_be_read_is_not_linked(outside, tmp_path):
    """RFC 5280 clauses 4.1.2.1, 4.1.2.4, 4.1.2.5: the sender hears what was expected, and nothing breaks here."""
    good = pki.issue("Somebody").der
    headers = {"Authorization": f"Bearer {signer_house.KEY}"}
    async with (
        World(tmp_path / "lab") as world,
        house(outside, world, tmp_path) as at,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        for change in (WHOLLY | KEYED).values():
            body = {"remote": "some-key", "certificate": as_pem(change(good)), "key_algorithm": "p-256"}
            url = f"{at.url}/v1/credentials/{uuid.uuid4()}/remote"
            async with session.put(url, json=body) as answer:
                assert answer.status == 400, await answer.text()
                assert (await answer.json())["type"].endswith("remote-link-unreadable")


async def test_a_webhook_from_a_stranger_is_turned_away(outside, tmp_path):
    async with (
        World(tmp_path / "lab") as world,
        house(outside, world, tmp_path) as at,
        aiohttp.ClientSession() as session,
    ):
        for headers in ({}, {"X-Webhook-Signature": "sha256=" + "0" * 64}):
            async with session.post(f"{at.url}/v1/remote/hub", json={"id": 1}, headers=headers) as answer:
                assert answer.status == 401
