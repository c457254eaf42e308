"""Reads requests and certificates: proof of possession, and one rule for each thing a certificate must say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID, ExtensionOID, NameOID

from domain import names
from domain.identifiers import from_subject
from events.errors import Malformed, Refused
from events.values import CertificateProfile, Digest, KeyAlgorithm
from services.ca_bridge.ports import Issued, Wanted
from services.runtime import certificates

DOCUMENT_SIGNING = {
    x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
    x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),
    x509.ObjectIdentifier("1.2.840.113583.1.1.5"),
}
"""Extended key usages for signing documents: RFC 9336, Microsoft's and Adobe's, which Vietnamese CAs use."""

LONGEST = 1096
"""Days that a subscriber's certificate may live (Decree 23/2025/ND-CP Art 4)."""

_SKEW = timedelta(minutes=5)


class Examiner:
    """Knows the trusted roots."""

    def __init__(self, anchors: Path) -> None:
        self._anchors = [_load(path) for path in sorted(anchors.iterdir()) if path.suffix in (".pem", ".cer", ".crt")]
        if not self._anchors:
            raise Malformed(
                "no-anchors",
                found=f"no certificate in {anchors.name}/",
                expected="trusted roots as .pem, .cer or .crt",
                remedy="put the roots there; none is shipped",
            )

    def possession(self, csr: bytes, challenge: str, algorithm: KeyAlgorithm) -> None:
        """Check that the request is signed by its own key over our challenge (Decree 23/2025/ND-CP Art 38).

        The key must be of the kind the application asked for.

        Raises:
            Refused: it is not.
        """
        request = _request(csr)
        try:
            said = request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value.decode()
        except (x509.AttributeNotFound, UnicodeDecodeError):
            said = ""
        if not request.is_signature_valid or said != challenge:
            raise _refused("possession-not-proven", "a request that its key did not sign over our challenge")
        if not _is(request.public_key(), algorithm):
            raise _refused(
                "key-of-another-kind", f"a key that is no {algorithm.value} (Circular 15/2025/TT-BKHCN App. I)"
            )

    def issued(self, pem: str, chain: Sequence[str], csr: bytes, wanted: Wanted, *, days: int, now: datetime) -> Issued:
        """Check what the CA issued, rule by rule, before anybody is asked to confirm it.

        Raises:
            Refused: one rule is broken; the certificate must not be used.
        """
        certificate, issuers = _parsed(pem, chain)
        if _spki(certificate) != _spki(_request(csr)):
            raise _refused("certificate-other-key", "a certificate for another public key")
        return self._examined(certificate, issuers, wanted, days=days, now=now)

    def held(self, pem: str, chain: Sequence[str], wanted: Wanted, *, now: datetime) -> Issued:
        """Check a certificate that the holder has already, by the same rules.

        Raises:
            Refused: one rule is broken; the certificate must not be used.
        """
        certificate, issuers = _parsed(pem, chain)
        if not _is(certificate.public_key(), wanted.key_algorithm):
            raise _refused("key-of-another-kind", f"a key that is no {wanted.key_algorithm.value}")
        return self._examined(certificate, issuers, wanted, days=LONGEST, now=now)

    def _examined(
        self,
        certificate: x509.Certificate,
        issuers: Sequence[x509.Certificate],
        wanted: Wanted,
        *,
        days: int,
        now: datetime,
    ) -> Issued:
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        if life > timedelta(days=min(days, LONGEST), minutes=5):
            raise _refused("certificate-too-long", f"a life of {life.days} days (Decree 23/2025/ND-CP Art 4)")
        _in_life(certificate, now)
        self._usage(certificate)
        self._subject(certificate, wanted)
        self._path(certificate, issuers, now)
        everything = [certificate, *issuers]
        return Issued(
            certificate=Digest.of(certificate.public_bytes(Encoding.DER)),
            chain_pem=b"".join(one.public_bytes(Encoding.PEM) for one in everything),
            serial=str(certificate.serial_number),
            key=Digest.of(_spki(certificate)),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )

    def _usage(self, certificate: x509.Certificate) -> None:
        try:
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
            basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            certificate.extensions.get_extension_for_oid(ExtensionOID.CERTIFICATE_POLICIES)
            certificate.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS)
            certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
        except x509.ExtensionNotFound as fault:
            raise _refused("certificate-incomplete", f"no extension {fault.oid.dotted_string}") from fault
        signs = usage.digital_signature and usage.content_commitment
        more = usage.key_cert_sign or usage.crl_sign or usage.key_encipherment or usage.data_encipherment
        if not signs or more or basic.ca:
            raise _refused("certificate-wrong-usage", "a key usage other than digitalSignature and nonRepudiation")
        if not DOCUMENT_SIGNING & set(purposes):
            raise _refused("certificate-wrong-usage", "an extended key usage without document signing (RFC 9336)")

    def _subject(self, certificate: x509.Certificate, wanted: Wanted) -> None:
        """Identifiers and names agree with the verified identity; the numbers are compared, never repeated."""

        def values(oid: x509.ObjectIdentifier) -> list[str]:
            return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]

        said = from_subject(
            values(NameOID.USER_ID), values(NameOID.SERIAL_NUMBER), values(NameOID.ORGANIZATION_IDENTIFIER)
        )
        people = frozenset({wanted.person.number}) if wanted.person else frozenset()
        taxes = frozenset({wanted.tax_code.replace("-", "")}) if wanted.tax_code else frozenset()
        if said.personal_numbers != people or said.tax_codes != taxes:
            raise _refused("certificate-other-subject", "identifiers that are not those of the verified identity")
        common = values(NameOID.COMMON_NAME)
        is_seal = wanted.profile is CertificateProfile.ORGANISATION
        expected = wanted.organisation if is_seal else (wanted.person.full_name if wanted.person else None)
        if len(common) != 1 or expected is None or names.compare(common[0], expected) is names.Match.MISMATCH:
            raise _refused("certificate-other-name", "a name that is not that of the verified identity")
        firms = values(NameOID.ORGANIZATION_NAME)
        if not all(wanted.organisation and _agree(firm, wanted.organisation) for firm in firms):
            raise _refused("certificate-other-name", "an organisation that is not that of the verified identity")

    def _path(self, certificate: x509.Certificate, issuers: Sequence[x509.Certificate], now: datetime) -> None:
        """Each is signed by the next, the last by a configured root: by keys, never by names alone (RFC 5280 6.1)."""
        current = certificate
        for below, issuer in enumerate(issuers):
            _signed_by(current, issuer)
            _may_issue(issuer, below)
            _in_life(issuer, now)
            current = issuer
        for anchor in self._anchors:
            if _spki(current) == _spki(anchor) and current.subject == anchor.subject:
                return
            try:
                _signed_by(current, anchor)
            except Refused:
                continue
            return
        raise _refused("certificate-untrusted", "a chain that leads to no configured root")


def _may_issue(issuer: x509.Certificate, below: int) -> None:
    """A CA by its own word, with room for `below` CAs under it (RFC 5280 clauses 4.2.1.3, 4.2.1.9)."""
    try:
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as fault:
        raise _refused("certificate-bad-path", "an issuer that does not say that it is a CA") from fault
    room = basic.path_length is None or basic.path_length >= below
    if not (basic.ca and usage.key_cert_sign and room):
        raise _refused("certificate-bad-path", "an issuer that may not issue")


def _in_life(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now + _SKEW or now >= certificate.not_valid_after_utc:
        raise _refused("certificate-not-in-life", "a certificate that is expired or not yet valid")


def _is(key: object, algorithm: KeyAlgorithm) -> bool:
    if algorithm is KeyAlgorithm.P256:
        return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    return isinstance(key, rsa.RSAPublicKey) and key.key_size == 3072 and key.public_numbers().e == 65537


def _agree(one: str, other: str) -> bool:
    return names.compare(one, other) is not names.Match.MISMATCH


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as fault:
        raise _refused("certificate-bad-path", "a chain whose signatures do not hold") from fault


def _parsed(pem: str, chain: Sequence[str]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    try:
        certificate, *issuers = [certificates.from_pem(one.encode()) for one in (pem, *chain)]
        for one in (certificate, *issuers):
            certificates.extensions_of(one)
            certificates.key_of(one)
    except ValueError as fault:
        raise _refused("certificate-unreadable", "something that is no certificate that can be read") from fault
    if not 0 < certificate.serial_number < 1 << 160:
        found = "a serial number that is not positive, or of more than 20 octets (RFC 5280 clause 4.1.2.2)"
        raise _refused("certificate-unreadable", found)
    return certificate, issuers


def _request(csr: bytes) -> x509.CertificateSigningRequest:
    try:
        asked = certificates.request(csr)
        certificates.key_of(asked)
    except ValueError as fault:
        raise _refused("request-unreadable", "something that is no PKCS#10 request that can be read") from fault
    return asked


def _spki(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load(path: Path) -> x509.Certificate:
    try:
        found = certificates.all_in(path.read_bytes())[0]
        certificates.key_of(found)
    except ValueError as fault:
        raise Malformed(
            "anchor-unreadable",
            found=f"the file {path.name}, which holds no certificate that can be read",
            expected="an X.509 certificate, PEM or DER",
            remedy="remove or replace the file",
        ) from fault
    return found


def _refused(code: str, found: str) -> Refused:
    return Refused(
        code,
        found=found,
        expected="what the application asked for and the verified identity says",
        remedy="report it to the CA; the certificate is not used",
    )
