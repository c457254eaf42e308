"""Which digest, signature scheme and key an object identifier names, and the primitives that check them (pyca)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from domain import trust
from services.verifier.validation.der import Malformed, Node, dotted, oid, parse

MOST_MODULUS_BITS = 16_384
MOST_EXPONENT_BITS = 64
"""Larger RSA numbers only cost time (the same bounds as OpenSSL's for long moduli)."""

_DIGESTS = {
    oid(dots): name
    for dots, name in (
        ("1.2.840.113549.2.2", "md2"),
        ("1.2.840.113549.2.4", "md4"),
        ("1.2.840.113549.2.5", "md5"),
        ("1.3.36.3.2.1", "ripemd160"),
        ("1.3.14.3.2.26", "sha1"),
        ("2.16.840.1.101.3.4.2.1", "sha256"),
        ("2.16.840.1.101.3.4.2.2", "sha384"),
        ("2.16.840.1.101.3.4.2.3", "sha512"),
        ("2.16.840.1.101.3.4.2.4", "sha224"),
        ("2.16.840.1.101.3.4.2.5", "sha512_224"),
        ("2.16.840.1.101.3.4.2.6", "sha512_256"),
        ("2.16.840.1.101.3.4.2.7", "sha3_224"),
        ("2.16.840.1.101.3.4.2.8", "sha3_256"),
        ("2.16.840.1.101.3.4.2.9", "sha3_384"),
        ("2.16.840.1.101.3.4.2.10", "sha3_512"),
        ("2.16.840.1.101.3.4.2.11", "shake128"),
        ("2.16.840.1.101.3.4.2.12", "shake256"),
    )
}
_SHAKE_OCTETS = {"shake128": 32, "shake256": 64}
"""The lengths that RFC 8702 clause 3.1 fixes."""

PKCS1, PSS, ECDSA, PLAIN_ECDSA, DSA = "rsassa_pkcs1v15", "rsassa_pss", "ecdsa", "plain_ecdsa", "dsa"
_SCHEMES: dict[bytes, tuple[str, str | None]] = {
    oid(dots): (scheme, digest)
    for dots, scheme, digest in (
        ("1.2.840.113549.1.1.1", PKCS1, None),
        ("1.2.840.113549.1.1.2", PKCS1, "md2"),
        ("1.2.840.113549.1.1.4", PKCS1, "md5"),
        ("1.2.840.113549.1.1.5", PKCS1, "sha1"),
        ("1.3.14.3.2.29", PKCS1, "sha1"),
        ("1.2.840.113549.1.1.10", PSS, None),
        ("1.2.840.113549.1.1.11", PKCS1, "sha256"),
        ("1.2.840.113549.1.1.12", PKCS1, "sha384"),
        ("1.2.840.113549.1.1.13", PKCS1, "sha512"),
        ("1.2.840.113549.1.1.14", PKCS1, "sha224"),
        ("1.2.840.113549.1.1.15", PKCS1, "sha512_224"),
        ("1.2.840.113549.1.1.16", PKCS1, "sha512_256"),
        ("1.3.36.3.3.1.2", PKCS1, "ripemd160"),
        ("2.16.840.1.101.3.4.3.13", PKCS1, "sha3_224"),
        ("2.16.840.1.101.3.4.3.14", PKCS1, "sha3_256"),
        ("2.16.840.1.101.3.4.3.15", PKCS1, "sha3_384"),
        ("2.16.840.1.101.3.4.3.16", PKCS1, "sha3_512"),
        ("1.2.840.10045.2.1", ECDSA, None),
        ("1.2.840.10045.4.1", ECDSA, "sha1"),
        ("1.2.840.10045.4.3.1", ECDSA, "sha224"),
        ("1.2.840.10045.4.3.2", ECDSA, "sha256"),
        ("1.2.840.10045.4.3.3", ECDSA, "sha384"),
        ("1.2.840.10045.4.3.4", ECDSA, "sha512"),
        ("2.16.840.1.101.3.4.3.9", ECDSA, "sha3_224"),
        ("2.16.840.1.101.3.4.3.10", ECDSA, "sha3_256"),
        ("2.16.840.1.101.3.4.3.11", ECDSA, "sha3_384"),
        ("2.16.840.1.101.3.4.3.12", ECDSA, "sha3_512"),
        ("0.4.0.127.0.7.1.1.4.1.1", PLAIN_ECDSA, "sha1"),
        ("0.4.0.127.0.7.1.1.4.1.2", PLAIN_ECDSA, "sha224"),
        ("0.4.0.127.0.7.1.1.4.1.3", PLAIN_ECDSA, "sha256"),
        ("0.4.0.127.0.7.1.1.4.1.4", PLAIN_ECDSA, "sha384"),
        ("0.4.0.127.0.7.1.1.4.1.5", PLAIN_ECDSA, "sha512"),
        ("1.2.840.10040.4.1", DSA, None),
        ("1.2.840.10040.4.3", DSA, "sha1"),
        ("2.16.840.1.101.3.4.3.1", DSA, "sha224"),
        ("2.16.840.1.101.3.4.3.2", DSA, "sha256"),
        ("1.3.101.112", "ed25519", None),
        ("1.3.101.113", "ed448", None),
    )
}
_RSA_KEYS = {oid("1.2.840.113549.1.1.1"), oid("1.2.840.113549.1.1.7"), oid("1.2.840.113549.1.1.10")}
_EC_KEY = oid("1.2.840.10045.2.1")
_KEY_KINDS = {oid("1.2.840.10040.4.1"): "dsa", oid("1.3.101.112"): "ed25519", oid("1.3.101.113"): "ed448"}
_CURVES = {
    oid(dots): (name, bits)
    for dots, name, bits in (
        ("1.2.840.10045.3.1.1", "secp192r1", 192),
        ("1.3.132.0.33", "secp224r1", 224),
        ("1.2.840.10045.3.1.7", "secp256r1", 256),
        ("1.3.132.0.10", "secp256k1", 256),
        ("1.3.132.0.34", "secp384r1", 384),
        ("1.3.132.0.35", "secp521r1", 521),
        ("1.3.36.3.3.2.8.1.1.7", "brainpoolp256r1", 256),
        ("1.3.36.3.3.2.8.1.1.9", "brainpoolp320r1", 320),
        ("1.3.36.3.3.2.8.1.1.11", "brainpoolp384r1", 384),
        ("1.3.36.3.3.2.8.1.1.13", "brainpoolp512r1", 512),
    )
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),  # noqa: S303 - old signatures are read with it, never believed
    "sha1": hashes.SHA1(),  # noqa: S303
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha512_224": hashes.SHA512_224(),
    "sha512_256": hashes.SHA512_256(),
    "sha3_224": hashes.SHA3_224(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}
_PKCS1_PADDING = padding.PKCS1v15()


class CryptoFault(Exception):
    """A key or an algorithm cannot be used; `reason` is a kebab-case name, `detail` fills its sentence."""

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Scheme:
    """A signature algorithm with its parameters. Names as `domain.trust` knows them; unknown ones are dotted."""

    name: str
    digest: str | None
    mgf_digest: str | None = None
    salt: int = 0
    trailer: int = 1

    @property
    def family(self) -> str:
        """The name for the list of accepted schemes: plain ECDSA differs from ECDSA only in its encoding."""
        return ECDSA if self.name == PLAIN_ECDSA else self.name


def digest_name(identifier: bytes) -> str:
    """The digest algorithm of an object identifier, dotted when unknown.

    Some writers put a signature algorithm where the digest algorithm belongs: then the digest in it.
    """
    found = _DIGESTS.get(identifier)
    if found is None:
        found = _SCHEMES.get(identifier, ("", None))[1]
    return found or dotted(identifier)


def digest_of(name: str, *parts: bytes | memoryview) -> bytes | None:
    """The digest of the parts, or none when the algorithm is not known here."""
    length = _SHAKE_OCTETS.get(name)
    try:
        state: Any = hashlib.new(f"shake_{name[5:]}" if length else name, usedforsecurity=False)
    except ValueError:
        return None
    for part in parts:
        state.update(part)
    return bytes(state.digest(length) if length else state.digest())


def digest_size(name: str) -> int:
    """The length of a digest in octets, 0 when the algorithm is not known here."""
    found = digest_of(name)
    return len(found) if found is not None else 0


def same(one: bytes | None, other: bytes | None) -> bool:
    """Equal octets, and there are some."""
    return one is not None and other is not None and hmac.compare_digest(one, other)


@lru_cache(maxsize=256)
def scheme_of(raw: bytes) -> Scheme:
    """The signature algorithm of an AlgorithmIdentifier (DER).

    Raises:
        Malformed: it is none.
    """
    parts = parse(raw).sequence(1)
    identifier = parts[0].oid()
    name, digest = _SCHEMES.get(identifier, (dotted(identifier), None))
    if name != PSS:
        return Scheme(name, digest)
    # RFC 8017 A.2.3: each parameter has a default.
    digest, mgf_digest, salt, trailer = "sha1", "sha1", 20, 1
    for part in parts[1].sequence() if len(parts) > 1 and parts[1].tag == 0x30 else ():
        if part.tag == 0xA0:
            digest = digest_name(part.only().sequence(1)[0].oid())
        elif part.tag == 0xA1:
            mgf_digest = digest_name(part.only().sequence(2)[1].sequence(1)[0].oid())
        elif part.tag == 0xA2:
            salt = part.only().integer()
        elif part.tag == 0xA3:
            trailer = part.only().integer()
    return Scheme(name, digest, mgf_digest, salt, trailer)


@lru_cache(maxsize=512)
def load_key(spki: bytes) -> Any:
    """The public key of a SubjectPublicKeyInfo, also from encodings that pyca refuses.

    Keys that are for PSS only, and moduli written as negative integers, are read: a good signature must not be called
    bad for its certificate's sins.

    Raises:
        CryptoFault: the key cannot be read, or is beyond the limits.
    """
    try:
        algorithm, value = parse(spki).sequence(2)[:2]
        if algorithm.sequence(1)[0].oid() in _RSA_KEYS:
            modulus, exponent = _rsa_numbers(value)
            if modulus.bit_length() > MOST_MODULUS_BITS or exponent.bit_length() > MOST_EXPONENT_BITS:
                raise CryptoFault("key-unreadable", fault="size")
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        return serialization.load_der_public_key(spki)
    except CryptoFault:
        raise
    except (Malformed, ValueError, TypeError, OverflowError, UnsupportedAlgorithm) as fault:
        raise CryptoFault("key-unreadable", fault=type(fault).__name__) from fault


def _rsa_numbers(value: Node) -> tuple[int, int]:
    modulus, exponent = parse(value.bits()).sequence(2)[:2]
    if modulus.tag != 2:
        raise Malformed("no-integer")
    return int.from_bytes(modulus.contents, "big"), exponent.integer()


@lru_cache(maxsize=512)
def key_acceptance(spki: bytes) -> trust.Acceptance:
    """How the key of a SubjectPublicKeyInfo stands; one that cannot be read is on no list."""
    try:
        algorithm, value = parse(spki).sequence(2)[:2]
        parts = algorithm.sequence(1)
        kind = parts[0].oid()
        if kind in _RSA_KEYS:
            modulus, exponent = _rsa_numbers(value)
            return trust.key("rsa", modulus.bit_length(), exponent=exponent)
        if kind == _EC_KEY:
            named = parts[1].oid() if len(parts) > 1 and parts[1].tag == 6 else b""
            curve, bits = _CURVES.get(named, (None, 0))
            return trust.key("ec", bits, curve)
        return trust.key(_KEY_KINDS.get(kind, dotted(kind)), 0)
    except Malformed:
        return trust.key("?", 0)


def verifies(spki: bytes, scheme: Scheme, value: bytes, data: bytes, digest: str | None = None) -> bool:
    """Whether `value` is a signature over `data` by the key; `digest` where the scheme itself names none.

    Raises:
        CryptoFault: key or algorithm is not known, or they do not belong together.
    """
    key = load_key(spki)
    name, hash_name = scheme.name, scheme.digest or digest
    try:
        if name == PKCS1 and isinstance(key, rsa.RSAPublicKey):
            key.verify(value, data, _PKCS1_PADDING, _hash(hash_name))
        elif name == ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(value, data, ec.ECDSA(_hash(hash_name)))
        elif name == PSS and isinstance(key, rsa.RSAPublicKey):
            if scheme.trailer != 1 or not 0 <= scheme.salt <= 512:
                raise CryptoFault("algorithm-does-not-fit-key", algorithm=name)
            inner = padding.MGF1(_hash(scheme.mgf_digest))
            key.verify(value, data, padding.PSS(inner, scheme.salt), _hash(hash_name))
        elif name == PLAIN_ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
            half = len(value) // 2
            pair = int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
            key.verify(encode_dss_signature(*pair), data, ec.ECDSA(_hash(hash_name)))
        elif (name == "ed25519" and isinstance(key, ed25519.Ed25519PublicKey)) or (
            name == "ed448" and isinstance(key, ed448.Ed448PublicKey)
        ):
            key.verify(value, data)
        elif name == DSA and isinstance(key, dsa.DSAPublicKey):
            key.verify(value, data, _hash(hash_name))
        else:
            raise CryptoFault("algorithm-does-not-fit-key", algorithm=name)
    except InvalidSignature:
        return False
    except UnsupportedAlgorithm as fault:
        raise CryptoFault("digest-unknown", algorithm=str(hash_name)) from fault
    except (ValueError, OverflowError, TypeError) as fault:
        raise CryptoFault("signature-value-malformed", fault=type(fault).__name__) from fault
    return True


_VOUCHED: dict[bytes, None] = {}
_VOUCHED_MOST = 4096


def vouches(spki: bytes, scheme: Scheme, value: bytes, data: bytes) -> bool:
    """As `verifies`, for certificates and status statements, which many files bring alike.

    What held once is not computed again: the same key, scheme, value and octets always give the same answer, so no file
    can say anything of another.

    Raises:
        CryptoFault: key or algorithm is not known, or they do not belong together.
    """
    told = b"".join(b"%d:%b" % (len(part), part) for part in (spki, repr(scheme).encode(), value, data))
    known = hashlib.sha256(told).digest()
    if known in _VOUCHED:
        return True
    if not verifies(spki, scheme, value, data):
        return False
    if len(_VOUCHED) >= _VOUCHED_MOST:
        _VOUCHED.clear()
    _VOUCHED[known] = None
    return True


def _hash(name: str | None) -> hashes.HashAlgorithm:
    known = _HASHES.get(name or "")
    if known is None:
        raise CryptoFault("digest-unknown", algorithm=str(name))
    return known
