"""PKCS#10 requests (RFC 2986) in two steps, for keys that sign elsewhere: what is to be signed, then the request."""

from __future__ import annotations

import base64
import textwrap

from events.errors import Refused
from services.signer.adapters import der
from services.signer.model import SigningAlgorithm

_CHALLENGE_PASSWORD = bytes.fromhex("06092a864886f70d010907")
_SHA256 = bytes.fromhex("300d06096086480165030402010500")
_MGF1_SHA256 = bytes.fromhex("301a06092a864886f70d010108") + _SHA256


def pss_parameters(salt: int) -> bytes:
    """RSASSA-PSS-params (DER): SHA-256, MGF1 with SHA-256, this many octets of salt (RFC 4055 clause 3.1)."""
    parts = der.tlv(0xA0, _SHA256), der.tlv(0xA1, _MGF1_SHA256), der.tlv(0xA2, der.integer(salt))
    return der.tlv(der.SEQUENCE, *parts)


PSS_PARAMETERS = pss_parameters(32)

_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")

IDENTIFIERS: dict[SigningAlgorithm, bytes] = {
    SigningAlgorithm.RSA_3072_PSS: der.tlv(der.SEQUENCE, bytes.fromhex("06092a864886f70d01010a"), PSS_PARAMETERS),
    SigningAlgorithm.RSA_3072_PKCS1: bytes.fromhex("300d06092a864886f70d01010b0500"),
    SigningAlgorithm.P256: _ECDSA_SHA256,
    SigningAlgorithm.P384: _ECDSA_SHA256,
}
"""AlgorithmIdentifier of signatures by each algorithm, DER (RFC 4055, RFC 5758); all sign SHA-256 digests."""


def to_sign(public: bytes, challenge: str) -> bytes:
    """CertificationRequestInfo (DER): an empty subject, the public key (SubjectPublicKeyInfo, DER), the challenge as
    challengePassword.

    Raises:
        Refused: a challenge that is empty or longer than 255 characters.
    """
    if not 1 <= len(challenge) <= 255:
        raise Refused(
            "challenge-length",
            found=f"a challenge of {len(challenge)} characters",
            expected="1 to 255 (RFC 2985 clause 5.4.1)",
            remedy="send the nonce of the application",
        )
    attribute = der.tlv(der.SEQUENCE, _CHALLENGE_PASSWORD, der.tlv(der.SET, der.tlv(der.UTF8, challenge.encode())))
    return der.tlv(der.SEQUENCE, der.integer(0), der.tlv(der.SEQUENCE), public, der.tlv(0xA0, attribute))


def signed(info: bytes, algorithm: SigningAlgorithm, signature: bytes) -> bytes:
    """The request (PEM) over what `to_sign` gave; `signature` as X.509 has it (ECDSA in DER)."""
    request = der.tlv(der.SEQUENCE, info, IDENTIFIERS[algorithm], der.tlv(der.BITS, b"\x00", signature))
    lines = "\n".join(textwrap.wrap(base64.b64encode(request).decode(), 64))
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{lines}\n-----END CERTIFICATE REQUEST-----\n".encode()
