"""Identity to binding over real HTTP: the lab's authority, CA and registry, the signer's key store, SQLite."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import rfc8785
from aiokafka import AIOKafkaProducer
from cryptography import x509

from cli.installation import Installation
from events.errors import Unavailable
from events.fact import Fact
from events.flow import AUTHORITY
from events.kafka import Broker, KafkaBus, KafkaSpeaker, apply_topics
from events.values import Digest
from lab.people import citizen, everything_private, firm
from lab.world import World
from services.ca_bridge import wiring as ca_bridge
from services.ca_bridge.adapters import store
from services.ca_bridge.settings import CaBridgeSettings
from services.runtime import migrate
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, Service, running
from services.runtime.relay import Relay
from services.runtime.shelf import SqlShelf
from services.signer import wiring as signer
from services.signer.settings import SignerSettings
from tests.support.waiting import until
from tools.real.child import free_port


@dataclass
class Bridge:
    """A running bridge with its key store, and the world outside."""

    url: str
    world: World
    platform: Platform
    session: aiohttp.ClientSession
    key: str

    async def facts(self, kind: str | None = None) -> list[Fact]:
        found = await self.platform.outbox.read([f"antin.{f}.v1" for f in ("identity", "binding")], 0, 10_000)
        facts = [delivery.event().fact for delivery in found]
        return [fact for fact in facts if kind is None or fact.name() == kind]

    async def said(self, kind: str, count: int = 1) -> list[Any]:
        await until(lambda: self._count(kind, count), what=f"{count} x {kind}")
        return await self.facts(kind)

    async def _count(self, kind: str, count: int) -> bool:
        return len(await self.facts(kind)) >= count

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"} | headers
        async with self.session.post(self.url + path, data=data, headers=sent) as reply:
            return reply.status, await reply.json()

    async def event(self, event: dict[str, Any] | bytes) -> tuple[int, str]:
        raw = event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/cloudevents+json"}
        async with self.session.post(f"{self.url}/v1/identity-events", data=raw, headers=headers) as reply:
            text = await reply.json()
            return reply.status, text.get("status") if reply.status < 300 else text["type"].rpartition(":")[2]

    async def refused(self) -> list[str]:
        """Why events were refused, newest first."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with self.session.get(f"{self.url}/v1/identity-events/refused", headers=headers) as reply:
            return [row["code"] for row in (await reply.json())["refused"]]

    async def bound(self, subject: str, *, by: str | None = None) -> Any:
        """Wait for the certificate and confirm it."""
        await until(lambda: self._has(subject), what="a certificate to confirm")
        issued = [f for f in await self.facts("CertificateIssued") if f.identity == subject][-1]
        activation = self.world.step_up(
            by or subject,
            "confirm-certificate",
            str(issued.certificate),
            str(issued.application),
            act_for=subject if by else None,
        )
        status, body = await self.post(f"/v1/applications/{issued.application}/confirm", {"activation": activation})
        assert status == 200, body
        return issued

    async def _has(self, subject: str) -> bool:
        return any(f.identity == subject for f in await self.facts("CertificateIssued"))


@asynccontextmanager
async def bridging(
    folder: Path, *, database: str | None = None, broker: Broker | None = None, **settings: Any
) -> AsyncIterator[Bridge]:
    """A bridge in `folder`: on SQLite and the embedded bus, or on this database and this broker."""
    settings = {"redelivery": 3600.0, "timeout": 1.0} | settings
    installation = Installation.at(folder / "installation")
    port = free_port()
    async with World(folder / "lab") as world:
        platform = Platform(
            Database(database or f"sqlite+aiosqlite:///{installation.folder / 'antin.db'}"),
            Blobs.at(folder / "blobs"),
            Outbound(allowed=(world.host_port, f"127.0.0.1:{port}")),
        )
        services = [
            ca_bridge.build(
                platform,
                CaBridgeSettings(
                    authority=world.urls.authority,
                    jwks=world.urls.jwks,
                    identity_key_file=installation.secrets / "identity-key.jwk",
                    ca=world.urls.ca,
                    ra_token_file=world.ra_token_file,
                    registry=world.urls.registry,
                    signer=f"http://127.0.0.1:{port}",
                    service_key_file=installation.secrets / "service-key",
                    anchors=world.anchors,
                    **settings,
                ),
            ),
            signer.build(
                platform,
                SignerSettings(
                    key_folder=installation.keys,
                    passphrase_file=installation.secrets / "keystore-passphrase",
                    anchors=world.anchors,
                    tsa=world.urls.tsa,
                    authority=world.urls.authority,
                ),
            ),
        ]
        bus = None
        if broker is not None:
            bus = KafkaBus(broker, SqlShelf(platform.database, platform.outbox, platform.clock), platform.clock.now)
            relay = Relay(platform.database, platform.news, KafkaSpeaker(broker))
            services.append(Service("relay", loops={"relay": relay.run}))
        async with (
            running(platform, services, keyring=installation.keyring(), port=port, alone=bus is None, bus=bus) as url,
            aiohttp.ClientSession() as session,
        ):
            world.connect(url, installation.recipient_jwk())
            yield Bridge(url, world, platform, session, installation.api_key)


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path) as found:
        yield found


async def test_a_verified_citizen_and_firm_get_certificates_after_they_confirm(bridge: Bridge) -> None:
    """Decree 23/2025/ND-CP Art 38: published after the subscriber confirms; Art 34: a firm acts by a representative."""
    ann = bridge.world.verify_citizen(citizen(1))
    await bridge.bound(ann)
    seal = bridge.world.verify_organisation(firm(0), ann)
    await bridge.bound(seal, by=ann)
    bound = await bridge.said("CertificateBound", 2)
    assert [fact.representative for fact in bound] == [None, ann]
    assert bound[0].profile == "natural"
    assert bound[1].profile == "organisation"
    chain = await bridge.platform.blobs.fetch(bound[0].chain)
    assert chain.count(b"BEGIN CERTIFICATE") == 3


async def test_nothing_personal_stands_in_any_fact_log_or_table(
    bridge: Bridge, capfd: pytest.CaptureFixture[str]
) -> None:
    """Law 91/2025/QH15: numbers and names stay out of events, logs and tables."""
    ann = bridge.world.verify_citizen(citizen(1))
    await bridge.bound(ann)
    private = everything_private([citizen(1)])
    told = "".join(capfd.readouterr())
    async with bridge.platform.database.read() as conn:
        for table in store.metadata.sorted_tables:
            told += repr([tuple(row) for row in await conn.execute(table.select())])
    assert not [secret for secret in private if secret in told]
    for delivery in await bridge.platform.outbox.read([f"antin.{f}.v1" for f in ("identity", "binding")], 0, 1000):
        text = delivery.body.decode()
        assert not [secret for secret in private if secret in text]


async def test_unsigned_tampered_and_foreign_events_are_refused_and_kept(bridge: Bridge) -> None:
    bridge.world.authority.intake = None
    good = bridge.world.authority.verify_citizen(citizen(2).number, citizen(2).full_name)
    unsigned = {name: value for name, value in good.items() if name != "proof"}
    tampered = good | {"data": good["data"] | {"account_level": 1}}
    assert await bridge.event(unsigned) == (401, "identity-unsigned")
    assert await bridge.event(tampered) == (401, "signature-of-authority-invalid")
    assert await bridge.event(b"not json") == (400, "identity-unreadable")
    assert await bridge.event(good) == (202, "accepted")
    assert await bridge.event(good) == (200, "already accepted")
    assert await bridge.refused() == ["identity-unreadable", "signature-of-authority-invalid", "identity-unsigned"]
    assert len(await bridge.facts("IdentityVerified")) == 1


@pytest.mark.real
async def test_events_on_the_authoritys_topic_are_judged_as_over_http(
    tmp_path: Path, real_kafka: Any, real_postgres: Any
) -> None:
    """The second door: what is signed is applied once, also when it is said twice; what is not is refused and kept."""
    broker = Broker(real_kafka.bootstrap)
    await apply_topics(broker)
    database = real_postgres.create(f"t{uuid.uuid4().hex[:12]}")
    async with bridging(tmp_path, database=database, broker=broker) as bridge:
        authority = bridge.world.authority
        authority.intake = None
        good = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
        subject = good["subject"]
        unsigned = {name: value for name, value in good.items() if name != "proof"}
        tampered = good | {"data": good["data"] | {"account_level": 1}}
        producer = AIOKafkaProducer(**broker.connection())
        await producer.start()

        async def put(event: dict[str, Any] | bytes) -> None:
            raw = event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()
            await producer.send_and_wait(AUTHORITY, raw, key=subject.encode())

        try:
            for event in (unsigned, tampered, b"\xff not json", b"{" * 100_000, good, good):
                await put(event)
            await bridge.bound(subject)
            await bridge.said("CertificateBound")
            await put(authority.lock(subject))
            await bridge.said("IdentityLocked")
        finally:
            await producer.stop()
        assert await bridge.refused() == [
            "identity-unreadable",
            "identity-unreadable",
            "signature-of-authority-invalid",
            "identity-unsigned",
        ]
        assert len(await bridge.facts("IdentityVerified")) == 1
        assert await bridge.event(good) == (200, "already accepted")


async def test_order_gaps_staleness_and_replay(bridge: Bridge) -> None:
    """ADR 5: what takes rights away is applied in spite of a gap; what gives waits; what is late never revives."""
    authority = bridge.world.authority
    authority.intake = None
    first = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
    subject = first["subject"]
    second = authority.lock(subject)
    third = authority.unlock(subject)
    fourth = authority.end(subject)
    fifth = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
    assert await bridge.event(third) == (409, "identity-out-of-order")
    assert await bridge.event(first) == (202, "accepted")
    assert await bridge.event(fourth) == (202, "accepted")
    assert await bridge.event(second) == (202, "accepted")
    assert await bridge.event(third) == (409, "identity-ended")
    assert await bridge.event(third) == (409, "identity-late-or-replayed")
    assert await bridge.event(fifth) == (409, "identity-ended")
    assert [fact.name() for fact in await bridge.facts() if fact.name().startswith("Identity")] == [
        "IdentityVerified",
        "IdentityEnded",
        "IdentityLocked",
    ]


async def test_a_stale_verification_is_refused_and_holds_nothing_back(bridge: Bridge) -> None:
    """vietnam.md 3.4: applications older than N minutes are refused; what follows is still heard."""
    authority = bridge.world.authority
    authority.intake = None
    old = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
    lock = authority.lock(old["subject"])
    stale = {name: value for name, value in old.items() if name != "proof"} | {"time": "2020-01-01T00:00:00.000Z"}
    stale["proof"] = authority._detached(rfc8785.dumps(stale))
    assert await bridge.event(stale) == (422, "identity-stale")
    assert await bridge.event(lock) == (202, "accepted")
    again = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
    assert await bridge.event(again) == (202, "accepted")


async def test_missing_events_are_fetched_from_the_authority(tmp_path: Path) -> None:
    """vietnam.md 3.5: a missing sequence is an alarm and a replay from the authority."""
    async with bridging(tmp_path, redelivery=0.2) as bridge:
        authority = bridge.world.authority
        authority.intake = None
        first = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
        authority.lock(first["subject"])
        third = authority.unlock(first["subject"])
        assert await bridge.event(third) == (409, "identity-out-of-order")
        await bridge.said("IdentityUnlocked")
        authority.update_citizen(first["subject"], citizen(4).full_name)
        locked = authority.lock(first["subject"])
        assert await bridge.event(locked) == (202, "accepted")
        await bridge.said("IdentityUpdated")
        names = [fact.name() for fact in await bridge.facts() if fact.name().startswith("Identity")]
        assert names == [
            "IdentityVerified",
            "IdentityLocked",
            "IdentityUnlocked",
            "IdentityLocked",
            "IdentityUpdated",
        ]


async def test_too_low_a_level_and_no_consent_give_no_certificate(bridge: Bridge) -> None:
    """vietnam.md 3.2: apply at account level 2 and authentication level 3."""
    bridge.world.verify_citizen(citizen(4), auth_level=2)
    refused = await bridge.said("ApplicationRefused")
    assert refused[0].reason == "identity-level-too-low"
    bridge.world.verify_citizen(citizen(5), consent=False)
    await bridge.said("IdentityVerified", 2)
    await asyncio.sleep(0.3)
    assert len(await bridge.facts("ApplicationOpened")) == 0


async def test_a_firm_whose_representative_the_registry_does_not_confirm_is_refused(bridge: Bridge) -> None:
    ann, ben = bridge.world.verify_citizen(citizen(1)), bridge.world.verify_citizen(citizen(2))
    await bridge.said("IdentityVerified", 2)
    bridge.world.registry.enter(firm(1).tax_code, firm(1).name, ben, bridge.platform.clock.now())
    bridge.world.authority.verify_organisation(firm(1).tax_code, firm(1).name, ann)
    refused = await bridge.said("ApplicationRefused")
    assert refused[0].reason == "identity-representative-not-confirmed"


async def test_lock_suspends_unlock_releases_and_end_revokes_for_good(bridge: Bridge) -> None:
    """RFC 5280 clause 5.3.1: certificateHold may be lifted, cessationOfOperation may not."""
    ann = bridge.world.verify_citizen(citizen(1))
    await bridge.bound(ann)
    seal = bridge.world.verify_organisation(firm(0), ann)
    await bridge.bound(seal, by=ann)
    serials = [await _serial(bridge, fact.certificate) for fact in await bridge.said("CertificateBound", 2)]

    bridge.world.authority.lock(ann)
    suspended = await bridge.said("CertificateSuspended", 2)
    assert {fact.identity for fact in suspended} == {ann, seal}
    await _at_ca(bridge, serials, "suspended")

    bridge.world.authority.unlock(ann)
    await bridge.said("CertificateReleased", 2)
    await _at_ca(bridge, serials, "good")

    bridge.world.authority.end(ann)
    revoked = await bridge.said("CertificateRevoked")
    assert [fact.identity for fact in revoked] == [ann]
    await _at_ca(bridge, serials[:1], "revoked")
    await _at_ca(bridge, serials[1:], "suspended")
    bridge.world.authority.verify_citizen(citizen(1).number, citizen(1).full_name)
    await asyncio.sleep(0.5)
    assert len(await bridge.facts("CertificateReleased")) == 2


async def test_a_new_representative_lifts_the_seals_hold_after_the_registry_confirms(bridge: Bridge) -> None:
    ann, ben = bridge.world.verify_citizen(citizen(1)), bridge.world.verify_citizen(citizen(2))
    seal = bridge.world.verify_organisation(firm(0), ann)
    await bridge.bound(seal, by=ann)
    bridge.world.authority.change_representative(seal, ben)
    assert (await bridge.said("CertificateSuspended"))[0].reason == "representative-changed"
    bridge.world.verify_organisation(firm(0), ben)
    released = await bridge.said("CertificateReleased")
    assert released[0].representative == ben


@pytest.mark.parametrize("part", ["ca", "registry"])
@pytest.mark.parametrize("fault", ["down", "nonsense", "slow"])
async def test_an_outside_that_fails_delays_and_loses_nothing(bridge: Bridge, part: str, fault: str) -> None:
    bridge.world.fault(part, fault)
    ann = bridge.world.verify_citizen(citizen(1))
    seal = bridge.world.verify_organisation(firm(0), ann)
    await bridge.said("ApplicationOpened", 2)
    await asyncio.sleep(1.2)
    assert not [fact for fact in await bridge.facts("CertificateIssued") if fact.identity == seal]
    assert not await bridge.facts("ApplicationRefused")
    bridge.world.fault(part, None)
    await bridge.said("CertificateIssued", 2)


async def test_an_activation_confirms_only_what_it_was_given_for_and_once(bridge: Bridge) -> None:
    ann, ben = bridge.world.verify_citizen(citizen(1)), bridge.world.verify_citizen(citizen(2))
    first, second = await bridge.said("CertificateIssued", 2)
    mine = first if first.identity == ann else second
    place = f"/v1/applications/{mine.application}/confirm"

    async def code(subject: str, digest: str, txn: str, purpose: str = "confirm-certificate", level: int = 3) -> str:
        token = bridge.world.step_up(subject, purpose, digest, txn, auth_level=level)
        status, body = await bridge.post(place, {"activation": token})
        assert status >= 400
        return str(body["type"]).rpartition(":")[2]

    right, txn = str(mine.certificate), str(mine.application)
    assert await code(ben, right, txn) == "activation-not-yours"
    assert await code(ann, str(Digest.of(b"other")), txn) == "activation-digest-mismatch"
    assert await code(ann, right, str(uuid.uuid4())) == "activation-transaction-mismatch"
    assert await code(ann, right, txn, purpose="sign") == "activation-purpose-mismatch"
    assert await code(ann, right, txn, level=2) == "activation-level-too-low"
    assert not await bridge.facts("CertificateBound")
    token = bridge.world.step_up(ann, "confirm-certificate", right, txn)
    assert (await bridge.post(place, {"activation": token}))[0] == 200
    status, body = await bridge.post(place, {"activation": token})
    assert (status, body["type"].rpartition(":")[2]) == (409, "application-state")


async def test_an_answer_of_the_ca_that_is_lost_costs_no_second_certificate(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decree 23/2025/ND-CP Art 38: one certificate for one key; a repeated call finds the first one's answer."""
    keep, lost = bridge.platform.blobs.keep, []

    async def lose_once(data: bytes) -> Digest:
        if data.startswith(b"-----BEGIN CERTIFICATE") and not lost:
            lost.append(data)
            raise Unavailable("blobs-unavailable", found="nothing", expected="a store", remedy="again")
        return await keep(data)

    monkeypatch.setattr(bridge.platform.blobs, "keep", lose_once)
    ann = bridge.world.verify_citizen(citizen(1))
    issued = await bridge.bound(ann)
    assert await keep(lost[0]) == (await bridge.said("CertificateBound"))[0].chain
    assert issued.certificate
    assert bridge.world.pki._books.execute("SELECT count(*) FROM certificates").fetchone() == (1,)


async def test_the_same_event_in_other_white_space_is_the_same(bridge: Bridge) -> None:
    authority = bridge.world.authority
    authority.intake = None
    first = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
    assert await bridge.event(first) == (202, "accepted")
    assert await bridge.event(json.dumps(first, indent=4).encode()) == (200, "already accepted")


async def test_a_transaction_counts_once_and_its_replay_holds_nothing_back(bridge: Bridge) -> None:
    """vietnam.md 3.4: transaction_id is replay protection."""
    authority = bridge.world.authority
    authority.intake = None
    first = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
    used = first["data"]["transaction_id"]
    again = authority.verify_citizen(citizen(3).number, citizen(3).full_name, transaction_id=used)
    third = authority.verify_citizen(citizen(3).number, citizen(3).full_name)
    assert await bridge.event(first) == (202, "accepted")
    assert await bridge.event(again) == (409, "identity-transaction-replayed")
    assert await bridge.event(third) == (202, "accepted")


async def test_a_corrected_name_gets_a_new_certificate_and_the_old_one_ends(bridge: Bridge) -> None:
    """vietnam.md 3.5: name corrected; RFC 5280 clause 5.3.1: superseded."""
    ann = bridge.world.verify_citizen(citizen(1))
    old = await bridge.bound(ann)
    bridge.world.authority.update_citizen(ann, citizen(2).full_name)
    await bridge.said("CertificateIssued", 2)
    await bridge.bound(ann)
    revoked = (await bridge.said("CertificateRevoked"))[0]
    assert (revoked.certificate, revoked.reason) == (old.certificate, "superseded")
    await _at_ca(bridge, [await _serial(bridge, old.certificate)], "revoked")
    bound = await bridge.said("CertificateBound", 2)
    chain = await bridge.platform.blobs.fetch(bound[1].chain)
    assert citizen(2).full_name in x509.load_pem_x509_certificate(chain).subject.rfc4514_string()


async def test_what_is_issued_but_not_confirmed_is_revoked_when_the_holder_dies(bridge: Bridge) -> None:
    ann = bridge.world.verify_citizen(citizen(1))
    issued = (await bridge.said("CertificateIssued"))[0]
    bridge.world.authority.end(ann)
    await bridge.said("CertificateRevoked")
    await _at_ca(bridge, [await _serial(bridge, issued.certificate)], "revoked")
    token = bridge.world.step_up(ann, "confirm-certificate", str(issued.certificate), str(issued.application))
    status, body = await bridge.post(f"/v1/applications/{issued.application}/confirm", {"activation": token})
    assert (status, body["type"].rpartition(":")[2]) == (409, "application-state")


async def test_a_revocation_reaches_a_ca_that_was_down(bridge: Bridge) -> None:
    """Decree 23/2025/ND-CP: published immediately; here at once, at the CA as soon as it answers."""
    ann = bridge.world.verify_citizen(citizen(1))
    issued = await bridge.bound(ann)
    bridge.world.fault("ca", "down")
    bridge.world.authority.lock(ann)
    await bridge.said("CertificateSuspended")
    bridge.world.authority.end(ann)
    await bridge.said("CertificateRevoked")
    serial = await _serial(bridge, issued.certificate)
    assert bridge.world.pki.status(serial)["status"] == "good"
    bridge.world.fault("ca", None)
    await _at_ca(bridge, [serial], "revoked")


async def test_a_dissolved_firm_loses_its_seal(bridge: Bridge) -> None:
    ann = bridge.world.verify_citizen(citizen(1))
    seal = bridge.world.verify_organisation(firm(0), ann)
    issued = await bridge.bound(seal, by=ann)
    bridge.world.authority.dissolve(seal, "bankrupt")
    revoked = (await bridge.said("CertificateRevoked"))[0]
    assert (revoked.identity, revoked.reason) == (seal, "cessation-of-operation")
    await _at_ca(bridge, [await _serial(bridge, issued.certificate)], "revoked")


async def test_applications_over_http(bridge: Bridge) -> None:
    """One at a time; unknown identities, unknown members and missing scopes are refused."""
    ann = bridge.world.verify_citizen(citizen(1))
    await bridge.bound(ann)
    status, body = await bridge.post("/v1/applications", {"identity": ann, "key_algorithm": "rsa-3072-pss"})
    assert (status, body["state"], body["key_algorithm"]) == (201, "opened", "rsa-3072-pss")
    status, body = await bridge.post("/v1/applications", {"identity": ann})
    assert (status, body["type"].rpartition(":")[2]) == (409, "application-pending")
    status, body = await bridge.post("/v1/applications", {"identity": "a" * 52})
    assert (status, body["type"].rpartition(":")[2]) == (404, "identity-unknown")
    status, _ = await bridge.post("/v1/applications", {"identity": ann, "surprise": 1})
    assert status == 422
    status, _ = await bridge.post("/v1/applications", {"identity": ann}, Authorization="Bearer nobody")
    assert status == 401


async def test_the_tables_are_those_of_the_model(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    await migrate.upgrade(database, [store.schema])
    assert await migrate.differences(database, store.schema) == []
    await database.close()


async def _serial(bridge: Bridge, certificate: Digest) -> str:
    async with bridge.platform.database.read() as conn:
        found = await store.SqlCertificates(conn).get(certificate)
    assert found is not None
    return found.serial


async def _at_ca(bridge: Bridge, serials: list[str], status: str) -> None:
    async def there() -> bool:
        return all(bridge.world.pki.status(serial)["status"] == status for serial in serials)

    await until(there, what=f"the CA to say {status}")
