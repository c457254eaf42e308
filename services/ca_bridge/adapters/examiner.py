"""Reads requests and certificates: proof of possession, and one rule for each thing a certificate must say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID, ExtensionOID, NameOID

from domain import names
from domain.identifiers import from_subject
from events.errors import Malformed, Refused
from events.values import CertificateProfile, Digest
from services.ca_bridge.ports import Issued, Wanted


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

    def possession(self, csr: bytes, challenge: str) -> None:
        """Check that the request is signed by its own key over our challenge (Decree 23/2025/ND-CP Art 38).

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
        key = request.public_key()
        strong = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048) or (
            isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256
        )
        if not strong:
            raise _refused("key-too-weak", "a key below RSA 2048 or P-256 (Circular 15/2025/TT-BKHCN App. I)")

    def issued(self, pem: str, chain: Sequence[str], csr: bytes, wanted: Wanted, *, days: int) -> Issued:
        """Check what the CA issued, rule by rule, before anybody is asked to confirm it.

        Raises:
            Refused: one rule is broken; the certificate must not be used.
        """
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            issuers = [x509.load_pem_x509_certificate(one.encode()) for one in chain]
        except ValueError as fault:
            raise _refused("certificate-unreadable", "something that is no certificate") from fault
        key = _spki(certificate)
        if key != _spki(_request(csr)):
            raise _refused("certificate-other-key", "a certificate for another public key")
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        if life > timedelta(days=1096, minutes=5) or life > timedelta(days=days, minutes=5):
            raise _refused("certificate-too-long", f"a life of {life.days} days (Decree 23/2025/ND-CP Art 4)")
        self._usage(certificate)
        self._subject(certificate, wanted)
        self._path(certificate, issuers)
        everything = [certificate, *issuers]
        return Issued(
            certificate=Digest.of(certificate.public_bytes(Encoding.DER)),
            chain_pem=b"".join(one.public_bytes(Encoding.PEM) for one in everything),
            serial=str(certificate.serial_number),
            key=Digest.of(key),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )

    def _usage(self, certificate: x509.Certificate) -> None:
        try:
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
            basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            certificate.extensions.get_extension_for_oid(ExtensionOID.CERTIFICATE_POLICIES)
            certificate.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS)
            certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
        except x509.ExtensionNotFound as fault:
            raise _refused("certificate-incomplete", f"no extension {fault.oid.dotted_string}") from fault
        if not (usage.digital_signature and usage.content_commitment) or basic.ca:
            raise _refused("certificate-wrong-usage", "a key usage other than digitalSignature and nonRepudiation")

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

    def _path(self, certificate: x509.Certificate, issuers: Sequence[x509.Certificate]) -> None:
        """Each is signed by the next, the last by a configured root: by keys, never by names alone."""
        current = certificate
        for issuer in issuers:
            _signed_by(current, issuer)
            current = issuer
        if not any(_spki(current) == _spki(anchor) for anchor in self._anchors):
            for anchor in self._anchors:
                try:
                    _signed_by(current, anchor)
                except Refused:
                    continue
                return
            raise _refused("certificate-untrusted", "a chain that leads to no configured root")


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as fault:
        raise _refused("certificate-bad-path", "a chain whose signatures do not hold") from fault


def _request(csr: bytes) -> x509.CertificateSigningRequest:
    try:
        return x509.load_pem_x509_csr(csr)
    except ValueError as fault:
        raise _refused("request-unreadable", "something that is no PKCS#10 request") from fault


def _spki(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load(path: Path) -> x509.Certificate:
    data = path.read_bytes()
    return x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)


def _refused(code: str, found: str) -> Refused:
    return Refused(
        code,
        found=found,
        expected="what the application asked for and the verified identity says",
        remedy="report it to the CA; the certificate is not used",
    )
