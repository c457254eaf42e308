"""The signer as a service on the real runtime: what it hears, what it says, and what a crash changes (nothing)."""

from __future__ import annotations

import asyncio
import sys
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_house import BUYER, FIRM, KEY, SELLER, house
from signer_world import NOW, World

from events.binding import CertificateReleased, CertificateRevoked, CertificateSuspended
from events.errors import Malformed, Unavailable
from events.signing import DocumentSigned, SigningRefused
from events.values import (
    BaselineLevel,
    CertificateProfile,
    Code,
    ContractId,
    Digest,
    KeyAlgorithm,
    Slot,
)
from services.runtime import migrate
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.settings import from_environment
from services.signer.adapters import store
from services.signer.adapters.pades_writer import EitherWriter
from services.signer.settings import SignerSettings


async def test_the_tables_are_those_of_the_migrations(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'antin.db'}")
    await migrate.upgrade(database, [store.schema])
    assert await migrate.differences(database, store.schema) == []
    await database.close()


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
async def test_a_requested_slot_is_signed_and_said(world, tmp_path, algorithm):
    async with house(world, tmp_path) as at:
        bound = await at.bind(algorithm=algorithm)
        request = await at.ask(bound, pdfs.minimal())
        (fact,) = await at.facts(1)
        assert isinstance(fact, DocumentSigned)
        assert (fact.base, fact.shown, fact.level) == (request.base, request.shown, BaselineLevel.LTA)
        signed = await at.platform.blobs.fetch(fact.signed)
        assert signed.startswith(pdfs.minimal())
        assert b'"standing": "good"' in await at.platform.blobs.fetch(fact.checked)


async def test_the_service_keeps_its_keys_in_a_module(world, tmp_path, soft_token):
    chosen = {
        "keys": "pkcs11",
        "pkcs11_module": soft_token.module,
        "pkcs11_token": soft_token.label,
        "pkcs11_pin_file": soft_token.pin_file,
    }
    async with house(world, tmp_path, **chosen) as at:
        bound = await at.bind(algorithm=KeyAlgorithm.P256)
        await at.ask(bound, pdfs.minimal())
        (fact,) = await at.facts(1)
        assert isinstance(fact, DocumentSigned)
        assert not (tmp_path / "keys").exists()


def test_settings_that_lack_something_say_what(tmp_path):
    given = {"anchors": tmp_path, "tsa": "http://tsa.example", "authority": "http://authority.example"}
    with pytest.raises(Malformed) as found:
        from_environment(SignerSettings, "signer", {"ANTIN_SIGNER__KEYS": "pkcs11"}, **given)
    for missing in ("PKCS11_MODULE", "PKCS11_TOKEN", "PKCS11_PIN_FILE"):
        assert f"ANTIN_SIGNER__{missing}" in str(found.value)


async def test_the_next_party_signs_over_the_first_though_it_saw_the_bare_text(world, tmp_path):
    async with house(world, tmp_path) as at:
        buyer, seller = await at.bind(BUYER), await at.bind(SELLER)
        first = await at.ask(buyer, pdfs.minimal())
        (fact,) = await at.facts(1)
        once = await at.platform.blobs.fetch(fact.signed)
        await at.ask(seller, once, slot="seller", index=1, shown=pdfs.minimal(), contract=first.contract)
        second = (await at.facts(2))[1]
        assert isinstance(second, DocumentSigned)
        assert (await at.platform.blobs.fetch(second.signed)).startswith(once)


async def test_an_organisations_seal_is_activated_by_its_representative_alone(world, tmp_path):
    async with house(world, tmp_path) as at:
        seal = await at.bind(FIRM, profile=CertificateProfile.ORGANISATION, representative=BUYER)
        await at.ask(seal, pdfs.minimal(), subject=BUYER, act_for=FIRM)
        await at.ask(seal, pdfs.minimal(), subject=SELLER, act_for=FIRM)
        found = {type(fact): fact for fact in await at.facts(2)}
        assert DocumentSigned in found
        assert found[SigningRefused].reason == "activation-representative"


REFUSALS = {
    "activation-digest": {"digest": Digest.of(b"something else")},
    "activation-holder": {"sub": SELLER},
    "activation-purpose": {"purpose": "decline"},
    "activation-transaction": {"txn": f"{uuid.UUID(int=7)}/buyer"},
    "activation-level": {"auth_level": 1},
    "activation-expired": {"iat": int(NOW.timestamp()) - 900, "exp": int(NOW.timestamp()) - 700},
    "activation-invalid": {"iss": "https://elsewhere.example"},
}


@pytest.mark.parametrize(("code", "claims"), REFUSALS.items())
async def test_an_activation_that_does_not_fit_is_refused_once_and_for_all(world, tmp_path, code, claims):
    """Law 20/2023/QH15 Art 22; house habits 2 and 3."""
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        await at.ask(bound, pdfs.minimal(), **claims)
        (fact,) = await at.facts(1)
        assert isinstance(fact, SigningRefused)
        assert fact.reason == code
        assert await at.platform.blobs.published(f"{fact.contract}/buyer/{fact.base.hex}.pdf") is None


async def test_an_activation_signed_by_somebody_else_is_refused(world, tmp_path):
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        contract = ContractId(str(uuid.uuid4()))
        stranger = World()
        stranger.base = world.base
        token = stranger.activation(BUYER, Digest.of(pdfs.minimal()), contract, Slot("buyer"))
        await at.ask(bound, pdfs.minimal(), contract=contract, token=token)
        (fact,) = await at.facts(1)
        assert isinstance(fact, SigningRefused)
        assert fact.reason == "signature-of-authority-invalid"


async def test_one_activation_gives_one_signature(world, tmp_path):
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        contract = ContractId(str(uuid.uuid4()))
        token = world.activation(BUYER, Digest.of(pdfs.minimal()), contract, Slot("buyer"))
        request = await at.ask(bound, pdfs.minimal(), contract=contract, token=token)
        await at.facts(1)
        # The same request again, as another event: nothing more is said.
        await at.say(request)
        # The same activation over a base that begins alike: spent, and the slot is taken.
        await at.say(request.model_copy(update={"base": await at.platform.blobs.keep(pdfs.minimal() + b"\n")}))
        assert len(await at.quiet()) == 1


async def test_a_second_request_for_a_signed_slot_is_refused(world, tmp_path):
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        first = await at.ask(bound, pdfs.minimal())
        await at.ask(bound, pdfs.minimal(), contract=first.contract)
        found = await at.facts(2)
        assert [type(fact) for fact in found] == [DocumentSigned, SigningRefused]
        assert found[1].reason == "slot-already-signed"


async def test_bytes_that_do_not_begin_with_what_was_shown_are_not_signed(world, tmp_path):
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        await at.ask(bound, pdfs.minimal("Rent: 9000"), shown=pdfs.minimal("Rent: 900"))
        (fact,) = await at.facts(1)
        assert isinstance(fact, SigningRefused)
        assert fact.reason == "not-what-was-shown"


async def test_suspended_is_refused_released_signs_again_revoked_never(world, tmp_path):
    """vietnam.md 3.5: locked -> next signature refused; a late event never revives."""
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        told = {
            "identity": BUYER,
            "credential": bound.credential,
            "certificate": bound.certificate,
            "reason": Code("identity-locked"),
            "since": NOW,
        }

        async def state(wanted: str):
            async with asyncio.timeout(5):
                while True:
                    async with at.platform.database.read() as connection:
                        known = await store.find_credential(connection, bound.credential)
                    if known and known.state == wanted:
                        return
                    await asyncio.sleep(0.01)

        await at.say(CertificateSuspended(**told))
        await state("suspended")
        await at.ask(bound, pdfs.minimal())
        await at.facts(1)
        await at.say(CertificateReleased(**told))
        await state("bound")
        await at.ask(bound, pdfs.minimal())
        await at.facts(2)
        await at.say(CertificateRevoked(**told), CertificateReleased(**told), bound)
        await state("revoked")
        await at.ask(bound, pdfs.minimal())
        found = await at.facts(3)
        assert [getattr(fact, "reason", "signed") for fact in found] == [
            "certificate-suspended",
            "signed",
            "certificate-revoked",
        ]


async def test_the_ca_knows_of_a_suspension_before_the_bus_does(world, tmp_path):
    """S1 asks the CA itself: an event that is still under way cannot let a suspended certificate sign."""
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        chain = x509.load_pem_x509_certificates(await at.platform.blobs.fetch(bound.chain))
        world.revoked[chain[0].serial_number] = x509.ReasonFlags.certificate_hold
        await at.ask(bound, pdfs.minimal())
        (fact,) = await at.facts(1)
        assert isinstance(fact, SigningRefused)
        assert fact.reason == "certificate-suspended"


async def test_a_request_that_overtakes_its_binding_waits_for_it(world, tmp_path):
    async with house(world, tmp_path) as at:
        bound = await at.bind(say=False)
        await at.ask(bound, pdfs.minimal())
        assert await at.quiet() == []
        await at.say(bound)
        (fact,) = await at.facts(1)
        assert isinstance(fact, DocumentSigned)


@pytest.mark.parametrize("what", ["tsa_mode", "ocsp"])
async def test_an_outage_only_delays(world, tmp_path, what):
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        if what == "tsa_mode":
            world.tsa_mode = "down"
        else:
            world.ocsp_mode = world.crl_mode = "down"
        await at.ask(bound, pdfs.minimal())
        assert await at.quiet(1) == []
        world.tsa_mode = world.ocsp_mode = world.crl_mode = "ok"
        (fact,) = await at.facts(1)
        assert isinstance(fact, DocumentSigned)


class Crash(BaseException):
    """The process is gone."""


CRASHES = ["before the key", "after the key", "after the artefact", "before the finish"]


@pytest.mark.parametrize("point", CRASHES)
async def test_a_crash_anywhere_gives_the_same_outcome(world, tmp_path, monkeypatch, point):
    """crash-safety.md: at most one visible signature per slot, none lost, whatever dies when."""
    crashed = asyncio.Event()
    sign = EitherWriter.sign
    publish = Blobs.publish
    redeem = store.redeem
    signed: list[Digest] = []

    def once() -> bool:
        first = not crashed.is_set()
        crashed.set()
        return first

    async def gone() -> None:
        await asyncio.sleep(3600)

    async def broken_redeem(database, redemption):
        found = await redeem(database, redemption)
        if point == "before the key" and once():
            await gone()
        return found

    async def broken_sign(self, pdf, ordered, evidence):
        found = await sign(self, pdf, ordered, evidence)
        signed.append(found.digest)
        if point == "after the key" and once():
            await gone()
        return found

    async def broken_publish(self, wanted, data):
        found = await publish(self, wanted, data)
        if point == "after the artefact" and once():
            await gone()
        return found

    async def broken_note(self, *arguments: Any):
        if point == "before the finish" and once():
            raise Unavailable("crash", found="a crash", expected="none", remedy="none")
        await note(self, *arguments)

    note = store.SqlSlots.note_signed
    monkeypatch.setattr(store, "redeem", broken_redeem)
    monkeypatch.setattr(EitherWriter, "sign", broken_sign)
    monkeypatch.setattr(Blobs, "publish", broken_publish)
    monkeypatch.setattr(store.SqlSlots, "note_signed", broken_note)
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        await at.ask(bound, pdfs.minimal())
        async with asyncio.timeout(20):
            await crashed.wait()
    async with house(world, tmp_path) as at:
        (fact,) = await at.facts(1)
        assert isinstance(fact, DocumentSigned)
        assert len(await at.quiet(0.3)) == 1
        assert len(signed) == (2 if point == "after the key" else 1)
        assert fact.signed == signed[-1]


async def test_credentials_over_http(world, tmp_path):
    async with (
        house(world, tmp_path) as at,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
    ):
        credential = str(uuid.uuid4())
        body = {"credential": credential, "key_algorithm": "p-256", "challenge": "nonce-1"}
        async with session.post(f"{at.url}/v1/credentials", json=body) as answer:
            first = await answer.json()
        async with session.post(f"{at.url}/v1/credentials", json=body) as answer:
            second = await answer.json()
            assert answer.status == 201
        assert first["public_key"] == second["public_key"]
        assert x509.load_pem_x509_csr(first["csr"].encode()).is_signature_valid
        async with session.get(f"{at.url}/v1/credentials/{credential}") as answer:
            assert (await answer.json())["state"] == "key-made"
        async with session.post(f"{at.url}/v1/credentials", json=body | {"key_algorithm": "rsa-3072-pss"}) as answer:
            assert answer.status == 409
            assert (await answer.json())["type"].endswith("credential-exists")
        async with session.get(f"{at.url}/v1/credentials/{uuid.uuid4()}") as answer:
            assert answer.status == 404
        async with session.get(f"{at.url}/v1/credentials/nonsense") as answer:
            assert answer.status == 404
        async with session.post(
            f"{at.url}/v1/credentials", json=body, headers={"Authorization": "Bearer other"}
        ) as answer:
            assert answer.status == 401


async def test_nothing_personal_is_said(world, tmp_path):
    async with house(world, tmp_path) as at:
        bound = await at.bind()
        await at.ask(bound, pdfs.minimal())
        await at.facts(1)
        for delivery in await at.platform.outbox.read(["antin.signing.v1"], 0, 100):
            assert "Phương" not in delivery.body.decode()
            assert "BEGIN" not in delivery.body.decode()
