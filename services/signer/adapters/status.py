# mypy: allow-untyped-calls
"""How certificates stand: OCSP first, the CRL where it fails; every answer is checked before it is believed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from urllib.parse import urlsplit

from asn1crypto import crl as asn1_crl
from asn1crypto import keys
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from events.errors import Refused, Unavailable
from events.values import Digest
from services.runtime.clock import Clock
from services.runtime.outbound import Outbound
from services.signer.adapters import chains
from services.signer.adapters.fetching import fetch
from services.signer.model import CLOCK_SKEW, Evidence, PreSignCheck, Role, Standing, StatusRow


class Unusable(Exception):
    """An answer that proves nothing; the text says why."""


@dataclass(frozen=True)
class _Known:
    row: StatusRow
    evidence: Evidence
    until: datetime | None


class OnlineStatus:
    """A `StatusSource` that asks the addresses in the certificates themselves, after their path was verified.

    `timeout` is in seconds per request; `limit` in octets per answer; `oldest` is how old an answer without
    nextUpdate may be. Issuers' and timestamp authorities' answers are kept until their nextUpdate; a signer's own
    status is asked each time.
    """

    def __init__(
        self,
        outbound: Outbound,
        anchors: Sequence[x509.Certificate],
        clock: Clock,
        *,
        pool: Sequence[x509.Certificate] = (),
        timeout: float = 5.0,
        limit: int = 4_000_000,
        oldest: timedelta = timedelta(hours=24),
    ) -> None:
        self._outbound = outbound
        self._anchors = tuple(anchors)
        self._pool = tuple(pool)
        self._clock = clock
        self._timeout = timeout
        self._limit = limit
        self._oldest = oldest
        self._kept: dict[tuple[Role, bytes], _Known] = {}

    async def check(self, chain: tuple[bytes, ...]) -> PreSignCheck:
        """Check a signer's certificate and its issuers (DER, signer first).

        Sources: Decree 23/2025/ND-CP Art 15; Circular 15/2025/TT-BKHCN Art 5 (S1, S9).

        Raises:
            Refused: expired, not yet valid, not for signing, malformed, or no path to a trusted root.
        """
        now = self._clock.now()
        try:
            certificates = [x509.load_der_x509_certificate(item) for item in chain]
            leaf = certificates[0]
        except (ValueError, IndexError) as fault:
            raise Refused(
                "certificate-malformed",
                found="a chain that holds no readable certificate",
                expected="X.509 certificates, the signer's first",
                remedy="bind the credential anew",
            ) from fault
        path = chains.build_path(leaf, (*certificates[1:], *self._pool), self._anchors, now)
        _may_sign(leaf)
        rows: list[StatusRow] = []
        evidence = Evidence(certificates=tuple(chains.der(c) for c in path))
        for place, (certificate, issuer) in enumerate(pairwise(path)):
            role = Role.SIGNER if place == 0 else Role.ISSUER
            known = await self._status(certificate, issuer, role, now, keep=place > 0)
            rows.append(known.row)
            evidence += known.evidence
        if len(path) == 1:
            rows.append(_anchored(path[0], now))
        return PreSignCheck(
            checked_at=now, path=tuple(chains.der(c) for c in path), rows=tuple(rows), evidence=evidence
        )

    async def evidence(self, path: tuple[bytes, ...]) -> Evidence:
        """Status material for a timestamp authority's path (DER, leaf first, root last).

        Raises:
            Unavailable: a status is not good, or cannot be had.
        """
        now = self._clock.now()
        certificates = [x509.load_der_x509_certificate(item) for item in path]
        evidence = Evidence(certificates=path)
        for certificate, issuer in pairwise(certificates):
            known = await self._status(certificate, issuer, Role.TIMESTAMP, now, keep=True)
            if known.row.standing is not Standing.GOOD:
                raise Unavailable(
                    "timestamp-authority-status",
                    found=f"the timestamp authority's certificate {known.row.standing.value}"
                    + (f": {known.row.why_unknown}" if known.row.why_unknown else ""),
                    expected="a certificate in good standing, with evidence",
                    remedy="nothing was released; it is tried again, or choose another timestamp authority",
                )
            evidence += known.evidence
        return evidence

    async def _status(
        self, certificate: x509.Certificate, issuer: x509.Certificate, role: Role, now: datetime, *, keep: bool
    ) -> _Known:
        key = (role, certificate.fingerprint(hashes.SHA256()))
        kept = self._kept.get(key)
        if keep and kept is not None and kept.until is not None and now < kept.until:
            return kept
        known = await self._ask(certificate, issuer, role, now)
        if keep and known.row.standing is Standing.GOOD:
            self._kept[key] = known
        return known

    async def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate, role: Role, now: datetime) -> _Known:
        blank = StatusRow(role, Digest.of(chains.der(certificate)), Standing.UNKNOWN, "none", now)
        faults: list[str] = []
        for url in _ocsp_urls(certificate):
            try:
                return await self._ask_ocsp(url, certificate, issuer, blank)
            except Unusable as fault:
                faults.append(f"OCSP: {fault}")
            except Unavailable as fault:
                faults.append(f"OCSP: {fault.found}")
        for url in _crl_urls(certificate):
            try:
                return await self._ask_crl(url, certificate, issuer, blank)
            except Unusable as fault:
                faults.append(f"CRL: {fault}")
            except Unavailable as fault:
                faults.append(f"CRL: {fault.found}")
        why = "; ".join(faults)[:300] or "the certificate names neither an OCSP responder nor a CRL"
        return _Known(replace(blank, why_unknown=why), Evidence(), None)

    async def _ask_ocsp(
        self, url: str, certificate: x509.Certificate, issuer: x509.Certificate, blank: StatusRow
    ) -> _Known:
        nonce = os.urandom(16)
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303 - a name, not a signature (RFC 5019)
            .add_extension(x509.OCSPNonce(nonce), critical=False)
            .build()
        )
        body, _ = await fetch(
            self._outbound,
            "POST",
            url,
            what="OCSP responder",
            code="ocsp",
            body=request.public_bytes(Encoding.DER),
            content_type="application/ocsp-request",
            accept="application/ocsp-response",
            timeout=self._timeout,
            limit=min(self._limit, 100_000),
        )
        row = judge_ocsp(body, certificate, issuer, blank, nonce=nonce, oldest=self._oldest)
        return _Known(row, Evidence(ocsps=(body,)), row.next_update)

    async def _ask_crl(
        self, url: str, certificate: x509.Certificate, issuer: x509.Certificate, blank: StatusRow
    ) -> _Known:
        body, _ = await fetch(
            self._outbound, "GET", url, what="CRL", code="crl", timeout=self._timeout, limit=self._limit
        )
        row, der = judge_crl(body, certificate, issuer, blank)
        return _Known(row, Evidence(crls=(der,)), row.next_update)


def judge_ocsp(
    body: bytes,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    blank: StatusRow,
    *,
    nonce: bytes | None,
    oldest: timedelta,
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
        _check_responder(body, response, issuer, now)
        echoed = [e.value.nonce for e in response.extensions if isinstance(e.value, x509.OCSPNonce)]
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
    body: bytes, certificate: x509.Certificate, issuer: x509.Certificate, blank: StatusRow
) -> tuple[StatusRow, bytes]:
    """What a CRL (DER or PEM) says of the certificate, and the CRL's DER (RFC 5280 clause 6.3, complete CRLs only).

    Raises:
        Unusable: not a CRL, not this issuer's, not signed by it, delta, indirect, partial, stale.
    """
    now = blank.checked_at
    try:
        pem = b"-----BEGIN" in body[:100]
        found = x509.load_pem_x509_crl(body) if pem else x509.load_der_x509_crl(body)
        der = found.public_bytes(Encoding.DER)
        if found.issuer != certificate.issuer or certificate.issuer != issuer.subject:
            raise Unusable("a CRL of another issuer")
        for extension in found.extensions:
            value = extension.value
            if isinstance(value, x509.IssuingDistributionPoint):
                if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
                    raise Unusable("an indirect or partial CRL")
                if (value.only_contains_ca_certs and not _is_ca(certificate)) or (
                    value.only_contains_user_certs and _is_ca(certificate)
                ):
                    raise Unusable("a CRL for other kinds of certificates")
            elif extension.critical:
                raise Unusable("a CRL with a critical extension that is not understood, or a delta CRL")
        if not issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign:
            raise Unusable("an issuer that may not sign CRLs")
        parsed = asn1_crl.CertificateList.load(der)
        chains.verify_signature(
            issuer.public_key(),
            parsed["signature"].native,
            parsed["tbs_cert_list"].dump(),
            parsed["signature_algorithm"],
            "",
        )
        if found.next_update_utc is None:
            raise Unusable("a CRL without nextUpdate")
        _check_times(found.last_update_utc, found.next_update_utc, certificate, now, timedelta(0))
        row = replace(blank, source="crl", this_update=found.last_update_utc, next_update=found.next_update_utc)
        entry = found.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is None:
            return replace(row, standing=Standing.GOOD), der
        reason = None
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CRLReason):
                reason = extension.value.reason
        if reason is x509.ReasonFlags.remove_from_crl:
            raise Unusable("removeFromCRL in a complete CRL")
        return _revoked(row, reason, entry.revocation_date_utc), der
    except InvalidSignature as fault:
        raise Unusable("a CRL whose signature is wrong") from fault
    except (ValueError, UnsupportedAlgorithm, TypeError, KeyError, x509.ExtensionNotFound) as fault:
        raise Unusable(f"a CRL that cannot be read ({type(fault).__name__})") from fault


def _check_responder(body: bytes, response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """The signer of the answer is the issuer, or one the issuer named for it (RFC 6960 clause 4.2.2.2)."""
    parsed = asn1_ocsp.OCSPResponse.load(body)["response_bytes"]["response"].parsed
    for candidate in (issuer, *response.certificates):
        if response.responder_name is not None and candidate.subject != response.responder_name:
            continue
        if response.responder_key_hash is not None and _key_hash(candidate) != response.responder_key_hash:
            continue
        try:
            chains.verify_signature(
                candidate.public_key(),
                response.signature,
                response.tbs_response_bytes,
                parsed["signature_algorithm"],
                "",
            )
        except InvalidSignature:
            continue
        if candidate == issuer:
            return
        try:
            candidate.verify_directly_issued_by(issuer)
            usage = candidate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            candidate.extensions.get_extension_for_class(x509.OCSPNoCheck)
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


def _check_times(
    this_update: datetime,
    next_update: datetime | None,
    certificate: x509.Certificate,
    now: datetime,
    oldest: timedelta,
) -> None:
    if this_update > now + CLOCK_SKEW:
        raise Unusable("an answer from the future")
    if next_update is not None and next_update + CLOCK_SKEW < now:
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
    info = keys.PublicKeyInfo.load(
        certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    bits: bytes = info["public_key"].contents[1:]
    return bits


def _key_hash(certificate: x509.Certificate) -> bytes:
    return _hash(hashes.SHA1(), _key_bits(certificate))  # noqa: S303 - the responder's name (RFC 6960 clause 4.2.1)


def _hash(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    state = hashes.Hash(algorithm)
    state.update(data)
    return state.finalize()


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _may_sign(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        allowed = usage.digital_signature or usage.content_commitment
    except x509.ExtensionNotFound:
        allowed = True
    if not allowed or _is_ca(leaf):
        raise Refused(
            "certificate-usage",
            found="a certificate that is not for signing documents",
            expected="key usage digitalSignature or nonRepudiation, and not a CA",
            remedy="bind a signing certificate to the credential",
        )


def _anchored(certificate: x509.Certificate, now: datetime) -> StatusRow:
    return StatusRow(Role.SIGNER, Digest.of(chains.der(certificate)), Standing.GOOD, "anchor", now)


def _ocsp_urls(certificate: x509.Certificate) -> list[str]:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    return _web(
        item.access_location.value
        for item in access
        if item.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(item.access_location, x509.UniformResourceIdentifier)
    )


def _crl_urls(certificate: x509.Certificate) -> list[str]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    return _web(
        name.value
        for point in points
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or []
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _web(urls: Iterable[str]) -> list[str]:
    return [url for url in urls if urlsplit(url).scheme in ("http", "https")][:3]
