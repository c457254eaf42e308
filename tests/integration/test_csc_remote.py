"""The CSC API server over keys at a remote provider: while a person's approval is awaited, nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.signers.csc_signer import CSCServiceSessionInfo, CSCSigner, fetch_certs_in_csc_credential

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
import signer_house

from events.binding import CertificateBound
from events.values import Digest
from services.signer.adapters.csc_store import SqlBook
from services.signer.csc import signing
from services.signer.model import SigningAlgorithm
from services.verifier.engine import examine
from tests.integration.test_csc_server import APP, CLIENT, Caller, Phone, known, sign_hash
from tests.support import csc_provider
from tests.support.csc_provider import Provider, serving
from tests.support.remote import OIDS, ec_key, self_signed
from tests.support.waiting import until


def _file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


@asynccontextmanager
async def remote(world, tmp_path: Path, provider: Provider) -> AsyncIterator[tuple[Caller, CertificateBound]]:
    """The API over this provider, and a credential whose holder must approve each signature from now on."""
    for _ in range(2):
        key = ec_key()
        provider.offer(key, self_signed(key), OIDS[SigningAlgorithm.P256])
    settings: dict[str, Any] = {
        "keys": "csc",
        "provider_url": provider.url,
        "provider_client": csc_provider.CLIENT,
        "provider_secret_file": _file(tmp_path / "client-secret", csc_provider.SECRET),
        "provider_pin_file": _file(tmp_path / "pin", csc_provider.PIN),
        "remote_poll": 0.1,
    }
    place = provider.url.removeprefix("http://").partition("/")[0]
    async with (
        signer_house.house(world, tmp_path, place, csc_clients=(CLIENT, APP), **settings) as at,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(at, session)
        await caller.login()
        bound = await at.bind()
        await known(caller, bound)
        provider.asks = True
        yield caller, bound


async def polled(caller: Caller, response: str) -> tuple[int, Any]:
    url = f"{caller.at.url}/csc/v2/signatures/signPolling"
    headers = {"Authorization": f"Bearer {caller.token}"}
    async with caller.session.post(url, json={"responseID": response}, headers=headers) as answer:
        return answer.status, await answer.json()


async def answered(caller: Caller, response: str) -> tuple[int, Any]:
    found: list[tuple[int, Any]] = []

    async def there() -> bool:
        found[:] = [await polled(caller, response)]
        return found[0][0] != 202

    await until(there, what="an answer to signPolling", seconds=60)
    return found[0]


async def holds(caller: Caller, bound: CertificateBound, digest: Digest, signature: str) -> None:
    found = await caller.post("credentials/info", {"credentialID": bound.credential})
    key = x509.load_der_x509_certificate(base64.b64decode(found["cert"]["certificates"][0])).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(base64.b64decode(signature), digest.raw, ec.ECDSA(Prehashed(hashes.SHA256())))


def asked(provider: Provider) -> int:
    return provider.asked.count("credentials/authorize")


async def test_a_sad_is_not_lost_while_the_holder_has_not_approved_at_the_provider(world, tmp_path):
    """operationMode S: 503 with Retry-After; the same call with the same SAD goes on, and nobody is asked twice."""
    async with serving(Provider()) as provider, remote(world, tmp_path, provider) as (caller, bound):
        before = asked(provider)
        digests = [Digest.of(b"one"), Digest.of(b"two")]
        body = sign_hash(bound, (await caller.sad(bound, digests))["SAD"], digests)
        found = await caller.post("signatures/signHash", body, status=503)
        assert found["error"] == "temporarily_unavailable"
        assert "the SAD was not used: send the same request again" in found["error_description"]
        for _ in range(2):
            await caller.post("signatures/signHash", body, status=503)
        assert asked(provider) == before + 2  # both at once, each once
        provider.approved = True
        found = await caller.post("signatures/signHash", body)
        for digest, signature in zip(digests, found["signatures"], strict=True):
            await holds(caller, bound, digest, signature)
        assert asked(provider) == before + 2
        found = await caller.post("signatures/signHash", body, status=400)  # and now it is used
        assert "was used" in found["error_description"]


def dies_at(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The process dies once, right before it writes this step of an attempt; its lease is short."""

    write, died = getattr(SqlBook, step), []

    async def dies(book: SqlBook, *what: Any) -> Any:
        if not died:
            died.append(step)
            raise RuntimeError("the process died here")
        return await write(book, *what)

    monkeypatch.setattr(signing, "LEASE", timedelta(seconds=1))
    monkeypatch.setattr(SqlBook, step, dies)


async def goes_on(caller: Caller, body: dict[str, Any], status: int) -> dict[str, Any]:
    """Send the same request until the lease of the dead one is over; what is said then."""
    url, headers = f"{caller.at.url}/csc/v2/signatures/signHash", {"Authorization": f"Bearer {caller.token}"}
    found: dict[str, Any] = {}

    async def decided() -> bool:
        nonlocal found
        async with caller.session.post(url, json=body, headers=headers) as answer:
            found = await answer.json()
            if "a call with this SAD that has not ended" in str(found):
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                return False
            assert answer.status == status, found
            return True

    await until(decided, what="the end of the dead call's lease")
    return found


async def test_a_crash_before_the_sad_is_given_back_does_not_lose_it(world, tmp_path, monkeypatch):
    """The holder has been asked, the process dies: the same request goes on, and the holder is not asked twice."""
    async with serving(Provider()) as provider, remote(world, tmp_path, provider) as (caller, bound):
        before = asked(provider)
        digests = [Digest.of(b"one"), Digest.of(b"two")]
        body = sign_hash(bound, (await caller.sad(bound, digests))["SAD"], digests)
        dies_at(monkeypatch, "give_back")
        await caller.post("signatures/signHash", body, status=500)
        await goes_on(caller, body, 503)
        assert asked(provider) == before + 2
        provider.approved = True
        found = await goes_on(caller, body, 200)
        for digest, signature in zip(digests, found["signatures"], strict=True):
            await holds(caller, bound, digest, signature)
        assert asked(provider) == before + 2


async def test_a_crash_after_the_key_moved_gives_the_same_signature_and_moves_it_no_more(world, tmp_path, monkeypatch):
    """EN 419241-1, SCAL2: the SAD is for one use; what was signed under it and given to nobody is given out now."""
    async with serving(Provider()) as provider, remote(world, tmp_path, provider) as (caller, bound):
        provider.asks = False
        digests = [Digest.of(b"one")]
        body = sign_hash(bound, (await caller.sad(bound, digests))["SAD"], digests)
        dies_at(monkeypatch, "settle")
        await caller.post("signatures/signHash", body, status=500)
        moved = provider.signed
        found = await goes_on(caller, body, 200)
        await holds(caller, bound, digests[0], found["signatures"][0])
        assert provider.signed == moved
        found = await caller.post("signatures/signHash", body, status=400)
        assert "was used" in found["error_description"]


async def test_later_means_when_the_holder_has_approved(world, tmp_path):
    """operationMode A, signPolling: 202 until then (CSC API v2.0, signatures/signPolling)."""
    async with serving(Provider()) as provider, remote(world, tmp_path, provider) as (caller, bound):
        digests = [Digest.of(b"one"), Digest.of(b"two")]
        sad = (await caller.sad(bound, digests))["SAD"]
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, digests, operationMode="A"))

        async def looked() -> bool:
            return provider.asked.count("credentials/authorizeCheck") >= 2

        await until(looked, what="two looks at the approval", seconds=60)
        assert (await polled(caller, found["responseID"]))[0] == 202
        provider.approved = True
        status, answer = await answered(caller, found["responseID"])
        assert status == 200
        for digest, signature in zip(digests, answer["signatures"], strict=True):
            await holds(caller, bound, digest, signature)
        assert provider.signed == 2 + 1  # and the request for the certificate


async def test_a_refusal_at_the_provider_is_the_answer_and_a_new_approval_asks_anew(world, tmp_path):
    async with serving(Provider()) as provider, remote(world, tmp_path, provider) as (caller, bound):
        digests = [Digest.of(b"one")]
        sad = (await caller.sad(bound, digests))["SAD"]
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, digests, operationMode="A"))
        provider.approved = False
        status, answer = await answered(caller, found["responseID"])
        assert (status, answer["error"]) == (400, "invalid_request")
        assert "its holder refused" in answer["error_description"]
        provider.approved = True
        sad = (await caller.sad(bound, digests))["SAD"]  # the holder has thought better of it
        body = sign_hash(bound, sad, digests)
        await caller.post("signatures/signHash", body, status=503)
        found = await caller.post("signatures/signHash", body)
        await holds(caller, bound, digests[0], found["signatures"][0])


@pytest.mark.parametrize("mode", ["S", "A"])
async def test_a_document_waits_for_the_holder_and_is_signed_once(world, tmp_path, mode):
    """ADR 8: the same bytes at every try, so the holder is asked once."""
    async with serving(Provider()) as provider, remote(world, tmp_path, provider) as (caller, bound):
        before = asked(provider)
        pdf = pdfs.minimal()
        sad = (await caller.sad(bound, [Digest.of(pdf)], purpose="sign-documents"))["SAD"]
        one = {
            "document": base64.b64encode(pdf).decode(),
            "signature_format": "P",
            "conformance_level": "Ades-B-LTA",
            "signAlgo": "1.2.840.10045.4.3.2",
        }
        body = {"credentialID": bound.credential, "SAD": sad, "operationMode": mode, "documents": [one]}
        if mode == "S":
            await caller.post("signatures/signDoc", body, status=503)
            await asyncio.sleep(1.1)  # another second: a claimed time taken anew would be another one
            await caller.post("signatures/signDoc", body, status=503)
            provider.approved = True
            found = await caller.post("signatures/signDoc", body)
        else:
            response = (await caller.post("signatures/signDoc", body))["responseID"]
            await asyncio.sleep(1.1)
            assert (await polled(caller, response))[0] == 202
            provider.approved = True
            status, found = await answered(caller, response)
            assert status == 200
        assert asked(provider) == before + 1
        signed = base64.b64decode(found["DocumentWithSignature"][0])
        report = examine(signed, file="x.pdf", anchors=[world.root.der], now=caller.at.platform.clock.now())
        assert (report.verdict.value, report.signatures[0].level) == ("passed", "PAdES-BASELINE-LTA")


async def test_when_no_time_can_be_had_later_waits_and_the_sad_of_at_once_stays(world, tmp_path):
    """Not the holder alone: whoever is needed and does not answer uses nothing up."""
    async with signer_house.house(world, tmp_path, csc_clients=(CLIENT,)) as at, aiohttp.ClientSession() as session:
        caller = Caller(at, session)
        await caller.login()
        bound = await at.bind()
        await known(caller, bound)
        pdf = pdfs.minimal()
        one = {
            "document": base64.b64encode(pdf).decode(),
            "signature_format": "P",
            "conformance_level": "Ades-B-T",
            "signAlgo": "1.2.840.10045.4.3.2",
        }
        body = {"credentialID": bound.credential, "documents": [one]}
        digests = [Digest.of(pdf)]
        world.tsa_mode = "down"
        sad = (await caller.sad(bound, digests, purpose="sign-documents"))["SAD"]
        found = await caller.post("signatures/signDoc", body | {"SAD": sad}, status=503)
        assert "the SAD was not used" in found["error_description"]
        later = (await caller.sad(bound, digests, purpose="sign-documents"))["SAD"]
        response = (await caller.post("signatures/signDoc", body | {"SAD": later, "operationMode": "A"}))["responseID"]
        await asyncio.sleep(0.3)
        assert (await polled(caller, response))[0] == 202
        world.tsa_mode = "ok"

        async def signed() -> bool:
            url, headers = f"{at.url}/csc/v2/signatures/signDoc", {"Authorization": f"Bearer {caller.token}"}
            async with session.post(url, json=body | {"SAD": sad}, headers=headers) as answer:
                return answer.status == 200

        await until(signed, what="the authority's rest to be over", seconds=60)
        assert (await answered(caller, response))[0] == 200


async def test_pyhankos_own_client_signs_with_a_providers_key(world, tmp_path):
    """A provider that needs nobody's approval answers at once: operationMode S, as ever."""
    async with serving(Provider()) as provider, remote(world, tmp_path, provider) as (caller, bound):
        provider.asks = False
        session = CSCServiceSessionInfo(caller.at.url, str(bound.credential), caller.token)
        info = await fetch_certs_in_csc_credential(caller.session, session)
        phone = Phone(session, info)
        phone.caller, phone.bound = caller, bound
        metadata = PdfSignatureMetadata(field_name="Ky", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES)
        out = BytesIO()
        await PdfSigner(metadata, CSCSigner(caller.session, phone)).async_sign_pdf(
            IncrementalPdfFileWriter(BytesIO(pdfs.minimal())), output=out
        )
        report = examine(out.getvalue(), file="x.pdf", anchors=[world.root.der], now=caller.at.platform.clock.now())
        assert report.signatures[0].integrity.value == "intact"
