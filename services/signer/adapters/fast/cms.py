"""CMS from templates: all but a digest and a signature is known once the certificate is (RFC 5652, EN 319 122-1).

Signed attributes are content-type, message-digest and ESS signing-certificate-v2, and no signing-time: PAdES takes
the claimed time from the signature dictionary (EN 319 142-1 clause 6.3).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from events.errors import Refused
from services.runtime.certificates import from_der, key_of
from services.signer.adapters.der import NULL, OCTETS, OID, SEQUENCE, SET, Span, integer, span, tlv, within
from services.signer.model import SigningAlgorithm

CONTEXT_0, CONTEXT_1, CONTEXT_2 = 0xA0, 0xA1, 0xA2

DATA = bytes.fromhex("06092a864886f70d010701")
SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
CONTENT_TYPE = bytes.fromhex("06092a864886f70d010903")
MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")
SIGNING_CERTIFICATE_V2 = bytes.fromhex("060b2a864886f70d010910022f")
TIMESTAMP_TOKEN = bytes.fromhex("060b2a864886f70d010910020e")
SIGNING_TIME = bytes.fromhex("06092a864886f70d010905")

SHA256 = tlv(SEQUENCE, tlv(OID, bytes.fromhex("608648016503040201")))
"""AlgorithmIdentifier without parameters (RFC 5754 clause 2)."""

_RSA_SHA256 = tlv(SEQUENCE, bytes.fromhex("06092a864886f70d01010b"), tlv(NULL))
_ECDSA_SHA256 = tlv(SEQUENCE, bytes.fromhex("06082a8648ce3d040302"))
_PSS = tlv(
    SEQUENCE,
    bytes.fromhex("06092a864886f70d01010a"),
    # RFC 4055 clause 3.1: SHA-256, MGF1 with SHA-256, a salt of 32 octets.
    tlv(
        SEQUENCE,
        tlv(CONTEXT_0, SHA256),
        tlv(CONTEXT_1, tlv(SEQUENCE, bytes.fromhex("06092a864886f70d010108"), SHA256)),
        tlv(CONTEXT_2, integer(32)),
    ),
)


def attributes(der: bytes, holder: Span) -> dict[bytes, Span]:
    """The one value of each attribute in a SET of them, by the attribute's type (DER).

    Raises:
        ValueError: a type twice, an attribute of several values, or not DER.
    """
    found: dict[bytes, Span] = {}
    for one in within(der, holder[2], holder[3]):
        kind, values = within(der, one[2], one[3])
        (value,) = within(der, values[2], values[3])
        mark = der[kind[1] : kind[3]]
        if mark in found:
            raise ValueError("an attribute twice")
        found[mark] = value
    return found


def algorithm_identifier(algorithm: SigningAlgorithm) -> bytes:
    """The signature's AlgorithmIdentifier, DER."""
    if algorithm.is_pss:
        return _PSS
    return _RSA_SHA256 if algorithm.is_rsa else _ECDSA_SHA256


@dataclass(frozen=True, slots=True)
class Signatory:
    """What a certificate says that a signature needs: its key, and issuer and serial number, DER."""

    key: CertificatePublicKeyTypes
    issuer: bytes
    serial: bytes


@lru_cache(maxsize=512)
def signatory(certificate: bytes) -> Signatory:
    """Read a certificate (DER), once.

    Raises:
        Refused: not a certificate with a key that can be read.
    """
    try:
        key = key_of(from_der(certificate))
        outer = span(certificate, 0, len(certificate))
        _, _, start, end = span(certificate, outer[2], outer[3])
        parts = [one for one in within(certificate, start, end) if one[0] != CONTEXT_0]
        serial, issuer = parts[0], parts[2]
    except (ValueError, IndexError) as fault:
        raise Refused(
            "certificate-malformed",
            found="a certificate that cannot be read",
            expected="an X.509 certificate, DER",
            remedy="bind the credential anew",
        ) from fault
    return Signatory(key, certificate[issuer[1] : issuer[3]], certificate[serial[1] : serial[3]])


@dataclass(frozen=True, slots=True)
class Template:
    """A CMS that waits for a digest, a signature and perhaps a timestamp token."""

    before_digest: bytes
    after_digest: bytes
    certificates: bytes
    signer: bytes
    algorithm: bytes
    longest_signature: int

    def attributes(self, digest: bytes) -> bytes:
        """The signed attributes as they are hashed: a SET OF in DER (RFC 5652 clause 5.4)."""
        return self.before_digest + digest + self.after_digest

    def content_info(self, attributes: bytes, signature: bytes, token: bytes | None) -> bytes:
        """The whole CMS; `token` becomes the signature timestamp (EN 319 122-1 clause 5.3)."""
        info = (
            self.signer,
            SHA256,
            b"\xa0" + attributes[1:],
            self.algorithm,
            tlv(OCTETS, signature),
            tlv(CONTEXT_1, tlv(SEQUENCE, TIMESTAMP_TOKEN, tlv(SET, token))) if token is not None else b"",
        )
        signed = tlv(
            SEQUENCE,
            integer(1),
            tlv(SET, SHA256),
            tlv(SEQUENCE, DATA),
            self.certificates,
            tlv(SET, tlv(SEQUENCE, integer(1), *info)),
        )
        return tlv(SEQUENCE, SIGNED_DATA, tlv(CONTEXT_0, signed))

    def room(self, token: int) -> int:
        """Octets that the CMS will need at most, with a token of so many."""
        fixed = len(self.certificates) + len(self.signer) + len(self.before_digest) + 32 + len(self.after_digest)
        return fixed + len(self.algorithm) + 2 * len(SHA256) + self.longest_signature + token + 120


@lru_cache(maxsize=512)
def template(chain: tuple[bytes, ...], algorithm: SigningAlgorithm) -> Template:
    """The template of a signer's certificates (DER, the signer's first), all of which go into the CMS.

    Raises:
        Refused: the certificate cannot be read, or its key is not one for the algorithm.
    """
    holder = signatory(chain[0])
    issuer_and_serial = tlv(SEQUENCE, holder.issuer, holder.serial)
    # RFC 5035 clause 4: the hash is SHA-256, which is the default and hence left out.
    named = tlv(
        SEQUENCE,
        tlv(OCTETS, hashlib.sha256(chain[0]).digest()),
        tlv(SEQUENCE, tlv(SEQUENCE, tlv(0xA4, holder.issuer)), holder.serial),
    )
    mark = bytes(32)
    attributes = sorted(
        (
            tlv(SEQUENCE, CONTENT_TYPE, tlv(SET, DATA)),
            tlv(SEQUENCE, MESSAGE_DIGEST, tlv(SET, tlv(OCTETS, mark))),
            tlv(SEQUENCE, SIGNING_CERTIFICATE_V2, tlv(SET, tlv(SEQUENCE, tlv(SEQUENCE, named)))),
        )
    )
    before, after = tlv(SET, *attributes).split(MESSAGE_DIGEST + tlv(SET, tlv(OCTETS, mark)))
    return Template(
        before_digest=before + MESSAGE_DIGEST + tlv(SET, tlv(OCTETS, mark))[:-32],
        after_digest=after,
        certificates=tlv(CONTEXT_0, *sorted(dict.fromkeys(chain))),
        signer=issuer_and_serial,
        algorithm=algorithm_identifier(algorithm),
        longest_signature=_longest(holder.key, algorithm),
    )


def _longest(key: CertificatePublicKeyTypes, algorithm: SigningAlgorithm) -> int:
    if algorithm.is_rsa and isinstance(key, rsa.RSAPublicKey):
        return (key.key_size + 7) // 8
    if not algorithm.is_rsa and isinstance(key, ec.EllipticCurvePublicKey):
        # Two integers of the order's size, each perhaps with a leading zero, in a SEQUENCE.
        return 2 * ((key.key_size + 7) // 8 + 3) + 3
    raise Refused(
        "self-check",
        found="a certificate for another kind of key than the credential's",
        expected="the certificate that was issued for this key",
        remedy="bind the right certificate to the credential",
    )
