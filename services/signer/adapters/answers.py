"""What an OCSP response or a CRL says of a certificate, believed only after everything about it was checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from services.runtime import certificates
from services.signer.adapters import chains
from services.signer.adapters.der import BITS, SEQUENCE, span, whole, within
from services.signer.model import CLOCK_SKEW, Standing, StatusRow

K = TypeVar("K")
V = TypeVar("V")


class Unusable(Exception):
    """An answer that proves nothing; the text says why."""


def put(store: dict[K, V], key: K, value: V, most: int) -> None:
    """Remember; what came first goes first when there is too much."""
    if key not in store and len(store) >= most:
        del store[next(iter(store))]
    store[key] = value


@dataclass
class Checks:
    """Signatures that were found good: of responders' certificates and of CRLs, by who signed what."""

    good: dict[tuple[bytes, bytes], None] = field(default_factory=dict)

    def once(self, what: bytes, issuer: x509.Certificate, verify: Callable[[], None]) -> None:
        """Verify, unless the same octets by the same issuer were verified before; what `verify` raises is raised."""
        mark = (hashlib.sha256(what).digest(), issuer.fingerprint(hashes.SHA256()))
        if mark not in self.good:
            verify()
            put(self.good, mark, None, 256)


def judge_ocsp(
    body: bytes,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    blank: StatusRow,
    *,
    nonce: bytes | None,
    oldest: timedelta,
    checks: Checks,
) -> StatusRow:
    """What an OCSP response (DER) says of the certificate, once everything about it was checked (RFC 6960 clause 3.2).

    Raises:
        Unusable: it is no answer, another's answer, unsigned, of no authority, stale, or of before the certificate.
    """
    now = blank.checked_at
    try:
        response = ocsp.load_der_ocsp_response(body)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Unusable(f"the responder says {response.response_status.name.lower()}")
        _check_responder(body, response, issuer, now, checks)
        echoed = [e.value.nonce for e in certificates.extensions_of(response) if isinstance(e.value, x509.OCSPNonce)]
        if nonce is not None and echoed and echoed != [nonce]:
            raise Unusable("the answer carries another nonce")
        single = next((item for item in response.responses if _speaks_of(item, certificate, issuer)), None)
        if single is None:
            raise Unusable("the answer is about another certificate")
        this_update, next_update = single.this_update_utc, single.next_update_utc
        _check_times(this_update, next_update, certificate, now, oldest)
        row = replace(blank, source="ocsp", this_update=this_update, next_update=next_update)
        match single.certificate_status:
            case ocsp.OCSPCertStatus.GOOD:
                return replace(row, standing=Standing.GOOD)
            case ocsp.OCSPCertStatus.REVOKED:
                reason = single.revocation_reason
                return _revoked(row, reason, single.revocation_time_utc)
            case _:
                raise Unusable("the responder does not know the certificate")
    except (ValueError, UnsupportedAlgorithm, TypeError, KeyError) as fault:
        raise Unusable(f"an answer that cannot be read ({type(fault).__name__})") from fault


def judge_crl(
    body: bytes, certificate: x509.Certificate, issuer: x509.Certificate, blank: StatusRow, *, checks: Checks
) -> tuple[StatusRow, bytes]:
    """What a CRL (DER or PEM) says of the certificate, and the CRL's DER (RFC 5280 clause 6.3, complete CRLs only).

    Raises:
        Unusable: not a CRL, not this issuer's, not signed by it, delta, indirect, partial, stale.
    """
    now = blank.checked_at
    try:
        found = certificates.revocation_list(body)
        der = found.public_bytes(Encoding.DER)
        if found.issuer != certificate.issuer or certificate.issuer != issuer.subject:
            raise Unusable("a CRL of another issuer")
        for extension in certificates.extensions_of(found):
            value = extension.value
            if isinstance(value, x509.IssuingDistributionPoint):
                if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
                    raise Unusable("an indirect or partial CRL")
                if (value.only_contains_ca_certs and not is_ca(certificate)) or (
                    value.only_contains_user_certs and is_ca(certificate)
                ):
                    raise Unusable("a CRL for other kinds of certificates")
            elif extension.critical:
                raise Unusable("a CRL with a critical extension that is not understood, or a delta CRL")
        if not certificates.extensions_of(issuer).get_extension_for_class(x509.KeyUsage).value.crl_sign:
            raise Unusable("an issuer that may not sign CRLs")
        checks.once(
            der,
            issuer,
            lambda: chains.verify_by_identifier(
                issuer.public_key(), found.signature, found.tbs_certlist_bytes, _second(der), ""
            ),
        )
        if found.next_update_utc is None:
            raise Unusable("a CRL without nextUpdate")
        _check_times(found.last_update_utc, found.next_update_utc, certificate, now, timedelta(0))
        row = replace(blank, source="crl", this_update=found.last_update_utc, next_update=found.next_update_utc)
        entry = found.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is None:
            return replace(row, standing=Standing.GOOD), der
        reason = None
        for extension in certificates.extensions_of(entry):
            if isinstance(extension.value, x509.CRLReason):
                reason = extension.value.reason
        if reason is x509.ReasonFlags.remove_from_crl:
            raise Unusable("removeFromCRL in a complete CRL")
        return _revoked(row, reason, entry.revocation_date_utc), der
    except InvalidSignature as fault:
        raise Unusable("a CRL whose signature is wrong") from fault
    except (ValueError, UnsupportedAlgorithm, TypeError, KeyError, x509.ExtensionNotFound) as fault:
        raise Unusable(f"a CRL that cannot be read ({type(fault).__name__})") from fault


def _second(data: bytes, start: int = 0) -> bytes:
    """The second value of the SEQUENCE at `start`: there signed structures name their algorithm (RFC 5280 4.1)."""
    outer = span(data, start, len(data))
    first = span(data, outer[2], outer[3])
    second = span(data, first[3], outer[3])
    return data[second[1] : second[3]]


def _basic(body: bytes) -> int:
    """Where BasicOCSPResponse begins in an OCSPResponse (RFC 6960 clause 4.2.1)."""
    _, _, start, end = whole(body, SEQUENCE)
    _, tagged = within(body, start, end)
    _, _, start, end = span(body, tagged[2], tagged[3])
    _, octets = within(body, start, end)
    return octets[2]


def _check_responder(
    body: bytes, response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime, checks: Checks
) -> None:
    """The signer of the answer is the issuer, or one the issuer named for it (RFC 6960 clause 4.2.2.2)."""
    algorithm = _second(body, _basic(body))
    for candidate in (issuer, *response.certificates):
        if response.responder_name is not None and candidate.subject != response.responder_name:
            continue
        if response.responder_key_hash is not None and _key_hash(candidate) != response.responder_key_hash:
            continue
        try:
            chains.verify_by_identifier(
                candidate.public_key(), response.signature, response.tbs_response_bytes, algorithm, ""
            )
        except InvalidSignature:
            continue
        if candidate == issuer:
            return
        try:
            der = chains.der(candidate)
            checks.once(der, issuer, partial(_issued_by, der, issuer))
            said = certificates.extensions_of(candidate)
            usage = said.get_extension_for_class(x509.ExtendedKeyUsage).value
            said.get_extension_for_class(x509.OCSPNoCheck)
        except (InvalidSignature, ValueError, TypeError) as fault:
            raise Unusable("a responder that the issuer did not name") from fault
        except x509.ExtensionNotFound as fault:
            raise Unusable("a responder without id-kp-OCSPSigning or ocsp-nocheck") from fault
        if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
            raise Unusable("a responder without id-kp-OCSPSigning")
        if not candidate.not_valid_before_utc <= now <= candidate.not_valid_after_utc:
            raise Unusable("a responder whose own certificate is out of date")
        return
    raise Unusable("an answer signed by nobody known")


def _issued_by(der: bytes, issuer: x509.Certificate) -> None:
    # Read anew: of what an answer carries the library lets pass more than of a certificate by itself.
    certificates.from_der(der).verify_directly_issued_by(issuer)


def _check_times(
    this_update: datetime,
    next_update: datetime | None,
    certificate: x509.Certificate,
    now: datetime,
    oldest: timedelta,
) -> None:
    if this_update > now + CLOCK_SKEW:
        raise Unusable("an answer from the future")
    if next_update is not None and next_update < now - CLOCK_SKEW:  # it may be the last moment of time
        raise Unusable(f"an answer that was to be renewed at {next_update:%Y-%m-%dT%H:%M:%SZ}")
    if next_update is None and this_update < now - oldest:
        raise Unusable("an answer that is too old")
    # Validators refuse evidence that is older than the certificate it speaks of, and so do we: it cannot know it.
    if this_update < certificate.not_valid_before_utc:
        raise Unusable("an answer from before the certificate's notBefore")


def _revoked(row: StatusRow, reason: x509.ReasonFlags | None, since: datetime | None) -> StatusRow:
    held = reason is x509.ReasonFlags.certificate_hold
    return replace(
        row,
        standing=Standing.SUSPENDED if held else Standing.REVOKED,
        reason=(reason or x509.ReasonFlags.unspecified).value,
        since=since,
    )


def _speaks_of(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if single.serial_number != certificate.serial_number:
        return False
    return single.issuer_name_hash == _hash(
        single.hash_algorithm, issuer.subject.public_bytes()
    ) and single.issuer_key_hash == _hash(single.hash_algorithm, _key_bits(issuer))


def _key_bits(certificate: x509.Certificate) -> bytes:
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    bits = whole(_second(info), BITS)
    return _second(info)[bits[2] + 1 :]


def _key_hash(certificate: x509.Certificate) -> bytes:
    return _hash(hashes.SHA1(), _key_bits(certificate))  # noqa: S303 - the responder's name (RFC 6960 clause 4.2.1)


def _hash(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    state = hashes.Hash(algorithm)
    state.update(data)
    return state.finalize()


def is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
