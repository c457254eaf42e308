"""The file key store: made once, sealed, opened by the passphrase alone, moved by a permit alone."""

from __future__ import annotations

import asyncio
import hashlib
import stat
import uuid
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import AttributeOID
from pydantic import SecretStr

from events.errors import Refused, Unavailable
from events.values import ContractId, CredentialId, Digest, Slot
from services.signer.adapters.file_keys import FileKeys
from services.signer.model import MESSAGE_DIGEST_ATTRIBUTE, Prepared, Redemption, SigningAlgorithm

ONE = CredentialId(str(uuid.UUID(int=1)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def keys(folder):
    return FileKeys(folder, SecretStr("pass phrase"))


def permit(credential: CredentialId, algorithm: SigningAlgorithm):
    base = b"base"
    revision = b"base<00>tail"
    digest = hashlib.sha256(b"basetail").digest()
    return Redemption(
        jti="0123456789",
        contract=ContractId(str(uuid.UUID(int=3))),
        slot=Slot("buyer"),
        credential=credential,
        algorithm=algorithm,
        shown=Digest.of(base),
        base=Digest.of(base),
        base_size=4,
        redeemed_at=datetime(2026, 11, 24, tzinfo=UTC),
    ).permit(Prepared(revision, (4, 8), MESSAGE_DIGEST_ATTRIBUTE + digest))


@pytest.mark.parametrize("algorithm", list(SigningAlgorithm))
async def test_a_key_signs_what_its_permit_says(keys, algorithm):
    public = load_der_public_key(await keys.create(ONE, algorithm))
    allowed = permit(ONE, algorithm)
    signature = await keys.sign(allowed)
    prehashed = Prehashed(hashes.SHA256())
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, allowed.attributes.raw, ec.ECDSA(prehashed))
        return
    assert public.key_size == 3072
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    public.verify(signature, allowed.attributes.raw, pss if algorithm.is_pss else padding.PKCS1v15(), prehashed)
    with pytest.raises(InvalidSignature):
        public.verify(signature, allowed.attributes.raw, padding.PKCS1v15() if algorithm.is_pss else pss, prehashed)


async def test_creating_again_gives_the_same_key(keys, folder):
    first, second = await asyncio.gather(
        keys.create(ONE, SigningAlgorithm.P256), keys.create(ONE, SigningAlgorithm.P256)
    )
    again = await FileKeys(folder, SecretStr("pass phrase")).create(ONE, SigningAlgorithm.P256)
    assert first == second == again
    assert len(list(folder.iterdir())) == 1


async def test_two_processes_that_race_get_one_key(folder):
    stores = [FileKeys(folder, SecretStr("pass phrase")) for _ in range(4)]
    made = await asyncio.gather(*(store.create(ONE, SigningAlgorithm.P256) for store in stores))
    assert len(set(made)) == 1


async def test_one_credential_has_one_algorithm(keys):
    await keys.create(ONE, SigningAlgorithm.P256)
    with pytest.raises(Refused, match="credential-exists"):
        await keys.create(ONE, SigningAlgorithm.P384)
    with pytest.raises(Refused, match="key-algorithm"):
        await keys.sign(permit(ONE, SigningAlgorithm.RSA_3072_PSS))


async def test_files_are_sealed_and_private(keys, folder):
    await keys.create(ONE, SigningAlgorithm.P256)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


async def test_a_wrong_passphrase_says_so_and_not_what_it_was(keys, folder):
    await keys.create(ONE, SigningAlgorithm.P256)
    with pytest.raises(Unavailable, match="key-passphrase") as found:
        await FileKeys(folder, SecretStr("sesame open")).sign(permit(ONE, SigningAlgorithm.P256))
    assert "sesame" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"])
async def test_a_damaged_file_says_so_and_is_not_replaced(keys, folder, content):
    await keys.create(ONE, SigningAlgorithm.P256)
    (file,) = folder.iterdir()
    file.write_bytes(content)
    fresh = FileKeys(folder, SecretStr("pass phrase"))
    with pytest.raises(Unavailable, match="key-file-damaged"):
        await fresh.create(ONE, SigningAlgorithm.P256)
    assert file.read_bytes() == content


async def test_no_key_no_signature(keys):
    with pytest.raises(Refused, match="key-unknown"):
        await keys.sign(permit(ONE, SigningAlgorithm.P256))
    assert await keys.algorithm(ONE) is None


async def test_proof_of_possession_carries_the_challenge(keys):
    """RFC 2986: the request is signed by the key it carries; Decree 23/2025/ND-CP Art 38: paired with the requester."""
    public = await keys.create(ONE, SigningAlgorithm.RSA_3072_PSS)
    request = x509.load_pem_x509_csr(await keys.csr(ONE, "nonce-123"))
    assert request.is_signature_valid
    assert len(list(request.subject)) == 0
    assert request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value == b"nonce-123"
    assert request.public_key() == load_der_public_key(public)
    with pytest.raises(Refused, match="challenge-length"):
        await keys.csr(ONE, "")


async def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(Unavailable, match="key-store-write"):
        await FileKeys(blocked / "keys", SecretStr("x")).create(ONE, SigningAlgorithm.P256)


def test_an_empty_passphrase_is_refused(folder):
    with pytest.raises(Refused, match="key-passphrase-empty"):
        FileKeys(folder, SecretStr(""))
