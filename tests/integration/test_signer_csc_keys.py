"""Keys at a CSC provider: asked once for each digest, whatever dies; believed only after checking."""

from __future__ import annotations

import asyncio
import base64
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from events.errors import Refused, Unavailable
from events.values import CredentialId, Digest
from services.runtime.outbound import Answer, Outbound
from services.signer.adapters.csc_keys import Access, CscProvider
from services.signer.adapters.remote_keys import Pending, RemoteKeys
from services.signer.adapters.remote_store import SqlRemoteBooks
from services.signer.model import HashPermit, SigningAlgorithm
from tests.support.clocks import StillClock
from tests.support.csc_provider import Provider, serving
from tests.support.odd_certificates import KEYED, ODD, WHOLLY
from tests.support.permits import permit
from tests.support.remote import OIDS, books, csc, ec_key, self_signed

P256 = SigningAlgorithm.P256


@dataclass
class Signatory:
    """One credential of a remote store, and all around it."""

    provider: Provider
    kept: SqlRemoteBooks
    outbound: Outbound
    clock: StillClock
    credential: CredentialId
    keys: RemoteKeys

    def restarted(self) -> RemoteKeys:
        """The store as another process, or this one after a restart, has it."""
        return csc(self.outbound, self.provider, self.kept, self.clock)

    async def sign(self, keys: RemoteKeys | None = None, tail: bytes = b"tail") -> bytes:
        return await (keys or self.keys).sign(permit(self.credential, P256, tail=tail))


@asynccontextmanager
async def signatory(folder: Path, **provider):
    async with serving(Provider(**provider)) as service, books(folder) as kept:
        key = ec_key()
        service.offer(key, self_signed(key), OIDS[P256])
        place = service.url.removeprefix("http://").partition("/")[0]
        async with Outbound(allowed=[place]) as outbound:
            clock = StillClock()
            keys = csc(outbound, service, kept, clock)
            who = CredentialId(str(uuid.uuid4()))
            await keys.create(who, P256)
            yield Signatory(service, kept, outbound, clock, who, keys)


@pytest.mark.parametrize("version", [1, 2])
async def test_the_hash_is_bound_into_the_authorization_and_nothing_is_said_of_the_document(tmp_path, version):
    """CSC API v2.0 clause 11.6 (SCAL2): the SAD is for these hashes alone; version 1 has other names for them."""
    async with signatory(tmp_path, version=version) as at:
        await at.sign()
        authorized, signed = at.provider.bodies[-2:]
        digest = base64.b64encode(permit(at.credential, P256).attributes.raw).decode()
        names = ("hash",) if version == 1 else ("hashes", "hashAlgorithmOID")
        assert set(names) <= authorized.keys()
        assert authorized[names[0]] == signed[names[0]] == [digest]
        assert authorized["numSignatures"] == 1
        assert authorized["clientData"] == signed["clientData"]
        known = {"credentialID", "SAD", "signAlgo", "clientData", "hash", "hashAlgo", "hashes", "hashAlgorithmOID"}
        assert signed.keys() <= known


async def test_the_same_digest_is_signed_once_and_found_again(tmp_path):
    async with signatory(tmp_path) as at:
        first = await at.sign()
        assert await at.sign() == first
        assert await at.sign(at.restarted()) == first
        assert at.provider.signed == 1
        assert await at.sign(tail=b"other") != first
        assert at.provider.signed == 2


@pytest.mark.parametrize("later", [{"later": True}, {"asks": True}, {"asks": True, "later": True}])
async def test_an_approval_is_waited_for_over_a_restart_and_nobody_is_asked_twice(tmp_path, later):
    async with signatory(tmp_path, **later) as at:
        allowed = permit(at.credential, P256)
        await at.keys.ready(allowed.jti)  # nothing was asked yet
        for keys in (at.keys, at.keys, at.restarted()):
            with pytest.raises(Unavailable, match="approval-pending") as waits:
                await at.sign(keys)
            assert waits.value.retry_after == 0.1
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.restarted().ready(allowed.jti)
        at.provider.approved = True
        again = at.restarted()
        signature = None
        for _ in range(3):
            with suppress(Pending):
                signature = await at.sign(again)
        assert signature is not None
        await again.ready(allowed.jti)
        assert at.provider.signed == 1
        assert at.provider.asked.count("credentials/authorize") == 1


@pytest.mark.parametrize("later", [{"later": True}, {"asks": True}])
async def test_a_refusal_is_final_and_not_asked_about_again(tmp_path, later):
    async with signatory(tmp_path, **later) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        at.provider.approved = False
        with pytest.raises(Refused, match="remote-signature-refused"):
            await at.keys.ready(permit(at.credential, P256).jti)
        asked = len(at.provider.asked)
        for _ in range(2):
            with pytest.raises(Refused, match="remote-signature-refused"):
                await at.sign(at.restarted())
        assert len(at.provider.asked) == asked


@pytest.mark.parametrize("later", [{"later": True}, {"asks": True}])
async def test_an_approval_that_does_not_come_in_300_seconds_is_too_late(tmp_path, later):
    async with signatory(tmp_path, **later) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        at.clock.pass_by(299)
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        at.clock.pass_by(2)
        with pytest.raises(Refused, match="remote-signature-expired"):
            await at.sign()
        at.provider.approved = True
        with pytest.raises(Refused, match="remote-signature-expired"):
            await at.sign()


async def test_a_provider_that_is_gone_for_good_is_not_asked_for_ever(tmp_path):
    async with signatory(tmp_path, later=True) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        at.provider.fault = "signatures/signPolling"
        at.clock.pass_by(599)
        with pytest.raises(Unavailable, match="outside-unavailable"):
            await at.sign()
        at.clock.pass_by(2)
        with pytest.raises(Refused, match="remote-signature-expired"):
            await at.sign()


async def test_two_processes_at_once_ask_once(tmp_path):
    async with signatory(tmp_path) as at:
        found = await asyncio.gather(
            *(at.sign(keys) for keys in (at.keys, at.restarted(), at.restarted())), return_exceptions=True
        )
        assert at.provider.signed == 1
        waits = [one for one in found if isinstance(one, Unavailable)]
        assert {one.code for one in waits} <= {"remote-signature-unanswered"}
        assert len({one for one in found if isinstance(one, bytes)}) == 1
        assert len(waits) < len(found)


async def test_a_call_back_is_a_hint_and_the_provider_is_asked(tmp_path):
    async with signatory(tmp_path, later=True) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.sign()
        (operation,) = await at.kept.of_permit(permit(at.credential, P256).jti)
        assert await at.keys.told(id=operation.id)  # not yet: nothing changes
        assert not await at.keys.told(id=str(uuid.uuid4()))
        at.provider.approved = True
        assert await at.keys.told(id=operation.id)
        asked = len(at.provider.asked)
        assert await at.sign()
        assert len(at.provider.asked) == asked  # it was fetched when the call came


async def test_an_answer_that_was_lost_is_not_paid_for_twice_while_it_may_still_come(tmp_path):
    """crash-safety.md: where the key operation is billed, log the intent first and reconcile by its id."""
    async with signatory(tmp_path) as at:
        at.provider.fault = "lost answer"
        with pytest.raises(Unavailable):
            await at.sign()
        assert at.provider.signed == 1
        for seconds in (0, 100, 199):
            at.clock.pass_by(seconds)
            with pytest.raises(Unavailable, match="remote-signature-unanswered"):
                await at.sign(at.restarted())
        assert at.provider.signed == 1
        at.clock.pass_by(2)
        with pytest.raises(Unavailable, match="remote-signature-unanswered"):
            await at.sign()
        assert await at.sign()
        assert at.provider.signed == 2


@pytest.mark.parametrize("fault", ["credentials/authorize", "credentials/authorize 503", "signatures/signHash 503"])
async def test_what_was_certainly_not_taken_is_asked_for_at_once_again(tmp_path, fault):
    async with signatory(tmp_path) as at:
        at.provider.fault = fault
        with pytest.raises(Unavailable):
            await at.sign()
        at.provider.fault = None
        assert await at.sign()
        assert at.provider.signed == 1


async def test_a_signature_that_does_not_hold_is_not_given_out(tmp_path):
    async with signatory(tmp_path) as at:
        at.provider.fault = "wrong signature"
        with pytest.raises(Unavailable, match="remote-signature-invalid"):
            await at.sign()


async def test_r_and_s_side_by_side_are_read_too(tmp_path):
    async with signatory(tmp_path, plain=True) as at:
        for n in range(8):
            assert (await at.sign(tail=bytes([n])))[0] == 0x30


async def test_a_token_that_died_is_replaced(tmp_path):
    async with signatory(tmp_path) as at:
        await at.sign()
        at.provider.forget_tokens()
        assert await at.sign(tail=b"other")


async def test_credentials_at_once_get_keys_of_their_own_and_then_there_are_none(tmp_path):
    async with signatory(tmp_path) as at:
        for _ in range(3):
            key = ec_key()
            at.provider.offer(key, self_signed(key), OIDS[P256])
        off = ec_key()
        at.provider.credentials[at.provider.offer(off, self_signed(off), OIDS[P256])].status = "disabled"
        made = await asyncio.gather(*(at.keys.create(CredentialId(str(uuid.uuid4())), P256) for _ in range(3)))
        assert len(set(made)) == 3
        with pytest.raises(Refused, match="remote-key-none-free"):
            await at.keys.create(CredentialId(str(uuid.uuid4())), P256)


@pytest.mark.parametrize("kind", WHOLLY | KEYED)
async def test_a_certificate_that_cannot_be_read_is_passed_over(tmp_path, kind):
    """RFC 5280 clause 4.1: one odd credential at the provider hides no other, and alone it is none."""
    async with signatory(tmp_path) as at:
        odd = ec_key()
        at.provider.offer(odd, ODD[kind](self_signed(odd)), OIDS[P256])
        with pytest.raises(Refused, match="remote-key-none-free"):
            await at.keys.create(CredentialId(str(uuid.uuid4())), P256)
        good = ec_key()
        at.provider.offer(good, self_signed(good), OIDS[P256])
        public = good.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert await at.keys.create(CredentialId(str(uuid.uuid4())), P256) == public


async def test_a_request_for_a_certificate_may_be_made_again_after_a_refusal(tmp_path):
    async with signatory(tmp_path, later=True) as at:
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.keys.csr(at.credential, "nonce")
        at.provider.approved = False
        with pytest.raises(Refused, match="remote-signature-refused"):
            await at.keys.csr(at.credential, "nonce")
        at.provider.approved = None
        with pytest.raises(Unavailable, match="approval-pending"):
            await at.keys.csr(at.credential, "nonce")
        at.provider.approved = True
        assert b"BEGIN CERTIFICATE REQUEST" in await at.keys.csr(at.credential, "nonce")


async def test_no_secret_is_in_what_is_said_of_a_fault(tmp_path):
    async with signatory(tmp_path) as at:
        for fault in ("oauth2/token", "oauth2/token 503", "credentials/authorize 503"):
            at.provider.fault = fault
            with pytest.raises(Unavailable) as found:
                await at.sign(at.restarted())
            for word in ("a client secret", "135790", at.provider.url):
                assert word not in str(found.value)


class Saying:
    """The way out to a provider that answers what it likes; what it was asked for is kept."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def call(self, method: str, url: str, **options: Any) -> Answer:
        self.asked.append(url)
        return Answer(200, {}, self.answers[url.rsplit("/", 1)[-1]])


INFO = b'{"specs": "2.0.0.2", "methods": ["signatures/signPolling"]}'


@pytest.mark.parametrize(
    "answers",
    [
        {"info": b"[" * 200_000},
        {"info": b'{"specs": "2.0", "asynchronousOperationMode": true, "oauth2": "http://elsewhere.example"}'},
        {"info": INFO, "token": b'{"access_token": "t", "expires_in": ' + b"9" * 400 + b"}", "list": b"null"},
        {"info": b'{"specs": "2.0", "asynchronousOperationMode": true}', "token": b"[]"},
    ],
    ids=["deep", "in clear", "for ever", "no methods"],
)
async def test_nonsense_of_a_provider_is_waited_out_and_our_secret_never_goes_in_clear(answers):
    """RFC 6749 clause 2.3.1: a client's password is sent over TLS only."""
    way_out = Saying(**answers)
    access = Access("https://provider.example/csc/v2", "us", SecretStr("secret"))
    provider = CscProvider(way_out, access, StillClock())  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await provider.offer(P256, set())
    assert all(url.startswith("https://") for url in way_out.asked)


async def test_a_hash_that_was_signed_with_another_salt_is_signed_anew(tmp_path):
    """RFC 4055 clause 3.1: the salt's length is part of the signature's parameters, which the caller has named."""
    async with signatory(tmp_path) as at:
        key = rsa.generate_private_key(65537, 3072)
        pss = SigningAlgorithm.RSA_3072_PSS
        at.provider.offer(key, self_signed(key), OIDS[pss])
        who = CredentialId(str(uuid.uuid4()))
        await at.keys.create(who, pss)
        digest = Digest.of(b"a document's attributes")
        for salt in (32, 20):
            signature = await at.keys.sign(HashPermit("one approval", who, pss, digest, salt))
            padded = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
            key.public_key().verify(signature, digest.raw, padded, Prehashed(hashes.SHA256()))
            assert await at.keys.sign(HashPermit("another", who, pss, digest, salt)) == signature
        assert at.provider.signed == 2
