"""Certificates, lists and responses made by hand for the tests of the validation, right or wrong in one thing."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from services.verifier.validation.certificates import Certificate
from services.verifier.validation.der import BIT_STRING, SEQUENCE, encoded, parse

NOON = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
DAY = timedelta(days=1)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def name(common: str, **others: str) -> x509.Name:
    """A name of a country and a common name."""
    parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, "VN")]
    parts += [x509.NameAttribute(getattr(NameOID, kind), text) for kind, text in others.items()]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(*named: str) -> x509.KeyUsage:
    """A key usage extension with these bits."""
    return x509.KeyUsage(**{each: each in named for each in _USAGES})


@dataclass
class Holder:
    """A certificate and its key."""

    issued: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.issued.public_bytes(Encoding.DER)

    @property
    def read(self) -> Certificate:
        """As the verifier reads it."""
        return Certificate(self.der)


def issue(
    subject: str | x509.Name,
    issuer: Holder | None = None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    constraints: bool = True,
    usages: tuple[str, ...] | None = ("digital_signature", "content_commitment"),
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    not_before: datetime = NOON - 100 * DAY,
    not_after: datetime = NOON + 100 * DAY,
    key: Any = None,
    serial: int | None = None,
    issuer_name: x509.Name | None = None,
) -> Holder:
    """A certificate of a new P-256 key; self-signed without an issuer."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = name(subject) if isinstance(subject, str) else subject
    above = issuer_name or (issuer.issued.subject if issuer else subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    if ca and usages == ("digital_signature", "content_commitment"):
        usages = ("key_cert_sign", "crl_sign")
    if usages is not None:
        builder = builder.add_extension(usage(*usages), critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = issuer.key if issuer else key
    with warnings.catch_warnings(action="ignore"):
        return Holder(builder.sign(signer, hashes.SHA256()), key)


def resigned(holder: Holder, issuer: Holder, old: bytes, new: bytes) -> bytes:
    """The certificate with octets of its signed part replaced and signed again (DER): what no builder would make."""
    tbs, algorithm, _ = parse(holder.der).sequence(3)
    assert old in tbs.raw
    changed = encoded(SEQUENCE, tbs.contents.replace(old, new, 1))
    value = issuer.key.sign(changed, ec.ECDSA(hashes.SHA256()))
    return encoded(SEQUENCE, changed + algorithm.raw + encoded(BIT_STRING, b"\0" + value))


def revocation_list(
    issuer: Holder,
    revoked: dict[int, datetime] | None = None,
    *,
    reason: x509.ReasonFlags | None = None,
    this: datetime = NOON - DAY,
    until: datetime | None = NOON + 6 * DAY,
    number: int = 1,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    entry_issuer: x509.Name | None = None,
    key: Any = None,
) -> bytes:
    """A CRL (DER)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.issued.subject)
        .last_update(this)
        .next_update(until or this + 365 * DAY)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for serial, at in (revoked or {}).items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        if entry_issuer is not None:
            named = x509.CertificateIssuer([x509.DirectoryName(entry_issuer)])
            entry = entry.add_extension(named, critical=True)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key or issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def response(
    holder: Holder,
    issuer: Holder,
    responder: Holder | None = None,
    *,
    revoked_at: datetime | None = None,
    unknown: bool = False,
    this: datetime = NOON - DAY,
    until: datetime | None = NOON + 6 * DAY,
    by_key: bool = False,
    embed: bool = True,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """An OCSP response about a certificate, by the issuer itself or by a delegate (DER)."""
    responder = responder or issuer
    status = ocsp.OCSPCertStatus.UNKNOWN if unknown else ocsp.OCSPCertStatus.GOOD
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=holder.issued,
        issuer=issuer.issued,
        algorithm=algorithm or hashes.SHA1(),  # noqa: S303 - as every client asks (RFC 5019)
        cert_status=ocsp.OCSPCertStatus.REVOKED if revoked_at else status,
        this_update=this,
        next_update=until,
        revocation_time=revoked_at,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked_at else None,
    )
    encoding = ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME
    builder = builder.responder_id(encoding, responder.issued)
    if embed and responder is not issuer:
        builder = builder.certificates([responder.issued])
    return builder.sign(responder.key, hashes.SHA256()).public_bytes(Encoding.DER)
