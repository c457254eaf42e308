"""X.509 that somebody else wrote: every way in which it cannot be read is one error.

`cryptography` reads late and raises more than ValueError: for a version that does not exist when it loads, for an
extension given twice or a strange name when that is asked for. What is read here can be asked for its names, its
validity and its octets; its extensions and its key are asked for here too. Extensions stay unread until then: a few
real roots have one that the library cannot read, and are good anchors all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from warnings import catch_warnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_FAULTS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library was seen to raise for octets of others; TypeError for a name that is a BIT STRING."""


class _Extended(Protocol):
    """A certificate, a request, a CRL or an entry of one, an OCSP response."""

    @property
    def extensions(self) -> x509.Extensions: ...


def from_der(data: bytes) -> x509.Certificate:
    """The certificate in DER.

    Raises:
        ValueError: it is none, or its names or its validity cannot be read (RFC 5280 clause 4.1).
    """
    with _reading("certificate"):
        return _read(x509.load_der_x509_certificate(data))


def from_pem(data: bytes) -> x509.Certificate:
    """The first certificate in PEM.

    Raises:
        ValueError: there is none, or its names or its validity cannot be read (RFC 5280 clause 4.1).
    """
    with _reading("certificate"):
        return _read(x509.load_pem_x509_certificate(data))


def all_in(data: bytes) -> list[x509.Certificate]:
    """All certificates in PEM, or the one in DER; at least one.

    Raises:
        ValueError: there is none, or one of them cannot be read, as `from_der` has it.
    """
    if b"-----BEGIN" not in data:
        return [from_der(data)]
    with _reading("certificate"):
        return [_read(one) for one in x509.load_pem_x509_certificates(data)]


def request(data: bytes) -> x509.CertificateSigningRequest:
    """The certification request (PKCS#10) in PEM.

    Raises:
        ValueError: it is none, or its attributes cannot be read (RFC 2986 clause 4).
    """
    with _reading("certification request"):
        found = x509.load_pem_x509_csr(data)
        found.attributes  # noqa: B018 - read now
        return found


def revocation_list(data: bytes) -> x509.CertificateRevocationList:
    """The CRL in PEM or DER.

    Raises:
        ValueError: it is none, or its issuer or its times cannot be read (RFC 5280 clause 5.1).
    """
    with _reading("CRL"):
        pem = b"-----BEGIN" in data[:100]
        found = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
        found.issuer, found.last_update_utc, found.next_update_utc  # noqa: B018 - read now
        return found


def extensions_of(holder: _Extended) -> x509.Extensions:
    """The extensions of a certificate, a request, a CRL, an entry of one, or an OCSP response; read once.

    Raises:
        ValueError: one is malformed or stands there twice (RFC 5280 clause 4.2).
    """
    try:  # plainly, for it is asked at every signature
        return holder.extensions
    except _FAULTS as fault:
        raise _unreadable("extension", fault) from fault


def key_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    """The public key in a certificate or a request; read once.

    Raises:
        ValueError: it is malformed, or of a kind that the library does not know.
    """
    try:
        return holder.public_key()
    except _FAULTS as fault:
        raise _unreadable("public key", fault) from fault


def _read(certificate: x509.Certificate) -> x509.Certificate:
    certificate.subject, certificate.issuer  # noqa: B018 - read now
    certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018 - a year 0 is none
    return certificate


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        # Nobody here can mend what it warns of, and it counts a name's octets where RFC 5280 counts characters.
        with catch_warnings(action="ignore", category=UserWarning):
            yield
    except _FAULTS as fault:
        raise _unreadable(what, fault) from fault


def _unreadable(what: str, fault: Exception) -> ValueError:
    return ValueError(f"no {what} that can be read ({type(fault).__name__})")
