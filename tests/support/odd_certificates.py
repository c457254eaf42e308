"""Certificates that nobody can read to the end: each a good one with one thing changed that no builder would make."""

from __future__ import annotations

import base64
from collections.abc import Callable

from asn1crypto import core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_EDI_PARTY_NAME = bytes.fromhex("3008a506a10413026869")
"""A GeneralNames with one: RFC 5280 clause 4.2.1.6 has it, the library does not."""


def _of_version_4(der: bytes) -> bytes:
    return _replaced(der, bytes.fromhex("a003020102"), bytes.fromhex("a003020103"))


def _of_an_unknown_key(der: bytes) -> bytes:
    return _replaced(der, bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0209"))


def _with_a_name_in_bits(der: bytes) -> bytes:
    common = str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    text = common.encode()
    return _replaced(der, bytes([0x0C, len(text)]) + text, bytes([0x03, len(text), 0]) + text[1:])


def _with_an_extension_twice(der: bytes) -> bytes:
    found = asn1_x509.Certificate.load(der)
    every = found["tbs_certificate"]["extensions"]
    every.append(every[0].copy())
    return bytes(found.dump(force=True))


def _with_an_edi_party_name(der: bytes) -> bytes:
    found = asn1_x509.Certificate.load(der)
    every = found["tbs_certificate"]["extensions"]
    every.append(asn1_x509.Extension({"extn_id": "1.2.3", "extn_value": core.ParsableOctetString(_EDI_PARTY_NAME)}))
    every[-1]["extn_id"] = "issuer_alt_name"
    return bytes(found.dump(force=True))


def _of_the_year_0(der: bytes) -> bytes:
    found = asn1_x509.Certificate.load(der)
    last = asn1_x509.Time(name="general_time", value=core.GeneralizedTime(contents=b"00000101000000Z"))
    found["tbs_certificate"]["validity"]["not_after"] = last
    return bytes(found.dump(force=True))


WHOLLY: dict[str, Callable[[bytes], bytes]] = {
    "version 4": _of_version_4,
    "a name in bits": _with_a_name_in_bits,
    "the year 0": _of_the_year_0,
}
"""No certificate at all."""
EXTENDED: dict[str, Callable[[bytes], bytes]] = {
    "an extension twice": _with_an_extension_twice,
    "an EDI party name": _with_an_edi_party_name,
}
"""One whose extensions cannot be read."""
KEYED: dict[str, Callable[[bytes], bytes]] = {"an unknown key": _of_an_unknown_key}
"""One whose key cannot be read; the good one must be of an elliptic curve."""
ODD = WHOLLY | EXTENDED | KEYED


def as_pem(der: bytes, label: str = "CERTIFICATE") -> str:
    """The octets in PEM, whatever they are (RFC 7468)."""
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def signed_again(der: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The same, with a signature that holds (ECDSA with SHA-256)."""
    found = asn1_x509.Certificate.load(der)
    found["signature_value"] = core.OctetBitString(key.sign(found["tbs_certificate"].dump(), ec.ECDSA(hashes.SHA256())))
    return bytes(found.dump())


def _replaced(der: bytes, old: bytes, new: bytes) -> bytes:
    assert old in der, "the good certificate is not of the form that this changes"
    return der.replace(old, new)
