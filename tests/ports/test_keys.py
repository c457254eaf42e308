"""Promises of the key store's port, held by one suite on every store."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import AttributeOID
from pydantic import SecretStr

from events.errors import Refused
from events.values import CredentialId
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.pkcs11_keys import Pkcs11Keys
from services.signer.model import SigningAlgorithm
from services.signer.ports import KeyStore
from tests.support.csc_provider import Provider
from tests.support.permits import permit
from tests.support.remote import OIDS, remote, self_signed


@pytest.fixture(scope="module")
def remote_pairs():
    """Keys of a provider: each credential of a kind has the same one, which its holder would never see."""
    return {
        SigningAlgorithm.RSA_3072_PSS: rsa.generate_private_key(65537, 3072),
        SigningAlgorithm.RSA_3072_PKCS1: rsa.generate_private_key(65537, 3072),
        SigningAlgorithm.P256: ec.generate_private_key(ec.SECP256R1()),
        SigningAlgorithm.P384: ec.generate_private_key(ec.SECP384R1()),
    }


@pytest.fixture(params=["file", "pkcs11", "csc-1", "csc-2"])
async def keys(request, tmp_path: Path):
    if request.param == "file":
        yield FileKeys(tmp_path / "keys", SecretStr("pass phrase"))
        return
    if request.param.startswith("csc"):
        provider = Provider(version=int(request.param[-1]))
        for algorithm, key in request.getfixturevalue("remote_pairs").items():
            for _ in range(2):
                provider.offer(key, self_signed(key), OIDS[algorithm])
        async with remote(tmp_path, provider) as store:
            yield store
        return
    soft = request.getfixturevalue("soft_token")
    store = Pkcs11Keys(soft.module, soft.label, soft.pin_file)
    yield store
    await store.close()


def fresh() -> CredentialId:
    return CredentialId(str(uuid.uuid4()))


def holds(public: bytes, algorithm: SigningAlgorithm, signature: bytes, digest: bytes) -> bool:
    """Whether the signature over the digest is by this key and this padding."""
    key = load_der_public_key(public)
    prehashed = Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(prehashed))
        else:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            key.verify(signature, digest, pss if algorithm.is_pss else padding.PKCS1v15(), prehashed)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("algorithm", list(SigningAlgorithm))
async def test_a_key_signs_what_its_permit_says_and_in_its_own_way(keys: KeyStore, algorithm):
    one = fresh()
    public = await keys.create(one, algorithm)
    allowed = permit(one, algorithm)
    signature = await keys.sign(allowed)
    assert holds(public, algorithm, signature, allowed.attributes.raw)
    assert not holds(public, algorithm, signature, allowed.base.raw)
    if algorithm.is_rsa:
        other = SigningAlgorithm.RSA_3072_PKCS1 if algorithm.is_pss else SigningAlgorithm.RSA_3072_PSS
        assert not holds(public, other, signature, allowed.attributes.raw)


async def test_the_kind_of_key_is_the_one_asked_for(keys: KeyStore):
    """Circular 15/2025/TT-BKHCN App. I: RSA of 2048 bit or more, ECDSA of 256 bit or more."""
    one, other = fresh(), fresh()
    assert load_der_public_key(await keys.create(one, SigningAlgorithm.RSA_3072_PSS)).key_size == 3072
    assert load_der_public_key(await keys.create(other, SigningAlgorithm.P384)).key_size == 384


async def test_creating_again_gives_the_same_key(keys: KeyStore):
    one = fresh()
    made = await asyncio.gather(*(keys.create(one, SigningAlgorithm.P256) for _ in range(4)))
    assert len(set(made)) == 1


async def test_one_credential_has_one_algorithm(keys: KeyStore):
    one = fresh()
    await keys.create(one, SigningAlgorithm.RSA_3072_PKCS1)
    assert await keys.algorithm(one) is SigningAlgorithm.RSA_3072_PKCS1
    with pytest.raises(Refused, match="credential-exists"):
        await keys.create(one, SigningAlgorithm.RSA_3072_PSS)
    with pytest.raises(Refused, match="key-algorithm"):
        await keys.sign(permit(one, SigningAlgorithm.RSA_3072_PSS))
    with pytest.raises(Refused, match="key-algorithm"):
        await keys.sign(permit(one, SigningAlgorithm.P256))


async def test_no_key_no_signature(keys: KeyStore):
    one = fresh()
    assert await keys.algorithm(one) is None
    with pytest.raises(Refused, match="key-unknown"):
        await keys.sign(permit(one, SigningAlgorithm.P256))
    with pytest.raises(Refused, match="key-unknown"):
        await keys.csr(one, "nonce")


@pytest.mark.parametrize("algorithm", list(SigningAlgorithm))
async def test_proof_of_possession_carries_the_challenge(keys: KeyStore, algorithm):
    """RFC 2986: the request is signed by the key it carries; Decree 23/2025/ND-CP Art 38: paired with the requester."""
    one = fresh()
    public = await keys.create(one, algorithm)
    request = x509.load_pem_x509_csr(await keys.csr(one, "nonce-123 ấn tín"))
    assert request.is_signature_valid
    assert len(list(request.subject)) == 0
    challenge = request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
    assert challenge.decode() == "nonce-123 ấn tín"
    assert request.public_key() == load_der_public_key(public)


@pytest.mark.parametrize("challenge", ["", "x" * 256])
async def test_a_challenge_that_cannot_be_carried_is_refused(keys: KeyStore, challenge):
    """RFC 2985 clause 5.4.1: challengePassword has 1 to 255 characters."""
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    with pytest.raises(Refused, match="challenge-length"):
        await keys.csr(one, challenge)


async def test_sixty_signatures_at_once_are_all_right_and_the_loop_goes_on(keys: KeyStore):
    one = fresh()
    public = await keys.create(one, SigningAlgorithm.RSA_3072_PSS)
    allowed = [permit(one, SigningAlgorithm.RSA_3072_PSS, tail=bytes([n])) for n in range(60)]
    turns = 0
    ended = asyncio.Event()

    async def loop_turns() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(loop_turns())
    signatures = await asyncio.gather(*(keys.sign(one) for one in allowed))
    ended.set()
    await counting
    for one_permit, signature in zip(allowed, signatures, strict=True):
        assert holds(public, SigningAlgorithm.RSA_3072_PSS, signature, one_permit.attributes.raw)
    if not isinstance(keys, FileKeys):  # an unlocked key in a file signs at once, see there; what must wait gives way
        assert turns > 60  # were the work done on the loop, it would have turned once a signature at most
