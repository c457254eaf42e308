"""Keys as encrypted PKCS#8 files: one folder, one file a credential, made once and never overwritten."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from events.errors import Refused, Unavailable
from events.values import CredentialId
from services.signer.adapters import refusals, requests
from services.signer.model import KeyPermit, SigningAlgorithm

_PREHASHED = Prehashed(hashes.SHA256())
_ECDSA = ec.ECDSA(_PREHASHED)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

CURVES: dict[SigningAlgorithm, ec.EllipticCurve] = {
    SigningAlgorithm.P256: ec.SECP256R1(),
    SigningAlgorithm.P384: ec.SECP384R1(),
}


class FileKeys:
    """A `KeyStore` on a folder (mode 0700) of PKCS#8 files (0600), encrypted under one passphrase.

    Unlocked key objects stay in memory: reading one costs 40 to 100 ms, mostly spent on validating it anew.
    The algorithm is part of the file's name, so that it is known without the passphrase.
    """

    waits = False

    def __init__(self, folder: Path, passphrase: SecretStr) -> None:
        if not passphrase.get_secret_value():
            raise Refused(
                "key-passphrase-empty",
                found="an empty passphrase for the key store",
                expected="a passphrase",
                remedy="set the signer's key passphrase",
            )
        self._folder = folder
        self._passphrase = passphrase
        self._unlocked: dict[CredentialId, tuple[SigningAlgorithm, PrivateKey]] = {}
        self._making = threading.Lock()

    async def create(self, credential: CredentialId, algorithm: SigningAlgorithm) -> bytes:
        """Make the credential's key, or find the one already made; its SubjectPublicKeyInfo, DER.

        Raises:
            Refused: the credential has a key of another algorithm.
            Unavailable: the folder cannot be read or written, the passphrase is wrong, or the file is damaged.
        """
        return await asyncio.to_thread(self._create, credential, algorithm)

    async def csr(self, credential: CredentialId, challenge: str) -> bytes:
        """A PKCS#10 request (PEM) with an empty subject; `challenge` is its challengePassword (RFC 2986, RFC 2985).

        Raises:
            Refused: no such key, or a challenge that is empty or longer than 255 characters.
            Unavailable: the key file cannot be read.
        """
        return await asyncio.to_thread(self._csr, credential, challenge)

    async def algorithm(self, credential: CredentialId) -> SigningAlgorithm | None:
        """The algorithm of the credential's key, or none where there is no key."""
        found = await asyncio.to_thread(self._file_of, credential)
        return found[0] if found else None

    async def sign(self, permit: KeyPermit) -> bytes:
        """The raw signature over the permit's attributes digest (RFC 8017 clause 8, FIPS 186-5; ECDSA in DER).

        Raises:
            Refused: no such key, or its algorithm is not the permit's.
            Unavailable: the key file cannot be read.
        """
        if permit.credential in self._unlocked:
            # An unlocked key signs in 0.02 to 2 ms while the interpreter waits: another thread would only cost more.
            return self._sign(permit)
        return await asyncio.to_thread(self._sign, permit)

    async def ready(self, jti: str) -> None:
        """At once: nobody else has to approve."""

    def _sign(self, permit: KeyPermit) -> bytes:
        algorithm, key = self._unlock(permit.credential)
        refusals.check_used(algorithm, permit.algorithm)
        return _signature(algorithm, key, permit.attributes.raw, permit.salt)

    def _csr(self, credential: CredentialId, challenge: str) -> bytes:
        algorithm, key = self._unlock(credential)
        info = requests.to_sign(_public(key), challenge)
        return requests.signed(info, algorithm, _signature(algorithm, key, hashlib.sha256(info).digest(), 32))

    def _create(self, credential: CredentialId, algorithm: SigningAlgorithm) -> bytes:
        with self._making:
            found = self._file_of(credential)
            if found is None:
                key: PrivateKey
                if algorithm.is_rsa:
                    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
                else:
                    key = ec.generate_private_key(CURVES[algorithm])
                if self._write(self._folder / f"{credential}.{algorithm.value}.p8", key):
                    self._unlocked[credential] = (algorithm, key)
            made, key = self._unlock(credential)
        refusals.check_made(made, algorithm)
        return _public(key)

    def _file_of(self, credential: CredentialId) -> tuple[SigningAlgorithm, Path] | None:
        for algorithm in SigningAlgorithm:
            file = self._folder / f"{credential}.{algorithm.value}.p8"
            if file.exists():
                return algorithm, file
        return None

    def _write(self, file: Path, key: PrivateKey) -> bool:
        """Publish the key under its name, or leave the one that stands there; whether it was ours."""
        sealed = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(self._passphrase.get_secret_value().encode())
        )
        draft = self._folder / f".{secrets.token_hex(8)}.tmp"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(sealed)
                    stream.flush()
                    os.fsync(stream.fileno())
                try:
                    os.link(draft, file)
                    ours = True
                except FileExistsError:
                    ours = False
            finally:
                draft.unlink(missing_ok=True)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as fault:
            raise Unavailable(
                "key-store-write",
                found=f"a key folder that cannot be written ({type(fault).__name__})",
                expected="a folder of the signer's own, mode 0700, with free space",
                remedy="mend the folder; nothing was made",
            ) from fault
        return ours

    def _unlock(self, credential: CredentialId) -> tuple[SigningAlgorithm, PrivateKey]:
        held = self._unlocked.get(credential)
        if held is not None:
            return held
        found = self._file_of(credential)
        if found is None:
            raise refusals.key_unknown()
        algorithm, file = found
        try:
            sealed = file.read_bytes()
        except OSError as fault:
            raise Unavailable(
                "key-store-read",
                found=f"a key file that cannot be read ({type(fault).__name__})",
                expected="a file of the signer's own, mode 0600",
                remedy="mend the file's owner and mode",
            ) from fault
        if not sealed.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"):
            raise _damaged()
        try:
            key = load_pem_private_key(sealed, self._passphrase.get_secret_value().encode())
        except (ValueError, TypeError) as fault:
            if "password" in str(fault).lower() or "decrypt" in str(fault).lower():
                raise Unavailable(
                    "key-passphrase",
                    found="a key file that this passphrase does not open",
                    expected="the passphrase the key was made with",
                    remedy="set the right passphrase; if it is right, restore the file from its backup",
                ) from fault
            raise _damaged() from fault
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise _damaged()
        self._unlocked[credential] = (algorithm, key)
        return algorithm, key


def _public(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _signature(algorithm: SigningAlgorithm, key: PrivateKey, digest: bytes, salt: int) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, _ECDSA)
    if algorithm.is_pss:
        return key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), salt), _PREHASHED)
    return key.sign(digest, padding.PKCS1v15(), _PREHASHED)


def _damaged() -> Unavailable:
    return Unavailable(
        "key-file-damaged",
        found="a key file that is not an encrypted PKCS#8 key",
        expected="the file as it was made",
        remedy="restore it from its backup",
    )
