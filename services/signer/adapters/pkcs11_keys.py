"""Keys in a PKCS#11 module (HSM, token, SoftHSM): made there, used there, never outside it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from events.errors import Refused, Unavailable
from events.values import CredentialId
from services.signer.adapters import refusals, requests
from services.signer.adapters.pkcs11_sessions import Opened, Sessions, loaded
from services.signer.model import KeyPermit, SigningAlgorithm

_CURVES: dict[SigningAlgorithm, tuple[str, ec.EllipticCurve, int]] = {
    SigningAlgorithm.P256: ("secp256r1", ec.SECP256R1(), 32),
    SigningAlgorithm.P384: ("secp384r1", ec.SECP384R1(), 48),
}
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""DigestInfo of SHA-256 up to its 32 octets (RFC 8017 clause 9.2, note 1)."""

_PRIVATE = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
}

KEPT = 1000
"""Keys that a session remembers: finding one is two searches on the token."""


@dataclass(frozen=True)
class _Key:
    algorithm: SigningAlgorithm
    private: Any
    spki: bytes


class Pkcs11Keys:
    """A `KeyStore` on one token of one PKCS#11 module.

    `module`: the vendor's shared library. `token`: the token's label. `pin_file`: the user PIN, in a file of mode 0600.
    `sessions`: how many operations the token is given at once.

    Raises:
        Malformed: the module cannot be loaded.
    """

    waits = False

    def __init__(self, module: Path, token: str, pin_file: Path, sessions: int = 4) -> None:
        self.sessions = Sessions(loaded(module), token, pin_file, sessions)
        self._making: WeakValueDictionary[CredentialId, asyncio.Lock] = WeakValueDictionary()

    async def create(self, credential: CredentialId, algorithm: SigningAlgorithm) -> bytes:
        """Make the credential's key on the token, or find the one already made; its SubjectPublicKeyInfo, DER.

        Raises:
            Refused: the credential has a key of another algorithm.
            Unavailable: the token is away, full, locked, or was asked for the same key twice at once.
        """
        making = self._making.setdefault(credential, asyncio.Lock())
        async with making:  # two sessions of ours would make two keys: see `_create`
            made = await self.sessions.do(lambda opened: self._create(opened, credential, algorithm))
        refusals.check_made(made.algorithm, algorithm)
        return made.spki

    async def csr(self, credential: CredentialId, challenge: str) -> bytes:
        """A PKCS#10 request (PEM), signed on the token.

        Raises:
            Refused: no such key, or a challenge that is empty or longer than 255 characters.
            Unavailable: the token cannot be used.
        """

        def work(opened: Opened) -> bytes:
            key = self._known(opened, credential)
            info = requests.to_sign(key.spki, challenge)
            return requests.signed(info, key.algorithm, _sign(key, hashlib.sha256(info).digest()))

        return await self.sessions.do(work)

    async def algorithm(self, credential: CredentialId) -> SigningAlgorithm | None:
        """The algorithm of the credential's key, or none where there is no key."""
        found = await self.sessions.do(lambda opened: self._find(opened, credential))
        return found.algorithm if found else None

    async def sign(self, permit: KeyPermit) -> bytes:
        """The raw signature over the permit's attributes digest (RFC 8017 clause 8, FIPS 186-5; ECDSA in DER).

        Raises:
            Refused: no such key, or its algorithm is not the permit's.
            Unavailable: the token cannot be used.
        """

        def work(opened: Opened) -> bytes:
            key = self._known(opened, permit.credential)
            refusals.check_used(key.algorithm, permit.algorithm)
            return _sign(key, permit.attributes.raw, permit.salt)

        return await self.sessions.do(work)

    async def ready(self, jti: str) -> None:
        """At once: nobody else has to approve."""

    async def close(self) -> None:
        """Close the sessions and log out."""
        await self.sessions.close()

    async def __aenter__(self) -> Pkcs11Keys:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- in a session

    def _find(self, opened: Opened, credential: CredentialId) -> _Key | None:
        held: _Key | None = opened.kept.get(credential)
        if held is not None:
            return held
        found = list(
            opened.session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: _id(credential)})
        )
        if not found:
            opened.check()
            return None
        if len(found) > 1:
            raise Refused(
                "key-ambiguous",
                found=f"{len(found)} private keys under this credential id",
                expected="one",
                remedy="see which one the certificate names and take the others off the token",
            )
        public = list(
            opened.session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: _id(credential)})
        )
        algorithm = _labelled(found[0])
        if algorithm is None or len(public) != 1 or found[0].key_type is not _kind(algorithm):
            raise Refused(
                "key-foreign",
                found="a key of this id that was not made here",
                expected="a key pair whose label ends in its algorithm",
                remedy="use a new credential id",
                status=409,
            )
        return _keep(opened, credential, _Key(algorithm, found[0], _spki(algorithm, public[0])))

    def _known(self, opened: Opened, credential: CredentialId) -> _Key:
        key = self._find(opened, credential)
        if key is None:
            raise refusals.key_unknown()
        return key

    def _create(self, opened: Opened, credential: CredentialId, algorithm: SigningAlgorithm) -> _Key:
        found = self._find(opened, credential)
        if found is not None:
            return found
        public, private = _generate(opened.session, credential, algorithm)
        if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE] or not private[Attribute.PRIVATE]:
            public.destroy()
            private.destroy()
            raise Refused(
                "key-extractable",
                found="a token that makes extractable keys though told not to",
                expected="CKA_SENSITIVE, CKA_PRIVATE and not CKA_EXTRACTABLE (Circular 15/2025/TT-BKHCN Art 5)",
                remedy="use another token or correct its policy; the key was deleted",
            )
        twins = list(
            opened.session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: _id(credential)})
        )
        if len(twins) > 1:
            # PKCS#11 knows no unique ids. Two processes made one at once: each takes its own back and looks again.
            public.destroy()
            private.destroy()
            raise Unavailable(
                "key-made-twice",
                found="another process that made this credential's key at the same time",
                expected="one maker",
                remedy="ours was taken back; it is tried again",
                retry_after=1.0,
            )
        return _keep(opened, credential, _Key(algorithm, private, _spki(algorithm, public)))


def _keep(opened: Opened, credential: CredentialId, key: _Key) -> _Key:
    """Remember the key in its session; the oldest is forgotten."""
    if len(opened.kept) >= KEPT:
        del opened.kept[next(iter(opened.kept))]
    opened.kept[credential] = key
    return key


def _id(credential: CredentialId) -> bytes:
    return UUID(str(credential)).bytes


def _kind(algorithm: SigningAlgorithm) -> KeyType:
    return KeyType.RSA if algorithm.is_rsa else KeyType.EC


def _labelled(key: Any) -> SigningAlgorithm | None:
    """The algorithm at the end of the label: a token does not say which padding an RSA key was made for."""
    try:
        return SigningAlgorithm(str(key.label).rpartition(".")[2])
    except ValueError:
        return None


def _generate(session: Any, credential: CredentialId, algorithm: SigningAlgorithm) -> tuple[Any, Any]:
    named: dict[str, Any] = {
        "id": _id(credential),
        "label": f"{credential}.{algorithm.value}",
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": _PRIVATE,
    }
    if algorithm.is_rsa:
        public, private = session.generate_keypair(KeyType.RSA, 3072, **named)
        return public, private
    curve = encode_named_curve_parameters(_CURVES[algorithm][0])
    parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
    public, private = parameters.generate_keypair(**named)
    return public, private


def _spki(algorithm: SigningAlgorithm, public: Any) -> bytes:
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    if algorithm.is_rsa:
        exponent, modulus = (int.from_bytes(public[one]) for one in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    else:
        _, curve, size = _CURVES[algorithm]
        # The point, uncompressed, within an OCTET STRING (PKCS#11 v2.40 clause 2.3.3); some tokens leave that off.
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, bytes(public[Attribute.EC_POINT])[-2 * size - 1 :])
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(key: _Key, digest: bytes, salt: int = 32) -> bytes:
    """The signature over a SHA-256 digest, as X.509 and CMS have it; `salt` in octets, for PSS."""
    if key.algorithm.is_pss:
        return bytes(
            key.private.sign(
                digest, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=(Mechanism.SHA256, pkcs11.MGF.SHA256, salt)
            )
        )
    if key.algorithm.is_rsa:
        return bytes(key.private.sign(_SHA256_INFO + digest, mechanism=Mechanism.RSA_PKCS))
    raw = bytes(key.private.sign(digest, mechanism=Mechanism.ECDSA))
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
