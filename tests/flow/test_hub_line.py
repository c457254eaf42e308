"""The whole line with the citizen's own key at the national hub: found, bound, approved on the phone, signed, told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cli.composition import free_port
from lab.people import citizen, firm
from tests.support import pdfs
from tests.support.house import House, Signatory, house
from tests.support.judges import passes_at_pyhanko
from tests.support.waiting import until


@asynccontextmanager
async def at_the_hub(folder: Path) -> AsyncIterator[House]:
    """The house, with keys and certificates at the toy world's hub."""
    port = free_port()
    (folder / "lab-port").write_text(str(port))  # the house keeps to it
    secret = str(folder / "lab" / "hub-secret")
    environment = {
        "ANTIN_SIGNER__KEYS": "hub",
        "ANTIN_SIGNER__HUB_URL": f"http://127.0.0.1:{port}/hub",
        "ANTIN_SIGNER__HUB_PARTNER": "ANTIN-LAB",
        "ANTIN_SIGNER__HUB_SECRET_FILE": secret,
        "ANTIN_SIGNER__HUB_ORIGINATOR": "ANTIN",
        "ANTIN_SIGNER__REMOTE_POLL": "0.2",
        "ANTIN_CA_BRIDGE__CERTIFICATES": "hub",
        "ANTIN_CA_BRIDGE__HUB_URL": f"http://127.0.0.1:{port}/hub",
        "ANTIN_CA_BRIDGE__HUB_PARTNER": "ANTIN-LAB",
        "ANTIN_CA_BRIDGE__HUB_SECRET_FILE": secret,
    }
    async with house(folder, environment) as at:
        at.world.hub.webhook = f"{at.running.url}/v1/remote/hub"
        yield at


async def shown_on_the_phone(at: House) -> None:
    async def shown() -> bool:
        return bool(at.world.hub.waiting())

    await until(shown, what="the phone to show what is to be signed", seconds=60)


async def approved(at: House) -> None:
    """The citizen approves what the phone shows."""
    await shown_on_the_phone(at)
    for signing in at.world.hub.waiting():
        await at.world.hub.approve(signing)


@pytest.mark.timeout(300)
async def test_a_contract_is_signed_by_the_citizens_key_at_the_hub(tmp_path: Path) -> None:
    """Circular 15/2025/TT-BKHCN Art 5 S2: the key is used in the provider's module, and the provider's CA certified it.

    Nothing of ours makes a key or asks a CA.
    """
    async with at_the_hub(tmp_path) as at:
        person = citizen(1)
        held = at.world.hub.enrol(person, at.world.pki)
        one = await at.citizen(1)
        (bound,) = await at.facts("CertificateBound", identity=one.identity)
        made = await at.send(pdfs.minimal(), [one])
        await at.approve(made["id"], "party-1", one)
        await approved(at)
        await at.said("ContractCompleted", contract=made["id"])
        signed = await at.client.fetch(f"/v1/contracts/{made['id']}/document")
        assert await passes_at_pyhanko(signed, at.world.pki.root.der) == 1
        (said,) = await at.facts("DocumentSigned", contract=made["id"])
        assert (said.credential, said.certificate) == (bound.credential, bound.certificate)
        assert await at.facts("SignatureVerified", contract=made["id"])

        completed = next(event.id for event in await at.events() if event.fact.name() == "ContractCompleted")

        async def told() -> bool:
            return str(completed) in {message.event["id"] for message in at.receiver.messages.values()}

        await until(told, what="the subscriber to be told", seconds=60)
        assert at.world.hub.asked.count("signings/hash") == 1
        assert at.world.hub.asked.count("certificates/list") == 1
        assert list((tmp_path / "data" / "keys").iterdir()) == []
        assert held.id not in str(await at.events())
    for file in (tmp_path / "data").glob("antin.db*"):
        assert person.number.encode() not in file.read_bytes()


@pytest.mark.timeout(300)
async def test_who_refuses_on_the_phone_has_not_signed(tmp_path: Path) -> None:
    async with at_the_hub(tmp_path) as at:
        at.world.hub.enrol(citizen(1), at.world.pki)
        one = await at.citizen(1)
        made = await at.send(pdfs.minimal(), [one])
        await at.approve(made["id"], "party-1", one)
        await shown_on_the_phone(at)
        await at.world.hub.refuse(at.world.hub.waiting()[0])
        (refused,) = await at.said("SigningRefused", contract=made["id"])
        assert refused.reason == "remote-signature-refused"
        assert await at.facts("DocumentSigned", contract=made["id"]) == []


@pytest.mark.timeout(300)
async def test_without_a_certificate_at_the_hub_the_application_says_what_to_do(tmp_path: Path) -> None:
    """And once a provider has issued one, a new application finds it; the other person's is never taken."""
    async with at_the_hub(tmp_path) as at:
        at.world.hub.enrol(citizen(2), at.world.pki)  # somebody else's
        subject = at.world.verify_citizen(citizen(1))
        (refused,) = await at.said("ApplicationRefused", identity=subject)
        assert refused.reason == "hub-no-certificate"
        assert "provider behind the hub" in refused.remedy
        at.world.hub.enrol(citizen(1), at.world.pki)
        await at.client.post("/v1/applications", {"identity": subject})
        await at._bound(Signatory(subject, subject))


@pytest.mark.timeout(300)
async def test_a_certificate_is_bound_once_and_firms_are_not_at_the_hub(tmp_path: Path) -> None:
    """Decree 23/2025/ND-CP Art 38: one key, one certificate, one application."""
    async with at_the_hub(tmp_path) as at:
        at.world.hub.enrol(citizen(1), at.world.pki)
        one = await at.citizen(1)
        await at.client.post("/v1/applications", {"identity": one.identity})
        (refused,) = await at.said("ApplicationRefused", identity=one.identity)
        assert refused.reason == "hub-no-certificate"
        assert "outside-remote-key-taken" in refused.found
        at.world.hub.enrol(citizen(1), at.world.pki)
        await at.client.post("/v1/applications", {"identity": one.identity})
        await at.said("CertificateIssued", 2, identity=one.identity)
        seal = at.world.verify_organisation(firm(0), one.identity)
        (no_seal,) = await at.said("ApplicationRefused", identity=seal)
        assert no_seal.reason == "hub-citizens-only"
